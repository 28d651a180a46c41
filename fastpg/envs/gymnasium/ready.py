"""Vector environments that were made already: what is required of them."""

from collections.abc import Mapping
from typing import Any

from gymnasium.spaces import Space
from gymnasium.vector import SyncVectorEnv, VectorEnv

from fastpg import _check


def ready(
    where: str,
    argument: str,
    env: VectorEnv[Any, Any, Any],
    params: Any,
    num_envs: int | None,
    vectorization_mode: Any,
) -> VectorEnv[Any, Any, Any]:
    """Return a vector environment that was made already, if it is whole and goes with the other arguments."""
    _require_described(where, env)
    if params:
        raise TypeError(
            f"{where}: unexpected argument {min(params)!r}: {argument} is a VectorEnv that was made already"
        )
    if vectorization_mode is not None:
        raise TypeError(f"{where}: vectorization_mode must be None for a VectorEnv that was made already")
    if num_envs is not None and num_envs != env.num_envs:
        raise ValueError(
            f"{where}: num_envs is {num_envs}, but {argument} is a VectorEnv of {env.num_envs}; leave it out"
        )
    if getattr(env.unwrapped, "closed", False):
        raise ValueError(f"{where}: {argument} is a VectorEnv that is closed")
    inner = env.unwrapped
    if isinstance(inner, SyncVectorEnv) and len({id(one.unwrapped) for one in inner.envs}) < env.num_envs:
        raise ValueError(f"{where}: {argument} is a SyncVectorEnv that holds one environment several times")
    return env


def class_name(env: VectorEnv[Any, Any, Any]) -> str:
    """Return the name of the class that a user wrote, also where Gymnasium steps copies of it."""
    inner = env.unwrapped
    return type(inner.envs[0].unwrapped if isinstance(inner, SyncVectorEnv) else inner).__name__


def require_whole_batches(label: str, env: VectorEnv[Any, Any, Any]) -> None:
    """Require that a step returns all environments; EnvPool's returns `batch_size` of them."""
    config = getattr(env.unwrapped, "config", None)
    size = config.get("batch_size") if isinstance(config, Mapping) else None
    if isinstance(size, int) and 0 < size < env.num_envs:
        raise ValueError(
            f"{label} has a batch_size of {size}, so that each step returns {size} of its {env.num_envs} "
            "environments; such asynchronous batches are not supported: leave batch_size out, or make it "
            "equal to num_envs"
        )


def _require_described(where: str, env: VectorEnv[Any, Any, Any]) -> None:
    """Require what a vector environment has to say of itself; one of a user's own may have left it out."""
    name = type(env.unwrapped).__name__
    _check.integer(where, f"{name}.num_envs", getattr(env, "num_envs", None), 1, _check.MAX_NUM_ENVS)
    for space in ("single_observation_space", "single_action_space"):
        if not isinstance(getattr(env, space, None), Space):
            raise TypeError(
                f"{where}: {name}.{space} must be a gymnasium space, that of one of its environments, got "
                f"{_check.shown(getattr(env, space, None))}"
            )
    _check.takes(where, f"{name}.reset()", env.reset, seed=None, options=None)
