"""Environments that fastpg does not implement: whatever has Gymnasium's interface, stepped by Python.

`opened` turns what users pass for an environment into a `NativeEnv` or a `GymnasiumEnv`; `Stepper` hides the
differences between vector environments: how they reset, and in which form they take actions.
"""

import contextlib
import functools
import importlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Space
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from fastpg import _check
from fastpg.acted import Acted
from fastpg.action_masks import require_categorical
from fastpg.distributed.ranks import Ranks
from fastpg.envs.autoreset import NAMES_MODES, AutoresetMode
from fastpg.envs.gymnasium.asked_masks import METHOD, asking
from fastpg.envs.gymnasium.final_obs import final_batch
from fastpg.envs.gymnasium.flatten import Observed, Rows
from fastpg.envs.gymnasium.info_masks import IN_INFOS, KEY, are_in, read_masks
from fastpg.envs.gymnasium.misfits import misfit
from fastpg.envs.gymnasium.under_way import leave
from fastpg.envs.mujoco.engine import is_installed
from fastpg.envs.mujoco.env import MujocoEnv
from fastpg.envs.mujoco.make import make_mujoco, task_of
from fastpg.envs.native.registry import (
    USE_ACTION_MASK,
    EnvLike,
    NativeEnv,
    closest_id,
    is_native,
    list_envs,
    native_env,
    take_use_action_mask,
)
from fastpg.envs.native.vector import VectorEnv as NativeVectorEnv
from fastpg.errors import EnvError

EnvFactory = Callable[..., gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]]
AnyEnv = EnvLike | VectorEnv[Any, Any, Any] | EnvFactory  # what is accepted wherever one is named
VectorizationMode = Literal["sync", "async", "vector_entry_point"]
VECTORIZATION_MODES: tuple[VectorizationMode, ...] = ("sync", "async", "vector_entry_point")
FORCED = "gym:"  # before an id: Gymnasium's environment even where there is a native one
DEFAULT_NUM_ENVS = 16

# Environments that functions of users returned, without their wrappers, by identity.
_returned: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class GymnasiumEnv:
    """A vector environment of Gymnasium's interface, and how its arrays become the core's.

    Attributes
    ----------
    id : str
        What it is called.
    label : str
        The same with the function that the user called, for errors.
    env_id : str or None
        Under which it can be made again.
    env : gymnasium.vector.VectorEnv
    num_envs, first_env, all_envs : int
        Environments here, and where other ranks step some as well, those before and all of them.
    observation_space, action_space : gymnasium.spaces.Space
        Of a policy for it: what `Observed` makes of its observations, and its actions as they are.
    uses_action_mask : bool
        Whether actions are drawn as its info["action_mask"], or its action_masks(), says.
    """

    def __init__(
        self,
        where: str,
        env: VectorEnv[Any, Any, Any],
        env_id: str | None,
        reset_options: Mapping[str, Any],
        use_action_mask: bool | None,
    ) -> None:
        registered = getattr(env.spec, "id", None)
        self.id = env_id or (registered if isinstance(registered, str) else _class_name(env))
        self.label = f"{where}: {self.id}"
        self.env_id = env_id or (registered if registered in gymnasium.registry else None)
        self.env = env
        self.num_envs = self.all_envs = env.num_envs
        self.first_env = 0
        self.reset_options = dict(reset_options)
        self.autoreset = _autoreset_mode(where, self.id, env)
        if isinstance(env, NativeVectorEnv | MujocoEnv) and self.autoreset is AutoresetMode.NEXT_STEP:
            self.autoreset = AutoresetMode.DISABLED  # a reset that is asked for costs no row
        self.observed = Observed(where, env.single_observation_space)
        self.acted = Acted(where, env.single_action_space, env.num_envs)
        self.observation_space = self.observed.space
        self.action_space: Space[Any] = env.single_action_space
        inner = env.unwrapped
        has_mask = isinstance(inner, NativeVectorEnv) and inner.native.core.has_action_mask
        self.uses_action_mask = has_mask if use_action_mask is None else use_action_mask
        if self.uses_action_mask:
            require_categorical(f"{where}: {USE_ACTION_MASK}", self.acted.form)


class Stepper:
    """Steps a vector environment, whatever its autoreset mode.

    Attributes
    ----------
    done : bool array, (num_envs,)
        Whose episode ended with the last step.
    filler : bool array, (num_envs,)
        Where the next step is a reset and no transition.
    action_mask : uint8 array, (num_envs, categories), or None
        0 where the next action must not be taken, of environments whose masks are used.
    """

    def __init__(
        self,
        env: GymnasiumEnv,
        *,
        squash: bool = False,
        scales: bool = False,
        wants_final: bool = False,
        all_ends: bool = False,
    ) -> None:
        self._owner = env
        self._env = env.env
        self._mode = env.autoreset
        self._write = env.observed.write
        acted = env.acted
        if squash or scales:
            acted = Acted(env.label, env.action_space, env.num_envs, squash=squash, scales=scales)
        self._prepare = acted.prepare
        self._wants_final, self._all_ends = wants_final, all_ends
        self.done = np.zeros(env.num_envs, np.bool_)
        self.filler = np.zeros(env.num_envs, np.bool_)
        self._any_filler = False
        self._checked = self._checked_resets = False
        # Final observations: where the environment hides them from the next row, they are kept here.
        self._final = np.empty((env.num_envs, env.observed.size), np.float32)
        self.action_mask: NDArray[np.uint8] | None = None
        self._ask: Callable[[], Any] | None = None  # for masks, where infos do not have them
        self._knows_masks = False
        if env.uses_action_mask:
            self.action_mask = np.ones((env.num_envs, env.acted.form.num_outputs), np.uint8)

    def reset(self, rows: Rows, seed: int | None = None) -> None:
        """Begin an episode everywhere; its observations go into rows (num_envs, size)."""
        options = dict(self._owner.reset_options) or None
        leave(self._env)
        obs, infos = self._reset(seed=seed, options=options)
        self._observe(obs, rows)
        self.done[:] = self.filler[:] = False
        self._any_filler = False
        self._mask_actions(infos, ~self.filler)

    def _reset(self, **arguments: Any) -> tuple[Any, Any]:
        try:
            result = self._env.reset(**arguments)
        except (EOFError, ConnectionError) as error:
            raise self._lost(error) from error
        except Exception as error:
            said = misfit(self._owner.label, self._env, "reset", error)
            if said is None:
                raise
            raise said from error
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(
                f"{self._owner.label}: reset() must return observations and infos, got {_check.shown(result)}"
            )
        return result

    def resume(self, filler: NDArray[np.bool_], action_mask: NDArray[np.uint8] | None) -> None:
        """Go on where another stepper of this environment stood; `filler` and `action_mask` were its own."""
        if (action_mask is None) != (self.action_mask is None):
            raise ValueError(
                f"{self._owner.label}: {USE_ACTION_MASK} must be what it was in the call before, as this one "
                "goes on where that ended; or pass a seed, to begin anew"
            )
        self.filler[:] = filler
        self._any_filler = bool(filler.any())
        self.action_mask = action_mask

    def step(self, actions: NDArray[Any], rewards: Any, flags: Any, rows: Rows) -> bool:
        """Take the core's actions; return whether episodes ended or filler rows passed.

        Writes rewards (num_envs,) float64, flags (2, num_envs) bool: terminated, truncated, and the
        observations that the next actions are for.
        """
        try:
            result = self._env.step(self._prepare(actions))
        except (EOFError, ConnectionError) as error:
            raise self._lost(error) from error
        except Exception as error:
            said = misfit(self._owner.label, self._env, "step", error)
            if said is None:
                raise
            raise said from error
        if not self._checked:
            self._check(result)
        try:
            obs, reward, terminated, truncated, infos = result
            np.copyto(rewards, reward)
            np.copyto(flags[0], terminated)
            np.copyto(flags[1], truncated)
        except (ValueError, TypeError):  # this step does not fit, where the first did
            self._check(result)
            raise
        if not self._any_filler and not np.count_nonzero(flags):
            self._observe(obs, rows)
            self._mask_actions(infos, ~self.filler)
            return False
        np.logical_or(flags[0], flags[1], out=self.done)
        if self._any_filler:
            np.logical_and(self.done, ~self.filler, out=self.done)
        any_done = bool(np.count_nonzero(self.done))
        if self._mode is AutoresetMode.NEXT_STEP:
            self.filler[:] = self.done
            self._any_filler = any_done
            self._mask_actions(infos, ~self.filler)
        elif any_done:
            cut = self.done if self._all_ends else flags[1] & self.done & ~flags[0]
            if self._wants_final and cut.any():
                self._keep_final(np.flatnonzero(cut), obs, infos)
            if self._mode is AutoresetMode.DISABLED:
                self._mask_actions(infos, ~self.done)
                obs, infos = self._reset_ended(obs)
                self._mask_actions(infos, self.done)
            else:
                self._mask_actions(infos, ~self.filler)
        self._observe(obs, rows)
        return True

    def _reset_ended(self, obs: Any) -> tuple[Any, Any]:
        """Reset the environments whose episodes a step, which showed `obs`, has ended.

        The first time look whether the reset leaves the others alone.
        """
        options = {**self._owner.reset_options, "reset_mask": self.done.copy()}
        if self._checked_resets or self.done.all():
            return self._reset(options=options)
        before, after = np.empty((2, *self._final.shape), np.float32)
        self._observe(obs, before)  # now: it may be memory that the reset writes to
        obs, infos = self._reset(options=options)
        self._observe(obs, after)
        moved = ((before != after) & ~np.isnan(before)).any(axis=1) & ~self.done
        if moved.any():
            raise ValueError(
                f"{self._owner.label} says autoreset mode DISABLED, but a reset with the option 'reset_mask' "
                f"changed the observation of environment {int(moved.argmax())}, which the mask leaves out"
            )
        self._checked_resets = True
        return obs, infos

    def _mask_actions(self, infos: Any, which: NDArray[np.bool_]) -> None:
        """Read the masks of some environments out of what a step or a reset said of them, or ask them.

        Where the first infos have no masks, environments that can be asked are, from then on.
        """
        if self.action_mask is None:
            return
        self.action_mask[self.filler] = 1  # whose next action nobody takes
        if not which.any():
            return
        if not self._knows_masks:
            self._ask = None if are_in(infos) else asking(self._env)
            self._knows_masks = True
        name = IN_INFOS
        if self._ask is not None:
            infos, name = {KEY: self._ask()}, f"{METHOD}()"
        read_masks(self._owner.label, self._owner.acted.form, infos, which, self.action_mask, name)

    def _lost(self, error: Exception) -> EnvError:
        """Return what to raise where the pipe to a process of an asynchronous environment broke."""
        return EnvError(f"{self._owner.label}: a worker process ended, its pipe is broken ({error!r})")

    def final_rows(self, which: NDArray[np.int64], rows: Rows) -> Rows:
        """Return the final observations of episodes that the last step ended; it wrote `rows`."""
        return (rows if self._mode is AutoresetMode.NEXT_STEP else self._final)[which]

    def _observe(self, obs: Any, rows: Rows) -> None:
        try:
            self._write(obs, rows)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._owner.label} returned observations that do not fit: {error}") from error

    def _keep_final(self, which: NDArray[np.int64], obs: Any, infos: Any) -> None:
        """Keep the final observations of episodes that this step ended, before new ones hide them."""
        if self._mode is AutoresetMode.DISABLED:
            self._observe(obs, self._final)
            return
        batch = final_batch(self._owner.label, self._env.single_observation_space, infos, which)
        chosen = np.empty((len(which), self._final.shape[1]), np.float32)
        self._observe(batch, chosen)
        self._final[which] = chosen

    def _check(self, result: Any) -> None:
        """Check what a step returned: of the first one, and of those that do not fit."""
        name, count = self._owner.label, self._owner.num_envs
        if not isinstance(result, tuple) or len(result) != 5:
            raise ValueError(
                f"{name}: step() must return observations, rewards, terminated, truncated and infos, "
                f"got {_check.shown(result)}"
            )
        for what, array, kinds in (
            ("rewards", result[1], "fiu"),
            ("terminated", result[2], "b"),
            ("truncated", result[3], "b"),
        ):
            got = np.asarray(array)
            if got.shape != (count,) or got.dtype.kind not in kinds:
                kind = "bools" if kinds == "b" else "numbers"
                raise ValueError(
                    f"{name}: step() must return {what} as {kind} of shape ({count},), "
                    f"got shape {got.shape} and dtype {got.dtype}"
                )
        self._checked = True


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
) -> Iterator[NativeEnv | GymnasiumEnv]:
    """Find or make the environment that a user means; what is made here is closed at the end.

    `num_envs` None means what is usual; `at_most` so many are made where the number is free. Of ranks, each
    makes its share of those that Python steps, and steps all of a vector environment that it is given.
    """
    if vectorization_mode is not None:
        _check.choice(where, "vectorization_mode", vectorization_mode, VECTORIZATION_MODES)
    _check.mapping(where, "reset_options", reset_options)
    own_params, use_action_mask = take_use_action_mask(where, params)
    if is_native(env_id):
        for option, value in (("vectorization_mode", vectorization_mode), ("reset_options", reset_options)):
            if value is not None:
                advice = f"; {FORCED + env_id!r} is Gymnasium's own" if isinstance(env_id, str) else ""
                raise ValueError(
                    f"{where}: {option} goes with Gymnasium's environments, not native ones{advice}"
                )
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
    made: VectorEnv[Any, Any, Any]
    name: str | None = None
    task = _mujoco_task(where, env_id, vectorization_mode)
    if isinstance(env_id, VectorEnv):
        made = _ready(where, env_id, params, given, vectorization_mode)
    elif task is not None:
        made = make_mujoco(where, task, count, **{**(params or {}), "autoreset": "same_step"})
        name = env_id if isinstance(env_id, str) else None
    elif isinstance(env_id, str):
        made, name = _registered(where, env_id, params or {}, count, vectorization_mode), env_id
    elif isinstance(env_id, gymnasium.Env):
        raise TypeError(
            f"{where}: env_id is a single gymnasium.Env, {_check.shown(env_id)}; pass a function that makes "
            "one, as lambda: gymnasium.make(...), or a gymnasium.vector.VectorEnv"
        )
    elif callable(env_id) and (not isinstance(env_id, type) or issubclass(env_id, gymnasium.Env | VectorEnv)):
        made = _from_factory(where, env_id, params or {}, count, given, vectorization_mode)
    else:
        hint = "; decorate it with fastpg.jit_env(...)" if isinstance(env_id, type) else ""
        raise TypeError(
            f"{where}: env_id must be a string, an environment that FiniteMDP, jit_env or load_env made, a "
            "gymnasium.vector.VectorEnv or a function that makes environments, "
            f"got {_check.shown(env_id)}{hint}"
        )
    try:
        env = GymnasiumEnv(where, made, name, reset_options or {}, use_action_mask)
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


def _ready(
    where: str, env: VectorEnv[Any, Any, Any], params: Any, num_envs: int | None, vectorization_mode: Any
) -> VectorEnv[Any, Any, Any]:
    _require_described(where, env)
    if params:
        raise TypeError(
            f"{where}: unexpected argument {min(params)!r}: env_id is a VectorEnv that was made already"
        )
    if vectorization_mode is not None:
        raise TypeError(f"{where}: vectorization_mode must be None for a VectorEnv that was made already")
    if num_envs is not None and num_envs != env.num_envs:
        raise ValueError(
            f"{where}: num_envs is {num_envs}, but env_id is a VectorEnv of {env.num_envs}; leave it out"
        )
    if getattr(env.unwrapped, "closed", False):
        raise ValueError(f"{where}: env_id is a VectorEnv that is closed")
    inner = env.unwrapped
    if isinstance(inner, SyncVectorEnv) and len({id(one.unwrapped) for one in inner.envs}) < env.num_envs:
        raise ValueError(f"{where}: env_id is a SyncVectorEnv that holds one environment several times")
    return env


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


def _registered(
    where: str, env_id: str, params: Mapping[str, Any], num_envs: int, vectorization_mode: Any
) -> VectorEnv[Any, Any, Any]:
    """Make an environment of Gymnasium's registry."""
    with naming(where, env_id):
        made: VectorEnv[Any, Any, Any] = gymnasium.make_vec(
            env_id.removeprefix(FORCED), num_envs=num_envs, vectorization_mode=vectorization_mode, **params
        )
        return made


@contextlib.contextmanager
def naming(where: str, env_id: str) -> Iterator[None]:
    """Turn Gymnasium's errors about an id into sentences."""
    name = env_id.removeprefix(FORCED)
    module, _, registered = name.rpartition(":")  # importing the module registers the id
    if ":" in module:
        raise ValueError(f"{where}: env_id must be 'Name-v0' or 'module:Name-v0', got {_check.shown(env_id)}")
    if not module and registered not in gymnasium.registry:  # where Gymnasium may pick another version
        raise _unknown_id(where, env_id, registered)
    try:
        yield
    except gymnasium.error.DependencyNotInstalled as error:
        raise ImportError(f"{where}: {name} needs what is not installed: {_line(error)}") from error
    except ModuleNotFoundError as error:
        if ":" in name and f"'{name.split(':')[0]}'" in str(error):
            raise ValueError(f"{where}: env_id {env_id!r} names a module that is not there") from error
        raise ImportError(f"{where}: {name} needs what is not installed: {_line(error)}") from error
    except gymnasium.error.Error as error:
        if registered not in gymnasium.registry:
            raise _unknown_id(where, env_id, registered) from error
        raise ValueError(f"{where}: Gymnasium does not make {name}: {_line(error)}") from error
    except TypeError as error:  # of a constructor, that has no such argument
        raise TypeError(f"{where}: {name} cannot be made with these env_params: {_line(error)}") from error


def _unknown_id(where: str, env_id: str, registered: str) -> ValueError:
    close = closest_id(registered, [*list_envs(), *gymnasium.registry])
    hint = f"did you mean {close!r}? " if close else ""
    return ValueError(
        f"{where}: env_id {env_id!r} is not implemented natively, and Gymnasium has no such id; {hint}"
        f"fastpg.list_envs() has {', '.join(list_envs())}; gymnasium.registry has the others"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _from_factory(
    where: str,
    factory: EnvFactory,
    params: Mapping[str, Any],
    count: int,
    num_envs: int | None,
    vectorization_mode: Any,
) -> VectorEnv[Any, Any, Any]:
    """Make what a function of the user makes: a vector environment, or `count` single ones."""
    if vectorization_mode == "vector_entry_point":
        raise ValueError(
            f"{where}: vectorization_mode must be 'sync' or 'async' for a function, "
            f"got {vectorization_mode!r}"
        )

    make_one = functools.partial(_made_by, where, factory, params)
    first = make_one()
    if isinstance(first, VectorEnv):
        try:
            return _ready(where, first, None, num_envs, vectorization_mode)
        except BaseException:
            first.close()
            raise
    if not isinstance(first, gymnasium.Env):
        raise TypeError(
            f"{where}: env_id must be a function that returns a gymnasium.Env or a "
            f"gymnasium.vector.VectorEnv, it returned {_check.shown(first)}"
        )
    for space in ("observation_space", "action_space"):
        if not isinstance(getattr(first, space, None), gymnasium.Space):
            raise TypeError(
                f"{where}: env_id returned an environment without an {space}: {_check.shown(first)}"
            )
    if vectorization_mode == "async":
        first.close()
        return AsyncVectorEnv([make_one] * count)
    return SyncVectorEnv([lambda: first, *[make_one] * (count - 1)])


def _made_by(where: str, factory: EnvFactory, params: Mapping[str, Any]) -> Any:
    """Return what a function of the user makes, which has to be another environment at each call."""
    _check.takes(where, "env_id", factory, **params)
    made = factory(**params)
    if isinstance(made, gymnasium.Env):
        inner = made.unwrapped
        if _returned.get(id(inner)) is inner:
            raise ValueError(
                f"{where}: env_id is a function that returned the same environment twice, "
                f"{_check.shown(made)}; make a new one in it, as lambda: gymnasium.make(...)"
            )
        _returned[id(inner)] = inner
    return made


def _class_name(env: VectorEnv[Any, Any, Any]) -> str:
    """Return the name of the class that a user wrote, also where Gymnasium steps copies of it."""
    inner = env.unwrapped
    return type(inner.envs[0].unwrapped if isinstance(inner, SyncVectorEnv) else inner).__name__


def _abandon(env: VectorEnv[Any, Any, Any]) -> None:
    """Close an environment after an error, which is what the user is to hear of."""
    arguments = {"terminate": True} if isinstance(env, AsyncVectorEnv) else {}
    for _ in range(2):  # an asynchronous one may first report what its workers died of
        with contextlib.suppress(Exception, KeyboardInterrupt):
            env.close(**arguments)
            return


def _autoreset_mode(where: str, name: str, env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    mode = (env.metadata or {}).get("autoreset_mode")
    inner = env.unwrapped
    if isinstance(inner, SyncVectorEnv | AsyncVectorEnv) and env.metadata is inner.metadata:
        # Before Gymnasium 1.4 theirs is the dict of the environment's class: whoever was made last wrote its
        # mode there.
        mode = getattr(inner, "autoreset_mode", mode)
    if mode is None and not NAMES_MODES and type(inner).__module__.startswith("gymnasium."):
        mode = AutoresetMode.NEXT_STEP
    for known in AutoresetMode:
        if mode is known or mode in (known.value, known.name, known.name.lower()):
            return known
    raise ValueError(
        f"{where}: {name} does not say what follows the end of an episode: its metadata['autoreset_mode'] is "
        f"{_check.shown(mode)}; set it to a gymnasium.vector.AutoresetMode"
    )


def spaces_of(where: str, env_id: Any) -> tuple[Space[Any], Space[Any], str | None]:
    """Return the spaces that a policy for the environment has, and the id to remember."""
    with opened(where, env_id, None, at_most=1) as env:
        return env.observation_space, env.action_space, env.env_id


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
