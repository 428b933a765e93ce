"""Pedigrees that end with what has no row in this home: an imported model, a purged campaign; every command names it."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evolve.config.model import ModelConfig
from evolve.driver import launch as launching
from evolve.driver.launch import launch
from evolve.home.home import Home
from evolve.home.origins import Leaf, leaves_of
from evolve.home.purge import purge
from evolve.models.founder import origin_of_block
from evolve.planning.origin import Origin
from evolve.promotion.promote import install, promote
from evolve.recovery.fork import make_origin
from evolve.recovery.forked_plan import plan_in
from evolve.tracking.protocol import NullTracker
from fitness.evaluators.in_process import InProcessEvaluator
from population.blocks.block import load_block
from population.clock import SystemClock
from population.encoding.cid import cid_of_digest
from population.errors import DamageError
from population.store.objects import object_path
from tests.evolve import small, whole
from tests.evolve.cli.conftest import Program

IMPORTED, PURGED = Leaf("imported model"), Leaf("purged campaign", "digits")


@dataclass(frozen=True)
class Scene:
    """A home with the fork of a purged campaign and with an improved model; summaries and founders by campaign."""

    root: Path
    model: str
    summaries: dict[str, dict[str, Any]]
    founders: dict[str, list[str]]

    @property
    def home(self) -> Home:
        return Home.open(self.root)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The home, made once; tests leave it as it is."""
    root = tmp_path_factory.mktemp("leaves") / "h"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "make_evaluator", lambda p: InProcessEvaluator(p.benchmark, small.MATERIALISE))
        made = whole.run_in(root)
        home = Home.open(root)
        forking = whole.config("name=forked", "seed=3", "stop.generations=2")
        block = load_block(home.block_store(), made["champion"])
        model = ModelConfig(path="net.py", block=block.id)
        improving = whole.config("name=improved", "stop.generations=2").model_copy(update={"model": model})
        founders = {}
        summaries = {}
        for config, origin in (
            (forking, make_origin(home, "digits", None, forking)),
            (improving, origin_of_block(home, block)),
        ):
            summaries[config.name] = _launched(config, home, origin)
            founders[config.name] = [founder.individual for founder in origin.founders]
    install(home, block.id, "improved", "as it came in")
    purge(home, "digits", SystemClock(), is_forced=True)
    return Scene(root, block.id, summaries, founders)


def _launched(config: Any, home: Home, origin: Origin) -> dict[str, Any]:
    said = {"progress": lambda _: None, "tracker": NullTracker(), "interrupted": threading.Event()}
    return launch(
        plan_in(home, config, origin=origin),
        home,
        **said,
    )


@pytest.mark.parametrize(("campaign", "leaf"), [("forked", PURGED), ("improved", IMPORTED)])
def test_every_command_names_an_ancestor_that_has_no_row(
    scene: Scene, program: Program, campaign: str, leaf: Leaf
) -> None:
    """`lineage` and `report` once ended with a KeyError (70), `rebuild` said that there is no such campaign."""
    champion, founders = scene.summaries[campaign]["champion"], scene.founders[campaign]
    told = program("lineage", champion, "--depth", "0", "--home", scene.root)
    assert (told.code, str(leaf) in told.out) == (0, True)
    found = json.loads(program("lineage", champion, "--depth", "0", "--json", "--home", scene.root).out)
    missing = {one["individual"]: one for one in found["relatives"] if one["missing"] is not None}
    assert missing
    assert missing.keys() <= set(founders)
    assert {(one["missing"], one["campaign"] or "") for one in missing.values()} == {(leaf.what, leaf.campaign)}
    assert {one["individual"] for one in found["relatives"]} == {
        name for edge in found["edges"] for name in (edge["child"], edge["parent"])
    }
    for options in (["--kin"], ["--kin", "--depth", "0"], ["--descendants"], ["--recipe"]):
        assert program("lineage", champion, *options, "--home", scene.root).code == 0
    page = scene.root.parent / f"{campaign}.html"
    assert program("report", campaign, "--out", page, "--home", scene.root).code == 0
    assert page.read_text().count(f"<td>{leaf}</td>") >= len(missing)
    rebuilt = program("rebuild", champion, "--json", "--home", scene.root)
    value = json.loads(rebuilt.out)
    assert (rebuilt.code, value["same"], value["rebuilt"]) == (0, True, _digest(scene, campaign))
    assert {(one["individual"], one["what"]) for one in value["leaves"]} == {(name, str(leaf)) for name in missing}


def _digest(scene: Scene, campaign: str) -> str:
    sql = f"SELECT weights_digest AS d FROM individuals WHERE individual = '{scene.summaries[campaign]['individual']}'"
    return str(scene.home.query(sql).to_pylist()[0]["d"])


@pytest.mark.parametrize(("campaign", "leaf"), [("forked", PURGED), ("improved", IMPORTED)])
def test_a_leaf_itself_can_be_asked_for(scene: Scene, program: Program, campaign: str, leaf: Leaf) -> None:
    founder = scene.founders[campaign][0]
    told = program("lineage", founder[:12], "--descendants", "--home", scene.root)
    assert (told.code, told.out.splitlines()[0]) == (0, f"{founder[:12]}  {leaf}" + _block(scene, campaign))
    assert "adopt" in told.out
    assert program("lineage", founder, "--home", scene.root).code == 0
    recipe = program("lineage", founder, "--recipe", "--home", scene.root)
    assert (recipe.code, str(leaf) in recipe.err) == (2, True)
    rebuilt = json.loads((answer := program("rebuild", founder, "--json", "--home", scene.root)).out)
    assert (answer.code, rebuilt["same"], rebuilt["reason"].startswith(str(leaf))) == (3, None, True)


def _block(scene: Scene, campaign: str) -> str:
    return f"  block {scene.model[:12]}" if campaign == "improved" else ""


def test_a_head_that_is_still_the_model_has_its_pedigree(scene: Scene, program: Program) -> None:
    """A head on which nothing better followed was once said to be of no campaign."""
    answer = program("lineage", "improved", "--descendants", "--home", scene.root)
    assert (answer.code, "imported model" in answer.out) == (0, True)
    assert program("rebuild", "improved", "--home", scene.root).code == 3


def test_views_and_functions_name_leaves(scene: Scene) -> None:
    rows = {row["individual"]: row for row in scene.home.query("SELECT * FROM leaves").to_pylist()}
    (imported,) = scene.founders["improved"]
    assert rows.pop(imported) == {"individual": imported, "what": "imported model", "campaign": None}
    assert {(row["what"], row["campaign"]) for row in rows.values()} == {("campaign not in this home", "digits")}
    assert rows.keys() <= set(scene.founders["forked"])
    sql = "SELECT count(*) AS n FROM {}('{}')"
    with_rows = scene.home.query(sql.format("descendants", imported)).to_pylist()
    connection = scene.home.connect()
    assert [connection.execute(sql.format("descendants", imported[:12])).fetchone()[0]] == [r["n"] for r in with_rows]
    assert with_rows[0]["n"] > 0
    connection.close()


def test_a_founder_whose_row_is_lost_is_a_reason_and_a_damaged_one_an_error(
    scene: Scene, program: Program, tmp_path: Path
) -> None:
    home = Home.open(Path(shutil.copytree(scene.root, tmp_path / "own")))
    champion = scene.summaries["improved"]["champion"]
    origin_row = json.loads((home.campaign_dir("improved") / "fork.json").read_text())["founders"][0]["digest"]
    path = object_path(home.store_root, cid_of_digest(bytes.fromhex(origin_row), "raw"))
    whole_row = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole_row[:-1] + bytes([whole_row[-1] ^ 1]))
    answer = program("rebuild", champion, "--home", home.root)
    assert (answer.code, path.name in answer.err) == (1, True)
    path.unlink()
    answer = program("rebuild", champion, "--json", "--home", home.root)
    value = json.loads(answer.out)
    assert (answer.code, value["same"], "is not in the block store" in value["reason"]) == (3, None, True)


def test_the_gate_says_which_campaign_its_ancestors_went_with(scene: Scene, tmp_path: Path) -> None:
    home = Home.open(Path(shutil.copytree(scene.root, tmp_path / "own")))
    decision = promote(home, scene.summaries["forked"]["champion"], "forked", floors={})
    assert (decision.decision, decision.look) == ("refused", None)
    assert "(purged campaign digits)" in decision.reasons[0]


def test_leaves_are_known_by_the_campaigns_that_began_with_them(scene: Scene) -> None:
    found = leaves_of(scene.home, pytest.fail)
    assert {name: found[name] for name in scene.founders["improved"]} == {
        name: Leaf("imported model", block=scene.model) for name in scene.founders["improved"]
    }
    assert {found[name] for name in scene.founders["forked"]} == {PURGED}


def test_a_damaged_record_of_one_fork_spoils_no_command_about_another(
    scene: Scene, program: Program, tmp_path: Path
) -> None:
    """`lineage`, `rebuild` and `report` of every campaign once ended with the damage of one."""
    home = Home.open(Path(shutil.copytree(scene.root, tmp_path / "own")))
    record = home.campaign_dir("improved") / "fork.json"
    record.write_text("{")
    champion = scene.summaries["forked"]["champion"]
    for words in (("lineage", champion), ("rebuild", champion), ("report", "forked", "--out", tmp_path / "page.html")):
        answer = program(*words, "--home", home.root)
        assert (answer.code, "'improved' are not known" in answer.err, str(record) in answer.err) == (0, True, True)
    unknown = program("rebuild", scene.founders["improved"][0], "--home", home.root)
    assert (unknown.code, str(record) in unknown.err) == (1, True)
    with pytest.raises(DamageError, match="'improved' are not known"):  # it may be an import, whose lineage is whole
        promote(home, scene.summaries["improved"]["champion"], "other", floors={})
    decision = promote(home, champion, "forked", floors={})
    assert (decision.decision, "(purged campaign digits)" in decision.reasons[0]) == ("refused", True)
