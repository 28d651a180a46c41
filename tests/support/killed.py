"""Runs that are killed at random moments and go on, compared with runs that nobody killed.

    python -m tests.support.killed CASE KILLS [SEED]

kills a case's runs so many times, and fails if one that goes on ends with other bits.
"""

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fastpg
from fastpg.callbacks import EarlyStopping, Evaluate
from fastpg.training import run_folder, state_file
from tests.support import jit_envs

CASES = {
    "reinforce": ("CartPole-v1", fastpg.Reinforce(), {"hidden": ()}),
    "vpg": (
        "Pendulum-v1",
        fastpg.VPG(normalize_observations=True, value_epochs=2, value_minibatches=3),
        {"horizon": 50, "hidden": (16,)},
    ),
    "a2c": ("FrozenLake-v1", fastpg.A2C(), {"horizon": 16, "hidden": (16,)}),
    "ppo": (
        "Pendulum-v1",
        fastpg.PPO(
            epochs=2, minibatches=4, normalize_observations=True, normalize_rewards=True, desired_kl=0.01
        ),
        {"horizon": 50, "hidden": (16,)},
    ),
    "trpo": ("CartPole-v1", fastpg.TRPO(value_epochs=2), {"horizon": 64, "hidden": (16,)}),
    "jit": (jit_envs.CartPole, fastpg.VPG(value_epochs=1), {"horizon": 32, "hidden": (16,)}),
    "stopped": ("CartPole-v1", fastpg.VPG(value_epochs=2), {"horizon": 64, "hidden": (16,)}),
}
# Of the case that a callback ends, long before its steps are through.
CALLBACKS = {"stopped": lambda: [Evaluate(50_000, 3), EarlyStopping(100_000, min_delta=25.0)]}
SETTINGS = {"total_steps": 400_000, "seed": 7, "checkpoint_every": 20_000}
ROOT = Path(__file__).parents[2]
READY, DONE = "ready\n", "done\n"


def begin_or_go_on(name, folder):
    """Do what a user does who starts the same command again after a crash."""
    env, algorithm, settings = CASES[name]
    callback = CALLBACKS.get(name, lambda: None)()
    if (folder / run_folder.SETTINGS).exists():
        return fastpg.resume(folder, env=env, callback=callback)
    return fastpg.train(env, algorithm, run=folder, callback=callback, **settings, **SETTINGS)


def killed_runs(name, kills, seed):
    """Kill runs at random moments, so many times; return how many went on to their end, all equal."""
    rng, ended = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as place:
        whole, folder = Path(place, "whole"), Path(place, "killed")
        start = time.perf_counter()
        uninterrupted = begin_or_go_on(name, whole)
        seconds = time.perf_counter() - start
        command = [sys.executable, "-m", "tests.support.killed", "--child", name, str(folder)]
        while kills > 0 or folder.exists() or not ended:
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout.readline() == READY
                if kills > 0:
                    time.sleep(rng.uniform(0, seconds))
                    child.kill()
                killed = child.stdout.readline() != DONE
            assert child.returncode in ((-signal.SIGKILL,) if killed else (0, -signal.SIGKILL)), (
                "the run failed"
            )
            kills -= killed
            if not killed:
                check_equal(begin_or_go_on(name, folder), folder, uninterrupted, whole)
                shutil.rmtree(folder)
                ended += 1
    return ended


def check_equal(run, folder, other, other_folder):
    """Require two runs with folders to be the same in every bit, but for the time they took."""
    assert run.policy.theta.tobytes() == other.policy.theta.tobytes()
    assert run.history.keys() == other.history.keys()
    for name in run.history.keys() - {"seconds"}:
        np.testing.assert_array_equal(run.history[name], other.history[name], name)
    state, _ = state_file.load("", run_folder.newest("", folder))
    wanted, _ = state_file.load("", run_folder.newest("", other_folder))
    assert state.keys() == wanted.keys()
    for name, array in wanted.items():
        assert state[name].tobytes() == array.tobytes(), name
    lines, wanted_lines = (
        [line.split(",")[3:] for line in (one / run_folder.METRICS).read_text().splitlines()]
        for one in (folder, other_folder)
    )
    seconds = lines[0].index("time/iteration_seconds")
    for line in lines + wanted_lines:
        del line[seconds]
    assert lines == wanted_lines


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        print(READY, end="", flush=True)
        begin_or_go_on(sys.argv[2], Path(sys.argv[3]))
        print(DONE, end="", flush=True)
    else:
        case, count, *others = sys.argv[1:]
        runs = killed_runs(case, int(count), int(others[0]) if others else time.time_ns())
        print(f"{case}: killed {count} times; {runs} runs went on to the same bits")
