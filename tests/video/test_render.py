"""A policy at work, as a picture that moves."""

import itertools
import os
import shutil
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

import fastpg
from fastpg.cli import main as cli
from fastpg.video import files, pictures
from tests.support.finite_mdps import random_mdp

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pygame")


def frames_of(path):
    """The frames of a GIF (F, height, width, 3), and how long each is shown, in ms."""
    with Image.open(path) as gif:
        shown = []
        for k in range(gif.n_frames):
            gif.seek(k)
            shown.append((np.asarray(gif.convert("RGB")), gif.info["duration"]))
    return np.array([frame for frame, _ in shown]), [milliseconds for _, milliseconds in shown]


class Counter(gymnasium.Env):
    """Ends after so many steps; its picture is as bright as there were steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space, action_space = gymnasium.spaces.Box(0, 1, (1,)), gymnasium.spaces.Discrete(2)

    def __init__(self, length=4, render_mode=None, size=16, picture=None):
        self.length, self.render_mode, self.size, self.picture = length, render_mode, size, picture

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.zeros(1, np.float32), 1.0, self.count == self.length, False, {}

    def render(self):
        if self.picture is not None:
            return self.picture(self)
        return np.full((self.size, self.size, 3), 10 * self.count, np.uint8)


def counters(**arguments):
    return lambda: Counter(render_mode="rgb_array", **arguments)


@pytest.fixture
def policy():
    return fastpg.Policy(Counter.observation_space, Counter.action_space, hidden=())


def test_every_state_is_seen_the_last_one_too(policy, tmp_path):
    returns, lengths = fastpg.render(counters(), policy, tmp_path / "a.gif", episodes=2)
    assert (returns.tolist(), lengths.tolist()) == ([4, 4], [4, 4])
    frames, milliseconds = frames_of(tmp_path / "a.gif")
    assert frames[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40] * 2
    assert set(milliseconds) == {100}


def test_a_gif_leaves_out_what_it_cannot_show_in_time_but_no_end(policy, tmp_path):
    fastpg.render(counters(length=7), policy, tmp_path / "a.gif", fps=100)
    frames, milliseconds = frames_of(tmp_path / "a.gif")
    assert frames[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 70]
    assert set(milliseconds) == {20}


def test_episodes_end_at_max_steps(policy, tmp_path):
    _, lengths = fastpg.render(counters(length=9), policy, tmp_path / "a.gif", max_steps=2, episodes=3)
    assert lengths.tolist() == [2, 2, 2]


def test_what_is_seen_of_a_native_environment_is_the_policy_that_acts(tmp_path):
    """A policy that always pushes to the right moves the cart there; Gymnasium draws the state."""
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    policy.theta = np.zeros_like(policy.theta)
    policy.theta[-1] = 50
    _, (length,) = fastpg.render("CartPole-v1", policy, tmp_path / "a.gif", seed=1)
    frames, _ = frames_of(tmp_path / "a.gif")
    cart = [np.flatnonzero((frame[290:310] == 0).all(axis=(0, 2))).mean() for frame in frames]
    assert len(frames) <= length + 1 < 20
    assert cart[-1] > cart[0] + 10


@pytest.mark.parametrize("mode", ["same_step", "disabled"])
def test_an_environment_that_hides_the_ends_of_episodes_is_refused(mode, policy, tmp_path):
    env = fastpg.make("CartPole-v1", 1, autoreset=mode, render_mode="rgb_array")
    with pytest.raises(
        ValueError, match=r"render\(\): fastpg/CartPole-v1 is reset before the end of an episode can be"
    ):
        fastpg.render(env, fastpg.Policy.for_env(env, hidden=()), tmp_path / "a.gif")


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "FrozenLake-v1", "gym:CartPole-v1"])
def test_environments_are_drawn(env_id, tmp_path):
    policy = fastpg.Policy.for_env(env_id.removeprefix("gym:"), hidden=())
    fastpg.render(env_id, policy, tmp_path / "a.gif", deterministic=False, max_steps=3)
    frames, _ = frames_of(tmp_path / "a.gif")
    assert len(np.unique(frames)) > 2


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_ffmpeg_writes_videos(ending, policy, tmp_path):
    try:
        files.can_encode("", ending)
    except ImportError:
        pytest.skip("there is no ffmpeg")
    path = tmp_path / f"a{ending}"
    fastpg.render(counters(size=17), policy, path)  # an odd size, which the codecs do not take
    shown = subprocess.run([files._ffmpeg("", ending), "-i", path], capture_output=True, text=True).stderr
    assert "18x18" in shown
    assert " 10 fps" in shown
    for rate in 0.01, 1000:
        fastpg.render(counters(), policy, path, fps=rate)


def test_a_video_that_cannot_be_made_is_a_sentence_and_the_file_stays(policy, tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    monkeypatch.setattr(files, "_ffmpeg", lambda *_: shutil.which("false"))
    with pytest.raises(fastpg.SaveError, match=r"render\(\): '.*a.mp4' cannot be written: ffmpeg: code 1"):
        fastpg.render(counters(), policy, path)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.mp4"]


def of_sizes():
    sizes = itertools.count(8)
    return lambda env: np.zeros((next(sizes), 8, 3), np.uint8)


def failing(env):
    raise RuntimeError("no\nscreen")


@pytest.mark.parametrize(
    ("env_id", "error", "words"),
    [
        (lambda: random_mdp(), ValueError, "environments of jit_env, load_env and FiniteMDP"),
        (lambda: Counter, ValueError, "was made without pictures: make it with render_mode="),
        (lambda: counters(picture=lambda env: None), ValueError, "must return a picture, .*, got NoneType"),
        (lambda: counters(picture=lambda env: np.zeros((4, 4))), ValueError, r"got float64 \(4, 4\)"),
        (lambda: counters(picture=of_sizes()), ValueError, r"pictures of one size, got \(9, 8, 3\) after"),
        (lambda: counters(picture=failing), fastpg.EnvError, "cannot be drawn: no screen$"),
        (lambda: gymnasium.vector.SyncVectorEnv([counters()] * 2), ValueError, "a single environment, got 2"),
        (lambda: "Blind-v0", ValueError, "Blind-v0 has no picture: its class has no render mode 'rgb_array'"),
        (lambda: "Pong", ValueError, "is not implemented natively"),
    ],
)  # fmt: skip
def test_what_has_no_picture_is_a_sentence(env_id, error, words, policy, tmp_path, monkeypatch):
    spec = gymnasium.envs.registration.EnvSpec("Blind-v0", type("Blind", (Counter,), {"metadata": {}}))
    monkeypatch.setitem(gymnasium.registry, "Blind-v0", spec)
    with pytest.raises(error, match=r"^render\(\): .*" + words):
        fastpg.render(env_id(), policy, tmp_path / "a.gif")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("module", "out", "words"),
    [
        ("PIL.Image", "a.gif", r"an animated GIF needs Pillow: pip install '.\[video\]'"),
        ("imageio_ffmpeg", "a.mp4", r"\.mp4 needs ffmpeg: install it, or pip install imageio-ffmpeg"),
        (
            "pygame",
            "a.gif",
            r"pictures of fastpg/CartPole-v1 need what is not installed: .*pip install '.\[video\]'",
        ),
    ],
)
def test_what_is_missing_is_named(module, out, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(files.shutil, "which", lambda _: None)
    with pytest.raises(ImportError, match=r"^render\(\): .*" + words):
        fastpg.render("CartPole-v1", fastpg.Policy.for_env("CartPole-v1"), tmp_path / out)
    assert not os.listdir(tmp_path)


def test_mujoco_tasks_are_drawn_without_a_screen(tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    policy = fastpg.Policy.for_env("Hopper-v5", hidden=())
    try:
        fastpg.render("Hopper-v5", policy, tmp_path / "a.gif", max_steps=4)
    except fastpg.EnvError as error:
        pytest.skip(str(error))
    frames, milliseconds = frames_of(tmp_path / "a.gif")
    assert frames.shape[1:] == (480, 480, 3)
    assert milliseconds[0] == 20  # 125 steps a second: a frame stands for three


def test_the_command_line_shows_a_run_in_its_own_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fastpg.train("CartPole-v1", run="run", total_steps=1000, env_params={"sutton_barto_reward": True})
    assert cli.main(["render", "run", "-o", "a.gif", "--max-steps", "200", "--stochastic"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "CartPole-v1: 1 episode"
    assert shown[1] == "  return  mean -1.0, std 0.0, min -1, max -1"  # of sutton_barto_reward
    assert shown[3].startswith("  video   a.gif, ")
    assert cli.main(["eval", "run", "--episodes", "3"]) == 0
    assert "mean -1.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("render run", 2, "Missing from fastpg render: -o PATH, --out PATH; see fastpg --help"),
        ("render run -o a.avi", 2, "the ending of out must be one of '.gif', '.mp4', '.webm', got '.avi'"),
        ("render run -o no/a.gif", 2, "out lies in a directory that does not exist"),
        ("render nowhere -o a.gif", 2, "nowhere: No such file or directory"),
        ("render run -o a.gif --fps 0", 2, "fps must be a number in [0.01, 1000], got 0.0"),
        ("render run -o a.gif --fps 1e-300", 2, "fps must be a number in [0.01, 1000], got 1e-300"),
        ("render run -o a.gif --env Pendulum-v1", 2, "Pendulum-v1 has "),
    ],
)
def test_errors_are_one_line(arguments, code, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    fastpg.train("CartPole-v1", run="run", total_steps=10, hidden=())
    assert cli.main(arguments.split()) == code
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("fastpg: ") and words in line


@pytest.mark.parametrize(
    ("said", "rate"),
    [(0, 30.0), (1e-300, 30.0), (1e300, 30.0), (float("nan"), 30.0), ("20", 30.0), (np.int64(20), 20.0)],
)
def test_environments_that_say_no_speed_have_one(said, rate, policy):
    class Says(Counter):
        metadata = {"render_modes": ["rgb_array"], "render_fps": said}  # noqa: RUF012

    with pictures.seen("", lambda: Says(render_mode="rgb_array"), {}, None) as env:
        assert pictures.rate_of(env) == rate


def test_the_slowest_pictures_are_shown_so_long(policy, tmp_path):
    fastpg.render(counters(length=3), policy, tmp_path / "a.gif", fps=0.01)
    assert set(frames_of(tmp_path / "a.gif")[1]) == {100_000}
