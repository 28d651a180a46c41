"""Threads that share what they may share: environments that refuse all but one, networks, the workers.

`python -m tests.sanitized.threads`, for ThreadSanitizer, which reports memory that two threads use without an
order between them. Nothing here writes to an array that another call reads: that is the caller's to avoid.
"""

import contextlib
import threading
from collections.abc import Callable

import numpy as np
from gymnasium.error import ClosedEnvironmentError

import fastpg

from . import strict

ROUNDS = 12
MANY = 1500  # environments: several tiles, so that the pool's workers share a step
AT_WORK = "at work in another thread"


def side_by_side(*calls: Callable[[], object]) -> None:
    """Run each call again and again, all at the same time; a refusal is one of its results."""
    failed: list[BaseException] = []
    began = threading.Barrier(len(calls))

    def work(call: Callable[[], object]) -> None:
        began.wait()
        try:
            for _ in range(ROUNDS):
                with contextlib.suppress(fastpg.ResetNeeded):
                    try_call(call)
        except Exception as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(call,)) for call in calls]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]


def try_call(call: Callable[[], object]) -> None:
    try:
        call()
    except ValueError as error:
        if AT_WORK not in str(error):
            raise


def one_vector_env(env, autoreset: str) -> None:
    policy = fastpg.Policy.for_env(env, hidden=(8,))
    shared = fastpg.make(env, MANY, autoreset=autoreset, seed=0)
    shared.reset()
    actions = policy.act(shared.reset()[0], seed=0)
    state = shared.get_state()[0]
    side_by_side(
        lambda: shared.step(actions),
        lambda: shared.step(actions),
        lambda: shared.reset(seed=1),
        lambda: shared.set_state(state),
        lambda: shared.get_state(),
        lambda: fastpg.collect(shared, policy, 2),
    )
    last = threading.Thread(target=lambda: try_call(shared.close))
    last.start()
    with contextlib.suppress(ClosedEnvironmentError):
        try_call(lambda: shared.step(actions))
    last.join()


def one_policy(env) -> None:
    policy, value = fastpg.Policy.for_env(env, hidden=(16,)), fastpg.ValueFunction.for_env(env, hidden=(16,))
    obs = np.tile(fastpg.make(env, 50, seed=0).reset()[0], (20,) + (1,) * len(policy.observation_space.shape))
    actions = policy.act(obs, seed=0)
    weights = np.ones(len(obs), np.float32)
    few = {"num_envs": 64, "horizon": 8}
    side_by_side(
        lambda: policy.act(obs, seed=1),
        lambda: policy.log_prob(obs, actions),
        lambda: fastpg.policy_gradient(policy, obs, actions, weights),
        lambda: value(obs),
        lambda: fastpg.estimate_gradient(env, policy, **few),
        lambda: fastpg.estimate_gradient(env, policy, form="gae", value=value, **few),
        lambda: fastpg.evaluate(env, policy, episodes=8, max_steps=20),
    )


def trainers(env) -> None:
    few = {"num_envs": 64, "horizon": 8, "total_steps": 2048, "hidden": (8,)}
    side_by_side(
        lambda: fastpg.train(env, fastpg.VPG(), **few),
        lambda: fastpg.train(env, fastpg.PPO(epochs=2, minibatches=3, normalize_rewards=True), **few),
        lambda: fastpg.train(env, fastpg.Reinforce(), num_envs=64, total_steps=2048, hidden=()),
    )
    settings = [fastpg.Reinforce(), fastpg.PPO(epochs=1, minibatches=2), fastpg.TRPO()]
    side_by_side(
        lambda: fastpg.train_many(env, settings, seeds=3, num_envs=16, total_steps=2048, hidden=(8,))
    )


def estimates() -> None:
    rewards, values = np.ones((64, 600), np.float32), np.zeros((64, 600), np.float32)
    ends = np.zeros((64, 600), bool)
    side_by_side(
        lambda: fastpg.gae(rewards, values, ends, ends, last_values=values[0], gamma=0.99, lam=0.9),
        lambda: fastpg.returns(rewards, ends, ends),
        lambda: fastpg.set_num_threads(2),
        lambda: fastpg.set_num_threads(3),
    )


def main() -> None:
    fastpg.set_num_threads(3)
    environments = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", *strict.load()[:2]]
    for env in environments:
        for autoreset in ("next_step", "same_step", "disabled"):
            one_vector_env(env, autoreset)
        one_policy(env)
        trainers(env)
    estimates()
    print("threads: done")


if __name__ == "__main__":
    main()
