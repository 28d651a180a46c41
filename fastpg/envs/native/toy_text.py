"""Gymnasium's toy text: what its constructors take, and what they leave unchecked."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.envs.native import tables
from fastpg.envs.native.registry import EnvSpec, add_specs


def _map_name(where: str, name: str, value: Any) -> str:
    """Return the name of one of Gymnasium's maps; its None, a map that nobody can have again, is refused."""
    from gymnasium.envs.toy_text.frozen_lake import MAPS

    return _check.choice(where, name, value, list(MAPS))


def _desc(where: str, name: str, value: Any) -> list[str] | None:
    """Return a map as rows of letters."""
    if value is None:
        return None
    expected = f"{where}: {name} must be rows of the letters S, F, H and G as ['SFF', 'FHG']"
    rows = value.tolist() if isinstance(value, np.ndarray) else value
    if not _check.is_sequence(rows):
        raise TypeError(f"{expected}, got {_check.shown(value)}")
    lines: list[str] = []
    for i, row in enumerate(rows):
        line = _letters(row)
        if line is None:
            raise TypeError(f"{expected}, got {_check.shown(row)} for {name}[{i}]")
        if not line or set(line) - set("SFHG"):
            raise ValueError(f"{expected}, got {_check.shown(line)} for {name}[{i}]")
        lines.append(line)
        if len(line) != len(lines[0]):
            raise ValueError(
                f"{where}: {name} must have rows of one length, "
                f"but {name}[0] has {len(lines[0])} letters and {name}[{i}] has {len(line)}"
            )
    if "S" not in "".join(lines):
        raise ValueError(f"{where}: {name} must have an S, the start, somewhere; got {_check.shown(value)}")
    return lines


def _letters(row: Any) -> str | None:
    """Join a row given as str, bytes, or a sequence of such; None if it is something else."""
    if isinstance(row, bytes):
        return row.decode("latin-1")
    if not isinstance(row, Sequence) or not all(isinstance(one, str | bytes) for one in row):
        return None
    return "".join(one.decode("latin-1") if isinstance(one, bytes) else one for one in row)


def _reward_schedule(where: str, name: str, value: Any) -> tuple[float, ...]:
    """Return the rewards for reaching the goal, a hole, and anything else."""
    expected = f"{where}: {name} must be three numbers, for goal, hole and ice"
    if not (_check.is_sequence(value) or _check.is_array(value)):
        raise TypeError(f"{expected}, got {_check.shown(value)}")
    if len(value) != 3:
        raise ValueError(f"{expected}, got {_check.shown(value)}")
    return tuple(_check.real(where, f"{name}[{i}]", reward, "(-inf, inf)") for i, reward in enumerate(value))


def _probability(where: str, name: str, value: Any) -> float:
    return _check.real(where, name, value, "[0, 1]")


def _show_grid(original: Any, state: NDArray[np.float64], obs: Any, action: Any) -> None:
    original.s, original.lastaction = obs, action
    original.taxi_orientation = 0  # of Taxi, until a move turns it


def _show_blackjack(original: Any, state: NDArray[np.float64], obs: Any, action: Any) -> None:
    """Show hands of the right sums; Gymnasium draws the dealer's suit, which means nothing, at random."""
    total, dealer, usable_ace = obs
    original.player = [1, total - 11] if usable_ace else [total]
    original.dealer = [dealer]
    original.dealer_top_card_suit = "S"
    original.dealer_top_card_value_str = {1: "A", 10: "K"}.get(dealer, str(dealer))


def _frozen_lake(env_id: str, map_name: str) -> EnvSpec:
    return EnvSpec(
        env_id,
        "tabular",
        {
            "desc": None,
            "map_name": map_name,
            "is_slippery": True,
            "success_rate": 1.0 / 3.0,
            "reward_schedule": (1, 0, 0),
        },
        checks={
            "desc": _desc,
            "map_name": _map_name,
            "success_rate": _probability,
            "reward_schedule": _reward_schedule,
        },
        table=tables.from_transitions,
        prob_info=True,
        show=_show_grid,
    )


_cliff_walking = partial(
    EnvSpec, kernel="tabular", table=tables.from_transitions, prob_info=True, show=_show_grid
)
_taxi = partial(
    EnvSpec, kernel="tabular", table=tables.taxi, infos=tables.taxi_infos, prob_info=True, show=_show_grid
)

add_specs(
    _frozen_lake("FrozenLake-v1", "4x4"),
    _frozen_lake("FrozenLake8x8-v1", "8x8"),
    _cliff_walking("CliffWalking-v1", parameters={"is_slippery": False}),
    _cliff_walking("CliffWalkingSlippery-v1", parameters={"is_slippery": True}),
    _taxi(
        "Taxi-v4",
        parameters={
            "is_rainy": False,
            "fickle_passenger": False,
            "rainy_probability": 0.8,
            "fickle_probability": 0.3,
        },
        checks={"rainy_probability": _probability, "fickle_probability": _probability},
    ),
    EnvSpec(
        "Blackjack-v1",
        "tabular",
        {"natural": False, "sab": True},
        table=tables.blackjack,
        show=_show_blackjack,
    ),
    _cliff_walking("CliffWalking-v0"),  # what older versions of Gymnasium have
    _taxi("Taxi-v3"),
)
