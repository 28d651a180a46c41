"""The examples run, and learn what they say."""

import re

import pytest

from tests import ROOT
from tests.support.examples import load

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "steps", "below", "above"),
    [
        ("jit_double_integrator", 200_000, -20, -5),
        ("jit_gridworld", 300_000, -0.5, 0.6),
        ("jit_quadrotor", 300_000, 30, 200),
        ("jit_inventory", 300_000, 105, 110),
        ("jit_random_walls", 300_000, -0.3, 0.6),
        ("action_masks", 60_000, -150, -30),
    ],
)
def test_the_example_learns(name, steps, below, above, tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setenv("FASTPG_CACHE_DIR", str(tmp_path))
    before, after = load(name).main(steps)
    assert before < below
    assert after > above


def test_the_search_prunes_trials_and_is_repeatable():
    pytest.importorskip("optuna")
    search = load("optuna_search")
    study, share = search.main(batches=2, size=6, total_steps=10_000)
    assert {trial.state.name for trial in study.trials} == {"COMPLETE", "PRUNED"}
    assert share < 0.9
    again, _ = search.main(batches=2, size=6, total_steps=10_000)
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]
    assert again.best_value == study.best_value


def test_what_action_masks_md_shows_runs():
    names: dict[str, object] = {}
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "action_masks.md").read_text(), flags=re.DOTALL
    )
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number} of action_masks.md", "exec"), names)
    assert len(blocks) == 4
