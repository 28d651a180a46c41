"""Environments written for `fastpg.jit_env`; at the top of a module, so that they pickle."""

import math

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import numba_math as nm

REAL = {"observation_space": Box(-np.inf, np.inf, (2,)), "state_size": 2}


@fastpg.jit_env(
    observation_space=Box(-np.inf, np.inf, (4,)),
    action_space=Discrete(2),
    state_size=4,
    noise_size=(4, 0),
    max_episode_steps=500,
)
class CartPole:
    """Gymnasium's, as the native one computes it."""

    def reset(state, noise):
        for k in range(4):
            state[k] = -0.05 + 0.1 * noise[k]

    def step(state, action, noise):
        x, x_dot, theta, theta_dot = state[0], state[1], state[2], state[3]
        force = 10.0 if action == 1 else -10.0
        cosine, sine = nm.cos(theta), nm.sin(theta)
        temp = (force + 0.05 * theta_dot * theta_dot * sine) * (1.0 / 1.1)
        theta_acc = (9.8 * sine - cosine * temp) / (2.0 / 3.0 - 0.05 / 1.1 * cosine * cosine)
        x_acc = temp - 0.05 / 1.1 * theta_acc * cosine
        state[0] = x + 0.02 * x_dot
        state[1] = x_dot + 0.02 * x_acc
        state[2] = theta + 0.02 * theta_dot
        state[3] = theta_dot + 0.02 * theta_acc
        return 1.0, abs(state[0]) > 2.4 or abs(state[2]) > 12 * 2 * math.pi / 360

    def observe(state, obs):
        for k in range(4):
            obs[k] = state[k]


def drag(velocity, strength):
    return -strength * velocity * abs(velocity)


@fastpg.jit_env(
    **REAL,
    action_space=Box(-1.0, 1.0, (2,)),
    noise_size=1,
    max_episode_steps=60,
    params={"mass": (0.5, 2.0), "drag": 0.1},
)
class Cart:
    """Two forces on a cart, with noise, a helper function, and a limit of its own at the far right."""

    def reset(state, noise):
        state[0] = 2.0 * noise[0] - 1.0

    def step(state, action, noise, params):
        force = action[0] + 0.5 * action[1] + drag(state[1], params.drag) + noise[0] - 0.5
        state[1] += 0.1 * force / params.mass
        state[0] += 0.1 * state[1]
        return -(state[0] * state[0]), state[0] < -2.0, state[0] > 2.0

    def observe(state, obs, params):
        obs[0] = state[0]
        obs[1] = nm.tanh(state[1]) * params.mass


@fastpg.jit_env(
    **REAL, action_space=MultiDiscrete([3, 2]), noise_size=2, max_episode_steps=25, params=[0.3, (0.1, 0.2)]
)
class Grid:
    """Two integers as an action, params as an array."""

    def reset(state, noise, params):
        state[0] = noise[0] * params[0]
        state[1] = noise[1]

    def step(state, action, noise, params):
        state[0] += params[1] * (action[0] - 1) + 0.05 * (noise[0] - 0.5)
        state[1] -= params[1] * action[1]
        return state[0] - abs(state[1]), state[1] < -0.5

    def observe(state, obs):
        obs[0] = state[0]
        obs[1] = state[1]


@fastpg.jit_env(**REAL, action_space=MultiBinary(3), noise_size=2, max_episode_steps=30)
class Bits:
    """Three bits as an action."""

    def reset(state, noise):
        state[0] = noise[0]
        state[1] = noise[1]

    def step(state, action, noise):
        state[0] = 0.5 * state[0] + action[0] - action[1] * noise[0]
        state[1] = 0.9 * state[1] + 0.1 * action[2]
        return state[0] * state[1], noise[1] < 0.03

    def observe(state, obs):
        obs[0] = state[0]
        obs[1] = state[1]


@fastpg.jit_env(observation_space=MultiDiscrete([3, 4]), action_space=Discrete(4), state_size=2, noise_size=2)
class Rooms:
    """A grid of 3 x 4 whose observations are categories; the far corner ends it."""

    def reset(state, noise):
        state[0] = np.floor(3 * noise[0])
        state[1] = 0.0

    def step(state, action, noise):
        if noise[0] < 0.1:
            action = int(4 * noise[1])
        if action < 2:
            state[0] = min(max(state[0] + 2 * action - 1, 0.0), 2.0)
        else:
            state[1] = min(max(state[1] + 2 * (action - 2) - 1, 0.0), 3.0)
        end = state[0] == 2.0 and state[1] == 3.0
        return (1.0 if end else -0.02), end

    def observe(state, obs):
        obs[0] = state[0]
        obs[1] = state[1]


RATES = np.array([[0.5, 2.0, 5.0], [1.0, 1.0, 20.0]])  # two sets of parameters, one a row


@fastpg.jit_env(**REAL, action_space=Discrete(3), noise_size=(2, 3), noise="normal", max_episode_steps=20)
class Store:
    """Normal and Poisson's noise, sets of parameters, a table, whole numbers in the state."""

    def reset(state, noise):
        state[0] = 0.1 * noise[0]
        state[1] = 1.0 if noise[1] > 0.0 else 0.0

    def step(state, action, noise):
        share = 0.5 + 0.5 * nm.tanh(noise[2])
        count = nm.poisson(RATES[int(state[1]), action], share)
        state[0] += 0.01 * count + 0.1 * noise[0] - 0.05 * nm.normal(share)
        return noise[1] - count, state[0] > 0.8

    def observe(state, obs):
        for k in range(2):
            obs[k] = state[k]


ALL = [CartPole, Cart, Grid, Bits, Rooms, Store]


# Functions with assertions, which pytest rewrites in a test's own file.


def late(state, action, noise, params):
    """Every failure that a step can have, at its 30th: one function, as each would be compiled on its own."""
    state[0] += 1.0
    kind, beyond, reward = params.kind, state[0] - 30.0, 1.0
    if kind == 0 and beyond > 0:
        raise ValueError("too far")
    if kind == 1:
        assert beyond < 0, "too far"
    if kind == 2:
        state[1] = beyond / beyond
    if kind == 3:
        reward = 1.0 / beyond
    if kind == 4:
        state[int(state[0]) // 30 + 1] = 0.0
    if kind == 5:
        state[-int(state[0]) // 15] = state[0]
    return reward, False


late.__name__ = "step"


def step(state, action, noise):
    assert state[0] < 3.0, "a step after the end"
    state[0] += 1.0
    return 1.0, state[0] >= 3.0


@fastpg.jit_env(
    **REAL, action_space=MultiDiscrete([3, 2]), noise_size=2, max_episode_steps=25, params={"height": 2.0}
)
class Corridor:
    """Five places; left, stay or right, and a jump: what the mask does not allow is an exception."""

    def reset(state, noise):
        state[0] = np.floor(5 * noise[0])

    def step(state, action, noise, params):
        if (action[0] == 0 and state[0] == 0.0) or (action[0] == 2 and state[0] == 4.0):
            raise ValueError("there is a wall")
        if action[1] == 1 and state[0] < params.height:
            raise ValueError("the ceiling is too low")
        state[0] += action[0] - 1.0
        state[1] = 0.5 * state[1] + action[1]
        return state[0] * (1.0 + state[1]), noise[0] < 0.04

    def observe(state, obs):
        obs[0] = state[0]
        obs[1] = state[1]

    def mask(state, mask, params):
        mask[0] = state[0] > 0.0
        mask[2] = state[0] < 4.0
        mask[4] = state[0] >= params.height
