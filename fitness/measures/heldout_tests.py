"""How often held-out data may be looked at, and what a look decides.

Nouns: a *look* is one judging on held-out rows (all tiers in one pass are one look); a *decision* says yes or no with its
reasons.

The n-th look is tested at ``0.05 / (n * (n + 1))``; the sum over all n is 0.05, so the chance that any look ever says yes
wrongly stays below that, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

TOTAL_ALPHA = 0.05
DEFAULT_MARGIN = 0.02


@dataclass(frozen=True)
class HeldoutTest:
    """The answer of a gate.

    Attributes:
        reasons: one line each, for yes and for no.
        estimate: new minus standing accuracy; 0 where nothing stood. bound: its one-sided lower confidence bound.
    """

    accepted: bool
    reasons: tuple[str, ...]
    estimate: float = 0.0
    bound: float = 0.0


def alpha_of_look(look: int) -> float:
    """Returns the error rate that the n-th look may spend, n counted from 1.

    >>> alpha_of_look(1), alpha_of_look(2)
    (0.025, 0.008333333333333333)
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, got {look}")
    return TOTAL_ALPHA / (look * (look + 1))


def first_head_decision(
    heldout: Mapping[str, float], floors: Mapping[str, float], metric: str = "accuracy"
) -> HeldoutTest:
    """Decides on a name's first head: every tier must reach its floor (tier -> the principal metric on held-out rows)."""
    reasons = []
    accepted = True
    for tier, floor in floors.items():
        value = heldout.get(tier, math.nan)
        reached = value >= floor
        accepted = accepted and reached
        reasons.append(
            f"{tier}: held-out {metric} {value:.4f} {'reaches' if reached else 'misses'} the floor {floor:.4f}"
        )
    return HeldoutTest(accepted, tuple(reasons))


def paired_decision(
    correct_new: npt.NDArray[np.bool_],
    correct_old: npt.NDArray[np.bool_],
    alpha: float,
    margin: float = DEFAULT_MARGIN,
) -> HeldoutTest:
    """Decides whether a new block may take the place of the standing one, on the same held-out rows.

    Yes where the estimate of the accuracy difference is not below zero and its one-sided lower bound at level ``alpha``
    lies above ``-margin``.

    Args:
        correct_new: bool ``[N]``, the rows the new block answers rightly. correct_old: the same of the standing block.
        alpha: what this look may spend (``alpha_of_look``).
        margin: the loss that is called no loss, in accuracy.
    """
    if correct_new.shape != correct_old.shape or correct_new.ndim != 1 or len(correct_new) == 0:
        raise ValueError(f"both need the same rows [N], N > 0, got {correct_new.shape} and {correct_old.shape}")
    gained = int(np.count_nonzero(correct_new & ~correct_old))
    lost = int(np.count_nonzero(~correct_new & correct_old))
    estimate = (gained - lost) / len(correct_new)
    bound = difference_lower_bound(gained, lost, len(correct_new), alpha)
    not_worse, above = gained >= lost, bound > -margin
    counts = f"{gained} rows gained, {lost} lost of {len(correct_new)}"
    reasons = (
        f"accuracy difference {estimate:+.4f} is {'not below' if not_worse else 'below'} zero ({counts})",
        f"its lower bound {bound:+.4f} at level {alpha:.2g} {'lies above' if above else 'is not above'} {-margin:+.4f}",
    )
    return HeldoutTest(not_worse and above, reasons, estimate, bound)


def paired_mean_decision(
    merits_new: npt.NDArray[np.float32],
    merits_old: npt.NDArray[np.float32],
    alpha: float,
    margin: float = DEFAULT_MARGIN,
) -> HeldoutTest:
    """Decides the same by numbers that rows add to a metric: squared errors, say, in units of the target's variance.

    The bound is Student's, of the mean of the paired differences (Student 1908, https://doi.org/10.1093/biomet/6.1.1).

    Args:
        merits_new: ``[N]``, what each row adds with the new block. merits_old: the same with the standing one.
        alpha, margin: as in ``paired_decision``; the margin in units of the metric.
    """
    if merits_new.shape != merits_old.shape or merits_new.ndim != 1 or len(merits_new) < 2:
        raise ValueError(f"both need the same rows [N], N > 1, got {merits_new.shape} and {merits_old.shape}")
    from scipy.stats import t as student  # heavy: only where it is needed

    differences = merits_new.astype(np.float64) - merits_old.astype(np.float64)
    estimate = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    bound = estimate - float(student.ppf(1.0 - alpha, len(differences) - 1)) * error
    not_worse, above = estimate >= 0, bound > -margin
    reasons = (
        f"difference {estimate:+.4f} is {'not below' if not_worse else 'below'} zero ({len(differences)} rows)",
        f"its lower bound {bound:+.4f} at level {alpha:.2g} {'lies above' if above else 'is not above'} {-margin:+.4f}",
    )
    return HeldoutTest(not_worse and above, reasons, estimate, bound)


def difference_lower_bound(gained: int, lost: int, num_rows: int, alpha: float) -> float:
    """Returns the one-sided lower score bound of a difference of paired proportions.

    The bound is the D at which ``(b - c - n D) / sqrt(n (2 q + D (1 - D)))`` equals the normal quantile at ``1 - alpha``,
    ``q`` being the maximum likelihood estimate of the share of lost rows under D; b rows are gained, c lost, of n.

    Source: Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17, equations 4 to 6.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    if min(gained, lost) < 0 or gained + lost > num_rows or num_rows < 1:
        raise ValueError(f"gained {gained} and lost {lost} must be counts within {num_rows} rows")
    quantile = NormalDist().inv_cdf(1.0 - alpha)
    low, high = -1.0, 1.0
    for _ in range(100):  # the statistic falls as the difference grows
        middle = (low + high) / 2.0
        if _tango_statistic(gained, lost, num_rows, middle) > quantile:
            low = middle
        else:
            high = middle
    return low


def _tango_statistic(gained: int, lost: int, num_rows: int, difference: float) -> float:
    linear = (2 * num_rows - gained + lost) * difference - gained - lost
    constant = -lost * difference * (1.0 - difference)
    root = math.sqrt(max(linear * linear - 8.0 * num_rows * constant, 0.0))
    share_lost = (root - linear) / (4.0 * num_rows)
    variance = num_rows * (2.0 * share_lost + difference * (1.0 - difference))
    distance = gained - lost - num_rows * difference
    if variance <= 0.0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)
