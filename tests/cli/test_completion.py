"""The scripts that `fastpg completion` prints, asked as the shell asks them."""

import shutil
import subprocess
import sys

import pytest

import fastpg
from fastpg.cli import main as cli

pytest.importorskip("shtab")
# bash calls the function with the command, the word that is completed, and the one before.
ASK = """
source ./script
while read -r -a COMP_WORDS; do
    [[ ${COMP_WORDS[-1]} == _ ]] && COMP_WORDS[-1]=""
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )) COMPREPLY=()
    _shtab_fastpg fastpg "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    echo "${COMPREPLY[*]}"
done
"""


@pytest.fixture
def script(capsys):
    """A function that returns the script for a shell."""

    def printed(shell):
        assert cli.main(["completion", shell]) == 0
        return capsys.readouterr().out

    return printed


def test_bash_completes_commands_options_their_values_environments_and_files(script, tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    (tmp_path / "script").write_text(script("bash"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "rubbish").touch()
    expected = {
        "fastpg tra": {"train"},
        "fastpg train MountainCarC": {"MountainCarContinuous-v0"},
        "fastpg train --seed 3 MountainCar-": {"MountainCar-v0"},
        "fastpg train --algorithm _": {"reinforce", "vpg", "a2c", "ppo", "npg", "trpo"},
        "fastpg train Taxi-v4 --clip-": {"--clip-range"},
        "fastpg train Taxi-v4 --no-joint": {"--no-joint-grad-norm"},
        "fastpg sweep Taxi-v4 --activation r": {"relu"},
        "fastpg train Taxi-v4 --run ru": {"runs"},  # folders
        "fastpg eval ru": {"runs", "rubbish"},
        "fastpg plot runs ru": {"runs"},
        "fastpg render runs --env Pend": {"Pendulum-v1"},
        "fastpg train Taxi-v4 --fro": {"--from"},
        "fastpg train Taxi-v4 --from ru": {"runs", "rubbish"},
        "fastpg export ru": {"runs", "rubbish"},
        "fastpg completion z": {"zsh"},
    }
    answer = subprocess.run(
        [bash, "-c", ASK], input="\n".join([*expected, ""]), cwd=tmp_path, capture_output=True, text=True
    )
    got = dict(zip(expected, map(set, map(str.split, answer.stdout.splitlines())), strict=True))
    assert got == expected, answer.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_have_scripts(shell, script):
    text = script(shell)
    assert "fastpg" in text and all(env_id in text for env_id in fastpg.list_envs())


def test_what_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1
    assert capsys.readouterr().err == "fastpg: completion needs shtab: pip install '.[completion]'\n"
