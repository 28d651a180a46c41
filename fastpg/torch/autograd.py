"""The losses as autograd sees them: a Function in eager code, and registered operators under torch.compile.

All have the gradient by the time forward is over, and backward only scales it. An operator costs more for
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
from fastpg.torch.reading import NotCompiled, describe, read_anew


def scalar(value: float) -> Tensor:
    """Return a float32 tensor, (), whatever torch's defaults are."""
    return torch.scalar_tensor(value, dtype=torch.float32, device="cpu")


def _scaled(where: str, ctx: Any, upstream: Tensor) -> list[Tensor]:
    """Return what backward does: the gradients of the parameters, views of one vector."""
    if torch.is_grad_enabled():  # which create_graph does
        raise RuntimeError(
            f"{where}: second derivatives are not available; call backward without create_graph=True"
        )
    (gradient,) = ctx.saved_tensors
    parts = torch.split_with_sizes(gradient * upstream, [shape.numel() for shape in ctx.shapes])
    return [
        part if len(shape) == 1 else part.view(shape) for part, shape in zip(parts, ctx.shapes, strict=True)
    ]


def vector(values: tuple[float, ...]) -> Tensor:
    """Return a float32 tensor, (n,)."""
    return torch.tensor(values, dtype=torch.float32, device="cpu")


class Loss(torch.autograd.Function):
    """A loss whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, where: str, loss: float, gradient: Tensor, *parameters: Tensor) -> Tensor:
        """Return the loss as a tensor; its gradient by the parameters is one vector, in their order."""
        ctx.where = where
        ctx.save_for_backward(gradient)
        ctx.shapes = [parameter.shape for parameter in parameters]
        return scalar(loss)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        """Return the gradients of the parameters."""
        return None, None, None, *_scaled(ctx.where, ctx, upstream)


# ---- what a module is to an operator, found out in code that can be traced ---------------------------------


def traced_module(
    where: str,
    module: nn.Module,
    action_space: Space[Any] | None,
    observation_space: Space[Any] | None,
    log_std: Tensor | None,
) -> tuple[list[Tensor], Activation, str, str]:
    """Return the module's parameters in theta's order, its activation, and its spaces and head as JSON."""
    parameters = _traced_parameters(module, [])
    described = _description(
        where, module, action_space, observation_space, -1 if log_std is None else log_std.numel()
    )
    if log_std is None:
        log_std = getattr(module, "log_std", None)
    if log_std is not None:
        parameters.append(log_std)
    return parameters, *described


def columns(obs: Any) -> list[Tensor]:
    """Return the observations as an operator takes them: one tensor, or the components of a Tuple."""
    return list(obs) if isinstance(obs, tuple | list) else [obs]


def _traced_parameters(module: nn.Module, found: list[Tensor]) -> list[Tensor]:
    """Return what `read_module` finds, in code that can be traced."""
    if isinstance(module, nn.Linear):
        found += [module.weight, module.bias]
    elif isinstance(module, nn.Sequential):
        for child in module:
            _traced_parameters(child, found)
    return found


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def kernels_run(where: str, module: nn.Module) -> bool:
    """Return whether the kernels run a module, or torch has to; what is wrong with it is said later."""
    try:
        read_anew(where, module, None, None, None)
    except NotCompiled:
        return False
    except (TypeError, ValueError):
        pass
    return True


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _description(
    where: str,
    module: nn.Module,
    action_space: Space[Any] | None,
    observation_space: Space[Any] | None,
    log_std_size: int,  # of the argument, whose value is not known while tracing; -1 if there is none
) -> tuple[Activation, str, str]:
    """Return the activation, and the spaces as JSON, that of the actions with how they are drawn.

    An operator can take it, and graphs be kept by it.
    """
    log_std = None if log_std_size < 0 else torch.zeros(log_std_size)
    read = read_anew(where, module, action_space, observation_space, log_std).result
    return (
        read.activation,
        json.dumps(spaces.to_json(read.observations.space)),
        json.dumps(
            {
                "space": spaces.to_json(read.actions.space),
                "squash": read.actions.squash,
                "state_dependent_std": read.actions.state_dependent_std,
            }
        ),
    )


@functools.lru_cache(maxsize=64)
def _spaces(
    where: str, observation_space: str, action_space: str
) -> tuple[spaces.Observations, spaces.Actions]:
    drawn = json.loads(action_space)
    return (
        spaces.observations(where, spaces.from_json(json.loads(observation_space))),
        spaces.actions(where, spaces.from_json(drawn.pop("space")), **drawn),
    )


def _batch(
    where: str,
    obs: list[Tensor],
    actions: Tensor,
    parameters: list[Tensor],
    activation: str,
    observation_space: str,
    action_space: str,
    action_mask: Tensor | None,
) -> Batch:
    named = {f"parameters[{i}]": parameter for i, parameter in enumerate(parameters)}
    observations, actions_ = _spaces(where, observation_space, action_space)
    read = describe(where, named, activation, observations, actions_)  # type: ignore[arg-type]
    return Batch(where, read, obs[0] if len(obs) == 1 else obs, actions, action_mask)


def _size(parameters: list[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


# ---- the operators -----------------------------------------------------------------------------------------


@torch.library.custom_op(
    "fastpg::pg_loss",
    mutates_args=(),
    schema="(Tensor[] obs, Tensor actions, Tensor weights, Tensor[] parameters, str activation, "
    "str observation_space, str action_space, float entropy_coef, str reduction, Tensor? action_mask) "
    "-> (Tensor, Tensor)",
)
def loss_operator(
    obs: list[Tensor],
    actions: Tensor,
    weights: Tensor,
    parameters: list[Tensor],
    activation: str,
    observation_space: str,
    action_space: str,
    entropy_coef: float,
    reduction: str,
    action_mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient, (P,)."""
    batch = _batch(
        "pg_loss()", obs, actions, parameters, activation, observation_space, action_space, action_mask
    )
    batch.take(weights=weights)
    gradient = np.empty(_size(parameters), np.float32)
    loss = batch.loss_and_gradient(entropy_coef, reduction, gradient)
    return scalar(loss), torch.from_numpy(gradient)


@torch.library.custom_op(
    "fastpg::ppo_loss",
    mutates_args=(),
    schema="(Tensor[] obs, Tensor actions, Tensor advantages, Tensor old_log_probs, Tensor[] parameters, "
    "str activation, str observation_space, str action_space, float clip_range, float entropy_coef, "
    "str reduction, Tensor? action_mask) -> (Tensor, Tensor, Tensor)",
)
def clipped_loss_operator(
    obs: list[Tensor],
    actions: Tensor,
    advantages: Tensor,
    old_log_probs: Tensor,
    parameters: list[Tensor],
    activation: str,
    observation_space: str,
    action_space: str,
    clip_range: float,
    entropy_coef: float,
    reduction: str,
    action_mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, its gradient, (P,), and what is watched of it, (5,)."""
    batch = _batch(
        "ppo_loss()", obs, actions, parameters, activation, observation_space, action_space, action_mask
    )
    batch.take(advantages=advantages, old_log_probs=old_log_probs)
    gradient = np.empty(_size(parameters), np.float32)
    loss, watched = batch.clipped_loss_and_gradient(clip_range, entropy_coef, reduction, gradient)
    return scalar(loss), torch.from_numpy(gradient), vector(watched)


def _register(operator: Any, where: str, parameters_at: int, *more: tuple[int, ...]) -> None:
    """Tell torch the shapes of an operator's results, and that the second is the gradient of the first.

    Its first input is obs, its third floats of the rows; `parameters_at` is the index of the parameters. The
    results have shapes (), (P,) and `more`.
    """

    def fake(*inputs: Any) -> tuple[Tensor, ...]:
        shapes = (), (_size(inputs[parameters_at]),), *more
        return tuple(inputs[2].new_empty(shape, dtype=torch.float32) for shape in shapes)

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.num_inputs, ctx.num_obs = len(inputs), len(inputs[0])
        ctx.shapes = [parameter.shape for parameter in inputs[parameters_at]]
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(output[1])

    def backward(ctx: Any, upstream: Tensor, *_: Any) -> Any:
        result: list[Any] = [None] * ctx.num_inputs
        result[0], result[parameters_at] = [None] * ctx.num_obs, _scaled(where, ctx, upstream)
        return tuple(result)

    operator.register_fake(fake)
    operator.register_autograd(backward, setup_context=setup_context)


_register(loss_operator, "pg_loss()", 3)
_register(clipped_loss_operator, "ppo_loss()", 4, (5,))
