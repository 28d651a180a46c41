"""Training from Python: what comes back, what stops it, what is kept."""

import io
import os

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg._core import STATS_DTYPE
from fastpg.training.progress import ProgressLine


def short(**changed):
    """A training run of about 20,000 steps."""
    return fastpg.train("CartPole-v1", **{"hidden": (8,), "total_steps": 20_000, "seed": 1, **changed})


def test_history_has_a_column_for_every_statistic_and_a_row_for_every_iteration():
    run = short()
    assert set(run.history) == set(STATS_DTYPE.names)
    (length,) = {len(column) for column in run.history.values()}
    assert length >= 2
    assert run.history["num_steps"].sum() == run.history["total_steps"][-1] == run.num_steps >= 20_000
    assert run.stopped_because == "total_steps"


def test_the_same_seed_gives_the_same_policy_and_another_seed_another():
    first, again, other = (short(seed=seed).policy.theta for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.slow
def test_the_defaults_solve_cartpole_on_nine_seeds_of_ten():
    solved = 0
    for seed in range(10):
        run = fastpg.train("CartPole-v1", target_return=475, seed=seed)
        returns, _ = fastpg.evaluate("CartPole-v1", run.policy, episodes=100)
        solved += returns.mean() >= 475
    assert solved >= 9


@pytest.mark.parametrize("seed", range(3))
def test_the_textbook_run_learns_what_the_classic_script_learns(seed):
    # 50 iterations of about 5,000 steps of whole episodes, the total return as the weight of every step.
    algorithm = fastpg.Reinforce(form="total", learning_rate=1e-2, gamma=1.0)
    run = fastpg.train("CartPole-v0", algorithm, hidden=(32,), total_steps=250_000, seed=seed)
    assert 40 <= len(run.history["mean_return"]) <= 60
    assert run.history["mean_return"][-5:].mean() > 150


@pytest.mark.parametrize("collect", [{"num_envs": 64, "horizon": 128}, {"num_envs": 64, "episodes": 64}])
@pytest.mark.parametrize("hidden", [(), (32,), (33, 7, 5)])
def test_every_depth_and_way_to_collect_learns(collect, hidden):
    algorithm = fastpg.Reinforce(learning_rate=3e-3 if hidden else 3e-2)  # linear policies want larger steps
    run = fastpg.train("CartPole-v1", algorithm, hidden=hidden, **collect, total_steps=600_000, seed=0)
    assert np.nanmean(run.history["mean_return"][-20:]) > 100


@pytest.mark.parametrize(
    "collect",
    [{"horizon": 32}, {"episodes": 10}, {"steps_per_iteration": 1000}],
    ids=lambda one: next(iter(one)),
)
def test_every_way_to_collect_trains(collect):
    run = short(num_envs=8, **collect)
    assert run.config | collect == run.config
    if "horizon" in collect:
        assert (run.history["num_steps"] == 32 * 8).all()
    if "episodes" in collect:
        assert (run.history["num_episodes"] == 10).all()


def test_more_environments_than_episodes_are_not_made():
    assert short(num_envs=64, episodes=10).config["num_envs"] == 10


def test_target_return_stops_the_run():
    run = short(target_return=25.0, total_steps=10_000_000)
    assert run.stopped_because == "target_return"
    assert run.num_steps < 10_000_000


def test_the_callback_sees_the_run_and_stops_it():
    seen = []

    def callback(state):
        seen.append((state.num_steps, state.num_iterations, state.mean_return, state.policy.theta.copy()))
        return len(seen) == 2

    run = short(callback=callback, total_steps=2**40)
    assert run.stopped_because == "callback"
    assert len(seen) == 2
    assert 0 < seen[0][0] < seen[1][0] == run.num_steps
    assert (seen[1][3] == run.policy.theta).all()


def test_callbacks_can_ask_for_every_iteration():
    seen = []
    settings = {"num_envs": 4, "horizon": 10, "total_steps": 1000, "hidden": ()}
    settings |= {"callback": lambda state: seen.append(state.num_iterations), "callback_every": "iteration"}
    run = fastpg.train("CartPole-v1", **settings)
    assert seen == list(range(1, len(run.history["num_steps"]) + 1))
    assert len(seen) == 25
    assert run.history["total_steps"][-1] == 1000


def test_a_callback_that_raises_is_heard():
    def callback(_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        short(callback=callback)


def test_training_continues_from_a_copy_of_a_policy(policy):
    before = policy.theta.copy()
    run = short(policy=policy)
    assert (policy.theta == before).all()
    assert run.config["hidden"] == policy.hidden
    assert (run.policy.theta != before).any()


def test_the_checkpoint_holds_the_final_policy(tmp_path):
    run = short(checkpoint=tmp_path / "run.safetensors")
    loaded = fastpg.Policy.load(tmp_path / "run.safetensors")
    assert (loaded.theta == run.policy.theta).all()
    assert loaded.env_id == "CartPole-v1"


def test_ctrl_c_saves_the_checkpoint_and_is_raised(tmp_path):
    def callback(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short(callback=callback, total_steps=2**40, checkpoint=tmp_path / "run.safetensors")
    assert fastpg.Policy.load(tmp_path / "run.safetensors").env_id == "CartPole-v1"


def saved_note(error):
    (note,) = error.__notes__
    return note


def raises(kind):
    def callback(_):
        raise kind("from the callback")

    return callback


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt, OSError, MemoryError])
def test_whatever_ends_a_run_saves_its_policy_and_says_where(kind, tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(kind) as caught:
        short(callback=raises(kind), total_steps=2**40, checkpoint=path)
    assert saved_note(caught.value).endswith(f" steps; policy saved to {path}")
    assert fastpg.Policy.load(path).env_id == "CartPole-v1"


@pytest.mark.slow
def test_an_environment_that_fails_leaves_the_last_good_policy(tmp_path):
    class Failing(gymnasium.Env):
        observation_space, action_space = Box(-1, 1, (2,)), Discrete(2)
        steps = 0

        def reset(self, *, seed=None, options=None):
            return np.zeros(2, np.float32), {}

        def step(self, action):
            Failing.steps += 1
            if Failing.steps > 50_000:
                raise RuntimeError("the simulator is gone")
            return np.zeros(2, np.float32), float(action), Failing.steps % 8 == 0, False, {}

    seen, path = [], tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="the simulator is gone") as caught:
        fastpg.train(
            Failing, num_envs=1, horizon=64, hidden=(), checkpoint=path,
            callback=lambda state: seen.append(state.policy),
        )  # fmt: skip
    assert saved_note(caught.value).endswith(f" steps; policy saved to {path}")
    loaded = fastpg.Policy.load(path)
    assert (loaded.theta == seen[-1].theta).all()
    assert loaded.theta[-1] > loaded.theta[-2]  # it has learned that 1 is better


def test_nothing_is_saved_when_nothing_was_learned(tmp_path):
    def nothing():
        raise RuntimeError("no environment")

    with pytest.raises(RuntimeError, match="no environment"):
        fastpg.train(nothing, checkpoint=tmp_path / "run.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_during_the_final_save_saves_again(tmp_path, monkeypatch):
    path, replace, calls = tmp_path / "run.safetensors", os.replace, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        short(checkpoint=path)
    assert saved_note(caught.value).endswith(f" steps; policy saved to {path}")
    assert fastpg.Policy.load(path).env_id == "CartPole-v1"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_saved_is_said_of_files_that_are_there_only(kind, tmp_path, monkeypatch):
    def fail(*_):
        raise kind("again")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt) as caught:
        short(callback=raises(KeyboardInterrupt), checkpoint=tmp_path / "run.safetensors")
    assert not any("saved to" in note for note in getattr(caught.value, "__notes__", []))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_final_save_keeps_the_result(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(fastpg.SaveError, match=r"train\(\): '.*' cannot be written: No space left") as caught:
        short(checkpoint=tmp_path / "run.safetensors")
    monkeypatch.undo()
    assert (caught.value.result.policy.theta == short().policy.theta).all()
    assert caught.value.result.stopped_because == "total_steps"


class Stream:
    """A stderr that takes nothing."""

    closed = False

    def __init__(self, error):
        self.error, self.calls = error, 0

    def isatty(self):
        return True

    def write(self, _):
        self.calls += 1
        raise self.error

    flush = write


@pytest.mark.parametrize("error", [BrokenPipeError(32, "pipe"), OSError(28, "full"), ValueError("closed")])
def test_a_progress_line_that_cannot_be_written_is_tried_once(error, monkeypatch):
    stream = Stream(error)
    monkeypatch.setattr("sys.stderr", stream)
    assert short(progress=True, total_steps=500_000).stopped_because == "total_steps"
    assert stream.calls == 1


def test_without_stderr_there_is_no_progress_line(monkeypatch):
    for stderr in (None, io.StringIO()):
        if stderr is not None:
            stderr.close()
        monkeypatch.setattr("sys.stderr", stderr)
        assert short(progress=True).stopped_because == "total_steps"


def test_the_live_line_fits_the_terminal(monkeypatch):
    stream = io.StringIO()
    stream.isatty, stream.fileno = lambda: True, lambda: 2
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((40, 24)))
    with ProgressLine(enabled=True, stream=stream) as line:
        line.update("x" * 100, last=False)
    assert stream.getvalue() == "\r\x1b[K" + "x" * 39 + "\n"


def test_the_live_line_says_what_the_newest_iteration_was_like(capfd):
    short(algorithm=fastpg.PPO(), progress=True)
    line = capfd.readouterr().err
    for words in (" steps | ", " steps/s | mean return ", " | length ", " | entropy 0.", " | KL "):
        assert words in line


def test_parameters_that_overflow_stop_the_run_and_nothing_is_saved(tmp_path):
    runaway = fastpg.Reinforce(optimizer="sgd", learning_rate=1e300)
    with pytest.raises(FloatingPointError, match=r"train\(\): iteration "):
        short(algorithm=runaway, checkpoint=tmp_path / "run.safetensors")
    assert not (tmp_path / "run.safetensors").exists()


def test_environment_parameters_reach_the_environment():
    run = short(env_params={"sutton_barto_reward": True})
    assert (run.history["max_return"] <= 0.0).all()
    assert run.config["env_params"] == {"sutton_barto_reward": True}


def test_config_names_every_setting():
    config = short(algorithm=fastpg.Reinforce(form="total", optimizer="sgd", momentum=0.5)).config
    assert config["algorithm"] == "Reinforce"
    assert (config["form"], config["optimizer"], config["momentum"]) == ("total", "sgd", 0.5)
    assert (config["num_envs"], config["hidden"], config["seed"]) == (16, (8,), 1)


def test_progress_goes_to_stderr_and_only_if_asked(capfd):
    short()
    assert capfd.readouterr() == ("", "")
    short(progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "steps/s | mean return" in err
    assert "\r" not in err  # stderr is no terminal here


def test_estimates_count_what_they_collected(policy):
    by_episodes = fastpg.estimate_gradient("CartPole-v1", policy, episodes=37, num_envs=8)
    assert by_episodes.num_episodes == by_episodes.num_trajectories == 37
    np.testing.assert_allclose(by_episodes.num_steps, 37 * by_episodes.mean_length)
    by_horizon = fastpg.estimate_gradient("CartPole-v1", policy, horizon=50, num_envs=8)
    assert by_horizon.num_steps == 400
    assert by_horizon.num_episodes <= by_horizon.num_trajectories <= by_horizon.num_episodes + 8


def test_an_estimate_without_a_finished_episode_has_no_mean_return(policy):
    estimate = fastpg.estimate_gradient("CartPole-v1", policy, horizon=2, num_envs=8)
    assert (estimate.num_episodes, estimate.num_trajectories) == (0, 8)
    assert np.isnan([estimate.mean_return, estimate.return_std, estimate.mean_length]).all()


def test_evaluation_returns_one_entry_an_episode(policy):
    returns, lengths = fastpg.evaluate("CartPole-v0", policy, episodes=30, seed=5)
    assert returns.shape == lengths.shape == (30,)
    assert (returns.dtype, lengths.dtype) == (np.float64, np.int64)
    assert (returns == lengths).all()
    assert lengths.max() <= 200


@pytest.mark.parametrize("env_id", ["fastpg/CartPole-v1", "fastpg:fastpg/CartPole-v1"])
def test_the_ids_that_gymnasium_knows_native_environments_by_are_native(env_id):
    settings = {"total_steps": 2000, "hidden": (8,), "seed": 1}
    run, expected = fastpg.train(env_id, **settings), fastpg.train("CartPole-v1", **settings)
    np.testing.assert_array_equal(run.policy.theta, expected.policy.theta)
    assert "vectorization_mode" not in run.config  # which runs have that Python steps
    assert run.policy.env_id == "CartPole-v1"
    assert fastpg.make(env_id, 2).num_envs == 2
    returns, _ = fastpg.evaluate(env_id, run.policy, episodes=3)
    np.testing.assert_array_equal(returns, fastpg.evaluate("CartPole-v1", run.policy, episodes=3)[0])
