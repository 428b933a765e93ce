"""Decoders: what turns a table's raw rows into a block's input channels, and a block's outputs into a table's words.

A decoder is data: for each column of the file how its cells are read. It is part of a block, written down in FORMAT.md, and
applied by every runtime alike. Numbers, truths and the parts of dates become the channel ``numbers`` (float32, NaN: missing);
categories become codes in ``categories``, or in ``tokens`` where they have many values. Code 0 says that nothing is known.

Nouns: *decoder*, *column* (how one column's cells are read: see `population.inputs.columns`), *answer* (what an output channel
says about the target column).

Shapes: N rows, C numbers, M codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from population.encoding.cbor import decode, encode
from population.errors import FormatError, InputError
from population.inputs.cells import MISSING, Cells
from population.inputs.columns import Column, column_from_value, column_to_value, refuse_text

FORMAT: Final = "table-decoder"
VERSION: Final = 1
MAX_COLUMNS: Final = 65_536
MAX_BYTES: Final = 1 << 20
NUMBERS, CATEGORIES, TOKENS = "numbers", "categories", "tokens"


@dataclass(frozen=True)
class Answer:
    """What an output channel says: scores of named classes, or the target's own number.

    Attributes:
        channel: of the block. column: the target, as the file names it. kind: "classes" or "number".
        classes: their names, in the order of the scores.
    """

    channel: str
    column: str
    kind: Literal["classes", "number"]
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("classes", "number") or (self.kind == "classes") != bool(self.classes):
            raise InputError(f"answer {self.column!r}: expected the names of classes, or kind 'number' and none")
        for text in (self.channel, self.column, *self.classes):
            refuse_text(text, "answer")

    @property
    def size(self) -> int:
        """How many numbers the channel gives for a row."""
        return len(self.classes) or 1

    def words(self, values: npt.NDArray[Any]) -> dict[str, list[Any]]:
        """What the values ``[N, size]`` say: ``{"answer": [N]}``, and for classes ``"confidence"``, of the softmax."""
        if self.kind == "number":
            return {"answer": values.reshape(-1).astype(float).tolist()}
        scores = values.astype(np.float64)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        sure = shares[np.arange(len(best)), best]
        return {"answer": [self.classes[k] for k in best.tolist()], "confidence": sure.tolist()}

    def to_value(self) -> dict[str, Any]:
        """The answer as plain values."""
        value = {"channel": self.channel, "column": self.column, "kind": self.kind}
        return {**value, "classes": list(self.classes)} if self.classes else value


@dataclass(frozen=True)
class Decoder:
    """How a table's rows become channels, and outputs become answers; immutable.

    Attributes:
        columns: in the order in which their numbers and codes stand in the channels.
        answers: what the outputs say. missing: words that stand for a missing value in every column.
    """

    columns: tuple[Column, ...]
    answers: tuple[Answer, ...] = ()
    missing: tuple[str, ...] = MISSING

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(names) > MAX_COLUMNS or len(set(names)) < len(names):
            raise InputError(f"decoder: expected 1 to {MAX_COLUMNS:,} columns of different names, got {len(names):,}")
        if list(self.missing) != sorted(set(self.missing)):
            raise InputError("decoder: words for a missing value are sorted and distinct")
        if len(encode(self.to_value())) > MAX_BYTES:
            raise InputError(
                f"decoder: has more than {MAX_BYTES:,} bytes: take columns out, or make their names or categories fewer"
            )

    @property
    def channels(self) -> dict[str, tuple[str, int]]:
        """For each channel that a row becomes: the dtype and how many numbers."""
        counts = {NUMBERS: sum(column.num_numbers for column in self.columns)}
        for column in self.columns:
            if column.num_codes:
                counts[column.channel] = counts.get(column.channel, 0) + column.num_codes
        kinds = {NUMBERS: "float32", CATEGORIES: "int64", TOKENS: "int64"}
        return {name: (kinds[name], counts[name]) for name in kinds if counts.get(name)}

    def code_sizes(self, channel: str) -> list[int]:
        """For each code of a channel the largest that it can be."""
        return [column.code_size for column in self.columns if column.num_codes and column.channel == channel]

    def decode(self, table: Mapping[str, Cells]) -> dict[str, npt.NDArray[Any]]:
        """The channels of some rows, ``[N, C]`` float32 and ``[N, M]`` int64; other columns are passed over.

        Raises: InputError naming the column, and the row, of what cannot be read.
        """
        lacking = [column.name for column in self.columns if column.name not in table]
        if lacking:
            shown = ", ".join(map(repr, lacking[:8])) + (f" and {len(lacking) - 8} more" if len(lacking) > 8 else "")
            raise InputError(
                f"expected the columns that the block was trained on, {shown} missing; the input has "
                f"{', '.join(map(repr, list(table)[:20])) or 'none'}; leave cells empty where a value is not known"
            )
        num_rows = len(table[self.columns[0].name])
        if any(len(table[column.name]) != num_rows for column in self.columns):
            raise InputError("expected columns of one length")
        parts: dict[str, list[npt.NDArray[Any]]] = {}
        missing = frozenset(self.missing)
        for column in self.columns:
            numbers, codes = column.read(table[column.name], missing)
            parts.setdefault(NUMBERS, []).append(numbers)
            if column.num_codes:
                parts.setdefault(column.channel, []).append(codes)
        made = {name: np.concatenate(parts[name], axis=1).astype(kind) for name, (kind, _) in self.channels.items()}
        if NUMBERS in made:
            made[NUMBERS] = np.where(
                np.isnan(made[NUMBERS]), np.float32(np.nan), made[NUMBERS]
            )  # one NaN, one bit pattern
        return made

    def words(self, outputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, dict[str, list[Any]]]:
        """What outputs ``[N, size]`` say about the target columns, by column."""
        return {a.column: a.words(np.asarray(outputs[a.channel])) for a in self.answers if a.channel in outputs}

    def to_value(self) -> dict[str, Any]:
        """The decoder as plain values; ``from_value`` reads it back."""
        return {
            "answers": [answer.to_value() for answer in self.answers],
            "columns": [column_to_value(column) for column in self.columns],
            "format": FORMAT,
            "missing": list(self.missing),
            "version": VERSION,
        }

    @staticmethod
    def from_value(value: object) -> Decoder:
        """The decoder of plain values. Raises: InputError for whatever ``to_value`` does not write."""
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            raise InputError(f"decoder: 'format' must be {FORMAT!r}")
        if value.get("version") != VERSION:
            raise InputError(
                f"decoder: version {value.get('version')!r} is not known; this program reads {VERSION}: upgrade it"
            )
        if set(value) != {"answers", "columns", "format", "missing", "version"}:
            raise InputError(f"decoder: unexpected keys {sorted(map(str, value))[:20]}")
        columns = tuple(column_from_value(item) for item in _list(value["columns"], "columns", MAX_COLUMNS))
        answers = tuple(_answer_from_value(item) for item in _list(value["answers"], "answers", 64))
        missing = tuple(refuse_text(item, "missing") for item in _list(value["missing"], "missing", 1024))
        return Decoder(columns, answers, missing)

    @property
    def encoded(self) -> bytes:
        """The canonical bytes: the leaf of a block that holds it."""
        return encode(self.to_value())

    @staticmethod
    def from_bytes(data: bytes) -> Decoder:
        """The decoder of a leaf, which may come from a stranger. Raises: FormatError."""
        try:
            found = Decoder.from_value(decode(data, max_bytes=MAX_BYTES))
        except InputError as error:
            raise FormatError(str(error)) from error
        if found.encoded != data:
            raise FormatError("decoder: it is not in canonical form: it was not written by this program")
        return found


def _answer_from_value(value: object) -> Answer:
    if not isinstance(value, Mapping) or not {"channel", "column", "kind"} <= set(value) <= set(Answer.__annotations__):
        raise InputError(f"answer: expected channel, column, kind and classes, got {value!r}"[:300])
    classes = tuple(refuse_text(item, "class") for item in _list(value.get("classes", []), "classes", 1 << 20))
    return Answer(value["channel"], value["column"], value["kind"], classes)


def _list(value: object, what: str, most: int) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise InputError(f"decoder: {what}: expected a list of at most {most:,}")
    return value
