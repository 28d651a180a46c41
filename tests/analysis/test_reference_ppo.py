"""The oracle's updates of PPO, NPG and TRPO: losses by differences, options by what they are equal to."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from fastpg import reference
from fastpg.reference import NaturalOptions, PPOOptions, TrustRegion, ppo
from tests.support.batches import POLICY, VALUE, make_agent, make_batch
from tests.support.differences import central_differences
from tests.support.policies import NETWORKS, random_rows

OPTIONS = PPOOptions(
    gamma=0.9,
    lam=0.7,
    learning_rate=0.05,
    value_learning_rate=0.02,
    epochs=3,
    minibatches=2,
    entropy_coef=0.05,
    epsilon=1e-4,
)
NATURAL = NaturalOptions(
    gamma=0.9, lam=0.7, value_learning_rate=0.02, value_epochs=2, region=TrustRegion(), value_minibatches=2
)
LOSSES = [(kind, clip) for kind in ("squared", "huber") for clip in (np.inf, 0.3)]


def random_learner(network, rng, size=30):
    """Both networks, and rows on which ratios, values and errors are on both sides of every limit."""
    theta, obs, actions = random_rows(network, rng, size)
    old_log_probs = reference.log_prob(network, theta, obs, actions) + rng.normal(size=size) * 0.3
    critic = reference.Network(network.num_inputs, (4,), 1)
    value = reference.new_model(critic, rng.normal(size=reference.num_parameters(critic)))
    values = reference.state_values(critic, value.theta, obs)
    old_values, targets = values + rng.normal(size=(2, size))
    rows = ppo.Rows(obs, obs, actions, old_log_probs, rng.normal(size=size), old_values, targets)
    return ppo.Learner(reference.new_model(network, theta), value), rows


def with_options(**changed):
    return dataclasses.replace(OPTIONS, **changed)


def same(got, expected):
    """Agents with the same parameters, moments and counters."""
    for name in ("policy", "value"):
        one, other = getattr(got, name), getattr(expected, name)
        np.testing.assert_allclose(one.theta, other.theta, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(one.moments.second, other.moments.second, rtol=1e-10, atol=1e-15)
        assert one.moments.step == other.moments.step
    assert (got.iteration, got.num_steps) == (expected.iteration, expected.num_steps)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_policy_goes_up_its_surrogate_and_entropy(network, rng):
    (policy, _), rows = random_learner(network, rng)

    def objective(theta):
        ratios = reference.probability_ratios(
            network, theta, rows.policy_obs, rows.actions, rows.old_log_probs
        )
        bonus = reference.entropy(network, theta, rows.policy_obs).mean()
        return reference.clipped_surrogate(ratios, rows.advantages, 0.2).mean() + 0.05 * bonus

    numeric = central_differences(objective, policy.theta)
    np.testing.assert_allclose(ppo.policy_direction(policy, rows, OPTIONS), numeric, atol=1e-7)


@pytest.mark.parametrize(("kind", "clip"), LOSSES)
def test_the_value_function_goes_down_its_loss(kind, clip, rng):
    (_, value), rows = random_learner(POLICY, rng)
    options = with_options(value_loss=kind, value_clip_range=clip, huber_delta=0.7)

    def loss(theta):
        values = reference.state_values(value.network, theta, rows.value_obs)
        return ppo.value_losses(values, rows, options).mean()

    numeric = -central_differences(loss, value.theta)
    np.testing.assert_allclose(ppo.value_direction(value, rows, options), numeric, atol=1e-7)


def test_values_within_their_range_are_not_clipped_however_sums_are_rounded(rng):
    old_values, change, targets = rng.normal(size=(3, 1000))
    slope = reference.clipped_value_slope(old_values + change, old_values, targets, 1e9)
    np.testing.assert_array_equal(slope, targets - (old_values + change))


def test_gradients_are_clipped_one_by_one_or_together():
    policy, value = np.array([3.0, 0.0]), np.array([0.0, 4.0, 0.0])
    each = ppo.clip_gradients(policy, value, with_options(max_grad_norm=1.0))
    np.testing.assert_allclose(each[0], [1, 0])
    np.testing.assert_allclose(each[1], [0, 1, 0])
    joint = ppo.clip_gradients(policy, value, with_options(max_grad_norm=1.0, joint_grad_norm=True))
    np.testing.assert_allclose(joint[0], [0.6, 0])
    np.testing.assert_allclose(joint[1], [0, 0.8, 0])


def test_the_first_step_is_that_of_a2c(rng):
    """Every ratio is 1: nothing is clipped, and the surrogate's gradient is the policy gradient."""
    agent, batch = make_agent(rng), make_batch(rng)
    options = with_options(epochs=1, minibatches=1, standardize_advantages="none")
    after, known, _ = reference.ppo_update(agent, batch, options)
    shared = options.shared()
    common = dataclasses.replace(shared, entropy_coef=0.05, value_epochs=1)
    expected, of_a2c = reference.update(agent, batch, common)
    same(after, expected)
    assert known.clip_fraction == 0 and known.approx_kl == pytest.approx(0, abs=1e-15)
    assert known.gradient_norm == pytest.approx(of_a2c.gradient_norm)
    assert known.value_loss == pytest.approx(of_a2c.value_loss)
    assert known.entropy == pytest.approx(of_a2c.entropy)
    assert known.explained_variance == pytest.approx(of_a2c.explained_variance)


def test_every_row_is_seen_once_in_an_epoch(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    _, known, steps = reference.ppo_update(agent, batch, OPTIONS)
    for epoch in range(3):
        assert sum(step.num_rows for step in steps if step.epoch == epoch) == batch.valid.sum()
    assert known.num_updates == len(steps) == 6


def test_minibatches_without_rows_take_no_step(rng):
    agent, batch = make_agent(rng), make_batch(rng, num_steps=1, num_envs=3)
    batch = batch._replace(
        valid=np.ones((1, 3), bool), obs=rng.normal(size=(1, 3, 3)), rewards=np.ones((1, 3))
    )
    _, known, steps = reference.ppo_update(agent, batch, with_options(minibatches=5, epochs=1))
    assert [step.num_rows for step in steps] == [1, 1, 1] and known.num_updates == 3
    parts = reference.minibatches(batch.valid, 5, seed=7, iteration=0, epoch=0)
    values_of = partial(reference.state_values, VALUE, agent.value.theta)
    weights, _ = reference.weigh(batch, OPTIONS.shared(), values_of)
    # A row by itself has no deviation: its advantage is taken as it is.
    assert steps[0].policy_loss == pytest.approx(-weights.ravel()[np.concatenate(parts)[0]])


def test_a_minibatch_too_far_from_the_old_policy_ends_the_update(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    _, _, steps = reference.ppo_update(agent, batch, OPTIONS)
    farthest = max(range(6), key=lambda k: steps[k].kl_k3)
    assert farthest > 0
    limit = 0.999 * steps[farthest].kl_k3 / 1.5
    after, known, seen = reference.ppo_update(agent, batch, with_options(target_kl=limit))
    assert seen == steps[: farthest + 1]
    assert known.num_updates == farthest == after.policy.moments.step == after.value.moments.step
    last = [step for step in seen if step.epoch == seen[-1].epoch]
    mean = np.average([step.kl_k3 for step in last], weights=[step.num_rows for step in last])
    assert known.approx_kl == pytest.approx(mean)


def test_advantages_are_standardised_over_all_rows_or_not_at_all(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    values_of = partial(reference.state_values, VALUE, agent.value.theta)
    weights, _ = reference.weigh(batch, OPTIONS.shared(), values_of)
    valid, rows = batch.valid, reference.minibatches(batch.valid, 2, seed=7, iteration=0, epoch=0)[0]
    whole = np.zeros(valid.shape)
    whole[valid] = reference.standardize(weights[valid], ddof=1)
    expected = {"none": weights, "batch": whole}
    expected = {name: -one.ravel()[rows].mean() for name, one in expected.items()} | {"minibatch": 0.0}
    for name, loss in expected.items():
        _, _, steps = reference.ppo_update(agent, batch, with_options(standardize_advantages=name))
        assert steps[0].policy_loss == pytest.approx(loss, abs=1e-12), name


def test_advantages_can_be_made_anew_by_the_value_function_of_each_epoch(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    options = with_options(
        epochs=2,
        minibatches=1,
        recompute_advantages=True,
        value_clip_range=0.01,
        standardize_advantages="batch",
    )
    after, *_ = reference.ppo_update(agent, batch, dataclasses.replace(options, epochs=1))
    _, _, (_, second) = reference.ppo_update(agent, batch, options)
    values_of = partial(reference.state_values, VALUE, after.value.theta)
    weights, targets = reference.weigh(batch, options.shared(), values_of)
    valid, obs, actions = batch.valid, batch.obs[batch.valid], batch.actions[batch.valid]
    old_log_probs = reference.log_prob(POLICY, agent.policy.theta, obs, actions)
    ratios = reference.probability_ratios(POLICY, after.policy.theta, obs, actions, old_log_probs)
    surrogate = reference.clipped_surrogate(ratios, reference.standardize(weights[valid], ddof=1), 0.2)
    assert second.policy_loss == pytest.approx(-surrogate.mean())
    # The old values are the new ones too: nothing is clipped yet.
    assert second.value_loss == pytest.approx(((targets - weights - targets)[valid] ** 2).mean() / 2)


def scaled_twin(agent, batch):
    """The same agent in parameters for scaled observations, and the batch of these."""
    normalizer = reference.observe(agent.normalizer, batch.obs[batch.valid])
    mean, std = reference.scale(normalizer)
    inner = {
        name: model._replace(theta=reference.for_normalized(model.network, model.theta, mean, std))
        for name, model in {"policy": agent.policy, "value": agent.value}.items()
    }
    fields = ("obs", "next_obs", "last_obs")
    scaled = batch._replace(**{name: (getattr(batch, name) - mean) / std for name in fields})
    return agent._replace(**inner), scaled, (mean, std)


def ppo_agent(agent, batch, **changed):
    return reference.ppo_update(agent, batch, with_options(recompute_advantages=True, **changed))[0]


def trpo_agent(agent, batch, **changed):
    return reference.natural_update(agent, batch, dataclasses.replace(NATURAL, **changed)).agent


@pytest.mark.parametrize("updated", [ppo_agent, trpo_agent])
def test_networks_that_were_given_step_in_the_parameters_for_scaled_observations(updated, rng):
    agent, batch = make_agent(rng), make_batch(rng)
    twin, scaled, scaling = scaled_twin(agent, batch)
    inner = updated(twin, scaled)
    expected = inner._replace(
        policy=reference.after_steps(inner.policy, scaling), value=reference.after_steps(inner.value, scaling)
    )
    same(updated(agent, batch, normalize_observations=True), expected)


@pytest.mark.parametrize("updated", [ppo_agent, trpo_agent])
def test_new_networks_take_their_first_steps_as_they_are(updated, rng):
    agent, batch = make_agent(rng, given=False), make_batch(rng)
    _, _, scaling = scaled_twin(agent, batch)
    inner = updated(agent, batch)
    expected = inner._replace(
        policy=reference.after_steps(inner.policy, scaling), value=reference.after_steps(inner.value, scaling)
    )
    same(updated(agent, batch, normalize_observations=True), expected)


# ---- rewards -----------------------------------------------------------------------------------------------


def test_returns_so_far_go_on_from_batch_to_batch(rng):
    batch = make_batch(rng, num_steps=12)
    halves = [
        batch._replace(
            **{n: getattr(batch, n)[part] for n in ("rewards", "terminated", "truncated", "valid")}
        )
        for part in (slice(5), slice(5, 12))
    ]
    whole, end = reference.discounted_so_far(batch, np.zeros(6), 0.9)
    first, carried = reference.discounted_so_far(halves[0], np.zeros(6), 0.9)
    second, last = reference.discounted_so_far(halves[1], carried, 0.9)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    np.testing.assert_array_equal(last, end)
    for n in range(6):
        total = 0.0
        for t in np.flatnonzero(batch.valid[:, n]):
            total = 0.9 * total + batch.rewards[t, n]
            assert whole[t, n] == total
            total *= not (batch.terminated[t, n] or batch.truncated[t, n])


@pytest.mark.parametrize("updated", [ppo_agent, trpo_agent])
def test_rewards_are_divided_by_the_deviation_of_all_returns_so_far(updated, rng):
    agent = make_agent(rng)
    seen, carried = [], np.zeros(6)
    for _ in range(2):
        batch = make_batch(rng)
        so_far, carried = reference.discounted_so_far(batch, carried, 0.9)
        seen = np.concatenate([seen, so_far[batch.valid]])
        unit = np.std(seen)
        inner = agent._replace(value=reference.scale_outputs(agent.value, 1 / unit))
        by_hand = updated(inner, batch._replace(rewards=batch.rewards / unit))
        by_hand = by_hand._replace(value=reference.scale_outputs(by_hand.value, unit))
        agent = updated(agent, batch, normalize_rewards=True)
        same(agent, by_hand)
    assert agent.rewards.statistics.num_rows == len(seen)


# ---- NPG and TRPO ------------------------------------------------------------------------------------------


def natural(agent, batch, **changed):
    return reference.natural_update(agent, batch, dataclasses.replace(NATURAL, **changed))


def test_npg_takes_the_whole_step(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    step = natural(agent, batch, line_search=False).step
    np.testing.assert_array_equal(step.theta, agent.policy.theta + step.full_step)
    assert step.backtracks == 0


def test_the_fisher_matrix_can_be_of_some_steps_only(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    step = natural(agent, batch, fisher_every=3).step
    some = np.zeros(batch.valid.shape, bool)
    some[::3] = batch.valid[::3]
    expected = reference.natural_step(
        POLICY, agent.policy.theta, batch.obs[some], step.gradient, TrustRegion()
    )
    np.testing.assert_allclose(step.full_step, expected, rtol=1e-10)


def test_without_advantages_the_policy_stays(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    nothing = batch._replace(rewards=np.zeros(batch.rewards.shape))
    still = agent._replace(value=agent.value._replace(theta=np.zeros_like(agent.value.theta)))
    for search in (False, True):
        done = natural(still, nothing, line_search=search)
        np.testing.assert_array_equal(done.agent.policy.theta, agent.policy.theta)
        assert done.step.accepted != search and done.step.kl == 0
