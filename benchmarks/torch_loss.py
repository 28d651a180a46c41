"""`pg_loss(...).backward()` and `ppo_loss(...).backward()` beside the same losses in torch.

    python benchmarks/torch_loss.py [--rounds 15]

A 4-64-64-2 tanh network of torch's own, float32, softmax policy. "torch" is log_softmax and gather, the least
that eager torch can do; "torch, Categorical" is the same with torch.distributions, as most write it. PPO's
have an entropy bonus, and come with what CleanRL watches: entropy, both estimates of KL, the clip fraction.
All take turns within a round; a ratio is the median over rounds of the time over that of the first of the
group in the same round. torch and fastpg get the same number of threads.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import fastpg
import fastpg.torch as fpt
from fastpg import _core
from fastpg.torch.modules import read_module

BATCHES = (64, 4096, 65536)
SECONDS = 0.05  # of each function in a round
CLIP_RANGE, ENTROPY_COEF = 0.2, 0.01


def torch_loss(module: nn.Module, obs: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    log_prob = torch.log_softmax(module(obs), -1).gather(-1, actions[:, None]).squeeze(-1)
    return -(weights * log_prob).mean()


def categorical_loss(module: nn.Module, obs: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    return -(weights * torch.distributions.Categorical(logits=module(obs)).log_prob(actions)).mean()


def clipped(log_ratio: Tensor, entropies: Tensor, advantages: Tensor) -> tuple[Tensor, list[Tensor]]:
    ratio, entropy = log_ratio.exp(), entropies.mean()
    held = ratio.clamp(1.0 - CLIP_RANGE, 1.0 + CLIP_RANGE)
    loss = -torch.min(ratio * advantages, held * advantages).mean() - ENTROPY_COEF * entropy
    with torch.no_grad():
        clip_fraction = ((ratio - 1.0).abs() > CLIP_RANGE).float().mean()
        return loss, [entropy.detach(), (ratio - 1.0 - log_ratio).mean(), -log_ratio.mean(), clip_fraction]


def torch_ppo_loss(
    module: nn.Module, obs: Tensor, actions: Tensor, advantages: Tensor, old: Tensor
) -> tuple[Tensor, list[Tensor]]:
    log_probs = torch.log_softmax(module(obs), -1)
    log_prob = log_probs.gather(-1, actions[:, None]).squeeze(-1)
    return clipped(log_prob - old, -(log_probs.exp() * log_probs).sum(-1), advantages)


def categorical_ppo_loss(
    module: nn.Module, obs: Tensor, actions: Tensor, advantages: Tensor, old: Tensor
) -> tuple[Tensor, list[Tensor]]:
    distribution = torch.distributions.Categorical(logits=module(obs))
    return clipped(distribution.log_prob(actions) - old, distribution.entropy(), advantages)


def our_ppo_loss(
    module: nn.Module, obs: Tensor, actions: Tensor, advantages: Tensor, old: Tensor
) -> tuple[Tensor, fpt.PPOStats]:
    return fpt.ppo_loss(
        module, obs, actions, advantages, old,
        clip_range=CLIP_RANGE, entropy_coef=ENTROPY_COEF, return_stats=True,
    )  # fmt: skip


def make_module() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))


def functions(batch: int) -> list[dict[str, Callable[[], object]]]:
    """Return what is timed, in groups by name: all put a gradient into a module, but for the kernel alone."""
    torch.manual_seed(0)
    data = torch.randn(batch, 4), torch.randint(2, (batch,)), torch.randn(batch)
    module, shared = make_module(), make_module()
    policy = fpt.from_module(shared)
    old = fpt.log_prob_and_entropy(module, *data[:2])[0] + 0.2 * torch.randn(batch)

    def step(loss: Callable[..., Any], of: nn.Module, *data: Tensor) -> Callable[[], object]:
        parameters = list(of.parameters())

        def run() -> None:
            for parameter in parameters:
                parameter.grad = None
            result = loss(of, *data)
            (result[0] if isinstance(result, tuple) else result).backward()

        return run

    read = read_module("benchmark", shared)
    obs, actions, weights = (one.numpy() for one in data)
    out = np.empty_like(policy.theta)
    pg = {
        "pg_loss": step(fpt.pg_loss, shared, *data),
        "pg_loss, scattered parameters": step(fpt.pg_loss, module, *data),
        "kernel alone": lambda: _core.policy_gradient(
            read.network, read.theta, obs, actions, weights, -1.0 / batch, out, 0.0, True
        ),
        "torch": step(torch_loss, module, *data),
        "torch.compile": step(torch.compile(torch_loss), module, *data),
        "torch, Categorical": step(categorical_loss, module, *data),
    }
    ppo = {
        "ppo_loss": step(our_ppo_loss, shared, *data, old),
        "ppo_loss, scattered parameters": step(our_ppo_loss, module, *data, old),
        "torch": step(torch_ppo_loss, module, *data, old),
        "torch.compile": step(torch.compile(torch_ppo_loss), module, *data, old),
        "torch, Categorical": step(categorical_ppo_loss, module, *data, old),
    }
    return [pg, ppo]


def seconds_per_call(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def compare(timed: dict[str, Callable[[], object]], rounds: int) -> None:
    """Time functions in turn, and print each beside the first."""
    calls = {
        name: max(1, int(SECONDS / min(seconds_per_call(one, 2) for _ in range(5))))
        for name, one in timed.items()
    }
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, one in timed.items():
            times[name].append(seconds_per_call(one, calls[name]))
    ours = np.array(next(iter(times.values())))
    for name, found in times.items():
        print(f"    {name:30} {1e6 * min(found):10.1f}   {np.median(np.array(found) / ours):6.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for threads in (1, 2):
        torch.set_num_threads(threads)
        fastpg.set_num_threads(threads)
        torch.compiler.reset()
        print(f"\nthreads: {threads}; microseconds a call (the least), ratio to the first (median)")
        for batch in BATCHES:
            print(f"  {batch} samples")
            for timed in functions(batch):
                compare(timed, rounds)


if __name__ == "__main__":
    main()
