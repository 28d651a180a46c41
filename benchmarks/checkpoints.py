"""What a folder costs a run: VPG on CartPole with `run=` over the same run without, alternately.

    python benchmarks/checkpoints.py [--steps 20000000] [--repeats 7] [--every 60s]

The median of the pairs' ratios, of wall time and of the process's CPU time. The target is 2 % at the default
interval; metrics, settings and the last checkpoint are in it. `--every 1s` has checkpoints that are
synchronised with the disk, which shows in wall time only. The first pair, which imports and compiles, is not
counted, and every other pair begins with the folder.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import fastpg


def seconds(steps, **settings):
    """Wall and CPU seconds of a run."""
    wall, cpu = time.perf_counter(), time.process_time()
    fastpg.train("CartPole-v1", fastpg.VPG(), horizon=128, total_steps=steps, **settings)
    return time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--every", default="60s")
    options = parser.parse_args()
    times = {False: [], True: []}
    with tempfile.TemporaryDirectory() as place:
        for k in range(options.repeats + 1):
            for kept in (False, True) if k % 2 else (True, False):
                steps = options.steps if k else 1000
                settings = {"run": Path(place, str(k)), "checkpoint_every": options.every} if kept else {}
                taken = seconds(steps, **settings)
                if k:
                    times[kept].append(taken)
                    print(
                        f"{'with a folder' if kept else 'without':13}  {taken[0]:.3f} s, CPU {taken[1]:.3f} s"
                    )
    for what, column in (("wall", 0), ("CPU", 1)):
        ratios = [kept[column] / plain[column] for plain, kept in zip(times[False], times[True], strict=True)]
        shown = " ".join(f"{one:.3f}" for one in sorted(ratios))
        print(f"{what:4}  {statistics.median(ratios):.4f} of {shown}")
    print(f"{options.repeats} pairs of runs of {options.steps:,} steps, checkpoints every {options.every}")


if __name__ == "__main__":
    main()
