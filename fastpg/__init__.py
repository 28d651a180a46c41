"""Policy gradients on CPUs: environments, policies and estimators from one compiled core."""

import sys as _sys

from fastpg import _built, callbacks, diagnostics, distributed, exact  # noqa: F401  (_built comes first)
from fastpg._core import version as _version
from fastpg.algorithms import A2C, NPG, PPO, TRPO, VPG, Reinforce
from fastpg.batches.batch import Batch
from fastpg.batches.collect import collect
from fastpg.batches.estimate import GradientEstimate, estimate_gradient
from fastpg.batches.evaluate import evaluate
from fastpg.batches.gradients import log_prob_and_entropy, policy_gradient
from fastpg.batches.returns import (
    done_from_cleanrl,
    done_from_episode_starts,
    episode_returns,
    gae,
    nstep_returns,
    returns,
    td_errors,
    vtrace,
)
from fastpg.envs import (
    JitEnv,
    LoadedEnv,
    MujocoEnv,
    VectorEnv,
    get_include,
    jit_env,
    list_envs,
    load_env,
    make,
)
from fastpg.envs.gymnasium.flatten import flatten_observations
from fastpg.errors import (
    CheckpointError,
    EnvError,
    EnvNotFinite,
    InvalidAction,
    RankError,
    ResetNeeded,
    SaveError,
)
from fastpg.networks.normalizer import ObservationNormalizer
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.system import build_info, get_num_threads, set_num_threads
from fastpg.training.agent import Agent
from fastpg.training.callbacks import TrainProgress
from fastpg.training.halving import halving
from fastpg.training.many import train_many
from fastpg.training.population import Population, train_population
from fastpg.training.recommended import recommended
from fastpg.training.result import TrainResult
from fastpg.training.resume import resume
from fastpg.training.runs import Runs
from fastpg.training.search import grid, sample
from fastpg.training.train import train
from fastpg.video.render import render

__version__ = _version()

__all__ = [
    "A2C",
    "NPG",
    "PPO",
    "TRPO",
    "VPG",
    "Agent",
    "Batch",
    "CheckpointError",
    "EnvError",
    "EnvNotFinite",
    "GradientEstimate",
    "InvalidAction",
    "JitEnv",
    "LoadedEnv",
    "MujocoEnv",
    "ObservationNormalizer",
    "Policy",
    "Population",
    "RankError",
    "Reinforce",
    "ResetNeeded",
    "Runs",
    "SaveError",
    "TrainProgress",
    "TrainResult",
    "ValueFunction",
    "VectorEnv",
    "__version__",
    "build_info",
    "callbacks",
    "collect",
    "diagnostics",
    "distributed",
    "done_from_cleanrl",
    "done_from_episode_starts",
    "episode_returns",
    "estimate_gradient",
    "evaluate",
    "exact",
    "flatten_observations",
    "gae",
    "get_include",
    "get_num_threads",
    "grid",
    "halving",
    "jit_env",
    "list_envs",
    "load_env",
    "log_prob_and_entropy",
    "make",
    "nstep_returns",
    "policy_gradient",
    "recommended",
    "render",
    "resume",
    "returns",
    "sample",
    "set_num_threads",
    "td_errors",
    "train",
    "train_many",
    "train_population",
    "vtrace",
]


def __getattr__(name: str) -> type:
    if name == "Rollout":  # what a Batch was called before there were others
        return Batch
    hint = f"; import fastpg.{name} before" if name in ("numba_math", "ray", "sb3", "torch") else ""
    # With the module the interpreter looks for a name that is nearly this one.
    raise AttributeError(
        f"module 'fastpg' has no attribute {name!r}{hint}", name=name, obj=_sys.modules[__name__]
    )
