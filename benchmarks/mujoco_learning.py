"""What PPO reaches on MuJoCo in 1 M steps at most, beside what tianshou and Stable-Baselines3 publish.

    python benchmarks/mujoco_learning.py [--only ENV_ID ...] [--seeds 0 5]
    python benchmarks/mujoco_learning.py --time
    python benchmarks/mujoco_learning.py --table

The first trains what benchmarks/results/mujoco_learning.jsonl lacks, on one thread, and appends a line
for each run: killed at any moment, it goes on with the next. The second trains each task once, on all
threads, for its wall time, on a machine that does nothing else. All end by writing the table in
docs/learning.md.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from learning import described, interquartile_mean, interval, write

import fastpg

RESULTS = Path(__file__).parent / "results" / "mujoco_learning.jsonl"
SEEDS = range(5)
EPISODES = 50  # of an evaluation


@dataclass(frozen=True)
class Published:
    """Returns after 1 M steps, of the versions of the tasks that there were.

    tianshou (examples/mujoco/README.md): the best mean over training of ten seeds, plus or minus their
    standard deviation. Stable-Baselines3 (rl-baselines3-zoo, benchmark.md): one run with settings tuned for
    the task, plus or minus the standard deviation of its episodes.
    """

    tianshou: str
    sb3: str


TASKS = {
    "InvertedDoublePendulum-v5": Published("9231 ± 270", "none"),
    "Hopper-v5": Published("2609 ± 701", "2410 ± 10"),
    "HalfCheetah-v5": Published("5784 ± 1244", "5819 ± 664"),
    "Walker2d-v5": Published("3589 ± 757", "3479 ± 822"),
}


def run_once(env_id: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate; return the line of the results."""
    wall, processor = time.perf_counter(), time.process_time()
    run = fastpg.train(env_id, seed=seed, **settings)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    played = {
        way: fastpg.evaluate(env_id, run.policy, episodes=EPISODES, deterministic=mode, seed=seed)[0]
        for way, mode in (("deterministic", True), ("stochastic", False))
    }
    return {
        "env": env_id,
        "seed": seed,
        "settings": told(settings),
        "steps": run.num_steps,
        **{way: float(returns.mean()) for way, returns in played.items()},
        "wall_seconds": wall,
        "cpu_seconds": processor,
        "threads": fastpg.get_num_threads(),
        "mujoco": mujoco.__version__,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {fastpg.build_info()['isa']} kernels",
    }


def told(settings: dict[str, Any]) -> str:
    return described(settings["algorithm"], {k: v for k, v in settings.items() if k != "algorithm"})


def settings_for(env_id: str, total_steps: int | None) -> dict[str, Any]:
    settings: dict[str, Any] = dict(fastpg.recommended(env_id))
    return settings if total_steps is None else settings | {"total_steps": total_steps}


def recorded(kind: str, env_id: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of one kind, "learning" or "time", of whole runs with these settings."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return [
        line
        for line in map(json.loads, lines)
        if (line["kind"], line["env"], line["settings"]) == (kind, env_id, told(settings))
        and line["steps"] >= settings["total_steps"]
    ]


def record(kind: str, line: dict[str, Any]) -> None:
    with RESULTS.open("a") as file:  # one short write, which a kill does not cut
        file.write(json.dumps({"kind": kind, **line}) + "\n")
    print(json.dumps(line), flush=True)


def learn(tasks: list[str], seeds: range, total_steps: int | None) -> None:
    """Train what is missing, one seed of every task after the other."""
    fastpg.set_num_threads(1)
    for seed in seeds:
        for env_id in tasks:
            settings = settings_for(env_id, total_steps)
            if seed not in {one["seed"] for one in recorded("learning", env_id, settings)}:
                record("learning", run_once(env_id, seed, settings))


def row(env_id: str) -> str:
    settings, published = settings_for(env_id, None), TASKS[env_id]
    runs, timed = (recorded(kind, env_id, settings) for kind in ("learning", "time"))
    ways = []
    for way in ("deterministic", "stochastic"):
        scores = np.array([one[way] for one in runs if one["seed"] in SEEDS])
        low, high = interval(scores)
        ways.append(f"{interquartile_mean(scores):,.0f} [{low:,.0f}, {high:,.0f}] | {scores.min():,.0f}")
    processor = np.median([one["cpu_seconds"] for one in runs])
    wall = f"{timed[-1]['wall_seconds']:.0f} on {timed[-1]['threads']} threads" if timed else "not measured"
    return (
        f"| {env_id} | {len(runs)} | {' | '.join(ways)} | {processor:.0f} | {wall} | "
        f"{published.tianshou} | {published.sb3} |"
    )


HEADING = """\
| task | seeds | deterministic | worst | stochastic | worst | CPU seconds | wall seconds | tianshou | SB3 |
|---|---|---|---|---|---|---|---|---|---|"""


def table() -> list[str]:
    tasks = [env_id for env_id in TASKS if recorded("learning", env_id, settings_for(env_id, None))]
    having: dict[str, list[str]] = {}
    for env_id in tasks:
        settings = settings_for(env_id, None)
        having.setdefault(f"`{told(settings)}`, {settings['total_steps']:,} steps", []).append(env_id)
    lines = [f"- {', '.join(those)}: {settings}." for settings, those in having.items()]
    return [*lines, "", HEADING, *map(row, tasks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", metavar="ENV_ID", choices=TASKS, nargs="+", default=list(TASKS))
    seeds = (SEEDS.start, SEEDS.stop)
    parser.add_argument("--seeds", type=int, nargs=2, default=seeds, help="first, last + 1")
    parser.add_argument("--total-steps", type=int, help="to see that it works; such runs are in no table")
    parser.add_argument("--time", action="store_true", help="train each task once, on all threads")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    if options.time:
        for env_id in options.only:
            settings = settings_for(env_id, options.total_steps)
            record("time", run_once(env_id, options.seeds[0], settings))
    elif not options.table:
        learn(options.only, range(*options.seeds), options.total_steps)
    if options.total_steps is None:
        write("mujoco_learning.py", table())


if __name__ == "__main__":
    main()
