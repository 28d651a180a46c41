"""`fastpg train --from` and `fastpg export`: what was learnt, as a beginning and as another file."""

import shutil

import numpy as np
import pytest

import fastpg
from fastpg.cli import main as cli
from fastpg.training import run_folder

SHORT = ["--total-steps", "600", "--horizon", "8", "--num-envs", "4", "--target-return", "inf"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with a run of VPG in CartPole that was killed after its newest checkpoint."""
    monkeypatch.chdir(tmp_path)
    algorithm = fastpg.VPG(value_hidden=(5,), normalize_observations=True)
    fastpg.train("CartPole-v1", algorithm, hidden=(6,), horizon=8, num_envs=4, total_steps=600, run="run")
    for name in (run_folder.POLICY, run_folder.VALUE):  # as a run under way has them: what it began with
        network = (fastpg.Policy if name == run_folder.POLICY else fastpg.ValueFunction).load(f"run/{name}")
        network.theta[:] = 0.0
        network.save(f"run/{name}")
    return tmp_path


def fails(words, capsys):
    """Return the one line that a command ends with, whose exit code is that of a bad value."""
    capsys.readouterr()  # of commands before it
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_networks_are_those_of_the_newest_checkpoint_of_a_folder(place):
    checkpoints = run_folder.checkpoints(place / "run")
    state, _ = run_folder.state_file.load("", checkpoints[-1])
    for kind in (fastpg.Policy, fastpg.ValueFunction):
        network = kind.load("run")
        assert network.theta.any()
        assert network.theta.tobytes() == state[f"{kind.NOUN.partition(' ')[0]}.theta"].tobytes()


def test_what_is_no_run_or_has_no_value_function_is_a_sentence(tmp_path):
    with pytest.raises(fastpg.CheckpointError, match=r"Policy.load\(\): .* is not the folder of a run"):
        fastpg.Policy.load(tmp_path)
    fastpg.train("CartPole-v1", hidden=(), total_steps=500, run=tmp_path / "run")
    with pytest.raises(fastpg.CheckpointError, match="has no value function; its algorithm is Reinforce"):
        fastpg.ValueFunction.load(tmp_path / "run")


@pytest.mark.parametrize("algorithm", ["vpg", "ppo", "reinforce"])
def test_a_run_begins_with_the_networks_of_a_folder(algorithm, place):
    command = ["train", "CartPole-v1", "--algorithm", algorithm, *SHORT, "--from", "run", "--run", "tuned"]
    assert cli.main(command) == 0
    given = {"policy": fastpg.Policy.load("run")}
    kind = {"vpg": fastpg.VPG, "ppo": fastpg.PPO, "reinforce": fastpg.Reinforce}[algorithm]
    if algorithm != "reinforce":
        given["value"] = fastpg.ValueFunction.load("run")
    run = fastpg.train("CartPole-v1", kind(), total_steps=600, horizon=8, num_envs=4, **given)
    assert fastpg.Policy.load("tuned").theta.tobytes() == run.policy.theta.tobytes()
    assert run.policy.hidden == (6,)


def test_a_file_has_a_policy_only_and_that_is_said(place, capsys):
    shutil.copy("run/policy.safetensors", "saved.safetensors")
    words = ["--algorithm", "vpg", *SHORT, "--from", "saved.safetensors"]
    assert cli.main(["train", "CartPole-v1", *words]) == 0
    said = capsys.readouterr().err
    assert "fastpg: --from saved.safetensors has no value function, so a new one begins\n" in said
    run = fastpg.train(
        "CartPole-v1", fastpg.VPG(), total_steps=600, horizon=8, num_envs=4,
        policy=fastpg.Policy.load("saved.safetensors"),
    )  # fmt: skip
    trained = fastpg.Policy.load("CartPole-v1.safetensors")
    assert trained.theta.tobytes() == run.policy.theta.tobytes()


def test_recommended_settings_keep_the_shapes_that_are_given(place):
    assert cli.main(["train", "CartPole-v1", "--total-steps", "600", "--from", "run", "--run", "tuned"]) == 0
    settings = run_folder.read_settings("", place / "tuned")
    assert (settings["hidden"], settings["algorithm"]["value_hidden"]) == ([6], [5])
    assert settings["algorithm"]["name"] == "PPO"


def test_the_settings_of_a_run_and_what_it_learnt_make_another_run(place, capsys):
    words = ["--config", "run/settings.toml", "--from", "run", "--total-steps", "700"]
    assert cli.main(["train", *words, "--run", "again"]) == 0
    assert run_folder.read_settings("", place / "again")["policy_given"]
    # Such a run says that its networks were given, and takes others in their place.
    assert "--from PATH gives some" in fails(["train", "--config", "again/settings.toml"], capsys)
    assert cli.main(["train", "--config", "again/settings.toml", "--from", "run", "--run", "third"]) == 0
    policies = [fastpg.Policy.load(name).theta.tobytes() for name in ("again", "third")]
    assert policies[0] == policies[1]


def test_many_runs_begin_with_what_is_given(place):
    words = ["--algorithm", "vpg", *SHORT, "--from", "run", "--run", "many"]
    assert cli.main(["train", "CartPole-v1", *words, "--seeds", "2"]) == 0
    alone = fastpg.train(
        "CartPole-v1", fastpg.VPG(), total_steps=600, horizon=8, num_envs=4, seed=1,
        policy=fastpg.Policy.load("run"), value=fastpg.ValueFunction.load("run"),
    )  # fmt: skip
    np.testing.assert_array_equal(fastpg.Policy.load("many/1/policy.safetensors").theta, alone.policy.theta)


def test_one_of_many_runs_is_a_beginning_as_well_and_is_played(place, capsys):
    runs = fastpg.train_many(
        "CartPole-v1", fastpg.VPG(value_hidden=(5,)), seeds=2, hidden=(6,), total_steps=500, save="many"
    )
    assert fastpg.Policy.load("many/1").theta.tobytes() == runs[1].policy.theta.tobytes()
    assert fastpg.ValueFunction.load("many/1").theta.tobytes() == runs[1].value.theta.tobytes()
    words = ["--algorithm", "vpg", *SHORT, "--from", "many/1", "--run", "tuned"]
    assert cli.main(["train", "CartPole-v1", *words]) == 0
    assert "has no value function" not in capsys.readouterr().err
    assert cli.main(["eval", "many/1", "--episodes", "2"]) == 0
    assert "is not the folder of a run" in fails(["eval", "many"], capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train Acrobot-v1 --from run", "train(): policy maps "),
        ("train CartPole-v1 --from nowhere", "nowhere: No such file"),
        ("train CartPole-v1 --from .", "is not the folder of a run: it has no settings.toml"),
        ("train CartPole-v1 --from run/value.safetensors", "holds a value function"),
        ("train CartPole-v1 --from", "--from"),
        ("train CartPole-v1 --from run --hidden 8", "--hidden is of a new policy, and --from has one"),
        ("train CartPole-v1 --from run --hidden", "with widths 6; leave the option out"),
        ("train CartPole-v1 --from run --squash", "--squash is of a new policy"),
        ("train CartPole-v1 --from run --value-hidden 9", "--value-hidden is of a new value function"),
        ("sweep CartPole-v1 --from run --grid hidden=8,9", "--grid: hidden is of new networks"),
    ],
)
def test_what_does_not_fit_is_one_line(words, says, place, capsys):
    assert says in fails(words.split(), capsys)
    assert sorted(path.name for path in place.iterdir()) == ["run"]


# ---- export -----------------------------------------------------------------------------------------------


def test_the_policy_of_a_folder_or_a_file_is_exported(place, capsys):
    (place / "other").mkdir()
    capsys.readouterr()
    for source in ("run", "run/policy.safetensors"):
        assert cli.main(["export", source, "-o", "policy.h"]) == 0
        assert capsys.readouterr().out == f"policy.h: the policy of {source} as C99\n"
        fastpg.Policy.load(source).export("other/policy.h")
        assert (place / "policy.h").read_text() == (place / "other" / "policy.h").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("export run", "--out"),
        ("export run -o policy.txt", "the ending of path must be one of '.onnx' (ONNX), '.h' (C99), '.pt2'"),
        ("export run -o nowhere/policy.h", "path lies in a directory that does not exist"),
        ("export run -o policy.h --sampled", "sampled goes with '.onnx' and '.pt2'"),
        ("export nowhere -o policy.h", "nowhere: No such file"),
        ("export . -o policy.h", "is not the folder of a run"),
    ],
)
def test_what_cannot_be_exported_is_one_line(words, says, place, capsys):
    assert says in fails(words.split(), capsys)
    assert sorted(path.name for path in place.iterdir()) == ["run"]


def test_an_export_that_acts_otherwise_is_a_failure(place, monkeypatch, capsys):
    def other(self, path, *, sampled):
        raise RuntimeError("Policy.export(): what was exported acts otherwise than the policy")

    monkeypatch.setattr(fastpg.Policy, "export", other)
    assert cli.main(["export", "run", "-o", "policy.h"]) == 1
    assert "fastpg: Policy.export(): what was exported acts otherwise" in capsys.readouterr().err
