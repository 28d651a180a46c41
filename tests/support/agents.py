"""Agents of every kind with their oracles, batches nobody has played, and updates held against it."""

import collections
import dataclasses

import numpy as np

import fastpg
from fastpg import reference
from fastpg.networks.parametric import is_untrained
from tests.support.heads import make, random_mask

OBS_SIZE = 4
TOTAL_STEPS = 10_000
STEPS = {"epochs": 2, "minibatches": 3, "epsilon": 1e-4, "learning_rate": 1e-3, "value_learning_rate": 3e-3}
VALUE = {"epsilon": 1e-4, "value_epochs": 2}  # Adam's own epsilon would take the sign of what is all but 0
# Conjugate gradients make much of roundings, the more of them the more.
NATURAL = VALUE | {"value_minibatches": 2, "cg_iterations": 3}
ALGORITHMS = {
    "total": fastpg.Reinforce(form="total", epsilon=1e-4, entropy_coef=0.05),
    "total, batch mean": fastpg.Reinforce(form="total", baseline="batch_mean", epsilon=1e-4),
    "total, timestep mean": fastpg.Reinforce(form="total", baseline="timestep_mean", epsilon=1e-4),
    "to go": fastpg.Reinforce(epsilon=1e-4, entropy_coef=0.05),
    "to go, batch mean": fastpg.Reinforce(baseline="batch_mean", epsilon=1e-4, entropy_coef=0.05),
    "to go, timestep mean": fastpg.Reinforce(baseline="timestep_mean", epsilon=1e-4, entropy_coef=0.05),
    "momentum": fastpg.Reinforce(form="total", optimizer="sgd", momentum=0.5, normalize="trajectory"),
    "gae": fastpg.VPG(max_grad_norm=0.05, **VALUE),
    "td": fastpg.VPG(form="td", standardize_advantages=False, linear_schedule=True, **VALUE),
    "q": fastpg.VPG(form="q", n_step=3, max_grad_norm=0.01, entropy_coef=0.05, value_minibatches=3, **VALUE),
    "to go, values": fastpg.VPG(form="reward_to_go", value_minibatches=3, entropy_coef=0.02, **VALUE),
    "normalised": fastpg.VPG(normalize_observations=True, **VALUE),
    "a2c": fastpg.A2C(epsilon=1e-4),
    "npg": fastpg.NPG(fisher_every=3, **NATURAL),
    "npg, normalised": fastpg.NPG(normalize_observations=True, normalize_rewards=True, **NATURAL),
    "trpo": fastpg.TRPO(linear_schedule=True, **NATURAL),
    "trpo, far": fastpg.TRPO(max_kl=2.0, damping=0.01, backtrack_factor=0.7, **NATURAL),
    "trpo, refused": fastpg.TRPO(max_kl=1.0, accept_ratio=1.0, backtracks=1, **NATURAL),
    "ppo": fastpg.PPO(**STEPS, entropy_coef=0.05),
    "ppo, stopped": fastpg.PPO(**STEPS, target_kl=1e-4, standardize_advantages="none", max_grad_norm=None),
    "ppo, joint": fastpg.PPO(**STEPS, joint_grad_norm=True, value_loss="huber", huber_delta=0.3),
    "ppo, clipped": fastpg.PPO(**STEPS, clip_range=0.01, value_clip_range=0.01, linear_clip_range=True),
    "ppo, again": fastpg.PPO(**STEPS, recompute_advantages=True, standardize_advantages="batch"),
    "ppo, normalised": fastpg.PPO(
        **STEPS, normalize_observations=True, normalize_rewards=True, value_clip_range=0.02, desired_kl=1e-4
    ),
}
# Agents that have every entry of a state: moments, normalisers, permutations, schedules.
WHOLE = fastpg.VPG(
    normalize_observations=True, value_epochs=3, value_minibatches=3, linear_schedule=True, max_grad_norm=0.5
)
WHOLES = {
    "whole": WHOLE,
    "ppo, whole": fastpg.PPO(
        epochs=3,
        minibatches=3,
        recompute_advantages=True,
        desired_kl=1e-3,
        value_clip_range=0.2,
        linear_schedule=True,
        linear_clip_range=True,
        normalize_observations=True,
        normalize_rewards=True,
    ),
    "trpo, whole": fastpg.TRPO(
        value_epochs=3,
        value_minibatches=3,
        linear_schedule=True,
        normalize_observations=True,
        normalize_rewards=True,
    ),
}
VALUE_ALGORITHMS = {name: one for name, one in ALGORITHMS.items() if not isinstance(one, fastpg.Reinforce)}


def networks(space, num_inputs=OBS_SIZE):
    """A policy, a value function, and their oracles."""
    policy, oracle = make(space, (6,), num_inputs)
    value = fastpg.ValueFunction(policy.observation_space, hidden=(5,), seed=2)
    return policy, value, oracle, reference.Network(num_inputs, (5,), 1)


def model_of(network, oracle):
    """The oracle's model of a network as it is now."""
    return reference.new_model(oracle, network.theta, given=not is_untrained(network))


def critic_of(algorithm, value):
    return None if isinstance(algorithm, fastpg.Reinforce) else value


def agent_of(algorithm, policy, value, seed=3):
    return fastpg.Agent(algorithm, policy, critic_of(algorithm, value), seed, total_steps=TOTAL_STEPS)


def random_batch(policy, steps, num_envs, seed=0, *, masked=True, scale=1.0, forbidden=0.0):
    """Rows of one's own: both flags, now and then at once, and rows that do not count.

    A share `forbidden` of the categories that were not taken was not allowed.
    """
    rng = np.random.default_rng(seed)
    shape, size = (steps, num_envs), policy.network.num_inputs
    obs = rng.normal(1.0, 2.0, size=(steps + 1, num_envs, size)).astype(np.float32)
    if policy.network.head == "gaussian":
        actions = rng.normal(size=(*shape, *policy.action_space.shape)).astype(np.float32)
    else:
        categories = np.array(policy.network.action_categories)
        actions = rng.integers(categories, size=(*shape, len(categories))).reshape(
            *shape, *policy.action_space.shape
        )
    rewards = (scale * rng.normal(0.3, 1.0, size=shape)).astype(np.float32)
    terminated, truncated = rng.random(shape) < 0.15, rng.random(shape) < 0.2
    mask = rng.random(shape) < 0.8
    mask[0, 0] = True
    counts = mask if masked else np.ones(shape, bool)
    after = rng.normal(size=(*shape, size)).astype(np.float32)
    done = (terminated | truncated) & counts
    allowed = None
    if forbidden:
        allowed = random_mask(policy, rng, actions, forbidden)
        allowed[~counts] = False  # where nobody looks
    return fastpg.Batch.from_arrays(
        obs[:-1], actions, rewards, terminated, truncated, last_obs=obs[-1], final_obs=after[done],
        mask=mask if masked else None, action_mask=allowed,
    )  # fmt: skip


def oracle_batch(batch):
    counts = np.ones(batch.rewards.shape, bool) if batch.mask is None else batch.mask
    next_obs = np.full(batch.obs.shape, np.nan)
    next_obs[batch.ends[:, 0], batch.ends[:, 1]] = batch.final_obs
    flags = batch.terminated, batch.truncated, counts
    obs = batch.obs
    if batch.action_mask is not None:  # which follows each observation, in the oracle
        obs = np.concatenate([obs, batch.action_mask], axis=-1)
    return reference.Batch(obs, batch.actions, batch.rewards, *flags, next_obs, batch.last_obs)


def oracle_update(algorithm, agent, batch, total_steps=TOTAL_STEPS):
    """The oracle's update by the algorithm: the agent after it, and what is known of it."""
    settings = algorithm.core_settings() | {"total_steps": total_steps}
    if isinstance(algorithm, fastpg.PPO):
        known = {field.name for field in dataclasses.fields(reference.PPOOptions)}
        options = reference.PPOOptions(**{name: settings[name] for name in known})
        return reference.ppo_update(agent, batch, options)[:2]
    if isinstance(algorithm, fastpg.NPG):
        return oracle_natural_update(algorithm, agent, batch, settings)
    return reference.update(agent, batch, reference.Options(**settings))


def oracle_natural_update(algorithm, agent, batch, settings):
    region = reference.TrustRegion(
        **{name: settings[name] for name in reference.TrustRegion._fields if name in settings}
    )
    known = {field.name for field in dataclasses.fields(reference.NaturalOptions)} & settings.keys()
    search = isinstance(algorithm, fastpg.TRPO)
    options = {name: settings[name] for name in known} | {"region": region, "line_search": search}
    after, known, step = reference.natural_update(agent, batch, reference.NaturalOptions(**options))
    return after, Natural(*known, step.kl, -step.improvement, step.backtracks, int(step.accepted))


Natural = collections.namedtuple(
    "Natural", (*reference.Statistics._fields, "approx_kl", "policy_loss", "num_backtracks", "num_updates")
)


def check_updates(algorithm, policy, value, oracles, batches):
    """Updates with these batches are the oracle's: statistics, and steps of both networks."""
    agent = agent_of(algorithm, policy, value)
    critic = critic_of(algorithm, value)
    known = reference.new_agent(
        model_of(policy, oracles[0]),
        None if critic is None else model_of(value, oracles[1]),
        seed=3,
    )
    # Differences of float32 parameters are compared: test_vpg.py says why not to 1e-5.
    close = 4e-3 if getattr(algorithm, "normalize_observations", False) else 2e-4
    for batch in batches:
        # Every update begins with the same parameters, to the bit.
        known = known._replace(policy=known.policy._replace(theta=np.float64(policy.theta)))
        if critic is not None:
            known = known._replace(value=known.value._replace(theta=np.float64(value.theta)))
        before = known
        got = agent.update(batch)
        known, expected = oracle_update(algorithm, known, oracle_batch(batch))
        for name, number in expected._asdict().items():
            np.testing.assert_allclose(got[name], number, rtol=1e-3, atol=1e-5, err_msg=name)
        for network, model, old in (
            (policy, known.policy, before.policy),
            (value, known.value, before.value),
        ):
            if model is not None:
                step, wanted = network.theta - old.theta, model.theta - old.theta
                assert np.linalg.norm(step - wanted) <= close * np.linalg.norm(wanted) + 1e-6
    assert (agent.num_iterations, agent.num_steps) == (known.iteration, known.num_steps)


def as_bytes(state):
    """The bits of an agent's state, to be compared."""
    return {name: array.tobytes() for name, array in state.items()}
