"""What follows the end of an episode: the modes of Gymnasium's vector environments."""

from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from gymnasium import vector

from fastpg import _check

NAMES_MODES = hasattr(vector, "AutoresetMode")  # Gymnasium 1.0 does not: it resets in the next step only

if TYPE_CHECKING or NAMES_MODES:
    from gymnasium.vector import AutoresetMode as AutoresetMode
else:

    class AutoresetMode(Enum):
        """The modes of Gymnasium since 1.1."""

        NEXT_STEP = "NextStep"
        SAME_STEP = "SameStep"
        DISABLED = "Disabled"


Autoreset = Literal["next_step", "same_step", "disabled"]
AUTORESET_MODES: dict[Autoreset, AutoresetMode] = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}


def autoreset_mode(where: str, value: Any) -> Autoreset:
    """Return the name of the mode that a user means."""
    for name, mode in AUTORESET_MODES.items():
        if isinstance(value, str | AutoresetMode) and value in (name, mode, mode.value):
            return name
    _check.choice(where, "autoreset", value, tuple(AUTORESET_MODES))
    raise AssertionError  # choice() has raised
