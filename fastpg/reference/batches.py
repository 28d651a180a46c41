"""The batch: what an update is made from, whatever collected it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpg.reference.arrays import Bools, Floats


class Batch(NamedTuple):
    """T steps of N environments.

    A row (t, n) that is not `valid` is no transition, and as if it were not there. It is a reset, or comes
    after environment n has played its quota of episodes.
    """

    obs: NDArray[Any]  # (T, N, D)
    actions: Any  # (T, N), or (T, N, n)
    rewards: Floats  # (T, N)
    terminated: Bools  # (T, N)
    truncated: Bools  # (T, N)
    valid: Bools  # (T, N)
    next_obs: NDArray[Any] | None = None  # (T, N, D), before a reset; read where an episode was truncated
    last_obs: NDArray[Any] | None = None  # (N, D), after the last row; read where that did not end


def num_trajectories(batch: Batch) -> int:
    """Return how many trajectories there are: episodes that ended, and those that the batch's end cuts."""
    ends = (batch.terminated | batch.truncated) & batch.valid
    last = [np.flatnonzero(column)[-1:] for column in batch.valid.T]  # no entry where no row is valid
    cut = sum(len(rows) - ends[rows, n].sum() for n, rows in enumerate(last))
    return int(ends.sum() + cut)
