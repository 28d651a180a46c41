"""What several test files need."""

import hypothesis
import numpy as np
import pytest

import fastpg
from fastpg import _core

# The same examples every time; `python -m tests.fuzz` looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def policy() -> fastpg.Policy:
    return fastpg.Policy.for_env("CartPole-v1", hidden=(8,))


# The quick loop runs the kernels that users of this machine run.
ISAS = [pytest.param(one, marks=() if one == _core.isa() else pytest.mark.slow) for one in _core.isas()]


@pytest.fixture(params=ISAS)
def isa(request):
    """Every instruction set in turn, for the kernels of whatever the test makes."""
    before = _core.isa()
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(before)


@pytest.fixture
def every_isa():
    """A loop over the instruction sets, for tests that compare all with what is slow to compute."""
    before = _core.isa()

    def loop():
        for one in _core.isas():
            _core.select_isa(one)
            yield one

    yield loop
    _core.select_isa(before)


@pytest.fixture
def threads():
    before = _core.get_num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)


@pytest.fixture
def one_torch_thread():
    """Small networks on a busy machine: several threads of torch wait for each other."""
    import torch  # here: most tests need none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
