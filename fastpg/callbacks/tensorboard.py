"""The metrics of a run for TensorBoard."""

import math
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from fastpg import _check, files
from fastpg.errors import SaveError
from fastpg.training.callbacks import Callback, TrainProgress

FLUSH_SECONDS = 5.0  # so long what is written may take to appear
IN_RUN = "tensorboard"  # the folder in that of a run


class TensorBoard(Callback):
    """Writes the metrics of a run for TensorBoard, under the names of metrics.csv, over environment steps.

    Needs tensorboardX: pip install '.[tensorboard]'. To look at them: ``tensorboard --logdir FOLDER``.
    A run that goes on writes into the same folder, and what the folder has of later steps is no longer shown.

    Parameters
    ----------
    folder : path, optional
        By default "tensorboard" in the folder of the run. Of another run that wrote there, nothing is shown
        any more.
    every : int, optional
        Steps between points; by default they are about 0.1 s apart, or those of every iteration with
        ``train(callback_every="iteration")``.

    Raises
    ------
    ImportError
        tensorboardX is not installed.
    ValueError
        There is no folder: neither one is given, nor has the run one.
    fastpg.SaveError
        Before the first iteration: the folder cannot be written. What cannot be written later is warned of,
        and the run goes on without.

    Examples
    --------
    >>> import fastpg
    >>> board = fastpg.callbacks.TensorBoard("runs/cartpole")  # doctest: +SKIP
    >>> run = fastpg.train("CartPole-v1", callback=board)  # doctest: +SKIP
    """

    _writer: Any = None

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, every: int | None = None) -> None:
        where = "TensorBoard()"
        self._folder = None
        if folder is not None:
            self._folder = files.output_folder(where, "folder", folder)
            files.probe_folder(where, self._folder)
        self.every = None if every is None else _check.integer(where, "every", every, 1, _check.MAX_COUNT)
        try:
            from tensorboardX import event_file_writer
            from tensorboardX.proto import event_pb2, summary_pb2
        except ImportError as error:
            raise ImportError(f"{where} needs tensorboardX: pip install '.[tensorboard]'") from error
        self._open: Any = event_file_writer.EventsWriter
        self._events: Any = event_pb2
        self._summaries: Any = summary_pb2

    def on_training_start(self, progress: TrainProgress) -> None:
        """Open a file of events, which hides those of later steps."""
        folder = self._folder
        if folder is None:
            if progress.run is None:
                raise ValueError("TensorBoard(): pass a folder, as the run has none: train(run=...)")
            folder = progress.run / IN_RUN
        with files.saving("TensorBoard()", folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Not tensorboardX's usual writer: where its thread cannot write, the run would wait for ever.
            self._writer = self._open(str(folder.absolute() / "events"), f".{progress.num_steps:013}")
            start = self._events.SessionLog(status=self._events.SessionLog.START)
            event = self._events.Event(wall_time=time.time(), step=progress.num_steps + 1, session_log=start)
            self._writer.write_event(event)
            self._writer.flush()
        self._path, self._flushed = folder, time.monotonic()

    def __call__(self, progress: TrainProgress) -> None:
        """Write what there is of the newest iteration."""
        if self._writer is None:
            return
        values = [
            self._summaries.Summary.Value(tag=name, simple_value=value)
            for name, value in progress.metrics.items()
            if not math.isnan(value)
        ]
        summary = self._summaries.Summary(value=values)
        event = self._events.Event(wall_time=time.time(), step=progress.num_steps, summary=summary)
        self._try(lambda writer: writer.write_event(event))
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flushed = time.monotonic()
            self._try(lambda writer: writer.flush())

    def on_training_end(self, progress: TrainProgress) -> None:
        """Close the file."""
        self._try(lambda writer: writer.close())
        self._writer = None

    def _try(self, write: Callable[[Any], object]) -> None:
        """Write; if that fails, say so, and write no more."""
        if self._writer is None:
            return
        try:
            with files.saving("TensorBoard()", self._path):
                write(self._writer)
        except SaveError as error:
            self._writer = None
            warnings.warn(f"{error}; the run goes on without", RuntimeWarning, stacklevel=2)
