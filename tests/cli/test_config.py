"""Options from a file: what is typed wins, and the settings of a run are such a file."""

import functools
import math

import pytest

import fastpg
from fastpg.cli import main as cli
from fastpg.training import run_folder
from tests.support.killed import check_equal


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A function that runs a command line with a config.toml, and returns what train() got."""
    seen = []

    @functools.wraps(cli.train)
    def remember(env_id, **settings):
        seen.append(settings | {"env_id": env_id})
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", remember)
    monkeypatch.chdir(tmp_path)

    def call(arguments, text):
        (tmp_path / "config.toml").write_text(text)
        assert cli.main(["train", *arguments.split()]) == 130
        return seen[-1]

    return call


FILE = """
env_id = "Pendulum-v1"
total_steps = 1e6
hidden = [8, 4]
seed = 3
horizon = 16
overwrite = true
[algorithm]
name = "ppo"
gamma = 0.5
target_kl = 0.1
normalize_rewards = true
[env_params]
g = 9.0
"""


def test_a_file_has_what_could_be_typed(trained):
    got = trained("--config config.toml", FILE)
    assert got["env_id"] == "Pendulum-v1"
    assert (got["total_steps"], got["hidden"], got["seed"], got["horizon"]) == (10**6, (8, 4), 3, 16)
    assert got["algorithm"] == fastpg.PPO(gamma=0.5, target_kl=0.1, normalize_rewards=True)
    assert got["env_params"] == {"g": 9.0}


def test_what_is_typed_wins(trained):
    words = "--seed 4 --hidden 2 --config=config.toml --gamma 0.25 --episodes 5 --env g=8 --target-kl none"
    got = trained(f"gym:Pendulum-v1 {words} --no-normalize-rewards", FILE)
    assert (got["env_id"], got["seed"], got["hidden"]) == ("gym:Pendulum-v1", 4, (2,))
    assert (got["horizon"], got["episodes"]) == (None, 5)  # one of them says how much is collected
    assert got["algorithm"] == fastpg.PPO(gamma=0.25)
    assert got["env_params"] == {"g": 8}


def test_another_algorithm_has_its_own_defaults(trained):
    assert trained("--config config.toml --algorithm vpg", FILE)["algorithm"] == fastpg.VPG()


def test_without_an_algorithm_it_is_what_is_recommended(trained):
    got = trained("--config config.toml", 'env_id = "FrozenLake-v1"\nseed = 2')
    assert got["algorithm"] == fastpg.recommended("FrozenLake-v1")["algorithm"]
    assert (got["seed"], got["target_return"]) == (2, math.inf)


@pytest.mark.parametrize(
    ("env_id", "algorithm", "settings"),
    [
        ("CartPole-v1", fastpg.VPG(value_hidden=(), max_grad_norm=None), {"horizon": 32, "hidden": ()}),
        ("FrozenLake-v1", fastpg.Reinforce(), {"env_params": {"desc": None}, "checkpoint_every": 1000}),
        ("CartPole-v1", fastpg.PPO(value_clip_range=0.2, max_grad_norm=None), {"steps_per_iteration": 500}),
        ("CartPole-v1", fastpg.TRPO(value_hidden=(8,)), {"activation": "relu", "target_return": 400.0}),
        pytest.param(
            *(
                "gym:CartPole-v1",
                fastpg.A2C(),
                {"num_envs": 2, "reset_options": {"low": -0.01, "high": 0.01}},
            ),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_settings_of_a_run_repeat_it_to_the_bit(env_id, algorithm, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "EVALUATION_EPISODES", 1)
    whole = fastpg.train(env_id, algorithm, run=tmp_path / "a", total_steps=3000, seed=5, **settings)
    settings = str(tmp_path / "a" / run_folder.SETTINGS)
    assert cli.main(["train", "--config", settings, "--run", str(tmp_path / "b")]) == 0
    again = fastpg.resume(tmp_path / "b")
    check_equal(again, tmp_path / "b", whole, tmp_path / "a")


def test_a_sweep_begins_from_the_settings_of_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fastpg.train("CartPole-v1", fastpg.VPG(gamma=0.9), run="a", hidden=(), horizon=8, total_steps=500)
    assert cli.main("sweep --config a/settings.toml --grid gamma=0.5,0.6 --seeds 2".split()) == 0  # noqa: SIM905
    assert "CartPole-v1: 4 runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("totl_steps = 3", "config.toml: there is no setting 'totl_steps'; did you mean 'total_steps'?"),
        ("wings = 2", "there is no setting 'wings'; there are action_scaling, "),
        ("total_steps = 'many'", "--total-steps must be a whole number"),
        ("total_steps = true", "--total-steps must be a whole number"),
        ("overwrite = 1", "overwrite must be true or false, got 1"),
        ("seed = [1, 2]", "--seed must be a whole number"),
        ("hidden = {a = 1}", "hidden must be a value, not a table"),
        ("algorithm = 'ppo'", "algorithm must be a table, [algorithm], got 'ppo'"),
        ("env_params = 3", "env_params must be a table"),
        ("env_id = 3", "env_id must be a string, got 3"),
        ("[algorithm]\ngamma = 1.0", "[algorithm]: name must be one of 'reinforce', "),
        ("[algorithm]\nname = 'ppo'\ngamma = 3", "PPO(): gamma must be a number in [0, 1], got 3.0"),
        ("[algorithm]\nname = 'ppo'\nform = 'gae'", "there is no setting 'form'; there are beta1"),
        ("a b", "--config config.toml is not TOML: Expected '='"),
        ("format_version = 9", "has format version 9; this fastpg reads 1"),
        ("format_version = 1\npolicy_given = true", "--from PATH gives some"),
        ("[env_params]\nwings = 2", "train(): unexpected argument 'wings'"),
        ("\udcff", "is not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line(text, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_bytes(text.encode(errors="surrogateescape"))
    assert cli.main("train CartPole-v1 --config config.toml".split()) == 2  # noqa: SIM905
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("fastpg: ") and words in line


@pytest.mark.parametrize("file", ["nowhere.toml", ".", "\0"])
def test_a_file_that_cannot_be_read_is_one_line(file, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "CartPole-v1", "--config", file]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("fastpg: ") and "--config" in line


def test_a_run_on_another_instruction_set_is_warned_of(trained, capsys):
    trained("--config config.toml CartPole-v1", 'format_version = 1\n[machine]\nisa = "avx1024"')
    assert "is of a run with avx1024; other bits come of" in capsys.readouterr().err
