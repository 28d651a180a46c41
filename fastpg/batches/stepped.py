"""`collect` for environments that Python steps: the rows of a collector as a batch."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg.batches.batch import Batch, by_step
from fastpg.batches.collector import Collector, Rows, UnderWay
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.opening import opened
from fastpg.envs.gymnasium.under_way import known, leave, remember
from fastpg.envs.mujoco.env import MujocoEnv
from fastpg.envs.native.vector import VectorEnv
from fastpg.errors import stepped_for
from fastpg.networks.normalizer import ObservationNormalizer
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.networks.weights import Weights, evaluate_rows


def collect_stepped(
    where: str,
    env: Any,
    policy: Policy,
    horizon: Any,
    value: ValueFunction | None,
    seed: Any,
    num_envs: Any,
    normalizer: ObservationNormalizer | None,
    options: Mapping[str, Any],
    env_params: Mapping[str, Any],
) -> Batch[NDArray[Any]]:
    """Do the work of `collect` with an environment that is not native."""

    def begin(wrapped: GymnasiumEnv, seed: int) -> tuple[Collector, NDArray[np.float32]]:
        policy.check_fits(where, wrapped)
        if value is not None:
            value.check_fits(where, "value", wrapped.observation_space)
        return policy_collector(where, wrapped, policy, seed, normalizer)

    rows = play(where, env, horizon, seed, num_envs, options, env_params, begin)
    return batch_of(where, normalized(where, rows, normalizer), policy, value)


def policy_collector(
    where: str, env: GymnasiumEnv, policy: Policy, seed: int, normalizer: ObservationNormalizer | None
) -> tuple[Collector, NDArray[np.float32]]:
    """Return what acts with a policy, and the parameters that read what the environment returns."""
    network, theta = weights_of(where, policy, normalizer)
    return Collector(env, network, seed, wants_final=True, all_ends=True), theta


def weights_of(where: str, policy: Policy, normalizer: ObservationNormalizer | None) -> Weights:
    """Return a policy's network with parameters that read what the environment returns."""
    theta = policy.checked_theta(where)
    if normalizer is not None:
        normalizer.check_fits(where, "policy", policy.observations)
        theta = normalizer.fold_into(where, policy.network, theta, np.empty_like(theta))
    return Weights(policy.network, theta)


def play(
    where: str,
    env: Any,
    horizon: Any,
    seed: Any,
    num_envs: Any,
    options: Mapping[str, Any],
    env_params: Mapping[str, Any],
    begin: Callable[[GymnasiumEnv, int], tuple[Collector, NDArray[np.float32]]],
) -> Rows:
    """Check what `collect` takes, and step the environment with the collector that `begin` makes for a seed.

    `options` are vectorization_mode and reset_options, as `opened` takes them.
    A vector environment goes on where it stands, if that is known: one of fastpg's tells it, of another it is
    where the last call left it, unless `train` or the like have reset it meanwhile.
    """
    horizon = _check.integer(where, "horizon", horizon, 1, _check.MAX_COUNT)
    if seed is not None:
        seed = _check.seed(where, seed)
    if num_envs is not None:
        num_envs = _check.integer(where, "num_envs", num_envs, 1, _check.MAX_NUM_ENVS)
    with opened(where, env, env_params or None, num_envs=num_envs, argument="env", **options) as wrapped:
        assert isinstance(wrapped, GymnasiumEnv)
        collector, theta = begin(wrapped, seed or 0)
        is_kept = isinstance(env, gymnasium.vector.VectorEnv) and not isinstance(env, VectorEnv | MujocoEnv)
        if isinstance(env, VectorEnv | MujocoEnv):
            collector.resume(_standing(where, env, wrapped, seed))
        elif is_kept and seed is None:
            left, stands = known(where, env)
            if stands:
                collector.resume(left)
            elif left is not None:
                collector.begin_again(left)
        if is_kept:  # until the batch is whole, nothing is known of where they stand
            leave(env)
        with stepped_for(where):
            rows = collector.collect(theta, horizon=horizon)
        if isinstance(env, VectorEnv | MujocoEnv):
            env.count_collected(where, len(rows.rewards))
        elif is_kept:
            remember(env, collector.under_way())
    return rows


def _standing(where: str, env: VectorEnv | MujocoEnv, wrapped: GymnasiumEnv, seed: int | None) -> UnderWay:
    """Return where a vector environment of fastpg's stands, and which actions are drawn next."""
    at = env.standing(where)
    last = np.empty((env.num_envs, wrapped.observed.size), np.float32)
    wrapped.observed.write(at.obs, last)
    mask = at.action_mask if wrapped.uses_action_mask else None
    return UnderWay(
        last, at.age.astype(np.int64), at.earned, np.zeros(env.num_envs, np.bool_), mask,
        at.seed if seed is None else seed, at.collected,
    )  # fmt: skip


def normalized(where: str, rows: Rows, normalizer: ObservationNormalizer | None) -> Rows:
    """Return the rows with normalised observations; the normaliser then hears of them, if it wants to."""
    if normalizer is None:
        return rows
    obs, last, final = (normalizer.scaled(where, one) for one in (rows.obs, rows.last_obs, rows.final_obs))
    if normalizer.training:
        counted = rows.obs.reshape(-1, rows.obs.shape[-1])
        normalizer.add(where, counted if rows.mask is None else counted[rows.mask.reshape(-1) != 0])
    return rows._replace(obs=obs, last_obs=last, final_obs=final)


def batch_of(where: str, rows: Rows, policy: Policy, value: ValueFunction | None) -> Batch[NDArray[Any]]:
    """Return the rows in the form of the spaces, with what the policy and the value function say of them."""
    shape = rows.rewards.shape
    flat = rows.obs.reshape(-1, rows.obs.shape[-1])
    allowed = None if rows.action_mask is None else rows.action_mask.reshape(len(flat), -1)
    log_probs, _ = _core.log_prob_and_entropy(policy.network, policy.theta, flat, rows.actions, allowed)
    order = by_step(rows.final_rows)
    values = last_values = final_values = None
    if value is not None:
        critic = Weights(value.network, value.checked_theta(where))
        values = evaluate_rows(where, critic, rows.obs, np.empty(shape, np.float32))
        last_values = evaluate_rows(where, critic, rows.last_obs, np.empty(shape[1], np.float32))
        final_values = np.zeros(shape, np.float32)
        t, n = rows.final_rows.T
        cut = ~rows.terminated.view(np.bool_)[t, n]
        after = np.empty(np.count_nonzero(cut), np.float32)
        final_values[t[cut], n[cut]] = evaluate_rows(where, critic, rows.final_obs[cut], after)
    form = policy.observations
    return Batch(
        obs=form.batch(rows.obs) if form.categories else rows.obs,
        actions=policy.actions.shaped(rows.actions, shape),
        log_probs=log_probs.reshape(shape),
        rewards=rows.rewards,
        terminated=rows.terminated.view(np.bool_),
        truncated=rows.truncated.view(np.bool_),
        last_obs=form.batch(rows.last_obs.copy()),
        ends=rows.final_rows,
        final_obs=form.batch(rows.final_obs),
        episode_returns=rows.episode_returns[order],
        episode_lengths=rows.episode_lengths[order],
        entropy=rows.entropy,
        values=values,
        last_values=last_values,
        final_values=final_values,
        mask=None if rows.mask is None else rows.mask.view(np.bool_),
        action_mask=None if rows.action_mask is None else rows.action_mask.view(np.bool_),
    )
