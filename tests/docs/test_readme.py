"""What the README shows runs as it stands."""

import re
from importlib.util import find_spec

import pytest

from tests import ROOT

pytestmark = pytest.mark.slow

README = ROOT / "README.md"
PROJECT = (README.parent / "pyproject.toml").read_text()
NEEDS = {
    "stable_baselines3": "stable_baselines3",
    "torch": "torch",
    "jit_env": "numba",
}  # of blocks with the word


def test_the_python_blocks_run_one_after_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    names: dict[str, object] = {}
    assert len(blocks) == 11
    for block in blocks:
        if any(word in block and find_spec(module) is None for word, module in NEEDS.items()):
            continue
        exec(block, names)
    assert (tmp_path / "cartpole.safetensors").exists()


def test_extras_are_installed_from_a_clone_as_no_index_has_the_package():
    root = README.parent
    extras = re.findall(
        r"^(\w+) = \[", re.search(r"optional-dependencies\]\n(.*?)\n\n", PROJECT, re.S)[1], re.M
    )
    texts = {
        path: path.read_text() for path in [README, *root.glob("docs/*.md"), *root.glob("fastpg/**/*.py")]
    }
    named = {extra for text in texts.values() for extra in re.findall(r"pip install '\.\[(\w+)\]'", text)}
    assert {"torch", "sb3", "numba"} <= named <= set(extras)
    assert not [path for path, text in texts.items() if "fastpg-rl[" in text or "install fastpg-rl" in text]


def test_the_environment_of_custom_envs_trains(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setenv("FASTPG_CACHE_DIR", str(tmp_path))
    document = (README.parent / "docs" / "custom_envs.md").read_text()
    names: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", document, flags=re.DOTALL)[1], names)
    assert len(names["returns"]) == 100


def test_what_the_page_about_many_agents_shows_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = (README.parent / "docs" / "many.md").read_text()
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL)
    exec(blocks[0], names)
    assert len(names["runs"]) == 16
    exec(blocks[1], names)
    shares = [run.num_steps / 30_000 for run in names["runs"]]
    assert 1 / 9 < sum(shares) / len(shares) < 1 / 6
    for block in blocks[2:]:
        exec(block, names)
    assert all(one.best.mean_return > 20 for one in names["evaluations"])
    assert (tmp_path / "runs" / "watched" / "3" / "best.safetensors").is_file()
    assert len(names["runs"]) == 16 and len(names["history"]["copied"]) == 16 * 7
