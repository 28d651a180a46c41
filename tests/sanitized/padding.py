"""Few environments, in tiles with room for many: what nobody asked for has to be numbers as well.

`python -m tests.sanitized.padding`, for valgrind, which sees decisions on memory that was never written, and
for AddressSanitizer with fresh memory full of NaN, which the environments of strict.c refuse.
"""

import itertools

import numpy as np

import fastpg
from fastpg import _core

from . import strict

NATIVE = (
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "FrozenLake-v1",
)


def check(*results: np.ndarray) -> None:
    for result in results:
        assert np.isfinite(result).all()


def rollouts(env, policy, value, n: int) -> None:
    few = {"num_envs": n, "horizon": 9}
    check(fastpg.estimate_gradient(env, policy, **few).gradient)
    check(fastpg.estimate_gradient(env, policy, form="gae", value=value, entropy_coef=0.1, **few).gradient)
    if not isinstance(env, str):  # episodes of which are short
        check(fastpg.estimate_gradient(env, policy, num_envs=n, episodes=2 * n).gradient)
    check(*fastpg.evaluate(env, policy, episodes=n, max_steps=9))
    check(*fastpg.evaluate(env, policy, episodes=n, max_steps=9, deterministic=False))


def steps(env, policy, value, n: int) -> None:
    for autoreset in ("next_step", "same_step", "disabled"):
        made = fastpg.make(env, n, autoreset=autoreset, seed=0, max_episode_steps=3)
        obs, _ = made.reset()
        for _ in range(5):
            actions = policy.act(obs, seed=1)
            check(actions, policy.log_prob(obs, actions), value(obs))
            obs, rewards, terminated, truncated, _ = made.step(actions)
            check(obs, rewards, *made.get_state())
            if autoreset == "disabled" and (ended := terminated | truncated).any():
                obs, _ = made.reset(options={"reset_mask": ended})
        rollout = fastpg.collect(made, policy, 4, value=value)
        check(rollout.obs, rollout.actions, rollout.log_probs, rollout.rewards, rollout.last_obs)


def main() -> None:
    environments = [*NATIVE, *strict.load()]
    for isa in _core.isas():
        _core.select_isa(isa)
        for env, hidden in itertools.product(environments, ((), (5,))):
            policy = fastpg.Policy.for_env(env, hidden=hidden)
            value = fastpg.ValueFunction.for_env(env, hidden=hidden)
            for n in (1, 3, 17):
                rollouts(env, policy, value, n)
                steps(env, policy, value, n)
            for algorithm in (fastpg.VPG(), fastpg.PPO(epochs=2, minibatches=3, normalize_rewards=True)):
                fastpg.train(env, algorithm, num_envs=3, horizon=4, total_steps=24, hidden=hidden)
        print(f"padding: {isa} done", flush=True)


if __name__ == "__main__":
    main()
