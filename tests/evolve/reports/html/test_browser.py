"""Headless Chromium opens the page: nothing on its console, nothing wider than the screen, the walk works, and without
JavaScript all the rest stands."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evolve.home.home import Home
from evolve.reports.html.page import make_report
from tests.evolve.cli.conftest import Done, run_tiny
from tests.evolve.reports.html.lineages import HOSTILE, many, named
from tests.evolve.reports.html.pages import page_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE, DESK = 375, 1440
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian's package is `chromium`)"),
]


def browse(address: str, width: int, folder: Path, *options: str) -> tuple[str, list[str]]:
    """Returns the document as it stands after its scripts, and what the console said. Nothing but files can be reached."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
        "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},2000", *options, "--dump-dom", address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return run_tiny(tmp_path_factory.mktemp("finished"))


@pytest.fixture(params=["finished", "many", "hostile"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind = request.param
    if kind == "finished":
        home = Home.open(request.getfixturevalue("finished").home)
    else:
        home = many(tmp_path / "h", 3000) if kind == "many" else named(tmp_path / "h", HOSTILE)
    place = tmp_path / "page.html"
    place.write_bytes(make_report(home, "tiny").html)
    return place


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_opens_without_a_network_and_without_a_word_on_the_console(
    written: Path, width: int, tmp_path: Path
) -> None:
    dom, console = browse(written.as_uri(), width, tmp_path)
    assert console == []
    shown = page_of(dom.encode())
    assert 'id="walk" hidden' not in dom
    assert shown.headings[0] == page_of(written.read_bytes()).headings[0]
    assert shown.walk()[0]["short"] in [text for name, text in shown.headings if name == "h3"]


def test_the_console_would_have_told(written: Path, tmp_path: Path) -> None:
    """The test above sees what it looks for: a style that the policy does not name is refused aloud."""
    text = written.read_text().replace("<style>", "<style> ", 1)
    written.write_text(text)
    _, console = browse(written.as_uri(), DESK, tmp_path)
    assert any("Content Security Policy" in line for line in console)


def test_an_address_leads_to_an_individual(written: Path, tmp_path: Path) -> None:
    walk = page_of(written.read_bytes()).walk()
    dom, console = browse(f"{written.as_uri()}#i2", PHONE, tmp_path)
    assert console == []
    assert ("h3", walk[2]["short"]) in page_of(dom.encode()).headings
    buttons = re.findall(r"<button[^>]*>([0-9a-f]{12}) ", dom)
    near = [walk[index]["short"] for index, _, _ in walk[2]["parents"] if index is not None]
    assert buttons == near + [walk[index]["short"] for index in walk[2]["children"]]


def test_without_javascript_all_but_the_walk_stands(written: Path, tmp_path: Path) -> None:
    """The browser cannot print a document with its JavaScript switched off; a policy without any script is as good."""
    said = page_of(written.read_bytes())
    written.write_text(re.sub(r'script-src [^"]*"', "script-src 'none'\"", written.read_text(), count=1))
    dom, console = browse(written.as_uri(), PHONE, tmp_path)
    assert len(console) == 1
    assert "Content Security Policy" in console[0]
    assert re.search(r'id="walk"[^>]*hidden', dom)
    assert page_of(dom.encode()).tables == said.tables


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_is_wider_than_the_screen(written: Path, width: int, tmp_path: Path) -> None:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", written.read_text())
    measure = "<script>document.body.dataset.wide = document.documentElement.scrollWidth - innerWidth</script>"
    written.write_text(text.replace("</body>", measure + "</body>"))
    dom, _ = browse(written.as_uri(), width, tmp_path)
    (beyond,) = re.findall(r'data-wide="(-?\d+)"', dom)
    assert int(beyond) <= 0
