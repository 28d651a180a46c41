"""What results look like when they are printed, and that their types have public names."""

import inspect
import pickle

import numpy as np
import pytest

import fastpg

SHORT = 1200  # characters of a repr; the numbers themselves would be many thousands


def made():
    """Every result of a public function that holds arrays."""
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(64, 64))
    lake = fastpg.Policy.for_env("FrozenLake-v1", hidden=())
    return [
        fastpg.train("CartPole-v1", fastpg.VPG(), total_steps=20_000),
        fastpg.estimate_gradient("CartPole-v1", policy, episodes=8),
        fastpg.collect("CartPole-v1", policy, 100, num_envs=4),
        fastpg.collect("Blackjack-v1", fastpg.Policy.for_env("Blackjack-v1"), 100, num_envs=4),
        fastpg.exact.policy_gradient("FrozenLake-v1", lake),
        fastpg.diagnostics.compare_forms("FrozenLake-v1", lake, forms=["total"], episodes=8, batches=4),
    ]


def test_printed_results_give_shapes_and_not_every_number():
    for result in made():
        text = repr(result)
        assert text.startswith(f"{type(result).__name__}(")
        assert len(text) < SHORT
        assert "\n" not in text
        assert "array(" not in text


def test_a_printed_result_says_what_it_holds():
    run = fastpg.train("CartPole-v1", total_steps=1000, hidden=(8,))
    assert repr(run).startswith("TrainResult(policy=Policy(4 inputs, 2 actions, hidden=(8,)")
    assert "value=None, history=<21 entries>" in repr(run)
    assert "stopped_because='total_steps'" in repr(run)
    rollout = fastpg.collect("CartPole-v1", run.policy, 10, num_envs=4)
    assert repr(rollout).startswith("Batch(obs=<float32 (10, 4, 4)>, actions=<int64 (10, 4)>, ")
    assert repr(rollout).endswith(
        "values=None, last_values=None, final_values=None, mask=None, action_mask=None)"
    )


def test_a_rollout_of_tensors_is_printed_in_the_same_way():
    torch = pytest.importorskip("torch")
    import fastpg.torch as fpt

    module = torch.nn.Linear(4, 2)
    rollout = fpt.collect("CartPole-v1", module, 10, num_envs=4)
    assert repr(rollout).startswith("Batch(obs=<float32 (10, 4, 4)>, actions=<int64 (10, 4)>, ")


def test_results_go_through_pickle():
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(8,))
    estimate = fastpg.estimate_gradient("CartPole-v1", policy, episodes=8)
    again = pickle.loads(pickle.dumps(estimate))
    np.testing.assert_array_equal(again.gradient, estimate.gradient)
    assert repr(again) == repr(estimate)


def test_the_type_that_a_callback_gets_is_exported():
    seen = []
    fastpg.train("CartPole-v1", total_steps=1000, callback=seen.append)
    assert type(seen[0]) is fastpg.TrainProgress
    assert "TrainProgress" in fastpg.__all__
    assert "TrainProgress" in inspect.getdoc(fastpg.train)


def test_the_most_likely_action_needs_no_seed(policy):
    obs = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    greedy = policy.act(obs, deterministic=True)
    np.testing.assert_array_equal(greedy, policy.act(obs, seed=7, deterministic=True))
    assert greedy.dtype == np.int64
