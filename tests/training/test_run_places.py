"""Where the folder of a run can be, and what becomes of a run whose folder cannot be written any more."""

import os
import subprocess
import sys

import pytest

import fastpg
from fastpg.training import run_folder
from tests.support.killed import check_equal
from tests.support.mounts import mounted

SETTINGS = {"hidden": (8,), "horizon": 16, "total_steps": 20_480}


def train(folder, **settings):
    return fastpg.train("CartPole-v1", run=folder, **SETTINGS | settings)


@pytest.mark.parametrize("name", ["run", "new/and/deeper", "with a space", "é😀", "x" * 255])
def test_a_folder_may_have_any_name(name, tmp_path):
    train(tmp_path / name)
    assert fastpg.resume(tmp_path / name).num_steps == 20_480


def test_a_folder_that_is_there_has_to_be_empty(tmp_path):
    train(tmp_path)
    with pytest.raises(
        ValueError, match=r"train\(\): .* holds a run already; go on with it by fastpg.resume"
    ):
        train(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"must be a new folder or an empty one, but .* holds 'thesis.tex'"):
        train(tmp_path / "other")


def test_a_beginning_that_was_killed_is_begun_again(tmp_path):
    train(tmp_path / "run")
    (tmp_path / "run" / "settings.toml").unlink()
    with pytest.raises(fastpg.CheckpointError, match=r"has no settings\.toml"):
        fastpg.resume(tmp_path / "run")
    train(tmp_path / "run", total_steps=1000)
    assert fastpg.resume(tmp_path / "run").num_steps < 2000


def test_links_to_folders_are_followed_and_other_things_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    train(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "settings.toml").exists()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "loop").symlink_to("loop")
    for name, what in (("file", "file"), ("pipe", "pipe"), ("nowhere", "link that leads nowhere")):
        for function in (train, fastpg.resume):
            with pytest.raises(ValueError, match=f"run must be a folder, but .* is a {what}"):
                function(tmp_path / name)
    for name in ("loop", "x" * 256):
        with pytest.raises(ValueError, match="run must be a path to write to"):
            train(tmp_path / name)
    with pytest.raises(fastpg.SaveError, match="cannot be written: Not a directory"):
        train(tmp_path / "file" / "run")
    for value, error in (("", ValueError), ("a\0b", ValueError), (3, TypeError), (b"run", TypeError)):
        with pytest.raises(error, match="run must be"):
            train(value)


def test_a_read_only_disk_is_found_out_before_the_run(tmp_path):
    def callback(progress):
        raise AssertionError("it ran")

    with mounted(tmp_path / "read_only", "-t", "tmpfs", "-o", "ro", "tmpfs") as folder:
        with pytest.raises(fastpg.SaveError, match="cannot be written: Read-only file system") as error:
            train(folder / "run", callback=callback)
        assert error.value.result is None


def test_a_full_disk_is_found_out_before_the_run(tmp_path):
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", "size=16k", "tmpfs") as folder:
        (folder / "filler").write_bytes(bytes(12288))
        with pytest.raises(fastpg.SaveError, match="No space left on device"):
            train(folder / "run")
        (folder / "filler").unlink()


def test_a_run_goes_on_while_its_disk_is_full(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=512k", "tmpfs") as disk:
        whole = train(tmp_path / "whole")

        def callback(progress):
            if progress.num_iterations == 10:
                with open(disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
                    while True:
                        filler.write(bytes(4096))
            if progress.num_iterations == until:
                (disk / "filler").unlink()

        settings = {"callback": callback, "callback_every": "iteration", "checkpoint_every": 512}
        until = 70
        with pytest.warns(RuntimeWarning, match="No space left on device; the run goes on") as warned:
            run = train(disk / "run", **settings)
        assert len(warned) == 1
        check_equal(run, disk / "run", whole, tmp_path / "whole")
        until = 0
        with pytest.raises(fastpg.SaveError, match="No space left") as error, pytest.warns(RuntimeWarning):
            train(disk / "other", **settings)
        assert error.value.result.policy.theta.tobytes() == whole.policy.theta.tobytes()
        (disk / "filler").unlink()
        run = fastpg.resume(disk / "other")
        check_equal(run, disk / "other", whole, tmp_path / "whole")


def test_one_process_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    folder = tmp_path / "run"
    train(folder)
    program = f"""
import os, signal
from fastpg.training.run_folder import RunFolder
folder = RunFolder.reopen("child", __import__("pathlib").Path({str(folder)!r}))
print("open", flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "open\n"
            with pytest.raises(ValueError, match=r"resume\(\): another process is at work in"):
                fastpg.resume(folder)
        finally:
            child.kill()
    fastpg.resume(folder)
    with run_folder.RunFolder.reopen("", folder), pytest.raises(ValueError, match="another process"):
        fastpg.resume(folder)
