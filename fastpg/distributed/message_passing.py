"""Ranks that MPI connects, through mpi4py."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.distributed.communicator import Communicator


def mpi(comm: Any = None) -> Communicator:
    """Connect the processes that ``mpirun`` has started.

    MPI ends all processes when one dies, and knows no time limit: what it says then is MPI's own.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        Whose processes train; by default a copy of MPI.COMM_WORLD.

    Returns
    -------
    Communicator
        For `train` and `resume`, any number of times.

    Raises
    ------
    ImportError
        mpi4py is not installed, or finds no MPI.
    TypeError
        comm is no communicator of mpi4py.
    """
    where = "distributed.mpi()"
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no MPI library
        raise ImportError(f"{where} needs mpi4py and an MPI: pip install '.[mpi]' ({error})") from error
    if comm is not None and not isinstance(comm, MPI.Comm):
        raise TypeError(f"{where}: comm must be an mpi4py.MPI.Comm, got {_check.shown(comm)}")
    return Mpi((MPI.COMM_WORLD if comm is None else comm).Dup())


class Mpi:
    """A communicator of MPI, in which bytes are gathered."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())

    def allgather(self, send: NDArray[np.uint8], receive: NDArray[np.uint8]) -> None:
        """As `Communicator.allgather`."""
        self._comm.Allgather(send, receive)

    def close(self) -> None:
        """End all processes if they wait for this one: MPI has no gentler way."""

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size}, MPI>"
