"""The commands of docs/first_run.md are commands; what they print is printed by tests.support.first_run."""

import shlex

import pytest

from fastpg.cli import main as cli
from tests.support.first_run import BLOCK, DOCUMENT, commands

LINES = [line for block in BLOCK.findall(DOCUMENT.read_text()) for line in commands(block)]


@pytest.mark.parametrize("line", [line for line in LINES if "fastpg " in line and "python" not in line])
def test_a_command_of_the_first_run_is_one(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = line[line.index("fastpg ") :].partition(" 2>")[0]
    if "--config" in line:
        (tmp_path / "settings.toml").write_text('env_id = "CartPole-v1"')
        line = line.replace("runs/cartpole/settings.toml", "settings.toml")
    cli._parse(shlex.split(line)[1:])
