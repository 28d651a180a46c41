"""The gate's workloads, in a process of their own: `gate_work.py {time,count} BUILD NAME ...`.

BUILD is the folder that fastpg has to come from. `time` prints JSON: for every workload the least CPU seconds per step of many
calls. `count` calls each workload once, for valgrind (see gate_instructions.py).
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite import arrays, batch_gradient, environments, fused_gradient
from suite.rate import Rate, seconds_of_calls

SECONDS = 0.05  # of every workload in every process
# Single-threaded. Each is dominated by one kernel, so that what slows it is not diluted, or by the Python above them.
WORKLOADS: dict[str, tuple[type[Rate], tuple[Any, ...]]] = {
    "step CartPole, N=4096": (environments.Step, ("CartPole-v1", 4096)),
    "step Acrobot, N=4096": (environments.Step, ("Acrobot-v1", 4096)),
    "step FrozenLake, N=4096": (environments.Step, ("FrozenLake-v1", 4096)),
    "step Pendulum, N=16": (environments.Step, ("Pendulum-v1", 16)),
    "fused linear, N=64": (fused_gradient.Environments, ("linear", 64, 1)),
    "fused 64-64, N=64": (fused_gradient.Environments, ("64-64", 64, 1)),
    "fused gae 64-64, N=64": (fused_gradient.Form, ("gae",)),
    "batch linear, 256": (batch_gradient.Gradient, ("linear", 256, 1)),
    "batch 256-256, 256": (batch_gradient.Gradient, ("256-256", 256, 1)),
    "gae, 128x4096": (arrays.Estimate, ("gae", "128x4096")),
}


def work_of(name: str) -> tuple[Callable[[], object], int]:
    benchmark, params = WORKLOADS[name]
    return benchmark().work(*params)


def seconds(names: list[str]) -> dict[str, float | None]:
    """Return the least CPU seconds per step; None where the build does not have what is measured."""
    found: dict[str, float | None] = {}
    for name in names:
        try:
            call, steps = work_of(name)
        except NotImplementedError:
            found[name] = None
        else:
            found[name] = min(seconds_of_calls(call, lasting=SECONDS, clock=time.thread_time)) / steps
    return found


def called_by_qsort(call: Callable[[], object]) -> None:
    """Call it from libc's qsort, a function that valgrind can name and that nothing else uses meanwhile."""
    pair, calls = (ctypes.c_int * 2)(1, 2), iter([call])

    def compare(_first: int, _second: int) -> int:
        next(calls, int)()
        return -1

    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compare)
    ctypes.CDLL(None).qsort(pair, ctypes.c_size_t(2), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int)), function)


def main() -> None:
    what, build, *names = sys.argv[1:]
    import fastpg

    if not Path(fastpg.__file__).is_relative_to(Path(build).resolve()):
        raise SystemExit(f"fastpg comes from {fastpg.__file__}, not from {build}")
    if what == "time":
        print(json.dumps(seconds(names)))
    else:
        for name in names:
            called_by_qsort(work_of(name)[0])


if __name__ == "__main__":
    main()
