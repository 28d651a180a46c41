"""Squashed actions and standard deviations of the state's: bounds, ranges, training, and what is refused."""

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg import reference
from tests.support.differences import central_differences
from tests.support.heads import BOTH, SQUASHED, STATE_STD, batch, exact, make, oracle_of
from tests.support.oracle import relative_error
from tests.support.replays import core_estimate, replay

OBS = Box(-np.inf, np.inf, (3,))
OPTIONS = [{"squash": True}, {"state_dependent_std": True}, {"squash": True, "state_dependent_std": True}]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda one: " ".join(one))


# ---- bounds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_squashed_actions_are_strictly_inside_the_bounds(isa, dtype):
    low, high = np.array([-1, -2, 999, 0], dtype), np.array([1, 5, 1001, 1e-4], dtype)
    policy = fastpg.Policy(OBS, Box(low, high, dtype=dtype), squash=True)
    drawn = np.float32([[x] * 4 for x in (-3e38, -50, -9.5, -1, 0, 1, 9.5, 50, 3e38)])
    actions = policy.env_actions(drawn)
    assert actions.dtype == dtype
    assert ((low < actions) & (actions < high)).all()
    assert (np.diff(actions, axis=0) >= 0).all()


@every_option
def test_an_environment_gets_what_env_actions_says(options):
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(5,), **options)
    oracle_of(policy)
    env = fastpg.make("Pendulum-v1", num_envs=5, max_episode_steps=12, autoreset="same_step")
    obs, _ = env.reset(seed=3)
    played = fastpg.collect(env, policy, 30)
    env.reset(seed=3)
    for t in range(30):
        assert (played.obs[t] == obs).all()
        actions = policy.act(obs, seed=3, step=t)
        assert (played.actions[t] == actions).all()
        obs, rewards, *_ = env.step(policy.env_actions(actions))
        np.testing.assert_array_equal(played.rewards[t], rewards.astype(np.float32))
    assert (played.log_probs == policy.log_prob(played.obs, played.actions)).all()


@every_option
def test_python_steps_with_actions_inside_the_bounds(options):
    seen = []

    class Watched(gymnasium.ActionWrapper):
        def action(self, action):
            seen.append(action.copy())
            return action

    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(), **options)
    policy.theta[:] = 0
    policy.parameters()["head.bias"][0] = 1.5
    make_env = lambda: Watched(gymnasium.make("Pendulum-v1"))  # noqa: E731
    played = fastpg.collect(make_env, policy, 20, num_envs=2)
    wanted = policy.env_actions(played.actions).reshape(-1, 1)
    np.testing.assert_array_equal(np.array(seen), wanted)
    seen.clear()
    fastpg.evaluate(make_env, policy, episodes=1, max_steps=3)
    mean = 2 * np.tanh(1.5) if policy.squash else 1.5
    np.testing.assert_allclose(seen, mean, rtol=1e-6)


def test_what_an_environment_got_comes_back():
    policy, _ = make(SQUASHED)
    drawn = np.random.default_rng(0).normal(0, 1.5, (1000, 2)).astype(np.float32)
    back = policy.from_env_actions(policy.env_actions(drawn))
    # Half a unit of the bounds' last place, over the slope of tanh.
    np.testing.assert_array_less(np.abs(back - drawn), 1e-6 * np.cosh(np.float64(drawn)) ** 2)
    edges = policy.from_env_actions(np.float32([[-2, 5]]))
    assert np.isfinite(edges).all() and edges[0, 0] < -7 < 7 < edges[0, 1]


def test_densities_of_squashed_actions_integrate_to_1():
    policy, _ = make(BOTH)
    obs, _, _ = batch(policy, 1)
    grid = np.linspace(-6, 6, 401)
    drawn = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
    actions = np.float64(policy.env_actions(drawn).reshape(401, 401, 2))
    density = np.exp(policy.log_prob(np.repeat(obs, len(drawn), axis=0), drawn).reshape(401, 401))
    by_second = np.trapezoid(density, actions[0, :, 1], axis=1)
    assert np.trapezoid(by_second, actions[:, 0, 0]) == pytest.approx(1, abs=1e-3)


def test_log_probs_far_out_neither_cancel_nor_overflow(isa):
    policy, oracle = make(SQUASHED)
    drawn = np.float32([[-80, 80], [-20, 1e-8], [9, -9], [0, 0]])
    obs, _, _ = batch(policy, 4)
    theta, x = exact(policy, obs)
    wanted = reference.log_prob(oracle, theta, x, np.float64(drawn))
    np.testing.assert_allclose(policy.log_prob(obs, drawn), wanted, rtol=1e-6, atol=1e-6)


# ---- the range of log_std ----------------------------------------------------------------------------------


@pytest.mark.parametrize("log_std", [-1e30, -21.0, -20.0, 2.0, 2.1, 3e38])
def test_log_std_that_are_outputs_are_held_and_have_no_gradient_beyond(isa, log_std):
    policy = fastpg.Policy(OBS, Box(-1, 1, (2,)), hidden=(), state_dependent_std=True)
    policy.theta[:] = 0
    policy.parameters()["head.bias"][2:] = log_std
    held, is_free = np.clip(log_std, -20, 2), -20 <= log_std <= 2
    obs, rows = np.zeros((9, 3), np.float32), np.ones(9, np.float32)
    actions = policy.act(obs, seed=0)
    std = np.exp(held)
    assert 0 < np.abs(actions).max() < 7 * std
    np.testing.assert_allclose(
        policy.entropy(obs), 2 * (held + 0.5 * math.log(2 * math.pi * math.e)), rtol=1e-6
    )
    gradient = fastpg.policy_gradient(policy, obs, actions, rows, entropy_coef=0.5)
    z = np.float64(actions) / std
    np.testing.assert_allclose(gradient[-2:], is_free * ((z**2).mean(axis=0) - 0.5), rtol=1e-4, atol=1e-5)
    direction = np.zeros_like(policy.theta)
    direction[-2:] = 1
    np.testing.assert_array_equal(policy.fisher_product(obs, direction)[-2:], 2.0 * is_free)


def test_an_action_one_deviation_off_the_mean_gets_the_entropys_gradient(isa):
    policy = fastpg.Policy(OBS, Box(-1, 1, (2,)), hidden=(), state_dependent_std=True)
    policy.theta[:] = 0
    obs, actions, rows = np.zeros((8, 3), np.float32), np.ones((8, 2), np.float32), -np.ones(8, np.float32)
    gradient = fastpg.policy_gradient(policy, obs, actions, rows, entropy_coef=0.5)
    np.testing.assert_array_equal(gradient[-2:], 0.5)  # though z^2 - 1 is 0, as the score of one that is held


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_log_std_that_are_held_have_no_gradient_where_environments_are_stepped_either(isa, hidden):
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=hidden, state_dependent_std=True)
    policy.parameters()["head.bias"][1] = 5
    gradient, _ = core_estimate("Pendulum-v1", policy, 17, 20, "total", horizon=40, entropy_coef=0.5)
    assert gradient[-2] != 0
    assert gradient[-1] == 0


def test_a_log_std_that_is_not_finite_stops_with_a_sentence():
    policy = fastpg.Policy(OBS, Box(-1, 1, (2,)), hidden=(), state_dependent_std=True)
    policy.parameters()["head.weight"][2:] = 3e38
    with pytest.raises(FloatingPointError, match=r"Policy\.act\(\): the policy's output is NaN or infinite"):
        policy.act(np.full((5, 3), 9, np.float32), seed=0)


@pytest.mark.parametrize("space", [STATE_STD, BOTH, SQUASHED], ids=str)
def test_the_oracles_gradients_are_those_of_central_differences(space):
    policy, oracle = make(space, (4,))
    obs, actions, weights = batch(policy, 7)
    theta, x = exact(policy, obs)
    score = central_differences(
        lambda t: np.float64(weights) @ reference.log_prob(oracle, t, x, np.float64(actions)), theta
    )
    got = reference.policy_gradient(oracle, theta, x, np.float64(actions), np.float64(weights), "sum")
    np.testing.assert_allclose(got, score, rtol=1e-5, atol=1e-6)
    bonus = central_differences(lambda t: reference.entropy(oracle, t, x).sum(), theta)
    np.testing.assert_allclose(reference.entropy_gradient(oracle, theta, x), bonus, rtol=1e-5, atol=1e-6)


# ---- training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_envs", "limit"), [(3, 25), (17, 20)])
@every_option
def test_the_fused_gradient_equals_the_oracle_step_by_step(isa, options, num_envs, limit):
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(5,), **options)
    oracle = oracle_of(policy)
    played = replay("Pendulum-v1", policy, oracle, num_envs, limit, 40)
    for form in ("total", "reward_to_go"):
        theta = policy.theta.astype(np.float64)
        expected = reference.estimate_gradient(oracle, theta, played, form=form, gamma=0.97)
        gradient, stats = core_estimate("Pendulum-v1", policy, num_envs, limit, form, horizon=40)
        assert relative_error(gradient, expected) < 1e-5
        obs = played.obs.reshape(-1, 3)
        np.testing.assert_allclose(
            stats["entropy"], reference.entropy(oracle, theta, np.float64(obs)).mean(), rtol=1e-5
        )
        bonus, _ = core_estimate("Pendulum-v1", policy, num_envs, limit, form, horizon=40, entropy_coef=0.1)
        slope = reference.entropy_gradient(oracle, theta, np.float64(obs)) / (2 * num_envs)  # trajectories
        assert relative_error(bonus, expected + 0.1 * slope) < 1e-5


@every_option
def test_training_moves_every_parameter_and_goes_on_from_a_folder(options, tmp_path):
    algorithm = fastpg.PPO(epochs=2)
    arguments = {"num_envs": 8, "horizon": 32, "hidden": (8,), "total_steps": 1024, "seed": 1, **options}
    whole = fastpg.train("Pendulum-v1", algorithm, **arguments)
    assert (
        whole.policy.theta != fastpg.Policy.for_env("Pendulum-v1", hidden=(8,), seed=1, **options).theta
    ).all()
    half = fastpg.train("Pendulum-v1", algorithm, **arguments | {"total_steps": 512}, run=tmp_path / "run")
    assert half.config | options == half.config
    resumed = fastpg.resume(tmp_path / "run", total_steps=1024)
    assert (resumed.policy.theta == whole.policy.theta).all()
    many = fastpg.train_many(
        "Pendulum-v1", algorithm, seeds=[1], **{k: v for k, v in arguments.items() if k != "seed"}
    )
    assert (many[0].policy.theta == whole.policy.theta).all()


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS[::2], ids=lambda one: " ".join(one))
def test_pendulum_is_learnt(options):
    settings = fastpg.recommended("Pendulum-v1") | {"total_steps": 100_000}
    run = fastpg.train("Pendulum-v1", **settings, seed=0, **options)
    assert run.history["mean_return"][-1] > -250


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "options", "sentence"),
    [
        (Discrete(2), {"squash": True}, "squash must be False unless actions are in a Box, got Discrete"),
        (Discrete(2), {"state_dependent_std": True}, "state_dependent_std must be False unless actions"),
        (
            Box(-np.inf, 1, (2,)),
            {"squash": True},
            r"squash must be False unless a Box has finite bounds .* got -inf",
        ),
        (
            Box(1, np.nextafter(np.float32(1), 2), (2,)),
            {"squash": True},
            ".* with numbers between them, got 1.0",
        ),
    ],
    ids=str,
)
def test_spaces_without_room_are_refused(space, options, sentence):
    with pytest.raises(ValueError, match=rf"Policy\(\): {sentence}"):
        fastpg.Policy(OBS, space, **options)


def test_odd_options_and_actions_are_refused():
    with pytest.raises(TypeError, match=r"Policy\(\): squash must be"):
        fastpg.Policy(OBS, SQUASHED, squash=1)
    policy = fastpg.Policy(OBS, SQUASHED, squash=True)
    with pytest.raises(ValueError, match=r"from_env_actions\(\): actions must lie in Box"):
        policy.from_env_actions(np.float32([[0, 5.1]]))
    with pytest.raises(
        ValueError, match=r"from_env_actions\(\): actions must have shape \(..., 2\), got \(3,\)"
    ):
        policy.from_env_actions(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"from_env_actions\(\): actions must be finite, but"):
        policy.from_env_actions(np.float32([0, np.nan]))
    with pytest.raises(ValueError, match="the policy does not squash its actions"):
        fastpg.Policy(OBS, SQUASHED, action_scaling=False).from_env_actions(np.zeros(2, np.float32))


def test_policies_that_squash_to_other_bounds_are_others():
    policy = fastpg.Policy(OBS, Box(-1, 1, (1,)), squash=True)
    obs = np.zeros(3, np.float32)
    for other in (fastpg.Policy(OBS, Box(-2, 2, (1,)), squash=True), fastpg.Policy(OBS, Box(-1, 1, (1,)))):
        with pytest.raises(ValueError, match=r"Policy\.kl\(\): other must map"):
            policy.kl(other, obs)
    with pytest.raises(ValueError, match=r"policy maps .* but Pendulum-v1 has"):
        fastpg.evaluate("Pendulum-v1", policy, episodes=1)
    wide = fastpg.Policy(OBS, Box(-1, 1, (1,)), squash=True, state_dependent_std=True)
    assert policy.kl(wide, obs) == pytest.approx(0, abs=1e-3)  # both of them begin with a std of 1


def test_files_of_before_are_read_and_their_options_are_off(tmp_path):
    policy = fastpg.Policy(OBS, SQUASHED, action_scaling=False)
    policy.save(tmp_path / "plain")
    assert b"squash" not in (tmp_path / "plain").read_bytes()
    loaded = fastpg.Policy.load(tmp_path / "plain")
    assert not loaded.squash and not loaded.state_dependent_std


def test_a_sampler_is_not_kept_for_another_head():
    env = fastpg.make("Pendulum-v1", num_envs=2)
    for options in ({}, *OPTIONS):
        policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(), **options)
        env.reset(seed=1)
        played = fastpg.collect(env, policy, 3)
        assert (played.log_probs == policy.log_prob(played.obs, played.actions)).all()
