"""Runs that pause go on as if they had not: callbacks, successive halving, population-based training."""

import csv
import dataclasses
import itertools
import os
import re
import signal
import threading
import time

import gymnasium
import numpy as np
import pytest

import fastpg
from fastpg import A2C, NPG, PPO, TRPO, VPG, Reinforce
from tests.support.finite_mdps import random_mdp
from tests.support.jit_envs import Cart
from tests.support.quick import few
from tests.support.runs import check_equal

pytestmark = pytest.mark.usefixtures("threads")  # as many as before, afterwards

SHORT = {"num_envs": 9, "total_steps": 1500, "hidden": (6,)}
NORMALIZED = PPO(epochs=2, minibatches=2, normalize_rewards=True, normalize_observations=True)
# Each with what an agent can remember; that end after different numbers of iterations.
SETTINGS = [
    Reinforce(form="total", baseline="timestep_mean"),
    {"algorithm": Reinforce(optimizer="sgd", momentum=0.9), "episodes": 20},
    VPG(value_hidden=(7,), value_epochs=2, value_minibatches=3, linear_schedule=True),
    {"algorithm": A2C(value_hidden=(5, 6), linear_schedule=True), "hidden": (8, 7), "horizon": 5},
    {"algorithm": PPO(epochs=2, minibatches=3, linear_clip_range=True, desired_kl=0.01), "horizon": 15},
    {"algorithm": NORMALIZED, "horizon": 20},
    {"algorithm": NPG(value_hidden=(), linear_schedule=True), "horizon": 15},
    {"algorithm": TRPO(value_hidden=(3,)), "horizon": 15, "hidden": ()},
]  # fmt: skip
ENVS = {"native": "CartPole-v1", "gaussian": "Pendulum-v1", "table": random_mdp(), "jit": Cart}


def alone(env, setting, seed, **common):
    (run,) = fastpg.train_many(env, setting, seeds=[seed], **common)
    return run


# ---- callbacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_threads", few([1, 2, 3, 8], {3}))
@pytest.mark.parametrize("name", few(ENVS, {"native"}))
def test_runs_that_pause_are_to_the_bit_what_they_are_without(name, num_threads):
    normalized = [one for one in SETTINGS if NORMALIZED in getattr(one, "values", tuple)()]
    settings = [one for one in SETTINGS if name != "table" or one not in normalized]
    expected = fastpg.train_many(ENVS[name], settings, seeds=[3, 2**63], **SHORT)
    fastpg.set_num_threads(num_threads)
    paused = []

    def look(runs):
        going = [run for run in runs if not run.stopped_because]
        paused.append([run.num_steps for run in going])
        assert all(run.num_steps == run.history["num_steps"].sum() for run in runs)

    runs = fastpg.train_many(
        ENVS[name], settings, seeds=[3, 2**63], callback=look, callback_every=400, **SHORT
    )
    assert len(paused) == 3
    assert all(400 * (i + 1) <= steps < 1500 for i, all_ in enumerate(paused) for steps in all_)
    for run, other in zip(runs, expected, strict=True):
        check_equal(run, other)


def test_a_pause_is_within_the_iteration_that_reaches_it_and_none_is_made_twice():
    seen = []
    fastpg.train_many(
        "CartPole-v1", PPO(epochs=1), seeds=2, num_envs=4, horizon=25, total_steps=500, hidden=(),
        callback=lambda runs: seen.append([run.num_steps for run in runs]), callback_every=30,
    )  # fmt: skip
    assert seen == [[100, 100], [200, 200], [300, 300], [400, 400]]


def test_a_callback_stops_the_runs_that_it_names():
    short = {"num_envs": 4, "horizon": 25, "total_steps": 500, "hidden": (4,)}

    def stop(runs):
        return np.array([1]) if runs[0].num_steps == 200 else None

    runs = fastpg.train_many("CartPole-v1", VPG(), seeds=3, callback=stop, callback_every=100, **short)
    assert [run.stopped_because for run in runs] == ["total_steps", "callback", "total_steps"]
    assert [run.num_steps for run in runs] == [500, 200, 500]
    check_equal(runs[2], alone("CartPole-v1", VPG(), 2, **short))
    part = alone("CartPole-v1", VPG(), 1, **{**short, "total_steps": 200})
    assert part.policy.theta.tobytes() == runs[1].policy.theta.tobytes()
    assert runs.summary()["runs"] == [3]
    assert np.isnan(runs.curves(10).returns[1, -1])


def test_a_callback_that_raises_leaves_the_runs():
    with pytest.raises(ZeroDivisionError) as raised:
        fastpg.train_many(
            "CartPole-v1", VPG(), seeds=2, horizon=20, callback=lambda _: 1 / 0, callback_every=500, **SHORT
        )
    assert [run.stopped_because for run in raised.value.runs] == ["interrupted"] * 2
    assert all(500 <= run.num_steps < 1500 for run in raised.value.runs)


def test_a_run_that_fails_after_a_pause_fails_alone():
    settings = [{"algorithm": Reinforce(learning_rate=1e38), "total_steps": 50_000}, Reinforce()]
    with pytest.warns(RuntimeWarning, match="1 of 2 runs failed"):
        runs = fastpg.train_many(
            "CartPole-v1", settings, seeds=1, callback=lambda _: None, callback_every=1, **SHORT
        )
    assert re.match(r"train_many\(\): run 0, iteration [1-9]", str(runs[0].error))
    check_equal(runs[1], alone("CartPole-v1", Reinforce(), 0, **SHORT))


def test_environments_that_python_steps_pause_as_well():
    short = {"num_envs": 2, "total_steps": 60, "hidden": (4,), "horizon": 10}
    settings = [VPG(value_hidden=(), linear_schedule=True), {"algorithm": PPO(epochs=1), "hidden": ()}]
    seen = []

    def look(runs):
        seen.append([run.num_steps for run in runs])
        return [1] if len(seen) == 2 else []

    runs = fastpg.train_many("gym:CartPole-v1", settings, seeds=2, callback=look, callback_every=30, **short)
    assert len(seen) == 1 and all(30 <= steps < 60 for steps in seen[0])
    for k, run in enumerate(runs):
        check_equal(run, alone("gym:CartPole-v1", settings[k // 2], k % 2, **short))


# ---- successive halving ----------------------------------------------------------------------------------

RATES = fastpg.grid(
    PPO(epochs=2, minibatches=4, linear_schedule=True), learning_rate=[1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1]
)
HALVED = {"num_envs": 8, "horizon": 32, "hidden": (8,), "total_steps": 8192}


@pytest.mark.parametrize("num_threads", [1, 3])
def test_survivors_of_halving_are_their_solo_runs_and_the_others_their_beginnings(num_threads):
    fastpg.set_num_threads(num_threads)
    full = fastpg.train_many("CartPole-v1", RATES, seeds=3, **HALVED)
    runs = fastpg.halving("CartPole-v1", RATES, seeds=3, keep=0.5, **HALVED)
    assert len(runs) == 18
    steps = {k: run.num_steps for k, run in enumerate(runs)}
    assert sorted(steps.values()) == [2048] * 9 + [4096] * 6 + [8192] * 3  # 6, 3, 1 settings
    best = runs.ranking[0]
    for k, run in enumerate(runs):
        if k // 3 == best:
            check_equal(run, full[k])
        else:
            assert run.stopped_because == "halving"
            for name in full[k].history.keys() - {"seconds"}:
                part = full[k].history[name][: len(run.history[name])]
                assert part.tobytes() == run.history[name].tobytes()
    # The order is that of the returns at each rung.
    reached = [steps[3 * setting] for setting in runs.ranking]
    assert reached == sorted(reached, reverse=True)
    first = fastpg.train_many(
        "CartPole-v1", RATES, seeds=3, callback=lambda _: range(18), callback_every=2048, **HALVED
    )
    assert set(runs.ranking[:3]) == set(first.ranking[:3])


def test_rungs_can_be_given():
    runs = fastpg.halving("CartPole-v1", RATES, seeds=1, keep=0.5, rungs=[600, 1000], **HALVED)
    assert sorted(run.num_steps for run in runs) == [768] * 3 + [1024] * 2 + [8192]
    runs = fastpg.halving("CartPole-v1", RATES, seeds=1, keep=0.5, rungs=1, **HALVED)
    assert sorted(run.num_steps for run in runs) == [4096] * 3 + [8192] * 3
    runs = fastpg.halving("CartPole-v1", RATES[0], seeds=2, **HALVED)
    assert [run.stopped_because for run in runs] == ["total_steps"] * 2


def test_a_setting_whose_runs_fail_is_the_worst():
    short = {"num_envs": 9, "hidden": (6,), "total_steps": 6000}
    settings = [Reinforce(learning_rate=1e38), Reinforce(learning_rate=1e-3), VPG()]
    with pytest.warns(RuntimeWarning, match="2 of 6 runs failed"):
        runs = fastpg.halving("CartPole-v1", settings, seeds=2, keep=0.7, rungs=1, **short)
    assert runs.ranking[-1] == 0
    assert [run.stopped_because for run in runs] == ["error"] * 2 + ["total_steps"] * 4


@pytest.fixture
def python_handles_sigint():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("python_handles_sigint")
def test_ctrl_c_keeps_what_halving_has(tmp_path):
    def interrupt():
        while not (tmp_path / "kept").exists():  # it is made just before the runs begin
            time.sleep(0.01)
        time.sleep(0.7)  # the first rung is a few milliseconds away
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt) as stopped:
        fastpg.halving(
            "CartPole-v1", RATES, seeds=1, keep=0.5, rungs=[1000], save=tmp_path / "kept",
            **{**HALVED, "total_steps": 10**9},
        )  # fmt: skip
    runs = stopped.value.runs
    assert sorted(run.stopped_because for run in runs) == ["halving"] * 3 + ["interrupted"] * 3
    assert (tmp_path / "kept" / "runs.csv").exists()


# ---- population-based training ---------------------------------------------------------------------------

EXPLORE = {
    "learning_rate": ("log_uniform", 1e-5, 1e-2), "epochs": ("integers", 1, 4), "gamma": [0.9, 0.95, 0.99]
}  # fmt: skip
LEARNER = PPO(minibatches=2, value_hidden=(4,), normalize_rewards=True, normalize_observations=True)
SMALL = {"num_envs": 8, "horizon": 16, "hidden": (8,)}


def grown(**others):
    given = {"explore": EXPLORE, "explore_every": 500, "total_steps": 3000, "seed": 5, **SMALL, **others}
    return fastpg.train_population("CartPole-v1", LEARNER, 9, **given)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_population_is_the_same_on_any_number_of_threads(num_threads):
    expected = grown()
    fastpg.set_num_threads(num_threads)
    runs, history = grown()
    np.testing.assert_equal(history, expected.history)
    for run, other in zip(runs, expected.runs, strict=True):
        check_equal(run, other)
    assert runs[0].config["seed"] == 5
    assert grown(seed=6).history["learning_rate"] != history["learning_rate"]


def test_copies_go_on_from_the_best_with_options_changed_a_little():
    runs, history = grown(resample=0.0)
    rows = [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
    pauses = [rows[i : i + 9] for i in range(0, len(rows), 9)]
    assert len(pauses) == 5
    assert [pause[0]["steps"] for pause in pauses] == [512, 1024, 1536, 2048, 2560]
    for pause, after in itertools.pairwise(pauses):
        order = sorted(range(9), key=lambda k: -pause[k]["mean_return"])
        for k, row in enumerate(pause):
            if row["copied"] is None:
                assert all(after[k][name] == row[name] for name in EXPLORE)
                continue
            assert k in order[-2:] and row["copied"] in order[:2]
            source = pause[row["copied"]]
            factor = after[k]["learning_rate"] / source["learning_rate"]
            is_at_an_end = after[k]["learning_rate"] in (1e-5, 1e-2)
            assert min(abs(factor - 0.8), abs(factor - 1.2)) < 1e-12 or is_at_an_end
            assert abs(after[k]["epochs"] - source["epochs"]) <= 1
        assert sum(row["copied"] is not None for row in pause) == 2
    for k, run in enumerate(runs):
        last = pauses[-1][k]
        if last["copied"] is None:
            assert run.config["learning_rate"] == last["learning_rate"]
        assert run.num_steps == run.history["num_steps"].sum() == 3072
        np.testing.assert_array_equal(run.history["total_steps"], np.cumsum(run.history["num_steps"]))


def test_a_copy_is_the_whole_state_with_a_seed_of_its_own():
    """With nothing changed, a copy differs from its source only by its random numbers."""
    runs, history = grown(explore={"gamma": [0.99]}, quantile=0.12)
    last = history["copied"][-9:]
    (k,) = [k for k in range(9) if last[k] is not None]
    source = last[k]
    assert runs[k].config["gamma"] == 0.99
    before = len(runs[k].history["seconds"]) - 4  # the iterations since the last pause
    for name in runs[k].history.keys() - {"seconds"}:
        first, second = (run.history[name][:before].tobytes() for run in (runs[k], runs[source]))
        assert first == second
    assert runs[k].history["entropy"][-1] != runs[source].history["entropy"][-1]
    assert runs[k].policy.theta.tobytes() != runs[source].policy.theta.tobytes()


def test_members_are_solo_runs_until_they_become_copies():
    runs, history = grown(total_steps=600)
    assert history["member"] == list(range(9))
    drawn = fastpg.sample(LEARNER, 9, seed=5, **EXPLORE)
    for k, copied in enumerate(history["copied"]):
        options = {name: history[name][k] for name in EXPLORE}
        assert dataclasses.replace(LEARNER, **options) == drawn[k]
        if copied is None:
            check_equal(runs[k], fastpg.train("CartPole-v1", drawn[k], seed=5 + k, total_steps=600, **SMALL))


def test_members_that_fail_become_copies(tmp_path):
    runs, history = fastpg.train_population(
        "CartPole-v1", Reinforce(), 6, explore={"learning_rate": [1e-3, 1e38]}, explore_every=1000,
        quantile=0.17, total_steps=3000, num_envs=9, horizon=10, hidden=(4,), save=tmp_path / "saved", seed=1,
    )  # fmt: skip
    rates, copied = history["learning_rate"][:6], history["copied"][:6]
    assert 1 < rates.count(1e38) < 6
    assert all(source is not None for rate, source in zip(rates, copied, strict=True) if rate == 1e38)
    assert all(rates[source] == 1e-3 for source in copied if source is not None)
    assert runs.ranking[0] in [k for k, run in enumerate(runs) if run.error is None]
    with open(tmp_path / "saved" / "history.csv", newline="") as file:
        assert [int(row["member"]) for row in csv.DictReader(file)] == history["member"]


def test_a_population_in_environments_that_python_steps():
    def make():
        return fastpg.train_population(
            "gym:CartPole-v1", PPO(epochs=1), 3, explore={"learning_rate": [1e-3, 1e-2]}, explore_every=40,
            total_steps=120, num_envs=2, horizon=20, hidden=(),
        )  # fmt: skip

    (runs, history), (again, _) = make(), make()
    assert sum(one is not None for one in history["copied"]) >= 2
    for run, other in zip(runs, again, strict=True):
        check_equal(run, other)
        assert run.num_steps == run.history["num_steps"].sum() >= 120
        assert run.config["learning_rate"] in (1e-3, 1e-2)


# ---- arguments -------------------------------------------------------------------------------------------

BAD = [
    (lambda: many(callback=print), r"ValueError: train_many\(\): callback and callback_every go together"),
    (lambda: many(callback_every=3), r"ValueError: train_many\(\): callback and callback_every go together"),
    (
        lambda: many(callback=print, callback_every=0),
        r"ValueError: train_many\(\): callback_every must be an",
    ),
    (
        lambda: many(callback=3, callback_every=9),
        r"TypeError: train_many\(\): callback must be callable, got 3",
    ),
    (lambda: many(callback=dict.get, callback_every=9), r"TypeError: train_many\(\): callback"),
    (
        lambda: many(callback=lambda: 1, callback_every=9),
        r"TypeError: train_many\(\): callback cannot be calle",
    ),
    (
        lambda: many(callback=lambda _: True, callback_every=9),
        r"TypeError: .*callback must return the numbers",
    ),
    (
        lambda: many(callback=lambda _: "0", callback_every=9),
        r"TypeError: .*callback must return the numbers",
    ),
    (
        lambda: many(callback=lambda _: [2], callback_every=9),
        r"ValueError: .*a number that callback returns must",
    ),
    (
        lambda: many(callback=lambda _: [0.5], callback_every=9),
        r"TypeError: .*a number that callback returns",
    ),
    (lambda: halve(keep=1.0), r"ValueError: halving\(\): keep must be a number in \(0, 1\), got 1.0"),
    (lambda: halve(rungs=0), r"ValueError: halving\(\): rungs must be an integer from 1"),
    (lambda: halve(rungs=[]), r"TypeError: halving\(\): rungs must be an integer or a sequence of steps"),
    (lambda: halve(rungs="ab"), r"TypeError: halving\(\): rungs must be an integer or a sequence of steps"),
    (lambda: halve(rungs=[20, 20]), r"ValueError: halving\(\): rungs must rise, got \[20, 20\]"),
    (lambda: halve(rungs=[200]), r"ValueError: halving\(\): rungs must be an integer from 1 to 100"),
    (
        lambda: halve(horizons=3),
        r"TypeError: halving\(\): there is no argument 'horizons'; of train",
    ),
    (
        lambda: halve([{"algorithm": PPO(), "total_steps": 9}]),
        r"ValueError: halving\(\): algorithms\[0\] has tot",
    ),
    (lambda: halve([]), r"TypeError: halving\(\): algorithms must be an algorithm or a sequence"),
    (lambda: grow(size=1), r"ValueError: train_population\(\): size must be an integer from 2"),
    (lambda: grow(algorithm="ppo"), r"TypeError: train_population\(\): algorithm must be"),
    (
        lambda: grow(quantile=0.6),
        r"ValueError: train_population\(\): quantile must be a number in \(0, 0.5\]",
    ),
    (lambda: grow(resample=-1), r"ValueError: train_population\(\): resample must be a number in \[0, 1\]"),
    (lambda: grow(explore={}), r"ValueError: train_population\(\): explore needs an option of PPO"),
    (lambda: grow(explore={"rate": [1]}), r"TypeError: train_population\(\): there is no setting 'rate'"),
    (
        lambda: grow(explore={"value_hidden": [()]}),
        r"ValueError: .*explore cannot have 'value_hidden'; it can",
    ),
    (
        lambda: grow(explore={"desired_kl": [0.1]}),
        r"ValueError: .*explore cannot have 'desired_kl'; it can have",
    ),
    (
        lambda: grow(explore={"num_envs": [1, 2]}),
        r"ValueError: .*explore cannot have 'num_envs'; it can have g",
    ),
    (lambda: grow(explore={"gamma": ("uniform", 0.9, 1.1)}), r"ValueError: PPO\(\): gamma must"),
    (
        lambda: grow(explore={"gamma": 0.9}),
        r"TypeError: train_population\(\): gamma must be a sequence of val",
    ),
    (
        lambda: grow(explore_every=0),
        r"ValueError: train_population\(\): explore_every must be an integer from",
    ),
    (lambda: grow(zipped=True), r"TypeError: train_population\(\): there is no argument 'zipped'; of train"),
]


def many(**given):
    return fastpg.train_many(
        "CartPole-v1", [VPG()] * 2, seeds=1, horizon=4, total_steps=200, hidden=(), **given
    )


def halve(algorithms=RATES, **given):
    return fastpg.halving("CartPole-v1", algorithms, **{"seeds": 1, "total_steps": 100, **given})


def grow(algorithm=PPO, size=4, **given):
    given = {"explore": {"gamma": [0.9, 1.0]}, "explore_every": 100, "total_steps": 100, **given}
    return fastpg.train_population("CartPole-v1", algorithm, size, **given)


@pytest.mark.parametrize(("call", "says"), BAD)
def test_bad_arguments_get_a_sentence(call, says):
    with pytest.raises((TypeError, ValueError)) as refused:
        call()
    assert re.match(says, f"{refused.type.__name__}: {refused.value}"), refused.value


def test_runs_that_pause_cannot_share_a_vector_environment():
    vector = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    says = r"^halving\(\): runs that pause cannot share one vector environment; pass a"
    with pytest.raises(ValueError, match=says):
        fastpg.halving(vector, RATES, seeds=1, total_steps=100)
    vector.close()
