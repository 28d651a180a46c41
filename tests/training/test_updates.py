"""Updates of every source, size and head; failures of every stage; states that cannot be."""

import math
import signal

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import _core, reference
from fastpg.envs.native.registry import native_env
from fastpg.training.agent import core_agent
from tests.support.gymnasium_envs import MODES, scripted
from tests.support.heads import make
from tests.support.jit_envs import Bits, Cart, Grid

OBS_SIZE = 4
HEADS = [Discrete(5), MultiDiscrete([3, 2]), MultiBinary(3), Box(-1, 1, (2,))]
VALUE = {"epsilon": 1e-4, "value_epochs": 2}  # Adam's own epsilon would take the sign of what is all but 0
REINFORCE = [
    fastpg.Reinforce(form=form, baseline=baseline, epsilon=1e-4, entropy_coef=0.05)
    for form in ("total", "reward_to_go")
    for baseline in (None, "batch_mean", "timestep_mean")
]
ALGORITHMS = [
    *REINFORCE,
    fastpg.Reinforce(normalize="trajectory", optimizer="sgd", momentum=0.5),
    fastpg.VPG(**VALUE),
    fastpg.VPG(form="td", standardize_advantages=False, linear_schedule=True, **VALUE),
    fastpg.VPG(form="q", n_step=3, max_grad_norm=0.01, entropy_coef=0.05, **VALUE),
    fastpg.VPG(form="reward_to_go", value_minibatches=3, **VALUE),
    fastpg.VPG(normalize_observations=True, **VALUE),
    fastpg.A2C(epsilon=1e-4),
]
# Algorithms that have every entry of a state: moments, a normaliser, permutations, a schedule.
WHOLE = fastpg.VPG(
    normalize_observations=True, value_epochs=3, value_minibatches=3, linear_schedule=True, max_grad_norm=0.5
)
TOTAL_STEPS = 10_000
CLOSE = 2e-4  # of steps, as in test_vpg.py


def label(algorithm):
    extra = [
        name for name in ("baseline", "optimizer") if getattr(algorithm, name, None) not in (None, "adam")
    ]
    extra += [name for name in ("normalize_observations",) if getattr(algorithm, name, False)]
    return "-".join([type(algorithm).__name__, algorithm.form, *(str(getattr(algorithm, e)) for e in extra)])


def networks(space, num_inputs=OBS_SIZE):
    """A policy, a value function, and their oracles."""
    policy, oracle = make(space, (6,), num_inputs)
    value = fastpg.ValueFunction(policy.observation_space, hidden=(5,), seed=2)
    return policy, value, oracle, reference.Network(num_inputs, (5,), 1)


def critic_of(algorithm, value):
    return value if isinstance(algorithm, fastpg.VPG) else None


def agent_of(algorithm, policy, value, seed=3):
    return fastpg.Agent(algorithm, policy, critic_of(algorithm, value), seed, total_steps=TOTAL_STEPS)


def random_batch(policy, steps, num_envs, seed=0, *, masked=True, scale=1.0):
    """Arrays of a learner's own, with every flag there is, and the oracle's form of them."""
    rng = np.random.default_rng(seed)
    shape, size = (steps, num_envs), policy.network.num_inputs
    obs = rng.normal(1.0, 2.0, size=(steps + 1, num_envs, size)).astype(np.float32)
    if policy.network.head == "gaussian":
        actions = rng.normal(size=(*shape, *policy.action_space.shape)).astype(np.float32)
    else:
        categories = np.array(policy.network.action_categories)
        actions = rng.integers(categories, size=(*shape, len(categories))).reshape(
            *shape, *policy.action_space.shape
        )
    rewards = (scale * rng.normal(0.3, 1.0, size=shape)).astype(np.float32)
    terminated, truncated = rng.random(shape) < 0.15, rng.random(shape) < 0.2  # and now and then both
    mask = rng.random(shape) < 0.8
    mask[0, 0] = True
    counts = mask if masked else np.ones(shape, bool)
    after = rng.normal(size=(*shape, size)).astype(np.float32)
    done = (terminated | truncated) & counts
    batch = fastpg.Batch.from_arrays(
        obs[:-1], actions, rewards, terminated, truncated, last_obs=obs[-1], final_obs=after[done],
        mask=mask if masked else None,
    )  # fmt: skip
    return batch


def oracle_batch(batch):
    counts = np.ones(batch.rewards.shape, bool) if batch.mask is None else batch.mask
    next_obs = np.full(batch.obs.shape, np.nan)
    next_obs[batch.ends[:, 0], batch.ends[:, 1]] = batch.final_obs
    flags = batch.terminated, batch.truncated, counts
    return reference.Batch(batch.obs, batch.actions, batch.rewards, *flags, next_obs, batch.last_obs)


def check_updates(algorithm, policy, value, oracles, batches):
    """Updates with these batches are the oracle's: statistics, and steps of both networks."""
    agent = agent_of(algorithm, policy, value)
    options = reference.Options(**algorithm.core_settings(), total_steps=TOTAL_STEPS)
    critic = critic_of(algorithm, value)
    known = reference.new_agent(
        reference.new_model(oracles[0], policy.theta),
        None if critic is None else reference.new_model(oracles[1], value.theta),
        seed=3,
    )
    close = 20 * CLOSE if options.normalize_observations else CLOSE
    for batch in batches:
        # Every update begins with the same parameters, to the bit.
        known = known._replace(policy=known.policy._replace(theta=np.float64(policy.theta)))
        if critic is not None:
            known = known._replace(value=known.value._replace(theta=np.float64(value.theta)))
        before = known
        got = agent.update(batch)
        known, expected = reference.update(known, oracle_batch(batch), options)
        for name, number in expected._asdict().items():
            np.testing.assert_allclose(got[name], number, rtol=1e-3, atol=1e-5, err_msg=name)
        for network, model, old in (
            (policy, known.policy, before.policy),
            (value, known.value, before.value),
        ):
            if model is not None:
                step, wanted = network.theta - old.theta, model.theta - old.theta
                assert np.linalg.norm(step - wanted) <= close * np.linalg.norm(wanted) + 1e-6
    assert (agent.num_iterations, agent.num_steps) == (known.iteration, known.num_steps)


def as_bytes(state):
    return {name: array.tobytes() for name, array in state.items()}


# ---- the oracle --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=label)
@pytest.mark.parametrize("num_envs", [1, 3, 17, 70])
@pytest.mark.parametrize("steps", [1, 5, 33])
def test_updates_with_arrays_of_ones_own_are_the_oracles(algorithm, num_envs, steps):
    policy, value, *oracles = networks(Discrete(5))
    batches = [random_batch(policy, steps, num_envs, seed, masked=seed > 0) for seed in range(2)]
    check_updates(algorithm, policy, value, oracles, batches)


@pytest.mark.parametrize("algorithm", [ALGORITHMS[2], ALGORITHMS[7], ALGORITHMS[11]], ids=label)
@pytest.mark.parametrize("space", HEADS, ids=str)
def test_updates_of_every_head_are_the_oracles(isa, algorithm, space):
    policy, value, *oracles = networks(space)
    batches = [random_batch(policy, 33, 17, seed) for seed in range(2)]
    check_updates(algorithm, policy, value, oracles, batches)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=label)
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", Cart, Grid, Bits], ids=str)
def test_updates_with_what_was_collected_are_the_oracles(algorithm, env):
    like = fastpg.Policy.for_env(env)
    policy, value, *oracles = networks(like.action_space, like.network.num_inputs)
    value = fastpg.ValueFunction(policy.observation_space, hidden=(5,), seed=2)
    batch = fastpg.collect(env, policy, 33, num_envs=17, seed=5)
    check_updates(algorithm, policy, value, oracles, [batch])


# ---- train and update --------------------------------------------------------------------------------------

VALUE_ALGORITHMS = [one for one in ALGORITHMS if isinstance(one, fastpg.VPG)] + [WHOLE]


def trained_and_updated(algorithm, env, horizon, num_envs):
    """The networks after an iteration of train, and after an update with the same rows."""
    policy = fastpg.Policy.for_env(env, hidden=(9,), seed=1)
    value = fastpg.ValueFunction.for_env(env, hidden=(7,), seed=2)
    critic = critic_of(algorithm, value)
    run = fastpg.train(
        env, algorithm, policy=policy, value=critic, num_envs=num_envs, horizon=horizon, total_steps=1, seed=3
    )
    before = policy.theta.copy()
    agent = fastpg.Agent(algorithm, policy, critic, 3, total_steps=1)
    stats = agent.update(fastpg.collect(env, policy, horizon, seed=3, num_envs=num_envs))
    return run, agent, stats, before


@pytest.mark.parametrize("algorithm", VALUE_ALGORITHMS, ids=label)
@pytest.mark.parametrize(
    ("env", "num_envs"),
    [("CartPole-v1", 21), ("CartPole-v1", 70), ("Pendulum-v1", 3), (Cart, 21), (Grid, 1)],
    ids=str,
)
def test_train_and_update_give_the_same_bits(algorithm, env, num_envs):
    run, agent, stats, _ = trained_and_updated(algorithm, env, 33, num_envs)
    assert (run.policy.theta == agent.policy.theta).all()
    assert (run.value.theta == agent.value.theta).all()
    for name in ("num_steps", "num_trajectories", "gradient_norm", "value_loss", "explained_variance"):
        np.testing.assert_array_equal(run.history[name][0], stats[name], err_msg=name)


@pytest.mark.parametrize("form", ["total", "reward_to_go"])
@pytest.mark.parametrize("baseline", [None, "batch_mean", "timestep_mean"])
@pytest.mark.parametrize(("env", "num_envs"), [("CartPole-v1", 70), ("Pendulum-v1", 3), (Cart, 21)], ids=str)
def test_reinforces_fused_pass_takes_the_step_of_update(form, baseline, env, num_envs):
    algorithm = fastpg.Reinforce(form=form, baseline=baseline, optimizer="sgd", learning_rate=0.1)
    run, agent, _, before = trained_and_updated(algorithm, env, 33, num_envs)
    steps = run.policy.theta - before, agent.policy.theta - before
    rounding = 1e-7 * np.linalg.norm(before)  # of parameters, in float32
    assert np.linalg.norm(steps[0] - steps[1]) <= 1e-5 * np.linalg.norm(steps[1]) + rounding


@pytest.mark.parametrize("algorithm", [REINFORCE[5], ALGORITHMS[6], *VALUE_ALGORITHMS], ids=label)
@pytest.mark.parametrize("mode", MODES)
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


# ---- failures ----------------------------------------------------------------------------------------------


def spoilt(policy, how):
    """A batch whose update fails: where, its name says."""
    batch = random_batch(policy, 33, 17, 9, scale=1e25 if how in ("policy step", "value fit") else 1.0)
    if how == "action":
        batch.actions[-1, -1] = 99
        batch.mask[-1, -1] = True
    return batch


@pytest.mark.parametrize("how", ["policy step", "value fit", "action", "parameters", "values"])
def test_an_update_that_fails_has_not_happened(how):
    algorithm = fastpg.VPG(
        normalize_observations=True, value_epochs=3, value_minibatches=3, linear_schedule=True,
        standardize_advantages=how != "policy step",
    )  # fmt: skip
    ends = []
    for fails in (False, True):
        policy, value, *_ = networks(Discrete(5))
        agent = agent_of(algorithm, policy, value)
        for seed in range(4):
            if fails:
                before = as_bytes(agent.state())
                theta = {"parameters": policy.theta, "values": value.theta}.get(how, np.zeros(2, np.float32))
                kept = theta[1]
                if how in ("parameters", "values"):
                    theta[1] = np.nan
                bad = spoilt(policy, how)
                with pytest.raises((FloatingPointError, ValueError), match=r"Agent\.update\(\)"):
                    agent.update(bad)
                theta[1] = kept
                assert as_bytes(agent.state()) == before
            agent.update(random_batch(policy, 33, 17, seed))
        ends.append(as_bytes(agent.state()))
    assert ends[0] == ends[1]


def interrupted(call, seconds):
    """Make a call with a signal on its way; return whether it arrived."""
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    finally:
        signal.signal(signal.SIGALRM, previous)
    return False


MOMENTS = np.linspace(0.0003, 0.05, 12)


# Fails where it is told to: in the middle of an episode, when the force is absurd.
@fastpg.jit_env(
    observation_space=Box(-np.inf, np.inf, (1,)),
    action_space=Box(-1e4, 1e4, (1,)),
    state_size=2,
    noise_size=1,
    max_episode_steps=20,
)
class Fragile:
    def reset(state, noise):
        state[0] = noise[0]
        state[1] = 0.0

    def step(state, action, noise):
        state[1] += 1.0
        state[0] = 0.9 * state[0] + 0.1 * noise[0]
        if action[0] > 500.0 and state[1] > 5.0:
            return math.inf, False
        return state[0], noise[0] < 0.05

    def observe(state, obs):
        obs[0] = state[0]


def native_trainer(algorithm, collection, env=Fragile, num_envs=21):
    native = native_env("test", env, {}).core
    policy = fastpg.Policy.for_env(env, hidden=(6,), seed=1)
    value = fastpg.ValueFunction.for_env(env, hidden=(5,), seed=2)
    settings = {"horizon": 0, "episodes": 0, "steps_per_iteration": 0, **collection}
    agent = core_agent(
        algorithm,
        policy,
        critic_of(algorithm, value),
        seed=3,
        total_steps=10**9,
        target_return=None,
        **settings,
    )
    return _core.Trainer(native, agent, num_envs=num_envs), policy, value


COLLECTIONS = [{"horizon": 13}, {"episodes": 30}, {"steps_per_iteration": 300}]


@pytest.mark.parametrize("algorithm", [REINFORCE[5], WHOLE], ids=label)
@pytest.mark.parametrize("collection", COLLECTIONS, ids=str)
@pytest.mark.parametrize("stage", ["environment", "policy", "value"])
def test_an_iteration_of_training_that_fails_has_not_happened(algorithm, collection, stage):
    if stage == "value" and isinstance(algorithm, fastpg.Reinforce):
        pytest.skip("has no value function")
    ends = []
    for fails in (False, True):
        trainer, policy, value = native_trainer(algorithm, collection)
        for _ in range(4):
            if fails:
                before = as_bytes(trainer.agent.state())
                theta = value.theta if stage == "value" else policy.theta
                kept = theta.copy()
                if stage == "environment":
                    [*(view for name, view in policy.parameters().items() if name.endswith("bias"))][-1][
                        :
                    ] = 1e3
                else:
                    theta[0] = np.nan
                with pytest.raises((FloatingPointError, fastpg.EnvError, fastpg.EnvNotFinite)):
                    trainer.run(0.0, 1)
                theta[:] = kept
                assert as_bytes(trainer.agent.state()) == before
            trainer.run(0.0, 1)
        ends.append(as_bytes(trainer.agent.state()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("collection", [{"horizon": 200}, {"episodes": 600}], ids=str)
@pytest.mark.parametrize("kind", ["reinforce", "vpg"])
def test_training_that_is_interrupted_goes_on_as_if_it_was_not(collection, kind):
    algorithm = (
        REINFORCE[5] if kind == "reinforce" else fastpg.VPG(normalize_observations=True, value_epochs=5)
    )
    ends, hits = [], 0
    for interrupts in (False, True):
        trainer, *_ = native_trainer(algorithm, collection, "CartPole-v1", num_envs=256)
        moments = iter(MOMENTS)
        while trainer.agent.num_iterations < 6:
            if interrupts and (seconds := next(moments, None)) is not None:
                hits += interrupted(lambda trainer=trainer: trainer.run(0.0, 1), seconds)
            else:
                trainer.run(0.0, 1)
        ends.append(as_bytes(trainer.agent.state()))
    assert hits
    assert ends[0] == ends[1]


# ---- states ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, WHOLE], ids=label)
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


def test_a_state_is_a_copy():
    policy, value, *_ = networks(Discrete(5))
    agent = agent_of(WHOLE, policy, value)
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
    "value.v": [np.inf],
    "normalizer.statistics": [np.zeros(3), np.nan],
    "num_iterations": [np.array([-5]), np.array([1.0]), np.zeros(2, np.int64), [3]],
    "total_steps": [np.array([-1])],
    "normalizer.count": [np.array([-1])],
    "policy.beta1_power": [np.array([0.5], np.float32), np.array([np.nan])],
    "mean_length": [np.array([0.0]), np.array([-3.0]), np.array([np.inf])],
    "recent_episodes": [np.full(128, -1)],
}


@pytest.mark.parametrize(
    ("name", "array"),
    [(name, one) for name, wrong in BAD_STATES.items() for one in wrong],
    ids=lambda one: str(one)[:20],
)
def test_a_state_that_cannot_be_is_refused_and_nothing_changed(name, array):
    policy, value, *_ = networks(Discrete(5))
    agent = agent_of(WHOLE, policy, value)
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
        fastpg.Agent.from_state(state, WHOLE, other, critic, total_steps=TOTAL_STEPS)
    assert (other.theta == before[0]).all() and (critic.theta == before[1]).all()


def test_a_state_of_another_agent_is_refused():
    policy, value, *_ = networks(Discrete(5))
    state = agent_of(fastpg.VPG(), policy, value).state()
    with pytest.raises(ValueError, match="this agent lacks: value"):
        fastpg.Agent.from_state(state, fastpg.Reinforce(), policy)
    with pytest.raises(TypeError, match=r"^Agent\.from_state\(\): state must be a dict"):
        fastpg.Agent.from_state([], fastpg.Reinforce(), policy)
    with pytest.raises(ValueError, match=r"^Agent\.from_state\(\): .*linear_schedule needs total_steps"):
        fastpg.Agent.from_state(state, fastpg.VPG(linear_schedule=True), policy)


# ---- what cannot be ----------------------------------------------------------------------------------------


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
        (changed(good, obs=good.obs[..., :3]), "obs"),
        (changed(good, obs=far, **unreal, final_obs=np.zeros((15, 4), np.float32)), "obs"),
        (changed(good, actions=good.actions[:, :2]), "actions"),
        (changed(good, actions=good.actions + 5), "action"),
        (changed(good, actions=good.actions.astype(float)), "actions"),
        (changed(good, last_obs=None), "batch has no last_obs"),
        (changed(good, last_obs=good.last_obs[:2]), "last_obs"),
        (changed(good, final_obs=None), "batch has no final_obs, but truncated is True"),
        (changed(good, final_obs=good.final_obs[:-1]), "final_obs"),
        (changed(good, mask=np.zeros((5, 3), bool)), "mask"),
    ]:
        with pytest.raises(
            (TypeError, ValueError, FloatingPointError), match=rf"^Agent\.update\(\): .*{words}"
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
        ("terminated", good.terminated[0]),
        ("terminated", np.zeros((0, 3), bool)),
        ("truncated", good.truncated[:, :2]),
        ("truncated", None),
        ("mask", good.mask[:4]),
        ("mask", good.mask.astype(np.uint8)),
        ("rewards", good.rewards.astype(int)),
        ("rewards", good.rewards[1:]),
        ("rewards", infinite),
        ("rewards", None),
        ("log_probs", good.rewards[:, :1]),
    ]:
        with pytest.raises((TypeError, ValueError), match=rf"^Batch\.from_arrays\(\): {name}"):
            changed(good, **{name: array})
