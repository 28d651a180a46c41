"""The oracle of PPO: slopes by central differences and torch, estimates of divergences by their means."""

import numpy as np
import pytest

from fastpg import reference
from tests.support.differences import central_differences
from tests.support.policies import NETWORKS, outcomes, random_rows

CLIP = 0.2


def two_policies(network, rng, size=40):
    """Rows of an old policy, and a new policy that some of them are clipped under."""
    old, obs, actions = random_rows(network, rng, size)
    change = rng.normal(size=old.shape)
    typical = np.median(np.abs(reference.score(network, old, obs, actions) @ change))
    theta = old + 0.25 / typical * change  # half of the log-ratios are larger than 0.25, to first order
    old_log_probs = reference.log_prob(network, old, obs, actions)
    ratios = reference.probability_ratios(network, theta, obs, actions, old_log_probs)
    advantages = rng.normal(size=size)
    stopped = reference.surrogate_slope(ratios, advantages, CLIP) == 0
    assert 0 < stopped.sum() < (np.abs(ratios - 1) > CLIP).sum() < size  # on both sides, for both signs
    return theta, obs, actions, old_log_probs, advantages


def row_surrogates(network, theta, obs, actions, old_log_probs, advantages):
    ratios = reference.probability_ratios(network, theta, obs, actions, old_log_probs)
    return reference.clipped_surrogate(ratios, advantages, CLIP)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_gradient_is_the_derivative_of_the_mean_surrogate(network, rng):
    theta, obs, actions, old_log_probs, advantages = two_policies(network, rng)
    numeric = central_differences(
        lambda x: row_surrogates(network, x, obs, actions, old_log_probs, advantages).mean(), theta
    )
    ratios = reference.probability_ratios(network, theta, obs, actions, old_log_probs)
    slope = reference.surrogate_slope(ratios, advantages, CLIP)
    gradient = reference.surrogate_gradient(network, theta, obs, actions, slope)
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_gradient_by_the_outputs_is_that_by_the_heads_bias(network, rng):
    theta, obs, actions, old_log_probs, advantages = two_policies(network, rng)
    by_theta = central_differences(
        lambda x: row_surrogates(network, x, obs, actions, old_log_probs, advantages), theta
    )
    end = len(theta) - (network.num_outputs if network.head == "gaussian" else 0)
    ratios = reference.probability_ratios(network, theta, obs, actions, old_log_probs)
    slope = reference.surrogate_slope(ratios, advantages, CLIP)
    z = reference.logits(network, theta, obs)
    gradient = reference.surrogate_output_gradient(network, theta, z, actions, slope)
    np.testing.assert_allclose(gradient, by_theta[:, end - network.num_outputs : end], atol=1e-7)


def test_slopes_are_torchs(rng):
    torch = pytest.importorskip("torch")
    log_ratios, advantages, values, old_values, targets = rng.normal(size=(5, 200))
    leaf = torch.tensor(log_ratios, requires_grad=True)
    ratio, worth = leaf.exp(), torch.tensor(advantages)
    torch.minimum(ratio * worth, ratio.clamp(1 - CLIP, 1 + CLIP) * worth).sum().backward()
    slope = reference.surrogate_slope(np.exp(log_ratios), advantages, CLIP)
    np.testing.assert_allclose(slope, leaf.grad.numpy(), rtol=1e-12)

    v, old, wanted = torch.tensor(values, requires_grad=True), torch.tensor(old_values), torch.tensor(targets)
    held = old + (v - old).clamp(-CLIP, CLIP)
    (0.5 * torch.maximum((wanted - v) ** 2, (wanted - held) ** 2)).sum().backward()
    slope = reference.clipped_value_slope(values, old_values, targets, CLIP)
    assert 0 < (slope == 0).sum() < 200
    np.testing.assert_allclose(slope, -v.grad.numpy(), rtol=1e-12)

    v.grad = None
    loss = torch.nn.functional.huber_loss(v, wanted, reduction="none", delta=0.7)
    loss.sum().backward()
    errors = targets - values
    np.testing.assert_allclose(reference.huber_loss(errors, 0.7), loss.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(reference.huber_slope(errors, 0.7), -v.grad.numpy(), rtol=1e-12)


def test_slopes_of_value_losses_are_derivatives(rng):
    values, old_values, targets = rng.normal(size=(3, 50))
    for loss, slope in (
        (
            lambda v: reference.clipped_value_loss(v, old_values, targets, CLIP).sum(),
            reference.clipped_value_slope(values, old_values, targets, CLIP),
        ),
        (
            lambda v: reference.huber_loss(targets - v, 0.7).sum(),
            reference.huber_slope(targets - values, 0.7),
        ),
    ):
        np.testing.assert_allclose(slope, -central_differences(loss, values), atol=1e-8)


def test_without_a_step_the_surrogate_is_the_advantage_and_its_gradient_the_policys(rng):
    advantages, ratios = rng.normal(size=7), np.ones(7)
    np.testing.assert_array_equal(reference.clipped_surrogate(ratios, advantages, CLIP), advantages)
    np.testing.assert_array_equal(reference.surrogate_slope(ratios, advantages, CLIP), advantages)
    assert reference.clip_fraction(ratios, CLIP) == reference.kl_k1(ratios) == reference.kl_k3(ratios) == 0


def test_the_clip_fraction_counts_both_sides():
    assert reference.clip_fraction(np.array([0.5, 0.81, 1.0, 1.19, 1.21]), CLIP) == 0.4


@pytest.mark.parametrize("network", [one for one in NETWORKS if one.head != "gaussian"], ids=str)
def test_estimates_of_the_divergence_have_it_as_their_mean(network, rng):
    old, obs, _ = random_rows(network, rng)
    theta = old + rng.normal(size=old.shape)
    k1 = k3 = 0.0
    for actions, probability in outcomes(network, old, obs):
        ratios = reference.probability_ratios(
            network, theta, obs, actions, reference.log_prob(network, old, obs, actions)
        )
        k1 = k1 + probability * [reference.kl_k1(ratio) for ratio in ratios]
        k3 = k3 + probability * [reference.kl_k3(ratio) for ratio in ratios]
        assert all(reference.kl_k3(ratio) >= 0 for ratio in ratios)
    exact = reference.kl(network, old, theta, obs)
    np.testing.assert_allclose(k1, exact, rtol=1e-10)
    np.testing.assert_allclose(k3, exact, rtol=1e-10)
