"""Actions on their way to an environment: from the core's numbers to those of its action space."""

import warnings
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces

FAR = 4.0  # times 1, or 1 / 4 of it: bounds beyond warn who has not chosen whether actions are scaled


class Acted:
    """How the core's actions become those of a batched action space.

    With `squash`, what a Gaussian drew goes through tanh and is scaled to a Box's bounds. With `scales`, it
    counts from -1 to 1, which stand for them.
    """

    def __init__(
        self, where: str, space: Space[Any], num_envs: int, *, squash: bool = False, scales: bool = False
    ) -> None:
        form = self.form = spaces.actions(where, space, squash=squash)
        self.size, self.dtype = form.size, form.dtype
        self._shape = (num_envs, *(space.shape or ()))
        self._starts = np.array(form.starts or 0)
        self._bounds = self._half = self._middle = None
        if isinstance(space, Box):
            low, high = self._bounds = space.low.reshape(-1), space.high.reshape(-1)
            if squash or scales:
                self._half = np.asarray(0.5 * high - 0.5 * low, np.float64)
            if squash:
                self._middle = 0.5 * (low.astype(np.float64) + high)
                self._bounds = np.nextafter(low, high), np.nextafter(high, low)
        self._is_as_drawn = not (self._bounds or form.starts) and space.dtype == self.dtype
        self._rows, self._dtype = (num_envs, self.size), space.dtype

    def prepare(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return the core's actions (num_envs * size,) as the environment takes them: in its space.

        The array is new: an environment may keep it for its next step, or write to it.
        """
        if self._is_as_drawn:
            return flat.reshape(self._shape).copy()
        rows, out = flat.reshape(self._rows), np.empty(self._rows, self._dtype)
        if self._bounds is None:
            np.add(rows, self._starts, out=out, casting="unsafe")
        else:
            low, high = self._bounds
            if self._middle is not None:  # as in csrc/heads/squash.h, to the bit
                squashed = _core.vecmath("tanh", rows.reshape(-1)).reshape(rows.shape)
                rows = (self._middle + self._half * squashed).astype(self._dtype)
            elif self._half is not None:  # in float64, as the core: two float32 have an exact product there
                with np.errstate(over="ignore"):  # what is then infinite is clipped
                    rows = (low + (rows + np.float32(1.0)) * self._half).astype(self._dtype)
            np.maximum(rows, low, out=out, casting="unsafe")
            np.minimum(out, high, out=out)
        return out.reshape(self._shape)


def unsquashed(where: str, space: Space[Any], actions: NDArray[Any]) -> NDArray[np.float64]:
    """Return the numbers, in float64, that squashing makes these actions of a Box of, (..., *space.shape)."""
    assert isinstance(space, Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    _check.finite(where, "actions", actions)
    if not ((low <= actions) & (actions <= high)).all():
        raise ValueError(f"{where}: actions must lie in {_check.line(space)}")
    inside = np.clip(actions, np.nextafter(space.low, space.high), np.nextafter(space.high, space.low))
    # tanh(u) is x for u = log((1 + x) / (1 - x)) / 2: distances to the bounds, which do not cancel.
    result: NDArray[np.float64] = 0.5 * (np.log(inside - low) - np.log(high - inside))
    return result


def action_scaling(where: str, space: Space[Any], chosen: Any, stacklevel: int, *, squash: bool) -> bool:
    """Return whether actions are scaled, as the caller has chosen: True, False, or None.

    None is False, with a warning where the bounds of a Box are far from 1 and nothing squashes actions to
    them. `stacklevel` is that of the caller's caller, counted from here.
    """
    if chosen is not None:
        return _check.boolean(where, "action_scaling", chosen)
    if isinstance(space, Box) and not squash and (far := _far(space)).any():
        low, high = (bound.reshape(-1)[int(far.argmax())] for bound in (space.low, space.high))
        warnings.warn(
            f"{where}: action_space has the bounds {low:g} .. {high:g}, but the first actions are drawn "
            "with the mean 0 and the standard deviation 1; pass action_scaling=True, so that -1 .. 1 stands "
            "for the bounds, or action_scaling=False if that is meant",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
    return False


def _far(space: Box) -> NDArray[np.bool_]:
    """Return which components have bounds on both sides that are far from 1."""
    low, high = (bound.reshape(-1).astype(np.float64) for bound in (space.low, space.high))
    largest = np.maximum(np.abs(low), np.abs(high))
    bounded = np.isfinite(low) & np.isfinite(high)
    return np.asarray(bounded & ((largest > FAR) | (largest < 1.0 / FAR)))
