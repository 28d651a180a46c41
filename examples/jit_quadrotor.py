"""A quadrotor that learns to hover: thirteen numbers of state, helper functions, loops, normal noise.

Four rotors on a cross push a rigid body, whose mass and gusts of wind differ between episodes. Position and
velocity are in metres and metres a second, in the world's frame; rates in radians a second, in the body's.
"""

import sys

import numpy as np
from gymnasium.spaces import Box

import fastpg
from fastpg.numba_math import exp, sqrt

GRAVITY, TIME_STEP = 9.81, 0.02
ARM, TORQUE = 0.17, 0.016  # metres from the centre; newton metres a newton of thrust
INERTIA = (0.0075, 0.0075, 0.013)  # kg m^2
NOMINAL_MASS = 0.9
POSITION, VELOCITY, TURN, RATE = 0, 3, 6, 10  # where each begins in the state; TURN is a quaternion


def rotation(state):
    """Return the rows of the matrix that turns the body's vectors into the world's."""
    w, x, y, z = state[TURN], state[TURN + 1], state[TURN + 2], state[TURN + 3]
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


def turn(state):
    """Turn the body by its rates for a time step."""
    w, x, y, z = state[TURN], state[TURN + 1], state[TURN + 2], state[TURN + 3]
    p, q, r = state[RATE], state[RATE + 1], state[RATE + 2]
    half = 0.5 * TIME_STEP
    w, x, y, z = (
        w - half * (x * p + y * q + z * r),
        x + half * (w * p + y * r - z * q),
        y + half * (w * q + z * p - x * r),
        z + half * (w * r + x * q - y * p),
    )
    scale = 1.0 / sqrt(w * w + x * x + y * y + z * z)
    state[TURN] = w * scale
    state[TURN + 1] = x * scale
    state[TURN + 2] = y * scale
    state[TURN + 3] = z * scale


@fastpg.jit_env(
    observation_space=Box(-np.inf, np.inf, (18,)),
    action_space=Box(-1.0, 1.0, (4,)),
    state_size=13,
    noise_size=(12, 3),
    noise="normal",
    max_episode_steps=250,
    params={"mass": (0.8, 1.0), "gust": (0.0, 0.5)},
)
class Quadrotor:
    """Fly to the origin and stay there. Actions: each rotor's thrust, of which 0 holds the nominal mass."""

    def reset(state, noise):
        for k in range(3):
            state[POSITION + k] = 0.5 * noise[k]
            state[VELOCITY + k] = 0.2 * noise[3 + k]
            state[TURN + 1 + k] = 0.1 * noise[6 + k]
            state[RATE + k] = 0.2 * noise[9 + k]
        state[TURN] = 1.0
        turn(state)  # makes the quaternion one of length 1

    def step(state, action, noise, params):
        hover = 0.25 * NOMINAL_MASS * GRAVITY
        front, left, back, right = (
            hover * (1.0 + 0.5 * action[0]),
            hover * (1.0 + 0.5 * action[1]),
            hover * (1.0 + 0.5 * action[2]),
            hover * (1.0 + 0.5 * action[3]),
        )
        thrust = front + left + back + right
        torque = (ARM * (left - right), ARM * (back - front), TORQUE * (front - left + back - right))
        up = rotation(state)
        error, speed, spin = 0.0, 0.0, 0.0
        for k in range(3):
            force = thrust * up[k][2] + params.gust * noise[k]
            pull = GRAVITY if k == 2 else 0.0
            state[VELOCITY + k] += TIME_STEP * (force / params.mass - pull)
            state[POSITION + k] += TIME_STEP * state[VELOCITY + k]
            error += state[POSITION + k] * state[POSITION + k]
            speed += state[VELOCITY + k] * state[VELOCITY + k]
        p, q, r = state[RATE], state[RATE + 1], state[RATE + 2]
        state[RATE] += TIME_STEP * (torque[0] + (INERTIA[1] - INERTIA[2]) * q * r) / INERTIA[0]
        state[RATE + 1] += TIME_STEP * (torque[1] + (INERTIA[2] - INERTIA[0]) * r * p) / INERTIA[1]
        state[RATE + 2] += TIME_STEP * (torque[2] + (INERTIA[0] - INERTIA[1]) * p * q) / INERTIA[2]
        for k in range(3):
            spin += state[RATE + k] * state[RATE + k]
        turn(state)
        reward = exp(-2.0 * error - 0.1 * speed - 0.02 * spin)
        fallen = up[2][2] < 0.2
        return reward, error > 9.0 or fallen

    def observe(state, obs):
        rows = rotation(state)
        for k in range(3):
            obs[k] = state[POSITION + k]
            obs[3 + k] = state[VELOCITY + k]
            obs[6 + k] = state[RATE + k]
            for j in range(3):
                obs[9 + 3 * k + j] = rows[k][j]


def main(total_steps: int = 300_000) -> tuple[float, float]:
    """Train; print and return the mean return of a new policy and of the trained one. 250 is the most."""
    untrained = fastpg.Policy.for_env(Quadrotor, hidden=(64, 64))
    before, _ = fastpg.evaluate(Quadrotor, untrained)
    ppo = fastpg.PPO(learning_rate=1e-3, value_learning_rate=1e-3, minibatches=16, epochs=5, gamma=0.98)
    run = fastpg.train(Quadrotor, ppo, policy=untrained, num_envs=64, horizon=128, total_steps=total_steps)
    after, _ = fastpg.evaluate(Quadrotor, run.policy)
    print(f"mean return {before.mean():.0f} before, {after.mean():.0f} after")
    for mass in (0.7, 0.9, 1.1):
        returns, _ = fastpg.evaluate(Quadrotor, run.policy, mass=mass)
        print(f"mass {mass}: {returns.mean():.0f}")
    return float(before.mean()), float(after.mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
