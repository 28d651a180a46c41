"""Masks of actions as environments tell them: in ``info["action_mask"]``, or asked for."""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.action_masks import Mask, require_some
from fastpg.envs.gymnasium.asked_masks import METHOD
from fastpg.envs.native.registry import USE_ACTION_MASK
from fastpg.spaces import Actions

KEY = "action_mask"
IN_INFOS = f"infos[{KEY!r}]"  # what errors call masks there


def are_in(infos: Any) -> bool:
    """Return whether infos, which may be a list of each environment's, have masks."""
    return KEY in infos if isinstance(infos, Mapping) else any(KEY in one for one in infos or ())


def read_masks(
    where: str,
    actions: Actions,
    infos: Any,
    which: NDArray[np.bool_],
    masks: Mask,
    name: str = IN_INFOS,
) -> None:
    """Write what infos say of environments `which`, (N,), into masks (N, num_outputs).

    `name` is what errors call them.

    Raises
    ------
    ValueError
        A mask is missing, is no mask of such actions, or allows nothing.
    """
    told, size = _in_one_array(infos, which), actions.num_outputs
    parts = [_of_one(where, infos, i) for i in np.flatnonzero(which).tolist()] if told is None else [told]
    for part in parts:
        is_mask = part.dtype.kind in "biuf" and part.shape[-1:] == (size,)
        if not is_mask or not ((part == 0) | (part == 1)).all():
            raise ValueError(
                f"{where}: {name} must be {size} zeros and ones for each environment, "
                f"got {_check.shown(part.tolist())}"
            )
    if parts:
        masks[which] = np.reshape(parts, (-1, size))
    require_some(where, name, actions, masks.view(np.bool_), which.shape)


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
    with contextlib.suppress(LookupError):  # where they are too few
        if not isinstance(infos, Mapping):  # one for each environment, as DictInfoToList makes of them
            mask = infos[i].get(KEY)
        elif KEY in infos and infos.get(f"_{KEY}", {i: True})[i]:
            mask = infos[KEY][i]
    if mask is None:
        raise ValueError(
            f"{where}: infos have no {KEY!r} of environment {i}, which {USE_ACTION_MASK}=True asks for; a "
            f"method {METHOD}() would do as well"
        )
    parts = mask if isinstance(mask, tuple | list) else (mask,)
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts])
