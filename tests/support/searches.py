"""A short search by successive halving, with rungs at 200 and 400 steps.

    python -m tests.support.searches FOLDER

kills itself with it after the second rung.
"""

import os
import signal
import sys

import fastpg

SETTINGS = fastpg.grid(fastpg.PPO(epochs=1, minibatches=2), learning_rate=[1e-5, 1e-4, 1e-3, 1e-2])
SHORT = {"seeds": 2, "keep": 0.5, "num_envs": 4, "horizon": 25, "hidden": (6,), "total_steps": 800}


def search(place, **others):
    return fastpg.halving("CartPole-v1", SETTINGS, save=place, **{**SHORT, **others})


def kill(progress):
    if progress.num_steps >= 500:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    search(sys.argv[1], callbacks_of=lambda k: kill)
