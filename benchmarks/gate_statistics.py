"""Whether paired measurements show a regression.

Each round gives one logarithm of head's time over base's. They are taken as independent with a common median,
nothing else: no normal distribution, so that no outlier, however far, counts for more than its sign. The
interval of the median between two order statistics is the inverted sign test (Thompson, "On confidence ranges
for the median", 1936): exact for any continuous distribution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

FALSE_ALARMS = (
    0.01  # at most, of all workloads of a run together, where every true ratio is the factor itself
)


@dataclass(frozen=True)
class Judgement:
    """The ratio of a workload, its interval, and what follows for a factor."""

    ratio: float
    low: float
    high: float
    verdict: str  # "slower": all of the interval is above the factor; "fine": all below; "undecided"


def order(count: int, alpha: float) -> int:
    """Return the largest k >= 0 with P(Binomial(count, 1/2) < k) <= alpha."""
    k, cumulated = 0, 0.0
    while (cumulated := cumulated + math.comb(count, k) / 2**count) <= alpha:
        k += 1
    return k


def judge(log_ratios: Sequence[float], factor: float, tests: int) -> Judgement:
    """Judge one workload of a run.

    Parameters
    ----------
    log_ratios : sequence of float
        One of every round: log(head / base).
    factor : float
        Ratio from which on a change is a regression.
    tests : int
        How many judgements the run makes in all; FALSE_ALARMS is divided among them (Bonferroni).
    """
    values = sorted(log_ratios)
    count = len(values)
    k = order(count, FALSE_ALARMS / tests)
    low, high = (values[k - 1], values[count - k]) if k else (-math.inf, math.inf)
    middle = (values[(count - 1) // 2] + values[count // 2]) / 2
    verdict = "slower" if low > math.log(factor) else "fine" if high < math.log(factor) else "undecided"
    return Judgement(math.exp(middle), math.exp(low), math.exp(high), verdict)
