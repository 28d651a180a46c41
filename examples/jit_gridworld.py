"""A gridworld written in Python: observations are categories, and the wind is a matter of luck."""

import sys

from gymnasium.spaces import Discrete, MultiDiscrete

import fastpg

ROWS, COLUMNS = 5, 7
CLIFF_ROW, GOAL_COLUMN = ROWS - 1, COLUMNS - 1
SLIP = 0.1


@fastpg.jit_env(
    observation_space=MultiDiscrete([ROWS, COLUMNS]),
    action_space=Discrete(4),  # up, down, left, right
    state_size=2,
    noise_size=(0, 2),
    max_episode_steps=50,
)
class Cliff:
    """From one end of the bottom row to the other; between them is a cliff, and some steps go astray."""

    def reset(state, noise):
        state[0] = CLIFF_ROW
        state[1] = 0.0

    def step(state, action, noise):
        if noise[0] < SLIP:
            action = int(4 * noise[1])
        down = 1.0 if action == 1 else -1.0 if action == 0 else 0.0
        right = 1.0 if action == 3 else -1.0 if action == 2 else 0.0
        row = min(max(state[0] + down, 0.0), ROWS - 1.0)
        column = min(max(state[1] + right, 0.0), COLUMNS - 1.0)
        state[0] = row
        state[1] = column
        arrived = row == CLIFF_ROW and column == GOAL_COLUMN
        fell = row == CLIFF_ROW and 0 < column < GOAL_COLUMN
        return (1.0 if arrived else -1.0 if fell else -0.01), arrived or fell

    def observe(state, obs):
        obs[0] = state[0]
        obs[1] = state[1]


def main(total_steps: int = 400_000) -> tuple[float, float]:
    """Train; print and return the mean return of a new policy and of the trained one."""
    untrained = fastpg.Policy.for_env(Cliff, hidden=(32,))
    before, _ = fastpg.evaluate(Cliff, untrained, deterministic=False)
    run = fastpg.train(
        Cliff, fastpg.VPG(), policy=untrained, num_envs=64, horizon=50, total_steps=total_steps
    )
    after, _ = fastpg.evaluate(Cliff, run.policy)
    print(f"mean return {before.mean():.2f} before, {after.mean():.2f} after")
    return float(before.mean()), float(after.mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
