"""Sums over the episodes in arrays of steps."""

import warnings

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.errors import endless

LONG_WAIT = 10_000  # steps of each environment after which who has seen no episode end says so
LONG_EPISODE = 100_000  # steps after which who waits for an episode's end says so


def still_waiting(label: str, age: int) -> None:
    """Hear, every LONG_EPISODE steps, what the longest episode has had that is waited for.

    Says so at first, and raises EnvError where the end may never come.
    """
    if age >= _core.LONGEST_EPISODE:
        raise endless(label, _core.LONGEST_EPISODE)
    if LONG_EPISODE <= age < 2 * LONG_EPISODE:
        warnings.warn(
            f"{label}: an episode has had {age:,} steps, and whole ones are waited for; if it never ends, "
            f"the wait ends with an error at {_core.LONGEST_EPISODE:,}",
            RuntimeWarning,
            stacklevel=2,
        )


def none_has_ended(where: str, num_steps: int, num_envs: int) -> bool:
    """Hear that no episode has ended in so many steps of `num_envs` environments; return whether it was said.

    Nothing waits for an end where iterations take a horizon, but there are no returns without one.
    """
    age = num_steps // num_envs
    if age < LONG_WAIT:
        return False
    warnings.warn(
        f"{where}: no episode has ended in {age:,} steps of each environment, so there are no returns to "
        "report; if episodes never end by themselves, give the environment a time limit",
        RuntimeWarning,
        stacklevel=2,
    )
    return True


Bools = NDArray[np.bool_]


def episode_sums(
    x: NDArray[np.float64], valid: Bools, done: Bools, under_way: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of x (T, N) over each finished episode, (E,), and over those under way, (N,).

    Only valid rows count; `under_way` (N,) is what the first episodes bring along. Episodes come environment
    by environment, in time order.

    Examples
    --------
    >>> import numpy as np
    >>> done = np.array([[False], [True], [False]])
    >>> finished, rest = episode_sums(np.ones((3, 1)), np.ones((3, 1), bool), done, np.array([4.0]))
    >>> finished.tolist(), rest.tolist()
    ([6.0], [1.0])
    """
    steps, count = x.shape
    flat = np.where(valid, x, 0.0).T.ravel()
    ends = np.flatnonzero(done.T.ravel())
    firsts = np.arange(count) * steps
    starts = np.union1d(firsts, ends[(ends + 1) % steps != 0] + 1)
    sums = np.add.reduceat(flat, starts)
    sums[np.searchsorted(starts, firsts)] += under_way
    last = np.searchsorted(starts, firsts + steps) - 1  # of each environment
    rest = np.where(done[-1], 0.0, sums[last])
    return sums[np.searchsorted(starts, ends, side="right") - 1], rest
