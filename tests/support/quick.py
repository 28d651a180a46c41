"""Cases of which the quick loop runs a few; the others are marked `slow`."""

import pytest


def few(cases, quick):
    """Parameters of a test: of these cases, the quick loop takes those that are in `quick`."""
    return [pytest.param(one, marks=() if one in quick else pytest.mark.slow) for one in cases]
