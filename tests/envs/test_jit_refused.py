"""What a `jit_env` must not do, because it would compute something else: each a sentence with its line."""

# ruff: noqa: F401  (expressions are strings here)

import datetime
import os
import random
import secrets
import subprocess
import sys
import time
import uuid
from datetime import datetime as moment
from os import urandom
from random import random as draw

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from numpy.random import uniform

import fastpg
from fastpg.envs.custom import jit_compare
from tests import ROOT
from tests.support.jit_made import made, unchecked

pytestmark = pytest.mark.slow

numba = pytest.importorskip("numba")

VISITS = np.zeros(2)


class Planet:
    gravity = 9.81


PLANET = Planet()
MODE = "slow"
TABLE = [1.0, 2.0]
RATES = {"a": 1.0}
NAMES = {1, 2}
GENERATOR = np.random.default_rng(0)
PARTS = (1.0, 2.0)


def kick(x):
    return x + np.random.uniform(0.0, 1.0)


@numba.njit
def jitted_kick(x):
    return kick_too(x)


@numba.njit
def kick_too(x):
    return x + random.random()


def step_of(expression, **changed):
    """A step whose reward is an expression; its source is a line of this file, as a user's would be."""
    names = globals() | changed
    exec(f"def step(state, action, noise):\n    return {expression}, False\n", names)
    return names["step"]


# ---- random numbers and clocks -----------------------------------------------------------------------------

HIDDEN = [
    ("np.random.uniform(0.0, 1.0)", "np.random.uniform"),
    ("np.random.rand()", "np.random.rand"),
    ("np.random.normal()", "np.random.normal"),
    ("uniform(0.0, 1.0)", "uniform"),
    ("random.random()", "random.random"),
    ("random.gauss(0.0, 1.0)", "random.gauss"),
    ("draw()", "draw"),
    ("GENERATOR.random()", "GENERATOR.random"),
    ("time.time()", "time.time"),
    ("time.perf_counter()", "time.perf_counter"),
    ("moment.now().second", "moment.now"),
    ("datetime.datetime.now().second", "datetime.datetime.now"),
    ("float(os.urandom(1)[0])", "os.urandom"),
    ("float(urandom(1)[0])", "urandom"),
    ("secrets.randbelow(3)", "secrets.randbelow"),
    ("float(uuid.uuid4().int)", "uuid.uuid4"),
    ("kick(1.0)", "np.random.uniform"),
    ("jitted_kick(1.0)", "random.random"),
    ("(lambda m: m.random.random())(np)", "np.random"),
]


@pytest.mark.parametrize("jit", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize(("expression", "name"), HIDDEN)
def test_what_does_not_come_from_the_seed_is_refused_by_name(expression, name, jit):
    with pytest.raises(
        ValueError, match=rf"^jit_env\(\): Mine.step\(\) refers to {name}.* \(.*, line \d+"
    ) as caught:
        made(step_of(expression), jit=jit)
    assert "do not come from the seed: use `noise`" in str(caught.value)


def test_an_import_inside_of_a_function_is_looked_at_too():
    def step(state, action, noise):
        import random

        return random.random(), False

    with pytest.raises(ValueError, match=r"Mine.step\(\) refers to random \(.*`import random`\)"):
        made(step, jit=False)


def test_a_helper_that_becomes_random_is_refused_when_it_is_compiled():
    names = {"pull": lambda x: x}
    exec("def step(state, action, noise):\n    return pull(state[0]), False\n", names)
    env = made(names["step"])
    names["pull"] = kick
    with pytest.raises(
        ValueError, match=r"^make\(\): Mine.step\(\) refers to np.random.uniform \(test_jit_refused.py"
    ):
        fastpg.make(env)


def test_names_that_only_look_random_are_fine():
    def step(state, action, noise, params):
        return params.random + np.floor(params.time), False

    env = made(step, params={"random": 1.0, "time": 2.0})
    assert env.params == {"random": 1.0, "time": 2.0}


# ---- compiled and plain ------------------------------------------------------------------------------------


def rewards(env):
    vector = fastpg.make(env, 16)
    vector.reset(seed=0)
    return vector.step(np.arange(16) % 2)[1].tolist()


def test_a_power_of_integers_is_a_sentence():
    def step(state, action, noise):
        return 10 ** (action - 4), False

    says = r"^make\(\): Mine.step\(\) cannot be compiled: an integer to the power of an integer is an integer"
    with pytest.raises(
        TypeError, match=says + r".*\(test_jit_refused.py, line \d+: `return 10 \*\* .*float\("
    ):
        fastpg.make(made(step))


def power_of(x):
    n = int(x)
    n **= n - 3
    return n


def test_a_power_of_integers_in_a_helper_is_a_sentence_with_its_line():
    with pytest.raises(TypeError, match=r"Mine.step\(\) cannot be compiled: .*line \d+: `n \*\*= n - 3`\)"):
        fastpg.make(made(step_of("power_of(state[0] + 4.0)")))


def test_powers_that_are_the_same_are_compiled():
    # 0 or 1, 1/16 or 1/8, 0 or 64: the sum tells each.
    env = made(step_of("action ** 2 + 2.0 ** (action - 4) + 64 * action * float(action + 1) ** (action - 1)"))
    assert rewards(env) == rewards(env.plain()) == [0.0625, 65.125] * 8


def test_a_sum_of_bools_is_a_sentence():
    def step(state, action, noise):
        return (state[0] > 0) + (state[1] > 0), False

    with pytest.raises(TypeError, match=r"the sum of two bools is an integer .*\(test_jit_refused.py.*int\("):
        fastpg.make(made(step))
    right = made(step_of("int(state[0] >= 0) + int(state[1] >= 0)"))
    assert rewards(right) == rewards(right.plain()) == [2.0] * 16


def overflowing(state, action, noise):
    big = action + 2**62
    return float(big + big), False


overflowing.__name__ = "step"


def different_state(state, noise):
    state[0] = 3.0
    state[1] = float((int(state[0]) + 2**62) * 2) * 1e-18


different_state.__name__ = "reset"


def different_obs(state, obs):
    obs[0] = state[0]
    obs[1] = float((int(state[0]) + 2**62) * 2) * 1e-18


different_obs.__name__ = "observe"


def different_end(state, action, noise):
    state[0] += 1.0
    return 0.0, (int(state[0]) + 2**62) * 2 > 0


different_end.__name__ = "step"


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (
            overflowing,
            r"Mine.step\(\) compiled is not .*: the reward is -9.2\S+ compiled, and 9.2\S+ in plain Python",
        ),
        (
            different_state,
            r"Mine.reset\(\) compiled is not .*: state\[1\] is -9.2\S+ compiled, and 9.2\S+ in plain Python",
        ),
        (
            different_obs,
            r"Mine.observe\(\) compiled is not .*: obs\[1\] is -9.2\S+ compiled, and 9.2\S+ in plain Python",
        ),
        (
            different_end,
            r"Mine.step\(\) compiled is not .*: terminated is False compiled, and True in plain Python",
        ),
    ],
    ids=["reward", "state", "obs", "end"],
)
def test_where_compiled_code_differs_is_said_with_both_values(function, says):
    with pytest.raises(
        fastpg.EnvError, match=rf"^make\(\): {says}, for .*; compiled numbers keep their types"
    ):
        fastpg.make(made(function))


def test_functions_that_fail_in_plain_python_too_are_told_when_they_run():
    def step(state, action, noise):
        state[0] += 1.0
        if state[0] > 3.0:
            raise ValueError("too far")
        return 1.0, False

    env = fastpg.make(unchecked(step), 2)
    env.reset(seed=0)
    with pytest.raises(fastpg.EnvError, match="raised ValueError: too far"):
        for _ in range(5):
            env.step(np.zeros(2, np.int64))


def test_a_slow_function_is_compared_for_one_step_only(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(jit_compare.time, "perf_counter", lambda: now[0])
    env = made(step_of("state[0] * 0.25"))
    calls = []
    original = jit_compare.Plain.step

    def slow(self, *arguments):
        calls.append(1)
        now[0] += 1.0
        return original(self, *arguments)

    monkeypatch.setattr(jit_compare.Plain, "step", slow)
    fastpg.make(env)
    assert len(calls) == jit_compare.WIDTH


def test_rounding_is_no_difference():
    def step(state, action, noise):
        state[0] = np.sin(1e3 * state[0])
        state[1] = np.exp(noise[0]) * 1e-12
        return np.tanh(noise[0]), False

    fastpg.make(made(step, noise_size=1))


# ---- what numba does not compile ---------------------------------------------------------------------------


@pytest.mark.parametrize("reward", ["state[0] > 0.5", "True"])
def test_a_reward_may_be_a_bool(reward):
    env = made(step_of(reward))
    assert rewards(env) == rewards(env.plain())


def imports(state, action, noise):
    import math

    return math.sin(1.0), False


def writes_a_global(state, action, noise):
    global COUNT
    COUNT = 1
    return 0.0, False


def writes_an_array(state, action, noise):
    VISITS[action] += 1.0
    return VISITS[action], False


def fills_an_array(state, action, noise):
    VISITS[:] = state[0]
    return 0.0, False


def of_a_class(state, action, noise):
    return Planet.gravity, False


def of_an_object(state, action, noise):
    return PLANET.gravity, False


def formats(state, action, noise):
    if state[0] > 99:
        raise ValueError("at %d" % state[0])  # noqa: UP031
    return 0.0, False


def formats_by_name(state, action, noise):
    if state[0] > 99:
        raise ValueError("at {}".format(state[0]))  # noqa: UP032
    return 0.0, False


def unpacks(state, action, noise):
    return max(*state), False


def unpacks_a_tuple(state, action, noise):
    first, *rest = PARTS
    return first + rest[0], False


def a_list(state, action, noise):
    return TABLE[action], False


def a_dict(state, action, noise):
    return RATES["a"], False


def a_set(state, action, noise):
    return 1.0 if action in NAMES else 0.0, False


def dot(state, action, noise):
    return np.dot(state, state), False


def at(state, action, noise):
    return state @ state, False


def linalg(state, action, noise):
    return np.linalg.norm(state), False


def reads_a_list(x):
    return TABLE[0] + x


def of_a_helper(state, action, noise):
    return reads_a_list(1.0), False


SCIPY = r"np.dot, `@` and np.linalg need SciPy, which is not installed {}: "
SCIPY += r"pip install scipy, or write np.sum\(a \* b\)"
CONSTANT = r"it writes into an array from outside, which is a constant when it is compiled {}: keep in `st"
OBJECT = r"it refers to an object that numba does not know {}: give numbers of it names of their own"
STRING = r"it makes a string by % or format {}: write an f-string"
REFUSED = [
    (imports, r"it imports inside of the function {}: import at the top of the file"),
    (writes_a_global, r"it writes a global {}: keep in `state` whatever has to last"),
    (of_a_class, OBJECT),
    (of_an_object, OBJECT),
    (formats, STRING),
    (formats_by_name, STRING),
    (writes_an_array, CONSTANT),
    (fills_an_array, CONSTANT),
    (unpacks, r"\*args in function call should be a tuple, got array.* {}"),
    (unpacks_a_tuple, r"it unpacks with a star {}: write out each of them"),
    (
        a_list,
        r"TABLE is a list {}, which is not read from outside: make it a tuple, or an array \(np.array\)",
    ),
    (a_dict, r"RATES is a dict {}, which is not"),
    (a_set, r"NAMES is a set {}, which is not"),
    (of_a_helper, r"TABLE is a list {}, which is not"),
    (dot, SCIPY),
    (at, SCIPY),
    (linalg, SCIPY),
]


@pytest.mark.parametrize(("function", "says"), REFUSED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_cannot_be_compiled_is_a_sentence_with_the_line_and_what_to_write(monkeypatch, function, says):
    for module in ("scipy", "scipy.linalg", "scipy.linalg.cython_blas"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(function, "__name__", "step")
    place = r"\(test_jit_refused.py, line \d+: `.*`\)"
    with pytest.raises(
        TypeError, match=rf"^make\(\): Mine.step\(\) cannot be compiled: {says.format(place)}"
    ) as caught:
        fastpg.make(made(function))
    assert "\n" not in str(caught.value)


def of_a_string(state, action, noise):
    state[0] += 1.0
    if MODE == "fast":
        state[0] += 1.0
    return state[0], False


def raises_a_string(state, action, noise):
    state[0] += 1.0
    if state[0] > 9:
        raise ValueError(f"at {state[0]}, in mode " + MODE)
    return state[0], False


def test_strings_are_compared_and_raised(monkeypatch):
    for function in (of_a_string, raises_a_string):
        monkeypatch.setattr(function, "__name__", "step")
    run = fastpg.train(made(of_a_string, max_episode_steps=4), horizon=8, num_envs=4, total_steps=32)
    assert run.history["mean_return"][0] == 1 + 2 + 3 + 4
    with pytest.raises(fastpg.EnvError, match=r"Mine.step\(\) raised ValueError: at 10.0, in mode slow \("):
        fastpg.train(made(raises_a_string, max_episode_steps=99), horizon=16, num_envs=4, total_steps=64)


def test_a_constant_of_the_class_is_an_error_that_says_where_to_put_it():
    says = r"Mine.step\(\) raised NameError: name 'GAIN' is not defined \(.*\); "
    says += "functions do not see what stands in the class: write GAIN above it"
    with pytest.raises(fastpg.EnvError, match=says):

        @fastpg.jit_env(
            observation_space=Box(-9, 9, (1,)), action_space=Discrete(2), state_size=1, name="Mine"
        )
        class Mine:
            GAIN = 2.0

            def reset(state, noise):
                state[0] = 0.0

            def step(state, action, noise):
                return GAIN * state[0], False  # noqa: F821

            def observe(state, obs):
                obs[0] = state[0]


def test_where_numba_is_told_not_to_compile_it_is_plain_python():
    program = (
        "import fastpg; from tests.support.jit_envs import Cart; e = fastpg.make(Cart, 2); e.reset(seed=0); "
    )
    program += "e.step(e.action_space.sample()); print(type(e.native.core.functions.keep).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "PlainFunctions\n", done.stderr
