"""Fixtures of the fuzz tests."""

import pytest

from . import targets


@pytest.fixture
def confined():
    with targets.confined():
        yield
