"""Every form and baseline of the fused pass, replayed by the oracle with the core's random numbers."""

import numpy as np
import pytest

import fastpg
from fastpg import _core, reference
from tests.support.forms import GAMMA, LAM, LIMIT, N_STEP, value_network, weights_of
from tests.support.oracle import SEED, make, oracle_rollout, relative_error
from tests.support.quick import few


def expected_gradient(oracle, theta, played, weights):
    obs = np.float64(played.obs[played.valid])
    total = reference.policy_gradient(
        oracle, np.float64(theta), obs, played.actions[played.valid], weights[played.valid], "sum"
    )
    return total / played.valid.sum()


def core_gradient(net, theta, num_envs, form, collect, value=None, value_theta=None, **options):
    env = _core.Environment("cartpole", (), LIMIT)
    sampler = _core.Sampler(env, net, num_envs, SEED, value)
    gradient = np.empty(net.num_parameters, np.float32)
    settings = {"horizon": 0, "episodes": 0, **collect, "lam": LAM, "n_step": N_STEP, **options}
    sampler.gradient(
        theta, form=form, gamma=GAMMA, normalize="timestep", out=gradient, value_theta=value_theta, **settings
    )
    return gradient


COLLECTIONS = [(1, {"episodes": 3}), (3, {"episodes": 7}), (17, {"horizon": 33}), (70, {"horizon": 20})]


@pytest.mark.parametrize("form", ["q", "td", "gae"])
@pytest.mark.parametrize("hidden", few([(), (33,), (64, 64)], [(), (33,)]), ids=str)
@pytest.mark.parametrize(("num_envs", "collect"), COLLECTIONS, ids=str)
@pytest.mark.parametrize("value_hidden", few([(), (7,), (32, 16)], [(7,)]), ids=str)
def test_forms_that_bootstrap_equal_the_oracle(isa, form, hidden, num_envs, collect, value_hidden):
    net, oracle, theta = make(4, hidden, 2)
    value, value_theta, values_of = value_network(value_hidden)
    played = oracle_rollout(oracle, theta, num_envs, LIMIT, **collect)
    weights, _ = weights_of(form, played, values_of)
    got = core_gradient(net, theta, num_envs, form, collect, value, value_theta)
    assert relative_error(got, expected_gradient(oracle, theta, played, weights)) < 1e-5


@pytest.mark.parametrize("form", ["total", "reward_to_go", "q"])
@pytest.mark.parametrize("baseline", ["value", "batch_mean", "timestep_mean"])
@pytest.mark.parametrize("hidden", [(), (33,)], ids=str)
@pytest.mark.parametrize(
    ("num_envs", "collect"), [(1, {"episodes": 3}), (17, {"horizon": 33}), (70, {"horizon": 20})], ids=str
)
def test_baselines_equal_the_oracle(isa, form, baseline, hidden, num_envs, collect):
    net, oracle, theta = make(4, hidden, 2)
    value, value_theta, values_of = value_network()
    played = oracle_rollout(oracle, theta, num_envs, LIMIT, **collect)
    weights, values = weights_of(form, played, values_of)
    if baseline != "value":
        by_timestep = baseline == "timestep_mean"
        values = reference.mean_of_others(weights, played.valid, by_timestep=by_timestep)
    weights = weights - values
    got = core_gradient(net, theta, num_envs, form, collect, value, value_theta, baseline=baseline)
    assert relative_error(got, expected_gradient(oracle, theta, played, weights)) < 1e-5


@pytest.mark.parametrize("form", ["reward_to_go", "gae"])
def test_states_are_discounted_by_the_steps_of_their_episode(isa, form):
    net, oracle, theta = make(4, (5,), 2)
    value, value_theta, values_of = value_network()
    played = oracle_rollout(oracle, theta, 17, LIMIT, horizon=33)
    weights, _ = weights_of(form, played, values_of)
    age = np.zeros(17, int)
    for t in range(33):
        weights[t] *= GAMMA**age
        age = np.where(played.terminated[t] | played.truncated[t], 0, age + 1)
    value_arguments = (value, value_theta) if form == "gae" else (None, None)
    got = core_gradient(net, theta, 17, form, {"horizon": 33}, *value_arguments, discount_states=True)
    assert relative_error(got, expected_gradient(oracle, theta, played, weights)) < 1e-5


@pytest.mark.parametrize("form", ["total", "reward_to_go"])
@pytest.mark.parametrize("hidden", [(), (8,)], ids=str)
@pytest.mark.parametrize("collect", [{"episodes": 23}, {"horizon": 20}], ids=str)
def test_a_function_of_observations_is_a_baseline_like_a_value_function(form, hidden, collect):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=hidden, seed=1)
    value = fastpg.ValueFunction.for_env("CartPole-v1", hidden=(7,), seed=2)
    settings = {"form": form, "gamma": 0.9, "num_envs": 9, "discount_states": True, **collect}
    fused = fastpg.estimate_gradient("CartPole-v1", policy, baseline=value, **settings)
    called = fastpg.estimate_gradient("CartPole-v1", policy, baseline=lambda obs: value(obs), **settings)
    assert relative_error(called.gradient, fused.gradient) < 1e-5
    assert called.num_steps == fused.num_steps
    assert called.mean_return == pytest.approx(fused.mean_return, nan_ok=True)


def test_an_array_is_a_baseline_of_discrete_observations():
    policy = fastpg.Policy.for_env("FrozenLake-v1", hidden=(8,), seed=1)
    table = np.random.default_rng(0).normal(size=16)
    by_array = fastpg.estimate_gradient("FrozenLake-v1", policy, baseline=table, episodes=50)
    by_function = fastpg.estimate_gradient("FrozenLake-v1", policy, baseline=lambda s: table[s], episodes=50)
    plain = fastpg.estimate_gradient("FrozenLake-v1", policy, episodes=50)
    assert (by_array.gradient == by_function.gradient).all()
    assert (by_array.gradient != plain.gradient).any()


@pytest.mark.parametrize("hidden", [(), (5,)], ids=str)
@pytest.mark.parametrize(("num_envs", "collect"), [(3, {"episodes": 7}), (17, {"horizon": 20})], ids=str)
def test_the_entropy_bonus_adds_the_entropys_gradient(isa, hidden, num_envs, collect):
    net, oracle, theta = make(4, hidden, 2)
    played = oracle_rollout(oracle, theta, num_envs, LIMIT, **collect)
    weights, _ = weights_of("reward_to_go", played, None)
    bonus = reference.entropy_gradient(oracle, np.float64(theta), np.float64(played.obs[played.valid]))
    expected = expected_gradient(oracle, theta, played, weights) + 0.3 * bonus / played.valid.sum()
    got = core_gradient(net, theta, num_envs, "reward_to_go", collect, entropy_coef=0.3)
    assert relative_error(got, expected) < 1e-5
    plain = core_gradient(net, theta, num_envs, "reward_to_go", collect)
    assert relative_error(got - plain, 0.3 * bonus / played.valid.sum()) < 1e-3


@pytest.mark.parametrize("form", ["total", "reward_to_go", "q", "td", "gae"])
@pytest.mark.parametrize("baseline", ["none", "batch_mean", "timestep_mean"])
def test_the_number_of_threads_changes_no_bit(threads, form, baseline):
    net, _, theta = make(4, (16,), 2)
    value, value_theta, _ = value_network()
    arguments = (value, value_theta) if form in ("q", "td", "gae") else (None, None)
    results = set()
    for n in (1, 2, 3):
        threads(n)
        got = core_gradient(net, theta, 300, form, {"horizon": 40}, *arguments, baseline=baseline)
        results.add(got.tobytes())
    assert len(results) == 1


def test_gae_at_lam_0_is_td_and_at_lam_1_the_return_minus_the_value():
    net, _, theta = make(4, (16,), 2)
    value, value_theta, _ = value_network()
    run = {"collect": {"horizon": 40}, "value": value, "value_theta": value_theta}
    td = core_gradient(net, theta, 8, "td", **run)
    assert (core_gradient(net, theta, 8, "gae", **run, lam=0.0) == td).all()


# ---- what users call ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"form": "gae"}, ValueError, "form='gae' needs value"),
        ({"form": "q", "baseline": "batch_mean"}, ValueError, "form='q' needs value"),
        ({"baseline": "mean"}, ValueError, "baseline must be one of 'batch_mean', 'timestep_mean'"),
        ({"baseline": 3}, TypeError, "baseline must be .* another function of observations or None, got 3"),
        ({"baseline": np.zeros(3)}, ValueError, "an array as baseline goes with Discrete observations"),
        ({"baseline": lambda obs: obs}, ValueError, "baseline must return [0-9]+ numbers for"),
        ({"baseline": lambda obs: obs[:, 0] * np.nan}, ValueError, "what baseline returned must be finite"),
        (
            {"baseline": lambda obs: np.full(len(obs), 1e39)},
            ValueError,
            "in float32, must be finite, but .* inf",
        ),
        (
            {"form": "gae", "value": "V", "baseline": lambda obs: 0},
            ValueError,
            "with form='gae' baseline must",
        ),
        ({"form": "gae", "value": 3}, TypeError, "value must be a fastpg.ValueFunction, got 3"),
        ({"form": "q", "value": "V", "n_step": 0}, ValueError, "n_step must be an integer"),
        ({"form": "reward_to_go", "value": "V"}, ValueError, "does not read value"),
        ({"form": "gae", "value": "other"}, ValueError, "value reads"),
        ({"form": "gae", "value": "V", "baseline": "W"}, ValueError, "must be the same ValueFunction"),
        ({"discount_states": 1}, TypeError, "discount_states must be True or False"),
    ],
)
def test_estimate_gradient_refuses(arguments, error, words, policy):
    functions = {
        "V": fastpg.ValueFunction.for_env("CartPole-v1"),
        "W": fastpg.ValueFunction.for_env("CartPole-v1"),
        "other": fastpg.ValueFunction.for_env("Acrobot-v1"),
    }
    given = {
        name: functions.get(value, value) if isinstance(value, str) else value
        for name, value in arguments.items()
    }
    with pytest.raises(error, match=words):
        fastpg.estimate_gradient("CartPole-v1", policy, episodes=2, **given)


def test_a_value_function_that_is_not_finite_is_refused(policy):
    value = fastpg.ValueFunction.for_env("CartPole-v1", hidden=(8,))
    value.theta[3] = np.nan
    with pytest.raises(ValueError, match="theta of the value function must be finite"):
        fastpg.estimate_gradient("CartPole-v1", policy, form="gae", value=value, episodes=2)


def test_a_value_function_equals_the_oracle(rng):
    value = fastpg.ValueFunction.for_env("CartPole-v1", hidden=(33, 5), seed=2)
    oracle = reference.Network(4, (33, 5), 1)
    obs = rng.normal(size=(3, 7, 4)).astype(np.float32)
    expected = reference.logits(oracle, np.float64(value.theta), np.float64(obs.reshape(-1, 4)))
    np.testing.assert_allclose(value(obs), expected.reshape(3, 7), rtol=1e-5, atol=1e-6)
    assert value(obs[0, 0]).shape == ()
    twin = value.copy()
    twin.theta[:] = 0
    assert (value.theta != 0).any()
