"""How sure a comparison is: intervals, paired tests and their correction, ranks."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

_Values = NDArray[np.float64]


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of a mean, by Student's t; None for a single value."""
    if len(values) < 2:
        return None
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stdtrit(len(values) - 1, 0.975)) * sd / math.sqrt(len(values))
    return mean - half, mean + half


def wilcoxon_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Wilcoxon's signed-rank test that paired values are alike.

    Exact where it can be: up to 50 pairs without ties. Pairs without a difference say nothing and
    are left out, as by Wilcoxon; if all are, p is 1.

    Args:
        differences: One for each pair.

    Returns:
        The p-value; None for fewer than two pairs.
    """
    from scipy.stats import wilcoxon  # takes a second to import

    apart: _Values = np.asarray(differences, dtype=float)
    if len(apart) < 2:
        return None
    apart = apart[apart != 0]
    if not len(apart):
        return 1.0
    ties = len(np.unique(np.abs(apart))) < len(apart)
    exact = not ties and len(apart) <= 50
    return float(wilcoxon(apart, method="exact" if exact else "approx").pvalue)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for testing several hypotheses at once [Holm1979].

    Below a level, the corrected values keep the chance of any false finding below it, whatever
    the tests have in common. A None, for which there was no test, stays None.
    """
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    largest = 0.0
    for k, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - k) * value))
        corrected[i] = largest
    return corrected


def mean_ranks(values: Sequence[Sequence[float]], *, larger_is_better: bool) -> list[float]:
    """Rank methods within each seed, 1 for the best, and average over seeds; equals share.

    Args:
        values: A row per method, a column per seed; each method has at least the seeds of the
            shortest row, and only these count.
        larger_is_better: Whether it is.
    """
    from scipy.stats import rankdata  # as above

    common = min(len(row) for row in values)
    table: _Values = np.array([row[:common] for row in values], dtype=float)
    # a method that has nothing yet is the worst
    table = np.nan_to_num(-table if larger_is_better else table, nan=np.inf)
    ranks: _Values = rankdata(table, axis=0)
    return [float(value) for value in ranks.mean(axis=1)]
