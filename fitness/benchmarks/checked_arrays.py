"""The arrays of a benchmark: checked, copied in one form that nobody changes, and named by a digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from fitness.measures.targets import Target
from population.errors import BenchmarkError

Array = npt.NDArray[Any]


def checked_inputs(inputs: Mapping[str, Any] | Any, num_rows: int, gaps: Sequence[str]) -> Mapping[str, Array]:
    """Returns copies of the channels in the order of their names; a single array becomes the channel "input".

    Args:
        gaps: channels in which NaN stands for a missing number.

    Raises: BenchmarkError: a channel has other rows, no numbers, or numbers that are none.
    """
    channels = inputs if isinstance(inputs, Mapping) else {"input": inputs}
    return MappingProxyType(
        {str(key): _checked(str(key), np.asarray(channels[key]), num_rows, key in gaps) for key in sorted(channels)}
    )


def _checked(channel: str, array: Array, num_rows: int, may_miss: bool) -> Array:
    if array.ndim < 1 or array.shape[0] != num_rows:
        raise BenchmarkError(f"channel {channel!r} has shape {array.shape}, but targets have {num_rows} rows")
    if array.dtype.kind not in "fiu" or 0 in array.shape:
        raise BenchmarkError(f"channel {channel!r} must hold numbers, got dtype {array.dtype} and shape {array.shape}")
    if array.dtype.kind in "iu":
        return frozen(array.astype("<i8"))
    return _checked_floats(channel, array, may_miss)


def _checked_floats(channel: str, array: Array, may_miss: bool) -> Array:
    with np.errstate(over="ignore"):
        floats = array.astype("<f4")
    good = np.isfinite(floats) | (np.isnan(array) if may_miss else False)
    bad = np.flatnonzero(~good.reshape(len(array), -1).all(axis=1))
    if len(bad):
        raise BenchmarkError(
            f"channel {channel!r} holds NaN, infinity or a number beyond float32 in {len(bad)} rows (first: row {bad[0]}); "
            "fill or drop them, or name the channel in gaps if NaN stands for a missing number"
        )
    if may_miss:
        floats = np.where(np.isnan(floats), np.float32(np.nan), floats)  # one NaN has one bit pattern
    return frozen(floats + np.float32(0.0))  # -0.0 becomes 0.0, so that equal rows have equal bytes


def frozen(array: Array) -> Array:
    """Returns an array that nobody can write to; its memory is the given one's where that is contiguous."""
    result = np.ascontiguousarray(array)
    result.flags.writeable = False
    return result


def digest_of_arrays(inputs: Mapping[str, Array], targets: Sequence[Target]) -> bytes:
    """Returns 32 bytes that name these inputs and targets."""
    hasher = blake3(derive_key_context="evolve 2026 benchmark data")
    for key in sorted(inputs):
        hasher.update(repr((key, inputs[key].dtype.str, inputs[key].shape)).encode())
        hasher.update(inputs[key].tobytes())
    for target in targets:
        hasher.update(repr(target.classes if target.is_plain else sorted(target.header.items())).encode())
        hasher.update(target.values.tobytes())
    return hasher.digest()
