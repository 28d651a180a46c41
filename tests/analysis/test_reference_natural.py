"""The oracle of natural gradients: the Fisher matrix by its definitions, conjugate gradients, TRPO's step."""

import numpy as np
import pytest

from fastpg import reference
from fastpg.reference import TrustRegion
from tests.support.differences import central_differences
from tests.support.policies import NETWORKS, outcomes, random_rows
from tests.support.quick import few

SMALL = [one for one in NETWORKS if reference.num_parameters(one) < 25]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_jacobian_is_the_derivative_of_the_outputs(network, rng):
    theta, obs, _ = random_rows(network, rng)
    numeric = central_differences(lambda x: reference.logits(network, x, obs), theta)
    jacobian = reference.output_jacobian(network, theta, obs)
    layers = jacobian.shape[-1]
    np.testing.assert_allclose(jacobian, numeric[..., :layers], atol=1e-8)
    assert (numeric[..., layers:] == 0).all()  # log_std's


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_fisher_matrix_is_the_second_moment_of_the_score(network, rng):
    theta, obs, _ = random_rows(network, rng)
    z = reference.logits(network, theta, obs)
    by_outputs = by_theta = 0.0
    for actions, p in outcomes(network, theta, obs):
        s = reference.output_score(network, theta, z, actions)
        by_outputs = by_outputs + p[:, None, None] * s[:, :, None] * s[:, None, :]
        s = reference.score(network, theta, obs, actions)
        by_theta = by_theta + np.einsum("b,bp,bq->pq", p, s, s) / len(obs)
    np.testing.assert_allclose(reference.output_fisher(network, theta, obs), by_outputs, atol=1e-12)
    np.testing.assert_allclose(reference.fisher(network, theta, obs), by_theta, atol=1e-10)


# 4 P^2 divergences: the small networks alone in the quick loop.
@pytest.mark.parametrize("network", few(NETWORKS, SMALL), ids=str)
def test_the_fisher_matrix_is_the_hessian_of_the_divergence(network, rng):
    theta, obs, _ = random_rows(network, rng)

    def gradient(x):
        return central_differences(lambda y: reference.kl(network, theta, y, obs).mean(), x, 1e-3)

    hessian = central_differences(gradient, theta, 1e-3)
    np.testing.assert_allclose(reference.fisher(network, theta, obs), hessian, atol=1e-4)


def test_conjugate_gradients_solve_in_as_many_steps_as_there_are_unknowns(rng):
    root, b = rng.normal(size=(9, 9)), rng.normal(size=9)
    matrix = root @ root.T + np.eye(9)
    solved = reference.conjugate_gradients(lambda x: matrix @ x, b, 9)
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, b), rtol=1e-6)


def test_conjugate_gradients_are_the_best_of_their_krylov_space(rng):
    root, b = rng.normal(size=(9, 9)), rng.normal(size=9)
    matrix = root @ root.T + np.eye(9)
    for steps in (1, 2, 4):
        basis = np.stack([np.linalg.matrix_power(matrix, k) @ b for k in range(steps)], axis=1)
        best = basis @ np.linalg.solve(basis.T @ matrix @ basis, basis.T @ b)  # in the norm of the matrix
        got = reference.conjugate_gradients(lambda x: matrix @ x, b, steps)
        np.testing.assert_allclose(got, best, rtol=1e-6)


def test_conjugate_gradients_stop_at_their_tolerance_and_at_nothing_to_do():
    calls = []

    def product(x):
        calls.append(x)
        return np.arange(1.0, 9.0) * x

    x = reference.conjugate_gradients(product, np.ones(8), 100, tolerance=0.1)
    assert np.linalg.norm(np.ones(8) - np.arange(1.0, 9.0) * x) <= 0.1 * np.sqrt(8)
    assert 0 < len(calls) < 8
    assert (reference.conjugate_gradients(product, np.zeros(8), 100) == 0).all()


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_the_natural_step_diverges_by_what_it_may_to_second_order(network, damping, rng):
    theta, obs, actions = random_rows(network, rng, 100)
    gradient = reference.policy_gradient(network, theta, obs, actions, rng.normal(size=100))
    options = TrustRegion(max_kl=1e-6, damping=damping, cg_iterations=10)
    step = reference.natural_step(network, theta, obs, gradient, options)
    matrix = reference.fisher(network, theta, obs) + damping * np.eye(len(theta))
    np.testing.assert_allclose(0.5 * step @ matrix @ step, 1e-6)
    assert gradient @ step > 0
    divergence = reference.kl(network, theta, theta + step, obs).mean()
    quadratic = 1e-6 - 0.5 * damping * step @ step
    np.testing.assert_allclose(divergence, quadratic, rtol=0.05)


def test_with_enough_conjugate_gradients_the_step_is_along_the_natural_gradient(rng):
    network = NETWORKS[0]
    theta, obs, actions = random_rows(network, rng, 50)
    gradient = reference.policy_gradient(network, theta, obs, actions, rng.normal(size=50))
    step = reference.natural_step(network, theta, obs, gradient, TrustRegion(cg_iterations=100))
    matrix = reference.fisher(network, theta, obs) + 0.1 * np.eye(len(theta))
    natural = np.linalg.solve(matrix, gradient)
    np.testing.assert_allclose(step / np.linalg.norm(step), natural / np.linalg.norm(natural), atol=1e-8)


def judged(network, theta, step, obs, actions, advantages):
    """The surrogate's improvement and the divergence of a step."""
    old_log_probs = reference.log_prob(network, theta, obs, actions)
    ratios = reference.probability_ratios(network, theta + step, obs, actions, old_log_probs)
    divergence = reference.kl(network, theta, theta + step, obs).mean()
    return (ratios * advantages).mean() - advantages.mean(), divergence


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        TrustRegion(),
        TrustRegion(max_kl=2.0, damping=1e-3, backtracks=40, backtrack_factor=0.8, accept_ratio=0.3),
    ],
    ids=str,
)
def test_the_step_of_trpo_is_the_longest_that_keeps_to_its_terms(network, options, rng):
    theta, obs, actions = random_rows(network, rng, 60)
    advantages = rng.normal(size=60)
    taken = reference.trpo_step(network, theta, obs, actions, advantages, options)
    assert taken.accepted
    np.testing.assert_allclose(
        taken.theta - theta, options.backtrack_factor**taken.backtracks * taken.full_step
    )
    for backtracks in range(taken.backtracks + 1):
        step = options.backtrack_factor**backtracks * taken.full_step
        improvement, divergence = judged(network, theta, step, obs, actions, advantages)
        keeps = divergence <= options.max_kl and improvement > options.accept_ratio * taken.gradient @ step
        assert keeps == (backtracks == taken.backtracks)
    np.testing.assert_allclose((taken.improvement, taken.kl), (improvement, divergence))


def test_where_no_step_keeps_to_the_terms_theta_stays(rng):
    network = NETWORKS[0]
    theta, obs, actions = random_rows(network, rng, 60)
    options = TrustRegion(accept_ratio=10.0, backtracks=3)  # ten times what the gradient promises
    refused = reference.trpo_step(network, theta, obs, actions, rng.normal(size=60), options)
    assert (refused.accepted, refused.backtracks, refused.kl, refused.improvement) == (False, 3, 0.0, 0.0)
    assert (refused.theta == theta).all()
    nothing = reference.trpo_step(network, theta, obs, actions, np.zeros(60), TrustRegion())
    assert not nothing.accepted
    assert (nothing.full_step == 0).all()
