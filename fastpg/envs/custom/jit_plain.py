"""A `jit_env` in plain Python: what it does is checked, and everything that goes wrong is an EnvError.

It is the meaning of the compiled form, which computes the same numbers in the same order. It runs once when
a class is decorated, to find mistakes early; with jit=False, in place of the compiled functions; and after
a failure in compiled code, to say what happened there.
"""

import ctypes
import dis
import linecache
import math
import os
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg.envs.custom.jit_definition import Definition
from fastpg.errors import EnvError, EnvNotFinite

Floats = NDArray[np.float64]
TERMINATED, TRUNCATED = 1.0, 2.0  # FPG_END_... in fastpg.h
_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


class Plain:
    """One copy of an environment, a call at a time.

    `params` is an array of all of the episode's values. `noise` is uniform, as the core draws it.
    """

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._low, self._high = definition.action_bounds
        self.returned = 0  # how many values step() returned

    def reset(self, noise: Floats, params: Floats) -> Floats:
        """Return the first state of an episode, (state_size,)."""
        state = np.zeros(self._definition.state_size)
        self._call("reset", params, state, self._given(noise))
        self._check_state("reset", state)
        return state

    def step(self, state: Floats, action: NDArray[Any], noise: Floats, params: Floats) -> tuple[float, float]:
        """Take an action (n,), change the state, and return the reward and how the episode ends."""
        given: Any = action.astype(np.int64)
        if self._definition.is_scalar_action:
            given = int(given[0])
        elif not self._definition.actions.categories:
            given = action.astype(np.float64)
            given = np.where(given < self._low, self._low, given)
            given = np.where(given > self._high, self._high, given)
        returned = self._call("step", params, state, given, self._given(noise))
        name = self._definition.name
        if not isinstance(returned, tuple) or len(returned) not in (2, 3):
            raise EnvError(
                f"{name}.step() must return (reward, terminated) or (reward, terminated, truncated), "
                f"got {_check.shown(returned)}"
            )
        for what, value in zip(("reward", "terminated", "truncated"), returned, strict=False):
            is_number = isinstance(value, _NUMBERS)
            if not (is_number if what == "reward" else is_number and value in (0, 1)):
                expected = "a number" if what == "reward" else "True or False"
                hint = "; the reward comes first" if what == "terminated" and is_number else ""
                raise EnvError(
                    f"{name}.step() must return {expected} as {what}, got {_check.shown(value)}{hint}"
                )
        if self.returned not in (0, len(returned)):
            raise EnvError(
                f"{name}.step() must always return as many values, got {self.returned} and {len(returned)}"
            )
        self.returned = len(returned)
        self._check_state("step", state)
        try:
            reward = float(returned[0])
        except OverflowError:  # an int beyond 1e308
            reward = math.inf
        if not math.isfinite(reward):
            raise EnvNotFinite(f"{name}.step() returned the reward {reward}")
        end = TERMINATED if returned[1] else 0.0
        return reward, end + (TRUNCATED if len(returned) == 3 and returned[2] else 0.0)

    def observe(self, state: Floats, params: Floats, fill: float = 0.0) -> NDArray[np.float32]:
        """Return the observation, (obs_size,)."""
        name, categories = self._definition.name, self._definition.observations.categories
        obs = np.full(self._definition.obs_size, fill, np.float32)
        self._call("observe", params, state, obs)
        if not np.isfinite(obs).all():
            k = int(np.argmin(np.isfinite(obs)))
            raise EnvNotFinite(f"{name}.observe() wrote {obs[k]} into obs[{k}]")
        for k, count in enumerate(categories):
            if not (0 <= obs[k] < count and obs[k] == np.floor(obs[k])):
                raise EnvError(
                    f"{name}.observe() wrote {obs[k]} into obs[{k}], "
                    f"which must be a whole number in 0..{count - 1}"
                )
        return obs

    def mask(self, state: Floats, params: Floats) -> NDArray[np.int64]:
        """Return which categories are allowed, 0 for those that are not, (num_outputs,)."""
        mask = np.ones(self._definition.actions.num_outputs, np.int64)
        self._call("mask", params, state, mask)
        return mask

    def _given(self, noise: Floats) -> Floats:
        """Return the noise as the functions get it."""
        if self._definition.noise == "normal":
            from fastpg import numba_math  # imports numba

            return np.array([numba_math.normal(one) for one in noise.tolist()])
        return noise

    def _call(self, function: str, params: Floats, *arguments: Any) -> Any:
        """Call a function of the user's; an exception in it is an EnvError that names its line."""
        definition = self._definition
        extra = definition.params(params) if definition.takes_params[function] else ()
        try:
            returned = definition.functions[function](*arguments, *extra)
        except Exception as error:
            place = _place(error, definition.functions[function].__code__.co_filename)
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            if isinstance(error, NameError) and error.name in definition.class_names:
                place += f"; functions do not see what stands in the class: write {error.name} above it"
            if isinstance(error, AttributeError) and extra and error.obj is extra[0]:
                place += f"; {definition.param_names}"
            raise EnvError(f"{definition.name}.{function}() raised {said}{place}") from error
        if function != "step" and returned is not None:
            raise EnvError(
                f"{definition.name}.{function}() must write into its argument and return nothing, "
                f"got {_check.shown(returned)}"
            )
        return returned

    def _check_state(self, function: str, state: Floats) -> None:
        if np.isnan(state).any():
            k = int(np.argmax(np.isnan(state)))
            raise EnvNotFinite(f"{self._definition.name}.{function}() left state[{k}] NaN")


def _place(error: BaseException, filename: str) -> str:
    """Return the innermost line of the user's file in an exception's traceback, as `shown_line` does."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    if not lines or lines[-1].lineno is None:
        return ""
    return shown_line(filename, lines[-1].lineno)


def shown_line(filename: str, lineno: int) -> str:
    """Return a place in a source file as messages show it."""
    source = linecache.getline(filename, lineno).strip()
    return f" ({os.path.basename(filename)}, line {lineno}" + (f": `{source}`)" if source else ")")


def try_out(definition: Definition, low: Floats, high: Floats) -> int:
    """Run a few short episodes; return how many values step() returns.

    EnvError if the functions do what they must not.
    """
    plain, rng = Plain(definition), np.random.default_rng(0)
    size, categories = definition.actions.size, definition.actions.categories
    wrote = dict.fromkeys(definition.functions, False)  # into its argument, of all 0 or 1 or as it was
    for episode in range(4):

        def noise(count: int, episode: int = episode) -> Floats:
            return rng.uniform(size=count) if episode else np.full(count, 0.5)

        params = low + (high - low) * noise(len(low))
        state = plain.reset(noise(definition.reset_noise_size), params)
        wrote["reset"] |= bool(state.any())
        for _ in range(4):
            first, second = plain.observe(state, params), plain.observe(state, params, fill=1.0)
            if (first != second).any():
                k = int(np.argmax(first != second))
                raise EnvError(
                    f"{definition.name}.observe() did not write obs[{k}]: observation_space "
                    f"{_check.line(definition.observations.space)} has {definition.obs_size} entries"
                )
            if definition.has_mask:
                mask = plain.mask(state, params)
                wrote["mask"] |= not mask.all()
                action: NDArray[Any] = allowed_action(definition, mask, rng)
            elif categories:
                action = rng.integers(categories)
            else:
                action = rng.normal(size=size).astype(np.float32)
            before = state.copy()
            _, end = plain.step(state, action, noise(definition.step_noise_size), params)
            wrote["step"] |= bool((state != before).any())
            if end:
                break
    wrote["observe"] = True  # or it has raised above
    for function in (name for name, done in wrote.items() if not done):
        _require_no_assignment(definition, function)
    return plain.returned


def _require_no_assignment(definition: Definition, function: str) -> None:
    """EnvError if a function that changes nothing assigns to the name of the argument that it should change.

    ``state = state + 1`` makes another array, which is lost; ``state += 1`` and ``state[:] = ...`` are right.
    """
    code = definition.functions[function].__code__
    argument = code.co_varnames[0 if function in ("reset", "step") else 1]
    line, operator = code.co_firstlineno, ""
    for instruction in dis.get_instructions(code):
        if instruction.positions is not None and instruction.positions.lineno is not None:
            line = instruction.positions.lineno
        names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        if instruction.opname == "STORE_FAST_LOAD_FAST":  # from Python 3.13 on
            names = names[:1]
        if instruction.opname.startswith("STORE_FAST") and argument in names and operator[-1:] != "=":
            raise EnvError(
                f"{definition.name}.{function}() assigns to the name {argument}"
                f"{shown_line(code.co_filename, line)}, which leaves the array as it is: write into it, as "
                f"{argument}[:] = ..."
            )
        operator = instruction.argrepr if instruction.opname == "BINARY_OP" else ""


def allowed_action(
    definition: Definition, mask: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw one of the actions (n,) that a mask allows; EnvError if there is none."""
    chosen = []
    for k, part in enumerate(np.split(mask, np.cumsum(definition.actions.categories)[:-1])):
        if not part.any():
            of_component = "" if len(definition.actions.categories) == 1 else f" of component {k}"
            raise EnvError(
                f"{definition.name}.mask() allowed no category{of_component}: every state in which an "
                "episode goes on needs one"
            )
        chosen.append(rng.choice(np.flatnonzero(part)))
    return np.array(chosen, np.int64)


# ---- for the core: a tile at a time ------------------------------------------------------------------------

_RESET = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, *[ctypes.c_void_p] * 3
)
_STEP = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, *[ctypes.c_void_p] * 5)
_OBSERVE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, *[ctypes.c_void_p] * 2)


def _array(address: int | None, kind: Any, rows: int, width: int) -> NDArray[Any]:
    """Return memory of the core as an array, (rows, width)."""
    if rows == 0 or address is None:
        return np.empty((0, width), kind)
    return np.ctypeslib.as_array((kind * (rows * width)).from_address(address)).reshape(rows, width)


class PlainFunctions:
    """The functions of a fpg_environment that call plain Python: slow, and open to a debugger.

    The core calls them from any of its threads; ctypes takes the GIL.
    """

    data = 0  # env->data: they have it all in Python

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._plain = Plain(definition)
        self._raised: BaseException | None = None
        callbacks: tuple[Any, ...] = (_RESET(self._reset), _STEP(self._step), _OBSERVE(self._observe))
        self._callbacks = (*callbacks, _OBSERVE(self._mask)) if definition.has_mask else callbacks

    def addresses(self) -> tuple[int, ...]:
        """Return where reset, step, observe, and mask where there is one, are."""
        return tuple(ctypes.cast(one, ctypes.c_void_p).value or 0 for one in self._callbacks)

    def explain(self, where: str, function: str, returned: int) -> BaseException:
        """Return the exception that stopped the core."""
        error, self._raised = self._raised, None
        if isinstance(error, EnvError):
            return prefixed(where, error)
        assert error is not None
        return error  # a KeyboardInterrupt, or a debugger that was left

    def _guarded(self, run: Callable[[], None]) -> int:
        """Run, and keep the first exception for `explain`; the core is only told that there is one."""
        if self._raised is not None:
            return 1
        try:
            run()
        except BaseException as error:
            self._raised = error
            return 1
        return 0

    def _reset(self, env: int, width: int, count: int, which: int, noise: int, state: int) -> int:
        definition = self._definition

        def run() -> None:
            number = definition.num_params
            bounds = _array(env + _core.PARAMS_OFFSET, ctypes.c_double, 2, number)
            noises = _array(noise, ctypes.c_double, definition.reset_noise_size + number, width)
            fields = _array(state, ctypes.c_double, definition.num_fields, width)
            for i in _array(which, ctypes.c_int32, 1, count)[0]:
                mine = noises[: definition.reset_noise_size, i].copy()
                params = bounds[0] + (bounds[1] - bounds[0]) * noises[definition.reset_noise_size :, i]
                fields[: definition.state_size, i] = self._plain.reset(mine, params)
                fields[definition.state_size :, i] = params

        return self._guarded(run)

    def _step(self, env: int, width: int, action: int, noise: int, state: int, reward: int, end: int) -> int:
        definition = self._definition

        def run() -> None:
            kind = ctypes.c_int32 if definition.actions.categories else ctypes.c_float
            actions = _array(action, kind, definition.actions.size, width)
            noises = _array(noise, ctypes.c_double, definition.step_noise_size, width)
            fields = _array(state, ctypes.c_double, definition.num_fields, width)
            rewards, ends = (_array(one, ctypes.c_double, 1, width)[0] for one in (reward, end))
            for i in range(width):
                mine, params = fields[: definition.state_size, i].copy(), fields[definition.state_size :, i]
                rewards[i], ends[i] = self._plain.step(mine, actions[:, i], noises[:, i].copy(), params)
                fields[: definition.state_size, i] = mine

        return self._guarded(run)

    def _observe(self, env: int, width: int, state: int, obs: int) -> int:
        definition = self._definition

        def run() -> None:
            fields = _array(state, ctypes.c_double, definition.num_fields, width)
            written = _array(obs, ctypes.c_float, definition.obs_size, width)
            for i in range(width):
                mine = fields[:, i].copy()
                written[:, i] = self._plain.observe(
                    mine[: definition.state_size], mine[definition.state_size :]
                )

        return self._guarded(run)

    def _mask(self, env: int, width: int, state: int, mask: int) -> int:
        definition = self._definition

        def run() -> None:
            fields = _array(state, ctypes.c_double, definition.num_fields, width)
            written = _array(mask, ctypes.c_uint8, definition.actions.num_outputs, width)
            for i in range(width):
                mine = fields[:, i].copy()
                allowed = self._plain.mask(mine[: definition.state_size], mine[definition.state_size :])
                written[:, i] = allowed != 0

        return self._guarded(run)


def prefixed(where: str, error: EnvError) -> EnvError:
    """Return the error with the caller's name in front."""
    result = type(error)(f"{where}: {error}")
    result.__cause__ = error.__cause__
    return result
