"""What several test files need."""

import numpy as np
import pytest

import fastpg


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def policy() -> fastpg.Policy:
    return fastpg.Policy.for_env("CartPole-v1", hidden=(8,))
