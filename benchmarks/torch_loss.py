"""`pg_loss(...).backward()` beside the same loss in torch: `python benchmarks/torch_loss.py [--rounds 15]`.

A 4-64-64-2 tanh network of torch's own, float32, softmax policy. "torch" is log_softmax and gather, the least
that eager torch can do; "torch, Categorical" is the same with torch.distributions, as most write it. All take
turns within a round; a ratio is the median over rounds of the time over that of pg_loss in the same round.
torch and fastpg get the same number of threads.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import fastpg
import fastpg.torch as fpt
from fastpg import _core
from fastpg.torch.modules import read_module

BATCHES = (64, 4096, 65536)
SECONDS = 0.05  # of each function in a round


def torch_loss(module: nn.Module, obs: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    log_prob = torch.log_softmax(module(obs), -1).gather(-1, actions[:, None]).squeeze(-1)
    return -(weights * log_prob).mean()


def categorical_loss(module: nn.Module, obs: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    return -(weights * torch.distributions.Categorical(logits=module(obs)).log_prob(actions)).mean()


def make_module() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))


def functions(batch: int) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name: each puts a gradient into a module, but for the kernel alone."""
    torch.manual_seed(0)
    data = torch.randn(batch, 4), torch.randint(2, (batch,)), torch.randn(batch)
    module, shared = make_module(), make_module()
    policy = fpt.from_module(shared)
    compiled = torch.compile(torch_loss)

    def step(loss: Callable[..., Tensor], of: nn.Module) -> Callable[[], object]:
        parameters = list(of.parameters())

        def run() -> None:
            for parameter in parameters:
                parameter.grad = None
            loss(of, *data).backward()

        return run

    read = read_module("benchmark", shared)
    obs, actions, weights = (one.numpy() for one in data)
    out = np.empty_like(policy.theta)
    return {
        "pg_loss": step(fpt.pg_loss, shared),
        "pg_loss, scattered parameters": step(fpt.pg_loss, module),
        "kernel alone": lambda: _core.policy_gradient(
            read.network, read.theta, obs, actions, weights, -1.0 / batch, out, 0.0, True
        ),
        "torch": step(torch_loss, module),
        "torch.compile": step(compiled, module),
        "torch, Categorical": step(categorical_loss, module),
    }


def seconds_per_call(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


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
        print(f"\nthreads: {threads}; microseconds a call (the least), ratio to pg_loss (median)")
        for batch in BATCHES:
            timed = functions(batch)
            calls = {
                name: max(1, int(SECONDS / min(seconds_per_call(one, 2) for _ in range(5))))
                for name, one in timed.items()
            }
            times: dict[str, list[float]] = {name: [] for name in timed}
            for _ in range(rounds):
                for name, one in timed.items():
                    times[name].append(seconds_per_call(one, calls[name]))
            ours = np.array(times["pg_loss"])
            print(f"  {batch} samples")
            for name, found in times.items():
                ratio = np.median(np.array(found) / ours)
                print(f"    {name:30} {1e6 * min(found):10.1f}   {ratio:6.2f} x")


if __name__ == "__main__":
    main()
