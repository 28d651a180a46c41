"""Every action head: against the oracle and torch, by the statistics of its draws, and in the fused pass."""

import itertools
import math

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpg
from fastpg import reference
from tests.support import jit_envs
from tests.support.heads import BOTH, SQUASHED, STATE_STD, OptionsBox, batch, exact, make, oracle_of
from tests.support.oracle import relative_error
from tests.support.quick import few
from tests.support.replays import SEED, core_estimate, replay, uniforms

SPACES = [
    Discrete(2),
    Discrete(5),
    MultiDiscrete([2]),
    MultiDiscrete([3, 2, 5]),
    MultiDiscrete([1, 2, 2, 17]),
    MultiBinary(1),
    MultiBinary(5),
    Box(-1, 1, (1,)),
    Box(-np.inf, 2, (2,)),
    Box(-1, 1, (7,)),
    SQUASHED,
    STATE_STD,
    BOTH,
    OptionsBox(-0.001, 100, (7,), squash=True, state_dependent_std=True),
]
HIDDEN = [(), (5,), (33,), (130,), (64, 64), (17, 5, 33)]


# ---- batches: the oracle, and torch ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 17, 300])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_log_prob_entropy_and_kl_equal_the_oracle(isa, space, size):
    for hidden in HIDDEN:
        policy, oracle = make(space, hidden)
        other = policy.copy()
        oracle_of(other, seed=5)
        obs, actions, _ = batch(policy, size)
        theta, x = exact(policy, obs)
        log_prob, entropy = fastpg.log_prob_and_entropy(policy, obs, actions)
        near = {"rtol": 1e-5, "atol": 2e-6}
        np.testing.assert_allclose(log_prob, reference.log_prob(oracle, theta, x, actions), **near)
        np.testing.assert_allclose(entropy, reference.entropy(oracle, theta, x), **near)
        divergence = reference.kl(oracle, theta, other.theta.astype(np.float64), x)
        np.testing.assert_allclose(policy.kl(other, obs), divergence, **near)
        np.testing.assert_allclose(policy.kl(policy, obs), 0, atol=1e-15)


@pytest.mark.parametrize("size", [1, 3, 17, 1000])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_gradient_of_a_batch_equals_the_oracle(isa, space, size):
    for hidden in HIDDEN:
        policy, oracle = make(space, hidden)
        obs, actions, weights = batch(policy, size)
        expected = reference.policy_gradient(oracle, *exact(policy, obs), actions, np.float64(weights))
        assert relative_error(fastpg.policy_gradient(policy, obs, actions, weights), expected) < 1e-5


spaces = st.one_of(
    st.lists(st.integers(1, 16), min_size=1, max_size=32).map(MultiDiscrete),
    st.integers(1, 32).map(MultiBinary),
    st.integers(1, 32).map(lambda n: Box(-1, 1, (n,))),
    st.builds(
        lambda n, squash, std: OptionsBox(-1, 1, (n,), squash=squash, state_dependent_std=std),
        st.integers(1, 32), st.booleans(), st.booleans(),
    ),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    space=spaces,
    num_inputs=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 140), max_size=3).map(tuple),
    activation=st.sampled_from(["tanh", "relu"]),
    size=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_gradient_of_a_batch_equals_the_oracle_for_any_shape(
    space, num_inputs, hidden, activation, size, seed
):
    policy, oracle = make(space, hidden, num_inputs, seed, activation)
    obs, actions, weights = batch(policy, size, seed)
    theta, x = exact(policy, obs)
    scores = reference.score(oracle, theta, x, actions)
    expected = weights.astype(np.float64) @ scores
    got = fastpg.policy_gradient(policy, obs, actions, weights, reduction="sum")
    # Terms of opposite sign may cancel: the error is relative to what was added up.
    scale = np.linalg.norm(expected) + 1e-2 * np.linalg.norm(np.abs(weights) @ np.abs(scores))
    assert np.linalg.norm(got - expected) <= 1e-5 * scale
    drawn = policy.act(obs, seed=seed)
    log_prob = reference.log_prob(oracle, theta, x, drawn)
    np.testing.assert_allclose(policy.log_prob(obs, drawn), log_prob, rtol=1e-5, atol=1e-4)


def torch_distribution(policy, theta, obs):
    """The distribution of the actions by torch, in float64, with theta requiring a gradient."""
    import torch

    x, at = torch.tensor(obs, dtype=torch.float64), 0
    widths = (policy.network.num_inputs, *policy.hidden, policy.network.num_outputs)
    for layer, (fan_in, out) in enumerate(itertools.pairwise(widths)):
        weight = theta[at : at + out * fan_in].view(out, fan_in)
        x = torch.nn.functional.linear(x, weight, theta[at + out * fan_in : at + out * (fan_in + 1)])
        at += out * (fan_in + 1)
        x = torch.tanh(x) if layer < len(policy.hidden) else x
    kinds = torch.distributions
    if policy.network.head == "gaussian":
        mean, log_std = x.chunk(2, -1) if policy.state_dependent_std else (x, theta[at:].expand_as(x))
        return [kinds.Independent(kinds.Normal(mean, log_std.clamp(-20, 2).exp()), 1)]
    if policy.network.head == "bernoulli":
        return [kinds.Independent(kinds.Bernoulli(logits=x), 1)]
    return [kinds.Categorical(logits=part) for part in x.split(policy.network.action_categories, -1)]


def squashed_by_torch(policy, part, drawn):
    """The distribution of the environment's actions, and those that were drawn."""
    import torch

    box, kinds = policy.action_space, torch.distributions
    low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (box.low, box.high))
    scaled = kinds.AffineTransform((low + high) / 2, (high - low) / 2, cache_size=1)
    maps = [kinds.TanhTransform(cache_size=1), scaled]
    squashed = kinds.TransformedDistribution(part.base_dist, maps)
    actions = drawn
    for one in maps:
        actions = one(actions)  # which are kept, with what they come from
    np.testing.assert_allclose(
        policy.env_actions(drawn.float().numpy()), actions.float(), rtol=1e-5, atol=1e-5
    )
    return [kinds.Independent(squashed, 1)], [actions]


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_everything_equals_torch_distributions_in_float64(isa, space):
    torch = pytest.importorskip("torch")
    for hidden in [(), (33,), (64, 64)]:
        policy, _ = make(space, hidden)
        other = policy.copy()
        oracle_of(other, seed=5)
        obs, actions, weights = batch(policy, 300)
        theta = torch.tensor(policy.theta, dtype=torch.float64, requires_grad=True)
        parts = torch_distribution(policy, theta, obs)
        others = torch_distribution(other, torch.tensor(other.theta, dtype=torch.float64), obs)
        values = torch.tensor(actions, dtype=torch.float64)
        values = values.reshape(300, -1).T if policy.network.head == "categorical" else [values]
        taken = squashed_by_torch(policy, parts[0], values[0]) if policy.squash else (parts, values)
        log_prob = sum(part.log_prob(value) for part, value in zip(*taken, strict=True))
        (log_prob * torch.tensor(weights, dtype=torch.float64)).mean().backward()
        assert (
            relative_error(fastpg.policy_gradient(policy, obs, actions, weights), theta.grad.numpy()) < 1e-5
        )
        near = {"rtol": 1e-5, "atol": 2e-6}
        np.testing.assert_allclose(policy.log_prob(obs, actions), log_prob.detach(), **near)
        entropy = sum(part.entropy() for part in parts).detach()
        np.testing.assert_allclose(policy.entropy(obs), entropy, **near)
        divergence = sum(
            torch.distributions.kl_divergence(p, q) for p, q in zip(parts, others, strict=True)
        ).detach()
        np.testing.assert_allclose(policy.kl(other, obs), divergence, **near)


@pytest.mark.parametrize("logit", [0.0, 1e-4, 5.0, 20.0, 60.0, 200.0])
def test_a_nearly_certain_bit_keeps_its_relative_accuracy(isa, logit):
    policy = fastpg.Policy(Box(-1, 1, (1,)), MultiBinary(2), hidden=())
    policy.parameters()["head.weight"][:] = 0
    policy.parameters()["head.bias"][:] = [logit, -logit]
    obs = np.zeros((1, 1), np.float32)
    for value in (0, 1):
        actions = np.full((1, 2), value)
        log_prob = -np.logaddexp(0, -logit) - np.logaddexp(0, logit)
        np.testing.assert_allclose(policy.log_prob(obs, actions), log_prob, rtol=1e-6)
    likely = np.array([[1, 0]])
    log_prob = -2 * np.logaddexp(0, -np.float64(np.float32(logit)))
    tiny = {"rtol": 1e-5, "atol": 1e-37}  # below float32's normal range
    np.testing.assert_allclose(policy.log_prob(obs, likely), log_prob, **tiny)
    score = 1 / (1 + np.exp(np.float64(np.float32(logit))))
    gradient = fastpg.policy_gradient(policy, obs, likely, np.ones(1, np.float32))
    np.testing.assert_allclose(gradient[2:], [score, -score], **tiny)


# ---- draws -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_act_draws_what_the_oracle_draws_from_the_same_random_numbers(isa, space):
    policy, oracle = make(space)
    obs, _, _ = batch(policy, 150)
    for step in (0, 1, 2, 3, 4, 4_000_000_001):
        drawn = policy.act(obs, seed=SEED, step=step).reshape(150, -1)
        expected = reference.draw(oracle, *exact(policy, obs), uniforms(policy.network, 150, step))
        np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("space", "limit"),  # 99.9 % of a chi-square, with as many degrees of freedom as joint actions less one
    [(Discrete(4), 16.27), (MultiDiscrete([3, 2, 2]), 31.26), (MultiBinary(3), 24.32)],
    ids=str,
)
def test_components_are_drawn_with_their_probabilities_and_independently(isa, space, limit):
    policy, _ = make(space, seed=2)
    n = 200_000
    one = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
    sizes = policy.network.action_categories
    drawn = policy.act(np.repeat(one, n, axis=0), seed=3).reshape(n, -1)
    counts = np.bincount(np.ravel_multi_index(drawn.T, sizes), minlength=math.prod(sizes))
    joint = np.stack([index.ravel() for index in np.indices(sizes)], axis=1)
    all_obs = np.repeat(one, len(joint), axis=0)
    probability = np.exp(policy.log_prob(all_obs, joint.reshape(len(joint), *space.shape)).astype(np.float64))
    assert abs(probability.sum() - 1) < 1e-5
    assert ((counts - n * probability) ** 2 / (n * probability)).sum() < limit


def test_gaussian_draws_are_normal_and_independent(isa):
    policy, oracle = make(Box(-1, 1, (3,)))
    n = 50_000
    obs, _, _ = batch(policy, n)
    theta, x = exact(policy, obs)
    mean, std = reference.logits(oracle, theta, x), np.exp(reference.log_std(oracle, theta))
    z = (
        np.concatenate([policy.act(obs, seed=3, step=step) for step in (0, 1)], axis=1) - np.tile(mean, 2)
    ) / (np.tile(std, 2))
    for k in range(z.shape[1]):
        cdf = 0.5 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in np.sort(z[:, k])]))
        ranks = np.arange(n + 1) / n
        distance = max((ranks[1:] - cdf).max(), (cdf - ranks[:-1]).max())
        assert distance < 2.23 / math.sqrt(n)  # Kolmogorov-Smirnov, 99.99 %
    # Pairs share a radius: magnitudes could go together where values do not. 2 x 15 pairs: 99.8 % for all.
    for values in (z, z**2):
        correlation = np.corrcoef(values.T) - np.eye(z.shape[1])
        assert np.abs(correlation).max() < 4.0 / math.sqrt(n)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_deterministic_actions_are_the_mode(isa, space):
    policy, oracle = make(space)
    obs, _, _ = batch(policy, 50)
    chosen = policy.act(obs, seed=0, deterministic=True)
    if policy.network.head == "gaussian":
        theta, x = exact(policy, obs)
        mean, _ = reference.mean_and_log_std(oracle, theta, reference.logits(oracle, theta, x))
        np.testing.assert_allclose(chosen, mean, rtol=1e-5, atol=1e-6)
    if policy.squash:  # the tanh of the mean, which is the median: the mode has no closed form
        return
    best = policy.log_prob(obs, chosen)
    for step in range(20):
        assert (policy.log_prob(obs, policy.act(obs, seed=1, step=step)) <= best).all()


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_expected_score_is_zero(space):
    policy, oracle = make(space)
    obs, _, _ = batch(policy, 20_000)
    actions = policy.act(obs, seed=7)
    mean = fastpg.policy_gradient(policy, obs, actions, np.ones(len(obs), np.float32))
    error = reference.score(oracle, *exact(policy, obs), actions).std(axis=0) / math.sqrt(len(obs))
    assert (np.abs(mean) <= 4.5 * error + 1e-7).all()  # below 100 parameters: 99.9 % for all of them


# ---- the fused pass ----------------------------------------------------------------------------------------


def continuous_policy(env_id, hidden):
    """A policy with a std of 2: most actions leave MountainCarContinuous' Box, many Pendulum's."""
    policy = fastpg.Policy.for_env(env_id, hidden=hidden)
    oracle = oracle_of(policy)
    policy.parameters()["log_std"][:] = math.log(2.0)
    return policy, oracle


@pytest.mark.parametrize("env_id", few(["Pendulum-v1", "MountainCarContinuous-v0"], {"Pendulum-v1"}))
@pytest.mark.parametrize("hidden", [(), (5,), (33, 17)])
@pytest.mark.parametrize(
    ("num_envs", "limit", "collect"),
    [
        (1, 30, {"episodes": 3}),
        (3, 25, {"episodes": 6}),
        (17, 20, {"horizon": 50}),
        (70, 40, {"horizon": 33}),
    ],
    ids=str,
)
def test_the_fused_gradient_equals_the_oracle_step_by_step(isa, env_id, hidden, num_envs, limit, collect):
    policy, oracle = continuous_policy(env_id, hidden)
    steps = collect.get("horizon") or collect["episodes"] // num_envs * limit
    played = replay(env_id, policy, oracle, num_envs, limit, steps)
    assert (~policy_contains(policy, played.actions)).mean() > 0.1
    for form in ("total", "reward_to_go"):
        expected = reference.estimate_gradient(
            oracle, policy.theta.astype(np.float64), played, form=form, gamma=0.97
        )
        gradient, stats = core_estimate(env_id, policy, num_envs, limit, form, **collect)
        assert relative_error(gradient, expected) < 1e-5
        ends = (played.terminated | played.truncated)[:, :, None].any(axis=2)
        assert stats["num_episodes"] == ends.sum()
        if ends.any():
            returns = reference.episode_returns(played.rewards, played.terminated, played.truncated)[ends]
            np.testing.assert_allclose(stats["mean_return"], returns.mean(), rtol=1e-12)
        np.testing.assert_allclose(
            stats["entropy"], math.log(2.0) + 0.5 * math.log(2 * math.pi * math.e), rtol=1e-6
        )


@pytest.mark.parametrize("env", [jit_envs.Grid.plain(), jit_envs.Bits.plain()], ids=lambda env: env.name)
@pytest.mark.parametrize("hidden", few([(), (17, 5)], [(17, 5)]))
@pytest.mark.parametrize(
    ("num_envs", "limit", "collect"), [(3, 12, {"episodes": 6}), (70, 15, {"horizon": 33})], ids=str
)
def test_the_fused_gradient_of_several_integers_equals_the_oracle_step_by_step(
    isa, env, hidden, num_envs, limit, collect
):
    policy = fastpg.Policy.for_env(env, hidden=hidden)
    oracle = oracle_of(policy)
    limit = limit if "horizon" in collect else 1  # then all episodes are as long, as a batch of rows is
    steps = collect.get("horizon") or collect["episodes"] // num_envs * limit
    played = replay(env, policy, oracle, num_envs, limit, steps, clip=False)
    assert played.actions.shape == (steps, num_envs, policy.action_space.shape[0])
    for form in ("total", "reward_to_go"):
        expected = reference.estimate_gradient(
            oracle, policy.theta.astype(np.float64), played, form=form, gamma=0.97
        )
        gradient, stats = core_estimate(env, policy, num_envs, limit, form, **collect)
        assert relative_error(gradient, expected) < 1e-5
        assert stats["num_episodes"] == (played.terminated | played.truncated).sum()


def policy_contains(policy, actions):
    box = policy.action_space
    return ((actions >= box.low) & (actions <= box.high)).all(axis=-1)


def test_actions_are_clipped_for_the_environment_and_not_for_the_score():
    # MountainCarContinuous charges for the action that it is given: unclipped ones would cost more.
    policy, oracle = continuous_policy("MountainCarContinuous-v0", (5,))
    clipped = replay("MountainCarContinuous-v0", policy, oracle, 8, 40, 40)
    unclipped = replay("MountainCarContinuous-v0", policy, oracle, 8, 40, 40, clip=False)
    _, stats = core_estimate("MountainCarContinuous-v0", policy, 8, 40, "total", horizon=40)
    np.testing.assert_allclose(stats["mean_return"], clipped.rewards.sum(axis=0).mean(), rtol=1e-12)
    assert stats["mean_return"] > unclipped.rewards.sum(axis=0).mean() + 1
    drawn = policy.act(clipped.obs[0], seed=SEED)
    assert (drawn == clipped.actions[0]).all() and not policy_contains(policy, drawn).all()


def test_evaluation_of_a_mean_outside_the_box_plays_its_edge():
    results = []
    for mean in (1.0, 7.0, 1e30):
        policy = fastpg.Policy.for_env("MountainCarContinuous-v0", hidden=())
        policy.theta[:] = 0.0
        policy.parameters()["head.bias"][:] = mean
        results.append(fastpg.evaluate("MountainCarContinuous-v0", policy, episodes=5)[0])
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()


@pytest.mark.parametrize("num_envs", [1, 8, 100, 1100])
@pytest.mark.parametrize("hidden", [(), (33,)])
@pytest.mark.parametrize("collect", [{"horizon": 40}, {"episodes": 1300}], ids=str)
def test_the_number_of_threads_changes_no_bit(isa, threads, num_envs, hidden, collect):
    policy, _ = continuous_policy("Pendulum-v1", hidden)
    results = set()
    for n in (1, 2, 3):
        threads(n)
        gradient, stats = core_estimate("Pendulum-v1", policy, num_envs, 20, "reward_to_go", **collect)
        results.add((gradient.tobytes(), *(float(stats[name]) for name in ("num_steps", "entropy"))))
    assert len(results) == 1


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_number_of_threads_changes_no_bit_of_a_batch(isa, threads, space):
    policy, _ = make(space, (64, 64))
    obs, actions, weights = batch(policy, 3000)
    results = set()
    for n in (1, 2, 3):
        threads(n)
        gradient = fastpg.policy_gradient(policy, obs, actions, weights)
        results.add((gradient.tobytes(), policy.act(obs, seed=1).tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_an_output_that_overflows_stops_with_a_sentence(hidden):
    policy, _ = continuous_policy("Pendulum-v1", hidden)
    policy.parameters()["head.bias"][:] = 3.4e38
    policy.parameters()["log_std"][:] = 87.0  # half of the normals around this mean are infinite
    with pytest.raises(FloatingPointError, match="the policy's output is NaN or infinite"):
        core_estimate("Pendulum-v1", policy, 8, 20, "total", horizon=8)
    with pytest.raises(FloatingPointError, match=r"act\(\): the policy's output is NaN or infinite"):
        policy.act(np.zeros((64, 3), np.float32), seed=0)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "MountainCarContinuous-v0"])
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_training_moves_every_parameter_of_a_gaussian(env_id, hidden):
    before = fastpg.Policy.for_env(env_id, hidden=hidden)
    run = fastpg.train(env_id, policy=before, total_steps=20_000)
    after = run.policy.parameters()
    assert all((after[name] != view).all() for name, view in before.parameters().items())
    assert np.isfinite(run.history["entropy"]).all()


# ---- the policy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_actions_have_the_shape_and_dtype_of_the_space(space):
    policy, _ = make(space)
    obs = np.zeros((2, 3, 4), np.float32)
    actions = policy.act(obs, seed=0)
    assert actions.shape == (2, 3, *space.shape)
    assert actions.dtype == (np.float32 if isinstance(space, Box) else np.int64)
    assert policy.log_prob(obs, actions).shape == policy.entropy(obs).shape == (2, 3)
    assert policy.kl(policy, obs).shape == (2, 3)
    one = policy.act(obs[0, 0], seed=0)
    assert one.shape == space.shape
    assert isinstance(space, Box) or space.contains(one)
    assert policy.log_prob(obs[0, 0], one).shape == ()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
def test_any_integers_are_actions(dtype):
    policy, _ = make(MultiBinary(3))
    obs, actions, _ = batch(policy, 5)
    assert (policy.log_prob(obs, actions.astype(dtype)) == policy.log_prob(obs, actions)).all()


def test_log_std_is_the_end_of_theta_and_starts_at_zero():
    policy = fastpg.Policy(Box(-1, 1, (3,)), Box(-1, 1, (2,)), hidden=(4,))
    views = policy.parameters()
    assert list(views)[-1] == "log_std"
    assert views["log_std"].shape == (2,) and (views["log_std"] == 0).all()
    views["log_std"][:] = 5.0
    assert (policy.theta[-2:] == 5.0).all() and policy.theta.size == 16 + 10 + 2


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Discrete(3), "3 actions"),
        (MultiDiscrete([3, 2]), "3 x 2 actions"),
        (MultiBinary(1), "1 binary action"),
        (MultiBinary(4), "4 binary actions"),
        (Box(-1, 1, (2,)), "2 Gaussian actions"),
    ],
    ids=str,
)
def test_repr_says_what_is_drawn(space, words):
    assert f"(4 inputs, {words}, hidden=(5,)" in repr(make(space)[0])


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_checkpoints_and_copies_keep_the_head(space, tmp_path):
    policy, _ = make(space)
    policy.save(tmp_path / "policy.safetensors")
    obs, actions, _ = batch(policy, 9)
    for twin in (fastpg.Policy.load(tmp_path / "policy.safetensors"), policy.copy()):
        assert repr(twin) == repr(policy)
        assert twin.action_space == space
        assert (twin.log_prob(obs, actions) == policy.log_prob(obs, actions)).all()


def test_kl_of_policies_with_different_networks():
    policy, oracle = make(Box(-1, 1, (2,)), (5,))
    other, other_oracle = make(Box(-3, 3, (2,)), (), seed=4)
    obs, _, _ = batch(policy, 1)
    theta, x = exact(policy, obs)
    many = np.repeat(x, 200_000, axis=0)
    drawn = policy.act(np.repeat(obs, 200_000, axis=0), seed=1)
    other_theta = other.theta.astype(np.float64)
    ratio = reference.log_prob(oracle, theta, many, drawn) - reference.log_prob(
        other_oracle, other_theta, many, drawn
    )
    assert abs(policy.kl(other, obs)[0] - ratio.mean()) < 4 * ratio.std() / math.sqrt(len(ratio))


def test_gymnasium_takes_the_clipped_action():
    env = gymnasium.make("Pendulum-v1")
    policy = fastpg.Policy.for_env("Pendulum-v1")
    obs, _ = env.reset(seed=0)
    action = np.clip(policy.act(obs, seed=0), env.action_space.low, env.action_space.high)
    assert env.action_space.contains(action)
    env.step(action)
