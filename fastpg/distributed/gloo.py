"""Ranks that torch.distributed connects, over gloo."""

import atexit
import contextlib
import datetime
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.distributed.communicator import Communicator

DEFAULT_TIMEOUT = 300.0
MOMENT = datetime.timedelta(seconds=0.1)  # after so long a wait Python hears of signals
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
        is_own = not distributed.is_initialized()  # the default group; else one beside it
        group: Any
        if is_own:
            missing = [name for name in VARIABLES if name not in os.environ]
            if missing:
                raise RuntimeError(
                    f"{where}: {missing[0]} is not in the environment: start the script by torchrun, as in "
                    "torchrun --nproc-per-node 2 train.py, or call torch.distributed.init_process_group"
                )
            _heard(lambda: distributed.init_process_group("gloo", timeout=limit))
            group = distributed.group.WORLD
        else:
            group = _heard(lambda: distributed.new_group(backend="gloo", timeout=limit))
        self.rank, self.size = distributed.get_rank(group), distributed.get_world_size(group)
        self._groups, self._is_own = [group], is_own  # the only reference: gloo's threads end with it
        self._close = weakref.finalize(self, _destroy, self._groups, is_own)
        atexit.register(self._close)

    def allgather(self, send: NDArray[np.uint8], receive: NDArray[np.uint8]) -> None:
        """As `Communicator.allgather`."""
        from torch import distributed, from_numpy

        if not self._close.alive:
            raise RuntimeError("this communicator is closed")
        rows, group = [*from_numpy(receive)], self._groups[0]
        work = distributed.all_gather(rows, from_numpy(send), group=group, async_op=True)
        try:
            _wait(work)
        except BaseException:
            if not work.is_completed():  # gloo cannot be told to leave it
                self._close.detach()
                threading.Thread(
                    target=_destroy_after, args=(work, self._groups, self._is_own), daemon=True
                ).start()
            raise

    def close(self) -> None:
        """Destroy the group; the other ranks find their connections closed."""
        self._close()

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size}, torch.distributed over gloo>"


def _heard(function: Callable[[], Any]) -> Any:
    """Return what a function of torch's returns, in which other ranks are waited for without hearing Ctrl-C.

    A thread calls it, so that Ctrl-C ends the waiting for the thread.
    """
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def _wait(work: Any) -> None:
    """Wait for a message, and hear of signals meanwhile."""
    while True:
        try:
            work.wait(MOMENT)
            return
        except RuntimeError:
            if work.is_completed():  # there was another reason, unless it was completed just now
                work.wait()
                return


def _destroy_after(work: Any, groups: list[Any], is_own: bool) -> None:
    """Destroy a group as soon as gloo is through with a message, by its timeout at the latest."""
    with contextlib.suppress(RuntimeError):
        work.wait()
    _destroy(groups, is_own)


def _destroy(groups: list[Any], is_own: bool) -> None:
    """Destroy a group and wait until its threads have ended.

    A thread of gloo's lets go of a message's tensors some time after the call, for which it needs the
    interpreter: where that ends meanwhile, the process aborts.
    """
    from torch import distributed

    group = groups.pop()
    if distributed.is_initialized():  # else the script has destroyed all groups
        distributed.destroy_process_group(None if is_own else group)
