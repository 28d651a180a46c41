"""`fastpg.jit_env`: an environment written in Python for one copy, compiled for all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from gymnasium.spaces import Space

from fastpg import _check, _core
from fastpg.envs.custom import jit_compile, jit_core, jit_names, jit_plain
from fastpg.envs.custom.custom import CustomEnv, interval, limit, param_name, unknown_param
from fastpg.envs.custom.jit_definition import Definition, define
from fastpg.errors import EnvError

MAX_PARAMS = _core.MAX_PARAMS // 2  # each has a low and a high end


def jit_env(
    *,
    observation_space: Space[Any],
    action_space: Space[Any],
    state_size: int,
    noise_size: int | tuple[int, int] = 0,
    noise: str = "uniform",
    max_episode_steps: int = 0,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
    name: str | None = None,
    jit: bool = True,
    cache: bool = True,
) -> Callable[[type], "JitEnv"]:
    """Make an environment of a class of plain functions: scalar code for one copy, compiled by numba.

    The class has three functions, without self::

        def reset(state, noise): ...          # write the first state of an episode
        def step(state, action, noise): ...   # write the next state; return reward, terminated
        def observe(state, obs): ...          # write the observation

    `state` is a float64 array (state_size,), all zeros when `reset` is called. `noise` holds independent
    random numbers, uniform in (0, 1) or standard normal, new ones in every call. `action` is an int for a
    Discrete space; otherwise an array (n,), int64 or, for a Box, float64 within the Box's bounds. `obs` is a
    float32 array: the entries of the Box, or a whole number for each category. `step` may return a third
    value, `truncated`, for a time limit of its own: values bootstrap from a truncated state, and not from a
    terminated one.

    With actions that are Discrete or MultiDiscrete there may be a fourth, which says what must not be done in
    a state: policies do not draw it, and learn from the other actions alone (docs/action_masks.md)::

        def mask(state, mask): ...            # write 0 for each category that is not allowed

    `mask` is an int64 array of ones, an entry for each category of an action, one component's after the
    other's. An episode that goes on needs one of each component.

    The environment is compiled when it is first used, and kept on disk (in FASTPG_CACHE_DIR, or "fastpg" in
    the user's cache folder): it is compiled again only if the functions, or anything that they refer to, have
    changed. What they refer to is copied then. docs/custom_envs.md says what is fast.

    Parameters
    ----------
    observation_space : gymnasium.spaces.Box, Discrete, MultiDiscrete, or Tuple of Discrete
        A Box has to be one-dimensional and float32; categories start at 0.
    action_space : gymnasium.spaces.Discrete, MultiDiscrete, MultiBinary, or Box of float32
        As in `Policy`.
    state_size : int
        Numbers in the state, 1 to 1024.
    noise_size : int or (int, int)
        Random numbers that a call of `reset` and of `step` gets; a pair gives each its own.
    noise : {"uniform", "normal"}
        Whether they are uniform in (0, 1) or standard normal. `fastpg.numba_math` has functions that make
        a normal or a Poisson's number of a uniform one.
    max_episode_steps : int
        Episodes are truncated after so many steps; 0 is never.
    params : mapping or sequence, optional
        Numbers that the functions read and that can be changed without compiling again, by `with_params` or
        where the environment is used. Functions that need them take a last argument `params`: with names its
        attributes, as ``params.mass``, else an array. A pair (low, high) in place of a number is drawn
        uniformly anew for every episode: domain randomisation.
    name : str, optional
        What messages call it; by default the class's name.
    jit : bool
        False runs plain Python, the same numbers to the bit in a debugger's reach.
    cache : bool
        False compiles once in every process, and writes and reads nothing.

    Returns
    -------
    function
        The decorator, which turns the class into a `JitEnv`.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; a function is missing, or takes other arguments, or
        refers to random numbers or a clock; when it is compiled: it is not code that numba compiles.
    fastpg.EnvError
        A function raised an exception, left NaN, wrote outside an array or returned something else: when the
        class is decorated, for a few steps in plain Python, or whenever the environment runs. When it is
        compiled: it computes something else than plain Python.
    ImportError
        numba is not installed, where it has to compile.

    Examples
    --------
    >>> import gymnasium
    >>> import numpy as np
    >>> import fastpg
    >>> @fastpg.jit_env(
    ...     observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (1,)),
    ...     action_space=gymnasium.spaces.Discrete(2),
    ...     state_size=1,
    ...     noise_size=1,
    ...     max_episode_steps=20,
    ...     params={"push": 0.1},
    ... )
    ... class Walk:
    ...     def reset(state, noise):
    ...         state[0] = noise[0] - 0.5
    ...
    ...     def step(state, action, noise, params):
    ...         state[0] += params.push if action == 1 else -params.push
    ...         return -abs(state[0]), abs(state[0]) > 2.0
    ...
    ...     def observe(state, obs):
    ...         obs[0] = state[0]
    >>> Walk
    JitEnv('Walk', Box(-inf, inf, (1,), float32), Discrete(2), max_episode_steps=20, params={'push': 0.1})
    >>> run = fastpg.train(Walk, hidden=(), total_steps=20_000)
    >>> env = fastpg.make(Walk, num_envs=8, push=(0.05, 0.2))
    """
    where = "jit_env()"
    jit = _check.boolean(where, "jit", jit)
    cache = _check.boolean(where, "cache", cache)
    steps = limit(where, max_episode_steps)
    if name is not None and (not isinstance(name, str) or not name):
        raise TypeError(f"{where}: name must be a string, got {_check.shown(name)}")
    names, bounds = _params(where, params)

    def decorate(cls: type) -> JitEnv:
        if not isinstance(cls, type):
            raise TypeError(f"{where}: it decorates a class, got {_check.shown(cls)}")
        definition = define(
            where,
            cls,
            str(name or cls.__name__),
            observation_space,
            action_space,
            state_size,
            noise_size,
            noise,
            names,
            len(bounds),
        )
        for function, code in definition.functions.items():
            jit_names.check_randomness(where, f"{definition.name}.{function}()", code)
        try:
            returned = jit_plain.try_out(definition, *np.array(bounds).reshape(-1, 2).T)
        except EnvError as error:
            raise jit_plain.prefixed(where, error) from error.__cause__
        origin = (cls.__module__, cls.__qualname__)
        compiler = jit_compile.Compiler(definition, returned, cache)
        return JitEnv(definition, compiler, bounds, steps, jit, origin, cls.__doc__)

    return decorate


class JitEnv(CustomEnv):
    """An environment that `fastpg.jit_env` made. It is accepted wherever an env id is.

    Attributes
    ----------
    name, observation_space, action_space, max_episode_steps
        As they were given.
    params : dict or list
        The parameters; a pair (low, high) is drawn for every episode.
    reset, step, observe : functions
        As they were written, in plain Python.
    mask : function or None
        The same, where there is one.
    """

    def __init__(
        self,
        definition: Definition,
        compiler: jit_compile.Compiler,
        bounds: tuple[tuple[float, float], ...],
        max_episode_steps: int,
        jit: bool,
        origin: tuple[str, str],
        doc: str | None,
    ) -> None:
        self._definition = definition
        self._compiler = compiler
        self._bounds = bounds
        self._jit = jit
        self._origin = origin
        self.__module__, self.__qualname__ = origin  # by which pickle finds it
        if doc:
            self.__doc__ = doc
        self.name = definition.name
        self.observation_space = definition.observations.space
        self.action_space = definition.actions.space
        self.max_episode_steps = max_episode_steps
        self.reset = definition.functions["reset"]
        self.step = definition.functions["step"]
        self.observe = definition.functions["observe"]
        self.mask = definition.functions.get("mask")

    @property
    def params(self) -> Any:
        """The parameters by name, or as a list; a pair (low, high) where they are drawn."""
        values = [low if low == high else (low, high) for low, high in self._bounds]
        names = self._names
        return values if names is None else dict(zip(names, values, strict=True))

    @property
    def _names(self) -> tuple[str, ...] | None:
        Params = self._definition.Params
        return None if Params is None else Params._fields

    def __repr__(self) -> str:
        shown = f"{self.name!r}, {_check.line(self.observation_space)}, {_check.line(self.action_space)}"
        if self.max_episode_steps:
            shown += f", max_episode_steps={self.max_episode_steps}"
        if self._bounds:
            shown += f", params={self.params}"
        return f"JitEnv({shown}{'' if self._jit else ', jit=False'})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (*self._origin, self._bounds, self._jit)

    def __copy__(self) -> Self:
        return self  # nothing in it changes

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def plain(self) -> "JitEnv":
        """Return the environment in plain Python: the same numbers, slowly, in a debugger's reach."""
        return self._with(self._bounds, jit=False)

    def changed(self, where: str, params: Mapping[str, Any]) -> Self:
        """Return the environment with some parameters changed."""
        _check.mapping(where, "env_params", params)
        if not params:
            return self
        names = self._names
        if names is None and self._bounds:  # an array has no names: it is given whole
            unknown = sorted(set(params) - {"params"})
            if unknown:
                raise unknown_param(where, self.name, unknown[0], ("params",))
            whole = params["params"]
            bounds = _params(where, whole)[1]
            if len(bounds) != len(self._bounds) or isinstance(whole, Mapping):
                raise ValueError(
                    f"{where}: params must be {len(self._bounds)} numbers, got {_check.shown(whole)}"
                )
            return self._with(bounds)
        known = dict(zip(names or (), self._bounds, strict=True))
        unknown = sorted(set(params) - known.keys())
        if unknown:
            raise unknown_param(where, self.name, unknown[0], tuple(known))
        known.update({name: interval(where, name, value) for name, value in params.items()})
        return self._with(tuple(known.values()))

    def _with(self, bounds: tuple[tuple[float, float], ...], jit: bool | None = None) -> Self:
        return type(self)(
            self._definition,
            self._compiler,
            bounds,
            self.max_episode_steps,
            self._jit if jit is None else jit,
            self._origin,
            self.__doc__,
        )

    @property
    def core_params(self) -> tuple[float, ...]:
        """Return all low ends, then all high ends."""
        return (*(low for low, _ in self._bounds), *(high for _, high in self._bounds))

    def fingerprint(self, where: str) -> str:
        """Return a hash of the functions and of all that they refer to: what plain Python computes."""
        return self._compiler.fingerprint(where)

    def core(self, where: str, max_episode_steps: int) -> _core.Environment:
        """Return the environment as the core runs it, compiled if it was not.

        It is plain Python where numba does not compile, with NUMBA_DISABLE_JIT=1.
        """
        functions: jit_core.Functions | None = None
        if self._jit:
            functions = self._compiler.functions(where, self.core_params)
        if functions is None:
            functions = jit_plain.PlainFunctions(self._definition)
        return jit_core.environment(self._definition, functions, self.core_params, max_episode_steps)


def _restore(module: str, qualname: str, bounds: tuple[tuple[float, float], ...], jit: bool) -> JitEnv:
    """Find a pickled environment again where its class was."""
    from importlib import import_module

    found: Any = import_module(module)
    for part in qualname.split("."):
        if part == "<locals>" or not hasattr(found, part):
            raise AttributeError(
                f"pickle: the environment {qualname} of {module} cannot be found again: "
                "define it at the top of a module"
            )
        found = getattr(found, part)
    if not isinstance(found, JitEnv):
        raise TypeError(f"pickle: {module}.{qualname} is no jit_env any more, but {_check.shown(found)}")
    return found._with(bounds, jit=jit)


def _params(where: str, params: Any) -> tuple[tuple[str, ...] | None, tuple[tuple[float, float], ...]]:
    """Return the parameters' names, None without, and their intervals."""
    if params is None:
        return None, ()
    names = None
    if isinstance(params, Mapping):
        names = tuple(param_name(where, name) for name in params)
        bounds = tuple(interval(where, f"params[{name!r}]", value) for name, value in params.items())
    elif _check.is_sequence(params) or (_check.is_array(params) and params.ndim == 1):
        bounds = tuple(interval(where, f"params[{k}]", value) for k, value in enumerate(params))
    else:
        raise TypeError(
            f"{where}: params must be a mapping of names to numbers, or numbers, got {_check.shown(params)}"
        )
    if not 1 <= len(bounds) <= MAX_PARAMS:
        raise ValueError(f"{where}: params must be 1 to {MAX_PARAMS} numbers, got {len(bounds)}")
    return names, bounds
