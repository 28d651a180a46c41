"""Learning with action masks: every algorithm against its oracle, and every way that rows come by."""

import dataclasses

import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiDiscrete

import fastpg
from tests.support.agents import ALGORITHMS, agent_of, check_updates, networks, random_batch
from tests.support.finite_mdps import random_mdp
from tests.support.jit_envs import Corridor
from tests.support.oracle import relative_error
from tests.support.quick import few

QUICK = ("to go", "gae", "ppo", "ppo, again", "npg", "trpo")
MDP = random_mdp(forbidden=0.5)


def masked_networks(space, num_inputs=4):
    policy, value, oracle, critic = networks(space, num_inputs)
    return policy, value, dataclasses.replace(oracle, masked=True), critic


# ---- the oracle --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [Discrete(5), MultiDiscrete([3, 2])], ids=str)
@pytest.mark.parametrize(("steps", "num_envs"), [(1, 1), (5, 17), (33, 70)])
@pytest.mark.parametrize("name", few(ALGORITHMS, QUICK))
def test_updates_are_the_oracles(name, steps, num_envs, space):
    policy, value, *oracles = masked_networks(space)
    batches = [
        random_batch(policy, steps, num_envs, seed, masked=seed > 0, forbidden=0.5) for seed in range(2)
    ]
    check_updates(ALGORITHMS[name], policy, value, oracles, batches)


@pytest.mark.parametrize("name", ["total, timestep mean", "ppo", "trpo"])
def test_updates_on_every_instruction_set_are_the_oracles(isa, name):
    policy, value, *oracles = masked_networks(MultiDiscrete([3, 17, 2]))
    batches = [random_batch(policy, 33, 17, seed, forbidden=0.5) for seed in range(2)]
    check_updates(ALGORITHMS[name], policy, value, oracles, batches)


@pytest.mark.parametrize("name", ["to go", "gae", "ppo", "trpo"])
def test_updates_with_what_was_collected_are_the_oracles(name):
    policy, value, *oracles = masked_networks(Corridor.action_space, 2)
    batch = fastpg.collect(Corridor, policy, 33, num_envs=17, seed=5)
    check_updates(ALGORITHMS[name], policy, value, oracles, [batch])


@pytest.mark.parametrize("name", ["to go", "normalised", "ppo, normalised", "trpo"])
def test_a_mask_that_allows_everything_changes_no_bit(name):
    policy, value, *_ = networks(Discrete(5))
    batch = random_batch(policy, 33, 17)
    every = dataclasses.replace(batch, action_mask=np.ones((33, 17, 5), bool))
    thetas = []
    for one in (batch, every):
        agent = agent_of(ALGORITHMS[name], policy.copy(), value.copy())
        agent.update(one)
        thetas.append(agent.policy.theta)
    np.testing.assert_array_equal(*thetas)


# ---- the fused pass, and training --------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (16,)], ids=str)
@pytest.mark.parametrize("form", ["total", "reward_to_go"])
@pytest.mark.parametrize("entropy_coef", [0.0, 0.1])
def test_the_fused_estimate_is_that_of_the_batch(isa, hidden, form, entropy_coef):
    policy = fastpg.Policy.for_env(Corridor, hidden=hidden)
    policy.theta[:] += np.random.default_rng(1).normal(0, 0.1, policy.theta.size)
    batch = fastpg.collect(Corridor, policy, 40, num_envs=70, seed=3)
    options = {"form": form, "entropy_coef": entropy_coef, "normalize": "timestep", "gamma": 0.9}
    fused = fastpg.estimate_gradient(Corridor, policy, horizon=40, num_envs=70, seed=3, **options).gradient
    learner = fastpg.Reinforce(optimizer="sgd", learning_rate=1.0, momentum=0.0, **options)
    before = policy.theta.astype(np.float64)
    fastpg.Agent(learner, policy).update(batch)
    assert relative_error(fused, policy.theta - before) < 1e-3  # of a difference of float32 parameters


@pytest.mark.parametrize(
    "algorithm", [fastpg.Reinforce(), fastpg.A2C(), fastpg.PPO(), fastpg.TRPO()], ids=str
)
@pytest.mark.parametrize("env", [Corridor, MDP], ids=["jit", "tabular"])
def test_every_algorithm_trains(algorithm, env):
    run = fastpg.train(env, algorithm, total_steps=2048, num_envs=16, hidden=(16,))
    assert np.isfinite(run.policy.theta).all()
    returns, _ = fastpg.evaluate(env, run.policy, episodes=50, deterministic=False)
    assert returns.mean() > 0


def test_many_runs_are_what_each_is_alone():
    settings = {"num_envs": 8, "horizon": 32, "hidden": (8,), "total_steps": 1024}
    runs = fastpg.train_many(Corridor, [fastpg.PPO(), fastpg.Reinforce()], seeds=2, **settings)
    for k, algorithm in enumerate((fastpg.PPO(), fastpg.PPO(), fastpg.Reinforce(), fastpg.Reinforce())):
        alone = fastpg.train(Corridor, algorithm, seed=k % 2, **settings)
        np.testing.assert_array_equal(runs[k].policy.theta, alone.policy.theta)


def test_threads_change_no_bit(threads):
    thetas = []
    for count in (1, 3):
        threads(count)
        run = fastpg.train(Corridor, fastpg.PPO(), num_envs=130, horizon=16, total_steps=6000, hidden=(8,))
        thetas.append(run.policy.theta)
    np.testing.assert_array_equal(*thetas)


@pytest.mark.slow
def test_a_run_goes_on_with_its_masks(tmp_path):
    settings = {"horizon": 32, "num_envs": 8, "hidden": (8,), "env_params": {"use_action_mask": True}}
    whole = fastpg.train("Taxi-v4", fastpg.PPO(), total_steps=2048, run=tmp_path / "whole", **settings)
    stop = {"callback": lambda progress: progress.num_steps >= 1024, "callback_every": "iteration"}
    fastpg.train("Taxi-v4", fastpg.PPO(), total_steps=2048, run=tmp_path / "cut", **stop, **settings)
    resumed = fastpg.resume(tmp_path / "cut")
    np.testing.assert_array_equal(resumed.policy.theta, whole.policy.theta)


# ---- batches of one's own ----------------------------------------------------------------------------------


def test_a_batch_says_which_row_is_wrong():
    policy, value, *_ = networks(Discrete(5))
    batch = random_batch(policy, 7, 5, forbidden=0.5, masked=False)
    agent = fastpg.Agent(fastpg.PPO(), policy, value)
    before = policy.theta.copy()
    mask = batch.action_mask.copy()
    mask[3, 2] = False
    sentence = r"^Agent\.update\(\): action_mask\[3, 2\] allows no category, so that there is no action"
    with pytest.raises(ValueError, match=sentence):
        agent.update(dataclasses.replace(batch, action_mask=mask))
    mask[3, 2] = np.arange(5) != batch.actions[3, 2]
    with pytest.raises(ValueError, match=r"actions\[3, 2\] is \d, which action_mask\[3, 2\] does not allow"):
        agent.update(dataclasses.replace(batch, action_mask=mask))
    with pytest.raises(ValueError, match=r"action_mask must have shape \(7, 5, 5\)"):
        agent.update(dataclasses.replace(batch, action_mask=mask[..., :4]))
    np.testing.assert_array_equal(policy.theta, before)
    never = np.arange(35).reshape(7, 5) != 17  # the row that is wrong does not count
    agent.update(dataclasses.replace(batch, action_mask=mask, mask=never))


@pytest.mark.parametrize("shape", [(7, 5), (7, 4, 5), (5,)])
def test_a_mask_of_another_shape_is_refused(shape):
    policy, *_ = networks(Discrete(5))
    batch = random_batch(policy, 7, 5, masked=False)
    never = np.zeros((7, 5), bool)
    with pytest.raises(
        ValueError, match=r"^Batch\.from_arrays\(\): action_mask must have shape \(7, 5\) like"
    ):
        fastpg.Batch.from_arrays(
            batch.obs, batch.actions, batch.rewards, never, never, action_mask=np.ones(shape, bool)
        )
