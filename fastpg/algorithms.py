"""Algorithms as data: one frozen dataclass each, from which the command line is generated as well."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fastpg import _check, _core
from fastpg.estimators import FORMS, MEAN_BASELINES, NORMALIZE, MeanBaseline, Normalize


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
        where = "Reinforce()"
        _check.choice(where, "form", self.form, ("total", "reward_to_go"))
        if self.baseline is not None:
            _check.choice(where, "baseline", self.baseline, MEAN_BASELINES)
        _check.real(where, "gamma", self.gamma, "[0, 1]")
        _check.real(where, "learning_rate", self.learning_rate, "(0, inf)")
        _check.choice(where, "optimizer", self.optimizer, ("adam", "sgd"))
        _check.real(where, "momentum", self.momentum, "[0, 1)")
        _check.real(where, "beta1", self.beta1, "[0, 1)")
        _check.real(where, "beta2", self.beta2, "[0, 1)")
        _check.real(where, "epsilon", self.epsilon, "(0, inf)")
        _check.real(where, "entropy_coef", self.entropy_coef, "(-inf, inf)")
        _check.choice(where, "normalize", self.normalize, NORMALIZE)

    def core_settings(self) -> dict[str, Any]:
        """Return what the compiled trainer takes for this algorithm."""
        return {**asdict(self), "baseline": self.baseline or "none"}


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
        Let both networks read observations minus their running mean, divided by their running standard
        deviation. The result is folded into the first layer: `run.policy` reads plain observations, with the
        last statistics in it. A policy or value function that is handed to `train` goes on as the function
        that it is: the statistics, which begin anew, then scale its steps only.
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
        where = f"{type(self).__name__}()"
        _check.choice(where, "form", self.form, tuple(form for form in FORMS if form != "total"))
        _check.real(where, "gamma", self.gamma, "[0, 1]")
        _check.real(where, "lam", self.lam, "[0, 1]")
        _check.integer(where, "n_step", self.n_step, 1, 2**31 - 1)
        _check.real(where, "learning_rate", self.learning_rate, "(0, inf)")
        _check.real(where, "value_learning_rate", self.value_learning_rate, "(0, inf)")
        _check.integer(where, "value_epochs", self.value_epochs, 0, 10_000)
        _check.integer(where, "value_minibatches", self.value_minibatches, 1, 10_000)
        _check.widths(where, "value_hidden", self.value_hidden, _core.MAX_HIDDEN, _core.MAX_WIDTH)
        _check.boolean(where, "standardize_advantages", self.standardize_advantages)
        _check.boolean(where, "normalize_observations", self.normalize_observations)
        _check.real(where, "entropy_coef", self.entropy_coef, "(-inf, inf)")
        if self.max_grad_norm is not None:
            _check.real(where, "max_grad_norm", self.max_grad_norm, "(0, inf)")
        _check.boolean(where, "linear_schedule", self.linear_schedule)
        _check.real(where, "beta1", self.beta1, "[0, 1)")
        _check.real(where, "beta2", self.beta2, "[0, 1)")
        _check.real(where, "epsilon", self.epsilon, "(0, inf)")

    def core_settings(self) -> dict[str, Any]:
        """Return what the compiled trainer takes for this algorithm."""
        settings = asdict(self)
        for ours, theirs in (("standardize_advantages", "standardize"),):
            settings[theirs] = settings.pop(ours)
        del settings["value_hidden"]
        return {
            **settings,
            "baseline": "value" if self.form in ("q", "reward_to_go") else "none",
            "max_grad_norm": math.inf if self.max_grad_norm is None else self.max_grad_norm,
            "normalize": "timestep",
            "optimizer": "adam",
            "momentum": 0.0,
        }


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


Algorithm = Reinforce | VPG
