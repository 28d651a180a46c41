"""A few calls of everything public, the same ones every time; and that it is everything."""

import pytest

from .targets import CALLS, MACHINES, explore

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [*CALLS, *MACHINES])
def test_odd_calls_are_right_or_refused_in_a_sentence(name, confined):
    explore(name, examples=25)
