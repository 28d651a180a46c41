"""Every kind of pass over tiles that padding fills up, for a run that watches memory (see .ci/sanitize). Compiles nothing."""

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg

ENVS = ("CartPole-v1", "Pendulum-v1", "FrozenLake-v1")  # two actions, real ones, observed categories
COUNTS = (1, 3, 17)  # environments: tiles of 4 lanes, the last of them not full
REAL = Box(-np.inf, np.inf, (3,))
ACTIONS = (Discrete(3), MultiDiscrete([3, 2]), MultiBinary(3), Box(-1.0, 1.0, (3,)))


def passes(env_id: str, hidden: tuple[int, ...], num_envs: int) -> None:
    """Estimate, collect, evaluate and train."""
    policy = fastpg.Policy.for_env(env_id, hidden=hidden, seed=0)
    value = fastpg.ValueFunction.for_env(env_id, hidden=hidden)
    for form, given in (("total", None), ("reward_to_go", None), ("q", value), ("td", value), ("gae", value)):
        fastpg.estimate_gradient(env_id, policy, form=form, value=given, horizon=9, num_envs=num_envs, seed=0)
    fastpg.estimate_gradient(env_id, policy, episodes=num_envs, num_envs=num_envs, seed=0)
    fastpg.collect(env_id, policy, horizon=9, num_envs=num_envs, seed=0)
    fastpg.evaluate(env_id, policy, episodes=num_envs)
    fastpg.train(env_id, fastpg.A2C(), horizon=5, num_envs=num_envs, hidden=hidden, total_steps=10 * num_envs)


def steps(env_id: str, num_envs: int, autoreset: str) -> None:
    """Step past the ends of episodes."""
    env = fastpg.make(env_id, num_envs=num_envs, autoreset=autoreset)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(40):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if autoreset == "disabled" and (terminated | truncated).any():
            env.reset(options={"reset_mask": terminated | truncated})


def batches(actions_space: object, hidden: tuple[int, ...], rows: int) -> None:
    """Act on, and differentiate by, rows that fill no chunk."""
    policy = fastpg.Policy(REAL, actions_space, hidden=hidden, seed=0)
    obs, weights = np.ones((rows, 3), np.float32), np.ones(rows, np.float32)
    actions = policy.act(obs, seed=0)
    policy.log_prob(obs, actions)
    fastpg.policy_gradient(policy, obs, actions, weights, entropy_coef=0.1)
    fastpg.policy_gradient(policy, obs, actions, weights, per="sample")


for widths in ((), (5,)):
    for count in COUNTS:
        for name in ENVS:
            passes(name, widths, count)
        for space in ACTIONS:
            batches(space, widths, count)
for name in ENVS:
    for mode in ("next_step", "same_step", "disabled"):
        steps(name, 3, mode)
print("done: memory")
