"""A2C: settings of VPG for short horizons."""

from dataclasses import dataclass

from fastpg.algorithms.options import spelled
from fastpg.algorithms.vpg import VPG


@spelled
@dataclass(frozen=True, slots=True)
class A2C(VPG):
    """Advantage actor-critic: `VPG` as it is usually run synchronously, with short horizons.

    Its defaults are many small steps: use it with a `horizon` of 5 to 32. Each iteration takes one step on
    the policy and one on the value function; advantages keep their scale, the gradient is clipped.

    References
    ----------
    Mnih et al., "Asynchronous methods for deep reinforcement learning", 2016.

    Examples
    --------
    >>> A2C().value_epochs, A2C().lam
    (1, 1.0)
    """

    lam: float = 1.0
    learning_rate: float = 1e-3
    value_learning_rate: float = 1e-3
    value_epochs: int = 1
    standardize_advantages: bool = False
    max_grad_norm: float | None = 0.5
