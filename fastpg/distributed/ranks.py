"""A run's ranks, as one of them sees them: what they tell each other between iterations, and how they end.

The core's part is csrc/base/ranks.c: the tasks of its loops are shared there, and whatever goes wrong in them
is known to all. Between iterations all ranks meet where one of them has something to say. A rank that fails
says so at the next meeting, instead of what it would have said: nobody waits for it any longer.
"""

import contextlib
import pickle
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from fastpg import _check, _core
from fastpg.distributed.communicator import Communicator, require_communicator
from fastpg.errors import RankError

# Rows times parameters of a pass over rows that is worth a message. A pass takes about 60 ps for each, and a
# message between passes, with what it waits for, one to two milliseconds (benchmarks/ranks.py).
LEAST_WORK = 64_000_000


class Ranks:
    """What `together` gives.

    Attributes
    ----------
    core : _core.Ranks
        For the core's agents and trainers.
    rank, size : int
    leads : bool
        Whether this is rank 0, which alone writes files and shows progress.
    """

    def __init__(self, where: str, communicator: Communicator) -> None:
        self._where, self._communicator = where, communicator
        self.rank, self.size = communicator.rank, communicator.size
        self.core = _core.Ranks(communicator, self.rank, self.size, LEAST_WORK)
        self.leads = self.rank == 0

    def exchange(self, thing: Any) -> list[Any]:
        """Return what all ranks have said, in their order. Things are pickled: ranks trust each other."""
        return [pickle.loads(one) for one in self.core.exchange(pickle.dumps(thing, protocol=5))]

    def from_first(self, thing: Any) -> Any:
        """Return what rank 0 says; the others' is not sent."""
        return self.exchange(thing if self.leads else None)[0]

    def share_of(self, count: int) -> int:
        """Return how many of `count` environments this rank steps; 0 if there are too few."""
        return count * (self.rank + 1) // self.size - count * self.rank // self.size

    def require_same(self, facts: Mapping[str, Any]) -> None:
        """Raise ValueError, everywhere, if the ranks differ in one of some facts."""
        said = self.exchange({name: _told(fact) for name, fact in facts.items()})
        for name in dict.fromkeys(name for one in said for name in one):
            first = said[0].get(name)
            for rank, one in enumerate(said):
                if one.get(name) != first:
                    raise ValueError(
                        f"{self._where}: all ranks must run the same script with the same arguments, but "
                        f"{name} is {first} on rank 0 and {one.get(name)} on rank {rank}"
                    )

    def sentence(self) -> str:
        """Say why the others have stopped this rank."""
        rank, text = self.core.failed
        if rank >= 0:
            why = text or "it was interrupted, or its environment failed, in the middle of an iteration"
            return f"{self._where}: rank {rank} of {self.size} stopped: {why}"
        if self.core.lost is None:
            return f"{self._where}: the ranks no longer compute the same, though they began with the same"
        return (
            f"{self._where}: another of the {self.size} ranks is gone, or did not answer in time "
            f"({_check.line(self.core.lost)})"
        )

    def tell(self, error: BaseException) -> None:
        """Let the others know of an exception that ends this rank, if they do not know."""
        if not self.core.is_over:
            said = _check.line(error)
            with contextlib.suppress(_core.OtherRank, KeyboardInterrupt):
                self.core.fail(f"{type(error).__name__}: {said}" if said else type(error).__name__)
        if self.core.is_torn:
            self._communicator.close()


def _told(fact: Any) -> str:
    """Return how a fact reads in any process: without addresses of objects."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(fact))


@contextlib.contextmanager
def together(where: str, communicator: Any) -> Iterator[Ranks | None]:
    """Be one of a run's ranks until all of them are through, or have failed; None without a communicator."""
    if communicator is None:
        yield None
        return
    ranks = Ranks(where, require_communicator(where, communicator))
    if ranks.size == 1:
        yield None
        return
    with _interrupts_wait(ranks.core):
        try:
            yield ranks
            ranks.core.finish()
        except _core.OtherRank as error:
            ranks.tell(error)
            lost = ranks.core.lost
            ended: BaseException = RankError(ranks.sentence())
            if lost is not None and not isinstance(lost, Exception):  # a second Ctrl-C
                ended, lost = lost, None
            for note in getattr(error, "__notes__", ()):
                ended.add_note(note)
            raise ended from lost
        except BaseException as error:
            ranks.tell(error)
            raise


@contextlib.contextmanager
def _interrupts_wait(ranks: _core.Ranks) -> Iterator[None]:
    """Let a first Ctrl-C wait for the next place where all ranks can stop; a second one does not wait."""
    before = signal.getsignal(signal.SIGINT)
    is_usual = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    told = False

    def tell(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if told:
            raise KeyboardInterrupt
        told = True
        ranks.interrupt()

    if not is_usual:
        yield
        return
    signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
