"""Values of kinds that Python or NumPy lets pass for another: each is refused in one sentence.

Bytes are a sequence of ints, a time span is a NumPy integer, a masked array is an array, an int may be too
large for any float or too long to be printed.
"""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg import _core
from tests.support.refusals import refuse

HUGE = 10**400
UNPRINTABLE = 10**5000  # Python refuses to write more than 4,300 digits
BOX = Box(-1, 1, (4,))
OBS = np.zeros((3, 4), np.float32)
REWARDS, ENDS = np.ones((3, 2), np.float32), np.zeros((3, 2), bool)
LAST = np.zeros(2, np.float32)
DATES, SPANS = np.zeros((3, 2), "datetime64[s]"), np.zeros((3, 2), "timedelta64[s]")


def masked(array):
    return np.ma.masked_array(array, mask=True)


@pytest.mark.parametrize(
    "value", [b"x", bytearray(b"x"), memoryview(b"x")], ids=lambda one: type(one).__name__
)
def test_bytes_are_no_widths_of_layers(value):
    uses = {
        "Policy(): hidden": lambda: fastpg.Policy(BOX, Discrete(2), hidden=value),
        "ValueFunction(): hidden": lambda: fastpg.ValueFunction(BOX, hidden=value),
        "VPG(): value_hidden": lambda: fastpg.VPG(value_hidden=value),
        "train(): hidden must": lambda: fastpg.train("CartPole-v1", hidden=value, total_steps=10),
    }
    for words, use in uses.items():
        refuse(use, TypeError, words, "must be a sequence of widths as (64, 64)")


def test_bytes_are_no_seeds_and_no_numbers():
    env = fastpg.make("CartPole-v1", num_envs=4)
    refuse(lambda: env.reset(seed=b"abcd"), TypeError, "VectorEnv.reset(): seed must be an integer")
    refuse(
        lambda: fastpg.make("FrozenLake-v1", 1, reward_schedule=b"abc"),
        TypeError,
        "make(): reward_schedule must be three numbers",
    )


@pytest.mark.parametrize("value", [HUGE, -HUGE, UNPRINTABLE], ids=["1e400", "-1e400", "1e5000"])
def test_an_int_that_no_float_holds_is_refused(value):
    line, ends = REWARDS[:, 0].copy(), ENDS[:, 0].copy()
    uses = {
        "Reinforce(): gamma must be a number in [0, 1]": lambda: fastpg.Reinforce(gamma=value),
        "Reinforce(): learning_rate": lambda: fastpg.Reinforce(learning_rate=value),
        "VPG(): max_grad_norm": lambda: fastpg.VPG(max_grad_norm=value),
        "train(): target_return": lambda: fastpg.train("CartPole-v1", target_return=value),
        "make(): g must be a number": lambda: fastpg.make("Pendulum-v1", 1, g=value),
        "returns(): gamma": lambda: fastpg.returns(REWARDS, ENDS, ENDS, gamma=value),
        "returns(): last_values": lambda: fastpg.returns(line, ends, ends, last_values=value),
        "VectorEnv.reset(): options['low']": lambda: fastpg.make("CartPole-v1", 1).reset(
            options={"low": value}
        ),
        "train(): seed must be an integer": lambda: fastpg.train("CartPole-v1", seed=value),
        "Policy(): hidden[0]": lambda: fastpg.Policy(BOX, Discrete(2), hidden=[value]),
        "make(): num_envs": lambda: fastpg.make("CartPole-v1", value),
    }
    for words, use in uses.items():
        refuse(use, ValueError, words)


@pytest.mark.parametrize("value", [np.timedelta64(3, "s"), np.datetime64("2020-01-01")], ids=str)
def test_times_are_no_numbers(value, policy):
    refuse(lambda: fastpg.make("CartPole-v1", value), TypeError, "make(): num_envs must be an integer")
    refuse(lambda: policy.act(OBS, seed=value), TypeError, "Policy.act(): seed must be an integer")
    refuse(lambda: fastpg.Reinforce(gamma=value), TypeError, "Reinforce(): gamma must be a number")


@pytest.mark.parametrize("times", [DATES, SPANS], ids=["datetime64", "timedelta64"])
def test_arrays_of_times_are_refused(times):
    uses = {
        "rewards must be float32 or float64": lambda: fastpg.returns(times, ENDS, ENDS),
        "terminated must be bool": lambda: fastpg.returns(REWARDS, times, ENDS),
        "mask must be bool": lambda: fastpg.returns(REWARDS, ENDS, ENDS, mask=times),
        "final_values must be float32 or float64": lambda: fastpg.returns(
            REWARDS, ENDS, ENDS, final_values=times
        ),
        "out must be float32": lambda: fastpg.returns(REWARDS, ENDS, ENDS, out=times),
        "last_values must be float32": lambda: fastpg.returns(REWARDS, ENDS, ENDS, last_values=times[0]),
    }
    for words, use in uses.items():
        refuse(use, TypeError, f"returns(): {words}", str(times.dtype))
    refuse(
        lambda: fastpg.exact.FiniteMDP(np.ones((1, 1, 1)), times[:1, :1], np.zeros(1, bool), np.ones(1)),
        TypeError,
        "FiniteMDP(): reward must be an array of numbers",
    )


def test_arrays_with_a_mask_are_refused_as_nothing_would_read_it(policy):
    lake = fastpg.Policy.for_env("FrozenLake-v1")
    env, pendulum = fastpg.make("CartPole-v1", 3), fastpg.make("Pendulum-v1", 3)
    for one in (env, pendulum):
        one.reset(seed=0)

    def assign():
        policy.theta = masked(policy.theta)

    actions, weights = np.zeros(3, np.int64), np.ones(3, np.float32)
    uses = {
        "Policy.act(): obs": lambda: policy.act(masked(OBS), seed=0),
        "Policy.act(): obs must": lambda: lake.act(masked(actions), seed=0),
        "Policy.log_prob(): actions": lambda: policy.log_prob(OBS, masked(actions)),
        "Policy.theta: theta": assign,
        "policy_gradient(): weights": lambda: fastpg.policy_gradient(policy, OBS, actions, masked(weights)),
        "policy_gradient(): lengths": lambda: fastpg.policy_gradient(
            policy, OBS, actions, weights, per="trajectory", lengths=masked(np.array([3]))
        ),
        "policy_gradient(): out": lambda: fastpg.policy_gradient(
            policy, OBS, actions, weights, out=masked(np.zeros(58, np.float32))
        ),
        "returns(): rewards": lambda: fastpg.returns(masked(REWARDS), ENDS, ENDS),
        "returns(): terminated": lambda: fastpg.returns(REWARDS, masked(ENDS), ENDS),
        "returns(): mask": lambda: fastpg.returns(REWARDS, ENDS, ENDS, mask=masked(ENDS)),
        "returns(): last_values": lambda: fastpg.returns(REWARDS, ENDS, ENDS, last_values=masked(LAST)),
        "returns(): out": lambda: fastpg.returns(REWARDS, ENDS, ENDS, out=masked(REWARDS.copy())),
        "done_from_episode_starts()": lambda: fastpg.done_from_episode_starts(masked(REWARDS), LAST),
        "VectorEnv.step(): actions": lambda: env.step(masked(actions)),
        "VectorEnv.step(): actions must": lambda: pendulum.step(masked(np.zeros((3, 1), np.float32))),
        "VectorEnv.set_state(): state": lambda: env.set_state(masked(np.zeros((3, 4)))),
        "FiniteMDP(): reward": lambda: fastpg.exact.FiniteMDP(
            np.ones((1, 1, 1)), masked(np.ones((1, 1))), np.zeros(1, bool), np.ones(1)
        ),
    }
    for words, use in uses.items():
        refuse(use, TypeError, words, "a masked array of shape", "numpy.ma.filled")


@pytest.mark.parametrize(
    "value", [np.array(["0.5"]), np.array([1j]), np.array([1], object)], ids=lambda a: a.dtype.kind
)
def test_text_and_complex_numbers_are_no_rewards(value):
    refuse(
        lambda: fastpg.exact.FiniteMDP(np.ones((1, 1, 1)), value[None], np.zeros(1, bool), np.ones(1)),
        TypeError,
        "FiniteMDP(): reward must be an array of numbers",
    )


def test_rows_of_several_lengths_are_refused(policy):
    ragged = [[0], [0, 1]]
    lake = fastpg.Policy.for_env("FrozenLake-v1")
    env = fastpg.make("CartPole-v1", 2)
    env.reset(seed=0)
    refuse(lambda: lake.act(ragged, seed=0), ValueError, "Policy.act(): obs makes no array")
    refuse(lambda: env.step(ragged), ValueError, "VectorEnv.step(): actions makes no array")
    refuse(
        lambda: fastpg.exact.FiniteMDP(ragged, np.ones((1, 1)), np.zeros(1, bool), np.ones(1)),
        ValueError,
        "FiniteMDP(): transition makes no array",
    )


@pytest.mark.parametrize(
    ("options", "words"), [(5, "got 5"), ("low", "got 'low'"), ([1], "got [1]")], ids=str
)
def test_options_that_are_no_mapping_are_refused(options, words):
    env = fastpg.make("CartPole-v1", 2)
    refuse(
        lambda: env.reset(options=options), TypeError, "VectorEnv.reset(): options must be a mapping", words
    )
    refuse(
        lambda: fastpg.train("gym:CartPole-v1", reset_options=options),
        TypeError,
        "train(): reset_options must be a mapping",
        words,
    )


def test_names_of_options_are_strings():
    mixed = {"low": -0.1, 3: 4}
    env = fastpg.make("CartPole-v1", 2)
    refuse(
        lambda: env.reset(options=mixed), TypeError, "VectorEnv.reset(): the keys of options must be strings"
    )
    for name in ("env_params", "reset_options"):
        words = f"train(): the keys of {name} must be strings, got 3"
        refuse(lambda name=name: fastpg.train("CartPole-v1", **{name: mixed}), TypeError, words)


def test_load_env_refuses_names_that_are_no_strings(tmp_path):
    library = tmp_path / "env.so"
    refuse(
        lambda: fastpg.load_env(library, symbol=3), TypeError, "load_env(): symbol must be a string, got 3"
    )
    refuse(lambda: fastpg.load_env(library, symbol=None), TypeError, "load_env(): symbol must be a string")
    refuse(lambda: fastpg.load_env(library, name=b"x"), TypeError, "load_env(): name must be a string")


def test_paths_are_text_without_nul(policy, tmp_path):
    uses = {
        "Policy.save(): path": policy.save,
        "Policy.load(): path": fastpg.Policy.load,
        "load_env(): path": fastpg.load_env,
        "train(): checkpoint": lambda path: fastpg.train("CartPole-v1", checkpoint=path, total_steps=10),
    }
    for words, use in uses.items():
        refuse(lambda use=use: use(f"{tmp_path}/a\0b"), ValueError, words, "without a NUL character")
        refuse(lambda use=use: use(b"/tmp/a"), TypeError, words, "must be a path, got b'/tmp/a'")


@pytest.mark.parametrize(
    "value", [np.zeros(0), np.zeros(3), np.zeros(1, [("a", "f4")])], ids=["0", "3", "struct"]
)
def test_arrays_are_no_choices(value):
    words = "must be one of 'next_step', 'same_step', 'disabled', got an array of shape"
    refuse(lambda: fastpg.make("CartPole-v1", 1, autoreset=value), TypeError, f"make(): autoreset {words}")


def test_an_array_without_a_dimension_holds_no_params():
    spaces = {"observation_space": BOX, "action_space": Discrete(2)}
    refuse(
        lambda: fastpg.jit_env(**spaces, state_size=1, params=np.array(3.0)),
        TypeError,
        "jit_env(): params must be a mapping of names to numbers, or numbers, got an array of shape ()",
    )


@pytest.mark.parametrize("number", [257, 1000, HUGE], ids=["257", "1000", "1e400"])
def test_more_threads_than_there_can_be_are_refused(number):
    assert _core.MAX_THREADS == 256
    before = fastpg.get_num_threads()
    words = "set_num_threads(): num_threads must be an integer from 1 to 256, got "
    refuse(lambda: fastpg.set_num_threads(number), ValueError, words)
    assert fastpg.get_num_threads() == before
    fastpg.set_num_threads(256)
    assert fastpg.get_num_threads() == 256
    fastpg.set_num_threads(before)


def test_strings_of_numpy_are_strings():
    relu = np.str_("relu")
    assert fastpg.Policy.for_env(np.str_("CartPole-v1"), activation=relu).activation == "relu"
    assert fastpg.ValueFunction.for_env("CartPole-v1", activation=relu).activation == "relu"
    assert type(fastpg.VPG(form=np.str_("td")).form) is str
