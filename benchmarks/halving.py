"""What successive halving finds, beside the full sweep over the same seeds: `halving.py` writes docs/many.md.

The settings were chosen on other seeds (1000 and up), and the seeds below before the first run on them.
"""

import argparse
import itertools
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import fastpg

BLOCKS = 4  # independent comparisons of each environment
SEEDS = 10  # of each: the first has seeds 0 to 9
KEEP = 0.5
ALGORITHM = fastpg.PPO(epochs=4, minibatches=4, value_hidden=(32,), linear_schedule=True)
SETTINGS = fastpg.grid(ALGORITHM, learning_rate=[1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2], gamma=[0.9, 0.98])
TRAIN = {"num_envs": 16, "horizon": 64, "hidden": (32,)}
TOTAL_STEPS = {"CartPole-v1": 100_000, "Pendulum-v1": 300_000}
DOCUMENT = Path(__file__).parent.parent / "docs" / "many.md"
HEADING = (
    "| environment | seeds | best of the full sweep | return there | best of halving | return in the full sweep "
    "| the same | steps of halving |\n|---|---|---|---|---|---|---|---|"
)


def shown(algorithm: Any) -> str:
    return f"learning_rate {algorithm.learning_rate:g}, gamma {algorithm.gamma:g}"


def row(env_id: str, seeds: range, total_steps: int) -> tuple[str, bool]:
    """Return a line of the table, and whether both find the same setting."""
    common = {**TRAIN, "total_steps": total_steps, "seeds": seeds}
    full = fastpg.train_many(env_id, SETTINGS, **common)
    halved = fastpg.halving(env_id, SETTINGS, keep=KEEP, **common)
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
        env_id, f"{seeds[0]} to {seeds[-1]}", shown(SETTINGS[best]), returns[0], shown(SETTINGS[found]),
        returns[1], "yes" if best == found else "no", f"{steps[0] / steps[1]:.0%}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |", best == found


def write(lines: Iterable[str]) -> None:
    """Put the lines between the script's markers in docs/many.md."""
    begin, end = "<!-- halving.py: begin -->\n", "\n<!-- halving.py: end -->"
    before, _, rest = DOCUMENT.read_text().partition(begin)
    _, _, after = rest.partition(end)
    DOCUMENT.write_text(f"{before}{begin}" + "\n".join(["", *lines]) + f"\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed; another than 0 only prints")
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    options = parser.parse_args()
    start, same, rows = time.process_time(), [], []
    for env_id, block in itertools.product(TOTAL_STEPS, range(options.blocks)):
        first = options.first + block * SEEDS
        line, is_same = row(env_id, range(first, first + SEEDS), TOTAL_STEPS[env_id])
        print(line, flush=True)
        rows.append(line)
        same.append(is_same)
    took = f"{time.process_time() - start:.0f} s of CPU time"
    says = (
        f"`benchmarks/halving.py`, {len(SETTINGS)} settings of PPO, {SEEDS} seeds each, keep={KEEP}, "
        f"{' and '.join(f'{steps:,}' for steps in TOTAL_STEPS.values())} steps: the same setting in "
        f"{np.sum(same)} of {len(same)} comparisons ({took}, {os.cpu_count()} cores, {platform.machine()}). "
        "Returns are of the last 100 episodes, interquartile mean over seeds and 95 % interval."
    )
    print(says)
    if options.first == 0 and options.blocks == BLOCKS:
        write([says, "", HEADING, *rows])


if __name__ == "__main__":
    main()
