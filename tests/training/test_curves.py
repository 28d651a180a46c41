"""Learning curves of folders: which runs are one curve, what it is called, and its interval."""

import math
import warnings

import numpy as np
import pytest

import fastpg
from fastpg.training import metrics
from fastpg.training.curves import curves
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
        "3 runs as 0: Reinforce, CartPole-v1, learning_rate 0.001",
        "3 runs as 3: Reinforce, CartPole-v1, learning_rate 0.01",
    ]
    for name in ("a", "b"):
        fastpg.train(
            "CartPole-v1", run=tmp_path / name / "0", **SHORT | {"hidden": (8,) if name == "b" else ()}
        )
    labels = [one.label for one in curves("plot", [tmp_path / "a" / "0", tmp_path / "b"])]
    assert labels == [
        f"{tmp_path}/a/0: Reinforce, CartPole-v1, hidden linear",
        f"{tmp_path}/b/0: Reinforce, CartPole-v1, hidden 8",
    ]


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
