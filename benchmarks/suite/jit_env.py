"""Environments written in Python and compiled by `fastpg.jit_env`; skipped without it or without numba."""

import functools
import math
from typing import Any

from .rate import Rate, Work, hidden_of

STEPS = 16


@functools.cache
def mountain_car() -> Any:
    """MountainCar as a user would write it, made once a process: it has to be compiled."""
    import gymnasium
    import numpy as np

    import fastpg

    low, high = np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32)

    @fastpg.jit_env(
        observation_space=gymnasium.spaces.Box(low, high),
        action_space=gymnasium.spaces.Discrete(3),
        state_size=2,
        noise_size=1,
        max_episode_steps=200,
    )
    class MountainCar:
        def reset(state, noise):
            state[0] = -0.6 + 0.2 * noise[0]
            state[1] = 0.0

        def step(state, action, noise):
            velocity = state[1] + (action - 1) * 0.001 - 0.0025 * math.cos(3 * state[0])
            velocity = min(max(velocity, -0.07), 0.07)
            position = min(max(state[0] + velocity, -1.2), 0.6)
            if position <= -1.2 and velocity < 0:
                velocity = 0.0
            state[0] = position
            state[1] = velocity
            return -1.0, position >= 0.5 and velocity >= 0

        def observe(state, obs):
            obs[0] = state[0]
            obs[1] = state[1]

    return MountainCar


class Step(Rate):
    """`fastpg.make(MyEnv).step`."""

    params = ([16, 4096], [1, "all"])
    param_names = ("num_envs", "threads")
    needs = ("numba", "fastpg.jit_env")

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, num_envs: int) -> Work:
        import fastpg

        env = fastpg.make(mountain_car(), num_envs, copy=False)
        env.reset(seed=0)
        env.action_space.seed(0)
        actions = env.action_space.sample()

        def step() -> None:
            for _ in range(STEPS):
                env.step(actions)

        return step, num_envs * STEPS


class FusedGradient(Rate):
    """`fastpg.estimate_gradient(MyEnv, ...)`, N=1024, T=128."""

    params = (["linear", "64-64"], [1, "all"])
    param_names = ("policy", "threads")
    needs = Step.needs

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, policy: str) -> Work:
        import fastpg

        env = mountain_car()
        pi = fastpg.Policy.for_env(env, hidden=hidden_of(policy))
        return lambda: fastpg.estimate_gradient(env, pi, num_envs=1024, horizon=128), 1024 * 128
