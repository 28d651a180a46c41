"""`fastpg.MujocoEnv`: MuJoCo simulations and formulas over arrays, behind Gymnasium's vector interface."""

import contextlib
import secrets
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from fastpg import _check
from fastpg.envs.autoreset import AUTORESET_MODES, Autoreset, AutoresetMode, autoreset_mode
from fastpg.envs.mujoco import results
from fastpg.envs.mujoco.data import Data
from fastpg.envs.mujoco.engine import Simulations, require
from fastpg.envs.mujoco.model import compiled
from fastpg.envs.mujoco.rendering import RENDER_MODES, Renderer, RenderOptions
from fastpg.envs.native.vector import Standing
from fastpg.envs.native.vector_arguments import reset_mask, reset_seeds
from fastpg.errors import InvalidAction, ResetNeeded
from fastpg.system import get_num_threads

MAX_NUM_ENVS = 2**20
MAX_LIMIT = 2**31 - 1
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
Array = NDArray[Any]


class MujocoEnv(gymnasium.vector.VectorEnv[Any, Any, NDArray[Any]]):
    """A batch of MuJoCo simulations of one model, stepped by MuJoCo's own thread pool.

    Subclass it: `observe` and `reward` are needed, `terminated`, `info`, `before` and `initial_state` have
    defaults. They get and return arrays of all environments, (N, ...), and are called once a step. What
    they read of the simulations is `Data`: every field of `mujoco.MjData` as an array (N, ...).

    It is a `gymnasium.vector.VectorEnv`: `train`, `evaluate`, `collect` and the others take it, and they take
    the subclass itself, as `fastpg.make` does. Episodes, autoreset modes, infos and seeds are those of
    `fastpg.VectorEnv`; observations and rewards are float64, as in Gymnasium's MuJoCo environments. Results
    do not depend on the number of threads, nor what happens in an environment on the number of environments.

    Parameters
    ----------
    model : path, str or mujoco.MjModel
        An MJCF file; its text, which begins with "<"; or a model that was compiled already.
    num_envs : int
        How many environments, N.
    frame_skip : int
        Engine steps in a step of the environment.
    max_episode_steps : int
        The time limit, 0 for none.
    autoreset : {"next_step", "same_step", "disabled"} or gymnasium.vector.AutoresetMode
        What happens to an environment whose episode has ended (see `fastpg.VectorEnv`).
    seed : int, optional
        For the first reset that is not given one.
    render_mode : {"rgb_array", "depth_array"}, optional
        `render` draws with Gymnasium's MuJoCo renderer.
    **render_options
        Of Gymnasium's MujocoEnv: width, height, camera_id, camera_name, default_camera_config, max_geom,
        visual_options.

    Attributes
    ----------
    model : mujoco.MjModel
        What is simulated. The engine has a copy: changes to this one come too late.
    data : Data
        The simulations, for formulas and for looking at them between steps.
    dt : float
        Seconds of a step of the environment.
    num_envs, single_observation_space, single_action_space, observation_space, action_space, metadata, spec
        As in every `gymnasium.vector.VectorEnv`. Actions are the model's controls, within their ranges.

    Raises
    ------
    ImportError
        MuJoCo is missing, or older than 4.0.
    TypeError, ValueError
        An argument is of the wrong kind or out of range; a formula returns what does not fit.
    FileNotFoundError
        There is no such model file.

    Examples
    --------
    >>> import numpy as np, fastpg
    >>> PENDULUM = '''
    ... <mujoco>
    ...   <worldbody>
    ...     <body>
    ...       <joint name="hinge" axis="0 1 0"/><geom type="capsule" size=".05" fromto="0 0 0 0 0 -1"/>
    ...     </body>
    ...   </worldbody>
    ...   <actuator><motor joint="hinge" ctrlrange="-1 1"/></actuator>
    ... </mujoco>'''
    >>> class Pendulum(fastpg.MujocoEnv):
    ...     def __init__(self, num_envs=1, *, effort=0.01, **options):
    ...         self.effort = effort
    ...         super().__init__(PENDULUM, num_envs, frame_skip=5, max_episode_steps=200, **options)
    ...
    ...     def observe(self, data):
    ...         return np.concatenate([np.cos(data.qpos), np.sin(data.qpos), data.qvel], axis=1)
    ...
    ...     def reward(self, before, data, actions):
    ...         return -np.cos(data.qpos[:, 0]) - self.effort * np.square(actions).sum(axis=1)
    >>> env = fastpg.make(Pendulum, num_envs=8, effort=0.1)
    >>> env.reset(seed=0)[0].shape
    (8, 3)
    >>> run = fastpg.train(Pendulum, fastpg.VPG(), total_steps=10_000)
    """

    metadata: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # each object has its own

    def __init__(
        self,
        model: Any,
        num_envs: int = 1,
        *,
        frame_skip: int = 1,
        max_episode_steps: int = 0,
        autoreset: Autoreset | AutoresetMode = "next_step",
        seed: int | None = None,
        render_mode: str | None = None,
        **render_options: Any,
    ) -> None:
        self.closed = True  # until all is there: Gymnasium closes what goes away open
        where = f"{type(self).__name__}()"
        require(where, type(self).__name__)
        self.num_envs = _check.integer(where, "num_envs", num_envs, 1, MAX_NUM_ENVS)
        self._frame_skip = _check.integer(where, "frame_skip", frame_skip, 1, MAX_LIMIT)
        self._limit = _check.integer(where, "max_episode_steps", max_episode_steps, 0, MAX_LIMIT)
        self._mode = autoreset_mode(where, autoreset)
        self._next_seed = None if seed is None else _check.seed(where, seed)
        if render_mode is not None:
            _check.choice(where, "render_mode", render_mode, RENDER_MODES)
        self.render_mode = render_mode
        unknown = sorted(set(render_options) - set(RenderOptions.__dataclass_fields__))
        if unknown:
            raise TypeError(f"{where}: unexpected argument {unknown[0]!r}")
        self._render_options = RenderOptions(**render_options).checked(where)
        self._renderer: Renderer | None = None
        self.model = compiled(where, model)
        self.dt: float = self.model.opt.timestep * self._frame_skip
        self._init_qpos, self._init_qvel = self.model.qpos0.copy(), np.zeros(self.model.nv)
        outputs, obs_size = self._try_formulas(where)
        persistent = render_mode is not None  # so that pictures are of what the last step computed
        self._simulations = Simulations(
            where, self.model, self.num_envs, get_num_threads(), outputs, persistent=persistent
        )
        self.data = Data(self._simulations)
        self._ctrl = self._simulations.field("ctrl")
        self._qpos, self._qvel = self._simulations.field("qpos"), self._simulations.field("qvel")
        self._turn = threading.Lock()
        self._was_reset = False
        self._seeds = np.zeros(self.num_envs, np.uint64)
        self._generators: list[np.random.Generator] = []
        self._elapsed = np.zeros(self.num_envs, np.int32)
        self._earned = np.zeros(self.num_envs)  # by the episodes under way
        self._collected = 0  # steps by `collect` since the last seeds
        self._ended, self._any_ended = np.zeros(self.num_envs, np.bool_), False
        self._everyone = np.ones(self.num_envs, np.bool_)
        self.metadata = {  # type: ignore[misc]
            "render_modes": list(RENDER_MODES),
            "render_fps": int(np.round(1.0 / self.dt)),
            "autoreset_mode": AUTORESET_MODES[self._mode],
        }
        bounds = np.where(
            self.model.actuator_ctrllimited[:, None], self.model.actuator_ctrlrange, [-np.inf, np.inf]
        )
        low, high = bounds.astype(np.float32).T
        self.single_action_space = Box(low, high, dtype=np.float32)
        self.single_observation_space = Box(-np.inf, np.inf, (obs_size,), np.float64)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.closed = False

    # ---- what a subclass says ----------------------------------------------------------------------------

    def observe(self, data: Data) -> Array:
        """Return the observations, (N, D)."""
        raise NotImplementedError(f"{type(self).__name__} must define observe(self, data)")

    def reward(self, before: Array, data: Data, actions: Array) -> Array | tuple[Array, Mapping[str, Array]]:
        """Return the rewards of a step, (N,); or them and terms for the step's infos, by name, (N, ...).

        `before` is what the method of this name returned before the step, `actions` are (N, nu).
        """
        raise NotImplementedError(f"{type(self).__name__} must define reward(self, before, data, actions)")

    def terminated(self, data: Data) -> Array:
        """Return whose episodes end with this step, (N,) bools; by default nobody's."""
        return np.zeros(self.num_envs, np.bool_)

    def before(self, data: Data) -> Array:
        """Return what `reward` needs of the time before the step, (N, ...); by default qpos."""
        return data.qpos

    def info(self, data: Data) -> Mapping[str, Array]:
        """Return the infos of resets and steps, by name, (N, ...); by default none."""
        return {}

    def initial_state(
        self, rng: np.random.Generator
    ) -> tuple[Array, Array] | tuple[Array, Array, Mapping[str, Any]]:
        """Return qpos (nq,) and qvel (nv,) of a new episode of *one* environment, drawn from its own `rng`.

        By default those of the model: `initial_qpos` and `initial_qvel`. A third value may be a mapping of
        other fields of MuJoCo's state, which otherwise begin as in the model: a goal may be the "mocap_pos"
        of a body, or numbers in "userdata".
        """
        return self.initial_qpos, self.initial_qvel

    @property
    def initial_qpos(self) -> NDArray[np.float64]:
        """The model's own positions, (nq,): a copy."""
        return self._init_qpos.copy()

    @property
    def initial_qvel(self) -> NDArray[np.float64]:
        """The model's own velocities, (nv,): a copy."""
        return self._init_qvel.copy()

    # ---- Gymnasium's interface ---------------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin a new episode in every environment, or in those of a mask.

        Parameters
        ----------
        seed : int or sequence of int or None, optional
            As in `fastpg.VectorEnv.reset`: an int seeds environment i with ``seed + i``. The generator is the
            one that Gymnasium gives an environment for that seed.
        options : mapping, optional
            ``"reset_mask"``: bool array, (num_envs,), of the environments to reset; the others stay.

        Returns
        -------
        observations : float64 array, (num_envs, D)
        infos : dict

        Raises
        ------
        TypeError, ValueError
            A seed or an option is of the wrong kind or out of range.
        gymnasium.error.ResetNeeded
            A mask is given to environments that were never reset.
        gymnasium.error.ClosedEnvironmentError
            The environment is closed.
        """
        where = "MujocoEnv.reset()"
        with self._in_turn(where):
            settings = _check.mapping(where, "options", options)
            chosen = np.ones(self.num_envs, np.bool_)
            if "reset_mask" in settings:
                chosen = reset_mask(where, settings.pop("reset_mask"), self.num_envs)
                if not self._was_reset:
                    raise ResetNeeded(f"{where}: options['reset_mask'] needs a full reset first")
            if settings:
                raise ValueError(f"{where}: options has no {min(settings)!r}; it takes 'reset_mask'")
            self._seed(where, seed, chosen)
            self._begin(where, chosen)
            self._was_reset = True
            infos = results.infos([(self._info(where), chosen)])
            return results.rows(where, self.observe(self.data), self.num_envs), infos

    def step(
        self, actions: Any
    ) -> tuple[
        NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Take one action in each environment.

        Parameters
        ----------
        actions : float32 or float64 array, (num_envs, nu)
            Outside their bounds the engine clips them; the formulas see them as they are.

        Returns
        -------
        observations : float64 array, (num_envs, D)
        rewards : float64 array, (num_envs,)
        terminated, truncated : bool arrays, (num_envs,)
        infos : dict

        Raises
        ------
        InvalidAction
            An action is not finite.
        TypeError, ValueError
            actions has the wrong dtype or shape; a formula returns what does not fit.
        gymnasium.error.ResetNeeded
            There was no reset yet, or in the mode "disabled" an episode has ended.
        gymnasium.error.ClosedEnvironmentError
            The environment is closed.
        EnvError
            The engine failed.
        """
        where, n = "MujocoEnv.step()", self.num_envs
        with self._in_turn(where):
            self._check_reset(where)
            actions = self._actions(where, actions)
            again = self._ended.copy() if self._any_ended else None  # whose step is a reset
            if again is not None and self._mode != "next_step":
                raise ResetNeeded(
                    f"{where}: the episodes of environments {np.flatnonzero(again)[:8].tolist()} have ended; "
                    "with autoreset='disabled' reset them first: "
                    "reset(options={'reset_mask': terminated | truncated})"
                )
            stepped = self._everyone if again is None else ~again
            before = np.array(self.before(self.data))
            self._advance(where, stepped, actions)
            if again is not None:
                self._begin(where, again)
            rewards, terms = self._reward(where, before, actions)
            terminated = results.column(where, "terminated", self.terminated(self.data), n, "b")
            truncated = self._elapsed >= self._limit if self._limit else np.zeros(n, np.bool_)
            if again is not None:
                rewards[again] = 0.0
                terminated &= stepped
                truncated &= stepped
            self._earned += rewards
            info = self._info(where)
            obs = results.rows(where, self.observe(self.data), n)
            done = terminated | truncated
            any_done = results.some(done)
            if any_done and self._mode == "same_step":
                final_info = results.infos([(_copies(info | terms), done)])
                final_obs = obs
                self._begin(where, done)
                obs = results.rows(where, self.observe(self.data), n)
                infos = results.infos([(self._info(where), stepped), (terms, ~done)])
                results.add_final(infos, done, final_obs, final_info)
            else:
                self._ended, self._any_ended = done, any_done
                infos = results.infos([(info, self._everyone), (terms, stepped)])
            return obs, rewards, terminated, truncated, infos

    def get_state(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return what `set_state` takes: states (num_envs, state_size) and steps taken (num_envs,).

        A state begins with MuJoCo's own (mjSTATE_INTEGRATION: time, qpos, qvel, ...), which is followed by
        what the formulas read besides. The environments' random numbers are not in it.
        """
        where = "MujocoEnv.get_state()"
        with self._in_turn(where):
            self._check_reset(where)
            return self._simulations.state(), self._elapsed.copy()

    def set_state(
        self, state: NDArray[np.float64], elapsed: NDArray[np.int32] | None = None
    ) -> NDArray[np.float64]:
        """Put every environment into a state and return its observations: all goes on as it did from there.

        Parameters
        ----------
        state : float64 array, (num_envs, state_size)
            Of `get_state`, of such an environment.
        elapsed : int32 array, (num_envs,), optional
            Steps that the episodes have had; 0 by default.

        Raises
        ------
        TypeError, ValueError
            An array has the wrong dtype or shape, or is not finite.
        gymnasium.error.ResetNeeded, gymnasium.error.ClosedEnvironmentError
            There was no reset yet, or the environment is closed.
        """
        where = "MujocoEnv.set_state()"
        with self._in_turn(where):
            self._check_reset(where)
            size = self._simulations.state().shape[1]
            rows = _check.array(where, "state", state, np.float64, (self.num_envs, size))
            _check.finite(where, "state", rows)
            steps = np.zeros(self.num_envs, np.int32) if elapsed is None else elapsed
            steps = _check.array(where, "elapsed", steps, np.int32, (self.num_envs,))
            if steps.min() < 0 or steps.max() == MAX_LIMIT:
                raise ValueError(f"{where}: elapsed must lie in 0..{MAX_LIMIT - 1}")
            self._simulations.load(rows)
            self._elapsed[...] = steps
            self._earned[...] = 0
            self._ended[...] = self._any_ended = False
            return results.rows(where, self.observe(self.data), self.num_envs)

    def standing(self, where: str) -> Standing:
        """Return where the environments stand, for who steps them on; `where` is the caller.

        Environments that were never reset are; so are those whose episode has ended.
        """
        if not self._was_reset:
            self.reset()
        if self._any_ended:
            self.reset(options={"reset_mask": self._ended.copy()})
        with self._in_turn(where):
            obs = results.rows(where, self.observe(self.data), self.num_envs)
            return Standing(
                obs, self._elapsed.copy(), self._earned.copy(), None, int(self._seeds[0]), self._collected
            )  # fmt: skip

    def count_collected(self, where: str, steps: int) -> None:
        """Take note of steps of `collect`, which is `where`: of numbers that actions were drawn with."""
        self._collected += steps

    def render(self) -> tuple[NDArray[Any], ...] | None:
        """Return one picture per environment, drawn by Gymnasium's own renderer.

        Returns
        -------
        tuple of uint8 arrays, (height, width, 3), or of float32 depths, (height, width); or None without a
        render mode
        """
        where = "MujocoEnv.render()"
        with self._in_turn(where):
            if self.render_mode is None:
                gymnasium.logger.warn(
                    "render() does nothing: make the environment with render_mode='rgb_array'"
                )
                return None
            self._check_reset(where)
            if self._renderer is None:
                self._renderer = Renderer(self._simulations, self.render_mode, self._render_options)
            return self._renderer.frames()

    @property
    def copy(self) -> bool:
        """True: each `step` returns arrays of its own."""
        return True

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]  # as SyncVectorEnv's
        """The seed of each environment."""
        return tuple(self._seeds.tolist())

    def close_extras(self, **kwargs: Any) -> None:
        """Close the renderer; `step` and `reset` raise from now on."""
        if self._renderer is not None:
            self._renderer.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a MujocoEnv cannot be copied or pickled, as its simulations live in the engine's memory; make "
            "another with the arguments of this one, and continue with get_state() and set_state()"
        )

    # ---- parts -------------------------------------------------------------------------------------------

    def _try_formulas(self, where: str) -> tuple[Collection[str], int]:
        """Call every formula once, in the model's first state; return which outputs they read, and D."""
        n = self.num_envs
        trial = Simulations(where, self.model, n, get_num_threads())
        self.data = Data(trial)
        size = results.rows(where, self.observe(self.data), n).shape[1]
        before = np.array(self.before(self.data))
        self._reward(where, before, np.zeros((n, self.model.nu), np.float32))
        results.column(where, "terminated", self.terminated(self.data), n, "b")
        self._info(where)
        return trial.outputs, size

    def _info(self, where: str) -> dict[str, Array]:
        return results.named(where, "info", self.info(self.data), self.num_envs)

    def _reward(self, where: str, before: Array, actions: Array) -> tuple[Array, dict[str, Array]]:
        value = self.reward(before, self.data, actions)
        value, terms = value if isinstance(value, tuple) and len(value) == 2 else (value, {})
        rewards = results.column(where, "reward", value, self.num_envs, "fiub")
        return rewards, results.named(where, "reward", terms, self.num_envs)

    def _actions(self, where: str, actions: Any) -> Array:
        array: Array = actions
        if type(actions) is not np.ndarray:
            array = _check.as_array(where, "actions", actions)
        if array.shape != self._ctrl.shape:
            raise ValueError(f"{where}: actions must have shape {self._ctrl.shape}, got {array.shape}")
        if array.dtype not in FLOATS:
            raise TypeError(
                f"{where}: actions must be float32 or float64, got {array.dtype}; "
                "convert them with actions.astype(numpy.float32)"
            )
        if np.count_nonzero(np.isfinite(array)) != array.size:
            i = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise InvalidAction(
                f"{where}: the action of environment {i} must be finite, got {array[i].tolist()}"
            )
        return array

    def _advance(self, where: str, stepped: NDArray[np.bool_], actions: Array) -> None:
        """Step the simulations of a mask."""
        ids = _ids(stepped)
        if ids is not None and not len(ids):
            return
        if ids is None:
            self._ctrl[...] = actions
        else:
            self._ctrl[ids] = actions[ids]
        self._simulations.step(where, ids, self._frame_skip)
        self._elapsed += stepped

    def _begin(self, where: str, chosen: NDArray[np.bool_]) -> None:
        """Begin episodes in the environments of a mask."""
        numbers = np.flatnonzero(chosen).tolist()
        states = [self._initial_state(where, self._generators[i]) for i in numbers]
        qpos, qvel = (np.array([state[k] for state in states], np.float64) for k in (0, 1))
        _check.finite(where, "qpos of initial_state()", qpos)
        _check.finite(where, "qvel of initial_state()", qvel)
        ids = _ids(chosen)
        self._simulations.begin(where, ids)
        self._qpos[chosen], self._qvel[chosen] = qpos, qvel
        for i, state in zip(numbers, states, strict=True):
            for name, value in state[2].items():
                self._simulations.field(name)[i] = value
        self._simulations.forward(where, ids)
        self._elapsed[chosen] = self._earned[chosen] = 0
        self._ended[chosen] = False
        self._any_ended = results.some(self._ended)

    def _initial_state(self, where: str, rng: np.random.Generator) -> tuple[Array, Array, dict[str, Array]]:
        """Return what `initial_state` does, checked but for the finiteness of qpos and qvel."""
        state: Any = self.initial_state(rng)
        shapes = self._init_qpos.shape, self._init_qvel.shape
        if not isinstance(state, tuple) or len(state) not in (2, 3):
            raise ValueError(
                f"{where}: initial_state() must return qpos and qvel, and may return a mapping of other "
                f"fields, got {_check.shown(state)}"
            )
        got = tuple(map(np.shape, state[:2]))
        if got != shapes:
            raise ValueError(
                f"{where}: initial_state() must return qpos and qvel of shapes {shapes[0]} and {shapes[1]}, "
                f"got {got[0]} and {got[1]}"
            )
        what = "the third value of initial_state()"
        others = _check.mapping(where, what, state[2]) if len(state) == 3 else {}
        for name, value in others.items():
            part = self._simulations.part_of_state(name)
            if part is None or name in ("qpos", "qvel"):
                raise ValueError(
                    f"{where}: {what} must have other fields of MuJoCo's state, as 'mocap_pos' or "
                    f"'userdata', got {name!r}"
                )
            others[name] = _check.as_array(where, f"{what}, {name!r},", value)
            if others[name].shape != part.shape[1:] or others[name].dtype.kind not in "fiub":
                raise ValueError(
                    f"{where}: {what}, {name!r}, must be numbers of shape {part.shape[1:]}, "
                    f"got {_check.shown(others[name])}"
                )
            _check.finite(where, f"{what}, {name!r},", others[name])
        return state[0], state[1], others

    def _seed(self, where: str, seed: Any, chosen: NDArray[np.bool_]) -> None:
        """Give the environments of a mask generators of their own."""
        if seed is None:
            if self._generators:
                return
            seed = self._next_seed if self._next_seed is not None else secrets.randbits(48)
        self._seeds, anew = reset_seeds(
            where, seed, self._seeds, chosen, bool(self._generators), self._next_seed
        )
        generators = self._generators or [np.random.default_rng(0)] * self.num_envs
        for i in np.flatnonzero(anew).tolist():
            generators[i] = gymnasium.utils.seeding.np_random(int(self._seeds[i]))[0]
        self._generators = generators
        if chosen.all():
            self._collected = 0

    @contextlib.contextmanager
    def _in_turn(self, where: str) -> Iterator[None]:
        """Keep a second thread out of the simulations while a call is under way."""
        if not self._turn.acquire(blocking=False):
            raise ValueError(
                f"{where}: another thread's call is under way; one at a time may use an environment"
            )
        try:
            if self.closed:
                raise gymnasium.error.ClosedEnvironmentError(f"{where}: the environment is closed")
            yield
        finally:
            self._turn.release()

    def _check_reset(self, where: str) -> None:
        if not self._was_reset:
            raise ResetNeeded(f"{where}: call reset() first")


def _copies(infos: dict[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in infos.items()}


def _ids(chosen: NDArray[np.bool_]) -> NDArray[np.int32] | None:
    """Return a mask as the engine takes it: numbers, or None for all."""
    return None if np.count_nonzero(chosen) == len(chosen) else np.flatnonzero(chosen).astype(np.int32)
