"""A search in the folder of its results, which goes on there after it was killed.

    halving.json    what is searched, what was decided so far, and whether all results are in the folder
    lock            held by the process that is at work

Of other searches the first file has another name.
"""

import abc
import contextlib
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fastpg import _core, files
from fastpg.algorithms import Algorithm
from fastpg.errors import CheckpointError
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.fingerprint import fingerprint
from fastpg.training.run_folder import locked
from fastpg.training.runs import TABLE, new_folder, run_places

if TYPE_CHECKING:
    from fastpg.training.members import Members, Plan


class Journal(abc.ABC):
    """The file that says how far a search is.

    Attributes
    ----------
    NAME : str
        The file's.
    """

    NAME: ClassVar[str]

    def __init__(self, where: str, stack: contextlib.ExitStack, search: str) -> None:
        """`search` is what `search_of` returns; the folder is this process's until the stack is closed."""
        self._where, self._stack, self._search = where, stack, search

    def open(self, save: str | os.PathLike[str], members: "Members") -> Path:
        """Return the folder of results: a new one, or one where the search was begun, as members then are."""
        where, self._path = self._where, files.output_folder(self._where, "save", save)
        is_new = not (self._path / self.NAME).is_file()
        if is_new:
            new_folder(where, "save", save)
        elif not self.is_unfinished(where, self._path):
            raise ValueError(
                f"{where}: the search in {str(self._path)!r} has ended, and {TABLE} there has its table; "
                "choose another folder for another search"
            )
        self._stack.callback(locked(where, self._path).close)
        self._places = run_places(self._path, len(members))
        if is_new:
            self._write(finished=False)
            return self._path
        told = self._read(where, self._path)
        if told["search"] != self._search:
            raise ValueError(
                f"{where}: {str(self._path)!r} holds the beginning of another search, which goes on with "
                "the arguments, instruction set and fastpg that it was begun with; choose another folder"
            )
        self._recall(members, told)
        return self._path

    def finish(self) -> None:
        """Write down that all results are in the folder."""
        self._write(finished=True)

    @classmethod
    def is_unfinished(cls, where: str, path: Path) -> bool:
        """Return whether a folder holds the beginning of a search."""
        return (path / cls.NAME).is_file() and not cls._read(where, path)["finished"]

    @abc.abstractmethod
    def _decided(self) -> dict[str, Any]:
        """Return what was decided so far, as JSON can say it."""

    @staticmethod
    @abc.abstractmethod
    def _check(told: dict[str, Any]) -> None:
        """Raise KeyError, TypeError or ValueError where the file does not say what was decided."""

    @abc.abstractmethod
    def _recall(self, members: "Members", told: dict[str, Any]) -> None:
        """Bring members to where they stood."""

    @classmethod
    def _read(cls, where: str, path: Path) -> dict[str, Any]:
        file = path / cls.NAME
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            if not (isinstance(told["search"], str) and isinstance(told["finished"], bool)):
                raise TypeError("it is not of a search")
            cls._check(told)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where}: {str(file)!r} is damaged: {error}") from error
        return dict(told)

    def _write(self, *, finished: bool) -> None:
        told = {"search": self._search, **self._decided(), "finished": finished}
        files.write(self._where, self._path / self.NAME, (json.dumps(told) + "\n").encode())


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
