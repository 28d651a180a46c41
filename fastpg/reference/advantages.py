"""Returns and advantages, `(T, N)`: T steps of N environments.

The estimates with a bootstrap are written as their defining sums, one environment at a time.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastpg.reference.arrays import Bools, Floats


def reward_to_go(
    rewards: Floats, terminated: Bools, truncated: Bools, gamma: float = 1.0, mask: Bools | None = None
) -> Floats:
    """Return `sum_{k>=t} gamma^(k-t) r_k` within the episode, `(T, N)`; the last row ends without bootstrap.

    A row whose `mask` is False is as if it were not there; its output is 0.

    Examples
    --------
    >>> import numpy as np
    >>> rewards, terminated = np.ones((4, 1)), np.array([[False], [True], [False], [False]])
    >>> reward_to_go(rewards, terminated, np.zeros_like(terminated), gamma=0.5).ravel().tolist()
    [1.5, 1.0, 1.5, 1.0]
    """
    live = np.ones(rewards.shape, bool) if mask is None else mask
    result = np.zeros(rewards.shape)
    following = np.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        here = rewards[t] + gamma * np.where(terminated[t] | truncated[t], 0.0, following)
        following = np.where(live[t], here, following)
        result[t] = np.where(live[t], here, 0.0)
    return result


def episode_returns(
    rewards: Floats, terminated: Bools, truncated: Bools, gamma: float = 1.0, mask: Bools | None = None
) -> Floats:
    """Return `R(tau) = sum_t gamma^t r_t` of its own episode, at every t of it, `(T, N)`.

    A row whose `mask` is False is as if it were not there; its output is 0.

    Examples
    --------
    >>> import numpy as np
    >>> rewards, terminated = np.ones((4, 1)), np.array([[False], [True], [False], [False]])
    >>> episode_returns(rewards, terminated, np.zeros_like(terminated), gamma=0.5).ravel().tolist()
    [1.5, 1.5, 1.5, 1.5]
    """
    live = np.ones(rewards.shape, bool) if mask is None else mask
    result = reward_to_go(rewards, terminated, truncated, gamma, mask)
    total, begins = np.zeros(rewards.shape[1]), np.ones(rewards.shape[1], bool)
    for t in range(len(rewards)):
        total = np.where(live[t] & begins, result[t], total)
        begins = np.where(live[t], terminated[t] | truncated[t], begins)
        result[t] = np.where(live[t], total, 0.0)
    return result


FORMS: dict[str, Callable[[Floats, Bools, Bools, float, Bools | None], Floats]] = {
    "total": episode_returns,
    "reward_to_go": reward_to_go,
}


class Episodes(NamedTuple):
    """One environment's transitions, in time order, rows that are none already taken out: arrays `(T,)`."""

    rewards: Floats
    values: Floats
    terminated: Bools
    truncated: Bools
    final_values: Floats  # V of the final observation, read where an episode was truncated
    last_value: float  # V of the observation after the last row

    def end(self, t: int) -> int:
        """Return the last row of the episode that row t belongs to."""
        done = np.flatnonzero(self.terminated[t:] | self.truncated[t:])
        return t + int(done[0]) if len(done) else len(self.rewards) - 1

    def next_value(self, t: int) -> float:
        """Return the value after row t: `V(s_{t+1})`."""
        if self.terminated[t]:
            return 0.0
        if self.truncated[t]:
            return float(self.final_values[t])
        return float(self.values[t + 1]) if t + 1 < len(self.values) else self.last_value

    def td_error(self, t: int, gamma: float) -> float:
        """Return `delta_t = r_t + gamma V(s_{t+1}) - V(s_t)`."""
        return float(self.rewards[t] + gamma * self.next_value(t) - self.values[t])

    def nstep_return(self, t: int, gamma: float, n: int) -> float:
        """Return `sum_{k<n} gamma^k r_{t+k} + gamma^n V(s_{t+n})`, cut where the episode ends."""
        stop = min(t + n, self.end(t) + 1)
        rewards = sum(gamma ** (k - t) * self.rewards[k] for k in range(t, stop))
        return float(rewards + gamma ** (stop - t) * self.next_value(stop - 1))

    def advantage(self, t: int, gamma: float, lam: float) -> float:
        """Return `sum_k (gamma lam)^k delta_{t+k}`."""
        rows = range(t, self.end(t) + 1)
        return sum((gamma * lam) ** (k - t) * self.td_error(k, gamma) for k in rows)

    def vtrace(self, t: int, gamma: float, rhos: Floats, cs: Floats) -> float:
        """Return `V(s_t) + sum_k gamma^(k-t) c_t ... c_{k-1} rho_k delta_k` (Espeholt et al., equation 1)."""
        corrections = (
            gamma ** (k - t) * np.prod(cs[t:k]) * rhos[k] * self.td_error(k, gamma)
            for k in range(t, self.end(t) + 1)
        )
        return float(self.values[t] + sum(corrections))


def each_environment(
    rewards: Floats,
    values: Floats | None,
    terminated: Bools,
    truncated: Bools,
    last_values: Floats | None,
    final_values: Floats | None,
    mask: Bools | None,
    bootstrap_truncated: bool,
) -> Iterator[tuple[Any, Episodes]]:
    """Yield the index of one environment's transitions in an array `(T, N)`, and those transitions."""
    live = np.ones(rewards.shape, bool) if mask is None else mask
    if bootstrap_truncated and final_values is None and (truncated & live).any():
        raise ValueError("truncated has True entries but final_values is None")
    for n in range(rewards.shape[1]):
        index = (live[:, n], n)
        yield (
            index,
            Episodes(
                rewards[index],
                np.zeros(index[0].sum()) if values is None else values[index],
                (terminated if bootstrap_truncated else terminated | truncated)[index],
                truncated[index],
                np.zeros(index[0].sum()) if final_values is None else final_values[index],
                0.0 if last_values is None else float(last_values[n]),
            ),
        )


def returns(
    rewards: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    gamma: float = 1.0,
    last_values: Floats | None = None,
    final_values: Floats | None = None,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> Floats:
    """Return the reward-to-go with bootstrap, `(T, N)`: the n-step return whose window never closes."""
    result = np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, None, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        rows = range(len(episodes.rewards))
        result[index] = [episodes.nstep_return(t, gamma, len(rewards)) for t in rows]
    return result


def nstep_returns(
    rewards: Floats,
    values: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    n: int,
    last_values: Floats,
    final_values: Floats | None = None,
    gamma: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> Floats:
    """Return the n-step return of every transition, `(T, N)`."""
    result = np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, values, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        result[index] = [episodes.nstep_return(t, gamma, n) for t in range(len(episodes.rewards))]
    return result


def td_errors(
    rewards: Floats,
    values: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    last_values: Floats,
    final_values: Floats | None = None,
    gamma: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> Floats:
    """Return the temporal-difference residual of every transition, `(T, N)`."""
    result = np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, values, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        result[index] = [episodes.td_error(t, gamma) for t in range(len(episodes.rewards))]
    return result


def gae(
    rewards: Floats,
    values: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    last_values: Floats,
    final_values: Floats | None = None,
    gamma: float,
    lam: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> tuple[Floats, Floats]:
    """Return generalised advantage estimates, and these plus the values, both `(T, N)`."""
    advantages, totals = np.zeros(rewards.shape), np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, values, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        advantages[index] = [episodes.advantage(t, gamma, lam) for t in range(len(episodes.rewards))]
        totals[index] = advantages[index] + episodes.values
    return advantages, totals


def vtrace(
    rewards: Floats,
    values: Floats,
    terminated: Bools,
    truncated: Bools,
    log_rhos: Floats,
    *,
    last_values: Floats,
    final_values: Floats | None = None,
    gamma: float,
    lam: float = 1.0,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> tuple[Floats, Floats]:
    """Return V-trace targets, and the advantages `rho_t (r_t + gamma vs_{t+1} - V(s_t))`, both `(T, N)`."""
    targets, advantages = np.zeros(rewards.shape), np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, values, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        ratios = np.exp(log_rhos[index])
        rhos, cs = np.minimum(rho_bar, ratios), lam * np.minimum(c_bar, ratios)
        rows = range(len(episodes.rewards))
        targets[index] = [episodes.vtrace(t, gamma, rhos, cs) for t in rows]
        # The same transitions with vs in the place of V: their next value is vs_{t+1}.
        corrected = episodes._replace(values=targets[index])
        follows = np.array([corrected.next_value(t) for t in rows])
        advantages[index] = rhos * (episodes.rewards + gamma * follows - episodes.values)
    return targets, advantages


def standardize(weights: Floats, ddof: int = 0) -> Floats:
    """Return the weights with mean 0 and standard deviation 1; those of a constant are 0.

    Squares are divided by their number less `ddof`; so few that nothing is left stay as they are.
    """
    if len(weights) <= ddof:
        return weights
    result: Floats = (weights - weights.mean()) / (weights.std(ddof=ddof) + 1e-8)
    return result
