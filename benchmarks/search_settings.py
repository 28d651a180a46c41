"""Searches for the settings of fastpg/training/recommended.py: `search_settings.py ENV_ID` prints the best.

Configurations are drawn at random and trained on two seeds; the better third goes on to more seeds, until a
few are left on twelve. A configuration is as good as its worst seed, and then its mean, played both ways, by
drawn and by most likely actions, up to a goal; of those that reach it, the one wins that takes the least
processor time. Seeds are 1000 and up: benchmarks/recommended.py evaluates on 0 to 9, never looked at here.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from learning import described

import fastpg

FIRST_SEED = 1000
ROUNDS = (2, 5, 12)  # seeds that a configuration has been trained on by the end of a round
KEPT = 3  # of so many configurations one goes on
MAX_STEPS = 5000  # of an episode of an evaluation: a deterministic policy may stand still for ever

Draw = Callable[[np.random.Generator], dict[str, Any]]


@dataclass
class Configuration:
    """Arguments of `fastpg.train`, and what came of them, a seed each."""

    arguments: dict[str, Any]
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def train(self, env_id: str, seed: int, episodes: int) -> None:
        begin = time.process_time()
        run = fastpg.train(env_id, seed=seed, **self.arguments)
        self.seconds.append(time.process_time() - begin)
        means = [
            fastpg.evaluate(
                env_id, run.policy, episodes=episodes, deterministic=way, seed=seed, max_steps=MAX_STEPS
            )[0].mean()
            for way in (True, False)
        ]
        self.scores.append(float(min(means)))

    def rank(self, goal: float) -> tuple[float, float, float]:
        scores = np.minimum(self.scores, goal)
        return float(scores.min()), float(scores.mean()), -float(np.mean(self.seconds))

    def __str__(self) -> str:
        scores, seconds = np.array(self.scores), np.mean(self.seconds)
        train = dict(self.arguments)
        algorithm = train.pop("algorithm")
        return (
            f"worst {scores.min():.3f}, mean {scores.mean():.3f} of {len(scores)}, {seconds:.2f} s: "
            f"{described(algorithm, train)}, {train['total_steps']:,} steps"
        )


def power(rng: np.random.Generator, low: int, high: int) -> int:
    """Return a power of two between two exponents."""
    return int(2 ** rng.integers(low, high + 1))


def one_of(rng: np.random.Generator, *values: Any) -> Any:
    return values[rng.integers(len(values))]


def control(
    steps: tuple[int, ...], gammas: tuple[float, ...], normalize: bool | None = None, largest: int = 8192
) -> Draw:
    """Return how PPO is drawn for observations that are numbers.

    normalize None draws that as well; batches have at most `largest` rows.
    """

    def draw(rng: np.random.Generator) -> dict[str, Any]:
        num_envs, horizon = power(rng, 2, 6), power(rng, 4, 10)
        batch = num_envs * horizon
        if not 256 <= batch <= largest:
            return draw(rng)
        normalized = bool(rng.integers(2)) if normalize is None else normalize
        algorithm = fastpg.PPO(
            gamma=one_of(rng, *gammas),
            lam=one_of(rng, 0.8, 0.9, 0.95, 0.98),
            learning_rate=one_of(rng, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2),
            epochs=one_of(rng, 4, 10),
            minibatches=max(1, batch // one_of(rng, 64, 128, 256)),
            entropy_coef=one_of(rng, 0.0, 0.0, 0.01),
            linear_schedule=bool(rng.integers(2)),
            normalize_observations=normalized,
            normalize_rewards=normalized,
        )
        return {
            "algorithm": algorithm,
            "num_envs": num_envs,
            "horizon": horizon,
            "hidden": one_of(rng, (64, 64), (32, 32)),
            "total_steps": one_of(rng, *steps),
        }

    return draw


def tabular(steps: tuple[int, ...], gammas: tuple[float, ...]) -> Draw:
    """Return how VPG and PPO are drawn for observations that are numbers of states: linear networks."""

    def draw(rng: np.random.Generator) -> dict[str, Any]:
        num_envs, horizon = power(rng, 4, 7), power(rng, 3, 7)
        options = {
            "gamma": one_of(rng, *gammas),
            "lam": one_of(rng, 0.8, 0.9, 0.95, 0.98),
            "learning_rate": one_of(rng, 0.01, 0.03, 0.1, 0.2),
            "value_learning_rate": one_of(rng, 0.03, 0.1, 0.3),
            "value_hidden": (),
            "entropy_coef": one_of(rng, 0.0, 0.01, 0.03, 0.1),
            "linear_schedule": bool(rng.integers(2)),
        }
        if rng.integers(2):
            algorithm: Any = fastpg.VPG(value_epochs=one_of(rng, 3, 10), **options)
        else:
            algorithm = fastpg.PPO(
                epochs=one_of(rng, 2, 4), minibatches=one_of(rng, 1, 4), max_grad_norm=None, **options
            )
        return {
            "algorithm": algorithm,
            "num_envs": num_envs,
            "horizon": horizon,
            "hidden": (),
            "total_steps": one_of(rng, *steps),
        }

    return draw


@dataclass(frozen=True)
class Search:
    """What is drawn for an environment, and what is good enough; episodes are those of an evaluation."""

    draw: Draw
    goal: float
    episodes: int = 100


SEARCHES = {
    "CartPole-v1": Search(control((30_000, 50_000, 100_000), (0.98, 0.99), normalize=False), 495),
    "Acrobot-v1": Search(control((100_000, 200_000, 400_000), (0.98, 0.99, 0.995)), -85),
    "Pendulum-v1": Search(control((100_000, 200_000, 300_000), (0.9, 0.95)), -160),
    "MountainCar-v0": Search(control((300_000, 600_000, 1_000_000), (0.99, 0.995, 0.999), True, 1024), -105),
    "MountainCarContinuous-v0": Search(
        control((50_000, 100_000, 300_000), (0.99, 0.999, 0.9999), normalize=True), 92
    ),
    "Taxi-v4": Search(tabular((1_000_000, 2_000_000, 4_000_000), (0.95, 0.99)), 7.8, 1000),
    "CliffWalking-v1": Search(tabular((200_000, 500_000, 1_000_000), (0.99, 1.0)), -13, 10),
    "CliffWalkingSlippery-v1": Search(tabular((500_000, 1_000_000, 2_000_000), (0.99, 0.999, 1.0)), 0, 1000),
    "FrozenLake-v1": Search(tabular((200_000, 500_000, 1_000_000), (0.99, 0.999)), 0.72, 5000),
    "FrozenLake8x8-v1": Search(tabular((500_000, 1_000_000, 2_000_000), (0.99, 0.999)), 0.86, 5000),
    "Blackjack-v1": Search(tabular((500_000, 1_000_000, 2_000_000), (1.0,)), -0.05, 100_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env_id", choices=SEARCHES)
    parser.add_argument("--configurations", type=int, default=27)
    parser.add_argument("--draws", type=int, default=0, metavar="SEED", help="another seed draws others")
    options = parser.parse_args()
    fastpg.set_num_threads(1)
    search = SEARCHES[options.env_id]
    rng = np.random.default_rng(options.draws)
    left = [Configuration(search.draw(rng)) for _ in range(options.configurations)]
    for seeds in ROUNDS:
        for one in left:
            for seed in range(FIRST_SEED + len(one.scores), FIRST_SEED + seeds):
                one.train(options.env_id, seed, search.episodes)
        left.sort(key=lambda one: one.rank(search.goal), reverse=True)
        left = left[: -(-len(left) // KEPT)]
        print(f"{options.env_id}, after {seeds} seeds", *left, sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
