"""fastpg for PyTorch users: a loss, estimates on tensors, modules that share memory with policies and values.

This package needs torch, and nothing else in fastpg does: `import fastpg` does not import it.
"""

try:
    from fastpg.torch import _import_torch  # noqa: F401
except ImportError as error:
    raise ImportError("fastpg.torch needs PyTorch, which is not installed: pip install torch") from error

from fastpg.torch.arrays import (
    done_from_cleanrl,
    done_from_episode_starts,
    episode_returns,
    gae,
    nstep_returns,
    returns,
    td_errors,
    vtrace,
)
from fastpg.torch.clipped_loss import PPOStats, ppo_loss
from fastpg.torch.evaluate import evaluate
from fastpg.torch.loss import log_prob_and_entropy, pg_loss
from fastpg.torch.modules import from_module, to_module, value_from_module
from fastpg.torch.policy_module import PolicyModule
from fastpg.torch.rollout import Batch, collect
from fastpg.torch.value_module import ValueModule

__all__ = [
    "Batch",
    "PPOStats",
    "PolicyModule",
    "ValueModule",
    "collect",
    "done_from_cleanrl",
    "done_from_episode_starts",
    "episode_returns",
    "evaluate",
    "from_module",
    "gae",
    "log_prob_and_entropy",
    "nstep_returns",
    "pg_loss",
    "ppo_loss",
    "returns",
    "td_errors",
    "to_module",
    "value_from_module",
    "vtrace",
]


def __getattr__(name: str) -> type:
    if name == "Rollout":  # what a Batch was called before there were others
        return Batch
    raise AttributeError(f"module 'fastpg.torch' has no attribute {name!r}")
