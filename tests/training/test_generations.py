"""Populations that were killed go on, with the same result as if nobody had."""

import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastpg
from fastpg import PPO
from fastpg.training.generations import Generations
from tests import ROOT
from tests.support import populations
from tests.support.populations import search
from tests.support.runs import check_equal


class Stopped(Exception):
    pass


def stopping(error):
    def stop():
        raise error

    return stop


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nobody ended, and its folder."""
    folder = tmp_path_factory.mktemp("population") / "whole"
    return search(folder), folder


def ended_in(folder, monkeypatch, error=Stopped):
    """A folder in which a search was ended in its third pause."""
    with monkeypatch.context() as patch:
        patch.setattr(populations, "end", stopping(error))
        with pytest.raises(error) as ended:
            search(folder)
    assert ended.value.__notes__[-1].endswith("the same search goes on there")
    assert json.loads((folder / Generations.NAME).read_text())["pauses"] == 2
    return folder


@pytest.fixture
def begun(tmp_path, monkeypatch):
    return ended_in(tmp_path / "begun", monkeypatch)


def check_same(found, expected):
    np.testing.assert_equal(found.history, expected.history)
    for run, other in zip(found.runs, expected.runs, strict=True):
        check_equal(run, other)


@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
def test_a_population_that_was_ended_goes_on_to_the_same_bits(error, whole, tmp_path, monkeypatch):
    folder = ended_in(tmp_path / "ended", monkeypatch, error)
    expected, other = whole
    check_same(search(folder), expected)
    assert (folder / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in other.iterdir())


def test_what_was_trained_is_not_trained_again(begun):
    search(begun)
    assert populations.gamma.draws == populations.SIZE + 3 * 2  # at first, which goes unused; of three pauses


def test_saving_changes_nothing(whole):
    check_same(search(None), whole[0])


@pytest.mark.slow
def test_a_population_that_is_killed_goes_on(whole, tmp_path):
    command = [sys.executable, "-m", "tests.support.populations", str(tmp_path / "killed")]
    killed = subprocess.run(command, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    check_same(search(tmp_path / "killed"), whole[0])


def test_environments_that_python_steps_begin_anew_to_the_same(tmp_path):
    def make(place, gamma):
        return fastpg.train_population(
            "gym:CartPole-v1", PPO(epochs=1), 3, explore={"gamma": gamma}, explore_every=40,
            total_steps=120, num_envs=2, horizon=20, hidden=(), save=place,
        )  # fmt: skip

    def gamma(rng):
        gamma.draws += 1
        if gamma.draws == gamma.ends:
            raise Stopped
        return float(rng.uniform(0.9, 1))

    gamma.draws, gamma.ends = 0, 5
    with pytest.raises(Stopped):
        make(tmp_path / "ended", gamma)
    check_same(make(tmp_path / "ended", gamma), make(tmp_path / "whole", gamma))


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 6}, {"quantile": 0.2}, {"resample": 0.5}, {"explore_every": 400}, {"hidden": (7,)},
        {"explore": {"gamma": populations.gamma}},
    ],
)  # fmt: skip
def test_another_search_does_not_go_on_with_it(changed, begun):
    before = (begun / Generations.NAME).read_bytes()
    with pytest.raises(ValueError, match=r"train_population\(\): .* holds the beginning of another search"):
        search(begun, **changed)
    assert (begun / Generations.NAME).read_bytes() == before


def test_a_search_that_is_through_keeps_its_folder(whole):
    with pytest.raises(ValueError, match=r"the search in .* has ended, and runs\.csv there has its table"):
        search(whole[1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda told: told.pop("pauses"), "population.json' is damaged: 'pauses'"),
        (lambda told: told.update(pauses=-1), "pauses must be a number"),
        (lambda told: told.pop("options"), "are not of one search ('options')"),
        (lambda told: told["options"].pop(), "are not of one search (there must be 6 entries)"),
        (lambda told: told["options"][0].update(gamma=2), "are not of one search"),
        (lambda told: told["history"]["copied"].pop(), "are not of one search (there must be 12 entries)"),
        (lambda told: told.update(generator={}), "are not of one search"),
    ],
)
def test_a_damaged_journal_is_a_sentence(change, says, begun):
    told = json.loads((begun / Generations.NAME).read_text())
    change(told)
    (begun / Generations.NAME).write_text(json.dumps(told))
    with pytest.raises(fastpg.CheckpointError, match=re.escape(says)):
        search(begun)


def test_damaged_states_are_a_sentence(begun, tmp_path, monkeypatch):
    (states,) = begun.glob("pause-*.safetensors")
    data = states.read_bytes()
    states.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(fastpg.CheckpointError, match="in an empty folder the search begins anew"):
        search(begun)
    states.write_bytes(b"")
    with pytest.raises(fastpg.CheckpointError, match="is damaged or not a safetensors file"):
        search(begun)
    states.unlink()
    with pytest.raises(OSError, match="No such file"):
        search(begun)


def test_a_pause_that_cannot_be_written_is_warned_of(whole, tmp_path, monkeypatch):
    folder = tmp_path / "full"
    content = fastpg.training.state_file.content

    def in_the_way(*arguments):
        (folder / "pause-2.safetensors").mkdir()
        monkeypatch.setattr(fastpg.training.state_file, "content", content)
        return content(*arguments)

    def after_the_first(*arguments):
        monkeypatch.setattr(fastpg.training.state_file, "content", in_the_way)
        return content(*arguments)

    monkeypatch.setattr(fastpg.training.state_file, "content", after_the_first)
    with pytest.warns(RuntimeWarning, match="cannot be written: .*; the search goes on, and tries again"):
        check_same(search(folder), whole[0])


@pytest.mark.slow
def test_a_copied_folder_goes_on_and_two_processes_do_not_share_one(begun, whole, tmp_path, monkeypatch):
    def other():
        with pytest.raises(ValueError, match="another process is at work in"):
            search(begun)
        populations.gamma.draws = 12

    copy = shutil.copytree(begun, tmp_path / "copy")
    check_same(search(copy), whole[0])
    monkeypatch.setattr(populations, "end", other)
    search(begun)
