"""The policy-gradient loss of a module, with the gradient of the compiled kernels behind `backward`.

The kernel computes the loss and its gradient in one pass over the batch, in forward.
"""

import math
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from fastpg import _check
from fastpg.torch import any_module
from fastpg.torch.any_module import is_outputs, require_own_squash, rows_of
from fastpg.torch.autograd import Loss, columns, kernels_run, loss_operator, scalar, traced_module
from fastpg.torch.batch import Batch
from fastpg.torch.reading import read_for_kernels

REDUCTIONS = ("mean", "sum")


def pg_loss(
    module: nn.Module,
    obs: Any,
    actions: Tensor,
    weights: Tensor,
    *,
    entropy_coef: float = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    action_space: Space[Any] | None = None,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
    action_mask: Tensor | None = None,
    squash: bool | None = None,
) -> Tensor:
    """Return the loss of policy gradients, ``-mean(weights * log pi(actions|obs) + entropy_coef * entropy)``.

    Its ``backward`` adds the gradient to the ``.grad`` of the module's parameters that require one. All the
    work is done here, in one pass; what happens to the parameters between this call and ``backward`` does not
    matter to the gradient, which is that of the parameters as they are now.

    Parameters
    ----------
    module : torch.nn.Module, or tensor or tuple of tensors
        As `from_module` takes it, it is run by the kernels; its parameters need not share memory with a
        policy. Its outputs are logits, or the means of a Gaussian. Hooks of its layers are not called. Any
        other module is called by torch, and returns what `collect` describes; autograd then makes the
        gradient. What a module has returned for obs may be given in its place, as where one call makes V too.
    obs : float32 tensor, shape (..., D); or integer tensors where the observation space holds categories
    actions : integer or float32 tensor, shape (...) or (..., n)
        As `fastpg.Policy` describes them: float32 for a Gaussian, else integers.
    weights : float32 tensor, shape (...)
        Phi_t of every transition: returns, advantages. They are data: no gradient flows into them.
    entropy_coef : float
        Subtract this times the entropy at each observation: an entropy bonus.
    reduction : {"mean", "sum"}
        Over the batch.
    action_space, observation_space : gymnasium spaces, optional
        As in `from_module`. MultiDiscrete and MultiBinary actions need theirs, unless `to_module` made the
        module.
    log_std : tensor, shape (n,) or (1, n), optional
        As in `from_module`.
    action_mask : bool or 0/1 tensor, shape (..., A), optional
        Of Discrete and MultiDiscrete actions: which might be taken, as in `fastpg.Policy.act`. The others
        have probability 0 and no gradient, as with logits of -inf.
    squash : bool, optional
        Of outputs that are given in the module's place, where actions are in a Box: whether they are squashed
        into `action_space`, as a module's own attribute says.

    Returns
    -------
    tensor, shape ()
        float32. It has no second derivatives.

    Raises
    ------
    TypeError, ValueError
        A tensor has the wrong dtype, device or shape, or is not finite; an action is out of range, or one
        that action_mask does not allow; obs or weights require a gradient; the module or a space is not
        supported; the module was made under ``torch.inference_mode()``; the call is within a transform of
        ``torch.func``.
    FloatingPointError
        The module's outputs, the loss or the gradient overflow float32.
    RuntimeError
        In backward: ``create_graph=True`` asks for second derivatives.

    Examples
    --------
    >>> module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    >>> optimizer = torch.optim.Adam(module.parameters())
    >>> obs, actions, advantages = torch.randn(256, 4), torch.randint(2, (256,)), torch.randn(256)
    >>> optimizer.zero_grad()
    >>> pg_loss(module, obs, actions, advantages).backward()
    >>> optimizer.step()
    """
    where = "pg_loss()"
    require_own_squash(where, module, squash)
    if type(reduction) is not str or reduction not in REDUCTIONS:
        reduction = _check.choice(where, "reduction", reduction, REDUCTIONS)  # type: ignore[assignment]
    if type(entropy_coef) is not float or not math.isfinite(entropy_coef):
        entropy_coef = _check.real(where, "entropy_coef", entropy_coef, "(-inf, inf)")
    if torch.is_grad_enabled():
        require_data(where, obs=obs, actions=actions, weights=weights)
    if is_outputs(module) or (torch.compiler.is_compiling() and not kernels_run(where, module)):
        rows = rows_of(where, module, obs, actions, action_space, log_std, action_mask, squash)
        return any_module.pg_loss(where, rows, weights, entropy_coef, reduction)
    if torch.compiler.is_compiling():
        traced = traced_module(where, module, action_space, observation_space, log_std)
        traced_loss: Tensor
        traced_loss, _ = loss_operator(
            columns(obs), actions, weights, *traced, entropy_coef, reduction, action_mask
        )
        return traced_loss
    read = read_for_kernels(where, module, action_space, observation_space, log_std)
    if read is None:
        rows = rows_of(where, module, obs, actions, action_space, log_std, action_mask, squash)
        return any_module.pg_loss(where, rows, weights, entropy_coef, reduction)
    batch = Batch(where, read, obs, actions, action_mask)
    batch.take(weights=weights)
    if not (torch.is_grad_enabled() and any(parameter.requires_grad for parameter in read.parameters)):
        return scalar(batch.loss(entropy_coef, reduction))
    read.require_trainable(where)
    gradient = np.empty(len(read.theta), np.float32)
    loss = batch.loss_and_gradient(entropy_coef, reduction, gradient)
    result: Tensor = Loss.apply(where, loss, torch.from_numpy(gradient), *read.parameters)  # type: ignore[no-untyped-call]
    return result


def log_prob_and_entropy(
    module: nn.Module,
    obs: Any,
    actions: Tensor,
    *,
    action_space: Space[Any] | None = None,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
    action_mask: Tensor | None = None,
    squash: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Return log pi(actions|obs) and the entropy of pi(.|obs), as data: without a graph for gradients.

    Parameters
    ----------
    module, obs, actions, action_space, observation_space, log_std, action_mask, squash
        As in `pg_loss`.

    Returns
    -------
    log_prob, entropy : float32 tensors, shape (...)
        In nats.

    Raises
    ------
    TypeError, ValueError
        As in `pg_loss`.

    Examples
    --------
    >>> log_prob, entropy = log_prob_and_entropy(nn.Linear(4, 2), torch.randn(3, 4), torch.tensor([0, 1, 1]))
    >>> log_prob.shape, entropy.requires_grad
    (torch.Size([3]), False)
    """
    where = "log_prob_and_entropy()"
    require_own_squash(where, module, squash)
    read = None
    if not is_outputs(module):
        read = read_for_kernels(where, module, action_space, observation_space, log_std)
    if read is None:
        with torch.no_grad():
            rows = rows_of(where, module, obs, actions, action_space, log_std, action_mask, squash)
        return rows.log_prob.reshape(rows.shape), rows.entropy.reshape(rows.shape)
    batch = Batch(where, read, obs, actions, action_mask)
    log_prob, entropy = batch.log_prob_and_entropy()
    return torch.from_numpy(log_prob.reshape(batch.shape)), torch.from_numpy(entropy.reshape(batch.shape))


def require_data(where: str, **tensors: Any) -> None:
    """Refuse tensors that a gradient is expected to flow into."""
    for name, value in tensors.items():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, Tensor) and one.requires_grad:
                raise ValueError(
                    f"{where}: {name} must not require a gradient, as none is computed by {name}; "
                    f"pass {name}.detach()"
                )
