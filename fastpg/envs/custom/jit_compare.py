"""Where compiled functions differ from plain Python, looked at when they are compiled.

Python's integers have no size and change into floats, and NumPy's bools add up to a bool; what numba
compiles has fixed types. So 10 ** -2 is 0 there, and True + True is 2. Both forms take the same step from
the same state, so that rounding (another sine, say) does not grow.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.envs.custom.jit_definition import Definition
from fastpg.envs.custom.jit_plain import TERMINATED, Floats, Plain, shown_line
from fastpg.errors import EnvError

WIDTH = 16  # copies
ROUNDS = 64  # of a step each
SECONDS = 0.1  # after which no other round begins: plain Python may be slow
RELATIVE, ABSOLUTE = 1e-6, 1e-9


class _OwnFailure(Exception):
    """Plain Python failed too: that is the functions' own doing, and told when it happens to the user."""


def check_same(
    where: str, definition: Definition, core: _core.Environment, core_params: tuple[float, ...]
) -> None:
    """Raise EnvError where compiled functions, as `core` runs them, are not what plain Python is.

    The functions of the definition have no part that numba has compiled.
    """
    try:
        with np.errstate(all="ignore"):
            _Comparison(where, definition, core, core_params).run()
    except _OwnFailure:
        return


class _Comparison:
    def __init__(
        self, where: str, definition: Definition, core: _core.Environment, core_params: tuple[float, ...]
    ) -> None:
        self._where = where
        self._definition = definition
        self._core = core
        self._plain = Plain(definition)
        self._rng = np.random.default_rng(0)
        self._bounds = np.array(core_params).reshape(2, definition.num_params)

    def run(self) -> None:
        d, until = self._definition, time.perf_counter() + SECONDS
        state = np.zeros((d.num_fields, WIDTH))
        starting = np.arange(WIDTH, dtype=np.int32)
        for count in range(ROUNDS):
            if starting.size:
                self._reset(state, starting)
            self._observe(state)
            allowed = self._mask(state) if self._definition.has_mask else None
            starting = self._step(state, count, allowed)
            if time.perf_counter() > until:
                return

    def _noise(self, size: int) -> Floats:
        return self._rng.uniform(1e-9, 1.0, (size, WIDTH))

    def _reset(self, state: Floats, which: NDArray[np.int32]) -> None:
        d, noise = self._definition, self._noise(self._core.reset_noise_size)
        low, high = self._bounds
        params = low[:, None] + (high - low)[:, None] * noise[d.reset_noise_size :]

        def again(i: int) -> Floats:
            return self._plain.reset(noise[: d.reset_noise_size, i].copy(), params[:, i].copy())

        expected = self._both("reset", which, lambda: self._core.reset(which, noise, state), again)
        for i, one in zip(which.tolist(), expected, strict=True):
            given = {"noise": noise[: d.reset_noise_size, i], "params": params[:, i]}
            self._compare("reset", "state", state[: d.state_size, i], one, given)

    def _observe(self, state: Floats) -> None:
        d = self._definition
        result: list[Any] = []

        def again(i: int) -> Any:
            return self._plain.observe(state[: d.state_size, i].copy(), state[d.state_size :, i].copy())

        expected = self._both(
            "observe", range(WIDTH), lambda: result.append(self._core.observe(state)), again
        )
        for i, one in enumerate(expected):
            given = {"state": state[: d.state_size, i], "params": state[d.state_size :, i]}
            self._compare("observe", "obs", result[0][:, i], one, given)

    def _mask(self, state: Floats) -> NDArray[np.bool_]:
        """Return which categories are allowed, (num_outputs, WIDTH)."""
        d = self._definition
        result: list[Any] = []

        def again(i: int) -> Any:
            return self._plain.mask(state[: d.state_size, i].copy(), state[d.state_size :, i].copy())

        expected = self._both("mask", range(WIDTH), lambda: result.append(self._core.mask(state)), again)
        allowed: NDArray[np.bool_] = result[0] != 0
        for i, one in enumerate(expected):
            given = {"state": state[: d.state_size, i], "params": state[d.state_size :, i]}
            self._compare("mask", "mask", allowed[:, i], one != 0, given)
        return allowed

    def _step(self, state: Floats, count: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.int32]:
        """Step every copy; return those whose episode has ended."""
        d, before = self._definition, state.copy()
        noise, actions = self._noise(d.step_noise_size), self._actions(count)
        if allowed is not None:
            actions = self._allowed(actions, allowed)
        result: list[Any] = []

        def again(i: int) -> tuple[Floats, float, float]:
            mine = before[: d.state_size, i].copy()
            return mine, *self._plain.step(
                mine, actions[:, i], noise[:, i].copy(), before[d.state_size :, i].copy()
            )

        expected = self._both(
            "step", range(WIDTH), lambda: result.append(self._core.step(actions, noise, state)), again
        )
        reward, end = result[0]
        for i, (following, its_reward, its_end) in enumerate(expected):
            given = {
                "state": before[: d.state_size, i],
                "action": actions[:, i],
                "noise": noise[:, i],
                "params": before[d.state_size :, i],
            }
            self._compare("step", "state", state[: d.state_size, i], following, given)
            self._compare("step", "the reward", reward[i : i + 1], [its_reward], given)
            for what, flag in (("terminated", TERMINATED), ("truncated", 2 * TERMINATED)):
                mine, its = bool(int(end[i]) & int(flag)), bool(int(its_end) & int(flag))
                if mine != its:
                    raise self._error("step", what, mine, its, given)
        return np.flatnonzero(end).astype(np.int32)

    def _actions(self, count: int) -> NDArray[Any]:
        """Return actions (n, WIDTH): every category in turn, or numbers within the Box and beyond."""
        d = self._definition
        if d.actions.categories:
            turns = np.arange(WIDTH) + count
            chosen = [(turns + k * (turns // n)) % n for k, n in enumerate(d.actions.categories)]
            return np.array(chosen, np.int32)
        return self._rng.normal(size=(d.actions.size, WIDTH)).astype(np.float32)

    def _allowed(self, actions: NDArray[Any], allowed: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the actions (n, WIDTH) with the next category that is allowed for those that are not."""
        categories = self._definition.actions.categories
        chosen = []
        for k, part in enumerate(np.split(allowed, np.cumsum(categories)[:-1])):
            turned = (np.arange(categories[k])[:, None] + actions[k]) % categories[k]
            nearest = np.argmax(np.take_along_axis(part, turned, axis=0), axis=0)
            chosen.append(np.take_along_axis(turned, nearest[None], axis=0)[0])
        return np.array(chosen, np.int32)

    def _both(
        self, function: str, which: Any, compiled: Callable[[], Any], again: Callable[[int], Any]
    ) -> list[Any]:
        """Run the compiled function, and plain Python for each copy; return what that gives."""
        failure = None
        try:
            compiled()
        except EnvError as error:
            failure = error
        try:
            expected = [again(int(i)) for i in which]
        except EnvError as error:
            raise _OwnFailure from error
        if failure is not None:
            raise EnvError(str(failure).replace("Environment:", f"{self._where}:", 1)) from failure
        return expected

    def _compare(
        self, function: str, what: str, mine: Any, its: Sequence[float] | NDArray[Any], given: dict[str, Any]
    ) -> None:
        mine, its = np.asarray(mine, np.float64), np.asarray(its, np.float64)
        size = np.max(np.abs(its[np.isfinite(its)]), initial=1.0)
        near = np.abs(mine - its) <= RELATIVE * np.maximum(np.abs(mine), np.abs(its)) + ABSOLUTE * size
        wrong = ~(near | (mine == its))
        if wrong.any():
            k = int(np.argmax(wrong))
            name = what if what == "the reward" else f"{what}[{k}]"
            raise self._error(function, name, float(mine[k]), float(its[k]), given)

    def _error(self, function: str, what: str, mine: Any, its: Any, given: dict[str, Any]) -> EnvError:
        inputs = ", ".join(f"{name} {values.tolist()}" for name, values in given.items() if values.size)
        code = self._definition.functions[function].__code__
        return EnvError(
            f"{self._where}: {self._definition.name}.{function}() compiled is not what it is in plain Python"
            f"{shown_line(code.co_filename, code.co_firstlineno)}: {what} is {mine} compiled, and {its} in "
            f"plain Python, for {inputs or 'every input'}; compiled numbers keep their types (10 ** -2 is 0, "
            "and bools add up to an integer): write float(...) or int(...) where they mix"
        )
