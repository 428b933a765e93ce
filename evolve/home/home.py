"""The home: the one folder that holds everything the program keeps.

    VERSION        {"version": 2}
    store/         blocks by content id          keys/        what signs the heads, mode 0600
    lineage/       sealed segments               mlflow.db, mlartifacts/
    campaigns/     a folder a campaign: config.yaml, its journal, summary.json when it is over, data.json where it learns from a
                   table (what was found in it; the table itself is in the store), report.html if one was asked for
    tombstones/    what is still known of campaigns that were purged
    tune.db        the trials of studies (`evolve tune`), in Optuna's tables

Nouns: *home*, *handle* (a campaign's name in its home). Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from population.errors import DamageError, InputError, NewerHome, NotFound, StorageError

if TYPE_CHECKING:
    import pyarrow as pa

    from evolve.config.campaign import CampaignConfig
    from population.files.local_files import FileSystem
    from population.lineage.journal.reader import LineageReader
    from population.lineage.sql.limits import QueryLimits
    from population.store.heads import Heads
    from population.store.objects import BlockStore

VERSION = 2
FOLDER_NAME = ".evolve"
VERSION_FILE = "VERSION"
CONFIG_FILE = "config.yaml"
SUMMARY_FILE = "summary.json"
DATA_FILE = "data.json"
IGNORE_FILE, IGNORE_ALL = ".gitignore", b"*\n"
FOLDERS = ("store", "lineage", "campaigns", "tombstones", "keys")
MAX_VERSION_BYTES = 4096
LOCK_FILE = "lineage.lock"
#: States that a driver records of a campaign before it leaves it unfinished.
LEFT = ("paused", "stopped", "failed")


@dataclass(frozen=True)
class Home:
    """One opened home. ``tracking_uri`` is where its campaigns are shown: a server somebody named, or a file in the home."""

    root: Path
    tracking_uri: str | None = None

    @staticmethod
    def find(start: Path, explicit: Path | None = None, env: str | None = None) -> Path:
        """Returns where the home lies or would lie: the path somebody gave, else the nearest home upwards, as git does."""
        if explicit is not None:
            return explicit.absolute()
        if env:
            return Path(env).absolute()
        start = start.absolute()
        for folder in (start, *start.parents):
            with suppress(PermissionError):  # what we may not look into is not our home
                if (folder / FOLDER_NAME / VERSION_FILE).is_file():
                    return folder / FOLDER_NAME
        return start / FOLDER_NAME

    @staticmethod
    def open(path: Path, tracking_uri: str | None = None) -> Home:
        """Returns the home at this path.

        Raises:
            NotFound: no home is there. NewerHome: a newer version of the program wrote it. StorageError: not readable.
        """
        _check_version(path)
        return Home(path, tracking_uri)

    @staticmethod
    def create(path: Path, tracking_uri: str | None = None) -> Home:
        """Returns the home at this path, made new where there is none; an existing home is left as it is.

        Raises:
            InputError: the folder holds something else. StorageError: it cannot be written; nothing was made then.
        """
        home = Home(path, tracking_uri)
        if home.files.exists(path / VERSION_FILE):
            return Home.open(path, tracking_uri)
        if home.files.exists(path) and not _is_empty(home.files, path):
            raise InputError(f"{path}: not a home, and not empty; choose another --home, or an empty folder")
        missing = _missing(home.files, path)
        try:
            _make(home.files, path)
        except StorageError:
            _unmake(home.files, path, missing)
            raise
        return home

    @property
    def files(self) -> FileSystem:
        """The file system that everything in the home is written through."""
        from population.files.local_files import LocalFiles

        return LocalFiles()

    @property
    def store_root(self) -> Path:
        """Where blocks lie."""
        return self.root / "store"

    @property
    def lineage_root(self) -> Path:
        """Where sealed segments of lineages lie."""
        return self.root / "lineage"

    @property
    def campaigns_root(self) -> Path:
        """Where campaigns have their folders."""
        return self.root / "campaigns"

    @property
    def keys_root(self) -> Path:
        """Where the keys lie that sign heads."""
        return self.root / "keys"

    @property
    def tombstones_root(self) -> Path:
        """Where lies what is still known of purged campaigns."""
        return self.root / "tombstones"

    @property
    def version(self) -> int:
        """The format of this home. Raises DamageError."""
        return _check_version(self.root)

    def check_current(self) -> None:
        """Raises InputError where the home has an older format than campaigns are written in."""
        if self.version < VERSION:
            raise InputError(
                f"{self.root}: this home has format {self.version}, campaigns are run in format {VERSION}: "
                "`evolve upgrade` moves it (nothing is lost; older programs cannot open it then)"
            )

    @property
    def artifacts_root(self) -> Path:
        """Where the tracker keeps plots and models when no server was named."""
        return self.root / "mlartifacts"

    @property
    def mlflow_uri(self) -> str:
        """Where campaigns are shown: the server that was named, else a SQLite file in the home."""
        return self.tracking_uri or f"sqlite:///{self.root.absolute() / 'mlflow.db'}"

    def block_store(self) -> BlockStore:
        """Returns the store of blocks."""
        from population.store.objects import BlockStore

        return BlockStore(self.files, self.store_root)

    def heads(self) -> Heads:
        """Returns the production heads."""
        from population.store.heads import Heads

        return Heads(self.files, self.root, self.keys_root)

    def lineage_reader(self) -> LineageReader:
        """Returns a reader of all lineages of this home."""
        from population.lineage.journal.reader import LineageReader

        return LineageReader(self.files, self.root)

    def query(self, sql: str, limits: QueryLimits | None = None) -> pa.Table:
        """Returns the rows of one SELECT over the lineage's views. It runs in a process of its own that can read nothing
        else, so the SQL may come from anyone. Raises InputError: it is not such a SELECT, or a limit was met."""
        from evolve.home.jailed_query import query

        return query(self.root, sql, limits)

    def connect(self) -> Any:
        """Returns an in-memory DuckDB connection with the lineage's views, for a notebook: it may do what its user may
        do, and shows the state of the moment. Close it when done."""
        from population.lineage.sql.connection import open_connection

        return open_connection(self.lineage_reader())

    def campaign_dir(self, handle: str) -> Path:
        """Returns the folder of a campaign, whether it exists or not."""
        return self.campaigns_root / handle

    def campaigns(self) -> list[str]:
        """Returns the handles of all campaigns, the oldest first; one whose purge was begun is none any more."""
        from population.files.os_errors import told

        if not self.campaigns_root.is_dir():
            return []
        purged = {path.stem for path in self.tombstones_root.glob("*.json")}
        found = []
        with told(self.campaigns_root, "list"):
            for entry in self.campaigns_root.iterdir():
                with suppress(FileNotFoundError):  # somebody purges it just now
                    if entry.name not in purged and _is_campaign(entry):
                        found.append((_begun(entry), entry.name))
        return [name for _, name in sorted(found)]

    def config_of(self, handle: str) -> CampaignConfig:
        """Returns the resolved config that a campaign was begun with."""
        from evolve.config.campaign import load_config

        return load_config(self.campaign_dir(handle) / CONFIG_FILE)

    def summary_of(self, handle: str) -> dict[str, Any] | None:
        """Returns what a campaign ended with, or None while it has not. Raises DamageError, StorageError."""
        from evolve.home.summary_file import read_summary

        return read_summary(self.files, self.campaign_dir(handle) / SUMMARY_FILE, handle)

    def write_summary(self, handle: str, summary: Mapping[str, Any]) -> None:
        """Records what a campaign ended with, in place of what was recorded before."""
        data = json.dumps(dict(summary), indent=2, ensure_ascii=False).encode() + b"\n"
        self.files.write_atomic(self.campaign_dir(handle) / SUMMARY_FILE, data, mode=0o644, replace=True)

    def state_of(self, handle: str) -> str:
        """Returns "running", the state that the campaign ended with, or how its driver left it: "paused", "stopped", "failed",
        or "interrupted" where that is not recorded (Ctrl-C, a kill, a machine that went down)."""
        if self.is_running(handle):
            return "running"
        summary = self.summary_of(handle)
        if summary is not None:
            return str(summary.get("state", "done"))
        recorded = self.recorded_state(handle)
        return recorded if recorded in LEFT else "interrupted"

    def state_as_far_as_known(self, handle: str) -> str:
        """Returns what ``state_of`` does, or "damaged" where a file of the campaign cannot be read."""
        try:
            return self.state_of(handle)
        except (DamageError, InputError, StorageError):
            return "damaged"

    def recorded_state(self, handle: str) -> str | None:
        """Returns the state that the newest row of ``campaigns`` names; None where the campaign has none."""
        rows = self.campaign_rows(handle)
        return str(rows[-1]["state"]) if rows else None

    def campaign_rows(self, handle: str) -> list[dict[str, Any]]:
        """Returns the rows of ``campaigns`` in a campaign's lineage, the oldest first; none before its first commit."""
        with suppress(NotFound):
            return self.lineage_reader().rare_rows(handle, "campaigns")
        return []

    def new_handle(self, name: str) -> str:
        """Returns a handle nobody had in this home ("digits", then "digits-2"), and makes its folder, so nobody else gets it."""
        number = 1
        while True:
            handle = name if number == 1 else f"{name}-{number}"
            others = (self.lineage_root / handle, self.tombstones_root / f"{handle}.json")
            if not any(map(self.files.exists, others)) and self.files.make_folder(self.campaign_dir(handle)):
                return handle
            number += 1

    def is_running(self, handle: str) -> bool:
        """Returns whether a driver holds the campaign's lock just now."""
        from population.errors import Locked

        path = self.campaign_dir(handle) / LOCK_FILE
        if not path.exists():
            return False
        try:
            with self.files.lock(path):
                return False
        except Locked:
            return True
        except StorageError:
            return False  # a home that we may only read: nobody can be writing here but another user


def _is_campaign(folder: Path) -> bool:
    """Whether a campaign began in a folder, also where its config is damaged, gone or may not be read."""
    if folder.name.startswith("_") or not folder.is_dir():
        return False
    try:
        names = os.listdir(folder)
    except PermissionError:
        return True
    return CONFIG_FILE in names or any(name.startswith("journal-") for name in names)


def _begun(folder: Path) -> int:
    """Returns when a campaign began, in ns: its config is never written again."""
    with suppress(OSError):
        return (folder / CONFIG_FILE).lstat().st_mtime_ns
    return folder.lstat().st_mtime_ns


def _make(files: FileSystem, path: Path) -> None:
    """Makes all that a home has when it is new; VERSION comes last: with it the home is whole."""
    for name in FOLDERS:
        files.make_dirs(path / name, 0o700 if name == "keys" else 0o777)
    files.write_atomic(path / IGNORE_FILE, IGNORE_ALL, mode=0o644)
    files.write_atomic(path / VERSION_FILE, json.dumps({"version": VERSION}).encode() + b"\n")


def _missing(files: FileSystem, path: Path) -> list[Path]:
    """Returns what of a new home does not stand yet, the outer folders first."""
    places = (*reversed(path.parents), path, *(path / name for name in (*FOLDERS, IGNORE_FILE)))
    return [place for place in places if not files.exists(place)]


def _unmake(files: FileSystem, path: Path, made: Sequence[Path]) -> None:
    if files.exists(path / VERSION_FILE):
        return  # it is whole: only its last sync failed, or somebody else made it meanwhile
    for place in reversed(made):
        with suppress(NotFound, StorageError):  # never made, or somebody else has put something there meanwhile
            files.remove(place)


def _is_empty(files: FileSystem, path: Path) -> bool:
    """Whether a folder holds no file; what somebody who was killed while making this home has left is no file yet."""
    try:
        names = files.list(path)
    except StorageError as error:
        if _is_file(error):
            return False
        raise
    if IGNORE_FILE in names and files.read_bytes(path / IGNORE_FILE) == IGNORE_ALL:
        names.remove(IGNORE_FILE)
    return all(_is_empty(files, path / name) for name in names)


def _is_file(error: StorageError) -> bool:
    """Whether the file system refused to look into a folder since it is a file."""
    return isinstance(error.__cause__, NotADirectoryError)


def _check_version(path: Path) -> int:
    """Returns the format of the home at this path; raises where there is none, or a newer one."""
    from population.files.local_files import read_small

    file = path / VERSION_FILE
    try:
        data = read_small(Home(path).files, file, MAX_VERSION_BYTES, "put it back from a copy", DamageError)
    except (NotFound, StorageError) as error:
        if isinstance(error, StorageError) and not _is_file(error):
            raise
        raise NotFound(
            f"not a home: {path} ({_why(path)}). `evolve run CONFIG` makes one; --home names another."
        ) from error
    found = _version_in(data)
    if found is None:
        raise DamageError(f'{file}: expected {{"version": {VERSION}}}, found {data[:40]!r}; put it back from a copy')
    if found > VERSION:
        raise NewerHome(
            f"{path}: a newer version of evolve wrote this home (its format is {found}, this program reads up to {VERSION}); "
            "install the newer evolve, or choose another --home"
        )
    return found


def _version_in(data: bytes) -> int | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    version = value.get("version") if isinstance(value, Mapping) else None
    return version if isinstance(version, int) and not isinstance(version, bool) and version >= 1 else None


def _why(path: Path) -> str:
    if not os.path.lexists(path):
        return "there is no such folder"
    return f"it has no {VERSION_FILE} file" if path.is_dir() else "it is a file"
