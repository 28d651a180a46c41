"""What a `jit_env` is made of, checked: functions, spaces, sizes."""

import inspect
from collections import namedtuple
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray

from fastpg import _check, spaces
from fastpg.action_masks import require_categorical

MAX_SIZE = 1024  # of a state, an observation or noise: a copy's lives on the stack
NOISES = ("uniform", "normal")
FUNCTIONS = ("reset", "step", "observe", "mask")  # the last one may be missing
ARGUMENTS = {
    "reset": ("state", "noise"),
    "step": ("state", "action", "noise"),
    "observe": ("state", "obs"),
    "mask": ("state", "mask"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """The functions of a `jit_env`, and all that is fixed when it is compiled."""

    name: str
    functions: dict[str, FunctionType]
    takes_params: dict[str, bool]
    observations: spaces.Observations
    actions: spaces.Actions
    state_size: int
    reset_noise_size: int
    step_noise_size: int
    noise: str  # the word of NOISES: what the functions are given
    num_params: int
    class_names: frozenset[str]  # what else stands in the class, which functions do not see
    Params: Any  # the class of `params` where they have names, a namedtuple; else None

    @property
    def obs_size(self) -> int:
        """Return the number of entries that observe() writes."""
        return len(self.observations.categories) or self.observations.num_inputs

    @property
    def has_mask(self) -> bool:
        """Return whether a function says which actions are allowed."""
        return "mask" in self.functions

    @property
    def num_fields(self) -> int:
        """Return the length of what the core keeps of a copy: its state, then its episode's parameters."""
        return self.state_size + self.num_params

    @property
    def is_scalar_action(self) -> bool:
        """Return whether step() gets its action as a number, not as an array."""
        return isinstance(self.actions.space, Discrete)

    @property
    def action_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the Box's low and high, zeros for actions that are integers."""
        space = self.actions.space
        if not isinstance(space, Box):
            return (0.0,) * self.actions.size, (0.0,) * self.actions.size
        return tuple(space.low.astype(float).tolist()), tuple(space.high.astype(float).tolist())

    @property
    def param_names(self) -> str:
        """Return what there is of `params`, as the end of a sentence."""
        if self.Params is None:
            return "params is an array, as params[0]; jit_env(params={...}) gives its numbers names"
        return f"params has {', '.join(self.Params._fields)}"

    def params(self, values: NDArray[np.float64]) -> tuple[Any, ...]:
        """Return what the functions that take params get after their other arguments."""
        if self.Params is not None:
            return (self.Params(*values.tolist()),)
        values = values.copy()
        values.flags.writeable = False
        return (values,)


def define(
    where: str,
    cls: type,
    name: str,
    observation_space: Space[Any],
    action_space: Space[Any],
    state_size: Any,
    noise_size: Any,
    noise: Any,
    param_names: tuple[str, ...] | None,
    num_params: int,
) -> Definition:
    """Check what a decorator was given; what is wrong is a TypeError or ValueError."""
    observations = spaces.observations(where, observation_space)
    if any(observations.starts):
        raise ValueError(
            f"{where}: observation_space must have start=0, got {_check.line(observation_space)}; "
            "count from 0 in observe()"
        )
    if isinstance(observation_space, Box) and observation_space.dtype != np.float32:
        raise ValueError(f"{where}: observation_space must be float32, got {_check.line(observation_space)}")
    sizes = noise_size if isinstance(noise_size, tuple) else (noise_size, noise_size)
    if len(sizes) != 2:
        raise ValueError(f"{where}: noise_size must be an integer or a pair (reset, step), got {noise_size}")
    reset_noise_size, step_noise_size = (
        _check.integer(where, "noise_size", size, 0, MAX_SIZE) for size in sizes
    )
    functions, takes_params = {}, {}
    for function in FUNCTIONS:
        if function == "mask" and not hasattr(cls, "mask"):
            continue
        functions[function], takes_params[function] = _function(where, cls, function, num_params > 0)
    actions = spaces.native_actions(where, action_space)
    if "mask" in functions:
        require_categorical(where, actions)
    if num_params and not any(takes_params.values()):
        raise TypeError(
            f"{where}: params are given, but no function of {name} takes them: "
            "add a last argument `params` to those that need them"
        )
    return Definition(
        name=name,
        functions=functions,
        takes_params=takes_params,
        observations=observations,
        actions=actions,
        state_size=_check.integer(where, "state_size", state_size, 1, MAX_SIZE),
        reset_noise_size=reset_noise_size,
        step_noise_size=step_noise_size,
        noise=_check.choice(where, "noise", noise, NOISES),
        num_params=num_params,
        class_names=frozenset(vars(cls)) - frozenset(FUNCTIONS),
        Params=None if param_names is None else namedtuple("Params", param_names),
    )


def _function(where: str, cls: type, name: str, has_params: bool) -> tuple[FunctionType, bool]:
    """Return a function of the class, and whether it takes params: it has one argument more then."""
    function = inspect.getattr_static(cls, name, None)
    if isinstance(function, staticmethod):
        function = function.__func__
    function = getattr(function, "py_func", function)  # of one that numba has compiled already
    if not inspect.isfunction(function):
        raise TypeError(f"{where}: {cls.__name__} must have a function {name}({', '.join(ARGUMENTS[name])})")
    parameters = inspect.signature(function).parameters.values()
    plain = all(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)
    extra = len(parameters) - len(ARGUMENTS[name])
    if not plain or extra not in ((0, 1) if has_params else (0,)):
        expected = f"({', '.join(ARGUMENTS[name])})"
        if has_params:
            expected += f" or ({', '.join((*ARGUMENTS[name], 'params'))})"
        got = f"({', '.join(map(str, parameters))})"
        hint = "; the functions have no self" if "self" in [one.name for one in parameters] else ""
        if extra == 1 and not has_params and not hint:
            hint = "; params need jit_env(params=...)"
        raise TypeError(f"{where}: {cls.__name__}.{name}() must take {expected}, got {got}{hint}")
    return function, extra == 1
