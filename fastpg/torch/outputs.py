"""What any module puts out for observations, as a distribution of actions: in torch, with a graph.

The kernels of the core run the modules that `read_module` takes. Others are called by torch, and what they
return is read here, by `collect` and by the losses alike.
"""

import math
import warnings
from typing import Any, NamedTuple

import torch
from gymnasium.spaces import Box, Discrete, Space
from torch import Tensor, nn

from fastpg import _check, spaces
from fastpg.networks.action_distribution import LOG_STD_RANGE

EXPECTED = (
    "logits or means, or (mean, log_std) where actions are in a Box and the module has no log_std, or these "
    "and V as the last entry of a tuple"
)


class Outputs(NamedTuple):
    """What a module says of B observations."""

    head: Tensor  # (B, num_outputs): logits, or means
    log_std: Tensor | None  # (B, num_outputs), of a Box
    value: Tensor | None  # (B,), if the module returns V as well


def called(where: str, name: str, module: nn.Module, obs: Any) -> Any:
    """Return what a module returns for a batch of observations; `name` is what the caller calls it."""
    try:
        return module(obs)
    except Exception as error:  # the module is the caller's, and what it raises as well
        line = _check.line(error)
        shown = [tuple(one.shape) for one in obs] if isinstance(obs, tuple) else tuple(obs.shape)
        kind = (obs[0] if isinstance(obs, tuple) else obs).dtype
        raise ValueError(
            f"{where}: {name} raised {type(error).__name__} for obs of shape {shown} and {kind}: {line:.300}"
        ) from error


def require_module(where: str, name: str, module: Any) -> nn.Module:
    """Return a module if it is one on the CPU, else raise TypeError or ValueError."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"{where}: {name} must be a torch.nn.Module, got {_check.shown(module)}")
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.device.type != "cpu":
            raise ValueError(
                f"{where}: {name} must lie on the CPU, but its {path} is on {tensor.device}: {name}.cpu()"
            )
    return module


def warn_of_training(where: str, name: str, module: nn.Module, so: str, stacklevel: int) -> None:
    """Say what follows where a layer in train mode computes something else at each call.

    `stacklevel` is that of the user's line, counted from here as `warnings.warn` does from its caller's.
    """
    for path, part in module.named_modules():
        random = isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0
        if part.training and (random or isinstance(part, nn.modules.batchnorm._BatchNorm)):
            warnings.warn(
                f"{where}: {name} is in train mode and has a {type(part).__name__} ({path or 'itself'}), "
                f"which computes something else at each call: {so}; call eval() before",
                UserWarning,
                stacklevel=stacklevel + 1,
            )
            return


def read_actions(
    where: str, space: Space[Any] | None, outputs: Any, is_real: bool, squash: bool
) -> spaces.Actions:
    """Return the form of actions: of the space, or what fits numbers of this kind."""
    first = outputs[0] if isinstance(outputs, tuple | list) and len(outputs) else outputs
    if not isinstance(first, Tensor) or first.ndim == 0 or first.shape[-1] == 0:
        raise TypeError(f"{where}: module must return {EXPECTED}, got {_check.shown(outputs)}")
    form: spaces.Actions = _form(where, space, int(first.shape[-1]), is_real, squash)
    return form


def squashes(where: str, module: Any) -> bool:
    """Return whether a module says that its actions are squashed into a Box."""
    return _check.boolean(where, "module.squash", getattr(module, "squash", False))


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _form(where: str, space: Space[Any] | None, size: int, is_real: bool, squash: bool) -> spaces.Actions:
    if space is None:
        space = Box(-math.inf, math.inf, (size,)) if is_real else Discrete(size)
    return spaces.actions(where, space, squash=squash)


def masked(outputs: Outputs, action_mask: Tensor | None) -> Outputs:
    """Return outputs with logits of -inf where a mask, of their shape, does not allow a category."""
    if action_mask is None:
        return outputs
    return outputs._replace(head=outputs.head.masked_fill(action_mask == 0, -math.inf))


def read_outputs(
    where: str, returned: Any, actions: spaces.Actions, count: int, log_std: Tensor | None
) -> Outputs:
    """Return what a module returned for `count` observations, checked."""
    parts = list(returned) if isinstance(returned, tuple | list) else [returned]
    is_box = actions.head == "gaussian"
    wanted = 1 + (is_box and log_std is None)
    both = count, 2 * actions.num_outputs  # in one layer, as the kernels read them
    if wanted == 2 and parts and isinstance(parts[0], Tensor) and parts[0].shape == both:
        mean, spread = parts[0].chunk(2, 1)
        parts[:1] = mean, spread.clamp(*LOG_STD_RANGE)
    if len(parts) not in (wanted, wanted + 1) or not all(isinstance(part, Tensor) for part in parts):
        which = "(mean, log_std)" if wanted == 2 else "means" if is_box else "logits"
        hint = "" if wanted == 1 or len(parts) > 1 else ", or have a log_std"
        raise TypeError(
            f"{where}: module must return {which}{hint}, and V behind it if at all, for actions in "
            f"{_check.line(actions.space)}, got {_described(returned)}"
        )
    head = _real(where, "outputs", parts[0])
    shape = (count, actions.num_outputs)
    if head.shape != shape:
        raise ValueError(
            f"{where}: module must return outputs of shape {shape} for {count} observations and actions in "
            f"{_check.line(actions.space)}, got {tuple(head.shape)}"
        )
    deviation = None
    if is_box:
        deviation = _real(where, "log_std", parts[1] if wanted == 2 else log_std)  # type: ignore[arg-type]
        if deviation.shape not in (shape, shape[1:], (1, shape[1])):
            raise ValueError(
                f"{where}: log_std must have shape {shape[1:]} or {shape}, got {tuple(deviation.shape)}"
            )
        deviation = deviation.expand(shape)
    value = read_values(where, parts[wanted], count) if len(parts) > wanted else None
    return Outputs(head, deviation, value)


def read_values(where: str, returned: Any, count: int) -> Tensor:
    """Return V (B,), as a module returned it: (B,) or (B, 1)."""
    if not isinstance(returned, Tensor) or returned.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"{where}: V must be of shape ({count},) or ({count}, 1), one for each observation, got "
            f"{_described(returned)}"
        )
    return _real(where, "V", returned).reshape(count)


def require_finite(where: str, outputs: Outputs) -> None:
    """Raise FloatingPointError unless outputs are finite; a logit may be -inf, which masks its action."""
    for name, tensor in zip(("outputs", "log_std", "V"), outputs, strict=True):
        if tensor is None:
            continue
        masks = name == "outputs" and outputs.log_std is None
        bad = tensor.isnan() | (tensor == math.inf) | ((tensor == -math.inf) if not masks else tensor.isnan())
        if bad.any():
            row = int(bad.reshape(len(bad), -1).any(1).nonzero()[0])
            raise FloatingPointError(f"{where}: module returned {name} that are NaN or infinite (row {row})")


def log_prob_and_entropy(actions: spaces.Actions, outputs: Outputs, taken: Tensor) -> tuple[Tensor, Tensor]:
    """Return log pi and the entropy, (B,), of actions (B, n) as the core counts them."""
    head = outputs.head
    if outputs.log_std is not None:
        log_std = outputs.log_std
        z = (taken - head) * torch.exp(-log_std)
        log_prob = -0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)
        if actions.log_scale is not None:  # of the environment's action, as in csrc/heads/squash.h
            size = taken.abs()
            log_prob = log_prob - 2.0 * (math.log(2.0) - size - nn.functional.softplus(-2.0 * size))
            log_prob = log_prob - actions.log_scale / actions.size
        return log_prob.sum(1), (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(1)
    if actions.head == "bernoulli":
        above = nn.functional.softplus(head)
        return (taken * head - above).sum(1), (above - head * torch.sigmoid(head)).sum(1)
    log_probs, entropies = [], []
    for k, logits in enumerate(torch.split_with_sizes(head, list(actions.categories), 1)):
        log_p = torch.log_softmax(logits, 1)
        log_probs.append(log_p.gather(1, taken[:, k : k + 1])[:, 0])
        p = log_p.exp()
        entropies.append(-(p * log_p.masked_fill(p == 0, 0.0)).sum(1))
    return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0)


def _real(where: str, name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise TypeError(
            f"{where}: module must return {name} as float32 on the CPU, got {tensor.dtype} on {tensor.device}"
        )
    return tensor


def _described(returned: Any) -> str:
    if isinstance(returned, Tensor):
        return f"a tensor of shape {tuple(returned.shape)}"
    if isinstance(returned, tuple | list):
        return f"{len(returned)} entries: {', '.join(map(_described, returned))}"[:120]
    return _check.shown(returned)
