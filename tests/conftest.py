"""What several test files need."""

import numpy as np
import pytest

import fastpg
from fastpg import _core

# What compiles with numba or torch, starts processes, trains, or needs many samples: not in the quick loop.
SLOW = {
    "benchmarks",
    "examples",
    "examples_torch",
    "exact",
    "jit_env",
    "jit_errors",
    "jit_refused",
    "jit_snapshot",
    "readme",
    "tabular",
    "torch_loss",
    "torch_modules",
    "torch_processes",
    "unbiased",
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW or "fuzz" in item.path.parts:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def policy() -> fastpg.Policy:
    return fastpg.Policy.for_env("CartPole-v1", hidden=(8,))


@pytest.fixture(params=_core.isas())
def isa(request):
    """Every instruction set in turn, for the kernels of whatever the test makes."""
    before = _core.isa()
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


@pytest.fixture
def threads():
    before = _core.get_num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)
