"""What successive halving finds beside the full sweep over the same seeds, for docs/learning.md.

The settings were chosen on other seeds (1000 and up), and the seeds below before the first run on them.
"""

import argparse
import itertools
import os
import platform
import time
from typing import Any

from learning import write

import fastpg

FIRST = 100  # seed
BLOCKS = 3  # independent comparisons in each environment
SEEDS = 10  # of each
KEEP, RUNGS = 0.5, 3
ALGORITHM = fastpg.PPO(minibatches=4, value_hidden=(32,))
GRID = {"learning_rate": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], "epochs": [1, 3, 10], "gamma": [0.6, 0.95]}
SETTINGS = fastpg.grid(ALGORITHM, **GRID)
TRAIN = {"num_envs": 16, "horizon": 64, "hidden": (32,)}
TOTAL_STEPS = {"CartPole-v1": 60_000, "Pendulum-v1": 150_000}
HEADING = (
    "| environment | seeds | best of the full sweep | return | best of halving | return | the same "
    "| rank | steps of halving |\n|---|---|---|---|---|---|---|---|---|"
)


def shown(algorithm: Any) -> str:
    return f"{algorithm.learning_rate:g}, {algorithm.epochs}, {algorithm.gamma:g}"


def row(env_id: str, seeds: range) -> tuple[str, bool]:
    """Return a line of the table, and whether both find the same setting."""
    common = {**TRAIN, "total_steps": TOTAL_STEPS[env_id], "seeds": seeds}
    full = fastpg.train_many(env_id, SETTINGS, **common)
    halved = fastpg.halving(env_id, SETTINGS, keep=KEEP, rungs=RUNGS, **common)
    summary = full.summary()
    best, found = full.ranking[0], halved.ranking[0]
    survivors = [run for run in halved if run.stopped_because != "halving"]
    for run in survivors:  # each is a run of the full sweep, to the bit
        alike = [other for other in full if other.config == run.config]
        assert [other.policy.theta.tobytes() for other in alike] == [run.policy.theta.tobytes()]
    steps = [sum(run.num_steps for run in runs) for runs in (halved, full)]
    returns = [
        f"{summary['mean_return'][k]:.1f} ({summary['low'][k]:.1f} to {summary['high'][k]:.1f})"
        for k in (best, found)
    ]
    cells = [
        env_id, f"{seeds[0]} to {seeds[-1]}", shown(SETTINGS[best]), returns[0], shown(SETTINGS[found]),
        returns[1], "yes" if best == found else "no", f"{full.ranking.index(found) + 1} of {len(SETTINGS)}",
        f"{steps[0] / steps[1]:.0%}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |", best == found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--first", type=int, default=FIRST, help="the first seed; with another it only prints"
    )
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    options = parser.parse_args()
    start, same, rows = time.process_time(), [], []
    for env_id, block in itertools.product(TOTAL_STEPS, range(options.blocks)):
        first = options.first + block * SEEDS
        line, is_same = row(env_id, range(first, first + SEEDS))
        print(line, flush=True)
        rows.append(line)
        same.append(is_same)
    steps = " and ".join(f"{steps:,}" for steps in TOTAL_STEPS.values())
    took = f"{time.process_time() - start:.0f} s of CPU time"
    says = (
        f"{len(SETTINGS)} settings of PPO (learning_rate, epochs, gamma) with {SEEDS} seeds each, {steps} "
        f"steps, keep={KEEP}, rungs={RUNGS}: the same setting in {sum(same)} of {len(same)} comparisons. "
        "Returns are those of the full sweep, of the last 100 episodes: interquartile mean and 95 % "
        f"interval. {took} on {os.cpu_count()} cores, {platform.machine()}."
    )
    print(says)
    if (options.first, options.blocks) == (FIRST, BLOCKS):
        write("halving.py", [says, "", HEADING, *rows])


if __name__ == "__main__":
    main()
