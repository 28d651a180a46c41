"""Vector environments of a user's own: not Gymnasium's, without a spec, in arrays of their own kind."""

import gc

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import VectorEnv

import fastpg
from fastpg.envs.autoreset import AutoresetMode
from fastpg.envs.gymnasium import under_way
from tests.support.refusals import refuse

MODES = ["next_step", "same_step", "disabled"]
SPACES = [
    Discrete(3, start=2), MultiDiscrete([2, 3], start=[1, -4]), MultiBinary(3),
    Box(-0.5, 0.5, (2,), np.float64), Discrete(3),
]  # fmt: skip
PAIR = Box(-9.0, 9.0, (2,), np.float64)
PARTS = Dict({"pair": PAIR, "kind": Discrete(2, start=4)})


class Own(VectorEnv):
    """Environment i shows (i, age) and has episodes of 2 + i % 3 steps, which odd ones terminate.

    It writes observations into the same memory again and again, keeps the actions, and writes to them.
    """

    kept = None

    def __init__(self, mode="same_step", actions=SPACES[0], observations=PAIR, num_envs=5):
        self.metadata = {} if mode is None else {"autoreset_mode": mode}
        self.num_envs, self.mode = num_envs, mode
        self.single_observation_space, self.single_action_space = observations, actions
        self.length, self.age = 2 + np.arange(num_envs) % 3, np.zeros(num_envs, int)
        self.ended, self.obs, self.taken = np.zeros(num_envs, bool), np.empty((num_envs, 2)), []

    def shown(self):
        self.obs[:] = np.column_stack([np.arange(self.num_envs), self.age])
        if self.single_observation_space is PAIR:
            return self.obs
        return {"pair": self.obs, "kind": 4 + np.arange(self.num_envs) % 2}

    def final(self, done):
        if self.single_observation_space is PAIR:
            return np.where(done[:, None], self.shown(), np.nan)
        return {"pair": self.obs.copy(), "kind": np.where(done, 4 + np.arange(self.num_envs) % 2, 0)}

    def reset(self, *, seed=None, options=None):
        which = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self.age[which], self.ended[which] = 0, False
        return self.shown(), {"seen": {"age": self.age.copy()}, "_seen": which}

    def step(self, actions):
        assert all(self.single_action_space.contains(one) for one in actions), actions
        assert self.kept is None or not self.kept.any(), "kept actions were written to"
        self.taken.append(actions.copy())
        self.kept = actions
        actions.fill(0)
        resets = self.ended if self.mode == "next_step" else np.zeros(self.num_envs, bool)
        self.age = np.where(resets, 0, self.age + 1)
        done = (self.age == self.length) & ~resets
        odd = np.arange(self.num_envs) % 2 == 1
        infos = {"seen": {"age": self.age.copy()}, "_seen": np.ones(self.num_envs, bool)}
        self.ended = done
        self.shown()
        if self.mode == "same_step":
            infos |= {"final_obs": self.final(done), "_final_obs": done}
            self.age[done] = 0
        return self.shown(), np.where(resets, 0, 1), done & odd, done & ~odd, infos


def policy_for(env):
    return fastpg.Policy.for_env(env, hidden=(4,), seed=1)


@pytest.mark.parametrize("observations", [PAIR, PARTS], ids=["float64", "dict"])
@pytest.mark.parametrize("mode", MODES)
def test_its_rows_are_what_it_has_shown(mode, observations):
    env = Own(mode, observations=observations)
    policy, value = policy_for(env), fastpg.ValueFunction.for_env(env, hidden=(4,))
    pair = slice(2, 4) if observations is PARTS else slice(0, 2)  # parts by name
    for horizon in (11, 1, 6):  # which go on, one after the other
        batch = fastpg.collect(env, policy, horizon, value=value)
        counts = np.ones(batch.rewards.shape, bool) if batch.mask is None else batch.mask
        assert (batch.mask is None) or mode == "next_step"
        np.testing.assert_array_equal(batch.rewards, counts)
        which, age = np.moveaxis(batch.obs[..., pair], -1, 0)
        assert (which == np.arange(5))[counts].all()
        ends = (age + 1 == 2 + which % 3) & counts
        np.testing.assert_array_equal(batch.terminated, ends & (which % 2 == 1))
        np.testing.assert_array_equal(batch.truncated, ends & (which % 2 == 0))
        finals = np.column_stack([batch.ends[:, 1], 2 + batch.ends[:, 1] % 3])
        np.testing.assert_array_equal(batch.final_obs[:, pair], finals)
    returns, lengths = fastpg.evaluate(env, policy, episodes=13)
    np.testing.assert_array_equal(returns, lengths)
    np.testing.assert_array_equal(lengths, 2 + np.arange(13) % 5 % 3)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_its_actions_are_of_its_space_and_its_own(mode, space):
    env = Own(mode, space)
    policy = policy_for(env)
    batch = fastpg.collect(env, policy, 8)
    np.testing.assert_array_equal(np.array(env.taken), policy.env_actions(batch.actions))
    for algorithm in (
        fastpg.Reinforce(),
        fastpg.A2C(),
        fastpg.PPO(normalize_observations=True, minibatches=2),
    ):
        run = fastpg.train(env, algorithm, policy=policy, total_steps=200, horizon=20)
        assert run.num_steps >= 200 and np.isfinite(run.policy.theta).all()
        assert (run.history["mean_length"] <= 4).all()


def test_the_mode_may_be_a_word_or_gymnasiums():
    for mode in ("NextStep", "NEXT_STEP", "next_step", AutoresetMode.NEXT_STEP):
        env = Own("next_step")
        env.metadata = {"autoreset_mode": mode}
        assert fastpg.collect(env, policy_for(env), 12).mask is not None
    words = (
        "train(): Own does not say what follows the end of an episode: its metadata['autoreset_mode'] is None"
    )
    for metadata in ({}, None):
        env = Own("next_step")
        env.metadata = metadata
        refuse(lambda env=env: fastpg.train(env, fastpg.A2C(), total_steps=50), ValueError, words)


class WithoutHash(Own):
    def __eq__(self, other):
        return self.length == other.length  # an array, as the fields of a dataclass


def test_it_needs_no_hash_and_is_forgotten_with_the_caller():
    env = WithoutHash()
    policy = policy_for(env)
    batches = [fastpg.collect(env, policy, 3) for _ in range(2)]
    np.testing.assert_array_equal(batches[1].obs[0], batches[0].last_obs)
    assert id(env) in under_way._known
    place = id(env)
    env.kept = None
    del env
    gc.collect()
    assert place not in under_way._known


class ResetsAll(Own):
    def reset(self, *, seed=None, options=None):
        return super().reset()


class ResetsAlone(Own):
    def reset(self):
        return super().reset()


class TellsNothing(Own):
    def step(self, actions):
        return (*super().step(actions)[:4], None)


def changed(**attributes):
    env = Own()
    for name, value in attributes.items():
        setattr(env, name, value)
    return env


def without(name):
    env = Own()
    delattr(env, name)
    return env


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: without("num_envs"), TypeError, "Own.num_envs must be an integer from 1"),
        (lambda: changed(num_envs=0), ValueError, "Own.num_envs must be an integer from 1"),
        (
            lambda: without("single_action_space"),
            TypeError,
            "Own.single_action_space must be a gymnasium space, that of one of its environments, got None",
        ),
        (
            lambda: changed(single_observation_space=(2,)),
            TypeError,
            "Own.single_observation_space must be a gymnasium space",
        ),
        (ResetsAlone, TypeError, "ResetsAlone.reset() cannot be called with seed, options"),
        (
            lambda: ResetsAll("disabled"),
            ValueError,
            "ResetsAll says autoreset mode DISABLED, but a reset with the option 'reset_mask' changed the "
            "observation of environment 1, which the mask leaves out",
        ),
        (
            TellsNothing,
            ValueError,
            "TellsNothing says autoreset mode SAME_STEP, but its infos have no 'final_obs'",
        ),
        (lambda: changed(single_action_space=Dict({"a": Discrete(2)})), ValueError, "action_space must be"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_it_lacks_is_a_sentence(make, error, words):
    env = make()
    refuse(lambda: fastpg.train(env, fastpg.A2C(), total_steps=50), error, "train(): ", words)
    refuse(lambda: fastpg.train(make, fastpg.A2C(), total_steps=50), error, "train(): ", words)


def test_what_is_told_besides_is_not_needed():
    env = TellsNothing("next_step")
    assert fastpg.train(env, fastpg.A2C(), total_steps=50).num_steps >= 50


def test_numbers_beyond_float32_are_named():
    env = Own()
    shown = env.shown
    env.shown = lambda: shown() * 1e300
    refuse(
        lambda: fastpg.train(env, fastpg.A2C(), total_steps=50),
        FloatingPointError,
        "train(): ",
        "Own returned an",
    )
