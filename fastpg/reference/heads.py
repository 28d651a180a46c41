"""Heads: what the outputs of a policy's network mean.

A head is a distribution of actions: its log-probability, entropy, divergence, samples, and its score by the
outputs.
"""

import math
from collections.abc import Iterable

import numpy as np

from fastpg.reference.arrays import Floats, Ints
from fastpg.reference.networks import Network, logits


def log_std(network: Network, theta: Floats) -> Floats:
    """Return the Gaussian's parameters at the end of theta, `(n,)`."""
    return theta[len(theta) - network.num_outputs :]


def log_softmax(x: Floats) -> Floats:
    """Return `x - log(sum(exp(x)))` over the last axis, without overflow."""
    shifted = x - x.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def component_log_probs(network: Network, z: Floats) -> list[Floats]:
    """Return the log-probabilities `(B, n_k)` of every component's values; a bit's logits are (0, output)."""
    if network.head == "bernoulli":
        return [log_softmax(np.stack([np.zeros_like(bit), bit], axis=-1)) for bit in z.T]
    sizes = network.action_categories or (network.num_outputs,)
    return [log_softmax(part) for part in np.split(z, np.cumsum(sizes)[:-1], axis=-1)]


def expected(log_p: Floats, values: Floats) -> Floats:
    """Return the mean of values `(B, A)` under probabilities, `(B,)`; what has none adds nothing."""
    possible = log_p > -np.inf
    result: Floats = np.sum(np.exp(log_p) * np.where(possible, values, 0.0), axis=-1)
    return result


def summed(components: Iterable[Floats]) -> Floats:
    """Return the sum of the components' values, each `(B,)`."""
    result: Floats = np.sum(list(components), axis=0)
    return result


def log_prob(network: Network, theta: Floats, obs: Floats, actions: Ints | Floats) -> Floats:
    """Return `log pi(a|s)`, `(B,)`: the sum over the action's components."""
    z = logits(network, theta, obs)
    if network.head == "gaussian":
        std = np.exp(log_std(network, theta))
        densities = -0.5 * ((actions - z) / std) ** 2 - np.log(std) - 0.5 * math.log(2.0 * math.pi)
        return summed(densities.T)
    tables = component_log_probs(network, z)
    chosen = np.reshape(actions, (len(z), len(tables))).astype(np.int64).T
    return summed(table[np.arange(len(z)), value] for table, value in zip(tables, chosen, strict=True))


def entropy(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return `-E[log pi(a|s)]`, in nats, `(B,)`."""
    z = logits(network, theta, obs)
    if network.head == "gaussian":
        each = log_std(network, theta) + 0.5 * math.log(2.0 * math.pi * math.e)
        return np.full(len(z), each.sum())
    return summed(-expected(table, table) for table in component_log_probs(network, z))


def kl(network: Network, theta: Floats, other: Floats, obs: Floats) -> Floats:
    """Return `E[log pi(a|s) - log pi_other(a|s)]` with a drawn from pi, `(B,)`."""
    p, q = logits(network, theta, obs), logits(network, other, obs)
    if network.head == "gaussian":
        std_p, std_q = np.exp(log_std(network, theta)), np.exp(log_std(network, other))
        each = np.log(std_q / std_p) + (std_p**2 + (p - q) ** 2) / (2.0 * std_q**2) - 0.5
        return summed(each.T)
    pairs = zip(component_log_probs(network, p), component_log_probs(network, q), strict=True)
    return summed(expected(log_p, log_p) - expected(log_p, log_q) for log_p, log_q in pairs)


def sample(logits: Floats, uniform: Floats) -> Ints:
    """Invert the cumulative distribution of a softmax at `uniform`, `(B,)` in [0, 1).

    The action is the number of actions whose cumulative probability is at most `uniform`.
    """
    cumulative = np.cumsum(np.exp(log_softmax(logits)), axis=-1)
    # The last cumulative probability is 1 up to rounding: it must never be passed.
    result: Ints = (cumulative[:, :-1] <= uniform[:, None]).sum(axis=-1)
    return result


def draw(network: Network, theta: Floats, obs: Floats, uniforms: Floats) -> Ints | Floats:
    """Draw actions, `(B, n)`, from uniforms in (0, 1), `(B, n)`; of a Gaussian `(B, n rounded up to even)`.

    Discrete components invert their cumulative distributions. Normals come in pairs, from two uniforms each
    (Box and Muller, 1958): sqrt(-2 log u) times the cosine and the sine of 2 pi u'.
    """
    z = logits(network, theta, obs)
    if network.head != "gaussian":
        tables = component_log_probs(network, z)
        return np.stack([sample(table, u) for table, u in zip(tables, uniforms.T, strict=True)], axis=-1)
    radius, angle = np.sqrt(-2.0 * np.log(uniforms[:, ::2])), 2.0 * np.pi * uniforms[:, 1::2]
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(len(z), -1)
    result: Floats = z + np.exp(log_std(network, theta)) * normal[:, : network.num_outputs]
    return result


def output_score(network: Network, theta: Floats, z: Floats, actions: Ints | Floats) -> Floats:
    """Return the derivative of log pi(a|s) with respect to the outputs z, both `(B, A)`."""
    if network.head == "gaussian":
        result: Floats = (actions - z) / np.exp(log_std(network, theta)) ** 2
        return result
    if network.head == "bernoulli":
        return actions - 1.0 / (1.0 + np.exp(-z))
    parts = []
    tables = component_log_probs(network, z)
    for table, value in zip(tables, np.reshape(actions, (len(z), len(tables))).T, strict=True):
        parts.append(np.eye(table.shape[1])[value] - np.exp(table))  # onehot(a) - pi
    return np.concatenate(parts, axis=1)


def log_std_score(network: Network, theta: Floats, obs: Floats, actions: Ints | Floats) -> Floats:
    """Return the derivative of log pi(a|s) with respect to log_std, `(B, n)`; `(B, 0)` if there is none."""
    if network.head != "gaussian":
        return np.zeros((len(obs), 0))
    deviate = (actions - logits(network, theta, obs)) / np.exp(log_std(network, theta))
    result: Floats = deviate**2 - 1.0
    return result


def entropy_slope(network: Network, z: Floats) -> Floats:
    """Return the derivative of the entropy by the outputs z, both `(B, A)`.

    - categorical: `-p (log p + H)` of each component, whose entropy is H;
    - Bernoulli: `-z p (1 - p)`, since `z = log(p / (1 - p))`;
    - Gaussian: 0 by the means (and 1 by each log_std).
    """
    if network.head == "gaussian":
        return np.zeros_like(z)
    if network.head == "bernoulli":
        p = 1.0 / (1.0 + np.exp(-z))
        return -z * p * (1.0 - p)
    parts = []
    for table in component_log_probs(network, z):
        p = np.exp(table)
        deviation = table - expected(table, table)[:, None]
        parts.append(-p * np.where(p > 0, deviation, 0.0))
    return np.concatenate(parts, axis=1)
