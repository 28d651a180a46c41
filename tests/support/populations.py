"""A short search by population-based training, with pauses after every 512 steps.

    python -m tests.support.populations FOLDER

kills itself with it in the third pause.
"""

import os
import signal
import sys

import fastpg

LEARNER = fastpg.PPO(minibatches=2, value_hidden=(4,), normalize_rewards=True, normalize_observations=True)
SMALL = {"num_envs": 8, "horizon": 16, "hidden": (8,), "explore_every": 500, "total_steps": 3000, "seed": 5}
SIZE = 6

end = None  # of one argument, called in the place of the 12th draw of gamma


def gamma(rng):
    """Draw gamma: of each member at first, then of the copies of each pause."""
    gamma.draws += 1
    if gamma.draws == 12 and end is not None:
        end()
    return float(rng.choice([0.9, 0.95, 0.99]))


def search(place, **others):
    gamma.draws = 0
    explore = {"learning_rate": ("log_uniform", 1e-5, 1e-2), "epochs": [1, 2, 3], "gamma": gamma}
    given = {"explore": explore, "quantile": 0.4, "save": place, **SMALL, **others}
    return fastpg.train_population("CartPole-v1", LEARNER, SIZE, **given)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end = kill
    search(sys.argv[1])
