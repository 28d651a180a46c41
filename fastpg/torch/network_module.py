"""The module that a policy or a value function is on torch's side: a Sequential that reads observations."""

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Discrete, Space
from torch import Tensor, nn

from fastpg import spaces


class NetworkModule(nn.Sequential):
    """The base of `PolicyModule` and `ValueModule`."""

    observation_space: Space[Any]
    # Of observations that are categories: (first, number) of each component; plain numbers for torch.compile.
    categories: tuple[tuple[int, int], ...] = ()
    one_component = False  # without an axis for components, as Discrete

    def set_observations(self, observations: spaces.Observations) -> None:
        """Take note of what is read."""
        self.observation_space = observations.space
        self.categories = tuple(zip(observations.starts, observations.categories, strict=True))
        self.one_component = isinstance(observations.space, Discrete)

    def forward(self, input: Any) -> Tensor:
        """Return the outputs of the head, (..., num_outputs): V, logits, or the means of a Box's actions.

        Observations that are categories come as the space has them, or already as one-hot vectors, float32.
        The k-th logit of a component is that of the action start + k, where the action space has starts.
        """
        if self.categories and not (isinstance(input, Tensor) and input.is_floating_point()):
            input = self._one_hot(input)
        outputs: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return outputs

    def _one_hot(self, obs: Any) -> Tensor:
        """Return categories, (...), (..., k) or k tensors (...), as one-hot vectors, (..., num_inputs)."""
        columns: Sequence[Tensor] = obs if isinstance(obs, tuple | list) else (obs,)
        if isinstance(obs, Tensor) and not self.one_component:
            columns = obs.unbind(-1)
        hot = [
            nn.functional.one_hot(column.long() - start, size)
            for column, (start, size) in zip(columns, self.categories, strict=True)
        ]
        return torch.cat(hot, -1).float()
