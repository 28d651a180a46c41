"""Searches by successive halving that were killed go on, with the same result as if nobody had."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastpg
from fastpg import Reinforce
from fastpg.training.rungs import Rungs
from tests import ROOT
from tests.support.runs import check_equal
from tests.support.searches import search

JOURNAL = Rungs.NAME


class Stopped(Exception):
    pass


def stopping(steps, error=Stopped):
    """Callbacks that end the call when a run has so many steps."""

    def stop(progress):
        if progress.num_steps >= steps:
            raise error

    return lambda k: stop


def files_in(folder):
    """The content of a folder of results, but for what says how long things took."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors":
            kind = fastpg.Policy if path.stem == "policy" else fastpg.ValueFunction
            found[str(path.relative_to(folder))] = kind.load(path).theta.tobytes()
        elif path.name == "runs.csv":
            with open(path, newline="") as file:
                found[path.name] = [{**row, "seconds": None} for row in csv.DictReader(file)]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nobody ended, and its folder."""
    folder = tmp_path_factory.mktemp("search") / "whole"
    return search(folder), folder


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of a search that was ended after its second rung."""
    folder = tmp_path_factory.mktemp("search") / "ended"
    with pytest.raises(Stopped):
        search(folder, callbacks_of=stopping(500))
    return folder


@pytest.fixture
def begun(ended, tmp_path):
    """A copy of it."""
    return shutil.copytree(ended, tmp_path / "ended")


# Rungs are at 200 and 400 steps.
@pytest.mark.parametrize(("steps", "error"), [(100, Stopped), (300, KeyboardInterrupt), (800, Stopped)])
def test_a_search_that_was_ended_goes_on_to_the_same_bits(steps, error, whole, tmp_path):
    with pytest.raises(error) as ended:
        search(tmp_path / "killed", callbacks_of=stopping(steps, error))
    note = ended.value.__notes__[-1]  # after whose callback it was
    assert note.endswith(f"saved to {tmp_path / 'killed'}; the same search goes on there")
    told = json.loads((tmp_path / "killed" / JOURNAL).read_text())
    assert told["rungs"] == (steps > 200) + (steps > 400)
    assert len(told["stopped"]) == [0, 4, 6][told["rungs"]]
    runs = search(tmp_path / "killed")
    expected, folder = whole
    assert runs.ranking == expected.ranking
    for run, other in zip(runs, expected, strict=True):
        check_equal(run, other)
    assert files_in(tmp_path / "killed") == files_in(folder)


def test_what_was_stopped_is_not_trained_again(begun):
    stopped = json.loads((begun / JOURNAL).read_text())["stopped"]
    trained = set()

    def noting(k):
        return lambda progress: trained.add(k)

    runs = search(begun, callbacks_of=noting)
    assert trained == set(range(8)) - set(stopped)
    assert [run.stopped_because == "halving" for run in runs] == [k in stopped for k in range(8)]


@pytest.mark.slow
def test_environments_that_python_steps_and_runs_that_fail(tmp_path):
    diverges = Reinforce(learning_rate=3e38)
    settings = [diverges, *(Reinforce(learning_rate=rate) for rate in (1e-5, 1e-3, 1e-2))]
    given = {"seeds": 1, "keep": 0.5, "num_envs": 2, "horizon": 20, "hidden": (4,), "total_steps": 320}

    def found(place, **others):
        with pytest.warns(RuntimeWarning, match="1 of 4 runs failed"):
            return fastpg.halving("gym:CartPole-v1", settings, save=place, **given, **others)

    whole = found(tmp_path / "whole")
    with pytest.raises(Stopped):
        fastpg.halving(
            "gym:CartPole-v1", settings, save=tmp_path / "killed", callbacks_of=stopping(200), **given
        )
    runs = found(tmp_path / "killed")
    assert runs.ranking == whole.ranking
    for run, other in zip(runs, whole, strict=True):
        assert str(run.error) == str(other.error)
        np.testing.assert_array_equal(run.policy.theta, other.policy.theta)


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on(whole, tmp_path):
    command = [sys.executable, "-m", "tests.support.searches", str(tmp_path / "killed")]
    killed = subprocess.run(command, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    for run, other in zip(search(tmp_path / "killed"), whole[0], strict=True):
        check_equal(run, other)


@pytest.mark.parametrize("changed", [{"keep": 0.6}, {"seeds": [0, 2]}, {"hidden": (7,)}])
def test_another_search_does_not_go_on_with_it(changed, begun):
    before = files_in(begun)
    with pytest.raises(ValueError, match=r"halving\(\): .* holds the beginning of another search"):
        search(begun, **changed)
    assert files_in(begun) == before


def test_networks_that_are_given_are_part_of_the_search(tmp_path):
    policies = [fastpg.Policy.for_env("CartPole-v1", hidden=(6,), seed=seed) for seed in range(2)]
    with pytest.raises(Stopped):
        search(tmp_path / "killed", callbacks_of=stopping(500), policy=policies[0])
    with pytest.raises(ValueError, match="the beginning of another search"):
        search(tmp_path / "killed", policy=policies[1])
    search(tmp_path / "killed", policy=policies[0].copy())


def test_a_search_that_is_through_keeps_its_folder(whole):
    with pytest.raises(ValueError, match=r"the search in .* has ended, and runs\.csv there has its table"):
        search(whole[1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is damaged: Expecting"),
        ("[]", "is damaged: "),
        ('{"search": 3, "rungs": 0, "stopped": [], "finished": false}', "is damaged: it is not of a search"),
        ('{"search": "x", "rungs": 0, "stopped": [-1], "finished": false}', "must be numbers"),
        ('{"search": "x", "finished": false}', "is damaged: 'rungs'"),
    ],
)
def test_a_damaged_journal_is_a_sentence(text, says, begun):
    (begun / JOURNAL).write_text(text)
    with pytest.raises(fastpg.CheckpointError, match=re.escape(says)):
        search(begun)


def test_a_run_of_another_shape_in_the_folder_is_a_sentence(begun):
    stopped = json.loads((begun / JOURNAL).read_text())["stopped"]
    fastpg.Policy.for_env("CartPole-v1", hidden=(9,)).save(begun / str(stopped[0]) / "policy.safetensors")
    with pytest.raises(fastpg.CheckpointError, match="does not hold what was stopped there"):
        search(begun)
    shutil.rmtree(begun / str(stopped[0]))
    with pytest.raises(OSError, match="No such file"):
        search(begun)


def test_two_processes_are_not_at_work_in_one_folder(tmp_path):
    def other(progress):
        with pytest.raises(ValueError, match="another process is at work in"):
            search(tmp_path / "one")
        raise Stopped

    with pytest.raises(Stopped):
        search(tmp_path / "one", callbacks_of=lambda k: other)
    assert os.path.exists(tmp_path / "one" / JOURNAL)
