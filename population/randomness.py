"""Counter-based random numbers with the same bits on every machine.

Every draw is a pure function of ``(seed, stream, position)``: Philox-4x64 words (Salmon et al. 2011,
https://doi.org/10.1145/2063384.2063405), cut into 16-bit indices. Normal deviates are looked up in a pinned table of
65,536 quantiles of the standard normal, so no exponential or logarithm is ever computed at run time.

Nouns: *seed* (64 bits, one per recipe), *stream* (which tensor or decision of that recipe), *word* (16 random bits).
"""

from __future__ import annotations

import functools
import threading
from importlib import resources

import numpy as np
import numpy.typing as npt
from blake3 import blake3

NUM_QUANTILES = 65_536
_WORDS_PER_BLOCK = 16
TABLE_DIGEST = "89f01424b9ec91c8d0336994af41305de09f4a97dd6248c92b7c39fdff161e87"

_of_thread = threading.local()


def derive_seed(campaign_key: bytes, event: int, row: int, operator: str) -> int:
    """Returns the 64-bit seed of one birth, from what it is and never from who computes it.

    Args:
        campaign_key: 32 bytes, the root of a campaign's randomness.
        event: the birth's event number in its campaign.
        row: which of several draws of the same event; 0 where there is one.
        operator: name and version, ``"gaussian@1"``.
    """
    text = b"|".join((campaign_key, str(event).encode(), str(row).encode(), operator.encode()))
    return int.from_bytes(blake3(text, derive_key_context="evolve 2026 recipe seed").digest(8), "little")


def words(seed: int, stream: int, count: int, first: int = 0) -> npt.NDArray[np.uint16]:
    """Returns ``count`` 16-bit words of one stream, from the word ``first`` on: a part of the same infinite sequence always."""
    if count < 0 or first < 0:
        raise ValueError(f"count and first must be at least 0, got {count} and {first}")
    block, skipped = divmod(first, _WORDS_PER_BLOCK)
    raw = _philox(seed, stream, block).random_raw((skipped + count + 3) // 4).astype("<u8", copy=False)
    return raw.view("<u2")[skipped : skipped + count]


def _philox(seed: int, stream: int, block: int) -> np.random.Philox:
    """Returns this thread's generator at a block of 16 words of a stream; a new one each time would ask the system for entropy
    that nothing uses, at ten times the cost."""
    generator = getattr(_of_thread, "generator", None)
    if generator is None:
        generator = _of_thread.generator = np.random.Philox(key=np.zeros(2, dtype=np.uint64))
    nothing = (0, 0, 0, 0)
    state = {"counter": (block, 0, 0, 0), "key": (seed, stream)}
    generator.state = {
        "bit_generator": "Philox",
        "state": state,
        "buffer": nothing,
        "buffer_pos": 4,  # the buffer is used up
        "has_uint32": 0,
        "uinteger": 0,
    }
    return generator


def normals(seed: int, stream: int, count: int, first: int = 0) -> npt.NDArray[np.float32]:
    """Returns ``count`` standard normal deviates, float32, drawn from the pinned quantiles; from the deviate ``first`` on."""
    drawn: npt.NDArray[np.float32] = quantiles()[words(seed, stream, count, first)]
    return drawn


def coins(seed: int, stream: int, count: int, rate: float) -> npt.NDArray[np.bool_]:
    """Returns ``count`` independent booleans, each true with probability ``rate`` (to within 2**-16)."""
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate must lie in [0, 1], got {rate}")
    threshold = round(rate * NUM_QUANTILES)
    return words(seed, stream, count).astype(np.uint32) < threshold


def integers(seed: int, stream: int, count: int, bound: int, first: int = 0) -> npt.NDArray[np.int64]:
    """Returns ``count`` integers in ``[0, bound)``, by fixed-point scaling of 32 bits (bias below 2**-16 for bound < 2**16);
    from the integer ``first`` on."""
    if not 1 <= bound <= 2**31:
        raise ValueError(f"bound must lie in [1, 2**31], got {bound}")
    pairs = words(seed, stream, 2 * count, 2 * first).astype(np.uint64)
    joined = pairs[0::2] << np.uint64(16) | pairs[1::2]
    scaled: npt.NDArray[np.int64] = (joined * np.uint64(bound) >> np.uint64(32)).astype(np.int64)
    return scaled


@functools.cache
def quantiles() -> npt.NDArray[np.float32]:
    """Returns the pinned table: quantile ``(i + 0.5) / 65,536`` of the standard normal, float32 ``[65536]``.

    The package ships the negative half; the other is its mirror image. The digest is checked at the first use.
    """
    data = resources.files("population").joinpath("normal_quantiles.bin").read_bytes()
    if blake3(data).hexdigest() != TABLE_DIGEST:
        raise ValueError("population/normal_quantiles.bin is damaged: reinstall the package")
    half = np.frombuffer(data, dtype="<f4").astype(np.float32)
    table = np.concatenate([half, -half[::-1]])
    table.setflags(write=False)
    return table
