"""The command line, run as its users run it."""

import functools
import subprocess
import sys

import numpy as np
import pytest

import fastpg
from fastpg import cli
from fastpg.verdict import DETERMINISTIC, STOCHASTIC, Evaluation, advice, verdict

COMMAND = [sys.executable, "-m", "fastpg"]


def run(*arguments, cwd):
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)


def test_train_saves_a_policy_that_eval_plays(tmp_path):
    trained = run("train", "CartPole-v1", "--total-steps", "20000", "--hidden", "16", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "CartPole-v1: " in trained.stdout
    assert "mean return" in trained.stdout
    assert "steps/s | mean return" in trained.stderr  # the progress
    assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").hidden == (16,)
    played = run("eval", "CartPole-v1.safetensors", "--episodes", "7", "--seed", "3", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    assert played.stdout.startswith("CartPole-v1: 7 episodes")
    shorter = run("eval", "CartPole-v1.safetensors", "--env", "CartPole-v0", "--stochastic", cwd=tmp_path)
    assert shorter.stdout.startswith("CartPole-v0: 100 episodes")


def test_train_with_its_defaults_solves_cartpole(tmp_path):
    trained = run("train", "CartPole-v1", cwd=tmp_path)
    assert trained.stdout.startswith("CartPole-v1: solved (threshold 475; stopped by target_return)")


def played(way, mean, std=0.0, length=100):
    returns = mean + std * np.array([-1.0, 1.0])
    return Evaluation(way, returns, np.array([length, length]), 1000)


@pytest.mark.parametrize(
    ("deterministic", "stochastic", "trained", "judged", "hint"),
    [
        ((500, 0), (480, 30), 478, "solved", None),
        ((500, 0), (400, 90), 478, "solved deterministically, not stochastically", None),
        (
            (-14, 50),
            (499, 40),
            500,
            "solved stochastically, not deterministically",
            "fastpg eval --stochastic",
        ),
        ((-26, 5), (77, 20), 77, "not solved", "fastpg eval --stochastic"),
        ((470, 20), (474, 30), 475, "not solved", None),
        ((100, 20), (110, 20), 475, "not solved", "the last episodes of training earned 475.0"),
        (
            (-1000, 0, 1000),
            (-1000, 0, 1000),
            -3000,
            "not solved",
            "2 of 2 deterministic episodes did not end",
        ),
        ((100, 20), (110, 20), float("nan"), "not solved", None),
    ],
)
def test_a_run_is_judged_by_both_ways_of_acting(deterministic, stochastic, trained, judged, hint):
    ways = played(DETERMINISTIC, *deterministic), played(STOCHASTIC, *stochastic)
    assert verdict(*ways, 475.0) == judged
    said = advice(*ways, trained)
    assert said is None if hint is None else hint in said


def test_train_says_what_both_ways_of_acting_earn_and_what_to_do_where_they_differ(tmp_path):
    trained = run("train", "MountainCarContinuous-v0", cwd=tmp_path)  # the mean action does not climb
    policy = fastpg.Policy.load(tmp_path / "MountainCarContinuous-v0.safetensors")
    by_hand = [
        fastpg.evaluate(policy.env_id, policy, episodes=100, deterministic=deterministic)[0].mean()
        for deterministic in (True, False)
    ]
    assert by_hand[0] < 0 < 70 < by_hand[1]
    assert "{:.1f} deterministic, {:.1f} stochastic, over 100".format(*by_hand) in trained.stdout
    assert "note         the most likely actions earn far less than drawn ones" in trained.stdout


def test_hidden_without_widths_is_the_linear_policy(tmp_path):
    trained = run(
        *("train", "CartPole-v1", "--hidden", "--total-steps", "1000", "--checkpoint", "linear.safetensors"),
        cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    assert fastpg.Policy.load(tmp_path / "linear.safetensors").hidden == ()


def test_diagnose_prints_a_row_for_every_form(tmp_path, policy):
    policy.save(tmp_path / "policy.safetensors")
    for arguments in (["--policy", "policy.safetensors"], []):  # one that is there, one that it trains
        shown = run(
            *("diagnose", "CartPole-v1", "--episodes", "8", "--batches", "10", *arguments), cwd=tmp_path
        )
        assert shown.returncode == 0, shown.stderr
        heading, _, *rows = shown.stdout.splitlines()
        assert heading.startswith("CartPole-v1: mean return ")
        assert [row.split("  ")[0] for row in rows[:-2]] == list(fastpg.diagnostics.FORMS)
        assert "standard errors from zero" in rows[-1]


def test_help_has_every_parameter_of_the_algorithm_and_the_run(tmp_path):
    shown = run("train", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    for option in ("--learning-rate", "--gamma", "--form", "--num-envs", "--total-steps", "--hidden"):
        assert option in shown.stdout
    assert "Discount, in [0, 1]. (default: 0.99)" in shown.stdout


@pytest.mark.parametrize(
    ("name", "only", "default"),
    [
        ("reinforce", "--momentum", "Step size of the optimizer. (default: 0.003)"),
        ("vpg", "--value-minibatches", "Passes of the value function over each batch. (default: 10)"),
        ("a2c", "--standardize-advantages", "Passes of the value function over each batch. (default: 1)"),
    ],
)
def test_help_shows_the_options_of_the_chosen_algorithm_and_how_to_see_others(name, only, default, tmp_path):
    shown = run("train", "--algorithm", name, "--help", cwd=tmp_path).stdout
    words = " ".join(shown.replace("│", " ").split())
    assert only in words
    assert default in words
    assert f"those of {name}. For another's: fastpg train --algorithm NAME --help." in words
    assert ("--value-epochs" in words) == (name != "reinforce")


@pytest.mark.parametrize("algorithm", [["--algorithm", "vpg"], ["--algorithm=a2c", "--horizon", "16"]])
def test_train_saves_the_policy_of_every_algorithm(algorithm, tmp_path):
    trained = run(
        *("train", *algorithm, "CartPole-v1", "--total-steps", "20000", "--hidden", "16"),
        *("--value-hidden", "8", "8", "--max-grad-norm", "1", "--no-standardize-advantages", "--lam", "0.9"),
        cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").hidden == (16,)


def test_the_options_reach_the_algorithm(tmp_path, monkeypatch):
    seen = []

    @functools.wraps(cli.train)
    def remember(*arguments, **settings):
        seen.append(settings["algorithm"])
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", remember)
    monkeypatch.chdir(tmp_path)
    cli.main(["train", "CartPole-v1"])
    cli.main(["train", "CartPole-v1", "--algorithm", "vpg", "--form", "q", "--n-step", "9", "--value-hidden"])
    cli.main(["train", "CartPole-v1", "--linear-schedule", "--algorithm=a2c"])
    assert seen == [
        fastpg.Reinforce(),
        fastpg.VPG(form="q", n_step=9, value_hidden=()),
        fastpg.A2C(linear_schedule=True),
    ]


def test_envs_lists_every_native_environment(tmp_path):
    shown = run("envs", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    heading, *lines = shown.stdout.splitlines()
    assert heading.split("  ")[0] == "id"
    assert [line.split()[0] for line in lines] == fastpg.list_envs()
    (cartpole,) = (line for line in lines if line.startswith("CartPole-v1"))
    assert cartpole.split() == ["CartPole-v1", "Box(4)", "Discrete(2)", "500", "475"]


def test_info_names_the_instruction_set(tmp_path):
    shown = run("info", cwd=tmp_path)
    assert shown.returncode == 0
    assert fastpg.build_info()["isa"] in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "{train, eval, diagnose, envs, info}"),
        ("trian CartPole-v1", "trian"),
        ("train", "ENV_ID"),
        ("train Pong", "'Pong' is not implemented natively"),
        ("train CartPole-v1 --gamma high", "--gamma"),
        ("train CartPole-v1 --gamma 2", "gamma must be a number in [0, 1], got 2.0"),
        ("train CartPole-v1 --form gae", "'--form'"),
        ("train CartPole-v1 --algorithm ppo", "'ppo'"),
        ("train CartPole-v1 --algorithm", "'--algorithm'"),
        ("train CartPole-v1 --lam 0.9", "--lam"),
        ("train CartPole-v1 --algorithm vpg --momentum 0.9", "--momentum"),
        ("train CartPole-v1 --algorithm vpg --lam 2", "lam must be a number in [0, 1], got 2.0"),
        ("train CartPole-v1 --algorithm a2c --form total", "'--form'"),
        ("train CartPole-v1 --num-envs 0", "num_envs must be an integer from 1"),
        ("train CartPole-v1 --num-envs many", "--num-envs"),
        ("train CartPole-v1 --hidden 0", "hidden[0]"),
        ("train CartPole-v1 --activation gelu", "'--activation'"),
        ("train CartPole-v1 --horizon 8 --episodes 8", "exactly one of"),
        ("train CartPole-v1 --seed -1", "seed"),
        ("train CartPole-v1 --learning-rte 1", "--learning-rte"),
        (
            "train CartPole-v1 --checkpoint nowhere/policy",
            "checkpoint lies in a directory that does not exist",
        ),
        ("eval", "PATH"),
        ("eval missing.safetensors", "missing.safetensors: No such file"),
        ("eval broken.safetensors", "damaged or not a safetensors file"),
        ("eval good.safetensors --episodes 0", "episodes must be an integer from 1"),
        ("eval good.safetensors --env Pong", "'Pong' is not implemented natively"),
        ("diagnose Pong", "'Pong' is not implemented natively"),
        ("diagnose CartPole-v1 --batches 1", "batches must be an integer >= 2, got 1"),
        ("diagnose CartPole-v1 --plot forms.txt", "the ending of path must be one of '.png', '.svg', '.pdf'"),
        ("diagnose CartPole-v1 --policy missing.safetensors", "missing.safetensors: No such file"),
        ("info --verbose", "--verbose"),
    ],
)
def test_a_bad_value_is_one_line_and_exit_code_2(arguments, words, tmp_path, policy):
    policy.save(tmp_path / "good.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    refused = run(*arguments.split(), cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line.startswith("fastpg: ")
    assert words in line


def test_ctrl_c_saves_the_policy_and_exits_with_130(tmp_path, monkeypatch, capsys):
    @functools.wraps(cli.train)
    def interrupted(*arguments, callback, **settings):
        def press_ctrl_c(state):
            callback(state)
            raise KeyboardInterrupt

        return fastpg.train(*arguments, callback=press_ctrl_c, **settings)

    monkeypatch.setattr(cli, "train", interrupted)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "CartPole-v1", "--target-return", "inf"]) == 130
    err = capsys.readouterr().err
    assert err.startswith("fastpg: interrupted after ")
    assert err.endswith("policy saved to CartPole-v1.safetensors\n")
    assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").env_id == "CartPole-v1"
