"""PPO: one update of an agent from a batch, in epochs of minibatches.

Both networks take a step for every minibatch: the policy along the clipped surrogate and its entropy, the
value function along minus its loss. Advantages and targets are fixed before the first step, or anew before
every epoch; the old policy is the one before the first step.

References
----------
Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization algorithms", 2017; Huang, Dossa,
Raffin, Kanervisto and Wang, "The 37 implementation details of proximal policy optimization", 2022.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from fastpg.reference.advantages import standardize
from fastpg.reference.arrays import Bools, Floats, Ints
from fastpg.reference.batches import Batch, num_trajectories
from fastpg.reference.gradients import entropy_gradient
from fastpg.reference.heads import entropy, log_prob
from fastpg.reference.networks import output_gradient
from fastpg.reference.normalisation import observe_rewards
from fastpg.reference.optimizers import clip_norm
from fastpg.reference.sharding import minibatches
from fastpg.reference.surrogates import (
    clip_fraction,
    clipped_surrogate,
    clipped_value_loss,
    clipped_value_slope,
    huber_loss,
    huber_slope,
    kl_k1,
    kl_k3,
    probability_ratios,
    surrogate_gradient,
    surrogate_slope,
)
from fastpg.reference.updates import (
    Agent,
    Model,
    Options,
    Scaling,
    after_steps,
    after_update,
    ascend,
    for_steps,
    scale_outputs,
    scaled,
    scaled_for_steps,
    schedule,
    weigh,
)
from fastpg.reference.values import explained_variance, state_values


@dataclass(frozen=True)
class PPOOptions:
    """PPO's options, as `fastpg.PPO` has them; what is off there is infinite here.

    `standardize_advantages` is "minibatch", "batch" or "none", `value_loss` "squared" or "huber".
    """

    gamma: float
    lam: float
    learning_rate: float
    value_learning_rate: float
    epochs: int
    minibatches: int
    clip_range: float = 0.2
    standardize_advantages: str = "minibatch"
    recompute_advantages: bool = False
    linear_clip_range: bool = False
    target_kl: float = math.inf
    desired_kl: float = math.inf
    value_loss: str = "squared"
    huber_delta: float = 1.0
    value_clip_range: float = math.inf
    entropy_coef: float = 0.0
    max_grad_norm: float = math.inf
    joint_grad_norm: bool = False  # max_grad_norm is of both gradients as one vector, not of each
    linear_schedule: bool = False
    total_steps: int = 0  # the schedule's end
    normalize_observations: bool = False
    normalize_rewards: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def shared(self) -> Options:
        """Return what PPO shares with the other algorithms: GAE, Adam, and the schedule."""
        return Options(
            "gae",
            gamma=self.gamma,
            lam=self.lam,
            learning_rate=self.learning_rate,
            value_learning_rate=self.value_learning_rate,
            linear_schedule=self.linear_schedule,
            total_steps=self.total_steps,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
        )


class Learner(NamedTuple):
    """Both networks while they take steps, in the parameters that they step in."""

    policy: Model
    value: Model


class Rows(NamedTuple):
    """Rows that a step reads: all of a batch's, of which those not valid have no meaning, or a minibatch."""

    policy_obs: Floats  # (B, D), as the policy reads them in its steps
    value_obs: Floats  # (B, D)
    actions: Ints | Floats
    old_log_probs: Floats  # (B,)
    advantages: Floats  # (B,)
    old_values: Floats  # (B,), which the advantages were made with
    targets: Floats  # (B,)

    def take(self, index: Ints) -> "Rows":
        """Return these rows only."""
        return Rows._make(column[index] for column in self)


class PPOStep(NamedTuple):
    """What is known of a minibatch, of both networks as they were before its step."""

    epoch: int
    num_rows: int
    policy_loss: float
    value_loss: float  # half squares, or Huber's; the clipped one where V is clipped
    entropy: float
    kl_k1: float
    kl_k3: float
    clip_fraction: float
    policy_norm: float  # of the gradients, before they are clipped
    value_norm: float


class PPOStatistics(NamedTuple):
    """What is known of an update: means over the rows of its minibatches, one that stopped it among them.

    The divergences are means over the last epoch. Entropy, value loss and explained variance are those of the
    networks before the update.
    """

    num_steps: int
    num_trajectories: int
    num_updates: int  # steps of the optimizers
    policy_loss: float
    value_loss: float  # the mean squared error, in the environment's rewards
    entropy: float
    approx_kl: float  # k3
    approx_kl_k1: float
    clip_fraction: float
    gradient_norm: float  # of the policy, mean over the steps
    explained_variance: float
    learning_rate: float  # of the policy


def policy_direction(policy: Model, rows: Rows, options: PPOOptions) -> Floats:
    """Return the gradient of the mean over the rows of clipped surrogate and entropy, `(P,)`."""
    network, theta, obs = policy.network, policy.theta, rows.policy_obs
    ratios = probability_ratios(network, theta, obs, rows.actions, rows.old_log_probs)
    slope = surrogate_slope(ratios, rows.advantages, options.clip_range)
    bonus = options.entropy_coef * entropy_gradient(network, theta, obs) / len(obs)
    return surrogate_gradient(network, theta, obs, rows.actions, slope) + bonus


def value_losses(values: Floats, rows: Rows, options: PPOOptions) -> Floats:
    """Return each row's loss, `(B,)`: half the squared error, or Huber's; clipped, the larger of two."""
    if options.value_loss == "squared":
        return clipped_value_loss(values, rows.old_values, rows.targets, options.value_clip_range)
    limit = options.value_clip_range
    held = rows.old_values + np.clip(values - rows.old_values, -limit, limit)
    both = [huber_loss(rows.targets - v, options.huber_delta) for v in (values, held)]
    return np.maximum(*both)


def value_direction(value: Model, rows: Rows, options: PPOOptions) -> Floats:
    """Return minus the gradient of the mean value loss, `(P,)`."""
    values = state_values(value.network, value.theta, rows.value_obs)
    slope = clipped_value_slope(values, rows.old_values, rows.targets, options.value_clip_range)
    if options.value_loss == "huber":
        slope = huber_slope(slope, options.huber_delta)
    return output_gradient(value.network, value.theta, rows.value_obs, slope[:, None] / len(slope))


def clip_gradients(policy: Floats, value: Floats, options: PPOOptions) -> tuple[Floats, Floats]:
    """Scale gradients to `max_grad_norm` where they are longer, each or (`joint_grad_norm`) both as one."""
    if options.joint_grad_norm:
        both = clip_norm(np.concatenate([policy, value]), options.max_grad_norm)
        return both[: len(policy)], both[len(policy) :]
    return clip_norm(policy, options.max_grad_norm), clip_norm(value, options.max_grad_norm)


def look(
    learner: Learner, rows: Rows, gradients: tuple[Floats, Floats], epoch: int, options: PPOOptions
) -> PPOStep:
    """Return what is known of a minibatch before its step."""
    policy, value = learner
    network, theta, obs = policy.network, policy.theta, rows.policy_obs
    ratios = probability_ratios(network, theta, obs, rows.actions, rows.old_log_probs)
    values = state_values(value.network, value.theta, rows.value_obs)
    return PPOStep(
        epoch=epoch,
        num_rows=len(ratios),
        policy_loss=-float(clipped_surrogate(ratios, rows.advantages, options.clip_range).mean()),
        value_loss=float(value_losses(values, rows, options).mean()),
        entropy=float(entropy(network, theta, obs).mean()),
        kl_k1=kl_k1(ratios),
        kl_k3=kl_k3(ratios),
        clip_fraction=clip_fraction(ratios, options.clip_range),
        policy_norm=float(np.linalg.norm(gradients[0])),
        value_norm=float(np.linalg.norm(gradients[1])),
    )


def step(learner: Learner, gradients: tuple[Floats, Floats], share: float, options: PPOOptions) -> Learner:
    """Take a step of both networks, with this share of their learning rates."""
    policy, value = clip_gradients(*gradients, options)
    adam = options.shared()
    return Learner(
        ascend(learner.policy, policy, share * options.learning_rate, adam),
        ascend(learner.value, value, share * options.value_learning_rate, adam),
    )


def adapted(factor: float, divergence: float, options: PPOOptions) -> float:
    """Return the factor of the learning rate that keeps a minibatch's divergence near `desired_kl`.

    It stays where there is none but for rounding, as before the first step.

    References
    ----------
    Rudin, Hoeller, Reist and Hutter, "Learning to walk in minutes using massively parallel deep reinforcement
    learning", 2022.
    """
    rate = options.learning_rate * factor
    if divergence > 2.0 * options.desired_kl:
        rate = max(rate / 1.5, min(1e-5, rate))
    elif 1e-10 < divergence < options.desired_kl / 2.0 < math.inf:
        rate = min(rate * 1.5, max(1e-2, rate))
    return rate / options.learning_rate


def estimate(batch: Batch, rows: Rows, value: Model, scaling: Scaling, options: PPOOptions) -> Rows:
    """Return the rows with advantages, values and targets by the present V."""
    valid: Bools = batch.valid.ravel()
    theta = after_steps(value, scaling).theta
    advantages, targets = weigh(batch, options.shared(), partial(state_values, value.network, theta))
    by_row, values = advantages.ravel(), targets.ravel() - advantages.ravel()
    if options.standardize_advantages == "batch":
        by_row = np.where(valid, by_row, 0.0)
        by_row[valid] = standardize(by_row[valid], ddof=1)
    return rows._replace(advantages=by_row, old_values=values, targets=targets.ravel())


def epochs(
    agent: Agent, learner: Learner, batch: Batch, rows: Rows, scaling: Scaling, options: PPOOptions
) -> tuple[Learner, list[PPOStep], float]:
    """Take the steps of every epoch: both networks, what is known of each minibatch, and the rate's factor.

    A minibatch whose mean k3 is above 1.5 `target_kl` takes no step, and ends the update.
    """
    known: list[PPOStep] = []
    factor = agent.rate_factor
    for epoch in range(options.epochs):
        if epoch > 0 and options.recompute_advantages:
            rows = estimate(batch, rows, learner.value, scaling, options)
        stream = {"seed": agent.seed, "iteration": agent.iteration, "epoch": epoch}
        for index in minibatches(batch.valid, options.minibatches, **stream):
            if len(index) == 0:
                continue
            part = rows.take(index)
            if options.standardize_advantages == "minibatch":
                part = part._replace(advantages=standardize(part.advantages, ddof=1))
            by_policy = policy_direction(learner.policy, part, options)
            gradients = by_policy, value_direction(learner.value, part, options)
            known.append(look(learner, part, gradients, epoch, options))
            if known[-1].kl_k3 > 1.5 * options.target_kl:
                return learner, known, factor
            factor = adapted(factor, known[-1].kl_k3, options)
            rated = replace(options, learning_rate=options.learning_rate * factor)
            learner = step(learner, gradients, schedule(agent, options.shared()), rated)
    return learner, known, factor


def ppo_statistics(batch: Batch, rows: Rows, known: list[PPOStep], options: PPOOptions) -> PPOStatistics:
    """Return what is known of an update, with the rows as they were before it; rates are not known here."""
    valid: Bools = batch.valid.ravel()
    last = [one for one in known if one.epoch == known[-1].epoch]
    taken = known[:-1] if known[-1].kl_k3 > 1.5 * options.target_kl else known

    def mean(name: str, steps: list[PPOStep]) -> float:
        return float(np.average([getattr(s, name) for s in steps], weights=[s.num_rows for s in steps]))

    return PPOStatistics(
        num_steps=int(valid.sum()),
        num_trajectories=num_trajectories(batch),
        num_updates=len(taken),
        policy_loss=mean("policy_loss", known),
        value_loss=float(((rows.targets - rows.old_values)[valid] ** 2).mean()),
        entropy=math.nan,
        approx_kl=mean("kl_k3", last),
        approx_kl_k1=mean("kl_k1", last),
        clip_fraction=mean("clip_fraction", known),
        gradient_norm=float(np.mean([one.policy_norm for one in taken])) if taken else math.nan,
        explained_variance=explained_variance(rows.old_values[valid], rows.targets[valid]),
        learning_rate=math.nan,
    )


def ppo_update(agent: Agent, batch: Batch, options: PPOOptions) -> tuple[Agent, PPOStatistics, list[PPOStep]]:
    """Return the agent after one update, what is known of it, and of each of its minibatches.

    With `normalize_observations` both networks step in the parameters for scaled observations, as in
    `reference.update`; with `normalize_rewards` V steps in those for rewards over their deviation, with which
    a new V begins. "Old values" are those that the advantages of the epoch were made with.

    Examples
    --------
    >>> import numpy as np
    >>> from fastpg.reference import Network, new_agent, new_model
    >>> policy, value = new_model(Network(1, (), 2), np.zeros(4)), new_model(Network(1, (), 1), np.zeros(2))
    >>> obs, actions, rewards = np.ones((2, 1, 1)), np.array([[0], [1]]), np.array([[1.0], [0.0]])
    >>> never, valid = np.zeros((2, 1), bool), np.ones((2, 1), bool)
    >>> batch = Batch(obs, actions, rewards, valid, never, valid)
    >>> options = PPOOptions(0.9, 0.95, learning_rate=0.1, value_learning_rate=0.1, epochs=2, minibatches=1)
    >>> agent, known, steps = ppo_update(new_agent(policy, value), batch, options)
    >>> agent.policy.theta.round(3).tolist(), known.num_updates, [round(one.kl_k3, 4) for one in steps]
    ([0.2, -0.2, 0.2, -0.2], 2, [0.0, 0.0199])
    """
    assert agent.value is not None
    normalizer, scaling = scaled(agent, batch, options.normalize_observations)
    rewards, unit, learner_value = agent.rewards, 1.0, agent.value
    if options.normalize_rewards:
        rewards, unit = observe_rewards(agent.rewards, batch, options.gamma)
        batch = batch._replace(rewards=batch.rewards / unit)
        if agent.value.given or agent.rewards.statistics.num_rows > 0:
            learner_value = scale_outputs(agent.value, 1.0 / unit)
    if options.linear_clip_range:
        left = max(1.0 - agent.num_steps / options.total_steps, 0.0)
        options = replace(options, clip_range=left * options.clip_range)
    obs, valid = batch.obs.reshape(-1, batch.obs.shape[-1]), batch.valid.ravel()
    policy, policy_obs = for_steps(agent, agent.policy, obs, scaling)
    value, value_obs = for_steps(agent, learner_value, obs, scaling)
    actions = batch.actions.reshape(len(obs), *batch.actions.shape[2:])
    unknown = np.full(len(obs), np.nan)
    old_log_probs = unknown.copy()
    old_log_probs[valid] = log_prob(policy.network, policy.theta, policy_obs[valid], actions[valid])
    rows = Rows(policy_obs, value_obs, actions, old_log_probs, unknown, unknown, unknown)
    value_scaling = scaled_for_steps(agent, agent.value, scaling)
    rows = estimate(batch, rows, value, value_scaling, options)
    learner, known, factor = epochs(agent, Learner(policy, value), batch, rows, value_scaling, options)
    summary = ppo_statistics(batch, rows, known, options)
    summary = summary._replace(
        value_loss=summary.value_loss * unit**2,
        entropy=float(entropy(policy.network, policy.theta, policy_obs[valid]).mean()),
        learning_rate=schedule(agent, options.shared()) * options.learning_rate * factor,
    )
    policy, value = (after_steps(model, scaling) for model in learner)
    models = {"policy": policy, "value": scale_outputs(value, unit)}
    more = {"normalizer": normalizer, "rewards": rewards, "rate_factor": factor}
    return after_update(agent, summary.num_steps, **models, **more), summary, known
