"""fastpg.MujocoEnv: a user's own model, and formulas that are right or wrong."""

import copy
import gc
import os
import pickle
import re
import threading

import gymnasium
import numpy as np
import pytest

import fastpg
from tests import ROOT
from tests.support.mujoco_envs import SWING, Swing, differences
from tests.support.refusals import refuse

mujoco = pytest.importorskip("mujoco", minversion="4.0")


def test_a_models_steps_are_the_engines():
    env = Swing(3, max_episode_steps=0)
    obs, infos = env.reset(seed=4)
    assert set(infos) == {"tip", "_tip"}
    model = mujoco.MjModel.from_xml_string(SWING)
    single = [mujoco.MjData(model) for _ in range(3)]
    for i, data in enumerate(single):
        rng = gymnasium.utils.seeding.np_random(4 + i)[0]
        data.qpos[:], data.qvel[:] = rng.uniform(-3, 3, 1), rng.normal(size=1)
        mujoco.mj_forward(model, data)
        assert np.array_equal(obs[i], [np.cos(data.qpos[0]), np.sin(data.qpos[0]), data.qvel[0]])
    for t in range(5):
        actions = np.array([[t], [-1], [0.5]], np.float32)
        before = [data.qpos[0] for data in single]
        ended = np.array([abs(data.qvel[0]) > 4 for data in single])
        assert not ended.any()
        obs, rewards, terminated, truncated, infos = env.step(actions)
        for i, data in enumerate(single):
            data.ctrl[:] = actions[i]
            mujoco.mj_step(model, data, 2)
            assert rewards[i] == data.site_xpos[0, 2] - np.float32(0.01) * actions[i, 0] ** 2
            assert infos["turned"][i] == data.qpos[0] - before[i]
            assert terminated[i] == (abs(data.qvel[0]) > 4) and not truncated[i]
            assert np.array_equal(infos["tip"][i], data.site_xpos[0])
        if terminated.any():
            break


def test_a_model_is_a_path_its_text_or_compiled(tmp_path):
    path = tmp_path / "swing.xml"
    path.write_text(SWING)
    compiled = mujoco.MjModel.from_xml_string(SWING)

    class Given(Swing):
        def __init__(self, model, num_envs=1):
            self.effort = 0.01
            fastpg.MujocoEnv.__init__(self, model, num_envs, frame_skip=2, seed=1)

    results = [Given(model, 2).reset() for model in (path, str(path), SWING, compiled)]
    assert not any(differences(one, results[0]) for one in results)
    refuse(lambda: Given(tmp_path / "none.xml"), FileNotFoundError, "Given(): model", "none.xml' is no file")
    refuse(
        lambda: Given("<mujoco><nothing/></mujoco>"), ValueError, "Given(): MuJoCo does not compile the model"
    )
    refuse(lambda: Given(3), TypeError, "Given(): model must be a path, MJCF text or a mujoco.MjModel, got 3")


def test_classes_are_taken_wherever_an_environment_is_named():
    env = fastpg.make(Swing, 4, effort=0.5, max_episode_steps=7)
    assert env.effort == 0.5 and env.spec.id == "Swing"
    again = gymnasium.make_vec(env.spec)
    assert isinstance(again, Swing) and again.num_envs == 4 and again.effort == 0.5
    run = fastpg.train(
        Swing, fastpg.VPG(), num_envs=8, horizon=16, total_steps=256, env_params={"effort": 0.1}
    )
    assert run.config["env_id"] == "Swing" and run.policy.env_id is None
    assert len(fastpg.evaluate(Swing, run.policy, episodes=3)[0]) == 3
    assert fastpg.collect(Swing, run.policy, 5, num_envs=2).obs.shape == (5, 2, 3)
    mode = {"vectorization_mode": "async"}
    refuse(lambda: fastpg.train(Swing, **mode), ValueError, "train(): vectorization_mode must be None for")
    refuse(lambda: fastpg.make(Swing, weight=1), TypeError, "make(): unexpected argument 'weight'")


def test_every_autoreset_mode_gives_the_same_episodes():
    episodes = {}
    for mode in ("next_step", "same_step", "disabled"):
        env = fastpg.make(Swing, 3, autoreset=mode, max_episode_steps=5)
        env.reset(seed=0)
        lengths, returns = [0] * 3, [0.0] * 3
        seen = episodes[mode] = [[] for _ in range(3)]
        filler = np.zeros(3, bool)
        for _ in range(40):
            _, rewards, terminated, truncated, _ = env.step(np.zeros((3, 1), np.float32))
            done = terminated | truncated
            for i in np.flatnonzero(~filler):
                lengths[i], returns[i] = lengths[i] + 1, returns[i] + rewards[i]
                if done[i]:
                    seen[i].append((lengths[i], returns[i], terminated[i], truncated[i]))
                    lengths[i], returns[i] = 0, 0.0
            assert not (rewards[filler].any() or done[filler].any())
            filler = done if mode == "next_step" else np.zeros(3, bool)
            if mode == "disabled" and done.any():
                env.reset(options={"reset_mask": done})
    for i in range(3):
        assert len(episodes["next_step"][i]) >= 5
        for first, second in zip(episodes["next_step"][i], episodes["same_step"][i], strict=False):
            assert first == second
        assert episodes["same_step"][i] == episodes["disabled"][i]


REACH = SWING.replace("<worldbody>", '<size nuserdata="2"/><worldbody><body name="goal" mocap="true"/>', 1)


class Reach(Swing):
    """The tip should reach a goal that each episode draws, with little change of the torque."""

    def __init__(self, num_envs=1, **options):
        fastpg.MujocoEnv.__init__(self, REACH, num_envs, max_episode_steps=4, **options)

    def observe(self, data):
        return np.concatenate([data.qpos, data.qvel, data.mocap_pos[:, 0], data.userdata], axis=1)

    def before(self, data):
        return data.ctrl  # of the step before, 0 after a reset

    def reward(self, before, data, actions):
        goal = data.mocap_pos[:, 0] * data.userdata[:, :1]
        distance = np.square(data.site_xpos[:, 0] - goal).sum(axis=1)
        return -distance - np.square(actions - before).sum(axis=1)

    def terminated(self, data):
        return np.zeros(self.num_envs, bool)

    def info(self, data):
        return {}

    def initial_state(self, rng):
        goal = {"mocap_pos": rng.uniform(-1, 1, (1, 3)), "userdata": [rng.uniform(), 2]}
        return rng.uniform(-3, 3, 1), np.zeros(1), goal


@pytest.mark.parametrize("persistent", [False, True])
def test_episodes_may_begin_with_other_fields_of_the_state(persistent, monkeypatch):
    if persistent:  # every simulation has an mjData of its own, as where contact forces are read
        monkeypatch.setattr(Reach, "info", lambda env, data: {"force": data.cfrc_ext[:, 1]})
    env = Reach(2, autoreset="same_step")
    obs, _ = env.reset(seed=3)
    model = mujoco.MjModel.from_xml_string(REACH)
    rngs = [gymnasium.utils.seeding.np_random(3 + i)[0] for i in range(2)]
    results = []
    actions = np.random.default_rng(0).uniform(-1, 1, (9, 2, 1))
    for t, action in enumerate(actions):
        if t % 4 == 0:
            single, last = [mujoco.MjData(model) for _ in rngs], np.zeros((2, 1))
            for i, (data, rng) in enumerate(zip(single, rngs, strict=True)):
                data.mocap_pos[:], data.userdata[:] = rng.uniform(-1, 1, (1, 3)), [rng.uniform(), 2]
                data.qpos[:] = rng.uniform(-3, 3, 1)
                mujoco.mj_forward(model, data)
                expected = np.concatenate([data.qpos, data.qvel, data.mocap_pos[0], data.userdata])
                assert np.array_equal(obs[i], expected)
        if t == 6:
            states = env.get_state()
        obs, rewards, _, truncated, _ = env.step(action)
        assert (truncated == (t % 4 == 3)).all()
        for i, data in enumerate(single):
            data.ctrl[:] = action[i]
            mujoco.mj_step(model, data)
            distance = np.square(data.site_xpos[0] - data.mocap_pos[0] * data.userdata[0]).sum()
            assert rewards[i] == pytest.approx(-distance - (action[i, 0] - last[i, 0]) ** 2, rel=1e-12)
        last = action
        results.append((obs, rewards))
    other = Reach(2, autoreset="same_step")
    other.reset(seed=8)
    other.set_state(*states)
    assert np.array_equal(other.step(actions[6])[0], results[6][0])
    assert np.array_equal(other.step(actions[7])[1], results[7][1])  # of the goals that the states hold


@pytest.mark.parametrize(
    ("others", "error", "words"),
    [
        ({"xpos": 0}, ValueError, "other fields of MuJoCo's state, as 'mocap_pos' or 'userdata', got 'xpos'"),
        ({"qpos": [0]}, ValueError, "got 'qpos'"),
        ({"goal": 0}, ValueError, "got 'goal'"),
        ({"mocap_pos": [0, 0, 0]}, ValueError, "'mocap_pos', must be numbers of shape (1, 3), got an array"),
        ({"userdata": [np.nan, 0]}, ValueError, "'userdata', must be finite, but "),
        ({"userdata": "ab"}, ValueError, "'userdata', must be numbers of shape (2,)"),
        ([1], TypeError, "the third value of initial_state() must be a mapping, got [1]"),
    ],
)
def test_other_fields_that_no_episode_begins_with_are_named(others, error, words, monkeypatch):
    monkeypatch.setattr(Reach, "initial_state", lambda env, rng: (np.zeros(1), np.zeros(1), others))
    refuse(lambda: Reach(2).reset(seed=0), error, "MujocoEnv.reset(): the third value of", words)


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_stepping_by_hand_and_collecting_can_be_mixed(mode, monkeypatch):
    monkeypatch.setattr(Swing, "terminated", lambda env, data: np.zeros(env.num_envs, bool))
    policy = fastpg.Policy.for_env(Swing, seed=1)
    by_hand, env = Swing(3, autoreset="same_step"), Swing(3, autoreset=mode)
    obs, _ = by_hand.reset(seed=5)
    env.reset(seed=5)
    actions = np.random.default_rng(0).uniform(-1, 1, (11, 3, 1))
    for action in actions:
        obs, *_ = by_hand.step(action)
        env.step(action)
    state = env.get_state()
    collected = 0
    for horizon in (4, 3, 24):
        batch = fastpg.collect(env, policy, horizon)
        for t in range(len(batch.rewards)):
            counts = np.ones(3, bool) if batch.mask is None else batch.mask[t]
            if not counts.all():  # the limit of 20 steps, where all are reset
                assert not counts.any()
                continue
            np.testing.assert_array_equal(batch.obs[t], obs.astype(np.float32))
            drawn = policy.act(obs.astype(np.float32), seed=5, step=collected + t)
            np.testing.assert_array_equal(batch.actions[t], drawn)
            obs, rewards, *_ = by_hand.step(policy.env_actions(drawn))
            np.testing.assert_array_equal(batch.rewards[t], rewards.astype(np.float32))
        collected += len(batch.rewards)
    assert set(batch.episode_lengths) == {20}
    env.set_state(*state)  # what is collected next begins there
    batch = fastpg.collect(env, policy, 3)
    np.testing.assert_array_equal(batch.obs[0], env.set_state(*state).astype(np.float32))


def test_a_simulation_that_diverges_begins_anew_in_its_episode_as_the_engine_has_it(
    capfd, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)  # to which MuJoCo writes its log
    monkeypatch.setattr(Swing, "initial_state", lambda env, rng: (np.ones(1), np.full(1, 1e11)))
    monkeypatch.setattr(Swing, "terminated", lambda env, data: np.zeros(1, bool))
    env = Swing(1)
    env.reset(seed=0)
    env.step(np.zeros((1, 1)))
    assert (env.data.qpos, env.data.qvel) == (0, 0)
    assert "unstable" in capfd.readouterr().err


@pytest.mark.slow
def test_the_documents_programs_run():
    document = (ROOT / "docs" / "mujoco.md").read_text()
    settings = '**fastpg.recommended("HalfCheetah-v5")'
    assert settings in document  # 1 M steps
    document = document.replace(settings, '**fastpg.recommended("HalfCheetah-v5") | {"total_steps": 10_000}')
    document = document.replace("episodes=20", "episodes=1")
    programs = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        exec(program, {})


# ---- what formulas read ------------------------------------------------------------------------------------


class Pressed(Swing):
    def info(self, data):
        return {"force": data.cfrc_ext, "contacts": data.ncon}


def test_contact_forces_are_those_of_gymnasiums_call():
    env = Pressed(3, max_episode_steps=0)
    model = mujoco.MjModel.from_xml_string(SWING)
    data = mujoco.MjData(model)
    _, infos = env.reset(seed=0)
    assert not infos["force"].any()
    state, _ = env.get_state()
    env.set_state(np.zeros_like(state))  # hanging, and through the floor
    pressed = 0
    for _ in range(5):
        infos = env.step(np.ones((3, 1), np.float32))[4]
        data.ctrl[:] = 1
        mujoco.mj_step(model, data, 2)
        mujoco.mj_rnePostConstraint(model, data)
        assert (infos["force"] == data.cfrc_ext).all() and (infos["contacts"] == data.ncon).all()
        pressed += data.cfrc_ext.any()
    assert pressed
    assert env.data.time.tolist() == [data.time] * 3


def test_a_field_that_no_formula_reads_is_refused():
    env = Swing(2)
    for name in ("xipos", "cfrc_ext"):
        with pytest.raises(AttributeError, match=f"no formula read '{name}'.* have one read it"):
            getattr(env.data, name)


def test_data_is_read_only_and_names_what_it_has_not():
    env = Swing(2)
    with pytest.raises(ValueError, match="read-only"):
        env.data.qpos[:] = 1.0
    for name in ("nothing", "efc_J", "contact"):
        wrong = type("Wrong", (Swing,), {"observe": lambda self, data, name=name: getattr(data, name)})
        with pytest.raises(AttributeError, match=f"no field '{name}' of fixed size"):
            wrong(2)


def test_results_and_data_outlive_the_environment():
    env = Swing(2)
    obs, _ = env.reset(seed=0)
    kept, before = env.data.qpos, obs.copy()
    other = env.step(np.ones((2, 1), np.float32))[0]
    assert np.array_equal(obs, before) and not np.shares_memory(obs, other)
    value = kept.copy()
    env.close()
    del env
    gc.collect()
    Swing(2).reset(seed=7)
    assert np.array_equal(kept, value)


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "value", "words"),
    [
        ("observe", lambda self, data: data.qpos[0], "observe() must return numbers of shape (2, D)"),
        ("observe", lambda self, data: np.empty((2, 0)), "observe() must return numbers of shape (2, D)"),
        ("observe", lambda self, data: [[1.0], [1.0, 2.0]], "what observe() returns makes no array"),
        ("reward", lambda self, before, data, actions: 1.0, "reward() must return numbers of shape (2,)"),
        ("reward", lambda self, before, data, actions: np.ones((2, 1)), "got shape (2, 1)"),
        (
            "reward",
            lambda self, before, data, actions: (np.ones(2), 3),
            "what reward() returns must be a mapping",
        ),
        ("reward", lambda self, before, data, actions: (np.ones(2), {"a": 1}), "'a' has shape ()"),
        ("terminated", lambda self, data: data.qvel[:, 0], "terminated() must return bools of shape (2,)"),
        ("info", lambda self, data: {"tip": np.zeros(3)}, "info() must return arrays of shape (2, ...)"),
        ("info", lambda self, data: {3: np.zeros(2)}, "the keys of what info() returns must be strings"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_formulas_that_do_not_fit_are_named(method, value, words):
    wrong = type("Wrong", (Swing,), {method: value})
    with pytest.raises((TypeError, ValueError), match=r"^Wrong\(\): .*" + re.escape(words)):
        wrong(2)


@pytest.mark.parametrize(
    "state", [None, (np.zeros(1),), (np.zeros(2), np.zeros(1)), (np.full(1, np.nan), np.ones(1))]
)
def test_first_states_that_do_not_fit_are_named(state):
    wrong = type("Wrong", (Swing,), {"initial_state": lambda self, rng: state})
    env = wrong(2)
    with pytest.raises(ValueError, match=r"^MujocoEnv.reset\(\): .*initial_state\(\)"):
        env.reset()


def test_a_class_without_formulas_says_which():
    for defined, missing in (((), "observe"), (("observe",), "reward")):
        body = {name: getattr(Swing, name) for name in defined}
        bare = type("Bare", (fastpg.MujocoEnv,), body)
        with pytest.raises(NotImplementedError, match=f"Bare must define {missing}"):
            bare(SWING)


def test_a_class_that_keeps_num_envs_to_itself_is_named():
    class Alone(Swing):
        def __init__(self, num_envs=1, **options):
            super().__init__(1, **options)

    refuse(lambda: fastpg.make(Alone, 3), ValueError, "make(): Alone must pass num_envs on to MujocoEnv")


def test_copies_are_refused():
    env = Swing(2)
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a MujocoEnv cannot be copied or pickled"):
            call(env)


def test_a_second_thread_is_refused_while_a_call_is_under_way():
    errors = []

    class Curious(Swing):
        def observe(self, data):
            thread = threading.Thread(target=lambda: errors.append(attempt(self)))
            if hasattr(self, "data") and not self.closed:
                thread.start()
                thread.join()
            return super().observe(data)

    def attempt(env):
        try:
            env.step(np.zeros((2, 1), np.float32))
        except ValueError as error:
            return str(error)

    Curious(2).reset(seed=0)
    assert errors == [
        "MujocoEnv.step(): another thread's call is under way; one at a time may use an environment"
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_was_forked_is_told_to_make_its_own():
    env = Swing(2)
    env.reset(seed=0)
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            env.step(np.zeros((2, 1), np.float32))
        except fastpg.EnvError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.wait()
    message = os.read(read, 500).decode()
    assert message.startswith(
        "MujocoEnv.step(): a MuJoCo environment cannot be used in a process that was forked"
    )
    env.step(np.zeros((2, 1), np.float32))
