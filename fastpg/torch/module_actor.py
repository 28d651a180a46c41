"""A torch module acts where Python steps: it says the distribution, and the compiled head draws."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastpg import _core, spaces
from fastpg.networks.normalizer import ObservationNormalizer
from fastpg.torch.outputs import Outputs, called, masked, read_outputs, require_finite

LOWEST_LOGIT = -1e30  # stands for -inf, which a product with 0 would not survive


class ModuleActor:
    """Calls a module where others run a compiled network.

    Actions are drawn by the compiled head, which reads the module's outputs through a network that is the
    identity: the same seed draws the same actions from the same outputs, whoever computed them.

    Attributes
    ----------
    network : _core.Network
        The identity, with the head.
    observations, actions : spaces.Observations, spaces.Actions
        Of the environment.
    """

    def __init__(
        self,
        where: str,
        module: nn.Module,
        observations: spaces.Observations,
        actions: spaces.Actions,
        *,
        log_std: Tensor | None,
        scales: bool,
        normalizer: ObservationNormalizer | None,
    ) -> None:
        self.observations, self.actions = observations, actions
        size = actions.num_outputs
        categories = actions.categories if actions.head == "categorical" else ()
        self.network = _core.Network(
            size, (), size, "tanh", (), actions.head, categories, False, actions.log_scale, scales
        )
        self._where, self._module, self._log_std, self._normalizer = where, module, log_std, normalizer
        identity = np.concatenate([np.eye(size, dtype=np.float32).ravel(), np.zeros(size, np.float32)])
        self._identity = np.pad(identity, (0, self.network.num_parameters - len(identity)))  # log_std is 0

    def say(self, obs: Any, count: int) -> Outputs:
        """Return what the module says of observations, tensors in the form of the space."""
        with torch.no_grad():
            returned = called(self._where, "module", self._module, obs)
            outputs = read_outputs(self._where, returned, self.actions, count, self._log_std)
            outputs = Outputs(*(None if one is None else one.detach() for one in outputs))  # type: ignore[arg-type]
        require_finite(self._where, outputs)
        return outputs

    def act(
        self,
        obs: NDArray[np.float32],
        action_mask: NDArray[np.uint8] | None,
        seed: int,
        step: int,
        deterministic: bool,
        action: NDArray[Any],
        entropy: NDArray[np.float32] | None = None,
        first_env: int = 0,
    ) -> Outputs:
        """Write the actions of rows (N, obs_size) to `action`, flat, and how random they were to `entropy`.

        Returns what the module says of the rows, masked; its memory may be the module's own.
        """
        rows = obs if self._normalizer is None else self._normalizer.scaled(self._where, obs)
        seen = as_tensors(self.observations.batch(rows.copy() if rows is obs else rows))
        mask = None if action_mask is None else torch.from_numpy(action_mask)
        outputs = masked(self.say(seen, len(rows)), mask)
        head = outputs.head.numpy()
        how = seed, step, deterministic, action, entropy, action_mask, first_env
        if outputs.log_std is None:
            logits = np.maximum(head, np.float32(LOWEST_LOGIT))
            _core.act(self.network, self._identity, np.ascontiguousarray(logits), *how)
            return outputs
        log_std = outputs.log_std.numpy()
        _core.act(self.network, self._identity, np.zeros(head.shape, np.float32), *how)
        with np.errstate(over="ignore", invalid="ignore"):
            drawn = head + np.exp(log_std) * action.reshape(head.shape)
        if not np.isfinite(drawn).all():
            raise FloatingPointError(f"{self._where}: module's log_std is too large: an action is not finite")
        action[:] = drawn.reshape(-1)
        if entropy is not None:
            entropy[:] = (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(1)
        return outputs


def as_tensors(obs: Any) -> Any:
    """Return observations in the form of the space as tensors."""
    return tuple(map(torch.from_numpy, obs)) if isinstance(obs, tuple) else torch.from_numpy(obs)
