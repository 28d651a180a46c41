"""fastpg.ray: what a local cluster of several worker processes trains is what one process does."""

import os
import signal
import threading
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import fastpg
from tests.support.examples import load
from tests.support.jit_envs import Rooms
from tests.support.runs import SETTINGS, SHORT, check_equal

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray")

import fastpg.ray  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    except (RuntimeError, OSError, TimeoutError) as error:
        pytest.skip(f"Ray does not start here: {error}")
    yield
    ray.shutdown()


def workers():
    """The process numbers of workers that are at a task."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(b"ray::_train"):
                    found.append(int(entry.name))
            except OSError:
                pass  # it has ended
    return found


def check_all_equal(runs, others):
    assert runs.table().keys() == others.table().keys()
    for run, other in zip(runs, others, strict=True):
        check_equal(run, other)


def test_runs_are_those_of_train_many(tmp_path):
    save = tmp_path / "runs"
    runs = fastpg.ray.train_many("CartPole-v1", SETTINGS, seeds=2, runs_per_task=3, save=save, **SHORT)
    here = fastpg.train_many("CartPole-v1", SETTINGS, seeds=2, **SHORT)
    check_all_equal(runs, here)
    assert runs.summary()["setting"] == here.summary()["setting"]
    assert (save / "runs.csv").exists()


def test_what_a_killed_worker_was_at_is_run_again():
    # Two tasks of a second or so each; one of their processes is killed in the middle.
    long = {"num_envs": 8, "horizon": 128, "hidden": (64, 64), "total_steps": 100_000}
    killed = []

    def kill():
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            time.sleep(0.05)
            if there := workers():
                time.sleep(0.1)
                os.kill(there[0], signal.SIGKILL)
                killed.append(there[0])

    thread = threading.Thread(target=kill)
    thread.start()
    runs = fastpg.ray.train_many("CartPole-v1", fastpg.PPO(), seeds=4, runs_per_task=2, **long)
    thread.join()
    assert killed
    check_all_equal(runs, fastpg.train_many("CartPole-v1", fastpg.PPO(), seeds=4, **long))


class Fatal(gymnasium.Env):
    """Kills the process that it is in."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_that_is_lost_every_time_is_a_sentence():
    with pytest.raises(
        RuntimeError, match=r"^fastpg.ray.train_many\(\): runs 0 to 0 were lost with their wor"
    ):
        fastpg.ray.train_many(Fatal, fastpg.VPG(), seeds=1, max_retries=0, total_steps=10)


def test_what_is_wrong_is_said_before_anything_runs():
    for given, error, words in [
        ({"hidden": (0,)}, ValueError, r"hidden\[0\] must be an integer from 1 to 512, got 0"),
        ({"steps": 3}, TypeError, "there is no argument 'steps'"),
        ({"seeds": 0}, ValueError, "seeds must be"),
        ({"runs_per_task": 0}, ValueError, "runs_per_task must be"),
        ({"cpus_per_task": True}, TypeError, "cpus_per_task must be"),
        ({"max_retries": -1}, ValueError, "max_retries must be"),
        ({"env_params": {"foo": 1}}, (TypeError, ValueError), "foo"),
    ]:
        with pytest.raises(error, match=rf"^fastpg.ray.train_many\(\): .*{words}"):
            fastpg.ray.train_many("CartPole-v1", fastpg.PPO(), **{"seeds": 2, **given})
    with pytest.raises(TypeError, match="a vector environment cannot go to workers"):
        fastpg.ray.train_many(fastpg.make("CartPole-v1", 2), fastpg.PPO(), seeds=2)


def test_a_jit_environment_goes_to_workers_by_its_module(monkeypatch, tmp_path):
    runs = fastpg.ray.train_many(Rooms.plain(), fastpg.VPG(), seeds=2, **SHORT)
    check_all_equal(runs, fastpg.train_many(Rooms.plain(), fastpg.VPG(), seeds=2, **SHORT))
    env = Rooms.plain()
    env.__module__ = "__main__"
    with pytest.raises(ValueError, match=r"workers cannot import Rooms from __main__"):
        fastpg.ray.train_many(env, fastpg.VPG(), seeds=2)


def test_a_worker_with_another_version_is_a_sentence(monkeypatch):
    monkeypatch.setattr(fastpg.ray, "_version", lambda: "fastpg 0.0.1 (avx)")
    with pytest.raises(RuntimeError, match=r"has fastpg .*, and the caller fastpg 0.0.1 \(avx\)"):
        fastpg.ray.train_many("CartPole-v1", fastpg.PPO(), seeds=2, total_steps=10)


def test_ray_tune_finds_settings():
    pytest.importorskip("ray.tune")
    best, settings = load("ray_tune").main(2)
    assert best > 0
    assert settings.keys() == {"learning_rate", "gamma"}


def test_the_workers_of_ray_train_make_the_bits_of_one_process():
    pytest.importorskip("ray.train")
    example = load("ray_train")
    _, policy = example.main(2, 30_000)
    alone = fastpg.train(**example.SETTINGS, total_steps=30_000)
    np.testing.assert_array_equal(policy.theta, alone.policy.theta)
