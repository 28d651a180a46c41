"""The command line, run as its users run it."""

import dataclasses
import functools
import io
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest

import fastpg
from fastpg.cli import environments, options, play
from fastpg.cli import main as cli
from fastpg.cli.verdict import DETERMINISTIC, STOCHASTIC, Evaluation, advice, verdict, what_to_try
from fastpg.training import run_folder
from tests.support.killed import check_equal
from tests.support.quick import few

COMMAND = [sys.executable, "-m", "fastpg"]


def run(*arguments, cwd):
    """The command in a process of its own, which takes a second."""
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


@pytest.mark.slow
def test_train_with_its_defaults_solves_cartpole(tmp_path):
    trained = run("train", "CartPole-v1", cwd=tmp_path)
    assert trained.stdout.startswith("CartPole-v1: solved (threshold 475; stopped by total_steps)")


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


@pytest.mark.slow
def test_train_says_what_both_ways_of_acting_earn_and_what_to_do_where_they_differ(tmp_path):
    # The mean action of this policy does not climb.
    trained = run("train", "MountainCarContinuous-v0", "--algorithm", "reinforce", cwd=tmp_path)
    policy = fastpg.Policy.load(tmp_path / "MountainCarContinuous-v0.safetensors")
    by_hand = [
        fastpg.evaluate(policy.env_id, policy, episodes=100, deterministic=deterministic)[0].mean()
        for deterministic in (True, False)
    ]
    assert by_hand[0] < 0 < 70 < by_hand[1]
    assert "{:.1f} deterministic, {:.1f} stochastic, over 100".format(*by_hand) in trained.stdout
    assert "note         the most likely actions earn far less than drawn ones" in trained.stdout


@pytest.mark.slow
def test_hidden_without_widths_is_the_linear_policy(tmp_path):
    trained = run(
        *("train", "CartPole-v1", "--hidden", "--total-steps", "1000", "--checkpoint", "linear.safetensors"),
        cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    assert fastpg.Policy.load(tmp_path / "linear.safetensors").hidden == ()


@pytest.mark.parametrize(
    ("arguments", "hidden", "value_hidden", "total_steps"),
    [
        ("--hidden 32 CartPole-v1", (32,), (64, 64), 1_000_000),
        ("--hidden 32 16 CartPole-v1 --seed 3", (32, 16), (64, 64), 1_000_000),
        ("--seed 3 --hidden CartPole-v1", (), (64, 64), 1_000_000),
        ("--hidden 8 --value-hidden 4 2 CartPole-v1", (8,), (4, 2), 1_000_000),
        ("--value_hidden CartPole-v1 --hidden=8", (8,), (), 1_000_000),
        ("--hidden 1e2 1_0 -- CartPole-v1", (100, 10), (64, 64), 1_000_000),
        ("CartPole-v1 --total-steps 1e6 --seed 3", (64, 64), (64, 64), 1_000_000),
        ("--total-steps 2.5e5 CartPole-v1", (64, 64), (64, 64), 250_000),
        ("--total-steps 10_000 CartPole-v1", (64, 64), (64, 64), 10_000),
    ],
)
def test_options_come_in_any_order_and_numbers_as_people_write_them(
    arguments, hidden, value_hidden, total_steps, tmp_path, monkeypatch
):
    seen = []

    @functools.wraps(cli.train)
    def remember(env_id, **settings):
        seen.append((env_id, settings["hidden"], settings["algorithm"].value_hidden, settings["total_steps"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", remember)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--algorithm", "vpg", *arguments.split()]) == 130
    assert seen == [("CartPole-v1", hidden, value_hidden, total_steps)]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "train CartPole-v1",
            ("num_envs", "horizon", "episodes", "steps_per_iteration", "total_steps", "seed"),
        ),
        ("eval policy.safetensors", ("episodes", "seed", "max_steps")),
        ("diagnose CartPole-v1", ("episodes", "batches", "seed")),
    ],
)
def test_every_whole_number_may_have_an_exponent(command, options):
    for option in options:
        parsed = cli._parse([*command.split(), f"--{option.replace('_', '-')}", "2e3"])
        assert getattr(parsed, option) == 2000
    parsed = cli._parse(
        ["train", "CartPole-v1", "--algorithm", "vpg", "--n-step", "1e1", "--value-epochs", "1_0"]
    )
    assert (parsed.vpg.n_step, parsed.vpg.value_epochs) == (10, 10)


def printed(capsys, *arguments):
    """What the command prints, in this process."""
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def test_version(capsys):
    assert printed(capsys, "--version") == f"fastpg {fastpg.__version__}\n"


@pytest.mark.slow
def test_a_policy_that_is_there_is_replaced_only_when_asked(tmp_path):
    first = run("train", "CartPole-v1", "--total-steps", "1000", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    kept = (tmp_path / "CartPole-v1.safetensors").read_bytes()
    for arguments in ([], ["--checkpoint", "CartPole-v1.safetensors"]):
        second = run("train", "CartPole-v1", "--seed", "1", "--total-steps", "1000", *arguments, cwd=tmp_path)
        assert second.returncode == 2
        assert second.stdout == ""
        assert second.stderr == (
            "fastpg: 'CartPole-v1.safetensors' exists; pass --overwrite to replace it, "
            "or --checkpoint with another name\n"
        )
        assert (tmp_path / "CartPole-v1.safetensors").read_bytes() == kept
    third = run("train", "CartPole-v1", "--seed", "1", "--total-steps", "1000", "--overwrite", cwd=tmp_path)
    assert third.returncode == 0, third.stderr
    assert (tmp_path / "CartPole-v1.safetensors").read_bytes() != kept


@pytest.mark.slow
def test_the_module_of_a_typed_id_may_lie_in_the_current_folder(tmp_path):
    (tmp_path / "my_envs.py").write_text(
        "from gymnasium import register\n"
        "register('MyPole-v0', 'gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=20)\n"
    )
    # As the installed command starts: without the current folder in sys.path, which -m and -c put there.
    start = "import sys; del sys.path[0]; from fastpg.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", start]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60}
    trained = subprocess.run([*command, "train", "my_envs:MyPole-v0", "--total-steps", "500"], **options)
    assert trained.returncode == 0, trained.stderr
    saved = "my_envs-MyPole-v0.safetensors"
    played = subprocess.run(
        [*command, "eval", saved, "--env", "my_envs:MyPole-v0", "--episodes", "2"], **options
    )
    assert played.stdout.startswith("my_envs:MyPole-v0: 2 episodes"), played.stderr


@pytest.mark.slow
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


def test_help_has_every_parameter_of_the_algorithm_and_the_run(capsys):
    shown = printed(capsys, "train", "--help")
    for option in ("--learning-rate", "--gamma", "--form", "--num-envs", "--total-steps", "--hidden"):
        assert option in shown
    assert "Discount, in [0, 1]. (default: 0.99)" in shown


@pytest.mark.parametrize(
    ("name", "only", "default"),
    [
        ("reinforce", "--momentum", "Step size of the optimizer. (default: 0.003)"),
        ("vpg", "--value-minibatches", "Passes of the value function over each batch. (default: 10)"),
        ("a2c", "--standardize-advantages", "Passes of the value function over each batch. (default: 1)"),
        ("ppo", "--clip-range", "Passes over each batch. (default: 10)"),
    ],
)
def test_help_shows_the_options_of_the_chosen_algorithm_and_how_to_see_others(name, only, default, capsys):
    shown = printed(capsys, "train", "--algorithm", name, "--help")
    words = " ".join(shown.replace("│", " ").split())
    assert only in words
    assert default in words
    assert f"those of {name}. For another's: fastpg train --algorithm NAME --help." in words
    assert ("--value-epochs" in words) == (name in ("vpg", "a2c"))


@pytest.mark.parametrize("algorithm", options.ALGORITHMS.values(), ids=options.ALGORITHMS)
def test_every_option_has_an_entry_of_its_own_that_help_can_show(algorithm):
    documented = "".join(one.__doc__ for one in algorithm.__mro__)
    for field in dataclasses.fields(algorithm):
        assert f"\n    {field.name} : " in documented


@pytest.mark.slow
@pytest.mark.parametrize(
    "algorithm",
    [
        ["--algorithm", "vpg", "--no-standardize-advantages"],
        ["--algorithm=a2c", "--horizon", "16", "--no-standardize-advantages"],
        ["--algorithm=ppo", "--standardize-advantages", "none", "--target-kl", "0.1"],
    ],
    ids=lambda words: words[0] if len(words) == 1 else words[1],
)
def test_train_saves_the_policy_of_every_algorithm(algorithm, tmp_path):
    trained = run(
        *("train", *algorithm, "CartPole-v1", "--total-steps", "20000", "--hidden", "16"),
        *("--value-hidden", "8", "8", "--max-grad-norm", "1", "--lam", "0.9"),
        cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").hidden == (16,)


def test_train_saves_a_policy_with_its_options(tmp_path):
    words = ["Pendulum-v1", "--squash", "--state-dependent-std", "--hidden", "8", "--algorithm", "ppo"]
    trained = run("train", *words, "--total-steps", "4096", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    policy = fastpg.Policy.load(tmp_path / "Pendulum-v1.safetensors")
    assert policy.squash and policy.state_dependent_std
    played = run("eval", "Pendulum-v1.safetensors", "--episodes", "2", cwd=tmp_path)
    assert played.returncode == 0, played.stderr


def test_the_options_reach_the_algorithm(tmp_path, monkeypatch):
    seen = []

    @functools.wraps(cli.train)
    def remember(*arguments, **settings):
        seen.append(settings["algorithm"])
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", remember)
    monkeypatch.chdir(tmp_path)
    cli.main(["train", "CartPole-v1"])
    cli.main(["train", "CartPole-v1", "--algorithm", "reinforce"])
    cli.main(["train", "CartPole-v1", "--algorithm", "vpg", "--form", "q", "--n-step", "9", "--value-hidden"])
    cli.main(["train", "CartPole-v1", "--linear-schedule", "--algorithm=a2c"])
    ppo = "--algorithm ppo --value-loss huber --target-kl 1e-2 --max-grad-norm none --value-hidden 8"
    more = "--epochs 1e1 --standardize-advantages batch --joint-grad-norm"
    cli.main(["train", "CartPole-v1", *ppo.split(), *more.split()])
    assert seen == [
        fastpg.recommended("CartPole-v1")["algorithm"],
        fastpg.Reinforce(),
        fastpg.VPG(form="q", n_step=9, value_hidden=()),
        fastpg.A2C(linear_schedule=True),
        fastpg.PPO(
            value_loss="huber",
            target_kl=0.01,
            max_grad_norm=None,
            value_hidden=(8,),
            epochs=10,
            standardize_advantages="batch",
            joint_grad_norm=True,
        ),
    ]


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ("FrozenLake-v1", {}),
        ("fastpg/FrozenLake-v1 --gamma 0.9 --hidden 8", {"algorithm": {"gamma": 0.9}, "hidden": (8,)}),
        ("--target-return 3 --num-envs 2 FrozenLake-v1", {"num_envs": 2, "target_return": 3.0}),
        ("FrozenLake-v1 --episodes 4", {"horizon": None, "episodes": 4}),
        ("FrozenLake-v1 --steps_per_iteration=50", {"horizon": None, "steps_per_iteration": 50}),
        ("--checkpoint CartPole-v1 FrozenLake-v1", {}),
        ("--run=CartPole-v1 --seed 3 FrozenLake-v1", {"seed": 3}),
    ],
)
def test_a_native_environment_is_trained_as_recommended_but_for_what_is_said(
    arguments, changed, tmp_path, monkeypatch
):
    seen = []

    @functools.wraps(cli.train)
    def remember(env_id, **settings):
        seen.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", remember)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *arguments.split()]) == 130
    expected = fastpg.recommended("FrozenLake-v1") | {"target_return": math.inf} | changed
    if "algorithm" in changed:
        algorithm = fastpg.recommended("FrozenLake-v1")["algorithm"]
        expected["algorithm"] = dataclasses.replace(algorithm, **changed["algorithm"])
    assert {name: seen[0][name] for name in expected} == expected


@pytest.mark.parametrize("arguments", ["--algorithm ppo CartPole-v1", "gym:CartPole-v1", "Acrobot-v0"])
def test_nothing_is_recommended_where_an_algorithm_is_named_or_no_environment_is_native(arguments):
    name, defaults = options.chosen_defaults(["train", *arguments.split()])
    assert (name, defaults) == ("ppo" if "ppo" in arguments else "reinforce", {})


@pytest.mark.parametrize(
    ("env_id", "settings", "words"),
    [
        ("Pendulum-v1", {"total_steps": 9}, "try fastpg train Pendulum-v1 without other options"),
        ("Pendulum-v1", {"algorithm": fastpg.PPO()}, "try fastpg train Pendulum-v1 without other options"),
        ("Pendulum-v1", {"seed": 3}, "try another --seed, or more --total-steps than 300,000"),
        ("LunarLander-v3", {"algorithm": fastpg.VPG()}, "try --algorithm ppo --normalize-observations"),
        ("LunarLander-v3", {"algorithm": fastpg.PPO(), "total_steps": 9}, "more --total-steps than 9"),
    ],
)
def test_a_run_that_did_not_learn_is_told_what_to_try(env_id, settings, words):
    assert words in what_to_try(env_id, fastpg.recommended("Pendulum-v1") | settings)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("Pendulum-v1 --total-steps 1", True),  # Gymnasium names no threshold
        ("CartPole-v1 --total-steps 1", True),
        ("CartPole-v0 --algorithm ppo --total-steps 1", True),
        ("Blackjack-v1 --total-steps 50_000", False),
    ],
)
def test_the_last_line_says_what_to_try(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *arguments.split()]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert ("  note         try fastpg train " in shown[-1]) == told
    assert " deterministic, " in shown[2]
    assert " stochastic, " in shown[2]


def test_a_run_of_ppo_collects_and_shows_what_is_its_own(tmp_path, monkeypatch, capsys):
    runs = []

    @functools.wraps(cli.train)
    def remember(*arguments, **settings):
        runs.append(fastpg.train(*arguments, **settings))
        return runs[0]

    monkeypatch.setattr(cli, "train", remember)
    monkeypatch.setattr(cli, "EVALUATION_EPISODES", 1)
    monkeypatch.chdir(tmp_path)
    arguments = "train CartPole-v1 --algorithm ppo --total-steps 1 --hidden 4 --value-hidden 4"
    assert cli.main(arguments.split()) == 0
    (one,) = runs
    assert (one.config["num_envs"], one.config["horizon"], one.config["episodes"]) == (16, 128, 0)
    shown = f" | KL {one.history['approx_kl'][-1]:.2g}\n"
    assert shown in capsys.readouterr().err


def test_envs_lists_every_native_environment(capsys):
    heading, *lines = printed(capsys, "envs").splitlines()
    assert heading.split("  ")[0] == "id"
    assert [line.split()[0] for line in lines] == fastpg.list_envs()
    (cartpole,) = (line for line in lines if line.startswith("CartPole-v1"))
    assert cartpole.split() == ["CartPole-v1", "Box(4)", "Discrete(2)", "500", "475"]


def test_info_names_the_instruction_set(capsys):
    assert fastpg.build_info()["isa"] in printed(capsys, "info")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "{train, sweep, resume, plot, eval, render, export, diagnose, envs, info, completion}"),
        ("trian CartPole-v1", "there is no command 'trian'; did you mean 'train'?"),
        ("CartPole-v1", "there is no command 'CartPole-v1'; there are train, sweep, resume, "),
        ("train CartPole-v1 again", "Unexpected argument: again"),
        ("train CartPole-v1 --lr 0.1", "did you mean --learning-rate?"),
        ("train CartPole-v1 --hidden 8x8x8x8 --run x", "hidden must have at most 3 layers"),
        ("train CartPole-v1 --hidden 8xx --run x", "--hidden must be a whole number"),
        ("train CartPole-v1 --communicator x", "Unrecognized options: --communicator"),
        ("train", "ENV_ID"),
        ("train Pong", "'Pong' is not implemented natively"),
        ("train CartPole-v1 --gamma high", "--gamma"),
        ("train CartPole-v1 --gamma 2", "gamma must be a number in [0, 1], got 2.0"),
        ("train CartPole-v1 --algorithm reinforce --form gae", "'--form'"),
        ("train CartPole-v1 --algorithm dqn", "'dqn'"),
        ("train CartPole-v1 --algorithm", "'--algorithm'"),
        (
            "train CartPole-v1 --algorithm reinforce --lam 0.9",
            "--lam goes with --algorithm vpg, a2c, ppo, npg or trpo, not with reinforce",
        ),
        (
            "train CartPole-v1 --algorithm reinforce --lam=0.9",
            "--lam goes with --algorithm vpg, a2c, ppo, npg or trpo, not with reinforce",
        ),
        (
            "train CartPole-v1 --algorithm reinforce --no-linear-schedule",
            "--no-linear-schedule goes with --algorithm vpg, a2c, ppo, npg or trpo",
        ),
        (
            "train CartPole-v1 --algorithm ppo --n-step 3",
            "--n-step goes with --algorithm vpg or a2c, not with ppo",
        ),
        (
            "train Acme-v0 --clip-range 0.1",
            "--clip-range goes with --algorithm ppo, not with reinforce",
        ),
        ("train CartPole-v1 --momentum 0", "--momentum goes with --algorithm reinforce, not with ppo"),
        (
            "train CartPole-v1 --algorithm ppo --clip-range 0",
            "PPO(): clip_range must be a number in (0, inf), got 0.0",
        ),
        ("train CartPole-v1 --algorithm ppo --target-kl x", "--target-kl must be a number or none, got 'x'"),
        (
            "train CartPole-v1 --algorithm ppo --target-kl -1",
            "target_kl must be a number in (0, inf), got -1.0",
        ),
        ("train CartPole-v1 --algorithm ppo --value-loss x", "'x' for argument '--value-loss'"),
        ("train CartPole-v1 --algorithm ppo --minibatches 0.5", "--minibatches must be a whole number"),
        ("train CartPole-v1 --target-return x", "--target-return must be a number or none, got 'x'"),
        (
            "train CartPole-v1 --algorithm a2c --momentum 0.9",
            "--momentum goes with --algorithm reinforce, not with a2c",
        ),
        ("train CartPole-v1 --algorithm vpg --lam 2", "lam must be a number in [0, 1], got 2.0"),
        ("train CartPole-v1 --algorithm a2c --form total", "'--form'"),
        ("train CartPole-v1 --num-envs 0", "num_envs must be an integer from 1"),
        ("train CartPole-v1 --num-envs many", "--num-envs must be a whole number, as 20000"),
        (
            "train CartPole-v1 --total-steps 10,000",
            "--total-steps must be a whole number, as 20000, 20_000 or 2e4, got '10,000'",
        ),
        ("train CartPole-v1 --total-steps 1.5", "got '1.5'"),
        ("train CartPole-v1 --total-steps 1e-1", "got '1e-1'"),
        ("train CartPole-v1 --seed 1e999999999", "got '1e999999999'"),
        ("train CartPole-v1 --seed nan", "got 'nan'"),
        ("train CartPole-v1 --hidden 8.5", "--hidden must be a whole number"),
        ("train --hidden 32", "Missing from fastpg train: ENV_ID; see"),
        ("train CartPole", "did you mean 'CartPole-v1'?"),
        ("train cartpole-v1", "did you mean 'CartPole-v1'?"),
        ("train lunarlander", "did you mean 'LunarLander-v3'?"),
        ("diagnose CartPole", "did you mean 'CartPole-v1'?"),
        ("train CartPole-v1 --hidden 0", "hidden[0]"),
        ("train CartPole-v1 --activation gelu", "'--activation'"),
        ("train CartPole-v1 --horizon 8 --episodes 8", "exactly one of"),
        ("train CartPole-v1 --seed -1", "seed"),
        ("train CartPole-v1 --learning-rte 1", "--learning-rte, 1; did you mean --learning-rate?"),
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
def test_a_bad_value_is_one_line_and_code_2(arguments, words, tmp_path, policy, monkeypatch, capfd):
    policy.save(tmp_path / "good.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments.split()) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("fastpg: ")
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train", "Missing from fastpg train: ENV_ID"),
        (
            "train CartPole-v1 --gamma high",
            "Error parsing --gamma: could not convert string to float: 'high'",
        ),
        ("train CartPole-v1 --learning-rte 1", "options: --learning-rte, 1; did you mean --learning-rate?"),
    ],
)
def test_a_bad_value_is_one_line_where_the_output_takes_no_frames(arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert cli.main(arguments.split()) == 2
    assert capsys.readouterr().err.endswith(f"{words}; see fastpg --help\n")


@pytest.mark.parametrize(
    "arguments", few(["trian CartPole-v1", "train Pong", "eval missing.safetensors"], {"train Pong"})
)
def test_the_code_is_the_exit_code_of_the_process(arguments, tmp_path):
    refused = run(*arguments.split(), cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line.startswith("fastpg: ")


def test_ctrl_c_saves_the_policy_and_exits_with_130(tmp_path, monkeypatch, capsys):
    @functools.wraps(cli.train)
    def interrupted(*arguments, **settings):
        def press_ctrl_c(_):
            raise KeyboardInterrupt

        return fastpg.train(*arguments, callback=press_ctrl_c, **settings)

    monkeypatch.setattr(cli, "train", interrupted)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "CartPole-v1", "--target-return", "inf"]) == 130
    err = capsys.readouterr().err
    assert err.startswith("fastpg: interrupted after ")
    assert err.endswith("policy saved to CartPole-v1.safetensors\n")
    assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").env_id == "CartPole-v1"


def test_ctrl_c_while_the_policy_is_evaluated_says_where_it_is(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "evaluate", interrupted)
    monkeypatch.chdir(tmp_path)
    assert cli.main(SHORT) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("while the trained policy was evaluated; it is saved to CartPole-v1.safetensors")


ENDLESS = ["train", "CartPole-v1", "--target-return", "inf", "--algorithm", "reinforce", "--hidden", "8"]
ENDLESS += ["--total-steps", str(2**40)]
SHORT = [*ENDLESS[:6], "--total-steps", "20000", "--hidden", "8"]


@pytest.mark.parametrize("number", few([signal.SIGTERM, signal.SIGHUP, signal.SIGINT], {signal.SIGTERM}))
def test_a_signal_saves_the_policy(number, tmp_path):
    talkative = "import sys; from fastpg.cli import main; from fastpg.training import progress; "
    talkative += "progress.LOG_SECONDS = 0; sys.exit(main.main())"
    command = [sys.executable, "-c", talkative, *ENDLESS]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert "steps/s" in running.stderr.readline()
            running.send_signal(number)
            err = running.stderr.read().splitlines()[-1]
        except BaseException:  # leaving Popen would wait for what never ends
            running.kill()
            raise
    assert running.returncode == 128 + number
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert err.startswith(f"fastpg: {word} after ")
    assert err.endswith("; policy saved to CartPole-v1.safetensors")
    assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").hidden == (8,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "algorithm"),
    [
        (signal.SIGINT, "reinforce"),
        (signal.SIGTERM, "ppo"),
        (signal.SIGINT, "trpo"),
        (signal.SIGTERM, "trpo"),
    ],
)
def test_signals_leave_a_run_where_it_stood_and_it_goes_on_to_the_bit(number, algorithm, tmp_path):
    """The uninterrupted run takes as many steps as the one that a signal ends, and then some."""
    talkative = "import sys; from fastpg.cli import main; from fastpg.training import progress; "
    talkative += "progress.LOG_SECONDS = 0; sys.exit(main.main())"
    command = [sys.executable, "-c", talkative, *ENDLESS, "--algorithm", algorithm]
    command += ["--run", "run", "--checkpoint-every", "1h"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert "steps/s" in running.stderr.readline()
            running.send_signal(number)
            err = running.stderr.read().splitlines()[-1]
        except BaseException:  # leaving Popen would wait for what never ends
            running.kill()
            raise
    assert running.returncode == 128 + number
    assert err.endswith("; fastpg resume run goes on")
    saved = int(run_folder.newest("", tmp_path / "run").stem.removeprefix("checkpoint-"))
    assert saved > 0
    resumed = fastpg.resume(tmp_path / "run", total_steps=saved + 20_000)
    settings = {"hidden": resumed.config["hidden"], "total_steps": saved + 20_000}
    kind = options.ALGORITHMS[algorithm]
    whole = fastpg.train("CartPole-v1", kind(), run=tmp_path / "whole", **settings)
    check_equal(resumed, tmp_path / "run", whole, tmp_path / "whole")


def test_a_run_goes_on_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = ["--hidden", "--total-steps", "1e4", "--run", "run"]
    train = ["train", "CartPole-v1", "--algorithm", "reinforce", *short]
    assert cli.main([*train, "--checkpoint-every", "2e3"]) == 0
    assert ["run", "run"] in map(str.split, capsys.readouterr().out.splitlines())
    assert not list(tmp_path.glob("*.safetensors"))
    assert cli.main(["resume", "run", "--total-steps", "2e4", "--checkpoint-every", "10min"]) == 0
    assert "2" in capsys.readouterr().out
    assert cli.main(["eval", "run", "--episodes", "3"]) == 0
    assert capsys.readouterr().out.startswith("CartPole-v1: 3 episodes")
    assert cli.main(["train", "CartPole-v1", *short]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert cli.main(["resume", "run", "--env", "Acrobot-v1"]) == 2
    assert "not the one that the run was begun in" in capsys.readouterr().err


def test_a_signal_that_is_ignored_stays_so_and_handlers_come_back(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = []

    @functools.wraps(cli.train)
    def look(*_, **__):
        seen.extend(signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP))
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", look)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert cli.main(ENDLESS) == 130
    finally:
        signal.signal(signal.SIGHUP, before)
    assert callable(seen[0])
    assert seen[1] is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        ("2>/dev/full", 0, ""),
        ("2>&-", 0, ""),
        (">&- 2>&-", 0, ""),
        (">/dev/full", 1, "fastpg: the output cannot be written: [Errno 28]"),
        (">/dev/full 2>&1", 1, ""),
    ],
)
def test_output_that_cannot_be_written_ends_no_run(redirection, code, words, unbuffered, tmp_path):
    shell = f'"$@" {redirection}'
    ended = subprocess.run(
        ["sh", "-c", shell, "sh", *COMMAND, *SHORT], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert ended.returncode == code
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").hidden == (8,)


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads_ends_no_run(unbuffered, tmp_path):
    read, write = os.pipe()
    os.close(read)
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    try:
        ended = subprocess.run(
            [*COMMAND, *SHORT], cwd=tmp_path, stdout=write, stderr=write, env=env, timeout=60
        )
        assert ended.returncode == 0
        assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").hidden == (8,)
        refused = subprocess.run([*COMMAND, "trian"], cwd=tmp_path, stderr=write, env=env, timeout=60)
        assert refused.returncode == 2
    finally:
        os.close(write)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (b"FASTPG_ISA=avx3", "FASTPG_ISA=avx3: this build does not know it; available here: baseline"),
        (b"FASTPG_ISA=\xff", r"FASTPG_ISA=\udcff: this build does not know it"),
        (b"FASTPG_NUM_THREADS=many", "FASTPG_NUM_THREADS must be an integer from 1 to 256, got 'many'"),
    ],
)
def test_a_variable_with_a_bad_value_is_one_line(variable, words):
    name, _, value = variable.partition(b"=")
    env = {**os.environb, name: value}
    refused = subprocess.run([*COMMAND, "envs"], env=env, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"fastpg: {words}")


@pytest.mark.slow
def test_ctrl_c_while_the_command_is_imported_is_one_line(tmp_path):
    (tmp_path / "tyro.py").write_text("raise KeyboardInterrupt")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([*COMMAND, "envs"], env=env, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "fastpg: interrupted\n")


@pytest.mark.parametrize(("arguments", "code"), [(["envs", "--help"], 0), (["trian"], 2)])
def test_there_may_be_no_stdout(arguments, code, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(arguments) == code


def test_letters_that_the_output_lacks_are_escaped(tmp_path, monkeypatch, capsys):
    output = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert cli.main([*SHORT, "--run", str(tmp_path / "r\xe9sum\udce9")]) == 0
    assert rb"r\xe9sum\udce9" in output.buffer.getvalue()


def test_help_of_one_column_ends(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1")
    assert cli.main(["envs", "--help"]) == 0


def test_a_broken_pipe_inside_the_run_is_a_failure(tmp_path, monkeypatch, capsys):
    @functools.wraps(cli.train)
    def broken(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli, "train", broken)
    monkeypatch.chdir(tmp_path)
    assert cli.main(ENDLESS) == 1
    assert "Broken pipe" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("when", range(4))
def test_a_killed_worker_is_a_sentence_exit_code_1_and_the_policy_is_saved(
    when, tmp_path, monkeypatch, capsys
):
    @functools.wraps(cli.train)
    def killing(*arguments, **settings):
        calls = []

        def kill(state):
            calls.append(state)
            if len(calls) == 2:
                workers = multiprocessing.active_children()
                for worker in workers if when == 3 else [workers[when]]:
                    worker.kill()
                    worker.join()

        return fastpg.train(*arguments, callback=kill, **settings)

    monkeypatch.setattr(cli, "train", killing)
    monkeypatch.chdir(tmp_path)
    arguments = ["gym:CartPole-v1", "--vectorization-mode", "async", "--num-envs", "3", "--horizon", "20"]
    assert cli.main(["train", *arguments, *ENDLESS[2:]]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastpg: train(): gym:CartPole-v1: a worker process ended")
    assert line.endswith("policy saved to CartPole-v1.safetensors")
    assert fastpg.Policy.load(tmp_path / "CartPole-v1.safetensors").hidden == (8,)


def test_a_policy_that_cannot_be_saved_at_the_end_goes_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    replace = os.replace

    def full(source, target):
        if elsewhere not in target.parents:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("os.replace", full)
    assert cli.main(SHORT) == 1
    out, err = capsys.readouterr()
    (saved,) = elsewhere.rglob("*.safetensors")
    assert fastpg.Policy.load(saved).hidden == (8,)
    assert (
        f"'CartPole-v1.safetensors' cannot be written: No space left on device; policy saved to {saved}"
        in err
    )
    assert str(saved) in out
    assert not (tmp_path / "CartPole-v1.safetensors").exists()


def test_a_policy_that_can_be_saved_nowhere_is_a_failure(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.replace", full)
    assert cli.main(SHORT) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("'CartPole-v1.safetensors' cannot be written: No space left on device\n")


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["spy:X-v0", "gym:spy:X-v0", "spy:", ":spy:X-v0"])
def test_a_module_that_a_checkpoint_names_is_not_imported(env_id, tmp_path, policy):
    (tmp_path / "spy.py").write_text("open('imported', 'w')")
    policy.env_id = env_id
    policy.save(tmp_path / "stranger.safetensors")
    refused = run("eval", "stranger.safetensors", cwd=tmp_path)
    assert refused.returncode == 2
    assert "which would import a module; pass --env" in refused.stderr
    assert not (tmp_path / "imported").exists()
    run("eval", "stranger.safetensors", "--env", "spy:X-v0", cwd=tmp_path)
    assert (tmp_path / "imported").exists()


JIT = """
import gymnasium, numpy as np, fastpg

@fastpg.jit_env(
    observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (1,)), action_space=gymnasium.spaces.Discrete(2),
    state_size=1, noise_size=1, max_episode_steps=20, params={"push": 0.1}, jit=False,
)
class Walk:
    def reset(state, noise):
        state[0] = noise[0] - 0.5

    def step(state, action, noise, params):
        state[0] += params.push if action == 1 else -params.push
        return -abs(state[0]), abs(state[0]) > 2.0

    def observe(state, obs):
        obs[0] = state[0]

def cart_pole(**settings):
    return gymnasium.make("CartPole-v1", **settings)

nothing = 3
"""


@pytest.fixture
def walk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    (tmp_path / "walks.py").write_text(JIT)
    return ["--total-steps", "200", "--horizon", "8", "--num-envs", "2", "--hidden"]


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["walks.py:Walk", "walks:Walk", "{folder}/walks.py:Walk"])
def test_an_environment_of_a_module_or_a_file(spec, walk, tmp_path, capsys):
    spec = spec.format(folder=tmp_path)
    assert cli.main(["train", *walk, spec, "--env", "push=0.2", "--run", "run"]) == 0
    assert capsys.readouterr().out.startswith("Walk: stopped by total_steps")
    for command in (["resume", "run", "--total-steps", "300"], ["eval", "run"]):
        assert cli.main(command) == 2
        assert f"the run was in {spec!r}, which is imported only where it is typed: pass --env {spec}\n" in (
            capsys.readouterr().err
        )
    assert cli.main(["resume", "run", "--total-steps", "300", "--env", spec]) == 0
    assert fastpg.Policy.load("run/policy.safetensors").env_id is not None
    assert cli.main(["eval", "run", "--env", spec, "--episodes", "2"]) == 0
    assert "Walk: 2 episodes" in capsys.readouterr().out


def test_a_run_is_played_in_the_parameters_of_the_environment_that_is_typed_again(walk, monkeypatch):
    assert cli.main(["train", *walk, "walks.py:Walk", "--env", "push=0.2", "--run", "run"]) == 0
    played = []
    monkeypatch.setattr(play, "evaluate", lambda *_, push=None, **__: (played.append(push), [0.0] * 2))
    monkeypatch.setattr(play, "_say_earned", lambda *_: None)
    for spec in ("walks.py:Walk", "walks:Walk", "CartPole-v1"):
        assert cli.main(["eval", "run", "--env", spec]) == 0
    assert played == [0.2, 0.2, None]


def test_where_an_environment_lay_is_said_from_another_folder(walk, tmp_path, monkeypatch, capsys):
    assert cli.main(["train", *walk, "walks:Walk", "--run", "runs/walk"]) == 0
    assert cli.main(["train", *walk, "walks:Walk", "--seeds", "2", "--run", "runs/many"]) == 0
    monkeypatch.chdir(tmp_path / "runs")
    for command, run in (("resume", "walk"), ("eval", "walk"), ("eval", "many/0")):
        assert cli.main([command, run]) == 2
        assert capsys.readouterr().err.endswith(f"pass --env walks:Walk in the folder {str(tmp_path)!r}\n")


def test_what_a_folder_names_is_not_imported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spy.py").write_text("open('imported', 'w')")
    fastpg.train("CartPole-v1", hidden=(), run="run", total_steps=100)
    settings = tmp_path / "run" / "settings.toml"
    of_stranger = settings.read_text().replace("by_id = true", 'by_id = false\ntyped = "spy:rm tree"')
    settings.write_text(of_stranger)
    for command in ("resume", "eval"):
        assert cli.main([command, "run"]) == 2
        assert "pass --env 'spy:rm tree'" in capsys.readouterr().err
    assert not (tmp_path / "imported").exists()


def test_the_environment_of_a_run_of_python_has_to_be_named(walk, capsys):
    fastpg.train(lambda: gymnasium.make("CartPole-v1"), hidden=(), run="run", total_steps=100, num_envs=2)
    for command in ("resume", "eval"):
        assert cli.main([command, "run"]) == 2
        assert "cannot make again: pass --env MODULE:NAME or --env FILE.py:NAME" in capsys.readouterr().err
    assert cli.main(["train", *walk, "walks.py:Walk"]) == 0
    assert cli.main(["eval", "Walk.safetensors"]) == 2
    assert "is no id: pass --env MODULE:Walk or --env FILE.py:Walk" in capsys.readouterr().err


def test_a_function_of_a_file_makes_environments(walk, capsys):
    assert cli.main(["train", "walks.py:cart_pole", *walk, "--env", "sutton_barto_reward=true"]) == 0
    assert capsys.readouterr().out.startswith("cart_pole: stopped by")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("walks.py:Run", "'walks.py' has no 'Run'"),
        ("walks.py:nothing", "is no environment"),
        ("missing.py:Walk", "there is no file 'missing.py'"),
        ("missing:Walk", "names a module that is not there"),
    ],
)
def test_no_environment_of_a_module_is_one_line(spec, sentence, walk, capsys):
    assert cli.main(["train", spec, *walk]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_parameters_of_the_environment_are_typed_as_key_and_value(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = ["--total-steps", "1e3", "--hidden"]
    assert (
        cli.main(["train", "--env", "sutton_barto_reward=true", *short, "CartPole-v1", "--run", "run"]) == 0
    )
    assert "sutton_barto_reward = true" in (tmp_path / "run" / "settings.toml").read_text()
    assert environments.env_params(["a=True", "b=False", "c=None"]) == {"a": True, "b": False, "c": "None"}
    said = capsys.readouterr().out
    assert said.startswith("CartPole-v1: stopped by total_steps\n")  # the threshold is that of another reward
    assert "note" not in said
    for word, sentence in (("x", "--env must be KEY=VALUE"), ("x=1", "unexpected argument 'x'")):
        assert cli.main(["train", "CartPole-v1", *short, "--env", word]) == 2
        assert sentence in capsys.readouterr().err


def test_learning_curves_of_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, more in (("a", ["--seed", "1"]), ("b", ["--seed", "2"]), ("c", ["--learning-rate", "0.01"])):
        assert (
            cli.main(
                [
                    "train",
                    "CartPole-v1",
                    "--algorithm",
                    "reinforce",
                    "--total-steps",
                    "1e4",
                    "--hidden",
                    "--run",
                    name,
                    *more,
                ]
            )
            == 0
        )
    capsys.readouterr()
    assert cli.main(["plot", "a", "b", "c"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "a  2 runs as a: Reinforce, CartPole-v1, learning_rate 0.003",
        "b  c: Reinforce, CartPole-v1, learning_rate 0.01",
    ]
    assert max(map(len, lines)) < 100
    pytest.importorskip("matplotlib")
    for ending in ("png", "svg"):
        assert cli.main(["plot", "a", "b", "--out", f"x.{ending}"]) == 0
        assert (tmp_path / f"x.{ending}").stat().st_size > 5000
    for arguments, sentence in (
        (["a", "--out", "x.gif"], "the ending of the picture must be"),
        (["missing"], "is not the folder of a run"),
        ([], "plot"),
    ):
        assert cli.main(["plot", *arguments]) == 2
        assert sentence in capsys.readouterr().err


# ---- TensorBoard ------------------------------------------------------------------------------------------


@pytest.mark.slow  # tensorboardX imports torch
def test_tensorboard_gets_a_folder_with_and_without_a_name(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    monkeypatch.chdir(tmp_path)
    short = ["--algorithm", "vpg", "--hidden", "8", "--total-steps", "2000", "--target-return", "inf"]
    assert cli.main(["train", "--tensorboard", "CartPole-v1", *short]) == 0
    assert cli.main(["train", "CartPole-v1", *short, "--run", "run", "--tensorboard"]) == 0
    assert cli.main(["resume", "run", "--total-steps", "4000", "--tensorboard"]) == 0
    assert cli.main(["train", "CartPole-v1", *short, "--run", "other", "--tensorboard", "boards/a"]) == 0
    count = {path.parent: 0 for path in tmp_path.rglob("events.*")}
    for path in tmp_path.rglob("events.*"):
        count[path.parent] += 1
    folders = {"CartPole-v1-tensorboard": 1, "run/tensorboard": 2, "boards/a": 1}
    assert count == {tmp_path / name: number for name, number in folders.items()}


@pytest.mark.slow  # tensorboardX imports torch
def test_a_tensorboard_that_cannot_be_written_is_found_out_before_the_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorboardX")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert cli.main(["train", "CartPole-v1", "--run", "run", "--tensorboard", "file/board"]) == 2
    says = "fastpg: TensorBoard(): 'file/board' cannot be written: Not a directory\n"
    assert capsys.readouterr().err == says
    assert not (tmp_path / "run").exists()


# ---- many runs --------------------------------------------------------------------------------------------


def test_train_with_seeds_trains_many_and_saves_them_in_a_folder(tmp_path):
    few_steps = (
        "--algorithm",
        "reinforce",
        "--seeds",
        "3",
        "--seed",
        "5",
        "--total-steps",
        "3000",
        "--hidden",
        "8",
    )
    trained = run("train", "CartPole-v1", *few_steps, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.startswith("CartPole-v1: 3 runs, ")
    assert "3 of 3 runs | " in trained.stderr
    alone = fastpg.train("CartPole-v1", hidden=(8,), total_steps=3000, seed=7)
    saved = fastpg.Policy.load(tmp_path / "CartPole-v1-runs" / "2" / "policy.safetensors")
    assert saved.theta.tobytes() == alone.policy.theta.tobytes()
    again = run("train", "CartPole-v1", *few_steps, cwd=tmp_path)
    assert again.returncode == 2
    assert "'CartPole-v1-runs' holds something; pass --run with the name of a new folder" in again.stderr


def test_sweep_shows_a_row_for_every_combination(tmp_path):
    grids = ("--grid", "learning-rate=1e-4,3e-4", "--grid", "hidden=8x8,linear")
    swept = run(
        "sweep", "CartPole-v1", "--algorithm", "vpg", *grids, "--seeds", "2", "--total-steps", "3000",
        "--run", "sw", cwd=tmp_path,
    )  # fmt: skip
    assert swept.returncode == 0, swept.stderr
    rows = [line.split() for line in swept.stdout.splitlines()]
    assert rows[1][:5] == ["setting", "algorithm", "learning_rate", "hidden", "runs"]
    assert [row[2:5] for row in rows[2:6]] == [
        ["0.0001", "8x8", "2"], ["0.0001", "linear", "2"], ["0.0003", "8x8", "2"], ["0.0003", "linear", "2"],
    ]  # fmt: skip
    assert len(list((tmp_path / "sw").iterdir())) == 9


def test_sweep_with_halving_stops_the_worse_settings(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = ("--grid", "learning_rate=1e-5,1e-4,1e-3,1e-2", "--hidden", "8", "--horizon", "32")
    command = ("sweep", "CartPole-v1", "--algorithm", "ppo", *grid, "--total-steps", "4096", "--run", "sw")
    assert cli.main([*command, "--halving", "--keep", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[2:6]]
    assert sorted(row[-1] for row in rows) == ["1,024", "1,024", "2,048", "4,096"]
    best = max(rows, key=lambda row: row[-1])
    assert f"best: setting {best[0]}" in lines


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("sweep", "--keep", "0.5"), "--keep goes with --halving"),
        (("sweep", "--halving", "--keep", "1.5"), "halving(): keep must be a number in (0, 1), got 1.5"),
        (("sweep", "--grid", "rate=1"), "--grid: there is no setting 'rate'; there are form, "),
        (("sweep", "--grid", "gamma"), "--grid must be a setting and its values, as learning_rate=1e-4,3e-4"),
        (("sweep", "--grid", "gamma=x"), "--grid: gamma must be a number or none, got 'x'"),
        (("sweep", "--grid", "gamma=1", "--grid", "gamma=0"), "--grid: gamma is given twice"),
        (("sweep", "--grid", "gamma=1,1.0"), "--grid: gamma has a value twice, got '1,1.0'"),
        (("sweep", "--grid", "gamma=2"), "Reinforce(): gamma must"),
        (("sweep", "--seeds", "0"), "--seeds must be at least 1, got 0"),
        (("train", "--seeds", "-1"), "--seeds must be at least 1, got -1"),
        (
            ("train", "--seeds", "2", "--overwrite"),
            "--overwrite goes with one run; with --seeds, --run is a folder",
        ),
    ],
)
def test_bad_sweeps_get_a_sentence(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, *others = arguments
    assert cli.main([command, "CartPole-v1", "--algorithm", "reinforce", *others]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_ctrl_c_shows_the_runs_that_have_ended(tmp_path):
    command = [
        *COMMAND,
        "sweep",
        "CartPole-v1",
        "--algorithm",
        "reinforce",
        "--grid",
        "total_steps=2000,1e12",
        "--hidden",
        "8",
    ]
    with subprocess.Popen(
        [*command, "--seeds", "3"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        folder = tmp_path / "CartPole-v1-runs"
        while not folder.exists():
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert stdout.splitlines()[1].split()[:4] == ["0", "Reinforce", "2,000", "3"]
    assert "interrupted when 3 of 6 runs had ended; saved to CartPole-v1-runs" in stderr
    assert (folder / "0" / "policy.safetensors").exists()


# ---- callbacks --------------------------------------------------------------------------------------------

WATCHED = ["CartPole-v1", "--algorithm", "vpg", "--horizon", "8", "--num-envs", "4", "--hidden", "4"]


def test_evaluations_and_early_stopping_are_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*WATCHED, "--total-steps", "2000", "--target-return", "inf", "--run", "run"]
    assert cli.main(["train", *words, "--eval-every", "500", "--patience", "1e9"]) == 0
    lines = (tmp_path / "run" / "evaluations.csv").read_text().splitlines()[1:]
    steps = {line.split(",")[0] for line in lines}
    assert steps == {"512", "1024", "1504", "2016"}
    assert (tmp_path / "run" / "best.safetensors").is_file()
    resumed = ["resume", "run", "--total-steps", "1e9", "--eval-every", "500", "--patience", "1"]
    assert cli.main(resumed) == 0
    assert "stopped by callback" in capsys.readouterr().out
    stop = fastpg.callbacks.EarlyStopping(1, monitor="eval/mean_reward")
    _, facts = run_folder.state_file.load("", run_folder.newest("", tmp_path / "run"))
    again = fastpg.resume("run", callback=[fastpg.callbacks.Evaluate(500), stop])
    assert again.num_steps == facts["num_steps"]


def test_each_of_many_runs_has_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*WATCHED, "--total-steps", "1000", "--seeds", "2", "--eval-every", "500", "--patience", "1e6"]
    assert cli.main(["sweep", *words, "--grid", "gamma=0.9,0.99", "--run", "runs"]) == 0
    assert "CartPole-v1: 4 runs" in capsys.readouterr().out
    assert all((tmp_path / "runs" / str(k) / "evaluations.csv").is_file() for k in range(4))
    assert cli.main(["train", *words, "--target-return", "inf", "--run", "seeds"]) == 0
    evaluated = [(tmp_path / place / "1" / "evaluations.csv").read_text() for place in ("runs", "seeds")]
    assert evaluated[0] != evaluated[1]


@pytest.mark.slow  # tensorboardX imports torch
def test_tensorboard_of_many_runs_has_a_folder_for_each(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    monkeypatch.chdir(tmp_path)
    words = [*WATCHED, "--total-steps", "500", "--seeds", "2"]
    assert cli.main(["train", *words, "--run", "runs", "--tensorboard"]) == 0
    assert cli.main(["sweep", *words, "--run", "swept", "--tensorboard", "boards"]) == 0
    for folder in ("runs/0/tensorboard", "runs/1/tensorboard", "boards/0", "boards/1"):
        assert list((tmp_path / folder).iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--eval-every 100", "--eval-every writes into the folder of a run: pass --run as well"),
        ("--eval-every 0 --run run", "Evaluate(): every must be an integer from 1"),
        ("--patience 0", "EarlyStopping(): patience must be an integer from 1"),
        ("--patience soon", "--patience"),
    ],
)
def test_wrong_callbacks_are_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *WATCHED, *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not list(tmp_path.iterdir())
