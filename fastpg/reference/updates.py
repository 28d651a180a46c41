"""One update of an agent from a batch: Reinforce, VPG and A2C.

The weights Phi_t of the batch's rows; one step of the policy along `sum_t Phi_t grad log pi(a_t|s_t)`; then
the regression of the value function on targets that are fixed before the policy's step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpg.reference.advantages import FORMS, gae, nstep_returns, standardize, td_errors
from fastpg.reference.arrays import Bools, Floats, Ints
from fastpg.reference.batches import Batch, num_trajectories
from fastpg.reference.gradients import entropy_gradient, policy_gradient
from fastpg.reference.heads import entropy
from fastpg.reference.networks import Network, layer_sizes
from fastpg.reference.normalisation import (
    Normalizer,
    RewardNormalizer,
    for_normalized,
    for_raw,
    new_reward_normalizer,
    observe,
    scale,
)
from fastpg.reference.optimizers import AdamState, adam, clip_norm, sgd
from fastpg.reference.sharding import mean_of_others, minibatches
from fastpg.reference.values import explained_variance, state_values, value_gradient, value_loss

Scaling = tuple[Floats, Floats]  # of observations: what is subtracted, and what that is divided by, (D,) each
Values = Callable[[Floats], Floats]  # observations (B, D) -> V(s), (B,)


@dataclass(frozen=True)
class Options:
    """An algorithm's options, under the names that the core has for them; `fastpg.VPG` says what they mean.

    `baseline` is "none", "batch_mean", "timestep_mean" or "value", which subtracts V(s_t).

    Examples
    --------
    >>> import fastpg
    >>> Options(**fastpg.VPG(form="q").core_settings()).baseline
    'value'
    """

    form: str
    gamma: float
    learning_rate: float
    baseline: str = "none"
    lam: float = 1.0
    n_step: int = 1
    normalize: str = "timestep"
    entropy_coef: float = 0.0
    standardize_advantages: str = "none"  # or "batch"
    normalize_observations: bool = False
    max_grad_norm: float = math.inf
    optimizer: str = "adam"
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    value_learning_rate: float = 0.0
    value_epochs: int = 0
    value_minibatches: int = 1
    linear_schedule: bool = False
    total_steps: int = 0  # the schedule's end


class Model(NamedTuple):
    """A network, its parameters, and its optimizer's moments; SGD keeps its velocity in `moments.first`.

    The statistics of observations never change what a network that was `given` computes. A new one is read
    anew by the first of them.
    """

    network: Network
    theta: Floats
    moments: AdamState
    given: bool = True


class Agent(NamedTuple):
    """What an update changes. `num_steps` counts transitions; `iteration`, updates."""

    policy: Model
    value: Model | None
    normalizer: Normalizer
    seed: int = 0
    iteration: int = 0
    num_steps: int = 0
    rewards: RewardNormalizer = new_reward_normalizer()
    rate_factor: float = 1.0  # what `desired_kl` has made of the policy's learning rate


class Statistics(NamedTuple):
    """What is known of an update; of both networks as they were before it. NaN without a value function."""

    num_steps: int
    num_trajectories: int
    entropy: float
    gradient_norm: float  # before it is clipped
    value_loss: float = math.nan
    explained_variance: float = math.nan


def new_model(network: Network, theta: Floats, *, given: bool = True) -> Model:
    """Return a network that has not taken a step."""
    theta = np.asarray(theta, np.float64)
    return Model(network, theta, AdamState(np.zeros_like(theta), np.zeros_like(theta), 0), given)


def new_agent(policy: Model, value: Model | None = None, seed: int = 0) -> Agent:
    """Return an agent that has seen nothing."""
    size = policy.network.num_inputs
    return Agent(policy, value, Normalizer(0, np.zeros(size), np.zeros(size)), seed)


def values_where(chosen: Bools, obs: NDArray[Any], values_of: Values) -> Floats:
    """Return V of the chosen rows of `(T, N, D)`, and NaN in the others, which nobody may read, `(T, N)`."""
    values = np.full(chosen.shape, np.nan)
    values[chosen] = values_of(obs[chosen].astype(np.float64))
    return values


def bootstrapped(batch: Batch, options: Options, values: Floats, values_of: Values) -> Floats:
    """Return Phi_t of the forms that read V, `(T, N)`, before a baseline is subtracted.

    After a truncation that is no termination follows V of the row's own final observation; after the last row
    of an environment, where that did not end, V of what it saw last.
    """
    cut = batch.valid & batch.truncated & ~batch.terminated
    rows = batch.rewards, values, batch.terminated, batch.truncated
    ends: dict[str, Any] = {"gamma": options.gamma, "mask": batch.valid}
    ends["last_values"] = np.full(cut.shape[1], np.nan)
    if batch.last_obs is not None:
        ends["last_values"] = values_of(batch.last_obs.astype(np.float64))
    if batch.next_obs is not None:
        ends["final_values"] = values_where(cut, batch.next_obs, values_of)
    if options.form == "q":
        return nstep_returns(*rows, n=options.n_step, **ends)
    if options.form == "td":
        return td_errors(*rows, **ends)
    return gae(*rows, lam=options.lam, **ends)[0]


def weigh(batch: Batch, options: Options, values_of: Values | None) -> tuple[Floats, Floats]:
    """Return Phi_t, and what V(s_t) is fitted to, of every row, `(T, N)`.

    The target is Phi_t + V(s_t): the return itself, where V(s_t) is subtracted from that as a baseline. Rows
    that are not valid have no meaning.
    """
    values = np.zeros(batch.valid.shape)
    if values_of is not None:
        values = values_where(batch.valid, batch.obs, values_of)
    if options.form in FORMS:
        phi = FORMS[options.form](
            batch.rewards, batch.terminated, batch.truncated, options.gamma, batch.valid
        )
    else:
        assert values_of is not None
        phi = bootstrapped(batch, options, values, values_of)
    if options.baseline in ("batch_mean", "timestep_mean"):
        phi = phi - mean_of_others(phi, batch.valid, by_timestep=options.baseline == "timestep_mean")
    elif options.baseline == "value":
        phi = phi - values
    return phi, phi + values


def objective_gradient(
    policy: Model, obs: Floats, actions: Ints | Floats, phi: Floats, options: Options
) -> Floats:
    """Return the gradient of `sum_t (Phi_t log pi(a_t|s_t) + entropy_coef H(pi(.|s_t)))`, `(P,)`."""
    gradient = policy_gradient(policy.network, policy.theta, obs, actions, phi, "sum")
    if options.entropy_coef == 0.0:
        return gradient
    return gradient + options.entropy_coef * entropy_gradient(policy.network, policy.theta, obs)


def ascend(model: Model, gradient: Floats, rate: float, options: Options, optimizer: str = "adam") -> Model:
    """Take one step of an optimizer."""
    moments = model.moments
    if optimizer == "sgd":
        theta, velocity = sgd(
            model.theta, gradient, moments.first, learning_rate=rate, momentum=options.momentum
        )
        return model._replace(theta=theta, moments=moments._replace(first=velocity))
    decay = {"beta1": options.beta1, "beta2": options.beta2, "epsilon": options.epsilon}
    theta, moments = adam(model.theta, gradient, moments, learning_rate=rate, **decay)
    return model._replace(theta=theta, moments=moments)


def schedule(agent: Agent, options: Options) -> float:
    """Return what learning rates are multiplied by: 1, or the share of `total_steps` that is left."""
    return max(1.0 - agent.num_steps / options.total_steps, 0.0) if options.linear_schedule else 1.0


def scaled(agent: Agent, batch: Batch, normalize: bool) -> tuple[Normalizer, Scaling]:
    """Return the statistics with this batch's observations among them, and how these are scaled.

    Action masks that follow observations stay what they are.
    """
    size = agent.policy.network.num_inputs
    if not normalize:
        return agent.normalizer, (np.zeros(size), np.ones(size))
    normalizer = observe(agent.normalizer, batch.obs[batch.valid][:, :size].astype(np.float64))
    return normalizer, scale(normalizer)


def scaled_for_steps(agent: Agent, model: Model, scaling: Scaling) -> Scaling:
    """Return how observations are scaled in a model's steps: at first, a new network's are not."""
    is_new = agent.normalizer.num_rows == 0 and not model.given
    return (np.zeros_like(scaling[0]), np.ones_like(scaling[1])) if is_new else scaling


def for_steps(agent: Agent, model: Model, obs: NDArray[Any], scaling: Scaling) -> tuple[Model, Floats]:
    """Return the model in the parameters that it steps in, and the observations as it reads them there."""
    mean, std = scaled_for_steps(agent, model, scaling)
    inner = model._replace(theta=for_normalized(model.network, model.theta, mean, std))
    x, size = obs.astype(np.float64), len(mean)
    x[:, :size] = (x[:, :size] - mean) / std
    return inner, x


def after_steps(inner: Model, scaling: Scaling) -> Model:
    """Return the model in its own parameters, for observations that are not scaled."""
    return inner._replace(theta=for_raw(inner.network, inner.theta, *scaling))


def step_policy(
    agent: Agent, batch: Batch, weights: Floats, options: Options, scaling: Scaling
) -> tuple[Model, Floats]:
    """Take one step on the policy: the model, and the gradient before it was clipped, `(P,)`."""
    policy, valid, phi = agent.policy, batch.valid, weights[batch.valid]
    if options.standardize_advantages == "batch":
        phi = standardize(phi)
    divisor = num_trajectories(batch) if options.normalize == "trajectory" else len(phi)
    inner, x = for_steps(agent, policy, batch.obs[valid], scaling)
    gradient = objective_gradient(inner, x, batch.actions[valid], phi, options) / divisor
    rate = options.learning_rate * schedule(agent, options)
    inner = ascend(inner, clip_norm(gradient, options.max_grad_norm), rate, options, options.optimizer)
    return after_steps(inner, scaling), gradient


def fit_values(
    agent: Agent, value: Model, batch: Batch, targets: Floats, options: Options, scaling: Scaling
) -> Model:
    """Fit V to the targets: in each epoch, a step of Adam for every minibatch that has rows."""
    inner, x = for_steps(agent, value, batch.obs.reshape(-1, batch.obs.shape[-1]), scaling)
    rate = options.value_learning_rate * schedule(agent, options)
    for epoch in range(options.value_epochs):
        stream = {"seed": agent.seed, "iteration": agent.iteration, "epoch": epoch}
        for rows in minibatches(batch.valid, options.value_minibatches, **stream):
            if len(rows):
                gradient = value_gradient(inner.network, inner.theta, x[rows], targets.ravel()[rows])
                inner = ascend(inner, gradient, rate, options)
    return after_steps(inner, scaling)


def statistics(agent: Agent, batch: Batch, targets: Floats, gradient: Floats) -> Statistics:
    """Return what is known of an update of this agent, before it."""
    obs, policy, value = batch.obs[batch.valid].astype(np.float64), agent.policy, agent.value
    known = Statistics(
        num_steps=len(obs),
        num_trajectories=num_trajectories(batch),
        entropy=float(entropy(policy.network, policy.theta, obs).mean()),
        gradient_norm=float(np.linalg.norm(gradient)),
    )
    if value is None:
        return known
    wanted, values = targets[batch.valid], state_values(value.network, value.theta, obs)
    loss = value_loss(value.network, value.theta, obs, wanted)
    return known._replace(value_loss=loss, explained_variance=explained_variance(values, wanted))


def scale_outputs(model: Model, factor: float) -> Model:
    """Return the model whose outputs are `factor` times as large: its last layer is."""
    theta, (outputs, fan_in) = model.theta.copy(), layer_sizes(model.network)[-1]
    theta[len(theta) - (fan_in + 1) * outputs :] *= factor
    return model._replace(theta=theta)


def after_update(agent: Agent, num_steps: int, **changed: Any) -> Agent:
    """Return the agent with what an update of so many transitions has changed."""
    iteration, num_steps = agent.iteration + 1, agent.num_steps + num_steps
    return agent._replace(iteration=iteration, num_steps=num_steps, **changed)


def update(agent: Agent, batch: Batch, options: Options) -> tuple[Agent, Statistics]:
    """Return the agent after one update, and what is known of it.

    With `normalize_observations` both networks take their steps in the parameters for (obs - mean) / std, by
    the statistics of all observations, this batch's among them. A new network takes its first steps in the
    parameters that it was drawn with; what they become are its parameters for scaled observations.

    Examples
    --------
    >>> import numpy as np
    >>> agent = new_agent(new_model(Network(1, (), 2), np.zeros(4)))
    >>> obs, actions, rewards = np.ones((2, 1, 1)), np.array([[0], [1]]), np.ones((2, 1))
    >>> terminated, never, valid = np.array([[False], [True]]), np.zeros((2, 1), bool), np.ones((2, 1), bool)
    >>> batch = Batch(obs, actions, rewards, terminated, never, valid)
    >>> options = Options("reward_to_go", gamma=1.0, learning_rate=1.0, optimizer="sgd")
    >>> agent, known = update(agent, batch, options)  # half of 2 (0.5, -0.5) + 1 (-0.5, 0.5), twice
    >>> agent.policy.theta.tolist(), known.num_trajectories
    ([0.25, -0.25, 0.25, -0.25], 1)
    """
    value = agent.value
    values_of = None if value is None else partial(state_values, value.network, value.theta)
    weights, targets = weigh(batch, options, values_of)
    normalizer, scaling = scaled(agent, batch, options.normalize_observations)
    policy, gradient = step_policy(agent, batch, weights, options, scaling)
    if value is not None:
        value = fit_values(agent, value, batch, targets, options, scaling)
    known = statistics(agent, batch, targets, gradient)
    return after_update(agent, known.num_steps, policy=policy, value=value, normalizer=normalizer), known
