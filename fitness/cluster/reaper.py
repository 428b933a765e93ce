"""What this process starts and must not outlive it, however it ends: a small process of ours sees to that.

Ray's own agents, for one, go on for more than a minute when the process that started Ray is killed.

Nouns: *leftovers* are marked processes and one private folder; see ``fitness.cluster.reaper_process``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fitness.cluster import reaper_process
from fitness.processes.child_process import end_process, python_command, start_process


class Leftovers:
    """Processes started within ``marked`` and all below them end within a second of this process, and the folder goes.

    Args:
        parent: where the folder is made, for this user alone. Ray gets ``inner``, since it opens its folder to all users.
    """

    def __init__(self, parent: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tbe-", dir=parent))  # sockets lie below: their paths must be short
        self.inner = self.folder / "r"
        theirs, self._ours = os.pipe()
        program = str(Path(reaper_process.__file__).resolve())
        try:
            self._process = start_process(python_command("-I", "-S", program, str(theirs), str(self.folder)), theirs)
        except OSError:
            os.close(self._ours)
            self.folder.rmdir()
            raise
        finally:
            os.close(theirs)

    @contextmanager
    def marked(self) -> Iterator[None]:
        """Marks what is started meanwhile."""
        os.environ[reaper_process.VARIABLE] = str(self.folder)
        try:
            yield
        finally:
            del os.environ[reaper_process.VARIABLE]

    def close(self) -> None:
        """Ends what still bears the mark and removes the folder, now; closing twice changes nothing."""
        if self._ours < 0:
            return
        with suppress(BrokenPipeError):
            os.write(self._ours, b".")
        os.close(self._ours)
        self._ours = -1
        end_process(self._process)
