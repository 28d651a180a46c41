"""What updates cost: `python benchmarks/updates.py`; Markdown on stdout.

- PPO: arithmetic of an update (products of both networks, forward and backward) a second, beside NumPy's
  sgemm of 512 x 512 in the same round, on one thread; and the time on one thread over that on two.
- TRPO: an update with ten iterations of conjugate gradients, without the value function's fit, in gradients
  of the same batch (`fastpg.policy_gradient`).

Rounds take turns; figures are medians over rounds, with the least and the most.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported

import numpy as np

import fastpg

NUM_ENVS, STEPS = 16, 1024
HIDDEN = (64, 64)


def seconds(work: Callable[[], object], least: float) -> float:
    """Return the time of a call, over as many as take `least` seconds."""
    calls, start = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - start < least:
        work()
        calls += 1
    return (time.perf_counter() - start) / calls


def spread(values: list[float], digits: int = 2) -> str:
    """Return median [least, most]."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def update_of(algorithm: fastpg.PPO | fastpg.TRPO, batch: fastpg.Batch, env_id: str) -> Callable[[], object]:
    """Return what updates an agent of its own with the batch."""
    policy = fastpg.Policy.for_env(env_id, hidden=HIDDEN, seed=1)
    agent = fastpg.Agent(algorithm, policy, seed=1)
    return lambda: agent.update(batch)


def flops(env_id: str, epochs: int) -> float:
    """Return the arithmetic of PPO's update of NUM_ENVS * STEPS rows: products only, both networks."""
    policy = fastpg.Policy.for_env(env_id, hidden=HIDDEN)
    total = 0.0
    for outputs in (policy.network.num_outputs, 1):
        sizes = [policy.network.num_inputs, *HIDDEN, outputs]
        products = [n * m for n, m in itertools.pairwise(sizes)]
        forward, backward = sum(products), 2 * sum(products) - products[0]  # no gradient by the observations
        total += 2.0 * (epochs * (forward + backward) + forward)
    return total * NUM_ENVS * STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="least time of a measurement")
    options = parser.parse_args()
    matrix = np.ones((512, 512), np.float32)
    print("| update, 64-64 twice | rows of a minibatch | GFLOP/s | share of sgemm | two threads over one |")
    print("|---|---|---|---|---|")
    for env_id in ("Pendulum-v1", "CartPole-v1"):
        policy = fastpg.Policy.for_env(env_id, hidden=HIDDEN, seed=1)
        batch = fastpg.collect(env_id, policy, STEPS, num_envs=NUM_ENVS, seed=1)
        for rows in (64, 256, 1024, 4096):
            update = update_of(fastpg.PPO(epochs=2, minibatches=NUM_ENVS * STEPS // rows), batch, env_id)
            rates, shares, gains = [], [], []
            for _ in range(options.rounds):
                fastpg.set_num_threads(1)
                one = seconds(update, options.seconds)
                peak = 2.0 * 512**3 / seconds(lambda: matrix @ matrix, options.seconds / 4)
                fastpg.set_num_threads(2)
                two = seconds(update, options.seconds)
                rates.append(flops(env_id, 2) / one / 1e9)
                shares.append(flops(env_id, 2) / one / peak)
                gains.append(one / two)
            print(f"| PPO, {env_id} | {rows} | {spread(rates, 0)} | {spread(shares)} | {spread(gains)} |")
    print("\n| TRPO's update, 64-64 | in gradients of the same batch |\n|---|---|")
    fastpg.set_num_threads(1)
    for env_id in ("Pendulum-v1", "CartPole-v1"):
        policy = fastpg.Policy.for_env(env_id, hidden=HIDDEN, seed=1)
        batch = fastpg.collect(env_id, policy, STEPS, num_envs=NUM_ENVS, seed=1)
        update = update_of(fastpg.TRPO(value_epochs=0), batch, env_id)
        weights = np.ones(batch.rewards.shape, np.float32)
        ratios = []
        for _ in range(options.rounds):
            natural = seconds(update, options.seconds)
            gradient = seconds(
                lambda: fastpg.policy_gradient(policy, batch.obs, batch.actions, weights),  # noqa: B023
                options.seconds,
            )
            ratios.append(natural / gradient)
        print(f"| {env_id}, {NUM_ENVS * STEPS:,} rows | {spread(ratios, 1)} |")


if __name__ == "__main__":
    main()
