"""Actions on their way to an environment: from the core's numbers to those of its action space."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces


class Acted:
    """How the core's actions become those of a batched action space.

    With `squash`, what a Gaussian drew goes through tanh and is scaled to a Box's bounds.
    """

    def __init__(self, where: str, space: Space[Any], num_envs: int, *, squash: bool = False) -> None:
        form = self.form = spaces.actions(where, space, squash=squash)
        self.size, self.dtype = form.size, form.dtype
        self._shape = (num_envs, *(space.shape or ()))
        self._starts = np.array(form.starts or 0)
        self._bounds = self._half = self._buffer = None
        if isinstance(space, Box):
            self._bounds = space.low.reshape(-1), space.high.reshape(-1)
            if squash:
                low, high = self._bounds
                self._half = np.asarray(0.5 * high - 0.5 * low, np.float64)
                self._middle = 0.5 * (low.astype(np.float64) + high)
                self._bounds = np.nextafter(low, high), np.nextafter(high, low)
        if self._bounds or form.starts or space.dtype != self.dtype:
            self._buffer = np.empty((num_envs, self.size), space.dtype)

    def prepare(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return the core's actions (num_envs * size,) as the environment takes them: in its space."""
        buffer = self._buffer
        if buffer is None:
            return flat.reshape(self._shape)
        rows = flat.reshape(buffer.shape)
        if self._bounds is None:
            np.add(rows, self._starts, out=buffer, casting="unsafe")
        else:
            if self._half is not None:  # as in csrc/heads/squash.h, to the bit
                squashed = _core.vecmath("tanh", rows.reshape(-1)).reshape(rows.shape)
                rows = (self._middle + self._half * squashed).astype(buffer.dtype)
            np.maximum(rows, self._bounds[0], out=buffer, casting="unsafe")
            np.minimum(buffer, self._bounds[1], out=buffer)
        return buffer.reshape(self._shape)


def unsquashed(where: str, space: Space[Any], actions: NDArray[Any]) -> NDArray[np.float64]:
    """Return the numbers, in float64, that squashing makes these actions of a Box of, (..., *space.shape)."""
    assert isinstance(space, Box)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    _check.finite(where, "actions", actions)
    if not ((low <= actions) & (actions <= high)).all():
        raise ValueError(f"{where}: actions must lie in {space}")
    inside = np.clip(actions, np.nextafter(space.low, space.high), np.nextafter(space.high, space.low))
    # tanh(u) is x for u = log((1 + x) / (1 - x)) / 2: distances to the bounds, which do not cancel.
    result: NDArray[np.float64] = 0.5 * (np.log(inside - low) - np.log(high - inside))
    return result
