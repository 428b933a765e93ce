"""Answers for the rows of a file, by a head or a block of a home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.home.block_names import resolve_block, split_target
from evolve.planning.foreign_code import running
from evolve.runtime.answer import answer_of
from evolve.runtime.channels import inputs_of
from fitness.processes.isolation import FULL
from population.blocks.block import load_block
from population.clock import Clock, SystemClock
from population.errors import InputError
from population.inputs.input_files import read_inputs, read_rows
from population.inputs.table_files import SUFFIXES

if TYPE_CHECKING:
    from evolve.home.home import Home


def infer(
    home: Home, target: str, inputs: Path, clock: Clock | None = None, accept_level: str = FULL
) -> dict[str, Any]:
    """Returns ``{"outputs": {channel: nested lists}, "provenance": {...}}`` of a block for the rows of a file, and what its
    decoder makes of the outputs: ``"answers": {target column: {"answer": [...], "confidence": [...]}}``.

    Args:
        target: ``NAME|BLOCK[@tier|@auto]``; the highest tier by default.
        inputs: .npz (an array a channel), .npy or .csv (a block with one input), .json; of a block with a decoder raw rows,
            in CSV, Parquet or JSON with the names of the table's columns.
        accept_level: the least isolation that operations of other packages may run at.

    Raises:
        NotFound: no such head, block or file. InputError: the file does not hold what the block reads; it is named. Or the
            block holds an operation of another package, which fails in its jail, or the jail is not what was accepted.
    """
    name, tier = split_target(target)
    cid = resolve_block(home, name)
    block = load_block(home.block_store(), cid)
    takes_rows = block.decoder is not None and inputs.suffix.lower() in SUFFIXES
    data = read_rows(inputs) if takes_rows else read_inputs(inputs)
    if tier not in ("auto", *block.tier_names):
        raise InputError(f"{target}: this block has no tier {tier!r}; it has {', '.join(block.tier_names)}")
    try:
        tensors = inputs_of(block, data)
    except InputError as error:
        raise InputError(f"--input {inputs}: {error}") from error
    with running(block, accept_level) as run:
        return answer_of(block, cid, tier, tensors, clock or SystemClock(), run)
