"""Dimensions that know which part of them each width symbol makes, so that widths can shrink without guessing.

A dimension is a sum of parts ``(symbol, factor)``; a part is ``factor`` entries for each unit of its symbol, unit after
unit. So the first ``w`` units of a symbol are a prefix of its part, in a flattened image and in a concatenation alike.

Nouns: *width symbol* (a name for a number of units that may differ between rows and tiers), *dimension*, *shape*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from population.errors import InvalidGraph
from population.lazy_torch import torch

Part = tuple[str | None, int]
Dim = tuple[Part, ...]
Shape = tuple[Dim, ...]
Widths = Mapping[str, int]

MAX_PARTS: Final = 1024
MAX_DIMENSION: Final = 2**20
_SYMBOL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TERM: Final = re.compile(
    r"(?:(\d{1,18})|([A-Za-z_]\w*)|(\d{1,18})\*([A-Za-z_]\w*)|([A-Za-z_]\w*)\*(\d{1,18}))", re.ASCII
)


def fixed(size: int) -> Dim:
    """The dimension of a constant size."""
    return ((None, size),)


def is_symbol(name: object) -> bool:
    """Whether a value can name a width symbol."""
    return isinstance(name, str) and _SYMBOL.fullmatch(name) is not None


def parse_dim(value: object) -> Dim:
    """The dimension written as an int, ``"c"``, ``"16*c"`` or a sum of such terms.

    >>> parse_dim("16*c + d + 4")
    (('c', 16), ('d', 1), (None, 4))

    Raises: InvalidGraph for anything else, and for sizes below 1 or above 2**20.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return normal((_checked_part(None, value, value),))
    if not isinstance(value, str) or len(value) > 4096:
        raise InvalidGraph(f"a dimension is a whole number or text such as 'c1', '16*c1' or 'a+b', got {value!r}"[:300])
    parts = []
    for term in value.split("+"):
        found = _TERM.fullmatch(term.replace(" ", ""))
        if found is None:
            raise InvalidGraph(f"{term.strip()[:80]!r} is no dimension: write a number, a symbol, or number*symbol")
        number, symbol, factor_before, symbol_after, symbol_before, factor_after = found.groups()
        name = symbol or symbol_after or symbol_before
        parts.append(_checked_part(name, int(number or factor_before or factor_after or 1), value))
    return normal(parts)


def _checked_part(symbol: str | None, factor: int, source: object) -> Part:
    if not 1 <= factor <= MAX_DIMENSION:
        raise InvalidGraph(f"a dimension lies between 1 and {MAX_DIMENSION}, got {factor} in {source!r}"[:300])
    return symbol, factor


def format_dim(dim: Dim) -> int | str:
    """The shortest writing of a dimension; ``parse_dim`` reads it back."""
    if len(dim) == 1 and dim[0][0] is None:
        return dim[0][1]
    return "+".join(
        str(factor) if symbol is None else symbol if factor == 1 else f"{factor}*{symbol}" for symbol, factor in dim
    )


def format_shape(shape: Shape) -> str:
    """A shape for people: ``[c1, 8, 8]``."""
    return "[" + ", ".join(str(format_dim(dim)) for dim in shape) + "]"


def normal(parts: Iterable[Part]) -> Dim:
    """The one writing of a sum of parts: neighbouring constants are merged.

    Equal symbols side by side stay two parts: each has its own prefix.
    """
    merged: list[Part] = []
    for symbol, factor in parts:
        if merged and symbol is None and merged[-1][0] is None:
            merged[-1] = (None, merged[-1][1] + factor)
        else:
            merged.append((symbol, factor))
        if len(merged) > MAX_PARTS:
            raise InvalidGraph(f"a dimension of more than {MAX_PARTS} parts is refused: flatten fewer axes at once")
    return tuple(merged)


def constant(dim: Dim) -> int | None:
    """The size of a dimension without symbols, else None."""
    return dim[0][1] if len(dim) == 1 and dim[0][0] is None else None


def width(dim: Dim, widths: Widths) -> int:
    """The size of a dimension where its symbols have these widths."""
    return sum(factor * (1 if symbol is None else widths[symbol]) for symbol, factor in dim)


def sizes(shape: Shape, widths: Widths) -> tuple[int, ...]:
    """The sizes of a shape where its symbols have these widths."""
    return tuple(width(dim, widths) for dim in shape)


def symbols_of(shape: Shape) -> set[str]:
    """The symbols that occur in a shape."""
    return {symbol for dim in shape for symbol, _ in dim if symbol is not None}


def flatten(shape: Sequence[Dim]) -> Dim:
    """The dimension of a flattened shape, entries in row-major order.

    Raises: InvalidGraph where two symbolic axes would be multiplied.
    """
    result: Dim = fixed(1)
    for dim in shape:
        result = multiply(result, dim)
    return result


def multiply(outer: Dim, inner: Dim) -> Dim:
    """The dimension of two axes flattened into one, the first varying slowest."""
    inner_size = constant(inner)
    if inner_size is not None:
        return normal((symbol, factor * inner_size) for symbol, factor in outer)
    outer_size = constant(outer)
    if outer_size is None:
        raise InvalidGraph(
            f"axes {format_dim(outer)} and {format_dim(inner)} both have symbols and cannot be flattened into one: "
            "give one of them a fixed size"
        )
    if outer_size * len(inner) > MAX_PARTS:
        raise InvalidGraph(f"a dimension of more than {MAX_PARTS} parts is refused: put the symbolic axis first")
    return normal(inner * outer_size)


def live_positions(dim: Dim, wide: Widths, narrow: Widths) -> list[bool]:
    """Which positions of the dimension at its ``wide`` widths a row of ``narrow`` widths uses."""
    live: list[bool] = []
    for symbol, factor in dim:
        most = factor * (1 if symbol is None else wide[symbol])
        used = factor * (1 if symbol is None else min(narrow[symbol], wide[symbol]))
        live += [True] * used + [False] * (most - used)
    return live


def take(tensor: torch.Tensor, shape: Shape, wide: Widths, narrow: Widths, first_axis: int = 0) -> torch.Tensor:
    """The live part of a tensor: each axis cut to what ``narrow`` widths use; differentiable.

    Args:
        tensor: the axes from ``first_axis`` on have ``shape`` at ``wide`` widths.
    """
    for axis, dim in enumerate(shape, first_axis):
        size, used = width(dim, wide), width(dim, {**wide, **narrow})
        if used == size:
            continue
        if len(dim) == 1:
            tensor = tensor.narrow(axis, 0, used)
        else:
            live = torch.tensor(live_positions(dim, wide, {**wide, **narrow}), dtype=torch.bool)
            tensor = tensor.index_select(axis, live.nonzero().flatten().to(tensor.device))
    return tensor


def put(tensor: torch.Tensor, shape: Shape, wide: Widths, narrow: Widths, first_axis: int = 0) -> torch.Tensor:
    """The inverse of ``take``: a tensor at ``narrow`` widths, put among zeros at ``wide`` widths."""
    for axis, dim in enumerate(shape, first_axis):
        if tensor.shape[axis] == width(dim, wide):
            continue
        live = torch.tensor(live_positions(dim, wide, {**wide, **narrow}), dtype=torch.bool)
        grown = tensor.new_zeros((*tensor.shape[:axis], width(dim, wide), *tensor.shape[axis + 1 :]))
        tensor = grown.index_copy_(axis, live.nonzero().flatten(), tensor)
    return tensor
