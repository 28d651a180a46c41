"""What a run begins with: how its iterations collect, its networks, and what has to agree among ranks."""

from collections.abc import Mapping
from typing import Any

from fastpg import _check, _core, acted
from fastpg.algorithms import NPG, PPO, Algorithm
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.opening import DEFAULT_NUM_ENVS, VectorizationMode
from fastpg.envs.native.registry import NativeEnv
from fastpg.errors import named
from fastpg.networks.policy import Activation, Policy, require_policy
from fastpg.networks.value import ValueFunction
from fastpg.training.agent import untrained_of, value_for
from fastpg.training.fingerprint import fingerprint
from fastpg.training.settings import given_of, run_config

DEFAULT_STEPS_PER_ITERATION = 5000
COLLECTIONS = (
    "horizon",
    "episodes",
    "steps_per_iteration",
)  # one of them says how much an iteration collects


def collection_of(
    where: str,
    algorithm: Algorithm,
    horizon: int | None,
    episodes: int | None,
    steps_per_iteration: int | None,
) -> dict[str, int]:
    """Return how an iteration collects: one of three counts, the others 0."""
    if horizon is None and episodes is None and steps_per_iteration is None:
        if isinstance(algorithm, PPO | NPG):
            horizon = algorithm.HORIZON
        else:
            steps_per_iteration = DEFAULT_STEPS_PER_ITERATION
    counts = dict(zip(COLLECTIONS, (horizon, episodes, steps_per_iteration), strict=True))
    _check.exactly_one(where, **counts)
    return {
        name: 0 if n is None else _check.integer(where, name, n, 1, _check.MAX_COUNT)
        for name, n in counts.items()
    }


def begin(
    where: str,
    env: NativeEnv | GymnasiumEnv,
    algorithm: Algorithm,
    *,
    env_params: Mapping[str, Any] | None,
    num_envs: int | None,
    collection: Mapping[str, int],
    hidden: tuple[int, ...],
    activation: Activation,
    squash: bool,
    state_dependent_std: bool,
    action_scaling: bool | None,
    policy: Policy | None,
    value: ValueFunction | None,
    vectorization_mode: VectorizationMode | None,
    seed: int,
    **ends: Any,
) -> tuple[Policy, ValueFunction | None, dict[str, Any], dict[str, bool]]:
    """Return the networks that a run begins with, its `TrainResult.config`, and which have learnt nothing."""
    learner = _initial_policy(
        where, env, policy, seed, action_scaling, squash=squash,
        hidden=hidden, activation=activation, state_dependent_std=state_dependent_std,
    )  # fmt: skip
    if policy is None and isinstance(algorithm, PPO):
        _set_log_std(learner, algorithm.initial_log_std)
    critic = value_for(where, algorithm, learner, value, seed)
    if critic is not None and critic is value:
        critic = critic.copy()
    if isinstance(env, GymnasiumEnv):
        num_envs = env.all_envs
    else:
        num_envs = min(num_envs or DEFAULT_NUM_ENVS, collection["episodes"] or _check.MAX_NUM_ENVS)
    config = run_config(
        env, algorithm, learner, critic, env_params, num_envs=num_envs, **collection, **ends, seed=seed
    )
    if isinstance(env, GymnasiumEnv):
        config |= {"vectorization_mode": vectorization_mode, "reset_options": env.reset_options}
    given = {"policy_given": policy is not None, "value_given": value is not None}
    return learner, critic, config | given_of(given), untrained_of(learner, critic)


def _set_log_std(policy: Policy, log_std: float) -> None:
    """Begin a new policy with a standard deviation, where its actions have one."""
    parameters = policy.parameters()
    if policy.network.state_std:  # the second half of the outputs
        parameters["head.bias"][policy.network.action_size :] = log_std
    elif "log_std" in parameters:
        parameters["log_std"][:] = log_std


def _initial_policy(
    where: str,
    env: NativeEnv | GymnasiumEnv,
    policy: Policy | None,
    seed: int,
    action_scaling: bool | None,
    squash: bool,
    **shape: Any,
) -> Policy:
    if policy is None:
        squash = _check.boolean(where, "squash", squash)
        scales = acted.action_scaling(where, env.action_space, action_scaling, stacklevel=4, squash=squash)
        with named(where):
            learner = Policy(
                env.observation_space,
                env.action_space,
                seed=seed,
                squash=squash,
                action_scaling=scales,
                **shape,
            )
        learner.env_id = env.env_id
        return learner
    require_policy(where, policy).check_fits(where, env)
    if action_scaling not in (None, policy.action_scaling):
        raise ValueError(
            f"{where}: action_scaling must be None where a policy is given, whose own is "
            f"{policy.action_scaling}, got {_check.shown(action_scaling)}"
        )
    policy.checked_theta(where)
    learner = policy.copy()
    learner.env_id = env.env_id
    return learner


def facts_of(
    where: str, env_id: Any, env: NativeEnv | GymnasiumEnv, agent: _core.Agent, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what has to be the same on all ranks, lest they compute another thing."""
    return {
        "the version of fastpg": _core.version(),
        "the compiler of fastpg": _core.compiler(),
        "the instruction set": _core.isa(),
        **settings,
        "the environment's fingerprint": fingerprint(where, env_id, env),
        "the hash of the first parameters": f"{agent.check:016x}",
    }
