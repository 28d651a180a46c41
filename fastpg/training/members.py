"""Many runs that pause, go on, are stopped and copied, for `train_many`, `halving` and `train_population`."""

import abc
import contextlib
import functools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from fastpg import _core
from fastpg.algorithms import Algorithm
from fastpg.batches.episodes import none_has_ended
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.opening import AnyEnv, VectorizationMode, opened
from fastpg.envs.native.registry import NativeEnv, is_native
from fastpg.errors import SaveError
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.agent import check_state, core_arguments, untrained_of
from fastpg.training.begin import COLLECTIONS, begin
from fastpg.training.callbacks import Callbacks, TrainProgress
from fastpg.training.journal import Journal
from fastpg.training.loop import Loop
from fastpg.training.metrics import history
from fastpg.training.progress import ProgressLine, runs_text
from fastpg.training.result import TrainResult
from fastpg.training.runs import Runs, Table, new_folder, run_places, write_table
from fastpg.training.saver import Saver
from fastpg.training.state_file import State
from fastpg.training.trainer import make_trainer
from fastpg.training.watched import CallbacksOf, Standing, Watched, callbacks_of_each

Report = Callable[[int, int], None]  # steps so far, runs that have ended


class Plan(NamedTuple):
    """What runs are made of: the environment, and for each run its setting and seed."""

    env_id: AnyEnv
    settings: list[dict[str, Any]]  # arguments of `begin`, and "algorithm"
    runs: list[tuple[int, int]]  # setting, seed
    numbers: list[int]  # of each setting, the same where settings are equal
    vectorization_mode: VectorizationMode | None
    reset_options: Mapping[str, Any] | None
    first: int = 0  # the number of the first run, of a part of another plan

    def opened(self, where: str, setting: int) -> contextlib.AbstractContextManager[NativeEnv | GymnasiumEnv]:
        """Open the environment of a setting."""
        chosen = self.settings[setting]
        return opened(
            where, self.env_id, chosen["env_params"], num_envs=chosen["num_envs"],
            at_most=chosen["collection"]["episodes"] or None, vectorization_mode=self.vectorization_mode,
            reset_options=self.reset_options,
        )  # fmt: skip

    def begin(
        self, where: str, env: NativeEnv | GymnasiumEnv, k: int, algorithm: Algorithm | None
    ) -> tuple[Algorithm, Policy, ValueFunction | None, dict[str, Any], dict[str, bool]]:
        """Return the algorithm of run k, or the one in its place, and what `begin` makes of it."""
        setting, seed = self.runs[k]
        arguments = dict(self.settings[setting])
        own = arguments.pop("algorithm")
        algorithm = own if algorithm is None else algorithm
        mode = self.vectorization_mode
        return algorithm, *begin(where, env, algorithm, seed=seed, vectorization_mode=mode, **arguments)


class Members(abc.ABC):
    """The runs of a plan, by number.

    Attributes
    ----------
    stopped : list of str
        Why each of them goes no further; "" while it may.
    """

    def __init__(self, where: str, plan: Plan, stack: contextlib.ExitStack) -> None:
        """Begin them; what they open is closed with the stack."""
        self._where, self._plan, self._stack = where, plan, stack
        self.stopped = [""] * len(plan.runs)
        self._known: dict[int, TrainResult] = {}  # that another process has trained

    def __len__(self) -> int:
        return len(self.stopped)

    def going(self) -> list[int]:
        """Return the numbers of those that may go on."""
        return [k for k, because in enumerate(self.stopped) if not because]

    def setting_of(self, k: int) -> int:
        """Return the number of a run's setting."""
        return self._plan.numbers[self._plan.runs[k][0]]

    def place_of(self, k: int) -> str:
        """Return what errors of a run begin with."""
        return f"{self._where}: run {self._plan.first + k}"

    def stop(self, k: int, because: str) -> None:
        """End a run where it stands."""
        self.stopped[k] = because

    def know(
        self, k: int, because: str, policy: Policy, value: ValueFunction | None, records: NDArray[np.void]
    ) -> None:
        """Take what has become of a run that another process has trained and ended."""
        config = self.standing(k, 0).config
        self.stop(k, because)
        self._known[k] = self._made(k, policy, value, config, records, None, last=False)

    def ended(self) -> list[int]:
        """Return the numbers of those that have ended, while others go on as well."""
        return [k for k, because in enumerate(self.stopped) if because]

    def result(self, k: int) -> TrainResult:
        """Return what has become of a run that has ended."""
        return self._result(k, last=False)

    def runs(self, *, last: bool = False) -> Runs:
        """Return the results so far; or the `last` ones, of runs that have begun, which then cannot go on."""
        begun = [
            k for k in range(len(self)) if self.steps_of(k) or self.stopped[k] not in ("", "interrupted")
        ]
        numbers = range(max(begun) + 1 if begun else 0)  # runs begin in their order
        settings = [self.setting_of(k) for k in numbers]
        results = [self._known[k] if k in self._known else self._result(k, last=last) for k in numbers]
        return Runs(results, settings)

    @property
    def num_steps(self) -> int:
        """Steps of all runs so far."""
        return sum(self.steps_of(k) for k in range(len(self)))

    @abc.abstractmethod
    def steps_of(self, k: int) -> int:
        """Return the steps of a run so far."""

    @abc.abstractmethod
    def advance(self, pauses: Mapping[int, int | None], report: Report) -> None:
        """Let runs go on, by number: each up to so many steps, or to its end."""

    @abc.abstractmethod
    def standing(self, k: int, first: int) -> Standing:
        """Return where a run stands, with the records of its iterations from `first` on."""

    @abc.abstractmethod
    def copy(self, k: int, source: int, algorithm: Algorithm) -> None:
        """Make run k stand where run `source` does, with an algorithm of its own and the seed that it has."""

    def state_of(self, k: int) -> State | None:
        """Return all that a run is that has paused; None where that cannot be said."""
        return None

    def go_on_from(self, k: int, algorithm: Algorithm, state: State, records: NDArray[np.void]) -> None:
        """Make run k stand where `state_of` and `standing` of such a run found it.

        Raises TypeError or ValueError if the state is not of such a run.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def _result(self, k: int, *, last: bool) -> TrainResult: ...

    def _made(
        self,
        k: int,
        policy: Policy,
        value: ValueFunction | None,
        config: dict[str, Any],
        records: NDArray[np.void],
        error: Exception | None,
        *,
        last: bool,
    ) -> TrainResult:
        because = self.stopped[k] or ("interrupted" if last else "")
        num_steps = int(records["total_steps"][-1]) if len(records) else 0
        seconds = float(records["seconds"].sum())
        return TrainResult(policy, value, history([records]), config, because, num_steps, seconds, error)


class Compiled(Members):
    """Runs in environments of the core, which trains all at once."""

    def __init__(self, where: str, plan: Plan, stack: contextlib.ExitStack) -> None:
        super().__init__(where, plan, stack)
        self._envs: dict[int, Any] = {}
        self._heard = False  # of a run in which no episode ends
        self._begun = [self._begin(k) for k in range(len(self))]

    def _begin(
        self, k: int, algorithm: Algorithm | None = None
    ) -> tuple[_core.Run, Policy, ValueFunction | None, dict[str, Any]]:
        setting, seed = self._plan.runs[k]
        if setting not in self._envs:
            self._envs[setting] = self._stack.enter_context(self._plan.opened(self._where, setting))
        env = self._envs[setting]
        algorithm, policy, value, config, untrained = self._plan.begin(self._where, env, k, algorithm)
        names = ("total_steps", "target_return", *COLLECTIONS)
        arguments = core_arguments(algorithm, value, **{name: config[name] for name in names}, **untrained)
        run = _core.Run(
            env.core, policy.network, policy.theta, num_envs=config["num_envs"], seed=seed, **arguments
        )
        return run, policy, value, config

    def ended(self) -> list[int]:
        """Return the numbers of those that have ended, while others go on as well."""
        return [k for k in range(len(self)) if self.stopped[k] or self._begun[k][0].has_ended]

    def steps_of(self, k: int) -> int:
        """Return the steps of a run so far."""
        return self._begun[k][0].num_steps

    def advance(self, pauses: Mapping[int, int | None], report: Report) -> None:
        """Let runs go on, by number: each up to so many steps, or to its end."""
        steps, ended = self.num_steps, len(self) - len(self.going())
        runs = [self._begun[k][0] for k in pauses]
        try:
            _core.train_many(
                runs, lambda more, ends: report(steps + more, ended + ends), list(pauses.values())
            )
        finally:
            for k, run in zip(pauses, runs, strict=True):
                self.stopped[k] = run.stopped_because
                for network in self._begun[k][1:3]:
                    if network is not None:
                        network.written()  # a callback may have made a torch module of it
        for k, run in zip(pauses, runs, strict=True):
            if not self._heard and math.isnan(run.mean_return) and not run.records()["num_episodes"].any():
                num_envs = self._begun[k][3]["num_envs"]
                self._heard = none_has_ended(self.place_of(k), run.num_steps, num_envs)

    def standing(self, k: int, first: int) -> Standing:
        """Return where a run stands, with the records of its iterations from `first` on."""
        run, policy, value, config = self._begun[k]
        return Standing(policy, value, config, run.mean_return, run.records(first))

    def copy(self, k: int, source: int, algorithm: Algorithm) -> None:
        """Make run k stand where run `source` does, its environments as well."""
        begun = self._begin(k, algorithm)
        begun[0].copy(self._begun[source][0])
        self._begun[k], self.stopped[k] = begun, self.stopped[source]

    def state_of(self, k: int) -> State | None:
        """Return all that a run is that has paused; None of one that has failed."""
        return None if self.stopped[k] == "error" else self._begun[k][0].state()

    def go_on_from(self, k: int, algorithm: Algorithm, state: State, records: NDArray[np.void]) -> None:
        """Make run k stand where `state_of` and `standing` of such a run found it."""
        begun = self._begin(k, algorithm)
        run, policy, value, config = begun
        env = self._envs[self._plan.runs[k][0]]
        trainer = make_trainer(env, algorithm, policy, value, config, **untrained_of(policy, value))
        assert isinstance(trainer, _core.Trainer)
        check_state(self._where, state, trainer.agent.state(), trainer.state())
        trainer.set_state(state)
        run.go_on_from(trainer, records)
        self._begun[k], self.stopped[k] = begun, run.stopped_because

    def _result(self, k: int, *, last: bool) -> TrainResult:
        run, policy, value, config = self._begun[k]
        error = run.error(self.place_of(k))
        records = run.take_records() if last else run.records()
        return self._made(k, policy, value, config, records, error, last=last)


class Stepped(Members):
    """Runs in environments that Python steps, one after the other; each has its own as long as it goes on."""

    def __init__(self, where: str, plan: Plan, stack: contextlib.ExitStack) -> None:
        super().__init__(where, plan, stack)
        self._loops: list[Loop | None] = [None] * len(self)
        self._open: dict[int, tuple[contextlib.ExitStack, GymnasiumEnv]] = {}
        self._errors: dict[int, Exception] = {}

    def _begin(self, k: int, algorithm: Algorithm | None = None) -> Loop:
        if k not in self._open:
            stack = self._stack.enter_context(contextlib.ExitStack())
            env = stack.enter_context(self._plan.opened(self._where, self._plan.runs[k][0]))
            assert isinstance(env, GymnasiumEnv)
            env.label = f"{self.place_of(k)}: {env.id}"
            self._open[k] = stack, env
        env = self._open[k][1]
        algorithm, policy, value, config, untrained = self._plan.begin(self._where, env, k, algorithm)
        trainer = make_trainer(env, algorithm, policy, value, config, **untrained)
        return Loop(self.place_of(k), trainer, policy, value, config)

    def stop(self, k: int, because: str) -> None:
        """End a run where it stands, and close its environment."""
        super().stop(k, because)
        if k in self._open:
            self._open.pop(k)[0].close()

    def steps_of(self, k: int) -> int:
        """Return the steps of a run so far."""
        loop = self._loops[k]
        return 0 if loop is None else loop.trainer.agent.num_steps

    def advance(self, pauses: Mapping[int, int | None], report: Report) -> None:
        """Let runs go on, by number: each up to so many steps, or to its end."""
        for k, pause_at in pauses.items():
            done, ended = self.num_steps - self.steps_of(k), len(self) - len(self.going())
            loop = self._loop(k)
            pause = functools.partial(self._is_to_pause, pause_at, report, done, ended)
            loop.callbacks = Callbacks(self._where, pause, "slice" if pause_at is None else "iteration")
            because = "interrupted"
            try:
                because = loop.run().stopped_because
            except Exception as error:
                error.add_note(f"in {self.place_of(k)}, {_described(loop.config)}")
                because, self._errors[k] = "error", error.with_traceback(None)
            finally:
                if because != "callback":
                    self.stop(k, because)

    def standing(self, k: int, first: int) -> Standing:
        """Return where a run stands, with the records of its iterations from `first` on."""
        loop = self._loop(k)
        mean_return, records = loop.trainer.agent.mean_return, np.concatenate(loop.records)
        return Standing(loop.policy, loop.value, loop.config, mean_return, records[first:])

    def _loop(self, k: int) -> Loop:
        loop = self._loops[k] or self._begin(k)
        self._loops[k] = loop
        return loop

    @staticmethod
    def _is_to_pause(
        pause_at: int | None, report: Report, done: int, ended: int, state: TrainProgress
    ) -> bool:
        report(done + state.num_steps, ended)
        return pause_at is not None and state.num_steps >= pause_at

    def copy(self, k: int, source: int, algorithm: Algorithm) -> None:
        """Do it with environments that begin anew, as they cannot be copied."""
        loop, begun = self._begin(k, algorithm), self._loops[source]
        assert begun is not None
        loop.trainer.set_state(begun.trainer.state())
        loop.policy.written()
        if loop.value is not None:
            loop.value.written()
        loop.records, loop.seconds = list(begun.records), begun.seconds
        self._loops[k], self.stopped[k] = loop, ""
        self._errors.pop(k, None)
        if self.stopped[source]:
            self.stop(k, self.stopped[source])

    def _result(self, k: int, *, last: bool) -> TrainResult:
        loop = self._loop(k)
        records = np.concatenate(loop.records)
        return self._made(k, loop.policy, loop.value, loop.config, records, self._errors.get(k), last=last)


Pauses = Callable[[Members], Iterable[int | None]]  # of each round: steps to pause at; None: to the ends


def run_all(
    where: str,
    plan: Plan,
    pauses: Pauses,
    judge: Callable[[Members], None],
    *,
    progress: bool,
    save: str | os.PathLike[str] | None,
    tables: Mapping[str, Table] = MappingProxyType({}),
    begin: Callable[[str, Plan, contextlib.ExitStack], Members] | None = None,
    callbacks_of: CallbacksOf | None = None,
    journal: Journal | None = None,
) -> Runs:
    """Train the runs of a plan in rounds; after each, `judge` may stop and copy those that are going.

    `tables`, which it may write to, are saved under their names beside the runs. `begin` makes the members
    where they are not to be of this process. `callbacks_of` returns the callbacks of a run.
    With a `journal` the folder may be that of a call that was killed.
    """
    is_to_pause = pauses is not to_the_ends or callbacks_of is not None
    if isinstance(plan.env_id, VectorEnv) and is_to_pause and len(plan.runs) > 1:
        raise ValueError(
            f"{where}: runs that pause cannot share one vector environment; pass a function that makes one"
        )
    folder: Path | None = None
    saver: Saver | None = None
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        members: Members | None = None
        try:
            with ProgressLine(enabled=progress) as line:

                def report(num_steps: int, num_ended: int) -> None:
                    text = runs_text(num_ended, len(plan.runs), num_steps, time.perf_counter() - start)
                    line.update(text, last=num_ended == len(plan.runs))
                    if saver is not None:
                        saver.look()

                members = (begin or begin_here)(where, plan, stack)
                callbacks = callbacks_of_each(where, callbacks_of, len(members))
                if save is not None:  # after all that may be wrong with other arguments
                    if journal is None:
                        folder = new_folder(where, "save", save)
                    else:
                        folder = journal.open(save, members)
                    if pauses is to_the_ends:  # elsewhere a run that has ended may become another's copy
                        saver = Saver(where, members, run_places(folder, len(plan.runs)))
                places = [None] * len(callbacks) if folder is None else run_places(folder, len(callbacks))
                start = time.perf_counter()
                with Watched(members, callbacks, plan.env_id, places) as watched:
                    for pause_at in pauses(members):
                        watched.advance(pause_at, report)
                        if members.going():
                            judge(members)
                            watched.look()
                        if not members.going():
                            break
                report(members.num_steps, len(members))
        except BaseException as error:
            runs = Runs([], []) if members is None else members.runs(last=True)
            if len(runs):
                error.runs = runs  # type: ignore[attr-defined]
                ended = sum(run.stopped_because != "interrupted" for run in runs)
                kept = _kept(where, runs, len(plan.runs), folder, tables, saver)
                if journal is not None:
                    kept += "; the same search goes on there"
                error.add_note(f"when {ended} of {len(plan.runs)} runs had ended{kept}")
            raise
        runs = members.runs(last=True)
    _warn_of_failures(where, runs)
    if folder is not None:
        try:
            _save(where, runs, len(plan.runs), folder, tables, saver)
            if journal is not None:
                journal.finish()
        except SaveError as error:
            error.result = runs
            raise
        except BaseException as error:
            error.runs = runs  # type: ignore[attr-defined]
            error.add_note(f"when all runs had ended, while they were saved to {folder}")
            raise
    return runs


def begin_here(where: str, plan: Plan, stack: contextlib.ExitStack) -> Members:
    """Begin the runs of a plan in this process."""
    return (Compiled if is_native(plan.env_id) else Stepped)(where, plan, stack)


def to_the_ends(_: Members) -> Iterable[None]:
    """Return the one round of runs that do not pause."""
    return [None]


def every(num_steps: int, members: Members) -> Iterator[int]:
    """Yield the next multiple of num_steps that not all who go on have reached, as long as there are any."""
    while going := members.going():
        yield (min(map(members.steps_of, going)) // num_steps + 1) * num_steps


def _save(
    where: str, runs: Runs, count: int, folder: Path, tables: Mapping[str, Table], saver: Saver | None
) -> None:
    runs.save_in(where, folder, count, saver.saved if saver else ())
    for name, table in tables.items():
        write_table(where, folder / name, table)


def _kept(
    where: str,
    runs: Runs,
    count: int,
    folder: Path | None,
    tables: Mapping[str, Table],
    saver: Saver | None,
) -> str:
    """Save what there is of runs that were ended, and say so."""
    if folder is None:
        return "; they are the exception's `runs`"
    try:
        _save(where, runs, count, folder, tables, saver)
        return f"; saved to {folder}"
    except (SaveError, ValueError) as error:
        return f"; not saved: {error}"


def _described(config: Mapping[str, Any]) -> str:
    return f"{config['algorithm']} with seed {config['seed']}"


def _warn_of_failures(where: str, runs: Runs) -> None:
    failed = [k for k, run in enumerate(runs) if run.error is not None]
    if failed:
        first = runs[failed[0]]
        warnings.warn(
            f"{where}: {len(failed)} of {len(runs)} runs failed; the first: {first.error} "
            f"(run {failed[0]}, {_described(first.config)})",
            RuntimeWarning,
            stacklevel=4,
        )
