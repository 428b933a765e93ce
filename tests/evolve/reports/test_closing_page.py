from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evolve.config.campaign import check_config
from evolve.home.home import Home
from evolve.promotion.promote import Decision
from evolve.reports import closing_page
from evolve.reports.baselines import Baseline
from tests.evolve import small

BLOCK = "bafyr4igse36wxyzabcdefghijklmnopqrstuvwxyz234567abcdefghijkl"
CONFIG = check_config(small.values(promote={"name": "digits", "floors": {"lite": 0.9}}))
SCORES = {
    "lite": {"accuracy": 0.95, "flops": 1000.0},
    "ultimate": {"accuracy": 0.975, "flops": 4000.0},
}
SUMMARY: dict[str, Any] = {
    "campaign": "digits", "state": "done", "seed": 0, "generations": 12, "evaluations": 2345, "population": "p" * 64,
    "lineage": "l" * 64, "champion": BLOCK, "scores": SCORES, "heldout": {}, "seconds": 71.0, "flops": 4.2e12,
    "quarantined": 0, "reason": "generations", "already_done": False, "again": None,
    "front": [{"individual": f"{n:032x}", "operator": "burst@1", "tier": "lite", "accuracy": 0.9 + n / 1000, "flops": n * 100}
              for n in range(1, 21)],
    "operators": [{"operator": "burst@1", "births": 100, "best": 0.97, "flops": 3e12},
                  {"operator": "gaussian@1", "births": 50, "best": None, "flops": 1e12}],
}  # fmt: skip
PROMOTED = Decision(
    "promoted", ["lite: reaches 0.9"], 1, BLOCK, {"lite": {"accuracy": 0.94}, "ultimate": {"accuracy": 0.972}}
)


def text_of(
    summary: dict[str, Any], decision: Decision | None, home: Path, baselines: list[Baseline] | None = None
) -> str:
    console = Console(width=130, record=True, file=io.StringIO())
    for part in closing_page.last_page(summary, decision, CONFIG, Home(home), baselines or []):
        console.print(part, soft_wrap=bool(getattr(part, "no_wrap", False)))
    return console.export_text()


def test_validation_and_heldout_stand_beside_plain_methods(tmp_path: Path) -> None:
    plain = Baseline("support vector machine (SVC)", {"validation": 0.9887, "heldout": 0.9915})
    text = text_of(SUMMARY, PROMOTED, tmp_path, [plain])
    (lite,) = [line.split() for line in text.splitlines() if line.startswith("evolved, lite")]
    assert lite == ["evolved,", "lite", "0.9500", "0.9400", "1,000", "(25%)"]
    (svc,) = [line.split() for line in text.splitlines() if line.startswith("support vector")]
    assert svc[-3:] == ["0.9887", "0.9915", "-"]


def test_cost_operators_and_places_are_told(tmp_path: Path) -> None:
    text = text_of(SUMMARY, PROMOTED, tmp_path)
    assert "2,345 evaluations in 12 generations, 1 min 11 s, 4.2 T FLOPs" in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith(("burst@1 ", "gaussian@1"))] == [
        "75%",
        "25%",
    ]
    for place in (str(tmp_path), "sqlite:///", BLOCK, "l" * 64, "p" * 64):
        assert place in text


def test_a_long_front_is_thinned_and_keeps_both_ends(tmp_path: Path) -> None:
    text = text_of(SUMMARY, PROMOTED, tmp_path)
    ends = [f"{n:032x}"[:12] for n in (1, 20)]
    assert "8 of 20 points" in text
    shown = [line.split() for line in text.splitlines() if "burst@1" in line and "lite" in line]
    assert len(shown) == 8
    assert [shown[0][-1], shown[-1][-1]] == ends


def test_the_gates_answer_is_told_with_its_reasons(tmp_path: Path) -> None:
    refused = Decision("refused", ["lite: misses 0.9"], 0, BLOCK)
    text = text_of(SUMMARY, refused, tmp_path)
    assert "The gate, for the head digits: refused\n  lite: misses 0.9" in text
    assert "no `promote` section" in text_of(SUMMARY, None, tmp_path)


def test_what_was_done_before_and_what_was_compared_is_said(tmp_path: Path) -> None:
    assert "nothing was computed again" in text_of({**SUMMARY, "already_done": True}, PROMOTED, tmp_path)
    compared = {"population_same": True, "lineage_same": True, "champion_same": False, "earlier": "digits"}
    text = text_of({**SUMMARY, "again": compared}, PROMOTED, tmp_path)
    assert "compared with digits: the same population, lineage; ANOTHER champion" in text


def test_a_failed_campaign_has_a_page_too(tmp_path: Path) -> None:
    failed = {**SUMMARY, "state": "failed", "champion": None, "scores": {}, "front": [], "operators": []}
    assert "ended: failed" in text_of(failed, None, tmp_path)


def test_commands_are_whole_lines_with_the_prefix_and_home_that_work_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVOLVE_HOME", raising=False)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program = tmp_path / ".venv" / "bin" / "evolve"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [".venv/bin/evolve", "run"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    commands = closing_page.next_commands(SUMMARY, PROMOTED, CONFIG, Home(tmp_path / ".evolve"))
    assert [command.split()[:2] for command in commands] == [
        [".venv/bin/evolve", name] for name in ("heads", "lineage", "query", "infer", "ui")
    ]
    assert not any("--home" in command for command in commands)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin")
    assert closing_page.next_commands(SUMMARY, PROMOTED, CONFIG, Home(tmp_path / ".evolve"))[0] == "evolve heads"
    elsewhere = closing_page.next_commands(SUMMARY, PROMOTED, CONFIG, Home(tmp_path / "my home"))
    assert all(command.endswith(" --home 'my home'") for command in elsewhere)
    text = text_of(SUMMARY, PROMOTED, tmp_path / ".evolve")
    assert any(closing_page.best_by_operator("accuracy") in line for line in text.splitlines())


def test_without_a_head_the_commands_name_the_champion(tmp_path: Path) -> None:
    refused = Decision("refused", [], 0, BLOCK)
    commands = closing_page.next_commands(SUMMARY, refused, CONFIG, Home(tmp_path))
    assert f"lineage {BLOCK[:12]} " in commands[1]


def test_what_is_to_be_small_is_sorted_and_asked_for_from_below(tmp_path: Path) -> None:
    """A campaign that followed a loss showed its worst operator first, and told to ask for the largest loss."""
    operators = [
        {"operator": name, "births": 1, "best": best, "flops": 1}
        for name, best in (("a", 2.0), ("b", 0.5), ("c", None))
    ]
    text = text_of({**SUMMARY, "objective": "loss", "operators": operators}, PROMOTED, tmp_path / ".evolve")
    table = text[text.index("By which operators") :]
    assert table.index("\nb ") < table.index("\na ") < table.index("\nc ")
    assert closing_page.best_by_operator("loss").startswith(
        "SELECT operator, count(DISTINCT individual) AS births, min(value)"
    )
    assert closing_page.best_by_operator("loss").endswith("ORDER BY 3")
