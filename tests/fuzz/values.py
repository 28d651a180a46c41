"""What arguments are made odd by: for a valid argument of any kind, strategies of others in its place.

`layouts` are the same numbers elsewhere in memory, which change no result; `odd` is everything else.
"""

import decimal
import fractions
import math
import os
import pathlib
import sys

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

import fastpg

ASAN = "libasan" in os.environ.get("LD_PRELOAD", "")  # its allocator has another idea of what is too large

NAN, INF = float("nan"), float("inf")
# Counts of work: what lies between a few and the limit would only take long.
WORK = {
    "total_steps", "episodes", "horizon", "batches", "num_envs", "max_steps", "steps_per_iteration",
    "value_epochs", "max_episode_steps", "repeat",
}  # fmt: skip
TOO_LARGE = [2**63 - 1, 2**63, 2**64, 2**64 + 1, 10**400]
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 5e-324, 1e-45, 1e-310, 1e-38, 1e30, -1e38, 3.4e38, 1e39, 1.7e308, -1.0]


def one_of(choices):
    """Return a strategy of a few objects; `sampled_from` hashes and compares them."""
    return st.integers(0, len(choices) - 1).map(lambda k: choices[k])


class Subclass(np.ndarray):
    """What pandas, astropy and others make of arrays."""


class WithArray:
    """Not an array, but NumPy takes it for one."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array

    def __len__(self):
        return len(self.array)


class Unwilling(RuntimeError):
    """What an argument of the user's own raises."""


class Unhelpful:
    """Raises wherever it is looked at."""

    def __repr__(self):
        return "Unhelpful()"

    def __bool__(self):
        raise Unwilling

    __eq__ = __len__ = __iter__ = __float__ = __index__ = __array__ = lambda self, *_: self.__bool__()
    __hash__ = object.__hash__


def others():
    """Return what is right nowhere, or for another argument only."""
    return one_of(
        [
            None, "", "x", "CartPole-v1", "nan", b"", b"x", bytearray(b"xy"), (), [], {}, set(), (1, 2), [[1.0]],
            {"a": 1}, 0, 1, -1, True, 1.5, 1j, NAN, INF, 10**400, decimal.Decimal("0.5"), fractions.Fraction(1, 2),
            np.float16(0.5), np.longdouble(0.5), np.bool_(True), np.int8(1), np.uint64(2**64 - 1), np.str_("x"),
            np.datetime64("NaT"), np.timedelta64(1, "D"), np.void(b"ab"), np.array(1.0), np.array([]),
            np.array(["a"]), np.array([None, 1], object), np.zeros(3, [("a", "f4")]), np.ma.masked,
            np.ma.masked_all(3), np.zeros(2, "M8[s]"), np.zeros((2, 2), complex), object(), str, id,
            lambda *_: 0.0, range(3), slice(None), ..., NotImplemented, memoryview(b"abc"), pathlib.Path("x"),
            ValueError("x"), np, spaces.Discrete(2), Unhelpful(), type("Odd", (), {}),
        ]
    )  # fmt: skip


def odd_integers(name):
    """Return integers and almost integers in the place of one."""
    choices = [
        0, -1, -(2**31), -(2**63), *TOO_LARGE, True, False, 1.0, 2.5, NAN, INF, -INF, 1e309, "1", None, 1 + 0j,
        np.int8(-1), np.uint64(2**64 - 1), np.float32(1), np.array(1), np.array([1]), np.bool_(True),
        fractions.Fraction(1), decimal.Decimal(1),
    ]  # fmt: skip
    if name not in WORK:
        choices += [1, 2, 7, 2**31 - 1, 2**31, 2**32 - 1, 2**32, np.int8(1), np.uint64(3)]
    return one_of(choices)


def odd_floats():
    return st.one_of(
        one_of(
            [
                *SPECIAL, 1.0, np.nextafter(1.0, 2.0), 1, 0, -1, 2, *TOO_LARGE, True, np.bool_(False), "0.5", None,
                0.5 + 0j, np.float16(0.5), np.float32(0.1), np.longdouble("0.1"), np.longdouble("1e4000"),
                np.array(0.5), np.array([0.5]), np.float64(0.25), fractions.Fraction(1, 2), decimal.Decimal("0.5"),
                np.int64(1), np.ma.masked,
            ]
        ),
        st.floats(),
    )  # fmt: skip


# ---- arrays -----------------------------------------------------------------------------------------------------


def _every_second(array):
    room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    room[..., ::2] = array
    return room[..., ::2]


def _backwards(array):
    flip = (slice(None, None, -1),) * array.ndim
    return array[flip].copy()[flip]


def _unaligned(array):
    room = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    room[...] = array
    return room


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "transposed": lambda array: array.T.copy().T,
    "backwards": _backwards,
    "every second": _every_second,
    "unaligned": _unaligned,
    "read-only": _read_only,
    "a slice": lambda array: np.concatenate([array, array])[: len(array)],
    "a subclass": lambda array: array.copy().view(Subclass),
}


def _aligned(array):
    return array.ndim > 0 and array.size > 0


@st.composite
def layouts(draw, value):
    """Return an argument with the same numbers in it, its arrays laid out differently; None if there is none."""
    if isinstance(value, tuple) and value:
        parts = [draw(layouts(one)) for one in value]
        return None if any(one is None for one in parts) else tuple(parts)
    if not isinstance(value, np.ndarray) or not _aligned(value):
        return None
    return LAYOUTS[draw(one_of(sorted(LAYOUTS)))](value)


DTYPES = [
    "f2", "f4", "f8", "g", ">f4", ">f8", "?", "i1", "u1", "i2", "i4", "i8", "u8", ">i8", "F", "D", "O", "U3",
    "S2", "M8[s]", "m8[D]", "V8", "f4,f4",
]  # fmt: skip


def _as_dtype(array, dtype):
    with np.errstate(all="ignore"):
        try:
            return array.astype(dtype)
        except (TypeError, ValueError, OverflowError):
            return np.zeros(array.shape, dtype)


def _with_entry(array, index, number):
    changed = array.copy()
    if changed.size:
        with np.errstate(all="ignore"):
            try:
                changed.flat[index % changed.size] = number
            except (OverflowError, ValueError, TypeError):
                changed.flat[index % changed.size] = np.iinfo(changed.dtype).max
    return changed


@st.composite
def odd_arrays(draw, array):
    """Return something else in the place of an array."""
    kind = draw(
        one_of(["entry", "entry", "entry", "dtype", "shape", "class", "container", "all", "huge", "other"])
    )
    if kind == "entry":
        numbers = SPECIAL
        if array.dtype.kind in "iu":
            numbers = [-1, 0, 1, 2, 3, 127, -(2**31), 2**31, 2**62, -(2**63), 2**63 - 1]
        if array.dtype.kind == "b":
            numbers = [False, True]
        return _with_entry(array, draw(st.integers(0, 10**6)), draw(one_of(numbers)))
    if kind == "all":
        return np.full_like(array, draw(one_of([0, 1] if array.dtype.kind in "b" else [0, 1, 100])))
    if kind == "dtype":
        return _as_dtype(array, draw(one_of(DTYPES)))
    if kind == "shape":
        if array.ndim == 0:
            return draw(one_of([array[None], array[None, None], np.zeros((1,) * 33, array.dtype), array[()]]))
        shapes = [
            array[None], array[..., None], array.reshape(-1), array[:0], array[..., :0], array.T, array[:1],
            np.concatenate([array, array]), array.reshape(-1)[0] if array.size else array,
            np.broadcast_to(array.reshape(-1)[:1], array.shape) if array.size else array,
            np.broadcast_to(array, (2, *array.shape)), np.zeros((0,) * array.ndim, array.dtype),
            np.zeros((), array.dtype), np.zeros((1,) * 33, array.dtype),
        ]  # fmt: skip
        return draw(one_of(shapes))
    if kind == "class":
        masks = [np.ma.array(array), np.ma.masked_all_like(array), np.ma.array(array, mask=array == array)]
        if array.ndim:
            masks.append(np.asmatrix(array[0] if array.ndim > 2 else array))
        return draw(one_of([*masks, WithArray(array), array.view(np.recarray)]))
    if kind == "container":
        return draw(
            one_of(
                [array.tolist(), (array,), [array], tuple(array.tolist()) if array.ndim else (0,), array.tobytes(),
                 memoryview(np.ascontiguousarray(array)), iter(array.ravel()), {0: array}]
            )
        )  # fmt: skip
    if kind == "huge" and array.size and not ASAN:  # of no memory: strides of 0
        return np.broadcast_to(array.reshape(-1)[0], (2**44, *array.shape[1:]))
    return draw(others())


# ---- spaces -----------------------------------------------------------------------------------------------------


def odd_spaces():
    """Return spaces of every kind, supported or not."""
    box = spaces.Box
    return one_of(
        [
            box(-1, 1, (3,)), box(-1, 1, (4,)), box(-np.inf, np.inf, (2,)), box(0, 1, (1,), np.float64),
            box(-1, 1, (2, 2)), box(-1, 1, ()), box(0, 255, (4,), np.uint8), box(-1, 1, (0,)), box(-1, 1, (33,)),
            box(-1, 1, (4,), np.float16), box(np.float32([-1, 0, 1, 2]), np.float32([1, 1, 1, 3])),
            spaces.Discrete(1), spaces.Discrete(2), spaces.Discrete(5, start=-3), spaces.Discrete(513),
            spaces.Discrete(2**40), spaces.Discrete(3, start=2**40), spaces.Discrete(3, start=np.int64(-(2**63))),
            spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([[2, 3], [4, 5]]),
            spaces.MultiDiscrete([2, 3], start=[1, -1]), spaces.MultiDiscrete([1] * 33), spaces.MultiDiscrete([600]),
            spaces.MultiDiscrete([2, 3], dtype=np.int8), spaces.MultiDiscrete([2**62, 2**62]),
            spaces.MultiBinary(3), spaces.MultiBinary(33), spaces.MultiBinary((2, 2)), spaces.MultiBinary(1),
            spaces.Tuple([]), spaces.Tuple([spaces.Discrete(3), spaces.Discrete(2, start=4)]),
            spaces.Tuple([spaces.Discrete(3), box(-1, 1, (2,))]), spaces.Dict({"a": spaces.Discrete(3)}),
            spaces.Text(4), spaces.Sequence(spaces.Discrete(2)), spaces.OneOf([spaces.Discrete(2)]),
            spaces.Graph(box(-1, 1, (2,)), None),
        ]
    )  # fmt: skip


# ---- anything ---------------------------------------------------------------------------------------------------


@st.composite
def odd(draw, name, value):
    """Return something else in the place of a valid argument."""
    if isinstance(value, np.ndarray):
        return draw(odd_arrays(value))
    if isinstance(value, bool | np.bool_):
        return draw(st.one_of(one_of([not value, 0, 1, "yes", np.bool_(True), np.array(True)]), others()))
    if isinstance(value, int | np.integer):
        return draw(st.one_of(odd_integers(name), others()))
    if isinstance(value, float | np.floating):
        return draw(st.one_of(odd_floats(), others()))
    if isinstance(value, spaces.Space):
        return draw(st.one_of(odd_spaces(), others()))
    if isinstance(value, fastpg.Policy | fastpg.ValueFunction):
        return draw(odd_networks(value) if name == "self" else st.one_of(odd_networks(value), others()))
    if isinstance(value, tuple) and value:
        changed = list(value)
        which = draw(st.integers(0, len(value) - 1))
        changed[which] = draw(odd(name, value[which]))
        sequences = [tuple(changed), changed, (*value, value[0]), value[:-1], list(value), np.array]
        chosen = draw(one_of([*sequences, None]))
        if chosen is np.array:
            return np.asarray(value) if len({np.shape(one) for one in value}) == 1 else value[::-1]
        return draw(others()) if chosen is None else chosen
    return draw(others())


@st.composite
def odd_networks(draw, network):
    """Return policies or value functions with other spaces, or parameters that are not numbers."""
    kind = type(network)
    if draw(st.booleans()):
        changed = network.copy()
        which = draw(st.integers(0, changed.theta.size - 1))
        changed.theta[which] = draw(one_of([NAN, INF, -INF, 3e38, 1e-45, 89.0, -89.0, -200.0]))
        return changed
    observations = draw(one_of([spaces.Box(-1, 1, (3,)), spaces.Discrete(5), spaces.Box(-1, 1, (4,))]))
    if kind is fastpg.ValueFunction:
        return kind(observations, hidden=(3,))
    actions = draw(one_of([spaces.Discrete(3), spaces.MultiBinary(2), spaces.Box(-1, 1, (2,))]))
    return kind(observations, actions, hidden=draw(one_of([(), (5,)])))


def finite_range(dtype):
    return float(np.finfo(dtype).max)


def numbers(shape, dtype, seed, scale=1.0):
    """Return normal deviates, made fast and from a seed that shrinks."""
    values = np.random.default_rng(seed).normal(size=shape) * scale
    with np.errstate(over="ignore"):
        return values.astype(dtype)


assert math.isinf(1e309) and sys.maxsize > 2**62  # what the lists above rely on
