"""A promotion that is killed anywhere pays once for its look, and decides the same; whatever else is asked pays anew."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evolve.home.home import Home
from evolve.planning.plan import Plan, make_plan
from evolve.promotion.ledger import Ledger
from evolve.promotion.promote import Decision
from fitness.judges.judge import InlineJudge
from population.blocks.block import TensorBlock
from tests.evolve.kills import Killed, killed_at
from tests.evolve.promotion.test_promote import Scene, block_of, config_of, weights_by_ridge

#: An inline judge isolates nothing, which these promotions accept: it is the log that is tested.
ASKED: dict[str, Any] = {"accept_level": "none", "floors": {"ultimate": 0.9}, "margin": 0.02}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(config_of("digits"))


@pytest.fixture(scope="module")
def blocks(plan: Plan) -> dict[str, TensorBlock]:
    """Two that are equally good, and one that is worse."""
    weights, bias = weights_by_ridge(plan, 1.0)
    worse = weights.copy()
    worse[3] = 0
    return {
        "good": block_of((weights, bias)),
        "as good": block_of((weights * 2, bias * 2)),
        "poor": block_of((worse, bias)),
    }


def ask(scene: Scene, cid: str, name: str = "digits", **others: Any) -> Decision:
    return scene.promote(cid, name, judge=InlineJudge(), **{**ASKED, **others})


def copied(scene: Scene, root: Path) -> Scene:
    """The scene in a copy of its home."""
    other = Scene.__new__(Scene)
    other.home, other.clock, other.num_campaigns = (
        Home.open(Path(shutil.copytree(scene.home.root, root))),
        scene.clock,
        9,
    )
    return other


def looks(scene: Scene) -> list[tuple[str, int]]:
    rows = scene.query(
        "SELECT decision, look FROM promotions WHERE look IS NOT NULL ORDER BY look, decided, decision = 'looked' DESC"
    )
    return [(row["decision"], row["look"]) for row in rows]


def points(scene: Scene, cid: str, root: Path) -> tuple[int, Decision]:
    """Returns how many changes of the disk a promotion makes, and what it decides."""
    with killed_at(10**9, "before") as changes:
        decision = ask(copied(scene, root), cid)
        return changes(), decision


def killed_everywhere(scene: Scene, cid: str, tmp_path: Path, wanted: int, before: int) -> int:
    """Kills a promotion at drawn points, takes it up again, and checks it; returns at how many points."""
    total, straight = points(scene, cid, tmp_path / "straight")
    assert total > 10
    everywhere = list(itertools.product(range(1, total + 1), ("before", "midst", "after")))
    drawn = np.random.default_rng(9).choice(len(everywhere), min(wanted, len(everywhere)), replace=False)
    for number in drawn:
        point, moment = everywhere[number]
        killed = copied(scene, tmp_path / "killed")
        with (
            killed_at(point, moment),
            suppress(Killed),
        ):  # the last few points are there only in a home's first promotion
            ask(killed, cid)
        again = ask(killed, cid)
        assert (again.heldout, again.sequence) == (straight.heldout, straight.sequence), (point, moment)
        assert again.decision == straight.decision or (straight.decision, again.decision) == (
            "promoted",
            "already there",
        )
        assert looks(killed)[before:] == [("looked", straight.look), (straight.decision, straight.look)], (
            point,
            moment,
        )
        head = killed.home.heads().current("digits")
        assert (head.sequence if head else 0) == straight.sequence
        shutil.rmtree(killed.home.root)
    return len(drawn)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "home")


def test_a_promotion_killed_at_some_points_pays_for_one_look(
    scene: Scene, blocks: dict[str, TensorBlock], tmp_path: Path
) -> None:
    ask(scene, scene.campaign(blocks["good"]))
    assert killed_everywhere(scene, scene.campaign(blocks["as good"]), tmp_path, 6, 2) == 6


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("which", ["good", "poor", "as good"])
def test_a_promotion_killed_at_every_point_pays_for_one_look(
    scene: Scene,
    blocks: dict[str, TensorBlock],
    tmp_path: Path,
    which: str,
    scaled: Callable[[int], int],
    told: Callable[[str], None],
) -> None:
    """A kill between the look and the decision once made the same promotion take, and pay for, another look."""
    before = 0
    if which == "as good":
        ask(scene, scene.campaign(blocks["good"]))
        before = 2
    told(
        f"{killed_everywhere(scene, scene.campaign(blocks[which]), tmp_path, scaled(400), before)} kills, one look each"
    )


def test_an_answered_question_has_its_answer(scene: Scene, blocks: dict[str, TensorBlock]) -> None:
    cid = scene.campaign(blocks["poor"])
    first, again = ask(scene, cid), ask(scene, cid)
    assert (again.decision, again.look, again.alpha, again.heldout) == (first.decision, 1, first.alpha, first.heldout)
    assert again.reasons[:-1] == first.reasons
    assert looks(scene) == [("looked", 1), ("refused", 1)]
    for number, asked in enumerate(({"margin": 0.03}, {"floors": {"ultimate": 0.95}}), start=2):
        assert [ask(scene, cid, **asked).look for _ in range(2)] == [number, number]  # another question, another look
    assert ask(scene, cid).look == 1


def test_whatever_else_is_asked_takes_a_look_of_its_own(scene: Scene, blocks: dict[str, TensorBlock]) -> None:
    """Nobody gets a second look for free: another block, name, head, floor, margin or level is another question."""
    cid, other = scene.campaign(blocks["poor"]), scene.campaign(blocks["good"])
    begin_and_die(scene, cid)
    questions: list[tuple[str, str, dict[str, Any]]] = [
        (other, "elsewhere", {}),
        (cid, "another", {}),
        (cid, "digits", {"floors": {"ultimate": 0.95}}),
        (cid, "digits", {"margin": 0.03}),
        (cid, "digits", {"accept_level": "reduced"}),
    ]
    for number, (block, name, asked) in enumerate(questions, start=2):
        assert ask(scene, block, name, **asked).look == number
    assert ask(scene, cid).look == 1
    assert ask(scene, other, "digits").look == 7  # a head stands now:
    assert ask(scene, cid).look == 8


def begin_and_die(scene: Scene, cid: str) -> None:
    """A look that was begun and cut short before anything was seen."""

    class Dead(InlineJudge):
        def run(self, *_: Any, **__: Any) -> Any:
            raise Killed

    with pytest.raises(Killed):
        scene.promote(cid, judge=Dead(), **ASKED)
    assert looks(scene)[-1][0] == "looked"


def test_what_could_not_be_judged_is_no_answer(scene: Scene) -> None:
    huge = scene.campaign(block_of((np.full((10, 64), 3e38, np.float32), np.zeros(10, np.float32))))
    assert [ask(scene, huge).look, ask(scene, huge).look] == [1, 2]


def test_rows_of_older_programs_are_counted_and_answer_nothing() -> None:
    rows = [
        {"decision": "looked", "look": 4, "evidence": {"benchmark": "aa", "look": 4, "alpha": 0.0025}},
        {"decision": "refused", "look": None, "evidence": None},
    ]
    ledger = Ledger(rows)
    assert (ledger.next_look("aa"), ledger.next_look("bb")) == (5, 1)
    assert (ledger.open_look("q"), ledger.refusal("q", "full")) == (None, None)
