"""A block as others may run it: a folder that checks itself, without pickle.

    block          the block's id        manifest.cbor    its manifest
    leaves/        one file a leaf, named by its content id

Nouns: *export* (such a folder).
"""

from __future__ import annotations

from pathlib import Path

from population.blocks.block import TensorBlock
from population.encoding.cbor import decode, encode
from population.encoding.cid import Codec, cid_of, parse_cid
from population.errors import FormatError, StoreCorrupt
from population.files.local_files import FileSystem

ID_FILE, MANIFEST_FILE, LEAVES_FOLDER = "block", "manifest.cbor", "leaves"
MAX_MANIFEST_BYTES = 64 << 20


def export_block(files: FileSystem, block: TensorBlock, folder: Path) -> str:
    """Writes a block's export and returns the block's id; a folder that holds this block already is left as it is.

    Raises: StorageError: what is there is no export, or the whole one; the call may be repeated.
    """
    value, leaves = block.manifest()
    manifest = encode(value)
    name = cid_of(manifest, "dag-cbor")
    contents = {folder / LEAVES_FOLDER / leaf: data for leaf, data in leaves.items()}
    contents[folder / MANIFEST_FILE] = manifest
    mark = f"{name}\n".encode("ascii")
    spoilt = [path for path, data in contents.items() if not _holds(files, path, data)]
    if not spoilt and _holds(files, folder / ID_FILE, mark):
        return name
    for path in (folder / ID_FILE, *spoilt):  # the mark goes first and comes last: with it the export is whole
        if files.exists(path):
            files.remove(path)
    files.make_dirs(folder / LEAVES_FOLDER)
    files.write_many(contents, 0o644)
    files.write_atomic(folder / ID_FILE, mark, 0o644)
    return name


def _holds(files: FileSystem, path: Path, data: bytes) -> bool:
    return files.exists(path) and files.size(path) == len(data) and files.read_bytes(path) == data


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
