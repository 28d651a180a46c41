"""Batches of native environments behind Gymnasium's vector interface."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg._core import STEPPED
from fastpg.envs.autoreset import AUTORESET_MODES, Autoreset
from fastpg.envs.native.registry import NativeEnv
from fastpg.envs.native.vector_arguments import (
    reset_mask,
    reset_params,
    reset_seeds,
    state_arrays,
    step_actions,
)
from fastpg.envs.native.vector_results import Results
from fastpg.errors import InvalidAction, ResetNeeded


class Standing(NamedTuple):
    """Where the environments of a VectorEnv stand."""

    obs: Any  # as the observation space has them
    age: NDArray[np.int32]  # (N,): steps of the episodes under way
    earned: NDArray[np.float64]  # (N,): and their rewards
    action_mask: NDArray[np.uint8] | None  # (N, categories): of what they show, where they have one
    seed: int  # of the first environment
    collected: int  # steps by `collect` since the seeds


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
    native : NativeEnv
        What each of its environments is, as the core steps it.
    copy : bool
        As it was made with: whether each `step` returns arrays of its own.
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
        self.native = env
        self._autoreset = autoreset
        self._copy = copy
        self._next_seed = seed
        self._seeds = np.zeros(num_envs, np.uint64)
        self._collected = 0  # steps by collect_into since the last seeds
        self._sampler: tuple[Any, _core.Sampler] | None = None  # its last, and the network that it is for
        self._last_actions: Any = None  # for the renderer
        self._results = Results(env, num_envs, autoreset)
        self._has_infos = self._results.has_infos
        self._has_mask = env.core.has_action_mask and not self._has_infos
        self._is_box = isinstance(env.observation_space, Box)
        self._action_dtype = np.dtype(np.int64 if env.core.action_categories else np.float32)
        self._action_shape = self.action_space.shape or ()
        if not copy:
            self._arrays = self._results.new_arrays()  # of every step
        self._core = self._new_core()
        self.closed = False

    def _new_core(self) -> _core.Vector:
        """Return environments that were never reset."""
        core = _core.Vector(self.native.core, self.num_envs, self._autoreset)
        if not self._copy:
            with core.turn("make()"):
                core.bind(self._arrays.bound)
        return core

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
        TypeError, ValueError
            A seed or an option is of the wrong kind or out of range; a mask is not a bool array of num_envs
            entries with one of them True. What is wrong with a mask is an AssertionError as well, as it is
            with Gymnasium before 1.4.
        gymnasium.error.ResetNeeded
            A mask is given to environments that were never reset.
        gymnasium.error.ClosedEnvironmentError
            The environment is closed.
        """
        where = "VectorEnv.reset()"
        with self._core.turn(where):
            return self._reset(where, seed, options)

    def _reset(self, where: str, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self._check_open(where)
        settings = _check.mapping(where, "options", options)
        mask = None
        if "reset_mask" in settings:
            mask = reset_mask(where, settings.pop("reset_mask"), self.num_envs)
            if not self._core.was_reset:
                raise ResetNeeded(f"{where}: options['reset_mask'] needs a full reset first{self._why()}")
        params = reset_params(where, self.native, settings)
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else mask
        if seed is None and not self._core.was_seeded:
            seed = self._next_seed if self._next_seed is not None else secrets.randbits(48)
        if seed is not None:
            self._seeds, anew = reset_seeds(
                where, seed, self._seeds, chosen, self._core.was_seeded, self._next_seed
            )
            if mask is None:
                self._collected = 0
            self._core.seed(self._seeds, anew.view(np.uint8))
        self._core.set_params(params)
        obs = self._results.empty_obs() if self._copy else self._arrays.obs
        self._core.reset(None if mask is None else mask.view(np.uint8), obs)
        infos: dict[str, Any] = {}
        if self._has_infos:
            results = self._results
            infos = results.infos(self._core.get_state()[0], chosen, results.reset_prob_type)
        elif self._has_mask:
            allowed = self._results.empty_action_mask()
            self._core.action_mask(allowed, where)
            infos = self._results.mask_infos(allowed, chosen)
        return self._results.observations(obs), infos

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
            array = step_actions(actions, self._action_shape, self._action_dtype)
        states = mask = None
        # Whatever another thread could see of a step happens in the core's call, in this thread's turn.
        if self._copy or self._has_infos or self._has_mask:
            arrays = self._results.new_arrays() if self._copy else self._arrays
            if self._has_infos:
                states = np.empty(self._results.state_shape)
            elif self._has_mask:
                mask = self._results.empty_action_mask()
            outcome = core.step_into(array, arrays.bound if self._copy else None, states, mask)
        else:
            arrays = self._arrays
            outcome = core.step(array)
        if outcome != STEPPED:
            self._refuse_step(outcome, array)
        if self.render_mode is not None:
            self._last_actions = np.array(actions)
        obs, rewards, terminated, truncated, bound = arrays
        infos = {} if states is None else self._results.infos(states)
        if mask is not None:
            infos = self._results.mask_infos(mask)
        if self._autoreset == "same_step":
            self._results.add_final(infos, terminated | truncated, bound)
        if not self._is_box:
            obs = self._results.observations(obs)
        return obs, rewards, terminated, truncated, infos

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
        >>> from fastpg import make
        >>> env = make("CartPole-v1", num_envs=2)
        >>> _ = env.reset(seed=0)
        >>> env.set_state(np.zeros((2, 4)))[0].tolist()
        [0.0, 0.0, 0.0, 0.0]
        """
        where = "VectorEnv.set_state()"
        with self._core.turn(where):
            self._check_usable(where)
            rows, steps = state_arrays(where, self.native, self.num_envs, state, elapsed)
            obs = self._results.empty_obs()
            self._core.set_state(rows, steps, obs)
            self._last_actions = None
            return self._results.observations(obs)

    def standing(self, where: str) -> Standing:
        """Return where the environments stand, for who steps them on; `where` is the caller.

        Environments that were never reset are; so are those whose episode has ended.
        """
        with self._core.turn(where):
            self._check_open(where)
            if not self._core.was_reset:
                self._reset(where)
            ended = self._core.ended()
            if ended.any():
                self._reset(where, options={"reset_mask": ended})
            obs = self._results.empty_obs()
            self._core.observe(obs)
            _, elapsed = self._core.get_state()
            seen = self._results.observations(obs)
            mask = None
            if self.native.core.has_action_mask:
                mask = self._results.empty_action_mask()
                self._core.action_mask(mask, where)
            return Standing(seen, elapsed, self._core.returns(), mask, int(self._seeds[0]), self._collected)

    def count_collected(self, where: str, steps: int) -> None:
        """Take note of steps whose actions were drawn with the numbers that follow those of before.

        `where` is the caller.
        """
        self._collected += steps

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
            is_new = not self._core.was_seeded
            if not self._core.was_reset:
                self._sampler = None  # a fork may have torn it as well
                self._reset(where)
            shape = (
                network.num_inputs,
                network.hidden,
                network.num_outputs,
                network.activation,
                network.head,
                network.state_std,
                network.squashed,
                network.scales_actions,
            )
            key = (*shape, network.obs_categories, network.action_categories)
            if self._sampler is None or self._sampler[0] != key:
                self._sampler = key, _core.Sampler(self.native.core, network, self.num_envs, 0)
            if seed is None:
                seed = int(self._seeds[0])
            sampler = self._sampler[1]
            try:
                result = sampler.collect(self._core, theta, seed=seed, first_step=self._collected, **arrays)
            except BaseException:
                if is_new:  # a call that fails changes nothing: the next reset is still the first
                    self._core = self._new_core()
                raise
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
            original: Any = self.native.original
            frames = []
            states, elapsed = self._core.get_state()
            obs = self._results.empty_obs()
            self._core.observe(obs)
            for i, state in enumerate(states):
                action = self._last_actions[i] if self._last_actions is not None and elapsed[i] > 0 else None
                one = self._results.one(self._results.observations(obs), i)
                self.native.spec.show(original, state, one, action)
                frames.append(np.array(original.render()))
            return tuple(frames)

    @property
    def copy(self) -> bool:
        """Whether each `step` returns arrays of its own."""
        return self._copy

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]  # as SyncVectorEnv's
        """The seed of each environment."""
        return tuple(self._seeds.tolist())

    def close_extras(self, **kwargs: Any) -> None:
        """Close the renderer; `step` and `reset` raise from now on."""
        with self._core.turn("VectorEnv.close()"):
            self.native.original.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a VectorEnv cannot be copied or pickled, as its environments live in the core's memory; "
            "make another with the arguments of this one, as gymnasium.make_vec(env.spec) does, and where it "
            "shall stand with get_state() and set_state()"
        )

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
        size = self.native.core.action_size
        got = array[outcome * size : (outcome + 1) * size]
        shown = got.tolist() if size > 1 else got[0]
        begin = f"{where}: the action of environment {outcome}"
        raise InvalidAction(
            f"{begin} must lie in {_check.line(self.single_action_space)}, got {shown}"
            if self.native.core.action_categories
            else f"{begin} must be finite, got {shown}"
        )
