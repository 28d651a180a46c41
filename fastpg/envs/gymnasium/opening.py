"""What users pass for an environment becomes a `NativeEnv` or a `GymnasiumEnv`, and is closed again."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import gymnasium
from gymnasium.spaces import Space
from gymnasium.vector import AsyncVectorEnv, VectorEnv

from fastpg import _check
from fastpg.distributed.ranks import Ranks
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.functions import EnvFactory, made_by_function
from fastpg.envs.gymnasium.ready import ready
from fastpg.envs.gymnasium.registered import FORCED, made_by_id
from fastpg.envs.mujoco.engine import is_installed
from fastpg.envs.mujoco.env import MujocoEnv
from fastpg.envs.mujoco.make import make_mujoco, task_of
from fastpg.envs.native.registry import EnvLike, NativeEnv, is_native, native_env, take_use_action_mask

AnyEnv = EnvLike | VectorEnv[Any, Any, Any] | EnvFactory  # what is accepted wherever one is named
VectorizationMode = Literal["sync", "async", "vector_entry_point"]
VECTORIZATION_MODES: tuple[VectorizationMode, ...] = ("sync", "async", "vector_entry_point")
DEFAULT_NUM_ENVS = 16


@contextlib.contextmanager
def opened(
    where: str,
    env_id: Any,
    params: Mapping[str, Any] | None,
    *,
    num_envs: int | None = None,
    at_most: int | None = None,
    vectorization_mode: Any = None,
    reset_options: Any = None,
    ranks: Ranks | None = None,
    argument: str = "env_id",
) -> Iterator[NativeEnv | GymnasiumEnv]:
    """Find or make the environment that a user means; what is made here is closed at the end.

    `num_envs` None means what is usual; `at_most` so many are made where the number is free. Of ranks, each
    makes its share of those that Python steps, and steps all of a vector environment that it is given.
    `argument` is what the caller calls the environment.
    """
    if vectorization_mode is not None:
        _check.choice(where, "vectorization_mode", vectorization_mode, VECTORIZATION_MODES)
    _check.mapping(where, "reset_options", reset_options)
    own_params, use_action_mask = take_use_action_mask(where, params)
    if is_native(env_id):
        refuse_options(where, env_id, vectorization_mode, reset_options)
        yield native_env(where, env_id, params or {})
        return
    params = own_params
    wanted = DEFAULT_NUM_ENVS if num_envs is None else num_envs
    count = wanted if at_most is None else min(wanted, at_most)
    given = num_envs
    if ranks is not None:
        if count < ranks.size:
            raise ValueError(
                f"{where}: num_envs must be at least the number of ranks, {ranks.size}, got {count}"
            )
        count, given = ranks.share_of(count), None  # how many a vector environment should have is seen below
    made, made_id, name = _made(where, argument, env_id, params or {}, count, given, vectorization_mode)
    try:
        env = GymnasiumEnv(where, made, made_id, reset_options or {}, use_action_mask, name)
        if ranks is not None:
            counts = ranks.exchange(env.num_envs)
            env.first_env, env.all_envs = sum(counts[: ranks.rank]), sum(counts)
            if num_envs is not None and env.all_envs != num_envs:
                raise ValueError(
                    f"{where}: num_envs is {num_envs}, but the ranks' vector environments have "
                    f"{env.all_envs}; leave it out"
                )
        yield env
    except BaseException:
        if made is not env_id:
            _abandon(made)
        raise
    if made is not env_id:
        made.close()


def refuse_options(where: str, env_id: Any, vectorization_mode: Any, reset_options: Any) -> None:
    """Require that a native environment is given none of the options of those that Python steps."""
    for option, value in (("vectorization_mode", vectorization_mode), ("reset_options", reset_options)):
        if value is not None:
            advice = f"; {FORCED + env_id!r} is Gymnasium's own" if isinstance(env_id, str) else ""
            raise ValueError(f"{where}: {option} goes with Gymnasium's environments, not native ones{advice}")


def _made(
    where: str,
    argument: str,
    env_id: Any,
    params: Mapping[str, Any],
    count: int,
    num_envs: int | None,
    vectorization_mode: Any,
) -> tuple[VectorEnv[Any, Any, Any], str | None, str | None]:
    """Return the vector environment that is meant, with its id or name; of new ones make `count`."""
    task = _mujoco_task(where, env_id, vectorization_mode)
    own_id = env_id if isinstance(env_id, str) else None
    if isinstance(env_id, VectorEnv):
        return ready(where, argument, env_id, params, num_envs, vectorization_mode), None, None
    if task is not None:
        return make_mujoco(where, task, count, **{**params, "autoreset": "same_step"}), own_id, None
    if isinstance(env_id, str):
        return made_by_id(where, argument, env_id, params, count, vectorization_mode), own_id, None
    if isinstance(env_id, gymnasium.Env):
        raise TypeError(
            f"{where}: {argument} is a single gymnasium.Env, {_check.shown(env_id)}; pass a function that "
            "makes one, as lambda: gymnasium.make(...), or a gymnasium.vector.VectorEnv"
        )
    if callable(env_id) and (not isinstance(env_id, type) or issubclass(env_id, gymnasium.Env | VectorEnv)):
        made, name = made_by_function(where, argument, env_id, params, count, num_envs, vectorization_mode)
        return made, None, name
    hint = "; decorate it with fastpg.jit_env(...)" if isinstance(env_id, type) else ""
    raise TypeError(
        f"{where}: {argument} must be a string, an environment that FiniteMDP, jit_env or load_env made, a "
        "gymnasium.vector.VectorEnv or a function that makes environments, "
        f"got {_check.shown(env_id)}{hint}"
    )


def _mujoco_task(where: str, env_id: Any, vectorization_mode: Any) -> type[MujocoEnv] | None:
    """Return the class of MuJoCo environments that is meant, if it is one.

    Of an id it is Gymnasium's own environment where MuJoCo's batch is missing, or copies of it are asked for.
    """
    task = task_of(env_id)
    if task is None or vectorization_mode in (None, "vector_entry_point"):
        return None if isinstance(env_id, str) and not is_installed() else task
    if isinstance(env_id, str):
        return None
    raise ValueError(
        f"{where}: vectorization_mode must be None for a MujocoEnv, which one engine steps, "
        f"got {vectorization_mode!r}"
    )


def _abandon(env: VectorEnv[Any, Any, Any]) -> None:
    """Close an environment after an error, which is what the user is to hear of."""
    arguments = {"terminate": True} if isinstance(env, AsyncVectorEnv) else {}
    for _ in range(2):  # an asynchronous one may first report what its workers died of
        with contextlib.suppress(Exception, KeyboardInterrupt):
            env.close(**arguments)
            return


def spaces_of(where: str, env_id: Any) -> tuple[Space[Any], Space[Any], str | None]:
    """Return the spaces that a policy for the environment has, and the id to remember."""
    with opened(where, env_id, None, at_most=1) as env:
        return env.observation_space, env.action_space, env.env_id
