"""What ranks need of whatever connects them."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fastpg import _check

MAX_SIZE = 65536


@runtime_checkable
class Communicator(Protocol):
    """What connects the ranks of a run: `torch()`, `mpi()`, or an object of your own with these four.

    Attributes
    ----------
    rank : int
        Of this process, in 0 .. size - 1.
    size : int
        How many processes there are.

    Examples
    --------
    >>> import fastpg
    >>> class Alone:
    ...     rank, size = 0, 1
    ...
    ...     def allgather(self, send, receive):
    ...         receive[0] = send
    ...
    ...     def close(self): ...
    >>> run = fastpg.train("CartPole-v1", total_steps=5000, communicator=Alone())
    >>> run.stopped_because
    'total_steps'
    """

    @property
    def rank(self) -> int:
        """The number of this process."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def allgather(self, send: NDArray[np.uint8], receive: NDArray[np.uint8]) -> None:
        """Send (n,) bytes to all ranks; receive (size, n), row k from rank k, this rank's own among them.

        All ranks call it in the same order, with the same n. It raises an exception where another rank is
        gone or does not answer in time: the run then ends.
        """

    def close(self) -> None:
        """Take leave; where other ranks wait for this one, their `allgather` raises. Twice does no harm."""


def require_communicator(where: str, communicator: Any) -> Communicator:
    """Return a communicator, checked to be one."""
    if not isinstance(communicator, Communicator) or isinstance(communicator, type):
        raise TypeError(
            f"{where}: communicator must be fastpg.distributed.torch(), mpi(), or an object with rank, size, "
            f"allgather and close, got {_check.shown(communicator)}"
        )
    size = _check.integer(where, "communicator.size", communicator.size, 1, MAX_SIZE)
    _check.integer(where, "communicator.rank", communicator.rank, 0, size - 1)
    return communicator
