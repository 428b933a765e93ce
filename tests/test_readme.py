"""The README's Python examples run as printed, each in a fresh interpreter and an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
# Blocks with prompts are doctests: pytest itself runs those.
EXAMPLES = [code for code in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL) if ">>>" not in code]


@pytest.mark.parametrize("code", EXAMPLES, ids=[f"example-{index + 1}" for index in range(len(EXAMPLES))])
def test_an_example_of_the_readme_runs_as_printed(code: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    paths = [str(ROOT)] if (ROOT / "evolve").exists() else []
    prelude = f"import sys, runpy; sys.path[:0] = {paths!r}; runpy.run_path({str(script)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", prelude], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
