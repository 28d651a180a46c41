"""Many runs in one call: each is what it is alone, whatever threads, order, and the other runs."""

import csv
import functools
import os
import re
import signal
import threading

import numpy as np
import pytest

import fastpg
from fastpg import PPO, VPG, Reinforce
from fastpg.cli import main as cli
from fastpg.training import metrics
from tests.support.finite_mdps import random_mdp
from tests.support.gymnasium_envs import Scripted
from tests.support.jit_envs import Cart, Rooms
from tests.support.quick import few
from tests.support.runs import SETTINGS, SHORT, check_equal

pytestmark = pytest.mark.usefixtures("threads")  # as many as before, afterwards

MDP = random_mdp()
ENVS = {"native": "CartPole-v1", "gaussian": "Pendulum-v1", "table": MDP, "jit": Cart, "categories": Rooms}


def alone(env, setting, seed, **common):
    own = setting if isinstance(setting, dict) else {"algorithm": setting}
    counts = ("horizon", "episodes", "steps_per_iteration")
    common = {name: one for name, one in common.items() if name not in counts or not set(counts) & set(own)}
    return fastpg.train(env, **{**common, **own}, seed=seed)


@functools.cache
def each_alone(name):
    return [alone(ENVS[name], setting, seed, **SHORT) for setting in SETTINGS for seed in (3, 2**63)]


@pytest.mark.parametrize("num_threads", few([1, 2, 3, 8], {3}))
@pytest.mark.parametrize("name", few(ENVS, {"native"}))
def test_every_run_is_what_train_gives_alone_on_any_number_of_threads(name, num_threads):
    expected = each_alone(name)
    fastpg.set_num_threads(num_threads)
    runs = fastpg.train_many(ENVS[name], SETTINGS, seeds=[3, 2**63], **SHORT)
    assert len(runs) == len(expected) == 2 * len(SETTINGS)
    for run, other in zip(runs, expected, strict=True):
        check_equal(run, other)


@pytest.mark.parametrize("num_threads", [1, 2, 3, 8])
def test_the_order_of_runs_does_not_matter(num_threads):
    fastpg.set_num_threads(num_threads)
    expected = each_alone("native")[::2]
    order = np.random.default_rng(0).permutation(len(SETTINGS))
    runs = fastpg.train_many("CartPole-v1", [SETTINGS[i] for i in order], seeds=[3], **SHORT)
    for run, i in zip(runs, order, strict=True):
        check_equal(run, expected[i])


def test_zipped_pairs_settings_with_seeds():
    chosen = [(SETTINGS[0], 5), (SETTINGS[4], 0), (SETTINGS[0], 1)]
    settings, seeds = zip(*chosen, strict=True)
    runs = fastpg.train_many("CartPole-v1", settings, seeds=seeds, zipped=True, **SHORT)
    for run, (setting, seed) in zip(runs, chosen, strict=True):
        check_equal(run, alone("CartPole-v1", setting, seed, **SHORT))
    assert runs.table()["setting"] == [0, 1, 0]  # equal settings are one


def test_a_setting_collects_its_own_way_whatever_the_call_says():
    settings = [{"algorithm": VPG(), "episodes": 12}, VPG()]
    runs = fastpg.train_many("CartPole-v1", settings, seeds=1, horizon=10, **SHORT)
    assert [run.config["episodes"] for run in runs] == [12, 0]
    assert [run.config["horizon"] for run in runs] == [0, 10]


def test_runs_begin_with_copies_of_what_is_given():
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(5,), seed=4)
    value = fastpg.ValueFunction.for_env("CartPole-v1", hidden=(4,), seed=4)
    before = policy.theta.copy(), value.theta.copy()
    common = {"policy": policy, "value": value, "horizon": 20, "num_envs": 9, "total_steps": 500}
    runs = fastpg.train_many("CartPole-v1", VPG(), seeds=3, **common)
    assert all(run.policy is not policy and run.value is not value for run in runs)
    assert (policy.theta == before[0]).all() and (value.theta == before[1]).all()
    check_equal(runs[2], fastpg.train("CartPole-v1", VPG(), seed=2, **common))


def test_parameters_of_the_environment_may_differ():
    settings = fastpg.grid(
        Reinforce(), env_params=[{"sutton_barto_reward": False}, {"sutton_barto_reward": True}]
    )
    runs = fastpg.train_many("CartPole-v1", settings, seeds=1, **SHORT)
    assert runs[0].history["mean_return"][0] > 0 > runs[1].history["mean_return"][0]


def test_runs_stop_at_their_own_targets():
    settings = [{"algorithm": Reinforce(), "target_return": target} for target in (-np.inf, np.inf)]
    runs = fastpg.train_many("CartPole-v1", settings, seeds=2, **{**SHORT, "total_steps": 20_000})
    reasons = [run.stopped_because for run in runs]
    assert reasons == ["target_return", "target_return", "total_steps", "total_steps"]


# ---- failures --------------------------------------------------------------------------------------------

DIVERGES = Reinforce(learning_rate=1e38)


class Fails(Scripted):
    """Fails in its second episode, as `how` says."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def step(self, action):
        obs, reward, terminated, *others = super().step(action)
        if self.episode and self.how == "exception":
            raise RuntimeError("the simulator has crashed")
        if self.episode and self.how == "mask":
            return obs, reward, terminated, others[0], {"action_mask": np.zeros(3, np.int8)}
        return obs, np.nan if self.episode and self.how == "nan" else reward, terminated, *others


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("nan", r"train_many\(\): run 1, iteration 0: Fails returned the reward nan \(environment 0, step"),
        ("mask", r"train_many\(\): run 1: Fails: infos have no 'action_mask' of environment 0"),
        ("exception", "the simulator has crashed"),
    ],
)
def test_an_error_in_an_environment_that_python_steps_names_the_call_and_the_run(how, sentence):
    params = {"how": how, "use_action_mask": how == "mask"}
    settings = [{"algorithm": VPG(), "env_params": {"how": ""}}, {"algorithm": PPO(), "env_params": params}]
    says = rf"^train_many\(\): 1 of 2 runs failed; the first: {sentence}.* \(run 1, PPO with seed 7\)$"
    with pytest.warns(RuntimeWarning, match=says):
        runs = fastpg.train_many(Fails, settings, seeds=[7], hidden=(4,), horizon=16, total_steps=200)
    assert re.match(sentence, str(runs[1].error))
    assert runs[1].error.__notes__ == ["in train_many(): run 1, PPO with seed 7"]


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_run_that_fails_fails_alone(num_threads):
    fastpg.set_num_threads(num_threads)
    settings = [Reinforce(), {"algorithm": DIVERGES, "total_steps": 10_000}, VPG()]
    with pytest.warns(RuntimeWarning, match=r"^train_many\(\): 2 of 6 runs failed; the first: .*run 2, iter"):
        runs = fastpg.train_many("CartPole-v1", settings, seeds=2, **SHORT)
    for k, run in enumerate(runs):
        assert np.isfinite(run.policy.theta).all()
        if k in (2, 3):
            assert run.stopped_because == "error"
            assert isinstance(run.error, FloatingPointError)
            assert len(run.history["num_steps"]) >= 1  # the iterations before
        else:
            check_equal(run, alone("CartPole-v1", settings[k // 2], k % 2, **SHORT))
    summary = runs.summary()
    assert summary["failed"] == [0, 2, 0]
    assert summary["runs"] == [2, 0, 2]
    assert np.isnan(summary["mean_return"][1])
    assert "learning_rate" in summary
    with pytest.raises(FloatingPointError) as failure:
        alone("CartPole-v1", settings[1], 0, **SHORT)
    sentence = str(failure.value).removeprefix("train(): ")
    assert str(runs[2].error) == f"train_many(): run 2, {sentence}"


@pytest.fixture
def python_handles_sigint():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_all_is_saved_loses_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastpg.Runs, "save_in", interrupted)
    with pytest.raises(KeyboardInterrupt) as stopped:
        fastpg.train_many("CartPole-v1", Reinforce(), seeds=2, save=tmp_path / "kept", **SHORT)
    assert [run.stopped_because for run in stopped.value.runs] == ["total_steps"] * 2
    assert stopped.value.__notes__ == [
        f"when all runs had ended, while they were saved to {tmp_path / 'kept'}"
    ]


@pytest.mark.usefixtures("python_handles_sigint")
@pytest.mark.parametrize("num_threads", few([1, 2, 3], {2}))
def test_ctrl_c_keeps_what_is_finished_and_what_was_learnt(num_threads, tmp_path):
    fastpg.set_num_threads(num_threads)
    endless = {"algorithm": VPG(), "total_steps": 10**12}
    settings = [Reinforce(), *[endless] * num_threads, Reinforce()]
    threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt) as stopped:
        fastpg.train_many("CartPole-v1", settings, seeds=1, save=tmp_path / "kept", **SHORT)
    runs = stopped.value.runs
    check_equal(runs[0], alone("CartPole-v1", settings[0], 0, **SHORT))
    assert runs[1].stopped_because == "interrupted"
    assert runs[1].num_steps == runs[1].history["num_steps"].sum() > 0
    assert (tmp_path / "kept" / "0" / "policy.safetensors").exists()
    (note,) = stopped.value.__notes__
    assert "runs had ended; saved to" in note
    # What stands is a whole number of iterations of the same run.
    ends = runs[1].history["total_steps"][-1]
    check = alone("CartPole-v1", {**endless, "total_steps": int(ends)}, 0, **SHORT)
    assert check.policy.theta.tobytes() == runs[1].policy.theta.tobytes()


@pytest.mark.usefixtures("python_handles_sigint")
def test_ctrl_c_inside_an_iteration_that_takes_minutes():
    fastpg.set_num_threads(2)
    long = {"num_envs": 4096, "horizon": 10**7, "total_steps": 10**12}
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt) as stopped:
        fastpg.train_many("CartPole-v1", Reinforce(), seeds=4, hidden=(), **long)
    assert not hasattr(stopped.value, "runs")  # none had an iteration


def test_calls_from_several_threads_of_python_do_not_meet():
    fastpg.set_num_threads(2)
    got = [None] * 4

    def work(k):
        got[k] = fastpg.train_many("CartPole-v1", SETTINGS[:3], seeds=[3], **SHORT)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for runs in got:
        for run, other in zip(runs, each_alone("native")[:6:2], strict=True):
            check_equal(run, other)


# ---- environments that Python steps ----------------------------------------------------------------------


def test_environments_that_python_steps_are_trained_in_one_after_the_other():
    settings = [VPG(value_hidden=()), {"algorithm": Reinforce(), "hidden": ()}]
    short = {"num_envs": 2, "total_steps": 60, "hidden": (4,), "horizon": 10}
    runs = fastpg.train_many("gym:CartPole-v1", settings, seeds=2, **short)
    for k, run in enumerate(runs):
        check_equal(run, alone("gym:CartPole-v1", settings[k // 2], k % 2, **short))


def test_one_that_fails_there_fails_alone_too():
    short = {"num_envs": 2, "total_steps": 300, "hidden": (4,), "horizon": 20}
    with pytest.warns(RuntimeWarning, match="1 of 2 runs failed"):
        runs = fastpg.train_many("gym:CartPole-v1", [DIVERGES, Reinforce()], seeds=1, **short)
    assert isinstance(runs[0].error, FloatingPointError)
    assert runs[1].stopped_because == "total_steps"


# ---- what comes back -------------------------------------------------------------------------------------


@functools.cache
def some_runs():
    settings = fastpg.grid(PPO(minibatches=4, epochs=2), learning_rate=[1e-4, 1e-3], value_hidden=[(), (8,)])
    return fastpg.train_many("CartPole-v1", settings, seeds=5, hidden=(8,), num_envs=8, total_steps=4000)


def test_runs_are_a_sequence():
    runs = some_runs()
    assert len(runs) == len(list(runs)) == 20
    assert runs[-1] is runs[19]
    assert [run.config["seed"] for run in runs[5:8]] == [0, 1, 2]
    assert repr(runs) == "Runs(20 runs of 4 settings)"
    assert repr(runs[5:8]) == "Runs(3 runs of 1 settings)"


def test_the_table_has_a_row_for_each_run_and_the_settings_in_which_they_differ():
    table = some_runs().table()
    assert {len(column) for column in table.values()} == {20}
    assert table["learning_rate"][:6] == [1e-4] * 6
    assert table["value_hidden"][4:6] == [(), (8,)]
    assert "gamma" not in table and "gamma" in some_runs().table(every_setting=True)
    history = some_runs()[3].history
    newest, episodes = [], 0  # the last iterations that hold 100 episodes
    for mean, count in zip(history["mean_return"][::-1], history["num_episodes"][::-1], strict=True):
        if episodes < 100 and count:
            newest.append(mean * count)
            episodes += count
    np.testing.assert_allclose(table["mean_return"][3], sum(newest) / episodes)


def test_the_summary_has_the_interquartile_mean_over_seeds_within_its_interval():
    summary = some_runs().summary()
    assert summary["runs"] == [5] * 4
    for setting in range(4):
        returns = np.sort(some_runs().returns[5 * setting : 5 * setting + 5])
        np.testing.assert_allclose(summary["mean_return"][setting], returns[1:4].mean())
        assert returns[0] <= summary["low"][setting] <= summary["mean_return"][setting]
        assert summary["mean_return"][setting] <= summary["high"][setting] <= returns[-1]
    assert summary == some_runs().summary()  # resamples are the same
    text = str(some_runs()).splitlines()
    assert text[0].split()[:4] == ["setting", "algorithm", "learning_rate", "value_hidden"]
    assert len(text) == 5


def test_curves_have_one_axis():
    runs = some_runs()
    steps, returns = runs.curves(40)
    assert steps.shape == (40,) and returns.shape == (20, 40)
    assert steps[-1] == max(run.num_steps for run in runs)
    np.testing.assert_array_equal(returns[:, -1], runs.returns)
    assert np.isnan(returns[:, 0]).all()  # before the first iteration has ended
    k, at = 7, 25
    last = np.flatnonzero(runs[k].history["total_steps"] <= steps[at])[-1]
    part = {name: column[: last + 1] for name, column in runs[k].history.items()}
    np.testing.assert_array_equal(
        returns[k, at], metrics.means(part["mean_return"], part["num_episodes"], 100)[-1]
    )


def test_saved_runs_can_be_played_and_read(tmp_path):
    runs = some_runs()[3:14]
    runs.save(tmp_path / "all")
    assert len(list((tmp_path / "all").iterdir())) == 12
    place = tmp_path / "all" / "07"
    assert fastpg.Policy.load(place / "policy.safetensors").theta.tobytes() == runs[7].policy.theta.tobytes()
    assert fastpg.ValueFunction.load(place / "value.safetensors").hidden == runs[7].value.hidden
    records = metrics.parse("metrics", (place / "metrics.csv").read_text())
    for name, column in runs[7].history.items():
        np.testing.assert_array_equal(records[name], column)
    with open(tmp_path / "all" / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["seed"]) for row in rows] == [run.config["seed"] for run in runs]
    assert float(rows[7]["gamma"]) == 0.99
    with pytest.raises(
        ValueError, match=r"^Runs\.save\(\): folder must be a new folder or an empty one, but "
    ):
        runs.save(tmp_path / "all")


def test_a_saved_run_has_the_settings_that_repeat_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    params = {"sutton_barto_reward": True}
    settings = [
        PPO(minibatches=4, target_kl=0.02),
        {"algorithm": VPG(gamma=0.9), "hidden": (), "episodes": 9},
    ]
    runs = fastpg.train_many("CartPole-v1", settings, seeds=[3], env_params=params, save="all", **SHORT)
    for k, run in enumerate(runs):
        capsys.readouterr()
        again = f"again{k}"
        assert cli.main(["train", "--config", f"all/{k}/settings.toml", "--run", again]) == 0
        assert fastpg.Policy.load(f"{again}/policy.safetensors").theta.tobytes() == run.policy.theta.tobytes()
        assert cli.main(["eval", f"all/{k}", "--episodes", "2"]) == 0
        returns, _ = fastpg.evaluate("CartPole-v1", run.policy, episodes=2, sutton_barto_reward=True)
        assert f"mean {returns.mean():.1f}," in capsys.readouterr().out
    for arguments, sentence in (
        (["resume", "all/0"], "is one of many runs, which have no checkpoints to go on from"),
        (["eval", "all"], "it has no settings.toml; 'all/0' is one"),
    ):
        assert cli.main(arguments) == 2
        assert sentence in capsys.readouterr().err


def test_a_saved_run_that_a_file_cannot_repeat_does_not_say_that_it_can(tmp_path, capsys):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(8,))
    short = {**SHORT, "hidden": (8,), "policy": policy}
    fastpg.train_many("CartPole-v1", PPO(), seeds=1, save=tmp_path / "given", **short)
    assert cli.main(["train", "--config", str(tmp_path / "given" / "0" / "settings.toml")]) == 2
    assert "began with networks that were given" in capsys.readouterr().err


def test_progress_counts_runs_and_steps(capsys):
    fastpg.train_many("CartPole-v1", Reinforce(), seeds=3, progress=True, **SHORT)
    shown = capsys.readouterr().err
    assert shown.startswith("3 of 3 runs | ")


# ---- settings --------------------------------------------------------------------------------------------


def test_grid_has_every_combination_the_last_fastest():
    made = fastpg.grid(VPG(gamma=0.5), lam=[0.9, 1.0], horizon=(8, 16))
    assert made == [
        {"algorithm": VPG(gamma=0.5, lam=lam), "horizon": horizon}
        for lam in (0.9, 1.0)
        for horizon in (8, 16)
    ]
    assert fastpg.grid(VPG) == [VPG()]
    assert fastpg.grid(VPG, gamma=np.linspace(0, 1, 3)) == [VPG(gamma=one) for one in (0.0, 0.5, 1.0)]


def test_a_run_that_was_made_twice_is_no_evidence_more():
    settings = [VPG(), VPG(gamma=0.9), VPG()]
    runs = fastpg.train_many("CartPole-v1", settings, seeds=[1, 2, 1], **SHORT)
    once = fastpg.train_many("CartPole-v1", settings[:2], seeds=[1, 2], **SHORT)
    assert len(runs) == 9
    for name, column in once.summary().items():
        np.testing.assert_array_equal(runs.summary()[name], column)
    assert runs.ranking == once.ranking


def test_samples_lie_where_they_should_and_depend_on_the_seed():
    def draw(seed):
        return fastpg.sample(
            PPO, 200, seed=seed, learning_rate=("log_uniform", 1e-5, 1e-1), gamma=("uniform", 0.9, 1.0),
            epochs=("integers", 1, 3), standardize_advantages=["batch", "none"],
            clip_range=lambda rng: 0.1 + rng.random(), hidden=[(8,), ()],
        )  # fmt: skip

    made = draw(1)
    assert made == draw(1) != draw(2)
    algorithms = [one["algorithm"] for one in made]
    rates = np.log10([one.learning_rate for one in algorithms])
    assert (rates >= -5).all() and (rates <= -1).all() and abs(np.median(rates) + 3) < 0.5
    assert all(0.9 <= one.gamma <= 1.0 and 0.1 <= one.clip_range < 1.1 for one in algorithms)
    assert {one.epochs for one in algorithms} == {1, 2, 3}
    assert {one.standardize_advantages for one in algorithms} == {"batch", "none"}
    assert {one["hidden"] for one in made} == {(8,), ()}


BAD = [
    (lambda: fastpg.grid(PPO, rate=[1]), r"TypeError: grid\(\): there is no setting 'rate': PPO has gamma, "),
    (
        lambda: fastpg.grid(PPO, gamma=0.5),
        r"TypeError: grid\(\): gamma must be a sequence of values, got 0.5",
    ),
    (lambda: fastpg.grid(PPO, gamma=[]), r"TypeError: grid\(\): gamma must be a sequence of values"),
    (lambda: fastpg.grid(PPO, gamma=[2.0]), r"ValueError: PPO\(\): gamma must"),
    (
        lambda: fastpg.sample(PPO, 2, lam=("loguniform", 0.5, 0.9)),
        r"ValueError: sample\(\): lam must be choices, or \(kind, low, high\) with a kind of 'uniform', ",
    ),
    (lambda: fastpg.grid("ppo"), r"TypeError: grid\(\): algorithm must be"),
    (lambda: fastpg.sample(PPO, 0), r"ValueError: sample\(\): n must be an integer from 1"),
    (
        lambda: fastpg.sample(PPO, 2, lam=("uniform", 1, 0)),
        r"ValueError: sample\(\): lam must have low <= high",
    ),
    (
        lambda: fastpg.sample(PPO, 2, lam=("uniform", 1)),
        r"ValueError: sample\(\): lam must be \('uniform', low",
    ),
    (lambda: fastpg.sample(PPO, 2, lam=("log_uniform", 0, 1)), r"ValueError: sample\(\): lam must"),
    (lambda: many([]), r"TypeError: train_many\(\): algorithms must be an algorithm or a sequence"),
    (lambda: many(PPO), r"TypeError: train_many\(\): algorithms must be an algorithm or a sequence"),
    (lambda: many([PPO]), r"TypeError: train_many\(\): algorithms\[0\]: algorithm must be"),
    (lambda: many(PPO(), seeds=0), r"ValueError: train_many\(\): seeds must be an integer from 1"),
    (
        lambda: many(PPO(), seeds=np.array(1.0)),
        r"TypeError: train_many\(\): seeds must be an integer or a sequence",
    ),
    (lambda: many(PPO(), seeds=[]), r"TypeError: train_many\(\): seeds must be an integer or a sequence"),
    (lambda: many(PPO(), seeds="12"), r"TypeError: train_many\(\): seeds must be an integer or a sequence"),
    (lambda: many(PPO(), seeds=[-1]), r"ValueError: train_many\(\): seed must be an integer from 0"),
    (
        lambda: many(PPO(), seeds=3, zipped=True),
        r"ValueError: .*zipped takes as many seeds as algorithms, got 3",
    ),
    (
        lambda: many({"algorithm": PPO(), "seed": 1}),
        r"TypeError: .*algorithms\[0\] has no 'seed'; others that",
    ),
    (lambda: many({}), r"TypeError: train_many\(\): algorithms\[0\] needs an 'algorithm'"),
    (lambda: many({"algorithm": PPO(), "num_envs": 0}), r"ValueError: .*algorithms\[0\]: num_envs must"),
    (
        lambda: many(PPO(), horizon=2, episodes=3),
        r"ValueError: .*exactly one of horizon, episodes, steps_per_",
    ),
    (
        lambda: many(PPO(), vectorization_mode="sync"),
        r"ValueError: .*vectorization_mode goes with Gymnasium's",
    ),
    (lambda: many(PPO(), env_params={"x": 1}), r"TypeError: train_many\(\): "),
    (lambda: fastpg.train_many("CartPol-v1", PPO(), seeds=1), r"ValueError: train_many\(\): .*CartPole-v1"),
]


def many(algorithms, *, seeds=1, **settings):
    return fastpg.train_many("CartPole-v1", algorithms, seeds=seeds, **settings)


@pytest.mark.parametrize(("call", "says"), BAD)
def test_bad_arguments_get_a_sentence(call, says):
    with pytest.raises((TypeError, ValueError)) as refused:
        call()
    assert re.match(says, f"{refused.type.__name__}: {refused.value}"), refused.value


def test_a_place_that_cannot_be_saved_in_is_found_out_before_the_runs(tmp_path):
    (tmp_path / "there").write_text("something")
    endless = {"total_steps": 10**12}
    with pytest.raises(ValueError, match=r"^train_many\(\): save must be a new folder or an empty one"):
        fastpg.train_many("CartPole-v1", PPO(), seeds=1, save=tmp_path, **endless)
    with pytest.raises(ValueError, match=r"^train_many\(\): save must be a folder"):
        fastpg.train_many("CartPole-v1", PPO(), seeds=1, save=tmp_path / "there", **endless)
    runs = fastpg.train_many("CartPole-v1", Reinforce(), seeds=2, save=tmp_path / "new" / "er", **SHORT)
    assert len(runs) == len(list((tmp_path / "new" / "er").iterdir())) - 1
