"""A gridworld whose walls are drawn anew for every episode: what is learnt is to find ways, not one way.

The agent sees the five by five cells around it, and where the goal lies.
"""

import sys

import numpy as np
from gymnasium.spaces import Box, Discrete

import fastpg

SIZE, VIEW, WALLS = 8, 2, 0.2  # cells a side; cells seen to each side; the share of walls
CELLS, SEEN = SIZE * SIZE, (2 * VIEW + 1) ** 2
MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])  # rows and columns of up, down, left, right
AGENT, GOAL, WALL = 0, 2, 4  # where they are in the state


def is_wall(state, row, column):
    """Return whether a cell is a wall or beyond the edge."""
    if row < 0 or row >= SIZE or column < 0 or column >= SIZE:
        return True
    return state[WALL + row * SIZE + column] > 0.0


@fastpg.jit_env(
    observation_space=Box(-1.0, 1.0, (SEEN + 2,)),
    action_space=Discrete(4),
    state_size=WALL + CELLS,
    noise_size=(CELLS + 4, 0),
    max_episode_steps=40,
)
class RandomWalls:
    """Reach the goal for a reward of 1; a step costs 0.02. Some goals are walled in."""

    def reset(state, noise):
        for k in range(CELLS):
            state[WALL + k] = 1.0 if noise[k] < WALLS else 0.0
        for k in range(4):
            state[AGENT + k] = int(SIZE * noise[CELLS + k])
        for place in (AGENT, GOAL):
            state[WALL + int(state[place]) * SIZE + int(state[place + 1])] = 0.0

    def step(state, action, noise):
        row, column = int(state[AGENT]) + MOVES[action, 0], int(state[AGENT + 1]) + MOVES[action, 1]
        if not is_wall(state, row, column):
            state[AGENT] = row
            state[AGENT + 1] = column
        arrived = state[AGENT] == state[GOAL] and state[AGENT + 1] == state[GOAL + 1]
        return (0.98 if arrived else -0.02), arrived

    def observe(state, obs):
        row, column = int(state[AGENT]), int(state[AGENT + 1])
        k = 0
        for down in range(-VIEW, VIEW + 1):
            for right in range(-VIEW, VIEW + 1):
                obs[k] = 1.0 if is_wall(state, row + down, column + right) else 0.0
                k += 1
        obs[SEEN] = (state[GOAL] - row) / SIZE
        obs[SEEN + 1] = (state[GOAL + 1] - column) / SIZE


def main(total_steps: int = 300_000) -> tuple[float, float]:
    """Train; print and return the mean return of a new policy and of the trained one."""
    untrained = fastpg.Policy.for_env(RandomWalls, hidden=(64, 64))
    before, _ = fastpg.evaluate(RandomWalls, untrained, episodes=1000, deterministic=False)
    ppo = fastpg.PPO(learning_rate=1e-3, value_learning_rate=1e-3, minibatches=16, entropy_coef=0.01)
    run = fastpg.train(RandomWalls, ppo, policy=untrained, num_envs=64, horizon=128, total_steps=total_steps)
    after, _ = fastpg.evaluate(RandomWalls, run.policy, episodes=1000, deterministic=False)
    print(f"mean return {before.mean():.2f} before, {after.mean():.2f} after")
    return float(before.mean()), float(after.mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
