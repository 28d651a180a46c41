"""The oracle's update itself: shards and permutations by hand, gradients by central differences."""

import dataclasses
import math

import numpy as np
import pytest

from fastpg import _core, reference
from fastpg.reference import Batch, Network, Options
from tests.support.batches import POLICY, VALUE, make_agent, make_batch
from tests.support.differences import central_differences

CRITIC_FORMS = ["reward_to_go", "q", "td", "gae"]
OPTIONS = {
    "gamma": 0.9,
    "lam": 0.7,
    "n_step": 3,
    "learning_rate": 0.1,
    "value_learning_rate": 0.05,
    "value_epochs": 1,
    "epsilon": 1e-4,
}


def critic_options(form="gae", **changed):
    baseline = "value" if form in ("q", "reward_to_go") else "none"
    return Options(form, baseline=baseline, **{**OPTIONS, **changed})


def values_of(agent):
    return lambda obs: reference.state_values(VALUE, agent.value.theta, obs)


# ---- shards, permutations, minibatches ---------------------------------------------------------------------


def test_the_size_of_a_shard_depends_on_the_number_of_environments_only():
    sizes = {1: 4, 16: 4, 17: 8, 32: 8, 33: 12, 64: 16, 128: 16, 129: 32, 1023: 32, 1024: 64, 10**6: 64}
    assert {n: reference.shard_size(n) for n in sizes} == sizes


@pytest.mark.parametrize("num_envs", [1, 5, 17, 70, 1030])
def test_every_environment_is_in_one_shard(num_envs):
    parts = reference.shards(num_envs)
    assert np.concatenate(parts).tolist() == list(range(num_envs))
    assert {len(part) for part in parts[:-1]} <= {reference.shard_size(num_envs)}


def test_mean_baselines_by_hand():
    # Six environments are two shards, of four and of two.
    weights = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]])
    valid = np.array([[1, 1, 1, 0, 1, 1], [1, 0, 0, 0, 0, 1]], bool)
    total = 1 + 10 + 2 + 3  # of the first shard's four valid rows
    over_all = [(total - 11) / 2, (total - 2) / 3, (total - 3) / 3, total / 4, (6 + 60) / 2, 5.0]
    got = reference.mean_of_others(weights, valid, by_timestep=False)
    np.testing.assert_allclose(got, [over_all, over_all])
    by_timestep = [[2.5, 2.0, 1.5, 2.0, 6.0, 5.0], [0.0, 10.0, 10.0, 10.0, 60.0, 0.0]]
    np.testing.assert_allclose(reference.mean_of_others(weights, valid, by_timestep=True), by_timestep)


def test_a_permutation_by_hand():
    seed, first_env, iteration, epoch = (5 << 32) + 9, 64, 2**32 + 3, 2
    words = []
    for block in (0, 1):
        counter, key = np.array([64, block, 3, 3 + 2 * 256], np.uint32), np.array([9, 5], np.uint32)
        words += map(int, _core.philox(counter, key))
    order = ["a", "b", "c", "d", "e", "f"]
    for j in (5, 4, 3, 2, 1):
        k = words[j] * (j + 1) // 2**32
        order[j], order[k] = order[k], order[j]
    got = reference.permutation(6, seed=seed, first_env=first_env, iteration=iteration, epoch=epoch)
    assert ["abcdef"[i] for i in got] == order


def test_every_permutation_of_three_is_as_likely_as_any_other():
    orders = [tuple(reference.permutation(3, seed=0, first_env=0, iteration=k, epoch=0)) for k in range(3000)]
    counts = [orders.count(order) for order in sorted(set(orders))]
    assert len(counts) == 6
    # The sum of squares over 500 has a chi-square distribution with 5 degrees of freedom: 20.5 in a thousand.
    assert sum((count - 500) ** 2 / 500 for count in counts) < 20.5


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_every_row_is_in_one_minibatch_and_shards_have_their_share_in_each(count, rng):
    valid = rng.random((9, 18)) < 0.6
    parts = reference.minibatches(valid, count, seed=3, iteration=1, epoch=4)
    assert sorted(np.concatenate(parts)) == np.flatnonzero(valid).tolist()
    for part in parts:
        shard = part % 18 // reference.shard_size(18)
        assert (np.diff(shard) >= 0).all()
        for s, environments in enumerate(reference.shards(18)):
            share = valid[:, environments].sum() / count
            assert math.floor(share) <= (shard == s).sum() <= math.ceil(share)


def test_minibatches_take_the_permutation_of_each_shard_piece_by_piece():
    valid = np.ones((3, 6), bool)
    valid[1, 0] = valid[2, 5] = False
    rows = [0, 1, 2, 3, 7, 8, 9, 12, 13, 14, 15], [4, 5, 10, 11, 16]  # t * 6 + environment
    stream = {"seed": 11, "iteration": 2, "epoch": 1}
    orders = [
        reference.permutation(len(r), first_env=first, **stream)
        for r, first in zip(rows, (0, 4), strict=True)
    ]
    first, second = ([r[i] for i in order] for r, order in zip(rows, orders, strict=True))
    got = reference.minibatches(valid, 3, **stream)
    assert [part.tolist() for part in got] == [
        first[:3] + second[:1],
        first[3:7] + second[1:3],
        first[7:] + second[3:],
    ]


def test_one_minibatch_has_the_rows_in_their_own_order():
    valid = np.ones((2, 6), bool)
    (rows,) = reference.minibatches(valid, 1, seed=1, iteration=0, epoch=0)
    assert rows.tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 4, 5, 10, 11]


# ---- the weights of the rows -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["total", *CRITIC_FORMS])
def test_rows_that_are_no_transitions_are_as_if_they_were_not_there(form, rng):
    # Of one environment, so that the rows can be taken out.
    agent, batch = make_agent(rng), make_batch(rng, num_steps=30, num_envs=1)
    kept = batch.valid[:, 0]
    every = np.ones((kept.sum(), 1), bool)
    without = Batch(*(part[kept] for part in batch[:5]), every, batch.next_obs[kept], batch.last_obs)
    updated = [reference.update(agent, one, critic_options(form)) for one in (batch, without)]
    (one, known), (other, known_without) = updated
    np.testing.assert_allclose(known, known_without, rtol=1e-12)
    np.testing.assert_allclose(one.policy.theta, other.policy.theta, rtol=1e-12)
    np.testing.assert_allclose(one.value.theta, other.value.theta, rtol=1e-12)


def three_steps():
    """One environment that is truncated at its first step of three, and a value for each observation."""
    obs = np.array([[[1.0, 0, 0]], [[0, 1.0, 0]], [[0, 0, 1.0]]])
    numbers = {"100": 10.0, "010": 20.0, "001": 30.0, "200": 100.0, "300": 1000.0}
    flags = np.zeros((3, 1), bool), np.array([[True], [False], [False]])
    final = np.full((3, 1, 3), np.nan)
    final[0, 0] = [2.0, 0, 0]
    batch = Batch(
        obs,
        np.zeros((3, 1), int),
        np.ones((3, 1)),
        *flags,
        np.ones((3, 1), bool),
        final,
        np.array([[3.0, 0, 0]]),
    )
    return batch, lambda rows: np.array([numbers["".join(f"{x:.0f}" for x in row)] for row in rows])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # V after the truncated row is that of its final observation, 100; after the last row, 1000.
        ("td", [1 + 50 - 10, 1 + 15 - 20, 1 + 500 - 30]),
        ("q", [1 + 50, 1 + 0.5 + 250, 1 + 500]),
        ("gae", [1 + 50 - 10, (1 + 15 - 20) + 0.4 * (1 + 500 - 30), 1 + 500 - 30]),
    ],
)
def test_truncation_bootstraps_from_the_final_observation_and_the_horizon_from_the_last(form, expected):
    batch, values = three_steps()
    options = Options(form, gamma=0.5, lam=0.8, n_step=2, learning_rate=0.1)
    phi, targets = reference.weigh(batch, options, values)
    np.testing.assert_allclose(phi[:, 0], expected)
    np.testing.assert_allclose(targets[:, 0] - np.array([10, 20, 30]), expected)


@pytest.mark.parametrize(
    ("form", "expected"), [("total", [1, 1.5, 1.5]), ("reward_to_go", [1, 1.5, 1])], ids=str
)
def test_forms_without_a_value_function_read_none_after_an_end(form, expected):
    batch, values = three_steps()
    options = Options(form, gamma=0.5, baseline="value", learning_rate=0.1)
    phi, targets = reference.weigh(batch, options, values)
    np.testing.assert_allclose(targets[:, 0], expected)
    np.testing.assert_allclose(phi[:, 0] + np.array([10, 20, 30]), expected)


@pytest.mark.parametrize("form", ["td", "q", "gae"])
def test_a_terminated_row_is_followed_by_nothing_though_it_is_truncated_as_well(form, rng):
    batch = make_batch(rng)
    both = batch._replace(
        truncated=batch.truncated | batch.terminated,
        next_obs=np.where(batch.terminated[..., None], np.nan, batch.next_obs),
    )
    values = values_of(make_agent(rng))
    for one, other in zip(
        reference.weigh(batch, critic_options(form), values),
        reference.weigh(both, critic_options(form), values),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_trajectories_are_episodes_that_ended_and_those_that_were_cut():
    columns = [  # (valid, terminated, truncated) of three rows
        ("111", "000", "000"),  # cut: 1
        ("111", "100", "001"),  # two ends: 2
        ("110", "010", "000"),  # the last row is a reset: 1
        ("110", "000", "001"),  # cut before a row that does not count: 1
        ("000", "111", "000"),  # nothing: 0
        ("101", "001", "100"),  # 2
    ]
    flags = np.array([[[bit == "1" for bit in text] for text in column] for column in columns])
    valid, terminated, truncated = (flags[:, k].T for k in range(3))
    batch = Batch(np.zeros((3, 6, 1)), None, np.zeros((3, 6)), terminated, truncated, valid)
    assert reference.num_trajectories(batch) == 7


# ---- the policy's step -------------------------------------------------------------------------------------


def objective(network, theta, batch, phi, options):
    """What the policy's step ascends: sum_t Phi_t log pi(a_t|s_t) + entropy_coef H(pi(.|s_t)), normalised."""
    obs, actions = batch.obs[batch.valid], batch.actions[batch.valid]
    total = phi[batch.valid] @ reference.log_prob(network, theta, obs, actions)
    total += options.entropy_coef * reference.entropy(network, theta, obs).sum()
    by_trajectory = options.normalize == "trajectory"
    return total / (reference.num_trajectories(batch) if by_trajectory else batch.valid.sum())


def policy_gradient_of(agent, batch, options):
    """The gradient that an update ascends: a step of plain SGD with rate 1."""
    plain = dataclasses.replace(options, optimizer="sgd", learning_rate=1.0, momentum=0.0)
    after, known = reference.update(agent, batch, plain)
    gradient = after.policy.theta - agent.policy.theta
    np.testing.assert_allclose(np.linalg.norm(gradient), known.gradient_norm, rtol=1e-9)
    return gradient


@pytest.mark.parametrize("normalize", ["trajectory", "timestep"])
@pytest.mark.parametrize("entropy_coef", [0.0, 0.3])
@pytest.mark.parametrize(
    "policy",
    [
        POLICY,
        Network(3, (), 3, "relu"),
        Network(3, (4,), 5, "tanh", "categorical", (3, 2)),
        Network(3, (4,), 2, "tanh", "bernoulli"),
        Network(3, (4,), 2, "tanh", "gaussian"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("form", "baseline"), [("total", "batch_mean"), ("reward_to_go", "timestep_mean"), ("gae", "none")]
)
def test_the_policys_step_ascends_the_objective(policy, normalize, entropy_coef, form, baseline, rng):
    batch, agent = make_batch(rng, policy=policy), make_agent(rng, policy, VALUE if form == "gae" else None)
    options = Options(form, baseline=baseline, normalize=normalize, entropy_coef=entropy_coef, **OPTIONS)
    phi, _ = reference.weigh(batch, options, values_of(agent) if form == "gae" else None)
    theta = agent.policy.theta
    numeric = central_differences(lambda x: objective(policy, x, batch, phi, options), theta)
    np.testing.assert_allclose(policy_gradient_of(agent, batch, options), numeric, atol=1e-7)


def test_advantages_are_standardized_over_the_rows_that_count(rng):
    batch, agent = make_batch(rng), make_agent(rng)
    phi, _ = reference.weigh(batch, critic_options(), values_of(agent))
    standard = np.full(phi.shape, np.nan)
    standard[batch.valid] = (phi[batch.valid] - phi[batch.valid].mean()) / (phi[batch.valid].std() + 1e-8)
    numeric = central_differences(
        lambda x: objective(POLICY, x, batch, standard, critic_options()), agent.policy.theta
    )
    got = policy_gradient_of(agent, batch, critic_options(standardize_advantages="batch"))
    np.testing.assert_allclose(got, numeric, atol=1e-7)


def test_a_gradient_that_is_too_long_is_scaled_down_and_its_norm_reported_as_it_was(rng):
    batch, agent = make_batch(rng), make_agent(rng)
    options = critic_options(optimizer="sgd", learning_rate=1.0)
    free, known = reference.update(agent, batch, options)
    assert known.gradient_norm > 0.01
    held, known_too = reference.update(agent, batch, dataclasses.replace(options, max_grad_norm=0.01))
    assert known_too.gradient_norm == known.gradient_norm
    step, short = free.policy.theta - agent.policy.theta, held.policy.theta - agent.policy.theta
    np.testing.assert_allclose(short, step * 0.01 / known.gradient_norm, rtol=1e-6, atol=1e-12)


def test_sgd_keeps_its_velocity_from_update_to_update(rng):
    batch, agent = make_batch(rng), make_agent(rng, value=None)
    options = Options("reward_to_go", 0.9, 1e-9, optimizer="sgd", momentum=0.5)  # theta all but stands still
    first, known = reference.update(agent, batch, options)
    second, _ = reference.update(first, batch, options)
    np.testing.assert_allclose(np.linalg.norm(first.policy.moments.first), known.gradient_norm)
    np.testing.assert_allclose(second.policy.moments.first, 1.5 * first.policy.moments.first, rtol=1e-6)


def test_learning_rates_fall_with_the_steps_that_were_taken_before(rng):
    batch, agent = make_batch(rng), make_agent(rng)
    rows = int(batch.valid.sum())
    plain = critic_options(value_epochs=2)
    falling = dataclasses.replace(plain, linear_schedule=True, total_steps=4 * rows)
    for taken, share in ((0, 1.0), (rows, 0.75), (5 * rows, 0.0)):
        before = agent._replace(num_steps=taken)
        scaled = dataclasses.replace(plain, learning_rate=share * 0.1, value_learning_rate=share * 0.05)
        got, expected = (reference.update(before, batch, options)[0] for options in (falling, scaled))
        np.testing.assert_array_equal(got.policy.theta, expected.policy.theta)
        np.testing.assert_array_equal(got.value.theta, expected.value.theta)
        assert got.num_steps == taken + rows
        assert got.iteration == 1


# ---- the value function's fit ------------------------------------------------------------------------------


def half_squared_error(theta, obs, targets):
    return -0.5 * np.mean((targets - reference.state_values(VALUE, theta, obs)) ** 2)


@pytest.mark.parametrize("form", CRITIC_FORMS)
@pytest.mark.parametrize("count", [1, 4])
def test_the_fit_descends_half_the_mean_squared_error_of_each_minibatch(form, count, rng):
    batch, agent = make_batch(rng), make_agent(rng)
    options = critic_options(form, value_epochs=2, value_minibatches=count)
    _, targets = reference.weigh(batch, options, values_of(agent))  # by the value function before the fit
    model = agent.value
    for epoch in range(2):
        for rows in reference.minibatches(batch.valid, count, seed=7, iteration=0, epoch=epoch):
            x, wanted = batch.obs.reshape(-1, 3)[rows], targets.ravel()[rows]
            gradient = central_differences(lambda v, x=x, y=wanted: half_squared_error(v, x, y), model.theta)
            theta, moments = reference.adam(
                model.theta, gradient, model.moments, learning_rate=0.05, epsilon=1e-4
            )
            model = model._replace(theta=theta, moments=moments)
    after, known = reference.update(agent, batch, options)
    assert after.value.moments.step == 2 * count
    np.testing.assert_allclose(after.value.theta, model.theta, atol=1e-6)
    obs = batch.obs[batch.valid]
    loss = -2 * half_squared_error(agent.value.theta, obs, targets[batch.valid])
    np.testing.assert_allclose(known.value_loss, loss)


def test_a_minibatch_without_rows_makes_no_step(rng):
    batch, agent = make_batch(rng, num_steps=2, num_envs=2), make_agent(rng)
    after, _ = reference.update(agent, batch, critic_options(value_minibatches=100, value_epochs=3))
    assert after.value.moments.step == 3 * batch.valid.sum()


def test_another_seed_or_iteration_shuffles_otherwise_and_a_single_minibatch_not_at_all(rng):
    batch, agent = make_batch(rng, num_steps=20), make_agent(rng)
    others = [agent, agent._replace(seed=8), agent._replace(iteration=1)]
    for count, results in ((1, 1), (2, 3)):
        options = critic_options(value_minibatches=count)
        fitted = {reference.update(one, batch, options)[0].value.theta.tobytes() for one in others}
        assert len(fitted) == results


def test_the_explained_variance_of_targets_that_are_all_equal_is_nan():
    assert math.isnan(reference.explained_variance(np.zeros(3), np.ones(3)))


# ---- normalised observations -------------------------------------------------------------------------------


def test_running_statistics_are_those_of_all_observations_at_once(rng):
    parts = [rng.normal(size=(n, 3)) * [1, 0, 10] + [5, 2, -300] for n in (4, 1, 30)]
    normalizer = reference.Normalizer(0, np.zeros(3), np.zeros(3))
    for part in parts:
        normalizer = reference.observe(normalizer, part)
    mean, std = reference.scale(normalizer)
    together = np.concatenate(parts)
    assert normalizer.num_rows == 35
    np.testing.assert_allclose(mean, together.mean(axis=0))
    np.testing.assert_allclose(std, np.where([1, 0, 1], together.std(axis=0), 1.0))


def test_statistics_change_how_a_given_network_learns_and_not_what_it_computes(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    still = critic_options(learning_rate=0.0, value_learning_rate=0.0, normalize_observations=True)
    after, _ = reference.update(agent, batch, still)
    np.testing.assert_allclose(after.policy.theta, agent.policy.theta, rtol=1e-12)
    np.testing.assert_allclose(after.value.theta, agent.value.theta, rtol=1e-12)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("updates", [1, 2])
def test_steps_are_taken_in_the_parameters_for_scaled_observations(given, updates, rng):
    agent, options = make_agent(rng, given=given), critic_options(normalize_observations=True)
    seen = []
    for _ in range(updates):
        batch = make_batch(rng)
        before, (agent, _) = agent, reference.update(agent, batch, options)
        seen.append(batch.obs[batch.valid])
    mean, std = np.concatenate(seen).mean(axis=0), np.concatenate(seen).std(axis=0)
    for name in ("policy", "value"):
        old, new = getattr(before, name), getattr(agent, name)
        # A new network's first statistics are read into it after the steps, which it took as it was.
        is_scaled = given or updates > 1
        start = reference.for_normalized(old.network, old.theta, mean, std) if is_scaled else old.theta
        moved = reference.for_normalized(new.network, new.theta, mean, std) - start
        # This is what Adam did with its moments.
        bias = [1 - beta**updates for beta in (0.9, 0.999)]
        step = new.moments.first / bias[0] / (np.sqrt(new.moments.second / bias[1]) + 1e-4)
        rate = options.learning_rate if name == "policy" else options.value_learning_rate
        np.testing.assert_allclose(moved, rate * step, rtol=1e-6, atol=1e-9)


def test_the_gradient_is_by_the_parameters_for_scaled_observations(rng):
    agent, batch = make_agent(rng), make_batch(rng)
    options = critic_options(normalize_observations=True, entropy_coef=0.2)
    after, known = reference.update(agent, batch, options)
    phi, _ = reference.weigh(batch, options, values_of(agent))
    mean, std = reference.scale(after.normalizer)
    inner = reference.for_normalized(POLICY, agent.policy.theta, mean, std)
    scaled = batch._replace(obs=(batch.obs - mean) / std)
    numeric = central_differences(lambda x: objective(POLICY, x, scaled, phi, options), inner)
    np.testing.assert_allclose(after.policy.moments.first, 0.1 * numeric, atol=1e-8)
    np.testing.assert_allclose(known.gradient_norm, np.linalg.norm(numeric), rtol=1e-6)
