"""Algorithms as data: one frozen dataclass each, from which the command line is generated as well."""

from dataclasses import dataclass
from typing import Literal

from fastpg import _check
from fastpg.estimators import FORMS, NORMALIZE, Form, Normalize


@dataclass(frozen=True, slots=True)
class Reinforce:
    """REINFORCE: gradient ascent on the expected return, with the returns themselves as weights.

    Parameters
    ----------
    form : {"reward_to_go", "total"}
        Weight of a step: the rewards from it on, or the whole episode's return.
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

    form: Form = "reward_to_go"
    gamma: float = 0.99
    learning_rate: float = 3e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    normalize: Normalize = "timestep"

    def __post_init__(self) -> None:
        where = "Reinforce()"
        _check.choice(where, "form", self.form, FORMS)
        _check.real(where, "gamma", self.gamma, "[0, 1]")
        _check.real(where, "learning_rate", self.learning_rate, "(0, inf)")
        _check.choice(where, "optimizer", self.optimizer, ("adam", "sgd"))
        _check.real(where, "momentum", self.momentum, "[0, 1)")
        _check.real(where, "beta1", self.beta1, "[0, 1)")
        _check.real(where, "beta2", self.beta2, "[0, 1)")
        _check.real(where, "epsilon", self.epsilon, "(0, inf)")
        _check.choice(where, "normalize", self.normalize, NORMALIZE)
