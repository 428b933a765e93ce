"""Landlock: the kernel's own way to give up files, TCP ports, and signals and abstract sockets of others; without root.

Nouns: the *ABI* is the version of Landlock that a kernel has; each adds kinds of access that can be given up.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from fitness.jail.syscalls import call

_CREATE_VERSION = 1
_RULE_PATH = 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
#: how many kinds of file access each ABI knows, from ABI 1 on.
_NUM_FILE_RIGHTS = (13, 14, 15, 15, 16)
_TCP_RIGHTS = 0b11  # bind and connect
_SCOPES = 0b11  # abstract unix sockets and signals


def abi() -> int:
    """Returns the version of Landlock here. Raises: OSError where there is none."""
    return call("landlock_create_ruleset", 0, 0, _CREATE_VERSION)


def restrict(readable: Sequence[str] = ()) -> str:
    """Gives up every access that this kernel's Landlock knows, but reading below these paths; returns what that covers.

    Raises:
        OSError: Landlock is missing, or a path is.
    """
    version = abi()
    rights = (1 << _NUM_FILE_RIGHTS[min(version, len(_NUM_FILE_RIGHTS)) - 1]) - 1
    network, scopes = (_TCP_RIGHTS if version >= 4 else 0), (_SCOPES if version >= 6 else 0)
    fields = [rights, *([network] if version >= 4 else []), *([scopes] if version >= 6 else [])]
    attributes = struct.pack(f"<{len(fields)}Q", *fields)
    ruleset = call("landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow_reading(ruleset, path)
        call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    covered = ["files", *(["TCP"] if network else []), *(["signals", "abstract sockets"] if scopes else [])]
    return f"ABI {version}: {', '.join(covered)}"


def _allow_reading(ruleset: int, path: str) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = READ_FILE | (READ_DIR if os.path.isdir(path) else 0)
        call("landlock_add_rule", ruleset, _RULE_PATH, struct.pack("<Qi", rights, folder), 0)
    finally:
        os.close(folder)
