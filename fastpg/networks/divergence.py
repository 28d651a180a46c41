"""What can be said of two distributions of actions, in closed form, from the outputs of their networks."""

import numpy as np
from numpy.typing import NDArray

from fastpg.spaces import Actions

Floats = NDArray[np.float64]


def kl(actions: Actions, p: Floats, p_log_std: Floats, q: Floats, q_log_std: Floats) -> Floats:
    """Return KL(P || Q), summed over an action's components, (B,), for logits or means p, q (B, ...).

    log_std, (n,) or (B, n), counts for a Gaussian only. Categories whose outputs are -infinity in both add
    nothing.
    """
    total: Floats
    if actions.head == "gaussian":
        log_ratio = q_log_std - p_log_std
        distance = (p - q) * np.exp(-q_log_std)
        # expm1: at equal log_std the terms that cancel are exactly zero.
        total = (0.5 * (np.expm1(-2 * log_ratio) + distance**2) + log_ratio).sum(axis=-1)
        return total
    if actions.head == "bernoulli":
        total = kl_bernoulli(p, q).sum(axis=-1)
        return total
    total = np.zeros(len(p))
    start = 0
    for categories in actions.categories:
        part = slice(start, start + categories)
        log_p, log_q = log_softmax(p[:, part]), log_softmax(q[:, part])
        terms = np.exp(log_p) * (log_p - log_q)
        total += np.where(np.isneginf(p[:, part]) & np.isneginf(q[:, part]), 0.0, terms).sum(axis=-1)
        start += categories
    return total


def log_softmax(x: Floats) -> Floats:
    """Return the logarithm of the softmax over the last axis, without overflow."""
    shifted = x - x.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def kl_bernoulli(p: Floats, q: Floats) -> Floats:
    """Return KL(P || Q) of bits with the logits p and q: a bit is a softmax of (0, logit)."""
    one: Floats = np.exp(-np.logaddexp(0.0, -p)) * (np.logaddexp(0.0, -q) - np.logaddexp(0.0, -p))
    zero: Floats = np.exp(-np.logaddexp(0.0, p)) * (np.logaddexp(0.0, q) - np.logaddexp(0.0, p))
    return one + zero
