"""A checkpoint is exact, or it does not count; without it a resume comes to the same."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evolve.campaign.lineage_rows import population_id
from evolve.campaign.state import State
from evolve.campaign.summary import Progress
from evolve.campaign.transition import begin
from evolve.driver import launch as launching
from evolve.driver.loop import Hands, Interrupted, drive
from evolve.home.home import Home
from evolve.planning.plan import Plan
from evolve.recovery import checkpoints, state_codec
from evolve.recovery.checkpoints import Checkpoints, as_replayed, decode, encode
from evolve.recovery.replay import replay, resume
from evolve.recovery.shelf import MemoryShelf
from fitness.evaluators.in_process import InProcessEvaluator
from population.clock import ManualClock
from population.errors import FormatError, StorageError
from population.files.local_files import MemoryFiles
from population.lineage.format.records import Commit
from tests.evolve import small, whole
from tests.evolve.campaign.test_transition import KINDS

CHAIN = "ab" * 32


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the bit, arrays too; order of mappings counts."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if is_dataclass(one):
        return all(same(getattr(one, entry.name), getattr(other, entry.name)) for entry in fields(one))
    if isinstance(one, Mapping):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


@dataclass
class Keeping(MemoryShelf):
    """A shelf that holds the rows of keyframes too."""

    rows: dict[bytes, bytes] = field(default_factory=dict)

    def keep_rows(self, rows: Sequence[bytes]) -> None:
        self.rows |= {blake3(row).digest(): row for row in rows}


@dataclass
class Played:
    """A campaign that was played to its end: its commits, and its state after each."""

    plan: Plan
    shelf: Keeping
    commits: list[Commit] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    state: State | None = None

    def note(self, state: State) -> None:
        if len(self.commits) > len(self.states):
            self.states.append(state)


@cache
def played(kind: str) -> Played:
    plan = small.plan_of(**KINDS[kind])
    made = Played(plan, Keeping(plan))
    evaluator = InProcessEvaluator(made.plan.benchmark, small.MATERIALISE)
    hands = Hands(evaluator, made.commits.append, made.shelf, ManualClock(0.0), made.note, threading.Event())
    made.state = drive(made.plan, begin(made.plan), hands)
    evaluator.close()
    return made


# ---- the codec ----------------------------------------------------------------------------------------------------------

KEYS = st.one_of(
    st.integers(), st.text(max_size=5), st.binary(max_size=5), st.tuples(st.integers(), st.text(max_size=3))
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(max_size=40),
    arrays.arrays(st.sampled_from([np.float64, np.int64, np.uint8, np.bool_]), arrays.array_shapes(min_side=0)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=6).map(tuple) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


@given(VALUES)
def test_decode_gives_back_what_encode_was_given(value: Any) -> None:
    head, raw = state_codec.encode(value, ())
    assert same(state_codec.decode(head, raw, (), small.plan_of().problem), value)


ODD = st.sampled_from(
    [
        "Infinity",
        "NaN",
        "-1",
        "0",
        "1",
        "1e400",
        "true",
        "null",
        '"v"',
        '"<f8"',
        '"|b1"',
        '"a"',
        '"M8[s]"',
        '"3f8"',
        "{}",
        "2.5",
    ]
)
FORMS = st.recursive(ODD, lambda inner: st.lists(inner, max_size=5).map(lambda entries: f"[{','.join(entries)}]"))


@given(st.sampled_from("votxbsmadp"), st.lists(FORMS, max_size=4), st.binary(max_size=30))
def test_forms_that_are_nearly_right_are_refused_with_one_error(tag: str, rest: list[str], raw: bytes) -> None:
    with contextlib.suppress(FormatError):
        state_codec.decode("[" + ",".join([f'"{tag}"', *rest]) + "]", raw, (), small.plan_of().problem)


@given(st.binary(max_size=60), st.text(max_size=60))
def test_bytes_of_others_are_refused_with_one_error(raw: bytes, head: str) -> None:
    problem = small.plan_of().problem
    for text in (head, f'["b",0,[{head}]]', f'["a","<f8",[{head}],0]', f'["t",2,["v",{head}]]'):
        try:
            state_codec.decode(text, raw, (), problem)
        except FormatError:
            continue


@pytest.mark.parametrize(
    "head",
    [
        '["b",0,[99]]', '["b",-1,[1]]', '["b",0,[-1]]', '["a","|O",[1],0]', '["a","<f8",[-1],0]', '["a","<f8",[9],0]',
        '["a","<f8",[Infinity],0]', '["a","<f8",[1.0],0]', '["a","<f8",[4294967296,4294967296],0]',
        '["d","State"]', '["d","Path","v"]', '["z"]', '["v"]', '["v",1,2]', "[" * 4000 + "]" * 4000,
        '["x",' * 99 + "1" + "]" * 99,
    ],
)  # fmt: skip
def test_a_head_that_claims_what_is_not_there_is_refused(head: str) -> None:
    with pytest.raises(FormatError):
        state_codec.decode(head, b"12345678", (), small.plan_of().problem)


def test_a_type_that_was_not_named_is_not_written() -> None:
    for value in (Path("x"), {1}, np.float64(1.0), np.array(["x"], dtype=object), [1]):
        with pytest.raises(state_codec.UnknownType):
            state_codec.encode(value, ())


# ---- states of real campaigns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_state_of_a_campaign_is_written_and_read_to_the_bit(kind: str) -> None:
    made = played(kind)
    for state in made.states:
        data = encode(made.plan, state, CHAIN)
        read = decode(made.plan, data, lambda step, wanted=state.step - 1: CHAIN if step == wanted else None)  # type: ignore[misc]
        assert same(as_replayed(read), as_replayed(state))
        assert encode(made.plan, read, CHAIN) == data


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_what_a_replay_comes_to(kind: str) -> None:
    made = played(kind)
    for length, state in enumerate(made.states, 1):
        replayed = replay(made.plan, made.commits[:length])
        left_out = {"seconds"}
        if made.plan.strategy.window > 1:  # batches in flight may have been measured and submitted already
            left_out |= {"asked", "entropies", "widths", "met", "next_unit"}
        for entry in fields(State):
            one, other = (getattr(as_replayed(found), entry.name) for found in (replayed, state))
            assert entry.name in left_out or same(one, other), entry.name


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_holds_what_its_rows_are_made_of_and_no_more(kind: str) -> None:
    """Recipes met, and scores they refer to, once grew with every child that was made without a draw."""
    made = played(kind)
    bound = 4 * made.plan.problem.population * (made.plan.config.keyframe + 1)
    for state in made.states:
        assert set(state.digests) <= set(state.kin)
        for kin in state.kin.values():
            assert kin.recipe is None or set(kin.recipe.parents) <= set(state.kin)
            assert kin.recipe is not None or kin.digest in made.shelf.rows
        asked = {event for batch in state.asked for event in batch.batch.events}
        for recipe, event in state.met.items():
            assert set(recipe.parents) <= set(state.digests)
            assert event in state.judged or event in asked
        assert len(state.kin) + len(state.judged) + len(state.met) <= bound


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(st.data())
def test_a_resume_from_a_checkpoint_ends_as_one_without(kind: str, data: st.DataObject) -> None:
    made = played(kind)
    assert made.state is not None
    length = data.draw(st.integers(1, len(made.commits) - 1))
    at = data.draw(st.integers(1, length))
    state = decode(made.plan, encode(made.plan, made.states[at - 1], CHAIN), lambda _: CHAIN)
    evaluator = InProcessEvaluator(made.plan.benchmark, small.MATERIALISE)
    commits = list(made.commits[:length])
    turn = resume(
        made.plan,
        lambda: pytest.fail("the whole history was read"),
        evaluator,
        made.shelf.rows.get,
        checkpoint=state,
        read_from=lambda step: made.commits[step:length],
    )
    hands = Hands(
        evaluator, commits.append, MemoryShelf(made.plan), ManualClock(0.0), lambda _: None, threading.Event()
    )
    ended = drive(made.plan, turn, hands)
    evaluator.close()
    assert small.digests(commits) == small.digests(made.commits)
    assert (ended.block, population_id(made.plan, ended)) == (made.state.block, population_id(made.plan, made.state))


# ---- files --------------------------------------------------------------------------------------------------------------


def test_a_damaged_foreign_or_stale_checkpoint_counts_as_absent(
    scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    made = played("ga")
    data = encode(made.plan, made.states[3], CHAIN)
    rng = np.random.default_rng(0)
    flips, cuts = scaled(1000), scaled(300)
    for bit in rng.integers(0, 8 * len(data), size=flips).tolist():
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            decode(made.plan, bytes(damaged), lambda _: CHAIN)
    for size in rng.integers(0, len(data), size=cuts).tolist():
        with pytest.raises(FormatError):
            decode(made.plan, data[:size], lambda _: CHAIN)
    for chain in (None, "", "cd" * 32):
        with pytest.raises(FormatError, match="another log"):
            decode(made.plan, data, lambda _, found=chain: found)  # type: ignore[misc]
    with pytest.raises(FormatError, match="another campaign"):
        decode(small.plan_of(**{**KINDS["ga"], "seed": 1}), data, lambda _: CHAIN)
    told(f"{flips} bits flipped, {cuts} cuts: 0 read")


def test_checkpoints_come_every_so_many_births_and_replace_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_BIRTHS", 12)
    made, files, folder = played("ga"), MemoryFiles(), Path("/campaign")
    found = Checkpoints(made.plan, files, folder)
    seen = []
    for state in made.states:
        found.offer(state, CHAIN)
        seen.append(tuple(files.list(folder)))
    assert max(map(len, seen)) == 1
    assert len(set(seen)) > 2
    again = Checkpoints(made.plan, files, folder)
    newest = again.newest(lambda _: CHAIN)
    assert newest is not None
    assert (f"checkpoint-{newest.step}.evck",) == seen[-1]
    assert again.written == newest.next_event
    assert again.newest(lambda _: "ef" * 32) is None


def test_a_disk_that_refuses_a_checkpoint_does_not_end_the_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_BIRTHS", 1)
    made, files = played("ga"), MemoryFiles()

    def refuse(*_: Any, **__: Any) -> bool:
        raise StorageError("full")

    monkeypatch.setattr(files, "write_atomic", refuse)
    found = Checkpoints(made.plan, files, Path("/campaign"))
    found.offer(made.states[2], CHAIN)
    assert found.newest(lambda _: CHAIN) is None


def _damage(how: str, path: Path, older: bytes) -> None:
    data = path.read_bytes()
    path.unlink()
    if how == "flipped":
        path.write_bytes(data[:99] + bytes([data[99] ^ 4]) + data[100:])
    elif how == "cut":
        path.write_bytes(data[:-7])
    elif how == "stale":
        path.write_bytes(older)
    elif how == "of a log that went another way":
        step = int(path.stem.partition("-")[2])
        path.with_name(f"checkpoint-{step + 50}.evck").write_bytes(data)
    elif how == "whole":
        path.write_bytes(data)


@pytest.mark.parametrize(
    "how",
    [
        "whole",
        *[pytest.param(how, marks=pytest.mark.slow) for how in ("deleted", "flipped", "cut", "stale")],
        pytest.param("of a log that went another way", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_campaign_ends_the_same_whatever_became_of_its_checkpoint(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_BIRTHS", 1)
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))
    reference = whole.run_in(tmp_path / "reference")
    home, interrupted, older = tmp_path / "h", threading.Event(), []

    def stop(progress: Progress) -> None:
        older.extend(path.read_bytes() for path in home.rglob("*.evck"))
        if progress.generation == 4:
            interrupted.set()

    with pytest.raises(Interrupted):
        whole.run_in(home, progress=stop, interrupted=interrupted)
    (path,) = home.rglob("*.evck")
    _damage(how, path, older[0])
    begun_at: list[int] = []
    replay_of = replay

    def noted(plan: Plan, commits: Any, state: State | None = None) -> State:
        begun_at.append(state.step if state is not None else 0)
        return replay_of(plan, commits, state)

    monkeypatch.setattr("evolve.recovery.replay.replay", noted)
    assert whole.hashes(whole.run_in(home)) == whole.hashes(reference)
    assert whole.facts_of(home) == whole.facts_of(tmp_path / "reference")
    used = how in ("whole", "stale", "of a log that went another way")
    assert [step > 0 for step in begun_at] == [used]
    assert Home.open(home).state_of(whole.HANDLE) == "done"


@pytest.mark.slow
def test_a_row_that_the_store_lost_is_made_from_the_whole_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_BIRTHS", 1)
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))
    reference = whole.run_in(tmp_path / "reference")
    home, interrupted = tmp_path / "h", threading.Event()
    with pytest.raises(Interrupted):
        whole.run_in(
            home,
            progress=lambda progress: interrupted.set() if progress.generation == 3 else None,
            interrupted=interrupted,
        )
    kept = [path for path in (home / "store").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.unlink()
    assert whole.hashes(whole.run_in(home)) == whole.hashes(reference)


def test_a_strategy_that_names_no_states_has_no_checkpoints() -> None:
    made = played("ga")
    foreign = replace(made.states[2], strategy=threading.Event())
    with pytest.raises(state_codec.UnknownType):
        encode(made.plan, foreign, CHAIN)
