"""Which way to step Gymnasium's environments is fastest: transitions a second of `fastpg.collect`.

    python benchmarks/stepping.py [--envs LunarLander-v3 ...] [--num-envs 4 16 64] [--seconds 2] [--write]

The same 64-64 policy acts in Gymnasium's copies one after the other (sync), in its processes with shared
memory (async), in EnvPool, and in fastpg's own where it has the task. They take turns, and a rate is the
median of the rounds. What is missing is left out: `pip install envpool "gymnasium[box2d,mujoco]"`.
"""

import argparse
import functools
import statistics
import time
import warnings

import gymnasium
from learning import write

import fastpg

HORIZON = 32


def with_gymnasium(mode, env_id, num_envs):
    return gymnasium.make_vec(env_id, num_envs=num_envs, vectorization_mode=mode)


def with_envpool(env_id, num_envs):
    import envpool

    threads = min(num_envs, fastpg.get_num_threads())
    return envpool.make(env_id, env_type="gymnasium", num_envs=num_envs, num_threads=threads, seed=0)


WAYS = {
    "sync": functools.partial(with_gymnasium, "sync"),
    "async": functools.partial(with_gymnasium, "async"),
    "EnvPool": with_envpool,
    "fastpg": fastpg.make,
}


def rate(env, policy, seconds):
    """Return transitions a second; the rows of resets are none."""
    start, transitions = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        batch = fastpg.collect(env, policy, horizon=HORIZON)
        transitions += batch.rewards.size if batch.mask is None else int(batch.mask.sum())
    return transitions / (time.perf_counter() - start)


def made(env_id, num_envs):
    """Return the environments of every way that there is here, and a policy of each."""
    envs = {}
    for way, make in WAYS.items():
        try:
            env = make(env_id, num_envs)
            envs[way] = env, fastpg.Policy.for_env(env, hidden=(64, 64), seed=0)
        except (ImportError, gymnasium.error.DependencyNotInstalled, ValueError) as error:
            print(f"{env_id}, {way}: left out ({' '.join(str(error).split())[:80]})")
    return envs


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--envs", nargs="+", default=["CartPole-v1", "LunarLander-v3", "HalfCheetah-v5"])
    parser.add_argument("--num-envs", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table in docs/gymnasium.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = [
        f"{fastpg.get_num_threads()} threads, Gymnasium {gymnasium.__version__}; transitions a second.",
        "",
    ]
    lines += [f"| environment | N | {' | '.join(WAYS)} |", "|---|---|" + "---|" * len(WAYS)]
    for env_id in options.envs:
        for num_envs in options.num_envs:
            envs = made(env_id, num_envs)
            rates = {way: [] for way in envs}
            for _ in range(options.rounds):
                for way, (env, policy) in envs.items():
                    rates[way].append(rate(env, policy, options.seconds))
            for env, _ in envs.values():
                env.close()
            shown = (f"{statistics.median(rates[way]):,.0f}" if way in rates else "" for way in WAYS)
            lines.append(f"| {env_id} | {num_envs} | {' | '.join(shown)} |")
    print(*lines, sep="\n")
    if options.write:
        write("stepping.py", lines, "gymnasium.md")


if __name__ == "__main__":
    main()
