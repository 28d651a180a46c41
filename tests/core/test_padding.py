"""Lanes that fill a tile up compute along, and act on what this pass wrote, whatever memory held before."""

import numpy as np
import pytest
from gymnasium.spaces import Box

import fastpg


@fastpg.jit_env(
    observation_space=Box(-np.inf, np.inf, (1,)),
    action_space=Box(-1.0, 1.0, (1,)),
    state_size=1,
    noise_size=1,
    max_episode_steps=60,
)
class Walk:
    """Says EnvNotFinite if any lane, padding too, is given an action that is not a number."""

    def reset(state, noise):
        state[0] = noise[0]

    def step(state, action, noise):
        state[0] += action[0]
        return -state[0] * state[0], False

    def observe(state, obs):
        obs[0] = state[0]


def leave_behind(number: int) -> None:
    """Free memory that is full of a number: NaN as floats where it is -1."""
    junk = [np.full(n, number) for n in (64, 256, 1024, 4096, 16384) for _ in range(6)]
    del junk


@pytest.mark.parametrize("num_envs", [1, 3, 5, 16, 17, 33])
@pytest.mark.parametrize("hidden", [(), (8,)], ids=str)
def test_padding_acts_on_written_outputs(isa, hidden, num_envs):
    policy = fastpg.Policy.for_env(Walk, hidden=hidden, seed=0)
    gradients = set()
    for number in (-1, 0, 2**62):
        leave_behind(number)
        gradient = fastpg.estimate_gradient(Walk, policy, horizon=16, num_envs=num_envs).gradient
        leave_behind(number)
        assert np.isfinite(fastpg.collect(Walk, policy, horizon=16, num_envs=num_envs).rewards).all()
        leave_behind(number)
        fastpg.train(Walk, fastpg.VPG(), horizon=5, num_envs=num_envs, total_steps=1, policy=policy.copy())
        gradients.add(gradient.tobytes())
    assert len(gradients) == 1


@pytest.mark.parametrize("rows", [1, 15, 16, 17])
@pytest.mark.parametrize("entropy_coef", [0.0, 0.5])
def test_the_rows_that_fill_a_chunk_up_add_nothing(isa, rows, entropy_coef):
    """Their action, 0, lies so far from the mean of a row of zeros that its score is infinite."""
    space = Box(-np.inf, np.inf, (1,))
    policy = fastpg.Policy(space, space, hidden=())
    policy.theta[:] = 0.0, 1e20, 0.0  # weight, bias, log_std
    obs, actions = np.zeros((rows, 1), np.float32), np.full((rows, 1), 1e20, np.float32)
    weights = np.ones(rows, np.float32)
    gradient = fastpg.policy_gradient(
        policy, obs, actions, weights, reduction="sum", entropy_coef=entropy_coef
    )
    assert gradient.tolist() == [0.0, 0.0, rows * (entropy_coef - 1.0)]
