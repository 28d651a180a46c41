"""Callbacks of each of many runs: runs pause where theirs are due, and go on as if they had not."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, files
from fastpg.envs.gymnasium.opening import AnyEnv
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.callbacks import AnyCallback, Callback, Callbacks, TrainProgress
from fastpg.training.metrics import Newest

if TYPE_CHECKING:
    from fastpg.training.members import Members

CallbacksOf = Callable[[int], AnyCallback | Sequence[AnyCallback] | None]


class Standing(NamedTuple):
    """Where a run stands."""

    policy: Policy
    value: ValueFunction | None
    config: dict[str, Any]
    mean_return: float  # of its last 100 or more episodes
    records: NDArray[np.void]  # of its newest iterations


class Watched:
    """Runs, and the callbacks of each: a context, at whose end all callbacks have heard of the end.

    Callbacks are called after iterations, those that say how many steps apart not after all of them.
    """

    def __init__(
        self, members: "Members", callbacks: Sequence[Callbacks], env: AnyEnv, places: Sequence[Path | None]
    ) -> None:
        """`callbacks` and `places`, the folders, are of each run; both are empty without callbacks.

        `env` is what callbacks are told of the environment.
        """
        self._members = members
        self._stack = contextlib.ExitStack()
        of_each = zip(range(len(callbacks)), callbacks, places, strict=True)
        self._runs = [_WatchedRun(members, k, own, env, place) for k, own, place in of_each]

    def __enter__(self) -> "Watched":
        with contextlib.ExitStack() as stack:
            for k, run in enumerate(self._runs):
                run.is_over = bool(self._members.stopped[k])  # before a call that was killed
                if not run.is_over:
                    stack.enter_context(run)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def advance(self, pause_at: int | None, report: Callable[[int, int], None]) -> None:
        """Let all that may go on do so, up to so many steps or to their ends, with pauses for callbacks."""
        members = self._members
        while True:
            going = [k for k in members.going() if pause_at is None or members.steps_of(k) < pause_at]
            if not going:
                return
            pauses: dict[int, int | None] = dict.fromkeys(going, pause_at)
            for k in going if self._runs else ():
                due = self._runs[k].pause_after(members.steps_of(k))
                pauses[k] = due if pause_at is None or (due is not None and due < pause_at) else pause_at
            members.advance(pauses, report)
            if self._runs:
                for k in going:
                    self._runs[k].look()

    def look(self) -> None:
        """Tell callbacks of runs that have ended otherwise than by themselves."""
        for k, run in enumerate(self._runs):
            if self._members.stopped[k] and not run.is_over:
                run.look()


class _WatchedRun:
    """One of the runs."""

    def __init__(
        self, members: "Members", k: int, callbacks: Callbacks, env: AnyEnv, place: Path | None
    ) -> None:
        self._members, self._k, self._callbacks, self._env, self._place = members, k, callbacks, env, place
        self._newest, self._num_iterations, self._seconds = Newest(), 0, 0.0
        self._stack = contextlib.ExitStack()
        self.is_over = False

    def __enter__(self) -> "_WatchedRun":
        if self._place is not None:
            with files.saving(self._callbacks.where, self._place):
                self._place.mkdir(exist_ok=True)
        self._stack.enter_context(self._callbacks.watching(self._progress))
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def pause_after(self, num_steps: int) -> int | None:
        """Return after how many steps the next callback is due; None if there is none."""
        return self._callbacks.next_due(num_steps)

    def look(self) -> None:
        """Call the callbacks that are due; all of them where the run has ended, unless it has failed."""
        because = self._members.stopped[self._k]
        if because != "error" and self._call(last=bool(because)) and not because:
            self._members.stop(self._k, "callback")
        if self._members.stopped[self._k]:
            self.is_over = True
            self._stack.close()

    def _call(self, *, last: bool) -> bool:
        try:
            return self._callbacks(self._progress(), last=last)
        except Exception as error:  # which ends all runs
            error.add_note(f"in {self._callbacks.where}")
            raise

    def _progress(self) -> TrainProgress:
        standing = self._members.standing(self._k, self._num_iterations)
        self._newest.add(standing.records)
        self._num_iterations += len(standing.records)
        self._seconds += float(standing.records["seconds"].sum())
        return TrainProgress(
            self._members.steps_of(self._k),
            self._num_iterations,
            standing.config["total_steps"],
            self._seconds,
            standing.mean_return,
            standing.policy,
            standing.value,
            self._newest.values,
            self._env,
            standing.config,
            self._place,
        )


def callbacks_of_each(where: str, callbacks_of: Any, count: int) -> list[Callbacks]:
    """Return what `callbacks_of`, an argument of `where`, returns of so many runs, checked; [] of None."""
    if callbacks_of is None:
        return []
    if not callable(callbacks_of):
        raise TypeError(
            f"{where}: callbacks_of must be a function of a run's number that returns its callbacks, got "
            f"{_check.shown(callbacks_of)}"
        )
    _check.takes(where, "callbacks_of", callbacks_of, 0)
    given = [callbacks_of(k) for k in range(count)]
    first: dict[int, int] = {}
    for k, callbacks in enumerate(given):
        for one in callbacks if isinstance(callbacks, list | tuple) else [callbacks]:
            if isinstance(one, Callback) and first.setdefault(id(one), k) != k:  # it remembers one run
                raise ValueError(
                    f"{where}: callbacks_of returns the same {type(one).__name__} for the runs "
                    f"{first[id(one)]} and {k}: make another one for each run"
                )
    return [Callbacks(f"{where}: callbacks_of({k})", callbacks) for k, callbacks in enumerate(given)]
