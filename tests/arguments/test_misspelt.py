"""Names that there are not: an error says which was meant."""

import dataclasses
import functools
import re
from pathlib import Path

import numpy as np
import pytest

import fastpg
from tests.support.refusals import refuse


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: fastpg.PPO(gama=0.9), "PPO(): there is no option 'gama'; did you mean 'gamma'?"),
        (
            lambda: fastpg.PPO(ent_coef=0.1),
            "PPO(): there is no option 'ent_coef'; did you mean 'entropy_coef'?",
        ),
        (lambda: fastpg.A2C(gae_lambda=1.0), "A2C(): there is no option 'gae_lambda'; did you mean 'lam'?"),
        (
            lambda: fastpg.PPO(n_steps=128),
            "PPO(): there is no option 'n_steps'; fastpg.train() has 'horizon'",
        ),
        (
            lambda: fastpg.NPG(num_envs=4),
            "NPG(): there is no option 'num_envs'; fastpg.train() has 'num_envs'",
        ),
        (lambda: fastpg.Reinforce(wings=2), "Reinforce(): there is no option 'wings'; there are "),
        (
            lambda: dataclasses.replace(fastpg.TRPO(), max_k=0.1),
            "TRPO(): there is no option 'max_k'; did you mean 'max_kl'?",
        ),
        (
            lambda: fastpg.grid(fastpg.PPO, lr=[1e-3]),
            "grid(): there is no setting 'lr'; did you mean 'learning_rate'?",
        ),
    ],
)
def test_an_option_that_there_is_not_says_which_was_meant(make, sentence):
    refuse(make, TypeError, sentence)


@pytest.mark.parametrize("algorithm", [fastpg.PPO, "PPO", "ppo"], ids=str)
def test_an_algorithm_that_is_only_named_says_how_to_make_one(algorithm):
    refuse(
        lambda: fastpg.train("CartPole-v1", algorithm),
        TypeError,
        "train(): ",
        "; pass an object, fastpg.PPO()",
    )


def test_a_class_that_is_no_algorithm_is_not_called():
    class Mine:
        def __init__(self, needed):
            raise AssertionError("it was called")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(fastpg.PPO):
        needed: float

    for other in (Mine, type, 3):
        refuse(
            lambda other=other: fastpg.grid(other, gamma=[0.9]),
            TypeError,
            "grid(): algorithm must be a fastpg.",
        )
        refuse(
            lambda other=other: fastpg.sample(other, 1, gamma=[0.9]),
            TypeError,
            "sample(): algorithm must be a",
        )
    refuse(
        lambda: fastpg.grid(Own, gamma=[0.9]),
        TypeError,
        "grid(): algorithm cannot be called with nothing",
        "needed",
    )


@pytest.mark.parametrize(
    ("value", "end"),
    [
        (2.0, "got 2.0; write 2"),
        (np.float16(64), "; write 64"),
        (1.5e6, "got 1500000.0; write 1_500_000, or int(1.5e6)"),
        (1e300, "got 1e+300"),
        (2.5, "got 2.5"),
        (np.inf, "got inf"),
        (np.nan, "got nan"),
    ],
)
def test_a_float_that_is_whole_is_told_how_it_is_written(value, end):
    halve = functools.partial(fastpg.halving, "CartPole-v1", [fastpg.PPO(), fastpg.PPO(gamma=0.9)])
    for call in (
        lambda: fastpg.train("CartPole-v1", total_steps=value),
        lambda: fastpg.train_many("CartPole-v1", fastpg.PPO(), seeds=value),
        lambda: halve(seeds=2, rungs=value),
    ):
        with pytest.raises(TypeError, match=rf"must be an integer .*{re.escape(end)}$"):
            call()


def test_a_run_or_a_path_in_place_of_a_network_says_how_to_get_it():
    run = fastpg.train("CartPole-v1", fastpg.VPG(), hidden=(), total_steps=100)
    for policy, sentence in (
        (run, "; pass its policy, as run.policy"),
        ("runs/a", "; read it with fastpg.Policy.load('runs/a')"),
        (Path("a.safetensors"), "; read it with fastpg.Policy.load('a.safetensors')"),
    ):
        refuse(lambda policy=policy: fastpg.evaluate("CartPole-v1", policy), TypeError, sentence)
        refuse(lambda policy=policy: run.policy.kl(policy, run.policy.theta), TypeError, sentence)
    for value, sentence in (
        (run, "value must be a fastpg.ValueFunction, got TrainResult"),
        (run, "; pass its value, as run.value"),
        ("runs/a", "; read it with fastpg.ValueFunction.load('runs/a')"),
    ):
        refuse(
            lambda value=value: fastpg.train("CartPole-v1", fastpg.VPG(), value=value), TypeError, sentence
        )


def test_a_file_without_its_ending_says_which_is_there(tmp_path):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    policy.save(tmp_path / "CartPole-v1.safetensors")
    with pytest.raises(FileNotFoundError) as caught:
        fastpg.Policy.load(tmp_path / "CartPole-v1")
    assert caught.value.__notes__ == [f"(did you mean {str(tmp_path / 'CartPole-v1.safetensors')!r}?)"]
    with pytest.raises(FileNotFoundError) as caught:
        fastpg.Policy.load(tmp_path / "Acrobot-v1")
    assert not hasattr(caught.value, "__notes__")


def test_a_name_that_the_package_does_not_have_says_which_was_meant():
    with pytest.raises(AttributeError, match=r"^module 'fastpg' has no attribute 'evalute'$") as caught:
        fastpg.evalute  # noqa: B018
    assert caught.value.name == "evalute"
    assert caught.value.obj is fastpg  # among whose names the interpreter looks for a close one
