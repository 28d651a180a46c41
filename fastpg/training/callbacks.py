"""What a run shows while it lasts, and whom it shows it to."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fastpg import _check
from fastpg.envs.gymnasium.opening import AnyEnv
from fastpg.errors import CheckpointError
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction


@dataclass(frozen=True, slots=True, eq=False)
class TrainProgress:
    """Where a run stands; `train` hands it to its callbacks about every 0.1 s.

    Attributes
    ----------
    num_steps, num_iterations : int
        So far.
    total_steps : int
        Where the run ends at the latest.
    seconds : float
        Wall time so far.
    mean_return : float
        Mean undiscounted return of the last 100 or more episodes; NaN while there is none.
    policy : Policy
        The policy itself, not a copy: it goes on learning after the callback returns.
    value : ValueFunction or None
        The same of the value function.
    metrics : dict of str to float
        The newest iteration under the names of metrics.csv, as "rollout/ep_rew_mean" (docs/runs.md); returns
        and lengths are those of the newest iteration in which an episode ended. NaN is what there is not.
        Empty before the first iteration. What a callback adds, the callbacks after it see.
    env : str, callable, ...
        What `train` was given as env_id.
    config : dict
        Every setting of the run, as in TrainResult.
    run : pathlib.Path or None
        The folder of the run.
    """

    num_steps: int
    num_iterations: int
    total_steps: int
    seconds: float
    mean_return: float
    policy: Policy
    value: ValueFunction | None
    metrics: dict[str, float]
    env: AnyEnv
    config: dict[str, Any]
    run: Path | None


class Callback:
    """A callback with a beginning and an end. Any function of a TrainProgress is a callback as well.

    Attributes
    ----------
    every : int or None
        The callback is called after the first iteration that reaches a multiple of so many steps, wherever
        the run was begun, and when the run is over; by default about every 0.1 s.

    Examples
    --------
    >>> import fastpg
    >>> class Snapshots(fastpg.callbacks.Callback):
    ...     every = 10_000
    ...
    ...     def on_training_start(self, progress):
    ...         self.policies = []
    ...
    ...     def __call__(self, progress):
    ...         self.policies.append(progress.policy.copy())
    >>> snapshots = Snapshots()
    >>> run = fastpg.train("CartPole-v1", fastpg.VPG(), total_steps=30_000, callback=snapshots)
    >>> len(snapshots.policies)
    3
    """

    every: int | None = None

    def on_training_start(self, progress: TrainProgress) -> None:
        """Do what comes before the first iteration, or the first one of a run that goes on."""

    def __call__(self, progress: TrainProgress) -> bool | None:
        """Look at where the run stands; return True to stop it."""

    def on_training_end(self, progress: TrainProgress) -> None:
        """Do what comes after the last iteration, whatever has ended the run: an exception as well."""

    def state_dict(self) -> dict[str, Any]:
        """Return what this has to remember if the run is to go on, as JSON has it: checkpoints keep it."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` returned; called after `on_training_start` where a run goes on.

        It is given to the callback of the same class, of several the one of the same place among them.
        """


AnyCallback = Callable[[TrainProgress], bool | None]
Remembered = list[dict[str, Any]]  # what a checkpoint keeps of callbacks
TO_BE_CALLED = -1  # steps of a callback's last call: it is to be called again before the next iteration


class Callbacks:
    """The callbacks of one run, in their order."""

    def __init__(
        self, where: str, given: AnyCallback | Sequence[AnyCallback] | None, every: str = "slice"
    ) -> None:
        _check.choice(where, "callback_every", every, ("slice", "iteration"))
        self.where = where
        if isinstance(given, list | tuple):
            self._all = [_checked(where, f"callback[{k}]", one) for k, one in enumerate(given)]
        else:
            self._all = [] if given is None else [_checked(where, "callback", given)]
        self._every = [one.every if isinstance(one, Callback) else None for one in self._all]
        self.each_iteration = bool(self._all) and every == "iteration"
        self._kept: Remembered | None = []  # what a checkpoint has, until callbacks are told of it
        self._called = [0] * len(self._all)  # at how many steps
        self._stops = [False] * len(self._all)  # what each has answered

    def go_on(self, remembered: Remembered) -> None:
        """Let the run be one that goes on from a checkpoint, which has this of callbacks."""
        self._kept = remembered

    def next_due(self, num_steps: int) -> int | None:
        """Return after how many steps the next one is due that does not go by the time; None: there is none.

        Those without `every` are due after every iteration.
        """
        every = [one or 1 for one in self._every]
        return min(((num_steps // one + 1) * one for one in every), default=None)

    def steps_left(self, num_steps: int) -> float:
        """Return how many steps there may be until a callback is due; inf where time tells."""
        return min((every - num_steps % every for every in self._every if every), default=math.inf)

    @contextlib.contextmanager
    def watching(self, progress: Callable[[], TrainProgress]) -> Iterator[None]:
        """Tell callbacks of the beginning of a run, and those that have heard of it of its end."""
        with contextlib.ExitStack() as stack:
            for one in self._all:
                if isinstance(one, Callback):
                    one.on_training_start(progress())
                    stack.push(_End(one, progress))
            self._called = [progress().num_steps] * len(self._all)
            self._stops = [False] * len(self._all)
            self._remind(self._kept or [])
            self._kept = None
            yield

    def _remind(self, remembered: Remembered) -> None:
        """Give callbacks what a checkpoint has of them."""
        left = list(remembered)
        for k, one in enumerate(self._all):
            found = [entry for entry in left if entry["name"] == _name(one)]
            if not found or not isinstance(one, Callback):
                continue
            left.remove(found[0])
            if found[0]["due"]:
                self._called[k] = TO_BE_CALLED
            try:
                one.load_state_dict(found[0]["state"])
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise CheckpointError(
                    f"{self.where}: {_name(one)} cannot go on with what the checkpoint has of it: "
                    f"{type(error).__name__}: {error}"
                ) from error

    def remembered(self, num_steps: int) -> Remembered:
        """Return what a checkpoint at so many steps keeps.

        A callback is "due" that is still to be called there, as an exception came before that was done. And
        one that has stopped the run: it is asked again before a run that goes on takes another step.
        """
        if self._kept is not None:
            return self._kept
        return [
            {
                "name": _name(one),
                "due": self._stops[k] or (self._called[k] != num_steps and self._is_due(k, num_steps)),
                "state": self._state_of(one),
            }
            for k, one in enumerate(self._all)
            if isinstance(one, Callback)
        ]

    def _state_of(self, callback: Callback) -> dict[str, Any]:
        state = callback.state_dict()
        try:
            if not isinstance(state, dict):
                raise TypeError(f"got {_check.shown(state)}")
            json.dumps(state)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"{self.where}: {_name(callback)}.state_dict() must return a dict that JSON can say: {error}"
            ) from error
        return state

    def _is_due(self, k: int, num_steps: int) -> bool:
        every = self._every[k]
        return not every or self._called[k] // every < num_steps // every

    def __call__(self, progress: TrainProgress, *, last: bool) -> bool:
        """Call those that are due; return whether one stops the run.

        All of them are when it is the last time, as it is where one of them stops the run.
        """
        numbers = range(len(self._all))
        return self._call([k for k in numbers if last or self._is_due(k, progress.num_steps)], progress)

    def catch_up(self, progress: TrainProgress) -> bool:
        """Call those that the checkpoint says are due; return whether one stops the run."""
        return self._call([k for k, steps in enumerate(self._called) if steps == TO_BE_CALLED], progress)

    def _call(self, due: list[int], progress: TrainProgress) -> bool:
        stops = [bool(self._all[k](progress)) for k in due]
        if any(stops):
            now = progress.num_steps
            others = [k for k, steps in enumerate(self._called) if k not in due and steps != now]
            stops += [bool(self._all[k](progress)) for k in others]
            due = due + others
        for k, answer in zip(due, stops, strict=True):  # now: if one of them raises, none has been called
            self._called[k], self._stops[k] = progress.num_steps, answer
        return any(stops)


class _End:
    """Tells a callback of the end of a run, without putting another exception in the place of the run's."""

    def __init__(self, callback: Callback, progress: Callable[[], TrainProgress]) -> None:
        self._callback, self._progress = callback, progress

    def __enter__(self) -> "_End":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._callback.on_training_end(self._progress())
        except Exception as another:
            if error is None:
                raise
            error.add_note(f"{type(self._callback).__name__}.on_training_end() failed: {another}")


def _name(callback: Any) -> str:
    return type(callback).__qualname__


def _checked(where: str, name: str, callback: Any) -> AnyCallback:
    """Return a callback that can be called with a TrainProgress."""
    if isinstance(callback, type) and issubclass(callback, Callback):
        raise TypeError(
            f"{where}: {name} is the class {callback.__name__}; pass an object, {callback.__name__}(...)"
        )
    if not callable(callback):
        either = "" if "[" in name else ", or a list of callables"
        raise TypeError(f"{where}: {name} must be callable{either}, got {_check.shown(callback)}")
    _check.takes(where, name, callback, None)
    if isinstance(callback, Callback) and callback.every is not None:
        _check.integer(where, f"{name}.every", callback.every, 1)
    checked: AnyCallback = callback
    return checked
