"""The algorithms on batches that Python collected: weights, gradient, optimizer, value function.

The same computation as the compiled trainer's (csrc/estimate.c, csrc/train.c), from the compiled functions of
arrays. Where the two differ is said in docs/gymnasium.md.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.batches import returns
from fastpg.batches.collector import Batch, Collector
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.errors import without_place

F32 = NDArray[np.float32]
Values = Callable[[F32], F32]  # rows (B, obs_size) -> (B,)
TARGET_EPISODES = 100  # as in csrc/train.c
MAX_RECENT = 128


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the transitions of a batch, in their order, are worth: (B,) float32 each.

    `weights` are Phi_t. `targets` are what a value function is fitted to; None without one.
    """

    weights: F32
    targets: F32 | None


def values_of(network: _core.Network, theta: F32) -> Values:
    """Return a value function as a function of rows."""
    return lambda rows: _core.logits(network, theta, rows)[:, 0]


def weigh(
    batch: Batch,
    *,
    form: str,
    baseline: str = "none",
    gamma: float,
    lam: float = 1.0,
    n_step: int = 1,
    discount_states: bool = False,
    values: Values | None = None,
) -> Weighed:
    """Return Phi_t of every transition.

    `baseline` is "none", "batch_mean", "timestep_mean", or "value", which takes off what `values` returns.
    The means leave out the environment's own steps: over all steps of the others, or over those of the same
    number, in the same row of a horizon or the same step of the same episode of each environment.
    """
    flags: dict[str, Any] = {
        "terminated": batch.terminated,
        "truncated": batch.truncated,
        "mask": batch.valid,
    }
    rewards = batch.rewards.astype(np.float32)
    state_values = None
    if values is not None:
        state_values = np.zeros(rewards.shape, np.float32)
        state_values[batch.valid] = _finite_values(values(batch.valid_obs()))
    if form in ("q", "td", "gae"):
        assert values is not None
        assert state_values is not None
        ahead = {**flags, **_bootstraps(batch, values), "gamma": gamma}
        if form == "q":
            weights = returns.nstep_returns(rewards, state_values, n=n_step, **ahead)
        elif form == "td":
            weights = returns.td_errors(rewards, state_values, **ahead)
        else:
            weights = returns.gae(rewards, state_values, lam=lam, **ahead)[0]
    elif form == "total":
        weights = returns.episode_returns(rewards, gamma=gamma, **flags)
    else:
        weights = returns.returns(rewards, gamma=gamma, bootstrap_truncated=False, **flags)
    if baseline in ("batch_mean", "timestep_mean"):
        weights = weights - _mean_of_others(batch, weights, by_step=baseline == "timestep_mean")
    targets = None
    if state_values is not None and baseline == "value":
        targets = weights
        weights = weights - state_values
    elif state_values is not None:
        targets = weights + state_values
    if discount_states and form != "total":
        ages = np.maximum(batch.ages(), 0)  # -1 in filler rows, which are left out below
        weights = weights * np.power(gamma, ages, dtype=np.float32)
    return Weighed(weights[batch.valid], None if targets is None else targets[batch.valid])


def _bootstraps(batch: Batch, values: Values) -> dict[str, Any]:
    """Return V after the last row, and after truncations."""
    last = np.zeros(batch.valid.shape[1], np.float32)
    if not batch.by_episode:
        last = _finite_values(values(batch.obs[-1]))
    if not batch.truncated.any():
        return {"last_values": last}
    final = np.zeros(batch.valid.shape, np.float32)
    if batch.finals:
        after = _finite_values(values(np.concatenate([rows for _, _, rows in batch.finals])))
        times = np.concatenate([np.full(len(which), t) for t, which, _ in batch.finals])
        final[times, np.concatenate([which for _, which, _ in batch.finals])] = after
    return {"last_values": last, "final_values": final}


def _finite_values(values: F32) -> F32:
    if not np.isfinite(values).all():
        raise FloatingPointError(_core.NONFINITE_VALUE)
    return values


def _mean_of_others(batch: Batch, weights: F32, *, by_step: bool) -> F32:
    """Return, for each step, the mean over other environments' steps; 0 where there are none, (T, N)."""
    valid = batch.valid
    kept = np.where(valid, weights, 0.0).astype(np.float64)
    if not by_step:
        sums, counts = kept.sum(axis=0), valid.sum(axis=0)
        total, counted = sums.sum() - sums, counts.sum() - counts
        return np.broadcast_to(
            np.where(counted > 0, total / np.maximum(counted, 1), 0.0), weights.shape
        ).astype(np.float32)
    keys = np.broadcast_to(np.arange(len(valid))[:, None], valid.shape)
    if batch.by_episode:  # the steps of the same number in everybody's k-th episode
        done = (batch.terminated | batch.truncated) & valid
        episode: NDArray[np.int64] = np.cumsum(done, axis=0) - done
        ages = batch.ages()
        keys = np.where(valid, episode * (ages.max() + 1) + ages, 0)
    sums = np.bincount(keys.ravel(), weights=kept.ravel())[keys]
    counts = np.bincount(keys.ravel(), weights=valid.ravel())[keys]
    result: F32 = np.where(counts > 1, (sums - kept) / np.maximum(counts - 1, 1), 0.0).astype(np.float32)
    return result


def statistics(batch: Batch) -> NDArray[np.void]:
    """Return a STATS_DTYPE record (1,) of what was collected; the learner fills in the rest."""
    record = np.zeros(1, _core.STATS_DTYPE)
    stats = record[0]
    finished = len(batch.returns)
    stats["num_steps"], stats["num_episodes"] = batch.num_steps, finished
    stats["num_trajectories"] = batch.num_trajectories
    for name in ("mean_return", "return_std", "min_return", "max_return", "mean_length"):
        stats[name] = math.nan
    if finished:
        earned = batch.returns
        stats["mean_return"], stats["return_std"] = earned.mean(), earned.std()
        stats["min_return"], stats["max_return"] = earned.min(), earned.max()
        stats["mean_length"] = batch.lengths.mean()
    stats["entropy"] = np.where(batch.valid, batch.entropy, 0.0).sum(dtype=np.float64) / batch.num_steps
    stats["gradient_norm"] = stats["value_loss"] = stats["explained_variance"] = math.nan
    return record


def ascent_direction(
    network: _core.Network,
    theta: F32,
    batch: Batch,
    weights: F32,
    *,
    normalize: str,
    entropy_coef: float,
    out: F32,
) -> None:
    """Write the policy gradient of a batch, normalised, into `out` (P,)."""
    divisor = batch.num_steps if normalize == "timestep" else batch.num_trajectories
    obs, actions = batch.valid_obs(), batch.valid_actions()
    _core.policy_gradient(network, theta, obs, actions, weights, 1.0 / divisor, out, entropy_coef)


class GymnasiumTrainer:
    """Does with a Gymnasium environment what `_core.Trainer` does with a native one, and is used like it."""

    def __init__(
        self,
        env: GymnasiumEnv,
        net: _core.Network,
        theta: F32,
        *,
        seed: int,
        form: str,
        gamma: float,
        horizon: int,
        episodes: int,
        steps_per_iteration: int,
        normalize: str,
        total_steps: int,
        target_return: float,
        baseline: str = "none",
        lam: float = 1.0,
        n_step: int = 1,
        entropy_coef: float = 0.0,
        value: _core.Network | None = None,
        value_theta: F32 | None = None,
        value_epochs: int = 0,
        value_minibatches: int = 1,
        standardize_advantages: bool = False,
        normalize_observations: bool = False,
        **optimizers: Any,
    ) -> None:
        self.num_steps = 0
        self.num_iterations = 0
        self.stopped_because = ""
        self._collector = Collector(env, net, seed, wants_final=form in ("q", "td", "gae"))
        self._learner = _core.Learner(
            net, theta, total_steps=total_steps, value=value, value_theta=value_theta,
            normalize_observations=normalize_observations, **optimizers,
        )  # fmt: skip
        self._num_envs, self._seed = env.num_envs, seed
        self._net, self._theta = net, theta
        self._value, self._value_theta = value, value_theta
        self._weighing: dict[str, Any] = {
            "form": form, "baseline": baseline, "gamma": gamma, "lam": lam, "n_step": n_step
        }  # fmt: skip
        if value is not None and value_theta is not None:
            self._weighing["values"] = values_of(value, value_theta)
        self._horizon, self._episodes, self._steps_per_iteration = horizon, episodes, steps_per_iteration
        self._normalize, self._entropy_coef = normalize, entropy_coef
        self._epochs, self._minibatches = value_epochs, value_minibatches
        self._standardize, self._normalize_observations = standardize_advantages, normalize_observations
        self._total_steps, self._target_return = total_steps, target_return
        self._mean_length = math.nan  # of the newest episodes
        self._recent: list[tuple[float, int]] = []  # newest iterations: sum of returns, episodes
        self._gradient = np.empty_like(theta)
        self._value_gradient = None if value_theta is None else np.empty_like(value_theta)

    def run(self, seconds: float) -> NDArray[np.void]:
        """Run iterations for about `seconds`, at least one; return their STATS_DTYPE records.

        Raises FloatingPointError naming what is not finite and the iteration. An iteration that fails, with
        any exception, changes nothing.
        """
        end = time.perf_counter() + seconds
        records: list[NDArray[np.void]] = []
        while not self.stopped_because and (not records or time.perf_counter() < end):
            records.append(self._iterate())
        return np.concatenate(records) if records else np.empty(0, _core.STATS_DTYPE)

    def _iterate(self) -> NDArray[np.void]:
        """Run one iteration, which is whole or did not happen."""
        start = time.perf_counter()
        self._learner.begin(self.num_steps)
        try:
            record = self._learn()
        except BaseException as error:
            self._learner.undo()
            if isinstance(error, FloatingPointError):
                where = f"train(): iteration {self.num_iterations}"
                raise FloatingPointError(f"{where}: {without_place(error)}") from error
            raise
        stats = record[0]
        self.num_steps += int(stats["num_steps"])
        stats["total_steps"] = self.num_steps
        stats["seconds"] = time.perf_counter() - start
        if stats["num_episodes"]:
            self._mean_length = float(stats["mean_length"])
        if self._target_reached(stats):
            self.stopped_because = "target_return"
        elif self.num_steps >= self._total_steps:
            self.stopped_because = "total_steps"
        self.num_iterations += 1
        return record

    def _learn(self) -> NDArray[np.void]:
        """Collect, estimate, ascend; and with a value function, fit it to what was collected."""
        batch = self._collector.collect(self._theta, horizon=self._horizon, episodes=self._next_episodes())
        record = statistics(batch)
        stats = record[0]
        weighed = weigh(batch, **self._weighing)
        weights, targets = weighed.weights, weighed.targets
        if targets is not None:
            spread = float(targets.var(dtype=np.float64))
            stats["value_loss"] = np.square(weights, dtype=np.float64).mean()
            variance = float(weights.var(dtype=np.float64))
            stats["explained_variance"] = 1.0 - variance / spread if spread > 0 else math.nan
            if not np.isfinite([stats["value_loss"], spread]).all():
                raise FloatingPointError(_core.NONFINITE_VALUE)
        if self._standardize:
            deviation = weights.std(dtype=np.float64) + 1e-8
            weights = ((weights - weights.mean(dtype=np.float64)) / deviation).astype(np.float32)
        ascent_direction(
            self._net, self._theta, batch, weights, normalize=self._normalize,
            entropy_coef=self._entropy_coef, out=self._gradient,
        )  # fmt: skip
        if self._normalize_observations:
            obs = batch.valid_obs().astype(np.float64)
            self._learner.observe(len(obs), obs.sum(axis=0), np.square(obs).sum(axis=0))
        stats["gradient_norm"] = self._learner.policy_step(self._gradient)
        if targets is not None:
            self._fit_values(batch.valid_obs(), targets)
        self._learner.finish()
        return record

    def _next_episodes(self) -> int:
        """Return how many episodes to play, fixed before from earlier ones so that none is favoured; or 0."""
        if not self._steps_per_iteration:
            return self._episodes
        if math.isnan(self._mean_length):
            return self._num_envs
        return max(1, math.floor(self._steps_per_iteration / self._mean_length + 0.5))

    def _fit_values(self, obs: F32, targets: F32) -> None:
        """Fit the value function: in every epoch each transition is in one of the minibatches, at random."""
        assert self._value is not None
        assert self._value_theta is not None
        assert self._value_gradient is not None
        rng = np.random.default_rng([self._seed, self.num_iterations])
        shares = min(self._minibatches, len(obs))
        for _ in range(self._epochs):
            order = rng.permutation(len(obs)) if shares > 1 else None
            for k in range(shares):
                rows, wanted = obs, targets
                if order is not None:
                    chosen = order[k * len(obs) // shares : (k + 1) * len(obs) // shares]
                    rows, wanted = obs[chosen], targets[chosen]
                _core.value_gradient(
                    self._value, self._value_theta, rows, wanted, 1.0 / len(rows), self._value_gradient
                )
                self._learner.value_step(self._value_gradient)

    def _target_reached(self, stats: np.void) -> bool:
        """Return whether the mean over the newest iterations with 100 episodes together is high enough."""
        episodes = int(stats["num_episodes"])
        earned = float(stats["mean_return"]) * episodes if episodes else 0.0
        self._recent = [(earned, episodes), *self._recent[: MAX_RECENT - 1]]
        total, count = 0.0, 0
        for earned, episodes in self._recent:
            total, count = total + earned, count + episodes
            if count >= TARGET_EPISODES:
                return total / count >= self._target_return
        return False
