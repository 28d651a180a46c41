"""What `fastpg.recommended` and TRPO reach: `recommended.py` trains both everywhere, for docs/learning.md.

Each on ten seeds that benchmarks/search_settings.py never looks at. `--only ENV_ID` prints some only.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from learning import described, interquartile_mean, interval, write

import fastpg

SEEDS = range(10)
MAX_STEPS = 5000  # of an episode of an evaluation: a deterministic policy may stand still for ever


@dataclass(frozen=True)
class Task:
    """An environment: what is good there, who says so, and how many episodes tell."""

    good: float
    why: str
    trpo: fastpg.TRPO
    episodes: int = 100


TABULAR = {
    "max_kl": 0.02,
    "damping": 1e-3,
    "value_learning_rate": 0.1,
    "value_minibatches": 1,
    "value_hidden": (),
}
NORMALIZED = {"normalize_observations": True, "normalize_rewards": True}
GYMNASIUM = "Gymnasium's threshold"
TASKS = {
    "CartPole-v0": Task(195, GYMNASIUM, fastpg.TRPO(max_kl=0.05)),
    "CartPole-v1": Task(475, GYMNASIUM, fastpg.TRPO(max_kl=0.05)),
    "Acrobot-v1": Task(-100, GYMNASIUM, fastpg.TRPO(max_kl=0.02, **NORMALIZED)),
    "Pendulum-v1": Task(
        -170, "Gymnasium names no threshold", fastpg.TRPO(gamma=0.9, max_kl=0.03, **NORMALIZED)
    ),
    "MountainCar-v0": Task(-110, GYMNASIUM, fastpg.TRPO(gamma=0.999, lam=0.9, max_kl=0.02, **NORMALIZED)),
    "MountainCarContinuous-v0": Task(90, GYMNASIUM, fastpg.TRPO(gamma=0.999, max_kl=0.02, **NORMALIZED)),
    "FrozenLake-v1": Task(
        0.7, f"{GYMNASIUM}; the optimum is 0.744", fastpg.TRPO(gamma=0.999, **TABULAR), 5000
    ),
    "FrozenLake8x8-v1": Task(0.85, GYMNASIUM, fastpg.TRPO(gamma=0.999, **TABULAR), 5000),
    "CliffWalking-v1": Task(-14, "only the shortest way, -13, is better", fastpg.TRPO(gamma=1.0, **TABULAR)),
    "CliffWalkingSlippery-v1": Task(-70, "the optimum is -64.7", fastpg.TRPO(gamma=1.0, **TABULAR), 1000),
    "Taxi-v4": Task(7.7, "the optimum is 7.93", fastpg.TRPO(lam=0.9, **TABULAR | {"damping": 1e-4}), 1000),
    "Blackjack-v1": Task(
        -0.06, "a table of the best actions loses 0.047", fastpg.TRPO(gamma=1.0, **TABULAR), 100_000
    ),
}
HEADING = """\
| environment | settings | steps | seconds | deterministic | stochastic | worst seed | good | good is |
|---|---|---|---|---|---|---|---|---|"""


def trpo(env_id: str) -> dict[str, Any]:
    """Return one sensible setting: batches of 2,048 or 4,096 rows, and as many steps as the other has."""
    settings: dict[str, Any] = dict(fastpg.recommended(env_id)) | {"algorithm": TASKS[env_id].trpo}
    batch = {"num_envs": 64, "horizon": 64} if settings["hidden"] == () else {"num_envs": 16, "horizon": 128}
    return settings | batch


def results(env_id: str, settings: dict[str, Any], seeds: range) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the mean returns, (2, seeds) most likely and drawn actions; seconds (seeds,); and steps."""
    scores, seconds, steps = [], [], 0
    for seed in seeds:
        begin = time.process_time()
        run = fastpg.train(env_id, seed=seed, **settings)
        seconds.append(time.process_time() - begin)
        steps = run.num_steps
        played = {"episodes": TASKS[env_id].episodes, "seed": seed, "max_steps": MAX_STEPS}
        scores.append(
            [
                fastpg.evaluate(env_id, run.policy, deterministic=way, **played)[0].mean()
                for way in (True, False)
            ]
        )
    return np.array(scores).T, np.array(seconds), steps


def row(env_id: str, settings: dict[str, Any], seeds: range) -> str:
    scores, seconds, steps = results(env_id, settings, seeds)
    task = TASKS[env_id]
    algorithm, arguments = settings["algorithm"], {k: v for k, v in settings.items() if k != "algorithm"}
    ways = []
    for one in scores:
        low, high = interval(one)
        ways.append(f"{interquartile_mean(one):.2f} [{low:.2f}, {high:.2f}]")
    worst = ", ".join(f"{one.min():.2f}" for one in scores)
    good = int((scores >= task.good).all(axis=0).sum())
    return (
        f"| {env_id} | `{described(algorithm, arguments)}` | {steps:,} | {np.median(seconds):.2f} | "
        f"{ways[0]} | {ways[1]} | {worst} | {good} of {len(seeds)} | {task.good:g}: {task.why} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="ENV_ID", choices=TASKS, nargs="+")
    parser.add_argument(
        "--seeds", type=int, nargs=2, default=(SEEDS.start, SEEDS.stop), help="first, last + 1"
    )
    options = parser.parse_args()
    fastpg.set_num_threads(1)
    print(HEADING, flush=True)
    rows = []
    for env_id in options.only or TASKS:
        for settings in (dict(fastpg.recommended(env_id)), trpo(env_id)):
            rows.append(row(env_id, settings, range(*options.seeds)))
            print(rows[-1], flush=True)
    if options.only is None and range(*options.seeds) == SEEDS:
        write("recommended.py", [HEADING, *rows])


if __name__ == "__main__":
    main()
