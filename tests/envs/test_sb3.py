"""Native environments under Stable-Baselines3's real algorithms and wrappers."""

import sys

import gymnasium
import numpy as np
import pytest

import fastpg

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")

from gymnasium.utils.env_checker import data_equivalence
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecEnv, VecMonitor, VecNormalize

from fastpg.sb3 import as_vec_env

ON_CPU = {"seed": 0, "device": "cpu"}
IDS = [one for one in fastpg.list_envs() if not one.startswith("Blackjack")]


pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Repeats(gymnasium.Env):
    """One environment that repeats what a native one has said: DummyVecEnv's part is what is compared."""

    def __init__(self, native):
        self.observation_space = native.single_observation_space
        self.action_space = native.single_action_space
        self.said = []

    def reset(self, *, seed=None, options=None):
        return self.said.pop(0)

    def step(self, action):
        return self.said.pop(0)


def one_of(values, i):
    """Entry i of a batch of infos, as a single environment has it."""
    return {name: entry[i] for name, entry in values.items() if not name.startswith(("_", "final"))}


def plain(infos):
    """Numbers without their types: Python's or NumPy's."""
    return [
        {name: value.item() if isinstance(value, np.generic) else value for name, value in info.items()}
        for info in infos
    ]


@pytest.mark.parametrize("env_id", IDS)
def test_steps_and_infos_are_those_of_dummy_vec_env(env_id):
    settings = {"autoreset": "same_step", "max_episode_steps": 9}
    native = fastpg.make(env_id, 5, **settings)
    ours = as_vec_env(fastpg.make(env_id, 5, **settings))
    dummy = DummyVecEnv([lambda: Repeats(native) for _ in range(5)])
    obs, infos = native.reset(seed=3)
    for i, env in enumerate(dummy.envs):
        env.said = [(obs[i], one_of(infos, i))]
    ours.seed(3)
    assert data_equivalence(ours.reset(), dummy.reset(), exact=True)
    assert data_equivalence(plain(ours.reset_infos), plain(dummy.reset_infos), exact=True)
    native.action_space.seed(0)
    for _ in range(40):
        actions = native.action_space.sample()
        obs, rewards, terminated, truncated, infos = native.step(actions)
        for i, env in enumerate(dummy.envs):
            flags = (float(rewards[i]), bool(terminated[i]), bool(truncated[i]))
            if terminated[i] or truncated[i]:
                env.said = [
                    (infos["final_obs"][i], *flags, one_of(infos["final_info"], i)),
                    (obs[i], one_of(infos, i)),
                ]
            else:
                env.said = [(obs[i], *flags, one_of(infos, i))]
        expected, got = dummy.step(actions), ours.step(actions)
        assert data_equivalence(got[:3], expected[:3], exact=True)
        assert data_equivalence(plain(got[3]), plain(expected[3]), exact=True)
        assert data_equivalence(plain(ours.reset_infos), plain(dummy.reset_infos), exact=True)
        assert got[1].dtype == np.float32


def test_an_episode_that_ends_at_its_limit_is_truncated_only_if_it_did_not_terminate():
    ours = as_vec_env("CartPole-v1", 2, max_episode_steps=1)
    ours.reset()
    ours.vector_env.set_state(np.array([[0.0, 0, 0, 0], [2.39, 5, 0, 0]]))
    _, _, dones, infos = ours.step(np.array([1, 1]))
    assert dones.tolist() == [True, True]
    assert [info["TimeLimit.truncated"] for info in infos] == [True, False]
    assert infos[1]["terminal_observation"][0] > 2.4


def test_it_is_a_vec_env():
    env = as_vec_env("CartPole-v1", num_envs=3)
    assert isinstance(env, VecEnv)
    assert env.num_envs == 3
    assert env.unwrapped is env
    assert env.get_attr("num_envs", indices=[0, 2]) == [3, 3]
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    assert env.has_attr("spec")
    assert not env.has_attr("no_such_thing")
    env.set_attr("note", 5)
    assert env.get_attr("note", 1) == [5]
    env.reset()
    assert len(env.env_method("get_state")) == 3
    for call in (
        lambda: env.set_attr("note", 1, indices=0),
        lambda: env.env_method("get_state", indices=[1]),
    ):
        with pytest.raises(ValueError, match="share them; indices must be None"):
            call()
    env.close()
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        env.reset()


def test_seed_and_options_hold_for_the_next_reset_only():
    env = as_vec_env("CartPole-v1", num_envs=3)
    assert list(env.seed(7)) == [7, 8, 9]
    env.set_options({"low": 0.01, "high": 0.02})
    first, second = env.reset(), env.reset()
    assert (first >= 0.01).all()
    assert (second < 0.01).any()
    assert not np.array_equal(first, second)
    env.seed(7)
    env.set_options({"low": 0.01, "high": 0.02})
    assert np.array_equal(env.reset(), first)
    env.set_options([{"low": 0.0}, {}, {}])
    with pytest.raises(ValueError, match="share their options"):
        env.reset()


def test_observations_stay_even_where_the_environment_overwrites_its_own():
    env = as_vec_env("CartPole-v1", num_envs=3, copy=False)
    first = env.reset()
    before = first.copy()
    second, *_ = env.step(np.zeros(3, np.int64))
    after = second.copy()
    env.step(np.ones(3, np.int64))
    assert np.array_equal(first, before)
    assert np.array_equal(second, after)


def test_normalize_monitor_and_nan_checks_go_on_top():
    env = VecCheckNan(
        VecNormalize(VecMonitor(as_vec_env("CartPole-v1", num_envs=16, seed=0))), raise_exception=True
    )
    env.reset()
    rng, episodes, lengths = np.random.default_rng(0), [], np.zeros(16, int)
    for _ in range(300):
        obs, _, dones, infos = env.step(rng.integers(2, size=16))
        lengths += 1
        for i in np.flatnonzero(dones):
            episodes.append((infos[i]["episode"], lengths[i]))
            lengths[i] = 0
    assert len(episodes) > 50
    assert all(one["r"] == one["l"] == length for one, length in episodes)
    assert abs(obs.mean()) < 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: as_vec_env(fastpg.make("CartPole-v1", 2)), ValueError, "autoreset='same_step'"),
        (lambda: as_vec_env("CartPole-v1", 2, autoreset="next_step"), ValueError, "leave it out"),
        (
            lambda: as_vec_env(gymnasium.make("CartPole-v1")),
            TypeError,
            "must be a fastpg.VectorEnv, an id",
        ),
        (lambda: as_vec_env("Pong", 2), ValueError, "'Pong' is not implemented"),
        (lambda: as_vec_env("CartPole-v1", 0), ValueError, "num_envs"),
        (
            lambda: as_vec_env(fastpg.make("CartPole-v1", 2, autoreset="same_step"), 3),
            TypeError,
            "num_envs goes with an id",
        ),
    ],
)
def test_as_vec_env_refuses(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif("Blackjack-v1" not in fastpg.list_envs(), reason="no environment has Tuple observations")
def test_tuple_observations_are_refused_as_sb3_has_none():
    with pytest.raises(ValueError, match="no Tuple observations, which fastpg/Blackjack-v1 has"):
        as_vec_env("Blackjack-v1", 2)


def test_without_stable_baselines3_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "fastpg.sb3")
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.vec_env", None)
    with pytest.raises(ImportError, match=r"pip install stable-baselines3$"):
        import fastpg.sb3  # noqa: F401


def test_rendering_tiles_one_image():
    pytest.importorskip("pygame", reason="pygame is not installed")
    env = as_vec_env("CartPole-v1", num_envs=4, render_mode="rgb_array")
    env.reset()
    (height, width, _) = env.get_images()[0].shape
    assert env.render().shape == (2 * height, 2 * width, 3)


@pytest.mark.slow
def test_ppo_learns_cartpole():
    """A random player earns 22."""
    env = VecMonitor(as_vec_env("CartPole-v1", num_envs=32))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=256, n_epochs=4, learning_rate=1e-3, **ON_CPU)
    model.learn(20_000)
    judge = VecMonitor(as_vec_env("CartPole-v1", 20, seed=1))
    mean_return, _ = evaluate_policy(model, judge, n_eval_episodes=20, deterministic=False)
    assert mean_return > 60


@pytest.mark.parametrize("env_id", IDS)
def test_ppo_takes_every_environment(env_id):
    model = PPO(
        "MlpPolicy", as_vec_env(env_id, 4), n_steps=16, batch_size=32, n_epochs=1, seed=0, device="cpu"
    )
    model.learn(64)
    assert all(np.isfinite(one.detach().numpy()).all() for one in model.policy.parameters())
