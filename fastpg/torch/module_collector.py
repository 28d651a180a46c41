"""A torch module acts in environments that Python steps: rows as those of compiled policies."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastpg import _core, spaces
from fastpg.batches.collector import Collector
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.networks.normalizer import ObservationNormalizer
from fastpg.torch.outputs import Outputs, called, masked, read_outputs, require_finite

LOWEST_LOGIT = -1e30  # stands for -inf, which a product with 0 would not survive


class ModuleCollector(Collector):
    """Calls a module where `Collector` runs a compiled policy, and keeps what it returns.

    Actions are drawn by the compiled head, which reads the module's outputs through a network that is the
    identity: the same seed draws the same actions from the same outputs, whoever computed them.
    """

    def __init__(
        self,
        where: str,
        env: GymnasiumEnv,
        module: nn.Module,
        seed: int,
        *,
        actions: spaces.Actions,
        log_std: Tensor | None,
        scales: bool,
        normalizer: ObservationNormalizer | None,
    ) -> None:
        self.observations = spaces.observations(where, env.observation_space)
        self.actions = actions
        size = actions.num_outputs
        categories = actions.categories if actions.head == "categorical" else ()
        head = _core.Network(
            size, (), size, "tanh", (), actions.head, categories, False, actions.log_scale, scales
        )
        super().__init__(env, head, seed, wants_final=True, all_ends=True)
        self._where, self._module, self._log_std, self._normalizer = where, module, log_std, normalizer
        identity = np.concatenate([np.eye(size, dtype=np.float32).ravel(), np.zeros(size, np.float32)])
        self._identity = np.pad(identity, (0, head.num_parameters - len(identity)))  # log_std is 0
        self.outputs: list[Outputs] = []  # of every step

    def say(self, obs: Any, count: int) -> Outputs:
        """Return what the module says of observations, tensors in the form of the space."""
        with torch.no_grad():
            returned = called(self._where, "module", self._module, obs)
            outputs = read_outputs(self._where, returned, self.actions, count, self._log_std)
            outputs = Outputs(*(None if one is None else one.detach() for one in outputs))  # type: ignore[arg-type]
        require_finite(self._where, outputs)
        return outputs

    def _act(
        self,
        theta: NDArray[np.float32],
        obs: NDArray[np.float32],
        mask: NDArray[np.uint8] | None,
        action: Any,
        entropy: NDArray[np.float32],
    ) -> None:
        rows = obs if self._normalizer is None else self._normalizer.scaled(self._where, obs)
        seen = as_tensors(self.observations.batch(rows.copy() if rows is obs else rows))
        outputs = masked(self.say(seen, len(rows)), None if mask is None else torch.from_numpy(mask))
        self.outputs.append(Outputs(*(None if one is None else one.clone() for one in outputs)))  # type: ignore[arg-type]
        head = outputs.head.numpy()
        counters = self._action_seed, self._draws, False, action, entropy, mask, self.env.first_env
        if outputs.log_std is None:
            logits = np.maximum(head, np.float32(LOWEST_LOGIT))
            _core.act(self._network, self._identity, np.ascontiguousarray(logits), *counters)
            return
        log_std = outputs.log_std.numpy()
        _core.act(self._network, self._identity, np.zeros(head.shape, np.float32), *counters)
        with np.errstate(over="ignore", invalid="ignore"):
            drawn = head + np.exp(log_std) * action.reshape(head.shape)
        if not np.isfinite(drawn).all():
            raise FloatingPointError(f"{self._where}: module's log_std is too large: an action is not finite")
        action[:] = drawn.reshape(-1)
        entropy[:] = (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(1)


def as_tensors(obs: Any) -> Any:
    """Return observations in the form of the space as tensors."""
    return tuple(map(torch.from_numpy, obs)) if isinstance(obs, tuple) else torch.from_numpy(obs)
