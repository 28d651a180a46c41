"""Environments written in Python and compiled: the same as in plain Python, to the bit."""

import copy
import os
import pickle
import re
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg import _core
from fastpg.envs.custom import jit_compile
from fastpg.envs.custom.jit_snapshot import Snapshot
from fastpg.envs.native.registry import native_env
from tests import ROOT
from tests.support import jit_envs

pytestmark = pytest.mark.slow

pytest.importorskip("numba")

SPACES = {"observation_space": Box(-np.inf, np.inf, (1,)), "action_space": Discrete(2), "state_size": 1}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """A cache of the tests' own."""
    before = os.environ.get("FASTPG_CACHE_DIR")
    folder = tmp_path_factory.mktemp("cache")
    os.environ["FASTPG_CACHE_DIR"] = str(folder)
    yield folder
    os.environ.pop("FASTPG_CACHE_DIR")
    if before is not None:
        os.environ["FASTPG_CACHE_DIR"] = before


def actions_of(env, steps, seed=0):
    """Random actions; those of a Box leave it at times."""
    rng = np.random.default_rng(seed)
    space = env.single_action_space
    for _ in range(steps):
        if isinstance(space, Box):
            yield rng.normal(size=env.action_space.shape).astype(np.float32)
        else:
            categories = env.native.core.action_categories
            yield rng.integers(categories, size=(env.num_envs, len(categories))).reshape(
                env.action_space.shape
            )


# ---- the same as in plain Python, and as the native one ----------------------------------------------------


@pytest.mark.parametrize("env", jit_envs.ALL, ids=lambda env: env.name)
@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_compiled_and_plain_environments_are_the_same_to_the_bit(env, autoreset):
    compiled, plain = (fastpg.make(one, num_envs=21, autoreset=autoreset) for one in (env, env.plain()))
    first, second = (one.reset(seed=5)[0] for one in (compiled, plain))
    np.testing.assert_array_equal(first, second)
    ended = 0
    for actions in actions_of(compiled, 120):
        mine, theirs = compiled.step(actions), plain.step(actions)
        for got, expected in zip(mine[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(compiled.get_state()[0], plain.get_state()[0])
        ended += (mine[2] | mine[3]).sum()
    assert ended > 0


@pytest.mark.parametrize("env", jit_envs.ALL, ids=lambda env: env.name)
@pytest.mark.parametrize(
    "algorithm",
    [fastpg.VPG(value_hidden=(4,)), fastpg.PPO(value_hidden=(4,), minibatches=3)],
    ids=lambda one: type(one).__name__,
)
def test_compiled_and_plain_environments_train_to_the_same_bits_on_any_threads(env, algorithm, threads):
    results = set()
    for one, number in [(env, 1), (env, 2), (env.plain(), 1), (env.plain(), 2)]:
        threads(number)
        run = fastpg.train(one, algorithm, num_envs=20, horizon=8, hidden=(4,), total_steps=400)
        results.add(run.policy.theta.tobytes())
    assert len(results) == 1


def test_cartpole_moves_as_the_native_one_does():
    mine, native = (fastpg.make(one, num_envs=256) for one in (jit_envs.CartPole, "CartPole-v1"))
    np.testing.assert_array_equal(mine.reset(seed=3)[0], native.reset(seed=3)[0])
    for actions in actions_of(mine, 200):
        got, expected = mine.step(actions), native.step(actions)
        for flag in (1, 2, 3):
            np.testing.assert_array_equal(got[flag], expected[flag])
        np.testing.assert_allclose(mine.get_state()[0], native.get_state()[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("hidden", [(), (8,)], ids=str)
def test_cartpole_trains_as_the_native_one_does(hidden):
    runs = [
        fastpg.train(one, hidden=hidden, total_steps=20_000, seed=1)
        for one in (jit_envs.CartPole, "CartPole-v1")
    ]
    np.testing.assert_allclose(runs[0].history["mean_return"], runs[1].history["mean_return"], rtol=0.05)
    np.testing.assert_allclose(runs[0].policy.theta, runs[1].policy.theta, rtol=1e-2, atol=1e-2)


def test_training_reaches_the_return_of_cartpole():
    run = fastpg.train(jit_envs.CartPole, target_return=475, total_steps=2_000_000)
    assert run.stopped_because == "target_return"
    returns, lengths = fastpg.evaluate(jit_envs.CartPole, run.policy)
    assert returns.mean() > 450
    assert (returns == lengths).all()


@pytest.mark.parametrize("env", jit_envs.ALL, ids=lambda env: env.name)
def test_it_is_accepted_wherever_an_env_id_is(env):
    policy = fastpg.Policy.for_env(env, hidden=(4,))
    value = fastpg.ValueFunction.for_env(env, hidden=(4,))
    assert policy.env_id == env.name
    estimate = fastpg.estimate_gradient(env, policy, form="gae", value=value, horizon=16, num_envs=40)
    assert np.isfinite(estimate.gradient).all()
    assert estimate.num_steps == 640
    returns, lengths = fastpg.evaluate(env, policy, episodes=5, deterministic=False)
    assert returns.shape == lengths.shape == (5,)
    run = fastpg.train(env, fastpg.A2C(), policy=policy, total_steps=200)
    assert run.config["env_id"] == env.name


# ---- ends --------------------------------------------------------------------------------------------------


def test_values_bootstrap_from_a_truncation_of_its_own_and_from_no_termination():
    def one_step(terminated, truncated):
        @fastpg.jit_env(**SPACES, jit=False)
        class Once:
            def reset(state, noise):
                state[0] = 1.0

            def step(state, action, noise):
                state[0] = 3.0
                return 0.0, terminated, truncated

            def observe(state, obs):
                obs[0] = state[0]

        value = fastpg.ValueFunction(Once.observation_space, hidden=())
        value.theta[:] = [1.0, 0.0]  # V(s) = s
        policy = fastpg.Policy.for_env(Once, hidden=())
        policy.theta[:] = [0.0, 0.0, 0.0, 0.0]
        # delta = V(3) - V(1) where it bootstraps, else -V(1); times +-1/2 in the two biases
        estimate = fastpg.estimate_gradient(Once, policy, form="td", value=value, episodes=1)
        return abs(estimate.gradient[2])

    assert one_step(False, True) == pytest.approx(1.0)
    assert one_step(True, False) == pytest.approx(0.5)
    assert one_step(True, True) == pytest.approx(0.5)


def test_both_flags_are_shown_as_gymnasium_shows_them():
    env = fastpg.make(jit_envs.Cart.with_params(mass=0.01, drag=0.0), num_envs=64)
    env.reset(seed=0)
    left = right = limit = 0
    for _ in range(70):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        state, elapsed = env.get_state()
        left += (terminated & (state[:, 0] < -2)).sum()
        right += (truncated & (state[:, 0] > 2)).sum()
        limit += (truncated & (elapsed == 60)).sum()
        assert (terminated == (state[:, 0] < -2)).all() or elapsed.min() == 0
    assert left > 0
    assert right > 0


# ---- params ------------------------------------------------------------------------------------------------


def test_a_pair_is_drawn_for_every_episode_and_a_number_is_what_it_is():
    env = fastpg.make(jit_envs.Cart, num_envs=4000)
    env.reset(seed=1)
    state = env.get_state()[0]
    assert state.shape == (4000, 4)  # the state, then mass and drag
    assert (state[:, 3] == 0.1).all()
    mass = np.sort(state[:, 2])
    uniform = (mass - 0.5) / 1.5
    assert np.abs(uniform - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / np.sqrt(4000)
    again = env.reset(seed=2)[0]
    assert (env.get_state()[0][:, 2] != state[:, 2]).all()
    assert again.shape == (4000, 2)


def test_params_change_without_compiling_again(monkeypatch):
    native_env("", jit_envs.Cart, {})
    monkeypatch.setattr(jit_compile, "_compile", None)
    for changed in [
        fastpg.make(jit_envs.Cart, 3, mass=7.0),
        fastpg.make(jit_envs.Cart.with_params(mass=7.0), 3),
    ]:
        changed.reset(seed=0)
        assert (changed.get_state()[0][:, 2] == 7.0).all()
    assert jit_envs.Cart.with_params(mass=7.0).params == {"mass": 7.0, "drag": 0.1}
    assert jit_envs.Cart.params == {"mass": (0.5, 2.0), "drag": 0.1}
    policy = fastpg.Policy.for_env(jit_envs.Cart, hidden=())
    light, heavy = (
        fastpg.evaluate(jit_envs.Cart, policy, mass=mass, drag=0.0)[0].mean() for mass in (0.1, 1000.0)
    )
    assert light != heavy
    assert fastpg.train(jit_envs.Cart, env_params={"mass": 2.0}, total_steps=100).config["env_params"] == {
        "mass": 2.0
    }


def test_params_without_names_are_given_whole():
    env = fastpg.make(jit_envs.Grid, 3, params=[0.5, 0.25])
    env.reset(seed=0)
    assert env.get_state()[0][:, 2:].tolist() == [[0.5, 0.25]] * 3
    assert jit_envs.Grid.params == [0.3, (0.1, 0.2)]


# ---- as an object ------------------------------------------------------------------------------------------


def test_it_pickles_copies_and_shows_itself():
    changed = jit_envs.Cart.with_params(mass=3.0).plain()
    again = pickle.loads(pickle.dumps(changed))
    assert repr(again) == repr(changed)
    assert repr(changed).endswith("max_episode_steps=60, params={'mass': 3.0, 'drag': 0.1}, jit=False)")
    assert copy.deepcopy(changed) is copy.copy(changed) is changed
    assert jit_envs.Cart.__doc__.startswith("Two forces")


def test_the_vector_env_is_gymnasiums():
    env = fastpg.make(jit_envs.Cart, num_envs=3, mass=1.0)
    assert env.spec.id == "Cart"
    assert env.spec.max_episode_steps == 60
    again = gymnasium.make_vec(env.spec)
    assert again.num_envs == 3
    np.testing.assert_array_equal(again.reset(seed=4)[0], env.reset(seed=4)[0])
    with pytest.raises(ValueError, match="render_mode must be None for Cart, which has no renderer"):
        fastpg.make(jit_envs.Cart, render_mode="rgb_array")
    with pytest.raises(fastpg.InvalidAction, match="must be finite"):
        env.step(np.full((3, 2), np.nan, np.float32))


# ---- vectors -----------------------------------------------------------------------------------------------


def test_the_step_of_cartpole_is_computed_in_vectors(monkeypatch):
    compiler = jit_compile.Compiler(jit_envs.CartPole._definition, 2, cached=False)
    monkeypatch.setattr(jit_compile, "_made", {})  # what was found on disk shows no assembly
    compiler.functions("", ())
    assembly = compiler._last.libraries[1].get_asm_str()
    if "vdivpd" not in assembly and "divpd" not in assembly:
        pytest.skip("not x86-64") if "xmm" not in assembly else pytest.fail("scalar divisions")
    assert not re.search(r"call\S*\s+\S*(sin|cos)", assembly)


# ---- the cache ---------------------------------------------------------------------------------------------

PROGRAM = """
import sys
import numpy as np, fastpg
from gymnasium.spaces import Box, Discrete
from fastpg.envs.custom import jit_compile
from fastpg.envs.custom.jit_snapshot import Snapshot
import helper
GAIN = {gain}
checked = []
original = jit_compile.check_types
jit_compile.check_types = lambda *a: (checked.append(1), original(*a))

@fastpg.jit_env(observation_space=Box(-9, 9, (1,)), action_space=Discrete(2), state_size=1)
class Counter:
    def reset(state, noise):
        state[0] = 0.0
    def step(state, action, noise):
        state[0] += GAIN * helper.scaled(1.0)
        return state[0], False
    def observe(state, obs):
        obs[0] = state[0]

env = fastpg.make(Counter, 1)
env.reset(seed=0)
print(env.step(np.array([0]))[1][0], "compiled" if checked else "found")
"""


def test_a_second_process_finds_it_compiled_and_a_change_anywhere_compiles_it_again(tmp_path):
    def run(gain=2.0, scale=1.0):
        (tmp_path / "helper.py").write_text(
            f"SCALE = {scale}\ndef scaled(x):\n    return inner(x)\ndef inner(x):\n    return SCALE * x\n"
        )
        (tmp_path / "program.py").write_text(PROGRAM.format(gain=gain))
        changed = {
            "FASTPG_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=os.environ | changed,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run() == ["2.0", "compiled"]
    assert run(gain=3.0) == ["3.0", "compiled"]
    assert run(gain=3.0, scale=5.0) == ["15.0", "compiled"]
    assert run() == ["2.0", "found"]


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("FASTPG_CACHE_DIR", str(blocked / "below"))
    monkeypatch.setattr(jit_compile, "_made", {})
    with pytest.warns(RuntimeWarning, match=r"make\(\): the compiled environment cannot be kept on disk"):
        assert native_env("make()", jit_envs.Bits, {}).core.name == "Bits"


def test_what_cannot_be_told_apart_is_compiled_every_time():
    def snapshot(function):
        made = Snapshot({})
        made.take(function)
        return made

    class Opaque:
        pass

    thing = Opaque()

    def function(x):
        return x if thing else 0

    assert snapshot(function).unknown == "thing"
    constant = 1.0
    digests = set()
    for constant in (1.0, 2.0, np.float64(1.0), (1.0, 2.0), np.ones(2)):
        digests.add(snapshot(lambda x: x + constant).hexdigest())  # noqa: B023
    assert len(digests) == 5


def test_importing_fastpg_and_decorating_a_class_does_not_import_numba():
    program = "import sys, tests.support.jit_envs; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_without_numba_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(jit_compile, "_made", {})
    with pytest.raises(ImportError, match=r"make\(\): compiling Bits needs numba.*pip install numba;"):
        fastpg.make(jit_envs.Bits)


def test_other_instruction_sets_of_the_core_run_the_same_environment(isa):
    assert _core.isa() == isa
    run = fastpg.train(jit_envs.Rooms, hidden=(), total_steps=5000, num_envs=17, seed=1)
    assert np.isfinite(run.history["mean_return"]).all()
