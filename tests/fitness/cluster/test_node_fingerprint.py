from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fitness.cluster.node_fingerprint import ABSENT, Fingerprint, fingerprint_here, probe, source_digest
from fitness.judges.tile_plan import DEFAULT_PLANS
from tests.fitness.toys import MATERIALISE, PLUGINS

PRINTED = (
    "import json; from fitness.cluster.node_fingerprint import fingerprint_here; "
    "from fitness.judges.tile_plan import DEFAULT_PLANS; "
    f"print(json.dumps(fingerprint_here({MATERIALISE!r}, {PLUGINS!r}, DEFAULT_PLANS).fields))"
)


def test_a_field_that_differs_is_a_line_that_says_both_sides() -> None:
    here = Fingerprint({"python": "3.11.7", "cpu": "AVX512"})
    assert here.differences({"python": "3.11.7", "cpu": "AVX2"}) == ["cpu is AVX2 there and AVX512 here"]
    assert here.differences({"python": "3.11.7"}) == ["cpu is absent there and AVX512 here"]
    assert here.differences(here.fields) == []


def test_another_process_has_the_same_fingerprint_and_other_kernels_another() -> None:
    import json

    here = fingerprint_here(MATERIALISE, PLUGINS, DEFAULT_PLANS)
    assert f"source of {PLUGINS[0]}" in here.fields
    same, other = (
        json.loads(subprocess.run([sys.executable, "-c", PRINTED], capture_output=True, check=True, env=env).stdout)
        for env in (dict(os.environ), {**os.environ, "ATEN_CPU_CAPABILITY": "default"})
    )
    assert here.differences(same) == []
    if here.fields["cpu"] != "DEFAULT":
        assert {line.split()[0] for line in here.differences(other)} == {"cpu", "kernels"}


def test_a_changed_line_of_a_package_changes_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fingerprinted_toy"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "part.py").write_text("ONE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = source_digest("fingerprinted_toy.part")
    source_digest.cache_clear()
    (folder / "part.py").write_text("ONE = 2\n")
    assert source_digest("fingerprinted_toy.part") != before
    assert source_digest("no_such_module_here") == ABSENT


def test_the_probe_gives_the_same_bits_again() -> None:
    first = probe()
    probe.cache_clear()
    assert probe() == first
