"""Decodes equal frames once: tests that look at a hundred thousand copies of small lineages need it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from population.lineage.format import commits as payload
from population.lineage.format.commits import Chunk
from population.lineage.journal import reader as reader_module
from population.lineage.journal import writer as writer_module


@contextmanager
def frames_are_decoded_once() -> Iterator[None]:
    """Remembers what frames say by their hashes, which are checked before: thousands of states share most of them."""
    decoded: dict[object, Chunk] = {}

    def chunk_of_frames(frames, handle, where):
        key = tuple(frame.hash for frame in frames)
        if key not in decoded:
            decoded[key] = payload.chunk_of_frames(frames, handle, where)
        return decoded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "chunk_of_frames", chunk_of_frames)
        patch.setattr(writer_module, "chunk_of_frames", chunk_of_frames)
        if importlib.util.find_spec("population.lineage.journal.compaction"):
            patch.setattr(
                "population.lineage.journal.compaction.FAN_IN", 2
            )  # so that seals of small lineages merge segments
        yield
