"""A torch module acts in environments that Python steps: rows as those of compiled policies."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg.batches.collector import Collector
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.torch.module_actor import ModuleActor
from fastpg.torch.outputs import Outputs


class ModuleCollector(Collector):
    """Has a module act where `Collector` runs a compiled policy, and keeps what it returns."""

    def __init__(self, env: GymnasiumEnv, actor: ModuleActor, seed: int) -> None:
        super().__init__(env, actor.network, seed, wants_final=True, all_ends=True)
        self._actor = actor
        self.outputs: list[Outputs] = []  # of every step

    def _act(
        self,
        theta: NDArray[np.float32],
        obs: NDArray[np.float32],
        mask: NDArray[np.uint8] | None,
        action: Any,
        entropy: NDArray[np.float32],
    ) -> None:
        outputs = self._actor.act(
            obs, mask, self._action_seed, self._draws, False, action, entropy, self.env.first_env
        )
        self.outputs.append(Outputs(*(None if one is None else one.clone() for one in outputs)))  # type: ignore[arg-type]
