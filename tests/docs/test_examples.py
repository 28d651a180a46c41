"""The examples run, and learn what they say."""

import importlib.util

import pytest

from tests import ROOT

pytestmark = pytest.mark.slow

pytest.importorskip("numba")
EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize(
    ("name", "steps", "below", "above"),
    [
        ("jit_double_integrator", 200_000, -20, -5),
        ("jit_gridworld", 300_000, -0.5, 0.6),
        ("jit_quadrotor", 300_000, 30, 200),
        ("jit_inventory", 300_000, 105, 110),
        ("jit_random_walls", 300_000, -0.3, 0.6),
    ],
)
def test_the_example_learns(name, steps, below, above, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTPG_CACHE_DIR", str(tmp_path))
    example = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(example)
    example.loader.exec_module(module)
    before, after = module.main(steps)
    assert before < below
    assert after > above
