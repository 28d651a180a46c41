"""The compiled core against the float64 oracle and published vectors, on every instruction set there is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpg import _core, reference
from tests.support.oracle import EVALUATION, SEED, make, oracle_rollout, relative_error
from tests.support.quick import few

HIDDEN = [(), (1,), (5,), (33,), (130,), (64, 64), (33, 5), (17, 130, 5)]


# ---- random numbers and vector math ------------------------------------------------------------------------

# Random123's kat_vectors, philox4x32 10.
PHILOX_VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize(("counter", "key", "expected"), PHILOX_VECTORS)
def test_philox_gives_the_published_vectors(isa, counter, key, expected):
    assert _core.philox(words(counter), words(key)).tolist() == words(expected).tolist()
    assert reference.philox4x32(words(counter), words(key)).tolist() == words(expected).tolist()


def ulp_error(got, exact):
    """|got - exact| in units of the spacing of got's dtype at exact."""
    spacing = np.spacing(np.abs(exact).astype(got.dtype))
    return np.abs(got.astype(np.longdouble) - exact) / spacing


FLOAT_RANGES = {
    "tanh": (-12, 12),
    "exp": (-87, 88.7),
    "log": (1e-30, 1e30),
    "sin": (-1e4, 1e4),
    "cos": (-1e4, 1e4),
}


@pytest.mark.parametrize("function", FLOAT_RANGES)
def test_float_functions_are_within_two_ulp(isa, function, rng):
    low, high = FLOAT_RANGES[function]
    x = [rng.uniform(low, high, 400_000), np.linspace(max(low, -1), 1, 100_000) if low < 0 else [1.0]]
    x.append(np.exp(rng.uniform(np.log(1e-30), np.log(high), 200_000)))
    x = np.concatenate(x).astype(np.float32)
    exact = getattr(np, function)(x.astype(np.float64))
    assert ulp_error(_core.vecmath(function, x), exact).max() <= 2


@pytest.mark.parametrize("function", ["sin", "cos"])
def test_double_sin_and_cos_are_within_one_ulp(isa, function, rng):
    near = np.arange(-2000, 2000)[:, None] * (np.pi / 2) + rng.normal(size=(4000, 16)) * 1e-6
    x = np.concatenate([rng.uniform(-0.5, 0.5, 300_000), rng.uniform(-1e5, 1e5, 300_000), near.ravel()])
    exact = getattr(np, function)(x.astype(np.longdouble))
    assert ulp_error(_core.vecmath(function, x), exact).max() <= 1


@pytest.mark.parametrize("function", [*FLOAT_RANGES, "sin64", "cos64"])
def test_special_values_are_those_of_the_real_function(isa, function):
    dtype = np.float64 if function.endswith("64") else np.float32
    function = function.removesuffix("64")
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, function)(x)
    got = _core.vecmath(function, x)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got[3:]), np.signbit(expected[3:]))


# ---- batches that the caller has ---------------------------------------------------------------------------


def batch(net, size, seed=1):
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(size, net.num_inputs)).astype(np.float32)
    actions = rng.integers(net.num_outputs, size=size)
    return obs, actions, rng.normal(size=size).astype(np.float32)


def core_gradient(net, theta, obs, actions, weights):
    gradient = np.empty(net.num_parameters, np.float32)
    _core.policy_gradient(net, theta, obs, actions, weights, 1.0 / len(obs), gradient)
    return gradient


@pytest.mark.parametrize("size", [1, 3, 17, 1000])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_batch_gradient_equals_the_oracle(isa, size, hidden, activation):
    net, oracle, theta = make(4, hidden, 3, activation)
    obs, actions, weights = batch(net, size)
    expected = reference.policy_gradient(oracle, *map(np.float64, (theta, obs)), actions, np.float64(weights))
    assert relative_error(core_gradient(net, theta, obs, actions, weights), expected) < 1e-5


@settings(max_examples=60, deadline=None)
@given(
    num_inputs=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 140), max_size=3).map(tuple),
    num_outputs=st.integers(1, 20),
    size=st.integers(1, 700),
    seed=st.integers(0, 2**32 - 1),
)
def test_batch_gradient_equals_the_oracle_for_any_shape(num_inputs, hidden, num_outputs, size, seed):
    net, oracle, theta = make(num_inputs, hidden, num_outputs, seed=seed)
    obs, actions, weights = batch(net, size, seed)
    expected = reference.policy_gradient(oracle, *map(np.float64, (theta, obs)), actions, np.float64(weights))
    scale = np.linalg.norm(expected) + 1e-3 * np.sqrt(np.mean(weights**2) / size)
    got = core_gradient(net, theta, obs, actions, weights)
    assert np.linalg.norm(got - expected) <= 1e-5 * scale


@pytest.mark.parametrize("hidden", [(), (33,), (64, 64)])
def test_batch_gradient_equals_torch_autograd_in_float64(isa, hidden):
    torch = pytest.importorskip("torch")
    net, _, theta = make(4, hidden, 3)
    obs, actions, weights = batch(net, 1000)
    flat = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    x, at = torch.tensor(obs, dtype=torch.float64), 0
    for out, fan_in in reference.layer_sizes(reference.Network(4, hidden, 3)):
        w, b = (
            flat[at : at + out * fan_in].view(out, fan_in),
            flat[at + out * fan_in : at + out * (fan_in + 1)],
        )
        at += out * (fan_in + 1)
        x = torch.nn.functional.linear(x, w, b)
        x = torch.tanh(x) if at < len(theta) else x
    log_prob = torch.log_softmax(x, -1).gather(1, torch.tensor(actions)[:, None])[:, 0]
    (log_prob * torch.tensor(weights, dtype=torch.float64)).mean().backward()
    assert relative_error(core_gradient(net, theta, obs, actions, weights), flat.grad.numpy()) < 1e-5


@pytest.mark.parametrize("size", [1, 17, 300])
@pytest.mark.parametrize("hidden", [(), (33,), (64, 64)])
def test_log_prob_entropy_and_logits_equal_the_oracle(isa, size, hidden):
    net, oracle, theta = make(4, hidden, 5)
    obs, actions, _ = batch(net, size)
    exact = np.float64(theta), np.float64(obs)
    log_prob, entropy = _core.log_prob_and_entropy(net, theta, obs, actions)
    np.testing.assert_allclose(log_prob, reference.log_prob(oracle, *exact, actions), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(entropy, reference.entropy(oracle, *exact), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        _core.logits(net, theta, obs), reference.logits(oracle, *exact), rtol=1e-5, atol=1e-5
    )


def test_actions_are_drawn_with_the_policys_probabilities(isa):
    net, oracle, theta = make(4, (5,), 4)
    obs = np.repeat(np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32), 200_000, axis=0)
    probability = np.exp(
        reference.log_softmax(reference.logits(oracle, np.float64(theta), np.float64(obs[:1])))
    )[0]
    counts = np.bincount(_core.act(net, theta, obs, 3, 0, False), minlength=4)
    expected = probability * len(obs)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 16.27  # 99.9 % of a chi-square with 3 degrees of freedom
    assert (_core.act(net, theta, obs[:5], 0, 0, True) == probability.argmax()).all()


# ---- the fused pass ----------------------------------------------------------------------------------------


def core_estimate(net, theta, num_envs, limit, form, gamma, normalize, horizon=0, episodes=0):
    sampler = _core.Sampler(_core.Environment("cartpole", (), limit), net, num_envs, SEED)
    gradient = np.empty(net.num_parameters, np.float32)
    stats = sampler.gradient(
        theta, form=form, gamma=gamma, horizon=horizon, episodes=episodes, normalize=normalize, out=gradient
    )
    return gradient, stats


@pytest.mark.parametrize("form", ["total", "reward_to_go"])
@pytest.mark.parametrize(
    "hidden", few([(), (5,), (33,), (130,), (64, 64), (17, 5, 33)], [(), (33,), (17, 5, 33)])
)
@pytest.mark.parametrize(
    ("num_envs", "collect"),
    [
        (1, {"episodes": 3}),
        (3, {"episodes": 7}),
        (17, {"episodes": 40}),
        (17, {"horizon": 33}),
        (70, {"horizon": 50}),
    ],
    ids=str,
)
def test_fused_gradient_equals_the_oracle_step_by_step(isa, form, hidden, num_envs, collect):
    net, oracle, theta = make(4, hidden, 2)
    played = oracle_rollout(oracle, theta, num_envs, 40, **collect)
    for normalize, gamma in [("trajectory", 0.97), ("timestep", 1.0)]:
        expected = reference.estimate_gradient(
            oracle, np.float64(theta), played, form=form, gamma=gamma, normalize=normalize
        )
        gradient, stats = core_estimate(net, theta, num_envs, 40, form, gamma, normalize, **collect)
        assert stats["num_steps"] == played.valid.sum()
        assert stats["num_episodes"] == ((played.terminated | played.truncated) & played.valid).sum()
        assert relative_error(gradient, expected) < 1e-5


def test_fused_gradient_equals_the_oracle_for_a_thousand_environments(isa):
    net, oracle, theta = make(4, (33,), 2)
    played = oracle_rollout(oracle, theta, 1000, 500, horizon=30)
    expected = reference.estimate_gradient(oracle, np.float64(theta), played, form="reward_to_go")
    gradient, _ = core_estimate(net, theta, 1000, 500, "reward_to_go", 1.0, "trajectory", horizon=30)
    assert relative_error(gradient, expected) < 1e-5


def test_more_episodes_than_one_tape_holds_give_the_same_gradient():
    # 512 units and one environment: the 32 MiB of a tape hold a few 500-step episodes: several waves.
    net, oracle, theta = make(4, (512,), 2)
    played = oracle_rollout(oracle, theta, 1, 500, episodes=40)
    expected = reference.estimate_gradient(oracle, np.float64(theta), played, form="reward_to_go")
    gradient, _ = core_estimate(net, theta, 1, 500, "reward_to_go", 1.0, "trajectory", episodes=40)
    assert relative_error(gradient, expected) < 1e-5


@pytest.mark.parametrize("limit", [0, 10**8])  # a tape that grows; one that recomputes activations
def test_how_the_tape_is_kept_does_not_change_the_gradient(limit):
    net, _, theta = make(4, (33, 17), 2)
    kept, _ = core_estimate(net, theta, 5, 500, "total", 0.99, "trajectory", episodes=5)
    other, _ = core_estimate(net, theta, 5, limit, "total", 0.99, "trajectory", episodes=5)
    assert relative_error(other, kept) < 1e-6


def test_horizon_continues_episodes_from_call_to_call():
    net, _, theta = make(4, (), 2)
    sampler = _core.Sampler(_core.Environment("cartpole", (), 500), net, 8, SEED)
    out = np.empty(net.num_parameters, np.float32)
    lengths = [
        sampler.gradient(
            theta, form="total", gamma=1.0, horizon=3, episodes=0, normalize="timestep", out=out
        )["mean_length"]
        for _ in range(30)
    ]
    assert np.nanmax(lengths) > 3


@pytest.mark.parametrize("num_envs", [1, 8, 100, 1100])
@pytest.mark.parametrize("hidden", [(), (33,), (64, 64)])
@pytest.mark.parametrize("collect", [{"horizon": 40}, {"episodes": 1300}], ids=str)
def test_the_number_of_threads_changes_no_bit(isa, threads, num_envs, hidden, collect):
    net, _, theta = make(4, hidden, 2)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        gradient, stats = core_estimate(
            net, theta, num_envs, 100, "reward_to_go", 0.99, "timestep", **collect
        )
        results.append(
            (gradient.tobytes(), *(stats[name] for name in ("mean_return", "return_std", "entropy")))
        )
    assert len(set(results)) == 1


def test_the_number_of_threads_changes_no_bit_of_a_batch_gradient(isa, threads):
    net, _, theta = make(4, (64, 64), 3)
    sample = batch(net, 5000)
    results = set()
    for n in (1, 2, 3, 8):
        threads(n)
        results.add(core_gradient(net, theta, *sample).tobytes())
    assert len(results) == 1


def test_act_draws_what_a_rollout_with_this_seed_draws():
    net, oracle, theta = make(4, (5,), 2)
    played = oracle_rollout(oracle, theta, 6, 500, horizon=9)
    for step in range(9):
        assert (
            _core.act(net, theta, played.obs[step], SEED, step, False).tolist()
            == played.actions[step].tolist()
        )


def test_evaluation_reports_every_episode_of_every_environment():
    net, oracle, theta = make(4, (5,), 2)
    played = oracle_rollout(oracle, theta, 3, 40, iteration=EVALUATION, episodes=7)
    sampler = _core.Sampler(_core.Environment("cartpole", (), 40), net, 3, SEED)
    returns, lengths = sampler.evaluate(theta, episodes=7, deterministic=False)
    expected = np.empty(7)
    for env in range(3):
        ends = np.flatnonzero((played.terminated | played.truncated)[:, env] & played.valid[:, env])
        expected[env::3] = np.diff(ends, prepend=-1)
    np.testing.assert_array_equal(lengths, expected)
    np.testing.assert_array_equal(returns, expected)


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_a_parameter_that_is_not_finite_stops_with_a_sentence(hidden):
    net, _, theta = make(4, hidden, 2)
    theta[1] = np.nan
    with pytest.raises(FloatingPointError, match="theta"):
        core_estimate(net, theta, 8, 500, "total", 1.0, "timestep", horizon=8)


def test_a_gradient_that_is_not_finite_stops_with_a_sentence():
    net, _, theta = make(4, (5,), 2)
    obs, actions, weights = batch(net, 10)
    weights[3] = np.inf
    with pytest.raises(FloatingPointError, match="gradient"):
        core_gradient(net, theta, obs, actions, weights)


# ---- optimizers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_takes_the_oracles_optimizer_steps(isa, optimizer):
    net, _, theta = make(4, (5,), 2)
    start, expected = theta.copy(), np.float64(theta)
    settings = {"form": "reward_to_go", "gamma": 1.0, "normalize": "timestep"}
    agent = _core.Agent(
        net, theta, seed=SEED, **settings, episodes=9, optimizer=optimizer, learning_rate=1e-2, momentum=0.9,
        beta1=0.9, beta2=0.999, epsilon=1e-8, total_steps=1, target_return=np.nan,
    )  # fmt: skip
    trainer = _core.Trainer(_core.Environment("cartpole", (), 500), agent, num_envs=4)
    trainer.run(0.0)
    gradient, _ = core_estimate(net, start, 4, 500, **settings, episodes=9)
    zeros = np.zeros_like(expected)
    if optimizer == "adam":
        state = reference.AdamState(zeros, zeros, 0)
        expected, _ = reference.adam(expected, np.float64(gradient), state, learning_rate=1e-2)
    else:
        expected, _ = reference.sgd(expected, np.float64(gradient), zeros, learning_rate=1e-2, momentum=0.9)
    # theta is float32 and of order 1: two roundings.
    np.testing.assert_allclose(theta - start, expected - start, rtol=1e-5, atol=2.4e-7)
    assert agent.stopped_because == "total_steps"
