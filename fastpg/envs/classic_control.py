"""Gymnasium's classic control: what its constructors take, in the order in which the kernels read it."""

from fastpg.envs.registry import EnvSpec, add_specs

_CARTPOLE = ("cartpole", {"sutton_barto_reward": False})
_CARTPOLE_RESET = {"low": -0.05, "high": 0.05}

add_specs(
    EnvSpec("CartPole-v0", *_CARTPOLE, reset_options=_CARTPOLE_RESET),
    EnvSpec("CartPole-v1", *_CARTPOLE, reset_options=_CARTPOLE_RESET),
)
