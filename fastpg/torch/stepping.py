"""Who acts with a torch module, the kernels or torch; and the batch that comes of steps by Python."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from numpy.typing import NDArray
from torch import Tensor, nn

from fastpg import acted, spaces
from fastpg.batches.batch import by_step
from fastpg.batches.collector import Collector, Rows
from fastpg.batches.stepped import batch_of, policy_collector, weights_of
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.networks.normalizer import ObservationNormalizer, require_normalizer
from fastpg.networks.policy import HasSpaces, Policy
from fastpg.networks.weights import Weights, evaluate_rows
from fastpg.torch.module_actor import ModuleActor, as_tensors
from fastpg.torch.module_collector import ModuleCollector
from fastpg.torch.outputs import (
    Outputs,
    called,
    log_prob_and_entropy,
    read_values,
    require_finite,
    require_module,
    squashes,
    warn_of_training,
)
from fastpg.torch.reading import ModuleParameters, is_compiled, read_policy

Begin = tuple[Collector, NDArray[np.float32]]
# (observations in the form of the space as tensors, how many) -> V (B,)
Reader = Callable[[Any, int], Tensor]


class Compiled:
    """Acts with a module that the kernels run."""

    def __init__(
        self,
        where: str,
        read: Callable[[Space[Any], Space[Any]], ModuleParameters],
        action_scaling: bool | None,
        normalizer: ObservationNormalizer | None,
    ) -> None:
        self.read, self.action_scaling = read, action_scaling
        self._where, self._normalizer = where, normalizer

    def actor(self, env: HasSpaces) -> Weights:
        """Return what `play_episodes` has act in an environment."""
        return weights_of(self._where, self._policy_for(env), self._normalizer)

    def _policy_for(self, env: HasSpaces) -> Policy:
        given = env.observation_space, env.action_space
        read = self.read(*given)
        squash = read.actions.squash
        scales = acted.action_scaling(
            self._where, env.action_space, self.action_scaling, stacklevel=5, squash=squash
        )
        return Policy.of_shape(
            self._where, given, read.hidden, read.activation, read.theta, squash=squash,
            state_dependent_std=read.actions.state_dependent_std, action_scaling=scales,
        )  # fmt: skip

    def begin(self, env: GymnasiumEnv, seed: int) -> Begin:
        """Return what `play` steps an environment with."""
        self.observation_space = env.observation_space
        self._policy = self._policy_for(env)
        return policy_collector(self._where, env, self._policy, seed, self._normalizer)

    def batch(self, rows: Rows) -> dict[str, Any]:
        """Return the fields of a Batch of rows, as tensors."""
        return tensors_of(batch_of(self._where, rows, self._policy, None))


class Called:
    """Acts with a module that torch calls."""

    def __init__(
        self,
        where: str,
        module: nn.Module,
        log_std: Tensor | None,
        action_scaling: bool | None,
        normalizer: ObservationNormalizer | None,
    ) -> None:
        own = getattr(module, "log_std", None)
        self._log_std = own if log_std is None and isinstance(own, Tensor) else log_std
        self._where, self._module = where, module
        self._scaling, self._normalizer = action_scaling, normalizer

    def actor(self, env: HasSpaces, stacklevel: int = 4) -> ModuleActor:
        """Return what `play_episodes` has act in an environment."""
        actions = spaces.actions(self._where, env.action_space, squash=squashes(self._where, self._module))
        scales = acted.action_scaling(
            self._where, env.action_space, self._scaling, stacklevel=stacklevel, squash=actions.squash
        )
        if scales:
            spaces.require_scalable(self._where, actions)
        observations = spaces.observations(self._where, env.observation_space)
        if self._normalizer is not None:
            self._normalizer.check_fits(self._where, "env", observations)
        return ModuleActor(
            self._where, self._module, observations, actions, log_std=self._log_std, scales=scales,
            normalizer=self._normalizer,
        )  # fmt: skip

    def begin(self, env: GymnasiumEnv, seed: int) -> Begin:
        """Return what `play` steps an environment with."""
        self.observation_space = env.observation_space
        self._actor = self.actor(env, stacklevel=5)
        self._collector = ModuleCollector(env, self._actor, seed)
        return self._collector, np.empty(0, np.float32)

    def batch(self, rows: Rows) -> dict[str, Any]:
        """Return the fields of a Batch of rows, as tensors, with V if the module returns it."""
        actions, form, shape = self._actor.actions, self._actor.observations, rows.rewards.shape
        steps = self._collector.outputs
        outputs = Outputs(
            *(None if one[0] is None else torch.cat(one) for one in zip(*steps, strict=True))  # type: ignore[arg-type]
        )
        taken = torch.from_numpy(rows.actions.reshape(-1, actions.size))
        log_probs, _ = log_prob_and_entropy(actions, outputs, taken)
        order = by_step(rows.final_rows)
        fields: dict[str, Any] = {
            "obs": as_tensors(form.batch(rows.obs)),
            "actions": torch.from_numpy(actions.shaped(rows.actions, shape)),
            "log_probs": log_probs.reshape(shape),
            "rewards": torch.from_numpy(rows.rewards),
            "terminated": torch.from_numpy(rows.terminated.view(np.bool_)),
            "truncated": torch.from_numpy(rows.truncated.view(np.bool_)),
            "last_obs": as_tensors(form.batch(rows.last_obs.copy())),
            "ends": torch.from_numpy(rows.final_rows),
            "final_obs": as_tensors(form.batch(rows.final_obs)),
            "episode_returns": torch.from_numpy(rows.episode_returns[order]),
            "episode_lengths": torch.from_numpy(rows.episode_lengths[order]),
            "entropy": rows.entropy,
            "values": None,
            "last_values": None,
            "final_values": None,
            "mask": None if rows.mask is None else torch.from_numpy(rows.mask.view(np.bool_)),
            "action_mask": None
            if rows.action_mask is None
            else torch.from_numpy(rows.action_mask.view(np.bool_)),
        }
        if outputs.value is not None:
            fields["values"] = outputs.value.reshape(shape)
            fields |= values_at_cuts(fields, self._own_value)
        return fields

    def _own_value(self, obs: Any, count: int) -> Tensor:
        value = self._actor.say(obs, count).value
        assert value is not None
        return value


def who_acts(
    where: str,
    module: Any,
    log_std: Tensor | None,
    action_scaling: bool | None,
    normalizer: ObservationNormalizer | None,
    in_train_mode: str,
) -> Compiled | Called:
    """Return what acts with a module; `in_train_mode` says what follows from a mode that is not meant."""
    require_normalizer(where, normalizer)
    if action_scaling is None and isinstance(module, nn.Module):
        action_scaling = getattr(module, "action_scaling", None)
    if is_compiled(where, module, log_std):
        read = functools.partial(read_policy, where, module, log_std)
        return Compiled(where, read, action_scaling, normalizer)
    warn_of_training(where, "module", require_module(where, "module", module), in_train_mode, stacklevel=3)
    return Called(where, module, log_std, action_scaling, normalizer)


def tensors_of(batch: Any) -> dict[str, Any]:
    """Return the fields of a batch of arrays as tensors over their memory."""
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {
        name: as_tensors(part)
        if isinstance(part, np.ndarray) or (name != "memory" and isinstance(part, tuple))
        else part
        for name, part in fields.items()
    }


def kernel_reader(where: str, read: ModuleParameters) -> Reader:
    """Return V by a module that the kernels run."""

    def value_of(obs: Any, count: int) -> Tensor:
        arrays = tuple(one.numpy() for one in obs) if isinstance(obs, tuple) else obs.numpy()
        rows, _ = read.observations.rows(where, arrays)
        values = np.empty(count, np.float32)
        return torch.from_numpy(evaluate_rows(where, Weights(read.network, read.theta), rows, values))

    return value_of


def module_reader(where: str, module: nn.Module) -> Reader:
    """Return V by a module that torch calls."""

    def value_of(obs: Any, count: int) -> Tensor:
        with torch.no_grad():
            values = read_values(f"{where}: value", called(where, "value", module, obs), count)
        require_finite(f"{where}: value", Outputs(values, None, values))
        return values

    return value_of


def values_of(fields: dict[str, Any], reader: Reader) -> dict[str, Any]:
    """Return V of all that a batch has, by the names of its fields."""
    shape = fields["rewards"].shape
    values = reader(_each(fields["obs"], lambda one: one.flatten(0, 1)), shape.numel()).reshape(shape)
    return {"values": values, **values_at_cuts(fields, reader)}


def values_at_cuts(fields: dict[str, Any], reader: Reader) -> dict[str, Any]:
    """Return V of what follows the last row, and of where episodes were truncated."""
    num_envs = fields["rewards"].shape[1]
    final_values = torch.zeros_like(fields["rewards"])
    t, n = fields["ends"].unbind(1)
    cut = ~fields["terminated"][t, n]
    count = int(cut.sum())
    if count:
        final_values[t[cut], n[cut]] = reader(_each(fields["final_obs"], lambda one: one[cut]), count)
    return {"last_values": reader(fields["last_obs"], num_envs), "final_values": final_values}


def _each(obs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return tuple(map(change, obs)) if isinstance(obs, tuple) else change(obs)
