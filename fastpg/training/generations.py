"""Where a population stands, in the folder of its results: one that was killed goes on.

    population.json        as journal.py has it: how many pauses are through, and what was decided there
    pause-3.safetensors    what all members were after the newest of them, entry by entry: (members, ...)

Of environments that Python steps, and of a member that has failed, there is no state: the search then goes on
from an earlier pause, or from its beginning, and comes to the same.
"""

import contextlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastpg import _core, files
from fastpg.algorithms import Algorithm
from fastpg.errors import CheckpointError, SaveError
from fastpg.training import state_file
from fastpg.training.journal import Journal

if TYPE_CHECKING:
    from fastpg.training.members import Members

RECORDS = "records"  # of all members, one after the other; beside the entries of their states
NUM_ITERATIONS = "num_iterations"  # the entry that says how many are a member's


class Generations(Journal):
    """The file of a population.

    Parameters
    ----------
    decided : callable
        Returns what the population has decided, as JSON can say it.
    recall : callable
        Takes that back, and returns the algorithms that members then have.
    """

    NAME = "population.json"

    def __init__(
        self,
        where: str,
        stack: contextlib.ExitStack,
        search: str,
        decided: Callable[[], dict[str, Any]],
        recall: Callable[[dict[str, Any]], Sequence[Algorithm]],
    ) -> None:
        super().__init__(where, stack, search)
        self._tell, self._take_back = decided, recall
        self._pauses = 0  # that are written down

    def add(self, members: "Members", pauses: int) -> None:
        """Write down where members stand after so many pauses."""
        states = [members.state_of(k) for k in range(len(members))]
        known = [state for state in states if state is not None]
        if len(known) < len(states):
            return
        records = np.concatenate([members.standing(k, 0).records for k in range(len(members))])
        table = {name: np.stack([state[name] for state in known]) for name in known[0]}
        table[RECORDS] = records.view(np.int64).reshape(len(records), -1)
        before, self._pauses = self._pauses, pauses
        try:
            files.write(self._where, self._states(), state_file.content(table, {}))
            self._write(finished=False)
        except SaveError as error:
            self._pauses = before
            warnings.warn(f"{error}; the search goes on, and tries again", RuntimeWarning, stacklevel=2)
        self._remove_all_but(self._states())

    def finish(self) -> None:
        """Write down that all results are in the folder, which then needs no states."""
        super().finish()
        self._remove_all_but(None)

    def _states(self) -> Path:
        return self._path / f"pause-{self._pauses}.safetensors"

    def _remove_all_but(self, kept: Path | None) -> None:
        for path in self._path.glob("pause-*.safetensors"):
            if path != kept:
                with contextlib.suppress(OSError):  # nobody reads it
                    path.unlink()

    def _decided(self) -> dict[str, Any]:
        return {"pauses": self._pauses, **self._tell()}

    @staticmethod
    def _check(told: dict[str, Any]) -> None:
        if not isinstance(told["pauses"], int) or told["pauses"] < 0:
            raise TypeError("pauses must be a number")

    def _recall(self, members: "Members", told: dict[str, Any]) -> None:
        self._pauses = told["pauses"]
        if not self._pauses:
            return
        path = self._states()
        table, _ = state_file.load(
            self._where, path, "in an empty folder the search begins anew, and comes to the same"
        )
        try:
            algorithms = self._take_back(told)
            ends = np.cumsum(table[NUM_ITERATIONS])
            records = table.pop(RECORDS).view(_core.STATS_DTYPE)[:, 0]
            for k, algorithm in enumerate(algorithms):
                state = {name: entries[k] for name, entries in table.items()}
                own = records[ends[k] - state[NUM_ITERATIONS][0] : ends[k]]
                members.go_on_from(k, algorithm, state, own)
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self._where}: {str(self._path)!r} is damaged: {self.NAME} and {path.name} are not of one "
                f"search ({error})"
            ) from error
