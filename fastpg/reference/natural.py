"""Natural policy gradients: the Fisher matrix, conjugate gradients, and TRPO's step.

The Fisher matrix F is the Hessian of the mean KL divergence from the policy to one nearby: to second order, a
step d diverges by d^T F d / 2. F is dense here, which is for small networks.

References
----------
Kakade, "A natural policy gradient", 2001; Schulman, Levine, Moritz, Jordan and Abbeel, "Trust region policy
optimization", 2015, appendix C.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastpg.reference.arrays import Floats, Ints
from fastpg.reference.gradients import policy_gradient
from fastpg.reference.heads import component_log_probs, is_free, kl, log_prob, mean_and_log_std
from fastpg.reference.networks import Network, logits, num_parameters, row_gradients
from fastpg.reference.surrogates import probability_ratios


def output_fisher(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return each row's Fisher matrix by the outputs, `(B, A, A)`: `E_a[s s^T]` with the score s by them.

    - categorical: `diag(p) - p p^T` of each component, 0 between components;
    - Bernoulli: `diag(p (1 - p))`;
    - Gaussian: `diag(1 / std^2)`, by the means; `log_std_fisher` is the rest. Where log_std are outputs, 2 by
      each of them that is not held.
    """
    z = logits(network, theta, obs)
    result = np.zeros((len(z), network.num_outputs, network.num_outputs))
    diagonal = np.arange(network.num_outputs)
    if network.head == "gaussian":
        _, log_scale = mean_and_log_std(network, theta, z)
        by_log_std = [2.0 * is_free(z)] if network.state_std else []
        result[:, diagonal, diagonal] = np.concatenate([np.exp(-2.0 * log_scale), *by_log_std], axis=-1)
        return result
    if network.head == "bernoulli":
        p = 1.0 / (1.0 + np.exp(-z))
        result[:, diagonal, diagonal] = p * (1.0 - p)
        return result
    first = 0
    for table in component_log_probs(network, z):
        p, size = np.exp(table), table.shape[1]
        part = slice(first, first + size)
        result[:, part, part] = p[:, :, None] * np.eye(size) - p[:, :, None] * p[:, None, :]
        first += size
    return result


def log_std_fisher(network: Network) -> Floats:
    """Return the Fisher matrix of a Gaussian by log_std, `2 I`; `(0, 0)` if there is none.

    Its score is `e^2 - 1` with a standard normal e, and has the variance 2. With the score by the means,
    `e / std`, it has no covariance, since `E[e^3 - e] = 0`.
    """
    return 2.0 * np.eye(network.num_outputs if network.head == "gaussian" and not network.state_std else 0)


def output_jacobian(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return the derivative of each row's outputs with respect to the layers' parameters, `(B, A, P')`."""
    each = np.eye(network.num_outputs)
    rows = [row_gradients(network, theta, obs, np.tile(output, (len(obs), 1))) for output in each]
    return np.stack(rows, axis=1)


def fisher(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return the mean of the rows' `J^T F_z J`, with F_z by the outputs and their Jacobian J, `(P, P)`."""
    jacobian = output_jacobian(network, theta, obs)
    by_rows = np.einsum(
        "bap,bac,bcq->pq", jacobian, output_fisher(network, theta, obs), jacobian, optimize=True
    )
    by_layers, size = len(by_rows), num_parameters(network)
    result = np.zeros((size, size))
    result[:by_layers, :by_layers] = by_rows / len(obs)
    result[by_layers:, by_layers:] = log_std_fisher(network)
    return result


def conjugate_gradients(
    product: Callable[[Floats], Floats], b: Floats, iterations: int, tolerance: float = 1e-10
) -> Floats:
    """Return x with `product(x)` near b, where `product` is by a symmetric positive definite matrix.

    From x = 0 it takes so many iterations; fewer if the residual's norm is at most `tolerance` times b's.

    References
    ----------
    Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.

    Examples
    --------
    >>> import numpy as np
    >>> matrix = np.array([[4.0, 1.0], [1.0, 3.0]])
    >>> (11 * conjugate_gradients(lambda x: matrix @ x, np.array([1.0, 2.0]), 2)).round(9).tolist()
    [1.0, 7.0]
    """
    x, residual = np.zeros_like(b), b.copy()
    direction, square = residual.copy(), residual @ residual
    stop = tolerance**2 * square
    for _ in range(iterations):
        if square <= stop:
            break
        image = product(direction)
        step = square / (direction @ image)
        x = x + step * direction
        residual = residual - step * image
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    return x


class TrustRegion(NamedTuple):
    """TRPO's options: a step makes at least `accept_ratio` times the improvement that is expected of it."""

    max_kl: float = 0.01
    damping: float = 0.1
    cg_iterations: int = 10
    backtracks: int = 10
    backtrack_factor: float = 0.8
    accept_ratio: float = 0.0
    cg_tolerance: float = 1e-10


class TrustRegionStep(NamedTuple):
    """A step of TRPO: the new theta, which is the old one where no step was taken, and how it came about."""

    theta: Floats
    gradient: Floats
    full_step: Floats  # what was tried first
    backtracks: int  # how often that was shortened; all of them where no step was taken
    accepted: bool
    kl: float  # KL(old | new), mean over the rows
    improvement: float  # of the surrogate


def natural_step(
    network: Network, theta: Floats, fisher_obs: Floats, gradient: Floats, options: TrustRegion
) -> Floats:
    """Return the step along `x = H^-1 gradient` that diverges by `max_kl` to second order, `(P,)`.

    H is `F + damping I`, and `d^T H d / 2 = max_kl` for `d = sqrt(2 max_kl / x^T H x) x`.
    """
    matrix = fisher(network, theta, fisher_obs) + options.damping * np.eye(len(theta))
    x = conjugate_gradients(lambda v: matrix @ v, gradient, options.cg_iterations, options.cg_tolerance)
    curvature = float(x @ matrix @ x)
    return math.sqrt(2.0 * options.max_kl / curvature) * x if curvature > 0.0 else x


def divergence_and_improvement(
    network: Network, theta: Floats, moved: Floats, obs: Floats, actions: Ints | Floats, advantages: Floats
) -> tuple[float, float]:
    """Return the mean KL(old | new), and by how much the surrogate `mean(r A)` has grown."""
    old_log_probs = log_prob(network, theta, obs, actions)
    ratios = probability_ratios(network, moved, obs, actions, old_log_probs)
    return float(kl(network, theta, moved, obs).mean()), float(((ratios - 1.0) * advantages).mean())


def npg_step(
    network: Network,
    theta: Floats,
    obs: Floats,
    actions: Ints | Floats,
    advantages: Floats,
    options: TrustRegion,
    fisher_obs: Floats | None = None,
) -> TrustRegionStep:
    """Take the natural step as it is, whatever comes of it; F is of `fisher_obs`, or of all observations."""
    gradient = policy_gradient(network, theta, obs, actions, advantages)
    full_step = natural_step(network, theta, obs if fisher_obs is None else fisher_obs, gradient, options)
    moved = theta + full_step
    reached = divergence_and_improvement(network, theta, moved, obs, actions, advantages)
    return TrustRegionStep(moved, gradient, full_step, 0, True, *reached)


def trpo_step(
    network: Network,
    theta: Floats,
    obs: Floats,
    actions: Ints | Floats,
    advantages: Floats,
    options: TrustRegion,
    fisher_obs: Floats | None = None,
) -> TrustRegionStep:
    """Take one step of TRPO on the surrogate `mean(r A)` (Schulman et al., equation 14 and appendix C).

    The natural step is shortened by `backtrack_factor` until the mean KL divergence is at most `max_kl` and
    the surrogate has grown, by at least `accept_ratio` of what its gradient promises. If `backtracks` shorter
    steps do not do it either, theta stays. F is of `fisher_obs`, or of all observations.
    """
    whole = npg_step(network, theta, obs, actions, advantages, options, fisher_obs)
    for backtracks in range(options.backtracks + 1):
        step = options.backtrack_factor**backtracks * whole.full_step
        moved = theta + step
        reached = divergence_and_improvement(network, theta, moved, obs, actions, advantages)
        least = options.accept_ratio * float(whole.gradient @ step)
        if reached[0] <= options.max_kl and reached[1] > 0.0 and reached[1] >= least:
            return TrustRegionStep(moved, whole.gradient, whole.full_step, backtracks, True, *reached)
    return whole._replace(theta=theta, backtracks=options.backtracks, accepted=False, kl=0.0, improvement=0.0)
