"""What the infos of environments say of the actions that may be taken: ``info["action_mask"]``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.action_masks import Mask, require_some
from fastpg.envs.native.registry import USE_ACTION_MASK
from fastpg.spaces import Actions

KEY = "action_mask"


def read_masks(where: str, actions: Actions, infos: Any, which: NDArray[np.bool_], masks: Mask) -> None:
    """Write what infos say of environments `which`, (N,), into masks (N, num_outputs).

    Raises
    ------
    ValueError
        A mask is missing, is no mask of such actions, or allows nothing.
    """
    rows = _in_one_array(infos, which)
    if rows is None:
        rows = [_of_one(where, infos, i) for i in np.flatnonzero(which).tolist()]
    size = actions.num_outputs
    try:
        allowed = _check.zeros_and_ones(where, "it", np.asarray(rows))
        masks[which] = allowed.reshape(np.count_nonzero(which), size)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: infos[{KEY!r}] must be {size} zeros and ones for each environment: {error}"
        ) from error
    require_some(where, f"infos[{KEY!r}]", actions, masks.view(np.bool_), which.shape)


def _in_one_array(infos: Any, which: NDArray[np.bool_]) -> NDArray[Any] | None:
    """Return the masks of `which` where Gymnasium has made one array of them, as of arrays of numbers."""
    masks = infos.get(KEY) if isinstance(infos, Mapping) else None
    if not isinstance(masks, np.ndarray) or masks.dtype == object or len(masks) != len(which):
        return None
    known = infos.get(f"_{KEY}", which)
    return masks[which] if np.all(known[which]) else None


def _of_one(where: str, infos: Any, i: int) -> NDArray[Any]:
    """Return environment i's mask as one array, also where its components' are in a tuple."""
    mask = None
    if not isinstance(infos, Mapping):  # one mapping for each environment, as DictInfoToList makes of them
        mask = infos[i].get(KEY)
    elif KEY in infos and infos.get(f"_{KEY}", {i: True})[i]:
        mask = infos[KEY][i]
    if mask is None:
        raise ValueError(
            f"{where}: infos have no {KEY!r} of environment {i}, which {USE_ACTION_MASK}=True asks for"
        )
    parts = mask if isinstance(mask, tuple | list) else (mask,)
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts])
