"""NPG and TRPO: what a step promises, and batches that have no step in them."""

import dataclasses

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from tests.support.agents import networks, random_batch
from tests.support.heads import BOTH

SPACES = [Discrete(5), MultiDiscrete([2, 5, 3]), MultiBinary(3), Box(-1, 1, (2,)), BOTH]
STEP = {"value_epochs": 1, "value_minibatches": 1}
every_space = pytest.mark.parametrize("space", SPACES, ids=str)


def updated(algorithm, space, batch=None, seed=0):
    """The policy before and after an update, and what is known of it."""
    policy, value, *_ = networks(space)
    before = policy.copy()
    agent = fastpg.Agent(algorithm, policy, value, total_steps=10_000)
    batch = random_batch(policy, 33, 17, seed) if batch is None else batch(policy)
    return before, agent, agent.update(batch), batch


def rows_of(batch):
    return batch.obs[np.ones(batch.rewards.shape, bool) if batch.mask is None else batch.mask]


@every_space
@pytest.mark.parametrize("max_kl", [1e-3, 0.01, 0.5, 5.0])
@pytest.mark.parametrize("normalised", [False, True], ids=["plain", "normalised"])
def test_a_step_of_trpo_diverges_by_max_kl_at_most(isa, space, max_kl, normalised):
    algorithm = fastpg.TRPO(max_kl=max_kl, damping=1e-3, normalize_observations=normalised, **STEP)
    before, agent, stats, batch = updated(algorithm, space)
    divergence = before.kl(agent.policy, rows_of(batch)).mean()
    assert stats["num_updates"] == 1 and stats["policy_loss"] < 0
    assert 0 < stats["approx_kl"] <= max_kl
    assert stats["approx_kl"] == pytest.approx(divergence, rel=1e-3)


@every_space
def test_a_small_step_of_npg_diverges_by_what_it_was_scaled_to(space):
    algorithm = fastpg.NPG(max_kl=1e-5, damping=1e-4, cg_iterations=20, **STEP)
    _, _, stats, _ = updated(algorithm, space)
    assert stats["approx_kl"] == pytest.approx(1e-5, rel=0.1)


@every_space
@pytest.mark.parametrize("normalised", [False, True], ids=["plain", "normalised"])
def test_a_search_that_fails_leaves_every_bit_of_the_policy(space, normalised):
    # No step grows by all that its gradient promises: the surrogate is not linear.
    algorithm = fastpg.TRPO(
        max_kl=1e-7, accept_ratio=1.0, backtracks=0, normalize_observations=normalised, **STEP
    )
    for seed in range(20):
        before, agent, stats, _ = updated(algorithm, space, seed=seed)
        if stats["num_updates"] == 0:
            break
    assert stats["num_updates"] == 0 and stats["approx_kl"] == 0
    assert agent.policy.theta.tobytes() == before.theta.tobytes()
    assert agent.num_iterations == 1


@pytest.mark.parametrize("kind", [fastpg.NPG, fastpg.TRPO])
@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_without_advantages_there_is_no_step(kind, damping):
    def flat(policy):
        batch = random_batch(policy, 5, 3, masked=False)
        return dataclasses.replace(batch, rewards=np.zeros_like(batch.rewards))

    policy, value, *_ = networks(Discrete(3))
    value.theta[:] = 0.0
    before = policy.theta.copy()
    stats = fastpg.Agent(kind(damping=damping, **STEP), policy, value).update(flat(policy))
    assert policy.theta.tobytes() == before.tobytes()
    assert stats["gradient_norm"] == 0 and stats["approx_kl"] == 0


@pytest.mark.parametrize("kind", [fastpg.NPG, fastpg.TRPO])
@every_space
def test_a_single_row_without_damping_is_a_step_or_none(kind, space):
    """The Fisher matrix of one row has rank one: what it cannot see, conjugate gradients do not follow."""
    algorithm = kind(damping=0.0, standardize_advantages=False, cg_iterations=50, **STEP)
    _, agent, stats, _ = updated(algorithm, space, lambda policy: random_batch(policy, 1, 1, masked=False))
    assert np.isfinite(agent.policy.theta).all() and np.isfinite(stats["approx_kl"])


def test_a_matrix_of_some_steps_is_that_of_all_where_they_are_alike():
    policy, value, *_ = networks(Discrete(3))
    one = random_batch(policy, 1, 6, masked=False)
    fields = {name: np.repeat(getattr(one, name), 4, axis=0) for name in ("obs", "actions", "rewards")}
    never = np.zeros((4, 6), bool)
    alike = fastpg.Batch.from_arrays(
        *(fields[name] for name in ("obs", "actions", "rewards")), never, never, last_obs=one.last_obs
    )
    steps = []
    for every in (1, 2, 4, 1000):
        mine = policy.copy()
        algorithm = fastpg.NPG(fisher_every=every, cg_iterations=3, **STEP)
        fastpg.Agent(algorithm, mine, value.copy()).update(alike)
        steps.append(mine.theta - policy.theta)
    for step in steps[1:]:
        np.testing.assert_allclose(step, steps[0], rtol=1e-3, atol=1e-6)


def test_npg_and_trpo_solve_cart_pole():
    for algorithm in (fastpg.NPG(), fastpg.TRPO()):
        run = fastpg.train("CartPole-v1", algorithm, total_steps=100_000, target_return=475, seed=1)
        assert run.stopped_because == "target_return"
