"""The native environments against Gymnasium's own classes, on every instruction set there is."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest

from fastpg import _core
from fastpg.envs import native_env
from tests.support.quick import few

SIZE = 100_000  # states of a case
BATCH = 16  # copies that play whole episodes: the least width of a tile


def native(env_id, params=None, options=None):
    """A native environment with parameters and reset options other than the defaults."""
    env = native_env("test", env_id, params or {})
    spec = env.spec
    if options:
        assert not params  # the defaults: 0 for the first of the choices
        settings = [0.0 if name in spec.choices else float(value) for name, value in spec.parameters.items()]
        env.core.set_params((*settings, *(spec.reset_options | options).values()))
    return env


def needs_numpy_2(env_id):
    """Gymnasium's float32 arithmetic is float64 under NumPy 1's rules of promotion."""
    if (
        env_id in ("MountainCarContinuous-v0", "Pendulum-v1")
        and np.lib.NumpyVersion(np.__version__) < "2.0.0"
    ):
        pytest.skip("the float32 operations are those of NumPy 2")


class Drawn:
    """Stands in for Gymnasium's generator where a step draws one uniform number: the one it is given."""

    def __init__(self):
        self.uniform01 = 0.5

    def uniform(self, low, high):
        return low + (high - low) * self.uniform01


# ---- single transitions ------------------------------------------------------------------------------------


class Transitions(NamedTuple):
    """What Gymnasium made of many states: fields in rows, copies in columns."""

    state: np.ndarray
    action: np.ndarray
    noise: np.ndarray
    next: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    obs: np.ndarray


class Case(NamedTuple):
    env_id: str
    params: dict[str, Any]
    states: Callable[[np.random.Generator], np.ndarray]  # -> (state_size, SIZE)
    actions: list[
        float
    ]  # each is taken from as many states; the second half draws real ones from their range
    size: int = SIZE
    state_dtype: type = np.float64  # of what Gymnasium keeps


def box(*bounds, dtype=np.float64):
    """States drawn from a box."""
    return lambda rng: np.stack([rng.uniform(low, high, SIZE).astype(dtype) for low, high in bounds])


@functools.cache
def acrobot_pool():
    """Half of them played with a torque along the velocity, which swings up; half from a box."""
    rng = np.random.default_rng(1)
    env = gymnasium.make("Acrobot-v1").unwrapped
    played = []
    for seed in range(100):
        env.reset(seed=seed)
        for _ in range(SIZE // 200):
            env.step(rng.integers(3) if rng.random() < 0.2 else 2 * int(env.state[3] > 0))
            played.append(env.state)
    angle, speed = (-np.pi, np.pi), (-2 * np.pi, 2 * np.pi)
    drawn = box(angle, angle, speed, speed)(rng)[:, SIZE // 2 :]
    return rng.permutation(np.concatenate([np.array(played).T, drawn], axis=1), axis=1)


def acrobot_states(rng):
    return acrobot_pool()


CAR = box((-1.2, 0.6), (-0.07, 0.07))
CAR32 = box((-1.2, 0.6), (-0.07, 0.07), dtype=np.float32)
FRESH_CAR = box((-0.6, -0.4), (0.0, 0.0))
PUSHES = [-7.5, -1.01, -1.0, -0.37, 0.0, 0.8, 1.0, 1.3]
PENDULUM = box((-20.0, 20.0), (-8.0, 8.0))
TORQUES = [-5.0, -2.0, -1.3, 0.0, 0.017, 1.1, 2.0, 2.5]
POLE = box((-2.5, 2.5), (-4.0, 4.0), (-0.25, 0.25), (-4.0, 4.0))

FEW = SIZE * 3 // 10  # of parameters other than the defaults

CASES = {
    "CartPole": Case("CartPole-v1", {}, POLE, [0, 1]),
    "CartPole, 1983 reward": Case("CartPole-v1", {"sutton_barto_reward": True}, POLE, [0, 1], FEW),
    "MountainCar": Case("MountainCar-v0", {}, CAR, [0, 1, 2]),
    "MountainCar, goal_velocity": Case("MountainCar-v0", {"goal_velocity": 0.03}, CAR, [0, 1, 2], FEW),
    "MountainCarContinuous": Case("MountainCarContinuous-v0", {}, CAR32, PUSHES, state_dtype=np.float32),
    "MountainCarContinuous, goal_velocity": Case(
        "MountainCarContinuous-v0", {"goal_velocity": 0.03}, CAR32, PUSHES, FEW, np.float32
    ),
    "MountainCarContinuous, after a reset": Case("MountainCarContinuous-v0", {}, FRESH_CAR, PUSHES),
    "MountainCarContinuous, after a reset to the goal": Case(
        "MountainCarContinuous-v0", {"goal_velocity": 0.0004}, box((0.44, 0.46), (0.0, 0.0)), PUSHES, FEW
    ),
    "Acrobot": Case("Acrobot-v1", {}, acrobot_states, [0, 1, 2]),
    "Acrobot, nips, noise": Case(
        "Acrobot-v1", {"book_or_nips": "nips", "torque_noise_max": 0.7}, acrobot_states, [0, 1, 2], FEW
    ),
    "Pendulum": Case("Pendulum-v1", {}, PENDULUM, TORQUES),
    "Pendulum, g": Case("Pendulum-v1", {"g": 9.81}, PENDULUM, TORQUES, FEW),
}


@functools.cache
def transitions(name):
    case = CASES[name]
    rng = np.random.default_rng(0)
    states = case.states(rng)[:, : case.size]
    theirs = native_env("test", case.env_id, case.params).original
    discrete = isinstance(theirs.action_space, gymnasium.spaces.Discrete)
    actions = np.resize(case.actions, case.size).astype(np.int32 if discrete else np.float32)
    if not discrete:
        half = case.size // 2
        actions[half:] = rng.uniform(theirs.action_space.low, theirs.action_space.high, half)
    noise = rng.uniform(size=(1, case.size))
    theirs.reset(seed=0)
    theirs.np_random = drawn = Drawn()
    results = []
    for i, action in enumerate(actions if discrete else actions[:, None]):
        theirs.state = states[:, i].astype(case.state_dtype)
        theirs.steps_beyond_terminated = None  # CartPole's: this step is the first that ends the episode
        drawn.uniform01 = noise[0, i]
        obs, reward, terminated, _, _ = theirs.step(action)
        results.append((*theirs.state, reward, terminated, *obs))
    rows, fields = np.array(results).T, len(states)
    next_state, (reward, terminated), obs = np.split(rows, [fields, fields + 2])
    return Transitions(
        states.astype(np.float64), actions, noise, next_state, reward, terminated != 0, obs.astype(np.float32)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_transitions_equal_gymnasiums(isa, name):
    needs_numpy_2(CASES[name].env_id)
    expected = transitions(name)
    env = native(CASES[name].env_id, CASES[name].params).core
    state = expected.state.copy()
    reward, terminated = env.step(expected.action, expected.noise, state)
    # Near zero, 1e-12 is of the terms that cancel: below 1, or in Acrobot's accelerations of order 10.
    np.testing.assert_allclose(
        state, expected.next, rtol=1e-12, atol=1e-14 if env.name == "acrobot" else 1e-15
    )
    np.testing.assert_array_equal(terminated, expected.terminated)
    # Pendulum's u ** 2 is powf in Gymnasium, which glibc does not round correctly for one u in a thousand.
    off = np.abs(reward - expected.reward) > 1e-12 * np.abs(expected.reward)
    assert off.mean() <= (0.005 if env.name == "pendulum" else 0)
    np.testing.assert_allclose(reward, expected.reward, rtol=1e-12, atol=5e-10 if off.any() else 0)
    # A float64 number 1e-16 away may lie on the other side of a rounding tie.
    error = np.abs(env.observe(state) - expected.obs)
    assert (error <= np.spacing(np.abs(expected.obs))).all()
    assert np.mean(error > 0) <= 1e-5


@pytest.mark.slow
def test_the_transitions_compared_reach_walls_limits_and_ends():
    ends = {name: transitions(name).terminated.mean() for name in CASES}
    for name, share in ends.items():
        never = name.startswith("Pendulum") or name.endswith("after a reset")
        assert share == 0 if never else 0.01 < share < 0.3, name
    for name in ("MountainCar", "MountainCarContinuous"):
        position, velocity = transitions(name).next
        assert ((position == position.min()) & (velocity == 0)).sum() > 100
        assert (velocity == velocity.max()).sum() > 100
    assert (np.abs(transitions("Pendulum").next[1]) == 8).sum() > 100
    before, after = transitions("Acrobot").state, transitions("Acrobot").next
    assert (np.abs(after[:2] - before[:2]) > 5).sum() > 1000  # wrapped angles


def test_a_fallen_pole_does_not_change_its_neighbours(isa):
    """Where an angle of the tile needs the reduction, all are reduced: to the same bits."""
    env = native("CartPole-v1").core
    rng = np.random.default_rng(0)
    standing = rng.uniform(-np.pi / 4, np.pi / 4, (4, SIZE // 16 * 16))
    standing[2, :4] = np.pi / 4, -np.pi / 4, 0.0, -0.0
    action, noise = rng.integers(2, size=standing.shape[1], dtype=np.int32), np.zeros((1, standing.shape[1]))
    for fallen in (0.8, -3.0, np.inf):
        state, among = standing.copy(), standing.copy()
        among[2, -1] = fallen
        env.step(action, noise, state)
        env.step(action, noise, among)
        np.testing.assert_array_equal(state[:, :-1].view(np.int64), among[:, :-1].view(np.int64))


# ---- whole episodes ----------------------------------------------------------------------------------------

CONTROLLERS = {
    "CartPole-v1": lambda obs, rng: int(0.1 * obs[0] + 0.3 * obs[1] + 3 * obs[2] + obs[3] > 0),
    # Bang-bang, but for a step in five: the hill is climbed.
    "MountainCar-v0": lambda obs, rng: int(rng.integers(3)) if rng.random() < 0.2 else 2 * int(obs[1] >= 0),
    "MountainCarContinuous-v0": lambda obs, rng: np.float32([rng.normal() / 2 + np.sign(obs[1])]),
    "Pendulum-v1": lambda obs, rng: np.float32([0.1 * rng.normal()]),
}


@pytest.mark.parametrize("env_id", few(CONTROLLERS, {"Pendulum-v1"}))
def test_whole_episodes_equal_gymnasiums_to_the_time_limit(isa, env_id):
    needs_numpy_2(env_id)
    rng = np.random.default_rng(0)
    ours = native(env_id).core
    theirs = [gymnasium.make(env_id, disable_env_checker=True) for _ in range(BATCH)]
    obs = [env.reset(seed=seed)[0] for seed, env in enumerate(theirs)]
    state = np.array([env.unwrapped.state for env in theirs]).T.copy()
    running, noise = np.ones(BATCH, bool), np.zeros((1, BATCH))
    lengths = np.zeros(BATCH, int)
    for step in range(1, ours.max_episode_steps + 1):
        actions = [CONTROLLERS[env_id](row, rng) for row in obs]
        dtype = np.int32 if ours.action_categories else np.float32
        our_reward, our_terminated = ours.step(np.array(actions, dtype).reshape(BATCH), noise, state)
        for i in np.flatnonzero(running):
            obs[i], reward, terminated, truncated, _ = theirs[i].step(actions[i])
            np.testing.assert_allclose(state[:, i], theirs[i].unwrapped.state, rtol=1e-9, atol=1e-9)
            assert our_reward[i] == pytest.approx(reward, rel=1e-9, abs=1e-9)
            assert our_terminated[i] == terminated
            assert truncated == (step == ours.max_episode_steps)
            running[i] = not (terminated or truncated)
            lengths[i] = step
            if env_id == "CartPole-v1" and step % 100 == 0:
                # Under the same actions a falling pole doubles any difference every ten steps.
                state[:, i] = theirs[i].unwrapped.state
    assert not running.any()
    if "MountainCar" in env_id:
        assert np.median(lengths) < ours.max_episode_steps  # terminated before
    else:
        assert (lengths == ours.max_episode_steps).all()


# ---- resets ------------------------------------------------------------------------------------------------

RESETS = [
    ("CartPole-v1", None, 4 * [(-0.05, 0.05)]),
    ("CartPole-v1", {"low": -0.1, "high": 0.3}, 4 * [(-0.1, 0.3)]),
    ("MountainCar-v0", None, [(-0.6, -0.4), (0, 0)]),
    ("MountainCar-v0", {"low": -0.3, "high": 0.2}, [(-0.3, 0.2), (0, 0)]),
    ("MountainCarContinuous-v0", None, [(-0.6, -0.4), (0, 0)]),
    ("MountainCarContinuous-v0", {"low": -0.3, "high": 0.2}, [(-0.3, 0.2), (0, 0)]),
    ("Acrobot-v1", None, 4 * [(-0.1, 0.1)]),
    ("Acrobot-v1", {"low": 0.0, "high": 0.5}, 4 * [(0.0, 0.5)]),
    ("Pendulum-v1", None, [(-np.pi, np.pi), (-1, 1)]),
    ("Pendulum-v1", {"x_init": 0.5, "y_init": 2.0}, [(-0.5, 0.5), (-2, 2)]),
]
RESETS = [pytest.param(*one, marks=() if "CartPole" in one[0] else pytest.mark.slow) for one in RESETS]


def kolmogorov_smirnov(x, y):
    """How far two samples' distribution functions are apart, over what one pair in a million exceeds."""
    at = np.concatenate([x, y])
    distance = np.abs(
        np.searchsorted(np.sort(x), at, "right") / len(x) - np.searchsorted(np.sort(y), at, "right") / len(y)
    ).max()
    return distance / np.sqrt(-np.log(1e-6 / 2) / 2 * (1 / len(x) + 1 / len(y)))


@pytest.mark.parametrize(("env_id", "options", "bounds"), RESETS, ids=str)
def test_resets_are_distributed_as_gymnasiums(isa, env_id, options, bounds):
    env = native(env_id, options=options)
    rng = np.random.default_rng(0)
    state = np.full((env.core.state_size, SIZE), 7.0)
    noise = rng.uniform(size=(env.core.reset_noise_size, SIZE))
    env.core.reset(np.arange(1, SIZE, 2, dtype=np.int32), noise, state)
    assert (state[:, ::2] == 7).all()
    state = state[:, 1::2]
    env.original.reset(seed=0)
    theirs = np.array([env.original.reset(options=options) and env.original.state for _ in range(2000)]).T
    for ours, reference, (low, high) in zip(state, theirs, bounds, strict=True):
        assert low - 1e-8 <= ours.min() and ours.max() <= high + 1e-8
        assert kolmogorov_smirnov(ours, reference) < 1
        assert kolmogorov_smirnov(ours, rng.uniform(low, high, SIZE)) < 1
    assert (
        np.abs(np.corrcoef(state[np.ptp(state, axis=1) > 0]) - np.eye(4)[: len(noise), : len(noise)]).max()
        < 0.03
    )
    if env_id == "Acrobot-v1":
        np.testing.assert_array_equal(state, state.astype(np.float32))


# ---- the registry ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", sorted({case.env_id for case in CASES.values()}))
def test_kernels_have_the_registrys_defaults_and_gymnasiums_spaces(env_id):
    env = native(env_id)
    defaults = _core.Environment(env.spec.kernel, (), 0)
    noise = np.random.default_rng(0).uniform(size=(4, BATCH))
    states = np.zeros((2, env.core.state_size, BATCH))
    for core, state in zip((env.core, defaults), states, strict=True):
        core.reset(np.arange(BATCH, dtype=np.int32), noise, state)
        core.step(np.ones(BATCH, np.int32 if core.action_categories else np.float32), noise, state)
    np.testing.assert_array_equal(*states)
    assert env.observation_space.shape == (env.core.obs_size,)
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        assert env.core.action_categories == (env.action_space.n,)
    else:
        assert env.core.action_categories == ()
        assert env.action_space.shape == (env.core.action_size,)
    assert env.core.max_episode_steps == gymnasium.spec(env_id).max_episode_steps
