"""The gate's workloads, in a process of their own: `gate_work.py BUILD {time,LIBRARY} NAME ...`.

BUILD is the folder that fastpg has to come from. With `time`, prints JSON: for every workload the least CPU
seconds per step of many calls. With the path of a LIBRARY, calls each workload once through its function
`gate_counted` (see gate_instructions.py).
"""

import ctypes
import functools
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite import arrays, batch_gradient, environments, fused_gradient
from suite.rate import Rate, seconds_of_calls

SECONDS = 0.03  # of every workload in every process
LEAST_SPAN = 1e-3  # seconds between two looks at the clock: that of CPU time at times stands still for 30 us
# Single-threaded. Each is dominated by one kernel, so that what slows it is not diluted, or by the Python
# above them.
WORKLOADS: dict[str, tuple[type[Rate], tuple[Any, ...]]] = {
    "step CartPole, N=4096": (environments.Step, ("CartPole-v1", 4096)),
    "step Acrobot, N=4096": (environments.Step, ("Acrobot-v1", 4096)),
    "step FrozenLake, N=4096": (environments.Step, ("FrozenLake-v1", 4096)),
    "step Pendulum, N=16": (environments.Step, ("Pendulum-v1", 16)),
    "fused linear, N=64": (fused_gradient.Environments, ("linear", 64, 1)),
    "fused 64-64, N=64": (fused_gradient.Environments, ("64-64", 64, 1)),
    "fused gae 64-64, N=64": (fused_gradient.Form, ("gae",)),
    "batch linear, 256": (batch_gradient.Gradient, ("linear", 256, 1)),
    "batch 512-512, 256": (batch_gradient.Gradient, ("512-512", 256, 1)),
    "gae, 128x512": (arrays.Estimate, ("gae", "128x512")),
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
            begin = time.perf_counter()
            call()
            times = math.ceil(LEAST_SPAN / (time.perf_counter() - begin))
            spans = seconds_of_calls(
                functools.partial(repeat, call, times), lasting=SECONDS, clock=time.thread_time
            )
            found[name] = min(span for span in spans if span > 0) / (times * steps)
    return found


def repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def main() -> None:
    build, how, *names = sys.argv[1:]
    import fastpg

    if not Path(fastpg.__file__).is_relative_to(Path(build).resolve()):
        raise SystemExit(f"fastpg comes from {fastpg.__file__}, not from {build}")
    if how == "time":
        print(json.dumps(seconds(names)))
        return
    fused_gradient.MANY_STEPS = 0  # one pass is enough for a count
    counted = ctypes.CDLL(how).gate_counted
    for name in names:
        call, _ = work_of(name)
        counted(ctypes.CFUNCTYPE(None)(call))


if __name__ == "__main__":
    main()
