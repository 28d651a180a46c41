"""Few numbers that stand for the returns of several seeds, as the field reports them."""

import math

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95


def interquartile_mean(values: NDArray[np.float64]) -> float:
    """Return the mean without the lowest and the highest quarter, which are rounded down; NaN of nothing.

    Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", 2021.

    Examples
    --------
    >>> interquartile_mean(np.array([0.0, 1.0, 2.0, 100.0]))
    1.5
    """
    return float(_means(np.sort(values)[None])[0]) if len(values) else math.nan


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the interquartile mean; NaN of fewer than two values.

    The same values have the same interval: resamples are drawn by a seed that is fixed.

    Examples
    --------
    >>> low, high = interval(np.arange(20.0))
    >>> low < 9.5 < high
    True
    """
    if len(values) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    means = _means(np.sort(rng.choice(values, size=(RESAMPLES, len(values)))))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _means(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the interquartile mean of each row, which is sorted."""
    cut = rows.shape[1] // 4
    return np.asarray(rows[:, cut : rows.shape[1] - cut].mean(axis=1))
