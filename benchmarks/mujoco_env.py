"""MuJoCo: steps a second with random actions, and of training, beside the engine alone and its peers.

    python benchmarks/mujoco_env.py [--env HalfCheetah-v5] [--num-envs 64] [--seconds 3] [--write]

Every contender works on the same task in turns, so that a machine that slows down slows all of them; a
rate is the median of the rounds. "engine" is `mujoco.batch.Batch` stepping the model with the same
actions, without observations, rewards and resets: what there is to reach. Training includes updates, with
the settings that are recommended for the task; those of Stable-Baselines3 are the same as far as it has
them. Processor time is that of this process: it says what Python costs beside the engine where other work
slows the clock. A contender whose library is missing is left out (`pip install envpool stable-
baselines3`).
"""

import argparse
import contextlib
import statistics
import time
import warnings

import gymnasium
import mujoco.batch
import numpy as np
from learning import write

import fastpg

TARGETS = {"stepping, fastpg": 0.95, "training, VPG": 0.85, "training, PPO": 0.85}


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


class Stepping:
    """Steps of an environment, or of the engine, with actions drawn beforehand."""

    def __init__(self, env, actions, num_envs):
        self.env, self.num_envs = env, num_envs
        dtype = getattr(getattr(env, "single_action_space", None), "dtype", np.float32)
        self.actions = [one.astype(dtype) for one in actions]
        if hasattr(env, "reset"):
            env.reset()

    def run(self, seconds):
        """Return the environment steps of so many seconds."""
        stop, steps = time.perf_counter() + seconds, 0
        while time.perf_counter() < stop:
            for one in self.actions:
                self.env.step(one)
            steps += len(self.actions)
        return steps * self.num_envs


def parts_of_a_step(env_id, num_envs, actions, seconds):
    """Return a sentence: the time of fastpg's vector step in the engine and in Python.

    Python alone, with a call that does nothing in the engine's place, finds its memory in the caches; after
    the engine it does not.
    """
    env = fastpg.make(env_id, num_envs)
    env.reset(seed=0)
    simulations, in_engine = env._simulations, []
    step = simulations.step

    def timed(*arguments):
        begun = time.perf_counter()
        step(*arguments)
        in_engine.append(time.perf_counter() - begun)

    def microseconds():
        stop, whole = time.perf_counter() + seconds, []
        while time.perf_counter() < stop:
            for one in actions:
                begun = time.perf_counter()
                env.step(one)
                whole.append(time.perf_counter() - begun)
        return statistics.median(whole) * 1e6

    simulations.step = timed
    both = microseconds()
    engine = statistics.median(in_engine) * 1e6
    simulations.step = lambda *_: None
    alone = microseconds()
    return (
        f"A vector step takes {both:.0f} µs, {engine:.0f} of them in the engine, so {both - engine:.0f} in "
        f"Python, which needs {alone:.0f} where the engine does not run in between."
    )


class Training:
    """Training with fastpg."""

    def __init__(self, env_id, settings):
        self.env_id, self.settings = env_id, settings

    def run(self, seconds):
        stop = time.perf_counter() + seconds
        return fastpg.train(
            self.env_id, **self.settings, callback=lambda _: time.perf_counter() > stop
        ).num_steps


class StableBaselines3:
    """Training with Stable-Baselines3's PPO; networks of this size are fastest with one thread of torch."""

    def __init__(self, make, settings):
        import torch
        from stable_baselines3 import PPO

        torch.set_num_threads(1)
        algorithm = settings["algorithm"]
        hidden = list(settings["hidden"])
        self.model = PPO(
            "MlpPolicy",
            make(),
            n_steps=settings["horizon"],
            batch_size=settings["num_envs"] * settings["horizon"] // algorithm.minibatches,
            n_epochs=algorithm.epochs,
            learning_rate=algorithm.learning_rate,
            policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}},
            device="cpu",
        )

    def run(self, seconds):
        from stable_baselines3.common.callbacks import BaseCallback

        class Until(BaseCallback):
            """Ends after the update of the iteration in which time was up."""

            stop = time.perf_counter() + seconds
            is_up = False

            def _on_rollout_start(self):
                self.is_up = time.perf_counter() > self.stop

            def _on_step(self):
                return not self.is_up

        self.model.learn(10**9, callback=Until())
        return self.model.num_timesteps


def gymnasium_env(env_id, num_envs, mode):
    return gymnasium.make_vec(env_id, num_envs=num_envs, vectorization_mode=mode)


def envpool_env(env_id, num_envs):
    import envpool

    threads = fastpg.get_num_threads()
    return envpool.make(env_id, env_type="gymnasium", num_envs=num_envs, num_threads=threads)


def sb3_env(env_id, num_envs):
    from stable_baselines3.common.env_util import make_vec_env

    return make_vec_env(env_id, n_envs=num_envs)


def sb3_over_fastpg(env_id, num_envs):
    from fastpg.sb3 import as_vec_env

    return as_vec_env(env_id, num_envs)


def contenders(env_id, num_envs):
    """Return functions that make the contenders, by name."""
    actions = actions_for(fastpg.make(env_id, num_envs).action_space)
    ppo = dict(fastpg.recommended(env_id)) | {"num_envs": num_envs, "total_steps": 10**9}
    vpg = {
        "algorithm": fastpg.VPG(normalize_observations=True),
        "num_envs": num_envs,
        "horizon": 128,
        "total_steps": 10**9,
    }
    envs = {
        "engine": lambda: Engine(env_id, num_envs),
        "fastpg": lambda: fastpg.make(env_id, num_envs),
        "Gymnasium sync": lambda: gymnasium_env(env_id, num_envs, "sync"),
        "Gymnasium async": lambda: gymnasium_env(env_id, num_envs, "async"),
        "EnvPool": lambda: envpool_env(env_id, num_envs),
    }
    stepping = {
        f"stepping, {name}": lambda make=make: Stepping(make(), actions, num_envs)
        for name, make in envs.items()
    }
    return stepping | {
        "training, VPG": lambda: Training(env_id, vpg),
        "training, PPO": lambda: Training(env_id, ppo),
        "training, SB3's PPO": lambda: StableBaselines3(lambda: sb3_env(env_id, num_envs), ppo),
        "training, SB3's PPO on fastpg's": lambda: StableBaselines3(
            lambda: sb3_over_fastpg(env_id, num_envs), ppo
        ),
    }


def measured(contender, seconds):
    """Return environment steps a second, and seconds of this process's processor time a step."""
    start, processor = time.perf_counter(), time.process_time()
    steps = contender.run(seconds)
    return steps / (time.perf_counter() - start), (time.process_time() - processor) / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table in docs/mujoco.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rates = {}
    made = {}
    for name, make in contenders(options.env, options.num_envs).items():
        try:
            made[name] = make()
        except ImportError as error:
            print(f"{name}: left out ({error})")
    for _ in range(options.rounds):
        for name, contender in made.items():
            rates.setdefault(name, []).append(measured(contender, options.seconds))
    threads = fastpg.get_num_threads()
    lines = [f"{options.env}, N={options.num_envs}, {threads} threads, MuJoCo {mujoco.__version__}.", ""]
    lines += [
        "| what | steps/s | of the engine | of fastpg's stepping | target | processor µs a step | spread |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    median = {name: statistics.median(rate for rate, _ in rounds) for name, rounds in rates.items()}
    for name, rounds in rates.items():
        every = [rate for rate, _ in rounds]
        spread = (max(every) - min(every)) / median[name]
        ratios = (f"{median[name] / median[other]:.2f}" for other in ("stepping, engine", "stepping, fastpg"))
        processor = statistics.median(seconds for _, seconds in rounds) * 1e6
        lines.append(
            f"| {name} | {median[name]:,.0f} | {' | '.join(ratios)} | {TARGETS.get(name, '')} | "
            f"{processor:.1f} | {spread:.0%} |"
        )
    actions = actions_for(fastpg.make(options.env, options.num_envs).action_space)
    lines += ["", parts_of_a_step(options.env, options.num_envs, actions, options.seconds)]
    print(*lines, sep="\n")
    if options.write:
        write("mujoco_env.py", lines, "mujoco.md")
    for contender in made.values():
        with contextlib.suppress(AttributeError):
            contender.env.close()


if __name__ == "__main__":
    main()
