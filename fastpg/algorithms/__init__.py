"""Algorithms as data: one frozen dataclass each, from which the command line is generated as well."""

from fastpg.algorithms.a2c import A2C
from fastpg.algorithms.options import check_options
from fastpg.algorithms.reinforce import Reinforce
from fastpg.algorithms.vpg import VPG

Algorithm = Reinforce | VPG

__all__ = ["A2C", "VPG", "Algorithm", "Reinforce", "check_options"]
