"""Exact policy gradients of environments with finitely many states, by dynamic programming in float64.

Nothing is sampled: it is what the mean of infinitely many estimates would be, to test estimators against and
to see their bias. The equations are in docs/policy_gradients.md.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core, reference
from fastpg._brief import Brief
from fastpg.envs.native.finite import FiniteMDP
from fastpg.envs.native.registry import EnvLike, native_env
from fastpg.networks.policy import Policy, require_policy

__all__ = ["ExactGradient", "FiniteMDP", "policy_gradient"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ExactGradient(Brief):
    """What `policy_gradient` returns; all arrays are float64.

    Attributes
    ----------
    gradient : array, shape (P,)
        The ascent direction, laid out as `Policy.theta`.
    objective : float
        ``J = E[sum_t gamma^t r_t]``.
    visits : array, shape (S,)
        How often an episode is expected to act in each state: ``sum_t w_t P(s_t = s)``, with w_t = gamma^t if
        `discount_states`, else 1; the sum over the states is then the mean length.
    action_values : array, shape (T, S, A), or (S, A) without a last step
        Q_t(s, a): the expected discounted rewards from t on.
    values : array, shape (T, S), or (S,)
        V_t(s), the mean of Q_t(s, a) under the policy.
    """

    gradient: Floats
    objective: float
    visits: Floats
    action_values: Floats
    values: Floats


class _Model(NamedTuple):
    """An environment and a policy in it: the process that they make. K outcomes an action at most."""

    start: Floats  # (S,) probability of the first state
    following: NDArray[np.intp]  # (S, A, K) next state
    going_on: Floats  # (S, A, K) probability that it is the outcome, and the episode goes on
    reward: Floats  # (S, A) expected
    policy: Floats  # (S, A) pi(a|s)


def policy_gradient(
    env_id: EnvLike,
    policy: Policy,
    *,
    gamma: float = 1.0,
    horizon: int | None = None,
    discount_states: bool = False,
    final_values: Floats | None = None,
    max_episode_steps: int | None = None,
    **env_params: Any,
) -> ExactGradient:
    """Return the exact gradient of the expected return, or the exact mean of the estimators that differ.

    ``sum_t w_t sum_s P(s_t = s) sum_a grad pi(a|s) Q_t(s, a)``: what `fastpg.estimate_gradient` with
    ``episodes=`` and ``normalize="trajectory"`` estimates. With ``discount_states=True``, w_t = gamma^t, it
    is the gradient of J; ``form="total"`` has this mean. Without, w_t = 1, it is the mean of
    ``form="reward_to_go"``, which at gamma < 1 is in general the gradient of no function. At gamma = 1 both
    are the same.

    Parameters
    ----------
    env_id : str or FiniteMDP
        A tabular environment, as FrozenLake, CliffWalking, Taxi, Blackjack; or arrays.
    policy : Policy
    gamma : float
        Discount, in [0, 1].
    horizon : int, optional
        Count the first so many steps of an episode. None is the whole episode: up to its time limit, or
        without one, however long it may be (by a linear solve, of S equations).
    discount_states : bool
        Weight the state at step t with gamma^t.
    final_values : float64 array, shape (S,), optional
        What a state is worth in which the horizon or the time limit cuts the episode: 0 by default.
    max_episode_steps : int, optional
        The time limit, 0 for none. By default the one under which Gymnasium registers the id.
    **env_params
        Parameters of the environment.

    Returns
    -------
    ExactGradient

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the environment is not tabular; the policy does not
        fit it; or there is no last step, and the sums over time may be infinite.

    References
    ----------
    Sutton, McAllester, Singh and Mansour, "Policy gradient methods for reinforcement learning with function
    approximation", 2000. Nota and Thomas, "Is the policy gradient a gradient?", 2020.

    Examples
    --------
    >>> policy = Policy.for_env("FrozenLake-v1", hidden=())
    >>> policy.theta[:] = 0.0
    >>> exact = policy_gradient("FrozenLake-v1", policy)
    >>> round(exact.objective, 4), round(float(exact.visits.sum()), 2)  # a random walk: success, length
    (0.0139, 7.67)
    """
    where = "exact.policy_gradient()"
    limit = max_episode_steps
    if limit is not None:
        limit = _check.integer(where, "max_episode_steps", limit, 0, 2**31 - 1)
    env = native_env(where, env_id, env_params, max_episode_steps=limit)
    if env.core.table is None:
        raise ValueError(f"{where}: env_id must be a tabular environment, but {env.id} is not one")
    require_policy(where, policy).check_fits(where, env)
    gamma = _check.real(where, "gamma", gamma, "[0, 1]")
    discount_states = _check.boolean(where, "discount_states", discount_states)
    steps = env.core.max_episode_steps or None
    if horizon is not None:
        horizon = _check.integer(where, "horizon", horizon, 1, _check.MAX_COUNT)
        steps = min(horizon, steps or horizon)
    states = len(env.core.table.cumulative)
    if final_values is not None:
        final_values = _check.array(where, "final_values", final_values, np.float64, (states,))
        _check.finite(where, "final_values", final_values)
        if steps is None:
            raise ValueError(f"{where}: final_values needs a horizon or a time limit; {env.id} has none")
    theta = policy.checked_theta(where).astype(np.float64)
    obs, masked = _inputs(env.core.table), env.core.has_action_mask
    if masked:
        obs = np.concatenate([obs, env.core.table.action_mask], axis=1)
    network = reference.Network(
        policy.network.num_inputs, policy.hidden, policy.network.num_outputs, policy.activation, masked=masked
    )
    probabilities = np.exp(reference.log_softmax(reference.logits(network, theta, obs)))
    model = _model(env.core.table, probabilities)
    state_gamma = gamma if discount_states else 1.0
    if steps is not None:
        end = np.zeros(states) if final_values is None else final_values
        values, action_values, visits, weights = _by_recursion(model, gamma, state_gamma, steps, end)
        objective = float(model.start @ values[0])
    else:
        values, action_values, visits, weights = _by_solving(where, model, gamma, state_gamma)
        objective = float(model.start @ values)
    # sum_a grad pi(a|s) Q(s, a) is sum_a pi(a|s) Q(s, a) grad log pi(a|s): one weighted row for each (s, a).
    num_actions = probabilities.shape[1]
    rows, actions = np.repeat(obs, num_actions, axis=0), np.tile(np.arange(num_actions), states)
    gradient = reference.policy_gradient(network, theta, rows, actions, weights.ravel(), "sum")
    return ExactGradient(gradient, objective, visits, action_values, values)


def _inputs(table: _core.Table) -> Floats:
    """Return each state's observation as the network sees it: one-hot vectors side by side, (S, D)."""
    parts = zip(table.obs.astype(np.intp), table.obs_categories, strict=True)
    return np.concatenate([np.eye(size)[categories] for categories, size in parts], axis=1)


def _model(table: _core.Table, policy: Floats) -> _Model:
    weight = np.diff(table.cumulative, axis=-1, prepend=0.0)
    start = _sums(table.start.astype(np.intp), np.diff(table.start_cumulative, prepend=0.0), len(policy))
    return _Model(
        start,
        table.next.astype(np.intp),
        weight * (table.terminated == 0),
        (weight * table.reward).sum(axis=-1),
        policy,
    )


def _by_recursion(
    model: _Model, gamma: float, state_gamma: float, steps: int, end: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return V (T, S), Q (T, S, A), visits (S,) and the weight of each score (S, A), over T steps."""
    values, action_values = np.empty((steps, *model.start.shape)), np.empty((steps, *model.policy.shape))
    following_values = end
    for t in reversed(range(steps)):  # Q_t = r + gamma E[V_{t+1}]
        expected = (model.going_on * following_values[model.following]).sum(axis=-1)
        action_values[t] = model.reward + gamma * expected
        values[t] = following_values = (model.policy * action_values[t]).sum(axis=-1)
    visits, weights = np.zeros_like(model.start), np.zeros_like(model.policy)
    distribution = model.start  # P(s_t = s, and the episode has not ended)
    for t in range(steps):
        seen = state_gamma**t * distribution
        visits += seen
        weights += seen[:, None] * model.policy * action_values[t]
        moves = (distribution[:, None] * model.policy)[:, :, None] * model.going_on
        distribution = _sums(model.following, moves, len(distribution))
    return values, action_values, visits, weights


def _by_solving(
    where: str, model: _Model, gamma: float, state_gamma: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return V (S,), Q (S, A), visits (S,) and the weight of each score (S, A), without a last step."""
    states = len(model.start)
    # Only states in which episodes act: elsewhere the equations may have no solution, and nobody asks.
    reached = np.flatnonzero(_reached(model, model.start > 0))
    if max(gamma, state_gamma) == 1.0 and not _surely_ends(model)[reached].all():
        raise ValueError(
            f"{where}: without a time limit, episodes that may never end need a horizon, or gamma < 1 and "
            "discount_states=True"
        )
    moves = model.policy[:, :, None] * model.going_on
    rows = np.broadcast_to(np.arange(states)[:, None, None], moves.shape)
    flat = _sums(rows * states + model.following, moves, states * states)
    chain = flat.reshape(states, states)[np.ix_(reached, reached)]  # P(s_{t+1} = s', goes on | s_t = s)
    identity = np.eye(len(reached))
    values, visits = np.zeros(states), np.zeros(states)
    expected_reward = (model.policy * model.reward).sum(axis=-1)
    values[reached] = np.linalg.solve(identity - gamma * chain, expected_reward[reached])
    visits[reached] = np.linalg.solve(identity - state_gamma * chain.T, model.start[reached])
    action_values = model.reward + gamma * (model.going_on * values[model.following]).sum(axis=-1)
    action_values *= visits[:, None] > 0
    return values, action_values, visits, visits[:, None] * model.policy * action_values


def _sums(which: NDArray[np.intp], terms: Floats, size: int) -> Floats:
    """Return the sum of the terms that belong to each of 0..size - 1."""
    return np.bincount(which.ravel(), terms.ravel(), size).astype(np.float64)


def _edges(model: _Model) -> Bools:
    """Return whether one state may follow another, (S, S)."""
    states = len(model.start)
    edges = np.zeros((states, states), np.bool_)
    rows = np.broadcast_to(np.arange(states)[:, None, None], model.following.shape)
    possible = model.going_on > 0
    edges[rows[possible], model.following[possible]] = True
    return edges


def _reached(model: _Model, states: Bools) -> Bools:
    """Return the states that can be reached from some states, (S,)."""
    return _closure(_edges(model), states)


def _surely_ends(model: _Model) -> Bools:
    """Return the states from which an episode can end; from all that are reached, it surely does. (S,)."""
    may_end = (model.going_on.sum(axis=-1) < 1.0 - 1e-12).any(axis=-1)
    return _closure(_edges(model).T, may_end)


def _closure(edges: Bools, states: Bools) -> Bools:
    while True:
        more = states | edges[states].any(axis=0)
        if (more == states).all():
            return states
        states = more
