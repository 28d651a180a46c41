"""Spaces as the core sees them: observations as rows of numbers or categories, actions as a head's draws."""

import math
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from numpy.typing import NDArray

from fastpg import _check, _core


@dataclass(frozen=True, slots=True)
class Observations:
    """How observations of a space become the core's rows, (B, obs_size) float32."""

    space: Space[Any]
    num_inputs: int  # of the network: the length of a Box, or the categories of all components together
    categories: tuple[int, ...]  # of each component; () if they are real numbers
    starts: tuple[int, ...]  # the number of each component's first category

    @property
    def shape(self) -> tuple[Any, ...]:
        """Return what two policies must share to read the same observations."""
        return self.num_inputs, self.categories

    def rows(self, where: str, obs: Any, name: str = "obs") -> tuple[NDArray[np.float32], tuple[int, ...]]:
        """Check a batch of observations, an argument `name`; return its rows and the shape of the batch."""
        if not self.categories:
            return _check.observations(where, name, obs, self.num_inputs)
        columns = self._columns(where, name, obs)
        batch_shape = columns[0].shape
        if any(column.shape != batch_shape for column in columns) or columns[0].size == 0:
            shapes = [column.shape for column in columns]
            raise ValueError(
                f"{where}: {name} must hold at least one observation of {_check.line(self.space)}, "
                f"got {shapes}"
            )
        rows = np.empty((columns[0].size, len(columns)), np.float32)
        sentence = f"{where}: {name} must lie in {_check.line(self.space)}"
        for k, (column, start, size) in enumerate(zip(columns, self.starts, self.categories, strict=True)):
            rows[:, k] = categories_from_zero(sentence, column.reshape(-1), start, size)
        return rows, batch_shape

    def batch(self, rows: NDArray[np.float32]) -> Any:
        """Return the observations that the core's rows stand for, (B, ...), in the form of the space."""
        if not self.categories:
            return rows
        return self.formed(rows.astype(np.int64) + np.array(self.starts))

    def formed(self, categories: NDArray[np.int64]) -> Any:
        """Return categories, (..., obs_size), in the form of the space."""
        if isinstance(self.space, Discrete):
            return categories[..., 0]
        return tuple(np.moveaxis(categories, -1, 0)) if isinstance(self.space, Tuple) else categories

    def _columns(self, where: str, name: str, obs: Any) -> list[NDArray[Any]]:
        """Return the components of categorical observations, each an integer array of the batch's shape."""
        if isinstance(self.space, Discrete):
            parts: list[Any] = [obs]
        elif isinstance(obs, tuple | list):
            parts = list(obs)
        else:
            array = _check.as_array(where, name, obs)
            if array.ndim == 0 or array.shape[-1] != len(self.categories):
                raise ValueError(
                    f"{where}: {name} must have shape (..., {len(self.categories)}), got {array.shape}"
                )
            parts = list(np.moveaxis(array, -1, 0))
        if len(parts) != len(self.categories):
            raise ValueError(f"{where}: {name} must have {len(self.categories)} components, got {len(parts)}")
        columns = [_check.as_array(where, name, part) for part in parts]
        for column in columns:
            if column.dtype.kind not in "iu":
                raise TypeError(
                    f"{where}: {name} must be integers of {_check.line(self.space)}, got {column.dtype}"
                )
        return columns


def observations(where: str, space: Any) -> Observations:
    """Return how observations of a space are read; an unsupported one is a ValueError."""
    if not isinstance(space, Space):
        raise TypeError(f"{where}: observation_space must be a gymnasium space, got {_check.shown(space)}")
    if (
        isinstance(space, Box)
        and len(space.shape) == 1
        and space.shape[0]
        and np.issubdtype(space.dtype, np.floating)
    ):
        return Observations(space, space.shape[0], (), ())
    parts = space.spaces if isinstance(space, Tuple) else (space,)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        categories = tuple(space.nvec.tolist())
        starts = tuple(space.start.tolist())
    elif all(isinstance(part, Discrete) for part in parts):
        categories = tuple(int(part.n) for part in parts)  # type: ignore[attr-defined]
        starts = tuple(int(part.start) for part in parts)  # type: ignore[attr-defined]
    else:
        got = _check.line(space)
        raise ValueError(
            f"{where}: observation_space must be a one-dimensional Box of floats, Discrete, a Tuple of "
            f"Discrete or a one-dimensional MultiDiscrete, got {got}; others are not supported"
        )
    if not 1 <= len(categories) <= _core.MAX_COMPONENTS or sum(categories) > _core.MAX_CATEGORIES:
        raise ValueError(
            f"{where}: observation_space must have 1 to {_core.MAX_COMPONENTS} components and at most "
            f"{_core.MAX_CATEGORIES} categories together, got {_check.line(space)}"
        )
    return Observations(space, sum(categories), categories, starts)


@dataclass(frozen=True, slots=True)
class Actions:
    """How actions of a space become the core's flat arrays (B * action_size,), and which head draws them.

    The core counts categories from 0 and knows no shapes. Arrays of actions that users have are as the space
    has them: in its shape, counted from its starts. `flat` and `shaped` are where one becomes the other. In a
    Box they are what a Gaussian drew; `fastpg.acted` makes of them what an environment gets.
    """

    space: Space[Any]
    head: str  # "categorical", "bernoulli" or "gaussian", as _core.Network takes it
    # Of the network: the categories of all components together, or one a component, or a mean and a log_std.
    num_outputs: int
    categories: tuple[int, ...]  # of each component; () if they are real numbers
    starts: tuple[int, ...]  # the number of each component's first category; () if all are 0
    squash: bool  # of a Box, as the next: actions are squashed into it
    state_dependent_std: bool

    @property
    def shape(self) -> tuple[Any, ...]:
        """Return what two policies must share to mean the same actions; bounds, if these are squashed."""
        bounds = (self.space.low.tobytes(), self.space.high.tobytes()) if self.squash else None  # type: ignore[attr-defined]
        return self.head, self.size, self.categories, isinstance(self.space, Discrete), bounds

    @property
    def log_scale(self) -> float | None:
        """Return log of what a squashed action's density is divided by; None if it is not squashed."""
        if not self.squash:
            return None
        low, high = (bound.astype(np.float64) for bound in (self.space.low, self.space.high))  # type: ignore[attr-defined]
        return float(np.log(0.5 * high - 0.5 * low).sum())

    @property
    def dtype(self) -> Any:
        """Return what actions are stored as."""
        return np.float32 if self.head == "gaussian" else np.int64

    @property
    def size(self) -> int:
        """Return the number of components."""
        return len(self.categories) or math.prod(self.space.shape or ())

    def flat(self, where: str, value: Any, batch_shape: tuple[int, ...]) -> NDArray[Any]:
        """Check the actions of a batch, one for each observation, and flatten them."""
        shape = (*batch_shape, *(self.space.shape or ()))
        if not self.categories:
            array = np.asarray(value) if isinstance(value, np.floating) else value
            return _check.contiguous(_check.floats(where, "actions", array, shape)).reshape(-1)
        array = np.asarray(value) if isinstance(value, int | np.integer) else value
        if isinstance(value, bool) or not _check.is_array(array) or array.dtype.kind not in "iu":
            raise TypeError(f"{where}: actions must be an array of integers, got {_check.shown(value)}")
        if array.shape != shape:
            after = "" if isinstance(self.space, Discrete) else f" and then the {self.size} of an action"
            raise ValueError(
                f"{where}: actions must have shape {shape} like obs' batch{after}, got {array.shape}; "
                f"their space is {_check.line(self.space)}"
            )
        array = _check.contiguous(array)  # now: what does not fit in memory takes hours to look through
        rows = array.reshape(-1, self.size)
        for k, (categories, start) in enumerate(zip(self.categories, self.starts or repeat(0), strict=False)):
            column = rows[:, k]
            if column.min() < start or column.max() >= start + categories:
                wrong = column.min() if column.min() < start else column.max()
                which = "actions" if isinstance(self.space, Discrete) else f"actions[..., {self._place(k)}]"
                raise ValueError(
                    f"{where}: {which} must lie in {start}..{start + categories - 1}, got {wrong}"
                )
        return self.from_zero(_check.contiguous(array, np.int64)).reshape(-1)

    def from_zero(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return categories (..., *space.shape), counted from the starts, as the core counts them."""
        return actions - self._shaped_starts() if self.starts else actions

    def shaped(self, flat: NDArray[Any], batch_shape: tuple[int, ...]) -> NDArray[Any]:
        """Return actions of the core as the space has them; a single Discrete one becomes a scalar."""
        shaped = flat.reshape((*batch_shape, *(self.space.shape or ())))
        if self.starts:
            shaped = shaped + self._shaped_starts()
        return shaped[()] if isinstance(self.space, Discrete) else shaped

    def _shaped_starts(self) -> NDArray[np.int64]:
        return np.array(self.starts, np.int64).reshape(self.space.shape or ())

    def _place(self, component: int) -> str:
        """Return a component's index in the space's shape, as it is written between brackets."""
        return ", ".join(map(str, np.unravel_index(component, self.space.shape or ())))

    def __str__(self) -> str:
        if isinstance(self.space, Discrete):
            return f"{self.num_outputs} actions"
        if isinstance(self.space, MultiDiscrete):
            return f"{' x '.join(map(str, self.categories))} actions"
        kind = "binary" if self.head == "bernoulli" else "Gaussian"
        return f"{self.size} {kind} action{'s' * (self.size > 1)}"


def actions(where: str, space: Any, *, squash: bool = False, state_dependent_std: bool = False) -> Actions:
    """Return how actions of a space are drawn; an unsupported one is a ValueError."""
    if not isinstance(space, Space):
        raise TypeError(f"{where}: action_space must be a gymnasium space, got {_check.shown(space)}")
    categories: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    if isinstance(space, Discrete):
        head, categories, starts = "categorical", (int(space.n),), (int(space.start),)
    elif isinstance(space, MultiDiscrete):
        head, categories = "categorical", tuple(space.nvec.reshape(-1).tolist())
        starts = tuple(space.start.reshape(-1).tolist())
    elif isinstance(space, MultiBinary):
        head, categories = "bernoulli", (2,) * math.prod(space.shape)
    elif isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        head = "gaussian"
    else:
        raise ValueError(
            f"{where}: action_space must be Discrete, MultiDiscrete, MultiBinary or a Box of floats, "
            f"got {_check.line(space)}; other action spaces are not supported"
        )
    for name, chosen in (("squash", squash), ("state_dependent_std", state_dependent_std)):
        if chosen and head != "gaussian":
            raise ValueError(
                f"{where}: {name} must be False unless actions are in a Box, got {_check.line(space)}"
            )
    if squash:
        _require_room(where, space)
    num_outputs = sum(categories) if head == "categorical" else math.prod(space.shape)
    size = len(categories) or num_outputs
    num_outputs += size * state_dependent_std
    if not 1 <= size <= _core.MAX_COMPONENTS:
        raise ValueError(
            f"{where}: action_space must have 1 to {_core.MAX_COMPONENTS} components, "
            f"got {size}: {_check.line(space)}"
        )
    if num_outputs > _core.MAX_ACTIONS:
        together = "" if size == 1 else " of all components together"
        raise ValueError(
            f"{where}: action_space must have at most {_core.MAX_ACTIONS} actions{together}, "
            f"got {num_outputs}"
        )
    return Actions(
        space, head, num_outputs, categories, starts if any(starts) else (), squash, state_dependent_std
    )


def _require_room(where: str, space: Box) -> None:
    """Raise ValueError unless there are numbers strictly between a Box's bounds: squashed actions."""
    low, high = space.low, space.high
    with np.errstate(invalid="ignore"):
        between = np.isfinite(low) & np.isfinite(high) & (np.nextafter(low, high) < high)
    if not between.all():
        worst = int((~between).reshape(-1).argmax())
        raise ValueError(
            f"{where}: squash must be False unless a Box has finite bounds with numbers between them, got "
            f"{low.reshape(-1)[worst]} .. {high.reshape(-1)[worst]} in {_check.line(space)}"
        )


def require_scalable(where: str, actions: Actions) -> None:
    """Raise ValueError unless actions have bounds that they can be scaled to, and are not squashed."""
    space = actions.space
    if actions.squash:
        raise ValueError(
            f"{where}: action_scaling must be False where squash is True: squashing scales actions already"
        )
    if not isinstance(space, Box) or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(
            f"{where}: action_scaling must be False unless actions are in a Box with bounds on all sides, "
            f"got {_check.line(space)}"
        )


def native_actions(where: str, space: Any) -> Actions:
    """Return the same for an environment of compiled functions, which get the core's numbers as they are."""
    found = actions(where, space)
    one_dimensional = isinstance(space, Discrete) or len(space.shape) == 1
    if not one_dimensional or (isinstance(space, Box) and space.dtype != np.float32):
        raise ValueError(
            f"{where}: action_space must be Discrete, or a one-dimensional MultiDiscrete, MultiBinary or "
            f"float32 Box, got {_check.line(space)}; other action spaces are not supported"
        )
    if found.starts:
        raise ValueError(
            f"{where}: action_space must be {type(space).__name__} with start=0, got {_check.line(space)}; "
            "subtract start from the actions and declare the space without it"
        )
    return found


def categories_from_zero(sentence: str, column: NDArray[Any], start: int, size: int) -> NDArray[np.int64]:
    """Return a component's categories, counted from 0, as a new array; `sentence` says what they must be.

    The copy is what is checked. The core finds memory by these numbers, and another thread may be writing to
    the caller's.
    """
    copy = column.astype(np.int64)
    low, high = int(copy.min()), int(copy.max())  # of Python: differences of int64 may overflow
    if low < start or high >= start + size:
        raise ValueError(f"{sentence}, got {low if low < start else high}")
    if start:
        copy -= start
    return copy


# ---- as JSON, for checkpoints ------------------------------------------------------------------------------


def to_json(space: Space[Any]) -> dict[str, Any]:
    """Return a space as JSON's types."""
    if isinstance(space, Box):
        bounds = {"low": _numbers(space.low.reshape(-1)), "high": _numbers(space.high.reshape(-1))}
        shape = {} if len(space.shape) == 1 else {"shape": space.shape}
        return {"type": "Box", "dtype": str(space.dtype), **bounds, **shape}
    if isinstance(space, Discrete):
        start = {"start": int(space.start)} if space.start else {}
        return {"type": "Discrete", "n": int(space.n), **start}
    if isinstance(space, MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, MultiBinary):
        return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else [*map(int, space.shape)]}
    assert isinstance(space, Tuple)  # the only other space that a Policy accepts
    return {"type": "Tuple", "spaces": [to_json(part) for part in space.spaces]}


def from_json(data: dict[str, Any]) -> Space[Any]:
    """Return the space that `to_json` wrote."""
    kind = data["type"]
    if kind == "Box":
        dtype = np.dtype(str(data["dtype"]))
        if dtype.kind != "f":
            raise ValueError(f"the dtype of a Box must be of floats, got {dtype}")
        shape = data.get("shape", (-1,))
        low, high = (
            np.array([float(x) for x in data[bound]], dtype).reshape(shape) for bound in ("low", "high")
        )
        return Box(low, high, dtype=dtype.type)
    if kind == "Discrete":
        return Discrete(data["n"], start=data.get("start", 0))
    if kind == "MultiDiscrete":
        return MultiDiscrete(np.array(data["nvec"]), start=np.array(data["start"]))
    if kind == "MultiBinary":
        return MultiBinary(data["n"])
    if kind == "Tuple":
        return Tuple([from_json(part) for part in data["spaces"]])
    raise ValueError(f"unknown space {kind!r}")


def _numbers(array: NDArray[Any]) -> list[float | str]:
    """Return numbers as JSON takes them, which has no infinity: that is written as the string "inf"."""
    return [float(x) if math.isfinite(x) else str(float(x)) for x in array]
