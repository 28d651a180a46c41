"""Several processes that train one agent: what connects them, for `train(..., communicator=...)`.

`torch()` under ``torchrun``, `mpi()` under ``mpirun``, or an object of your own that does what `Communicator`
says. docs/distributed.md has a script that runs.
"""

from fastpg.distributed.communicator import Communicator
from fastpg.distributed.gloo import torch
from fastpg.distributed.message_passing import mpi

__all__ = ["Communicator", "mpi", "torch"]
