"""What is copied, pickled or sent between processes comes back whole, or says why it cannot."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple

import fastpg
from fastpg.exact import FiniteMDP
from fastpg.networks.parametric import is_untrained


def pickled(value):
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])


@COPIES
@pytest.mark.parametrize(
    "space",
    [Box(-1, 1, (3,)), Discrete(3, start=2), MultiDiscrete([2, 3], start=[1, -1]), Tuple([Discrete(2)] * 2)],
    ids=str,
)
def test_a_copied_value_function_is_equal_and_independent(copied, space):
    value = fastpg.ValueFunction(space, hidden=(8,), activation="relu", seed=3)
    twin = copied(value)
    obs = space.sample()
    obs = np.asarray(obs, np.float32) if isinstance(space, Box) else obs
    assert repr(twin) == repr(value) and twin.observation_space == space
    assert twin(obs) == value(obs)
    twin.theta[:] = 0.0
    assert value.theta.any()


@COPIES
def test_a_policy_is_untrained_while_its_weights_are_those_that_were_drawn(copied, tmp_path):
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(4,))
    policy.parameters()["log_std"][:] = -0.5
    policy.parameters()["head.bias"][:] = 1.0
    assert is_untrained(policy) and is_untrained(copied(policy))
    policy.save(tmp_path / "policy.safetensors")
    assert not is_untrained(fastpg.Policy.load(tmp_path / "policy.safetensors"))  # which nobody knows
    policy.theta[3] += 1e-6
    assert not is_untrained(policy) and not is_untrained(copied(policy))


ALGORITHMS = [
    fastpg.Reinforce(),
    fastpg.VPG(),
    fastpg.VPG(normalize_observations=True),
    fastpg.A2C(),
    fastpg.PPO(normalize_observations=True, normalize_rewards=True, desired_kl=0.01),
]


def trained(number):
    return fastpg.train("CartPole-v1", ALGORITHMS[number], hidden=(8,), total_steps=500, seed=number)


def test_runs_of_every_algorithm_come_back_from_a_process_pool():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = list(pool.map(trained, range(len(ALGORITHMS))))
    for number, run in enumerate(runs):
        here = trained(number)
        np.testing.assert_array_equal(run.policy.theta, here.policy.theta)
        np.testing.assert_array_equal(run.history["mean_return"], here.history["mean_return"])
        assert run.config == here.config
        assert (run.value is None) == (here.value is None)
        if run.value is not None:
            np.testing.assert_array_equal(run.value.theta, here.value.theta)


def mdp():
    transition = np.zeros((3, 2, 3))
    transition[:, 0, 1] = transition[:, 1, 2] = 1.0
    return FiniteMDP(transition, np.ones((3, 2)), np.array([False, True, True]), np.array([1.0, 0.0, 0.0]))


RESULTS = {
    "GradientEstimate": lambda: fastpg.estimate_gradient("CartPole-v1", policy(), episodes=4),
    "Rollout": lambda: fastpg.collect("CartPole-v1", policy(), 3, num_envs=2),
    "TrainResult": lambda: fastpg.train("gym:CartPole-v1", fastpg.A2C(), total_steps=200, hidden=(8,)),
    "TrainResult of a function": lambda: fastpg.train(
        lambda: gymnasium.make("CartPole-v1"), fastpg.VPG(), total_steps=200, hidden=(8,)
    ),
    "ExactGradient": lambda: fastpg.exact.policy_gradient(mdp(), fastpg.Policy.for_env(mdp())),
    "FiniteMDP": mdp,
    "FormComparison": lambda: fastpg.diagnostics.compare_forms(
        "CartPole-v1", policy(), forms=["total"], batches=2, episodes=4
    ),
    "Reinforce": fastpg.Reinforce,
    "VPG": lambda: fastpg.VPG(lam=0.5),
    "A2C": fastpg.A2C,
    "PPO": lambda: fastpg.PPO(target_kl=0.02),
}


def policy():
    return fastpg.Policy.for_env("CartPole-v1", hidden=())


@COPIES
@pytest.mark.parametrize("name", RESULTS)
def test_results_and_settings_survive(name, copied):
    result = RESULTS[name]()
    assert repr(copied(result)) == repr(result)


MADE = {
    "VectorEnv": lambda: fastpg.make("CartPole-v1", num_envs=2),
    "a single environment": lambda: gymnasium.make("fastpg/CartPole-v1"),
    "a wrapper": lambda: gymnasium.wrappers.vector.RecordEpisodeStatistics(
        fastpg.make("CartPole-v1", num_envs=2)
    ),
}


@pytest.mark.parametrize(
    ("made", "copied"),
    [("VectorEnv", copy.copy), *((made, copied) for made in MADE for copied in (copy.deepcopy, pickled))],
)
def test_environments_say_that_they_cannot_be_copied(made, copied):
    env = MADE[made]()
    with pytest.raises(TypeError, match=r"^a VectorEnv cannot be copied or pickled.*make_vec\(env.spec\)"):
        copied(env)
