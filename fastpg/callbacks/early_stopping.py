"""The end of a run that no longer gets better."""

import math
import warnings

from fastpg import _check
from fastpg.training.callbacks import Callback, TrainProgress


class EarlyStopping(Callback):
    """Stops a run whose return has not risen for a while; `stopped_because` is then "callback".

    Parameters
    ----------
    patience : int
        Stop when so many environment steps have brought nothing better.
    min_delta : float
        Better is what is better by more than this.
    monitor : str, optional
        One of the metrics of TrainProgress, as "eval/mean_reward" of an Evaluate that comes before this in
        the list of callbacks. By default the mean return of the last 100 or more training episodes, after
        every iteration.
    mode : {"max", "min"}
        Whether larger or smaller is better.

    Attributes
    ----------
    best : float
        The best so far, since the run was begun or resumed; NaN while there is none.

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
        if monitor is None:
            self.every = 1  # where the run ends is then no matter of how fast it is
        self.best = math.nan
        self._best_at = 0
        self._seen = False

    def on_training_start(self, progress: TrainProgress) -> None:
        """Forget another run."""
        self.best, self._best_at, self._seen = math.nan, progress.num_steps, False

    def __call__(self, progress: TrainProgress) -> bool:
        """Return whether it has been too long."""
        if self._monitor is None:
            value = progress.mean_return
        else:
            self._seen = self._seen or self._monitor in progress.metrics
            value = progress.metrics.get(self._monitor, math.nan)
        if math.isnan(self.best):
            if not math.isnan(value):
                self.best, self._best_at = value, progress.num_steps
        elif self._sign * (value - self.best) > self._min_delta:
            self.best, self._best_at = value, progress.num_steps
        return not math.isnan(self.best) and progress.num_steps - self._best_at >= self._patience

    def on_training_end(self, progress: TrainProgress) -> None:
        """Warn of a metric that never came."""
        if self._monitor is not None and progress.num_iterations and not self._seen:
            warnings.warn(
                f"EarlyStopping(): the run had no metric {self._monitor!r}; it had "
                f"{', '.join(progress.metrics)}, and what callbacks before this in the list add",
                RuntimeWarning,
                stacklevel=2,
            )
