"""Files that commands write are old or new and never half: after a kill at any change of the disk, and on a disk that fills."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from blake3 import blake3

from evolve.cli.lineage.query import query
from evolve.cli.lineage.report import report
from evolve.home.home import VERSION, Home
from evolve.home.upgrade import upgrade
from evolve.models.placing import place
from evolve.promotion.promote import catch_up
from population.blocks.block import TensorBlock, load_block
from population.errors import EvolveError, StorageError
from population.files.local_files import FileSystem, LocalFiles
from population.pytorch import exported, seeded_inputs, source_of
from population.store.objects import BlockStore
from tests.evolve import whole
from tests.evolve.kills import MOMENTS, Killed, killed_at, points_of
from tests.old_homes import unpack
from tests.population.faulty_files import FaultyFiles
from tests.population.strategies import mlp, random_stack

FILES = LocalFiles()
Made = Mapping[str, bytes]


# ---- exports --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exports() -> tuple[Made, Made]:
    """Two exports of one name: of two blocks of one graph."""
    blocks = [TensorBlock.from_stack(random_stack(mlp(), 1, seed=seed), 0) for seed in (1, 2)]
    first, second = (_exported(block, f"No. {n}.") for n, block in enumerate(blocks))
    return first, second


def _exported(block: TensorBlock, title: str) -> Made:
    """The files of an export, without running them."""
    inputs = seeded_inputs(block.graph)
    outputs = [channel for channel, _ in block.graph.outputs]
    program = exported(block.to_torch(), inputs)
    text, weights = source_of(program, sorted(inputs), outputs, "small", title, safetensors.torch.save)
    return {"small.py": text.encode(), "small.safetensors": weights}


def loaded(folder: Path) -> tuple[str, float]:
    """Which export a folder holds, by its Python file, and a number that its weights give."""
    path = folder / "small.py"
    space: dict[str, Any] = {"__name__": "small", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), space)
    state = space["load"]().state_dict()
    return space["__doc__"].split("\n")[0], float(sum(tensor.double().sum() for tensor in state.values()))


def check_both(exports: tuple[Made, Made], tmp_path: Path, spoil: Callable[[Path, int], bool]) -> tuple[int, set[str]]:
    """Replaces an export by another while something spoils it at every point; returns at how many, and what was there."""
    old, new = exports
    wanted = set()
    for made in exports:
        place(FILES, fresh(tmp_path / "wanted"), made)
        wanted.add(loaded(tmp_path / "wanted"))
    assert len({number for _, number in wanted}) == 2
    seen, number = set(), 0
    while True:
        folder = fresh(tmp_path / "folder")
        place(FILES, folder, old)
        is_over = not spoil(folder, number)
        there = loaded(folder)
        assert there in wanted, number
        seen.add(there[0])
        place(FILES, folder, new)
        assert loaded(folder)[0] == "No. 1."
        assert not list(folder.glob("small-*")), number
        number += 1
        if is_over:
            return number, seen


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def test_an_export_of_two_files_that_is_killed_anywhere_loads_as_the_old_or_the_new(
    exports: tuple[Made, Made], tmp_path: Path, told: Callable[[str], None]
) -> None:
    """A kill between the two files once left the new Python file with the old weights: a third model that nobody made."""
    place(FILES, fresh(tmp_path / "count"), exports[0])
    points = points_of(lambda: place(FILES, tmp_path / "count", exports[1]))

    def spoil(folder: Path, number: int) -> bool:
        if number >= len(points):
            return False
        with killed_at(*points[number]), pytest.raises(Killed):
            place(FILES, folder, exports[1])
        return True

    number, seen = check_both(exports, tmp_path, spoil)
    assert seen == {"No. 0.", "No. 1."}
    told(f"{number - 1} kills, 0 mixed exports")


@pytest.mark.parametrize("is_after", [False, True])
def test_an_export_on_a_disk_that_fails_anywhere_loads_as_the_old_or_the_new(
    exports: tuple[Made, Made], tmp_path: Path, is_after: bool
) -> None:
    def spoil(folder: Path, number: int) -> bool:
        try:
            place(FaultyFiles(FILES, number, is_after=is_after), folder, exports[1])  # type: ignore[arg-type]
        except StorageError:
            return True
        return number < 8  # of what is only tidied up a failure is not told

    assert check_both(exports, tmp_path, spoil)[0] > 3


# ---- upgrades -------------------------------------------------------------------------------------------------------------


def content_of(root: Path) -> dict[str, str]:
    """Every file of a home but those that an upgrade writes, by its hash."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith((".tmp-", "VERSION"))]
    return {
        str(path.relative_to(root)): blake3(path.read_bytes()).hexdigest() for path in files if path.suffix != ".lock"
    }


def test_an_upgrade_that_is_killed_anywhere_leaves_a_home_of_one_format_or_the_next(
    tmp_path: Path, told: Callable[[str], None]
) -> None:
    kept = unpack(tmp_path / "kept")
    content = content_of(kept)

    def fresh_home() -> Home:
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        return Home.open(Path(shutil.copytree(kept, tmp_path / "home")))

    fresh_home()
    with killed_at(10**9, "before") as changes:
        upgrade(Home.open(tmp_path / "home"))
        points = [(point, moment) for point in range(1, changes() + 1) for moment in MOMENTS]
    seen = set()
    for point, moment in points:
        home = fresh_home()
        with killed_at(point, moment), suppress(Killed):  # folders that were synced before are not synced again
            upgrade(home)
        seen.add(home.version)
        assert content_of(home.root) == content, (point, moment)
        assert upgrade(home)["after"] == VERSION
        assert content_of(home.root) == content
    assert seen == {1, VERSION}
    told(f"{len(points)} kills, versions 1 or {VERSION}, nothing else changed")


# ---- by SIGKILL itself ----------------------------------------------------------------------------------------------------


def killed_for_real(work: Callable[[], object], after_s: float) -> None:
    """Does the work in a process of its own, which is killed that many seconds after it began."""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            work()
        os._exit(0)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def seconds_of(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


@pytest.mark.slow
def test_exports_and_upgrades_that_sigkill_ends_at_random_moments_are_old_or_new(
    exports: tuple[Made, Made], tmp_path: Path, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    rng = np.random.default_rng(5)
    folder, kept = tmp_path / "folder", unpack(tmp_path / "kept")
    place(FILES, fresh(folder), exports[0])
    lasts, seen = seconds_of(lambda: place(FILES, folder, exports[1])) + 0.02, set()
    for _ in range(scaled(200)):
        place(FILES, fresh(folder), exports[0])
        killed_for_real(lambda: place(FILES, folder, exports[1]), rng.uniform(0, lasts))
        seen.add(loaded(folder)[0])
    content = content_of(kept)
    home = Path(shutil.copytree(kept, tmp_path / "home"))
    lasts, versions = seconds_of(lambda: upgrade(Home.open(home))) + 0.02, set()
    for _ in range(scaled(200)):
        shutil.rmtree(home)
        shutil.copytree(kept, home)
        killed_for_real(lambda: upgrade(Home.open(home)), rng.uniform(0, lasts))
        versions.add(Home.open(home).version)
        assert content_of(home) == content
        assert upgrade(Home.open(home))["after"] == VERSION
    assert seen == {"No. 0.", "No. 1."}
    assert versions == {1, VERSION}
    told(f"{scaled(200)} exports and {scaled(200)} upgrades killed, each old or new")


# ---- pages and tables -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a finished campaign; tests get copies of it."""
    from evolve.driver import launch as launching
    from fitness.evaluators.in_process import InProcessEvaluator
    from tests.evolve import small

    path = tmp_path_factory.mktemp("finished") / "h"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "make_evaluator", lambda p: InProcessEvaluator(p.benchmark, small.MATERIALISE))
        whole.run_in(path)
    return path


@pytest.mark.parametrize("what", ["report", "query"])
def test_a_page_or_a_table_that_is_killed_anywhere_is_the_old_one_or_the_new(
    finished: Path, tmp_path: Path, what: str
) -> None:
    place, sql = tmp_path / "out.html", "SELECT individual FROM individuals"
    act: dict[str, Callable[[], object]] = {
        "report": lambda: report("digits", to=place, home=finished),
        "query": lambda: query(sql, to=place, timeout=60.0, memory="1GiB", max_rows=1000, home=finished),
    }
    points = points_of(act[what])
    new = len(place.read_bytes())
    rng, seen = np.random.default_rng(1), set()
    for number in rng.choice(len(points), min(len(points), 12), replace=False):
        place.write_bytes(b"old")
        with killed_at(*points[number]), suppress(Killed):
            act[what]()
        found = place.read_bytes()
        assert found == b"old" or abs(len(found) - new) < 64  # a page says when it was made
        seen.add(found == b"old")
    assert True in seen


# ---- a disk that fills ----------------------------------------------------------------------------------------------------


def test_a_block_put_on_a_disk_that_fills_anywhere_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    block, number = TensorBlock.from_stack(random_stack(mlp(), 1, seed=3), 0), 0
    while True:
        root = fresh(tmp_path / "store")
        files: FileSystem = FaultyFiles(FILES, number)  # type: ignore[assignment]
        try:
            BlockStore(files, root).put(block)
        except StorageError:
            store = BlockStore(FILES, root)
            if block.id in store.list_blocks():
                assert load_block(store, block.id).id == block.id
            assert store.put(block) == block.id
            number += 1
            continue
        assert number > 3
        return


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 8 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=True)


def fill(place: Path) -> Path:
    """Takes all the space that is left."""
    path = place / "somebody-elses"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    for size in (1 << 16, 1 << 12, 1):
        try:
            while True:
                os.write(descriptor, b"x" * size)
        except OSError:
            continue
    os.close(descriptor)
    return path


def test_a_report_on_a_full_disk_leaves_the_old_one_and_says_why(finished: Path, small_disk: Path) -> None:
    root = Path(shutil.copytree(finished, small_disk / "home"))
    page = root / "campaigns" / "digits" / "report.html"
    page.write_bytes(b"old")
    taken = fill(small_disk)
    answer = whole.call(whole.command("report", "digits", "--home", root))
    assert (answer.returncode, page.read_bytes()) == (3, b"old"), answer.stderr
    assert "the disk is full" in answer.stderr
    taken.unlink()
    assert whole.call(whole.command("report", "digits", "--home", root)).returncode == 0
    assert page.read_bytes()[:15] == b"<!doctype html>"
    assert not list(page.parent.glob(".tmp-*"))


def test_a_report_that_may_not_grow_leaves_the_old_one_and_says_why(finished: Path, tmp_path: Path) -> None:
    """The same for a user who may not mount: a limit on the size of files refuses the page in its midst."""
    page = tmp_path / "page.html"
    page.write_bytes(b"old")
    words = [str(word) for word in whole.command("report", "digits", "--out", page, "--home", finished)]
    answer = whole.call(["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *words])
    assert (answer.returncode, page.read_bytes()) == (3, b"old"), answer.stderr
    assert "ulimit -f" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_disk_that_fills_while_the_champion_is_published_loses_nothing(
    finished: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolve.driver import launch as launching
    from evolve.recovery.shelf import StoreShelf
    from fitness.evaluators.in_process import InProcessEvaluator
    from tests.evolve import small

    monkeypatch.setattr(launching, "make_evaluator", lambda p: InProcessEvaluator(p.benchmark, small.MATERIALISE))
    real, taken = StoreShelf.publish, []

    def publish(shelf: StoreShelf, row: bytes, work: Any) -> Any:
        taken.append(fill(small_disk))
        return real(shelf, row, work)

    root = small_disk / "home"
    with monkeypatch.context() as patch:
        patch.setattr(StoreShelf, "publish", publish)
        with pytest.raises(EvolveError) as refused:
            whole.run_in(root)
    assert refused.value.exit_code == 3
    assert Home.open(root).heads().names() == []
    store = Home.open(root).block_store()
    assert [load_block(store, cid).id for cid in store.list_blocks()] == store.list_blocks()
    taken[0].unlink()
    summary = whole.run_in(root)
    wanted = Home.open(finished).summary_of("digits")
    assert wanted is not None
    assert whole.hashes(summary) == whole.hashes(wanted)
    catch_up(Home.open(root))


# ---- tune -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_study_killed_at_many_moments_ends_as_one_that_was_not(
    tmp_path: Path, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    command = [sys.executable, "-m", "tests.evolve.tune_kills", str(tmp_path), str(scaled(40))]
    done = subprocess.run(command, cwd=whole.ROOT, env=whole.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told(done.stdout.strip())


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Pages, tables and exports need no more."""
    torch.set_num_threads(1)
