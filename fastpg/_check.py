"""Argument checks: the one place where bad input becomes a sentence.

Every function takes `where` (what the user called, as "train()") and the argument's name, and either
returns the value in its plain Python or contiguous NumPy form or raises TypeError (wrong kind) or
ValueError (wrong value) that names the function, the argument, what was expected and what was got.
Nothing is clipped, broadcast or cast down; a lossless conversion (int to float, int32 to int64) is allowed.
"""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

MAX_SEED = 2**64 - 1
MAX_STEPS = 2**62  # more than fit in memory
MAX_NUM_ENVS = 2**31 - 1
MAX_COUNT = 2**40  # steps or episodes in one call


def line(value: object) -> str:
    """Return what is printed of a value on one line, which spaces with matrices of bounds are not."""
    return " ".join(str(value).split())


def shown(value: object) -> str:
    """Return a value as error messages show it: short, on one line, its type where the repr hides it."""
    if isinstance(value, np.ndarray):
        described = f"array of shape {value.shape} and dtype {value.dtype}"
        if isinstance(value, np.ma.MaskedArray):
            return f"a masked {described}, whose mask would not be read; fill it, as with numpy.ma.filled"
        return f"an {described}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and len(shape) > 0 and dtype is not None:  # a tensor, of whichever library
        return f"a {type(value).__name__} of shape {tuple(shape)} and dtype {dtype}"
    try:
        text = line(repr(value))
    except Exception:  # as that of an int of more than 4,300 digits
        return f"a value of type {type(value).__name__} that cannot be printed"
    text = text if len(text) <= 60 else text[:57] + "..."
    return text if isinstance(value, bool | int | float | str | None) else f"{text} ({type(value).__name__})"


def refuse_tensor(where: str, name: str, value: object) -> None:
    """Raise TypeError where a function of arrays that `fastpg.torch` has as well was given a tensor."""
    if type(value).__module__.partition(".")[0] == "torch":
        raise TypeError(
            f"{where}: {name} must be a numpy array, got {shown(value)}; fastpg.torch.{where} takes tensors"
        )


def is_array(value: object) -> TypeGuard[NDArray[Any]]:
    """Return whether a value is a NumPy array without a mask, which nothing here would read."""
    return type(value) is np.ndarray or (
        isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)
    )


def as_array(where: str, name: str, value: Any) -> NDArray[Any]:
    """Return what the caller may write as lists as an array; rows of several lengths make none."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{where}: {name} must be an array without a mask, got {shown(value)}")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{where}: {name} makes no array: {line(error)}") from error


def is_integer(value: object) -> bool:
    """Return whether a value is an int or a NumPy integer; to NumPy a time span is one, too."""
    return type(value) is int or (  # the usual case, without the cost of the general one
        isinstance(value, int | np.integer) and not isinstance(value, bool | np.timedelta64)
    )


def as_integer(value: object) -> str:
    """Return the end of a sentence: how to write a float that is whole as an int, or nothing.

    Examples
    --------
    >>> as_integer(64.0), as_integer(1e6), as_integer(0.5)
    ('; write 64', '; write 1_000_000, or int(1e6)', '')
    """
    number = float(value) if isinstance(value, float | np.floating) else math.nan
    if not number.is_integer() or abs(number) > MAX_SEED:
        return ""
    short = f"{number:g}".replace("e+0", "e").replace("e+", "e")
    exact = "e" in short and float(short) == number
    return f"; write {int(number):_}" + (f", or int({short})" if exact else "")


def is_sequence(value: object) -> bool:
    """Return whether a value is a sequence of things: text and bytes are not."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


def integer(where: str, name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return an int (or NumPy integer) in low..high."""
    expected = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    if not is_integer(value):
        raise TypeError(f"{where}: {name} must be {expected}, got {shown(value)}{as_integer(value)}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{where}: {name} must be {expected}, got {shown(int(value))}")
    return int(value)


def real(where: str, name: str, value: Any, interval: str) -> float:
    """Return a number in `interval`, written as "[0, 1)" or "(0, inf)". NaN lies in none."""
    if not (is_integer(value) or isinstance(value, float | np.floating)):
        raise TypeError(f"{where}: {name} must be a number in {interval}, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond 1e308
        raise ValueError(f"{where}: {name} must be a number in {interval}, got {shown(value)}") from None
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    if not (above and below):
        raise ValueError(f"{where}: {name} must be a number in {interval}, got {number}")
    return number


def boolean(where: str, name: str, value: Any) -> bool:
    """Return a bool (or NumPy bool): 0 and 1 are not."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: {name} must be True or False, got {shown(value)}")
    return bool(value)


def choice(where: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """Return one of a few strings."""
    listed = ", ".join(repr(one) for one in choices)
    if not isinstance(value, str):
        raise TypeError(f"{where}: {name} must be one of {listed}, got {shown(value)}")
    if value not in choices:
        raise ValueError(f"{where}: {name} must be one of {listed}, got {value!r}")
    return str(value)  # the core takes no subclass, as NumPy's


def seed(where: str, value: Any) -> int:
    """Return a seed: any unsigned 64-bit number."""
    return integer(where, "seed", value, 0, MAX_SEED)


def mapping(where: str, name: str, value: Any) -> dict[str, Any]:
    """Return a mapping from names to values as a dict; None is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{where}: {name} must be a mapping, got {shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{where}: the keys of {name} must be strings, got {shown(key)}")
    return dict(value)


def exactly_one(where: str, **arguments: int | None) -> None:
    """Require that exactly one of the arguments is not None."""
    given = [name for name, value in arguments.items() if value is not None]
    if len(given) != 1:
        got = " and ".join(given) if given else "none of them"
        raise ValueError(f"{where}: exactly one of {', '.join(arguments)} must be given, got {got}")


def widths(where: str, name: str, value: Any, max_layers: int, max_width: int) -> tuple[int, ...]:
    """Return widths of hidden layers, as (64, 64); () for none."""
    if not is_sequence(value):
        raise TypeError(f"{where}: {name} must be a sequence of widths as (64, 64), got {shown(value)}")
    if len(value) > max_layers:
        raise ValueError(f"{where}: {name} must have at most {max_layers} layers, got {shown(value)}")
    return tuple(integer(where, f"{name}[{i}]", width, 1, max_width) for i, width in enumerate(value))


def takes(where: str, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Require a function to take these arguments, where it says what it takes."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some of C have none
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        given = ", ".join([*("an argument" for _ in args), *kwargs]) or "nothing"
        raise TypeError(f"{where}: {name} cannot be called with {given}: {error}") from None


def file_path(where: str, name: str, value: Any) -> Path:
    """Return a path that the system can be asked for."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{where}: {name} must be a path, got {shown(value)}")
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise ValueError(f"{where}: {name} must be a path of text without a NUL character, got {shown(path)}")
    return Path(path)


def finite(where: str, name: str, array: NDArray[Any]) -> None:
    """Require that there is no NaN and no infinity; the error names the first one."""
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        entry = f"{name}[{', '.join(map(str, index))}]" if index else "it"
        raise ValueError(f"{where}: {name} must be finite, but {entry} is {array[index]}")


def floats(where: str, name: str, value: Any, shape: tuple[int, ...] | None = None) -> NDArray[np.float32]:
    """Return a finite float32 array, of that shape where one is given."""
    if not is_array(value):
        raise TypeError(f"{where}: {name} must be a float32 numpy array, got {shown(value)}")
    if value.dtype != np.float32:
        advice = f"; convert it with {name}.astype(numpy.float32)" if value.dtype.kind in "fiu" else ""
        raise TypeError(f"{where}: {name} must be float32, got {value.dtype}{advice}")
    if shape is not None and value.shape != shape:
        raise ValueError(f"{where}: {name} must have shape {shape}, got {value.shape}")
    finite(where, name, value)
    return value


def array(where: str, name: str, value: Any, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a C-contiguous array of that dtype and shape."""
    if not is_array(value) or value.dtype != dtype:
        got = value.dtype if is_array(value) else shown(value)
        raise TypeError(f"{where}: {name} must be a {np.dtype(dtype)} numpy array, got {got}")
    if value.shape != shape:
        raise ValueError(f"{where}: {name} must have shape {shape}, got {value.shape}")
    return contiguous(value)


def contiguous(array: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    """Return an array as C reads it: in C's order, and each entry at an address that its dtype allows."""
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.aligned else array.copy()


def observations(
    where: str, name: str, value: Any, obs_size: int
) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Return observations (..., D) as contiguous rows (B, D), and the shape of the batch, the `...`."""
    if isinstance(value, dict | tuple):
        raise TypeError(
            f"{where}: {name} must be a float32 numpy array, got {shown(value)}; "
            "fastpg.flatten_observations(env.observation_space, obs) makes one"
        )
    obs = floats(where, name, value)
    if obs.ndim == 0 or obs.shape[-1] != obs_size:
        raise ValueError(
            f"{where}: {name} must have shape ({obs_size},) or (..., {obs_size}), got {obs.shape}"
        )
    if obs.size == 0:
        raise ValueError(f"{where}: {name} must hold at least one observation, got shape {obs.shape}")
    return contiguous(obs).reshape(-1, obs_size), obs.shape[:-1]


def output(
    where: str, name: str, value: Any, shape: tuple[int, ...], inputs: dict[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Return an array to write a float32 result into while the inputs are read."""
    if not is_array(value) or value.dtype != np.float32:
        got = value.dtype if is_array(value) else shown(value)
        raise TypeError(f"{where}: {name} must be a float32 numpy array, got {got}")
    if value.shape != shape:
        raise ValueError(f"{where}: {name} must have shape {shape}, got {value.shape}")
    if not (value.flags.c_contiguous and value.flags.writeable and value.flags.aligned):
        how = "contiguous and writable" if value.flags.aligned else "aligned, as its dtype asks for"
        raise ValueError(f"{where}: {name} must be {how}")
    separate_output(where, name, value, inputs.items())
    return value


def separate_output(
    where: str, name: str, value: NDArray[Any], others: Iterable[tuple[str, NDArray[Any]]]
) -> None:
    """Require that an array to write to can hold a result without changing anything else."""
    if not value.flags.writeable:
        raise ValueError(f"{where}: {name} must be writable")
    if overlaps_itself(value):
        raise ValueError(f"{where}: {name} must not have entries that share memory with each other")
    for other_name, other in others:
        if np.shares_memory(value, other):
            raise ValueError(f"{where}: {name} must not share memory with {other_name}")


def overlaps_itself(array: NDArray[Any]) -> bool:
    """Return whether entries may share memory, as in a broadcast view: a smaller stride's run is too long."""
    steps = sorted((abs(step), n) for step, n in zip(array.strides, array.shape, strict=True) if n > 1)
    extent = array.itemsize  # of the entries along the dimensions so far
    for step, n in steps:
        if step < extent:
            return True
        extent += step * (n - 1)
    return False


def fraction(where: str, name: str, value: Any) -> float:
    """Return a number in [0, 1]."""
    if type(value) is float and 0.0 <= value <= 1.0:  # the usual case, without the cost of the general one
        return value
    return real(where, name, value, "[0, 1]")


def zeros_and_ones(where: str, name: str, value: Any) -> NDArray[np.bool_]:
    """Return flags that some libraries keep as numbers, as bools."""
    if not (is_array(value) or isinstance(value, np.generic)) or value.dtype.kind not in "biuf":
        raise TypeError(
            f"{where}: {name} must be a bool or numeric array of zeros and ones, got {shown(value)}"
        )
    flags = np.asarray(value != 0)
    if not np.array_equal(flags, value):
        wrong = np.asarray(value)[value != flags].flat[0]
        raise ValueError(f"{where}: {name} must hold zeros and ones, but one entry is {wrong}")
    return flags


def transitions(
    where: str,
    reals: dict[str, Any],
    flags: dict[str, Any],
    last_values: Any,
    bootstrap_truncated: bool,
    out: Any,
    outputs: int,
    bootstraps: bool,
) -> None:
    """Raise what is wrong with the arguments of an estimate on arrays, if anything is.

    Optional arguments may be None. The first of `reals` decides the dtype and the shape of the others.
    Called only after the core has refused the arguments: it may take its time.
    """
    first_name, first = next(iter(reals.items()))
    for name, array in reals.items():
        if array is None and name != first_name:
            continue
        if not is_array(array):
            refuse_tensor(where, name, array)
            raise TypeError(f"{where}: {name} must be a float32 or float64 numpy array, got {shown(array)}")
        if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
            advice = f"; convert it with {name}.astype(numpy.float32)" if array.dtype.kind in "fiu" else ""
            raise TypeError(f"{where}: {name} must be float32 or float64, got {array.dtype}{advice}")
        _same_dtype(where, name, array, first_name, first)
        if array is first and (array.ndim not in (1, 2) or array.size == 0):
            raise ValueError(
                f"{where}: {name} must have shape (T, N) or (T,), none of them 0, got {array.shape}"
            )
        if array.shape != first.shape:
            raise ValueError(
                f"{where}: {name} must have shape {first.shape} like {first_name}, got {array.shape}"
            )
    for name, array in flags.items():
        if array is None and name == "mask":
            continue
        if not is_array(array):
            refuse_tensor(where, name, array)
            raise TypeError(f"{where}: {name} must be a bool numpy array, got {shown(array)}")
        if array.dtype != np.bool_:
            advice = f"; convert it with {name}.astype(bool)" if array.dtype.kind in "fiu" else ""
            raise TypeError(f"{where}: {name} must be bool, got {array.dtype}{advice}")
        if array.shape != first.shape:
            raise ValueError(
                f"{where}: {name} must have shape {first.shape} like {first_name}, got {array.shape}"
            )
    if last_values is not None:
        last_values = _last_values(where, last_values, first_name, first)
    given = [(name, array) for name, array in (reals | flags).items() if array is not None]
    if is_array(last_values):
        given.append(("last_values", last_values))
    if out is not None:
        _estimate_outputs(where, out, outputs, first_name, first, given)
    mask = flags["mask"]
    live = np.ones(first.shape, bool) if mask is None else mask
    truncated = flags["truncated"] & live
    if bootstraps and bootstrap_truncated and reals["final_values"] is None and truncated.any():
        raise ValueError(
            f"{where}: truncated has True entries but final_values is None; pass V(final_obs), or "
            "bootstrap_truncated=False to treat time limits as terminations"
        )
    final = truncated & ~flags["terminated"] & bootstrap_truncated
    for name, array in reals.items():
        if array is not None:
            finite(
                where, name, np.where(final if name == "final_values" else live, array, first.dtype.type(0))
            )
    if last_values is not None:
        open_end = _open_end(live, flags["terminated"] | flags["truncated"])
        finite(where, "last_values", np.where(open_end, last_values, first.dtype.type(0)))


def _same_dtype(where: str, name: str, array: Any, first_name: str, first: NDArray[Any]) -> None:
    if array.dtype != first.dtype:
        raise TypeError(f"{where}: {name} must be {first.dtype} like {first_name}, got {array.dtype}")


def _last_values(where: str, value: Any, first_name: str, first: NDArray[Any]) -> Any:
    """Return the values after the last row: (N,), or one number where arrays are (T,)."""
    if first.ndim == 1 and type(value) in (int, float):
        number = real(where, "last_values", value, "[-inf, inf]")
        if float(np.finfo(first.dtype).max) < abs(number) < math.inf:
            raise ValueError(f"{where}: last_values must be a number that {first.dtype} holds, got {value}")
        return number
    if not is_array(value) and not (first.ndim == 1 and isinstance(value, np.generic)):
        expected = f"a {first.dtype} numpy array" if first.ndim == 2 else f"a number or a {first.dtype} array"
        raise TypeError(f"{where}: last_values must be {expected}, got {shown(value)}")
    _same_dtype(where, "last_values", value, first_name, first)
    if value.shape != first.shape[1:]:
        raise ValueError(f"{where}: last_values must have shape {first.shape[1:]}, got {value.shape}")
    return value


def _estimate_outputs(
    where: str, out: Any, outputs: int, first_name: str, first: NDArray[Any], given: list[tuple[str, Any]]
) -> None:
    """Check the arrays to write to: one, or a tuple of two."""
    if outputs == 1:
        named = [("out", out)]
    elif isinstance(out, tuple) and len(out) == outputs:
        named = [(f"out[{i}]", one) for i, one in enumerate(out)]
    else:
        raise TypeError(f"{where}: out must be a tuple of {outputs} arrays, got {shown(out)}")
    for name, one in named:
        if not is_array(one):
            raise TypeError(f"{where}: {name} must be a {first.dtype} numpy array, got {shown(one)}")
        _same_dtype(where, name, one, first_name, first)
        if one.shape != first.shape:
            raise ValueError(
                f"{where}: {name} must have shape {first.shape} like {first_name}, got {one.shape}"
            )
        separate_output(where, name, one, given)
        given = [*given, (name, one)]


def _open_end(live: NDArray[np.bool_], done: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where the last transition left its episode open, so that last_values are read, (N,)."""
    last = len(live) - 1 - live[::-1].argmax(axis=0)
    ended = np.take_along_axis(done, np.expand_dims(last, 0), axis=0)[0]
    return live.any(axis=0) & ~np.asarray(ended)
