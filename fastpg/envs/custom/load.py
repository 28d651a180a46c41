"""`fastpg.load_env`: an environment compiled from C outside of fastpg."""

import ctypes
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.action_masks import require_categorical
from fastpg.envs.custom.custom import CustomEnv, limit, number, unknown_param
from fastpg.envs.custom.shared_library import check_library
from fastpg.errors import EnvError

WIDTH = 16  # of the tile that is tried out
ENDS = (0.0, 1.0, 2.0, 3.0)  # FPG_END_... in fastpg.h, and sums of them


def get_include() -> str:
    """Return the folder of the C headers that an environment for `load_env` includes.

    ``fastpg.h`` is the C API and its manual; ``vecmath.h`` has functions that vectorise.

    Examples
    --------
    >>> import os
    >>> os.path.exists(os.path.join(get_include(), "fastpg.h"))
    True
    """
    package = Path(__file__).parents[2]
    installed = package / "include"
    return str(installed if installed.is_dir() else package.parent / "csrc")  # else this is a source tree


def load_env(
    path: str | os.PathLike[str],
    *,
    observation_space: Space[Any] | None = None,
    action_space: Space[Any] | None = None,
    max_episode_steps: int | None = None,
    name: str | None = None,
    symbol: str = "fastpg_environment",
    **params: float,
) -> "LoadedEnv":
    """Load an environment from a shared library: it is then accepted wherever an env id is.

    The library exports a ``fpg_environment``, a struct of sizes, limits and functions that
    csrc/fastpg.h describes (in the folder `get_include`), by
    ``FPG_EXPORT_ENVIRONMENT(fastpg_environment, environment);``. examples/c_env is one, whole.

    The library stays loaded until the process ends: after compiling it again, start a new process.

    Parameters
    ----------
    path : str or path
        The library, as ``"./integrator.so"``.
    observation_space, action_space : gymnasium.spaces.Space, optional
        Where the spaces that follow from the struct are not right: without bounds for observations,
        MultiDiscrete where a MultiBinary is meant. They must have the struct's sizes and categories.
    max_episode_steps : int, optional
        In place of the struct's; 0 is no limit.
    name : str, optional
        What messages call it; by default the struct's name, or the file's.
    symbol : str
        The name that it is exported under.
    **params
        Parameters, by the names that the struct gives them.

    Returns
    -------
    LoadedEnv

    Raises
    ------
    TypeError, ValueError
        There is no such library, or what it exports is no environment for this version of fastpg; an
        argument is of the wrong kind or out of range.
    fastpg.EnvError
        A function of it fails, or writes what it must not, when it is tried out for a few steps.
    """
    where = "load_env()"
    file = _check.file_path(where, "path", path)
    for argument, text in (("name", name), ("symbol", symbol)):
        if not isinstance(text, str) and not (argument == "name" and text is None):
            raise TypeError(f"{where}: {argument} must be a string, got {_check.shown(text)}")
    if not symbol.isidentifier():
        raise ValueError(f"{where}: symbol must be the name of a function, got {_check.shown(symbol)}")
    name, symbol = None if name is None else str(name), str(symbol)  # the core takes no subclass, as NumPy's
    check_library(where, file)
    try:
        library = ctypes.CDLL(str(file.resolve()))  # with a slash: else it would be looked for elsewhere
    except OSError as error:
        raise ValueError(
            f"{where}: {str(file)!r} is not a library that can be loaded here: {error}"
        ) from error
    try:
        function = getattr(library, symbol)
        magic = ctypes.c_uint64.in_dll(library, f"{symbol}_magic").value
    except (AttributeError, ValueError):
        magic = 0
    if magic != _core.ENV_MAGIC:  # without it the symbol could be data, or any function
        raise ValueError(
            f"{where}: {str(file)!r} exports no environment {symbol}; it has to say "
            f"`FPG_EXPORT_ENVIRONMENT({symbol}, environment);`, which fastpg.h explains"
        )
    function.restype, function.argtypes = ctypes.c_void_p, ()
    address = function()
    if not address:
        raise ValueError(f"{where}: {symbol}() of {str(file)!r} returned NULL")
    try:
        exported = _core.exported_environment(address)
    except ValueError as error:
        raise ValueError(f"{where}: the environment of {str(file)!r} {error}") from None
    if len(set(exported.param_names)) < len(exported.param_names):
        raise ValueError(f"{where}: the environment of {str(file)!r} has param_names that are not distinct")
    made = LoadedEnv(
        file.resolve(),
        symbol,
        name or exported.name or file.stem,
        _observation_space(exported.functions) if observation_space is None else observation_space,
        _action_space(where, file, exported.functions) if action_space is None else action_space,
        exported.max_episode_steps if max_episode_steps is None else limit(where, max_episode_steps),
        exported.param_names,
        exported.params,
        exported.functions._replace(keep=library),
    )
    made._check_spaces(where)
    made = made.changed(where, params)
    made._try_out(where)
    return made


class LoadedEnv(CustomEnv):
    """An environment that `fastpg.load_env` loaded. It is accepted wherever an env id is.

    Attributes
    ----------
    name, observation_space, action_space, max_episode_steps
        As `load_env` says.
    params : dict
        The parameters that have names.
    path : pathlib.Path
        The library.
    """

    def __init__(
        self,
        path: Path,
        symbol: str,
        name: str,
        observation_space: Space[Any],
        action_space: Space[Any],
        max_episode_steps: int,
        param_names: tuple[str, ...],
        values: tuple[float, ...],
        functions: _core.Functions,
    ) -> None:
        self.path = path
        self.name = name
        self.observation_space = observation_space
        self.action_space = action_space
        self.max_episode_steps = max_episode_steps
        self._symbol = symbol
        self._param_names = param_names
        self._values = values
        self._functions = functions

    @property
    def params(self) -> dict[str, float]:
        """The parameters that have names."""
        return dict(zip(self._param_names, self._values, strict=False))

    def __repr__(self) -> str:
        shown = f"{self.name!r}, {_check.line(self.observation_space)}, {_check.line(self.action_space)}"
        if self.max_episode_steps:
            shown += f", max_episode_steps={self.max_episode_steps}"
        if self._param_names:
            shown += f", params={self.params}"
        return f"LoadedEnv({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        spaces = (self.observation_space, self.action_space)
        return _restore, (self.path, *spaces, self.max_episode_steps, self.name, self._symbol, self.params)

    def changed(self, where: str, params: Mapping[str, Any]) -> Self:
        """Return the environment with some parameters changed."""
        _check.mapping(where, "env_params", params)
        unknown = sorted(set(params) - set(self._param_names))
        if unknown:
            raise unknown_param(where, self.name, unknown[0], self._param_names)
        values = list(self._values)
        for name, value in params.items():
            values[self._param_names.index(name)] = number(where, name, value)
        return type(self)(
            self.path,
            self._symbol,
            self.name,
            self.observation_space,
            self.action_space,
            self.max_episode_steps,
            self._param_names,
            tuple(values),
            self._functions,
        )

    @property
    def core_params(self) -> tuple[float, ...]:
        """Return all params of the struct."""
        return self._values

    def fingerprint(self, where: str) -> str:
        """Return a hash of the library's bytes."""
        with open(self.path, "rb") as file:
            return f"{self._symbol} {hashlib.file_digest(file, 'sha256').hexdigest()}"

    def core(self, where: str, max_episode_steps: int) -> _core.Environment:
        """Return the environment as the core runs it."""
        functions = self._functions._replace(explain=self._explain)
        return _core.Environment(self.name, self._values, max_episode_steps, functions=functions)

    def _explain(self, where: str, function: str, returned: int) -> EnvError:
        return EnvError(
            f"{where}: {function}() of {self.name} ({self.path.name}) failed: it returned {returned}"
        )

    def _check_spaces(self, where: str) -> None:
        """Raise ValueError unless the spaces have the struct's sizes and categories."""
        functions = self._functions
        observations = spaces.observations(where, self.observation_space)
        actions = spaces.native_actions(where, self.action_space)
        size = len(observations.categories) or observations.num_inputs
        if (size, observations.categories) != (functions.obs_size, functions.obs_categories):
            raise ValueError(
                f"{where}: observation_space must have {functions.obs_size} entries with the categories "
                f"{functions.obs_categories} like the library's, got {_check.line(self.observation_space)}"
            )
        if functions.mask:
            require_categorical(where, actions)
        if (actions.size, actions.categories) != (functions.action_size, functions.action_categories):
            raise ValueError(
                f"{where}: action_space must have {functions.action_size} components with the categories "
                f"{functions.action_categories} like the library's, got {_check.line(self.action_space)}"
            )

    def _try_out(self, where: str) -> None:
        """Run a few steps of a tile and look at what is written."""
        core, rng = self.core(where, 0), np.random.default_rng(0)
        state = np.zeros((core.state_size, WIDTH))
        try:
            core.reset(
                np.arange(WIDTH, dtype=np.int32), rng.uniform(size=(core.reset_noise_size, WIDTH)), state
            )
            for _ in range(8):
                self._check_obs(where, core.observe(state))
                if core.has_action_mask:
                    action: Any = self._allowed(core.mask(state), rng)
                elif core.action_categories:
                    drawn = rng.integers(
                        np.array(core.action_categories)[:, None], size=(core.action_size, WIDTH)
                    )
                    action = drawn.astype(np.int32)
                else:
                    action = np.stack([self.action_space.sample() for _ in range(WIDTH)], axis=1)
                reward, end = core.step(action, rng.uniform(size=(core.step_noise_size, WIDTH)), state)
                if not np.isfinite(reward).all():
                    raise EnvError(
                        f"step() of {self.name} wrote the reward {reward[~np.isfinite(reward)][0]}"
                    )
                wrong = ~np.isin(end, ENDS)
                if wrong.any():
                    raise EnvError(
                        f"step() of {self.name} wrote the end {end[wrong][0]}, which must be 0, "
                        "FPG_END_TERMINATED, FPG_END_TRUNCATED or their sum"
                    )
                if end.any():
                    break
        except EnvError as error:
            message = str(error).removeprefix("Environment: ")
            raise EnvError(f"{where}: {message}") from None

    def _allowed(self, mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.int32]:
        """Return actions (n, WIDTH) that a mask allows."""
        chosen = []
        for k, part in enumerate(np.split(mask, np.cumsum(self._functions.action_categories)[:-1])):
            if not (part != 0).any(axis=0).all():
                raise EnvError(f"mask() of {self.name} allows no category of component {k} of an action")
            chosen.append(np.argmax((part != 0) * rng.uniform(0.5, 1.0, part.shape), axis=0))
        return np.array(chosen, np.int32)

    def _check_obs(self, where: str, obs: Any) -> None:
        for k, row in enumerate(obs):
            count = self._functions.obs_categories[k] if self._functions.obs_categories else None
            right = np.isfinite(row)
            if count is not None:
                right = (row >= 0) & (row < count) & (row == np.floor(row))
            if not right.all():
                expected = "finite" if count is None else f"a whole number in 0..{count - 1}"
                raise EnvError(
                    f"observe() of {self.name} wrote {row[~right][0]} into obs[{k}], which must be {expected}"
                )


def _observation_space(functions: _core.Functions) -> Space[Any]:
    if not functions.obs_categories:
        return Box(-np.inf, np.inf, (functions.obs_size,), np.float32)
    if functions.obs_size == 1:
        return Discrete(functions.obs_categories[0])
    return MultiDiscrete(list(functions.obs_categories))


def _action_space(where: str, file: Path, functions: _core.Functions) -> Space[Any]:
    if functions.action_categories:
        if functions.action_size == 1:
            return Discrete(functions.action_categories[0])
        return MultiDiscrete(list(functions.action_categories))
    for k, (low, high) in enumerate(zip(functions.action_low, functions.action_high, strict=True)):
        if not low < high:
            raise ValueError(
                f"{where}: the environment of {str(file)!r} has action_low[{k}] = {low} "
                f"and action_high[{k}] = {high}: the first must be less; "
                "or give action_categories, if actions are integers"
            )
    return Box(np.array(functions.action_low, np.float32), np.array(functions.action_high, np.float32))


def _restore(
    path: Path,
    observation_space: Space[Any],
    action_space: Space[Any],
    max_episode_steps: int,
    name: str,
    symbol: str,
    params: dict[str, float],
) -> LoadedEnv:
    """Load a pickled environment again."""
    loaded = load_env(
        path,
        observation_space=observation_space,
        action_space=action_space,
        max_episode_steps=max_episode_steps,
        name=name,
        symbol=symbol,
    )
    return loaded.changed("pickle", params)
