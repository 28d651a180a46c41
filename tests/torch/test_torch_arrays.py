"""Returns and advantages on tensors: the results of the functions on arrays, on the tensors' own memory."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpg

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch

import fastpg.torch as fpt
from fastpg import _core

NAMES = ["returns", "episode_returns", "nstep_returns", "td_errors", "gae", "vtrace"]
LAYOUTS = ["contiguous", "transposed", "every second", "columns of a wider tensor"]
SETTINGS = {"gamma": 0.9, "lam": 0.8, "n": 3, "rho_bar": 1.5, "c_bar": 0.9}


def make(name, shape, dtype=torch.float32, seed=0):
    """The tensors of a call, and its settings."""
    generator = torch.Generator().manual_seed(seed)
    accepted = inspect.signature(getattr(fastpg, name)).parameters
    reals = ["rewards", "values", "log_rhos", "final_values"]
    tensors = {one: torch.randn(shape, generator=generator, dtype=dtype) for one in reals}
    for one, share in [("terminated", 0.1), ("truncated", 0.1), ("mask", 0.9)]:
        tensors[one] = torch.rand(shape, generator=generator) < share
    tensors["last_values"] = torch.randn(shape[1:], generator=generator, dtype=dtype)
    tensors = {one: tensor for one, tensor in tensors.items() if one in accepted}
    return tensors, {one: value for one, value in SETTINGS.items() if one in accepted}


def laid_out(tensor, layout):
    """The same entries, elsewhere in memory."""
    if layout == "transposed":
        return tensor.T.contiguous().T if tensor.ndim == 2 else tensor
    if layout == "every second" and tensor.ndim:
        return tensor.repeat_interleave(2, 0)[::2]
    if layout == "columns of a wider tensor" and tensor.ndim:
        return torch.stack([tensor, torch.zeros_like(tensor)], -1)[..., 0]
    return tensor


def as_tuple(results):
    return results if isinstance(results, tuple) else (results,)


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    shape=st.sampled_from([(1, 1), (7, 3), (16, 17), (5,), (130, 8)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 100),
)
def test_results_are_those_of_arrays(name, shape, dtype, layout, seed):
    tensors, kind = make(name, shape, dtype, seed)
    expected = as_tuple(
        getattr(fastpg, name)(**{one: tensor.numpy() for one, tensor in tensors.items()}, **kind)
    )
    results = as_tuple(
        getattr(fpt, name)(**{one: laid_out(tensor, layout) for one, tensor in tensors.items()}, **kind)
    )
    assert len(results) == len(expected)
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == dtype and not result.requires_grad
        assert np.array_equal(result.numpy(), wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_memory_of_the_tensors_is_what_the_core_reads_and_writes(name, layout, monkeypatch):
    tensors, kind = make(name, (6, 5))
    tensors = {one: laid_out(tensor, layout) for one, tensor in tensors.items()}
    out = tuple(laid_out(torch.zeros(6, 5), layout) for _ in range(2 if name in ("gae", "vtrace") else 1))
    seen = []
    estimate = _core.estimate

    def recording(*arguments):
        for one in arguments:
            seen.extend(as_tuple(one))
        return estimate(*arguments)

    monkeypatch.setattr(_core, "estimate", recording)
    given_out = out if len(out) == 2 else out[0]
    assert getattr(fpt, name)(**tensors, **kind, out=given_out) is given_out
    addresses = {one.ctypes.data for one in seen if isinstance(one, np.ndarray)}
    assert {one.data_ptr() for one in (*tensors.values(), *out)} <= addresses
    monkeypatch.undo()
    for one, wanted in zip(out, as_tuple(getattr(fpt, name)(**tensors, **kind)), strict=True):
        assert torch.equal(one, wanted)


def test_tensors_that_require_a_gradient_are_data():
    tensors, kind = make("gae", (6, 5))
    expected = fpt.gae(**tensors, **kind)
    tensors["values"].requires_grad_()
    tensors["last_values"] = tensors["last_values"].requires_grad_() * 1.0
    for result, wanted in zip(fpt.gae(**tensors, **kind), expected, strict=True):
        assert not result.requires_grad and torch.equal(result, wanted)
    assert tensors["values"].requires_grad


def test_one_environment_takes_a_number_for_the_last_value():
    tensors, kind = make("gae", (6,), torch.float64)
    expected = fpt.gae(**tensors, **kind)
    tensors["last_values"] = tensors["last_values"].item()
    for result, wanted in zip(fpt.gae(**tensors, **kind), expected, strict=True):
        assert torch.equal(result, wanted)


def test_arguments_may_be_given_by_position():
    tensors, kind = make("gae", (6, 5))
    keywords = {"last_values": tensors["last_values"], "bootstrap_truncated": False, **kind}
    four = [tensors[one] for one in ("rewards", "values", "terminated", "truncated")]
    by_position = fpt.gae(*four, **keywords)
    named = fpt.gae(rewards=four[0], values=four[1], terminated=four[2], truncated=four[3], **keywords)
    assert all(torch.equal(a, b) for a, b in zip(by_position, named, strict=True))
    with pytest.raises(TypeError, match="positional"):
        fpt.gae(*four, tensors["last_values"])


def test_inference_tensors_are_read():
    with torch.inference_mode():
        tensors, kind = make("returns", (6, 5))
        result = fpt.returns(**tensors, **kind)
    assert torch.equal(result, fpt.returns(**make("returns", (6, 5))[0], **kind))


@pytest.mark.slow
def test_a_compiled_function_may_call_them():
    tensors, kind = make("gae", (6, 5))

    @torch.compile(backend="eager")  # with breaks of the graph
    def step(scale):
        advantages, _ = fpt.gae(**tensors, **kind)
        return scale * advantages

    assert torch.equal(step(torch.tensor(2.0)), 2 * fpt.gae(**tensors, **kind)[0])


@pytest.mark.parametrize(
    ("name", "value", "error", "sentence"),
    [
        (
            "rewards",
            torch.zeros(6, 5).half(),
            TypeError,
            "must be float32 or float64, got torch.float16",
        ),
        ("rewards", torch.zeros(6, 5).long(), TypeError, "must be float32 or float64, got torch.int64"),
        (
            "rewards",
            torch.zeros(6, 5, device="meta"),
            ValueError,
            "must lie on the CPU, got meta",
        ),
        ("rewards", np.zeros((6, 5), np.float32), TypeError, "must be a tensor, got an array of shape"),
        ("values", torch.zeros(6, 5).double(), TypeError, "must be float32 like rewards, got float64"),
        ("values", torch.zeros(5, 6), ValueError, r"must have shape \(6, 5\) like rewards"),
        ("values", torch.full((6, 5), float("nan")), ValueError, "must be finite"),
        ("values", None, TypeError, "must be given, got None"),
        (
            "terminated",
            torch.zeros(6, 5),
            TypeError,
            r"must be bool, .*terminated.bool\(\)",
        ),
        ("mask", torch.ones(6, 5, dtype=torch.uint8), TypeError, "must be bool, got torch.uint8"),
        ("final_values", None, ValueError, None),
        ("gamma", 1.5, ValueError, "must be a number in"),
        ("out", torch.zeros(6, 5), TypeError, "must be a tuple of 2"),
        ("out", (torch.zeros(6, 5), np.zeros((6, 5), np.float32)), TypeError, None),
        ("out", (torch.zeros(6, 5), torch.zeros(6, 5, requires_grad=True)), ValueError, None),
    ],
)
def test_what_does_not_fit_is_a_sentence(name, value, error, sentence):
    tensors, kind = make("gae", (6, 5))
    sentence = (
        sentence
        or {
            TypeError: r"out\[1\] must be a tensor",
            ValueError: "truncated has True entries but final_values"
            if name != "out"
            else "must not require",
        }[error]
    )
    with pytest.raises(error, match=rf"gae\(\): .*{sentence}"):
        fpt.gae(**(tensors | kind | {name: value}))


def test_signatures_and_documentation_are_those_of_the_functions_on_arrays():
    for name in NAMES:
        ours, theirs = getattr(fpt, name), getattr(fastpg, name)
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
        assert ours.__name__ == name and f"As `fastpg.{name}`" in ours.__doc__


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool, torch.uint8, torch.int64])
@pytest.mark.parametrize("name", ["done_from_cleanrl", "done_from_episode_starts"])
def test_flags_of_other_libraries_may_be_tensors_of_any_dtype(name, dtype):
    starts, last = torch.tensor([[1, 1], [0, 1], [0, 0]]).to(dtype), torch.tensor([1, 0]).to(dtype)
    done = getattr(fpt, name)(starts.T.contiguous().T, last)
    assert done.tolist() == [[False, True], [False, False], [True, False]]
    assert done.dtype == torch.bool
    if dtype is not torch.bool:
        with pytest.raises(ValueError, match=f"{name}.*must hold zeros and ones, but one entry is 2"):
            getattr(fpt, name)(starts * 2, last)


@pytest.mark.parametrize("number", [np.array(0.9), torch.tensor(0.9), np.ones(2)])
def test_settings_are_numbers(number):
    tensors, kind = make("gae", (5, 2))
    with pytest.raises(TypeError, match=r"gae\(\): gamma must be a number in \[0, 1\], got"):
        fpt.gae(**tensors, **kind | {"gamma": number})


def test_functions_of_arrays_name_those_of_tensors():
    tensors, kind = make("gae", (300, 40))
    sentence = (
        r"^gae\(\): rewards must be a numpy array, got a Tensor of shape \(300, 40\) and dtype torch.float32"
        r"; fastpg.torch.gae\(\) takes tensors$"
    )
    with pytest.raises(TypeError, match=sentence):
        fastpg.gae(**tensors, **kind)
    with pytest.raises(TypeError, match=r"dones must be .* fastpg.torch.done_from_cleanrl\(\) takes tensors"):
        fastpg.done_from_cleanrl(torch.zeros(3, 2), np.zeros(2))
