"""Actions of a Box that count from -1 to 1, wherever a policy acts."""

import copy
import json
import pickle
import typing
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import _core
from fastpg.batches.collector import Collector
from fastpg.envs.gymnasium.opening import opened
from tests.support.gymnasium_envs import Single

OBS = Box(-1.0, 1.0, (3,))
FAR = Box(np.array([0.0, -7.0]), np.array([100.0, -3.0]), dtype=np.float64)


def rescaled(space, actions):
    """Return what Gymnasium's RescaleAction and a clip at the bounds make of actions from -1 to 1."""
    env = gymnasium.wrappers.RescaleAction(
        Single(OBS, space), np.full(space.shape, -1, space.dtype), np.full(space.shape, 1, space.dtype)
    )
    return np.array([env.action(np.clip(one, -1, 1).astype(space.dtype)) for one in actions])


@pytest.mark.parametrize(
    "space", [FAR, Box(-2.0, 2.0, (1,)), Box(0.0, 0.01, (2, 2)), Box(-1.0, 3.0, (), np.float64)], ids=str
)
def test_actions_are_those_of_rescale_action(space):
    policy = fastpg.Policy(OBS, space, action_scaling=True)
    drawn = np.random.default_rng(0).normal(size=(50, *space.shape)).astype(np.float32)
    got = policy.env_actions(drawn)
    assert got.dtype == space.dtype and all(space.contains(np.asarray(one)) for one in got)
    np.testing.assert_allclose(got, rescaled(space, drawn), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(policy.env_actions(drawn[3]), got[3])
    np.testing.assert_array_equal(
        policy.env_actions(drawn.reshape(5, 10, *space.shape)).reshape(got.shape), got
    )
    edges = policy.env_actions(np.full((1, *space.shape), 1.0, np.float32))
    np.testing.assert_allclose(edges[0], space.high, rtol=1e-6)
    assert (policy.env_actions(np.full(space.shape, -1.0, np.float32)) == space.low).all()


def test_without_scaling_they_are_clipped():
    policy = fastpg.Policy(OBS, FAR, action_scaling=False)
    assert policy.env_actions(np.array([[3.0, 3.0], [200.0, -50.0]], np.float32)).tolist() == [
        [3.0, -3.0], [100.0, -7.0]
    ]  # fmt: skip


@pytest.mark.parametrize(
    "space",
    [Discrete(3, start=-4), MultiDiscrete([[2, 3]], start=[[5, 0]]), MultiBinary((2, 2)), MultiBinary(3)],
    ids=str,
)
def test_other_actions_are_in_the_space_as_they_are(space):
    policy = fastpg.Policy(OBS, space)
    drawn = policy.act(np.zeros((20, 3), np.float32), seed=0)
    given = policy.env_actions(drawn)
    np.testing.assert_array_equal(given, drawn)
    assert all(map(space.contains, given)) and given.dtype == space.dtype
    assert space.contains(policy.env_actions(policy.act(np.zeros(3, np.float32), seed=0)))


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_a_compiled_rollout_is_the_loop_with_env_actions(autoreset):
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(8,), action_scaling=True, seed=1)
    env = fastpg.make("Pendulum-v1", 5, autoreset=autoreset)
    env.reset(seed=3)
    batch = fastpg.collect(env, policy, 20)
    by_hand = fastpg.make("Pendulum-v1", 5, autoreset="same_step")
    obs, _ = by_hand.reset(seed=3)
    for t in range(20):
        actions = policy.act(obs, seed=3, step=t)
        np.testing.assert_array_equal(batch.actions[t], actions)
        obs, rewards, *_ = by_hand.step(policy.env_actions(actions))
        np.testing.assert_array_equal(batch.rewards[t], rewards.astype(np.float32))
    assert np.abs(batch.actions).max() > 1.0
    # The same sampler has to tell networks apart that differ in nothing else.
    plain = policy.copy()
    plain = fastpg.Policy(policy.observation_space, policy.action_space, hidden=(8,))
    plain.theta[:] = policy.theta
    env.reset(seed=3)
    assert (fastpg.collect(env, plain, 20).rewards != batch.rewards).any()


class Recorded(Single):
    """Keeps the actions that it was given."""

    given: typing.ClassVar[list] = []

    def step(self, action):
        type(self).given.append(np.array(action))
        return super().step(action)


def test_environments_that_python_steps_get_the_same():
    Recorded.given = []
    with opened("test", lambda: Recorded(OBS, FAR), None, num_envs=1) as env:
        policy = fastpg.Policy(env.observation_space, env.action_space, action_scaling=True)
        rows = Collector(env, policy.network, 0).collect(policy.theta, horizon=3)
    np.testing.assert_array_equal(
        np.array(Recorded.given[:3]), policy.env_actions(rows.actions.reshape(3, 2))
    )
    Recorded.given = []
    fastpg.evaluate(lambda: Recorded(OBS, FAR), policy, episodes=1)
    assert (np.array(Recorded.given) > [10, -6.5]).all()  # the middle, which 0 stands for, is [50, -5]


def test_the_option_is_kept_by_files_copies_and_runs(tmp_path):
    policy = fastpg.Policy(OBS, FAR, action_scaling=True)
    policy.save(tmp_path / "policy")
    for again in (
        fastpg.Policy.load(tmp_path / "policy"), policy.copy(), copy.deepcopy(policy),
        pickle.loads(pickle.dumps(policy)),
    ):  # fmt: skip
        assert again.action_scaling and again.network.scales_actions and "action_scaling=True" in repr(again)
    run = fastpg.train(
        "Pendulum-v1", fastpg.VPG(), action_scaling=True, total_steps=600, horizon=30, run=tmp_path / "run"
    )
    assert run.policy.action_scaling and run.config["action_scaling"]
    on = fastpg.resume(tmp_path / "run", total_steps=900)
    whole = fastpg.train("Pendulum-v1", fastpg.VPG(), action_scaling=True, total_steps=900, horizon=30)
    np.testing.assert_array_equal(on.policy.theta, whole.policy.theta)
    plain = fastpg.train("Pendulum-v1", fastpg.VPG(), total_steps=900, horizon=30)
    assert (plain.policy.theta != whole.policy.theta).any() and not plain.config["action_scaling"]
    (many,) = fastpg.train_many(
        "Pendulum-v1", fastpg.VPG(), seeds=1, action_scaling=True, total_steps=900, horizon=30
    )
    np.testing.assert_array_equal(many.policy.theta, whole.policy.theta)


def test_files_from_before_the_option_are_not_scaled(tmp_path):
    policy = fastpg.Policy(OBS, FAR, action_scaling=False)
    policy.save(tmp_path / "policy")
    header = (tmp_path / "policy").read_bytes()
    size = int.from_bytes(header[:8], "little")
    assert "action_scaling" not in json.loads(header[8 : 8 + size])["__metadata__"]
    assert fastpg.Policy.load(tmp_path / "policy").action_scaling is False


@pytest.mark.parametrize(
    ("space", "warns"),
    [
        (Box(0.0, 100.0, (1,)), True), (Box(-0.2, 0.2, (1,)), True),
        (Box(np.float32([-1, 0]), np.float32([1, 9])), True),
        (Box(-2.0, 2.0, (1,)), False), (Box(-0.4, 0.4, (17,)), False), (Box(-3.0, 3.0, (1,)), False),
        (Box(-np.inf, np.inf, (1,)), False), (Box(0.0, np.inf, (1,)), False), (Discrete(100), False),
        (Box(0.0, 1.0, (1,)), False),
    ],
    ids=str,
)  # fmt: skip
def test_bounds_far_from_1_warn_who_has_not_chosen(space, warns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert fastpg.Policy(OBS, space).action_scaling is False
        fastpg.Policy(OBS, space, action_scaling=False)
        if np.isfinite(getattr(space, "high", np.inf)).all():
            fastpg.Policy(OBS, space, action_scaling=True)
        fastpg.train(lambda: Single(OBS, space), num_envs=2, total_steps=8, horizon=4, hidden=())
        fastpg.Policy.for_env(lambda: Single(OBS, space))
    names = ["Policy()", "train()", "Policy.for_env()"]
    assert [str(one.message).partition(":")[0] for one in caught] == (names if warns else [])
    assert all(one.filename == __file__ and "action_scaling=True" in str(one.message) for one in caught)


def test_squashing_scales_already():
    """So that it does not warn, and does not go with scaling."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastpg.Policy(OBS, FAR, squash=True)
        fastpg.Policy.for_env(lambda: Single(OBS, FAR), squash=True)
        fastpg.train(lambda: Single(OBS, FAR), num_envs=2, total_steps=8, horizon=4, hidden=(), squash=True)
    both = {"squash": True, "action_scaling": True}
    for where, call in {
        "Policy": lambda: fastpg.Policy(OBS, FAR, **both),
        "Policy.for_env": lambda: fastpg.Policy.for_env("Pendulum-v1", **both),
        "train": lambda: fastpg.train("Pendulum-v1", total_steps=8, **both),
        "train_many": lambda: fastpg.train_many("Pendulum-v1", fastpg.PPO(), seeds=1, total_steps=8, **both),
    }.items():
        with pytest.raises(
            ValueError, match=rf"^{where}\(\).*: action_scaling must be False where squash is"
        ):
            call()


@pytest.mark.parametrize("space", [Discrete(2), Box(0.0, np.inf, (1,)), MultiBinary(2)], ids=str)
def test_what_has_no_bounds_is_not_scaled(space):
    with pytest.raises(ValueError, match=r"Policy\(\): action_scaling must be False unless"):
        fastpg.Policy(OBS, space, action_scaling=True)
    with pytest.raises(ValueError, match=r"train\(\): action_scaling must be False unless"):
        fastpg.train(lambda: Single(OBS, space), action_scaling=True, total_steps=8)
    for wrong in ({"head": "bernoulli"}, {"head": "gaussian", "squash_log_scale": 0.0}):
        with pytest.raises(ValueError, match="scale"):
            _core.Network(3, (), 2, "tanh", **wrong, scales_actions=True)


def test_other_bad_arguments_are_sentences():
    policy = fastpg.Policy(OBS, FAR, action_scaling=True)
    with pytest.raises(TypeError, match=r"Policy\(\): action_scaling must be"):
        fastpg.Policy(OBS, FAR, action_scaling="yes")
    with pytest.raises(ValueError, match=r"train\(\): action_scaling must be None where a policy is given"):
        fastpg.train(lambda: Single(OBS, FAR), policy=policy, action_scaling=False, total_steps=8)
    with pytest.raises(ValueError, match=r"Policy.kl\(\): other must count actions"):
        policy.kl(fastpg.Policy(OBS, FAR, action_scaling=False), np.zeros(3, np.float32))
    for wrong in (np.zeros(3, np.float32), np.zeros((0, 2), np.float32), np.float32(1)):
        with pytest.raises(ValueError, match=r"Policy.env_actions\(\): actions"):
            policy.env_actions(wrong)
    with pytest.raises(TypeError, match=r"Policy.env_actions\(\): actions"):
        policy.env_actions(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"Policy.env_actions\(\): actions must be finite"):
        policy.env_actions(np.array([np.nan, 1], np.float32))
    with pytest.raises(ValueError, match=r"actions must lie in 1\.\.3"):
        fastpg.Policy(OBS, Discrete(3, start=1)).env_actions(0)
