"""fastpg.flatten_observations: what policies read of observations, without fastpg's environments."""

import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector.utils import batch_space, create_empty_array, iterate

import fastpg
from tests.support.gymnasium_envs import Single

ROOT = Path(__file__).parents[2]
IMAGE = Box(0, 255, (2, 3), np.uint8)
FLAT = [
    Box(-1.0, 1.0, (4,), np.float64),
    IMAGE,
    Box(-1.0, 1.0, ()),
    MultiBinary((2, 2)),
    MultiDiscrete([[2, 3]], start=[[1, 0]]),
    Dict({"b": Discrete(3, start=2), "a": Tuple([IMAGE, MultiBinary(2)])}),
    Tuple([Box(-1.0, 1.0, (2,)), MultiDiscrete([2, 4])]),
]
CATEGORIES = [
    Discrete(5, start=3),
    MultiDiscrete([2, 3], start=[0, 7]),
    Tuple([Discrete(3), Discrete(2, start=1)]),
]


def batch_of(space, n):
    batched = batch_space(space, n)
    batched.seed(1)
    return batched.sample()


@pytest.mark.parametrize("space", FLAT, ids=str)
def test_it_is_what_gymnasium_makes_of_each_observation(space):
    batch = batch_of(space, 6)
    flat = fastpg.flatten_observations(space, batch)
    assert flat.dtype == np.float32 and flat.shape == (6, gymnasium.spaces.flatdim(space))
    for row, one in zip(flat, iterate(batch_space(space, 6), batch), strict=True):
        np.testing.assert_allclose(row, gymnasium.spaces.flatten(space, one), rtol=1e-6)
        np.testing.assert_array_equal(fastpg.flatten_observations(space, one), row)


@pytest.mark.parametrize("space", CATEGORIES, ids=str)
def test_categories_stay_as_a_policy_takes_them(space):
    policy = fastpg.Policy(space, Discrete(2), hidden=())
    batch = batch_of(space, 6)
    got = fastpg.flatten_observations(space, batch)
    np.testing.assert_array_equal(np.array(got), np.array(batch))
    np.testing.assert_array_equal(policy.act(got, seed=0), policy.act(batch, seed=0))
    one = next(iter(iterate(batch_space(space, 6), batch)))
    assert policy.act(fastpg.flatten_observations(space, one), seed=0) == policy.act(got, seed=0)[0]


@pytest.mark.parametrize("space", [*FLAT, *CATEGORIES], ids=str)
def test_a_saved_policy_acts_elsewhere_as_it_was_trained_to(space, tmp_path):
    """The loop of docs/deploy.md: no environment of fastpg's, the saved policy, the space."""
    made = lambda: Single(space, MultiDiscrete([3, 2], start=[5, -1]))  # noqa: E731
    fastpg.Policy.for_env(made, hidden=(8,)).save(tmp_path / "policy")
    policy, env = fastpg.Policy.load(tmp_path / "policy"), made()
    obs, _ = env.reset(seed=0)
    for step in range(4):
        action = policy.act(fastpg.flatten_observations(space, obs), seed=0, step=step)
        obs, *_ = env.step(policy.env_actions(action))  # Single asserts that its space holds it


def test_what_docs_deploy_shows_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    taxi = next(one for one in fastpg.list_envs() if one.startswith("Taxi"))  # v3 or v4, by Gymnasium
    text = (ROOT / "docs" / "deploy.md").read_text().replace("Taxi-v4", taxi)
    by_hand, exported = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {}
    exec(by_hand, names)
    assert names["env"].action_space.contains(names["policy"].env_actions(names["action"]))
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    exec(exported, names)
    assert names["env"].action_space.contains(names["action"][0])


def test_batches_of_any_shape():
    space = FLAT[-1]
    batch = batch_of(space, 6)
    squares = tuple(part.reshape(2, 3, *part.shape[1:]) for part in batch)
    flat = fastpg.flatten_observations(space, squares)
    np.testing.assert_array_equal(flat.reshape(6, -1), fastpg.flatten_observations(space, batch))


@pytest.mark.parametrize(
    ("space", "obs", "error"),
    [
        (3, np.zeros(3), TypeError),
        (gymnasium.spaces.Text(3), "abc", ValueError),
        (IMAGE, np.zeros((3, 2), np.uint8), ValueError),
        (IMAGE, "abc", ValueError),
        (IMAGE, np.zeros((0, 2, 3), np.uint8), ValueError),
        (FLAT[-2], {"b": 2}, ValueError),
        (FLAT[-2], {"b": 9, "a": (np.zeros((2, 3)), np.zeros(2))}, ValueError),
        (FLAT[-1], 3, ValueError),
        (FLAT[-1], create_empty_array(FLAT[-1], n=3)[:1], ValueError),
        (Discrete(3), 3, ValueError),
        (Discrete(3), 1.5, ValueError),
        (Tuple([Discrete(2), Discrete(2)]), (np.array(1), np.array([0, 1])), ValueError),
    ],
)
def test_what_does_not_fit_is_a_sentence(space, obs, error):
    with pytest.raises(error, match=r"^flatten_observations\(\): (obs|observation_space) must be"):
        fastpg.flatten_observations(space, obs)


@pytest.mark.parametrize(
    "space",
    [
        Discrete(2**40),
        Box(0, 255, (2500, 2500, 3), np.uint8),
        Dict(a=Discrete(2**30), b=Discrete(2)),
        MultiDiscrete([2**62] * 2),
    ],
)
def test_what_would_need_gigabytes_when_flattened_is_refused(space):
    with pytest.raises(
        ValueError,
        match=r"observation_space must have at most 16,777,216 numbers when it is flattened, got \d",
    ):
        fastpg.flatten_observations(space, 0)
