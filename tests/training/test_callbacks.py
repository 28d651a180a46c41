import shutil
import sys

import gymnasium
import numpy as np
import pytest

import fastpg
from fastpg.callbacks import Callback, EarlyStopping, Evaluate
from fastpg.training import run_folder
from fastpg.training.metrics import COLUMNS
from tests.support.killed import check_equal
from tests.support.mounts import mounted
from tests.support.quick import few
from tests.support.told import Told

SHORT = {"hidden": (8,), "num_envs": 4, "horizon": 32, "total_steps": 1280, "seed": 1}  # 128 an iteration


def train(callback, **settings):
    return fastpg.train("CartPole-v1", fastpg.VPG(), callback=callback, **SHORT | settings)


def test_callbacks_of_a_list_are_called_in_its_order_until_one_of_them_stops_the_run():
    log = []
    callbacks = [
        lambda progress: log.append("first"),
        lambda progress: progress.num_iterations == 3,
        lambda progress: log.append("last"),
    ]
    run = train(callbacks, callback_every="iteration")
    assert run.stopped_because == "callback"
    assert log == ["first", "last"] * 3


@pytest.mark.parametrize("collected", [{}, {"horizon": None, "episodes": 5}])
def test_a_callback_is_called_after_the_first_iteration_that_reaches_a_multiple_of_its_steps(collected):
    told = Told(every=300)
    run = train(told, **collected)
    steps = run.history["total_steps"].tolist()
    due = [now for before, now in zip([0, *steps], steps, strict=False) if before // 300 < now // 300]
    calls = sorted({*due, steps[-1]})
    assert told.log == [("start", 0), *(("call", one) for one in calls), ("end", steps[-1])]


def test_a_run_that_a_callback_stops_calls_the_others_a_last_time():
    told = Told(every=10**6)
    train([Told(every=1, stop_at=500), told], total_steps=2**40)
    assert told.log == [("start", 0), ("call", 512), ("end", 512)]


def test_metrics_are_the_newest_line_of_the_file_and_the_newest_returns(tmp_path):
    seen = []
    run = train(
        lambda progress: seen.append(progress.metrics), callback_every="iteration", run=tmp_path / "run"
    )
    names, *lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert tuple(names.split(",")) == COLUMNS == tuple(seen[-1])
    table = np.loadtxt(lines, delimiter=",")
    returns, episodes = (
        np.array([one[f"rollout/{name}"] for one in seen]) for name in ("ep_rew_mean", "episodes")
    )
    np.testing.assert_array_equal(episodes, run.history["num_episodes"])
    newest = np.maximum.accumulate(np.where(episodes > 0, np.arange(len(seen)), -1))
    expected = np.where(newest < 0, np.nan, run.history["mean_return"][newest])
    np.testing.assert_array_equal(returns, expected)
    others = [k for k, name in enumerate(COLUMNS) if not name.startswith("rollout/ep")]
    np.testing.assert_allclose(np.array([list(one.values()) for one in seen])[:, others], table[:, others])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "gym:CartPole-v1"])
def test_metrics_of_a_slice_know_all_of_its_iterations(env_id):
    seen = []
    run = fastpg.train(env_id, fastpg.VPG(), callback=seen.append, **SHORT)
    metrics = seen[-1].metrics
    assert metrics["time/iterations"] == seen[-1].num_iterations == len(run.history["seconds"])
    assert metrics["time/time_elapsed"] == pytest.approx(run.history["seconds"].sum())


def test_progress_says_which_run_it_is_of(tmp_path):
    seen = []
    run = train(seen.append, run=tmp_path / "run")
    assert (seen[0].env, seen[0].run) == ("CartPole-v1", tmp_path / "run")
    assert seen[0].config is run.config
    assert seen[0].value is run.value


@pytest.mark.parametrize("place", ["start", "call", "end"])
def test_a_callback_that_raises_leaves_a_run_that_can_go_on_and_others_hear_of_the_end(place, tmp_path):
    told = Told(every=500)
    with pytest.raises(RuntimeError, match=f"at the {place}") as error:
        train([told, Told(every=500, fail_at=(place,))], run=tmp_path / "run")
    assert any("goes on" in note for note in error.value.__notes__)
    assert told.log[-1][0] == "end"
    whole = train(None)
    np.testing.assert_array_equal(fastpg.resume(tmp_path / "run").policy.theta, whole.policy.theta)


def test_the_exception_that_ends_a_run_is_not_replaced_by_one_of_the_end():
    with pytest.raises(RuntimeError, match="at the call") as error:
        train(Told(fail_at=("call", "end")))
    assert "Told.on_training_end() failed: at the end" in error.value.__notes__


def test_what_is_no_callback_is_refused_before_the_run():
    bad = Told()
    for callback, words in (
        (3, "callback must be callable, or a list of callables, got 3"),
        ([print, "x"], r"callback\[1\] must be callable, got 'x'"),
        (Evaluate, r"callback is the class Evaluate; pass an object, Evaluate\(...\)"),
        (lambda: None, "callback cannot be called with an argument"),
    ):
        with pytest.raises(TypeError, match=words):
            train(callback)
    bad.every = 0
    with pytest.raises(ValueError, match=r"callback\[0\].every must be an integer >= 1, got 0"):
        train([bad])


# ---- runs that go on ------------------------------------------------------------------------------------

OFTEN = {"checkpoint_every": 128, "keep_checkpoints": 1000}


def stopping(monitor=None, patience=1024):
    stop = EarlyStopping(patience, min_delta=1e6, monitor=monitor)
    return [Evaluate(384, 2, max_steps=30), stop] if monitor == "eval/mean_reward" else stop


def killed_before(folder, checkpoint, place):
    """Copy the folder of a run as if its process had been killed before one of its checkpoints."""
    shutil.copytree(folder, place)
    for late in sorted((place / "checkpoints").iterdir())[checkpoint:]:
        late.unlink()
    return place


@pytest.mark.parametrize("monitor", few([None, "train/entropy", "eval/mean_reward"], {None}))
def test_a_run_that_was_killed_stops_where_one_does_that_was_not(monitor, tmp_path):
    whole = train(stopping(monitor), run=tmp_path / "whole", total_steps=2**40, **OFTEN)
    count = len(list((tmp_path / "whole" / "checkpoints").iterdir()))
    assert whole.stopped_because == "callback" and count > 8
    for checkpoint in (2, 6, count):  # the last one: it had ended, and is asked again
        folder = killed_before(tmp_path / "whole", checkpoint, tmp_path / f"killed-{checkpoint}")
        run = fastpg.resume(folder, callback=stopping(monitor))
        assert run.stopped_because == "callback"
        check_equal(run, folder, whole, tmp_path / "whole")


def test_callbacks_that_an_exception_came_before_are_called_when_the_run_goes_on(tmp_path):
    def fail(progress):
        if progress.num_steps == 512:
            raise KeyboardInterrupt

    whole = train([Evaluate(256, 2), stopping()], run=tmp_path / "whole", total_steps=2**40)
    with pytest.raises(KeyboardInterrupt):
        train([Evaluate(256, 2), fail, stopping()], run=tmp_path / "run", total_steps=2**40)
    evaluation = Evaluate(256, 2)
    run = fastpg.resume(tmp_path / "run", callback=[evaluation, stopping()])
    check_equal(run, tmp_path / "run", whole, tmp_path / "whole")
    steps = [one.num_steps for one in evaluation.evaluations]
    assert steps == sorted(set(steps)) and 512 in steps
    written = [(tmp_path / name / "evaluations.csv").read_text() for name in ("run", "whole")]
    assert written[0] == written[1]


def test_a_callback_that_stopped_a_run_is_asked_again_before_it_goes_on(tmp_path):
    train(Told(every=1, stop_at=500), run=tmp_path / "run")
    again = Told(every=1, stop_at=500)
    assert fastpg.resume(tmp_path / "run", callback=again).num_steps == 512
    assert again.log == [("start", 512), ("call", 512), ("end", 512)]
    assert fastpg.resume(tmp_path / "run", callback=Told(every=1, stop_at=900)).num_steps == 1024
    assert fastpg.resume(tmp_path / "run").num_steps == 1280


class Counting(Callback):
    """Counts its calls, over all of a run."""

    every = 128

    def __init__(self, count=0, state=None):
        self.count, self.state = count, state

    def __call__(self, progress):
        self.count += 1

    def state_dict(self):
        return {"count": self.count} if self.state is None else self.state

    def load_state_dict(self, state):
        self.count = state["count"]


def test_each_callback_is_given_the_state_of_its_own(tmp_path):
    train([Counting(100), Told(), Counting(200)], run=tmp_path / "run", total_steps=640)
    first, second, third = Counting(), Counting(), Counting()
    fastpg.resume(tmp_path / "run", total_steps=1280, callback=[first, second, third])
    assert (first.count, second.count, third.count) == (110, 210, 5)


def test_a_state_that_json_does_not_say_is_refused_before_the_first_iteration(tmp_path):
    for number, state in enumerate(({1, 2}, {"x": np.zeros(2)}, 3)):
        callbacks = [Counting(state=state), lambda progress: pytest.fail("it trained")]
        says = r"train\(\): Counting.state_dict\(\) must return a dict that JSON can say"
        with pytest.raises(TypeError, match=says):
            train(callbacks, run=tmp_path / str(number))
    train(Counting(state={1, 2}))  # nobody asks for it where there is no folder


def test_a_state_of_another_kind_is_a_sentence_and_is_not_lost(tmp_path):
    train(Counting(state={"number": 3}), run=tmp_path / "run", total_steps=640)
    for _ in range(2):
        says = r"resume\(\): Counting cannot go on with what the checkpoint has of it: KeyError: 'count'"
        with pytest.raises(fastpg.CheckpointError, match=says):
            fastpg.resume(tmp_path / "run", total_steps=1280, callback=Counting())
    with pytest.raises(RuntimeError, match="at the start"):
        fastpg.resume(tmp_path / "run", total_steps=1280, callback=[Told(fail_at=("start",)), Counting()])
    _, facts = run_folder.state_file.load("", run_folder.newest("", tmp_path / "run"))
    assert facts["callbacks"] == [{"name": "Counting", "due": False, "state": {"number": 3}}]


# ---- Evaluate -------------------------------------------------------------------------------------------


def test_evaluations_leave_what_is_learnt_as_it_is_and_the_best_policy_earns_what_they_say(tmp_path):
    evaluation = Evaluate(500, episodes=4, max_steps=200)
    run = train(evaluation, run=tmp_path / "run")
    np.testing.assert_array_equal(run.policy.theta, train(None).policy.theta)
    assert [one.num_steps for one in evaluation.evaluations] == [512, 1024, 1280]
    best = max(evaluation.evaluations, key=lambda one: one.mean_return)
    assert evaluation.best is best
    for policy in (evaluation.best_policy, fastpg.Policy.load(tmp_path / "run" / "best.safetensors")):
        returns, lengths = fastpg.evaluate("CartPole-v1", policy, episodes=4, max_steps=200)
        np.testing.assert_array_equal(returns, best.returns)
        np.testing.assert_array_equal(lengths, best.lengths)


def test_evaluations_of_a_run_that_went_on_are_those_of_one_that_did_not(tmp_path):
    train(Evaluate(512, episodes=3), run=tmp_path / "whole", total_steps=2048)
    half, rest = Evaluate(512, episodes=3), Evaluate(512, episodes=3)
    train(half, run=tmp_path / "run", total_steps=1024, checkpoint_every=128, keep_checkpoints=100)
    for late in sorted((tmp_path / "run" / "checkpoints").iterdir())[-2:]:
        late.unlink()  # as if the process had been killed before: an evaluation is of the future then
    fastpg.resume(tmp_path / "run", total_steps=2048, callback=rest)
    assert [one.num_steps for one in rest.evaluations] == [512, 1024, 1536, 2048]
    written = [(tmp_path / name / "evaluations.csv").read_text() for name in ("run", "whole")]
    assert written[0] == written[1]
    best = [fastpg.Policy.load(tmp_path / name / "best.safetensors") for name in ("run", "whole")]
    np.testing.assert_array_equal(best[0].theta, best[1].theta)


def test_later_callbacks_see_the_evaluation():
    seen = []
    train([Evaluate(512, episodes=2), lambda progress: seen.append("eval/mean_reward" in progress.metrics)])
    assert any(seen)


def test_a_vector_environment_is_not_evaluated_in_the_middle_of_its_run():
    env = gymnasium.make_vec("CartPole-v1", num_envs=2)
    settings = {"hidden": (), "horizon": 16, "total_steps": 64}
    with pytest.raises(ValueError, match=r"Evaluate\(\): the run's environment is a vector environment"):
        fastpg.train(env, callback=Evaluate(32), **settings)
    evaluation = Evaluate(32, 2, env="CartPole-v1", env_params={"sutton_barto_reward": True})
    fastpg.train(env, callback=evaluation, **settings)
    env.close()
    assert all((one.returns <= 0).all() for one in evaluation.evaluations)


def test_environments_that_are_not_native_are_made_once_more():
    evaluation = Evaluate(32, 2)
    settings = {"hidden": (), "horizon": 16, "total_steps": 64, "num_envs": 2, "vectorization_mode": "sync"}
    fastpg.train("gym:CartPole-v1", callback=evaluation, **settings)
    assert [one.num_steps for one in evaluation.evaluations][-1] >= 64


def test_damaged_evaluations_are_a_sentence(tmp_path):
    train(Evaluate(512, episodes=2), run=tmp_path / "run")
    for text in ("", "a,b\n1,2\n", "time/total_timesteps,episode,return,length\n1,2\nx"):
        (tmp_path / "run" / "evaluations.csv").write_text(text)
        with pytest.raises(fastpg.CheckpointError, match=r"Evaluate\(\): '.*evaluations.csv' "):
            fastpg.resume(tmp_path / "run", total_steps=2048, callback=Evaluate(512))


def test_evaluations_wait_for_room_on_a_full_disk(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=512k", "tmpfs") as disk:

        def fill(progress):
            if progress.num_iterations == 1:
                with open(disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
                    while True:
                        filler.write(bytes(4096))
            if progress.num_iterations == 6:
                (disk / "filler").unlink()

        with pytest.warns(RuntimeWarning, match="Evaluate.*No space left on device; the run goes on"):
            train([fill, Evaluate(256, 2)], run=disk / "run", callback_every="iteration")
        lines = (disk / "run" / "evaluations.csv").read_text().splitlines()
        assert len(lines) == 1 + 5 * 2
        fastpg.Policy.load(disk / "run" / "best.safetensors")


def test_arguments_of_evaluate_are_checked():
    for arguments, error, words in (
        ((0,), ValueError, "every must be an integer from 1"),
        ((1.5,), TypeError, "every must be"),
        ((1, 0), ValueError, "episodes must be"),
    ):
        with pytest.raises(error, match=rf"Evaluate\(\): {words}"):
            Evaluate(*arguments)
    with pytest.raises(ValueError, match=r"Evaluate\(\): env_params go with env"):
        Evaluate(1, env_params={})


# ---- EarlyStopping --------------------------------------------------------------------------------------


def test_a_run_stops_when_it_has_not_become_better_for_so_many_steps():
    stop = EarlyStopping(512, min_delta=1e6)
    run = train(stop, total_steps=2**40)
    first = run.history["total_steps"][np.flatnonzero(run.history["num_episodes"])[0]]
    assert (run.stopped_because, run.num_steps) == ("callback", first + 512)
    assert np.isfinite(stop.best)


def test_what_becomes_better_is_watched_in_either_direction():
    class Scripted(Callback):
        every = 1

        def __call__(self, progress):
            progress.metrics["mine"] = [5.0, 4.0, 3.0, 3.5, 3.2, 3.1][min(progress.num_iterations, 6) - 1]

    stop = EarlyStopping(256, monitor="mine", mode="min")
    assert train([Scripted(), stop], total_steps=2**40).num_steps == 5 * 128
    assert stop.best == 3.0
    assert train([Scripted(), EarlyStopping(256, monitor="mine")], total_steps=2**40).num_steps == 3 * 128


def test_a_metric_that_never_comes_is_warned_of():
    with pytest.warns(RuntimeWarning, match=r"EarlyStopping\(\): the run had no metric 'eval/mean_reward'"):
        train([EarlyStopping(10**9, monitor="eval/mean_reward"), Evaluate(10**9, 2)])


@pytest.mark.parametrize(
    ("stop", "num_steps", "hint"),
    [
        (EarlyStopping(10**9, monitor="eval/mean_rewrd"), 512, "did you mean 'eval/mean_reward'?"),
        (EarlyStopping(10**9, monitor="rollout/ep_rew_men"), 128, "did you mean 'rollout/ep_rew_mean'?"),
        (EarlyStopping(300, monitor="mean_return"), 384, "there are time/iterations, "),
    ],
    ids=["eval", "rollout", "no group"],
)
def test_a_metric_that_there_is_not_is_warned_of_while_the_run_lasts(stop, num_steps, hint):
    steps = []
    callbacks = [lambda progress: steps.append(progress.num_steps), Evaluate(512, 2), stop]
    with pytest.warns(RuntimeWarning) as said:
        train([*callbacks, lambda progress: len(said.list) > 0], callback_every="iteration")
    (warning,) = said.list
    assert str(warning.message).startswith("EarlyStopping(): the run has had no metric ")
    assert hint in str(warning.message)
    assert steps[-1] == num_steps


def test_a_metric_of_a_callback_after_the_one_that_looks_at_it_is_warned_of():
    with pytest.warns(RuntimeWarning, match="it is of a callback after this in the list") as said:
        train([EarlyStopping(10**9, monitor="eval/mean_reward"), Evaluate(512, 2)])
    assert len(said.list) == 1


def test_a_metric_that_comes_late_is_waited_for(recwarn):
    train([Evaluate(1024, 2), EarlyStopping(1100, monitor="eval/mean_reward")], callback_every="iteration")
    assert not recwarn.list


def test_arguments_of_early_stopping_are_checked():
    for arguments, error, words in (
        ({"patience": 0}, ValueError, "patience must be"),
        ({"patience": 1, "min_delta": -1.0}, ValueError, "min_delta must be"),
        ({"patience": 1, "monitor": 3}, TypeError, "monitor must be the name of a metric, got 3"),
        ({"patience": 1, "mode": "most"}, ValueError, "mode must be one of 'max', 'min'"),
    ):
        with pytest.raises(error, match=rf"EarlyStopping\(\): {words}"):
            EarlyStopping(**arguments)


# ---- TensorBoard ----------------------------------------------------------------------------------------


def events(folder):
    """Return the events in a folder, in the order in which TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


@pytest.fixture
def board():
    pytest.importorskip("tensorboardX")
    from fastpg.callbacks import TensorBoard

    return TensorBoard


@pytest.mark.slow  # tensorboardX imports torch
def test_tensorboard_has_the_numbers_of_the_metrics_file(board, tmp_path):
    train(board(), run=tmp_path / "run", callback_every="iteration")
    points = [one for one in events(tmp_path / "run" / "tensorboard") if one.HasField("summary")]
    names, *lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [one.step for one in points] == [128 * k for k in range(1, 11)]
    last = dict(zip(names.split(","), map(float, lines[-1].split(",")), strict=True))
    shown = {one.tag: one.simple_value for one in points[-1].summary.value}
    assert "train/clip_fraction" not in shown  # of PPO
    for name in ("train/entropy", "train/value_loss", "time/total_timesteps", "rollout/ep_rew_mean"):
        np.testing.assert_allclose(shown[name], last[name], rtol=1e-6)


@pytest.mark.slow  # tensorboardX imports torch
def test_a_run_that_goes_on_hides_what_tensorboard_has_of_later_steps(board, tmp_path):
    folder = tmp_path / "run" / "tensorboard"
    train(board(every=256), run=tmp_path / "run", checkpoint_every=128, keep_checkpoints=100)
    for late in sorted((tmp_path / "run" / "checkpoints").iterdir())[-4:]:
        late.unlink()
    fastpg.resume(tmp_path / "run", callback=board(every=256))
    shown = []
    for one in events(folder):
        if one.HasField("session_log"):
            shown = [step for step in shown if step < one.step]
        elif one.HasField("summary"):
            shown.append(one.step)
    assert shown == [256, 512, 768, 1024, 1280]


@pytest.mark.slow  # tensorboardX imports torch
def test_a_place_that_tensorboard_cannot_write_to_is_found_out_before_the_run(board, tmp_path):
    (tmp_path / "file").write_text("")
    for folder, error in (
        (tmp_path / "file", ValueError),
        (tmp_path / "file" / "deeper", fastpg.SaveError),
        ("", ValueError),
        (3, TypeError),
    ):
        with pytest.raises(error, match=r"TensorBoard\(\): "):
            board(folder)
    read_only = mounted(tmp_path / "read_only", "-t", "tmpfs", "-o", "ro", "tmpfs")
    with read_only as folder, pytest.raises(fastpg.SaveError, match="Read-only file system"):
        board(folder / "board")
    board(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()  # until there is a run
    with pytest.raises(ValueError, match=r"pass a folder, as the run has none"):
        train([board(), lambda progress: pytest.fail("it trained")])


@pytest.mark.slow  # tensorboardX imports torch
def test_a_run_goes_on_without_tensorboard_when_its_disk_is_full(board, tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as disk:
        with pytest.warns(RuntimeWarning, match="No space left on device; the run goes on without") as warned:
            run = train(board(disk / "board"), total_steps=128 * 200, callback_every="iteration")
        assert len([one for one in warned if "TensorBoard" in str(one.message)]) == 1
        assert run.stopped_because == "total_steps"


def test_a_missing_package_is_a_sentence(monkeypatch):
    from fastpg.callbacks import TensorBoard

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(
        ImportError, match=r"TensorBoard\(\) needs tensorboardX: pip install '.\[tensorboard\]'"
    ):
        TensorBoard("x")


# ---- what is watched without callbacks -------------------------------------------------------------------


def test_the_learning_curve_is_in_the_folder_of_a_run_however_it_ended(tmp_path):
    train(None, run=tmp_path / "run")
    curve = (tmp_path / "run" / "learning_curve.txt").read_text()
    assert curve.endswith("a  run: VPG, CartPole-v1\n")
    assert "1,280 steps" in curve
    with pytest.raises(RuntimeError):
        train(Told(every=500, fail_at=("call",)), run=tmp_path / "failed")
    assert "512 steps" in (tmp_path / "failed" / "learning_curve.txt").read_text()
    shutil.rmtree(tmp_path / "failed")
    with pytest.raises(RuntimeError):
        train(Told(fail_at=("start",)), run=tmp_path / "failed")
    assert (tmp_path / "failed" / "learning_curve.txt").read_text() == "no episode has ended yet\n"
