"""The loss as autograd sees it: a Function in eager code, and a registered operator under torch.compile.

Both have the gradient by the time forward is over, and backward only scales it. The operator costs more for
each call, but it can be traced: it takes tensors and plain values only, the spaces as JSON.
"""

import functools
import json
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from fastpg import spaces
from fastpg.networks.parametric import Activation
from fastpg.torch.batch import Batch
from fastpg.torch.reading import describe, read_anew


def scalar(value: float) -> Tensor:
    """Return a float32 tensor, (), whatever torch's defaults are."""
    return torch.scalar_tensor(value, dtype=torch.float32, device="cpu")


def _scaled(ctx: Any, upstream: Tensor) -> list[Tensor]:
    """Return what backward does: the gradients of the parameters, views of one vector."""
    if torch.is_grad_enabled():  # which create_graph does
        raise RuntimeError(
            "pg_loss(): second derivatives are not available; call backward without create_graph=True"
        )
    (gradient,) = ctx.saved_tensors
    parts = torch.split_with_sizes(gradient * upstream, [shape.numel() for shape in ctx.shapes])
    return [
        part if len(shape) == 1 else part.view(shape) for part, shape in zip(parts, ctx.shapes, strict=True)
    ]


class Loss(torch.autograd.Function):
    """A loss whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, loss: float, gradient: Tensor, *parameters: Tensor) -> Tensor:
        """Return the loss as a tensor; its gradient by the parameters is one vector, in their order."""
        ctx.save_for_backward(gradient)
        ctx.shapes = [parameter.shape for parameter in parameters]
        return scalar(loss)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        """Return the gradients of the parameters."""
        return None, None, *_scaled(ctx, upstream)


def traced_loss(
    module: nn.Module,
    obs: Any,
    actions: Tensor,
    weights: Tensor,
    entropy_coef: float,
    reduction: str,
    action_space: Space[Any] | None,
    observation_space: Space[Any] | None,
    log_std: Tensor | None,
) -> Tensor:
    """Do the work of `pg_loss` in code that can be traced."""
    parameters = _traced_parameters(module, [])
    described = _description(
        module, action_space, observation_space, -1 if log_std is None else log_std.numel()
    )
    if log_std is None:
        log_std = getattr(module, "log_std", None)
    if log_std is not None:
        parameters.append(log_std)
    columns = list(obs) if isinstance(obs, tuple | list) else [obs]
    results: tuple[Tensor, Tensor] = _loss_operator(
        columns, actions, weights, parameters, *described, entropy_coef, reduction
    )
    return results[0]


def _traced_parameters(module: nn.Module, found: list[Tensor]) -> list[Tensor]:
    """Return what `read_module` finds, in code that can be traced."""
    if isinstance(module, nn.Linear):
        found += [module.weight, module.bias]
    elif isinstance(module, nn.Sequential):
        for child in module:
            _traced_parameters(child, found)
    return found


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _description(
    module: nn.Module,
    action_space: Space[Any] | None,
    observation_space: Space[Any] | None,
    log_std_size: int,  # of the argument, whose value is not known while tracing; -1 if there is none
) -> tuple[Activation, str, str]:
    """Return the activation, and the spaces as JSON: an operator can take it, and graphs be kept by it."""
    log_std = None if log_std_size < 0 else torch.zeros(log_std_size)
    read = read_anew("pg_loss()", module, action_space, observation_space, log_std).result
    return (
        read.activation,
        json.dumps(spaces.to_json(read.observations.space)),
        json.dumps(spaces.to_json(read.actions.space)),
    )


@functools.lru_cache(maxsize=64)
def _spaces(observation_space: str, action_space: str) -> tuple[spaces.Observations, spaces.Actions]:
    where = "pg_loss()"
    return (
        spaces.observations(where, spaces.from_json(json.loads(observation_space))),
        spaces.actions(where, spaces.from_json(json.loads(action_space))),
    )


@torch.library.custom_op(
    "fastpg::pg_loss",
    mutates_args=(),
    schema="(Tensor[] obs, Tensor actions, Tensor weights, Tensor[] parameters, str activation, "
    "str observation_space, str action_space, float entropy_coef, str reduction) -> (Tensor, Tensor)",
)
def _loss_operator(
    obs: list[Tensor],  # one, or the components of a Tuple
    actions: Tensor,
    weights: Tensor,
    parameters: list[Tensor],
    activation: str,
    observation_space: str,
    action_space: str,
    entropy_coef: float,
    reduction: str,
) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient, (P,)."""
    where = "pg_loss()"
    named = {f"parameters[{i}]": parameter for i, parameter in enumerate(parameters)}
    observations, actions_ = _spaces(observation_space, action_space)
    read = describe(where, named, activation, observations, actions_)  # type: ignore[arg-type]
    gradient = np.empty(len(read.theta), np.float32)
    batch = Batch(where, read, obs[0] if len(obs) == 1 else obs, actions)
    batch.weigh(weights)
    loss = batch.loss_and_gradient(entropy_coef, reduction, gradient)
    return scalar(loss), torch.from_numpy(gradient)


@_loss_operator.register_fake
def _(
    obs: list[Tensor], actions: Tensor, weights: Tensor, parameters: list[Tensor], *described: Any
) -> tuple[Tensor, Tensor]:
    size = sum(parameter.numel() for parameter in parameters)
    return weights.new_empty((), dtype=torch.float32), weights.new_empty((size,), dtype=torch.float32)


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.num_obs = len(inputs[0])
    ctx.shapes = [parameter.shape for parameter in inputs[3]]
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1])


def _operator_backward(ctx: Any, upstream: Tensor, _: Any) -> Any:
    return [None] * ctx.num_obs, None, None, _scaled(ctx, upstream), None, None, None, None, None


_loss_operator.register_autograd(_operator_backward, setup_context=_setup_context)
