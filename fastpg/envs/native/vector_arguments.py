"""What a `VectorEnv` is given, checked and in the form that the core takes."""

import secrets
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.envs.native.registry import NativeEnv
from fastpg.errors import ResetMaskTypeError, ResetMaskValueError


def reset_mask(where: str, mask: Any, num_envs: int) -> NDArray[np.bool_]:
    """Check a mask of environments to reset; the errors are those of any Gymnasium's vector environments."""
    begin = f"{where}: options['reset_mask'] must"
    if not _check.is_array(mask):
        raise ResetMaskTypeError(f"{begin} be a bool numpy array, got {_check.shown(mask)}")
    if mask.shape != (num_envs,):
        raise ResetMaskValueError(f"{begin} have shape ({num_envs},), got {mask.shape}")
    if mask.dtype != np.bool_:
        raise ResetMaskTypeError(f"{begin} be bool, got {mask.dtype}; convert it with mask.astype(bool)")
    if not mask.any():
        raise ResetMaskValueError(f"{begin} have at least one True entry: no environment would be reset")
    # A copy of zeros and ones, also of an array over other bytes.
    return np.not_equal(mask.view(np.uint8), 0)


def reset_params(where: str, env: NativeEnv, options: dict[str, Any]) -> tuple[float, ...]:
    """Return the kernel's parameters with the reset options put in."""
    known = env.spec.reset_options
    unknown = sorted(set(options) - set(known))
    if unknown:
        names = ", ".join(map(repr, ("reset_mask", *known)))
        raise ValueError(f"{where}: options has no {unknown[0]!r} for {env.id}; it takes {names}")
    values = dict(known)
    for name, value in options.items():
        values[name] = _check.real(where, f"options[{name!r}]", value, "(-inf, inf)")
    if "low" in values and values["low"] > values["high"]:
        raise ValueError(
            f"{where}: options['low'] must not exceed options['high'], "
            f"got {values['low']} and {values['high']}"
        )
    return (*env.settings, *values.values())


def reset_seeds(
    where: str,
    seed: Any,
    before: NDArray[np.uint64],
    chosen: NDArray[np.bool_],
    was_seeded: bool,
    next_seed: int | None,
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the seeds of all environments, and which of those that were chosen for a reset get a new one.

    `before` are their last seeds, which count where there `was_seeded` any; else `next_seed` does, if given.
    """
    chosen = chosen.copy()
    if _check.is_sequence(seed) or (_check.is_array(seed) and seed.ndim == 1):
        if len(seed) != len(before):
            raise ValueError(
                f"{where}: seed must have one entry per environment, {len(before)}, got {len(seed)}"
            )
        seeds = before.copy()
        for i, one in enumerate(seed):
            if one is not None:
                seeds[i] = _check.integer(where, f"seed[{i}]", one, 0, _check.MAX_SEED)
            elif not was_seeded:
                seeds[i] = secrets.randbits(48) if next_seed is None else (next_seed + i) % 2**64
            else:
                chosen[i] = False
    else:
        first = _check.integer(where, "seed", seed, 0, _check.MAX_SEED)
        seeds = np.arange(len(before), dtype=np.uint64) + np.uint64(first)  # wraps around
    return np.where(chosen, seeds, before), chosen


def step_actions(actions: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the actions as the core takes them, flat."""
    array: NDArray[Any] = actions
    if type(actions) is not np.ndarray:
        array = _check.as_array("VectorEnv.step()", "actions", actions)
    if array.shape != shape:
        raise ValueError(f"VectorEnv.step(): actions must have shape {shape}, got {array.shape}")
    if array.dtype != dtype:
        if dtype == np.int64 and array.dtype.kind in "iu":
            array = array.astype(np.int64)
        else:
            raise TypeError(
                f"VectorEnv.step(): actions must be {dtype}, got {array.dtype}; "
                f"convert them with actions.astype(numpy.{dtype})"
            )
    return _check.contiguous(array).reshape(-1)


def state_arrays(
    where: str, env: NativeEnv, num_envs: int, state: Any, elapsed: Any
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return states (num_envs, state_size) and the steps that they have had, as copies.

    Copies are what is checked: another thread may write to the caller's arrays.
    """
    rows = _check.array(where, "state", state, np.float64, (num_envs, env.core.state_size)).copy()
    _check.finite(where, "state", rows)
    table = env.core.table
    if table is not None:
        numbers, count = rows[:, 0], len(table.cumulative)
        if not ((numbers >= 0) & (numbers < count) & (numbers == np.floor(numbers))).all():
            raise ValueError(f"{where}: state[:, 0] must hold whole numbers in 0..{count - 1}")
    if elapsed is None:
        elapsed = np.zeros(num_envs, np.int32)
    steps = _check.array(where, "elapsed", elapsed, np.int32, (num_envs,)).copy()
    if steps.min() < 0:
        raise ValueError(f"{where}: elapsed must not be negative, got {steps.min()}")
    if steps.max() == 2**31 - 1:
        raise ValueError(f"{where}: elapsed must be below 2**31 - 1, which leaves no step to count")
    return rows, steps
