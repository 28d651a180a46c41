"""What users see of PPO: batches that are hardly any, its statistics, and what its options change."""

import dataclasses

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from tests.support.agents import WHOLES, agent_of, networks, random_batch

WHOLE = WHOLES["ppo, whole"]
every_standard = pytest.mark.parametrize("standardize", ["minibatch", "batch", "none"])
OF_PPO = ("policy_loss", "clip_fraction", "approx_kl", "approx_kl_k1")


def updated(algorithm, batch, space=None):
    """The policy before and after an update with a new agent, the agent, and what is known of it."""
    policy, value, *_ = networks(Discrete(5) if space is None else space)
    before = policy.theta.copy()
    agent = agent_of(algorithm, policy, value)
    return before, agent, agent.update(batch)


def ended_at_once(rewards, obs=None):
    """Episodes of one step, with these rewards (N,)."""
    num_envs = len(rewards)
    if obs is None:
        obs = np.random.default_rng(0).normal(size=(1, num_envs, 4)).astype(np.float32)
    actions, ends = np.arange(num_envs).reshape(1, -1) % 5, np.ones((1, num_envs), bool)
    return fastpg.Batch.from_arrays(
        obs, actions, np.float32(rewards).reshape(1, -1), ends, ~ends, last_obs=np.zeros_like(obs[0])
    )


# ---- batches that are hardly any ---------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [fastpg.PPO(), WHOLE], ids=["ppo", "ppo, whole"])
@every_standard
def test_a_single_row_is_learnt_from(algorithm, standardize):
    algorithm = dataclasses.replace(algorithm, standardize_advantages=standardize)
    before, agent, stats = updated(algorithm, ended_at_once([1.0]))
    assert stats["num_steps"] == 1
    assert stats["num_updates"] == algorithm.epochs
    assert np.isfinite([stats[name] for name in (*OF_PPO, "gradient_norm", "value_loss")]).all()
    assert (agent.policy.theta != before).any()


@pytest.mark.parametrize(("rows", "minibatches", "steps"), [(3, 4, 3), (7, 1000, 7), (64, 64, 64), (9, 2, 2)])
def test_minibatches_without_rows_take_no_step(rows, minibatches, steps):
    policy, *_ = networks(Discrete(5))
    *_, stats = updated(
        fastpg.PPO(epochs=2, minibatches=minibatches), random_batch(policy, rows, 1, masked=False)
    )
    assert stats["num_updates"] == 2 * steps


@every_standard
@pytest.mark.parametrize("reward", [0.0, 1.0, -3e6])
def test_advantages_that_are_all_equal_teach_a_standardised_policy_nothing(standardize, reward):
    algorithm = fastpg.PPO(standardize_advantages=standardize, minibatches=3, epochs=2)
    policy, value, *_ = networks(Discrete(5))
    value.theta[:] = 0
    before = policy.theta.copy()
    stats = agent_of(algorithm, policy, value).update(ended_at_once(np.full(21, reward)))
    assert np.isfinite([stats[name] for name in OF_PPO]).all()
    assert np.isnan(stats["explained_variance"])  # the targets have no variance
    moves = standardize == "none" and reward != 0
    np.testing.assert_allclose(policy.theta, before, rtol=0, atol=1 if moves else 1e-7)
    assert (policy.theta != before).any() or not moves


@pytest.mark.parametrize("rewards", [0.0, 2.5], ids=["nothing is earned", "all earn the same"])
@pytest.mark.parametrize("obs", [0.0, -7.0], ids=["zeros", "constants"])
def test_what_never_varies_is_normalised_to_numbers(rewards, obs):
    _, agent, stats = updated(
        WHOLE, ended_at_once(np.full(21, rewards), np.full((1, 21, 4), obs, np.float32))
    )
    for network in (agent.policy, agent.value):
        assert np.isfinite(network.theta).all()
    assert np.isfinite([stats[name] for name in OF_PPO]).all()
    assert np.abs(agent.value(np.zeros((1, 4), np.float32))).max() < 1e3


@pytest.mark.parametrize("algorithm", [fastpg.PPO(), WHOLE], ids=["ppo", "ppo, whole"])
def test_a_batch_of_rows_that_do_not_count_is_refused(algorithm):
    policy, value, *_ = networks(Discrete(5))
    agent = agent_of(algorithm, policy, value)
    like = random_batch(policy, 5, 3, masked=False)
    none = np.zeros((5, 3), bool)
    arrays = like.obs, like.actions, like.rewards, none, none
    with pytest.raises(ValueError, match=r"^Agent\.update\(\): batch has no transition.*mask"):
        agent.update(fastpg.Batch.from_arrays(*arrays, last_obs=like.last_obs, mask=none))
    assert agent.num_iterations == 0


# ---- statistics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [Discrete(5), Box(-1, 1, (2,))], ids=str)
def test_statistics_say_how_far_the_policy_went(space):
    policy, *_ = networks(space)
    batch = random_batch(policy, 33, 17)
    known = [updated(fastpg.PPO(learning_rate=rate), batch, space)[2] for rate in (1e-5, 1e-3, 1e-2)]
    for name in ("approx_kl", "clip_fraction"):
        numbers = [one[name] for one in known]
        assert 0 <= numbers[0] < numbers[1] < numbers[2], name
    assert all(one["clip_fraction"] <= 1 for one in known)
    assert known[0]["policy_loss"] > known[1]["policy_loss"]  # advantages have mean 0: at first it is 0
    assert {one["num_updates"] for one in known} == {320}


def test_a_step_alone_is_measured_where_the_ratio_is_one():
    *_, stats = updated(fastpg.PPO(epochs=1, minibatches=1), random_batch(networks(Discrete(5))[0], 33, 17))
    assert stats["num_updates"] == 1
    np.testing.assert_allclose([stats[name] for name in OF_PPO], 0, atol=1e-5)


def test_the_target_of_kl_ends_updates_and_the_desired_one_changes_the_rate():
    batch = random_batch(networks(Discrete(5))[0], 33, 17)
    fast = fastpg.PPO(learning_rate=3e-2)
    *_, free = updated(fast, batch)
    *_, ended = updated(dataclasses.replace(fast, target_kl=0.01), batch)
    assert ended["num_updates"] < free["num_updates"] == 320
    assert 0 < ended["approx_kl"] < free["approx_kl"]
    *_, followed = updated(dataclasses.replace(fast, desired_kl=0.01), batch)
    assert followed["num_updates"] == 320
    assert followed["learning_rate"] < free["learning_rate"] == 3e-2
    *_, raised = updated(fastpg.PPO(learning_rate=1e-5, desired_kl=0.01, minibatches=1), batch)
    assert raised["learning_rate"] > 1e-5


def test_others_have_no_statistics_of_ppo():
    *_, stats = updated(fastpg.VPG(), random_batch(networks(Discrete(5))[0], 5, 3))
    assert np.isnan([stats[name] for name in OF_PPO]).all()


# ---- options -----------------------------------------------------------------------------------------------


def test_the_unit_of_normalised_rewards_is_no_matter():
    ends = []
    for unit in (1.0, 1024.0):
        policy, *_ = networks(Discrete(5))
        start = policy.theta.copy()
        agent = fastpg.Agent(fastpg.PPO(normalize_rewards=True), policy, seed=3)
        for seed in range(2):
            agent.update(random_batch(policy, 33, 17, seed, scale=unit))
        obs = random_batch(policy, 33, 17).obs
        ends.append((policy.theta - start, agent.value(obs) / unit))
    for first, second in zip(*ends, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-2, atol=1e-4)


def test_the_value_function_of_normalised_rewards_predicts_those_of_the_environment():
    policy, *_ = networks(Discrete(5))
    agent = fastpg.Agent(
        fastpg.PPO(normalize_rewards=True, normalize_observations=True, learning_rate=1e-3), policy
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        obs = rng.normal(5, 3, size=(1, 512, 4)).astype(np.float32)
        rewards = 1000 * obs[0, :, 0] - 4000
        known = agent.update(ended_at_once(rewards, obs))
    assert known["explained_variance"] > 0.9
    error = agent.value(obs) - rewards
    assert np.sqrt(np.mean(error**2)) < 0.3 * rewards.std()


def test_defaults_of_a_run():
    run = fastpg.train("CartPole-v1", fastpg.PPO(), total_steps=1, hidden=(4,), seed=1)
    assert run.num_steps == 16 * 128
    assert run.config["algorithm"] == "PPO"
    assert run.config["value_hidden"] == run.value.hidden == (64, 64)
    assert run.history["num_updates"][0] == 320
    run = fastpg.train("CartPole-v1", fastpg.PPO(), total_steps=1, hidden=(4,), episodes=4)
    assert run.history["num_episodes"][0] == 4


def test_a_new_policy_begins_with_the_standard_deviation_that_is_asked_for():
    algorithm = fastpg.PPO(initial_log_std=-1.5, learning_rate=1e-9)
    start = {"hidden": (4,), "total_steps": 1}
    (many,) = fastpg.train_many("Pendulum-v1", [algorithm], seeds=1, **start)
    alone = fastpg.train("Pendulum-v1", algorithm, seed=many.config["seed"], **start)
    for run in (many, alone):
        np.testing.assert_allclose(run.policy.parameters()["log_std"], -1.5, atol=1e-5)
    again = fastpg.train("Pendulum-v1", fastpg.PPO(learning_rate=1e-9), policy=alone.policy, **start)
    np.testing.assert_allclose(again.policy.parameters()["log_std"], -1.5, atol=1e-5)
    fastpg.train("CartPole-v1", algorithm, **start)  # whose actions have none


def test_schedules_end_at_total_steps():
    algorithm = fastpg.PPO(linear_schedule=True, linear_clip_range=True, epochs=2, minibatches=2)
    run = fastpg.train("CartPole-v1", algorithm, horizon=16, total_steps=1024, hidden=(4,))
    np.testing.assert_allclose(run.history["learning_rate"], 3e-4 * np.array([1, 0.75, 0.5, 0.25]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_the_defaults_solve_cartpole(seed):
    run = fastpg.train("CartPole-v1", fastpg.PPO(), target_return=475, seed=seed)
    assert run.stopped_because == "target_return"
