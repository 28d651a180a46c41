"""Settings that work: arguments with which `train` solves native environments, and learns MuJoCo's tasks.

benchmarks/search_settings.py found those of native environments, on seeds from 1000 up. docs/learning.md has
what they reach, and where MuJoCo's are from.
"""

from dataclasses import replace
from typing import Any, TypedDict

import gymnasium

from fastpg import _check
from fastpg.algorithms import PPO
from fastpg.envs import env_spec
from fastpg.envs.mujoco import TASKS
from fastpg.envs.mujoco.make import task_of
from fastpg.envs.native.registry import is_native


class Settings(TypedDict):
    """Arguments of `train`."""

    algorithm: PPO
    num_envs: int
    horizon: int
    hidden: tuple[int, ...]
    total_steps: int


_CARTPOLE = Settings(
    algorithm=PPO(lam=0.8, learning_rate=3e-3, minibatches=4, linear_schedule=True),
    num_envs=32,
    horizon=32,
    hidden=(64, 64),
    total_steps=50_000,
)
_FROZEN_LAKE = Settings(
    algorithm=PPO(
        gamma=0.999,
        lam=0.9,
        learning_rate=0.03,
        epochs=4,
        minibatches=4,
        value_hidden=(),
        max_grad_norm=None,
    ),
    num_envs=128,
    horizon=64,
    hidden=(),
    total_steps=1_000_000,
)
_MUJOCO = Settings(
    algorithm=PPO(
        initial_log_std=-0.5,
        recompute_advantages=True,
        standardize_advantages="none",
        linear_schedule=True,
        normalize_observations=True,
        normalize_rewards=True,
    ),
    num_envs=64,
    horizon=32,
    hidden=(64, 64),
    total_steps=1_000_000,
)
# What benchmarks/search_mujoco.py found to be better for a task.
_OF_TASK: dict[type, Settings] = {
    TASKS["InvertedDoublePendulum-v5"]: Settings(
        algorithm=replace(_MUJOCO["algorithm"], epsilon=1e-8),
        num_envs=16,
        horizon=128,
        hidden=(64, 64),
        total_steps=300_000,
    )
}
_RECOMMENDED: dict[str, Settings] = {
    "Acrobot-v1": Settings(
        algorithm=PPO(
            lam=0.9,
            learning_rate=3e-3,
            minibatches=8,
            linear_schedule=True,
            normalize_observations=True,
            normalize_rewards=True,
        ),
        num_envs=4,
        horizon=256,
        hidden=(32, 32),
        total_steps=400_000,
    ),
    "Blackjack-v1": Settings(
        algorithm=PPO(
            gamma=1.0,
            lam=0.98,
            learning_rate=0.01,
            value_learning_rate=0.1,
            epochs=2,
            minibatches=1,
            value_hidden=(),
            max_grad_norm=None,
        ),
        num_envs=16,
        horizon=8,
        hidden=(),
        total_steps=500_000,
    ),
    "CartPole-v0": _CARTPOLE,
    "CartPole-v1": _CARTPOLE,
    "CliffWalking-v1": Settings(
        algorithm=PPO(
            lam=0.98,
            learning_rate=0.1,
            value_learning_rate=0.03,
            epochs=2,
            minibatches=1,
            entropy_coef=0.2,
            value_hidden=(),
            max_grad_norm=None,
        ),
        num_envs=16,
        horizon=32,
        hidden=(),
        total_steps=500_000,
    ),
    "CliffWalkingSlippery-v1": Settings(
        algorithm=PPO(
            lam=0.9,
            gamma=1.0,
            learning_rate=0.03,
            value_learning_rate=0.3,
            epochs=4,
            minibatches=4,
            entropy_coef=0.03,
            value_hidden=(),
            max_grad_norm=None,
            linear_schedule=True,
        ),
        num_envs=32,
        horizon=64,
        hidden=(),
        total_steps=1_000_000,
    ),
    "FrozenLake-v1": _FROZEN_LAKE,
    "FrozenLake8x8-v1": _FROZEN_LAKE | {"total_steps": 2_000_000},
    "MountainCar-v0": Settings(
        algorithm=PPO(
            gamma=0.999,
            lam=0.9,
            learning_rate=1e-3,
            minibatches=16,
            linear_schedule=True,
            normalize_observations=True,
            normalize_rewards=True,
        ),
        num_envs=16,
        horizon=64,
        hidden=(32, 32),
        total_steps=300_000,
    ),
    "MountainCarContinuous-v0": Settings(
        algorithm=PPO(
            gamma=0.999,
            lam=0.9,
            epochs=4,
            minibatches=16,
            linear_schedule=True,
            normalize_observations=True,
            normalize_rewards=True,
        ),
        num_envs=8,
        horizon=128,
        hidden=(32, 32),
        total_steps=100_000,
    ),
    "Pendulum-v1": Settings(
        algorithm=PPO(
            gamma=0.95,
            lam=0.9,
            learning_rate=2e-3,
            minibatches=64,
            linear_schedule=True,
            normalize_observations=True,
            normalize_rewards=True,
        ),
        num_envs=32,
        horizon=128,
        hidden=(32, 32),
        total_steps=300_000,
    ),
    "Taxi-v4": Settings(
        algorithm=PPO(
            lam=0.9,
            learning_rate=0.03,
            value_learning_rate=0.1,
            epochs=2,
            minibatches=1,
            entropy_coef=0.03,
            value_hidden=(),
            max_grad_norm=None,
        ),
        num_envs=64,
        horizon=64,
        hidden=(),
        total_steps=4_000_000,
    ),
}
# The ids that older versions of Gymnasium have.
_RECOMMENDED |= {"CliffWalking-v0": _RECOMMENDED["CliffWalking-v1"], "Taxi-v3": _RECOMMENDED["Taxi-v4"]}


def has_settings(env_id: Any) -> bool:
    """Return whether `recommended` knows this."""
    return isinstance(env_id, str) and (is_native(env_id) or task_of(env_id) is not None)


def recommended(env_id: str) -> Settings:
    """Return arguments with which `train` solves a native environment, in seconds; or learns a MuJoCo task.

    Parameters
    ----------
    env_id : str
        One of `fastpg.list_envs()`, or of MuJoCo's tasks ("HalfCheetah-v5"), most of which share one setting.

    Returns
    -------
    dict
        algorithm, num_envs, horizon, hidden and total_steps, as in ``train(env_id, **recommended(env_id))``.
        It is the caller's own: change what you like, as in
        ``train(env_id, **recommended(env_id) | {"total_steps": 20_000})``.

    Raises
    ------
    TypeError, ValueError
        env_id is not the id of a native environment, nor of a MuJoCo task.

    Examples
    --------
    >>> settings = recommended("CartPole-v1")
    >>> type(settings["algorithm"]).__name__, settings["hidden"]
    ('PPO', (64, 64))
    """
    where = "recommended()"
    if not isinstance(env_id, str):
        raise TypeError(f"{where}: env_id must be a string, one of list_envs(), got {_check.shown(env_id)}")
    if (task := task_of(env_id)) is not None:
        return _OF_TASK.get(task, _MUJOCO).copy()
    if not is_native(env_id) and env_id in gymnasium.registry:
        raise ValueError(
            f"{where}: env_id {env_id!r} is not implemented natively, and there are no settings for it; "
            "begin with fastpg.PPO(normalize_observations=True, normalize_rewards=True)"
        )
    return _RECOMMENDED[env_spec(where, env_id).id].copy()
