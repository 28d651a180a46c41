"""The training loop: slices of compiled iterations, and what Python does between them."""

import math
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.batches.episodes import none_has_ended
from fastpg.distributed.ranks import Ranks
from fastpg.errors import SaveError
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.callbacks import Callbacks, Remembered, TrainProgress
from fastpg.training.curves import write_curve
from fastpg.training.metrics import Newest, column, history
from fastpg.training.progress import ProgressLine, progress_text
from fastpg.training.result import TrainResult
from fastpg.training.run_folder import RunFolder
from fastpg.training.trainer import GymnasiumTrainer

LENGTH = column("mean_length")
SLICE_SECONDS = 0.1  # how long the compiled loop runs before Python hears of it


class Loop:
    """A trainer on its way to the end, whichever it is: progress, callbacks, files, exceptions.

    Attributes
    ----------
    env : as in `train`
        What callbacks are told of the environment.
    folder : RunFolder or None
        Where the run is kept.
    records : list of arrays
        The first: of the iterations before, where a run goes on. The others: of those since.
    seconds : float
        What the run has taken so far.
    """

    env: Any = None
    show: bool = False
    save_to: Path | None = None
    folder: RunFolder | None = None
    seconds: float = 0.0

    def __init__(
        self,
        where: str,
        trainer: "_core.Trainer | GymnasiumTrainer",
        policy: Policy,
        value: ValueFunction | None,
        config: dict[str, Any],
        ranks: Ranks | None = None,
    ) -> None:
        self.where, self.trainer, self.policy, self.value, self.config = where, trainer, policy, value, config
        self.callbacks = Callbacks(where, None)
        self.ranks = ranks
        self.leads = ranks is None or ranks.leads
        if ranks is not None:
            if isinstance(trainer, GymnasiumTrainer):
                trainer.share(ranks)
            else:
                trainer.share(ranks.core)
        self.records: list[NDArray[np.void]] = [np.empty(0, _core.STATS_DTYPE)]

    def run(self) -> TrainResult:
        """Run to the end, and return what `train` returns."""
        start = time.perf_counter() - self.seconds
        try:
            stopped_because = self._iterate(start)
            self.seconds = time.perf_counter() - start
            return self._finished(stopped_because)
        except BaseException as error:
            # An iteration that fails changes nothing, so what there is to save is the last good policy.
            self.seconds = time.perf_counter() - start
            if not (isinstance(error, SaveError) and error.result is not None):
                saved = "; ".join(self._rescued())
                if saved:
                    error.add_note(f"after {self.trainer.agent.num_steps:,} steps; {saved}")
            raise

    def _iterate(self, start: float) -> str:
        """Run iterations until the run is over; return why it is."""
        agent, folder = self.trainer.agent, self.folder
        newest = Newest()
        newest.add(self.records[0])

        def progress() -> TrainProgress:
            return TrainProgress(
                agent.num_steps,
                agent.num_iterations,
                self.config["total_steps"],
                time.perf_counter() - start,
                agent.mean_return,
                self.policy,
                self.value,
                newest.values,
                self.env,
                self.config,
                None if folder is None else folder.path,
            )

        shown, heard = -math.inf, False
        stopped_because = agent.stopped_because
        show = self.show and self.leads
        with self.callbacks.watching(progress), ProgressLine(enabled=show) as line:
            if folder is not None:
                self.callbacks.remembered(agent.num_steps)  # what cannot be kept is found out here
            if self._any_rank(self.callbacks.catch_up(progress())) and not stopped_because:
                stopped_because = "callback"
            while not stopped_because:
                capacity = self._capacity(agent.num_steps)
                newest.add(self.trainer.run(SLICE_SECONDS, capacity, self.records, self.where))
                self.policy.written()  # a callback may have made a torch module of it
                if self.value is not None:
                    self.value.written()
                stopped_because = agent.stopped_because
                if self.leads and not heard and math.isnan(newest.values.get(LENGTH, 0.0)):
                    heard = none_has_ended(self.where, agent.num_steps, self.config["num_envs"])
                if folder is not None:
                    folder.add(self.where, self.records)
                state = progress()
                if state.seconds - shown >= SLICE_SECONDS or stopped_because:
                    shown = state.seconds
                    text = progress_text(
                        state.num_steps, state.total_steps, shown, state.mean_return, state.metrics
                    )
                    line.update(text, last=bool(stopped_because))
                # Before the checkpoint, so that a run that goes on from it has done what was due.
                wants_end = self._any_rank(self.callbacks(state, last=bool(stopped_because)))
                if wants_end and not stopped_because:
                    stopped_because = "callback"
                if folder is not None and folder.is_due(agent.num_steps) and not stopped_because:
                    self.seconds = time.perf_counter() - start
                    folder.try_save(self.where, *self._checkpoint())
        return stopped_because

    def _any_rank(self, wants_end: bool) -> bool:
        """Return whether a callback of any rank stops the run."""
        return wants_end if self.ranks is None else any(self.ranks.exchange(wants_end))

    def _checkpoint(self) -> tuple[dict[str, NDArray[Any]], float, Remembered]:
        """Return what a checkpoint is made of."""
        return self.trainer.state(), self.seconds, self.callbacks.remembered(self.trainer.agent.num_steps)

    def _capacity(self, num_steps: int) -> int:
        """Return how many iterations there may be until Python is needed."""
        if not self.leads:  # rank 0 decides
            return 16384
        most = 1 if self.callbacks.each_iteration else 16384
        left = self.callbacks.steps_left(num_steps)
        if self.folder is not None:
            left = min(left, self.folder.steps_left(num_steps))
        if left == math.inf:
            return most
        if not self.config["horizon"]:  # then nobody knows how many steps an iteration will take
            return 1
        most_steps: int = self.config["horizon"] * self.config["num_envs"]  # of an iteration
        return max(1, min(most, math.ceil(left / most_steps)))

    def _finished(self, stopped_because: str) -> TrainResult:
        """Save what there is, and return it."""
        num_steps = self.trainer.agent.num_steps
        result = TrainResult(
            self.policy,
            self.value,
            history(self.records),
            self.config,
            stopped_because,
            num_steps,
            self.seconds,
        )
        try:
            if self.folder is not None:
                self.folder.save(self.where, *self._checkpoint())
                self._save_what_was_learnt(self.folder)
            if self.save_to is not None:
                self.policy.save_as(self.where, self.save_to)
        except SaveError as error:
            error.result = result
            raise
        return result

    def _save_what_was_learnt(self, folder: RunFolder) -> None:
        folder.save_networks(self.where, self.policy, self.value)
        write_curve(self.where, folder.path, folder.settings, np.concatenate(self.records))

    def _rescued(self) -> Iterator[str]:
        """Save the policy, and the state, of a run that failed; return what to say of it."""
        if self.save_to is not None and self.trainer.agent.num_iterations:
            try:
                self.policy.save_as(self.where, self.save_to)
                yield f"policy saved to {self.save_to}"
            except (SaveError, ValueError) as error:
                yield f"policy not saved: {error}"
        if self.folder is not None:
            try:
                self.folder.add(self.where, self.records)
                self.folder.save(self.where, *self._checkpoint())
                self._save_what_was_learnt(self.folder)
                yield f"fastpg resume {shlex.quote(str(self.folder.path))} goes on"
            except Exception as error:  # `state_dict` of a callback may raise anything
                yield f"run not saved: {error}"
