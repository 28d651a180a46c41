"""fastpg.VectorEnv is a Gymnasium vector environment: it does what SyncVectorEnv of Gymnasium's own does."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import load_env_creator
from gymnasium.spaces import Box, Discrete, Tuple
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers import vector as wrappers

import fastpg
from fastpg import _core
from fastpg.envs import env_spec
from fastpg.envs.autoreset import AutoresetMode
from tests.support.gymnasium_envs import needs_modes, vector_of
from tests.support.quick import few

IDS = fastpg.list_envs()
# The quick loop has real and discrete actions, numbers and categories as observations.
QUICK = {"CartPole-v1", "Pendulum-v1", "FrozenLake-v1"}
MODES = ("next_step", "same_step", "disabled")
SIZES = (1, 3, 17, 65, 257, 1000)
BOUNDED = [env_id for env_id in IDS if {"low", "high"} <= set(env_spec("test", env_id).reset_options)]
CONTINUOUS = [env_id for env_id in IDS if isinstance(gymnasium.spec(env_id).make().action_space, Box)]
PLAIN_OBSERVATIONS = [
    one for one in IDS if isinstance(fastpg.make(one).single_observation_space, Box | Discrete)
]


# ---- Gymnasium's own environments, made to live through the same episodes ----------------------------------


class Chance:
    """Stands in for Gymnasium's generator: the one number that it gives was chosen beforehand."""

    def __init__(self, number):
        self.number = number

    def random(self):
        return self.number


class Led(gymnasium.Env):
    """Gymnasium's own environment, whose episodes begin as ours did and whose chances fall as ours did.

    Blackjack's cards cannot be chosen that way: it repeats what ours showed.
    """

    def __init__(self, env_id):
        spec = gymnasium.spec(env_id)
        self.env = load_env_creator(spec.entry_point)(**spec.kwargs)
        self.observation_space, self.action_space = self.env.observation_space, self.env.action_space
        self.metadata = self.env.metadata
        self.autoresets = False
        self.obs = self.state = self.reward = self.terminated = self.final = None  # ours, of this step

    def reset(self, *, seed=None, options=None):
        obs, info = self.env.reset()
        if isinstance(self.observation_space, Tuple):
            return self.obs, info
        if isinstance(self.observation_space, Discrete):
            obs = self.env.s = self.obs
            if "action_mask" in info:
                info["action_mask"] = self.env.action_mask(obs)
            # SyncVectorEnv's array gets the type of the first environment's info: int, where that one has
            # just been reset, and so it cuts 0.33 to 0. Ours holds floats after every step.
            return obs, info | {"prob": float(info["prob"]) if self.autoresets else info["prob"]}
        self.env.state = self.state.copy()
        return self.obs.copy(), info

    def step(self, action):
        if isinstance(self.observation_space, Tuple):
            return self.final, self.reward, self.terminated, False, {}
        if isinstance(self.observation_space, Discrete):
            outcomes = self.env.P[self.env.s][int(action)]
            which = [one[1:3] for one in outcomes].index((self.final, self.reward))
            below = sum(one[0] for one in outcomes[:which])
            self.env._np_random = Chance(below + outcomes[which][0] / 2)
        return self.env.step(action)


class Pair:
    """A native batch and SyncVectorEnv of Gymnasium's own environments, always in the same states."""

    def __init__(self, env_id, num_envs, mode, limit):
        self.ours = fastpg.make(env_id, num_envs, autoreset=mode, max_episode_steps=limit)
        self.led = [Led(env_id) for _ in range(num_envs)]
        self.theirs = vector_of([lambda env=env: TimeLimit(env, limit) for env in self.led], AUTORESET[mode])

    def lead(self, obs, infos, rewards=None, terminated=None, autoresets=False):
        states, _ = self.ours.get_state()
        finals = infos.get("final_obs", [None] * len(self.led))
        for i, env in enumerate(self.led):
            env.obs = env.final = single(obs, i)
            env.state, env.autoresets = states[i], autoresets
            if finals[i] is not None:
                env.final = finals[i]
            if rewards is not None:
                env.reward, env.terminated = float(rewards[i]), bool(terminated[i])

    def reset(self, **arguments):
        got = self.ours.reset(**arguments)
        self.lead(*got)
        options = dict(arguments.get("options") or {})
        expected = self.theirs.reset(options={k: v for k, v in options.items() if k == "reset_mask"})
        assert_same(got, expected)
        return got

    def step(self, actions):
        got = self.ours.step(actions)
        self.lead(got[0], got[4], got[1], got[2], autoresets=True)
        expected = self.theirs.step(actions)
        assert_same(got, expected)
        return got


AUTORESET = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}


def single(obs, i):
    """Environment i's observation, with the types of Gymnasium's single environments."""
    if isinstance(obs, tuple):
        return tuple(int(part[i]) for part in obs)
    return int(obs[i]) if obs.ndim == 1 else obs[i].copy()


def assert_same(got, expected):
    """Structures, types, dtypes and masks are equal; numbers too, up to what float32 shows of rounding."""
    for one, other in zip(got, expected, strict=True):
        assert data_equivalence(one, other), f"{one}\n{other}"


def actions_of(env, seed):
    env.action_space.seed(seed)
    return env.action_space.sample


def play(env, steps, seed=0):
    """Everything that so many steps return, copied."""
    sample, rows = actions_of(env, seed), []
    for _ in range(steps):
        obs, rewards, terminated, truncated, _ = env.step(sample())
        rows.append((obs, rewards, terminated, truncated))
    return rows


def of_one(rows, i):
    """Environment i's part of what `play` returns."""
    return [(single(obs, i), float(r[i]), bool(t[i]), bool(u[i])) for obs, r, t, u in rows]


def equal(one, other):
    return data_equivalence(one, other, exact=True)


# ---- spaces, types, whole episodes in the three modes ------------------------------------------------------


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_spaces_shapes_and_dtypes_are_those_of_sync_vector_env(env_id):
    ours = fastpg.make(env_id, 3)
    theirs = gymnasium.make_vec(env_id, 3, vectorization_mode="sync")
    for name in (
        "single_observation_space",
        "single_action_space",
        "observation_space",
        "action_space",
        "num_envs",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    (obs, infos), (their_obs, their_infos) = ours.reset(seed=0), theirs.reset(seed=0)
    assert ours.observation_space.contains(obs)
    assert types(obs) == types(their_obs)
    assert types(infos) == types(their_infos)
    actions = ours.action_space.sample()
    for one, other in zip(ours.step(actions), theirs.step(actions), strict=True):
        assert types(one) == types(other)


def types(value):
    if isinstance(value, dict):
        return {name: types(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(types(one) for one in value)
    return type(value), value.dtype, value.shape


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_episodes_are_those_of_sync_vector_env(env_id, mode):
    pair = Pair(env_id, 7, mode, limit=12)
    pair.reset(seed=5)
    sample, ended = actions_of(pair.ours, 1), 0
    for _ in range(70):
        *_, terminated, truncated, _ = pair.step(sample())
        done = terminated | truncated
        ended += done.sum()
        if mode == "disabled" and done.any():
            pair.reset(options={"reset_mask": done})
    assert ended > 30


@pytest.mark.parametrize("mode", MODES)
def test_a_step_that_terminates_at_the_limit_sets_both_flags(mode):
    pair = Pair("CartPole-v1", 3, mode, limit=1)
    pair.reset()
    pair.ours.set_state(np.array([[0, 0, 0, 0], [2.39, 5, 0, 0], [0, 0, 0.2, 3]], np.float64))
    for env, state in zip(pair.led, pair.ours.get_state()[0], strict=True):
        env.env.state = state
    *_, terminated, truncated, _ = pair.step(np.array([1, 1, 1]))
    assert terminated.tolist() == [False, True, True]
    assert truncated.tolist() == [True, True, True]


@needs_modes
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_partial_resets_are_those_of_sync_vector_env(env_id, mode, rng):
    pair = Pair(env_id, 5, mode, limit=9)
    pair.reset(seed=2)
    sample = actions_of(pair.ours, 3)
    for _ in range(40):
        *_, terminated, truncated, _ = pair.step(sample())
        mask = rng.random(5) < 0.2
        if mode == "disabled":
            mask |= terminated | truncated
        if mask.any():
            pair.reset(options={"reset_mask": mask})


def test_next_step_shows_the_final_observation_then_resets_without_reward():
    env = fastpg.make("CartPole-v1", 2, max_episode_steps=3)
    env.reset(seed=0)
    for _ in range(3):
        obs, _, _, truncated, infos = env.step(np.array([0, 0]))
    assert truncated.all() and infos == {}
    assert (np.abs(obs) > 0.05).any(axis=1).all()
    obs, rewards, terminated, truncated, infos = env.step(np.array([0, 0]))
    assert (np.abs(obs) <= 0.05).all()
    assert rewards.tolist() == [0, 0]
    assert not (terminated | truncated).any() and infos == {}
    assert env.get_state()[1].tolist() == [0, 0]


@pytest.mark.parametrize("action", [-1, 2, 2**40])
def test_an_action_that_is_ignored_may_be_anything(action):
    env = fastpg.make("CartPole-v1", 2, max_episode_steps=1)
    env.reset(seed=0)
    env.step(np.array([0, 1]))
    _, rewards, *_ = env.step(np.array([action, action]))
    assert rewards.tolist() == [0, 0]


def test_same_step_shows_the_new_episode_and_keeps_the_final_observation():
    env = fastpg.make("CartPole-v1", 3, autoreset="same_step", max_episode_steps=20)
    reference = fastpg.make("CartPole-v1", 3, autoreset="next_step", max_episode_steps=20)
    for one in (env, reference):
        one.reset(seed=0)
        one.set_state(np.zeros((3, 4)), np.array([0, 19, 0], np.int32))
    obs, rewards, _, truncated, infos = env.step(np.array([1, 1, 1]))
    final, *_ = reference.step(np.array([1, 1, 1]))
    assert truncated.tolist() == infos["_final_obs"].tolist() == [False, True, False]
    assert rewards.tolist() == [1, 1, 1]
    assert infos["final_obs"][0] is None and infos["final_obs"][2] is None
    assert np.array_equal(infos["final_obs"][1], final[1])
    assert (np.abs(obs[1]) <= 0.05).all()
    assert not np.array_equal(obs[1], final[1])
    assert env.step(np.array([1, 1, 1]))[4] == {}


def test_disabled_waits_for_the_reset_of_whoever_has_ended():
    env = fastpg.make("CartPole-v1", 3, autoreset="disabled")
    env.reset(seed=0)
    env.set_state(np.array([[0.0] * 4, [2.39, 5, 0, 0], [0.0] * 4]))
    _, _, terminated, _, infos = env.step(np.array([1, 1, 1]))
    assert terminated.tolist() == [False, True, False] and infos == {}
    before = env.get_state()
    for _ in range(2):
        with pytest.raises(fastpg.ResetNeeded, match=r"episodes of environments \[1\] have ended"):
            env.step(np.array([1, 1, 1]))
    assert equal(env.get_state(), before)
    with pytest.raises(AssertionError):  # what SyncVectorEnv raises
        env.step(np.array([1, 1, 1]))
    env.reset(options={"reset_mask": np.array([True, False, False])})
    with pytest.raises(fastpg.ResetNeeded):
        env.step(np.array([1, 1, 1]))
    env.reset(options={"reset_mask": terminated})
    env.step(np.array([1, 1, 1]))
    assert env.get_state()[1].tolist() == [1, 1, 2]


# ---- refusals: nothing happens, and the environment goes on ------------------------------------------------


@needs_modes
@pytest.mark.parametrize(
    "mask",
    [
        [True, False, True],
        np.array([True, False]),
        np.array([[True, False, True]]),
        np.array([1, 0, 1]),
        np.array([1.0, 0.0, 1.0]),
        np.zeros(3, np.bool_),
        None,
    ],
    ids=str,
)
def test_a_wrong_reset_mask_is_the_error_of_sync_vector_env(mask):
    ours = fastpg.make("CartPole-v1", 3)
    theirs = gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="sync")
    raised = []
    for env in (ours, theirs):
        env.reset(seed=0)
        with pytest.raises((AssertionError, TypeError, ValueError)) as caught:  # since 1.4 the latter
            env.reset(options={"reset_mask": mask})
        raised.append(caught.value)
    assert isinstance(raised[0], type(raised[1])) and isinstance(raised[0], AssertionError)
    assert str(raised[0]).startswith("VectorEnv.reset(): options['reset_mask'] must ")


def refused(env, call, error, *words):
    """The call raises, changes no state, and the next step works as if it had not been."""
    before = env.get_state()
    with pytest.raises(error) as caught:  # or an error that is one of that kind as well
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert equal(env.get_state(), before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_actions_that_do_not_fit_step_nothing(env_id, mode):
    env, untouched = (fastpg.make(env_id, 3, autoreset=mode) for _ in range(2))
    env.reset(seed=4)
    untouched.reset(seed=4)
    good = actions_of(env, 0)()

    def step(actions):
        return lambda: env.step(actions)

    refused(env, step(good[:2]), ValueError, "actions must have shape (3", "got (2")
    refused(env, step(np.concatenate([good, good])), ValueError, "got (6")
    refused(env, step(good[..., None]), ValueError, "actions must have shape")
    refused(env, step(good[0]), ValueError, "actions must have shape")
    refused(env, step(None), ValueError, "actions must have shape")
    refused(env, step(good.astype(bool)), TypeError, "got bool", "astype")
    refused(env, step(good.astype(np.float64)), TypeError, "got float64", "astype")
    bad = good.copy()
    if good.dtype == np.int64:
        for wrong in (-1, env.single_action_space.n, 2**62, -(2**63)):
            bad[2] = wrong
            error = gymnasium.error.InvalidAction
            refused(env, step(bad), error, "environment 2 must lie in Discrete(", f"got {wrong}")
            refused(env, step(bad), ValueError)
        good = good.astype(np.int32)  # lossless
    else:
        for wrong in (np.nan, np.inf, -np.inf):
            bad[1, 0] = wrong
            refused(env, step(bad), fastpg.InvalidAction, "environment 1 must be finite", f"got {wrong}")
    assert equal(env.step(good), untouched.step(good.astype(bad.dtype)))


@pytest.mark.parametrize("num_envs", [65, 300, 1000])
def test_the_first_bad_action_is_named_wherever_it_is(num_envs):
    env = fastpg.make("CartPole-v1", num_envs)
    env.reset(seed=0)
    for where in (0, num_envs // 2, num_envs - 1):
        actions = np.zeros(num_envs, np.int64)
        actions[where:] = 2
        refused(env, lambda actions=actions: env.step(actions), ValueError, f"action of environment {where} ")


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_actions_may_be_a_column_of_a_larger_array(env_id):
    envs = [fastpg.make(env_id, 5) for _ in range(2)]
    actions = envs[0].action_space.sample()
    column = np.stack([actions, actions], axis=1)[:, 0]
    assert not column.flags.c_contiguous
    results = []
    for env, given in zip(envs, (actions, column), strict=True):
        env.reset(seed=0)
        results.append(env.step(given)[0])
    np.testing.assert_array_equal(*results)


def test_a_list_of_actions_is_taken():
    env = fastpg.make("CartPole-v1", 2)
    env.reset(seed=0)
    env.step([0, 1])
    env.step((0, 1))


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_steps_before_reset_and_after_close_are_refused(env_id):
    env = fastpg.make(env_id, 2)
    actions = env.action_space.sample()
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) first"):
        env.step(actions)
    with pytest.raises(fastpg.ResetNeeded, match="needs a full reset first"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset()
    env.step(actions)
    env.close()
    env.close()
    for call in (lambda: env.step(actions), env.reset, env.render):
        with pytest.raises(gymnasium.error.ClosedEnvironmentError, match="the environment is closed"):
            call()


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_unknown_options_are_refused(env_id):
    env = fastpg.make(env_id, 2)
    env.reset(seed=0)
    words = ("options has no 'lwo'", env_id, "'reset_mask'")
    refused(env, lambda: env.reset(options={"lwo": 1}), ValueError, *words)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"low": 0.5, "high": 0.1}, ValueError, "must not exceed"),
        ({"low": np.nan}, ValueError, "low"),
        ({"high": np.inf}, ValueError, "high"),
        ({"low": "0"}, TypeError, "low"),
        ({"low": True}, TypeError, "low"),
    ],
    ids=str,
)
@pytest.mark.parametrize("env_id", few(BOUNDED, QUICK))
def test_bad_bounds_are_refused(env_id, options, error, words):
    env = fastpg.make(env_id, 2)
    env.reset(seed=0)
    refused(env, lambda: env.reset(options=options), error, words)


@pytest.mark.parametrize("env_id", few(BOUNDED, QUICK))
def test_bounds_hold_for_the_first_states(env_id):
    env = fastpg.make(env_id, 500)
    env.reset(seed=0, options={"low": -0.01, "high": 0.02})
    state = env.get_state()[0]
    drawn = state[:, (state != 0).any(axis=0)]
    assert (drawn >= -0.01).all() and (drawn <= 0.02).all()
    assert (drawn > 0.015).any() and (drawn < -0.005).any()
    env.reset(seed=0, options={})
    assert not equal(env.get_state()[0], state)


def test_the_options_that_are_passed_are_left_alone():
    env = fastpg.make("CartPole-v1", 2)
    env.reset(seed=0)
    options = {"reset_mask": np.array([True, False]), "low": 0.0}
    env.reset(options=options)
    assert set(options) == {"reset_mask", "low"}


# ---- seeds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_an_int_seeds_environment_i_with_seed_plus_i(env_id):
    one, other = fastpg.make(env_id, 4), fastpg.make(env_id, 4)
    assert equal(one.reset(seed=11), other.reset(seed=[11, 12, 13, 14]))
    assert one.np_random_seed == other.np_random_seed == (11, 12, 13, 14)
    assert equal(play(one, 60), play(other, 60))
    assert equal(one.reset(seed=11), other.reset(seed=np.arange(11, 15)))
    assert equal(one.reset(seed=11), fastpg.make(env_id, 4, seed=11).reset())


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_a_trajectory_depends_on_its_seed_and_actions_only(env_id):
    many = fastpg.make(env_id, 300, max_episode_steps=20)
    many.reset(seed=100)
    rows = play(many, 50)
    for i in (0, 15, 16, 255, 256, 299):
        alone = fastpg.make(env_id, 1, max_episode_steps=20)
        alone.reset(seed=100 + i)
        sample = actions_of(many, 0)
        got = [alone.step(sample()[i : i + 1])[:4] for _ in range(50)]
        assert equal(of_one(got, 0), of_one(rows, i))


@pytest.mark.slow
@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_threads_change_nothing(env_id):
    results = []
    before = fastpg.get_num_threads()
    try:
        for threads in (1, 2, 5):
            fastpg.set_num_threads(threads)
            env = fastpg.make(env_id, 20_000, max_episode_steps=10, autoreset="same_step")
            results.append([env.reset(seed=1)[0], *play(env, 25), env.get_state()])
    finally:
        fastpg.set_num_threads(before)
    assert equal(results[0], results[1]) and equal(results[0], results[2])


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_the_autoreset_mode_changes_no_episode(env_id):
    """The same first states and, with the same actions in every step, the same episodes."""
    episodes = {mode: [[[]] for _ in range(20)] for mode in MODES}
    action = fastpg.make(env_id, 20).action_space
    action.seed(0)
    action = action.sample()
    for mode in MODES:
        env = fastpg.make(env_id, 20, autoreset=mode, max_episode_steps=15)
        obs, _ = env.reset(seed=9)
        for i in range(20):
            episodes[mode][i][-1].append(single(obs, i))
        ended = np.zeros(20, np.bool_)
        for _ in range(50):
            obs, rewards, terminated, truncated, infos = env.step(action)
            done = terminated | truncated
            for i in range(20):
                if mode == "next_step" and ended[i]:
                    episodes[mode][i].append([single(obs, i)])
                    continue
                final = infos["final_obs"][i] if mode == "same_step" and done[i] else single(obs, i)
                episodes[mode][i][-1].append((final, rewards[i], terminated[i], truncated[i]))
                if mode == "same_step" and done[i]:
                    episodes[mode][i].append([single(obs, i)])
            ended = done
            if mode == "disabled" and done.any():
                obs, _ = env.reset(options={"reset_mask": done})
                for i in np.flatnonzero(done):
                    episodes[mode][i].append([single(obs, i)])
    for i in range(20):
        whole = min(len(episodes[mode][i]) for mode in MODES) - 1
        assert whole >= 2
        first = episodes["next_step"][i][:whole]
        assert equal(first, episodes["same_step"][i][:whole])
        assert equal(first, episodes["disabled"][i][:whole])


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_every_instruction_set_plays_the_same_episodes(env_id):
    before = _core.isa()
    results = []
    try:
        for isa in _core.isas():
            _core.select_isa(isa)
            env = fastpg.make(env_id, 65, max_episode_steps=25)
            results.append([env.reset(seed=3)[0], *play(env, 60)])
    finally:
        _core.select_isa(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert data_equivalence(one, two)


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_none_lets_random_numbers_go_on_and_a_seed_begins_anew(env_id):
    env, undisturbed = fastpg.make(env_id, 2), fastpg.make(env_id, 2)
    env.reset(seed=[5, 6])
    undisturbed.reset(seed=[5, 6])
    second, _ = undisturbed.reset()
    obs, _ = env.reset(seed=[5, None])
    assert equal(single(obs, 1), single(second, 1))
    assert equal(single(obs, 0), single(fastpg.make(env_id, 1).reset(seed=5)[0], 0))
    assert env.np_random_seed == (5, 6)


def test_seeds_of_a_partial_reset_are_for_those_of_the_mask():
    env = fastpg.make("CartPole-v1", 3)
    first, _ = env.reset(seed=0)
    obs, _ = env.reset(seed=50, options={"reset_mask": np.array([False, True, False])})
    assert env.np_random_seed == (0, 51, 2)
    assert np.array_equal(obs[[0, 2]], first[[0, 2]])
    assert np.array_equal(obs[1], fastpg.make("CartPole-v1", 1).reset(seed=51)[0][0])


def test_without_a_seed_the_operating_system_gives_one():
    first, second = (fastpg.make("CartPole-v1", 2) for _ in range(2))
    assert not np.array_equal(first.reset()[0], second.reset()[0])
    assert first.np_random_seed != second.np_random_seed
    some = fastpg.make("CartPole-v1", 2)
    some.reset(seed=[3, None])
    assert some.np_random_seed[0] == 3
    assert some.np_random_seed[1] > 0


def test_a_list_of_nones_takes_the_seed_of_make_as_none_does():
    expected, _ = fastpg.make("CartPole-v1", 3).reset(seed=5)
    for seed in (None, [None, None, None], [5, None, None]):
        obs, _ = fastpg.make("CartPole-v1", 3, seed=5).reset(seed=seed)
        np.testing.assert_array_equal(obs, expected)


def test_different_seeds_differ_and_so_do_episodes():
    env = fastpg.make("CartPole-v1", 1000)
    first, _ = env.reset(seed=0)
    second, _ = env.reset()
    assert len(np.unique(np.concatenate([first, second]), axis=0)) == 2000
    high, _ = fastpg.make("CartPole-v1", 1).reset(seed=2**32)  # more than 32 bits of a seed count
    assert not np.array_equal(high[0], first[0])


@pytest.mark.parametrize(
    ("seed", "error", "words"),
    [
        (-1, ValueError, "seed must be an integer from 0"),
        (2**64, ValueError, "seed"),
        (1.0, TypeError, "seed must be an integer"),
        (True, TypeError, "seed"),
        ("12", TypeError, "seed"),
        ([1, 2], ValueError, "one entry per environment, 3, got 2"),
        ([1, 2, -3], ValueError, r"seed[2]"),
        ([1, 2, "3"], TypeError, r"seed[2]"),
    ],
    ids=str,
)
def test_a_bad_seed_is_refused(seed, error, words):
    env = fastpg.make("CartPole-v1", 3)
    env.reset(seed=0)
    seeds = env.np_random_seed
    refused(env, lambda: env.reset(seed=seed), error, words)
    assert env.np_random_seed == seeds


# ---- arrays: whose they are --------------------------------------------------------------------------------


def snapshot(value):
    if isinstance(value, dict):
        return {name: snapshot(one) for name, one in value.items()}
    return tuple(snapshot(one) for one in value) if isinstance(value, tuple) else value.copy()


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_what_was_returned_never_changes(env_id, mode):
    env = fastpg.make(env_id, 6, autoreset=mode, max_episode_steps=4)
    kept = [env.reset(seed=0)]
    before = [snapshot(kept[0])]
    sample = actions_of(env, 0)
    for n in range(12):
        kept.append(env.step(sample()) if n != 6 else env.reset())
        before.append(snapshot(kept[-1]))
    assert equal(kept, before)


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_without_copy_the_same_arrays_come_back(env_id):
    env = fastpg.make(env_id, 6, copy=False, autoreset="same_step", max_episode_steps=4)
    copying = fastpg.make(env_id, 6, autoreset="same_step", max_episode_steps=4)
    obs, _ = env.reset(seed=0)
    copying.reset(seed=0)
    sample = actions_of(env, 0)
    first = None
    finals = []
    for _ in range(12):
        actions = sample()
        got = env.step(actions)
        assert equal(got, copying.step(actions))
        first = first or got
        assert all(np.shares_memory(one, other) for one, other in zip(first[1:4], got[1:4], strict=True))
        pairs = zip(got[0], obs, strict=True) if isinstance(obs, tuple) else [(got[0], obs)]
        assert all(np.shares_memory(one, other) for one, other in pairs)
        finals += [(one, np.array(one)) for one in got[4].get("final_obs", []) if one is not None]
    assert finals and all(np.array_equal(one, then) for one, then in finals)


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_a_state_can_be_taken_and_put_back(env_id):
    env = fastpg.make(env_id, 17, max_episode_steps=30)
    env.reset(seed=0)
    play(env, 5)
    state, elapsed = env.get_state()
    assert state.dtype == np.float64 and elapsed.dtype == np.int32
    taken = state.copy()
    other = fastpg.make(env_id, 17, max_episode_steps=30)
    other.reset(seed=77)
    obs = other.set_state(state, elapsed)
    assert equal(other.get_state(), (state, elapsed))
    actions = actions_of(env, 4)()
    last = fastpg.make(env_id, 17)
    last.reset(seed=1)
    assert equal(last.set_state(state), obs)
    assert last.get_state()[1].tolist() == [0] * 17
    other.step(actions)
    assert equal(state, taken)
    assert other.observation_space.contains(obs)


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_set_state_refuses_what_is_no_state(env_id):
    env = fastpg.make(env_id, 2)
    with pytest.raises(fastpg.ResetNeeded, match=r"call reset\(\) first"):
        env.set_state(np.zeros((2, 2)))
    env.reset(seed=0)
    state, elapsed = env.get_state()
    for wrong, error, words in [
        (state[:1], ValueError, "state must have shape (2, "),
        (state[:, :1], ValueError, "state must have shape (2, "),
        (state.astype(np.float32), TypeError, "state must be a float64 numpy array, got float32"),
        (state.tolist(), TypeError, "state must be a float64 numpy array"),
        (np.full_like(state, np.nan), ValueError, "state[0, 0] is nan"),
        (np.full_like(state, -np.inf), ValueError, "state[0, 0] is -inf"),
    ]:
        refused(env, lambda wrong=wrong: env.set_state(wrong), error, words)
    for wrong, error, words in [
        (elapsed[:1], ValueError, "elapsed must have shape (2,), got (1,)"),
        (elapsed.astype(np.int64), TypeError, "elapsed must be a int32 numpy array"),
        (elapsed - 1, ValueError, "elapsed must not be negative, got -1"),
    ]:
        refused(env, lambda wrong=wrong: env.set_state(state, wrong), error, words)
    if env_spec("test", env_id).table is not None:
        for number in (-1.0, 0.5, 1e9):
            wrong = np.stack([state[0], np.full(2, number)])
            refused(
                env, lambda wrong=wrong: env.set_state(wrong), ValueError, "must hold whole numbers in 0.."
            )
    env.close()
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        env.set_state(state)


@pytest.mark.parametrize("num_envs", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_every_size_plays_the_same_episodes(num_envs, mode):
    env = fastpg.make("CartPole-v1", num_envs, autoreset=mode, max_episode_steps=11)
    most = fastpg.make("CartPole-v1", max(SIZES), autoreset=mode, max_episode_steps=11)
    env.reset(seed=0)
    most.reset(seed=0)
    sample = actions_of(most, 0)
    for _ in range(40):
        actions = sample()
        got, expected = env.step(actions[:num_envs]), most.step(actions)
        assert equal(got[:4], tuple(one[:num_envs] for one in expected[:4]))
        if mode == "disabled":
            masks = [one[2] | one[3] for one in (got, expected)]
            for one, mask in zip((env, most), masks, strict=True):
                if mask.any():
                    one.reset(options={"reset_mask": mask})


# ---- Gymnasium's ids, functions, wrappers, checkers --------------------------------------------------------


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_make_vec_of_the_spec_makes_the_same_again(env_id):
    env = fastpg.make(env_id, 3, autoreset="same_step", copy=False, seed=8, max_episode_steps=7)
    again = gymnasium.make_vec(env.spec)
    assert isinstance(again, fastpg.VectorEnv)
    assert again.num_envs == 3
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert equal(env.reset(), again.reset())
    assert equal(play(env, 20), play(again, 20))
    assert gymnasium.make_vec(again.spec).spec == again.spec


def test_parameters_are_part_of_the_spec():
    env = fastpg.make("CartPole-v1", 2, sutton_barto_reward=True)
    again = gymnasium.make_vec(env.spec)
    again.reset()
    assert again.step(np.array([0, 1]))[1].tolist() == [0, 0]


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_gymnasiums_make_vec_knows_native_environments(env_id):
    env = gymnasium.make_vec(f"fastpg/{env_id}", num_envs=4)
    assert isinstance(env, fastpg.VectorEnv)
    assert env.spec.id == f"fastpg/{env_id}"
    assert env.spec.max_episode_steps == gymnasium.spec(env_id).max_episode_steps
    assert env.spec.reward_threshold == gymnasium.spec(env_id).reward_threshold
    assert equal(env.reset(seed=0), fastpg.make(env_id, 4).reset(seed=0))
    assert repr(env) == f"VectorEnv(fastpg/{env_id}, num_envs=4)"


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_vectorization_mode_sync_steps_native_environments_one_by_one(env_id):
    many = fastpg.make(env_id, 3, max_episode_steps=8)
    sync = gymnasium.make_vec(f"fastpg/{env_id}", 3, vectorization_mode="sync", max_episode_steps=8)
    assert isinstance(sync, SyncVectorEnv)
    assert_same(many.reset(seed=0), sync.reset(seed=0))
    sample = actions_of(many, 0)
    for _ in range(8):
        actions = sample()
        got, expected = many.step(actions), sync.step(actions)
        assert_same(got, expected)
        if (got[2] | got[3]).any():
            break


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_max_episode_steps_is_gymnasiums_unless_given(env_id):
    limit = gymnasium.spec(env_id).max_episode_steps or 10**6

    def truncates_after(steps, **given):
        env = fastpg.make(env_id, 1, **given)
        env.reset(seed=0)
        state, _ = env.get_state()
        env.set_state(state, np.array([steps - 1], np.int32))
        *_, truncated, _ = env.step(np.zeros_like(env.action_space.sample()))
        return bool(truncated[0])

    if gymnasium.spec(env_id).max_episode_steps:
        assert truncates_after(limit) and not truncates_after(limit - 1)
    assert truncates_after(5, max_episode_steps=5) and not truncates_after(4, max_episode_steps=5)
    assert not truncates_after(limit, max_episode_steps=0)
    env = gymnasium.make_vec(f"fastpg/{env_id}", 2, max_episode_steps=1)
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[3].all()


def test_autoreset_is_a_string_or_gymnasiums_enum():
    for name, mode in AUTORESET.items():
        for given in (name, mode, mode.value):
            env = gymnasium.make_vec("fastpg/CartPole-v1", 2, autoreset=given)
            assert env.metadata["autoreset_mode"] is mode
    with pytest.raises(ValueError, match="autoreset must be one of 'next_step', 'same_step', 'disabled'"):
        fastpg.make("CartPole-v1", 2, autoreset="never")
    with pytest.raises(TypeError, match="autoreset"):
        fastpg.make("CartPole-v1", 2, autoreset=None)


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        ("make_vec('fastpg:fastpg/CartPole-v1', num_envs=2)", "(2, 4)"),
        ("make('fastpg:fastpg/CartPole-v1')", "(4,)"),
    ],
)
def test_a_fresh_interpreter_finds_native_environments_by_their_module(call, shape):
    """Gymnasium 1 has no plug-ins: the module is part of the id."""
    code = f"import gymnasium; env = gymnasium.{call}; print(env.reset(seed=0)[0].shape, env.spec.id)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{shape} fastpg/CartPole-v1\n"


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_single_environments_pass_gymnasiums_checker(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bounds that Gymnasium's own spaces have as well
        check_env(gymnasium.make(f"fastpg/{env_id}").unwrapped, skip_render_check=True)


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_a_single_environment_returns_what_gymnasiums_does(env_id):
    ours, theirs = gymnasium.make(f"fastpg/{env_id}"), gymnasium.make(env_id)
    got, expected = ours.reset(seed=0), theirs.reset(seed=0)
    assert nested_types(got) == nested_types(expected)
    action = ours.action_space.sample()
    got, expected = ours.step(action), theirs.step(action)
    assert nested_types((got[0], *got[2:])) == nested_types((expected[0], *expected[2:]))
    assert isinstance(got[1], float)
    ours.close()


def nested_types(value):
    if isinstance(value, dict):
        return {name: nested_types(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [nested_types(one) for one in value]
    return (np.ndarray, value.dtype, value.shape) if isinstance(value, np.ndarray) else type(value)


@pytest.mark.parametrize("mode", ["next_step", pytest.param("disabled", marks=needs_modes)])
@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_record_episode_statistics_counts_as_we_do(env_id, mode):
    env = wrappers.RecordEpisodeStatistics(fastpg.make(env_id, 9, autoreset=mode, max_episode_steps=13))
    env.reset(seed=0)
    sample = actions_of(env, 0)
    returns, lengths, ended, episodes = np.zeros(9), np.zeros(9, int), np.zeros(9, np.bool_), 0
    for _ in range(60):
        _, rewards, terminated, truncated, infos = env.step(sample())
        returns, lengths = np.where(ended, 0, returns + rewards), np.where(ended, 0, lengths + 1)
        done = terminated | truncated
        assert ("episode" in infos) == done.any()
        if done.any():
            assert np.allclose(infos["episode"]["r"][done], returns[done])
            assert np.array_equal(infos["episode"]["l"][done], lengths[done])
            assert np.array_equal(infos["_episode"], done)
            episodes += done.sum()
        ended = done
        if mode == "disabled" and done.any():
            env.reset(options={"reset_mask": done})
            returns[done], lengths[done], ended = 0, 0, np.zeros(9, np.bool_)
    assert episodes > 20
    assert env.episode_count == episodes


@pytest.mark.parametrize("env_id", few(PLAIN_OBSERVATIONS, QUICK))
def test_normalising_wrappers_go_on_top(env_id):
    env = fastpg.make(env_id, 32, max_episode_steps=50)
    if isinstance(env.single_observation_space, Box):
        env = wrappers.NormalizeObservation(env)
    env = wrappers.NormalizeReward(env)
    env.reset(seed=0)
    sample = actions_of(env, 0)
    for _ in range(60):
        obs, rewards, *_ = env.step(sample())
    if isinstance(env.single_observation_space, Box):
        assert obs.dtype == np.float32 and np.abs(obs.mean()) < 2
    assert np.isfinite(rewards).all()


@pytest.mark.parametrize("env_id", few(CONTINUOUS, QUICK))
def test_action_wrappers_go_on_top(env_id):
    plain = fastpg.make(env_id, 5)
    clipped = wrappers.ClipAction(fastpg.make(env_id, 5))
    rescaled = wrappers.RescaleAction(fastpg.make(env_id, 5), np.float32(-0.5), np.float32(0.5))
    for env in (plain, clipped, rescaled):
        env.reset(seed=0)
    high = plain.action_space.high
    expected = plain.step(high)
    assert equal(clipped.step(high * 7)[:4], expected[:4])
    assert_same(rescaled.step(np.full_like(high, 0.5))[:4], expected[:4])


# ---- pictures ----------------------------------------------------------------------------------------------


def test_render_needs_a_mode_and_a_reset():
    env = fastpg.make("CartPole-v1", 2)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
        assert env.render() is None
    with pytest.raises(ValueError, match="render_mode must be one of 'rgb_array', got 'human'"):
        fastpg.make("CartPole-v1", 2, render_mode="human")
    pytest.importorskip("pygame", reason="pygame is not installed")
    env = fastpg.make("CartPole-v1", 2, render_mode="rgb_array")
    with pytest.raises(fastpg.ResetNeeded):
        env.render()


@pytest.mark.parametrize("env_id", few([one for one in IDS if one != "Blackjack-v1"], QUICK))
def test_pictures_are_gymnasiums_own(env_id):
    pytest.importorskip("pygame", reason="pygame is not installed")
    ours = fastpg.make(env_id, 3, render_mode="rgb_array")
    theirs = gymnasium.make(env_id, render_mode="rgb_array").unwrapped
    ours.reset(seed=1)
    theirs.reset(seed=1)
    sample, actions = actions_of(ours, 1), None
    for _ in range(6):
        frames = ours.render()
        states, elapsed = ours.get_state()
        for i, frame in enumerate(frames):
            action = actions[i] if elapsed[i] > 0 else None
            theirs.state, theirs.s = states[i], int(states[i][0])
            theirs.lastaction, theirs.taxi_orientation = action, 0
            theirs.last_u = None if action is None or env_id != "Pendulum-v1" else action[0]
            assert frame.dtype == np.uint8 and frame.ndim == 3
            assert np.array_equal(frame, theirs.render())
        actions = sample()
        ours.step(actions)
    ours.close()
    theirs.close()


@pytest.mark.slow
@pytest.mark.skipif("Blackjack-v1" not in IDS, reason="Blackjack is not native here")
def test_blackjack_shows_the_sums_and_the_dealers_card():
    pytest.importorskip("pygame", reason="pygame is not installed")
    ours = fastpg.make("Blackjack-v1", 40, render_mode="rgb_array")
    theirs = gymnasium.make("Blackjack-v1", render_mode="rgb_array").unwrapped
    (total, dealer, ace), _ = ours.reset(seed=0)
    assert ace.any() and not ace.all()
    theirs.reset(seed=0)
    for i, frame in enumerate(ours.render()):
        theirs.player = [1, total[i] - 11] if ace[i] else [total[i] - 10, 10] if total[i] > 11 else [total[i]]
        theirs.dealer = [int(dealer[i])]
        theirs.dealer_top_card_suit = "S"
        theirs.dealer_top_card_value_str = {1: "A", 10: "K"}.get(int(dealer[i]), str(dealer[i]))
        assert np.array_equal(frame, theirs.render())


@pytest.mark.parametrize("env_id", few(IDS, QUICK))
def test_single_environments_render(env_id):
    pytest.importorskip("pygame", reason="pygame is not installed")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*is being initialised with render_mode")
        env = gymnasium.make(f"fastpg/{env_id}", render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().dtype == np.uint8
    env.close()
