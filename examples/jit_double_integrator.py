"""A cart of unknown mass on a line: an environment written in Python, trained with domain randomisation.

Bring the cart to 0 and keep it there; beyond 5 it is lost. The mass is drawn anew for every episode,
and so is a gust of wind at every step; the policy sees neither.
"""

import sys

import numpy as np
from gymnasium.spaces import Box

import fastpg


@fastpg.jit_env(
    observation_space=Box(-np.inf, np.inf, (2,)),
    action_space=Box(-1.0, 1.0, (1,)),
    state_size=2,
    noise_size=1,
    max_episode_steps=100,
    params={"mass": (0.5, 2.0), "gust": 0.2},
)
class DoubleIntegrator:
    """State and observation: position, velocity. Action: a force."""

    def reset(state, noise):
        state[0] = 2.0 * noise[0] - 1.0
        state[1] = 0.0

    def step(state, action, noise, params):
        wind = params.gust * (2.0 * noise[0] - 1.0)
        state[1] += 0.1 * (action[0] + wind) / params.mass
        state[0] += 0.1 * state[1]
        cost = state[0] * state[0] + 0.1 * state[1] * state[1] + 0.01 * action[0] * action[0]
        return -cost, abs(state[0]) > 5.0

    def observe(state, obs):
        obs[0] = state[0]
        obs[1] = state[1]


def main(total_steps: int = 400_000) -> tuple[float, float]:
    """Train; print and return the mean return of a new policy and of the trained one."""
    untrained = fastpg.Policy.for_env(DoubleIntegrator, hidden=(16,))
    before, _ = fastpg.evaluate(DoubleIntegrator, untrained)
    run = fastpg.train(
        DoubleIntegrator,
        fastpg.VPG(),
        policy=untrained,
        num_envs=32,
        horizon=100,
        total_steps=total_steps,
    )
    after, _ = fastpg.evaluate(DoubleIntegrator, run.policy)
    print(f"mean return {before.mean():.1f} before, {after.mean():.1f} after")
    for mass in (0.5, 1.0, 2.0, 4.0):
        returns, _ = fastpg.evaluate(DoubleIntegrator, run.policy, mass=mass)
        print(f"mass {mass}: {returns.mean():.1f}")
    return float(before.mean()), float(after.mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
