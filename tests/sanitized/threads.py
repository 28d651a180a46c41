"""Threads that share policies, environments and the pool, for a run under ThreadSanitizer (see .ci/sanitize)."""

import threading
from collections.abc import Callable

import numpy as np

import fastpg

ROUNDS = 20
MODES = ("next_step", "same_step", "disabled")


def together(*work: Callable[[], object]) -> None:
    """Run each in a thread of its own, ROUNDS times; one that finds another at work is refused, which is right."""
    unexpected: list[BaseException] = []

    def rounds(one: Callable[[], object]) -> None:
        for _ in range(ROUNDS):
            try:
                one()
            except Exception as error:
                if "another thread" not in str(error) and "reset()" not in str(error):
                    unexpected.append(error)

    threads = [threading.Thread(target=rounds, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if unexpected:
        raise unexpected[0]


def environments(env_id: str, num_envs: int, mode: str) -> None:
    """Two threads on one environment, and one on its own beside them."""
    shared, own = (fastpg.make(env_id, num_envs=num_envs, autoreset=mode) for _ in range(2))
    shared.reset(seed=0)
    own.reset(seed=1)
    actions = np.zeros(shared.action_space.shape, shared.action_space.dtype)

    def finish(env: fastpg.VectorEnv) -> None:
        *_, terminated, truncated, _ = env.step(actions)
        if mode == "disabled" and (terminated | truncated).any():
            env.reset(options={"reset_mask": terminated | truncated})

    together(
        lambda: finish(shared),
        lambda: shared.reset(seed=2),
        shared.get_state,
        lambda: finish(own),
    )


def learning(env_id: str) -> None:
    """One policy in every call that only reads it, beside training runs."""
    policy = fastpg.Policy.for_env(env_id, hidden=(8,), seed=0)
    obs = np.zeros((300, *policy.observation_space.shape), np.float32)
    actions = policy.act(obs, seed=0)
    weights = np.ones(300, np.float32)
    together(
        lambda: policy.act(obs, seed=1),
        lambda: fastpg.policy_gradient(policy, obs, actions, weights),
        lambda: fastpg.collect(env_id, policy, horizon=8, num_envs=64, seed=0),
        lambda: fastpg.estimate_gradient(env_id, policy, horizon=8, num_envs=300, seed=0),
        lambda: fastpg.train(env_id, fastpg.A2C(), horizon=5, num_envs=64, hidden=(8,), total_steps=640),
    )


fastpg.set_num_threads(3)
for name in ("CartPole-v1", "Pendulum-v1"):
    for autoreset in MODES:
        environments(name, 3000, autoreset)
    learning(name)
print("done: threads")
