"""Settings that work: for each native environment, arguments with which `train` solves it fast.

benchmarks/search_settings.py found them, on seeds from 1000 up; docs/learning.md shows what they reach on others.
"""

from typing import TypedDict

from fastpg import _check
from fastpg.algorithms import PPO, VPG
from fastpg.envs import env_spec


class Settings(TypedDict):
    """Arguments of `train`."""

    algorithm: PPO | VPG
    num_envs: int
    horizon: int
    hidden: tuple[int, ...]
    total_steps: int


def _settings(algorithm: PPO | VPG, num_envs: int, horizon: int, total_steps: int, *hidden: int) -> Settings:
    return {
        "algorithm": algorithm,
        "num_envs": num_envs,
        "horizon": horizon,
        "hidden": hidden,
        "total_steps": total_steps,
    }


_CARTPOLE = _settings(
    PPO(gamma=0.98, lam=0.8, learning_rate=3e-3, minibatches=4, linear_schedule=True), 8, 32, 100_000, 64, 64
)
_RECOMMENDED = {
    "Acrobot-v1": _settings(
        PPO(
            learning_rate=1e-3,
            epochs=4,
            minibatches=8,
            normalize_observations=True,
            normalize_rewards=True,
        ),
        16, 128, 300_000, 64, 64,
    ),  # fmt: skip
    "Blackjack-v1": _settings(
        VPG(gamma=1.0, learning_rate=0.03, value_learning_rate=0.03, value_hidden=(), linear_schedule=True),
        64, 32, 1_000_000,
    ),  # fmt: skip
    "CartPole-v0": _CARTPOLE,
    "CartPole-v1": _CARTPOLE,
    "CliffWalking-v1": _settings(
        VPG(gamma=1.0, learning_rate=0.03, value_learning_rate=0.1, value_hidden=()), 16, 16, 1_000_000
    ),
    "CliffWalkingSlippery-v1": _settings(
        VPG(gamma=1.0, learning_rate=0.03, value_learning_rate=0.1, value_hidden=()), 16, 16, 2_000_000
    ),
    "FrozenLake-v1": _settings(
        VPG(gamma=0.999, learning_rate=0.03, value_learning_rate=0.03, value_hidden=()), 64, 32, 1_000_000
    ),
    "FrozenLake8x8-v1": _settings(
        VPG(gamma=0.999, learning_rate=0.03, value_learning_rate=0.03, value_hidden=()), 64, 32, 2_000_000
    ),
    "MountainCar-v0": _settings(
        PPO(
            lam=0.98,
            learning_rate=1e-3,
            epochs=4,
            minibatches=4,
            normalize_observations=True,
            normalize_rewards=True,
        ),
        16, 16, 1_000_000, 64, 64,
    ),  # fmt: skip
    "MountainCarContinuous-v0": _settings(
        VPG(normalize_observations=True), 16, 512, 300_000, 64, 64
    ),
    "Pendulum-v1": _settings(
        PPO(gamma=0.9, learning_rate=1e-3, minibatches=64, linear_schedule=True), 4, 1024, 300_000, 64, 64
    ),
    "Taxi-v4": _settings(
        VPG(learning_rate=0.03, value_learning_rate=0.1, value_hidden=()), 64, 64, 4_000_000
    ),
}  # fmt: skip


def recommended(env_id: str) -> Settings:
    """Return arguments with which `train` solves a native environment, in seconds.

    Parameters
    ----------
    env_id : str
        One of `fastpg.list_envs()`.

    Returns
    -------
    dict
        algorithm, num_envs, horizon, hidden and total_steps, for ``train(env_id, **recommended(env_id))``. The
        dictionary is the caller's: change what you like.

    Raises
    ------
    TypeError, ValueError
        env_id is not the id of a native environment.

    Examples
    --------
    >>> settings = recommended("CartPole-v1")
    >>> type(settings["algorithm"]).__name__, settings["hidden"]
    ('PPO', (64, 64))
    """
    where = "recommended()"
    if not isinstance(env_id, str):
        raise TypeError(f"{where}: env_id must be a string, one of list_envs(), got {_check.shown(env_id)}")
    return _RECOMMENDED[env_spec(where, env_id).id].copy()
