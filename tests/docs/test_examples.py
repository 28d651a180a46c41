"""The examples run, and learn what they say."""

import importlib.util
import re

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
        ("action_masks", 60_000, -150, -30),
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


def test_what_action_masks_md_shows_runs():
    names: dict[str, object] = {}
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "action_masks.md").read_text(), flags=re.DOTALL
    )
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number} of action_masks.md", "exec"), names)
    assert len(blocks) == 3
