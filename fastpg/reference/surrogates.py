"""PPO: the clipped surrogate, the losses of its value function, and what is watched of its steps.

Rows were drawn from the old policy; `ratios` `(B,)` are `pi(a|s) / pi_old(a|s)`. Slopes point the way that an
update goes: the derivative of a surrogate, which is to grow, and minus the derivative of a loss.

References
----------
Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization algorithms", 2017.
"""

import numpy as np

from fastpg.reference.arrays import Floats, Ints
from fastpg.reference.gradients import policy_gradient
from fastpg.reference.heads import log_prob, output_score
from fastpg.reference.networks import Network


def probability_ratios(
    network: Network, theta: Floats, obs: Floats, actions: Ints | Floats, old_log_probs: Floats
) -> Floats:
    """Return `pi(a|s) / pi_old(a|s)`, `(B,)`."""
    result: Floats = np.exp(log_prob(network, theta, obs, actions) - old_log_probs)
    return result


def clipped_surrogate(ratios: Floats, advantages: Floats, clip: float) -> Floats:
    """Return `min(r A, clip(r, 1 - clip, 1 + clip) A)`, `(B,)` (Schulman et al., equation 7).

    Examples
    --------
    >>> import numpy as np
    >>> clipped_surrogate(np.array([0.5, 1.5, 0.5, 1.5]), np.array([1.0, 1.0, -1.0, -1.0]), 0.2).tolist()
    [0.5, 1.2, -0.8, -1.5]
    """
    return np.minimum(ratios * advantages, np.clip(ratios, 1.0 - clip, 1.0 + clip) * advantages)


def surrogate_slope(ratios: Floats, advantages: Floats, clip: float) -> Floats:
    """Return the derivative of the clipped surrogate with respect to log pi(a|s), `(B,)`.

    It is `r A`, since `d r / d log pi = r`; and 0 where the clipped term is the minimum: above `1 + clip` if
    the advantage is positive, below `1 - clip` if it is negative. On the bounds themselves it is `r A`.

    Examples
    --------
    >>> import numpy as np
    >>> surrogate_slope(np.array([0.5, 1.5, 0.5, 1.5]), np.array([1.0, 1.0, -1.0, -1.0]), 0.2).tolist()
    [0.5, 0.0, 0.0, -1.5]
    """
    stopped = np.where(advantages > 0.0, ratios > 1.0 + clip, ratios < 1.0 - clip)
    return np.where(stopped, 0.0, ratios * advantages)


def surrogate_output_gradient(
    network: Network, theta: Floats, z: Floats, actions: Ints | Floats, slope: Floats
) -> Floats:
    """Return the derivative of each row's surrogate with respect to its outputs z, both `(B, A)`."""
    return slope[:, None] * output_score(network, theta, z, actions)


def surrogate_gradient(
    network: Network, theta: Floats, obs: Floats, actions: Ints | Floats, slope: Floats
) -> Floats:
    """Return the gradient of the mean surrogate, `(P,)`: a policy gradient, with the slope as weight."""
    return policy_gradient(network, theta, obs, actions, slope)


def clip_fraction(ratios: Floats, clip: float) -> float:
    """Return the share of rows whose ratio is further from 1 than `clip`, on either side."""
    return float((np.abs(ratios - 1.0) > clip).mean())


def kl_k1(ratios: Floats) -> float:
    """Return the mean of `-log r`: an unbiased estimate of KL(pi_old | pi), of which rows may be negative.

    References
    ----------
    Schulman, "Approximating KL divergence", 2020, http://joschu.net/blog/kl-approx.html.
    """
    return float(-np.log(ratios).mean())


def kl_k3(ratios: Floats) -> float:
    """Return the mean of `r - 1 - log r`: unbiased as `kl_k1` is, with less variance, and never negative.

    `r - 1` is a control variate, whose mean under the old policy is 0; and `log r <= r - 1`.
    """
    return float((ratios - 1.0 - np.log(ratios)).mean())


# ---- losses of the value function --------------------------------------------------------------------------


def huber_loss(errors: Floats, delta: float) -> Floats:
    """Return `e^2 / 2` where `|e| <= delta`, and `delta (|e| - delta / 2)` beyond, `(B,)`.

    References
    ----------
    Huber, "Robust estimation of a location parameter", 1964.

    Examples
    --------
    >>> import numpy as np
    >>> huber_loss(np.array([-0.5, 1.0, 3.0]), 1.0).tolist()
    [0.125, 0.5, 2.5]
    """
    size = np.abs(errors)
    return np.where(size <= delta, 0.5 * errors**2, delta * (size - 0.5 * delta))


def huber_slope(errors: Floats, delta: float) -> Floats:
    """Return minus the derivative of the Huber loss by V, of errors `target - V`, `(B,)`: the error, held."""
    return np.clip(errors, -delta, delta)


def clipped_value_loss(values: Floats, old_values: Floats, targets: Floats, clip: float) -> Floats:
    """Return half the larger square of two errors, `(B,)`: that of V, and that of V held near the old V.

    The second V goes no further than `clip` from the old one, as the ratio does from 1. The loss is not in
    the paper, but in its authors' code (`ppo2` of OpenAI Baselines).

    Examples
    --------
    >>> import numpy as np
    >>> values, targets = np.array([3.0, 3.0]), np.array([4.0, 0.0])
    >>> clipped_value_loss(values, np.zeros(2), targets, clip=1.0).tolist()
    [4.5, 4.5]
    """
    held = old_values + np.clip(values - old_values, -clip, clip)
    return 0.5 * np.maximum((targets - values) ** 2, (targets - held) ** 2)


def clipped_value_slope(values: Floats, old_values: Floats, targets: Floats, clip: float) -> Floats:
    """Return minus the derivative of the clipped loss by V, `(B,)`.

    It is the error; and 0 where the V that is held, which does not move, has the larger one.

    Examples
    --------
    >>> import numpy as np
    >>> values, targets = np.array([3.0, 3.0]), np.array([4.0, 0.0])
    >>> clipped_value_slope(values, np.zeros(2), targets, clip=1.0).tolist()
    [0.0, -3.0]
    """
    held = old_values + np.clip(values - old_values, -clip, clip)
    # Within the range both errors are the same, but for how the sum is rounded.
    stopped = (np.abs(values - old_values) > clip) & ((targets - held) ** 2 > (targets - values) ** 2)
    return np.where(stopped, 0.0, targets - values)
