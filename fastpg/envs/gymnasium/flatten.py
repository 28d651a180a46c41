"""Observations of Gymnasium's spaces as the core's rows: flat float32, or categories where it reads them."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from numpy.typing import NDArray

from fastpg import _check, spaces

MAX_SIZE = 2**24  # numbers of an observation
Rows = NDArray[np.float32]
# (observations of a batch, rows (B, k) to write them into) -> None
Writer = Callable[[Any, Rows], None]


class Observed:
    """How the observations of a space become rows, and the space of which a policy reads them.

    A one-dimensional Box of floats, Discrete, MultiDiscrete and a Tuple of Discrete are read as `Policy`
    reads them. Every other space of which `gymnasium.spaces.flatten` makes a vector of fixed length is
    flattened in the same way: images row by row, integers in a Box as the numbers they are (0 to 255, not 0
    to 1), bits as 0 and 1, categories one-hot, the parts of a Dict or Tuple one after the other.

    Attributes
    ----------
    space : gymnasium.spaces.Space
        For the policy: the space itself, or a float32 Box of one dimension.
    size : int
        Columns of a row.
    """

    def __init__(self, where: str, space: Space[Any]) -> None:
        try:
            form = spaces.observations(where, space)
        except ValueError:
            self._write, self.size = _flat(where, space, space)
            if self.size > MAX_SIZE:
                raise ValueError(
                    f"{where}: observation_space must have at most {MAX_SIZE:,} numbers when it is "
                    f"flattened, got {self.size:,} of {_check.line(space)}"
                ) from None
            flat = gymnasium.spaces.utils.flatten_space(space)
            assert isinstance(flat, Box)
            with np.errstate(over="ignore"):  # a bound beyond float32 is no bound
                low, high = flat.low.astype(np.float32), flat.high.astype(np.float32)
            self.space: Space[Any] = Box(low, high, dtype=np.float32)
            spaces.observations(where, self.space)
        else:
            self.space = space
            self.size = len(form.categories) or form.num_inputs
            self._write = _categories(form) if form.categories else _numbers(space.shape or ())

    def write(self, obs: Any, rows: Rows) -> None:
        """Write a batch of observations into rows (B, size); what does not fit is a ValueError."""
        self._write(obs, rows)


def _array(obs: Any, shape: tuple[int, ...], what: str = "observations") -> NDArray[Any]:
    """Return a batch of one component as an array of numbers of that shape."""
    array: NDArray[Any] = obs if type(obs) is np.ndarray else np.asarray(obs)
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} must be numbers of shape {shape}, got shape {array.shape} and dtype {array.dtype}"
        )
    return array


def _numbers(shape: tuple[int, ...]) -> Writer:
    def write(obs: Any, rows: Rows) -> None:
        array = _array(obs, (len(rows), *shape))
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and found as that
            np.copyto(rows, array.reshape(len(rows), -1))

    return write


def _one_hot(starts: NDArray[np.int64], sizes: NDArray[np.int64], shape: tuple[int, ...]) -> Writer:
    """Write components, in (B, *shape), as one-hot vectors one after the other."""
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]) - starts

    def write(obs: Any, rows: Rows) -> None:
        values = _whole(_array(obs, (len(rows), *shape))).astype(np.int64).reshape(len(rows), -1)
        if ((values < starts) | (values >= starts + sizes)).any():
            raise ValueError(f"an observation of categories lies outside its space: {values.tolist()!r:.60}")
        rows[:] = 0.0
        rows[np.arange(len(rows))[:, None], values + offsets] = 1.0

    return write


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "iu":
        raise ValueError(f"observations of categories must be integers, got {array.dtype}")
    return array


def _categories(form: spaces.Observations) -> Writer:
    """Write components as the numbers of their categories, from 0 on."""
    limits = list(zip(form.starts, form.categories, strict=True))
    sentence = f"observations must lie in {_check.line(form.space)}"
    is_tuple = isinstance(form.space, Tuple)
    single = isinstance(form.space, Discrete)

    def write(obs: Any, rows: Rows) -> None:
        count = len(rows)
        if single:
            columns = [_array(obs, (count,))]
        elif is_tuple:
            if len(obs) != len(limits):
                raise ValueError(f"observations must have {len(limits)} parts, got {len(obs)}")
            columns = [_array(part, (count,)) for part in obs]
        else:
            columns = list(_array(obs, (count, len(limits))).T)
        for k, (column, (start, size)) in enumerate(zip(columns, limits, strict=True)):
            rows[:, k] = spaces.categories_from_zero(sentence, _whole(column), start, size)

    return write


def _flat(where: str, whole: Space[Any], space: Space[Any]) -> tuple[Writer, int]:
    """Return the writer of a part of the space `whole`, and its columns."""
    if isinstance(space, Box) and space.dtype is not None and space.dtype.kind in "fiub":
        size = math.prod(space.shape)
        if size == 0:
            raise ValueError(
                f"{where}: observation_space has a Box that holds no number: {_check.line(whole)}"
            )
        return _numbers(space.shape), size
    if isinstance(space, MultiBinary):
        return _numbers(space.shape), math.prod(space.shape)
    if isinstance(space, Discrete):
        return _one_hot(np.array([space.start]), np.array([space.n]), ()), int(space.n)
    if isinstance(space, MultiDiscrete):
        sizes = space.nvec.reshape(-1).astype(np.int64)
        return _one_hot(space.start.reshape(-1).astype(np.int64), sizes, space.shape), sum(sizes.tolist())
    if isinstance(space, Dict | Tuple):
        parts: list[tuple[Any, Writer, slice]] = []
        end = 0
        for name, part in _parts(space):
            writer, size = _flat(where, whole, part)
            parts.append((name, writer, slice(end, end + size)))
            end += size
        if end == 0:
            raise ValueError(f"{where}: observation_space is empty: {_check.line(whole)}")

        def write(obs: Any, rows: Rows) -> None:
            for name, writer, columns in parts:
                writer(_part(obs, name), rows[:, columns])

        return write, end
    raise ValueError(
        f"{where}: observation_space must be made of Box, Discrete, MultiDiscrete, MultiBinary, Dict and "
        f"Tuple, got {type(space).__name__} in {_check.line(whole)}; observations of no fixed "
        "size are not supported"
    )


def flatten_observations(observation_space: Space[Any], obs: Any) -> Any:
    """Return observations of an environment as a policy for it reads them.

    For policies that act where fastpg does not run the environment: what `Policy.for_env` made of the
    environment's observation space, this makes of its observations.

    Parameters
    ----------
    observation_space : gymnasium.spaces.Space
        Of one observation: ``env.observation_space``, or ``env.single_observation_space`` of a vector
        environment.
    obs : as the space has them
        One observation, or a batch as Gymnasium's vector environments return it: arrays, dicts and tuples of
        arrays whose first axes are the batch's.

    Returns
    -------
    float32 array, shape (D,) or (..., D)
        What `gymnasium.spaces.flatten` makes of each: the numbers of a Box row by row, as they are, bits as 0
        and 1, categories one-hot, the parts of a Dict or Tuple one after the other. But observations of
        Discrete, of MultiDiscrete with one dimension and of a Tuple of Discrete are categories, which a
        policy takes as they are: int64. A number that float32 cannot hold is infinite, which `act` refuses.

    Raises
    ------
    TypeError, ValueError
        The space is none that a policy can be made for; obs does not fit it.

    Examples
    --------
    >>> import numpy as np
    >>> from gymnasium.spaces import Box, Dict, Discrete
    >>> space = Dict({"image": Box(0, 255, (2, 2), np.uint8), "mode": Discrete(3)})
    >>> flatten_observations(space, {"image": np.array([[1, 2], [3, 4]], np.uint8), "mode": 2}).tolist()
    [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 1.0]
    """
    where = "flatten_observations()"
    space = observation_space
    if not isinstance(space, Space):
        raise TypeError(f"{where}: observation_space must be a gymnasium space, got {_check.shown(space)}")
    observed = Observed(where, space)
    try:
        shape = _batch_shape(space, obs)
        rows = np.empty((math.prod(shape), observed.size), np.float32)
        if not len(rows):
            raise ValueError(f"they have the shape {shape}, so that there is none")
        observed.write(_by_row(space, obs, shape), rows)
    except (ValueError, TypeError, LookupError) as error:
        shown = _check.line(space)
        raise ValueError(f"{where}: obs must be of observation_space {shown}: {error}") from error
    return spaces.observations(where, observed.space).batch(rows.reshape(*shape, observed.size))


def _batch_shape(space: Space[Any], obs: Any) -> tuple[int, ...]:
    """Return what precedes the shape of the space in the first part of observations."""
    while isinstance(space, Dict | Tuple):
        name, space = next(iter(_parts(space)))
        obs = _part(obs, name)
    array, inner = np.asarray(obs), space.shape or ()
    return array.shape[: max(array.ndim - len(inner), 0)]


def _by_row(space: Space[Any], obs: Any, shape: tuple[int, ...]) -> Any:
    """Return observations of a batch of any shape as those of a batch (B,)."""
    if isinstance(space, Dict | Tuple):
        parts = {name: _by_row(part, _part(obs, name), shape) for name, part in _parts(space)}
        return parts if isinstance(space, Dict) else tuple(parts.values())
    array = _array(obs, (*shape, *(space.shape or ())))
    return array.reshape(-1, *array.shape[len(shape) :])


def rows_at(space: Space[Any], obs: Any, which: NDArray[np.int64]) -> Any:
    """Return some rows of a batch of observations, as a batch."""
    if isinstance(space, Dict | Tuple):
        parts = {name: rows_at(part, _part(obs, name), which) for name, part in _parts(space)}
        return parts if isinstance(space, Dict) else tuple(parts.values())
    return np.asarray(obs)[which]


def _part(obs: Any, name: Any) -> Any:
    """Return a part of observations of a Dict or Tuple."""
    try:
        return obs[name]
    except (LookupError, TypeError) as error:
        raise ValueError(f"observations have no part {name!r}") from error


def _parts(space: Any) -> Iterable[tuple[Any, Space[Any]]]:
    """Return the parts of a Dict or Tuple, each with the name or number of it."""
    return space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
