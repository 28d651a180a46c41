"""Algorithms as data: one frozen dataclass each, from which the command line is generated as well."""

import math
import types
import typing
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fastpg import _check, _core
from fastpg.batches.estimators import MeanBaseline, Normalize


def check_options(algorithm: Any) -> None:
    """Check an algorithm's options, and keep each in its plain form: settings that are equal have one hash.

    Ranges are those of csrc/fastpg.h; which words a choice has, the annotation says. Raises TypeError or
    ValueError for the first option that is out of its range.
    """
    where = f"{type(algorithm).__name__}()"
    for name, (hint, optional) in _hints(type(algorithm)).items():
        value = getattr(algorithm, name)
        if value is not None or not optional:
            object.__setattr__(algorithm, name, _checked(where, name, value, hint))


def _checked(where: str, name: str, value: Any, hint: Any) -> Any:
    option = _core.OPTIONS.get(name)
    if option is None:
        return _check.widths(where, name, value, _core.MAX_HIDDEN, _core.MAX_WIDTH)
    if option.kind == "choice":
        return _check.choice(where, name, value, typing.get_args(hint))
    if option.kind == "flag":
        return _check.boolean(where, name, value)
    if option.kind == "integer":
        low, high = option.range[1:-1].split(",")
        return _check.integer(where, name, value, int(low), int(high))
    return _check.real(where, name, value, option.range)


def _hints(algorithm: type) -> dict[str, tuple[Any, bool]]:
    """Return the type of each option, None taken out, and whether it may be None."""
    hints = {}
    for name, hint in typing.get_type_hints(algorithm).items():
        is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
        parts = typing.get_args(hint) if is_union else (hint,)
        hints[name] = parts[0], types.NoneType in parts
    return hints


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
        deviation. The scaling is folded into the first layer: `run.policy` reads plain observations. New
        networks are read anew by the statistics of the first batch; from then on, and from the start in
        networks that are given, statistics change how a network learns, never what it computes.
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
