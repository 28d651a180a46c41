"""Heads: what the outputs of a policy's network mean.

A head is a distribution of actions: its log-probability, entropy, divergence, samples, and its score by the
outputs.
"""

import math
from collections.abc import Iterable

import numpy as np

from fastpg.reference.arrays import Floats, Ints
from fastpg.reference.networks import Network, logits

# Of log_std that are outputs, as the code of Haarnoja et al., "Soft actor-critic ...", 2018, holds them.
LOG_STD_RANGE = -20.0, 2.0


def log_std(network: Network, theta: Floats) -> Floats:
    """Return the Gaussian's parameters at the end of theta, `(n,)`."""
    return theta[len(theta) - network.num_outputs :]


def mean_and_log_std(network: Network, theta: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Return both of a Gaussian with the outputs z, `(B, n)` each."""
    if network.state_std:
        mean, given = np.split(z, 2, axis=-1)
        return mean, np.clip(given, *LOG_STD_RANGE)
    return z, np.broadcast_to(log_std(network, theta), z.shape)


def is_free(z: Floats) -> Floats:
    """Return the derivative of log_std, `(B, n)`, by the outputs that it is: 0 where it is held, else 1."""
    low, high = LOG_STD_RANGE
    given = np.split(z, 2, axis=-1)[1]
    return ((low <= given) & (given <= high)).astype(np.float64)


def squash(network: Network, actions: Ints | Floats) -> Floats:
    """Return what the environment gets of the actions u, `(B, n)`: tanh(u), scaled to the bounds."""
    low, high = np.array(network.bounds).T
    result: Floats = (low + high) / 2.0 + (high - low) / 2.0 * np.tanh(actions)
    return result


def squash_log_slope(network: Network, actions: Ints | Floats) -> Floats:
    """Return log(d squash(u) / d u), `(B, n)`; `1 - tanh(u)^2` is `4 / (e^u + e^-u)^2`, without overflow."""
    low, high = np.array(network.bounds).T
    log_tanh_slope = 2.0 * (math.log(2.0) - np.logaddexp(actions, -actions))
    result: Floats = np.log((high - low) / 2.0) + log_tanh_slope
    return result


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
    """Return `log pi(a|s)`, `(B,)`: the sum over the action's components.

    Of squashed actions it is the density of what the environment gets.
    """
    z = logits(network, theta, obs)
    if network.head == "gaussian":
        mean, log_scale = mean_and_log_std(network, theta, z)
        deviates = (actions - mean) / np.exp(log_scale)
        densities: Floats = -0.5 * deviates**2 - log_scale - 0.5 * math.log(2.0 * math.pi)
        if network.bounds:
            densities = densities - squash_log_slope(network, actions)
        return summed(densities.T)
    tables = component_log_probs(network, z)
    chosen = np.reshape(actions, (len(z), len(tables))).astype(np.int64).T
    return summed(table[np.arange(len(z)), value] for table, value in zip(tables, chosen, strict=True))


def entropy(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return `-E[log pi(a|s)]`, in nats, `(B,)`; where actions are squashed, of what they are made of."""
    z = logits(network, theta, obs)
    if network.head == "gaussian":
        _, log_scale = mean_and_log_std(network, theta, z)
        return summed((log_scale + 0.5 * math.log(2.0 * math.pi * math.e)).T)
    return summed(-expected(table, table) for table in component_log_probs(network, z))


def kl(network: Network, theta: Floats, other: Floats, obs: Floats) -> Floats:
    """Return `E[log pi(a|s) - log pi_other(a|s)]` with a drawn from pi, `(B,)`.

    Squashing, a bijection of the actions that both share, does not change it.
    """
    p, q = logits(network, theta, obs), logits(network, other, obs)
    if network.head == "gaussian":
        (mean_p, log_p), (mean_q, log_q) = (
            mean_and_log_std(network, parameters, outputs) for parameters, outputs in ((theta, p), (other, q))
        )
        std_p, std_q = np.exp(log_p), np.exp(log_q)
        each = np.log(std_q / std_p) + (std_p**2 + (mean_p - mean_q) ** 2) / (2.0 * std_q**2) - 0.5
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
    mean, log_scale = mean_and_log_std(network, theta, z)
    result: Floats = mean + np.exp(log_scale) * normal[:, : mean.shape[1]]
    return result


def output_score(network: Network, theta: Floats, z: Floats, actions: Ints | Floats) -> Floats:
    """Return the derivative of log pi(a|s) with respect to the outputs z, both `(B, A)`."""
    if network.head == "gaussian":
        mean, log_scale = mean_and_log_std(network, theta, z)
        deviates = (actions - mean) / np.exp(log_scale)
        by_log_std = [is_free(z) * (deviates**2 - 1.0)] if network.state_std else []
        return np.concatenate([deviates / np.exp(log_scale), *by_log_std], axis=-1)
    if network.head == "bernoulli":
        return actions - 1.0 / (1.0 + np.exp(-z))
    parts = []
    tables = component_log_probs(network, z)
    for table, value in zip(tables, np.reshape(actions, (len(z), len(tables))).T, strict=True):
        parts.append(np.eye(table.shape[1])[value] - np.exp(table))  # onehot(a) - pi
    return np.concatenate(parts, axis=1)


def log_std_score(network: Network, theta: Floats, obs: Floats, actions: Ints | Floats) -> Floats:
    """Return the derivative of log pi(a|s) with respect to log_std, `(B, n)`; `(B, 0)` if there is none."""
    if network.head != "gaussian" or network.state_std:
        return np.zeros((len(obs), 0))
    z = logits(network, theta, obs)
    result: Floats = ((actions - z) / np.exp(log_std(network, theta))) ** 2 - 1.0
    return result


def entropy_slope(network: Network, z: Floats) -> Floats:
    """Return the derivative of the entropy by the outputs z, both `(B, A)`.

    - categorical: `-p (log p + H)` of each component, whose entropy is H;
    - Bernoulli: `-z p (1 - p)`, since `z = log(p / (1 - p))`;
    - Gaussian: 0 by the means, and 1 by each log_std that is an output and is not held.
    """
    if network.head == "gaussian":
        slope = np.zeros_like(z)
        if network.state_std:
            slope[:, z.shape[1] // 2 :] = is_free(z)
        return slope
    if network.head == "bernoulli":
        p = 1.0 / (1.0 + np.exp(-z))
        return -z * p * (1.0 - p)
    parts = []
    for table in component_log_probs(network, z):
        p = np.exp(table)
        deviation = table - expected(table, table)[:, None]
        parts.append(-p * np.where(p > 0, deviation, 0.0))
    return np.concatenate(parts, axis=1)
