"""What successive halving finds beside the full sweep over the same seeds, for docs/learning.md.

The settings were chosen on other seeds (1000 and up), and the seeds below before the first run on them. The
second grid has a learning rate that is fast at first and worse in the end, which is where halving errs.
"""

import argparse
import itertools
import os
import platform
import time
from typing import Any

from learning import write

import fastpg

BLOCKS = 3  # independent comparisons in each environment
SEEDS = 10  # of each: the first has seeds 0 to 9
KEEP = 0.5
GRIDS = [
    {"learning_rate": [1e-5, 1e-4, 1e-3, 1e-2], "epochs": [1, 3, 10]},
    {"learning_rate": [1e-4, 1e-3, 1e-2, 1e-1], "epochs": [1, 3, 10]},
]
TRAIN = {"num_envs": 16, "horizon": 64, "hidden": (32,)}
GAMMA = {"CartPole-v1": 0.98, "Pendulum-v1": 0.9}
TOTAL_STEPS = {"CartPole-v1": 60_000, "Pendulum-v1": 150_000}
HEADING = (
    "| environment | learning rates | seeds | best of the full sweep | return | best of halving "
    "| return | the same | steps of halving |\n|---|---|---|---|---|---|---|---|---|"
)


def shown(algorithm: Any) -> str:
    return f"learning_rate {algorithm.learning_rate:g}, {algorithm.epochs} epochs"


def row(env_id: str, grid: dict[str, Any], seeds: range) -> tuple[str, bool]:
    """Return a line of the table, and whether both find the same setting."""
    algorithm = fastpg.PPO(minibatches=4, value_hidden=(32,), gamma=GAMMA[env_id])
    settings = fastpg.grid(algorithm, **grid)
    common = {**TRAIN, "total_steps": TOTAL_STEPS[env_id], "seeds": seeds}
    full = fastpg.train_many(env_id, settings, **common)
    halved = fastpg.halving(env_id, settings, keep=KEEP, **common)
    summary = full.summary()
    best, found = full.ranking[0], halved.ranking[0]
    survivors = [run for run in halved if run.stopped_because != "halving"]
    for run in survivors:  # they are runs of the full sweep, to the bit
        seed = run.config["seed"]
        assert run.policy.theta.tobytes() == full[found * len(seeds) + seed - seeds[0]].policy.theta.tobytes()
    steps = [sum(run.num_steps for run in runs) for runs in (halved, full)]
    returns = [
        f"{summary['mean_return'][k]:.1f} ({summary['low'][k]:.1f} to {summary['high'][k]:.1f})"
        for k in (best, found)
    ]
    cells = [
        env_id, f"to {grid['learning_rate'][-1]:g}", f"{seeds[0]} to {seeds[-1]}", shown(settings[best]),
        returns[0], shown(settings[found]), returns[1], "yes" if best == found else "no",
        f"{steps[0] / steps[1]:.0%}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |", best == found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed; another than 0 only prints")
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    options = parser.parse_args()
    start, same, rows = time.process_time(), [], []
    for grid, env_id, block in itertools.product(GRIDS, TOTAL_STEPS, range(options.blocks)):
        first = options.first + block * SEEDS
        line, is_same = row(env_id, grid, range(first, first + SEEDS))
        print(line, flush=True)
        rows.append(line)
        same.append(is_same)
    shape = " x ".join(str(len(values)) for values in GRIDS[0].values())
    halves = same[: len(same) // 2], same[len(same) // 2 :]
    found = [f"{sum(half)} of {len(half)}" for half in halves]
    took = f"{time.process_time() - start:.0f} s of CPU time"
    says = (
        f"`benchmarks/halving.py`, grids of {shape} settings of PPO, {SEEDS} seeds each, keep={KEEP}, "
        f"{' and '.join(f'{steps:,}' for steps in TOTAL_STEPS.values())} steps: the same setting in "
        f"{found[0]} comparisons, and in {found[1]} in the second grid ({took}, "
        f"{os.cpu_count()} cores, {platform.machine()}). "
        "Returns are those of the full sweep: of the last 100 episodes, interquartile mean and 95 % interval."
    )
    print(says)
    if options.first == 0 and options.blocks == BLOCKS:
        write("halving.py", [says, "", HEADING, *rows])


if __name__ == "__main__":
    main()
