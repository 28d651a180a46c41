"""MuJoCo tasks: Gymnasium's classes step by step, to the bit; how they are used everywhere."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

import fastpg
from fastpg.envs.autoreset import AUTORESET_MODES
from fastpg.envs.mujoco import TASKS
from tests.support.gymnasium_envs import needs_modes, vector_of
from tests.support.mujoco_envs import differences, kolmogorov_smirnov
from tests.support.refusals import refuse

pytest.importorskip("mujoco", minversion="4.0")

# Gymnasium squares single numbers with pow() here, whose last bit is not always that of a product.
CLOSE = {"InvertedDoublePendulum-v5": ("[1]", "distance_penalty", "velocity_penalty")}


def both(env_id, num_envs, mode="next_step", limit=None, **params):
    """Return our environments and Gymnasium's."""
    theirs = vector_of(
        [lambda: gymnasium.make(env_id, max_episode_steps=limit, **params)] * num_envs, AUTORESET_MODES[mode]
    )
    return fastpg.make(env_id, num_envs, autoreset=mode, max_episode_steps=limit, **params), theirs


def step_both(ours, theirs, steps, close=()):
    """Step both from the same seed; return how many episodes ended."""
    assert not differences(ours.reset(seed=5), theirs.reset(seed=5))
    theirs.action_space.seed(0)
    ended = 0
    for t in range(steps):
        actions = theirs.action_space.sample()
        results = ours.step(actions), theirs.step(actions)
        assert not differences(*results, close=close), t
        done = results[0][2] | results[0][3]
        ended += done.sum()
        if ours.metadata["autoreset_mode"].name == "DISABLED" and done.any():
            masks = [{"options": {"reset_mask": done.copy()}} for _ in range(2)]
            assert not differences(ours.reset(**masks[0]), theirs.reset(**masks[1]))
    return ended


@pytest.mark.parametrize("mode", ["next_step", "same_step", pytest.param("disabled", marks=needs_modes)])
@pytest.mark.parametrize("env_id", TASKS)
def test_steps_resets_and_infos_are_gymnasiums_to_the_bit(env_id, mode):
    ours, theirs = both(env_id, 3, mode, limit=9)
    for space in ("single_observation_space", "single_action_space", "observation_space", "action_space"):
        assert getattr(ours, space) == getattr(theirs, space)
    assert ours.metadata["render_fps"] == theirs.metadata["render_fps"]
    assert step_both(ours, theirs, 30, CLOSE.get(env_id, ())) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("env_id", TASKS)
def test_long_episodes_are_gymnasiums(env_id):
    falls = "terminate_when_unhealthy" in TASKS[env_id].__annotations__ or env_id in (
        "Hopper-v5",
        "Walker2d-v5",
    )
    for params in ({}, {"terminate_when_unhealthy": False}) if falls else ({},):
        ours, theirs = both(env_id, 2, limit=1000, **params)
        step_both(ours, theirs, 1002, CLOSE.get(env_id, ()))


@pytest.mark.parametrize(
    ("env_id", "params"),
    [
        ("Reacher-v5", {"reward_dist_weight": 2.5, "reward_control_weight": 0.3, "frame_skip": 3}),
        ("Pusher-v5", {"reward_near_weight": 0.7, "reward_dist_weight": 3, "reward_control_weight": 0.2}),
        ("InvertedPendulum-v5", {"reset_noise_scale": 0.15}),
        ("InvertedDoublePendulum-v5", {"reset_noise_scale": 0.05, "healthy_reward": 3.0}),
        ("HalfCheetah-v5", {"forward_reward_weight": 2, "ctrl_cost_weight": 0.3, "reset_noise_scale": 0.4}),
        ("HalfCheetah-v5", {"exclude_current_positions_from_observation": False, "frame_skip": 2}),
        ("Hopper-v5", {"healthy_reward": 2.0, "healthy_state_range": (-1.5, 1.5), "reset_noise_scale": 0.1}),
        ("Hopper-v5", {"healthy_z_range": (1.2, 1.3), "healthy_angle_range": (-0.05, 0.02)}),
        (
            "Hopper-v5",
            {"terminate_when_unhealthy": False, "exclude_current_positions_from_observation": False},
        ),
        ("Swimmer-v5", {"exclude_current_positions_from_observation": False, "forward_reward_weight": 3.0}),
        ("Walker2d-v5", {"healthy_z_range": (1.1, 1.24), "ctrl_cost_weight": 0.1}),
        ("Walker2d-v5", {"xml_file": "walker2d.xml", "terminate_when_unhealthy": False}),
        ("Ant-v5", {"include_cfrc_ext_in_observation": False, "main_body": 2, "contact_cost_weight": 0.1}),
        ("Ant-v5", {"main_body": "torso", "contact_force_range": (-0.2, 0.3), "healthy_z_range": (0.5, 0.7)}),
        ("Ant-v5", {"exclude_current_positions_from_observation": False, "terminate_when_unhealthy": False}),
        ("Humanoid-v5", {"include_cinert_in_observation": False, "contact_cost_range": (0.001, 0.002)}),
        ("Humanoid-v5", {"include_cvel_in_observation": False, "healthy_z_range": (1.35, 1.45)}),
        ("Humanoid-v5", {"include_qfrc_actuator_in_observation": False, "forward_reward_weight": 2.0}),
        ("Humanoid-v5", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 1e-3}),
        ("HumanoidStandup-v5", {"impact_cost_weight": 1e-3, "impact_cost_range": (0.1, 2.0)}),
        ("HumanoidStandup-v5", {"ctrl_cost_weight": 0.5, "include_cfrc_ext_in_observation": False}),
    ],
    ids=str,
)
def test_constructor_arguments_are_gymnasiums(env_id, params):
    ours, theirs = both(env_id, 2, limit=12, **params)
    step_both(ours, theirs, 25, CLOSE.get(env_id, ()))


@pytest.mark.parametrize("env_id", TASKS)
def test_every_argument_of_gymnasiums_class_is_taken(env_id):
    import inspect

    from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

    theirs = gymnasium.envs.registration.load_env_creator(gymnasium.spec(env_id).entry_point)
    defaults = {
        one.name: one.default
        for kind in (theirs, MujocoEnv)
        for one in inspect.signature(kind).parameters.values()
        if one.default is not one.empty
    }
    fastpg.make(env_id, 1, **defaults)


@pytest.mark.parametrize("env_id", TASKS)
def test_first_states_are_distributed_as_gymnasiums(env_id):
    ours = fastpg.make(env_id, 50, seed=1)
    theirs = gymnasium.make(env_id)
    first = np.concatenate([ours.reset()[0] for _ in range(20)])
    theirs.reset(seed=10_000)
    second = np.array([theirs.reset()[0] for _ in range(1000)])
    varied = first.std(axis=0) > 1e-12
    assert varied.any() and np.array_equal(varied, second.std(axis=0) > 1e-12)
    for column in np.flatnonzero(varied):
        assert kolmogorov_smirnov(first[:, column], second[:, column]) < 2.3, column  # p = 5e-5
    assert np.allclose(first[:, ~varied], second[0, ~varied])


# ---- seeds, states, threads --------------------------------------------------------------------------------


def played(env, steps, count):
    """Return what the first environments did under actions that depend on their number and the time."""
    seen = [env.reset(seed=3)[0][:count]]
    size = env.single_action_space.shape[0]
    for t in range(steps):
        actions = np.cos(np.arange(env.num_envs)[:, None] + np.arange(size) + t)
        seen += [part[:count] for part in env.step(actions.astype(np.float32))[:4]]
    return tuple(seen)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Ant-v5"])
def test_an_environment_does_not_depend_on_how_many_there_are_nor_on_threads(env_id, threads):
    results = []
    for num_envs, count in ((2, 1), (5, 2), (2, 2)):
        threads(count)
        results.append(played(fastpg.make(env_id, num_envs, max_episode_steps=6), 20, 2))
    assert not differences(results[0], results[1])
    assert not differences(results[0], results[2])


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Ant-v5", "Humanoid-v5"])
def test_what_follows_a_state_is_the_same_to_the_bit(env_id):
    env = fastpg.make(env_id, 3)
    env.reset(seed=0)
    actions = np.full(env.action_space.shape, 0.1, np.float32)
    for _ in range(4):
        obs = env.step(actions)[0]
    state = env.get_state()
    assert state[1].tolist() == [4, 4, 4]
    following = [env.step(actions) for _ in range(3)]
    for other in (env, fastpg.make(env_id, 3, seed=9)):
        other.reset()
        assert not differences(other.set_state(*state), obs)
        for result in following:
            assert not differences(other.step(actions), result)


def test_a_state_that_is_none_is_refused():
    env = fastpg.make("Hopper-v5", 2)
    refuse(env.get_state, fastpg.ResetNeeded, "MujocoEnv.get_state(): call reset() first")
    env.reset(seed=0)
    state, elapsed = env.get_state()
    where = "MujocoEnv.set_state()"
    refuse(lambda: env.set_state(state[:1]), ValueError, where, "state must have shape")
    refuse(lambda: env.set_state(state.astype(np.float32)), TypeError, where, "float64")
    refuse(lambda: env.set_state(state * np.nan), ValueError, where, "finite")
    refuse(lambda: env.set_state(state, elapsed - 1), ValueError, where, "elapsed must lie in")
    refuse(lambda: env.set_state(state, elapsed.tolist()), TypeError, where, "elapsed must be a int32")
    assert not differences(env.get_state(), (state, elapsed))


# ---- making them, and whoever takes environments ----------------------------------------------------------


def test_make_vec_makes_them_too():
    env = gymnasium.make_vec("fastpg/Hopper-v5", num_envs=2, healthy_reward=2.0)
    assert isinstance(env, fastpg.MujocoEnv) and env.healthy_reward == 2.0
    again = gymnasium.make_vec(fastpg.make("fastpg/Hopper-v5", 3, autoreset="same_step", frame_skip=2).spec)
    assert again.num_envs == 3 and again.metadata["autoreset_mode"].name == "SAME_STEP"
    assert again.dt == pytest.approx(0.004)
    assert type(gymnasium.make("fastpg/Hopper-v5").unwrapped).__name__ == "HopperEnv"


@pytest.mark.parametrize(
    ("env_id", "params", "error", "words"),
    [
        (
            "Ant-v5",
            {"weight": 1},
            TypeError,
            ["unexpected argument 'weight'", "contact_cost_weight", "camera_id"],
        ),
        ("Ant-v5", {"ctrl_cost_weight": "1"}, TypeError, ["ctrl_cost_weight must be a number"]),
        ("Ant-v5", {"ctrl_cost_weight": np.nan}, ValueError, ["ctrl_cost_weight must be a number"]),
        ("Ant-v5", {"healthy_z_range": 1.0}, TypeError, ["healthy_z_range must be a pair"]),
        ("Ant-v5", {"healthy_z_range": (1.0, None)}, TypeError, ["healthy_z_range[1] must be a number"]),
        (
            "Ant-v5",
            {"terminate_when_unhealthy": 1},
            TypeError,
            ["terminate_when_unhealthy must be True or False"],
        ),
        ("Ant-v5", {"frame_skip": 0}, ValueError, ["frame_skip must be an integer from 1"]),
        ("Ant-v5", {"xml_file": 3}, TypeError, ["xml_file must be a string"]),
        ("Ant-v5", {"xml_file": "none.xml"}, FileNotFoundError, ["xml_file", "none.xml does not exist"]),
        ("Ant-v5", {"main_body": -1}, ValueError, ["main_body must be an integer >= 0"]),
        ("Ant-v5", {"width": 0}, ValueError, ["width must be an integer"]),
        ("Ant-v5", {"camera_id": 0, "camera_name": "track"}, ValueError, ["at most one of camera_id"]),
        ("Ant-v5", {"default_camera_config": 3}, TypeError, ["default_camera_config must be a mapping"]),
        ("Ant-v5", {"render_mode": "human"}, ValueError, ["render_mode must be one of 'rgb_array'"]),
        ("Ant-v5", {"copy": False}, ValueError, ["copy=False goes with native environments"]),
        ("Ant-v5", {"autoreset": "never"}, ValueError, ["autoreset must be one of"]),
        ("Ant-v5", {"max_episode_steps": -1}, ValueError, ["max_episode_steps must be"]),
        ("Ant-v5", {"num_envs": 2**21}, ValueError, ["num_envs must be"]),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(env_id, params, error, words):
    refuse(lambda: fastpg.make(env_id, **({"num_envs": 1} | params)), error, "make(): ", *words)


def test_wrong_steps_and_resets_are_refused_and_change_nothing():
    env = fastpg.make("Hopper-v5", 3, autoreset="disabled", max_episode_steps=2)
    actions = np.zeros((3, 3), np.float32)
    refuse(lambda: env.step(actions), fastpg.ResetNeeded, "MujocoEnv.step(): call reset() first")
    mask = {"reset_mask": np.array([True, False, False])}
    refuse(lambda: env.reset(options=mask), fastpg.ResetNeeded, "needs a full reset first")
    env.reset(seed=1)
    before = env.get_state()
    for wrong, error, words in [
        (actions[:2], ValueError, "actions must have shape (3, 3), got (2, 3)"),
        (actions.astype(int), TypeError, "actions must be float32 or float64"),
        ([[0.0] * 3, [0.0] * 2, []], ValueError, "actions makes no array"),
        (
            actions + np.array([[0], [np.inf], [0]]),
            fastpg.InvalidAction,
            "the action of environment 1 must be finite",
        ),
    ]:
        refuse(lambda wrong=wrong: env.step(wrong), error, "MujocoEnv.step()", words)
    for given, error, words in [
        ({"options": {"low": 1}}, ValueError, "options has no 'low'; it takes 'reset_mask'"),
        ({"options": 3}, TypeError, "options must be a mapping"),
        ({"seed": -1}, ValueError, "seed must be an integer from 0"),
        ({"seed": [1, 2]}, ValueError, "seed must have one entry per environment"),
    ]:
        refuse(lambda given=given: env.reset(**given), error, "MujocoEnv.reset()", words)
    with pytest.raises(AssertionError, match="must have at least one True entry"):
        env.reset(options={"reset_mask": np.zeros(3, bool)})
    assert not differences(env.get_state(), before)
    for _ in range(2):
        env.step(actions)
    refuse(lambda: env.step(actions), fastpg.ResetNeeded, "environments [0, 1, 2] have ended")
    env.close()
    refuse(env.reset, gymnasium.error.ClosedEnvironmentError, "MujocoEnv.reset(): the environment is closed")


def test_float64_actions_are_taken_as_they_are():
    ours, theirs = both("HalfCheetah-v5", 1)
    ours.reset(seed=0)
    theirs.envs[0].reset(seed=0)
    action = np.full(6, 0.1)
    assert ours.step(action[None])[1][0] == theirs.envs[0].step(action)[1]


@pytest.mark.parametrize("given", ["id", "environment"])
def test_training_evaluation_and_collect_take_them(given):
    def env():
        return "InvertedPendulum-v5" if given == "id" else fastpg.make("InvertedPendulum-v5", 4)

    run = fastpg.train(env(), fastpg.VPG(), num_envs=4, horizon=32, hidden=(8,), total_steps=512, seed=2)
    assert run.num_steps >= 512 and np.isfinite(run.history["mean_return"][-1])
    again = fastpg.train(env(), fastpg.VPG(), num_envs=4, horizon=32, hidden=(8,), total_steps=512, seed=2)
    assert np.array_equal(run.policy.theta, again.policy.theta)
    returns, lengths = fastpg.evaluate(env(), run.policy, episodes=4, seed=0)
    assert np.array_equal(returns, lengths - 1.0)  # the step that ends an episode earns nothing
    batch = fastpg.collect(env(), run.policy, 40, **({"num_envs": 4} if given == "id" else {}))
    assert batch.obs.shape == (40, 4, 4) and batch.num_episodes > 0
    assert batch.mask is None  # resets are asked for


def test_a_mode_of_vectorization_is_gymnasiums_own_environment():
    run = fastpg.train("Reacher-v5", num_envs=2, vectorization_mode="sync", hidden=(4,), total_steps=200)
    assert run.num_steps >= 200


def test_stable_baselines3_takes_them():
    pytest.importorskip("stable_baselines3")
    from fastpg.sb3 import as_vec_env

    env = as_vec_env("Hopper-v5", 3, seed=0, max_episode_steps=4)
    obs = env.reset()
    assert obs.shape == (3, 11) and set(env.reset_infos[0]) == {"x_position", "z_distance_from_origin"}
    for _ in range(4):
        obs, rewards, dones, infos = env.step(np.zeros((3, 3), np.float32))
    assert dones.all() and infos[0]["TimeLimit.truncated"] and infos[0]["terminal_observation"].shape == (11,)
    assert rewards.dtype == np.float32 and "x_velocity" in infos[0]


def test_the_command_line_takes_them(tmp_path, monkeypatch, capsys):
    from fastpg.cli import main as cli

    monkeypatch.setattr(cli, "EVALUATION_EPISODES", 2)
    monkeypatch.chdir(tmp_path)
    words = ["train", "InvertedPendulum-v5", "--total-steps", "300", "--horizon", "32", "--num-envs", "4"]
    assert cli.main(words) == 0
    assert "threshold 950" in capsys.readouterr().out
    assert cli.main(["eval", "InvertedPendulum-v5.safetensors", "--episodes", "2"]) == 0


@pytest.mark.slow
def test_pictures_are_gymnasiums_own(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    options = {"render_mode": "rgb_array", "width": 64, "height": 48}
    theirs = gymnasium.make("Hopper-v5", **options)
    theirs.reset(seed=1)
    action = np.ones(3, np.float32)
    theirs.step(action)
    try:
        picture = theirs.render()
    except Exception as error:
        pytest.skip(f"no OpenGL here: {error}")
    theirs.close()
    ours = fastpg.make("Hopper-v5", 2, **options)
    ours.reset(seed=0)
    ours.step(np.stack([action, action]))
    frames = ours.render()
    ours.close()
    assert len(frames) == 2 and frames[0].shape == (48, 64, 3) and frames[0].dtype == np.uint8
    assert np.array_equal(frames[1], picture)


# ---- without MuJoCo ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_mujoco_a_sentence_says_what_to_install():
    program = """
import sys
sys.modules["mujoco"] = None
import fastpg
for call in (lambda: fastpg.make("Hopper-v5"), lambda: fastpg.train("Hopper-v5")):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    first, second = run.stdout.splitlines()
    assert first == (
        "make(): Hopper-v5 needs MuJoCo 4.0 or newer, which is not installed: pip install 'mujoco>=4.0'"
    )
    assert second.startswith("train(): Hopper-v5 needs what is not installed")
