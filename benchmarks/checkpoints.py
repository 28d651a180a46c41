"""What a folder costs a run: VPG on CartPole with `run=` over the same run without, alternately.

    python benchmarks/checkpoints.py [--steps 20000000] [--repeats 5] [--every 60s]

The target is 2 % at the default interval; metrics, settings and the last checkpoint are in it.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import fastpg


def seconds(steps, **settings):
    start = time.perf_counter()
    fastpg.train("CartPole-v1", fastpg.VPG(), horizon=128, total_steps=steps, **settings)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--every", default="60s")
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as place:
        for k in range(options.repeats):
            plain = seconds(options.steps)
            kept = seconds(options.steps, run=Path(place, str(k)), checkpoint_every=options.every)
            ratios.append(kept / plain)
            print(f"without {plain:.2f} s, with a folder {kept:.2f} s: {kept / plain:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f} over {options.repeats} pairs of {options.steps:,}")


if __name__ == "__main__":
    main()
