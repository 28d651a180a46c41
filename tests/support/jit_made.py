"""Classes for `fastpg.jit_env` made from functions and from source."""

import textwrap

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg.envs.custom import jit_plain

GOOD = {"observation_space": Box(-9, 9, (2,)), "action_space": Discrete(2), "state_size": 2, "cache": False}


def reset(state, noise):
    state[0] = 0.0


def step(state, action, noise):
    state[0] += 1.0
    return state[0], False


def observe(state, obs):
    obs[0] = state[0]
    obs[1] = state[1]


def made(*functions, **changed):
    """Decorate a class of the good functions with some put in their place."""
    body = {"reset": reset, "step": step, "observe": observe}
    body |= {function.__name__: function for function in functions}
    return fastpg.jit_env(**(GOOD | changed))(type("Mine", (), body))


def unchecked(*functions, **changed):
    """The same without the try-out, whose few steps do not get to what is wrong later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit_plain, "try_out", lambda *arguments: 2)
        return made(*functions, **changed)


def env_of(expression, **names):
    """An environment whose reward is an expression of the state x, in a namespace of its own."""
    names = {"np": np} | names
    source = f"""
        def reset(state, noise):
            state[0] = 1.0
        def step(state, action, noise):
            x = state[0]
            return {expression}, False
        def observe(state, obs):
            obs[0] = state[0]
    """
    exec(textwrap.dedent(source), names)
    body = {name: names[name] for name in ("reset", "step", "observe")}
    decorate = fastpg.jit_env(
        observation_space=Box(-9, 9, (1,)), action_space=Discrete(2), state_size=1, cache=False
    )
    return decorate(type("Mine", (), body)), names


def reward(env):
    one = fastpg.make(env, 1)
    one.reset(seed=0)
    return one.step(np.array([0]))[1][0]
