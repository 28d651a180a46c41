"""Algorithms as data: one frozen dataclass each, from which the command line is generated as well."""

from typing import Any

from fastpg import _check
from fastpg.algorithms.a2c import A2C
from fastpg.algorithms.natural import NPG, TRPO
from fastpg.algorithms.options import check_options
from fastpg.algorithms.ppo import PPO
from fastpg.algorithms.reinforce import Reinforce
from fastpg.algorithms.vpg import VPG

Algorithm = Reinforce | VPG | PPO | NPG

__all__ = ["A2C", "NPG", "PPO", "TRPO", "VPG", "Algorithm", "Reinforce", "check_options", "require_algorithm"]


def require_algorithm(where: str, algorithm: Any) -> Algorithm:
    """Return what is an algorithm; raise TypeError for anything else."""
    if not isinstance(algorithm, Algorithm):
        raise TypeError(
            f"{where}: algorithm must be a fastpg.Reinforce, VPG, A2C, PPO, NPG or TRPO, "
            f"got {_check.shown(algorithm)}"
        )
    return algorithm
