"""Proximal policy optimisation."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from fastpg.algorithms.options import check_options, spelled


@spelled
@dataclass(frozen=True, slots=True)
class PPO:
    """Proximal policy optimisation: several epochs of minibatches on a clipped surrogate.

    Each iteration collects a batch, estimates advantages (GAE) with the value function, and then goes through
    the rows `epochs` times in minibatches. Each is a step of Adam for the policy, along the clipped surrogate
    ``mean(min(r A, clip(r, 1 - clip_range, 1 + clip_range) A))`` with ``r = pi / pi_old``, and a step for the
    value function. A truncated episode is continued by V of its final observation.

    The defaults are Stable-Baselines3's, which are the paper's for MuJoCo, but for the two networks: each has
    an Adam of its own, and its gradient is clipped by its own norm.

    Parameters
    ----------
    gamma : float
        Discount, in [0, 1].
    lam : float
        Trace decay of GAE, in [0, 1].
    learning_rate : float
        Step size of the policy.
    value_learning_rate : float, optional
        Step size of the value function; by default `learning_rate`.
    epochs : int
        Passes over each batch.
    minibatches : int
        Steps in a pass, each on a random share of the batch, without replacement.
    clip_range : float
        How far the ratio goes from 1 before the surrogate is flat.
    linear_clip_range : bool
        Let `clip_range` fall linearly to 0 at `total_steps`.
    entropy_coef : float
        Weight of the policy's entropy in the objective.
    standardize_advantages : {"minibatch", "batch", "none"}
        Where advantages get mean 0 and standard deviation 1 (that of a sample, with one row less).
    recompute_advantages : bool
        Estimate them anew before every epoch but the first, with the value function as it is then.
    target_kl : float, optional
        End the update before the first step whose minibatch has a mean estimate of KL(old | new) above 1.5
        times this.
    desired_kl : float, optional
        Let the policy's learning rate follow the divergence: before a step it is divided by 1.5 where a
        minibatch's estimate is above twice this, and multiplied by 1.5 where that is below half of it. It
        stays between 1e-5 and 1e-2, if it began there.
    value_loss : {"squared", "huber"}
        Half the squared error, or Huber's loss, which is linear beyond `huber_delta`.
    huber_delta : float
        The error from which on Huber's loss is linear.
    value_clip_range : float, optional
        Take the larger of two losses: that of V, and that of a V which goes no further than this from what it
        was. Off by default: it was found to hurt rather than help.
    value_hidden : tuple of int
        Widths of the value function's hidden layers.
    initial_log_std : float
        Logarithm of the standard deviation of a new policy's actions in a Box, -87 to 87. Where a large one
        falls over and stays there, as in MuJoCo's tasks, -0.5 was found to be better than 0.
    max_grad_norm : float, optional
        Scale a gradient down to this Euclidean norm where it is longer. The norm is each network's own, so
        that large errors of the value function do not shorten the policy's steps.
    joint_grad_norm : bool
        Take the norm of both gradients as one vector instead, as libraries with one optimizer do.
    linear_schedule : bool
        Let both learning rates fall linearly to 0 at `total_steps`.
    normalize_observations : bool
        As in `VPG`: both networks learn from observations minus their running mean, over their running
        standard deviation, which are folded into the first layer.
    normalize_rewards : bool
        Let the value function learn from rewards over the running standard deviation of discounted returns,
        and measure advantages in that unit. It is folded into the last layer: `run.value` predicts returns in
        the environment's own rewards.
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
    Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization algorithms", 2017 (clipping,
    defaults). Engstrom et al., "Implementation matters in deep policy gradients", 2020, and Andrychowicz et
    al., "What matters in on-policy reinforcement learning?", 2021 (value clipping, recomputed advantages,
    initial weights). Huang et al., "The 37 implementation details of proximal policy optimization", 2022
    (epsilon, standardised minibatches, the target of KL). Rudin et al., "Learning to walk in minutes using
    massively parallel deep reinforcement learning", 2022 (the learning rate that follows KL).

    Examples
    --------
    >>> PPO(minibatches=4, epochs=4).clip_range
    0.2
    """

    HORIZON: ClassVar[int] = 128  # of `train`, where nothing is said

    gamma: float = 0.99
    lam: float = 0.95
    learning_rate: float = 3e-4
    value_learning_rate: float | None = None
    epochs: int = 10
    minibatches: int = 32
    clip_range: float = 0.2
    linear_clip_range: bool = False
    entropy_coef: float = 0.0
    standardize_advantages: Literal["minibatch", "batch", "none"] = "minibatch"
    recompute_advantages: bool = False
    target_kl: float | None = None
    desired_kl: float | None = None
    value_loss: Literal["squared", "huber"] = "squared"
    huber_delta: float = 1.0
    value_clip_range: float | None = None
    value_hidden: tuple[int, ...] = (64, 64)
    initial_log_std: float = 0.0
    max_grad_norm: float | None = 0.5
    joint_grad_norm: bool = False
    linear_schedule: bool = False
    normalize_observations: bool = False
    normalize_rewards: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_options(self)

    def core_settings(self) -> dict[str, Any]:
        """Return what the compiled trainer takes for this algorithm."""
        settings = asdict(self)
        del settings["value_hidden"], settings["initial_log_std"]  # of the networks that it begins with
        if self.value_learning_rate is None:
            settings["value_learning_rate"] = self.learning_rate
        settings |= {name: math.inf for name, value in settings.items() if value is None}
        return {**settings, "algorithm": "ppo", "form": "gae", "baseline": "none", "normalize": "timestep"}
