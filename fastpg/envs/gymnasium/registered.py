"""Ids of Gymnasium's registry: what they name, and Gymnasium's errors about them as sentences."""

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv

from fastpg import _check
from fastpg.envs.native.registry import closest_id, is_native, list_envs, native_env

FORCED = "gym:"  # before an id: Gymnasium's environment even where there is a native one
TAKEN = ("id", "num_envs", "vectorization_mode")  # arguments of make_vec that are not the environment's
OF_COPIES = ("wrappers", "vector_kwargs")  # for which a class that steps all by itself has no use
MAX_LIMIT = 2**31 - 1  # steps of an episode


def made_by_id(
    where: str,
    argument: str,
    env_id: str,
    params: Mapping[str, Any],
    num_envs: int,
    vectorization_mode: Any,
) -> VectorEnv[Any, Any, Any]:
    """Make an environment of Gymnasium's registry."""
    for name in TAKEN:
        if name in params:
            raise TypeError(f"{where}: unexpected argument {name!r}, which is no parameter of an environment")
    if params.get("max_episode_steps") not in (None, -1):  # -1: Gymnasium's word for no limit
        _check.integer(where, "max_episode_steps", params["max_episode_steps"], 1, MAX_LIMIT)
    if vectorization_mode is None and any(params.get(name) for name in OF_COPIES):
        vectorization_mode = "sync"
    with naming(where, env_id, argument):
        made: VectorEnv[Any, Any, Any] = gymnasium.make_vec(
            env_id.removeprefix(FORCED), num_envs=num_envs, vectorization_mode=vectorization_mode, **params
        )
        return made


@contextlib.contextmanager
def naming(where: str, env_id: str, argument: str = "env_id") -> Iterator[None]:
    """Turn Gymnasium's errors about an id into sentences."""
    name = env_id.removeprefix(FORCED)
    module, _, registered = name.rpartition(":")  # importing the module registers the id
    if ":" in module:
        raise ValueError(
            f"{where}: {argument} must be 'Name-v0' or 'module:Name-v0', got {_check.shown(env_id)}"
        )
    if not module and registered not in gymnasium.registry:  # where Gymnasium may pick another version
        raise _unknown_id(where, argument, env_id, registered)
    try:
        yield
    except gymnasium.error.DependencyNotInstalled as error:
        raise ImportError(f"{where}: {name} needs what is not installed: {_check.line(error)}") from error
    except ModuleNotFoundError as error:
        if ":" in name and f"'{name.split(':')[0]}'" in str(error):
            raise ValueError(f"{where}: {argument} {env_id!r} names a module that is not there") from error
        raise ImportError(f"{where}: {name} needs what is not installed: {_check.line(error)}") from error
    except gymnasium.error.Error as error:
        if registered not in gymnasium.registry:
            raise _unknown_id(where, argument, env_id, registered) from error
        raise ValueError(f"{where}: Gymnasium does not make {name}: {_check.line(error)}") from error
    except TypeError as error:  # of a constructor, that has no such argument
        raise TypeError(
            f"{where}: {name} cannot be made with these env_params: {_check.line(error)}"
        ) from error


def _unknown_id(where: str, argument: str, env_id: str, registered: str) -> ValueError:
    close = closest_id(registered, [*list_envs(), *gymnasium.registry])
    hint = f"did you mean {close!r}? " if close else ""
    return ValueError(
        f"{where}: {argument} {env_id!r} is not implemented natively, and Gymnasium has no such id; {hint}"
        f"fastpg.list_envs() has {', '.join(list_envs())}; gymnasium.registry has the others"
    )


def reward_threshold(where: str, env_id: Any) -> float | None:
    """Return the mean return at which Gymnasium calls the environment of an id solved, if it says so."""
    threshold: float | None
    if not isinstance(env_id, str):
        return None
    if is_native(env_id):
        threshold = native_env(where, env_id, {}).spec.gymnasium_spec.reward_threshold
        return threshold
    with naming(where, env_id):
        threshold = spec_of(env_id).reward_threshold
    return threshold


def spec_of(env_id: str) -> Any:
    """Return what Gymnasium's registry says of an id."""
    module, _, name = env_id.removeprefix(FORCED).rpartition(":")
    if module:  # which registers the id
        importlib.import_module(module)
    return gymnasium.spec(name)
