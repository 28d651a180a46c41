"""Gradients of a policy: the score `grad log pi(a|s)`, its weighted sums, and the entropy's gradient."""

import numpy as np

from fastpg.reference.arrays import Floats, Ints
from fastpg.reference.heads import entropy, log_std_score, output_score
from fastpg.reference.networks import Network, activation_slope, layer_inputs, layers


def backpropagate(
    network: Network, theta: Floats, obs: Floats, actions: Ints | Floats
) -> list[tuple[Floats, Floats]]:
    """Return, per layer, its input `(B, in)` and its delta `(B, out)`.

    Delta is the derivative of log pi(a|s) with respect to the layer's output before the activation: the score
    with respect to the bias. Its outer product with the input is the score with respect to the weight.
    """
    inputs, z = layer_inputs(network, theta, obs)
    delta = output_score(network, theta, z, actions)
    pairs = [(inputs[-1], delta)]
    weights = [weight for weight, _ in layers(network, theta)]
    for weight, y, x in zip(weights[:0:-1], inputs[:0:-1], inputs[-2::-1], strict=True):
        delta = (delta @ weight) * activation_slope(network, y)
        pairs.insert(0, (x, delta))
    return pairs


def score(network: Network, theta: Floats, obs: Floats, actions: Ints | Floats) -> Floats:
    """Return `grad log pi(a|s)` of every sample, `(B, P)`."""
    parts: list[Floats] = []
    for x, delta in backpropagate(network, theta, obs, actions):
        parts += [(delta[:, :, None] * x[:, None, :]).reshape(len(x), -1), delta]
    return np.concatenate([*parts, log_std_score(network, theta, obs, actions)], axis=1)


def policy_gradient(
    network: Network,
    theta: Floats,
    obs: Floats,
    actions: Ints | Floats,
    weights: Floats,
    reduction: str = "mean",
) -> Floats:
    """Return the sum or the mean of `weights * grad log pi(a|s)`, `(P,)`."""
    parts: list[Floats] = []
    for x, delta in backpropagate(network, theta, obs, actions):
        weighted = weights[:, None] * delta
        parts += [(weighted.T @ x).ravel(), weighted.sum(axis=0)]
    total = np.concatenate([*parts, weights @ log_std_score(network, theta, obs, actions)])
    return total / len(weights) if reduction == "mean" else total


def entropy_gradient(network: Network, theta: Floats, obs: Floats, step: float = 1e-6) -> Floats:
    """Return the gradient of the summed entropy, `(P,)`, by central differences: plain, and sure."""
    result = np.empty_like(theta)
    for i in range(len(theta)):
        ends = []
        for change in (step, -step):
            moved = theta.copy()
            moved[i] += change
            ends.append(entropy(network, moved, obs).sum())
        result[i] = (ends[0] - ends[1]) / (2.0 * step)
    return result
