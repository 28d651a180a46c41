"""Saves runs that have ended while others go on, so that a kill takes no more than those."""

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastpg.errors import SaveError
from fastpg.training.runs import save_run

if TYPE_CHECKING:
    from fastpg.training.members import Members

SECONDS = 5.0  # between two looks


class Saver:
    """Who looks now and then which runs have ended.

    Attributes
    ----------
    saved : set of int
        The numbers of the runs whose folders are whole.
    """

    def __init__(self, where: str, members: "Members", places: Sequence[Path]) -> None:
        self._where, self._members, self._places = where, members, places
        self._next = time.monotonic() + SECONDS
        self.saved: set[int] = set()

    def look(self) -> None:
        """Save what has ended since; if that fails, leave all the rest to the end."""
        if time.monotonic() < self._next:
            return
        try:
            for k in self._members.ended():
                if k not in self.saved:
                    save_run(self._where, self._places[k], self._members.result(k))
                    self.saved.add(k)
        except SaveError as error:
            self._next = float("inf")
            warnings.warn(
                f"{error}; the runs go on, and are saved at their end", RuntimeWarning, stacklevel=2
            )
            return
        self._next = time.monotonic() + SECONDS
