"""Batches of native environments behind Gymnasium's vector interface."""

import copy as copying
import functools
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg._core import STEPPED
from fastpg.envs.custom.custom import CustomEnv
from fastpg.envs.native.finite import FiniteMDP
from fastpg.envs.native.registry import EnvLike, NativeEnv, native_env
from fastpg.errors import InvalidAction, ResetNeeded

Autoreset = Literal["next_step", "same_step", "disabled"]
AUTORESET_MODES: dict[Autoreset, AutoresetMode] = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}
MAX_NUM_ENVS = 2**31 - 1


class Arrays(NamedTuple):
    """What one step writes."""

    obs: NDArray[Any]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    bound: tuple[Any, ...]  # these, and the others that the core wants, as _core.Vector.bind takes them


def make(
    env_id: EnvLike,
    num_envs: int = 1,
    *,
    autoreset: Autoreset | AutoresetMode = "next_step",
    copy: bool = True,
    seed: int | None = None,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **params: Any,
) -> "VectorEnv":
    """Make a batch of native environments.

    ``gymnasium.make_vec("fastpg/<env_id>", num_envs=..., ...)`` makes the same, once fastpg is imported.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, or what jit_env or load_env made
        One of `fastpg.list_envs()`; or an environment given as arrays, or as compiled functions.
    num_envs : int
        How many environments, N.
    autoreset : {"next_step", "same_step", "disabled"} or gymnasium.vector.AutoresetMode
        What happens to an environment whose episode has ended (see `VectorEnv`).
    copy : bool
        False returns the same arrays from every `step`, overwritten in place: faster, for those who read them
        before the next step.
    seed : int, optional
        As in `VectorEnv.reset`, for the first reset that is not given one.
    render_mode : {"rgb_array"}, optional
        Needs what Gymnasium's own renderer needs (pygame).
    max_episode_steps : int, optional
        The time limit, 0 for none. By default the one under which Gymnasium registers the id.
    **params
        What Gymnasium's own constructor takes, and for Acrobot-v1 `book_or_nips` and `torque_noise_max`; the
        params of a `jit_env`.

    Returns
    -------
    VectorEnv

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> env = make("CartPole-v1", num_envs=3)
    >>> obs, info = env.reset(seed=0)
    >>> obs, rewards, terminated, truncated, info = env.step(np.array([0, 1, 1]))
    >>> obs.shape, rewards.tolist()
    ((3, 4), [1.0, 1.0, 1.0])
    """
    where = "make()"
    num_envs = _check.integer(where, "num_envs", num_envs, 1, MAX_NUM_ENVS)
    mode = _autoreset(where, autoreset)
    copy = _check.boolean(where, "copy", copy)
    if seed is not None:
        seed = _check.seed(where, seed)
    if max_episode_steps is not None:
        max_episode_steps = _check.integer(where, "max_episode_steps", max_episode_steps, 0, 2**31 - 1)
    env = native_env(where, env_id, params, max_episode_steps=max_episode_steps)
    if not isinstance(env_id, str) and render_mode is not None:
        kind = "a FiniteMDP" if isinstance(env_id, FiniteMDP) else f"{env.id}, which has no renderer"
        raise ValueError(f"{where}: render_mode must be None for {kind}, got {render_mode!r}")
    made = VectorEnv(env, num_envs, autoreset=mode, copy=copy, seed=seed, render_mode=render_mode)
    if isinstance(env_id, FiniteMDP):
        return made  # Gymnasium's registry knows nothing of it
    given = {"autoreset": autoreset, "copy": copy, "seed": seed, "render_mode": render_mode}
    given["max_episode_steps"] = max_episode_steps
    if isinstance(env_id, CustomEnv):
        made.spec = gymnasium.envs.registration.EnvSpec(
            id=re.sub(r"[^\w.-]", "-", env_id.name),
            vector_entry_point=functools.partial(make, env_id),
            max_episode_steps=env.core.max_episode_steps or None,
        )
    else:
        made.spec = copying.deepcopy(gymnasium.spec(f"fastpg/{env.id}"))
    made.spec.kwargs.update({name: value for name, value in given.items() if value is not None}, **params)
    made.spec.kwargs.update(num_envs=num_envs, vectorization_mode="vector_entry_point")
    return made


class VectorEnv(gymnasium.vector.VectorEnv[Any, Any, NDArray[Any]]):
    """A batch of native environments; `fastpg.make` makes one.

    A `gymnasium.vector.VectorEnv` in every respect: spaces, dtypes, seeding, infos, autoreset modes. When the
    episode of an environment ends,

    - ``"next_step"``: the step returns the episode's final observation, and the next one ignores the
      environment's action and returns the first observation of a new episode with reward 0;
    - ``"same_step"``: the step returns the first observation of a new episode, and the final one in
      ``info["final_obs"]``;
    - ``"disabled"``: the environment has to be reset with ``reset(options={"reset_mask": mask})``.

    The random numbers of environment i depend on its seed only: not on the number of environments, on threads
    or on the autoreset mode.

    Any thread may call it, but one at a time: while a call is under way, another thread's raises ValueError
    and changes nothing. A child process that was forked in the middle of a call has to reset. Copying and
    pickling are refused.

    Attributes
    ----------
    num_envs : int
    single_observation_space, single_action_space, observation_space, action_space : gymnasium.spaces.Space
    metadata : dict
        With "autoreset_mode", a `gymnasium.vector.AutoresetMode`.
    spec : gymnasium.envs.registration.EnvSpec
        ``gymnasium.make_vec(env.spec)`` makes such an environment again.
    """

    def __init__(
        self,
        env: NativeEnv,
        num_envs: int,
        *,
        autoreset: Autoreset,
        copy: bool,
        seed: int | None,
        render_mode: str | None,
    ) -> None:
        self.closed = True  # until all is there: Gymnasium closes what goes away open
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = dict(env.original.metadata)
        self.metadata.update(render_modes=["rgb_array"], autoreset_mode=AUTORESET_MODES[autoreset])
        self.single_observation_space = env.observation_space
        self.single_action_space = env.action_space
        self.observation_space = batch_space(env.observation_space, num_envs)
        self.action_space = batch_space(env.action_space, num_envs)
        if render_mode is not None:
            _check.choice("make()", "render_mode", render_mode, ("rgb_array",))
            env.original.render_mode = render_mode
        self._native = env
        self._core = _core.Vector(env.core, num_envs, autoreset)
        self._autoreset = autoreset
        self._copy = copy
        self._next_seed = seed
        self._seeds = np.zeros(num_envs, np.uint64)
        self._collected = 0  # steps by collect_into since the last seeds
        self._sampler: tuple[Any, _core.Sampler] | None = None  # its last, and the network that it is for
        self._last_actions: Any = None  # for the renderer
        # Where Gymnasium's environment has infos: what they are, by name, in each state of the table.
        self._has_prob = env.spec.prob_info
        self._state_infos = env.spec.infos(env.original) if env.spec.infos else {}
        self._has_infos = self._has_prob or bool(self._state_infos)
        # Gymnasium says 1 or 1.0 after a reset, depending on the environment.
        self._reset_prob_type: Any = type(env.original.reset()[1]["prob"]) if self._has_prob else float
        self._is_box = isinstance(env.observation_space, Box)
        self._state_shape = num_envs, env.core.state_size
        self._action_dtype = np.dtype(np.int64 if env.core.action_categories else np.float32)
        self._action_shape = self.action_space.shape
        if not copy:
            self._arrays = self._new_arrays()  # of every step
            with self._core.turn("make()"):
                self._core.bind(self._arrays.bound)
        self.closed = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode in every environment, or in those of a mask.

        Parameters
        ----------
        seed : int or sequence of int or None, optional
            An int seeds environment i with ``seed + i``; an entry None of a sequence lets that environment's
            random numbers go on. Without any, the first reset draws seeds from the operating system.
        options : mapping, optional
            ``"reset_mask"``: bool array, (num_envs,), of the environments to reset; the others stay. And
            the options of Gymnasium's own environment, as ``"low"`` and ``"high"``: they bound the first
            states of all episodes until the next call of `reset`.

        Returns
        -------
        observations : as `observation_space`
        infos : dict

        Raises
        ------
        AssertionError
            The mask is not a bool array of num_envs entries with one of them True (as Gymnasium's own).
        gymnasium.error.ResetNeeded
            A mask is given to environments that were never reset.
        gymnasium.error.ClosedEnvironmentError
            The environment is closed.
        TypeError, ValueError
            A seed or another option is of the wrong kind or out of range.
        """
        where = "VectorEnv.reset()"
        with self._core.turn(where):
            return self._reset(where, seed, options)

    def _reset(self, where: str, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self._check_open(where)
        settings = _check.mapping(where, "options", options)
        mask = None
        if "reset_mask" in settings:
            mask = self._reset_mask(settings.pop("reset_mask"))
            if not self._core.was_reset:
                raise ResetNeeded(f"{where}: options['reset_mask'] needs a full reset first{self._why()}")
        params = self._reset_params(where, settings)
        self._seed(where, seed, mask)
        self._core.set_params(params)
        obs = self._empty_obs() if self._copy else self._arrays.obs
        self._core.reset(None if mask is None else mask.view(np.uint8), obs)
        if not self._has_infos:
            return self._observations(obs), {}
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else mask
        infos = self._infos(self._core.get_state()[0], chosen, self._reset_prob_type)
        return self._observations(obs), infos

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Take one action in each environment.

        Parameters
        ----------
        actions : as `action_space`
            Integers of any width for discrete actions; float32 for continuous ones, where the environment
            clips what is out of its bounds.

        Returns
        -------
        observations : as `observation_space`
        rewards : float64 array, (num_envs,)
        terminated, truncated : bool arrays, (num_envs,)
        infos : dict

        Raises
        ------
        InvalidAction
            An action is out of range or not finite. It is a ValueError as well as Gymnasium's InvalidAction.
        TypeError, ValueError
            actions has the wrong dtype or shape.
        gymnasium.error.ResetNeeded
            There was no reset yet, or in the mode "disabled" an episode has ended.
        gymnasium.error.ClosedEnvironmentError
            The environment is closed.
        """
        core = self._core
        if not core.was_reset or self.closed:
            self._refuse_step(_core.NOT_RESET)
        if (
            type(actions) is np.ndarray
            and actions.dtype is self._action_dtype
            and actions.shape == self._action_shape
            and actions.flags.carray
        ):  # the usual case, without the cost of the general one
            array = actions.reshape(-1)
        else:
            array = self._actions(actions)
        states = None
        # Whatever another thread could see of a step happens in the core's call, in this thread's turn.
        if self._copy or self._has_infos:
            arrays = self._new_arrays() if self._copy else self._arrays
            if self._has_infos:
                states = np.empty(self._state_shape)
            outcome = core.step_into(array, arrays.bound if self._copy else None, states)
        else:
            arrays = self._arrays
            outcome = core.step(array)
        if outcome != STEPPED:
            self._refuse_step(outcome, array)
        if self.render_mode is not None:
            self._last_actions = np.array(actions)
        obs, rewards, terminated, truncated, bound = arrays
        infos = {} if states is None else self._infos(states)
        if self._autoreset == "same_step":
            self._add_final(infos, terminated | truncated, bound)
        return obs if self._is_box else self._observations(obs), rewards, terminated, truncated, infos

    def get_state(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return what `set_state` takes: states (num_envs, state_size) and steps taken (num_envs,).

        Gymnasium's state variables in their order; for a tabular environment the number of its state and the
        probability of the last transition.
        """
        with self._core.turn("VectorEnv.get_state()"):
            return self._core.get_state()

    def set_state(self, state: NDArray[np.float64], elapsed: NDArray[np.int32] | None = None) -> Any:
        """Put every environment into a state and return its observations.

        Parameters
        ----------
        state : float64 array, (num_envs, state_size)
        elapsed : int32 array, (num_envs,), optional
            Steps that the episodes have had; 0 by default.

        Raises
        ------
        TypeError, ValueError
            An array has the wrong dtype or shape, or holds a value that is no state.
        gymnasium.error.ClosedEnvironmentError
            The environment is closed.

        Examples
        --------
        >>> env = make("CartPole-v1", num_envs=2)
        >>> _ = env.reset(seed=0)
        >>> env.set_state(np.zeros((2, 4)))[0].tolist()
        [0.0, 0.0, 0.0, 0.0]
        """
        where = "VectorEnv.set_state()"
        with self._core.turn(where):
            self._check_usable(where)
            shape = (self.num_envs, self._native.core.state_size)
            # Copies are checked: another thread may write to the caller's arrays.
            rows = _check.array(where, "state", state, np.float64, shape).copy()
            _check.finite(where, "state", rows)
            table = self._native.core.table
            if table is not None:
                numbers, count = rows[:, 0], len(table.cumulative)
                if not ((numbers >= 0) & (numbers < count) & (numbers == np.floor(numbers))).all():
                    raise ValueError(f"{where}: state[:, 0] must hold whole numbers in 0..{count - 1}")
            if elapsed is None:
                elapsed = np.zeros(self.num_envs, np.int32)
            steps = _check.array(where, "elapsed", elapsed, np.int32, (self.num_envs,)).copy()
            if steps.min() < 0:
                raise ValueError(f"{where}: elapsed must not be negative, got {steps.min()}")
            if steps.max() == 2**31 - 1:
                raise ValueError(f"{where}: elapsed must be below 2**31 - 1, which leaves no step to count")
            obs = self._empty_obs()
            self._core.set_state(rows, steps, obs)
            self._last_actions = None
            return self._observations(obs)

    def collect_into(
        self,
        where: str,
        network: _core.Network,
        theta: NDArray[np.float32],
        seed: int | None,
        arrays: Mapping[str, NDArray[Any]],
    ) -> tuple[Any, ...]:
        """Do what `fastpg.collect` does with a VectorEnv; `where` is the caller.

        `arrays` and the result are those of `_core.Sampler.collect`; `seed` None is that of environment 0.
        """
        with self._core.turn(where):
            self._check_open(where)
            if not self._core.was_reset:
                self._sampler = None  # a fork may have torn it as well
                self._reset(where)
            shape = (
                network.num_inputs,
                network.hidden,
                network.num_outputs,
                network.activation,
                network.head,
            )
            key = (*shape, network.obs_categories, network.action_categories)
            if self._sampler is None or self._sampler[0] != key:
                self._sampler = key, _core.Sampler(self._native.core, network, self.num_envs, 0)
            if seed is None:
                seed = int(self._seeds[0])
            sampler = self._sampler[1]
            result = sampler.collect(self._core, theta, seed=seed, first_step=self._collected, **arrays)
            self._collected += len(arrays["rewards"])
            self._last_actions = None
            return result

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Return one image per environment, drawn by Gymnasium's own renderer.

        Returns
        -------
        tuple of uint8 arrays, (height, width, 3); or None without a render mode
        """
        where = "VectorEnv.render()"
        with self._core.turn(where):
            self._check_open(where)
            if self.render_mode is None:
                gymnasium.logger.warn(
                    "render() does nothing: make the environment with render_mode='rgb_array'"
                )
                return None
            self._check_usable(where)
            original: Any = self._native.original
            frames = []
            states, elapsed = self._core.get_state()
            obs = self._empty_obs()
            self._core.observe(obs)
            for i, state in enumerate(states):
                action = self._last_actions[i] if self._last_actions is not None and elapsed[i] > 0 else None
                self._native.spec.show(original, state, self._one(self._observations(obs), i), action)
                frames.append(np.array(original.render()))
            return tuple(frames)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]  # as SyncVectorEnv's
        """The seed of each environment."""
        return tuple(self._seeds.tolist())

    def close_extras(self, **kwargs: Any) -> None:
        """Close the renderer; `step` and `reset` raise from now on."""
        with self._core.turn("VectorEnv.close()"):
            self._native.original.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a VectorEnv cannot be copied or pickled, as its environments live in the core's memory; "
            "make another with the arguments of this one, as gymnasium.make_vec(env.spec) does, and where it "
            "shall stand with get_state() and set_state()"
        )

    # ---- checks -------------------------------------------------------------------------------------------

    def _check_open(self, where: str) -> None:
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError(f"{where}: the environment is closed")

    def _check_usable(self, where: str) -> None:
        self._check_open(where)
        if not self._core.was_reset:
            raise ResetNeeded(f"{where}: call reset() first{self._why()}")

    def _why(self) -> str:
        """Return why a reset is needed, where the caller may not know."""
        if not self._core.was_forked:
            return ""
        return "; this process was forked while another thread was at work on the environments"

    def _reset_mask(self, mask: Any) -> NDArray[np.bool_]:
        """Check a mask as Gymnasium's vector environments do, with their messages."""
        begin = "`options['reset_mask': mask]` must"
        if not _check.is_array(mask):
            raise AssertionError(f"{begin} be a numpy array, got {type(mask)}")
        if mask.shape != (self.num_envs,):
            raise AssertionError(f"{begin} have shape `({self.num_envs},)`, got {mask.shape}")
        if mask.dtype != np.bool_:
            raise AssertionError(f"{begin} have `dtype=np.bool_`, got {mask.dtype}")
        if not mask.any():
            raise AssertionError(f"{begin} contain a boolean array, got reset_mask={mask}")
        # A copy of zeros and ones, also of an array over other bytes.
        return np.not_equal(mask.view(np.uint8), 0)

    def _reset_params(self, where: str, options: dict[str, Any]) -> tuple[float, ...]:
        """Return the kernel's parameters with the reset options put in."""
        known = self._native.spec.reset_options
        unknown = sorted(set(options) - set(known))
        if unknown:
            names = ", ".join(map(repr, ("reset_mask", *known)))
            raise ValueError(
                f"{where}: options has no {unknown[0]!r} for {self._native.id}; it takes {names}"
            )
        values = dict(known)
        for name, value in options.items():
            values[name] = _check.real(where, f"options[{name!r}]", value, "(-inf, inf)")
        if "low" in values and values["low"] > values["high"]:
            raise ValueError(
                f"{where}: options['low'] must not exceed options['high'], "
                f"got {values['low']} and {values['high']}"
            )
        return (*self._native.settings, *values.values())

    def _seed(self, where: str, seed: Any, mask: NDArray[np.bool_] | None) -> None:
        """Give seeds to the environments that are to be reset."""
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else mask.copy()
        if seed is None and not self._core.was_seeded:
            seed = self._next_seed if self._next_seed is not None else secrets.randbits(48)
        if seed is None:
            return
        if _check.is_sequence(seed) or (_check.is_array(seed) and seed.ndim == 1):
            if len(seed) != self.num_envs:
                raise ValueError(
                    f"{where}: seed must have one entry per environment, {self.num_envs}, got {len(seed)}"
                )
            seeds = self._seeds.copy()
            for i, one in enumerate(seed):
                if one is not None:
                    seeds[i] = _check.integer(where, f"seed[{i}]", one, 0, _check.MAX_SEED)
                elif not self._core.was_seeded:
                    seeds[i] = secrets.randbits(48)
                else:
                    chosen[i] = False
        else:
            first = _check.integer(where, "seed", seed, 0, _check.MAX_SEED)
            seeds = np.arange(self.num_envs, dtype=np.uint64) + np.uint64(first)  # wraps around
        self._seeds = np.where(chosen, seeds, self._seeds)
        if mask is None:
            self._collected = 0
        self._core.seed(self._seeds, chosen.view(np.uint8))

    def _actions(self, actions: Any) -> NDArray[Any]:
        """Return the actions as the core takes them, flat."""
        array: NDArray[Any] = actions
        if type(actions) is not np.ndarray:
            array = _check.as_array("VectorEnv.step()", "actions", actions)
        if array.shape != self._action_shape:
            raise ValueError(
                f"VectorEnv.step(): actions must have shape {self._action_shape}, got {array.shape}"
            )
        if array.dtype != self._action_dtype:
            if self._action_dtype == np.int64 and array.dtype.kind in "iu":
                array = array.astype(np.int64)
            else:
                raise TypeError(
                    f"VectorEnv.step(): actions must be {self._action_dtype}, got {array.dtype}; "
                    f"convert them with actions.astype(numpy.{self._action_dtype})"
                )
        return _check.contiguous(array).reshape(-1)

    def _refuse_step(self, outcome: int, array: NDArray[Any] | None = None) -> NoReturn:
        """Raise what keeps a step from being taken: an outcome of `_core.Vector.step`."""
        where = "VectorEnv.step()"
        if outcome == _core.NOT_RESET:
            with self._core.turn(where):  # which is refused while another thread is still resetting
                self._check_usable(where)
            raise ResetNeeded(f"{where}: call reset() first")
        if outcome == _core.HAS_ENDED:
            with self._core.turn(where):
                which = np.flatnonzero(self._core.ended())
            raise ResetNeeded(
                f"{where}: the episodes of environments {which[:8].tolist()} have ended; with "
                "autoreset='disabled' reset them first: reset(options={'reset_mask': terminated | truncated})"
            )
        assert array is not None
        size = self._native.core.action_size
        got = array[outcome * size : (outcome + 1) * size]
        shown = got.tolist() if size > 1 else got[0]
        begin = f"{where}: the action of environment {outcome}"
        raise InvalidAction(
            f"{begin} must lie in {self.single_action_space}, got {shown}"
            if self._native.core.action_categories
            else f"{begin} must be finite, got {shown}"
        )

    # ---- results ------------------------------------------------------------------------------------------

    def _empty_obs(self) -> NDArray[Any]:
        size = self._native.core.obs_size
        if self._native.core.obs_categories:
            return np.empty((size, self.num_envs), np.int64)
        return np.empty((self.num_envs, size), np.float32)

    def _new_arrays(self) -> Arrays:
        """Make the arrays that a step writes to."""
        final_obs = final_state = None
        if self._autoreset == "same_step":
            final_obs = self._empty_obs()
            final_state = np.empty(self._state_shape) if self._has_infos else None
        flags = np.empty((2, self.num_envs), np.uint8)
        obs, rewards = self._empty_obs(), np.empty(self.num_envs)
        terminated, truncated = flags.view(np.bool_)
        bound = obs, final_obs, final_state, rewards, flags
        return Arrays(obs, rewards, terminated, truncated, bound)

    def _observations(self, obs: NDArray[Any]) -> Any:
        """Return the core's array in the form of `observation_space`."""
        space = self.single_observation_space
        if isinstance(space, Box):
            return obs
        if isinstance(space, Discrete):
            return obs[0]
        if isinstance(space, Tuple):
            return tuple(obs)
        assert isinstance(space, MultiDiscrete)
        return np.ascontiguousarray(obs.T)

    @staticmethod
    def _one(observations: Any, i: int) -> Any:
        """Return environment i's observation out of a batch's, as Gymnasium's single environments have it."""
        if isinstance(observations, tuple):
            return tuple(int(part[i]) for part in observations)
        return observations[i].copy() if observations.ndim > 1 else int(observations[i])

    def _infos(
        self, states: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None, prob_type: Any = float
    ) -> dict[str, Any]:
        """Return what Gymnasium's infos say in these states, with 0 and a mask for who is not chosen."""
        if chosen is None:
            chosen = np.ones(self.num_envs, np.bool_)
        infos: dict[str, Any] = {}
        if self._has_prob:
            infos["prob"] = np.where(chosen, states[:, 1], 0.0).astype(prob_type)
        numbers = np.where(chosen, states[:, 0], 0.0).astype(np.intp)
        for name, values in self._state_infos.items():
            infos[name] = values[numbers]
            infos[name][~chosen] = 0
        for name in tuple(infos):
            infos[f"_{name}"] = chosen.copy()
        return infos

    def _add_final(self, infos: dict[str, Any], done: NDArray[np.bool_], bound: tuple[Any, ...]) -> None:
        """Add to a step's infos what "same_step" has of the episodes that ended."""
        if not done.any():
            return
        _, final_obs, final_state, _, _ = bound
        objects = np.full(self.num_envs, None, dtype=object)
        finals = self._observations(final_obs)
        for i in np.flatnonzero(done).tolist():
            objects[i] = self._one(finals, i)
        final_info = {} if final_state is None else self._infos(final_state, done)
        infos.update(final_obs=objects, _final_obs=done, final_info=final_info, _final_info=done.copy())


def _autoreset(where: str, value: Any) -> Autoreset:
    for name, mode in AUTORESET_MODES.items():
        if isinstance(value, str | AutoresetMode) and value in (name, mode, mode.value):
            return name
    _check.choice(where, "autoreset", value, tuple(AUTORESET_MODES))
    raise AssertionError  # choice() has raised
