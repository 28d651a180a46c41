"""The clipped loss of PPO of a module, and what is watched of it, from one pass of the compiled kernels."""

import math
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from fastpg import _check
from fastpg.torch import any_module
from fastpg.torch.any_module import is_outputs, require_own_squash, rows_of
from fastpg.torch.autograd import (
    Loss,
    clipped_loss_operator,
    columns,
    kernels_run,
    scalar,
    traced_module,
    vector,
)
from fastpg.torch.batch import Batch
from fastpg.torch.loss import REDUCTIONS, require_data
from fastpg.torch.reading import read_for_kernels


class PPOStats(NamedTuple):
    """What is watched of a step of PPO: means over the batch as float32 tensors of shape (), without a graph.

    r is the ratio pi(a|s) / pi_old(a|s). The estimates of KL(pi_old | pi) are those of Schulman,
    "Approximating KL divergence", 2020, http://joschu.net/blog/kl-approx.html.
    """

    policy_loss: Tensor
    """Minus the clipped surrogate: the loss without its entropy bonus, whatever the reduction."""
    entropy: Tensor
    """Of the policy at each observation, in nats."""
    approx_kl: Tensor
    """Mean of r - 1 - log r, never negative (k3); infinite where an r overflows float32."""
    approx_kl_k1: Tensor
    """Mean of -log r (k1): of larger variance."""
    clip_fraction: Tensor
    """Share of the rows whose r is further from 1 than clip_range."""


@overload
def ppo_loss(
    module: nn.Module,
    obs: Any,
    actions: Tensor,
    advantages: Tensor,
    old_log_probs: Tensor,
    *,
    clip_range: float = 0.2,
    entropy_coef: float = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    return_stats: Literal[False] = False,
    action_space: Space[Any] | None = None,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
    action_mask: Tensor | None = None,
    squash: bool | None = None,
) -> Tensor: ...
@overload
def ppo_loss(
    module: nn.Module,
    obs: Any,
    actions: Tensor,
    advantages: Tensor,
    old_log_probs: Tensor,
    *,
    clip_range: float = 0.2,
    entropy_coef: float = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    return_stats: Literal[True],
    action_space: Space[Any] | None = None,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
    action_mask: Tensor | None = None,
    squash: bool | None = None,
) -> tuple[Tensor, PPOStats]: ...
def ppo_loss(
    module: nn.Module,
    obs: Any,
    actions: Tensor,
    advantages: Tensor,
    old_log_probs: Tensor,
    *,
    clip_range: float = 0.2,
    entropy_coef: float = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    return_stats: bool = False,
    action_space: Space[Any] | None = None,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
    action_mask: Tensor | None = None,
    squash: bool | None = None,
) -> Tensor | tuple[Tensor, PPOStats]:
    """Return the clipped loss of PPO: ``-mean(surrogate + entropy_coef * entropy)``.

    Here ``surrogate = min(r * A, clip(r, 1 - c, 1 + c) * A)``, where r is
    ``exp(log pi(actions|obs) - old_log_probs)``, A the advantages and c the clip_range (Schulman et al.,
    "Proximal policy optimization algorithms", 2017, equation 7). As with `pg_loss`, its ``backward`` adds the
    gradient to the ``.grad`` of the module's parameters, and all the work is done here, in one pass over the
    batch.

    Parameters
    ----------
    module, obs, actions
        As in `pg_loss`.
    advantages : float32 tensor, shape (...)
        Used as they are: standardize them, if at all, before. They are data: no gradient flows into them.
    old_log_probs : float32 tensor, shape (...)
        Log pi of the actions under the policy that drew them: `Batch.log_probs` of `collect`, or what
        `log_prob_and_entropy` returns before the first step. Data, too.
    clip_range : float
        How far from 1 the ratio earns anything: in (0, inf).
    entropy_coef : float
        Subtract this times the entropy at each observation: an entropy bonus.
    reduction : {"mean", "sum"}
        Over the batch.
    return_stats : bool
        Return what is watched of the step as well. The kernel has computed it anyway.
    action_space, observation_space, log_std, action_mask, squash
        As in `pg_loss`.

    Returns
    -------
    loss : tensor, shape ()
        float32. It has no second derivatives.
    stats : PPOStats
        With ``return_stats=True``.

    Raises
    ------
    TypeError, ValueError
        As in `pg_loss`; old_log_probs or advantages do not fit, or are not finite.
    FloatingPointError
        The module's outputs, the loss, the gradient, or a ratio whose advantage is not positive overflow
        float32.
    RuntimeError
        In backward: ``create_graph=True`` asks for second derivatives.

    Examples
    --------
    >>> from fastpg.torch import log_prob_and_entropy
    >>> module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    >>> optimizer = torch.optim.Adam(module.parameters())
    >>> obs, actions, advantages = torch.randn(256, 4), torch.randint(2, (256,)), torch.randn(256)
    >>> old_log_probs, _ = log_prob_and_entropy(module, obs, actions)
    >>> for _ in range(4):
    ...     loss, stats = ppo_loss(module, obs, actions, advantages, old_log_probs, return_stats=True)
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    >>> 0 < stats.approx_kl.item() < 0.1
    True
    """
    where = "ppo_loss()"
    require_own_squash(where, module, squash)
    if type(reduction) is not str or reduction not in REDUCTIONS:
        reduction = _check.choice(where, "reduction", reduction, REDUCTIONS)  # type: ignore[assignment]
    if type(clip_range) is not float or not 0.0 < clip_range < math.inf:
        clip_range = _check.real(where, "clip_range", clip_range, "(0, inf)")
    if type(entropy_coef) is not float or not math.isfinite(entropy_coef):
        entropy_coef = _check.real(where, "entropy_coef", entropy_coef, "(-inf, inf)")
    if type(return_stats) is not bool:
        return_stats = _check.boolean(where, "return_stats", return_stats)
    if torch.is_grad_enabled():
        require_data(where, obs=obs, actions=actions, advantages=advantages, old_log_probs=old_log_probs)
    by_torch = is_outputs(module) or (torch.compiler.is_compiling() and not kernels_run(where, module))
    if torch.compiler.is_compiling() and not by_torch:
        traced = traced_module(where, module, action_space, observation_space, log_std)
        loss, _, seen = clipped_loss_operator(
            columns(obs),
            actions,
            advantages,
            old_log_probs,
            *traced,
            clip_range,
            entropy_coef,
            reduction,
            action_mask,
        )
        return (loss, PPOStats(*seen.unbind())) if return_stats else loss
    read = None
    if not by_torch:
        read = read_for_kernels(where, module, action_space, observation_space, log_std)
    if read is None:
        rows = rows_of(where, module, obs, actions, action_space, log_std, action_mask, squash)
        loss, watched = any_module.clipped_loss(
            where, rows, advantages, old_log_probs, clip_range, entropy_coef, reduction
        )
        return (loss, PPOStats(*watched)) if return_stats else loss
    differentiable = torch.is_grad_enabled() and any(one.requires_grad for one in read.parameters)
    if differentiable:
        read.require_trainable(where)
    batch = Batch(where, read, obs, actions, action_mask)
    batch.take(advantages=advantages, old_log_probs=old_log_probs)
    gradient = np.empty(len(read.theta), np.float32)
    value, means = batch.clipped_loss_and_gradient(clip_range, entropy_coef, reduction, gradient)
    if differentiable:
        loss = Loss.apply(where, value, torch.from_numpy(gradient), *read.parameters)  # type: ignore[no-untyped-call]
    else:
        loss = scalar(value)
    return (loss, PPOStats(*vector(means).unbind())) if return_stats else loss
