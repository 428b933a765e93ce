from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evolve.cli.conftest import Done, Program

NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
"""


def test_a_tier_goes_out_as_safetensors_and_comes_in_as_a_block(
    program: Program, finished: Done, tmp_path: Path
) -> None:
    file = tmp_path / "lite.safetensors"
    asked = ["blocks", "export", "tiny", "--tier", "lite", "--format", "safetensors", "--output", file]
    told = json.loads(program(*asked, "--json", "--home", finished.home).out)
    assert (told["files"], told["tier"], told["inputs"]) == ([str(file)], "lite", 1000)
    assert told["largest_difference"] < 1e-5
    home = tmp_path / "home"
    block = program("blocks", "import", file, "--home", home).out.strip()
    shown = json.loads(program("blocks", "show", block, "--json", "--home", home).out)
    assert shown["tiers"]["ultimate"]["flops"] == finished.summary["scores"]["lite"]["flops"]


def test_an_onnx_file_is_written_under_the_name_of_the_block(
    program: Program, finished: Done, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = program("blocks", "export", "tiny@lite", "--home", finished.home)
    assert done.out.strip() == "tiny-lite.onnx"
    assert "on 1,000 seeded inputs" in done.err
    assert (tmp_path / "tiny-lite.onnx").stat().st_size > 500


def test_wrong_uses_are_refused_in_one_line_and_write_nothing(program: Program, finished: Done, tmp_path: Path) -> None:
    home = finished.home
    for arguments, text in (
        (["export", "tiny", "--format", "pickle"], "choose from onnx, safetensors, torch"),
        (["export", "tiny", "--output", tmp_path / "x.txt"], "must end in .onnx"),
        (["export", "tiny", "--format", "torch", "--output", tmp_path / "a-b.py"], "import it"),
        (["export", "tiny", "--tier", "pro9"], "choose lite, pro"),
        (["import", "net.txt"], "name Python files"),
        (["import", tmp_path / "nowhere.py"], "no such file"),
        (["import", __file__, "--input", "image"], "write NAME=SHAPE"),
        (["import", __file__, "--input", "image=3:float31"], "did you mean 'float32'"),
        (["import", __file__, "--weights", "x.ckpt"], "must end in .safetensors"),
        (["import", __file__, "--input", "x=3", "--accept-level", "some"], "choose full, reduced or none"),
    ):
        answer = program("blocks", *arguments, "--home", home)
        assert answer.code == 2, arguments
        assert text in answer.err
        assert len(answer.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_module_comes_in_from_its_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    asked = ["blocks", "import", f"{tmp_path / 'net.py'}:make", "--input", "input=3", "--name-output", "logits"]
    told = json.loads(program(*asked, "--json", "--home", tmp_path / "home").out)
    assert told["graph"]["outputs"] == [["logits", "2"]]
    assert told["largest_difference"] < 1e-5
