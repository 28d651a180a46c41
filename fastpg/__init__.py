"""Policy gradients on CPUs: environments, policies and estimators from one compiled core."""

from fastpg import exact
from fastpg._core import version as _version
from fastpg.algorithms import Reinforce
from fastpg.envs import VectorEnv, list_envs, make
from fastpg.errors import CheckpointError, InvalidAction, ResetNeeded
from fastpg.estimators import (
    GradientEstimate,
    estimate_gradient,
    evaluate,
    log_prob_and_entropy,
    policy_gradient,
)
from fastpg.policy import Policy
from fastpg.system import build_info, get_num_threads, set_num_threads
from fastpg.train import TrainResult, train

__version__ = _version()

__all__ = [
    "CheckpointError",
    "GradientEstimate",
    "InvalidAction",
    "Policy",
    "Reinforce",
    "ResetNeeded",
    "TrainResult",
    "VectorEnv",
    "__version__",
    "build_info",
    "estimate_gradient",
    "evaluate",
    "exact",
    "get_num_threads",
    "list_envs",
    "log_prob_and_entropy",
    "make",
    "policy_gradient",
    "set_num_threads",
    "train",
]
