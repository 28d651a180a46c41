"""Compares settings for a MuJoCo task: what changes of the recommended ones reach, on seeds of no table.

    python benchmarks/search_mujoco.py InvertedDoublePendulum-v5 "" gamma=0.98 "lam=0.9 num_envs=16"

An argument after the task is a setting: fields of PPO and arguments of `train` in place of those that
`fastpg.recommended` has; "" is none. Each is trained on every seed, on one thread, in 300,000 steps unless
--total-steps says how many, and played 50 episodes both ways. Seeds are 100 and up: mujoco_learning.py has 0
to 4.
"""

import argparse
import ast
import dataclasses
from typing import Any

import numpy as np

import fastpg

EPISODES = 50  # of an evaluation


def setting_of(env_id: str, text: str, total_steps: int) -> dict[str, Any]:
    """Return what `train_many` takes for changes such as "gamma=0.98 num_envs=16"."""
    chosen: dict[str, Any] = fastpg.recommended(env_id) | {"total_steps": total_steps}  # type: ignore[assignment]
    for word in text.split():
        name, value = word.split("=")
        number = (
            value
            if value.isidentifier() and value not in ("True", "False", "None")
            else ast.literal_eval(value)
        )
        if name in chosen:
            chosen[name] = number
        else:
            chosen["algorithm"] = dataclasses.replace(chosen["algorithm"], **{name: number})
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("env_id")
    parser.add_argument("settings", nargs="+", metavar="CHANGES")
    parser.add_argument("--seeds", type=int, nargs=2, default=(100, 102), help="first, last + 1")
    parser.add_argument("--total-steps", type=int, default=300_000)
    options = parser.parse_args()
    if options.seeds[0] < 100:
        parser.error("seeds below 100 are those of tables")
    fastpg.set_num_threads(1)
    for text in options.settings:
        setting = setting_of(options.env_id, text, options.total_steps)
        runs = fastpg.train_many(options.env_id, [setting], seeds=list(range(*options.seeds)))
        ways = []
        for deterministic in (True, False):
            scores = [
                fastpg.evaluate(options.env_id, run.policy, episodes=EPISODES, deterministic=deterministic)[
                    0
                ].mean()
                for run in runs
            ]
            ways.append(f"{np.mean(scores):,.0f} (worst {min(scores):,.0f})")
        seconds = np.mean([run.seconds for run in runs])
        print(f"{text or 'as recommended'}: {' | '.join(ways)} | {seconds:.0f} s a run", flush=True)


if __name__ == "__main__":
    main()
