"""Comparing the forms: the numbers against ones from elsewhere, and what theory says about their order."""

import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import fastpg
from fastpg import diagnostics, exact
from fastpg.diagnostics import FORMS, compare_forms, fit_value
from tests.support.finite_mdps import estimate_of, random_mdp, random_policy, trajectories, two_step_mdp

UNBIASED = [name for name in FORMS if name not in diagnostics.BIASED]


@pytest.fixture(scope="module")
def two_steps():
    """Every form in an environment whose trajectories can be counted: (MDP, policy, comparison)."""
    mdp = two_step_mdp()
    policy = random_policy(mdp, ())
    value = fastpg.ValueFunction.for_env(mdp, hidden=())
    return mdp, policy, compare_forms(mdp, policy, value=value, episodes=32, batches=1000)


@pytest.fixture(scope="module")
def cartpole():
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(8,))
    value = fit_value("CartPole-v1", policy, hidden=(16,), total_steps=50_000)
    return compare_forms("CartPole-v1", policy, value=value)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["total", "reward_to_go"])
def test_variance_is_that_of_all_trajectories_with_their_probabilities(two_steps, form):
    mdp, policy, compared = two_steps
    every = trajectories(mdp, policy)
    weights = np.array([one.probability for one in every])
    estimates = np.array([estimate_of(one, policy, form) for one in every])
    mean = weights @ estimates
    variance = weights @ ((estimates - mean) ** 2).sum(axis=1) / compared.episodes
    # The variance's own relative standard error is at most sqrt(2 / 1000) = 4.5 %, for one direction.
    assert compared[form].variance == pytest.approx(variance, rel=0.15)
    signal = mean @ mean / variance
    assert compared[form].signal_to_noise == pytest.approx(signal, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("form", UNBIASED)
def test_the_mean_of_an_unbiased_form_points_along_the_exact_gradient(two_steps, form):
    _, _, compared = two_steps
    assert compared.reference == "exact"
    assert compared[form].cosine > 0.999


@pytest.mark.slow
def test_discounted_forms_estimate_the_gradient_of_the_discounted_return():
    mdp = random_mdp()
    policy = random_policy(mdp, ())
    compared = compare_forms(mdp, policy, gamma=0.5, episodes=512, batches=200)
    found = exact.policy_gradient(mdp, policy, gamma=0.5, discount_states=True)
    np.testing.assert_array_equal(compared.reference_gradient, found.gradient)
    assert min(record.cosine for record in compared.records) > 0.99


@pytest.mark.slow
def test_reward_to_go_and_then_a_baseline_lower_the_variance_on_cartpole(cartpole):
    assert cartpole.reference == "large batch"
    assert cartpole["total"].relative_variance == 1.0
    assert cartpole["reward_to_go"].relative_variance < 0.5
    assert cartpole["reward_to_go - V"].variance < cartpole["reward_to_go"].variance
    assert cartpole["td"].variance < cartpole["gae"].variance < cartpole["reward_to_go - V"].variance


@pytest.mark.slow
def test_the_mean_score_is_zero(two_steps, cartpole):
    for compared in (two_steps[2], cartpole):
        assert abs(compared.mean_score_standard_errors) < 4


def test_rows_whose_mean_is_not_zero_are_many_standard_errors_from_it(rng):
    noise = rng.normal(size=(200, 50)).astype(np.float32)
    assert abs(diagnostics._standard_errors_from_zero(noise)) < 4
    assert diagnostics._standard_errors_from_zero(noise + np.float32(0.1)) > 4


def test_standard_errors_from_zero_are_standard_normal_in_many_and_in_few_directions(rng):
    for scales in (np.ones(40), np.array([10.0, 1.0, 1.0, 1.0])):
        rows = (rng.normal(size=(500, 100, scales.size)) * scales).astype(np.float32)
        found = np.array([diagnostics._standard_errors_from_zero(one) for one in rows])
        assert abs(found.mean()) < 0.25
        assert 0.8 < found.std() < 1.2


def test_fit_value_leaves_the_policy_alone_and_finds_its_return(policy):
    before = policy.theta.copy()
    value = fit_value("CartPole-v1", policy, hidden=(32,), total_steps=100_000)
    np.testing.assert_array_equal(policy.theta, before)
    returns, _ = fastpg.evaluate("CartPole-v1", policy, episodes=1000, deterministic=False)
    assert float(value(np.zeros(4, np.float32))) == pytest.approx(returns.mean(), rel=0.3)


@pytest.mark.slow
def test_the_networks_of_a_run_are_compared_as_they_are():
    algorithm = fastpg.PPO(gamma=0.95, normalize_observations=True, normalize_rewards=True)
    run = fastpg.train("CartPole-v1", algorithm, num_envs=8, hidden=(8,), total_steps=4_000)
    compared = compare_forms("CartPole-v1", run.policy, value=run.value, gamma=0.95, episodes=8, batches=30)
    assert [record.name for record in compared.records] == list(FORMS)
    # Its V is in the unit of the environment's rewards, or it would be no baseline.
    assert compared["gae"].variance < 0.5 * compared["reward_to_go"].variance


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(policy):
    one, same, other = (compare_forms("CartPole-v1", policy, batches=3, seed=seed) for seed in (1, 1, 2))
    assert one.records == same.records
    assert one["total"].variance != other["total"].variance
    with pytest.raises(FrozenInstanceError):
        one.gamma = 0.5


def test_without_a_value_function_the_forms_that_need_one_are_left_out(policy):
    compared = compare_forms("CartPole-v1", policy, batches=2)
    assert [record.name for record in compared.records] == list(FORMS[:4])
    assert str(compared).count("\n") == 7
    with pytest.raises(KeyError, match="'gae' is not among the forms compared"):
        compared["gae"]


def test_no_reward_gives_no_ratio_and_no_error():
    mdp = two_step_mdp()
    nothing = exact.FiniteMDP(mdp.transition, 0 * mdp.reward, mdp.terminal, mdp.start)
    record = compare_forms(nothing, random_policy(nothing, ()), batches=2)["total"]
    assert record.variance == 0.0
    assert np.isnan([record.relative_variance, record.cosine, record.signal_to_noise]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"forms": "total"}, TypeError, "forms must be a sequence of names, got 'total'"),
        ({"forms": []}, TypeError, "forms must be a sequence of names"),
        ({"forms": ["ppo"]}, ValueError, r"forms\[0\] must be one of 'total', "),
        ({"forms": ["gae"]}, ValueError, "the form 'gae' needs value, a fastpg.ValueFunction"),
        ({"value": 1.0}, TypeError, "value must be a fastpg.ValueFunction, got 1.0"),
        ({"batches": 1}, ValueError, "batches must be an integer from 2"),
        ({"episodes": 0}, ValueError, "episodes must be an integer from 1"),
        ({"gamma": 2.0}, ValueError, r"gamma must be a number in \[0, 1\], got 2.0"),
        ({"seed": -1}, ValueError, "seed must be an integer from 0"),
    ],
)
def test_bad_arguments_are_sentences(policy, arguments, error, words):
    with pytest.raises(error, match=r"compare_forms\(\): " + words):
        compare_forms("CartPole-v1", policy, **arguments)


def test_plot_writes_a_picture(policy, tmp_path):
    pytest.importorskip("matplotlib")
    compared = compare_forms("CartPole-v1", policy, batches=2)
    for name, begin in [("forms.png", b"\x89PNG"), ("forms.svg", b"<?xml")]:
        compared.plot(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begin)


def test_plot_without_matplotlib_says_what_to_install(policy, tmp_path, monkeypatch):
    compared = compare_forms("CartPole-v1", policy, batches=2)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install matplotlib$"):
        compared.plot(tmp_path / "forms.png")
    with pytest.raises(ValueError, match="the ending of path must be one of"):
        compared.plot(tmp_path / "forms.doc")
