"""MuJoCo: steps a second with random actions, and of training, beside the engine alone and its peers.

    python benchmarks/mujoco_env.py [--env HalfCheetah-v5] [--num-envs 64] [--seconds 3] [--rounds 5]

Every contender steps the same task with actions drawn beforehand, in turns, so that a machine that slows down
slows all of them; a rate is the median of the rounds. "engine" is `mujoco.batch.Batch` stepping the model
with the same actions, without observations, rewards and resets: what there is to reach. EnvPool's line needs
`pip install envpool`.
"""

import argparse
import statistics
import time

import gymnasium
import mujoco.batch
import numpy as np

import fastpg


def actions_for(space, seed=0, count=32):
    space.seed(seed)
    return [space.sample() for _ in range(count)]


class Engine:
    """The engine's batch alone."""

    def __init__(self, env_id, num_envs):
        single = gymnasium.make(env_id).unwrapped
        self.frame_skip = single.frame_skip
        self.batch = mujoco.batch.Batch(single.model, num_envs, fastpg.get_num_threads())
        self.batch.reset()
        self.ctrl = self.batch.bind("ctrl")

    def step(self, actions):
        self.ctrl[:] = actions
        self.batch.step(nstep=self.frame_skip)


class Stepped:
    """A vector environment."""

    def __init__(self, env):
        self.env = env
        env.reset()

    def step(self, actions):
        self.env.step(actions)


def envpool(env_id, num_envs):
    import envpool

    return Stepped(envpool.make(env_id, env_type="gymnasium", num_envs=num_envs))


CONTENDERS = {
    "engine": Engine,
    "fastpg": lambda env_id, num_envs: Stepped(fastpg.make(env_id, num_envs)),
    "gymnasium sync": lambda env_id, num_envs: Stepped(
        gymnasium.make_vec(env_id, num_envs=num_envs, vectorization_mode="sync")
    ),
    "gymnasium async": lambda env_id, num_envs: Stepped(
        gymnasium.make_vec(env_id, num_envs=num_envs, vectorization_mode="async")
    ),
    "envpool": envpool,
}


def stepping(contender, actions, num_envs, seconds):
    """Return environment steps a second."""
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for one in actions:
            contender.step(one)
        steps += len(actions)
    return steps * num_envs / (time.perf_counter() - start)


def training(env_id, num_envs, algorithm, seconds):
    """Return environment steps a second of training, updates included."""

    def stop(progress):
        return progress.seconds > seconds

    run = fastpg.train(env_id, algorithm, num_envs=num_envs, horizon=128, total_steps=10**9, callback=stop)
    return run.num_steps / run.seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    actions = actions_for(fastpg.make(options.env, options.num_envs).action_space)
    contenders = {}
    for name, make in CONTENDERS.items():
        try:
            contenders[name] = make(options.env, options.num_envs)
        except ImportError as error:
            print(f"{name}: left out ({error})")
    algorithms = {
        name: getattr(fastpg, name)(normalize_observations=True)
        for name in ("VPG", "PPO")
        if hasattr(fastpg, name)
    }
    rates = {name: [] for name in [*contenders, *algorithms]}
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            rates[name].append(stepping(contender, actions, options.num_envs, options.seconds))
        for name, algorithm in algorithms.items():
            rates[name].append(training(options.env, options.num_envs, algorithm, options.seconds))
    engine, ours = statistics.median(rates["engine"]), statistics.median(rates["fastpg"])
    threads = fastpg.get_num_threads()
    print(f"{options.env}, N={options.num_envs}, {threads} threads, MuJoCo {mujoco.__version__}")
    for name, measured in rates.items():
        rate = statistics.median(measured)
        spread = (max(measured) - min(measured)) / rate
        against = f"{rate / engine:6.2f} of the engine"
        if name in algorithms:
            against = f"{rate / ours:6.2f} of fastpg's stepping"
        what = f"training, {name}" if name in algorithms else f"stepping, {name}"
        print(f"{what:28} {np.round(rate):>10,.0f} steps/s {against} (spread {spread:.0%})")


if __name__ == "__main__":
    main()
