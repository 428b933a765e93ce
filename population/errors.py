"""The exceptions of the project and the exit code that each one means at the command line.

    EvolveError                     70  a fault of ours
    ├── InputError (ValueError)      2  the caller's input is wrong; the message names it and the remedy
    │   ├── ConfigError                 a config file, key or value
    │   ├── InvalidGraph                an op graph that cannot compute, or is monstrous
    │   ├── FormatError                 bytes that are not in a format we read
    │   ├── BenchmarkError              data, splits or columns that do not fit
    │   └── NotFound                    no such block, head, campaign or file
    ├── ExportDiffers                1  a copy in another format does not compute what its block computes
    ├── DamageError                  1  stored bytes are not what was written
    │   ├── StoreCorrupt
    │   └── LineageCorrupt
    └── InfrastructureError          3  the machine, not the work, failed
        ├── StorageError                disk full, no permission, read-only
        ├── NewerHome                   a home written by a newer version
        ├── Locked                      another process is the writer; names its pid
        └── EvaluatorFailed             workers that cannot be had or kept
            ├── JailUnavailable             no jailed process
            └── SimulatorFailed             a simulator that fails whoever plays

Nouns: none beyond the errors themselves.
"""

from __future__ import annotations


class EvolveError(Exception):
    """The root of every exception the project raises on purpose."""

    exit_code = 70


class InputError(EvolveError, ValueError):
    """The caller's input is wrong; the message names the field or file and the remedy."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration file, key or value is not usable."""


class InvalidGraph(InputError):
    """An op graph cannot compute, or exceeds a static limit."""


class FormatError(InputError):
    """Bytes are not in a format that this version reads."""


class BenchmarkError(InputError):
    """Data, splits, columns or objectives do not fit together."""


class NotFound(InputError):
    """No block, head, campaign, individual or file has this name."""


class ExportDiffers(EvolveError):
    """A copy in another format does not compute what its block computes; nothing of it is kept."""

    exit_code = 1


class DamageError(EvolveError):
    """Stored bytes are not what was written."""

    exit_code = 1


class StoreCorrupt(DamageError):
    """An object of the block store does not hash to its name."""


class LineageCorrupt(DamageError):
    """A committed frame or segment of the lineage is damaged."""


class InfrastructureError(EvolveError):
    """The machine, not the work, failed."""

    exit_code = 3


class StorageError(InfrastructureError):
    """The file system refused: disk full, no permission, read-only."""


class NewerHome(InfrastructureError):
    """The home was written by a newer version of the project."""


class Locked(InfrastructureError):
    """Another process is the writer; the message names its process id."""


class EvaluatorFailed(InfrastructureError):
    """Workers cannot be had, or cannot be kept alive."""


class JailUnavailable(EvaluatorFailed):
    """The machine gives no jailed process: no unit's fault, and no unit can do without."""


class SimulatorFailed(EvaluatorFailed):
    """A simulator raised, hung or gave NaN: nobody who plays it can be judged, and it is none of their doing."""
