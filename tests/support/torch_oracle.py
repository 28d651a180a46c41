"""The same losses in float64 torch, with autograd: what fastpg.torch is held against."""

import copy

import gymnasium.spaces as gs
import numpy as np
import torch
from torch import nn

HEADS = ["discrete", "multi_discrete", "multi_binary", "gaussian", "squashed", "state_std"]


def make_module(num_inputs, hidden, head, activation=nn.Tanh, seed=0):
    """A plain module for that head, its log_std registered where it has one, and its action space."""
    generator = torch.Generator().manual_seed(seed)
    space = {
        "discrete": gs.Discrete(3),
        "multi_discrete": gs.MultiDiscrete([2, 4]),
        "multi_binary": gs.MultiBinary(3),
        "gaussian": gs.Box(-1, 1, (2,), np.float32),
        "squashed": gs.Box(-2, 6, (2,), np.float32),
        "state_std": gs.Box(-1, 1, (2,), np.float32),
    }[head]
    outputs = {"discrete": 3, "multi_discrete": 6, "multi_binary": 3, "state_std": 4}.get(head, 2)
    module = nn.Sequential()
    for width in hidden:
        module.extend([nn.Linear(num_inputs, width), activation()])
        num_inputs = width
    module.append(nn.Linear(num_inputs, outputs))
    if head in ("gaussian", "squashed"):
        module.log_std = nn.Parameter(torch.zeros(2))
    if head == "squashed":
        module.squash = True
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter.shape[-1] if parameter.ndim == 2 else 10
            parameter.normal_(generator=generator).mul_(fan_in**-0.5)
        if head == "state_std":  # a tiny deviation makes much of how an action is rounded
            for parameter in (module[-1].weight, module[-1].bias):
                parameter[2:] *= 0.25
    return module, space


def make_batch(shape, num_inputs, space, seed=0):
    generator = torch.Generator().manual_seed(seed)
    obs = torch.randn((*shape, num_inputs), generator=generator)
    weights = torch.randn(shape, generator=generator)
    if isinstance(space, gs.Discrete):
        actions = torch.randint(int(space.n), shape, generator=generator)
    elif isinstance(space, gs.Box):
        actions = torch.randn((*shape, *space.shape), generator=generator)
    else:
        sizes = space.nvec if isinstance(space, gs.MultiDiscrete) else [2] * space.n
        actions = torch.stack([torch.randint(int(n), shape, generator=generator) for n in sizes], -1)
    return obs, actions, weights


def log_prob_and_entropy(module, space, obs, actions):
    """Both, through torch.distributions, in the precision of the module."""
    outputs = module(obs)
    if isinstance(space, gs.Box):
        if hasattr(module, "log_std"):
            mean, log_std = outputs, module.log_std
        else:
            mean, log_std = outputs.chunk(2, -1)
        one = torch.distributions.Normal(mean, log_std.clamp(-20.0, 2.0).exp())
        log_prob = one.log_prob(actions)
        if getattr(module, "squash", False):
            half = torch.from_numpy((space.high - space.low) / 2)
            log_prob = log_prob - (half * (1 - torch.tanh(actions) ** 2)).log()
        return log_prob.sum(-1), one.entropy().sum(-1)
    if isinstance(space, gs.MultiBinary):
        one = torch.distributions.Bernoulli(logits=outputs)
        return one.log_prob(actions.to(outputs.dtype)).sum(-1), one.entropy().sum(-1)
    if isinstance(space, gs.Discrete):
        one = torch.distributions.Categorical(logits=outputs)
        return one.log_prob(actions), one.entropy()
    log_prob = entropy = 0.0
    for part, action in zip(outputs.split(space.nvec.tolist(), -1), actions.unbind(-1), strict=True):
        one = torch.distributions.Categorical(logits=part)
        log_prob, entropy = log_prob + one.log_prob(action), entropy + one.entropy()
    return log_prob, entropy


def loss_and_gradient(module, space, obs, actions, weights, entropy_coef=0.0, reduction="mean"):
    """The loss and its gradients by the module's parameters, all in float64."""
    twin = copy.deepcopy(module).double()
    taken = actions.double() if actions.is_floating_point() else actions
    log_prob, entropy = log_prob_and_entropy(twin, space, obs.double(), taken)
    terms = -(weights.double() * log_prob + entropy_coef * entropy)
    loss = terms.mean() if reduction == "mean" else terms.sum()
    return loss.item(), torch.autograd.grad(loss, list(twin.parameters()))


def clipped_loss_and_gradient(
    module, space, obs, actions, advantages, old_log_probs, clip_range=0.2, entropy_coef=0.0, reduction="mean"
):
    """PPO's loss, its gradients and a dict of what is watched, written as most write it, all in float64."""
    twin = copy.deepcopy(module).double()
    taken = actions.double() if actions.is_floating_point() else actions
    log_prob, entropy = log_prob_and_entropy(twin, space, obs.double(), taken)
    log_ratio = log_prob - old_log_probs.double()
    ratio, advantages = log_ratio.exp(), advantages.double()
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    surrogate = torch.min(ratio * advantages, clipped * advantages)
    terms = -surrogate - entropy_coef * entropy
    loss = terms.mean() if reduction == "mean" else terms.sum()
    stats = {
        "policy_loss": -surrogate.mean().item(),
        "entropy": entropy.mean().item(),
        "approx_kl": (ratio - 1.0 - log_ratio).mean().item(),
        "approx_kl_k1": -log_ratio.mean().item(),
        "clip_fraction": ((ratio - 1.0).abs() > clip_range).double().mean().item(),
    }
    return loss.item(), torch.autograd.grad(loss, list(twin.parameters())), stats


def make_old_log_probs(module, space, obs, actions, clip_range=0.2, seed=0):
    """Log-probs that make ratios on both sides of the range, but none on its ends, where rounding decides."""
    twin = copy.deepcopy(module).double()
    taken = actions.double() if actions.is_floating_point() else actions
    log_prob, _ = log_prob_and_entropy(twin, space, obs.double(), taken)
    noise = torch.randn(log_prob.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    log_ratio = 1.5 * clip_range * noise
    log_ratio[((log_ratio.exp() - 1).abs() - clip_range).abs() < 1e-3] = 0.0
    return (log_prob - log_ratio).detach().float()


def size_of_gradient(module, space, obs, actions, weights, entropy_coef, reduction):
    """The mean or sum of the norms of each sample's gradient: of the first 40 where there are more."""
    obs, actions = obs.reshape(-1, obs.shape[-1])[:40], actions.reshape(-1, *(space.shape or ()))[:40]
    norms = [
        flattened(loss_and_gradient(module, space, *one, entropy_coef)[1]).norm().item()
        for one in zip(obs.split(1), actions.split(1), weights.flatten()[:40].split(1), strict=True)
    ]
    return np.mean(norms) * (weights.numel() if reduction == "sum" else 1)


def flattened(gradients):
    return torch.cat([one.double().flatten() for one in gradients])


def relative_error(got, expected):
    """Of gradients by parameter, all together."""
    got, expected = flattened(got), flattened(expected)
    return ((got - expected).norm() / expected.norm()).item()
