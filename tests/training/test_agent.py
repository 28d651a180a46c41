"""fastpg.Agent: updates replayed by the oracle and by train, states, and what is refused."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import _core
from tests.support.agents import (
    ALGORITHMS,
    OBS_SIZE,
    TOTAL_STEPS,
    VALUE_ALGORITHMS,
    WHOLES,
    agent_of,
    as_bytes,
    check_updates,
    critic_of,
    networks,
    random_batch,
)
from tests.support.gymnasium_envs import MODES, scripted, vector_of
from tests.support.heads import BOTH, SQUASHED, STATE_STD
from tests.support.jit_envs import Bits, Cart, CartPole, Grid

HEADS = [Discrete(5), MultiDiscrete([3, 2]), MultiBinary(3), Box(-1, 1, (2,)), SQUASHED, STATE_STD, BOTH]
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)


def some(*names):
    """These algorithms alone."""
    every = ALGORITHMS | WHOLES
    return pytest.mark.parametrize("algorithm", [every[name] for name in names], ids=names)


def networks_for(env):
    like = fastpg.Policy.for_env(env)
    policy, _, *oracles = networks(like.action_space, like.network.num_inputs)
    return policy, fastpg.ValueFunction(policy.observation_space, hidden=(5,), seed=2), oracles


# ---- the oracle --------------------------------------------------------------------------------------------


@every_algorithm
@pytest.mark.parametrize("num_envs", [1, 3, 17, 70])
@pytest.mark.parametrize("steps", [1, 5, 33])
def test_updates_with_arrays_of_ones_own_are_the_oracles(algorithm, num_envs, steps):
    policy, value, *oracles = networks(Discrete(5))
    batches = [random_batch(policy, steps, num_envs, seed, masked=seed > 0) for seed in range(2)]
    check_updates(algorithm, policy, value, oracles, batches)


@some(
    "total, timestep mean",
    "gae",
    "normalised",
    "ppo",
    "ppo, clipped",
    "ppo, normalised",
    "npg",
    "trpo",
    "trpo, far",
)
@pytest.mark.parametrize("space", HEADS, ids=str)
def test_updates_of_every_head_are_the_oracles(isa, algorithm, space):
    policy, value, *oracles = networks(space)
    batches = [random_batch(policy, 33, 17, seed) for seed in range(2)]
    check_updates(algorithm, policy, value, oracles, batches)


@every_algorithm
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", Cart, Grid, Bits], ids=str)
def test_updates_with_what_was_collected_are_the_oracles(algorithm, env):
    policy, value, oracles = networks_for(env)
    batch = fastpg.collect(env, policy, 33, num_envs=17, seed=5)
    check_updates(algorithm, policy, value, oracles, [batch])


@some("to go, batch mean", "gae", "q", "a2c", "ppo", "ppo, again", "ppo, normalised", "trpo")
@pytest.mark.parametrize("env", ["CartPole-v1", CartPole], ids=["native", "jit"])
def test_updates_with_rows_of_short_episodes_are_the_oracles(algorithm, env):
    policy, value, oracles = networks_for(env)
    made = fastpg.make(env, num_envs=19, max_episode_steps=15)
    made.reset(seed=1)
    batch = fastpg.collect(made, policy, 33)
    assert batch.truncated.any()
    check_updates(algorithm, policy, value, oracles, [batch])


@some("to go, timestep mean", "gae", "normalised", "ppo", "ppo, again", "ppo, normalised", "npg", "trpo")
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_updates_with_what_python_stepped_are_the_oracles(algorithm, mode):
    env = vector_of([lambda: gymnasium.make("CartPole-v1", max_episode_steps=12)] * 5, mode)
    policy, value, oracles = networks_for("CartPole-v1")
    check_updates(algorithm, policy, value, oracles, [fastpg.collect(env, policy, 40)])
    env.close()


# ---- train and update --------------------------------------------------------------------------------------


def trained_and_updated(algorithm, env, horizon, num_envs, hidden=(9,)):
    """The networks after an iteration of train, and after an update with the same rows."""
    policy = fastpg.Policy.for_env(env, hidden=hidden, seed=1)
    value = fastpg.ValueFunction.for_env(env, hidden=(7,), seed=2)
    critic = critic_of(algorithm, value)
    run = fastpg.train(
        env, algorithm, policy=policy, value=critic, num_envs=num_envs, horizon=horizon, total_steps=1, seed=3
    )
    before = policy.theta.copy()
    agent = fastpg.Agent(algorithm, policy, critic, 3, total_steps=1)
    stats = agent.update(fastpg.collect(env, policy, horizon, seed=3, num_envs=num_envs))
    return run, agent, stats, before


@some(*VALUE_ALGORITHMS, *WHOLES)
@pytest.mark.parametrize(
    ("env", "num_envs"),
    [
        ("CartPole-v1", 21),
        ("CartPole-v1", 70),
        ("Pendulum-v1", 3),
        (CartPole, 3),
        (Cart, 21),
        (Grid, 1),
    ],
    ids=str,
)
def test_train_and_update_give_the_same_bits(algorithm, env, num_envs):
    check_same_bits(algorithm, env, num_envs)


@some("td", "q", "a2c", "ppo", "ppo, again", "trpo")
def test_train_and_update_give_the_same_bits_on_tables(algorithm):
    check_same_bits(algorithm, "FrozenLake-v1", 70)


def check_same_bits(algorithm, env, num_envs):
    run, agent, stats, _ = trained_and_updated(algorithm, env, 33, num_envs)
    assert (run.policy.theta == agent.policy.theta).all()
    assert (run.value.theta == agent.value.theta).all()
    for name in ("num_steps", "num_trajectories", "gradient_norm", "value_loss", "explained_variance"):
        np.testing.assert_array_equal(run.history[name][0], stats[name], err_msg=name)


@pytest.mark.parametrize("form", ["total", "reward_to_go"])
@pytest.mark.parametrize("baseline", [None, "batch_mean", "timestep_mean"])
@pytest.mark.parametrize("hidden", [(), (9,)], ids=str)
@pytest.mark.parametrize(("env", "num_envs"), [("CartPole-v1", 70), ("Pendulum-v1", 3), (Cart, 21)], ids=str)
def test_reinforces_fused_pass_takes_the_step_of_update(form, baseline, hidden, env, num_envs):
    algorithm = fastpg.Reinforce(form=form, baseline=baseline, optimizer="sgd", learning_rate=0.1)
    run, agent, _, before = trained_and_updated(algorithm, env, 33, num_envs, hidden)
    steps = run.policy.theta - before, agent.policy.theta - before
    rounding = 1e-7 * np.linalg.norm(before)  # of parameters, in float32
    assert np.linalg.norm(steps[0] - steps[1]) <= 1e-5 * np.linalg.norm(steps[1]) + rounding


@some("to go, timestep mean", "momentum", *VALUE_ALGORITHMS, *WHOLES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_train_and_updates_give_the_same_bits_with_gymnasium(algorithm, mode):
    policy = fastpg.Policy.for_env(scripted(5, mode), hidden=(9,), seed=1)
    value = fastpg.ValueFunction.for_env(scripted(5, mode), hidden=(7,), seed=2)
    critic = critic_of(algorithm, value)
    run = fastpg.train(
        scripted(5, mode), algorithm, policy=policy, value=critic, horizon=11, total_steps=180, seed=3
    )
    agent = fastpg.Agent(algorithm, policy, critic, 3, total_steps=180)
    env = scripted(5, mode)
    while agent.num_iterations < len(run.history["num_steps"]):
        seed = None if agent.num_iterations else 3
        agent.update(fastpg.collect(env, policy, 11, seed=seed))
    assert agent.num_iterations >= 4
    assert agent.num_steps == run.num_steps
    assert (run.policy.theta == policy.theta).all()
    assert critic is None or (run.value.theta == value.theta).all()


@some(*ALGORITHMS, *WHOLES)
@pytest.mark.parametrize("num_envs", [1, 130])
def test_the_number_of_threads_changes_no_bit_of_an_update(algorithm, num_envs, threads):
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        policy, value, *_ = networks(Discrete(5))
        agent = agent_of(algorithm, policy, value)
        for seed in range(2):
            agent.update(random_batch(policy, 1300 // num_envs, num_envs, seed))
        results.append(as_bytes(agent.state()))
    assert all(one == results[0] for one in results)


@some("to go, timestep mean", *WHOLES)
@pytest.mark.parametrize(
    ("env", "num_envs"),
    [("CartPole-v1", 130), ("Pendulum-v1", 3), (Grid, 70), ("gym:CartPole-v1", 5)],
    ids=["native", "native, few", "jit", "gymnasium"],
)
def test_the_number_of_threads_changes_no_bit_of_training(algorithm, env, num_envs, threads):
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        settings = {"num_envs": num_envs, "horizon": 33, "total_steps": 70 * num_envs, "hidden": (9,)}
        run = fastpg.train(env, algorithm, seed=3, **settings)
        value = b"" if run.value is None else run.value.theta.tobytes()
        columns = [column.tobytes() for name, column in run.history.items() if name != "seconds"]
        results.append((run.policy.theta.tobytes(), value, *columns))
    assert all(one == results[0] for one in results)


# ---- states ------------------------------------------------------------------------------------------------


@some(*ALGORITHMS, *WHOLES)
def test_going_on_from_a_state_is_going_on(algorithm):
    policy, value, *_ = networks(Discrete(5))
    agent = agent_of(algorithm, policy, value)
    batches = [random_batch(policy, 20, 17, seed) for seed in range(5)]
    for batch in batches[:2]:
        agent.update(batch)
    other, critic, *_ = networks(Discrete(5))
    other.theta[:] = 0.0
    again = fastpg.Agent.from_state(
        agent.state(), algorithm, other, critic_of(algorithm, critic), 3, total_steps=TOTAL_STEPS
    )
    assert (again.num_iterations, again.num_steps) == (agent.num_iterations, agent.num_steps)
    for batch in batches[2:]:
        assert (other.theta == policy.theta).all()
        first, second = agent.update(batch), again.update(batch)
        first.pop("seconds"), second.pop("seconds")
        np.testing.assert_equal(first, second)
    assert as_bytes(agent.state()) == as_bytes(again.state())
    assert again.num_iterations == 5


@some(*WHOLES)
def test_going_on_from_a_state_is_going_on_with_other_numbers_of_environments_too(algorithm):
    agents = [agent_of(algorithm, *networks(Discrete(5))[:2]) for _ in range(2)]
    first = agents[0]
    for num_envs in (1, 17, 70, 3):
        again = fastpg.Agent.from_state(
            first.state(), algorithm, *networks(Discrete(5))[:2], 3, total_steps=TOTAL_STEPS
        )
        batch = random_batch(first.policy, 12, num_envs, num_envs)
        for one in (*agents, again):
            one.update(batch)
        assert as_bytes(first.state()) == as_bytes(agents[1].state()) == as_bytes(again.state())


@some(*WHOLES)
def test_a_state_is_a_copy(algorithm):
    policy, value, *_ = networks(Discrete(5))
    agent = agent_of(algorithm, policy, value)
    before = agent.state()
    kept = as_bytes(before)
    agent.update(random_batch(policy, 5, 3))
    assert as_bytes(before) == kept
    for array in before.values():
        array[...] = 0
    assert policy.theta.any()


BAD_STATES = {
    "policy.m": [np.zeros(3, np.float32), None, np.nan],
    "policy.theta": [np.nan],
    "value.v": [np.inf, None],
    "normalizer.statistics": [np.zeros(3), np.nan],
    "num_iterations": [np.array([-5]), np.array([1.0]), np.zeros(2, np.int64), [3]],
    "total_steps": [np.array([-1])],
    "normalizer.count": [np.array([-1])],
    "policy.beta1_power": [np.array([0.5], np.float32), np.array([np.nan])],
    "mean_length": [np.array([0.0]), np.array([-3.0]), np.array([np.inf])],
    "recent_episodes": [np.full(128, -1)],
    "spare": [np.zeros(1)],
    "rewards.so_far": [np.nan, np.zeros(3, np.float32), np.zeros((3, 1)), None],
    "rewards.count": [np.array([-1]), np.array([2.0])],
    "rewards.statistics": [np.zeros(3), np.inf],
    "rate_factor": [np.array([0.0]), np.array([-1.0]), np.array([np.nan]), np.zeros(2), None],
}


@pytest.mark.parametrize(
    ("name", "array"),
    [(name, one) for name, wrong in BAD_STATES.items() for one in wrong],
    ids=lambda one: str(one)[:20],
)
def test_a_state_that_cannot_be_is_refused_and_nothing_changed(name, array):
    algorithm = WHOLES["ppo, whole"]
    policy, value, *_ = networks(Discrete(5))
    agent = agent_of(algorithm, policy, value)
    agent.update(random_batch(policy, 5, 3))
    state = agent.state()
    if array is None:
        del state[name]
    elif isinstance(array, float):
        state[name][0] = array
    else:
        state[name] = array
    other, critic, *_ = networks(Discrete(5))
    before = other.theta.copy(), critic.theta.copy()
    with pytest.raises((TypeError, ValueError), match=rf"^Agent\.from_state\(\): .*{name}"):
        fastpg.Agent.from_state(state, algorithm, other, critic, total_steps=TOTAL_STEPS)
    assert (other.theta == before[0]).all() and (critic.theta == before[1]).all()


def test_a_state_of_another_agent_is_refused():
    policy, value, *_ = networks(Discrete(5))
    state = agent_of(fastpg.VPG(), policy, value).state()
    with pytest.raises(ValueError, match="entries that this agent lacks: value"):
        fastpg.Agent.from_state(state, fastpg.Reinforce(), policy)
    for wrong in ([], 3):
        with pytest.raises(TypeError, match=r"^Agent\.from_state\(\): state must be a dict"):
            fastpg.Agent.from_state(wrong, fastpg.Reinforce(), policy)
    with pytest.raises(ValueError, match=r"^Agent\.from_state\(\): .*linear_schedule needs total_steps"):
        fastpg.Agent.from_state(state, fastpg.VPG(linear_schedule=True), policy)


# ---- what cannot be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "changed", "error", "words"),
    [
        ("VPG", {}, TypeError, "algorithm must be a fastpg.Reinforce"),
        (fastpg.VPG(), {"policy": None}, TypeError, "policy must be a fastpg.Policy"),
        (fastpg.VPG(), {"value": 3}, TypeError, "value must be a fastpg.ValueFunction"),
        (
            fastpg.Reinforce(),
            {"value": fastpg.ValueFunction(Box(-1, 1, (OBS_SIZE,)))},
            ValueError,
            "Reinforce has no value function",
        ),
        (fastpg.VPG(), {"value": fastpg.ValueFunction(Box(-1, 1, (9,)))}, ValueError, "value reads"),
        (fastpg.VPG(), {"seed": -1}, ValueError, "seed must be"),
        (fastpg.VPG(linear_schedule=True), {}, ValueError, "needs total_steps"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_agent_that_cannot_be_is_refused_in_a_sentence(algorithm, changed, error, words):
    policy, *_ = networks(Discrete(5))
    with pytest.raises(error, match=rf"^Agent\(\): [^\n]*{words}[^\n]*$"):
        fastpg.Agent(**{"algorithm": algorithm, "policy": policy} | changed)


def changed(batch, **arrays):
    values = {name: getattr(batch, name) for name in ("obs", "actions", "rewards", "terminated", "truncated")}
    values |= {name: getattr(batch, name) for name in ("last_obs", "final_obs", "mask")}
    return fastpg.Batch.from_arrays(**values | arrays)


def test_an_update_says_what_does_not_fit_and_changes_nothing():
    policy, value, *_ = networks(Discrete(5))
    agent = agent_of(fastpg.VPG(), policy, value)
    good = random_batch(policy, 5, 3)
    before = as_bytes(agent.state())
    far = good.obs.copy()
    far[-1, -1, 0] = np.nan
    unreal = {"mask": None}
    for batch, words in [
        (None, "batch must be a fastpg.Batch"),
        (good.obs, "batch must be a fastpg.Batch"),
        (changed(good, obs=good.obs[:, :2]), "obs"),
        (changed(good, obs=good.obs[..., :3]), "obs must"),
        (changed(good, obs=far, **unreal, final_obs=np.zeros((15, 4), np.float32)), "obs"),
        (changed(good, actions=good.actions[:, :2]), "actions"),
        (changed(good, actions=good.actions + 5), r"actions must lie in 0\.\.4"),
        (changed(good, actions=good.actions.astype(float)), "actions"),
        (changed(good, last_obs=None), "batch has no last_obs"),
        (changed(good, last_obs=good.last_obs[:2]), "last_obs"),
        (changed(good, final_obs=None), "batch has no final_obs, but truncated is True at row"),
        (changed(good, final_obs=good.final_obs[:-1]), "final_obs"),
        (changed(good, final_obs=good.final_obs[:0]), "final_obs of the batch must hold at least one"),
        (changed(good, final_obs=good.final_obs[:, :3]), "final_obs of the batch must have shape"),
        (changed(good, last_obs=good.last_obs[:, :3]), "last_obs of the batch must have shape"),
        (changed(good, mask=np.zeros((5, 3), bool)), "batch has no transition.*mask"),
    ]:
        with pytest.raises(
            (TypeError, ValueError, FloatingPointError), match=rf"^Agent\.update\(\): [^\n]*{words}[^\n]*$"
        ):
            agent.update(batch)
        assert as_bytes(agent.state()) == before


def test_reinforce_needs_nothing_of_what_follows_a_cut():
    policy, *_ = networks(Discrete(5))
    good = random_batch(policy, 5, 3)
    ends = []
    for batch in (good, changed(good, last_obs=None, final_obs=None)):
        policy, *_ = networks(Discrete(5))
        agent = agent_of(fastpg.Reinforce(), policy, None)
        agent.update(batch)
        ends.append(as_bytes(agent.state()))
    assert ends[0] == ends[1]


def test_a_batch_of_arrays_says_what_is_wrong_with_them():
    policy, *_ = networks(Discrete(5))
    good = random_batch(policy, 5, 3)
    infinite = good.rewards.copy()
    infinite[2, 1] = np.inf
    for name, array in [
        ("terminated", good.terminated.astype(int)),
        ("terminated must be bools", good.terminated[0]),
        ("terminated", np.zeros((0, 3), bool)),
        (r"truncated must be bools of shape \(5, 3\) like terminated", good.truncated[:, :2]),
        ("truncated", None),
        ("mask", good.mask[:4]),
        ("mask", good.mask.astype(np.uint8)),
        ("rewards must be", good.rewards.astype(int)),
        ("rewards", good.rewards[1:]),
        ("rewards", infinite),
        ("rewards must be", good.terminated),
        ("rewards", None),
        ("log_probs", good.rewards[:, :1]),
    ]:
        with pytest.raises((TypeError, ValueError), match=rf"^Batch\.from_arrays\(\): {name}"):
            changed(good, **{name.split()[0]: array})


def test_bools_of_any_byte_are_true_or_false():
    policy, *_ = networks(Discrete(5))
    rows = random_batch(policy, 4, 3, masked=False)
    no = np.zeros((4, 3), bool)
    expected, got = (
        fastpg.Batch.from_arrays(rows.obs, rows.actions, rows.rewards, ends, no, mask=mask)
        for ends, mask in (
            (~no, ~no),
            (np.full((4, 3), 2, np.uint8).view(bool), np.full((4, 3), 255, np.uint8).view(bool)),
        )
    )
    assert (got.mask.view(np.uint8) == 1).all()
    np.testing.assert_array_equal(got.ends, expected.ends)
    stats = [fastpg.Agent(fastpg.Reinforce(), policy.copy()).update(batch) for batch in (expected, got)]
    assert stats[0]["num_trajectories"] == stats[1]["num_trajectories"] == 12
    # The core reads bytes as well, whoever makes its batch.
    bytes_of = {"terminated": np.full((4, 3), 2, np.uint8), "truncated": np.full((4, 3), 4, np.uint8)}
    batch = _core.Batch(
        policy.network,
        obs=rows.obs,
        actions=rows.actions.reshape(-1),
        rewards=rows.rewards,
        last_obs=rows.last_obs,
        mask=np.full((4, 3), 7, np.uint8),
        **bytes_of,
    )
    for baseline in ("none", "batch_mean", "timestep_mean"):
        gradients = [np.empty_like(policy.theta) for _ in range(2)]
        settings = {"form": "reward_to_go", "normalize": "trajectory", "baseline": baseline}
        for out, one in zip(gradients, (batch, expected.rows("test", policy, with_cuts=False)), strict=True):
            known = _core.batch_gradient(policy.network, policy.theta, one, out=out, **settings)
            assert known["num_steps"] == known["num_trajectories"] == 12
        np.testing.assert_array_equal(*gradients)
