"""Action masks: which categories of an action may be drawn, row by row, checked."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.spaces import Actions

Mask = NDArray[np.uint8]  # (B, num_outputs) in the core's form: 0 where a category is not allowed


def mask_rows(
    where: str,
    actions: Actions,
    value: Any,
    batch_shape: tuple[int, ...],
    counts: NDArray[np.bool_] | None = None,
) -> Mask | None:
    """Check a mask (..., num_outputs) of a batch, and return its rows; None stays None.

    Where `counts`, of the batch's shape, is False, everything becomes allowed: nobody reads these rows.
    """
    if value is None:
        return None
    require_categorical(where, actions)
    allowed = _check.zeros_and_ones(where, "action_mask", value)
    shape = (*batch_shape, actions.num_outputs)
    if allowed.shape != shape:
        raise ValueError(
            f"{where}: action_mask must have shape {shape}, the batch's and then an entry for each category "
            f"of an action, got {allowed.shape}"
        )
    mask = np.array(allowed, order="C").reshape(-1, actions.num_outputs)
    if counts is not None:
        mask[~counts.reshape(-1)] = True
    require_some(where, "action_mask", actions, mask, batch_shape)
    return mask.view(np.uint8)


def require_categorical(where: str, actions: Actions) -> None:
    """Raise ValueError unless actions have categories that a softmax gives probabilities to."""
    if actions.head != "categorical":
        raise ValueError(
            f"{where}: action masks go with Discrete and MultiDiscrete actions, but actions are in "
            f"{_check.line(actions.space)}"
        )


def require_some(
    where: str, name: str, actions: Actions, mask: NDArray[np.bool_], batch_shape: tuple[int, ...]
) -> None:
    """Raise ValueError unless every row (B, num_outputs) allows a category of every component."""
    start = 0
    for k, categories in enumerate(actions.categories):
        some = mask[:, start : start + categories].any(axis=1)
        if not some.all():
            of_component = "" if len(actions.categories) == 1 else f" of component {k}"
            raise ValueError(
                f"{where}: {_entry(name, int(np.argmin(some)), batch_shape)} allows no "
                f"category{of_component}, so that there is no action to take"
            )
        start += categories


def require_allowed(
    where: str,
    actions: Actions,
    flat: NDArray[Any],
    mask: Mask | None,
    batch_shape: tuple[int, ...],
    counts: NDArray[np.bool_] | None = None,
) -> None:
    """Raise ValueError unless the core's actions, flat (B * size,), are ones that the mask allows.

    Where `counts`, of the batch's shape, is False, they are not looked at.
    """
    if mask is None:
        return
    rows = flat.reshape(-1, actions.size)
    offsets = np.cumsum((0, *actions.categories[:-1]))
    allowed = np.take_along_axis(mask, rows + offsets, axis=1).all(axis=1)
    if counts is not None:
        allowed |= ~counts.reshape(-1)
    if not allowed.all():
        row = int(np.argmin(allowed))
        taken = actions.shaped(rows[row], ())
        raise ValueError(
            f"{where}: {_entry('actions', row, batch_shape)} is {taken}, which "
            f"{_entry('action_mask', row, batch_shape)} does not allow"
        )


def _entry(name: str, row: int, batch_shape: tuple[int, ...]) -> str:
    """Return how a row of a batch is written."""
    if not batch_shape:
        return name
    return f"{name}[{', '.join(str(i) for i in np.unravel_index(row, batch_shape))}]"
