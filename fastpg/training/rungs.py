"""What successive halving has decided, in the folder of its results: a search that was killed goes on.

    halving.json    what is searched, how many rungs are through, and the runs that were stopped there
    7/              what a run was when it was stopped, as `Runs.save` has it
    lock            held by the process that is at work

Of runs that go on nothing is kept. They are trained again up to where they stood, to the same bits: at a rung
they are the few that are left.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastpg import _core, files
from fastpg.algorithms import Algorithm
from fastpg.errors import CheckpointError, SaveError
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.fingerprint import fingerprint
from fastpg.training.metrics import parse
from fastpg.training.run_folder import METRICS, POLICY, VALUE, locked
from fastpg.training.runs import new_folder, run_places, save_run

if TYPE_CHECKING:
    from fastpg.training.members import Members, Plan

JOURNAL = "halving.json"


class Journal:
    """The file that says how far a search is.

    Attributes
    ----------
    rungs : int
        How many are through.
    """

    def __init__(self, where: str, stack: contextlib.ExitStack, search: str) -> None:
        """`search` is what `search_of` returns; the folder is this process's until the stack is closed."""
        self._where, self._stack, self._search = where, stack, search
        self.rungs = 0
        self._stopped: list[int] = []
        self._unsaved: list[int] = []  # of those, as there was no room

    def open(self, save: str | os.PathLike[str], members: "Members") -> Path:
        """Return the folder of results: a new one, or one where the search was begun, as members then are."""
        where, self._path = self._where, files.output_folder(self._where, "save", save)
        is_new = not is_unfinished(self._path)
        if is_new:
            new_folder(where, "save", save)
        self._stack.callback(locked(where, self._path).close)
        self._places = run_places(self._path, len(members))
        if is_new:
            self._write(finished=False)
            return self._path
        told = _read(where, self._path)
        if told["search"] != self._search:
            raise ValueError(
                f"{where}: {str(self._path)!r} holds the beginning of another search, which goes on with "
                "the arguments, instruction set and fastpg that it was begun with; choose another folder"
            )
        if max(told["stopped"], default=0) >= len(members):
            raise CheckpointError(f"{where}: {str(self._path / JOURNAL)!r} is damaged: there is no such run")
        self.rungs, self._stopped = told["rungs"], told["stopped"]
        for k in self._stopped:
            self._recall(members, k)
        return self._path

    def _recall(self, members: "Members", k: int) -> None:
        """Tell members of a run that was stopped."""
        place, begun = self._places[k], members.standing(k, 0)
        policy, metrics = Policy.load(place / POLICY), place / METRICS
        value = None if begun.value is None else ValueFunction.load(place / VALUE)
        records = parse(f"{self._where}: {str(metrics)!r}", metrics.read_text(encoding="utf-8"))
        if policy.theta.shape != begun.policy.theta.shape or not len(records):
            raise CheckpointError(f"{self._where}: {str(place)!r} does not hold what was stopped there")
        members.know(k, "halving", policy, value, records)

    def add(self, members: "Members", stopped: list[int]) -> None:
        """Write down that a rung is through, which stopped these runs."""
        self.rungs += 1
        self._stopped, self._unsaved = [*self._stopped, *stopped], [*self._unsaved, *stopped]
        runs = members.runs()
        try:
            for k in self._unsaved:
                save_run(self._where, self._places[k], runs[k])
            self._write(finished=False)
            self._unsaved = []
        except SaveError as error:
            warnings.warn(f"{error}; the search goes on, and tries again", RuntimeWarning, stacklevel=2)

    def finish(self) -> None:
        """Write down that all results are in the folder."""
        self._write(finished=True)

    def _write(self, *, finished: bool) -> None:
        told = {
            "search": self._search,
            "rungs": self.rungs,
            "stopped": self._stopped,
            "finished": finished,
        }
        files.write(self._where, self._path / JOURNAL, (json.dumps(told) + "\n").encode())


def is_unfinished(path: Path) -> bool:
    """Return whether a folder holds the beginning of a search."""
    return (path / JOURNAL).is_file() and not _read("halving()", path)["finished"]


def _read(where: str, path: Path) -> dict[str, Any]:
    file = path / JOURNAL
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if not (isinstance(told["search"], str) and isinstance(told["finished"], bool)):
            raise TypeError("it is not of a search")
        if not all(isinstance(one, int) and one >= 0 for one in (told["rungs"], *told["stopped"])):
            raise TypeError("rungs and runs must be numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {str(file)!r} is damaged: {error}") from error
    return dict(told)


def search_of(where: str, plan: "Plan", **others: Any) -> str:
    """Return a hash of all that decides what comes of a search."""
    with plan.opened(where, 0) as env:
        told = [fingerprint(where, plan.env_id, env), _core.version(), _core.compiler(), _core.isa()]
    common = (plan.runs, plan.numbers, plan.vectorization_mode, plan.reset_options, others)
    told += map(repr, common)
    for setting in plan.settings:
        told += [f"{name}={_told(setting[name])}" for name in sorted(setting)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _told(value: Any) -> str:
    if isinstance(value, Policy | ValueFunction):
        return f"{type(value).__name__} {value.hidden} {hashlib.sha256(value.theta.tobytes()).hexdigest()}"
    if isinstance(value, Algorithm):
        return f"{type(value).__name__} {dataclasses.asdict(value)}"
    return repr(value)
