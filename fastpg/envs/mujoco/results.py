"""What user formulas return, checked and copied; infos in the form of Gymnasium's vector environments."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check

Bools = NDArray[np.bool_]
Infos = Mapping[str, NDArray[Any]]


def some(flags: NDArray[np.bool_]) -> bool:
    """Return whether any flag is up; of a few hundred NumPy's own `any` takes several times as long."""
    return bool(np.count_nonzero(flags))


def rows(where: str, value: Any, num_envs: int) -> NDArray[np.float64]:
    """Return observations (N, D) as an array of their own."""
    array = _check.as_array(where, "what observe() returns", value)
    if array.ndim != 2 or len(array) != num_envs or array.shape[1] == 0 or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{where}: observe() must return numbers of shape ({num_envs}, D), "
            f"got shape {array.shape} and dtype {array.dtype}"
        )
    return np.array(array, np.float64)


def column(where: str, what: str, value: Any, num_envs: int, kinds: str) -> NDArray[Any]:
    """Return a number or a flag of each environment as an array of its own."""
    array = _check.as_array(where, f"what {what}() returns", value)
    if array.shape != (num_envs,) or array.dtype.kind not in kinds:
        kind = "bools" if kinds == "b" else "numbers"
        raise ValueError(
            f"{where}: {what}() must return {kind} of shape ({num_envs},), "
            f"got shape {array.shape} and dtype {array.dtype}"
        )
    return np.array(array, np.bool_ if kinds == "b" else np.float64)


def named(where: str, what: str, value: Any, num_envs: int) -> dict[str, NDArray[Any]]:
    """Return a mapping from names to arrays (N, ...), each an array of its own."""
    arrays = {}
    for name, one in _check.mapping(where, f"what {what}() returns", value).items():
        array = _check.as_array(where, f"{what}()'s {name!r}", one)
        if array.ndim == 0 or len(array) != num_envs:
            raise ValueError(
                f"{where}: {what}() must return arrays of shape ({num_envs}, ...), "
                f"but {name!r} has shape {array.shape}"
            )
        arrays[name] = np.array(array)
    return arrays


def infos(parts: Iterable[tuple[Infos, Bools]]) -> dict[str, Any]:
    """Return infos with a mask each of whom they are about, and zeros for the others."""
    result: dict[str, Any] = {}
    for values, chosen in parts:
        count = np.count_nonzero(chosen)
        if not values or not count:
            continue
        others = None if count == len(chosen) else ~chosen
        for name, array in values.items():
            if others is not None:
                array[others] = 0
            result[name] = array
            result[f"_{name}"] = chosen.copy()
    return result


def add_final(infos: dict[str, Any], done: Bools, obs: NDArray[Any], final_info: dict[str, Any]) -> None:
    """Add to a step's infos what "same_step" has of the episodes that ended."""
    objects = np.full(len(done), None, dtype=object)
    for i in np.flatnonzero(done).tolist():
        objects[i] = obs[i].copy()
    infos.update(final_obs=objects, _final_obs=done.copy(), final_info=final_info, _final_info=done.copy())
