"""What the recipes show of watching a run does what they say, as far as what it needs is installed."""

import re
from importlib.util import find_spec

import pytest

from tests import ROOT

pytestmark = pytest.mark.slow
SECTION = re.search(r"## Watching a run\n(.*?)\n## ", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)[
    1
]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
NEEDS = ("tensorboardX", "wandb", "mlflow")


@pytest.mark.parametrize("package", NEEDS)
def test_the_recipe_runs(package, tmp_path, monkeypatch):
    if find_spec(package) is None:
        pytest.skip(f"needs {package}")
    monkeypatch.chdir(tmp_path)
    (block,) = (one for one in BLOCKS if package.lower().removesuffix("x") in one.lower())
    names: dict[str, object] = {}
    exec(block, names)
    assert names["run"].num_steps >= 50_000
    if package == "tensorboardX":
        assert names["run"].stopped_because == "callback"
        assert names["evaluation"].best.mean_return == 500.0
