"""Rollouts for a learner of your own: the compiled core plays, and hands over every step as arrays."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.batches.batch import Batch
from fastpg.batches.stepped import collect_stepped
from fastpg.envs.gymnasium.opening import AnyEnv, VectorizationMode, refuse_options
from fastpg.envs.native.registry import DEFAULT_NUM_ENVS, NativeEnv, is_native, native_env
from fastpg.envs.native.vector import VectorEnv
from fastpg.networks.normalizer import ObservationNormalizer, require_normalizer
from fastpg.networks.policy import Policy, require_policy
from fastpg.networks.value import ValueFunction, require_value
from fastpg.networks.weights import Weights, evaluate_rows

CACHE_LINE = 64  # bytes


def collect(
    env: AnyEnv,
    policy: Policy,
    horizon: int,
    *,
    value: ValueFunction | None = None,
    seed: int | None = None,
    num_envs: int | None = None,
    normalizer: ObservationNormalizer | None = None,
    out: Batch[NDArray[Any]] | None = None,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
    **env_params: Any,
) -> Batch[NDArray[Any]]:
    """Take `horizon` steps of every environment with the policy's actions, and return them all.

    All of it happens in compiled code: stepping, the policy, drawing, and V where it is asked for. Where an
    episode ends, the next step is the first of another; a reset costs no step.

    A `VectorEnv` goes on where it stands, in any autoreset mode, and stands after the last row afterwards:
    stepping by hand, `VectorEnv.reset` and this function can be mixed, and one call of 2 T steps equals two
    of T. The environments draw what they would draw for who steps them by hand. So a rollout is what this
    loop does::

        env = fastpg.make(..., autoreset="same_step")
        obs, _ = env.reset(seed=s)
        for t in range(horizon):
            obs, *_ = env.step(policy.env_actions(policy.act(obs, seed=s, step=t)))

    With an id, fresh episodes begin, those of `estimate_gradient`: its estimate with the same seed and
    horizon is that of this batch.

    Any other environment of Gymnasium's interface is stepped by Python, with actions of the compiled policy;
    in autoreset mode "next_step" a reset is then a row, which `mask` marks. A vector environment that is
    passed again goes on where the last call left it; that nobody else has stepped it meanwhile is checked
    where it can be: who does gives `seed`. It is reset at first, where `seed` is given, after `train`,
    `evaluate` and `estimate_gradient` of the same environment, and where it has another wrapper than before.
    A `MujocoEnv` knows where it stands, as a `VectorEnv` does.

    Parameters
    ----------
    env : VectorEnv, str, fastpg.exact.FiniteMDP, what jit_env or load_env made, or callable
        One of `fastpg.make`, which is reset first if it never was; what `fastpg.make` takes; or what else
        `train` takes: a vector environment, an id that Gymnasium knows, a function that makes environments.
    policy : Policy
    horizon : int
        Steps of each environment, T.
    value : ValueFunction, optional
        V of `values`, `last_values` and `final_values`.
    seed : int, optional
        Decides, with the number t of the step, what actions are drawn: as in ``policy.act(obs, seed=seed,
        step=t)``. t counts the steps collected from a `VectorEnv`, or a `MujocoEnv`, since it was last given
        seeds. By default the seed of the first environment, which `reset` was given; 0 with an id.
    num_envs : int, optional
        How many environments, N; with an id only, 1024 by default, and 16 where Python steps them.
    normalizer : ObservationNormalizer, optional
        The policy and the value function read observations that it has normalised, and the batch has these.
        Their statistics then grow by those of the batch, unless its `training` is False.
    out : Batch, optional
        With native environments: an earlier one of the same shape, whose arrays are overwritten and
        returned again. In a loop this saves the allocation.
    vectorization_mode, reset_options
        As in `train`, where Python steps: how copies are stepped, and the `options` of the reset that this
        function calls, where it calls one.
    **env_params
        Parameters of the environment, as in `estimate_gradient`; with an id only. And
        ``use_action_mask=True``, with any environment that reports ``info["action_mask"]``: see
        docs/action_masks.md.

    Returns
    -------
    Batch

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the policy does not fit the environment.
    FloatingPointError
        An observation, a reward or a value is not finite. As after KeyboardInterrupt, a `VectorEnv` then
        stands where it stood, and one that was never reset has not been; after a value alone it has gone on.
    gymnasium.error.ClosedEnvironmentError
        The environment is closed.

    Examples
    --------
    >>> from fastpg.envs import make
    >>> env = make("CartPole-v1", num_envs=8)
    >>> obs, info = env.reset(seed=0)
    >>> batch = collect(env, Policy.for_env("CartPole-v1"), 100)
    >>> batch.obs.shape, batch.actions.shape, batch.num_episodes == len(batch.final_obs)
    ((100, 8, 4), (100, 8), True)
    >>> batch = collect(env, Policy.for_env("CartPole-v1"), 100, out=batch)
    """
    where = "collect()"
    require_policy(where, policy)
    require_normalizer(where, normalizer)
    if value is not None:
        require_value(where, "value", value)
    if not isinstance(env, VectorEnv) and not is_native(env):
        if out is not None:
            raise ValueError(f"{where}: out goes with native environments; Python steps {_check.shown(env)}")
        options = {"vectorization_mode": vectorization_mode, "reset_options": reset_options}
        return collect_stepped(
            where, env, policy, horizon, value, seed, num_envs, normalizer, options, env_params
        )
    refuse_options(where, env, vectorization_mode, reset_options)
    stage = set_stage(where, env, num_envs, seed, env_params)
    policy.check_fits(where, stage.env)
    critic = None
    if value is not None:
        value.check_fits(where, "value", stage.env.observation_space)
        critic = Weights(value.network, value.theta)
    if out is not None and type(out) is not Batch:
        raise TypeError(f"{where}: out must be a Batch of fastpg.collect, got {_check.shown(out)}")
    return collect_native(
        where, stage, Weights(policy.network, policy.theta), critic, horizon, out, normalizer
    )


class Stage(NamedTuple):
    """What is stepped: the caller's environments, or new ones."""

    env: NativeEnv
    vector: VectorEnv | None
    num_envs: int
    seed: int | None  # None: the environments'


def set_stage(where: str, env: Any, num_envs: Any, seed: Any, env_params: Mapping[str, Any]) -> Stage:
    """Check what `collect` takes as its environments."""
    if seed is not None:
        seed = _check.seed(where, seed)
    if isinstance(env, VectorEnv):
        given = sorted({**env_params, **({} if num_envs is None else {"num_envs": num_envs})})
        if given:
            raise TypeError(f"{where}: {given[0]} goes with an id; the VectorEnv that was passed has its own")
        return Stage(env.native, env, env.num_envs, seed)
    if isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv | gymnasium.Wrapper):
        advice = (
            "what a wrapper does would not be seen: pass the VectorEnv inside it, env.unwrapped"
            if isinstance(env.unwrapped, VectorEnv)
            else f"{where} steps native environments only, those of fastpg.list_envs(); fastpg.collect, "
            "train, evaluate and estimate_gradient take Gymnasium's"
        )
        raise TypeError(
            f"{where}: env must be a fastpg.VectorEnv or an id, got {_check.shown(env)}; {advice}"
        )
    num_envs = (
        DEFAULT_NUM_ENVS
        if num_envs is None
        else _check.integer(where, "num_envs", num_envs, 1, _check.MAX_NUM_ENVS)
    )
    return Stage(native_env(where, env, env_params), None, num_envs, seed or 0)


class Buffers(NamedTuple):
    """The memory of a rollout: arrays, or their shapes and dtypes."""

    rows: Any  # (T + 1, N, obs_size) float32: observations as the core has them, the last behind the others
    categories: Any  # the same as their space has them, int64; or None
    actions: Any  # (T, N, action_size)
    log_probs: Any  # (T, N) float32
    rewards: Any
    flags: Any  # (2, T, N) bool: terminated, truncated
    values: Any  # (T + 1, N) float32, or None
    final_values: Any  # (T, N) float32, or None
    action_mask: Any  # (T, N, categories of an action) bool, or None


def _buffers(
    where: str,
    horizon: int,
    num_envs: int,
    obs: spaces.Observations,
    actions: spaces.Actions,
    with_values: bool,
    with_mask: bool,
    out: Batch[Any] | None,
) -> Buffers:
    """Return the memory of an earlier rollout, checked to be what this one needs, or new memory."""
    steps = (horizon, num_envs)
    rows = (horizon + 1, num_envs, len(obs.categories) or obs.num_inputs)
    needs = Buffers(
        rows=(rows, np.float32),
        categories=(rows, np.int64) if obs.categories else None,
        actions=((*steps, actions.size), actions.dtype),
        log_probs=(steps, np.float32),
        rewards=(steps, np.float32),
        flags=((2, *steps), np.bool_),
        values=(rows[:2], np.float32) if with_values else None,
        final_values=(steps, np.float32) if with_values else None,
        action_mask=((*steps, actions.num_outputs), np.bool_) if with_mask else None,
    )
    if out is None:
        return _in_one_piece(needs)
    buffers: Buffers = out.memory
    got = Buffers(*(None if array is None else (array.shape, array.dtype) for array in buffers))
    if got != needs:
        raise ValueError(f"{where}: out must hold {_described(needs)}, got one of {_described(got)}")
    return buffers


def _in_one_piece(needs: Buffers) -> Buffers:
    """Return new memory: the system gives a large piece in large pages, and small ones page by page."""
    sizes = [0 if need is None else int(np.prod(need[0])) * np.dtype(need[1]).itemsize for need in needs]
    starts = np.cumsum([0, *(-(-size // CACHE_LINE) * CACHE_LINE for size in sizes)])
    piece = np.empty(starts[-1], np.uint8)
    return Buffers(
        *(
            None if need is None else piece[start : start + size].view(need[1]).reshape(need[0])
            for need, start, size in zip(needs, starts[:-1], sizes, strict=True)
        )
    )


def _described(parts: Buffers) -> str:
    """Return the shapes and dtypes of a rollout in words."""
    (horizon, num_envs), _ = parts.rewards
    size = parts.rows[0][2]
    kind = "numbers" if parts.categories is None else "categories"
    of_values = "" if parts.values is None else ", with values"
    of_values += "" if parts.action_mask is None else ", with an action mask"
    actions = f"{parts.actions[0][2]} action components of {np.dtype(parts.actions[1])}"
    return f"{horizon} steps of {num_envs} environments with {size} {kind} and {actions}{of_values}"


def collect_native(
    where: str,
    stage: Stage,
    policy: Weights,
    critic: Weights | None,
    horizon: Any,
    out: Batch[Any] | None,
    normalizer: ObservationNormalizer | None = None,
) -> Batch[NDArray[Any]]:
    """Do the work of `collect`; policy and critic fit the environments."""
    horizon = _check.integer(where, "horizon", horizon, 1, _check.MAX_COUNT)
    env = stage.env
    obs_space = spaces.observations(where, env.observation_space)
    action_space = spaces.actions(where, env.action_space)
    _check.finite(where, "theta", policy.theta)
    if critic is not None:
        _check.finite(where, "theta of the value function", critic.theta)
    theta = policy.theta
    if normalizer is not None:
        normalizer.check_fits(where, "env", obs_space)
        theta = normalizer.fold_into(where, policy.network, theta, np.empty_like(theta))
    buffers = _buffers(
        where, horizon, stage.num_envs, obs_space, action_space, critic is not None,
        env.core.has_action_mask, out,
    )  # fmt: skip
    flags = buffers.flags.view(np.uint8)
    arrays = {
        "obs": buffers.rows[:-1],
        "last_obs": buffers.rows[-1],
        "actions": buffers.actions.reshape(-1),
        "log_probs": buffers.log_probs,
        "rewards": buffers.rewards,
        "terminated": flags[0],
        "truncated": flags[1],
    }
    if buffers.action_mask is not None:
        arrays["action_mask"] = buffers.action_mask.view(np.uint8)
    if stage.vector is not None:
        played = stage.vector.collect_into(where, policy.network, theta, stage.seed, arrays)
    else:
        assert stage.seed is not None
        sampler = _core.Sampler(env.core, policy.network, stage.num_envs, stage.seed)
        played = sampler.collect(None, theta, seed=stage.seed, first_step=0, **arrays)
    stats, ends, returns, lengths, final_rows = played
    terminated, truncated = buffers.flags
    if normalizer is not None:
        rows = buffers.rows.copy() if normalizer.training else buffers.rows
        buffers.rows[...] = normalizer.scaled(where, buffers.rows)
        final_rows = normalizer.scaled(where, final_rows)
        if normalizer.training:
            normalizer.add(where, rows[:-1].reshape(-1, rows.shape[-1]))
    if critic is not None:
        rows = buffers.rows
        if obs_space.categories:  # weights are found by them, and another thread may have the same `out`
            rows = np.minimum(rows, np.array(obs_space.categories, np.float32) - 1)
        evaluate_rows(where, critic, rows, buffers.values)
        cut = (truncated & ~terminated)[ends[:, 0], ends[:, 1]]
        final_values = np.empty(int(cut.sum()), np.float32)
        evaluate_rows(where, critic, final_rows[cut], final_values)
        buffers.final_values[...] = 0.0
        buffers.final_values[ends[cut, 0], ends[cut, 1]] = final_values
    obs, last_obs = _in_space(obs_space, buffers.rows, buffers.categories)
    return Batch(
        obs=obs,
        actions=action_space.shaped(buffers.actions, (horizon, stage.num_envs)),
        log_probs=buffers.log_probs,
        rewards=buffers.rewards,
        terminated=terminated,
        truncated=truncated,
        last_obs=last_obs,
        ends=ends,
        final_obs=obs_space.batch(final_rows),
        episode_returns=returns,
        episode_lengths=lengths,
        entropy=float(stats["entropy"]),
        values=None if buffers.values is None else buffers.values[:-1],
        last_values=None if buffers.values is None else buffers.values[-1],
        final_values=buffers.final_values,
        action_mask=buffers.action_mask,
        memory=buffers,
    )


def _in_space(
    obs_space: spaces.Observations, rows: NDArray[np.float32], categories: NDArray[np.int64] | None
) -> tuple[Any, Any]:
    """Return the observations before and after the last step, in the form of the space."""
    if categories is None:
        return rows[:-1], rows[-1]
    np.copyto(categories, rows, casting="unsafe")
    np.add(categories, obs_space.starts, out=categories)
    return obs_space.formed(categories[:-1]), obs_space.formed(categories[-1])
