"""Learning curves of folders: which runs are one curve, what it is called, and its interval."""

import math
import re
import warnings

import numpy as np
import pytest

import fastpg
from fastpg.training import metrics
from fastpg.training.curves import curves, in_characters
from fastpg.training.statistics import mean_half_width

SHORT = {"total_steps": 4000, "hidden": (), "num_envs": 4, "horizon": 32}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two settings with three seeds each."""
    folder = tmp_path_factory.mktemp("runs") / "all"
    settings = fastpg.grid(fastpg.Reinforce, learning_rate=[1e-3, 1e-2])
    return folder, fastpg.train_many("CartPole-v1", settings, seeds=3, save=folder, **SHORT)


def test_the_interval_is_students_of_few_seeds_as_well():
    for values, t in (([1.0, 2.0], 12.7062), ([1.0, 2.0, 4.0], 4.30265), (np.arange(30.0), 2.04523)):
        half = t * np.std(values, ddof=1) / math.sqrt(len(values))
        np.testing.assert_allclose(mean_half_width(np.array(values)[:, None]), [half], rtol=1e-5)
    assert mean_half_width(np.ones((1, 3))).tolist() == [0, 0, 0]
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(3, 20_000))
    inside = np.abs(drawn.mean(axis=0)) <= mean_half_width(drawn)
    assert 0.945 < inside.mean() < 0.955


def test_a_curve_is_the_mean_of_its_seeds(saved):
    folder, runs = saved
    (first, second) = curves("plot", [folder])
    for curve, members in ((first, runs[:3]), (second, runs[3:])):
        last = [
            metrics.means(run.history["mean_return"], run.history["num_episodes"], 100)[-1] for run in members
        ]
        assert curve.num_runs == 3
        assert curve.mean[-1] == pytest.approx(np.mean(last))
        assert curve.half_width[-1] == pytest.approx(4.30265 * np.std(last, ddof=1) / 3**0.5, rel=1e-5)
        assert curve.steps[-1] == members[0].num_steps


def test_curves_are_called_by_what_they_differ_in(saved, tmp_path):
    folder, _ = saved
    assert [one.label for one in curves("plot", [folder])] == [
        "3 runs as all/0: Reinforce, CartPole-v1, learning_rate 0.001",
        "3 runs as all/3: Reinforce, CartPole-v1, learning_rate 0.01",
    ]
    for name, run in (("a", "x"), ("b", "x"), ("a", "0"), ("b", "0")):
        fastpg.train(
            "CartPole-v1", run=tmp_path / name / run, **SHORT | {"hidden": (8,) if name == "b" else ()}
        )
    for run, shown in (("x", f"{tmp_path}/{{}}/x"), ("0", "{}/0")):
        labels = [one.label for one in curves("plot", [tmp_path / "a" / run, tmp_path / "b" / run])]
        assert labels == [
            f"{shown.format('a')}: Reinforce, CartPole-v1, hidden linear",
            f"{shown.format('b')}: Reinforce, CartPole-v1, hidden 8",
        ]


def test_every_column_of_the_metrics_can_be_drawn(saved):
    folder, runs = saved
    text = (folder / "0" / "metrics.csv").read_text()
    names, *lines = text.splitlines()
    table, records = np.loadtxt(lines, delimiter=","), metrics.parse("", text)
    for k, name in enumerate(names.split(",")):
        np.testing.assert_allclose(metrics.values_of(records, name), table[:, k])
        assert len(curves("plot", [folder], name)) == 2
    (entropy,) = curves("plot", [folder / "0"], "train/entropy")
    assert entropy.mean[-1] == runs[0].history["entropy"][-1]
    (length,) = curves("plot", [folder / "0"], "rollout/ep_len_mean")
    of_100 = metrics.means(runs[0].history["mean_length"], runs[0].history["num_episodes"], 100)
    assert length.mean[-1] == of_100[-1]
    assert in_characters([length], "rollout/ep_len_mean").startswith("rollout/ep_len_mean\n")
    (loss,) = curves("plot", [folder / "0"], "train/clip_fraction")  # of PPO
    assert in_characters([loss], "train/clip_fraction") == "train/clip_fraction has no values"
    for name, hint in (("rollout/ep_len", "did you mean 'rollout/ep_len_mean'?"), ("x", "there are time/it")):
        with pytest.raises(ValueError, match=rf"plot: metric must be a column .*; {re.escape(hint)}"):
            curves("plot", [folder], name)


def test_what_is_no_run_is_left_out_beside_some(saved, tmp_path):
    folder, _ = saved
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    others = [tmp_path / "notes.txt", tmp_path / "empty"]
    with pytest.warns(RuntimeWarning, match="plot: no run, and left out: .*notes.txt', '.*empty'"):
        (curve,) = curves("plot", [*others, folder / "0"])
    assert curve.num_runs == 1
    with pytest.raises(ValueError, match=r"notes.txt' is a file"):
        curves("plot", others)
    with pytest.raises(fastpg.CheckpointError, match="is not the folder of a run"):
        curves("plot", [folder / "0", tmp_path / "misspelt"])


def test_a_run_that_is_named_twice_counts_once(saved, monkeypatch):
    folder, _ = saved
    monkeypatch.chdir(folder)
    (curve,) = curves("plot", ["0", "./0", "1", folder / "0", "1/."])
    assert curve.num_runs == 2


def test_a_run_that_is_much_shorter_than_others_of_its_curve_is_said(saved, tmp_path):
    folder, _ = saved
    fastpg.train_many(
        "CartPole-v1", fastpg.Reinforce(learning_rate=1e-3), seeds=[7], save=tmp_path / "all",
        **SHORT | {"total_steps": 1000},
    )  # fmt: skip
    with pytest.warns(
        RuntimeWarning, match=r"all/0' has 1,024 steps, .*0' 4,096: their curve ends with the shortest run"
    ):
        (curve,) = curves("plot", [folder / "0", folder / "1", tmp_path / "all" / "0"])
    assert (curve.num_runs, curve.steps[-1]) == (3, 1024)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curves("plot", [folder])
