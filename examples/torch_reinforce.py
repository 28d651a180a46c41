"""REINFORCE in PyTorch on CartPole, beside the same algorithm with Gymnasium's environments and autograd.

    python examples/torch_reinforce.py

The learner is torch's: a module, Adam, a loss. What changes are two lines of the loop: `collect` plays all
steps in one compiled call, on the module's own memory, and the gradient behind `pg_loss(...).backward()` is
compiled too. Iterations of both programs take turns, so that both see the same machine.
"""

import argparse
import statistics
import time
from collections.abc import Iterator

import fastpg
import fastpg.torch as fpt  # before torch, whose threads then leave the cores sooner

# isort: split
import gymnasium
import numpy as np
import torch
from torch import nn

GAMMA, LEARNING_RATE = 0.99, 3e-3


def make_module(hidden: list[int], seed: int) -> nn.Sequential:
    """Return the policy: 4 observations to the logits of 2 actions."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    inputs = 4
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.Tanh()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 2))


def with_fastpg(num_envs: int, horizon: int, hidden: list[int], seed: int) -> Iterator[float]:
    """Train for ever; yield the mean length of the episodes that ended in each iteration."""
    module = make_module(hidden, seed)
    fpt.from_module(module)  # its parameters now lie in one piece of memory, which the compiled side reads
    optimizer = torch.optim.Adam(module.parameters(), LEARNING_RATE)
    env = fastpg.make("CartPole-v1", num_envs)
    env.reset(seed=seed)
    batch = None
    while True:
        batch = fpt.collect(env, module, horizon, out=batch)
        weights = fpt.returns(
            batch.rewards, batch.terminated, batch.truncated, gamma=GAMMA, bootstrap_truncated=False
        )
        optimizer.zero_grad()
        fpt.pg_loss(module, batch.obs, batch.actions, weights - weights.mean()).backward()
        optimizer.step()
        yield batch.mean_length


def with_gymnasium(num_envs: int, horizon: int, hidden: list[int], seed: int) -> Iterator[float]:
    """Do the same as it is usually done: Gymnasium's NumPy environments, a loop of steps, autograd."""
    module = make_module(hidden, seed)
    optimizer = torch.optim.Adam(module.parameters(), LEARNING_RATE)
    env = gymnasium.make_vec("CartPole-v1", num_envs=num_envs, vectorization_mode="vector_entry_point")
    next_obs, _ = env.reset(seed=seed)
    shape = (horizon, num_envs)
    obs, actions = np.empty((*shape, 4), np.float32), np.empty(shape, np.int64)
    rewards, done, is_step = (np.empty(shape, np.float32) for _ in range(3))
    ended = np.zeros(num_envs, bool)
    while True:
        with torch.no_grad():
            for t in range(horizon):
                obs[t] = next_obs
                logits = module(torch.from_numpy(obs[t]))
                distribution = torch.distributions.Categorical(logits=logits, validate_args=False)
                actions[t] = distribution.sample().numpy()
                is_step[t] = ~ended  # the call after an episode's end is its reset, and no transition
                next_obs, rewards[t], terminated, truncated, _ = env.step(actions[t])
                ended = terminated | truncated
                done[t] = ended
        weights, following = np.empty(shape, np.float32), np.zeros(num_envs, np.float32)
        for t in reversed(range(horizon)):
            following = rewards[t] + GAMMA * following * (1.0 - done[t])
            weights[t] = following
        weights = (weights - weights[is_step > 0].mean()) * is_step
        logits = module(torch.from_numpy(obs.reshape(-1, 4)))
        log_probs = torch.log_softmax(logits, -1).gather(1, torch.from_numpy(actions.reshape(-1, 1)))[:, 0]
        loss = -(log_probs * torch.from_numpy(weights.reshape(-1))).sum() / float(is_step.sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield float(is_step.sum() / max(done.sum(), 1.0))


PROGRAMS = {"gymnasium": with_gymnasium, "fastpg": with_fastpg}


def main(argv: list[str] | None = None) -> dict[str, list[float]]:
    """Train both ways and print what each reached and took; return each one's mean lengths."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--with", dest="which", choices=[*PROGRAMS, "both"], default="both")
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--horizon", type=int, default=128)
    parser.add_argument("--hidden", type=int, nargs="*", default=[64, 64])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    chosen = [name for name in PROGRAMS if args.which in (name, "both")]
    programs = {name: PROGRAMS[name](args.num_envs, args.horizon, args.hidden, args.seed) for name in chosen}
    lengths: dict[str, list[float]] = {name: [] for name in chosen}
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(args.iterations):
        for name, program in programs.items():
            start = time.perf_counter()
            lengths[name].append(next(program))
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name in chosen:
        rate = args.num_envs * args.horizon / medians[name] / 1e6
        print(
            f"{name:>10}: {medians[name] * 1e3:8.1f} ms an iteration, {rate:6.2f} million steps/s; "
            f"mean episode {lengths[name][0]:.0f} -> {lengths[name][-1]:.0f} steps"
        )
    if len(chosen) == 2:
        print(f"{medians['gymnasium'] / medians['fastpg']:.1f} times as fast")
    return lengths


if __name__ == "__main__":
    main()
