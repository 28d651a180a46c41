"""Fixtures of the fuzz tests."""

import pytest

from . import targets


@pytest.fixture
def small_memory():
    with targets.small_memory():
        yield
