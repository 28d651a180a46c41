"""CartPole written in Python (fastpg.jit_env) beside the native one: stepping, training, compiling, loading.

    python benchmarks/jit_env.py

Every figure is a ratio of programs that take turns in this process, best of many; the seconds are those of
processes of their own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gymnasium
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
import jit_envs

import fastpg

NUM_ENVS = 1024
REPEATS = 12


def stepping(env):
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 2, NUM_ENVS)

    def run():
        for _ in range(100):
            env.step(actions)

    return run


def training(env, hidden):
    def run():
        fastpg.train(env, hidden=hidden, num_envs=NUM_ENVS, horizon=128, total_steps=10 * NUM_ENVS * 128)

    return run


def best(*programs):
    """The shortest time of each, in turns."""
    times = [[] for _ in programs]
    for _ in range(REPEATS):
        for program, mine in zip(programs, times, strict=True):
            start = time.perf_counter()
            program()
            mine.append(time.perf_counter() - start)
    return [min(mine) for mine in times]


PROGRAM = """
import sys, time
sys.path.insert(0, {support!r})
import fastpg, numba
from jit_envs import CartPole
start, cpu = time.perf_counter(), time.process_time()
fastpg.make(CartPole, 1)
print(time.perf_counter() - start, time.process_time() - cpu)
"""


def first_use(folder):
    """Seconds from numba imported to an environment made in another process: elapsed, and of the CPU."""
    program = PROGRAM.format(support=sys.path[0])
    environment = os.environ | {"FASTPG_CACHE_DIR": folder}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return tuple(map(float, done.stdout.split()))


def main():
    copy = {"copy": False}
    mine, native = (fastpg.make(one, NUM_ENVS, **copy) for one in (jit_envs.CartPole, "CartPole-v1"))
    numpy_env = gymnasium.make_vec("CartPole-v1", NUM_ENVS, vectorization_mode="vector_entry_point")
    a, b, c = best(stepping(mine), stepping(native), stepping(numpy_env))
    print(f"stepping, N={NUM_ENVS}: {b / a:.2f} of the native speed, {c / a:.1f} x Gymnasium's NumPy one")
    for hidden in [(), (32,), (64, 64)]:
        a, b = best(training(jit_envs.CartPole, hidden), training("CartPole-v1", hidden))
        print(f"training, hidden={hidden}: {b / a:.2f} of the native speed")
    with tempfile.TemporaryDirectory() as folder:
        print("first use: compiled in {:.2f} s, {:.2f} s of CPU time".format(*first_use(folder)))
        loaded = min(first_use(folder) for _ in range(3))
        print("second process: loaded in {:.2f} s, {:.2f} s of CPU time".format(*loaded))


if __name__ == "__main__":
    main()
