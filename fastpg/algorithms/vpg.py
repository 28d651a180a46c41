"""The vanilla policy gradient, with a value function."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fastpg.algorithms.options import check_options, spelled


@spelled
@dataclass(frozen=True, slots=True)
class VPG:
    """The vanilla policy gradient: advantages from a value function that is fitted along the way.

    Each iteration collects a batch, takes one step of Adam on the policy, and then fits the value function to
    the batch's targets, the advantages plus the values that they were made with (with "reward_to_go" and "q"
    the returns themselves).

    Parameters
    ----------
    form : {"gae", "td", "q", "reward_to_go"}
        Weight of a step (see `estimate_gradient`); from the last two the value is subtracted.
    gamma : float
        Discount, in [0, 1].
    lam : float
        "gae": trace decay, in [0, 1].
    n_step : int
        "q": steps before the bootstrap.
    learning_rate : float
        Step size of the policy.
    value_learning_rate : float
        Step size of the value function.
    value_epochs : int
        Passes of the value function over each batch.
    value_minibatches : int
        Steps of the value function in a pass, each on a random share of the batch.
    value_hidden : tuple of int
        Widths of the value function's hidden layers.
    standardize_advantages : bool
        Give the weights of a batch mean 0 and standard deviation 1. It makes the step size independent of the
        scale of rewards, and the gradient a biased one: the divisor depends on the actions.
    normalize_observations : bool
        Let both networks learn from observations minus their running mean, divided by their running standard
        deviation. The scaling is folded into the first layer: `run.policy` reads plain observations. Networks
        that have learnt nothing are read anew by the statistics of the first batch, whether they are given or
        not: their weights are those that `Policy` or `ValueFunction` drew. From then on, and from the start
        in others, statistics change how a network learns, never what it computes.
    entropy_coef : float
        Weight of the policy's entropy in the objective.
    max_grad_norm : float, optional
        Scale the policy's gradient down to this Euclidean norm where it is longer.
    linear_schedule : bool
        Let both learning rates fall linearly to 0 at `total_steps`.
    beta1 : float
        Of Adam, for both: decay of the gradient's running mean, in [0, 1).
    beta2 : float
        Decay of the running mean of its square, in [0, 1).
    epsilon : float
        Added to the denominator.

    Raises
    ------
    TypeError, ValueError
        A parameter is of the wrong kind or out of range.

    References
    ----------
    Sutton, McAllester, Singh and Mansour, "Policy gradient methods for reinforcement learning with function
    approximation", 1999; Schulman et al., "High-dimensional continuous control using generalized advantage
    estimation", 2016.

    Examples
    --------
    >>> VPG(lam=0.9).form
    'gae'
    """

    form: Literal["gae", "td", "q", "reward_to_go"] = "gae"
    gamma: float = 0.99
    lam: float = 0.97
    n_step: int = 5
    learning_rate: float = 3e-3
    value_learning_rate: float = 3e-3
    value_epochs: int = 10
    value_minibatches: int = 1
    value_hidden: tuple[int, ...] = (64, 64)
    standardize_advantages: bool = True
    normalize_observations: bool = False
    entropy_coef: float = 0.0
    max_grad_norm: float | None = None
    linear_schedule: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_options(self)

    def core_settings(self) -> dict[str, Any]:
        """Return what the compiled trainer takes for this algorithm."""
        settings = asdict(self)
        del settings["value_hidden"]
        return {
            **settings,
            "baseline": "value" if self.form in ("q", "reward_to_go") else "none",
            "max_grad_norm": math.inf if self.max_grad_norm is None else self.max_grad_norm,
            "normalize": "timestep",
            "standardize_advantages": "batch" if self.standardize_advantages else "none",
        }
