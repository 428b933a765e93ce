"""The fingerprint of an environment, as text in the lineage: its fields, and those in which two of them differ.

Nouns: *fingerprint* (canonical JSON of what equal bits depend on), *difference* (a field with what was recorded and what is
here).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: What people read in the place of a field that one of the two does not have.
ABSENT = "(not recorded)"


def differences(recorded: str, here: str) -> list[tuple[str, str, str]]:
    """Returns the fields in which two fingerprints differ: name, recorded value, value here.

    >>> differences('{"cpu":"AVX2","versions":{"torch":"2.1"}}', '{"cpu":"AVX2","versions":{"torch":"2.2"}}')
    [('versions.torch', '2.1', '2.2')]
    """
    before, now = fields(recorded), fields(here)
    names = sorted(before.keys() | now.keys())
    pairs = ((name, before.get(name, ABSENT), now.get(name, ABSENT)) for name in names)
    return [found for found in pairs if found[1] != found[2]]


def fields(fingerprint: str) -> dict[str, str]:
    """Returns the fields of a fingerprint by their dotted names.

    >>> fields('{"cpu":"AVX2","versions":{"torch":"2.1"}}')
    {'cpu': 'AVX2', 'versions.torch': '2.1'}
    """
    return _flat(_value_of(fingerprint))


def _value_of(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {"environment": text}
    return value if isinstance(value, Mapping) else {"environment": text}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            found |= _flat(entry, f"{prefix}{name}.")
        else:
            found[prefix + name] = str(entry)
    return found
