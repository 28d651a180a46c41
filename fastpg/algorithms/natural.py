"""Natural policy gradients, and trust region policy optimisation."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from fastpg.algorithms.options import check_options, spelled


@spelled
@dataclass(frozen=True, slots=True)
class NPG:
    """The natural policy gradient: one step of steepest ascent, that diverges by about `max_kl`.

    Each iteration collects a batch, estimates advantages (GAE) with the value function, and moves the policy
    along ``x = (F + damping I)^-1 g``, where g is the policy gradient and F the Fisher matrix of the batch's
    observations; x comes from conjugate gradients on compiled Fisher-vector products. The step's length is
    ``sqrt(2 max_kl / x^T (F + damping I) x)``: to second order its mean divergence is `max_kl`. Then the
    value function is fitted, as in `VPG`.

    Parameters
    ----------
    gamma : float
        Discount, in [0, 1].
    lam : float
        Trace decay of GAE, in [0, 1].
    max_kl : float
        Mean KL(old | new) of a step, nats.
    damping : float
        What is added to the diagonal of the Fisher matrix.
    cg_iterations : int
        Fisher-vector products of a step, at most.
    cg_tolerance : float
        Stop where the residual's norm is this share of the gradient's.
    fisher_every : int
        Take the Fisher matrix from the rows of every so manyth step of the batch only: the matrix varies less
        than the gradient does, and takes most of the time.
    standardize_advantages : bool
        Give them mean 0 and standard deviation 1 over the batch. The step's direction does not see their
        scale.
    value_learning_rate : float
        Step size of the value function.
    value_epochs : int
        Passes of the value function over each batch.
    value_minibatches : int
        Steps of the value function in a pass, each on a random share of the batch.
    value_hidden : tuple of int
        Widths of the value function's hidden layers.
    linear_schedule : bool
        Let the learning rate fall linearly to 0 at `total_steps`.
    normalize_observations : bool
        Let both networks learn from observations minus their running mean, over their running standard
        deviation, as in `VPG`.
    normalize_rewards : bool
        Let the value function learn from rewards over the running standard deviation of discounted returns,
        as in `PPO`.
    beta1 : float
        Of the value function's Adam: decay of the gradient's running mean, in [0, 1).
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
    Kakade, "A natural policy gradient", 2001; Rajeswaran, Lowrey, Todorov and Kakade, "Towards generalization
    and simplicity in continuous control", 2017 (the length of the step).

    Examples
    --------
    >>> NPG(max_kl=0.05).cg_iterations
    10
    """

    HORIZON: ClassVar[int] = 128  # of `train`, where nothing is said

    gamma: float = 0.99
    lam: float = 0.95
    max_kl: float = 0.01
    damping: float = 0.1
    cg_iterations: int = 10
    cg_tolerance: float = 1e-10
    fisher_every: int = 1
    standardize_advantages: bool = True
    value_learning_rate: float = 1e-3
    value_epochs: int = 10
    value_minibatches: int = 16
    value_hidden: tuple[int, ...] = (64, 64)
    linear_schedule: bool = False
    normalize_observations: bool = False
    normalize_rewards: bool = False
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
            "algorithm": type(self).__name__.lower(),
            "form": "gae",
            "baseline": "none",
            "normalize": "timestep",
            "learning_rate": 1.0,  # the step has a length of its own
            "standardize_advantages": "batch" if self.standardize_advantages else "none",
        }


@spelled
@dataclass(frozen=True, slots=True)
class TRPO(NPG):
    """Trust region policy optimisation: `NPG`, whose step is shortened until it is safe.

    The step is multiplied by `backtrack_factor` until the batch's mean KL(old | new) is at most `max_kl` and
    the surrogate ``mean(r A)`` has grown; if `backtracks` shorter steps do not do it either, the policy keeps
    the very parameters that it had.

    Parameters
    ----------
    The options of `NPG`, and:

    backtracks : int
        How often the step is shortened at most.
    backtrack_factor : float
        By what it is multiplied then.
    accept_ratio : float
        The least share of the growth that the gradient promises, in [0, 1].

    References
    ----------
    Schulman, Levine, Moritz, Jordan and Abbeel, "Trust region policy optimization", 2015.

    Examples
    --------
    >>> TRPO().max_kl
    0.01
    """

    backtracks: int = 10
    backtrack_factor: float = 0.8
    accept_ratio: float = 0.0
