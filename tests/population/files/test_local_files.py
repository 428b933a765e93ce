"""One contract for every file system, and what only the real disk can show."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from population.errors import Locked, NotFound, StorageError
from population.files.local_files import FileSystem, LocalFiles, MemoryFiles
from tests.population.faulty_files import FaultyCalls, num_calls_of, system_calls

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=[LocalFiles, MemoryFiles])
def files(request) -> FileSystem:
    return request.param()


# ---- the contract ------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(files, tmp_path):
    assert files.write_atomic(tmp_path / "new" / "deep" / "a", b"abc") is True
    assert files.read_bytes(tmp_path / "new" / "deep" / "a") == b"abc"
    assert files.size(tmp_path / "new" / "deep" / "a") == 3
    assert files.exists(tmp_path / "new" / "deep" / "a")
    assert files.exists(tmp_path / "new")


def test_a_file_that_stands_is_overwritten_only_when_told(files, tmp_path):
    files.write_atomic(tmp_path / "a", b"old")
    assert files.write_atomic(tmp_path / "a", b"new") is False
    assert files.read_bytes(tmp_path / "a") == b"old"
    assert files.write_atomic(tmp_path / "a", b"new", replace=True) is True
    assert files.read_bytes(tmp_path / "a") == b"new"


def test_write_many_writes_what_is_missing_in_several_folders(files, tmp_path):
    files.write_atomic(tmp_path / "x" / "a", b"old")
    files.write_many({tmp_path / "x" / "a": b"1", tmp_path / "x" / "b": b"2", tmp_path / "y" / "c": b""})
    found = {name: files.read_bytes(tmp_path / name) for name in ("x/a", "x/b", "y/c")}
    assert found == {"x/a": b"old", "x/b": b"2", "y/c": b""}


def test_write_many_of_more_files_than_are_opened_at_once(files, tmp_path):
    contents = {tmp_path / f"{i:04d}": str(i).encode() for i in range(300)}
    files.write_many(contents)
    assert {tmp_path / name: files.read_bytes(tmp_path / name) for name in files.list(tmp_path)} == contents


def test_append_adds_at_the_end(files, tmp_path):
    files.append(tmp_path / "logs" / "log", b"one")
    files.append(tmp_path / "logs" / "log", b"")
    files.append(tmp_path / "logs" / "log", b"two")
    assert files.read_bytes(tmp_path / "logs" / "log") == b"onetwo"


def test_truncate_shortens(files, tmp_path):
    files.append(tmp_path / "log", b"onetwo")
    files.truncate(tmp_path / "log", 3)
    files.append(tmp_path / "log", b"!")
    assert files.read_bytes(tmp_path / "log") == b"one!"


def test_settling_and_noting_change_only_what_they_say(files, tmp_path):
    files.append(tmp_path / "logs" / "log", b"onetwo")
    files.settle(tmp_path / "logs" / "log", 3)
    files.settle(tmp_path / "logs")
    files.note(tmp_path / "logs" / "note", b"first")
    files.note(tmp_path / "logs" / "note", b"later")
    found = {name: files.read_bytes(tmp_path / "logs" / name) for name in files.list(tmp_path / "logs")}
    assert found == {"log": b"onetwo", "note": b"later"}
    with pytest.raises(NotFound, match="missing-one"):
        files.settle(tmp_path / "missing-one")


def test_list_is_sorted_and_hides_temporary_files(files, tmp_path):
    for name in ("b", "a", ".tmp-1-ff", "c"):
        files.write_atomic(tmp_path / name, b"")
    files.make_dirs(tmp_path / "aa")
    assert files.list(tmp_path) == ["a", "aa", "b", "c"]
    assert files.list(tmp_path / "nowhere") == []


def test_a_removed_file_is_gone(files, tmp_path):
    files.write_atomic(tmp_path / "a", b"1")
    files.remove(tmp_path / "a")
    assert not files.exists(tmp_path / "a")
    assert files.list(tmp_path) == []


def test_a_folder_is_removed_only_when_it_is_empty(files, tmp_path):
    files.write_atomic(tmp_path / "folder" / "a", b"1")
    with pytest.raises(StorageError, match=r"folder: the folder is not empty.*ENOTEMPTY"):
        files.remove(tmp_path / "folder")
    files.remove(tmp_path / "folder" / "a")
    files.remove(tmp_path / "folder")
    assert files.list(tmp_path) == []


def test_a_folder_that_nobody_had_is_made_once(files, tmp_path):
    assert files.make_folder(tmp_path / "x" / "mine") is True
    assert files.make_folder(tmp_path / "x" / "mine") is False
    files.write_atomic(tmp_path / "x" / "file", b"1")
    assert files.make_folder(tmp_path / "x" / "file") is False
    assert files.list(tmp_path / "x") == ["file", "mine"]
    with pytest.raises(StorageError, match="ENOTDIR"):
        files.make_folder(tmp_path / "x" / "file" / "below")


def test_a_tree_is_removed_with_what_was_left_of_it_and_nothing_else(files, tmp_path):
    tree, aside = tmp_path / "a" / "tree", tmp_path / "b" / "aside"
    for place in (
        tree / "1",
        tree / "deep" / "er" / "2",
        aside / "old" / "3",
        tmp_path / "a" / "trees",
        tmp_path / "b" / "4",
    ):
        files.write_atomic(place, b"abc")
    files.make_dirs(tree / "empty")
    files.remove_tree(tree, aside)
    assert (files.list(tmp_path / "a"), files.list(tmp_path / "b")) == (["trees"], ["4"])
    files.remove_tree(tree, aside)
    assert (files.list(tmp_path / "a"), files.list(tmp_path / "b")) == (["trees"], ["4"])


@pytest.mark.parametrize("name", ["read_bytes", "size", "remove"])
def test_a_missing_file_is_not_found_by_name(files, tmp_path, name):
    with pytest.raises(NotFound, match="missing-one"):
        getattr(files, name)(tmp_path / "missing-one")


def test_truncating_a_missing_file_is_not_found(files, tmp_path):
    with pytest.raises(NotFound, match="missing-one"):
        files.truncate(tmp_path / "missing-one", 0)


def test_a_file_where_a_folder_is_needed_is_a_storage_error_with_a_remedy(files, tmp_path):
    files.write_atomic(tmp_path / "a", b"1")
    with pytest.raises(StorageError, match=r"a file, not a folder.*ENOTDIR"):
        files.write_atomic(tmp_path / "a" / "b", b"2")
    with pytest.raises(StorageError, match="ENOTDIR"):
        files.list(tmp_path / "a")


def test_a_folder_where_a_file_is_needed_is_a_storage_error_with_a_remedy(files, tmp_path):
    files.make_dirs(tmp_path / "a")
    with pytest.raises(StorageError, match=r"folder where a file was expected.*EISDIR"):
        files.read_bytes(tmp_path / "a")
    with pytest.raises(StorageError, match="EISDIR"):
        files.append(tmp_path / "a", b"1")
    with pytest.raises(StorageError, match="EISDIR"):
        files.write_atomic(tmp_path / "a", b"1", replace=True)


def test_a_second_locker_is_told_the_process_that_holds_it(files, tmp_path):
    with files.lock(tmp_path / "locks" / "writer"):
        with pytest.raises(Locked, match=rf"process {os.getpid()};"), files.lock(tmp_path / "locks" / "writer"):
            pytest.fail("two hold one lock")
        with files.lock(tmp_path / "locks" / "other"):
            pass
    with files.lock(tmp_path / "locks" / "writer"):
        pass


def test_a_lock_is_free_after_an_exception(files, tmp_path):
    with pytest.raises(KeyboardInterrupt), files.lock(tmp_path / "writer"):
        raise KeyboardInterrupt
    with files.lock(tmp_path / "writer"):
        pass


def test_a_lock_file_that_a_dead_process_left_is_harmless(files, tmp_path):
    files.write_atomic(tmp_path / "writer", b"999999999 and much more than a number\n", 0o644)
    with files.lock(tmp_path / "writer"):
        assert files.read_bytes(tmp_path / "writer") == b"%d\n" % os.getpid()


# ---- the disk ----------------------------------------------------------------------------------------------------------


def test_files_have_the_mode_asked_for_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        LocalFiles().write_atomic(tmp_path / "object", b"")
        LocalFiles().write_atomic(tmp_path / "key", b"", 0o600)
        LocalFiles().make_dirs(tmp_path / "keys", 0o700)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("object", "key", "keys")] == [
        0o444,
        0o600,
        0o700,
    ]


def test_symbolic_links_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for action in (
        lambda: LocalFiles().read_bytes(tmp_path / "link"),
        lambda: LocalFiles().append(tmp_path / "link", b"x"),
        lambda: LocalFiles().truncate(tmp_path / "link", 0),
        lambda: LocalFiles().lock(tmp_path / "link").__enter__(),
    ):
        with pytest.raises(StorageError, match=r"link: it is a symbolic link.*ELOOP"):
            action()
    assert LocalFiles().write_atomic(tmp_path / "link", b"x") is False
    assert LocalFiles().write_atomic(tmp_path / "link", b"x", replace=True) is True
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_dangling_link_takes_the_place_of_an_object(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert LocalFiles().exists(tmp_path / "link")
    assert LocalFiles().write_atomic(tmp_path / "link", b"x") is False
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_in_a_tree_is_removed_and_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a").write_bytes(b"1")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    LocalFiles().remove_tree(tmp_path / "tree", tmp_path / "aside")
    LocalFiles().remove(tmp_path / "link")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "precious"]


def test_a_named_pipe_does_not_hang_the_reader(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert LocalFiles().read_bytes(tmp_path / "pipe") == b""


def test_another_process_is_named_by_a_lock_and_its_death_frees_it(tmp_path):
    program = (
        "import sys; from pathlib import Path; from population.files.local_files import LocalFiles\n"
        "with LocalFiles().lock(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "writer")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=rf"process {child.pid};"), LocalFiles().lock(tmp_path / "writer"):
            pytest.fail("two processes hold one lock")
        child.kill()
        child.wait()
        with LocalFiles().lock(tmp_path / "writer"):
            pass


def test_a_lock_that_a_dead_process_left_with_its_child_is_told_so(tmp_path):
    program = (
        "import os, signal, sys, time; from pathlib import Path; from population.files.local_files import LocalFiles\n"
        "with LocalFiles().lock(Path(sys.argv[1])):\n"
        "    if os.fork() == 0:\n        sys.stdin.read(); os._exit(0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "writer")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as parent:
        parent.wait()
        with (
            pytest.raises(Locked, match=rf"process {parent.pid} \(which has ended"),
            LocalFiles().lock(tmp_path / "writer"),
        ):
            pytest.fail("two processes hold one lock")


def test_a_lock_file_with_the_number_of_another_program_is_harmless(tmp_path):
    """A process number is given again after its process has ended: the number in the file proves nothing, the lock does."""
    (tmp_path / "writer").write_bytes(b"1\n")
    with LocalFiles().lock(tmp_path / "writer"):
        assert (tmp_path / "writer").read_bytes() == b"%d\n" % os.getpid()


def test_a_folder_that_stands_is_synced_once_since_its_maker_may_have_died_before(tmp_path, monkeypatch):
    """A folder made by a process that was killed before its sync would vanish with all that was written into it since."""
    (tmp_path / "made").mkdir()
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda each: (synced.append(os.fstat(each).st_ino), fsync(each))[1])
    LocalFiles().append(tmp_path / "made" / "log", b"1")
    assert tmp_path.stat().st_ino in synced
    synced.clear()
    LocalFiles().append(tmp_path / "made" / "log", b"1")
    assert tmp_path.stat().st_ino not in synced


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "no permission"),
        (errno.EPERM, "not permitted"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "the disk reports an error"),
        (errno.EMFILE, "too many open files"),
        (errno.EXDEV, "operating system"),
    ],
)
def test_what_the_machine_refuses_names_path_and_remedy(tmp_path, code, remedy):
    with system_calls(FaultyCalls(0, code)), pytest.raises(StorageError, match=rf"write .*wanted.*{remedy}") as caught:
        LocalFiles().write_atomic(tmp_path / "wanted", b"1")
    assert caught.value.exit_code == 3
    assert errno.errorcode[code] in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def _write_one(root: Path) -> Callable[[], object]:
    return lambda: LocalFiles().write_atomic(root / "new" / "a", b"abc")


def _replace_one(root: Path) -> Callable[[], object]:
    LocalFiles().write_atomic(root / "a", b"old")
    return lambda: LocalFiles().write_atomic(root / "a", b"abc", replace=True)


def _write_some(root: Path) -> Callable[[], object]:
    return lambda: LocalFiles().write_many({root / "x" / "a": b"abc", root / "x" / "b": b"abc", root / "c": b"abc"})


def _append(root: Path) -> Callable[[], object]:
    LocalFiles().append(root / "log", b"abc")
    return lambda: LocalFiles().append(root / "log", b"abc")


def _make_a_folder(root: Path) -> Callable[[], object]:
    root.mkdir(exist_ok=True, parents=True)
    return lambda: LocalFiles().make_folder(root / "new" / "folder")


def _remove_a_tree(root: Path) -> Callable[[], object]:
    LocalFiles().write_many({root / "tree" / "a": b"abc", root / "tree" / "deep" / "b": b"abc"})
    return lambda: LocalFiles().remove_tree(root / "tree", root / "aside")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, None])
def test_a_folder_whose_making_fails_anywhere_is_not_there_and_is_made_the_next_time(tmp_path, code):
    for k in range(num_calls_of(lambda: _make_a_folder(tmp_path / "count"))):
        action = _make_a_folder(tmp_path / f"fail-{k}")
        calls = FaultyCalls(k, code) if code else FaultyCalls(k, error=KeyboardInterrupt())
        with system_calls(calls), pytest.raises(StorageError if code else KeyboardInterrupt):
            action()
        if code:
            assert action() is True


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, None])
def test_a_tree_whose_removal_fails_anywhere_is_whole_in_its_place_or_gone_from_it(tmp_path, code):
    num_calls = num_calls_of(lambda: _remove_a_tree(tmp_path / "count"))
    assert num_calls > 8
    seen = set()
    for k in range(num_calls):
        root = tmp_path / f"fail-{k}"
        action = _remove_a_tree(root)
        calls = FaultyCalls(k, code) if code else FaultyCalls(k, error=KeyboardInterrupt())
        with system_calls(calls), pytest.raises(StorageError if code else KeyboardInterrupt):
            action()
        found = sorted(path.name for path in (root / "tree").rglob("*"))
        assert found in ([], ["a", "b", "deep"]), k
        seen.add(bool(found))
        action()
        assert list(root.iterdir()) == []
    assert seen == {True, False}


@pytest.mark.parametrize("prepare", [_write_one, _replace_one, _write_some, _append])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, None])
def test_a_failure_of_any_system_call_leaves_old_or_new_and_no_temporary_file(tmp_path, prepare, code):
    num_calls = num_calls_of(lambda: prepare(tmp_path / "count"))
    assert num_calls >= 3
    for k in range(num_calls):
        root = tmp_path / f"fail-{k}"
        action = prepare(root)
        calls = FaultyCalls(k, code) if code else FaultyCalls(k, error=KeyboardInterrupt())
        with system_calls(calls), pytest.raises(StorageError if code else KeyboardInterrupt):
            action()
        found = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        assert not [path for path in found if path.name.startswith(".tmp-")]
        assert set(found.values()) <= {b"abc", b"old"}
        action()
        assert {path.read_bytes() for path in root.rglob("*") if path.is_file()} <= {b"abc", b"abcabc"}


def test_a_close_that_fails_is_told_by_path_and_may_be_repeated(tmp_path, monkeypatch):
    """It used to come out of `write_atomic` as a bare OSError."""
    close = os.close
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", lambda descriptor: (close(descriptor), _raise(errno.EIO)))
        with pytest.raises(StorageError, match="wanted"):
            LocalFiles().write_atomic(tmp_path / "wanted", b"1")
    assert os.listdir(tmp_path) == []
    assert LocalFiles().write_atomic(tmp_path / "wanted", b"1") is True


def _raise(code: int) -> None:
    raise OSError(code, os.strerror(code))


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    LocalFiles().write_atomic(tmp_path / "a", b"0123456789")
    LocalFiles().append(tmp_path / "b", b"0123456789")
    assert LocalFiles().read_bytes(tmp_path / "a") == LocalFiles().read_bytes(tmp_path / "b") == b"0123456789"


def test_a_disk_that_fills_up_in_an_append_gives_the_old_length_back(tmp_path, monkeypatch):
    LocalFiles().append(tmp_path / "log", b"old")
    write, num_writes = os.write, 0

    def fill_up(descriptor, data):
        nonlocal num_writes
        num_writes += 1
        if num_writes > 1:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, data[:3])

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(StorageError, match="ENOSPC"):
        LocalFiles().append(tmp_path / "log", b"0123456789")
    assert LocalFiles().read_bytes(tmp_path / "log") == b"old"


def test_a_file_system_without_hard_links_serves(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert LocalFiles().write_atomic(tmp_path / "a", b"1") is True
    assert LocalFiles().write_atomic(tmp_path / "a", b"2") is False
    assert os.listdir(tmp_path) == ["a"]
    assert LocalFiles().read_bytes(tmp_path / "a") == b"1"


def test_a_folder_is_synced_after_the_file_has_its_name(tmp_path, monkeypatch):
    """Without the sync of the folder a new file may be gone after the machine dies, though its bytes were synced."""
    LocalFiles().make_dirs(tmp_path)  # the folders above are synced once a process
    happened = []
    fsync, link = os.fsync, os.link

    def note_sync(descriptor):
        happened.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_link(source, target):
        happened.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "link", note_link)
    LocalFiles().write_many({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert happened == ["file", "file", "link", "link", "folder"]
    happened.clear()
    LocalFiles().write_atomic(tmp_path / "a", b"1")
    assert happened == ["folder"], "a file that stands may have been linked by somebody who did not sync yet"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="no permission"):
        LocalFiles().write_atomic(tmp_path / "a", b"1")
