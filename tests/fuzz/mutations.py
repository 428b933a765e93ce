"""Changes to files that know how the files are built: bits, lengths, headers, members, keys, values.

Nouns: *mutation* (a function of bytes and a random generator), *seed* (a whole file that is changed).
"""

from __future__ import annotations

import copy
import io
import json
import random  # noqa: TID251 - nothing is derived from what is drawn here
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]
#: Values in the place of others.
ODD: Sequence[Any] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**53 + 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, 1e-320, float("nan"),
    float("inf"), "", " ", "x", "nan", "1e999", "\0", "\ud800", "\u202e\x1b[31m", "x" * 5000, "9" * 5000, "../../etc/passwd",
    [], {}, [[]], [{}], {"": 0}, {"a": {"b": []}}, [None] * 50, [[1], [2, 3]], "true", "2024-99-99", "1,2", "\n", "é",
)  # fmt: skip
LENGTHS = (0, 1, 2, 3, 7, 8, 255, 256, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def flip(data: bytes, rng: random.Random) -> bytes:
    """Flips some bits."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if found:
            found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Cuts the end off, or the beginning."""
    place = rng.randrange(len(data) + 1)
    return data[:place] if rng.random() < 0.8 else data[place:]


def take_out(data: bytes, rng: random.Random) -> bytes:
    """Leaves a piece out."""
    begin, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:begin] + data[min(end, begin + rng.choice((1, 4, 64, len(data)))) :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    """Writes a piece twice, or many times."""
    begin, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    piece = data[begin : min(end, begin + 256)]
    return data[:end] + piece * rng.choice((1, 2, 50)) + data[end:]


def swap(data: bytes, rng: random.Random) -> bytes:
    """Swaps two pieces."""
    a, b, c, d = sorted(rng.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def relength(data: bytes, rng: random.Random) -> bytes:
    """Writes an odd number over some bytes, near the beginning, the end or anywhere."""
    size = rng.choice((1, 2, 4, 8))
    if len(data) < size:
        return data
    last = len(data) - size
    place = rng.choice((rng.randint(0, min(last, 64)), rng.randint(max(0, last - 64), last), rng.randint(0, last)))
    number = rng.choice((*LENGTHS, 2**63 - 1, 2**64 - 1)) % (1 << 8 * size)
    return data[:place] + number.to_bytes(size, rng.choice(("little", "big"))) + data[place + size :]


def junk(data: bytes, rng: random.Random) -> bytes:
    """Puts bytes that are nothing in."""
    place = rng.randrange(len(data) + 1)
    piece = rng.choice(
        (b"\0" * 16, b"\xff" * 16, b"\n", b'"', b"[" * 3000, b"{" * 3000, b"\xef\xbb\xbf", b"\x1b[31m", b"," * 99)
    )
    return data[:place] + piece + data[place:]


PLAIN: Sequence[Mutation] = (flip, flip, cut, take_out, repeat, swap, relength, relength, junk)


# ---- trees of plain values -------------------------------------------------------------------------------------------


def _odd(rng: random.Random) -> Any:
    """An odd value, a copy: one that is changed in a tree must not be found changed, or in itself, by the next."""
    return copy.deepcopy(rng.choice(ODD))


def change_tree(value: Any, rng: random.Random) -> Any:
    """The same tree, with one of its values changed, left out, repeated, or put elsewhere."""
    places = list(_places(value))
    if not places:
        return _odd(rng)
    holder, key = rng.choice(places)
    action = rng.randrange(5) if len(places) < 2000 else 0  # what is copied again and again has no end
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder[str(_odd(rng))] = holder.pop(key)
    elif action == 2:
        other, at = rng.choice(places)
        with suppress(KeyError, IndexError):  # copies: a value that came to hold itself would have no end
            holder[key], other[at] = copy.deepcopy(other[at]), copy.deepcopy(holder[key])
    elif action == 3 and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[key]) for _ in range(rng.choice((1, 3, 50))))
    else:
        holder[key] = _odd(rng)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        holder = stack.pop()
        items = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
        for key, item in items:
            found.append((holder, key))
            if isinstance(item, list | dict):
                stack.append(item)
    return found


def change_json(data: bytes, rng: random.Random) -> bytes:
    """Changes values of JSON, some of them several times; a key may come twice."""
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        if isinstance(value, list | dict):
            with suppress(RecursionError):
                value = change_tree(value, rng)
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):  # a tree that holds itself
        return data
    if rng.random() < 0.1 and text.startswith("{"):
        text = text[:-1] + ", " + text[1:] if len(text) > 2 else text
    if rng.random() < 0.05:
        text = re.sub(r"\d+", lambda _: "9" * rng.choice((20, 400, 5000, 100_000)), text, count=1)
    return text.encode("utf-8", "surrogatepass")


# ---- formats ---------------------------------------------------------------------------------------------------------

_SHAPES = (
    "(0,)", "(-1,)", "(1000000000000000000,)", "(1000000000000000000, 0)", "(2, 3, 4)", "()", "(True,)", "[3]", "'x'", "(1.5,)",
    "(1,) * 9", "(3, 4,", "(" * 99, "-" * 99 + "1", "None", "((1,),)", "(4294967296, 4294967296)", "1j",
)  # fmt: skip
_TYPES = (
    "'|O'",
    "'<U99999999'",
    "'<f2'",
    "'>i8'",
    "'V9'",
    "'M8[s]'",
    "[('a', '<f4')]",
    "'(2,2)f4'",
    "5",
    "'zz'",
    "'S0'",
    "''",
)


def change_npy(data: bytes, rng: random.Random) -> bytes:
    """Changes the header of an array."""
    choice = rng.randrange(4)
    if choice == 0:
        made = re.sub(rb"'shape': \([^)]*\)", lambda _: b"'shape': " + rng.choice(_SHAPES).encode(), data, count=1)
    elif choice == 1:
        made = re.sub(rb"'descr': '[^']*'", lambda _: b"'descr': " + rng.choice(_TYPES).encode(), data, count=1)
    elif choice == 2:
        made = re.sub(
            rb"False|True", lambda _: rng.choice((b"True", b"False", b"None", b"7", b"lambda: 0")), data, count=1
        )
    else:
        return data[:6] + bytes([rng.randrange(5), rng.randrange(3)]) + data[8:]
    head = made.find(b"\n") + 1
    return made[:8] + struct.pack("<H", max(0, head - 10) & 0xFFFF) + made[10:] if rng.random() < 0.8 else made


def change_zip(data: bytes, rng: random.Random) -> bytes:
    """Changes members, or what the directory says of them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    choice = rng.randrange(4)
    if choice == 0 or not members:
        return _directory(data, rng)
    place = rng.randrange(len(members))
    name, content = members[place]
    if choice == 1:
        members[place] = (name, rng.choice((change_npy, flip, cut, relength))(content, rng))
    elif choice == 2:
        others = rng.choice((name, "", "x" * 3000, "../x.npy", "\x1b[31m.npy", "a/b/", "x"))
        members.append((others, rng.choice((content, b"", b"\x80\x04K\x01.", b"\0" * 100_000))))
    else:
        names = [each for each, _ in members]
        rng.shuffle(names)
        members = [(each, part) for each, (_, part) in zip(names, members, strict=True)]
    stream = io.BytesIO()
    method = rng.choice((0, 8, 8, 12, 14))
    with zipfile.ZipFile(stream, "w", method) as made:
        for each, part in members:
            made.writestr(zipfile.ZipInfo(each), part, method)
    return stream.getvalue()


def _directory(data: bytes, rng: random.Random) -> bytes:
    """An odd number in the place of a field of the directory, or of a member's own header."""
    heads = [found.start() for found in re.finditer(rb"PK\x01\x02|PK\x03\x04|PK\x05\x06", data)]
    if not heads:
        return data
    place = rng.choice(heads) + rng.choice((4, 6, 8, 10, 14, 18, 20, 22, 24, 26, 28, 30, 32, 38, 42))
    size = rng.choice((2, 4))
    number = rng.choice(LENGTHS) % (1 << 8 * size)
    return data[:place] + number.to_bytes(size, "little") + data[place + size :]


def change_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Changes the header, or a value of JSON within it."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    facts = header.get("__metadata__", {})
    inner = [name for name in facts if facts[name][:1] in ("{", "[")]
    if inner and rng.random() < 0.6:
        name = rng.choice(inner)
        facts[name] = change_json(facts[name].encode(), rng).decode("utf-8", "replace")
        made = json.dumps(header).encode()
    else:
        made = change_json(json.dumps(header).encode(), rng)
    length = len(made) if rng.random() < 0.9 else rng.choice(LENGTHS)
    return length.to_bytes(8, "little") + made + data[8 + size :]


_CELLS = (
    b"", b'"', b'""', b"NaN", b"1e999", b"-", b"x" * 5000, b"9" * 5000, b"\xff\xfe", b"\0", b'"a\nb"', b"2024-02-30", b"true",
    "é".encode("latin-1"), b"\x1b[31m", b"=cmd()", b"1,2,3", b";", b"\t", b"99999999999999999999", b"0x10", b"1_000", b"inf",
)  # fmt: skip


def change_csv(data: bytes, rng: random.Random) -> bytes:
    """Changes cells, lines, ends of lines or the encoding."""
    lines = data.split(b"\n")
    choice = rng.randrange(6)
    if choice == 0:
        return data.decode().encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")))
    if choice == 1:
        return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"", b"\n\n", b",\n")))
    row = rng.randrange(len(lines))
    if choice == 2:
        lines.insert(row, rng.choice(lines))
    elif choice == 3:
        lines[row] = rng.choice((b"", b"," * 5000, lines[row] * 3, b'"' + lines[row]))
    else:
        cells = lines[row].split(b",")
        cells[rng.randrange(len(cells))] = rng.choice(_CELLS)
        lines[row] = b",".join(cells)
    return b"\n".join(lines)


_WORDS = (
    b"!!bool x", b'!!int ""', b'!!float ""', b"!!int 0x" + b"f" * 5000, b"!!map x", b"!!seq x", b"!!str [a]", b"!!null x",
    b"&a [*a]",
    b"? [a]\n: b", b"<<: {a: 1}", b"1:1:1", b"0o777", b".inf", b".nan", b"~", b"2024-01-01", b'"\\ud800"', b"|\n  x", b"[" * 500,
    b"{a: " * 300, b"- - - - -", b"!!python/name:os.system", b"99999999999999999999999", b"1e999", b"\t", b"'", b'"', b"# x",
    b"*a", b"&a", b"!<x> y", b"{1: 2, null: 3, true: 4}", b"yes", b"=", b"-1", b"0", b"[]", b"{}", b"''", b"auto",
    b"0b" + b"1" * 9000,
)  # fmt: skip


def change_yaml(data: bytes, rng: random.Random) -> bytes:
    """Changes a value or a key of a line, or a line."""
    lines = data.split(b"\n")
    row = rng.randrange(len(lines))
    key, colon, _ = lines[row].partition(b":")
    choice = rng.randrange(4)
    if choice == 0 and colon:
        lines[row] = key + b": " + rng.choice(_WORDS)
    elif choice == 1:
        lines.insert(row, rng.choice(lines))
    elif choice == 2:
        parts = re.split(rb"(?<=[\[{,:]) ?", lines[row])
        parts[rng.randrange(len(parts))] = rng.choice(_WORDS) + rng.choice((b"", b",", b"]", b"}"))
        lines[row] = b" ".join(parts)
    else:
        lines[row] = b"  " * rng.randrange(4) + rng.choice(_WORDS) + colon + b" " + rng.choice(_WORDS)
    return b"\n".join(lines)
