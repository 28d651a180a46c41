"""Inventory control: Poisson's demand with a season, deliveries that take three days, sales that are lost.

State and actions are whole numbers. What is learnt is compared with the best of the policies that are used
where nothing is learnt: order up to a fixed level of what is on hand and on its way (a base stock).
"""

import sys

import numpy as np
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg.numba_math import poisson

DEMAND = np.array([3.0, 4.0, 4.0, 5.0, 8.0, 10.0, 2.0])  # mean of each day of the week
LEAD = 3  # days until an order arrives
MOST = 15  # pieces in an order
DAYS = 140
PRICE, COST, HOLDING, ORDERING = 4.0, 2.0, 0.1, 2.0  # a piece, a piece, a piece and night, an order
ON_HAND, DAY, ORDERED = 0, 1, 2  # where they are in the state; orders on their way, the oldest first


@fastpg.jit_env(
    observation_space=Box(0.0, np.inf, (1 + LEAD + len(DEMAND),)),
    action_space=Discrete(MOST + 1),
    state_size=2 + LEAD,
    noise_size=1,
    max_episode_steps=DAYS,
)
class Inventory:
    """Order 0 to 15 pieces in the evening. Reward: the next day's sales less what it cost."""

    def reset(state, noise):
        state[ON_HAND] = 10.0
        state[DAY] = int(len(DEMAND) * noise[0])
        for k in range(LEAD):
            state[ORDERED + k] = 5.0

    def step(state, action, noise):
        day = int(state[DAY])
        stock = state[ON_HAND] + state[ORDERED]
        for k in range(LEAD - 1):
            state[ORDERED + k] = state[ORDERED + k + 1]
        state[ORDERED + LEAD - 1] = action
        sold = min(stock, poisson(DEMAND[day], noise[0]))
        state[ON_HAND] = stock - sold
        state[DAY] = (day + 1) % len(DEMAND)
        spent = COST * action + (ORDERING if action > 0 else 0.0) + HOLDING * state[ON_HAND]
        return 0.1 * (PRICE * sold - spent), False

    def observe(state, obs):
        obs[0] = 0.1 * state[ON_HAND]
        for k in range(LEAD):
            obs[1 + k] = 0.1 * state[ORDERED + k]
        for k in range(len(DEMAND)):
            obs[1 + LEAD + k] = 1.0 if k == state[DAY] else 0.0


def base_stock(level: int, num_envs: int = 256) -> float:
    """Return the mean return of ordering up to a level."""
    env = fastpg.make(Inventory, num_envs=num_envs)
    obs, _ = env.reset(seed=0)
    total = 0.0
    for _ in range(DAYS):
        position = np.rint(10.0 * obs[:, : 1 + LEAD].sum(axis=1)).astype(np.int64)
        obs, rewards, *_ = env.step(np.clip(level - position, 0, MOST))
        total += rewards.mean()
    return total


def main(total_steps: int = 300_000) -> tuple[float, float]:
    """Train; print and return the mean return of the best base stock and of the trained policy."""
    best = max(base_stock(level) for level in range(10, 41))
    ppo = fastpg.PPO(learning_rate=1e-3, value_learning_rate=1e-3, minibatches=16, entropy_coef=0.003)
    run = fastpg.train(Inventory, ppo, num_envs=64, horizon=140, total_steps=total_steps)
    after, _ = fastpg.evaluate(Inventory, run.policy, episodes=1000)
    print(f"mean return {best:.1f} of the best base stock, {after.mean():.1f} of the trained policy")
    return best, float(after.mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
