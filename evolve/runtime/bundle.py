"""A block as others may run it: a folder that checks itself, without pickle.

    block          the block's id        manifest.cbor    its manifest
    leaves/        one file a leaf, named by its content id

Nouns: *export* (such a folder).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from population.blocks.block import TensorBlock
from population.encoding.cbor import decode, encode
from population.encoding.cid import Codec, cid_of, parse_cid
from population.errors import FormatError, StoreCorrupt

ID_FILE, MANIFEST_FILE, LEAVES_FOLDER = "block", "manifest.cbor", "leaves"
MAX_MANIFEST_BYTES = 64 << 20


def export_block(block: TensorBlock, folder: Path) -> str:
    """Writes a block's export and returns the block's id; a folder that holds this block already is left as it is."""
    value, leaves = block.manifest()
    manifest = encode(value)
    name = cid_of(manifest, "dag-cbor")
    if (folder / ID_FILE).exists():
        with suppress(FormatError, StoreCorrupt):  # somebody touched it: written anew
            read_export(folder)
            if (folder / ID_FILE).read_text(encoding="ascii").strip() == name:
                return name
    (folder / LEAVES_FOLDER).mkdir(parents=True, exist_ok=True)
    for leaf, data in leaves.items():
        (folder / LEAVES_FOLDER / leaf).write_bytes(data)
    (folder / MANIFEST_FILE).write_bytes(manifest)
    (folder / ID_FILE).write_text(name + "\n", encoding="ascii")  # last: with it the export is whole
    return name


def read_export(folder: Path) -> TensorBlock:
    """Returns the block of an export, every byte of it checked against its content id.

    Raises:
        FormatError: the folder is not an export. StoreCorrupt: a file is missing or not what was written.
    """
    if not (folder / ID_FILE).is_file():
        raise FormatError(f"{folder}: not an export of a block: it has no file {ID_FILE!r}; export the block anew")
    name = (folder / ID_FILE).read_text(encoding="ascii", errors="replace").strip()
    manifest = _verified(folder / MANIFEST_FILE, name)

    def read_leaf(leaf: str) -> bytes:
        return _verified(folder / LEAVES_FOLDER / leaf, leaf)

    return TensorBlock.from_manifest(decode(manifest, max_bytes=MAX_MANIFEST_BYTES), read_leaf)


def _verified(path: Path, name: str) -> bytes:
    codec: Codec = parse_cid(name)[0]
    if not path.is_file():
        raise StoreCorrupt(f"{path}: missing; export the block anew")
    data = path.read_bytes()
    if cid_of(data, codec) != name:
        raise StoreCorrupt(f"{path}: its bytes are not those that {name} names; export the block anew")
    return data
