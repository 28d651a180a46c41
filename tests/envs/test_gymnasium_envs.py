"""Environments that are not native: what trains, what is refused, what is closed."""

import functools
import os
import re
import signal
import subprocess
import sys
import threading

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, Sequence, Text, Tuple
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import DictInfoToList

import fastpg
from fastpg.envs.autoreset import NAMES_MODES, AutoresetMode
from tests import ROOT
from tests.support.gymnasium_envs import MODES, Scripted, Single, scripted, vector_of
from tests.support.refusals import refuse

SHORT = {"hidden": (8,), "total_steps": 300, "horizon": 16}
BOX = Box(-1, 1, (3,), np.float32)


def cartpole():
    return gymnasium.make("CartPole-v1")


def learns(env_id, **options):
    """Train until CartPole's mean return is 150, from about 22, and play it."""
    run = fastpg.train(env_id, fastpg.VPG(), target_return=150, total_steps=400_000, seed=1, **options)
    assert run.stopped_because == "target_return"
    returns, _ = fastpg.evaluate("CartPole-v1", run.policy, episodes=100)
    assert returns.mean() > 150
    return run


@pytest.mark.slow
def test_an_id_of_gymnasium_learns():
    run = learns("gym:CartPole-v1")
    assert run.policy.env_id == run.config["env_id"] == "gym:CartPole-v1"
    assert run.config["num_envs"] == 16


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_function_that_makes_environments_trains_as_the_id_does(mode):
    options = {"num_envs": 3, "vectorization_mode": mode, "total_steps": 2000, "seed": 1}
    by_id, run = (fastpg.train(env, fastpg.VPG(), **options) for env in ("gym:CartPole-v1", cartpole))
    assert run.policy.theta.tobytes() == by_id.policy.theta.tobytes()
    assert run.policy.env_id is None


@pytest.mark.slow
def test_a_function_that_makes_a_vector_environment_trains_as_the_id_does():
    options = {"total_steps": 2000, "seed": 1}
    by_id = fastpg.train("gym:CartPole-v1", fastpg.VPG(), num_envs=8, vectorization_mode="sync", **options)
    made = functools.partial(gymnasium.make_vec, "CartPole-v1", num_envs=8, vectorization_mode="sync")
    run = fastpg.train(made, fastpg.VPG(), **options)
    assert run.config["num_envs"] == 8
    assert run.policy.theta.tobytes() == by_id.policy.theta.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_vector_environment_learns_in_every_autoreset_mode(mode):
    env = fastpg.make("CartPole-v1", num_envs=8, autoreset=mode)
    learns(env)
    assert not env.closed
    env.step(env.action_space.sample()) if mode is not AutoresetMode.DISABLED else None


def test_an_envpool_learns():
    envpool = pytest.importorskip("envpool", reason="EnvPool is not installed: pip install envpool")
    learns(envpool.make("CartPole-v1", env_type="gymnasium", num_envs=8, seed=0))


@pytest.mark.parametrize(
    ("env_id", "size", "head"),
    [
        ("LunarLander-v3", 8, "categorical"),
        ("LunarLanderContinuous-v3", 8, "gaussian"),
        ("HalfCheetah-v5", 17, "gaussian"),
        pytest.param("Pong-v5", 4 * 84 * 84, "categorical", marks=pytest.mark.slow),
    ],
)
def test_envpools_of_box2d_mujoco_and_atari_train_and_are_collected(env_id, size, head):
    envpool = pytest.importorskip("envpool", reason="EnvPool is not installed: pip install envpool")
    env = envpool.make(env_id, env_type="gymnasium", num_envs=4, seed=0)
    policy = fastpg.Policy.for_env(env, hidden=(8,))
    assert policy.actions.head == head
    assert fastpg.collect(env, policy, horizon=8).obs.shape == (8, 4, size)
    run = fastpg.train(env, fastpg.PPO(epochs=1, minibatches=2, value_hidden=(8,)), **SHORT)
    assert run.num_steps >= 300
    returns, _ = fastpg.evaluate(env, run.policy, episodes=4, max_steps=20)
    assert np.isfinite(returns).all()
    env.close()


def test_the_same_seed_gives_the_same_run():
    runs = [fastpg.train("gym:CartPole-v1", total_steps=3000, seed=seed) for seed in (3, 3, 4)]
    assert (runs[0].policy.theta == runs[1].policy.theta).all()
    assert (runs[0].history["mean_return"] == runs[1].history["mean_return"]).all()
    assert (runs[0].policy.theta != runs[2].policy.theta).any()


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point"])
def test_every_way_to_step_an_id_trains(mode):
    run = fastpg.train("gym:CartPole-v1", num_envs=3, vectorization_mode=mode, **SHORT)
    assert run.config["vectorization_mode"] == mode
    assert run.num_steps >= 300


def called_with(options, name):
    """Call a function that plays CartPole; return the mean length of its episodes."""
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    if name == "train":
        how = {key: options[key] for key in options.keys() & {"vectorization_mode", "reset_options"}}
        params = {key: options[key] for key in options.keys() - how.keys()}
        run = fastpg.train(
            "gym:CartPole-v1", policy=policy, horizon=16, total_steps=200, env_params=params, **how
        )
        return np.nanmean(run.history["mean_length"])
    if name == "evaluate":
        return fastpg.evaluate("gym:CartPole-v1", policy, episodes=8, **options)[1].mean()
    if name == "estimate_gradient":
        return fastpg.estimate_gradient("gym:CartPole-v1", policy, episodes=8, **options).mean_length
    return fastpg.collect("gym:CartPole-v1", policy, 64, num_envs=2, **options).episode_lengths.mean()


PLAYERS = ["train", "evaluate", "estimate_gradient", "collect"]


@pytest.mark.parametrize("name", PLAYERS)
def test_whoever_plays_an_id_takes_the_same_options(name):
    assert called_with({"max_episode_steps": 3}, name) == 3
    assert called_with({"vectorization_mode": "async"}, name) > 3
    assert called_with({"reset_options": {"low": 0.15, "high": 0.16}}, name) < 12  # nearly fallen over
    assert called_with({"wrappers": [lambda env: TimeLimit(env, 4)]}, name) == 4


@pytest.mark.parametrize("name", PLAYERS)
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_episode_steps": 0}, ValueError, ["max_episode_steps must be an integer from 1", "got 0"]),
        ({"max_episode_steps": "9"}, TypeError, ["max_episode_steps must be an integer from 1", "got '9'"]),
        ({"id": "Pong"}, TypeError, ["unexpected argument 'id'"]),
        ({"reset_options": 3}, TypeError, ["reset_options must be a mapping, got 3"]),
        ({"vectorization_mode": "threads"}, ValueError, ["vectorization_mode must be one of 'sync'"]),
    ],
    ids=str,
)
def test_whoever_plays_an_id_refuses_the_same_options(name, options, error, words):
    refuse(lambda: called_with(options, name), error, f"{name}(): ", *words)


@pytest.mark.parametrize("env", ["CartPole-v1", fastpg.make("CartPole-v1", 2)], ids=["id", "vector"])
@pytest.mark.parametrize("options", [{"vectorization_mode": "sync"}, {"reset_options": {}}], ids=str)
def test_collect_refuses_options_of_stepping_where_nothing_is_stepped_by_python(env, options):
    words = [f"collect(): {min(options)} goes with Gymnasium's environments, not native ones"]
    refuse(lambda: fastpg.collect(env, fastpg.Policy.for_env(env), 4, **options), ValueError, *words)


def test_who_passes_env_params_where_they_are_arguments_is_told():
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    words = ["collect(): unexpected argument 'env_params'", "pass its entries themselves"]
    refuse(lambda: fastpg.collect("CartPole-v1", policy, 4, env_params={}), TypeError, *words)


FEW_STEPS = [fastpg.VPG(value_epochs=1), fastpg.PPO(epochs=2, minibatches=3)]


@pytest.mark.parametrize("env_id", ["gym:FrozenLake-v1", "gym:Blackjack-v1"])
@pytest.mark.parametrize("algorithm", FEW_STEPS, ids=lambda one: type(one).__name__)
def test_categories_train_as_they_do_natively(algorithm, env_id):
    run = fastpg.train(env_id, algorithm, num_envs=4, **SHORT)
    native = fastpg.Policy.for_env(env_id.removeprefix("gym:"), hidden=(8,))
    assert run.policy.theta.shape == native.theta.shape
    fastpg.evaluate(env_id.removeprefix("gym:"), run.policy, episodes=5)


@pytest.mark.parametrize("algorithm", [fastpg.A2C(), FEW_STEPS[1]], ids=lambda one: type(one).__name__)
def test_a_box_of_actions_trains(algorithm):
    run = fastpg.train("gym:Pendulum-v1", algorithm, num_envs=4, horizon=8, total_steps=2000)
    assert run.policy.actions.head == "gaussian"
    assert np.isfinite(run.policy.theta).all()


@pytest.mark.parametrize(
    ("amount", "of_history"),
    [({"episodes": 5}, 5), ({"steps_per_iteration": 200}, None), ({"horizon": 7}, None)],
    ids=str,
)
def test_every_way_to_collect_trains(amount, of_history):
    run = fastpg.train("gym:CartPole-v1", num_envs=4, total_steps=1000, hidden=(8,), **amount)
    if of_history:
        assert (run.history["num_episodes"] == of_history).all()
    assert run.history["num_steps"].sum() == run.num_steps == run.history["total_steps"][-1] >= 1000


def test_more_environments_than_episodes_are_not_made():
    run = fastpg.train("gym:CartPole-v1", num_envs=8, episodes=3, total_steps=100)
    assert run.config["num_envs"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["gym:CartPole-v1", cartpole], ids=["id", "function"])
def test_estimates_agree_with_the_native_ones_in_the_mean(env_id, policy):
    def mean_gradient(one, seeds, episodes):
        estimates = [
            fastpg.estimate_gradient(one, policy, episodes=episodes, seed=seed).gradient
            for seed in range(seeds)
        ]
        return np.mean(estimates, axis=0), np.std(estimates, axis=0) / np.sqrt(seeds)

    exact, its_error = mean_gradient("CartPole-v1", 20, 2000)
    mean, error = mean_gradient(env_id, 30, 64)
    score = (mean - exact) / np.hypot(error, its_error)
    assert np.mean(score**2) < 2.0  # of 58 parameters; 1 on average


@pytest.mark.parametrize("form", ["total", "reward_to_go", "q", "td", "gae"])
def test_every_form_is_estimated(form, policy):
    value = fastpg.ValueFunction.for_env("gym:CartPole-v1", hidden=(8,))
    given = {"value": value} if form in ("q", "td", "gae") else {}
    estimate = fastpg.estimate_gradient("gym:CartPole-v1", policy, form=form, horizon=20, num_envs=4, **given)
    assert estimate.gradient.any()
    assert estimate.num_trajectories >= 4


def test_any_function_of_observations_is_a_baseline(policy):
    plain, zero, one = (
        fastpg.estimate_gradient("gym:CartPole-v1", policy, episodes=10, baseline=baseline).gradient
        for baseline in (None, lambda obs: np.zeros(len(obs)), lambda obs: np.ones(len(obs)))
    )
    assert (plain == zero).all()
    assert (plain != one).any()


def test_evaluation_draws_other_episodes_than_training():
    policy = fastpg.Policy.for_env("gym:CartPole-v1", hidden=())
    returns, lengths = fastpg.evaluate("gym:CartPole-v1", policy, episodes=33, seed=1)
    again, _ = fastpg.evaluate("gym:CartPole-v1", policy, episodes=33, seed=1)
    assert (returns == again).all()
    assert returns.shape == lengths.shape == (33,)
    assert (returns == lengths).all()


class Endless(gymnasium.Env):
    """Never ends by itself."""

    observation_space, action_space = BOX, Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.zeros(3, np.float32), 0.5, False, False, {}


def test_max_steps_ends_episodes_that_would_not_end():
    policy = fastpg.Policy.for_env(Endless)
    returns, lengths = fastpg.evaluate(Endless, policy, episodes=20, max_steps=7)
    assert (lengths == 7).all()
    assert (returns == 3.5).all()


def test_max_steps_ends_native_episodes_where_they_are_longer():
    cliff = "CliffWalking-v1" if "CliffWalking-v1" in fastpg.list_envs() else "CliffWalking-v0"
    policy = fastpg.Policy.for_env(cliff, hidden=())  # which has no time limit
    policy.theta[:] = 0.0
    policy.parameters()["head.bias"][0] = 9.0  # up, against the wall, for ever
    returns, lengths = fastpg.evaluate(cliff, policy, episodes=5, max_steps=50)
    assert (lengths == 50).all()
    assert (returns == -50).all()
    short = fastpg.evaluate("CartPole-v1", fastpg.Policy.for_env("CartPole-v1"), episodes=5, max_steps=10**6)
    assert short[1].max() <= 500


def test_reset_options_reach_the_environments():
    env = SyncVectorEnv([lambda: Single(BOX) for _ in range(2)])
    fastpg.train(env, reset_options={"low": 1}, **SHORT)
    assert env.envs[0].options is None  # the reset of an episode's end is the environment's own
    fastpg.evaluate(env, fastpg.Policy.for_env(env), episodes=2, reset_options={"low": 2})
    assert env.envs[1].options == {"low": 2}


# ---- who closes what ---------------------------------------------------------------------------------------


class Watched(Scripted):
    """Counts those that are open."""

    open = 0

    def __init__(self):
        super().__init__()
        Watched.open += 1

    def close(self):
        Watched.open -= 1


def test_environments_that_fastpg_made_are_closed():
    policy = fastpg.Policy.for_env(Watched, hidden=(4,))
    fastpg.train(Watched, num_envs=3, **SHORT)
    fastpg.evaluate(Watched, policy, episodes=3)
    fastpg.estimate_gradient(Watched, policy, episodes=3)
    with pytest.raises(ValueError, match="policy maps"):
        fastpg.evaluate(Watched, fastpg.Policy.for_env("Acrobot-v1"), episodes=3)
    assert Watched.open == 0


def test_environments_that_were_handed_in_are_left_open():
    env = SyncVectorEnv([Watched] * 3)
    fastpg.evaluate(env, fastpg.Policy.for_env(env), episodes=3)
    assert (Watched.open, env.closed) == (3, False)
    env.close()


def test_ctrl_c_saves_the_checkpoint_and_closes_the_environments(tmp_path):
    def press(_):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        fastpg.train(
            *(Watched, fastpg.VPG()),
            callback=press, num_envs=3, checkpoint=tmp_path / "run.safetensors", total_steps=2**40,
        )  # fmt: skip
    assert np.isfinite(fastpg.Policy.load(tmp_path / "run.safetensors").theta).all()
    assert Watched.open == 0


# ---- what is refused ---------------------------------------------------------------------------------------


def test_native_ids_stay_native():
    assert fastpg.train("CartPole-v1", total_steps=1000).config.keys().isdisjoint({"vectorization_mode"})


def needs_box2d():
    raise gymnasium.error.DependencyNotInstalled("Box2D is not installed, run `pip install box2d`")


def needs_nothing_there():
    import a_module_that_is_not_there  # noqa: F401


@pytest.fixture
def registered():
    ids = {"fastpg-test/NeedsBox2D-v0": needs_box2d, "fastpg-test/NeedsModule-v0": needs_nothing_there}
    for env_id, entry in ids.items():
        gymnasium.register(env_id, entry)
    yield
    for env_id in ids:
        del gymnasium.registry[env_id]


def test_what_an_environment_needs_is_said(registered):
    words = ["fastpg-test/NeedsBox2D-v0 needs what is not installed", "pip install box2d"]
    refuse(lambda: fastpg.train("fastpg-test/NeedsBox2D-v0"), ImportError, "train(): ", *words)
    words = ["fastpg-test/NeedsModule-v0 needs what is not installed", "a_module_that_is_not_there"]
    refuse(
        lambda: fastpg.Policy.for_env("fastpg-test/NeedsModule-v0"), ImportError, "Policy.for_env()", *words
    )


def with_space(space):
    return lambda: Single(space)


def closed():
    env = scripted(2)
    env.close()
    return env


class Broken(VectorEnv):
    """A vector environment whose results can be anything."""

    def __init__(self, *, mode=AutoresetMode.SAME_STEP, reset=None, **step):
        self.num_envs = 2
        self.metadata = {} if mode is None else {"autoreset_mode": mode}
        self.single_observation_space, self.single_action_space = BOX, Discrete(2)
        self.observation_space, self.action_space = batch_space(BOX, 2), batch_space(Discrete(2), 2)
        obs = np.zeros((2, 3), np.float32)
        self.first = (obs, {}) if reset is None else reset
        no = np.zeros(2, bool)
        good = {"obs": obs, "rewards": np.ones(2), "terminated": no, "truncated": no, "infos": {}}
        self.result = tuple({**good, **step}.values())

    def reset(self, *, seed=None, options=None):
        return self.first

    def step(self, actions):
        return self.result


def pool(batch_size):
    """Return a vector environment that says of its batches what EnvPool's do."""
    env = Broken()
    env.config = {"num_envs": 2, "batch_size": batch_size}
    return env


@pytest.mark.parametrize("name", PLAYERS)
def test_a_pool_of_asynchronous_batches_is_refused_where_it_is_stepped(name):
    policy = fastpg.Policy.for_env(pool(1), hidden=(4,))
    play = {
        "train": lambda env: fastpg.train(env, **SHORT),
        "evaluate": lambda env: fastpg.evaluate(env, policy, episodes=2, max_steps=4),
        "estimate_gradient": lambda env: fastpg.estimate_gradient(env, policy, horizon=4),
        "collect": lambda env: fastpg.collect(env, policy, 4),
    }[name]
    words = ["returns 1 of its 2 environments", "not supported", "leave batch_size out"]
    refuse(lambda: play(pool(1)), ValueError, f"{name}(): Broken ", *words)
    play(pool(2))


NAN_OBS = np.array([[0, 0, 0], [0, np.nan, 0]], np.float32)


@pytest.mark.parametrize(
    ("env_id", "options", "error", "words"),
    [
        ("Pong", {}, ValueError, ["env_id 'Pong' is not implemented natively, and Gymnasium has no such id"]),
        ("LunarLander-v9", {}, ValueError, ["did you mean 'LunarLander-v3'?", "no such id"]),
        ("gym:CartPole-v7", {}, ValueError, ["env_id 'gym:CartPole-v7'", "did you mean 'CartPole-v"]),
        (
            "no_such_module:Env-v0",
            {},
            ValueError,
            ["'no_such_module:Env-v0' names a module that is not there"],
        ),
        (None, {}, TypeError, ["env_id must be a string, an environment that FiniteMDP", "got None"]),
        (cartpole(), {}, TypeError, ["env_id is a single gymnasium.Env", "pass a function that makes one"]),
        (lambda: 3, {}, TypeError, ["env_id must be a function that returns", "it returned 3"]),
        (closed(), {}, ValueError, ["a VectorEnv that is closed"]),
        (scripted(2), {"num_envs": 3}, ValueError, ["num_envs is 3, but env_id is a VectorEnv of 2"]),
        (lambda: scripted(2), {"num_envs": 3}, ValueError, ["num_envs is 3, but env_id is a VectorEnv of 2"]),
        (scripted(2), {"env_params": {"x": 1}}, TypeError, ["unexpected argument 'x'", "was made already"]),
        (scripted(2), {"vectorization_mode": "sync"}, TypeError, ["vectorization_mode must be None"]),
        (cartpole, {"vectorization_mode": "vector_entry_point"}, ValueError, ["'sync' or 'async'"]),
        ("gym:CartPole-v1", {"vectorization_mode": "threads"}, ValueError, ["'sync', 'async'", "'threads'"]),
        ("gym:Acrobot-v1", {"vectorization_mode": "vector_entry_point"}, ValueError, ["vector entry point"]),
        ("CartPole-v1", {"vectorization_mode": "sync"}, ValueError, ["not native ones; 'gym:CartPole-v1'"]),
        ("CartPole-v1", {"reset_options": {}}, ValueError, ["reset_options goes with Gymnasium's"]),
        ("gym:CartPole-v1", {"reset_options": 3}, TypeError, ["reset_options must be a mapping, got 3"]),
        ("gym:CartPole-v1", {"env_params": 3}, TypeError, ["env_params must be a mapping, got 3"]),
        (with_space(Text(5)), {}, ValueError, ["observation_space must be made of Box", "got Text"]),
        (with_space(Dict({"a": BOX, "b": Sequence(BOX)})), {}, ValueError, ["Sequence", "no fixed size"]),
        (with_space(Tuple([Graph(BOX, None)])), {}, ValueError, ["Graph"]),
        (lambda: Single(BOX, Tuple([Discrete(2)])), {}, ValueError, ["action_space must be Discrete"]),
        (lambda: Single(BOX, Box(0, 9, (2,), np.int32)), {}, ValueError, ["action_space must be Discrete"]),
        (Broken(mode=None), {}, ValueError, ["Broken does not say", "metadata['autoreset_mode'] is None"]),
        (Broken(reset=np.zeros((2, 3))), {}, ValueError, ["Broken: reset() must return observations and"]),
        (Broken(reset=(np.zeros((3, 3)), {})), {}, ValueError, ["observations that do not fit", "(2, 3)"]),
        (Broken(obs=np.zeros(3)), {}, ValueError, ["numbers of shape (2, 3), got shape (3,)"]),
        (Broken(obs=np.full((2, 3), "x")), {}, ValueError, ["numbers of shape (2, 3)", "dtype <U1"]),
        (Broken(rewards=1.0), {}, ValueError, ["rewards as numbers of shape (2,), got shape ()"]),
        (Broken(terminated=np.zeros(2)), {}, ValueError, ["terminated as bools of shape (2,)", "float64"]),
        (Broken(truncated=np.zeros((2, 1), bool)), {}, ValueError, ["truncated as bools", "(2, 1)"]),
        (Broken(reset=(NAN_OBS, {})), {}, FloatingPointError, ["iteration 0", "nan (environment 1, step 0"]),
        (
            Broken(obs=NAN_OBS),
            {},
            FloatingPointError,
            ["nan (environment 1, step 1 of the batch, component 1)"],
        ),
        (Broken(rewards=np.array([1, np.inf])), {}, FloatingPointError, ["inf (environment 1, step 0"]),
        (Broken(rewards=np.array([1, 1e200])), {}, FloatingPointError, ["1e+200 (environment 1, step 0"]),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_train_refuses(env_id, options, error, words):
    refuse(lambda: fastpg.train(env_id, **{**SHORT, **options}), error, "train(): ", *words)


def test_collect_and_resume_name_their_own_argument(tmp_path):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    fastpg.train(cartpole, run=tmp_path / "run", num_envs=2, **SHORT)
    for env, error, words in (
        ("Pong", ValueError, "env 'Pong' is not implemented natively, and Gymnasium has no such id"),
        ("no_such_module:Env-v0", ValueError, "env 'no_such_module:Env-v0' names a module that is not there"),
        ("a:b:Env-v0", ValueError, "env must be 'Name-v0' or 'module:Name-v0'"),
        (3, TypeError, "env must be a string"),
        (cartpole(), TypeError, "env is a single gymnasium.Env"),
        (lambda: 3, TypeError, "env must be a function that returns"),
        (lambda wind: 3, TypeError, "env cannot be called with nothing"),
        (closed(), ValueError, "env is a VectorEnv that is closed"),
    ):
        refuse(lambda env=env: fastpg.collect(env, policy, 4), error, f"collect(): {words}")
        refuse(lambda env=env: fastpg.resume(tmp_path / "run", env=env), error, f"resume(): {words}")


class Later(VectorWrapper):
    """Returns something else from its third step on: by the place in what `step` returns."""

    def __init__(self, env, **changes):
        super().__init__(env)
        self.changes, self.steps = changes, 0

    def step(self, actions):
        result = dict(zip(("obs", "rewards", "terminated"), self.env.step(actions)[:3], strict=True))
        self.steps += 1
        no = np.zeros(self.num_envs, bool)
        changes = self.changes if self.steps > 2 else {}
        return (*{**result, "terminated": no, **changes}.values(), no, {})


@pytest.mark.parametrize(
    ("method", "returned", "said"),
    [
        (
            "step",
            (np.zeros(3, np.float32), 1.0, False, {}),
            "step(action) must return an observation of its space, reward",
        ),
        ("step", (np.zeros(3, np.float32), np.ones(1), False, False, {}), "step(action) must return"),
        ("step", None, "step(action) must return"),
        (
            "reset",
            np.zeros(3, np.float32),
            "reset(seed=None, options=None) must return an observation of its space",
        ),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_gymnasium_cannot_take_of_an_environment_is_a_sentence(method, returned, said, wrapped):
    """Gymnasium's own errors speak of unpacking and of arrays that nobody has seen."""
    kind = type("Mine", (Single,), {method: lambda self, *_, **__: returned})

    def make():
        env = kind(BOX)
        return TimeLimit(env, 3) if wrapped else env

    with pytest.raises(ValueError, match=rf"^train\(\): Mine: an environment's {re.escape(said)}") as caught:
        fastpg.train(make, **SHORT)
    assert type(caught.value.__cause__).__name__ in str(caught.value)


@pytest.mark.parametrize("method", ["step", "reset"])
def test_an_observation_that_does_not_fit_is_named(method):
    wrong = np.zeros(4, np.float32)
    returned = (wrong, 1.0, False, False, {}) if method == "step" else (wrong, {})
    kind = type("Mine", (Single,), {method: lambda self, *_, **__: returned})
    says = "train(): Mine: environment 0 returned an observation of shape (4,), and its observation_space has"
    if not NAMES_MODES:  # Gymnasium 1.0 does not keep what did not fit
        says = f"train(): Mine: an environment's {method}("
    refuse(lambda: fastpg.train(lambda: kind(BOX), **SHORT), ValueError, says)


@pytest.mark.parametrize("method", ["step", "reset"])
def test_what_an_environment_raises_itself_stays_what_it_is(method):
    def fail(self, *_, **__):
        return np.stack([np.zeros(2), np.zeros(3)])  # the error comes out of NumPy

    with pytest.raises(ValueError, match=r"^all input arrays must have the same shape"):
        fastpg.train(lambda: type("Mine", (Single,), {method: fail})(BOX), **SHORT)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rewards": np.ones(3)}, ["Scripted: step() must return rewards", "(2,), got shape (3,)"]),
        ({"terminated": np.zeros(2)}, ["Scripted: step() must return terminated as bools", "float64"]),
        ({"obs": np.zeros((2, 2))}, ["Scripted returned observations that do not fit", "(2, 3), got"]),
    ],
)
def test_what_does_not_fit_in_a_later_step_is_named_as_in_the_first(changes, words):
    refuse(lambda: fastpg.train(Later(scripted(2), **changes), **SHORT), ValueError, "train(): ", *words)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("where", "bad", "words"),
    [
        ("reward", np.nan, "evaluate(): Own returned the reward nan (environment 1, step 2 of its episode)"),
        ("obs", np.inf, "(environment 1, before step 2 of its episode, component 1)"),
    ],
)
def test_evaluate_says_where_an_environment_returned_what_is_not_finite(mode, where, bad, words):
    class Own(Scripted):  # environment 1 begins with an episode of 2 steps, and goes on with one of 3
        def step(self, action):
            obs, reward, *rest = super().step(action)
            if self.name == self.episode == 1:
                obs[1] = bad if where == "obs" and self.age == 2 else obs[1]
                reward = bad if where == "reward" and self.age == 3 else reward
            return obs, reward, *rest

    env = vector_of([lambda: Own(0, 1), lambda: Own(1, 2)], mode)
    policy = fastpg.Policy.for_env(env)
    refuse(lambda: fastpg.evaluate(env, policy, episodes=6), FloatingPointError, words)


def test_a_final_observation_that_is_missing_is_missed():
    truncated = {"truncated": np.array([True, False])}
    words = ["Broken says autoreset mode SAME_STEP, but its infos have no 'final_obs'"]
    refuse(lambda: fastpg.train(Broken(**truncated), fastpg.VPG(), **SHORT), ValueError, *words)
    fastpg.train(Broken(**truncated), **SHORT)  # no value function, no need
    final = {"infos": {"final_obs": np.ones((2, 3), np.float32)}}  # one array is good as well
    fastpg.train(Broken(**truncated, **final), fastpg.VPG(), **SHORT)


class Finals(VectorWrapper):
    """Changes the final observations of a SAME_STEP environment: change(final_obs, terminated, truncated)."""

    def __init__(self, env, change):
        super().__init__(env)
        self.change = change

    def step(self, actions):
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        if "final_obs" in infos:
            infos["final_obs"] = self.change(infos["final_obs"].copy(), terminated, truncated)
        return obs, rewards, terminated, truncated, infos


def same_step():
    return scripted(4, AutoresetMode.SAME_STEP)


def replaced(by):
    def change(final, _, truncated):
        for i in np.flatnonzero(truncated):
            final[i] = by
        return final

    return change


@pytest.mark.parametrize(
    ("by", "error", "words"),
    [
        (None, ValueError, ["no 'final_obs' of environment 0"]),
        (np.zeros(2, np.float32), ValueError, ["infos['final_obs'] that do not fit Box(-100.0, 100.0, (3,)"]),
        (
            np.array([0, np.nan, 0], np.float32),
            FloatingPointError,
            ["returned a final observation with the entry nan (environment 0, step 2 of the batch"],
        ),
    ],
    ids=["missing", "another shape", "nan"],
)
def test_final_observations_that_cannot_be_used_are_named(by, error, words):
    refuse(lambda: fastpg.train(Finals(same_step(), replaced(by)), fastpg.VPG(), **SHORT), error, *words)


def test_final_observations_of_terminated_episodes_are_not_needed():
    def without(final, terminated, _):
        final[terminated] = None
        return final

    runs = [fastpg.train(env, fastpg.VPG(), **SHORT) for env in (same_step(), Finals(same_step(), without))]
    assert (runs[0].policy.theta == runs[1].policy.theta).all()


def test_infos_as_a_list_of_each_environment_are_read_as_those_of_all():
    runs = [fastpg.train(env, fastpg.VPG(), **SHORT) for env in (same_step(), DictInfoToList(same_step()))]
    assert (runs[0].policy.theta == runs[1].policy.theta).all()


def test_the_autoreset_mode_is_that_of_the_environment_whoever_was_made_later():
    env = same_step()
    policy = fastpg.Policy.for_env(
        scripted(2, AutoresetMode.NEXT_STEP)
    )  # until Gymnasium 1.3: in the same dict
    for given in (env, DictInfoToList(env)):
        assert fastpg.estimate_gradient(given, policy, horizon=16).num_steps == 64  # no row is a reset


@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: TimeLimit(env, 9)], ids=["itself", "wrapped"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_function_that_returns_one_environment_again_and_again_is_refused(wrap, mode):
    words = ["a function that returned the same environment twice", "lambda: gymnasium.make(...)"]
    policy = fastpg.Policy.for_env("CartPole-v1")
    for call in (
        lambda again: fastpg.evaluate(again, policy, episodes=8, vectorization_mode=mode),
        lambda again: fastpg.train(again, vectorization_mode=mode, **SHORT),
        lambda again: [fastpg.Policy.for_env(again) for _ in range(2)],  # the first closed it
    ):
        env = cartpole()
        refuse(lambda call=call, env=env: call(lambda: wrap(env)), ValueError, *words)


def test_a_vector_environment_that_holds_one_environment_several_times_is_refused():
    env = cartpole()
    refuse(
        lambda: fastpg.train(SyncVectorEnv([lambda: env] * 3), **SHORT),
        ValueError,
        "train(): env_id is a SyncVectorEnv that holds one environment several times",
    )


class OneStep(Single):
    """Episodes of one step."""

    def __init__(self, truncates):
        super().__init__(BOX)
        self.truncates = truncates

    def step(self, action):
        return self._obs(), 1.0, not self.truncates, self.truncates, {}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("truncates", [False, True], ids=["terminated", "truncated"])
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize(
    "amount", [{"horizon": 1}, {"horizon": 2}, {"episodes": 1}, {"episodes": 4}], ids=str
)
def test_episodes_of_one_step_train_with_every_algorithm(mode, truncates, num_envs, amount):
    for algorithm in (
        fastpg.Reinforce(),
        fastpg.Reinforce(form="total", normalize="trajectory"),
        *(fastpg.VPG(form=form, value_epochs=2) for form in ("gae", "td", "q", "reward_to_go")),
        fastpg.VPG(normalize_observations=True, value_minibatches=3),
        fastpg.A2C(),
    ):
        env = vector_of([lambda: OneStep(truncates)] * num_envs, mode)
        run = fastpg.train(env, algorithm, hidden=(4,), total_steps=12, **amount)
        assert (run.history["num_steps"] > 0).all()
        assert (run.history["mean_return"] == 1.0).all()


@pytest.mark.parametrize("algorithm", [fastpg.A2C(), fastpg.Reinforce()], ids=lambda one: type(one).__name__)
def test_a_row_of_resets_only_is_followed_by_one_with_transitions(algorithm):
    options = {"num_envs": 4, "horizon": 1, "total_steps": 1000, "hidden": (8,)}
    run = fastpg.train("gym:Pendulum-v1", algorithm, **options)  # all end at step 200
    assert (run.history["num_steps"] == 4).all()


def test_categories_out_of_range_are_refused():
    env = SyncVectorEnv([lambda: Single(Discrete(3), obs=3) for _ in range(2)])
    refuse(lambda: fastpg.train(env, **SHORT), ValueError, "observations must lie in Discrete(3), got 3")


def test_a_relu_policy_does_not_hide_an_observation_that_is_not_finite():
    options = {**SHORT, "activation": "relu"}
    refuse(lambda: fastpg.train(Broken(obs=NAN_OBS), **options), FloatingPointError, "environment 1")


class Bomb(Scripted):
    """Fails in its third episode."""

    def step(self, action):
        if self.episode == 2:
            raise RuntimeError("the simulator has crashed")
        return super().step(action)


@pytest.mark.filterwarnings("ignore:.*ERROR")  # Gymnasium says as well what it raises
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_exception_of_an_environment_is_heard(mode):
    with pytest.raises(RuntimeError, match="the simulator has crashed"):
        fastpg.train(Bomb, num_envs=2, vectorization_mode=mode, **SHORT)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_what_a_function_makes_has_the_name_of_its_class(mode):
    bad = lambda: Single(BOX, reward=np.nan)  # noqa: E731
    words = "train(): iteration 0: Single returned the reward nan"
    refuse(lambda: fastpg.train(bad, vectorization_mode=mode, **SHORT), FloatingPointError, words)
    run = fastpg.train(Scripted, num_envs=2, vectorization_mode=mode, **SHORT)
    assert run.config["env_id"] == "Scripted"


def test_asynchronous_environments_that_were_handed_in_are_left_open():
    env = AsyncVectorEnv([Scripted] * 2)
    assert fastpg.train(env, **SHORT).num_steps >= 300
    env.reset()
    env.close()


# ---- the command line --------------------------------------------------------------------------------------


def command(*arguments, cwd):
    command = [sys.executable, "-m", "fastpg", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_command_line_trains_and_evaluates_gymnasiums_environments(tmp_path):
    trained = command("train", "gym:CartPole-v1", "--total-steps", "3000", "--hidden", "8", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.startswith("gym:CartPole-v1: not solved (threshold 475; stopped by total_steps)")
    played = command("eval", "CartPole-v1.safetensors", "--episodes", "5", "--max-steps", "9", cwd=tmp_path)
    assert played.stdout.startswith("gym:CartPole-v1: 5 episodes")
    assert "max 9" in played.stdout or "mean 9" in played.stdout


def test_the_command_line_says_what_is_missing(tmp_path):
    (tmp_path / "plugin.py").write_text(
        "import gymnasium\n"
        "def make(**_):\n"
        "    raise gymnasium.error.DependencyNotInstalled('pip install box2d')\n"
        "gymnasium.register('Plugin-v0', make)\n"
    )
    refused = command("train", "plugin:Plugin-v0", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "fastpg: train(): plugin:Plugin-v0 needs what is not installed: pip install box2d\n"
    )


# ---- the example -------------------------------------------------------------------------------------------

EXAMPLE = ROOT / "examples" / "gymnasium_lunar_lander.py"


def example(*arguments, hide=""):
    """Run the example, with a module that cannot be imported where `hide` names one."""
    program = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({hide.split()!r})); "
        f"sys.argv[1:] = {list(arguments)!r}; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_the_example_trains_and_shows_returns_before_and_after():
    pytest.importorskip("Box2D", reason="Box2D is not installed: pip install swig, then gymnasium[box2d]")
    shown = example("--total-steps", "5000", "--num-envs", "4")
    assert shown.returncode == 0, shown.stderr
    before, after, summary = shown.stdout.splitlines()
    assert before.startswith("before: return")
    assert after.startswith("after:  return")
    assert "stopped by total_steps" in summary


def test_the_example_says_what_is_missing_without_box2d():
    shown = example("--total-steps", "1000", hide="Box2D")
    assert shown.returncode == 0, shown.stderr
    (line,) = shown.stdout.splitlines()
    assert line.startswith("skipped: Policy.for_env(): LunarLander-v3 needs what is not installed: ")
    assert "gymnasium[box2d]" in line


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_filler_rows_have_no_age():
    """With gamma = 0 the weight of a negative age would be a division by zero."""
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    settings = {"gamma": 0.0, "discount_states": True, "num_envs": 3, "episodes": 6}
    estimate = fastpg.estimate_gradient("gym:CartPole-v1", policy, **settings)
    assert estimate.num_episodes == 6
    assert np.isfinite(estimate.gradient).all()


@pytest.mark.parametrize(
    "env", ["gym:CartPole-v1", "CartPole-v1", lambda: gymnasium.make("CartPole-v1"), Scripted], ids=range(4)
)
def test_parameters_that_an_environment_does_not_take_are_named(env):
    with pytest.raises((TypeError, ValueError), match=r"^train\(\): .*\bwind\b"):
        fastpg.train(env, env_params={"wind": 1}, total_steps=1)
