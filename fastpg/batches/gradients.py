"""Policy gradients, log-probabilities and entropies of a batch that the caller has."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg.action_masks import mask_rows, require_allowed
from fastpg.networks.policy import Policy, require_policy


def policy_gradient(
    policy: Policy,
    obs: NDArray[np.float32],
    actions: NDArray[Any],
    weights: NDArray[np.float32],
    *,
    reduction: Literal["mean", "sum"] | None = None,
    entropy_coef: float = 0.0,
    per: Literal["sample", "trajectory"] | None = None,
    lengths: NDArray[np.int64] | None = None,
    out: NDArray[np.float32] | None = None,
    action_mask: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """Return the sum or the mean of ``weights * grad log pi(actions|obs)`` over a batch, or over parts of it.

    Parameters
    ----------
    policy : Policy
    obs : float32 array, shape (..., D); or what else the observation space holds
    actions : integer or float32 array, shape (...) or (..., n), as `Policy` says
    weights : float32 array, shape (...)
        Phi_t of every transition: returns, advantages.
    reduction : {"mean", "sum"}, optional
        Over what is reduced to one gradient. By default the mean over a whole batch, and the sum over a
        trajectory: the mean of these sums over trajectories is then the estimate that
        ``normalize="trajectory"`` makes.
    entropy_coef : float
        Add the gradient of this times the entropy at each observation, reduced like the rest: an entropy
        bonus. Of a whole batch only.
    per : {"sample", "trajectory"}, optional
        One gradient for each transition, or for each trajectory; by default one for the whole batch. Their
        rows take 4 P bytes each; what is computed beside them does not grow with their number.
    lengths : integer array, shape (M,)
        With ``per="trajectory"``: how many rows each of M trajectories has, at least one. The batch is then
        one-dimensional, the trajectories one after the other in it, and the lengths add up to its size.
    out : float32 array of the result's shape, optional
        Where to write the result.
    action_mask : bool or 0/1 array, shape (..., A), optional
        Which actions might be taken, as in `Policy.act`. The others have probability 0, and no gradient.

    Returns
    -------
    float32 array, shape (P,); (..., P) with ``per="sample"``; (M, P) with ``per="trajectory"``
        The ascent direction, laid out as `Policy.theta`; `out` if it is given. The same bits on any number of
        threads.

    Raises
    ------
    TypeError, ValueError
        An array has the wrong dtype or shape, or is not finite; an action is out of range, or one that
        action_mask does not allow; the batch is empty; lengths do not fit.
    FloatingPointError
        The result overflows float32.

    Examples
    --------
    >>> import numpy as np
    >>> policy = Policy.for_env("CartPole-v1", hidden=())
    >>> policy.theta[:] = 0.0
    >>> obs = np.array([[1, 2, 3, 4]], np.float32)
    >>> policy_gradient(policy, obs, np.array([1]), np.array([2.0], np.float32))  # 2 (onehot - pi) (s, 1)'
    array([-1., -2., -3., -4.,  1.,  2.,  3.,  4., -1.,  1.], dtype=float32)

    Two trajectories, of two steps and of one; their estimates differ, which tells how sure their mean is:

    >>> obs, actions = np.ones((3, 4), np.float32), np.array([0, 0, 1])
    >>> to_go = np.array([2.0, 1.0, 1.0], np.float32)
    >>> policy_gradient(policy, obs, actions, to_go, per="trajectory", lengths=np.array([2, 1]))[:, -2:]
    array([[ 1.5, -1.5],
           [-0.5,  0.5]], dtype=float32)
    """
    where = "policy_gradient()"
    network = require_policy(where, policy).network
    rows, batch_shape = policy.observations.rows(where, obs)
    flat_actions = policy.actions.flat(where, actions, batch_shape)
    flat_weights = _check.contiguous(_check.floats(where, "weights", weights, batch_shape)).reshape(-1)
    mask = mask_rows(where, policy.actions, action_mask, batch_shape)
    require_allowed(where, policy.actions, flat_actions, mask, batch_shape)
    if reduction is not None:
        _check.choice(where, "reduction", reduction, ("mean", "sum"))
    shape = policy.theta.shape
    if per is not None and _check.choice(where, "per", per, ("sample", "trajectory")) == "sample":
        shape = (*batch_shape, *shape)
    starts = None
    if per == "trajectory":
        starts = _starts(where, lengths, batch_shape)
        shape = (len(starts) - 1, *shape)
    elif lengths is not None:
        raise ValueError(f'{where}: lengths goes with per="trajectory", got it with per={per!r}')
    entropy_coef = _check.real(where, "entropy_coef", entropy_coef, "(-inf, inf)")
    if entropy_coef != 0 and per is not None:
        raise ValueError(f"{where}: entropy_coef goes with a whole batch, got it with per={per!r}")
    theta = policy.checked_theta(where)
    if out is None:
        out = np.empty(shape, np.float32)
    else:
        inputs = {"policy.theta": theta, "obs": rows, "actions": flat_actions, "weights": flat_weights}
        _check.output(where, "out", out, shape, inputs)
    if per is None:
        scale = 1.0 if reduction == "sum" else 1.0 / len(rows)
        _core.policy_gradient(
            network, theta, rows, flat_actions, flat_weights, scale, out, entropy_coef, action_mask=mask
        )
    else:
        gradients = out.reshape(-1, theta.size)
        mean = reduction == "mean"
        _core.segment_gradients(
            network, theta, rows, flat_actions, flat_weights, starts, mean, gradients, mask
        )
    return out


def _starts(where: str, lengths: Any, batch_shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the row at which each trajectory begins, and the number of rows after them."""
    if len(batch_shape) != 1:
        raise ValueError(
            f'{where}: per="trajectory" needs a one-dimensional batch, trajectories one after the other, '
            f"got the batch shape {batch_shape}"
        )
    if not _check.is_array(lengths) or lengths.dtype.kind not in "iu" or lengths.ndim != 1:
        raise TypeError(
            f"{where}: lengths must be a one-dimensional array of integers, the rows of each trajectory, "
            f"got {_check.shown(lengths)}"
        )
    lengths = lengths.astype(np.int64)  # a copy: what is checked is what is used
    if lengths.size == 0 or lengths.min() < 1 or lengths.max() > batch_shape[0]:
        raise ValueError(f"{where}: lengths must hold integers from 1 to {batch_shape[0]}, the batch's size")
    total = int(lengths.sum())
    if total != batch_shape[0]:
        raise ValueError(f"{where}: lengths must add up to the {batch_shape[0]} rows, got the sum {total}")
    return np.concatenate([[0], np.cumsum(lengths)])


def log_prob_and_entropy(
    policy: Policy,
    obs: NDArray[np.float32],
    actions: NDArray[Any],
    *,
    action_mask: NDArray[Any] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return log pi(actions|obs) and the entropy of pi(.|obs), from one forward pass.

    Parameters
    ----------
    policy : Policy
    obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
    actions : integer or float32 array, shape (...) or (..., n), as `Policy` says
    action_mask : bool or 0/1 array, shape (..., A), optional
        Which actions might be taken, as in `Policy.act`: both are of these alone.

    Returns
    -------
    log_prob, entropy : float32 arrays, shape (...)
        In nats.

    Raises
    ------
    TypeError, ValueError
        An array has the wrong dtype or shape, or is not finite; an action is out of range, or one that
        action_mask does not allow.

    Examples
    --------
    >>> import numpy as np
    >>> policy = Policy.for_env("CartPole-v1")
    >>> log_prob, entropy = log_prob_and_entropy(policy, np.zeros((3, 4), np.float32), np.array([0, 1, 1]))
    >>> log_prob.shape, entropy.shape
    ((3,), (3,))
    """
    where = "log_prob_and_entropy()"
    return require_policy(where, policy).log_prob_and_entropy(where, obs, actions, action_mask)
