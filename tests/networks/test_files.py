"""Files that appear whole or not at all: writers, links, devices, modes, leftovers, full disks."""

import fcntl
import os
import pathlib
import stat
import subprocess
import sys
import threading
import time

import pytest

import fastpg
from fastpg import files
from tests.support.mounts import mounted


@pytest.fixture
def full(tmp_path):
    """A disk of 64 KiB, with nothing free."""
    with mounted(tmp_path / "full", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as folder:
        (folder / "filler").write_bytes(bytes(65536))
        yield folder


@pytest.fixture
def read_only(tmp_path):
    with mounted(tmp_path / "read_only", "-t", "tmpfs", "-o", "ro", "tmpfs") as folder:
        yield folder


def test_threads_that_save_to_one_path_leave_one_of_their_policies(tmp_path):
    path = tmp_path / "policy.safetensors"
    policies = [fastpg.Policy.for_env("CartPole-v1", hidden=(64,), seed=seed) for seed in range(3)]
    whole = {policy.theta.tobytes() for policy in policies}
    policies[0].save(path)
    failures = []

    def save(policy):
        try:
            for _ in range(60):
                policy.save(path)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=save, args=(policy,)) for policy in policies]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert fastpg.Policy.load(path).theta.tobytes() in whole
    assert failures == []
    assert list(tmp_path.iterdir()) == [path]


def test_no_two_temporary_files_have_one_name(tmp_path, monkeypatch):
    # All three threads are past writing, and before renaming, at the same time.
    meet, names, rename = threading.Barrier(3), [], os.replace

    def wait(source, target):
        meet.wait(30)
        names.append(source)
        rename(source, target)

    monkeypatch.setattr(os, "replace", wait)
    writers = [
        threading.Thread(target=files.write, args=("here", tmp_path / "x", bytes([k]) * 9)) for k in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(names)) == 3
    assert (tmp_path / "x").read_bytes() in {bytes([k]) * 9 for k in range(3)}


def test_a_link_stays_and_leads_to_the_new_file(tmp_path, policy):
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link", tmp_path / "there" / "target"
    link.symlink_to(target)
    for number in (1.0, 2.0):  # the first makes the file that the link leads to
        policy.theta[:] = number
        policy.save(link)
    assert link.is_symlink()
    assert not target.is_symlink()
    assert (fastpg.Policy.load(target).theta == 2.0).all()
    assert sorted(tmp_path.rglob("*")) == [link, tmp_path / "there", target]


@pytest.mark.parametrize("kind", ["device", "pipe", "directory", "loop", "long", "missing"])
def test_what_is_no_file_is_refused_before_the_work_and_stays(kind, tmp_path, policy):
    path = tmp_path / "x"
    if kind == "device":
        path = pathlib.Path("/dev/null")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "long":
        path = tmp_path / ("x" * 256)
    else:
        path = tmp_path / "nowhere" / "x"
    before = path.lstat().st_mode if kind not in ("long", "missing") else None
    words = {"loop": "symbolic links", "long": "name too long", "missing": "does not exist"}.get(
        kind, f"a {kind}"
    )
    with pytest.raises(ValueError, match=f"Policy.save.*{words}"):
        policy.save(path)
    with pytest.raises(ValueError, match=f"train.*checkpoint.*{words}"):
        fastpg.train("CartPole-v1", checkpoint=path, callback=lambda _: pytest.fail("it trained"))
    if before is not None:
        assert path.lstat().st_mode == before


@pytest.mark.parametrize("value", [3, None, b"x", "", "x\0y"], ids=repr)
def test_what_is_no_path_is_a_sentence(value, policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=r"Policy.save\(\): path must be "):
        policy.save(value)


@pytest.mark.parametrize("length", [200, 245, 255])
def test_names_may_be_as_long_as_the_file_system_takes(length, tmp_path, policy):
    path = tmp_path / ("n" * length)
    policy.save(path)
    policy.save(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400])
def test_a_file_that_is_replaced_keeps_its_mode(mode, tmp_path, policy):
    path = tmp_path / "x"
    policy.save(path)
    path.chmod(mode)
    try:
        policy.save(path)
    except fastpg.SaveError:  # nobody but root may write it
        assert mode == 0o400
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path, policy):
    path = tmp_path / "x"
    policy.save(path)
    os.chown(path, 1234, 5678)
    policy.save(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_mode_of_new_files(mask, tmp_path, policy):
    before = os.umask(mask)
    try:
        policy.save(tmp_path / "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~mask


def left(path, age):
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path, policy):
    old = 2 * files.LEFT_SECONDS
    left(tmp_path / ".fastpg-0123.tmp", old)
    kept = {".fastpg-new.tmp": 0.0, ".fastpg-writing.tmp": old, "mine.tmp": old, ".fastpg-other": old}
    for name, age in kept.items():
        left(tmp_path / name, age)
    (tmp_path / ".fastpg-link.tmp").symlink_to(tmp_path / "mine.tmp")
    with open(tmp_path / ".fastpg-writing.tmp", "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        policy.save(tmp_path / "x")
    assert {one.name for one in tmp_path.iterdir()} == {*kept, ".fastpg-link.tmp", "x"}


def test_a_killed_writer_leaves_what_the_next_one_removes(tmp_path, policy):
    script = """if True:
        import os, sys
        from pathlib import Path
        from fastpg import files
        os.replace = lambda *_: os.kill(os.getpid(), 9)
        files.write("here", Path(sys.argv[1]), b"content")"""
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "x"], timeout=60)
    assert killed.returncode == -9
    (leftover,) = tmp_path.iterdir()
    policy.save(tmp_path / "x")
    assert leftover.exists()  # too new to be sure
    left(leftover, 2 * files.LEFT_SECONDS)
    policy.save(tmp_path / "x")
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_write_that_fails_anywhere_leaves_the_old_file_and_nothing_else(
    step, tmp_path, policy, monkeypatch
):
    path = tmp_path / "x"
    policy.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(
        fastpg.SaveError, match=r"Policy.save\(\): '.*x' cannot be written: No space"
    ) as caught:
        policy.save(path)
    assert (caught.value.errno, caught.value.filename, caught.value.result) == (28, str(path), None)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, policy, monkeypatch):
    path = tmp_path / "x"
    policy.save(path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        policy.save(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["full", "read_only", "/proc"])
def test_a_place_that_takes_no_file_is_found_out_before_the_run(place, request):
    folder = pathlib.Path(place) if place == "/proc" else request.getfixturevalue(place)
    with pytest.raises(fastpg.SaveError, match=r"train\(\): '.*x' cannot be written: "):
        fastpg.train("CartPole-v1", checkpoint=folder / "x", callback=lambda _: pytest.fail("it trained"))


def test_a_picture_is_tried_out_before_the_work_too(read_only):
    pytest.importorskip("matplotlib")
    with pytest.raises(fastpg.SaveError, match="Read-only"):
        fastpg.diagnostics.can_plot("here", read_only / "x.png")
