"""What vector environments say of the final observations that a reset in the same step hides: infos."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Space, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from fastpg import _check
from fastpg.envs.gymnasium.flatten import rows_at


def final_batch(where: str, space: Space[Any], infos: Any, which: NDArray[np.int64]) -> Any:
    """Return the final observations of environments `which`, (K,), as a batch of the space.

    Infos have them under "final_obs", or "final_observation" as before Gymnasium 1.0: that of each
    environment, or a batch of all.

    Raises
    ------
    ValueError
        One is missing, or does not fit.
    """
    final: Any = None
    if isinstance(infos, Mapping):
        final = _of(infos)
    elif isinstance(infos, Sequence):  # one mapping for each environment, as DictInfoToList makes of them
        final = [_of(one) if isinstance(one, Mapping) else None for one in infos]
    try:
        if final is not None and not _is_of_each(space, final):
            return rows_at(space, final, which)
        ends = [None if final is None else final[i] for i in which]
        missing = [i for i, end in zip(which, ends, strict=True) if end is None]
        if not missing:
            empty: Any = create_empty_array(space, n=len(which))
            return concatenate(space, ends, empty)
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"{where} returned infos['final_obs'] that do not fit {_check.line(space)}: {error}"
        ) from error
    raise ValueError(
        f"{where} says autoreset mode SAME_STEP, but its infos have no 'final_obs' of environment "
        f"{missing[0]}: V of it stands for the rest of an episode that is truncated"
    )


def _of(infos: Mapping[str, Any]) -> Any:
    return infos.get("final_obs", infos.get("final_observation"))


def _is_of_each(space: Space[Any], final: Any) -> bool:
    """Return whether it is a sequence of observations, of which those of episodes that go on may be None."""
    if isinstance(final, np.ndarray):
        return bool(final.dtype == object)
    return isinstance(final, list) or (isinstance(final, tuple) and not isinstance(space, Tuple))
