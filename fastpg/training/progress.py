"""The live line that a training run shows on stderr."""

import math
import sys
import time
from types import TracebackType
from typing import TextIO

LOG_SECONDS = 10.0  # between lines where stderr is a file or a pipe


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
            self._write(f"\r\x1b[K{text}")
        elif self._enabled and (last or time.monotonic() >= self._next_log):
            self._next_log = time.monotonic() + LOG_SECONDS
            self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        """Write and flush; a stream that takes no more, as a pipe that nobody reads, is left alone then."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            self._enabled = self._live = False


def progress_text(
    num_steps: int, total_steps: int, seconds: float, mean_return: float, approx_kl: float
) -> str:
    """Say in one line where a run stands; `approx_kl` is the newest iteration's, NaN where it has none.

    Examples
    --------
    >>> progress_text(250_000, 1_000_000, 0.5, 123.45, math.nan)
    '250,000 of 1,000,000 steps | 500,000 steps/s | mean return 123.5 | 0.5 s'
    >>> progress_text(250_000, 1_000_000, 0.5, 123.45, 0.0123)
    '250,000 of 1,000,000 steps | 500,000 steps/s | mean return 123.5 | KL 0.012 | 0.5 s'
    """
    rate = num_steps / seconds if seconds > 0 else 0.0
    earned = "-" if math.isnan(mean_return) else f"{mean_return:.1f}"
    steps = f"{num_steps:,} of {total_steps:,} steps"
    moved = "" if math.isnan(approx_kl) else f" | KL {approx_kl:.2g}"
    return f"{steps} | {rate:,.0f} steps/s | mean return {earned}{moved} | {seconds:.1f} s"


def runs_text(num_ended: int, num_runs: int, num_steps: int, seconds: float) -> str:
    """Say in one line where many runs stand.

    Examples
    --------
    >>> runs_text(3, 64, 1_000_000, 0.5)
    '3 of 64 runs | 1,000,000 steps | 2,000,000 steps/s | 0.5 s'
    """
    rate = num_steps / seconds if seconds > 0 else 0.0
    return f"{num_ended} of {num_runs} runs | {num_steps:,} steps | {rate:,.0f} steps/s | {seconds:.1f} s"
