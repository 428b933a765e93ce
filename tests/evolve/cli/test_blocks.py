from __future__ import annotations

import json

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
