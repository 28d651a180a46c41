"""Small Gymnasium environments whose every number is known beforehand."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

from fastpg.envs.autoreset import NAMES_MODES, AutoresetMode

MODES = list(AutoresetMode) if NAMES_MODES else [AutoresetMode.NEXT_STEP]
needs_modes = pytest.mark.skipif(not NAMES_MODES, reason="Gymnasium 1.0 has no modes and no reset masks")


class Scripted(gymnasium.Env):
    """Episodes of 1, 2, 3, 4, 5, 1, ... steps, from `first` on, that by turns terminate and are truncated.

    Whatever the action, observation t of episode k of environment `name` is (name, k, t), its reward k + t/8.
    """

    def __init__(self, name=0, first=1, *, start=0):
        self.observation_space = Box(-100, 100, (3,), np.float32)
        self.action_space = Discrete(3, start=start)
        self.name, self.length, self.episode = name, first, -1
        self.actions = []

    def _obs(self):
        return np.array([self.name, self.episode, self.age], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.age = self.episode + 1, 0
        if self.episode:
            self.length = self.length % 5 + 1
        return self._obs(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.actions.append(int(action))
        reward = self.episode + self.age / 8
        self.age += 1
        done = self.age == self.length
        truncates = self.episode % 2 == 1
        return self._obs(), reward, done and not truncates, done and truncates, {}


def vector_of(makers, mode):
    """Return Gymnasium's vector environment of this mode; where it has none of it, the test is skipped."""
    if mode not in MODES:
        pytest.skip("Gymnasium 1.0 resets in the next step only")
    return SyncVectorEnv(makers, **({"autoreset_mode": mode} if NAMES_MODES else {}))


def scripted(num_envs, mode=AutoresetMode.NEXT_STEP):
    """Return a vector environment of Scripted ones that begin with episodes of different lengths."""
    makers = [lambda i=i: Scripted(i, i % 5 + 1) for i in range(num_envs)]
    return vector_of(makers, mode)


class Single(gymnasium.Env):
    """4 steps with given spaces, and observations that are `obs` or drawn from their space."""

    def __init__(self, observation_space, action_space=None, obs=None, reward=1.0):
        self.observation_space = observation_space
        self.action_space = Discrete(2) if action_space is None else action_space
        self.obs, self.reward = obs, reward

    def _obs(self):
        return self.observation_space.sample() if self.obs is None else self.obs

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:  # without one a space seeds itself by chance
            self.observation_space.seed(seed)
        self.age = 0
        self.options = options
        return self._obs(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.age += 1
        return self._obs(), self.reward, False, self.age == 4, {}
