"""Rollouts of CartPole, and the policy gradient estimated from one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastpg.reference.advantages import FORMS
from fastpg.reference.arrays import Floats, Ints
from fastpg.reference.batches import Batch, num_trajectories
from fastpg.reference.cartpole import cartpole_step
from fastpg.reference.gradients import policy_gradient
from fastpg.reference.heads import sample
from fastpg.reference.networks import Network, logits


def episode_quota(episodes: int, num_envs: int) -> Ints:
    """Return how many episodes each environment plays: E // N, the first E % N of them one more, `(N,)`.

    A fixed number per environment keeps the estimate unbiased: to take whichever episodes end first would
    prefer the short ones.
    """
    return episodes // num_envs + (np.arange(num_envs) < episodes % num_envs).astype(np.int64)


def rollout(
    network: Network,
    theta: Floats,
    *,
    num_envs: int,
    reset_state: Callable[[int, int], Floats],
    action_uniform: Callable[[int], Floats],
    horizon: int | None = None,
    episodes: int | None = None,
    max_episode_steps: int = 500,
    sutton_barto_reward: bool = False,
) -> Batch:
    """Play CartPole: `horizon` steps of every environment, or `episodes` whole episodes in total.

    Parameters
    ----------
    reset_state : callable
        (environment, step t its episode begins with) -> the episode's first state, (4,).
    action_uniform : callable
        t -> the numbers in [0, 1) that choose the actions at step t, (N,).
    """
    # In horizon mode the quota is never reached.
    quota = np.full(num_envs, horizon, np.int64) if episodes is None else episode_quota(episodes, num_envs)
    state = np.stack([reset_state(n, 0) for n in range(num_envs)])
    age = np.zeros(num_envs, np.int64)  # steps into the present episode
    finished = np.zeros(num_envs, np.int64)  # episodes
    rows: list[tuple[Any, ...]] = []
    while (horizon is None or len(rows) < horizon) and (valid := finished < quota).any():
        obs = state.astype(np.float32)
        actions = sample(logits(network, theta, obs.astype(np.float64)), action_uniform(len(rows)))
        state, rewards, terminated = cartpole_step(state, actions, sutton_barto_reward)
        age += 1
        truncated = ~terminated & (age >= max_episode_steps)
        rows.append((obs, actions, rewards, terminated, truncated, valid, state.astype(np.float32)))
        for n in np.flatnonzero(terminated | truncated):
            finished[n] += 1
            age[n] = 0
            state[n] = reset_state(int(n), len(rows))
    columns = (np.stack(column) for column in zip(*rows, strict=True))
    return Batch(*columns)._replace(last_obs=state.astype(np.float32))


def estimate_gradient(
    network: Network,
    theta: Floats,
    batch: Batch,
    *,
    form: str,
    gamma: float = 1.0,
    normalize: str = "trajectory",
) -> Floats:
    """Return the policy gradient estimated from a rollout, `(P,)`.

    `normalize="trajectory"` divides the sum by the number of trajectories, finished episodes and fragments
    cut by the horizon alike; "timestep" by the number of transitions.
    """
    weights = FORMS[form](batch.rewards, batch.terminated, batch.truncated, gamma, batch.valid)
    divisor = num_trajectories(batch) if normalize == "trajectory" else int(batch.valid.sum())
    obs = batch.obs[batch.valid].astype(np.float64)
    actions = batch.actions[batch.valid]
    return policy_gradient(network, theta, obs, actions, weights[batch.valid], "sum") / divisor
