"""REINFORCE."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fastpg.algorithms.options import check_options, spelled
from fastpg.batches.forms import MeanBaseline, Normalize


@spelled
@dataclass(frozen=True, slots=True)
class Reinforce:
    """REINFORCE: gradient ascent on the expected return, with the returns themselves as weights.

    Parameters
    ----------
    form : {"reward_to_go", "total"}
        Weight of a step: the rewards from it on, or the whole episode's return.
    baseline : {"batch_mean", "timestep_mean"}, optional
        What is taken off the weights (see `estimate_gradient`).
    gamma : float
        Discount, in [0, 1].
    learning_rate : float
        Step size of the optimizer.
    optimizer : {"adam", "sgd"}
        How the gradient changes the parameters.
    momentum : float
        sgd: share of the last step that is kept, in [0, 1).
    beta1 : float
        adam: decay of the gradient's running mean, in [0, 1).
    beta2 : float
        adam: decay of the running mean of its square, in [0, 1).
    epsilon : float
        adam: added to the denominator.
    entropy_coef : float
        Weight of the policy's entropy in the objective.
    normalize : {"timestep", "trajectory"}
        Divide the summed gradient by the number of steps, or of trajectories.

    Raises
    ------
    TypeError, ValueError
        A parameter is of the wrong kind or out of range.

    References
    ----------
    Williams, 1992; Kingma and Ba, "Adam", 2015.

    Examples
    --------
    >>> Reinforce(form="total", gamma=1.0).learning_rate
    0.003
    """

    form: Literal["total", "reward_to_go"] = "reward_to_go"
    baseline: MeanBaseline | None = None
    gamma: float = 0.99
    learning_rate: float = 3e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    entropy_coef: float = 0.0
    normalize: Normalize = "timestep"

    def __post_init__(self) -> None:
        check_options(self)

    def core_settings(self) -> dict[str, Any]:
        """Return what the compiled trainer takes for this algorithm."""
        return {**asdict(self), "baseline": self.baseline or "none"}
