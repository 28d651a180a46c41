"""What the algorithms reach: `learning.py` trains every setting below on ten seeds for docs/learning.md.

`--only ENV_ID` prints the rows of one environment instead. Settings were chosen on other seeds (1000 and up).
"""

import argparse
import dataclasses
import os
import platform
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastpg

SEEDS = range(10)
EPISODES = 100  # of an evaluation
LAST = 20  # iterations; a run in which no episode ended there has no evaluation: it might never end either
RESAMPLES = 10_000
DOCS = Path(__file__).parent.parent / "docs"


@dataclass(frozen=True)
class Setting:
    """One row of the table: how a policy is trained and judged."""

    env_id: str
    algorithm: Any
    train: dict[str, Any]
    good: float  # a return that is called good
    why: str  # whose figure that is
    deterministic: bool = True


TABULAR = {"value_hidden": ()}
SETTINGS = [
    Setting("CartPole-v1", fastpg.Reinforce(), {}, 475, "Gymnasium's threshold"),
    Setting("CartPole-v1", fastpg.VPG(), {}, 475, "Gymnasium's threshold"),
    Setting("CartPole-v1", fastpg.A2C(), {"horizon": 16}, 475, "Gymnasium's threshold"),
    Setting("Acrobot-v1", fastpg.VPG(), {}, -100, "Gymnasium's threshold"),
    Setting(
        "FrozenLake-v1",
        fastpg.VPG(gamma=0.999, learning_rate=0.03, value_learning_rate=0.03, **TABULAR),
        {"hidden": (), "num_envs": 64, "horizon": 32},
        0.7,
        "Gymnasium's threshold; the optimum in 100 steps is 0.744",
    ),
    Setting(
        "CliffWalking-v1",
        fastpg.VPG(gamma=1.0, learning_rate=0.03, value_learning_rate=0.1, **TABULAR),
        {"hidden": (), "num_envs": 16, "horizon": 16},
        -14,
        "only the shortest way, -13, is better",
        deterministic=False,
    ),
    Setting(
        "Taxi-v4",
        fastpg.VPG(learning_rate=0.03, value_learning_rate=0.1, **TABULAR),
        {"hidden": (), "num_envs": 64, "horizon": 64, "total_steps": 4_000_000},
        7,
        "the optimum is 7.93",
        deterministic=False,
    ),
    Setting("MountainCar-v0", fastpg.VPG(), {"total_steps": 2_000_000}, -110, "Gymnasium's threshold"),
    Setting(
        "MountainCarContinuous-v0",
        fastpg.VPG(normalize_observations=True),
        {"num_envs": 16, "horizon": 512},
        90,
        "Gymnasium's threshold",
    ),
    Setting(
        "Pendulum-v1",
        fastpg.VPG(gamma=0.95, lam=0.95, value_learning_rate=1e-2, normalize_observations=True),
        {"num_envs": 32, "horizon": 200, "total_steps": 2_000_000},
        -200,
        "Gymnasium names no threshold; an upright pendulum costs little after its swing-up",
    ),
]


def train(setting: Setting, seed: int) -> tuple[float, int, float]:
    """Return the mean evaluation return (NaN where there is none), the steps and the seconds of training."""
    run = fastpg.train(setting.env_id, setting.algorithm, seed=seed, **setting.train)
    score = np.nan
    if run.history["num_episodes"][-LAST:].sum() > 0:
        returns, _ = fastpg.evaluate(
            setting.env_id, run.policy, episodes=EPISODES, deterministic=setting.deterministic, seed=seed
        )
        score = returns.mean()
    return score, run.num_steps, run.seconds


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Return the mean without the lowest and the highest quarter, rounded down, over the last axis."""
    cut = scores.shape[-1] // 4
    return np.sort(scores, axis=-1)[..., cut : scores.shape[-1] - cut].mean(axis=-1)


def interval(scores: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile-bootstrap confidence interval of the interquartile mean over seeds."""
    chosen = np.random.default_rng(0).integers(len(scores), size=(RESAMPLES, len(scores)))
    low, high = np.percentile(interquartile_mean(scores[chosen]), [2.5, 97.5])
    return float(low), float(high)


def described(algorithm: Any, train: Mapping[str, Any]) -> str:
    """Return the algorithm and what differs from the defaults, and how `train` is called, without its steps."""
    changed = [
        f"{field.name}={getattr(algorithm, field.name)!r}"
        for field in dataclasses.fields(algorithm)
        if getattr(algorithm, field.name) != field.default
    ]
    options = [f"{name}={value!r}" for name, value in train.items() if name != "total_steps"]
    return ", ".join([f"{type(algorithm).__name__}({', '.join(changed)})", *options])


def write(script: str, lines: Iterable[str], document: str = "learning.md") -> None:
    """Put a script's lines between its markers in one of the docs."""
    begin, end = (f"<!-- {script} {word} -->\n" for word in ("begins", "ends"))
    before, rest = (DOCS / document).read_text().split(begin)
    _, after = rest.split(end)
    (DOCS / document).write_text("\n".join([f"{before}{begin}", *lines, f"\n{end}{after}"]))


def row(setting: Setting, pool: ThreadPoolExecutor) -> str:
    results = list(pool.map(lambda seed: train(setting, seed), SEEDS))
    scores, steps, seconds = (np.array(column) for column in zip(*results, strict=True))
    done = scores[~np.isnan(scores)]
    if len(done):
        low, high = interval(done)
        reached = (
            f"{interquartile_mean(done):.2f} [{low:.2f}, {high:.2f}] | {done.min():.2f}, {done.max():.2f}"
        )
    else:
        reached = "none | none"
    without = f", {len(scores) - len(done)} without an evaluation" if len(done) < len(scores) else ""
    return (
        f"| {setting.env_id} | `{described(setting.algorithm, setting.train)}` | {np.median(steps):,.0f} | {np.median(seconds):.1f} | {reached} | "
        f"{(done >= setting.good).sum()} of {len(scores)}{without} | {setting.good:g}: {setting.why} | "
        f"{'deterministic' if setting.deterministic else 'stochastic'} |"
    )


HEADING = """\
| environment | algorithm and settings | steps | seconds | return, interquartile mean [95 %] | worst, best seed | good | good is | evaluation |
|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="ENV_ID", choices=sorted({one.env_id for one in SETTINGS}))
    only = parser.parse_args().only
    fastpg.set_num_threads(1)  # one run on each core
    start = time.perf_counter()
    print(HEADING, flush=True)
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for setting in SETTINGS:
            if only in (None, setting.env_id):
                rows.append(row(setting, pool))
                print(rows[-1], flush=True)
    if only is None:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, {fastpg.build_info()['isa']} kernels"
        heading = f"{time.perf_counter() - start:.0f} s on {machine}, one run on each core at a time."
        write("learning.py", [heading, "", HEADING, *rows])


if __name__ == "__main__":
    main()
