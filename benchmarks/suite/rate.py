"""How every rate is measured, whoever asks: asv, gate.py or compare.py.

A benchmark is a subclass of `Rate` that says what one call of its work is. asv gets the result twice, as
steps per second, which people read, and as nanoseconds per step, since its regression detection takes less
for better.
"""

import abc
import itertools
import os
import pkgutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SECONDS = float(os.environ.get("FASTPG_BENCH_SECONDS", "0.4"))  # that a rate is measured for
LEAST_CALLS = 3 if SECONDS >= 0.1 else 1  # below, nobody reads the figures: the benchmarks are tried
Work = tuple[Callable[[], object], int]  # what to call, and how many steps one call is


def seconds_of_calls(
    work: Callable[[], object], *, lasting: float = SECONDS, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Time calls of `work` for about `lasting` seconds after one to warm up, LEAST_CALLS at least."""
    work()
    seconds: list[float] = []
    end = clock() + lasting
    while len(seconds) < LEAST_CALLS or clock() < end:
        begin = clock()
        work()
        seconds.append(clock() - begin)
    return seconds


def rounded(figure: float) -> float:
    """Four significant digits: more are noise in files and tables."""
    return float(f"{figure:.4g}")


def hidden_of(policy: str) -> tuple[int, ...]:
    """Widths of the hidden layers of "linear", "32", "64-64"."""
    return () if policy == "linear" else tuple(int(width) for width in policy.split("-"))


def unless_missing(names: tuple[str, ...]) -> None:
    """Skip the benchmark (NotImplementedError, for asv) in a commit or environment without these names."""
    import fastpg  # noqa: F401  (a core that cannot be imported fails, and is not skipped)

    for name in names:
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError) as error:
            raise NotImplementedError(f"there is no {name} here") from error


class Rate(abc.ABC):
    """Steps per second, the best of many calls; one thread unless the last parameter is `threads`.

    A subclass also has a `setup_cache` that returns `self.measure_all()`. asv knows a cache by the place of
    its function, so it cannot be written once, here. All parameters are measured there, one after the other
    in one process.
    """

    params: tuple[list[Any], ...]
    param_names: tuple[str, ...]
    needs: tuple[str, ...] = ()  # dotted names, without which a commit is skipped
    version = "1"  # a curve ends where it changes: raise it with the work
    timeout = 600

    @abc.abstractmethod
    def prepare(self, *params: Any) -> Work:
        """Return the work for these parameters, `threads` left out."""

    def work(self, *params: Any) -> Work:
        """Return the work, the number of threads set. NotImplementedError: not in this commit."""
        import fastpg

        unless_missing(self.needs)
        threads = 1
        if self.param_names[-1] == "threads":
            *params, threads = params  # type: ignore[assignment]
        fastpg.set_num_threads(os.cpu_count() or 1 if threads == "all" else int(threads))
        return self.prepare(*params)

    def measure_all(self) -> dict[tuple[Any, ...], float]:
        """Return the least seconds per step for all parameters that this commit has."""
        found = {}
        for params in itertools.product(*self.params):
            try:
                call, steps = self.work(*params)
            except NotImplementedError:
                continue
            found[params] = min(seconds_of_calls(call)) / steps
        return found

    def setup(self, seconds: dict[tuple[Any, ...], float], *params: Any) -> None:
        if params not in seconds:
            raise NotImplementedError("not in this commit")

    def track_steps_per_second(self, seconds: dict[tuple[Any, ...], float], *params: Any) -> float:
        return rounded(1 / seconds[params])

    track_steps_per_second.unit = "steps/s"  # type: ignore[attr-defined]

    def track_nanoseconds_per_step(self, seconds: dict[tuple[Any, ...], float], *params: Any) -> float:
        return rounded(1e9 * seconds[params])

    track_nanoseconds_per_step.unit = "ns/step"  # type: ignore[attr-defined]


def batch(size: int, obs_size: int = 4, actions: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return observations, actions and weights of a batch that a caller could have."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(size, obs_size)).astype(np.float32)
    return obs, rng.integers(actions, size=size), rng.normal(size=size).astype(np.float32)
