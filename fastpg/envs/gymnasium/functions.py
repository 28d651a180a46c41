"""Environments that functions of users make: a vector environment, or single ones side by side."""

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from fastpg import _check
from fastpg.envs.gymnasium.ready import class_name, ready

EnvFactory = Callable[..., gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]]

# Environments that functions of users returned, without their wrappers, by identity.
_returned: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def made_by_function(
    where: str,
    argument: str,
    factory: EnvFactory,
    params: Mapping[str, Any],
    count: int,
    num_envs: int | None,
    vectorization_mode: Any,
) -> tuple[VectorEnv[Any, Any, Any], str]:
    """Make what a function of the user makes, a vector environment or `count` single ones; name its class."""
    if vectorization_mode == "vector_entry_point":
        raise ValueError(
            f"{where}: vectorization_mode must be 'sync' or 'async' for a function, "
            f"got {vectorization_mode!r}"
        )

    make_one = functools.partial(_made_by, where, argument, factory, params)
    first = make_one()
    if isinstance(first, VectorEnv):
        try:
            return ready(where, argument, first, None, num_envs, vectorization_mode), class_name(first)
        except BaseException:
            first.close()
            raise
    if not isinstance(first, gymnasium.Env):
        raise TypeError(
            f"{where}: {argument} must be a function that returns a gymnasium.Env or a "
            f"gymnasium.vector.VectorEnv, it returned {_check.shown(first)}"
        )
    for space in ("observation_space", "action_space"):
        if not isinstance(getattr(first, space, None), gymnasium.Space):
            raise TypeError(
                f"{where}: {argument} returned an environment without an {space}: {_check.shown(first)}"
            )
    name = type(first.unwrapped).__name__  # which nobody can ask processes for
    if vectorization_mode == "async":
        first.close()
        return AsyncVectorEnv([make_one] * count), name
    return SyncVectorEnv([lambda: first, *[make_one] * (count - 1)]), name


def _made_by(where: str, argument: str, factory: EnvFactory, params: Mapping[str, Any]) -> Any:
    """Return what a function of the user makes, which has to be another environment at each call."""
    _check.takes(where, argument, factory, **params)
    made = factory(**params)
    if isinstance(made, gymnasium.Env):
        inner = made.unwrapped
        if _returned.get(id(inner)) is inner:
            raise ValueError(
                f"{where}: {argument} is a function that returned the same environment twice, "
                f"{_check.shown(made)}; make a new one in it, as lambda: gymnasium.make(...)"
            )
        _returned[id(inner)] = inner
    return made
