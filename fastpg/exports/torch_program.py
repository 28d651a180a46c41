"""A policy as a program of torch.export: `torch.export.load(path).module()(obs)` acts.

Inputs and outputs are those of the ONNX model: obs, uniforms with sampling, action_mask with masks;
(action, outputs).
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg.exports.check import Mask, Uniforms, check
from fastpg.exports.plan import LOG_STD_RANGE, Plan
from fastpg.networks.policy import Policy

try:
    import torch
    from torch import Tensor, nn

    import fastpg.torch._import_torch  # noqa: F401  (as the rest of fastpg imports it)
except ImportError as error:
    raise ImportError("Policy.export(): '.pt2' needs torch: pip install '.[torch]'") from error


class Acting(nn.Module):
    """A plan as a module."""

    low: Tensor
    high: Tensor
    middle: Tensor
    half_width: Tensor
    std: Tensor
    offsets: Tensor

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        layers = []
        for weight, bias in plan.layers:
            one = nn.Linear(*weight.shape[::-1])
            with torch.no_grad():
                one.weight.copy_(torch.from_numpy(weight))
                one.bias.copy_(torch.from_numpy(bias))
            layers.append(one)
        self.linear: Sequence[Any] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.requires_grad_(False)
        if plan.head == "gaussian":
            arrays = {"low": plan.low, "high": plan.high, "middle": plan.middle, "half_width": plan.half}
            for name, array in (arrays | {"std": np.exp(plan.log_std)}).items():
                if len(array):
                    self.register_buffer(name, torch.from_numpy(array.copy()))
        if plan.obs_categories:
            self.register_buffer("offsets", torch.tensor(plan.obs_offsets))

    def outputs(self, obs: Tensor) -> Tensor:
        """Return what the head puts out."""
        x = obs
        for i, layer in enumerate(self.linear):
            if i == 0 and self.plan.obs_categories:
                columns = obs.reshape(-1, len(self.plan.obs_categories)) + self.offsets
                x = layer.weight.T[columns].sum(1) + layer.bias
            else:
                x = layer(x)
            if i < len(self.linear) - 1:
                x = torch.tanh(x) if self.plan.activation == "tanh" else torch.relu(x)
        return x

    def bounded(self, x: Tensor) -> Tensor:
        """Return actions of a Box as the environment takes them."""
        if len(self.plan.middle):
            x = self.middle + self.half_width * torch.tanh(x)
        elif len(self.plan.half):
            x = self.low + (x + 1) * self.half_width
        return torch.clip(x, self.low, self.high)

    def forward(self, obs: Tensor, action_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take the most likely actions."""
        plan, outputs = self.plan, self.outputs(obs)
        x = masked_outputs(outputs, action_mask)
        if plan.head == "gaussian":
            actions = self.bounded(x[:, : plan.action_size])
        elif plan.head == "bernoulli":
            actions = (x > 0).long()
        else:
            best = [x[:, begin:end].argmax(1) + start for begin, end, start in plan.parts]
            actions = torch.stack(best, 1)
        return actions.reshape(-1, *plan.action_shape), outputs


def masked_outputs(outputs: Tensor, action_mask: Tensor | None) -> Tensor:
    """Return logits, those of actions that are not allowed as -inf."""
    return outputs if action_mask is None else outputs.masked_fill(~action_mask, -math.inf)


class Sampling(Acting):
    """The same, drawing actions with uniforms."""

    def forward(  # type: ignore[override]
        self, obs: Tensor, uniforms: Tensor, action_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw actions."""
        plan, outputs = self.plan, self.outputs(obs)
        x = masked_outputs(outputs, action_mask)
        if plan.head == "gaussian":
            radius, angle = torch.sqrt(-2 * torch.log(uniforms[:, ::2])), 2 * math.pi * uniforms[:, 1::2]
            normal = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 2).flatten(1)
            size = plan.action_size
            std = torch.exp(torch.clip(x[:, size:], *LOG_STD_RANGE)) if plan.state_std else self.std
            actions = self.bounded(x[:, :size] + std * normal[:, :size])
        elif plan.head == "bernoulli":
            actions = (uniforms > torch.sigmoid(-x)).long()
        else:
            drawn = []
            for k, (begin, end, start) in enumerate(plan.parts):
                p = torch.softmax(x[:, begin:end], 1)
                passed = (uniforms[:, k : k + 1] > p.cumsum(1)[:, :-1]).long().sum(1)
                if action_mask is not None:  # rounding of the sum does not pass the last that may be
                    possible = (p > 0).long() * torch.arange(end - begin)
                    passed = torch.minimum(passed, possible.amax(1))
                drawn.append(passed + start)
            actions = torch.stack(drawn, 1)
        return actions.reshape(-1, *plan.action_shape), outputs


def program(where: str, policy: Policy, plan: Plan, sampled: bool, masked: bool) -> bytes:
    """Return the bytes of the program, checked."""
    dtype = torch.int64 if plan.obs_categories else torch.float32
    first = torch.tensor(plan.obs_starts) if plan.obs_categories else torch.zeros(plan.num_inputs)
    obs = first.to(dtype).reshape(1, *plan.obs_shape).repeat(2, *([1] * len(plan.obs_shape)))
    given = [obs]
    if sampled:
        given.append(torch.full((2, plan.num_uniforms), 0.5))
    if masked:
        given.append(torch.ones(2, plan.num_outputs, dtype=torch.bool))
    batch = torch.export.Dim("batch", min=1)
    module = (Sampling if sampled else Acting)(plan).eval()
    exported = torch.export.export(module, tuple(given), dynamic_shapes=tuple({0: batch} for _ in given))
    content = io.BytesIO()
    torch.export.save(exported, content)
    content.seek(0)
    loaded = torch.export.load(content).module()

    def act(obs: NDArray[Any], uniforms: Uniforms, mask: Mask) -> tuple[NDArray[Any], NDArray[np.float32]]:
        arrays = [one for one in (obs, uniforms, mask) if one is not None]
        with torch.no_grad():
            actions, outputs = loaded(*map(torch.from_numpy, arrays))
        return actions.numpy(), outputs.numpy()

    check(where, policy, plan, act, sampled=sampled, masked=masked)
    return content.getvalue()
