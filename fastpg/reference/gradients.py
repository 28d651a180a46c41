"""Gradients of a policy: the score `grad log pi(a|s)`, its weighted sums, and the entropy's gradient."""

import numpy as np

from fastpg.reference.arrays import Floats, Ints
from fastpg.reference.heads import entropy_slope, log_std_score, output_score
from fastpg.reference.networks import Network, layer_deltas, logits, output_gradient, row_gradients


def backpropagate(
    network: Network, theta: Floats, obs: Floats, actions: Ints | Floats
) -> list[tuple[Floats, Floats]]:
    """Return, per layer, its input `(B, in)` and its delta `(B, out)`, the derivative of log pi(a|s)."""
    z = logits(network, theta, obs)
    return layer_deltas(network, theta, obs, output_score(network, theta, z, actions))


def score(network: Network, theta: Floats, obs: Floats, actions: Ints | Floats) -> Floats:
    """Return `grad log pi(a|s)` of every sample, `(B, P)`."""
    by_outputs = output_score(network, theta, logits(network, theta, obs), actions)
    by_layers = row_gradients(network, theta, obs, by_outputs)
    return np.concatenate([by_layers, log_std_score(network, theta, obs, actions)], axis=1)


def policy_gradient(
    network: Network,
    theta: Floats,
    obs: Floats,
    actions: Ints | Floats,
    weights: Floats,
    reduction: str = "mean",
) -> Floats:
    """Return the sum or the mean of `weights * grad log pi(a|s)`, `(P,)`."""
    by_outputs = output_score(network, theta, logits(network, theta, obs), actions)
    by_layers = output_gradient(network, theta, obs, weights[:, None] * by_outputs)
    total = np.concatenate([by_layers, weights @ log_std_score(network, theta, obs, actions)])
    return total / len(weights) if reduction == "mean" else total


def entropy_gradient(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return the gradient of the summed entropy, `(P,)`."""
    by_outputs = entropy_slope(network, logits(network, theta, obs))
    by_layers = output_gradient(network, theta, obs, by_outputs)
    return np.concatenate([by_layers, np.full(len(theta) - len(by_layers), len(obs), np.float64)])
