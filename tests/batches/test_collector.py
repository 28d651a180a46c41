"""Collecting from Gymnasium's environments, and learning from what was collected, against plain loops."""

import copy
import dataclasses
import functools
import math

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import SyncVectorEnv

import fastpg
from fastpg import _core, reference
from fastpg.acted import Acted
from fastpg.batches.collector import Collector
from fastpg.batches.episodes import episode_sums
from fastpg.envs.autoreset import AutoresetMode
from fastpg.envs.gymnasium.flatten import Observed
from fastpg.envs.gymnasium.opening import opened
from fastpg.training.agent import core_agent
from fastpg.training.trainer import GymnasiumTrainer
from tests.support.agents import model_of, oracle_update
from tests.support.gymnasium_envs import MODES, Scripted, Single, scripted, vector_of
from tests.support.oracle import relative_error
from tests.support.quick import few

NAN = math.nan


def collector_of(env, seed=0, hidden=(8,), **options):
    with opened("test", env, None) as wrapped:
        observations, actions = wrapped.observation_space, wrapped.action_space
        policy = fastpg.Policy(observations, actions, hidden=hidden, action_scaling=False)
        return Collector(wrapped, policy.network, seed, **options), policy


def collect(env, **amount):
    collector, policy = collector_of(env, wants_final=True)
    return collector.collect(policy.theta, **amount)


def counts(batch):
    """Which rows are transitions, (T, N)."""
    return np.ones(batch.rewards.shape, bool) if batch.mask is None else batch.mask.view(bool)


def ends(batch):
    """Which rows end an episode, (T, N)."""
    return (batch.terminated | batch.truncated).astype(bool) & counts(batch)


def whole_obs(batch):
    """Observations and what follows the last of them, (T + 1, N, obs_size)."""
    return np.concatenate([batch.obs, batch.last_obs[None]])


def by_row(batch):
    """Actions, (T, N, action_size)."""
    return batch.actions.reshape(*batch.rewards.shape, -1)


def transitions(batch, n):
    """What environment n went through: (obs, reward, terminated, truncated, final obs if truncated)."""
    finals = {tuple(at): row for at, row in zip(batch.final_rows.tolist(), batch.final_obs, strict=True)}
    return [
        (
            batch.obs[t, n].tolist(),
            batch.rewards[t, n],
            batch.terminated[t, n],
            batch.truncated[t, n],
            finals[t, n].tolist() if batch.truncated[t, n] else None,
        )
        for t in np.flatnonzero(counts(batch)[:, n])
    ]


def expected(n, steps):
    """The same from Scripted itself."""
    env, rows = Scripted(n, n % 5 + 1), []
    obs, _ = env.reset()
    for _ in range(steps):
        after, reward, terminated, truncated, _ = env.step(0)
        rows.append((obs.tolist(), reward, terminated, truncated, after.tolist() if truncated else None))
        obs = env.reset()[0] if terminated or truncated else after
    return rows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("amount", [{"episodes": 22}, {"horizon": 41}], ids=str)
def test_every_autoreset_mode_gives_the_same_transitions(mode, amount):
    batch = collect(scripted(4, mode), **amount)
    for n in range(4):
        got = transitions(batch, n)
        assert len(got) > 10
        assert got == expected(n, len(got))
    if "horizon" in amount and mode is not AutoresetMode.NEXT_STEP:
        assert batch.mask is None


def test_the_row_of_a_next_step_reset_is_no_transition():
    batch = collect(scripted(4, AutoresetMode.NEXT_STEP), horizon=41)
    done, valid = (batch.terminated | batch.truncated).astype(bool), counts(batch)
    assert (valid[1:] == ~done[:-1]).all()
    assert valid[0].all()
    assert not valid.all()


@pytest.mark.parametrize("mode", MODES)
def test_every_environment_plays_its_quota_and_no_more(mode):
    batch = collect(scripted(4, mode), episodes=11)
    done = ends(batch)
    assert done.sum(axis=0).tolist() == _core.episode_quota(11, 4).tolist() == [3, 3, 3, 2]
    for n in range(4):  # the last row that counts is the end of the last episode
        assert done[np.flatnonzero(counts(batch)[:, n])[-1], n]
    by_hand = [[k + i % 5 for k in (1, 2, 3)] for i in range(4)]
    lengths = [(length - 1) % 5 + 1 for row in by_hand for length in row][:11]
    assert batch.episode_lengths.tolist() == lengths
    assert len(batch.episode_returns) == done.sum() == 11


def test_environments_without_a_quota_play_nothing():
    batch = collect(scripted(4), episodes=2)
    assert not counts(batch)[:, 2:].any()
    assert batch.episode_lengths.tolist() == [1, 2]


@pytest.mark.parametrize("mode", MODES)
def test_a_horizon_continues_the_episodes_of_the_one_before(mode):
    collector, policy = collector_of(scripted(3, mode), wants_final=True)
    parts = [copy.deepcopy(collector.collect(policy.theta, horizon=t)) for t in (7, 1, 12)]
    whole = collect(scripted(3, mode), horizon=20)
    for name in ("rewards", "terminated", "truncated", "obs"):
        together = np.concatenate([getattr(part, name) for part in parts])
        assert (together == getattr(whole, name)).all(), name
    assert (np.concatenate([counts(part) for part in parts]) == counts(whole)).all()
    assert (np.concatenate([by_row(part) for part in parts]) == by_row(whole)).all()
    ages = np.concatenate([part.obs[..., 2] for part in parts])  # the observation says them
    for first, part in zip((0, 7, 8), parts, strict=True):
        began = np.where(counts(part)[0], part.first_age, ages[first])  # a reset's row is a new episode's
        assert (began == ages[first]).all()
    for name in ("episode_returns", "episode_lengths"):
        by_episode = np.sort(np.concatenate([getattr(part, name) for part in parts]))
        assert (by_episode == np.sort(getattr(whole, name))).all(), name


def test_actions_reach_the_environment_as_they_were_recorded():
    env = SyncVectorEnv([lambda i=i: Scripted(i, 5, start=7) for i in range(3)])
    batch = collect(env, horizon=30)
    for n, one in enumerate(env.envs):
        recorded = batch.actions.reshape(30, 3)[counts(batch)[:, n], n]
        assert one.actions == (recorded + 7).tolist()
        assert set(recorded) == {0, 1, 2}


def test_entropy_is_the_mean_of_the_policy_at_the_rows_that_count():
    collector, policy = collector_of(scripted(4))
    policy.theta[:] = np.random.default_rng(0).normal(size=policy.theta.size).astype(np.float32)
    batch = collector.collect(policy.theta, horizon=20)
    assert not counts(batch).all()
    np.testing.assert_allclose(batch.entropy, policy.entropy(batch.obs[counts(batch)]).mean(), rtol=1e-5)


def test_the_same_seed_collects_the_same_batch_and_another_seed_another():
    batches = []
    for seed in (3, 3, 4):
        collector, policy = collector_of("gym:CartPole-v1", seed)
        batches.append(copy.deepcopy(collector.collect(policy.theta, horizon=50)))
    first, again, other = batches
    assert (first.obs == again.obs).all()
    assert (first.actions == again.actions).all()
    assert (first.obs != other.obs).any()


def test_neighbouring_seeds_share_no_environment():
    firsts = []
    for seed in (0, 1):
        collector, policy = collector_of("gym:CartPole-v1", seed)
        firsts.append(collector.collect(policy.theta, horizon=1).obs[0].copy())
    assert not (firsts[0][:, None] == firsts[1][None]).all(axis=2).any()


def test_sums_over_episodes_are_those_of_a_loop(rng):
    for _ in range(50):
        steps, count = rng.integers(1, 12), rng.integers(1, 4)
        valid = rng.random((steps, count)) < 0.8
        done = (rng.random((steps, count)) < 0.3) & valid
        x, under_way = rng.normal(size=(steps, count)), rng.normal(size=count)
        finished, rest = [], under_way.copy()
        for n in range(count):
            for t in range(steps):
                rest[n] += x[t, n] if valid[t, n] else 0.0
                if done[t, n]:
                    finished.append(rest[n])
                    rest[n] = 0.0
        got, got_rest = episode_sums(x, valid, done, under_way)
        np.testing.assert_allclose(got, finished, atol=1e-12)
        np.testing.assert_allclose(got_rest, rest, atol=1e-12)


# ---- spaces ----------------------------------------------------------------------------------------------

FLATTENED = {
    "an image": Box(0, 255, (2, 3, 2), np.uint8),
    "a matrix": Box(-1, 1, (2, 3), np.float64),
    "integers": Box(-5, 5, (3,), np.int32),
    "a number": Box(-1, 1, (), np.float32),
    "bits": MultiBinary((2, 2)),
    "a matrix of categories": MultiDiscrete(np.array([[2, 3], [4, 1]])),
    "a dict": Dict({"b": Discrete(3), "a": Box(-1, 1, (2,), np.float64), "c": MultiBinary(2)}),
    "a tuple": Tuple([Box(0, 9, (2, 2), np.int64), Discrete(4), Dict({"x": MultiDiscrete([2, 3])})]),
}


@pytest.mark.parametrize("name", FLATTENED)
def test_observations_are_flattened_as_gymnasium_does(name):
    space = FLATTENED[name]
    env = SyncVectorEnv([lambda: Single(space) for _ in range(3)])
    obs, _ = env.reset(seed=0)
    observed = Observed("test", space)
    rows = np.full((3, observed.size), np.nan, np.float32)
    observed.write(obs, rows)
    singles = [
        gymnasium.spaces.flatten(space, one)
        for one in gymnasium.vector.utils.iterate(env.observation_space, obs)
    ]
    assert (rows == np.stack(singles).astype(np.float32)).all()
    assert observed.space.shape == (observed.size,)
    assert observed.space.dtype == np.float32


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FLATTENED)
def test_flattened_environments_are_trained_in_every_mode(name, mode):
    env = vector_of([lambda: Single(FLATTENED[name]) for _ in range(3)], mode)
    run = fastpg.train(env, fastpg.VPG(value_epochs=1), horizon=16, hidden=(4,), total_steps=100)
    assert (run.history["mean_return"] == 4.0).all()
    env.close()


@pytest.mark.parametrize(
    "space",
    [Discrete(5, start=-2), MultiDiscrete([3, 2], start=[1, 5]), Tuple([Discrete(3), Discrete(2)])],
    ids=str,
)
def test_categories_are_read_as_the_policy_reads_them(space):
    env = SyncVectorEnv([lambda: Single(space) for _ in range(7)])
    obs, _ = env.reset(seed=0)
    observed = Observed("test", space)
    rows = np.empty((7, observed.size), np.float32)
    observed.write(obs, rows)
    policy = fastpg.Policy(space, Discrete(2))
    assert (rows == policy.observations.rows("test", obs)[0]).all()


@pytest.mark.parametrize(
    "space",
    [
        Discrete(3, start=5),
        MultiDiscrete([3, 2]),
        MultiDiscrete([3, 2], start=[1, -1]),
        MultiDiscrete(np.array([[2, 3], [4, 5]])),
        MultiBinary(3),
        MultiBinary((2, 2)),
        Box(-0.1, 0.1, (2,)),
        Box(-0.1, 0.1, (2, 3), np.float64),
        Box(np.array([-np.inf, 0.0], np.float32), np.array([0.1, np.inf], np.float32)),
    ],
    ids=str,
)
def test_actions_lie_in_their_space(space):
    env = SyncVectorEnv([lambda: Single(Box(-1, 1, (2,)), space) for _ in range(5)])  # which checks them
    batch = collect(env, horizon=12)
    assert counts(batch).any()


def test_box_actions_are_clipped_for_the_environment_and_recorded_as_drawn():
    acted = Acted("test", Box(-0.5, 0.25, (2,), np.float64), 2)
    drawn = np.array([-1.0, 1.0, 0.1, -0.2], np.float32)
    assert acted.prepare(drawn).tolist() == [[-0.5, 0.25], [np.float32(0.1), np.float32(-0.2)]]
    assert acted.prepare(drawn).dtype == np.float64
    assert drawn.tolist()[0] == -1.0


# ---- one iteration, recomputed in float64 ----------------------------------------------------------------


def oracle_of(policy):
    categories = policy.actions.categories if policy.actions.head == "categorical" else ()
    network = policy.network
    return reference.Network(
        *(network.num_inputs, policy.hidden, network.num_outputs, policy.activation),
        *(policy.actions.head, categories if len(categories) > 1 else ()),
    )


def oracle_batch(batch, policy):
    """The oracle's form of a batch."""
    next_obs = np.full(batch.obs.shape, np.nan)
    next_obs[tuple(batch.final_rows.T)] = batch.final_obs
    actions = by_row(batch)
    return reference.Batch(
        batch.obs,
        actions[..., 0] if policy.actions.shape[-1] == () else actions,
        batch.rewards,
        batch.terminated.astype(bool),
        batch.truncated.astype(bool),
        counts(batch),
        next_obs,
        batch.last_obs,
    )


class Recorded:
    """Keeps copies of the batches that a trainer's collector made."""

    def __init__(self, monkeypatch):
        self.batches = []
        original = Collector.collect

        def collect(collector, theta, **amount):
            batch = original(collector, theta, **amount)
            self.batches.append(copy.deepcopy(batch))
            return batch

        monkeypatch.setattr(Collector, "collect", collect)


def environment(kind, mode=AutoresetMode.NEXT_STEP):
    if kind == "scripted":
        return scripted(5, mode)
    if kind == "fastpg":
        name = mode.name.lower()
        return fastpg.make("CartPole-v1", num_envs=5, autoreset=name, max_episode_steps=20)
    space = {
        "gaussian": Box(-0.1, 0.1, (2,)),
        "bernoulli": MultiBinary(3),
        "several": MultiDiscrete([2, 3]),
    }[kind]
    return vector_of([lambda: Single(Box(-1, 1, (3,)), space) for _ in range(5)], mode)


ALGORITHMS = [
    fastpg.Reinforce(epsilon=1e-4),
    fastpg.Reinforce(form="total", normalize="trajectory", optimizer="sgd", momentum=0.5, entropy_coef=0.1),
    fastpg.VPG(epsilon=1e-4, value_epochs=3),
    fastpg.VPG(form="td", epsilon=1e-4, standardize_advantages=False, linear_schedule=True),
    fastpg.VPG(form="q", n_step=3, epsilon=1e-4, max_grad_norm=0.01, entropy_coef=0.05),
    fastpg.VPG(form="reward_to_go", epsilon=1e-4, value_epochs=2),
    fastpg.A2C(epsilon=1e-4),
    fastpg.PPO(epsilon=1e-4, epochs=2, minibatches=3, normalize_rewards=True, linear_clip_range=True),
]
TOTAL_STEPS = 400
# Those with an absolute tolerance may be all but 0.
CLOSE = {
    "gradient_norm": (2e-4, 0.0),
    "explained_variance": (1e-3, 1e-4),
    "policy_loss": (1e-3, 1e-6),
    "approx_kl": (2e-3, 1e-9),
    "approx_kl_k1": (1e-3, 1e-6),
}


@pytest.mark.parametrize(
    "algorithm", ALGORITHMS, ids=lambda one: f"{type(one).__name__}-{getattr(one, 'form', 'gae')}"
)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("collection", [{"horizon": 30}, {"episodes": 13}], ids=str)
@pytest.mark.parametrize("kind", few(["scripted", "fastpg"], {"scripted"}))
def test_training_is_what_the_oracle_makes_of_the_same_batches(
    algorithm, mode, collection, kind, monkeypatch
):
    replay(algorithm, environment(kind, mode), collection, monkeypatch)


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli", "several"])
def test_training_with_every_head_is_what_the_oracle_makes_of_it(kind, monkeypatch):
    replay(ALGORITHMS[2], environment(kind), {"horizon": 30}, monkeypatch)


def replay(algorithm, env, collection, monkeypatch):
    recorded = Recorded(monkeypatch)
    policy = fastpg.Policy.for_env(env, hidden=(6,), seed=1, action_scaling=False)
    policy.theta *= 3  # so that the head tells actions apart
    value = fastpg.ValueFunction.for_env(env, hidden=(5,), seed=2)
    critic = not isinstance(algorithm, fastpg.Reinforce)
    run = fastpg.train(
        env, algorithm, policy=policy, value=value if critic else None, total_steps=TOTAL_STEPS, **collection
    )
    assert len(recorded.batches) == len(run.history["num_steps"]) >= 2
    value_oracle = reference.Network(value.network.num_inputs, (5,), 1)
    agent = reference.new_agent(
        model_of(policy, oracle_of(policy)),
        model_of(value, value_oracle) if critic else None,
    )
    if not isinstance(algorithm, fastpg.PPO):  # which takes many steps with a batch
        # From the same parameters, to the bit: what the estimators make of the batch.
        check_gradient(recorded.batches[0], algorithm, policy, value if critic else None, agent)
    for i, batch in enumerate(recorded.batches):
        agent, known = oracle_update(algorithm, agent, oracle_batch(batch, policy), TOTAL_STEPS)
        for name, number in known._asdict().items():
            rtol, atol = CLOSE.get(name, (1e-4, 0.0))
            np.testing.assert_allclose(run.history[name][i], number, rtol=rtol, atol=atol, err_msg=name)
    # As in test_vpg.py: the steps of the optimizers, differences of float32 parameters, are what is compared.
    for network, model in ((policy, agent.policy), (value, agent.value))[: 1 + critic]:
        trained = run.policy if network is policy else run.value
        steps = trained.theta - np.float64(network.theta), model.theta - network.theta
        assert relative_error(*steps) < 1e-3
    env.close()


def check_gradient(batch, algorithm, policy, value, agent):
    """The core's gradient of this batch is the oracle's to 1e-5, but for the scale of advantages."""
    played, values = oracle_batch(batch, policy), None
    changed = {"standardize_advantages": "none", "total_steps": TOTAL_STEPS}
    options = reference.Options(**algorithm.core_settings() | changed)
    settings = {name: getattr(algorithm, name) for name in ("form", "gamma", "entropy_coef")}
    settings["normalize"] = options.normalize
    if value is not None:
        values = functools.partial(reference.state_values, agent.value.network, agent.value.theta)
        settings.update(
            lam=algorithm.lam, n_step=algorithm.n_step, value=value.network, value_theta=value.theta
        )
        settings["baseline"] = "value" if algorithm.form in ("q", "reward_to_go") else "none"
    phi, _ = reference.weigh(played, options, values)
    as_they_are = np.zeros(played.obs.shape[-1]), np.ones(played.obs.shape[-1])
    _, expected = reference.step_policy(agent, played, phi, options, as_they_are)
    assert relative_error(gradient_of(batch, policy, **settings), expected) < 1e-5


def gradient_of(batch, policy, **settings):
    gradient = np.empty_like(policy.theta)
    _core.batch_gradient(policy.network, policy.theta, batch.of(policy.network), out=gradient, **settings)
    return gradient


def weighted(batch, policy, weights):
    """The gradient with weights that a test has computed, (T, N), by the function on arrays."""
    chosen = counts(batch)
    actions = np.ascontiguousarray(by_row(batch)[chosen]).reshape(-1)
    gradient, phi = np.empty_like(policy.theta), weights[chosen].astype(np.float32)
    rows = np.ascontiguousarray(batch.obs[chosen])
    _core.policy_gradient(policy.network, policy.theta, rows, actions, phi, 1.0, gradient, 0.0)
    return gradient / chosen.sum()


def to_go(batch, gamma):
    """Rewards to go, (T, N), as users get them."""
    flags = batch.terminated.astype(bool), batch.truncated.astype(bool)
    return fastpg.returns(batch.rewards, *flags, gamma=gamma, bootstrap_truncated=False, mask=counts(batch))


def ages_of(batch):
    """The number of each step in its episode, (T, N), by a loop."""
    ages, done, valid = np.zeros(batch.rewards.shape, int), ends(batch), counts(batch)
    age = batch.first_age.astype(int).copy()
    for t in range(len(ages)):
        ages[t] = age
        age = np.where(valid[t], np.where(done[t], 0, age + 1), age)
    return ages


def test_normalised_observations_are_folded_into_the_first_layer(monkeypatch):
    recorded = Recorded(monkeypatch)
    algorithm = fastpg.VPG(normalize_observations=True, epsilon=1e-4, value_epochs=1)
    env = scripted(5, AutoresetMode.SAME_STEP)
    policy = fastpg.Policy.for_env(env, hidden=(6,), seed=1)
    run = fastpg.train(env, algorithm, hidden=(6,), seed=1, horizon=30, total_steps=150)  # from such a policy
    (batch,) = recorded.batches
    obs = batch.obs.reshape(-1, 3).astype(np.float64)
    mean, std = obs.mean(axis=0), obs.std(axis=0)
    # What reads normalised observations is one step of Adam away from what there was before.
    weight, bias = (run.policy.parameters()[f"hidden.0.{name}"] for name in ("weight", "bias"))
    inner_weight, inner_bias = weight * std, bias + weight @ mean
    before = policy.parameters()
    for inner, old in ((inner_weight, before["hidden.0.weight"]), (inner_bias, before["hidden.0.bias"])):
        moved = np.abs(inner - old)
        assert 0 < moved.max() < 1.01 * algorithm.learning_rate


@pytest.mark.parametrize("baseline", ["batch_mean", "timestep_mean"])
@pytest.mark.parametrize("amount", [{"episodes": 13}, {"horizon": 23}], ids=str)
def test_mean_baselines_leave_out_the_environment_itself(baseline, amount):
    collector, policy = collector_of(scripted(5))
    batch = collector.collect(policy.theta, **amount)
    plain, valid = to_go(batch, 0.9), counts(batch)
    ages, done = ages_of(batch), ends(batch)
    shard = reference.shard_size(5)
    expected = np.zeros_like(plain)
    for t, n in np.argwhere(valid):
        others = [
            plain[s, m]
            for s, m in np.argwhere(valid)
            if m != n and m // shard == n // shard
            and (
                baseline == "batch_mean"
                or (s == t and "horizon" in amount)
                or ("episodes" in amount and ages[s, m] == ages[t, n]
                    and done[:s, m].sum() == done[:t, n].sum())
            )
        ]  # fmt: skip
        expected[t, n] = plain[t, n] - (np.mean(others) if others else 0.0)
    settings = {"form": "reward_to_go", "gamma": 0.9, "normalize": "timestep", "baseline": baseline}
    got = gradient_of(batch, policy, **settings)
    assert relative_error(got, np.float64(weighted(batch, policy, expected))) < 1e-5
    assert relative_error(got, np.float64(weighted(batch, policy, plain))) > 0.1


def test_discounted_states_are_weighted_by_their_age():
    collector, policy = collector_of(scripted(3))
    collector.collect(policy.theta, horizon=3)
    batch = collector.collect(policy.theta, horizon=9)  # in the middle of episodes
    ages = batch.obs[..., 2]  # the observation says it
    assert batch.first_age.any()
    assert (ages_of(batch) == ages)[counts(batch)].all()
    discounted = to_go(batch, 0.5) * 0.5**ages
    settings = {"form": "reward_to_go", "gamma": 0.5, "normalize": "timestep", "discount_states": True}
    got = gradient_of(batch, policy, **settings)
    assert relative_error(got, np.float64(weighted(batch, policy, discounted))) < 1e-5


@pytest.mark.parametrize("rate", ["learning_rate", "value_learning_rate", None])
def test_an_iteration_that_fails_leaves_the_agent_as_it_was(rate):
    env, algorithm = scripted(3), fastpg.VPG(normalize_observations=True, value_epochs=2, value_minibatches=2)
    if rate is not None:
        algorithm = dataclasses.replace(algorithm, **{rate: 1e39})  # infinite in float32
    with opened("test", env, None) as wrapped:
        policy = fastpg.Policy(wrapped.observation_space, wrapped.action_space)
        value = fastpg.ValueFunction(wrapped.observation_space)
        settings = {"seed": 0, "total_steps": 9999, "target_return": None, "horizon": 8}
        agent = core_agent(algorithm, policy, value, **settings)
        trainer = GymnasiumTrainer(wrapped, agent, wants_final=True)
        before = agent.state()
        if rate is None:
            policy.theta[0] = np.nan
        with pytest.raises(FloatingPointError, match="iteration 0"):
            trainer.run(0.0, 1)
        policy.theta[0] = before["policy.theta"][0]
        after = agent.state()
        assert before.keys() == after.keys()
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)
        assert agent.num_iterations == 0


# ---- collect, and others in between ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("other", ["evaluate", "train", "estimate_gradient", "another wrapper"])
def test_collect_begins_anew_after_others_have_used_the_environment(mode, other):
    """The reward of a step of Scripted is what the observation before it says."""
    env, policy = scripted(4, mode), fastpg.Policy(Box(-100, 100, (3,)), Discrete(3), hidden=())
    policy.theta[:] = 0.0
    wrapper = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
    batches = []
    for _ in range(3):
        batches.append(fastpg.collect(env, policy, 12))
        if other == "evaluate":
            fastpg.evaluate(env, policy, episodes=5)
        elif other == "train":
            fastpg.train(env, horizon=7, total_steps=28)
        elif other == "estimate_gradient":
            fastpg.estimate_gradient(env, policy, horizon=7)
        else:
            fastpg.collect(wrapper, policy, 7)
    for batch in batches:
        assert (batch.obs[0, :, 2] == 0).all()
        counts = np.ones(batch.rewards.shape, bool) if batch.mask is None else batch.mask
        said = batch.obs[..., 1] + batch.obs[..., 2] / 8
        np.testing.assert_array_equal(batch.rewards[counts], said[counts])
    assert (batches[1].actions != batches[0].actions).any()  # the random numbers go on
    assert (batches[2].actions != batches[1].actions).any()


# ---- evaluation ------------------------------------------------------------------------------------------


def evaluated(env, **options):
    return fastpg.evaluate(env, fastpg.Policy.for_env(env), **options)


@pytest.mark.parametrize("mode", MODES)
def test_evaluation_plays_the_quota_of_every_environment(mode):
    returns, lengths = evaluated(scripted(4, mode), episodes=10, max_steps=None)
    for entry in range(10):
        k, n = divmod(entry, 4)  # episode k of environment n
        assert lengths[entry] == (n % 5 + k) % 5 + 1
        assert returns[entry] == sum(k + age / 8 for age in range(lengths[entry]))


@pytest.mark.parametrize("mode", MODES)
def test_evaluation_ends_episodes_at_max_steps(mode):
    returns, lengths = evaluated(scripted(4, mode), episodes=10, max_steps=3)
    assert set(lengths) == {1, 2, 3}
    # One episode of the environment each: the same number k in every reward k + t / 8.
    k = (returns - [sum(range(length)) / 8 for length in lengths]) / lengths
    assert (k == np.floor(k)).all()
    assert all(len(set(k[n::4])) == len(k[n::4]) for n in range(4))  # and never the same one twice
