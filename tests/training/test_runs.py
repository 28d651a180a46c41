"""Runs with a folder: going on to the last bit, what is refused, what the files say."""

import dataclasses
import os
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv

import fastpg
from fastpg import _core
from fastpg.training import metrics, run_folder, state_file, toml
from tests.support import jit_envs, killed
from tests.support.finite_mdps import random_mdp
from tests.support.gymnasium_envs import Scripted

HALF, WHOLE = 20_000, 40_000


def cart_pole(x=0):
    return gymnasium.make("CartPole-v1")


CASES = {
    "linear": ("CartPole-v1", fastpg.Reinforce(), {"hidden": ()}),
    "total": ("Acrobot-v1", fastpg.Reinforce(form="total", baseline="batch_mean"), {"episodes": 20}),
    "vpg": ("Pendulum-v1", fastpg.VPG(normalize_observations=True, value_minibatches=3), {"horizon": 64}),
    "none": ("FrozenLake-v1", fastpg.A2C(max_grad_norm=None), {"horizon": 16, "env_params": {"desc": None}}),
}


@pytest.fixture
def folder(tmp_path):
    """A run of 20,000 steps."""
    fastpg.train("CartPole-v1", run=tmp_path / "run", hidden=(8,), total_steps=HALF)
    return tmp_path / "run"


def rewrite(folder, old, new):
    path = folder / run_folder.SETTINGS
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("name", CASES)
def test_half_a_run_and_the_other_half_are_the_whole_run(name, tmp_path):
    env, algorithm, settings = CASES[name]
    settings |= {"seed": 5}
    whole = fastpg.train(env, algorithm, run=tmp_path / "whole", total_steps=WHOLE, **settings)
    fastpg.train(env, algorithm, run=tmp_path / "half", total_steps=HALF, **settings)
    resumed = fastpg.resume(tmp_path / "half", total_steps=WHOLE)
    killed.check_equal(resumed, tmp_path / "half", whole, tmp_path / "whole")
    assert resumed.config == whole.config
    assert (resumed.num_steps, resumed.stopped_because) == (whole.num_steps, whole.stopped_because)
    assert type(resumed.num_steps) is int


def test_a_run_with_a_folder_is_the_run_without(tmp_path):
    run = fastpg.train("CartPole-v1", fastpg.VPG(), run=tmp_path / "run", total_steps=HALF, horizon=32)
    plain = fastpg.train("CartPole-v1", fastpg.VPG(), total_steps=HALF, horizon=32)
    assert run.policy.theta.tobytes() == plain.policy.theta.tobytes()
    assert run.config == plain.config
    for saved, kept in (("policy", run.policy), ("value", run.value)):
        loaded = type(kept).load(tmp_path / "run" / f"{saved}.safetensors")
        assert loaded.theta.tobytes() == kept.theta.tobytes()


def test_a_policy_and_a_value_function_that_were_given_are_gone_on_with(tmp_path):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(5,), activation="relu", seed=8)
    value = fastpg.ValueFunction.for_env("CartPole-v1", hidden=(3, 4), seed=9)
    given = {"policy": policy, "value": value, "horizon": 32}
    algorithm = fastpg.VPG(normalize_observations=True)
    whole = fastpg.train("CartPole-v1", algorithm, run=tmp_path / "whole", total_steps=WHOLE, **given)
    fastpg.train("CartPole-v1", algorithm, run=tmp_path / "half", total_steps=HALF, **given)
    resumed = fastpg.resume(tmp_path / "half", total_steps=WHOLE)
    killed.check_equal(resumed, tmp_path / "half", whole, tmp_path / "whole")
    assert resumed.value.theta.tobytes() == whole.value.theta.tobytes()
    assert resumed.value.activation == "tanh"


@pytest.mark.slow
def test_a_copy_elsewhere_goes_on_in_another_process_on_other_threads(tmp_path):
    whole = fastpg.train("CartPole-v1", fastpg.VPG(), run=tmp_path / "whole", horizon=64, total_steps=WHOLE)
    program = f"""
        import fastpg
        run = {str(tmp_path / "half")!r}
        fastpg.train("CartPole-v1", fastpg.VPG(), run=run, horizon=64, total_steps={HALF})
    """
    program = "\n".join(line.strip() for line in program.splitlines())
    subprocess.run([sys.executable, "-c", program], env={"FASTPG_NUM_THREADS": "3"}, check=True)
    shutil.move(tmp_path / "half", tmp_path / "elsewhere")
    before = fastpg.get_num_threads()
    try:
        fastpg.set_num_threads(1)
        resumed = fastpg.resume(tmp_path / "elsewhere", total_steps=WHOLE)
    finally:
        fastpg.set_num_threads(before)
    killed.check_equal(resumed, tmp_path / "elsewhere", whole, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", killed.CASES)
def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bits(name):
    assert killed.killed_runs(name, kills=3, seed=len(name)) > 0


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_whatever_ends_a_run_leaves_it_where_it_stood(error, tmp_path):
    def callback(progress):
        if progress.num_iterations == 7:
            raise error

    settings = {"horizon": 16, "total_steps": HALF}
    whole = fastpg.train("CartPole-v1", run=tmp_path / "whole", **settings)
    with pytest.raises(error) as raised:
        fastpg.train(
            "CartPole-v1", run=tmp_path / "run", callback=callback, callback_every="iteration", **settings
        )
    assert raised.value.__notes__ == [f"after 1,792 steps; fastpg resume {tmp_path / 'run'} goes on"]
    assert run_folder.checkpoints(tmp_path / "run")[-1].name == "checkpoint-0000000001792.safetensors"
    killed.check_equal(fastpg.resume(tmp_path / "run"), tmp_path / "run", whole, tmp_path / "whole")


def test_a_run_that_has_ended_is_returned_as_it_is(folder):
    before = fastpg.Policy.load(folder / "policy.safetensors")
    run = fastpg.resume(folder)
    assert run.stopped_because == "total_steps"
    assert run.history["total_steps"][-1] == run.num_steps >= HALF
    assert run.policy.theta.tobytes() == before.theta.tobytes()


def test_a_jit_environment_has_to_be_passed_again_and_to_be_the_same(tmp_path):
    env = jit_envs.CartPole.plain()
    settings = {"num_envs": 2, "horizon": 8, "hidden": ()}
    whole = fastpg.train(env, run=tmp_path / "whole", total_steps=64, **settings)
    fastpg.train(env, run=tmp_path / "run", total_steps=32, **settings)
    with pytest.raises(ValueError, match="'CartPole', which a folder cannot make again: pass it as env"):
        fastpg.resume(tmp_path / "run")
    for other in (jit_envs.Cart.plain(), "CartPole-v1", fastpg.exact.FiniteMDP):
        with pytest.raises((fastpg.CheckpointError, TypeError), match="env"):
            fastpg.resume(tmp_path / "run", env=other, total_steps=64)
    resumed = fastpg.resume(tmp_path / "run", env=env, total_steps=64)
    killed.check_equal(resumed, tmp_path / "run", whole, tmp_path / "whole")


def test_a_finite_mdp_with_another_number_in_it_is_another(tmp_path):
    mdp = random_mdp()
    fastpg.train(mdp, run=tmp_path / "run", hidden=(), total_steps=1000)
    reward = mdp.reward.copy()
    reward[0, 0] += 1e-9
    other = dataclasses.replace(mdp, reward=reward)
    with pytest.raises(fastpg.CheckpointError, match="not the one that the run was begun in"):
        fastpg.resume(tmp_path / "run", env=other)
    assert fastpg.resume(tmp_path / "run", env=mdp, total_steps=2000).num_steps >= 2000


def test_parameters_of_environments_are_kept(tmp_path):
    params = {"sutton_barto_reward": True}
    fastpg.train("CartPole-v1", run=tmp_path / "run", env_params=params, total_steps=1000)
    assert fastpg.resume(tmp_path / "run").config["env_params"] == params
    with pytest.raises(TypeError, match=r"env_params\['x'\] cannot be kept .* object has no form in TOML"):
        fastpg.train(cart_pole, run=tmp_path / "other", env_params={"x": object()}, total_steps=1000)


def test_environments_of_gymnasium_begin_anew_and_the_agent_goes_on(tmp_path):
    fastpg.train("gym:Pendulum-v1", num_envs=2, horizon=8, run=tmp_path / "run", total_steps=64)
    with pytest.warns(RuntimeWarning, match=r"cannot be saved: the agent of .* goes on as it was"):
        run = fastpg.resume(tmp_path / "run", total_steps=128)
    assert run.history["total_steps"].tolist() == [16, 32, 48, 64, 80, 96, 112, 128]
    state, _ = state_file.load("", run_folder.newest("", tmp_path / "run"))
    assert state["collector.draws"] == 64
    fastpg.resume(tmp_path / "run")  # has ended: nothing begins anew
    made = gymnasium.make_vec("Pendulum-v1", num_envs=3)
    fastpg.train(made, horizon=8, run=tmp_path / "made", total_steps=48)
    with pytest.raises(ValueError, match="num_envs is 3"):
        fastpg.resume(tmp_path / "made", env=gymnasium.make_vec("Pendulum-v1", num_envs=2), total_steps=96)
    with pytest.warns(RuntimeWarning):
        assert fastpg.resume(tmp_path / "made", env=made, total_steps=96).num_steps == 96


@pytest.mark.parametrize("name", ["Scripted", "AsyncVectorEnv"])
def test_what_a_function_makes_in_processes_goes_on_also_under_its_older_name(tmp_path, name):
    settings = {"run": tmp_path / "run", "horizon": 8, "total_steps": 32}
    if name == "Scripted":
        fastpg.train(Scripted, num_envs=2, vectorization_mode="async", **settings)
    else:  # which is what it was called
        fastpg.train(lambda: AsyncVectorEnv([Scripted] * 2), **settings)
    with pytest.warns(RuntimeWarning, match="begin anew"):
        run = fastpg.resume(tmp_path / "run", env=Scripted, total_steps=64)
    assert run.config["env_id"] == name
    assert run.num_steps >= 64


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("format_version = 1", "format_version = 2", "a run of format version 2; this fastpg goes on with 1"),
        (f'isa = "{_core.isa()}"', 'isa = "sse9"', "begun with the instruction set sse9.*this CPU has only"),
        ('fingerprint = "', 'fingerprint = "0', "is not the one that the run was begun in"),
        ("seed = 0\n", "", "lacks seed"),
        ("isa = ", "asi = ", "lacks machine.isa"),
        ("seed = 0", "seed = ", "is not TOML"),
        ('"Reinforce"', '"SARSA"', "has no algorithm 'SARSA'"),
        ("gamma = ", "wings = ", "Reinforce of this fastpg has no option 'wings', which settings.toml has"),
        ("num_envs = 16", "num_envs = 8", "was changed: num_envs was 16 in the run, and is 8"),
        ("seed = 0", "seed = 1", "was changed: seed was 0 in the run, and is 1"),
        ("gamma = 0.99", "gamma = 0.5", "was changed: algorithm.gamma was 0.99 in the run, and is 0.5"),
    ],
)
def test_what_cannot_be_the_same_is_a_sentence(folder, old, new, sentence):
    rewrite(folder, old, new)
    with pytest.raises(fastpg.CheckpointError, match=f"(?s)^resume.*{sentence}"):
        fastpg.resume(folder)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "gym:CartPole-v1"])
def test_an_iteration_that_fails_names_who_was_called(tmp_path, env_id):
    algorithm = fastpg.Reinforce(learning_rate=1e38)  # diverges
    with pytest.raises(FloatingPointError, match=r"^train\(\): iteration \d: "):
        fastpg.train(env_id, algorithm, run=tmp_path / "run", horizon=16, hidden=(8,))
    with (
        pytest.raises(FloatingPointError, match=r"^resume\(\): iteration \d: "),
        warnings.catch_warnings(action="ignore"),  # Gymnasium's environments begin anew
    ):
        fastpg.resume(tmp_path / "run")


def test_another_build_is_warned_of(folder):
    rewrite(folder, f'fastpg = "{_core.version()}"', 'fastpg = "0.0.1"')
    with pytest.warns(RuntimeWarning, match=r"begun with fastpg 0\.0\.1"):
        fastpg.resume(folder)


def test_more_steps_are_another_schedule(tmp_path):
    algorithm = fastpg.VPG(linear_schedule=True)
    fastpg.train("CartPole-v1", algorithm, run=tmp_path / "run", total_steps=1000)
    says = "has linear_schedule, whose line falls to 0 at 1,000 steps. With stretch_schedule=True .* at 2,000"
    with pytest.raises(ValueError, match=says):
        fastpg.resume(tmp_path / "run", total_steps=2000)
    fastpg.resume(tmp_path / "run", total_steps=1000)


@pytest.mark.parametrize("algorithm", [fastpg.VPG(linear_schedule=True), fastpg.PPO(linear_clip_range=True)])
def test_a_schedule_is_stretched_to_the_new_end_and_lasts(algorithm, tmp_path):
    settings = {"horizon": 16, "num_envs": 8, "hidden": (8,), "seed": 3}
    fastpg.train("CartPole-v1", algorithm, run=tmp_path / "run", total_steps=1024, **settings)
    shutil.copytree(tmp_path / "run", tmp_path / "whole")
    how = {"total_steps": 2048, "stretch_schedule": True, "checkpoint_every": 128, "keep_checkpoints": 1000}
    whole = fastpg.resume(tmp_path / "whole", **how)
    before = whole.history["total_steps"] - whole.history["num_steps"]
    ends = np.where(before < 1024, 1024, 2048)
    if algorithm.linear_schedule:
        expected = algorithm.learning_rate * (1 - before / ends)
        np.testing.assert_allclose(whole.history["learning_rate"], expected)
    fastpg.resume(tmp_path / "run", **how)
    for late in run_folder.checkpoints(tmp_path / "run")[-3:]:
        late.unlink()  # as if the process had been killed before
    killed.check_equal(fastpg.resume(tmp_path / "run"), tmp_path / "run", whole, tmp_path / "whole")
    assert run_folder.read_settings("", tmp_path / "run")["stretched_from"] == [1024]


def test_a_damaged_checkpoint_is_refused_and_the_one_before_taken_without_it(folder):
    newest = run_folder.newest("", folder)
    content = newest.read_bytes()
    newest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(fastpg.CheckpointError, match=r"checksum.*goes on from the checkpoint before"):
        fastpg.resume(folder)
    newest.write_bytes(content[:100])
    with pytest.raises(fastpg.CheckpointError, match="damaged or not a safetensors file"):
        fastpg.resume(folder)
    newest.unlink()
    assert fastpg.resume(folder).num_steps >= HALF
    (folder / run_folder.POLICY).rename(folder / "elsewhere")
    with pytest.raises(fastpg.CheckpointError, match=r"^resume\(\): .* lacks policy.safetensors, which says"):
        fastpg.resume(folder)
    (folder / "elsewhere").rename(folder / run_folder.POLICY)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(fastpg.CheckpointError, match="has no checkpoint left"):
        fastpg.resume(folder)


def test_states_that_no_environment_could_be_in_are_refused(tmp_path):
    fastpg.train("FrozenLake-v1", run=tmp_path / "run", hidden=(), horizon=4, total_steps=256)
    newest = run_folder.newest("", tmp_path / "run")
    state, facts = state_file.load("", newest)
    state["environments.state"] = np.full_like(state["environments.state"], 1e6)
    newest.write_bytes(state_file.content(state, facts))
    with pytest.raises(fastpg.CheckpointError, match=r"state\[0\] must hold states in 0 .. 15"):
        fastpg.resume(tmp_path / "run")
    del state["environments.elapsed"]
    newest.write_bytes(state_file.content(state, facts))
    with pytest.raises(
        fastpg.CheckpointError, match=r"is not of this run: .*environments.elapsed of state must be"
    ):
        fastpg.resume(tmp_path / "run")


def test_how_a_run_ends_may_be_edited_and_a_checkpoint_that_does_not_know_its_settings_goes_on(folder):
    rewrite(folder, f"total_steps = {HALF}", f"total_steps = {WHOLE}")
    newest = run_folder.newest("", folder)
    state, facts = state_file.load("", newest)
    del facts["settings"]
    newest.write_bytes(state_file.content(state, facts))
    assert fastpg.resume(folder).num_steps >= WHOLE


def test_metrics_past_the_checkpoint_are_cut_and_changed_ones_refused(folder):
    path = folder / run_folder.METRICS
    before = path.read_bytes()
    path.write_bytes(before + b"17,0.5")
    fastpg.resume(folder)
    assert path.read_bytes() == before
    path.write_bytes(before[:-5])
    with pytest.raises(fastpg.CheckpointError, match=r"metrics.csv' was changed"):
        fastpg.resume(folder)
    path.write_bytes(b"x" + before[:-1])
    with pytest.raises(fastpg.CheckpointError, match=r"metrics.csv"):
        fastpg.resume(folder)
    line = before.splitlines()[1]
    path.write_bytes(before.replace(line, line.replace(b",", b";", 1).ljust(len(line))))
    with pytest.raises(
        fastpg.CheckpointError, match=r"not a file of metrics: line 2 has 23 columns, not 24$"
    ):
        fastpg.resume(folder)
    path.write_bytes(before.replace(line, b"x" * line.index(b",") + line[line.index(b",") :]))
    with pytest.raises(fastpg.CheckpointError, match=r"line 2 has 'x' for time/iterations$"):
        fastpg.resume(folder)
    path.unlink()
    with pytest.raises(fastpg.CheckpointError, match=r"metrics.csv' is not there"):
        fastpg.resume(folder)


@pytest.mark.parametrize("asked", [{"checkpoint_every": 100}, {"keep_checkpoints": 2}])
def test_checkpoints_without_a_folder_are_said_not_to_be(asked):
    with pytest.warns(
        RuntimeWarning, match=r"^train\(\): checkpoint_every and keep_checkpoints are of a run"
    ):
        fastpg.train("CartPole-v1", hidden=(), total_steps=100, **asked)


def test_metrics_have_the_names_that_people_look_for(tmp_path):
    run = fastpg.train("CartPole-v1", fastpg.VPG(), run=tmp_path / "run", horizon=64, total_steps=HALF)
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    columns = dict(zip(names, np.loadtxt(lines[1:], delimiter=",").T, strict=True))
    assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "train/value_loss", "train/entropy"} <= set(names)
    np.testing.assert_array_equal(columns["rollout/ep_rew_mean"], run.history["mean_return"])
    np.testing.assert_array_equal(columns["time/total_timesteps"], run.history["total_steps"])
    np.testing.assert_array_equal(columns["time/iterations"], np.arange(len(lines) - 1) + 1)
    np.testing.assert_allclose(columns["time/time_elapsed"], np.cumsum(run.history["seconds"]))


def test_metrics_that_are_not_written_yet_are_written_later(tmp_path):
    file = metrics.Metrics(tmp_path / "metrics.csv")
    records = np.zeros(3, _core.STATS_DTYPE)
    records["total_steps"], records["mean_return"] = [1, 2, 3], [0.1, np.nan, -np.inf]
    first = np.empty(0, _core.STATS_DTYPE)  # of a run that goes on
    file.add([first, records[:2]])
    whole = file._file
    with open(tmp_path / "metrics.csv", "rb") as cannot_be_written:
        file._file = cannot_be_written
        with pytest.raises(OSError):
            file.write()
    file._file = whole
    file.add([first, records[:2], records[2:]])
    file.write()
    file.close()
    read = metrics.parse("", (tmp_path / "metrics.csv").read_text() + "4,not,whole")
    for name in records.dtype.names:
        np.testing.assert_array_equal(read[name], records[name])


def test_a_disk_is_waited_for_when_a_checkpoint_is_due_and_not_before(tmp_path, monkeypatch):
    """A run that ends before then is as young as what a power cut may take away from any run."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    settings = {"hidden": (8,), "total_steps": HALF}
    fastpg.train("CartPole-v1", run=tmp_path / "young", **settings)
    assert synced == []
    fastpg.train("CartPole-v1", run=tmp_path / "old", checkpoint_every=HALF // 2, **settings)
    names = [Path(path).name.partition("-")[0] for path in synced]
    assert names[0] == run_folder.METRICS  # before the checkpoint that counts its bytes
    assert {"checkpoints", run_folder.SETTINGS, run_folder.POLICY, "old"} < set(names)
    del synced[:]
    fastpg.resume(tmp_path / "young", total_steps=WHOLE)
    assert tmp_path / "young" / run_folder.SETTINGS in map(Path, synced)


def test_checkpoints_come_as_often_as_asked_and_the_newest_stay(tmp_path):
    run = tmp_path / "run"
    settings = {"horizon": 16, "total_steps": 25_600, "checkpoint_every": 5120, "keep_checkpoints": 4}
    fastpg.train("CartPole-v1", run=run, **settings)
    names = [one.stem.removeprefix("checkpoint-").lstrip("0") for one in run_folder.checkpoints(run)]
    assert names == ["10240", "15360", "20480", "25600"]
    fastpg.resume(run, total_steps=30_720, keep_checkpoints=1, checkpoint_every="2h")
    assert len(run_folder.checkpoints(run)) == 1
    assert tomllib.loads((run / "settings.toml").read_text())["checkpoint_every"] == "2h"


@pytest.mark.parametrize("value", ["60", "-1s", "0s", "s", "1 day", 0, -5, 1.5, True, None])
def test_other_intervals_are_refused(value, tmp_path):
    with pytest.raises((TypeError, ValueError), match="checkpoint_every must be"):
        fastpg.train("CartPole-v1", run=tmp_path / "run", checkpoint_every=value)
    assert not (tmp_path / "run").exists()


def test_toml_reads_back():
    tables = {
        "text": 'a "quoted" \\ line\nand \x7f \x00 é 😀',
        "numbers": [1, -2.5, 1e-300, 2**64 - 1, float("inf"), True],
        "of numpy": np.float32(0.5),
        "array": np.arange(4).reshape(2, 2),
        "table": {"a.b": {"c": [(1, 2), "x"]}, "": False, "left out": None},
    }
    read = tomllib.loads(toml.dumps(tables))
    expected = tables | {"of numpy": 0.5, "array": [[0, 1], [2, 3]]}
    expected["table"] = {"a.b": {"c": [[1, 2], "x"]}, "": False}
    assert read == expected


def test_the_policy_of_a_run_under_way_is_that_of_its_newest_checkpoint(folder):
    policy = fastpg.Policy.load(folder)
    assert policy.theta.tobytes() == fastpg.Policy.load(folder / "policy.safetensors").theta.tobytes()
    assert policy.env_id == "CartPole-v1"
