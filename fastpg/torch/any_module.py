"""The losses of modules that torch runs: what the kernels do for others, in torch's own operations."""

import math
from typing import Any, NamedTuple

import torch
from gymnasium.spaces import Box, Space
from torch import Tensor

from fastpg import _check
from fastpg.action_masks import mask_rows, require_allowed
from fastpg.torch.batch import array_of
from fastpg.torch.outputs import (
    Outputs,
    called,
    log_prob_and_entropy,
    masked,
    read_actions,
    read_outputs,
    require_finite,
    require_module,
    squashes,
)


class Rows(NamedTuple):
    """What a module says of the actions of a batch."""

    log_prob: Tensor  # (B,), with a graph
    entropy: Tensor  # (B,), with a graph
    shape: tuple[int, ...]  # of the batch


def is_outputs(module: Any) -> bool:
    """Return whether it is what a module returned, not a module."""
    return isinstance(module, Tensor) or (
        isinstance(module, tuple) and bool(module) and all(isinstance(one, Tensor) for one in module)
    )


def require_own_squash(where: str, module: Any, squash: Any) -> None:
    """Raise ValueError where squash is said of a module, which says it itself."""
    if squash is not None and not is_outputs(module):
        raise ValueError(
            f"{where}: squash goes with outputs: whether a module's actions are squashed is its attribute, "
            "module.squash"
        )


def rows_of(
    where: str,
    module: Any,
    obs: Any,
    actions: Any,
    action_space: Space[Any] | None,
    log_std: Tensor | None,
    action_mask: Tensor | None,
    squash: bool | None,
) -> Rows:
    """Call the module, or take what it has returned, and return what it says of the actions."""
    eager = not torch.compiler.is_compiling()
    if not isinstance(actions, Tensor):
        raise TypeError(f"{where}: actions must be a tensor, got {_check.shown(actions)}")
    space = action_space if action_space is not None else getattr(module, "action_space", None)
    is_real = actions.is_floating_point()
    inner = len(space.shape or ()) if space is not None else int(is_real)
    shape = tuple(actions.shape[: max(actions.ndim - inner, 0)])
    count = math.prod(shape)
    if count == 0:
        raise ValueError(f"{where}: actions must hold at least one, got the shape {tuple(actions.shape)}")
    if is_outputs(module):
        squashed = _said(where, squash, is_real and isinstance(space, Box | None))
        parts = module if isinstance(module, tuple) else (module,)
        returned: Any = tuple(
            one.reshape(count, *one.shape[len(shape) :]) if tuple(one.shape[: len(shape)]) == shape else one
            for one in parts
        )
    else:
        squashed = squashes(where, module)
        require_module(where, "module", module)
        returned = called(where, "module", module, _flat(where, obs, shape))
        own = getattr(module, "log_std", None)
        log_std = own if log_std is None and isinstance(own, Tensor) else log_std
    form = read_actions(where, space, returned, is_real, squashed)
    outputs = read_outputs(where, returned, form, count, log_std)
    if eager:
        require_finite(where, Outputs(outputs.head, outputs.log_std, None))
        flat = form.flat(where, array_of(where, "actions", actions), shape)  # which looks at them
    if action_mask is not None:
        if eager:
            rows = mask_rows(where, form, array_of(where, "action_mask", action_mask), shape)
            require_allowed(where, form, flat, rows, shape)
        outputs = masked(outputs, action_mask.reshape(count, form.num_outputs))
    taken = actions.reshape(count, form.size)
    if form.starts:
        taken = taken - torch.tensor(form.starts)
    taken = taken if is_real else taken.long()
    return Rows(*log_prob_and_entropy(form, outputs, taken), shape)


def _said(where: str, squash: Any, is_box: bool) -> bool:
    """Return whether actions are squashed that outputs, which cannot tell, are of."""
    if squash is None and is_box:
        raise ValueError(
            f"{where}: squash must be True or False where actions are in a Box and what a module returned "
            "stands for it: whether tanh squashes its actions, as module.squash would say, decides on their "
            "density"
        )
    return squash is not None and _check.boolean(where, "squash", squash)


def pg_loss(where: str, rows: Rows, weights: Any, entropy_coef: float, reduction: str) -> Tensor:
    """Return the loss of policy gradients."""
    weighted = _numbers(where, "weights", weights, rows.shape) * rows.log_prob
    return _reduced(where, weighted + entropy_coef * rows.entropy, reduction)


def clipped_loss(
    where: str,
    rows: Rows,
    advantages: Any,
    old_log_probs: Any,
    clip_range: float,
    entropy_coef: float,
    reduction: str,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the clipped loss of PPO, and what is watched of it in the order of PPOStats."""
    gain = _numbers(where, "advantages", advantages, rows.shape)
    log_ratio = rows.log_prob - _numbers(where, "old_log_probs", old_log_probs, rows.shape)
    # A clipped row has no part in the gradient, however large its ratio: its exponential is never taken.
    above, below = 1.0 + clip_range, 1.0 - clip_range
    is_above = (gain > 0) & (log_ratio > math.log(above))
    lowest = math.log(below) if below > 0 else -math.inf
    is_below = (gain < 0) & (log_ratio < lowest)
    inside = torch.exp(log_ratio.masked_fill(is_above | is_below, 0.0)) * gain
    surrogate = torch.where(is_above, above * gain, torch.where(is_below, below * gain, inside))
    loss = _reduced(where, surrogate + entropy_coef * rows.entropy, reduction)
    with torch.no_grad():
        ratio = log_ratio.exp()
        clipped = ((ratio - 1.0).abs() > clip_range).float().mean()
        k3 = torch.expm1(log_ratio) - log_ratio
        watched = -surrogate.mean(), rows.entropy.mean(), k3.mean(), -log_ratio.mean(), clipped
    return loss, tuple(one.detach() for one in watched)


def _flat(where: str, obs: Any, shape: tuple[int, ...]) -> Any:
    """Return observations of a batch of any shape as those of a batch (B, ...)."""
    if isinstance(obs, tuple | list):
        return tuple(_flat(where, one, shape) for one in obs)
    if not isinstance(obs, Tensor):
        raise TypeError(f"{where}: obs must be a tensor, got {_check.shown(obs)}")
    if obs.device.type != "cpu":
        raise ValueError(f"{where}: obs must lie on the CPU, got {obs.device}")
    if tuple(obs.shape[: len(shape)]) != shape:
        raise ValueError(
            f"{where}: obs must begin with {shape} like actions' batch, got {tuple(obs.shape)}; where an "
            "action has several components, action_space says so"
        )
    return obs.reshape(-1, *obs.shape[len(shape) :])


def _numbers(where: str, name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    """Return numbers of the rows, (B,), checked to be data."""
    if not torch.compiler.is_compiling():
        array = array_of(where, name, value, torch.float32)
        if array.shape != shape:
            raise ValueError(f"{where}: {name} must have shape {shape} like obs' batch, got {array.shape}")
        _check.finite(where, name, array)
    result: Tensor = value.detach().reshape(-1)
    return result


def _reduced(where: str, objective: Tensor, reduction: str) -> Tensor:
    loss = -objective.sum() if reduction == "sum" else -objective.mean()
    if not torch.compiler.is_compiling() and not torch.isfinite(loss):
        raise FloatingPointError(
            f"{where}: the loss is {loss.item()}: a log-probability or a ratio is too large for float32, or "
            "an action was taken that is masked"
        )
    return loss
