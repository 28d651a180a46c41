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
        names = {kind.__name__.lower(): kind.__name__ for kind in (Reinforce, VPG, A2C, PPO, NPG, TRPO)}
        named = algorithm.__name__ if isinstance(algorithm, type) else algorithm
        name = names.get(named.lower()) if isinstance(named, str) else None
        raise TypeError(
            f"{where}: algorithm must be a fastpg.Reinforce, VPG, A2C, PPO, NPG or TRPO, "
            f"got {_check.shown(algorithm)}" + (f"; pass an object, fastpg.{name}()" if name else "")
        )
    return algorithm
