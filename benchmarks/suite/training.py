"""Whole training iterations of every algorithm, and the time until CartPole is solved."""

import statistics
from typing import Any

from .rate import LEAST_CALLS, Rate, Work, hidden_of, rounded, unless_missing

ITERATIONS_OF_STEPS = 1 << 17  # steps of one call, in whole iterations: the start of a run does not show
SEEDS = range(5)


class Iterations(Rate):
    """`fastpg.train` on CartPole, T=128 (A2C: 16): rollout, gradient, optimizer, value epochs."""

    params = (["Reinforce", "VPG", "A2C"], ["linear", "64-64"], [8, 1024], [1, "all"])
    param_names = ("algorithm", "policy", "num_envs", "threads")

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, algorithm: str, policy: str, num_envs: int) -> Work:
        unless_missing((f"fastpg.{algorithm}",))
        import fastpg

        settings: dict[str, Any] = {"value_hidden": hidden_of(policy)} if algorithm != "Reinforce" else {}
        how = getattr(fastpg, algorithm)(learning_rate=1e-9, **settings)  # the episodes stay as they are
        horizon = 16 if algorithm == "A2C" else 128
        iteration = num_envs * horizon
        steps = max(1, ITERATIONS_OF_STEPS // iteration) * iteration

        def train() -> None:
            fastpg.train(
                "CartPole-v1",
                how,
                num_envs=num_envs,
                horizon=horizon,
                hidden=hidden_of(policy),
                total_steps=steps,
            )

        return train, steps


class TimeToSolve:
    """CartPole to a mean return of 475, the algorithm's defaults, one thread; medians over five seeds."""

    params = (["Reinforce", "VPG"],)
    param_names = ("algorithm",)
    version = "1"
    timeout = 600

    def setup_cache(self):
        return {name: self.solve(name) for name in self.params[0]}

    def solve(self, algorithm: str) -> tuple[float, int] | None:
        """Return seconds and steps of the median seed, the seconds of each the least of several runs."""
        try:
            unless_missing((f"fastpg.{algorithm}",))
        except NotImplementedError:
            return None
        import fastpg

        fastpg.set_num_threads(1)
        seconds, steps = [], []
        for seed in SEEDS:
            runs = [
                fastpg.train("CartPole-v1", getattr(fastpg, algorithm)(), target_return=475, seed=seed)
                for _ in range(LEAST_CALLS)
            ]
            seconds.append(min(run.seconds for run in runs))
            steps.append(runs[0].num_steps)
        return statistics.median(seconds), int(statistics.median(steps))

    def setup(self, solved: dict[str, tuple[float, int] | None], algorithm: str) -> None:
        if solved[algorithm] is None:
            raise NotImplementedError("not in this commit")

    def track_seconds(self, solved: dict[str, tuple[float, int]], algorithm: str) -> float:
        return rounded(solved[algorithm][0])

    track_seconds.unit = "seconds"  # type: ignore[attr-defined]

    def track_environment_steps(self, solved: dict[str, tuple[float, int]], algorithm: str) -> int:
        return solved[algorithm][1]

    track_environment_steps.unit = "steps"  # type: ignore[attr-defined]
