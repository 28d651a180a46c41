"""Ranks that torch.distributed connects, over gloo."""

import atexit
import datetime
import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.distributed.communicator import Communicator

DEFAULT_TIMEOUT = 300.0
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what a launcher sets


def torch(*, timeout: float = DEFAULT_TIMEOUT) -> Communicator:
    """Connect the processes that ``torchrun`` has started, or Ray Train, or whatever sets its variables.

    A process group of gloo is made, of all processes; where torch.distributed is initialised, beside the
    groups that there are, so that the script's own communication and this do not meet. It is closed when the
    process ends, or by `close`.

    Parameters
    ----------
    timeout : float
        Seconds that a rank waits for another one. A process that dies is noticed at once; this is for one
        that hangs, or whose machine is gone. It has to be longer than what a callback may take.

    Returns
    -------
    Communicator
        For `train` and `resume`, any number of times.

    Raises
    ------
    ImportError
        torch is not installed, or is built without torch.distributed.
    RuntimeError
        There is nothing to connect: the process was not started by torchrun.
    ValueError
        timeout is not a positive number.

    Examples
    --------
    >>> import fastpg
    >>> fastpg.distributed.torch(timeout=0)
    Traceback (most recent call last):
        ...
    ValueError: distributed.torch(): timeout must be a number in (0, inf), got 0.0
    """
    where = "distributed.torch()"
    timeout = _check.real(where, "timeout", timeout, "(0, inf)")
    try:
        from torch import distributed
    except ImportError as error:
        raise ImportError(f"{where} needs torch: pip install '.[torch]'") from error
    if not distributed.is_available():
        raise ImportError(f"{where}: this torch is built without torch.distributed")
    return Gloo(where, timeout)


class Gloo:
    """A process group of all processes, in which bytes are gathered."""

    def __init__(self, where: str, timeout: float) -> None:
        from torch import distributed

        limit = datetime.timedelta(seconds=timeout)
        self._is_own = not distributed.is_initialized()  # the default group; else one beside it
        group: Any
        if self._is_own:
            missing = [name for name in VARIABLES if name not in os.environ]
            if missing:
                raise RuntimeError(
                    f"{where}: {missing[0]} is not in the environment: start the script by torchrun, as in "
                    "torchrun --nproc-per-node 2 train.py, or call torch.distributed.init_process_group"
                )
            distributed.init_process_group("gloo", timeout=limit)
            group = distributed.group.WORLD
        else:
            group = distributed.new_group(backend="gloo", timeout=limit)
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)
        # The group and the tensors of its last message. Threads of the group's let go of tensors some time
        # after a message, for which they need the interpreter: where that ends meanwhile, the process aborts.
        # So these threads have to end before, which they do when nothing refers to the group any more.
        self._held: list[Any] = [group]
        self._close = weakref.finalize(self, _destroy, self._held, self._is_own)
        atexit.register(self._close)

    def allgather(self, send: NDArray[np.uint8], receive: NDArray[np.uint8]) -> None:
        """As `Communicator.allgather`."""
        from torch import distributed, from_numpy

        if not self._close.alive:
            raise RuntimeError("this communicator is closed")
        received, sent = list(from_numpy(receive)), from_numpy(send)
        self._held[1:] = [received, sent]
        distributed.all_gather(received, sent, group=self._held[0])

    def close(self) -> None:
        """Destroy the group; the other ranks find their connections closed."""
        self._close()

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size}, torch.distributed over gloo>"


def _destroy(held: list[Any], is_own: bool) -> None:
    """Destroy a group, and wait for its threads; `held` is the last that refers to it."""
    from torch import distributed

    if distributed.is_initialized():  # else the script has destroyed all groups
        distributed.destroy_process_group(None if is_own else held[0])
    while held:
        del held[0]  # the group first: its threads let go of the tensors
