"""Whether fastpg and torch slow each other down in one process: `python benchmarks/with_torch.py`.

Each has a pool of threads that waits for work. A loop of training calls them in turns: a rollout by
`fastpg.torch.collect`, then a step of a regression in torch's autograd. Each part's time in such a loop is
compared with its time in a loop of its own. Loops take turns; figures are medians over all rounds, of the
least time in each.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import fastpg
import fastpg.torch as fpt  # before torch, whose threads then leave the cores sooner

# isort: split
import torch
from torch import nn


def loop(parts: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Call the parts in turns; return the mean seconds of each."""
    total = [0.0] * len(parts)
    for _ in range(repeats):
        for k, part in enumerate(parts):
            start = time.perf_counter()
            part()
            total[k] += time.perf_counter() - start
    return [seconds / repeats for seconds in total]


def measure(threads: int, num_envs: int, horizon: int, rows: int, rounds: int) -> None:
    """Print one line."""
    fastpg.set_num_threads(threads)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    fpt.from_module(module)
    env = fastpg.make("CartPole-v1", num_envs)
    env.reset(seed=0)
    batch = fpt.collect(env, module, horizon)
    obs, targets = torch.randn(rows, 4), torch.randn(rows, 1)

    def rollout() -> None:
        fpt.collect(env, module, horizon, out=batch)

    def regression() -> None:
        critic.zero_grad()
        (critic(obs) - targets).square().mean().backward()

    alone: tuple[list[float], list[float]] = ([], [])
    together: tuple[list[float], list[float]] = ([], [])
    repeats = 5
    for _ in range(rounds):
        for k, part in enumerate((rollout, regression)):
            alone[k].extend(loop([part], repeats))
        for k, seconds in enumerate(loop([rollout, regression], repeats)):
            together[k].append(seconds)
    best = [min(together[k]) / min(alone[k]) for k in range(2)]
    medians = [statistics.median(a / b for a, b in zip(together[k], alone[k], strict=True)) for k in range(2)]
    shares = [
        f"{name} takes {medians[k]:.2f} of its time alone (best {best[k]:.2f}; {min(alone[k]) * 1e3:.2f} ms)"
        for k, name in enumerate(("the rollout", "torch"))
    ]
    print(f"{threads} threads each, {num_envs:4} x {horizon:3} steps: in turns, {', '.join(shares)}")


def main() -> None:
    """Measure long rollouts and short ones, with one thread and with all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    for threads in sorted({1, fastpg.get_num_threads()}):
        for num_envs, horizon, rows in ((1024, 128, 16384), (64, 128, 4096), (64, 16, 512)):
            measure(threads, num_envs, horizon, rows, rounds)


if __name__ == "__main__":
    main()
