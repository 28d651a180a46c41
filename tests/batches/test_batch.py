"""Batches beside the plain gradient: entropy bonus, objective, regression, memory kept between calls."""

import threading

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import _core, reference
from tests.support.heads import batch, exact, make
from tests.support.oracle import relative_error

SPACES = [Discrete(5), MultiDiscrete([3, 2, 5]), MultiBinary(5), Box(-1, 1, (3,))]


@pytest.mark.parametrize("size", [1, 17, 1000])
@pytest.mark.parametrize("hidden", [(), (33,), (17, 5)])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_entropy_bonus_and_objective_are_the_oracles(isa, space, hidden, size):
    policy, oracle = make(space, hidden)
    obs, actions, weights = batch(policy, size)
    theta, exact_obs = exact(policy, obs)
    expected = reference.policy_gradient(oracle, theta, exact_obs, actions, weights.astype(float), "mean")
    expected = expected + 0.3 * reference.entropy_gradient(oracle, theta, exact_obs) / size
    got = fastpg.policy_gradient(policy, obs, actions, weights, entropy_coef=0.3)
    assert relative_error(got, expected) < 1e-5
    flat, out = actions.reshape(-1), np.empty_like(got)
    objective = _core.policy_gradient(
        policy.network, policy.theta, obs, flat, weights, 1 / size, out, 0.3, True
    )
    terms = weights * reference.log_prob(oracle, theta, exact_obs, actions)
    terms = terms + 0.3 * reference.entropy(oracle, theta, exact_obs)
    assert abs(objective - terms.mean()) < 1e-5 * np.abs(terms).mean()


@pytest.mark.parametrize("shape", [(1, 1), (17, 1), (1, 17), (10, 100)], ids=str)
@pytest.mark.parametrize("hidden", [(), (33,), (64, 64)])
def test_regression_of_a_batch_is_the_oracles(isa, hidden, shape):
    """Every episode has one step, so that rewards are the targets; Adam's first moment has the gradient."""
    rng = np.random.default_rng(0)
    space = Box(-np.inf, np.inf, (4,))
    value = fastpg.ValueFunction(space, hidden=hidden)
    value.theta[:] = rng.normal(size=value.theta.size) / 4
    theta = np.float64(value.theta)
    obs, targets = rng.normal(size=(*shape, 4)).astype(np.float32), rng.normal(size=shape).astype(np.float32)
    ends, no = np.ones(shape, bool), np.zeros(shape, bool)
    batch = fastpg.Batch.from_arrays(
        obs, np.zeros(shape, np.int64), targets, ends, no, last_obs=obs[-1], final_obs=obs.reshape(-1, 4)
    )
    algorithm = fastpg.VPG(value_epochs=1)
    agent = fastpg.Agent(algorithm, fastpg.Policy(space, Discrete(2), hidden=()), value)
    stats = agent.update(batch)
    oracle = reference.Network(4, hidden, 1, "tanh")
    exact = theta, np.float64(obs.reshape(-1, 4)), np.float64(targets.reshape(-1))
    assert stats["value_loss"] == pytest.approx(reference.value_loss(oracle, *exact), rel=1e-5)
    gradient = agent.state()["value.m"] / (1 - algorithm.beta1)
    assert relative_error(gradient, reference.value_gradient(oracle, *exact)) < 1e-5


def test_calls_of_many_sizes_and_threads_leave_nothing_behind(threads):
    policy, _ = make(Discrete(5), (33,))
    fresh = {size: fastpg.policy_gradient(policy.copy(), *batch(policy, size)) for size in (1, 300, 40_000)}
    for number in (3, 1, 2):
        threads(number)
        for size in (40_000, 1, 300, 1, 40_000):
            assert np.array_equal(fastpg.policy_gradient(policy, *batch(policy, size)), fresh[size])
            rows = fastpg.policy_gradient(policy, *batch(policy, min(size, 300)), per="sample")
            assert relative_error(rows.mean(axis=0), fresh[min(size, 300)]) < 1e-4


def test_threads_may_share_a_policy():
    policy, _ = make(Discrete(5), (33,))
    arrays = {size: batch(policy, size) for size in (50, 5000)}
    alone = {size: fastpg.policy_gradient(policy, *arrays[size]) for size in arrays}
    wrong = []

    def work(size):
        for _ in range(50):
            if not np.array_equal(fastpg.policy_gradient(policy, *arrays[size]), alone[size]):
                wrong.append(size)

    workers = [threading.Thread(target=work, args=(size,)) for size in (50, 5000, 50, 5000)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_entropy_bonus_is_of_a_whole_batch():
    policy, _ = make(Discrete(5))
    with pytest.raises(ValueError, match="entropy_coef goes with a whole batch, got it with per='sample'"):
        fastpg.policy_gradient(policy, *batch(policy, 3), entropy_coef=0.1, per="sample")
    with pytest.raises(TypeError, match="entropy_coef must be a number in"):
        fastpg.policy_gradient(policy, *batch(policy, 3), entropy_coef="0.1")


@pytest.mark.parametrize("head", ["categorical", "bernoulli", "gaussian"])
def test_actions_and_entropies_are_written_where_the_caller_wants_them(head, rng):
    net = _core.Network(4, (8,), 3, "tanh", head=head)
    theta = rng.normal(size=net.num_parameters).astype(np.float32)
    obs = rng.normal(size=(300, 4)).astype(np.float32)
    expected = _core.act(net, theta, obs, 5, 7, False)
    out, entropy = np.empty_like(expected), np.empty(300, np.float32)
    assert _core.act(net, theta, obs, 5, 7, False, out, entropy) is out
    assert (out == expected).all()
    np.testing.assert_allclose(
        entropy, _core.log_prob_and_entropy(net, theta, obs, out)[1], rtol=1e-5, atol=1e-6
    )
    for wrong in (out[:-1], out.astype(np.int8)):
        with pytest.raises(ValueError):
            _core.act(net, theta, obs, 5, 7, False, wrong)
    with pytest.raises(ValueError):
        _core.act(net, theta, obs, 5, 7, False, out, entropy[:-1])
