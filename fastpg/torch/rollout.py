"""Rollouts as tensors: a torch module acts, the compiled core plays."""

import dataclasses
from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from fastpg import _check, spaces
from fastpg.batches import batch as batches
from fastpg.batches import collect as rollouts
from fastpg.batches.collect import Stage
from fastpg.batches.values import Weights
from fastpg.envs.native.registry import EnvLike
from fastpg.envs.native.vector import VectorEnv
from fastpg.torch.reading import ModuleParameters, read_module


class Batch(batches.Batch[Tensor]):
    """What `fastpg.torch.collect` returns: the attributes of `fastpg.Batch`, as tensors on the CPU."""

    __slots__ = ()

    def scatter_final(self, values: Tensor) -> Tensor:
        """Return values of `final_obs`, (K,), at the rows that ended an episode, and 0 elsewhere: (T, N).

        With V of your own it is what `gae` takes as `final_values`. Gradients do not flow through it.

        Raises
        ------
        TypeError, ValueError
            values has the wrong dtype or shape, or is not finite.
        """
        where = "Batch.scatter_final()"
        if not isinstance(values, Tensor) or values.device.type != "cpu":
            raise TypeError(f"{where}: values must be a tensor on the CPU, got {_check.shown(values)}")
        return torch.from_numpy(batches.scatter(where, _numpy(self), values.detach().numpy()))


def collect(
    env: VectorEnv | EnvLike,
    module: nn.Module,
    horizon: int,
    *,
    value: nn.Module | None = None,
    seed: int | None = None,
    num_envs: int | None = None,
    log_std: Tensor | None = None,
    out: Batch | None = None,
    **env_params: Any,
) -> Batch:
    """Take `horizon` steps of every environment with the module's actions, and return them all as tensors.

    `fastpg.collect` for a torch module: no Python between the steps, no copy of the module's parameters where
    they lie in one piece of memory (`to_module`, `from_module`), and no copy of the results.

    Parameters
    ----------
    env : VectorEnv, str, fastpg.exact.FiniteMDP, or what jit_env or load_env made
        As in `fastpg.collect`, which also says which random numbers are drawn, and how a VectorEnv goes on.
    module : torch.nn.Linear or torch.nn.Sequential
        What `from_module` takes, with the outputs that the environment's actions need. It reads one-hot
        vectors where observations are categories.
    horizon : int
        Steps of each environment, T.
    value : torch.nn.Linear or torch.nn.Sequential, optional
        Such a module with one output: V of `values`, `last_values` and `final_values`.
    seed : int, optional
        Decides, with the number of the step, what actions are drawn.
    num_envs : int, optional
        How many environments, N; with an id only, 1024 by default.
    log_std : Parameter, shape (n,), optional
        The logarithms of the standard deviations, where actions are in a Box and the module has no attribute
        of that name.
    out : Batch, optional
        An earlier one of the same shape, whose tensors are overwritten and returned again, unknown to
        autograd: call ``backward`` of whatever was computed from them before.
    **env_params
        Parameters of the environment; with an id only.

    Returns
    -------
    Batch

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; a layer is not supported; the module does not fit
        the environment.
    FloatingPointError
        An observation, a reward or a value is not finite.

    Examples
    --------
    >>> import fastpg
    >>> env = fastpg.make("CartPole-v1", num_envs=8)
    >>> obs, info = env.reset(seed=0)
    >>> module = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    >>> batch = collect(env, module, 100, value=nn.Linear(4, 1))
    >>> batch.obs.shape, batch.values.dtype
    (torch.Size([100, 8, 4]), torch.float32)
    """
    where = "collect()"
    stage = rollouts.set_stage(where, env, num_envs, seed, env_params)
    policy = _policy(where, stage, module, log_std)
    critic = None if value is None else _critic(where, stage, value)
    if out is not None and not isinstance(out, Batch):
        raise TypeError(f"{where}: out must be a Batch of fastpg.torch.collect, got {_check.shown(out)}")
    played = rollouts.collect_native(
        where, stage, Weights(policy.network, policy.theta), critic, horizon, out
    )
    return Batch(**{name: _tensor(part) for name, part in _parts(played).items()})


def _policy(where: str, stage: Stage, module: Any, log_std: Tensor | None) -> ModuleParameters:
    """Read a module as the environment's policy."""
    observation_space, action_space = stage.env.observation_space, stage.env.action_space
    if getattr(module, "squash", False) and getattr(module, "action_space", None) is None:
        return read_module(where, module, action_space, observation_space=observation_space, log_std=log_std)
    read = read_module(where, module, log_std=log_std)  # as other functions do: it is kept
    options = {"squash": read.actions.squash, "state_dependent_std": read.actions.state_dependent_std}
    wanted = (
        spaces.observations(where, observation_space).shape,
        spaces.actions(where, action_space, **options).shape,
    )
    if (read.observations.shape, read.actions.shape) != wanted:
        read = read_module(where, module, action_space, observation_space=observation_space, log_std=log_std)
    return read


def _critic(where: str, stage: Stage, module: Any) -> Weights:
    """Read a module as a value function."""
    observation_space: Space[Any] = stage.env.observation_space
    categories = spaces.observations(where, observation_space).categories
    read = read_module(f"{where}: value", module, observation_space=observation_space if categories else None)
    wanted = spaces.observations(where, observation_space)
    if read.observations.shape != wanted.shape or read.network.num_outputs != 1:
        raise ValueError(
            f"{where}: value must map {wanted.num_inputs} inputs to 1 output, got a module that maps "
            f"{read.network.num_inputs} to {read.network.num_outputs}"
        )
    return Weights(read.network, read.theta)


def _parts(rollout: batches.Batch[Any]) -> dict[str, Any]:
    return {field.name: getattr(rollout, field.name) for field in dataclasses.fields(rollout)}


def _tensor(part: Any) -> Any:
    """Return a part of a rollout as a tensor over the same memory."""
    if isinstance(part, rollouts.Buffers) or part is None or isinstance(part, float):
        return part
    return tuple(map(torch.from_numpy, part)) if isinstance(part, tuple) else torch.from_numpy(part)


def _numpy(rollout: Batch) -> batches.Batch[Any]:
    """Return the parts that `batches.scatter` reads as arrays."""
    parts = _parts(rollout)
    return batches.Batch(**parts | {name: parts[name].numpy() for name in ("ends", "rewards")})
