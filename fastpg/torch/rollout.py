"""Rollouts as tensors: a torch module acts, the compiled core plays."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from fastpg import _check, acted, spaces
from fastpg.batches import batch as batches
from fastpg.batches import collect as rollouts
from fastpg.batches.stepped import normalized, play
from fastpg.envs.gymnasium.opening import AnyEnv, VectorizationMode, refuse_options
from fastpg.envs.native.registry import is_native
from fastpg.envs.native.vector import VectorEnv
from fastpg.networks.normalizer import ObservationNormalizer
from fastpg.networks.weights import Weights
from fastpg.torch import arrays
from fastpg.torch.outputs import require_module, warn_of_training
from fastpg.torch.reading import ModuleParameters, is_compiled, read_module, with_scaling
from fastpg.torch.stepping import Compiled, kernel_reader, module_reader, tensors_of, values_of, who_acts

IN_TRAIN_MODE = "log_probs are of the calls that acted, and the ratios of ppo_loss begin away from 1"


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

    def gae(self, *, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
        """As `fastpg.Batch.gae`, on tensors; no gradient flows through them."""
        return batches.gae(self, arrays.gae, gamma, lam)


def collect(
    env: AnyEnv,
    module: nn.Module,
    horizon: int,
    *,
    value: nn.Module | None = None,
    seed: int | None = None,
    num_envs: int | None = None,
    log_std: Tensor | None = None,
    action_scaling: bool | None = None,
    normalizer: ObservationNormalizer | None = None,
    out: Batch | None = None,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
    **env_params: Any,
) -> Batch:
    """Take `horizon` steps of every environment with the module's actions, and return them all as tensors.

    `fastpg.collect` for a torch module. Where the kernels run the module, and the environment is native:
    no Python between the steps, no copy of the module's parameters where they lie in one piece of memory
    (`to_module`, `from_module`), and no copy of the results. Any other module is called by torch, once a step
    for all environments, which Python then steps: docs/torch.md says what that costs.

    Parameters
    ----------
    env : VectorEnv, str, fastpg.exact.FiniteMDP, what jit_env or load_env made, or callable
        As in `fastpg.collect`, which also says which random numbers are drawn, and how a VectorEnv goes on.
        Where Python steps a VectorEnv, it stands where it was stepped to after an error.
    module : torch.nn.Module
        What `from_module` takes, with the outputs that the environment's actions need, is run by the kernels;
        it reads one-hot vectors where observations are categories. Any other is called with observations as
        the batch's `obs` has them, (N, ...), without a graph, and returns logits, or the means where it has
        a `log_std`, (N, n); in a Box ``(mean, log_std)`` as well, log_std (n,) or (N, n). V may be the last
        entry of what it returns, as ``(logits, v)``, (N,) or (N, 1), and is then in the batch's `values`. A
        logit of -inf masks its action.
    horizon : int
        Steps of each environment, T.
    value : torch.nn.Module, optional
        A module with one output: V of `values`, `last_values` and `final_values`. The kernels run it, or
        torch, as above.
    seed : int, optional
        Decides, with the number of the step, what actions are drawn.
    num_envs : int, optional
        How many environments, N; with an id only, 1024 by default, and 16 where they are not native.
    log_std : Parameter, shape (n,), optional
        The logarithms of the standard deviations, where actions are in a Box and the module has no attribute
        of that name.
    action_scaling : bool, optional
        As in `fastpg.Policy`; by default as the module's attribute of that name says, which `to_module` sets.
    normalizer : ObservationNormalizer, optional
        As in `fastpg.collect`.
    out : Batch, optional
        Where nothing is stepped by Python: an earlier one of the same shape, whose tensors are overwritten
        and returned again, unknown to autograd: call ``backward`` of whatever was computed from them before.
    vectorization_mode, reset_options
        As in `fastpg.collect`.
    **env_params
        Parameters of the environment; with an id only.

    Returns
    -------
    Batch

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the module does not fit the environment, or raises.
    FloatingPointError
        An observation, a reward, an output or a value is not finite.

    Warns
    -----
    UserWarning
        A module that torch calls is in train mode and has layers that compute something else at each call.

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
    if isinstance(env, VectorEnv) or is_native(env):
        refuse_options(where, env, vectorization_mode, reset_options)
    if out is not None and not isinstance(out, Batch):
        raise TypeError(f"{where}: out must be a Batch of fastpg.torch.collect, got {_check.shown(out)}")
    actor = who_acts(where, module, log_std, action_scaling, normalizer, IN_TRAIN_MODE)
    kernels_read = value is None or is_compiled(f"{where}: value", value)
    if value is not None and not kernels_read:
        warn_of_training(where, "value", require_module(where, "value", value), IN_TRAIN_MODE, stacklevel=2)
    if isinstance(actor, Compiled) and (isinstance(env, VectorEnv) or is_native(env)):
        stage = rollouts.set_stage(where, env, num_envs, seed, env_params)
        given = stage.env.observation_space, stage.env.action_space
        policy = actor.read(*given)
        scales = acted.action_scaling(
            where, given[1], actor.action_scaling, stacklevel=2, squash=policy.actions.squash
        )
        weights = Weights(with_scaling(where, policy, given[1]) if scales else policy.network, policy.theta)
        critic = _critic(where, given[0], value) if value is not None and kernels_read else None
        reader = None if critic is None else Weights(critic.network, critic.theta)
        played = rollouts.collect_native(where, stage, weights, reader, horizon, out, normalizer)
        fields = tensors_of(played)
        if value is not None and not kernels_read:
            fields |= values_of(fields, module_reader(where, value))
        return Batch(**fields)
    if out is not None:
        raise ValueError(
            f"{where}: out goes with native environments and modules that the kernels run; here Python steps"
        )
    if is_native(env):
        stage = rollouts.set_stage(where, env, num_envs, seed, env_params)
        env = VectorEnv(
            stage.env, stage.num_envs, autoreset="same_step", copy=False, seed=stage.seed, render_mode=None
        )
        num_envs, env_params = None, {}
    options = {"vectorization_mode": vectorization_mode, "reset_options": reset_options}
    rows = play(where, env, horizon, seed, num_envs, options, env_params, actor.begin)
    fields = actor.batch(normalized(where, rows, normalizer))
    if value is not None:
        if kernels_read:
            reader_of = kernel_reader(where, _critic(where, actor.observation_space, value))
        else:
            reader_of = module_reader(where, value)
        fields |= values_of(fields, reader_of)
    return Batch(**fields)


def _critic(where: str, observation_space: Space[Any], module: Any) -> ModuleParameters:
    """Read a module as a value function."""
    categories = spaces.observations(where, observation_space).categories
    read = read_module(f"{where}: value", module, observation_space=observation_space if categories else None)
    wanted = spaces.observations(where, observation_space)
    if read.observations.shape != wanted.shape or read.network.num_outputs != 1:
        raise ValueError(
            f"{where}: value must map {wanted.num_inputs} inputs to 1 output, got a module that maps "
            f"{read.network.num_inputs} to {read.network.num_outputs}"
        )
    return read


def _parts(rollout: batches.Batch[Any]) -> dict[str, Any]:
    return {field.name: getattr(rollout, field.name) for field in dataclasses.fields(rollout)}


def _numpy(rollout: Batch) -> batches.Batch[Any]:
    """Return the parts that `batches.scatter` reads as arrays."""
    parts = _parts(rollout)
    return batches.Batch(**parts | {name: parts[name].numpy() for name in ("ends", "rewards")})
