"""The end of a run that no longer gets better."""

import math
import warnings
from typing import Any

from fastpg import _check, _spelling
from fastpg.training.callbacks import Callback, TrainProgress
from fastpg.training.metrics import COLUMNS


class EarlyStopping(Callback):
    """Stops a run whose return has not risen for a while; `stopped_because` is then "callback".

    Where it stops depends neither on how fast the run is, nor on whether it was killed and gone on with.

    Parameters
    ----------
    patience : int
        Stop when so many environment steps have brought nothing better.
    min_delta : float
        Better is what is better by more than this.
    monitor : str, optional
        One of the metrics of TrainProgress, as "eval/mean_reward" of an Evaluate that comes before this in
        the list of callbacks: the run can then stop after each evaluation, else after every iteration. By
        default the mean return of the last 100 or more training episodes.
    mode : {"max", "min"}
        Whether larger or smaller is better.

    Attributes
    ----------
    best : float
        The best so far; NaN while there is none.

    Examples
    --------
    >>> import fastpg
    >>> stop = fastpg.callbacks.EarlyStopping(patience=20_000, min_delta=1000.0)
    >>> run = fastpg.train("CartPole-v1", fastpg.VPG(), total_steps=10**9, callback=stop)
    >>> run.stopped_because
    'callback'
    """

    def __init__(
        self, patience: int, *, min_delta: float = 0.0, monitor: str | None = None, mode: str = "max"
    ) -> None:
        where = "EarlyStopping()"
        self._patience = _check.integer(where, "patience", patience, 1, _check.MAX_COUNT)
        self._min_delta = _check.real(where, "min_delta", min_delta, "[0, inf)")
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"{where}: monitor must be the name of a metric, got {_check.shown(monitor)}")
        self._monitor = monitor
        self._sign = 1.0 if _check.choice(where, "mode", mode, ("max", "min")) == "max" else -1.0
        if monitor is None or monitor in COLUMNS:
            self.every = 1  # where the run ends is then no matter of how fast it is
        self.best = math.nan
        self._best_at = 0
        self._last_at: int | None = None  # of the newest value
        self._forget()

    def _forget(self) -> None:
        # Metrics of the call before, with what came after this in the list.
        self._others: dict[str, float] = {}
        self._warned = False

    def on_training_start(self, progress: TrainProgress) -> None:
        """Forget another run."""
        self.best, self._best_at, self._last_at = math.nan, progress.num_steps, None
        self._forget()

    def __call__(self, progress: TrainProgress) -> bool:
        """Return whether it has been too long."""
        value = progress.mean_return if self._monitor is None else progress.metrics.get(self._monitor)
        if value is not None:  # None: of another callback, which has nothing new
            self._last_at = progress.num_steps
            if self._is_better(value):
                self.best, self._best_at = float(value), progress.num_steps
        if self._last_at is None:
            self._look_for_it(progress)
        if self._last_at is None or math.isnan(self.best):
            return False
        return self._last_at - self._best_at >= self._patience

    def _is_better(self, value: float) -> bool:
        if math.isnan(self.best):
            return not math.isnan(value)
        return self._sign * (value - self.best) > self._min_delta

    def state_dict(self) -> dict[str, Any]:
        """Return the best, since when it has been that, and when that was looked at."""
        return {"best": self.best, "best_at": self._best_at, "last_at": self._last_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on waiting."""
        self.best, self._best_at, self._last_at = state["best"], state["best_at"], state["last_at"]

    def on_training_end(self, progress: TrainProgress) -> None:
        """Warn of a metric that never came."""
        if self._monitor is not None and progress.num_iterations and self._last_at is None:
            self._warn("the run had no metric", progress)

    def _look_for_it(self, progress: TrainProgress) -> None:
        """Warn while the run lasts of a metric that should have come: its like have, or it is high time."""
        assert self._monitor is not None
        group, slash, _ = self._monitor.rpartition("/")
        its_like = any(name.startswith(group + slash) for name in self._others | progress.metrics)
        if (slash and its_like) or progress.num_steps - self._best_at >= self._patience:
            self._warn("the run has had no metric", progress)
        self._others = progress.metrics

    def _warn(self, begin: str, progress: TrainProgress) -> None:
        """Say once that there is no such metric, and which was meant."""
        if self._warned:
            return
        self._warned = True
        assert self._monitor is not None
        names = self._others | progress.metrics
        if self._monitor in names:
            hint = "it is of a callback after this in the list; put that before this"
        else:
            hint = f"{_spelling.hint(self._monitor, names)} (callbacks before this may add others)"
        warnings.warn(f"EarlyStopping(): {begin} {self._monitor!r}; {hint}", RuntimeWarning, stacklevel=2)
