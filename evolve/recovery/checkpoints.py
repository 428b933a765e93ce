"""Checkpoints: caches of a campaign's state beside its journal, so that a resume replays a few steps and not all of them.

The log is the only durable state: a checkpoint may be deleted, cut or damaged at any time, and whatever is not exactly what
this program wrote for this campaign at a step of this very log counts as absent. It is written every so many births.

File: magic ``EVCK``, length of the header (u32, little-endian); the header (JSON: version, campaign key, schema, step, chain,
sizes); head and raw of ``evolve.recovery.state_codec``; BLAKE3 of all before. ``chain``: hash of the frame of the step
before: it stands for the whole log up to there.

Nouns: *checkpoint*.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

from evolve import strategies
from evolve.campaign.front import FrontPoint, Tally
from evolve.campaign.state import Asked, Kin, State
from evolve.campaign.transition import cut_again
from evolve.planning.plan import Plan
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe
from evolve.recovery import state_codec
from population.errors import FormatError, StorageError
from population.files.local_files import FileSystem

VERSION = 1
MAGIC = b"EVCK"
#: A checkpoint is written when so many births were asked for since the last one.
EVERY_BIRTHS = 16_384
_PREFIX, _SUFFIX = "checkpoint-", ".evck"
_SIZE = struct.Struct("<4sI")
_HASH_SIZE = 32

#: Returns the hash of the frame that committed a step, in hex; None where the log has no such step or does not know it.
ChainAt = Callable[[int], str | None]


def encode(plan: Plan, state: State, chain: str) -> bytes:
    """Returns the file of a state, as it was after a commit whose frame has this hash.

    Raises:
        UnknownType: the strategy's state is of types that its registration does not name.
    """
    known = _known(plan)
    units = tuple(asked.cuts[0].unit.unit_id if asked.cuts else 0 for asked in state.asked)
    head, raw = state_codec.encode((as_replayed(state), units), known)
    text = head.encode()
    header = {
        "version": VERSION,
        "key": plan.key.hex(),
        "schema": _schema(known),
        "step": state.step,
        "chain": chain,
        "sizes": [len(text), len(raw)],
    }
    line = json.dumps(header).encode()
    data = b"".join((_SIZE.pack(MAGIC, len(line)), line, text, raw))
    return data + blake3(data).digest()


def decode(plan: Plan, data: bytes, chain_at: ChainAt) -> State:
    """Returns the state of a file. Raises FormatError where it is not whole, not this campaign's, or not of this log."""
    body = data[:-_HASH_SIZE]
    if len(data) < _SIZE.size + _HASH_SIZE or blake3(body).digest() != data[-_HASH_SIZE:]:
        raise FormatError("a checkpoint that is cut or damaged")
    magic, size = _SIZE.unpack_from(body)
    start = _SIZE.size + size
    try:
        header = json.loads(body[_SIZE.size : start])
        version, key, schema, step, chain, (head_size, raw_size) = (
            header[name] for name in ("version", "key", "schema", "step", "chain", "sizes")
        )
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"a checkpoint with another header: {error}") from error
    known = _known(plan)
    if (magic, version, key, schema) != (MAGIC, VERSION, plan.key.hex(), _schema(known)):
        raise FormatError("a checkpoint of another campaign, or of another version of the program")
    if chain_at(step - 1) != chain or start + head_size + raw_size != len(body):
        raise FormatError("a checkpoint of another log")
    head = body[start : start + head_size].decode()
    found = state_codec.decode(head, body[start + head_size :], known, plan.problem)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], State)):
        raise FormatError("a checkpoint that holds no state")
    state: State = found[0]
    units = found[1]
    asked = tuple(
        replace(a, cuts=cut_again(plan, state, a, unit)) if a.is_submitted else a
        for a, unit in zip(state.asked, units, strict=True)
    )
    return replace(state, asked=asked)


def as_replayed(state: State) -> State:
    """Returns what a replay knows of a state right after a commit: no results of batches that are not told, no clock that
    decided nothing. Units are cut again when it is read."""
    asked = tuple(replace(found, cuts=(), results={}) for found in state.asked)
    return replace(state, asked=asked, seconds=state.seconds if state.reason == "seconds" else 0.0)


def _known(plan: Plan) -> tuple[type, ...]:
    search = strategies.get(plan.config.strategy.kind)
    return (State, Asked, Batch, Recipe, Kin, FrontPoint, Tally, *search.states)


def _schema(known: tuple[type, ...]) -> str:
    """Returns a hash over the names and fields of what a checkpoint consists of: another version's are not read."""
    shape = [(found.__name__, state_codec.field_names(found)) for found in known]
    return blake3(json.dumps(shape).encode()).hexdigest(8)


@dataclass
class Checkpoints:
    """The checkpoints of one campaign: at most one lies there, but for a crash between writing one and removing the other.

    Attributes:
        folder: the campaign's. written: births asked for when the last one was written.
    """

    plan: Plan
    files: FileSystem
    folder: Path
    written: int = 0

    def offer(self, state: State, chain: str) -> None:
        """Writes a checkpoint where it is time; ``chain`` is the hash of the frame that was committed last, "" for none yet.

        A disk that refuses is no reason to stop: the commit that follows will tell of it.
        """
        if not chain or state.next_event - self.written < EVERY_BIRTHS or state.phase != "search":
            return
        self.written = state.next_event
        with suppress(StorageError, state_codec.UnknownType):
            path = self.folder / f"{_PREFIX}{state.step}{_SUFFIX}"
            self.files.write_atomic(path, encode(self.plan, state, chain), mode=0o644, replace=True)
            for step, other in self._found():
                if step != state.step:
                    self.files.remove(other)

    def newest(self, chain_at: ChainAt) -> State | None:
        """Returns the state of the newest checkpoint that agrees with the log, or None."""
        for _, path in self._found():
            with suppress(FormatError, StorageError):
                state = decode(self.plan, self.files.read_bytes(path), chain_at)
                self.written = state.next_event
                return state
        return None

    def _found(self) -> list[tuple[int, Path]]:
        """Returns what lies there, the newest first."""
        names = [name for name in self.files.list(self.folder) if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
        steps = [(name[len(_PREFIX) : -len(_SUFFIX)], name) for name in names]
        return sorted(((int(step), self.folder / name) for step, name in steps if step.isdecimal()), reverse=True)
