"""The bytes of rows, written and read many at a time, against a writing of one row that shares no code with it."""

from __future__ import annotations

import math
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from population.encoding.cbor import encode
from population.errors import FormatError
from population.operations import dimensions as dims
from population.stacks.row_format import decode_rows, encode_row, encode_rows, row_digests
from population.stacks.stack import Stack
from population.stacks.tiers import with_tier_parameters
from tests.population.strategies import mlp, random_stack, stacks

DTYPES = {torch.float32: ("float32", "f"), torch.float64: ("float64", "d"), torch.int64: ("int64", "q")}


def written_alone(stack: Stack, row: int) -> bytes:
    """One row, number by number."""
    widths = dict(zip(stack.graph.symbol_names, stack.widths[row].tolist(), strict=True))
    numbers, entries = [], []
    for name in sorted(stack.tensors):
        shape = stack.spec_of(name).shape
        live = stack.tensors[name][row]
        for axis, dim in enumerate(shape):
            kept = [i for i, is_live in enumerate(dims.live_positions(dim, stack.graph.symbols, widths)) if is_live]
            live = live.index_select(axis, torch.tensor(kept, dtype=torch.int64))
        numbers += [live.flatten().view(torch.int32).tolist()]
    payload = [struct.pack(f"<{len(bits)}i", *bits) for bits in numbers]
    for name in sorted(stack.state):
        value = stack.state[name][row]
        if value.is_floating_point() and all(math.isnan(number) for number in value.flatten().tolist()):
            continue
        kind, letter = DTYPES[value.dtype]
        entries.append([name, kind, list(value.shape)])
        payload.append(struct.pack(f"<{value.numel()}{letter}", *value.flatten().tolist()))
    fields = {
        "graph": stack.graph.digest,
        "state": entries,
        "tensors": sorted(stack.tensors),
        "widths": list(widths.values()),
    }
    header = encode(fields)
    return b"EVROW1" + struct.pack("<I", len(header)) + header + b"".join(payload)


@st.composite
def carrying(draw: st.DrawFn) -> Stack:
    """Stacks whose rows carry state of every dtype, some rows lacking some of it, and odd numbers."""
    stack = draw(stacks(max_rows=6))
    rows, state = stack.num_rows, {}
    for number in range(draw(st.integers(0, 3))):
        dtype = draw(st.sampled_from(list(DTYPES)))
        shape = draw(st.lists(st.integers(1, 3), max_size=2))
        value = torch.arange(rows * math.prod(shape), dtype=torch.float64).reshape(rows, *shape).to(dtype)
        if value.is_floating_point():
            value[torch.tensor(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))] = math.nan
        state[f"s{number}"] = value
    name = draw(st.sampled_from(sorted(stack.tensors)))
    odd = stack.tensors[name].clone()
    odd[0].view(-1)[0] = draw(st.sampled_from([math.nan, math.inf, -0.0, 1e-45]))
    return stack.replace(state=state, tensors={**stack.tensors, name: odd})


@given(carrying())
def test_rows_written_together_are_the_rows_written_alone(stack):
    alone = [written_alone(stack, row) for row in range(stack.num_rows)]
    assert encode_rows(stack) == alone
    assert [encode_row(stack, row) for row in range(stack.num_rows)] == alone


@given(carrying(), st.randoms(use_true_random=False))
def test_rows_read_together_are_the_rows_read_alone_in_any_order(stack, random):
    rows = encode_rows(stack)
    random.shuffle(rows)
    together = decode_rows(stack.graph, rows)
    assert encode_rows(together) == rows
    assert row_digests(together) == [row_digests(decode_rows(stack.graph, [row]))[0] for row in rows]


def test_more_rows_than_are_laid_side_by_side_at_once():
    wide = mlp(inputs=64, hidden=1000)  # some 270 kB a row: one or two of them are laid down at a time
    stack = with_tier_parameters(random_stack(wide, 5, widths=[{}, {"h": 7}, {}, {}, {"h": 7}]), ["lite"])
    assert encode_rows(stack) == [written_alone(stack, row) for row in range(5)]
    assert row_digests(decode_rows(wide, encode_rows(stack))) == row_digests(stack)


def test_one_bad_row_among_many_is_refused():
    rows = encode_rows(random_stack(mlp(), 4, widths=[{}, {"h": 2}, {}, {"h": 2}]))
    rows[2] = rows[2][:-1]
    with pytest.raises(FormatError, match=r"bytes of numbers"):
        decode_rows(mlp(), rows)


def test_a_state_of_a_dtype_that_cannot_be_kept_is_refused():
    stack = random_stack(mlp(), 2).replace(state={"flag": torch.tensor([True, False])})
    with pytest.raises(ValueError, match=r"'flag': dtype torch.bool cannot be kept"):
        encode_rows(stack)
