"""NPG and TRPO: one update of an agent from a batch.

One natural step of the policy along the advantages of GAE, which TRPO shortens until it is safe; then the
regression of the value function, as in the other algorithms.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from fastpg.reference.advantages import standardize
from fastpg.reference.batches import Batch
from fastpg.reference.natural import TrustRegion, TrustRegionStep, npg_step, trpo_step
from fastpg.reference.normalisation import observe_rewards
from fastpg.reference.updates import (
    Agent,
    Options,
    Statistics,
    after_steps,
    after_update,
    fit_values,
    for_steps,
    scale_outputs,
    scaled,
    statistics,
    weigh,
)
from fastpg.reference.values import state_values


@dataclass(frozen=True)
class NaturalOptions:
    """The options of NPG and TRPO, as `fastpg.TRPO` has them.

    The Fisher matrix is of the steps t that `fisher_every` divides: it varies less than a gradient does, and
    takes most of the time. The search for a safe step is of all rows.
    """

    gamma: float
    lam: float
    value_learning_rate: float
    value_epochs: int
    region: TrustRegion
    value_minibatches: int = 1
    line_search: bool = True  # TRPO; NPG has none
    fisher_every: int = 1
    standardize_advantages: str = "batch"  # or "none"
    linear_schedule: bool = False  # of the value function's learning rate
    total_steps: int = 0  # the schedule's end
    normalize_observations: bool = False
    normalize_rewards: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def shared(self) -> Options:
        """Return what is as in VPG: GAE, the value function's regression, and Adam."""
        return Options(
            "gae",
            gamma=self.gamma,
            lam=self.lam,
            learning_rate=0.0,
            value_learning_rate=self.value_learning_rate,
            value_epochs=self.value_epochs,
            value_minibatches=self.value_minibatches,
            linear_schedule=self.linear_schedule,
            total_steps=self.total_steps,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
        )


class NaturalUpdate(NamedTuple):
    """The agent after an update, what is known of it, and how the policy's step came about."""

    agent: Agent
    statistics: Statistics
    step: TrustRegionStep


def natural_update(agent: Agent, batch: Batch, options: NaturalOptions) -> NaturalUpdate:
    """Return the agent after one update of NPG or TRPO.

    Examples
    --------
    >>> import numpy as np
    >>> from fastpg.reference import Network, new_agent, new_model
    >>> policy, value = new_model(Network(1, (), 2), np.zeros(4)), new_model(Network(1, (), 1), np.zeros(2))
    >>> obs, actions, rewards = np.ones((2, 1, 1)), np.array([[0], [1]]), np.array([[1.0], [0.0]])
    >>> never, valid = np.zeros((2, 1), bool), np.ones((2, 1), bool)
    >>> batch = Batch(obs, actions, rewards, valid, never, valid)
    >>> options = NaturalOptions(0.9, 0.95, value_learning_rate=0.1, value_epochs=1, region=TrustRegion(0.02))
    >>> step = natural_update(new_agent(policy, value), batch, options).step
    >>> step.accepted, step.kl <= 0.02, step.improvement > 0.0
    (True, True, True)
    """
    assert agent.value is not None
    normalizer, scaling = scaled(agent, batch, options.normalize_observations)
    rewards, unit, learner_value = agent.rewards, 1.0, agent.value
    if options.normalize_rewards:
        rewards, unit = observe_rewards(agent.rewards, batch, options.gamma)
        batch = batch._replace(rewards=batch.rewards / unit)
        if agent.value.given or agent.rewards.statistics.num_rows > 0:
            learner_value = scale_outputs(agent.value, 1.0 / unit)
    shared, valid = options.shared(), batch.valid
    value_of = partial(state_values, learner_value.network, learner_value.theta)
    weights, targets = weigh(batch, shared, value_of)
    advantages = weights[valid]
    if options.standardize_advantages == "batch":
        advantages = standardize(advantages)
    policy, obs = for_steps(agent, agent.policy, batch.obs[valid], scaling)
    chosen = np.nonzero(valid)[0] % options.fisher_every == 0  # by the row's t
    take = trpo_step if options.line_search else npg_step
    step = take(
        policy.network,
        policy.theta,
        obs,
        batch.actions[valid],
        advantages,
        options.region,
        obs[chosen],
    )
    known = statistics(agent._replace(value=learner_value), batch, targets, step.gradient)
    known = known._replace(value_loss=known.value_loss * unit**2)
    models = {
        "policy": after_steps(policy._replace(theta=step.theta), scaling),
        "value": scale_outputs(fit_values(agent, learner_value, batch, targets, shared, scaling), unit),
    }
    changed = after_update(agent, known.num_steps, **models, normalizer=normalizer, rewards=rewards)
    return NaturalUpdate(changed, known, step)
