"""fastpg for PyTorch users: modules that share memory with policies.

This package needs torch, and nothing else in fastpg does: `import fastpg` does not import it.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastpg.torch needs PyTorch, which is not installed: pip install 'fastpg-rl[torch]', or "
        "pip install torch"
    ) from error

from fastpg.torch.modules import PolicyModule, from_module, to_module
from fastpg.torch.rollout import Rollout, collect

__all__ = ["PolicyModule", "Rollout", "collect", "from_module", "to_module"]
