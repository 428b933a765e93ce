"""Merging what many short runs of a campaign have sealed: small groups of segments become one, under the same manifest.

Noun: a *group* is the segments of one range of steps; it is *small* where its files together are. A group that is not
small is never replaced, so a reader may keep its files open as long as it likes; small ones are read into memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from population.files.local_files import FileSystem
from population.lineage.format.commits import Chunk
from population.lineage.journal.segments import Segment, read_table, verified_bytes, write_segments

#: A group whose files are smaller than this together is small.
SMALL_BYTES = 1 << 20
#: So many small groups at the end of a manifest are merged.
FAN_IN = 8


def is_small(group: Sequence[Segment]) -> bool:
    """Returns whether a group may still be merged with others, and its files removed then."""
    return sum(segment.bytes for segment in group) < SMALL_BYTES


def groups_of(segments: Sequence[Segment]) -> Iterator[tuple[Segment, ...]]:
    """Returns the segments of each range of steps, in the order of the steps."""
    ordered = sorted(segments, key=lambda segment: segment.first)
    for _, group in groupby(ordered, key=lambda segment: segment.first):
        yield tuple(group)


def compact(
    files: FileSystem, home: Path, handle: str, segments: Sequence[Segment], layouts: Mapping[str, str]
) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """Returns the segments that a manifest is to name, and those that it then no longer needs. Where enough small groups
    stand at the end they are merged into new files, durable when this returns; nothing is removed.

    Raises:
        LineageCorrupt: a file to be merged is damaged. StorageError: the file system refused.
    """
    run: list[tuple[Segment, ...]] = []
    for group in reversed(list(groups_of(segments))):
        if not is_small(group):
            break
        run.insert(0, group)
    if len(run) < FAN_IN:
        return tuple(segments), ()
    merged = tuple(segment for group in run for segment in group)
    tables: dict[str, list[pa.Table]] = {}
    for segment in merged:
        rows = read_table(verified_bytes(files, home, handle, segment), segment.table)
        tables.setdefault(segment.table, []).append(rows)
    chunk = Chunk({table: pa.concat_tables(pieces) for table, pieces in tables.items()}, layouts)
    written = write_segments(files, home, handle, chunk, run[0][0].first, run[-1][0].last)
    kept = tuple(segment for segment in segments if segment not in merged)
    return (*kept, *written), merged
