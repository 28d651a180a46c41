"""A network with its parameters, as the core reads them, and V of the core's rows."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.errors import named


class Weights(NamedTuple):
    """A network and its parameters."""

    network: _core.Network
    theta: NDArray[np.float32]

    def act(
        self,
        obs: NDArray[np.float32],
        action_mask: NDArray[np.uint8] | None,
        seed: int,
        step: int,
        deterministic: bool,
        action: NDArray[Any],
    ) -> None:
        """Write the actions of rows (N, obs_size) to `action`, flat; `seed` and `step` decide the draw."""
        _core.act(self.network, self.theta, obs, seed, step, deterministic, action, action_mask=action_mask)


def evaluate_rows(
    where: str, critic: Weights, rows: NDArray[np.float32], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Write V of the core's rows (..., obs_size) to values (...), and return these."""
    if values.size == 0:
        return values
    flat = np.ascontiguousarray(rows).reshape(-1, rows.shape[-1])
    with named(where):
        _core.logits(critic.network, critic.theta, flat, out=values.reshape(-1, 1))
    if not np.isfinite(values).all():
        raise FloatingPointError(
            f"{where}: a value is NaN or infinite: the parameters of the value function are too large"
        )
    return values
