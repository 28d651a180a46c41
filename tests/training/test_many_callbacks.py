"""Callbacks of each of many runs: what they are told, what they stop, and that nothing else changes."""

import re

import gymnasium
import numpy as np
import pytest

import fastpg
from fastpg import PPO, VPG, Reinforce
from fastpg.callbacks import EarlyStopping, Evaluate
from tests.support.jit_envs import Cart
from tests.support.quick import few
from tests.support.runs import check_equal
from tests.support.told import Told

pytestmark = pytest.mark.usefixtures("threads")  # as many as before, afterwards

SHORT = {"num_envs": 4, "total_steps": 1500, "hidden": (6,)}
# That collect in different ways, so that iterations are of different lengths.
SETTINGS = [
    {"algorithm": VPG(value_epochs=2, linear_schedule=True), "horizon": 25},
    {"algorithm": PPO(epochs=2, minibatches=3, normalize_rewards=True), "horizon": 40},
    {"algorithm": Reinforce(), "episodes": 6},
]
ENVS = {"native": "CartPole-v1", "jit": Cart, "python": "gym:CartPole-v1"}


def alone(env, setting, seed, callback):
    given = {"algorithm": setting} if not isinstance(setting, dict) else setting
    return fastpg.train(env, seed=seed, callback=callback, **{**SHORT, **given})


@pytest.mark.parametrize("name", few(ENVS, {"native"}))
def test_each_run_ends_where_its_own_callback_ends_it_alone_and_to_the_same_bits(name):
    fastpg.set_num_threads(3)
    env = ENVS[name]

    def patience(k):
        return EarlyStopping([300, 10**9, 500][k % 3], min_delta=5.0)

    runs = fastpg.train_many(env, SETTINGS, seeds=[3, 2**63], callbacks_of=patience, **SHORT)
    assert {"callback", "total_steps"} == {run.stopped_because for run in runs}
    for k, run in enumerate(runs):
        check_equal(run, alone(env, SETTINGS[k // 2], [3, 2**63][k % 2], patience(k)))


def test_evaluations_are_those_of_each_run_alone(tmp_path):
    made = [Evaluate(500, 3, max_steps=50) for _ in range(6)]
    runs = fastpg.train_many(
        "CartPole-v1", SETTINGS, seeds=2, callbacks_of=lambda k: [made[k]], save=tmp_path / "runs", **SHORT
    )
    assert (tmp_path / "runs" / "runs.csv").is_file()
    for k, run in enumerate(runs):
        own = Evaluate(500, 3, max_steps=50)
        check_equal(run, alone("CartPole-v1", SETTINGS[k // 2], k % 2, own))
        assert [one.num_steps for one in made[k].evaluations] == [one.num_steps for one in own.evaluations]
        for one, other in zip(made[k].evaluations, own.evaluations, strict=True):
            np.testing.assert_array_equal(one.returns, other.returns)
        best = fastpg.Policy.load(tmp_path / "runs" / str(k) / "best.safetensors")
        assert best.theta.tobytes() == own.best_policy.theta.tobytes()
        lines = (tmp_path / "runs" / str(k) / "evaluations.csv").read_text().splitlines()
        assert len(lines) == 1 + 3 * len(own.evaluations)


@pytest.mark.parametrize("env", few(["CartPole-v1", "gym:CartPole-v1"], {"CartPole-v1"}))
def test_callbacks_are_told_what_they_are_told_alone(env):
    def noted(log):
        def note(progress):
            metrics = {name: one for name, one in progress.metrics.items() if not name.startswith("time/")}
            log.append(
                (progress.num_steps, progress.num_iterations, progress.total_steps, progress.mean_return,
                 metrics, progress.env, progress.config, progress.policy.theta.tobytes(),
                 None if progress.value is None else progress.value.theta.tobytes(), progress.run)
            )  # fmt: skip
            assert progress.seconds > 0

        return note

    logs = [[] for _ in range(3)]
    fastpg.train_many(env, SETTINGS, seeds=1, callbacks_of=lambda k: noted(logs[k]), **SHORT)
    for k, log in enumerate(logs):
        own = []
        given = {**SHORT, **SETTINGS[k]}
        fastpg.train(env, seed=0, callback=noted(own), callback_every="iteration", **given)
        np.testing.assert_equal(log, own)


def test_callbacks_are_called_after_the_steps_that_they_ask_for_and_hear_of_both_ends():
    told = [Told(), Told(every=300), Told(every=10**6), Told(every=100)]
    short = {**SHORT, "horizon": 25, "total_steps": 700}
    runs = fastpg.train_many("CartPole-v1", VPG(), seeds=4, callbacks_of=lambda k: told[k], **short)
    assert [run.num_steps for run in runs] == [700] * 4
    calls = [range(100, 701, 100), [300, 600, 700], [700], range(100, 701, 100)]
    for one, steps in zip(told, calls, strict=True):
        assert one.log == [("start", 0), *(("call", step) for step in steps), ("end", 700)]


def test_the_callbacks_of_a_run_and_the_one_of_all_go_together():
    told = [Told(every=100, stop_at=200), Told(every=500), Told(every=500)]
    seen = []

    def stop(runs):
        seen.append([run.num_steps for run in runs])
        return [2] if runs[2].num_steps == 300 else None

    short = {**SHORT, "horizon": 25, "total_steps": 700}
    runs = fastpg.train_many(
        "CartPole-v1", VPG(), seeds=3, callbacks_of=lambda k: told[k], callback=stop, callback_every=300,
        **short,
    )  # fmt: skip
    assert seen == [[200, 300, 300], [200, 600, 300]]
    assert [run.stopped_because for run in runs] == ["callback", "total_steps", "callback"]
    assert told[0].log[-2:] == [("call", 200), ("end", 200)]
    assert told[2].log == [("start", 0), ("call", 300), ("end", 300)]
    assert told[1].log == [("start", 0), ("call", 500), ("call", 700), ("end", 700)]


def test_settings_that_halving_stops_tell_their_callbacks():
    settings = fastpg.grid(PPO(epochs=1, minibatches=4), learning_rate=[1e-5, 1e-3])
    told = [Told(every=10**6) for _ in range(4)]
    short = {**SHORT, "horizon": 25, "total_steps": 800}
    runs = fastpg.halving("CartPole-v1", settings, seeds=2, keep=0.5, callbacks_of=lambda k: told[k], **short)
    expected = fastpg.halving("CartPole-v1", settings, seeds=2, keep=0.5, **short)
    for run, other, one in zip(runs, expected, told, strict=True):
        check_equal(run, other)
        assert one.log == [("start", 0), ("call", run.num_steps), ("end", run.num_steps)]
    assert sorted(run.num_steps for run in runs) == [400, 400, 800, 800]


@pytest.mark.parametrize("place", ["start", "call", "end"])
def test_a_callback_that_raises_ends_the_call_and_all_hear_of_the_end(place):
    told = [Told(every=300), Told(every=300, fail_at=(place,))]
    short = {**SHORT, "horizon": 25, "total_steps": 700}
    with pytest.raises(RuntimeError, match=f"at the {place}") as raised:
        fastpg.train_many("CartPole-v1", VPG(), seeds=2, callbacks_of=lambda k: told[k], **short)
    assert told[0].log[-1][0] == "end"
    if place != "start":
        assert len(raised.value.runs) == 2
    if place == "call":
        assert "in train_many(): callbacks_of(1)" in raised.value.__notes__


def test_a_run_that_fails_ends_alone_and_its_callbacks_hear_of_it():
    settings = [{"algorithm": Reinforce(learning_rate=1e38), "total_steps": 50_000}, Reinforce()]
    told = [Told(every=10), Told(every=10)]
    with pytest.warns(RuntimeWarning, match="1 of 2 runs failed"):
        runs = fastpg.train_many("CartPole-v1", settings, seeds=1, callbacks_of=lambda k: told[k], **SHORT)
    assert told[0].log[-1] == ("end", runs[0].num_steps)
    check_equal(runs[1], alone("CartPole-v1", Reinforce(), 0, None))


def test_interrupted_runs_have_the_folders_that_their_callbacks_wrote_to(tmp_path):
    def stop(progress):
        if progress.num_steps == 200:
            raise KeyboardInterrupt

    short = {**SHORT, "horizon": 25}
    with pytest.raises(KeyboardInterrupt):
        fastpg.train_many(
            "CartPole-v1", VPG(), seeds=11, callbacks_of=lambda k: [Evaluate(100, 1, max_steps=9), stop],
            save=tmp_path / "runs", **short,
        )  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == [*(f"{k:02}" for k in range(11)), "runs.csv"]
    assert {"evaluations.csv", "best.safetensors", "policy.safetensors"} <= {
        path.name for path in (tmp_path / "runs" / "00").iterdir()
    }


@pytest.mark.slow  # tensorboardX imports torch
def test_tensorboard_writes_into_the_folder_of_each_run(tmp_path):
    pytest.importorskip("tensorboardX")
    fastpg.train_many(
        "CartPole-v1", VPG(), seeds=2, callbacks_of=lambda _: fastpg.callbacks.TensorBoard(),
        save=tmp_path / "runs", **SHORT,
    )  # fmt: skip
    for k in range(2):
        assert list((tmp_path / "runs" / str(k) / "tensorboard").iterdir())


ONE = Told()


@pytest.mark.parametrize(
    ("callbacks_of", "says"),
    [
        (3, r"TypeError: train_many\(\): callbacks_of must be a function of a run's number"),
        ([Told()], r"TypeError: train_many\(\): callbacks_of must be a function of a run's number"),
        (lambda: None, r"TypeError: train_many\(\): callbacks_of cannot be called with an argument"),
        (lambda k: 3, r"TypeError: train_many\(\): callbacks_of\(0\): callback must be callable"),
        (lambda k: [Told], r"TypeError: train_many\(\): callbacks_of\(0\): callback\[0\] is the class Told"),
        (lambda k: ONE, r"ValueError: train_many\(\): callbacks_of returns the same Told for the runs 0 an"),
    ],
)
def test_bad_callbacks_get_a_sentence_and_no_folder(callbacks_of, says, tmp_path):
    with pytest.raises((TypeError, ValueError)) as refused:
        fastpg.train_many(
            "CartPole-v1", VPG(), seeds=2, callbacks_of=callbacks_of, save=tmp_path / "runs", **SHORT
        )
    assert re.match(says, f"{refused.type.__name__}: {refused.value}"), refused.value
    assert not (tmp_path / "runs").exists()


def test_runs_with_callbacks_cannot_share_a_vector_environment():
    vector = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    with pytest.raises(ValueError, match="runs that pause cannot share one vector environment"):
        fastpg.train_many(vector, VPG(), seeds=2, total_steps=100, callbacks_of=lambda _: Told())
    vector.close()
