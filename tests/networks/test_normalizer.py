"""ObservationNormalizer: the oracle's statistics, in every way of collecting, and folded into networks."""

import copy

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg import reference
from fastpg.reference.normalisation import Normalizer, for_raw, observe, scale
from tests.support.gymnasium_envs import MODES, scripted


def oracle_after(*batches):
    known = Normalizer(0, np.zeros(batches[0].shape[-1]), np.zeros(batches[0].shape[-1]))
    for one in batches:
        known = observe(known, np.float64(one.reshape(-1, one.shape[-1])))
    return scale(known)


def test_statistics_are_the_oracles():
    rng = np.random.default_rng(0)
    normalizer = fastpg.ObservationNormalizer(Box(-np.inf, np.inf, (3,)))
    batches = [rng.normal([1, 100, 3], [1, 20, 0], (7, 5, 3)).astype(np.float32) for _ in range(3)]
    for one in batches:
        normalizer.update(one)
    mean, std = oracle_after(*batches)
    np.testing.assert_allclose(normalizer.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(normalizer.std, std, rtol=1e-6)
    assert normalizer.num_rows == 105 and normalizer.std[2] == 1
    np.testing.assert_allclose(
        normalizer.normalize(batches[0]), (batches[0] - mean) / std, rtol=1e-4, atol=1e-5
    )
    again = fastpg.ObservationNormalizer(Box(-1, 1, (3,)))
    again.set_state(copy.deepcopy(normalizer.state()))
    assert (again.mean == normalizer.mean).all() and again.num_rows == 105


@pytest.mark.parametrize("kind", ["native", "id", *MODES], ids=str)
def test_a_batch_is_normalised_by_what_was_known_before(kind):
    made = {"native": lambda: fastpg.make("Pendulum-v1", 5), "id": lambda: "Pendulum-v1"}
    env = made[kind]() if kind in made else scripted(5, kind)
    policy = fastpg.Policy.for_env(env, hidden=(8,), seed=1)
    policy.theta *= 3
    value = fastpg.ValueFunction(policy.observation_space, hidden=(4,))
    normalizer = fastpg.ObservationNormalizer(policy.observation_space)
    seen = []
    for k in range(3):
        mean, std, folded = normalizer.mean, normalizer.std, normalizer.fold(policy)
        normalizer.training = k < 2
        given = {"num_envs": 5, "seed": k} if kind == "id" else {}
        batch = fastpg.collect(env, policy, 12, value=value, normalizer=normalizer, **given)
        raw = (batch.obs * std + mean).astype(np.float32)
        seen.append(raw if batch.mask is None else raw[batch.mask])
        for got, wanted in (
            (batch.log_probs, policy.log_prob(batch.obs, batch.actions)),
            (batch.log_probs, folded.log_prob(raw, batch.actions)),
            (batch.values, value(batch.obs)),
            (batch.last_values, value(batch.last_obs)),
        ):
            np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-3)
    mean, std = oracle_after(*seen[:2])
    np.testing.assert_allclose(normalizer.mean, mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(normalizer.std, std, rtol=1e-3, atol=1e-4)
    assert normalizer.num_rows == sum(one.size // 3 for one in seen[:2])


def test_folding_is_the_oracles():
    policy = fastpg.Policy(Box(-np.inf, np.inf, (3,)), Discrete(2), hidden=(5,), seed=1)
    normalizer = fastpg.ObservationNormalizer(policy.observation_space)
    normalizer.update(np.random.default_rng(0).normal(5, 3, (50, 3)).astype(np.float32))
    network = reference.Network(3, (5,), 2)
    wanted = for_raw(network, np.float64(policy.theta), normalizer.mean, normalizer.std)
    np.testing.assert_allclose(normalizer.fold(policy).theta, wanted, rtol=1e-5, atol=1e-6)


def test_torch_modules_read_normalised_observations():
    torch = pytest.importorskip("torch")
    import fastpg.torch as fpt

    for activation in (torch.nn.Tanh, torch.nn.GELU):
        module = torch.nn.Sequential(torch.nn.Linear(4, 8), activation(), torch.nn.Linear(8, 2))
        env = fastpg.make("CartPole-v1", 4)
        normalizer = fastpg.ObservationNormalizer(env.single_observation_space)
        fpt.collect(env, module, 20, normalizer=normalizer)
        batch = fpt.collect(env, module, 20, normalizer=normalizer, value=torch.nn.Linear(4, 1))
        assert batch.obs.std() > 0.7
        log_prob, _ = fpt.log_prob_and_entropy(module, batch.obs, batch.actions)
        torch.testing.assert_close(log_prob, batch.log_probs, rtol=1e-3, atol=1e-3)


def test_bad_input_is_a_sentence():
    normalizer = fastpg.ObservationNormalizer(Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match=r"ObservationNormalizer\(\): observation_space must be of real"):
        fastpg.ObservationNormalizer(Discrete(3))
    for call in (normalizer.update, normalizer.normalize):
        for wrong in (np.zeros((3, 3), np.float32), np.zeros(2), np.full(2, np.nan, np.float32)):
            with pytest.raises((TypeError, ValueError), match=r"ObservationNormalizer\.\w+\(\): obs"):
                call(wrong)
    assert normalizer.num_rows == 0
    with pytest.raises(TypeError, match="network must be a Policy or a ValueFunction"):
        normalizer.fold(3)
    policy = fastpg.Policy.for_env("CartPole-v1")
    with pytest.raises(ValueError, match="network has observations of"):
        normalizer.fold(policy)
    for env in ("CartPole-v1", "gym:CartPole-v1"):
        with pytest.raises(ValueError, match=r"collect\(\): .* has observations of"):
            fastpg.collect(env, policy, 3, normalizer=normalizer)
    with pytest.raises(TypeError, match=r"collect\(\): normalizer must be a fastpg"):
        fastpg.collect("CartPole-v1", policy, 3, normalizer=True)
    state = normalizer.state()
    for wrong in (3, {}, {"count": np.array([-1])}, {"statistics": np.zeros(8)}, {"statistics": np.zeros(3)}):
        with pytest.raises((TypeError, ValueError), match=r"ObservationNormalizer\.set_state\(\): "):
            normalizer.set_state(state | wrong if wrong and isinstance(wrong, dict) else wrong)
