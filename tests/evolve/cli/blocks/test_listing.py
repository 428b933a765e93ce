from __future__ import annotations

import json
from pathlib import Path

from tests.evolve.cli.conftest import Done, Program


def test_the_list_tells_where_a_block_comes_from_and_what_it_is_for(program: Program, finished: Done) -> None:
    (block,) = json.loads(program("blocks", "list", "--json", "--home", finished.home).out)
    assert block["block"] == finished.summary["champion"]
    assert (block["individual"], block["campaign"]) == (finished.summary["individual"], "tiny")
    assert block["heads"] == ["tiny"]
    assert block["tiers"]["lite"]["flops"] == finished.summary["scores"]["lite"]["flops"]
    assert finished.summary["champion"][:12] in program("blocks", "list", "--home", finished.home).out


def test_show_tells_channels_operations_and_gates(program: Program, finished: Done) -> None:
    value = json.loads(program("blocks", "show", "tiny", "--json", "--home", finished.home).out)
    assert value["inputs"] == {"image": {"shape": [1, 8, 8], "dtype": "float32"}}
    assert value["outputs"] == {"logits": ["10"]}
    assert [node["name"] for node in value["nodes"]] == ["scale", "flat", "fc", "act", "head"]
    assert value["nodes"][2]["shape"] == ["hidden"]
    assert value["gates"] == [{"tier": "lite", "when": "confidence(logits) > 0.2"}]
    text = program("blocks", "show", finished.summary["champion"][:10], "--home", finished.home).out
    assert "multiply (filter)" in text
    assert finished.summary["champion"] in text


def test_a_block_is_made_of_a_template_and_made_again_the_same(program: Program, tmp_path: Path) -> None:
    home = tmp_path / "home"
    asked = ["blocks", "new", "--template", "cnn", "--benchmark", "digits", "--set", "channels=[4,8]", "--home", home]
    made = json.loads(program(*asked, "--seed", "7", "--json").out)
    assert made["graph"]["symbols"] == {"c1": 4, "c2": 8}
    assert program(*asked, "--seed", "7").out.strip() == made["block"]
    assert program(*asked).out.strip() != made["block"]
    shown = json.loads(program("blocks", "show", made["block"][:16], "--json", "--home", home).out)
    assert shown["inputs"] == {"image": {"shape": [1, 8, 8], "dtype": "float32"}}
    assert (shown["individual"], shown["heads"]) == (None, [])


def test_templates_are_listed_with_their_settings(program: Program) -> None:
    found = {entry["template"]: entry for entry in json.loads(program("blocks", "templates", "--json").out)}
    assert found["mlp"]["settings"] == {"hidden": [64], "activation": "relu", "standardise": True}
    assert "convolutions" in program("blocks", "templates").out


def test_a_wrong_template_or_setting_is_refused_in_one_line(program: Program, tmp_path: Path) -> None:
    for arguments, text in (
        (["--template", "mpl"], "Did you mean 'mlp'"),
        (["--template", "mlp"], "graph.inputs: no benchmark tells them here"),
        (["--template", "mlp", "--benchmark", "digits", "--set", "hiden=3"], "did you mean 'hidden'"),
        (["--template", "mlp", "--benchmark", "digits", "--set", "hidden"], "--set 'hidden': write key=value"),
        (["--template", "mlp", "--benchmark", "digts"], "no benchmark is named 'digts'"),
    ):
        answer = program("blocks", "new", *arguments, "--home", tmp_path / "home")
        assert answer.code == 2
        assert text in answer.err
        assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "home").exists()
