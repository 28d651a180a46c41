"""What successive halving has decided, in the folder of its results: a search that was killed goes on.

    halving.json    as journal.py has it: how many rungs are through, and the runs that were stopped there
    7/              what a run was when it was stopped, as `Runs.save` has it

Of runs that go on nothing is kept. They are trained again up to where they stood, to the same bits: at a rung
they are the few that are left.
"""

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

from fastpg.errors import CheckpointError, SaveError
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.journal import Journal
from fastpg.training.metrics import parse
from fastpg.training.run_folder import METRICS, POLICY, VALUE
from fastpg.training.runs import save_run

if TYPE_CHECKING:
    from fastpg.training.members import Members


class Rungs(Journal):
    """The file of a search by successive halving.

    Attributes
    ----------
    rungs : int
        How many are through.
    """

    NAME = "halving.json"

    def __init__(self, where: str, stack: contextlib.ExitStack, search: str) -> None:
        super().__init__(where, stack, search)
        self.rungs = 0
        self._stopped: list[int] = []
        self._unsaved: list[int] = []  # of those, as there was no room

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

    def _decided(self) -> dict[str, Any]:
        return {"rungs": self.rungs, "stopped": self._stopped}

    @staticmethod
    def _check(told: dict[str, Any]) -> None:
        if not all(isinstance(one, int) and one >= 0 for one in (told["rungs"], *told["stopped"])):
            raise TypeError("rungs and runs must be numbers")

    def _recall(self, members: "Members", told: dict[str, Any]) -> None:
        """Tell members of the runs that were stopped."""
        if max(told["stopped"], default=0) >= len(members):
            file = str(self._path / self.NAME)
            raise CheckpointError(f"{self._where}: {file!r} is damaged: there is no such run")
        self.rungs, self._stopped = told["rungs"], told["stopped"]
        for k in self._stopped:
            place, begun = self._places[k], members.standing(k, 0)
            policy, metrics = Policy.load(place / POLICY), place / METRICS
            value = None if begun.value is None else ValueFunction.load(place / VALUE)
            records = parse(f"{self._where}: {str(metrics)!r}", metrics.read_text(encoding="utf-8"))
            if policy.theta.shape != begun.policy.theta.shape or not len(records):
                raise CheckpointError(f"{self._where}: {str(place)!r} does not hold what was stopped there")
            members.know(k, "halving", policy, value, records)
