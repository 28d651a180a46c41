"""What writing a rollout costs: `python benchmarks/collect.py`.

N=1024 environments, policies without hidden layers, of 32 and of 64-64 units. `fastpg.collect` for 200 steps,
and the same with V of another such network, against the same steps with nothing written: evaluation of
MountainCar and Pendulum, whose episodes all take 200 steps there, with drawn actions. Rounds take turns;
figures are the best of all rounds.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fastpg
from fastpg import _core
from fastpg.envs import native_env

NUM_ENVS, HORIZON = 1024, 200


def best_of(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the least seconds of each, taking turns."""
    best = dict.fromkeys(works, np.inf)
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def measure(env_id: str, hidden: tuple[int, ...], rounds: int) -> None:
    """Print one line."""
    env = fastpg.make(env_id, NUM_ENVS)
    env.reset(seed=0)
    policy = fastpg.Policy.for_env(env_id, hidden=hidden)
    value = fastpg.ValueFunction.for_env(env_id, hidden=hidden)
    native = native_env("collect", env_id, {})
    sampler = _core.Sampler(native.core, policy.network, NUM_ENVS, 0)
    _, lengths = sampler.evaluate(policy.theta, episodes=NUM_ENVS, deterministic=False)
    assert (lengths == HORIZON).all()
    bare = fastpg.collect(env, policy, HORIZON)
    valued = fastpg.collect(env, policy, HORIZON, value=value)
    works = {
        "nothing": lambda: sampler.evaluate(policy.theta, episodes=NUM_ENVS, deterministic=False),
        "collect": lambda: fastpg.collect(env, policy, HORIZON, out=bare),
        "values": lambda: fastpg.collect(env, policy, HORIZON, value=value, out=valued),
        "new arrays": lambda: fastpg.collect(env, policy, HORIZON),
        "V alone": lambda: _core.logits(value.network, value.theta, bare.obs.reshape(-1, bare.obs.shape[-1])),
    }
    best = best_of(works, rounds)
    steps = NUM_ENVS * HORIZON
    ratio = best["nothing"] / best["collect"]
    with_values = (best["nothing"] + best["V alone"]) / best["values"]
    rates = ", ".join(f"{name} {seconds / steps * 1e9:.1f}" for name, seconds in best.items())
    print(
        f"{env_id:12} {hidden!s:9} collect reaches {ratio:4.0%} of the rollout's rate, with values "
        f"{with_values:4.0%} of rollout and values (ns a step: {rates})"
    )


def main() -> None:
    """Measure both environments with one thread and with all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    for threads in sorted({1, fastpg.get_num_threads()}):
        fastpg.set_num_threads(threads)
        print(f"{threads} thread{'s' * (threads > 1)}:")
        for env_id in ("MountainCar-v0", "Pendulum-v1"):
            for hidden in ((), (32,), (64, 64)):
                measure(env_id, hidden, rounds)


if __name__ == "__main__":
    main()
