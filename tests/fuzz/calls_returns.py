"""Calls of fastpg/batches/returns.py, with the float64 oracle."""

import numpy as np
from hypothesis import strategies as st

import fastpg
from fastpg import reference

from .judge import Call, equal_results, in_place
from .values import numbers, one_of

NAMES = {
    "returns": {"last_values": None, "final_values": None, "bootstrap_truncated": True},
    "episode_returns": {},
    "nstep_returns": {"values": 1, "n": 1, "last_values": 1, "final_values": None, "bootstrap_truncated": True},
    "td_errors": {"values": 1, "last_values": 1, "final_values": None, "bootstrap_truncated": True},
    "gae": {"values": 1, "last_values": 1, "final_values": None, "lam": 1, "bootstrap_truncated": True},
    "vtrace": {
        "values": 1, "log_rhos": 1, "last_values": 1, "final_values": None, "lam": 1, "rho_bar": 1, "c_bar": 1,
        "bootstrap_truncated": True,
    },
}  # fmt: skip
TWO = ("gae", "vtrace")


@st.composite
def arguments(draw, estimate):
    """Draw a valid call of an estimate on arrays; some with an `out` that is fresh memory."""
    dtype = draw(one_of([np.float32, np.float64]))
    shape = draw(one_of([(1,), (5,), (1, 1), (4, 3), (3, 17), (40, 2)]))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    ends = draw(one_of([0.0, 0.2, 1.0]))
    given = {
        "rewards": numbers(shape, dtype, seed),
        "terminated": rng.random(shape) < ends,
        "truncated": rng.random(shape) < ends,
        "gamma": draw(one_of([0.0, 0.9, 1.0])),
        "mask": draw(one_of([None, rng.random(shape) < 0.7])),
    }
    names = NAMES[estimate]
    for k, name in enumerate(("values", "final_values", "log_rhos")):
        if name in names:
            given[name] = numbers(shape, dtype, seed + k + 1)
    if "last_values" in names:
        given["last_values"] = numbers(shape[1:], dtype, seed + 4)
        if len(shape) == 1:
            given["last_values"] = draw(one_of([float, dtype]))(given["last_values"])
    if "lam" in names:
        given["lam"] = draw(one_of([0.0, 0.95, 1.0]))
    if "rho_bar" in names:
        given |= {"rho_bar": draw(one_of([0.0, 1.0, float("inf")])), "c_bar": 1.5}
    if "n" in names:
        given["n"] = draw(one_of([1, 2, 3, 100]))
    if "bootstrap_truncated" in names:
        given["bootstrap_truncated"] = draw(st.booleans())
    if draw(st.booleans()):
        one = np.full(shape, 7.0, dtype)
        given["out"] = (one, one.copy()) if estimate in TWO else one
    return given


@st.composite
def overlapping(draw, estimate):
    """Draw arguments whose `out` is the memory of another argument, wholly or shifted."""
    given = draw(arguments(estimate))
    reals = [name for name in ("rewards", "values", "final_values", "log_rhos") if name in given]
    which = draw(one_of(reals))
    array, fresh = given[which], np.empty_like(given["rewards"])
    room = np.zeros(2 * array.size, array.dtype)
    shift = draw(st.integers(0, array.size))  # array.size: side by side
    given[which] = room[: array.size].reshape(array.shape)
    given[which][...] = array
    out = room[shift : shift + array.size].reshape(array.shape)
    if draw(st.booleans()):
        out = out[::-1]
    if draw(st.booleans()):
        fresh = out  # both results to one place
    given["out"] = draw(one_of([(out, fresh), (fresh, out)])) if estimate in TWO else out
    return given


def check(estimate):
    def check_result(given, result):
        got = result if isinstance(result, tuple) else (result,)
        dtype = np.asarray(given["rewards"]).dtype
        out = given.get("out")
        if out is not None:
            assert all(map(lambda a, b: a is b, got, out if isinstance(out, tuple) else (out,))), "not out"
        expected, scale = oracle(estimate, given)
        for one, right in zip(got, expected, strict=True):
            assert one.dtype == dtype and one.shape == given["rewards"].shape
            assert np.isfinite(one).all(), "a result that is not finite"
            wrong = np.abs(one.reshape(right.shape) - right)
            tolerance = 64 * np.finfo(dtype).eps * scale + np.finfo(dtype).tiny
            assert (wrong <= tolerance).all(), f"wrong by {wrong.max()}, allowed {tolerance}"

    return check_result


def oracle(estimate, given):
    """Return the oracle's results, each (T, N), and the size of the numbers in them."""
    shape = given["rewards"].shape
    columns = shape if len(shape) == 2 else (*shape, 1)
    live = np.ones(columns, bool) if given["mask"] is None else np.asarray(given["mask"]).reshape(columns)
    now = {}
    largest = 1e-300
    for name, value in given.items():
        if name == "out" or value is None:
            continue
        array = np.asarray(value)
        if name == "last_values":
            now[name] = array.astype(np.float64).reshape(columns[1:])
            largest = max(largest, np.abs(np.nan_to_num(now[name], posinf=0, neginf=0)).max(initial=0))
        elif array.ndim == 0:
            now[name] = value.item() if isinstance(value, np.generic) else value
        elif array.dtype == bool:
            now[name] = array.reshape(columns)
        else:
            now[name] = np.where(live, array.astype(np.float64).reshape(columns), 0.0)
            if name != "log_rhos":
                largest = max(largest, np.abs(np.nan_to_num(now[name], posinf=0, neginf=0)).max())
    scale = 4.0 * largest * len(live) * min(100.0, max(1.0, float(now.get("rho_bar", 1.0))))
    if now.get("log_rhos") is not None and not (now["rho_bar"] <= 100 and now["c_bar"] <= 1):
        ratios = np.exp(now["log_rhos"])
        scale *= max(1.0, np.minimum(ratios, max(now["rho_bar"], now["c_bar"])).max()) ** (len(live) + 1)
    if estimate == "episode_returns":
        result = np.zeros(columns)
        for n in range(columns[1]):
            rows = live[:, n]
            if rows.any():
                column = [now[name][rows, n][:, None] for name in ("rewards", "terminated", "truncated")]
                result[rows, n] = reference.episode_returns(*column, now["gamma"])[:, 0]
        return (result,), scale
    result = getattr(reference, estimate)(**now)
    return result if isinstance(result, tuple) else (result,), scale


def _calls():
    for estimate in NAMES:
        words = {
            name: ("dtype", "overflows") if name == "rewards" else ("overflows",)
            for name in ("rewards", "values", "final_values", "last_values", "log_rhos")
        }
        words["truncated"] = ("final_values",)
        words["final_values"] = ("final_values",)
        # An odd first array makes the others odd.
        words["rewards"] += ("like rewards",)
        call = Call(
            getattr(fastpg, estimate),
            arguments(estimate),
            (f"{estimate}()",),
            check(estimate),
            words=words,
            odd={"out": overlapping(estimate).map(lambda given: given["out"])},
            repeatable=True,
            share=2.0,
        )
        yield estimate, call
        yield (
            f"{estimate} in place",
            Call(
                in_place(call.function),
                overlapping(estimate),
                call.where,
                equal_results,
                raises=(ValueError,),
                fixed=frozenset(["out"]),
                writes=frozenset(["out", "rewards", "values", "final_values", "log_rhos"]),
                share=0.5,
            ),
        )


@st.composite
def flags(draw, name, last_name):
    shape = draw(one_of([(1,), (5,), (3, 2)]))
    dtype = draw(one_of([bool, np.float32, np.int64, np.uint8]))
    ones = np.random.default_rng(draw(st.integers(0, 99))).random((shape[0] + 1, *shape[1:])) < 0.5
    return {name: ones[:-1].astype(dtype), last_name: ones[-1].astype(dtype)}


def check_shifted(name, last_name):
    def check_result(given, result):
        starts, last = np.asarray(given[name]), np.asarray(given[last_name])
        assert np.array_equal(result, np.concatenate([starts[1:], last[None]]) != 0)

    return check_result


CALLS = dict(_calls())
for function, name, last_name in (
    (fastpg.done_from_episode_starts, "episode_starts", "last_done"),
    (fastpg.done_from_cleanrl, "dones", "next_done"),
):
    CALLS[function.__name__] = Call(
        function,
        flags(name, last_name),
        (f"{function.__name__}()",),
        check_shifted(name, last_name),
        words={name: (last_name,)},
        repeatable=True,
    )
