"""What the collector costs on top of a Gymnasium environment's own stepping, in microseconds per vector step.

    python benchmarks/collector.py [--envs 8 64 1024] [--steps 512] [--repeats 30]

The environment is trivial: it returns the same arrays again and again, so that what is left is the policy's
forward pass and the recording. Kinds alternate; the best of the repeats is shown. REINFORCE and A2C are whole
training iterations, collection included.
"""

import argparse
import time

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from fastpg import A2C, Policy, Reinforce, ValueFunction, _core
from fastpg.batches.collector import Collector
from fastpg.envs.gymnasium.opening import opened
from fastpg.training.agent import bootstraps, core_agent
from fastpg.training.trainer import GymnasiumTrainer


class Trivial(VectorEnv):
    """Ends every environment's episode once in `length` steps, all of them at different times."""

    def __init__(self, num_envs, obs_size=4, length=500):
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = Box(-1, 1, (obs_size,))
        self.single_action_space = Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        rng = np.random.default_rng(0)
        self.obs = rng.uniform(-1, 1, (num_envs, obs_size)).astype(np.float32)
        self.rewards = np.ones(num_envs)
        self.never = np.zeros(num_envs, bool)
        first = rng.integers(length, size=num_envs)
        self.ends = [first == k for k in range(length)]
        self.step_number = 0

    def reset(self, *, seed=None, options=None):
        return self.obs, {}

    def step(self, actions):
        self.step_number += 1
        ended = self.ends[self.step_number % len(self.ends)]
        return self.obs, self.rewards, ended, self.never, {}


def best(repeats, *functions):
    """Return the least seconds that each function took, called in turn."""
    least = [float("inf")] * len(functions)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            least[i] = min(least[i], time.perf_counter() - start)
    return least


def measure(num_envs, steps, repeats):
    """Return microseconds per vector step: environment, act(), collecting, and two training iterations."""
    ready = Trivial(num_envs)
    with opened("benchmark", ready, None) as env:
        policy = Policy(env.observation_space, env.action_space)
        value = ValueFunction(env.observation_space)
        collector = Collector(env, policy.network, 0)
        actions, entropy = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.float32)

        def trainer(algorithm, value=None):
            settings = {"horizon": steps, "total_steps": 2**40, "target_return": None, "seed": 0}
            agent = core_agent(algorithm, policy, value, **settings)
            return GymnasiumTrainer(env, agent, wants_final=bootstraps(algorithm))

        def step_alone():
            for _ in range(steps):
                ready.step(actions)

        def act_alone():
            for k in range(steps):
                _core.act(policy.network, policy.theta, ready.obs, 0, k, False, actions, entropy)

        reinforce = trainer(Reinforce(learning_rate=1e-6))
        a2c = trainer(A2C(learning_rate=1e-6), value)
        seconds = best(
            repeats,
            step_alone,
            act_alone,
            lambda: collector.collect(policy.theta, horizon=steps),
            lambda: reinforce.run(0.0),
            lambda: a2c.run(0.0),
        )
    return [1e6 * one / steps for one in seconds]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", type=int, nargs="+", default=[8, 64, 1024])
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    print(f"gymnasium {gymnasium.__version__}, {_core.isa()}, {_core.get_num_threads()} threads, 4-64-64-2")
    print("microseconds per vector step; the last three beyond the environment's own:")
    heading = ("N", "environment", "act", "collector", "REINFORCE", "A2C")
    print("".join(f"{name:>13}" for name in heading))
    for num_envs in options.envs:
        alone, act, *others = measure(num_envs, options.steps, options.repeats)
        row = (f"{num_envs}", f"{alone:.1f}", f"{act:.1f}", *(f"{one - alone:.1f}" for one in others))
        print("".join(f"{text:>13}" for text in row))


if __name__ == "__main__":
    main()
