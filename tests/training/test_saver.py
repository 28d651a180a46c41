"""Runs that have ended are in the folder of results while others go on."""

import errno
import subprocess
import sys
import time

import pytest

import fastpg
from fastpg.errors import SaveError
from fastpg.training import runs, saver

SHORT = {"hidden": (8,), "num_envs": 4, "horizon": 16}
STEPS = (1000, 3000, 2000)
SETTINGS = [{"algorithm": fastpg.PPO(minibatches=4), "total_steps": steps} for steps in STEPS]
SCRIPT = f"""
import sys
import fastpg
from fastpg.training import saver

saver.SECONDS = 0.01
settings = [{{"algorithm": fastpg.PPO(minibatches=4), "total_steps": steps}} for steps in (*{STEPS}, 10**9)]
fastpg.train_many(sys.argv[1], settings, seeds=1, save=sys.argv[2], **{SHORT})
"""


def check_saved(env, folder):
    for k, setting in enumerate(SETTINGS):
        alone = fastpg.train(env, **SHORT, **setting)
        assert (fastpg.Policy.load(folder / str(k) / runs.POLICY).theta == alone.policy.theta).all()
        assert (folder / str(k) / runs.SETTINGS).exists()


@pytest.mark.slow
@pytest.mark.parametrize("env", ["CartPole-v1", "gym:CartPole-v1"])
def test_a_kill_leaves_the_runs_that_had_ended(env, tmp_path):
    folder = tmp_path / "all"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, env, folder])
    try:
        end = time.monotonic() + 120
        while not all((folder / str(k) / runs.SETTINGS).exists() for k in range(len(SETTINGS))):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    check_saved(env, folder)


@pytest.mark.slow
def test_what_could_not_be_saved_meanwhile_is_saved_at_the_end(tmp_path, monkeypatch):
    def fails_once(where, place, run):
        monkeypatch.setattr(saver, "save_run", runs.save_run)
        raise SaveError(
            errno.ENOSPC, f"{where}: {place} cannot be written: No space left on device", str(place)
        )

    monkeypatch.setattr(saver, "SECONDS", 0.0)
    monkeypatch.setattr(saver, "save_run", fails_once)
    with pytest.warns(
        RuntimeWarning, match="No space left on device; the runs go on, and are saved at their end"
    ):
        fastpg.train_many("gym:CartPole-v1", SETTINGS, seeds=1, save=tmp_path / "all", **SHORT)
    check_saved("gym:CartPole-v1", tmp_path / "all")
    assert len((tmp_path / "all" / runs.TABLE).read_text().splitlines()) == 4


def test_runs_are_written_once(tmp_path, monkeypatch):
    written = []

    def counted(where, place, run):
        written.append(place.name)
        save_run(where, place, run)

    save_run = runs.save_run
    monkeypatch.setattr(saver, "SECONDS", 0.0)
    for module in (saver, runs):
        monkeypatch.setattr(module, "save_run", counted)
    fastpg.train_many("gym:CartPole-v1", SETTINGS, seeds=1, save=tmp_path / "all", **SHORT)
    assert sorted(written) == ["0", "1", "2"]
