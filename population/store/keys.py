"""The keys that sign heads: ed25519, made on first use, kept in the home with mode 0600; and the envelopes they sign.

    keys/<key id>.pem     the private key (PKCS8, not encrypted), readable by its owner only
    keys/trusted.json     {"version", "signing": key id, "keys": {key id: public key in hex}}: whose signatures count

An envelope is DSSE, the Dead Simple Signing Envelope (github.com/secure-systems-lab/dsse, version 1.0), in JSON. The
signatures are those of the package cryptography; nothing here is our own cryptography.

Nouns: key id (the first 16 hex digits of the BLAKE3 of the 32 bytes of the public key), trusted key, envelope.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from population.errors import FormatError, NewerHome, NotFound, StoreCorrupt
from population.files.local_files import FileSystem, read_small

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEYS_VERSION: Final = 1
_MAX_BYTES: Final = 1 << 16
_PUBLIC_BYTES: Final = 32


@dataclass(frozen=True)
class Trusted:
    """Whose signatures count: public keys (32 bytes) by key id, and which of them this home signs with."""

    signing: str
    keys: Mapping[str, bytes]


def key_id_of(public: bytes) -> str:
    """The short name of a public key.

    >>> key_id_of(bytes(32))
    '2ada83c1819a5372'
    """
    return blake3(public).hexdigest()[:16]


class Keys:
    """The keys in one folder."""

    def __init__(self, files: FileSystem, root: Path) -> None:
        self._files = files
        self._root = root

    def seal(self, payload_type: str, payload: bytes) -> tuple[bytes, str]:
        """Puts a payload into an envelope signed with the home's key, which is made if there is none yet.

        Returns: the envelope and the key id.
        Raises: StoreCorrupt when the key cannot be read; StorageError; Locked while another process makes the key.
        """
        private = self._signing_key()
        key_id = key_id_of(private.public_key().public_bytes_raw())
        signature = private.sign(_signed_bytes(payload_type, payload))
        return _envelope_bytes(payload_type, payload, key_id, signature), key_id

    def unseal(self, payload_type: str, envelope: bytes) -> tuple[bytes, str]:
        """Verifies an envelope.

        Returns: its payload and the id of the trusted key that signed it.
        Raises: FormatError when the bytes are no envelope as `seal` writes it, or no trusted key signed it.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        payload, key_id, signature = _parse_envelope(payload_type, envelope)
        trusted = self.trusted()
        if trusted is None or key_id not in trusted.keys:
            raise FormatError(f"it is signed by key {key_id[:80]!r}, which is not among the trusted ones")
        try:
            public = Ed25519PublicKey.from_public_bytes(trusted.keys[key_id])
            public.verify(signature, _signed_bytes(payload_type, payload))
        except InvalidSignature as error:
            raise FormatError(f"the signature of key {key_id} does not fit it") from error
        return payload, key_id

    def trusted(self) -> Trusted | None:
        """The trusted keys, or None while no key has been made.

        Raises: StoreCorrupt when trusted.json is damaged; NewerHome when a newer version wrote it.
        """
        path = self._root / "trusted.json"
        if not self._files.exists(path):
            return None
        try:
            return _parse_trusted(json.loads(read_small(self._files, path, _MAX_BYTES)))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise StoreCorrupt(f"{path} is damaged ({error}); restore it from a copy of the home") from error

    def _signing_key(self) -> Ed25519PrivateKey:
        trusted = self.trusted()
        return self._load(trusted.signing) if trusted is not None else self._create()

    def _create(self) -> Ed25519PrivateKey:
        self._files.make_dirs(self._root, 0o700)
        with self._files.lock(self._root / "lock"):
            trusted = self.trusted()
            if trusted is not None:
                return self._load(trusted.signing)
            private = self._adopt_or_make()
            public = private.public_key().public_bytes_raw()
            key_id = key_id_of(public)
            content = {"version": KEYS_VERSION, "signing": key_id, "keys": {key_id: public.hex()}}
            text = json.dumps(content, indent=2, sort_keys=True) + "\n"
            self._files.write_atomic(self._root / "trusted.json", text.encode(), 0o644, replace=True)
            return private

    def _adopt_or_make(self) -> Ed25519PrivateKey:
        """A key that an interrupted first use left behind, else a new one, durably stored."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        left = [name for name in self._files.list(self._root) if name.endswith(".pem")]
        if left:
            return self._load(left[0].removesuffix(".pem"))
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key_id = key_id_of(private.public_key().public_bytes_raw())
        self._files.write_atomic(self._root / f"{key_id}.pem", pem, 0o600)
        return private

    def _load(self, key_id: str) -> Ed25519PrivateKey:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self._root / f"{key_id}.pem"
        try:
            private = load_pem_private_key(read_small(self._files, path, _MAX_BYTES), password=None)
        except NotFound as error:
            raise StoreCorrupt(f"the private key {path} is gone; restore it from a copy of the home") from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StoreCorrupt(f"{path} is not a private key in PEM ({error}); restore it from a copy") from error
        if not isinstance(private, Ed25519PrivateKey) or key_id_of(private.public_key().public_bytes_raw()) != key_id:
            raise StoreCorrupt(f"{path} holds another key than its name says; restore it from a copy of the home")
        return private


def _signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding, PAE(type, payload)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _envelope_bytes(payload_type: str, payload: bytes, key_id: str, signature: bytes) -> bytes:
    signed = {"keyid": key_id, "sig": base64.b64encode(signature).decode()}
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": payload_type, "signatures": [signed]}
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _parse_envelope(payload_type: str, envelope: bytes) -> tuple[bytes, str, bytes]:
    """Payload, key id and signature, of bytes that are exactly what `_envelope_bytes` gives for them."""
    try:
        value = json.loads(envelope)
        payload = base64.b64decode(value["payload"], validate=True)
        [signed] = value["signatures"]
        key_id, signature = str(signed["keyid"]), base64.b64decode(signed["sig"], validate=True)
        is_canonical = _envelope_bytes(payload_type, payload, key_id, signature) == envelope
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise FormatError(f"it is not a signed envelope ({type(error).__name__})") from error
    if not is_canonical:
        raise FormatError(f"it is not an envelope of one signature over {payload_type}, written as we write it")
    return payload, key_id, signature


def _parse_trusted(value: Any) -> Trusted:
    if value["version"] > KEYS_VERSION:
        raise NewerHome(f"the keys have format {value['version']}, this program reads up to {KEYS_VERSION}; upgrade it")
    keys = {str(key_id): bytes.fromhex(public) for key_id, public in value["keys"].items()}
    for key_id, public in keys.items():
        if len(public) != _PUBLIC_BYTES or key_id_of(public) != key_id:
            raise ValueError(f"the key {key_id} does not have the id it is listed under")
    if value["signing"] not in keys:
        raise ValueError(f"the signing key {value['signing']} is not among the trusted ones")
    return Trusted(signing=value["signing"], keys=keys)
