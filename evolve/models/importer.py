"""Importers: a user's PyTorch module becomes a block in a jail of its own, which hands back plain data that is checked here.

The user's code, its weights and the exporter that runs it never touch this process; what comes back is a manifest with its
leaves, read as a stranger's is, and what the module itself gave on seeded inputs.

Nouns: *source* (the files that a module is written in); *imported*: see `evolve.models.importer_answer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from evolve.models.importer_answer import Imported, read_answer
from fitness.processes import verdicts
from fitness.processes.isolation import IsolationReport
from fitness.processes.jailed_process import Cell
from fitness.processes.limits import Failure, Limits
from population.errors import FormatError, InputError

__all__ = ["LIMITS", "WEIGHTS", "Imported", "Importer", "Source", "is_weights"]

PROCESS: Final = "evolve.models.importer_process"
LIMITS: Final = Limits(cpu_s=300, wall_s=600.0, memory_bytes=4 << 30)
#: How large a block may come back; memory that is not touched takes no space.
MAX_ANSWER_BYTES: Final = 1 << 30
WEIGHTS: Final = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Source:
    """What a module is made of.

    Attributes:
        files: name and content; the first holds the module, others may be imported by it.
        name: the class or function that makes it, called without arguments; none: the only module that the file has.
        weights: name and content of a safetensors file, or of one of ``torch.save`` that holds tensors only.
        inputs: (name, shape of one sample, dtype); none: what the file's ``example()`` gives.
        outputs: names for the output channels. with_modules: installed packages to import before any wall stands.
    """

    files: Sequence[tuple[str, bytes]]
    name: str | None = None
    weights: tuple[str, bytes] | None = None
    inputs: Sequence[tuple[str, tuple[int, ...], str]] = ()
    outputs: Sequence[str] = ()
    with_modules: Sequence[str] = ()


class Importer:
    """Imports modules in a jail. One thread at a time; whoever makes it closes it.

    Args:
        without: layers of the jail not to put up, as on a machine that lacks them.
    """

    def __init__(
        self, *, with_modules: Sequence[str] = (), limits: Limits = LIMITS, without: Sequence[str] = ()
    ) -> None:
        self._cell = Cell(PROCESS, {"modules": list(with_modules)}, limits, without=without)

    @property
    def report(self) -> IsolationReport:
        """What the module's code can reach on this machine, found by attacking from within.

        Raises: EvaluatorFailed where no jail can be had, or a module of ``with_modules`` cannot be imported.
        """
        return self._cell.report

    def run(self, source: Source) -> Imported:
        """Returns the block of a module.

        Raises:
            InputError: the code failed, or used too much; the module cannot become a block, and why, all of it.
            EvaluatorFailed: no jail can be had.
        """
        parts = [content for _, content in source.files]
        parts += [source.weights[1]] if source.weights else []
        fields = {
            "files": [[name, len(content)] for name, content in source.files],
            "weights": [source.weights[0], len(source.weights[1])] if source.weights else None,
            "name": source.name,
            "inputs": [[name, list(shape), dtype] for name, shape, dtype in source.inputs],
            "outputs": list(source.outputs),
        }
        answer = self._cell.ask_once("import", fields, parts, MAX_ANSWER_BYTES // 2, "imported")
        where = source.files[0][0]
        if isinstance(answer, Failure):
            raise InputError(f"{where}: its code failed in the jail ({answer.cause}): {answer.detail}")
        assert self._cell.child is not None
        try:
            return read_answer(self._cell.child.taken.memory, answer.fields.get("bytes"), where)
        except FormatError as error:
            detail = verdicts.one_line(str(error))
            raise InputError(f"{where}: what came back from the jail is not in order: {detail}") from error
        finally:
            self._cell.end_child()

    def close(self) -> None:
        """Ends the jail; closing twice changes nothing."""
        self._cell.abandon()


def is_weights(name: str) -> bool:
    """Whether a file's name is that of weights."""
    return PurePath(name).suffix in WEIGHTS
