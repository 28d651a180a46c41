"""The live line that a training run shows on stderr."""

import math
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

LOG_SECONDS = 10.0  # between lines where stderr is a file or a pipe
# What is shown of the newest iteration, where the algorithm has it.
SHOWN = {
    "rollout/ep_len_mean": "length {:.1f}",
    "train/entropy": "entropy {:.3f}",
    "train/approx_kl": "KL {:.2g}",
}


class ProgressLine:
    """One line that rewrites itself on a terminal; elsewhere a new line now and then, and at the end."""

    def __init__(self, *, enabled: bool, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._enabled = enabled and self._stream is not None  # there is no stderr where it was closed
        self._live = self._enabled and not self._stream.closed and self._stream.isatty()
        self._next_log = time.monotonic() + LOG_SECONDS

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._write("\n")

    def update(self, text: str, *, last: bool) -> None:
        """Show where the run stands; `last` is its final state."""
        if self._live:
            self._write(f"\r\x1b[K{text[: self._width()]}")
        elif self._enabled and (last or time.monotonic() >= self._next_log):
            self._next_log = time.monotonic() + LOG_SECONDS
            self._write(f"{text}\n")

    def _width(self) -> int | None:
        """Return how much fits in the line of a terminal: what wraps around cannot be written over."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (AttributeError, OSError, ValueError):  # it does not say
            return None
        return columns - 1 if columns > 1 else None

    def _write(self, text: str) -> None:
        """Write and flush; a stream that takes no more, as a pipe that nobody reads, is left alone then."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            self._enabled = self._live = False


def progress_text(
    num_steps: int, total_steps: int, seconds: float, mean_return: float, metrics: Mapping[str, float]
) -> str:
    """Say in one line where a run stands, the most important first; `metrics` are the newest iteration's.

    Examples
    --------
    >>> progress_text(250_000, 1_000_000, 0.5, math.nan, {})
    '250,000 of 1,000,000 steps | 0.5 s, 1.5 s left | 500,000 steps/s | mean return -'
    >>> metrics = {"rollout/ep_len_mean": 87.21, "train/entropy": 0.6, "train/approx_kl": 0.0123}
    >>> progress_text(1_000_000, 1_000_000, 2.0, 123.45, metrics)  # doctest: +ELLIPSIS
    '1,000,000 of 1,000,000 steps | 2.0 s | 500,000 steps/s | mean return 123.5 | length 87.2 | ...'
    """
    rate = num_steps / seconds if seconds > 0 else 0.0
    time_ = duration(seconds)
    if 0 < num_steps < total_steps:
        time_ += f", {duration(seconds / num_steps * (total_steps - num_steps))} left"
    earned = "-" if math.isnan(mean_return) else f"{mean_return:.1f}"
    parts = [
        f"{num_steps:,} of {total_steps:,} steps",
        time_,
        f"{rate:,.0f} steps/s",
        f"mean return {earned}",
    ]
    for name, form in SHOWN.items():
        value = metrics.get(name, math.nan)
        if not math.isnan(value):
            parts.append(form.format(value))
    return " | ".join(parts)


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> duration(0.52), duration(99.0), duration(150.0), duration(9000.0), duration(1e6)
    ('0.5 s', '99.0 s', '2.5 min', '2.5 h', '277.8 h')
    """
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 100 * length / 60:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def runs_text(num_ended: int, num_runs: int, num_steps: int, seconds: float) -> str:
    """Say in one line where many runs stand.

    Examples
    --------
    >>> runs_text(3, 64, 1_000_000, 0.5)
    '3 of 64 runs | 1,000,000 steps | 2,000,000 steps/s | 0.5 s'
    """
    rate = num_steps / seconds if seconds > 0 else 0.0
    return f"{num_ended} of {num_runs} runs | {num_steps:,} steps | {rate:,.0f} steps/s | {seconds:.1f} s"
