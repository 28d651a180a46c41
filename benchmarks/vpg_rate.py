"""Whether a VPG iteration costs what its parts cost: `python benchmarks/vpg_rate.py`.

CartPole, policy and value function 64-64, 64 environments for 128 steps, 4 epochs on the value function.
Predicted: an iteration of REINFORCE (rollout and policy gradient), one forward pass of the values, and a
gradient of a batch, which has the arithmetic of a value gradient, for each epoch. All measured here, one
after the other.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fastpg
from fastpg import _core
from fastpg.envs import native_env

NUM_ENVS, HORIZON, EPOCHS, REPEATS = 64, 128, 4, 20
STEPS = NUM_ENVS * HORIZON


def seconds_of(work: Callable[[], Any]) -> float:
    """Return the least wall time of several calls."""
    work()
    best = np.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def iteration(policy: fastpg.Policy, **settings: Any) -> float:
    """Return the median seconds of an iteration of training."""
    agent = _core.Agent(
        policy.network,
        policy.theta.copy(),
        horizon=HORIZON,
        episodes=0,
        steps_per_iteration=0,
        seed=0,
        gamma=0.99,
        normalize="timestep",
        optimizer="adam",
        learning_rate=1e-9,
        momentum=0.0,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        total_steps=2**40,
        target_return=np.nan,
        **settings,
    )
    trainer = _core.Trainer(native_env("vpg_rate", "CartPole-v1", {}).core, agent, num_envs=NUM_ENVS)
    trainer.run(0.2)
    return float(np.median(trainer.run(1.0)["seconds"]))


def main() -> None:
    """Print one line for one thread and one for two."""
    policy, value = fastpg.Policy.for_env("CartPole-v1"), fastpg.ValueFunction.for_env("CartPole-v1")
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(STEPS, 4)).astype(np.float32)
    weights, actions = rng.normal(size=STEPS).astype(np.float32), rng.integers(2, size=STEPS)
    out = np.empty_like(policy.theta)
    for threads in (1, 2):
        fastpg.set_num_threads(threads)
        reinforce = iteration(policy, form="reward_to_go")
        vpg = iteration(
            policy,
            form="gae",
            lam=0.95,
            standardize_advantages=True,
            value=value.network,
            value_theta=value.theta.copy(),
            value_learning_rate=1e-9,
            value_epochs=EPOCHS,
        )
        gradient = seconds_of(
            lambda: _core.policy_gradient(policy.network, policy.theta, obs, actions, weights, 1.0, out)
        )
        forward = seconds_of(lambda: _core.logits(value.network, value.theta, obs))
        predicted = reinforce + forward + EPOCHS * gradient
        parts = ", ".join(
            f"{name} {seconds / STEPS * 1e9:.0f}"
            for name, seconds in (("REINFORCE", reinforce), ("values", forward), ("an epoch", gradient))
        )
        measured = f"VPG {vpg / STEPS * 1e9:.0f} ns a step, predicted {predicted / STEPS * 1e9:.0f}"
        print(f"{threads} threads: {measured} ({parts}); ratio {vpg / predicted:.2f}")


if __name__ == "__main__":
    main()
