"""Every native environment is one that policies are trained in."""

import numpy as np
import pytest

import fastpg
from fastpg.exact import FiniteMDP
from tests.support.quick import few

every_env = pytest.mark.parametrize(
    "env_id", few(fastpg.list_envs(), {"CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1"})
)


@every_env
@pytest.mark.parametrize(
    "algorithm",
    [fastpg.Reinforce(), fastpg.VPG(value_hidden=(8,)), fastpg.A2C(), fastpg.PPO(epochs=2)],
    ids=lambda one: type(one).__name__,
)
def test_training_runs_and_changes_every_part_of_the_policy(env_id, algorithm):
    run = fastpg.train(env_id, algorithm, num_envs=24, horizon=32, hidden=(8,), total_steps=3000, seed=1)
    start = fastpg.Policy.for_env(env_id, hidden=(8,), seed=1)
    assert run.num_steps == 3072
    assert np.isfinite(run.policy.theta).all()
    # A world that has paid nothing yet teaches REINFORCE nothing.
    if not isinstance(algorithm, fastpg.Reinforce) or "FrozenLake" not in env_id:
        for name, view in run.policy.parameters().items():
            assert (view != start.parameters()[name]).any(), name
    assert (run.value is None) == isinstance(algorithm, fastpg.Reinforce)


@every_env
@pytest.mark.parametrize("hidden", [(), (8,)], ids=str)
def test_gradients_are_estimated_with_the_same_bits_on_any_number_of_threads(env_id, hidden, threads):
    policy = fastpg.Policy.for_env(env_id, hidden=hidden, seed=3)
    value = fastpg.ValueFunction.for_env(env_id, hidden=(4,), seed=3)
    results = set()
    for n in (1, 2, 3):
        threads(n)
        estimate = fastpg.estimate_gradient(
            env_id, policy, form="gae", value=value, horizon=20, num_envs=100, entropy_coef=0.01
        )
        results.add(estimate.gradient.tobytes())
    assert len(results) == 1
    assert np.isfinite(estimate.gradient).all()


@every_env
def test_evaluation_returns_what_episodes_earn(env_id):
    policy = fastpg.Policy.for_env(env_id, hidden=(), seed=2)
    if env_id.startswith("CliffWalking"):
        policy.parameters()["head.weight"][:] = 0.0  # without a limit: one that ends sooner or later
    returns, lengths = fastpg.evaluate(env_id, policy, episodes=7, deterministic=False)
    assert returns.shape == lengths.shape == (7,)
    limit = fastpg.make(env_id).spec.max_episode_steps
    assert (lengths >= 1).all()
    assert limit is None or (lengths <= limit).all()


ENDLESS = FiniteMDP(
    np.ones((1, 2, 1)), np.ones((1, 2, 1)), np.zeros(1, bool), np.ones(1), max_episode_steps=20
)


TAXI = max(one for one in fastpg.list_envs() if one.startswith("Taxi"))  # v4 where Gymnasium has it


@pytest.mark.parametrize("env", ["Pendulum-v1", TAXI, ENDLESS], ids=["Pendulum-v1", "Taxi", "FiniteMDP"])
def test_a_time_limit_is_a_parameter_wherever_parameters_are(env):
    limit = {"max_episode_steps": 7}
    settings = {"num_envs": 2, "horizon": 14, "hidden": (4,)}
    run = fastpg.train(env, fastpg.VPG(), **settings, total_steps=28, env_params=limit)
    assert run.history["mean_length"] == [7.0]
    for max_steps, length in ((None, 7), (5, 5), (9, 7)):
        _, lengths = fastpg.evaluate(env, run.policy, episodes=4, max_steps=max_steps, **limit)
        assert (lengths == length).all()
    batch = fastpg.collect(env, run.policy, 14, num_envs=2, **limit)
    assert np.flatnonzero(batch.truncated[:, 0]).tolist() == [6, 13]
    estimate = fastpg.estimate_gradient(env, run.policy, episodes=4, num_envs=2, **limit)
    assert estimate.num_steps == 28
    (many,) = fastpg.train_many(env, fastpg.VPG(), seeds=1, **settings, total_steps=28, env_params=limit)
    np.testing.assert_array_equal(many.policy.theta, run.policy.theta)


@pytest.mark.parametrize("limit", [-1, 2.5, "7"])
def test_a_time_limit_that_is_no_number_of_steps_is_refused(limit):
    says = r"^train\(\): max_episode_steps must be an integer from 0"
    with pytest.raises((TypeError, ValueError), match=says):
        fastpg.train("Pendulum-v1", env_params={"max_episode_steps": limit})
