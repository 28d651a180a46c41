"""What users do wrong in a `jit_env`, and the sentence that says so."""

import functools
import re

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

import fastpg
from fastpg.envs.custom import jit_compile
from tests.support import jit_envs
from tests.support.jit_made import GOOD, made, observe, reset, step, unchecked

pytestmark = pytest.mark.slow

pytest.importorskip("numba")

# ---- arguments ---------------------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    ({"state_size": 0}, ValueError, "state_size must be an integer from 1 to 1024, got 0"),
    ({"state_size": 2.0}, TypeError, "state_size must be an integer from 1 to 1024, got 2.0"),
    ({"noise_size": -1}, ValueError, "noise_size must be an integer from 0 to 1024, got -1"),
    ({"noise_size": (1, 2, 3)}, ValueError, r"noise_size must be an integer or a pair \(reset, step\)"),
    ({"max_episode_steps": -5}, ValueError, "max_episode_steps must be an integer from 0 to"),
    ({"observation_space": 3}, TypeError, "observation_space must be a gymnasium space, got 3"),
    ({"observation_space": Box(0, 1, (2, 2))}, ValueError, "observation_space must be a one-dimensional Box"),
    (
        {"observation_space": Box(0, 1, (2,), np.float64)},
        ValueError,
        "observation_space must be float32, got Box",
    ),
    ({"observation_space": Discrete(3, start=1)}, ValueError, "must have start=0, got Discrete"),
    ({"action_space": Discrete(3, start=1)}, ValueError, "subtract start from the actions"),
    ({"action_space": Box(0, 1, (2,), np.float64)}, ValueError, "float32 Box, got Box"),
    ({"action_space": Box(0, 1, (2, 1))}, ValueError, "or a one-dimensional MultiDiscrete"),
    ({"action_space": MultiDiscrete([[2, 2]])}, ValueError, "or a one-dimensional MultiDiscrete"),
    ({"action_space": Discrete(2, start=1)}, ValueError, "Discrete with start=0, got .* subtract start"),
    ({"action_space": MultiDiscrete([2, 2], start=[0, 1])}, ValueError, "MultiDiscrete with start=0, got"),
    ({"params": 3}, TypeError, "params must be a mapping of names to numbers, or numbers, got 3"),
    ({"params": {}}, ValueError, "params must be 1 to 32 numbers, got 0"),
    (
        {"params": {"a b": 1.0}},
        ValueError,
        "names of params must be Python names without a leading _, got 'a b'",
    ),
    ({"params": {1: 1.0}}, TypeError, "names of params must be strings, got 1"),
    ({"params": {"mass": "heavy"}}, TypeError, r"params\['mass'\] must be a number in .*, got 'heavy'"),
    ({"params": {"mass": np.nan}}, ValueError, r"params\['mass'\] must be a number in"),
    ({"params": {"mass": (2.0, 1.0)}}, ValueError, r"params\['mass'\] must be a pair \(low, high\)"),
    ({"params": [1.0, (1, 2, 3)]}, ValueError, r"params\[1\] must be a number or a pair \(low, high\)"),
    ({"params": {"mass": 1.0}}, TypeError, "params are given, but no function of Mine takes them"),
    ({"jit": 1}, TypeError, "jit must be True or False, got 1"),
    ({"cache": None}, TypeError, "cache must be True or False, got None"),
    ({"name": 3}, TypeError, "name must be a string, got 3"),
]


@pytest.mark.parametrize(("changed", "error", "says"), BAD_ARGUMENTS)
def test_bad_arguments_of_the_decorator(changed, error, says):
    with pytest.raises(error, match=rf"^jit_env\(\): .*{says}"):
        made(**changed)


def no_observe():
    return type("Mine", (), {"reset": reset, "step": step})


def with_self():
    def step(self, state, action, noise):
        return 0.0, False

    return type("Mine", (), {"reset": reset, "step": step, "observe": observe})


def with_params():
    def step(state, action, noise, params):
        return 0.0, False

    return type("Mine", (), {"reset": reset, "step": step, "observe": observe})


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (lambda: 3, "it decorates a class, got 3"),
        (no_observe, r"Mine must have a function observe\(state, obs\)"),
        (
            with_self,
            r"Mine.step\(\) must take \(state, action, noise\), got \(self, state, action, noise\); "
            "the functions have no self",
        ),
        (with_params, r".*must take \(state, action, noise\), got .*; params need jit_env\(params=...\)"),
    ],
)
def test_a_class_without_the_functions(cls, says):
    with pytest.raises(TypeError, match=rf"^jit_env\(\): {says}"):
        fastpg.jit_env(**GOOD)(cls())


def test_an_undecorated_class_as_env_id():
    with pytest.raises(
        TypeError, match=r"env_id must be a string, an environment .*; decorate it with fastpg.jit_env"
    ):
        fastpg.train(no_observe())


BAD_PARAMS = [
    ({"speed": 1.0}, TypeError, r"unexpected argument 'speed'; the parameters of Mine are: mass"),
    ({"mass": "x"}, TypeError, "mass must be a number"),
    ({"mass": np.inf}, ValueError, "mass must be a number in"),
]


@pytest.mark.parametrize(("params", "error", "says"), BAD_PARAMS)
def test_bad_params(params, error, says):
    def step(state, action, noise, params):
        return params.mass, False

    env = made(step, params={"mass": 1.0}, jit=False)
    with pytest.raises(error, match=rf"^make\(\): {says}"):
        fastpg.make(env, **params)
    with pytest.raises(error, match=rf"^train\(\): {says}"):
        fastpg.train(env, env_params=params)
    with pytest.raises(error, match=rf"^Mine.with_params\(\): {says}"):
        env.with_params(**params)
    with pytest.raises(TypeError, match="env_params must be a mapping, got 3"):
        fastpg.train(env, env_params=3)


def test_bad_params_without_names():
    def step(state, action, noise, params):
        return params[1], False

    env = made(step, params=[1.0, 2.0], jit=False)
    with pytest.raises(ValueError, match="params must be 2 numbers, got"):
        fastpg.make(env, params=[1.0])
    with pytest.raises(TypeError, match="unexpected argument 'mass'; the parameters of Mine are: params"):
        fastpg.make(env, mass=1.0)
    with pytest.raises(TypeError, match="unexpected argument 'mass'; the parameters of Mine are: none"):
        fastpg.make(made(jit=False), mass=1.0)


def reading_a_misspelt_parameter(beyond):
    """The line is reached where the state is beyond this: 1e6 is never, so that only numba sees it."""

    def step(state, action, noise, params):
        state[0] += params.push if state[0] > beyond else 0.1
        return 0.0, False

    return step


@pytest.mark.parametrize("jit", [True, False])
def test_a_misspelt_parameter_is_told_which_there_are(jit):
    for params, says in (({"psh": 0.1, "mass": 2.0}, "params has psh, mass"), ([0.1], "params is an array")):
        with pytest.raises(fastpg.EnvError, match=rf"no attribute 'push' \(.*, line \d+: .*\); {says}"):
            made(reading_a_misspelt_parameter(-1e6), params=params, jit=jit)
    if jit:
        env = made(reading_a_misspelt_parameter(1e6), params={"psh": 0.1, "mass": 2.0})
        with pytest.raises(
            TypeError, match=r"step\(\) cannot be compiled: params has no 'push' .*; params has psh"
        ):
            fastpg.make(env)


# ---- what the functions do, seen when a class is decorated -------------------------------------------------


def returning(value):
    def step(state, action, noise):
        return value

    return step


def index_error(state, obs):
    obs[0] = state[2]


index_error.__name__ = "observe"


def too_large_obs(state, obs):
    obs[0] = obs[1] = obs[2] = 0.0


too_large_obs.__name__ = "observe"


def half_obs(state, obs):
    obs[0] = 1.0


half_obs.__name__ = "observe"


def nan_state(state, noise):
    state[1] = np.nan


nan_state.__name__ = "reset"


def noise_error(state, noise):
    state[0] = noise[1]


noise_error.__name__ = "reset"


def returned_state(state, noise):
    return state


returned_state.__name__ = "reset"


def lost_reset(state, noise):
    state = np.array([1.0, 2.0])  # noqa: F841  # which is the mistake


lost_reset.__name__ = "reset"


def lost_step(state, action, noise):
    moved = state[0] + 1.0
    state = np.array([moved, state[1]])
    return 0.0, False


lost_step.__name__ = "step"


def lost_mask(state, mask):
    mask = np.array([1, 0])  # noqa: F841


lost_mask.__name__ = "mask"
LOST = r" \(test_jit_errors.py, line \d+: `{0} = np.array\(.*`\), which leaves the array as it is: write "
LOST += r"into it, as {0}\[:\] = \.\.\."

BAD_FUNCTIONS = [
    (returning(1.0), {}, r"Mine.step\(\) must return \(reward, terminated\) or .*, got 1.0"),
    (returning((1.0,)), {}, r"Mine.step\(\) must return \(reward, terminated\) or"),
    (returning(("a", False)), {}, r"Mine.step\(\) must return a number as reward, got 'a'"),
    (returning((1.0, "no")), {}, r"Mine.step\(\) must return True or False as terminated, got 'no'"),
    (returning((True, -0.3)), {}, r"True or False as terminated, got -0.3; the reward comes first"),
    (returning((1.0, np.nan)), {}, r"Mine.step\(\) must return True or False as terminated, got nan"),
    (returning((1.0, False, 2)), {}, r"must return True or False as truncated, got 2$"),
    (returning((1.0, False, None)), {}, r"must return True or False as truncated, got None"),
    (returning((np.inf, False)), {}, r"Mine.step\(\) returned the reward inf"),
    (returning((10**400, False)), {}, r"Mine.step\(\) returned the reward inf"),
    (
        index_error,
        {},
        r"Mine.observe\(\) raised IndexError: .* \(test_jit_errors.py, line \d+: `obs\[0\] = state\[2\]`\)",
    ),
    (too_large_obs, {}, r"Mine.observe\(\) raised IndexError: index 2 is out of bounds"),
    (half_obs, {}, r"Mine.observe\(\) did not write obs\[1\]: observation_space Box.* has 2 entries"),
    (nan_state, {}, r"Mine.reset\(\) left state\[1\] NaN"),
    (noise_error, {"noise_size": 1}, r"Mine.reset\(\) raised IndexError: index 1 is out of bounds"),
    (returned_state, {}, r"Mine.reset\(\) must write into its argument and return nothing, got"),
    (lost_reset, {}, r"Mine.reset\(\) assigns to the name state" + LOST.format("state")),
    (lost_step, {}, r"Mine.step\(\) assigns to the name state" + LOST.format("state")),
    (lost_mask, {}, r"Mine.mask\(\) assigns to the name mask" + LOST.format("mask")),
    (
        observe,
        {"observation_space": MultiDiscrete([2, 1])},
        r"Mine.observe\(\) wrote 2.0 into obs\[0\], which must be a whole number in 0..1",
    ),
]


@pytest.mark.parametrize(("function", "changed", "says"), BAD_FUNCTIONS)
def test_what_functions_must_not_do_is_found_when_decorating(function, changed, says):
    with pytest.raises(fastpg.EnvError, match=rf"^jit_env\(\): .*{says}"):
        made(function, **changed)


def in_place(state, action, noise):
    state += 1.0
    return 0.0, False


def of_a_view(state, action, noise):
    state = state.reshape(2, 1)
    state[1, 0] = 3.0
    return 0.0, False


def nothing_to_do(state, action, noise):
    return state[0], False


@pytest.mark.parametrize("function", [in_place, of_a_view, nothing_to_do])
def test_functions_that_write_in_place_or_have_nothing_to_write_are_fine(monkeypatch, function):
    monkeypatch.setattr(function, "__name__", "step")
    made(function)


# ---- when compiling ----------------------------------------------------------------------------------------


def test_code_that_numba_does_not_know_is_an_error_with_the_users_line():
    def step(state, action, noise):
        state[0] = state[0] + "one" if state[0] > 1e9 else 0.0
        return 0.0, False

    says = r"^make\(\): Mine.step\(\) cannot be compiled: .*add.*float64"
    says += r".*\(test_jit_errors.py, line \d+: `state\[0\] = "
    with pytest.raises(TypeError, match=says) as caught:
        fastpg.make(made(step))
    assert "nopython" in str(caught.value.__cause__)  # all that numba says


def test_a_name_that_numba_cannot_use_is_an_error_with_the_users_line():
    helper = object()

    def observe(state, obs):
        obs[0] = obs[1] = 0.0
        if state[0] < -1e9:
            obs[0] = helper(state)

    with pytest.raises(
        TypeError, match=r"^train\(\): Mine.observe\(\) cannot be compiled: .*test_jit_errors.py, line"
    ):
        fastpg.train(made(observe))


def test_a_return_that_is_missing_in_one_case_is_an_error():
    def step(state, action, noise):
        if state[0] < 1e9:
            return 1.0, False

    with pytest.raises(TypeError, match=r"make\(\): Mine.step\(\) (must return|cannot be compiled)"):
        fastpg.make(made(step))


# ---- while it runs: the same sentence from compiled code and from plain Python ----------------------------


RUNTIME = [
    ("EnvError", r"raised ValueError: too far \(jit_envs.py, line \d+: `raise ValueError\("),
    ("EnvError", r"raised AssertionError: too far \(jit_envs.py"),
    ("EnvNotFinite", r"left state\[1\] NaN"),
    ("EnvNotFinite", r"returned the reward inf"),
    ("EnvError", r"raised IndexError: index 2 is out of bounds.*`state\[int\(state\[0\]\) // 30"),
    ("EnvError", r"raised IndexError: index -3 is out of bounds"),
]


@functools.cache
def failing(jit):
    return unchecked(jit_envs.late, params={"kind": -1}, jit=jit)


@pytest.mark.parametrize("jit", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("which", range(len(RUNTIME)), ids=[says[:22] for _, says in RUNTIME])
@pytest.mark.filterwarnings("ignore:(divide|invalid)")
def test_a_failure_while_running_is_the_users_own_sentence(which, jit):
    kind, says = RUNTIME[which]
    env = failing(jit).with_params(kind=which)
    error = getattr(fastpg, kind)
    policy = fastpg.Policy.for_env(env, hidden=())
    with pytest.raises(error, match=rf"^train\(\): iteration 0: Mine.step\(\) {says}"):
        fastpg.train(env, horizon=40, total_steps=100_000)
    with pytest.raises(error, match=rf"^estimate_gradient\(\): Mine.step\(\) {says}"):
        fastpg.estimate_gradient(env, policy, horizon=40, num_envs=100)
    vector = fastpg.make(env, num_envs=300)
    with pytest.raises(error, match=rf"^evaluate\(\): Mine.step\(\) {says}"):
        fastpg.evaluate(vector, policy, max_steps=50)  # which Python steps
    vector.reset(seed=0)
    with pytest.raises(error, match=rf"^VectorEnv.step\(\): Mine.step\(\) {says}") as caught:
        for _ in range(100):
            vector.step(np.zeros(300, np.int64))
    assert isinstance(caught.value, FloatingPointError) == (kind == "EnvNotFinite")
    with pytest.raises(fastpg.ResetNeeded):
        vector.step(np.zeros(300, np.int64))
    vector.reset(seed=0)
    vector.step(np.zeros(300, np.int64))


@pytest.mark.parametrize("jit", [True, False], ids=["compiled", "plain"])
def test_failures_of_reset_and_observe_are_sentences_too(jit):
    def reset(state, noise):
        state[0] = noise[0]
        if noise[0] > 0.99:
            raise RuntimeError("a bad start")

    def observe(state, obs):
        obs[0] = 0.0
        obs[1] = 1.0 / (state[0] - 20.0)

    env = unchecked(reset, noise_size=1, jit=jit)
    with pytest.raises(
        fastpg.EnvError, match=r"VectorEnv.reset\(\): Mine.reset\(\) raised RuntimeError: a bad start"
    ):
        fastpg.make(env, num_envs=2000).reset(seed=0)
    policy = fastpg.Policy.for_env(env, hidden=())
    with pytest.raises(
        fastpg.EnvError, match=r"^evaluate\(\): Mine.reset\(\) raised RuntimeError: a bad start"
    ):
        fastpg.evaluate(env, policy, episodes=2000)
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(fastpg.EnvNotFinite, match=r"Mine.observe\(\) wrote inf into obs\[1\]"),
    ):
        fastpg.train(unchecked(observe, jit=jit), horizon=30)
    other = fastpg.make(unchecked(jit=jit, observation_space=MultiDiscrete([25, 1])), num_envs=2)
    other.reset(seed=0)
    with pytest.raises(
        fastpg.EnvError, match=r"wrote 25.0 into obs\[0\], which must be a whole number in 0..24"
    ):
        for _ in range(30):
            other.step(np.zeros(2, np.int64))


def test_an_environment_about_to_be_reset_takes_no_step_that_could_fail():
    env = fastpg.make(made(jit_envs.step), num_envs=5)
    env.reset(seed=0)
    for _ in range(20):
        env.step(np.zeros(5, np.int64))


def test_a_reward_that_float32_does_not_hold_is_told_with_the_name_of_the_environment():
    env = unchecked(returning((1e39, False)), max_episode_steps=5)
    with pytest.raises(FloatingPointError, match=r"iteration 0: Mine returned a reward that is .* too large"):
        fastpg.train(env, fastpg.PPO(), num_envs=2, horizon=8, total_steps=16)


def test_an_interrupt_in_plain_python_is_what_it_is():
    def step(state, action, noise):
        state[0] += 1.0
        if state[0] > 20.0:
            raise KeyboardInterrupt
        return 1.0, False

    with pytest.raises(KeyboardInterrupt):
        fastpg.train(made(step, jit=False), horizon=30)


def test_a_failure_that_plain_python_does_not_show_is_told_as_such():
    def step(state, action, noise):
        return 1.0, False

    env = made(step)
    functions = jit_compile.CompiledFunctions(env._definition, None)
    message = str(functions.explain("train()", "step", jit_compile.RAISED))
    assert re.match(
        r"train\(\): Mine.step\(\) raised an exception in compiled code, and not in plain Python", message
    )
