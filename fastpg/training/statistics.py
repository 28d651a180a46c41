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


def mean_half_width(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half of the 95 % interval of each column's mean, by Student's t; 0 of a single row.

    Examples
    --------
    >>> bool(np.isclose(mean_half_width(np.array([[1.0], [2.0], [3.0]]))[0], 4.303 / 3**0.5, rtol=1e-4))
    True
    """
    n = len(rows)
    if n < 2:
        return np.zeros(rows.shape[1])
    return np.asarray(_t_quantile(n - 1) * rows.std(axis=0, ddof=1) / math.sqrt(n))


def _t_quantile(degrees: int) -> float:
    """Return what a variable of Student's t with so many degrees of freedom is within, at LEVEL."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, degrees) < LEVEL else (low, middle)
    return high


def _t_within(t: float, degrees: int) -> float:
    """Return the probability that |T| <= t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    theta = math.atan(t / math.sqrt(degrees))
    odd, squared = degrees % 2, math.cos(theta) ** 2
    term = math.cos(theta) if odd else 1.0
    total = 0.0
    for k in range(degrees // 2):
        total += term
        term *= squared * (2 * k + 1 + odd) / (2 * k + 2 + odd)
    inside = math.sin(theta) * total
    return 2 / math.pi * (theta + inside) if odd else inside


def _means(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the interquartile mean of each row, which is sorted."""
    cut = rows.shape[1] // 4
    return np.asarray(rows[:, cut : rows.shape[1] - cut].mean(axis=1))
