"""Several processes that train one agent: the bits of one, whatever they share; and how they end together.

Most ranks here are threads that share nothing but their messages (tests/support/ranks.py): that is quick.
"""

import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import fastpg
from fastpg import A2C, NPG, PPO, TRPO, VPG, Reinforce, _core
from tests.support.bits import ALGORITHMS, NATIVE, NUM_ENVS, digest
from tests.support.ranks import of_all

SETTINGS = {"num_envs": NUM_ENVS, "total_steps": 900, "seed": 3}
WITH_STATISTICS = {
    "vpg, q": (VPG(form="q", value_hidden=(5,), normalize_observations=True), {"steps_per_iteration": 400}),
    "a2c": (A2C(normalize_observations=True, value_hidden=(5,)), {"horizon": 5}),
    "ppo": (PPO(normalize_observations=True, normalize_rewards=True, minibatches=3), {"horizon": 15}),
    "npg": (NPG(normalize_observations=True, fisher_every=3), {"horizon": 15}),
    "trpo": (TRPO(normalize_observations=True, normalize_rewards=True), {"episodes": 25}),
}


@pytest.fixture(autouse=True)
def all_work_is_shared(monkeypatch):
    monkeypatch.setattr("fastpg.distributed.ranks.LEAST_WORK", 0)


def bits(run):
    parameters = [run.policy.theta] if run.value is None else [run.policy.theta, run.value.theta]
    return digest(*parameters, *(column for name, column in run.history.items() if name != "seconds"))


def trained(env, algorithm, how, communicator=None, **more):
    return fastpg.train(env, algorithm, communicator=communicator, **{**SETTINGS, **how, **more})


def same_everywhere(size, env, algorithm, how, **more):
    alone = bits(trained(env, algorithm, how, **more))
    outcomes = of_all(size, lambda c: bits(trained(env, algorithm, how, c, **more)))
    assert outcomes == [alone] * size


# ---- the bits of one process ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("head", ["categorical", "gaussian", "table"])
def test_ranks_give_the_bits_of_one_process(head, name, size):
    algorithm, how = ALGORITHMS[name]
    if head == "table" and getattr(algorithm, "normalize_observations", False):
        algorithm = dataclasses.replace(algorithm, normalize_observations=False)
    same_everywhere(size, NATIVE[head], algorithm, how)


@pytest.mark.parametrize("name", WITH_STATISTICS)
def test_running_statistics_are_those_of_one_process(name):
    same_everywhere(3, "Pendulum-v1" if name != "vpg, q" else "CartPole-v1", *WITH_STATISTICS[name])


@pytest.mark.parametrize("isa", _core.isas())
def test_on_every_instruction_set(isa):
    before = _core.isa()
    _core.select_isa(isa)
    try:
        same_everywhere(2, "CartPole-v1", *ALGORITHMS["ppo"])
        same_everywhere(2, "Pendulum-v1", *ALGORITHMS["reinforce, means"])
    finally:
        _core.select_isa(before)


@pytest.mark.parametrize(
    "algorithm", [Reinforce(), PPO(epochs=1, minibatches=2), pytest.param(TRPO(), marks=pytest.mark.slow)]
)
def test_more_slots_tiles_and_rows(algorithm):
    """Shards of several tiles a slot, and minibatches of many slots."""
    same_everywhere(
        3, "CartPole-v1", algorithm, {"horizon": 7}, num_envs=4200, total_steps=40_000, hidden=(9,)
    )


def test_more_ranks_than_shards():
    same_everywhere(
        4, "CartPole-v1", PPO(epochs=1, minibatches=2), {"horizon": 16}, num_envs=2, total_steps=200
    )


def test_what_costs_less_than_a_message_is_computed_by_all(monkeypatch):
    def messages(c):
        run = trained("CartPole-v1", PPO(), {"horizon": 64}, c, total_steps=64 * NUM_ENVS)
        return bits(run), c.messages

    shared = of_all(2, messages)
    monkeypatch.undo()
    replicated = of_all(2, messages)
    assert {one for one, _ in shared} == {one for one, _ in replicated}
    assert shared[0][1] > 300 > 20 > replicated[0][1]


def test_threads_and_ranks():
    before = fastpg.get_num_threads()
    alone = bits(trained("CartPole-v1", *ALGORITHMS["ppo"]))
    try:
        fastpg.set_num_threads(3)
        assert of_all(2, lambda c: bits(trained("CartPole-v1", *ALGORITHMS["ppo"], c))) == [alone] * 2
    finally:
        fastpg.set_num_threads(before)


# ---- environments that Python steps ---------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "name", ["reinforce, total, episodes", "vpg, q, minibatches", "a2c", "ppo, more", "trpo"]
)
def test_each_rank_steps_its_own_gymnasium_environments(name, size):
    algorithm, how = ALGORITHMS[name]
    same_everywhere(size, "gym:CartPole-v1", algorithm, how, vectorization_mode="sync", total_steps=500)


def test_a_vector_environment_is_a_ranks_share():
    def made(count):
        return gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * count)

    alone = bits(trained(made(5), A2C(), {"horizon": 8, "num_envs": None}))
    outcomes = of_all(2, lambda c: trained(made(2 + c.rank), A2C(), {"horizon": 8, "num_envs": None}, c))
    assert [bits(run) for run in outcomes] == [alone] * 2
    assert outcomes[0].config["num_envs"] == 5


class OneStep(gymnasium.Env):
    """Episodes of one step: every other row is a reset."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    length = 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.length
        return self.np_random.random(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        return self.np_random.random(2, np.float32), float(action), self.left == 0, False, {}


class SomeSteps(OneStep):
    length = 3


@pytest.mark.parametrize("env", [OneStep, SomeSteps])
def test_a_horizon_of_one_step_of_nothing_but_resets(env):
    same_everywhere(2, env, A2C(), {"horizon": 1}, num_envs=4, total_steps=40)


def test_there_is_an_environment_for_each_rank():
    for outcome in of_all(3, lambda c: trained("gym:CartPole-v1", A2C(), {}, c, num_envs=2)):
        assert isinstance(outcome, ValueError) and "num_envs must be at least the number of ranks, 3" in str(
            outcome
        )


# ---- what is said at the beginning ----------------------------------------------------------------


def test_ranks_that_differ_are_a_sentence():
    for outcome in of_all(3, lambda c: trained("CartPole-v1", PPO(), {}, c, seed=c.rank // 2)):
        assert isinstance(outcome, ValueError), outcome
        assert re.search(r"train\(\): .* but seed is 0 on rank 0 and 1 on rank 2", str(outcome))

    def other_parameters(c):
        policy = fastpg.Policy.for_env("CartPole-v1", seed=c.rank)
        return trained("CartPole-v1", PPO(), {}, c, policy=policy)

    for outcome in of_all(2, other_parameters):
        assert isinstance(outcome, ValueError) and "the hash of the first parameters" in str(outcome)


@pytest.mark.parametrize("communicator", [2, "torch", fastpg.distributed.torch, object()])
def test_what_is_no_communicator(communicator):
    with pytest.raises(TypeError, match=r"train\(\): communicator must be fastpg.distributed.torch\(\)"):
        fastpg.train("CartPole-v1", communicator=communicator)


def test_a_rank_beyond_the_size():
    class Wrong:
        rank, size = 2, 2

        def allgather(self, send, receive): ...
        def close(self): ...

    with pytest.raises(ValueError, match=r"communicator\.rank must be an integer from 0 to 1"):
        fastpg.train("CartPole-v1", communicator=Wrong())


# ---- how they end ---------------------------------------------------------------------------------


def test_a_callback_of_any_rank_stops_all():
    def run(c):
        return trained("CartPole-v1", A2C(), {}, c, total_steps=10**9, callback_every="iteration",
                       callback=lambda p: c.rank == 1 and p.num_iterations == 3)  # fmt: skip

    outcomes = of_all(2, run)
    assert [(one.stopped_because, len(one.history["num_steps"])) for one in outcomes] == [("callback", 3)] * 2


def test_the_slices_are_those_of_rank_0():
    def run(c):
        seen = []
        trained("CartPole-v1", A2C(), {"horizon": 8}, c, callback=lambda p: seen.append(p.num_iterations),
                callback_every="iteration" if c.rank == 0 else "slice")  # fmt: skip
        return seen

    first, second = of_all(2, run)
    assert first == second == list(range(1, len(first) + 1))


def test_a_callback_that_fails_ends_the_others_with_a_sentence():
    def fails(progress):
        raise KeyError("broken")

    outcomes = of_all(
        3, lambda c: trained("CartPole-v1", A2C(), {}, c, callback=fails if c.rank == 1 else None)
    )
    assert isinstance(outcomes[1], KeyError)
    for other in (outcomes[0], outcomes[2]):
        assert isinstance(other, fastpg.RankError)
        assert str(other) == "train(): rank 1 of 3 stopped: KeyError: 'broken'"


def test_an_environment_that_fails_ends_the_others_with_a_sentence():
    class Fails(SomeSteps):
        def step(self, action):
            if fails:
                raise OSError("out of order")
            return super().step(action)

    def run(c):
        env = gymnasium.vector.SyncVectorEnv([type("Mine", (Fails if c.rank else SomeSteps,), {})] * 2)
        return trained(env, A2C(), {"num_envs": None}, c)

    fails = True
    outcomes = of_all(2, run)
    assert isinstance(outcomes[1], OSError)
    assert str(outcomes[0]) == "train(): rank 1 of 2 stopped: OSError: out of order"


def test_what_is_not_finite_is_said_by_all():
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=())
    policy.theta = np.full(policy.theta.size, 3e38, np.float32) * 0 + np.float32(80)
    outcomes = of_all(2, lambda c: trained("Pendulum-v1", PPO(learning_rate=1e30), {}, c, policy=policy))
    assert {type(one) for one in outcomes} == {FloatingPointError}
    assert len({str(one) for one in outcomes}) == 1


def test_a_rank_that_is_gone_ends_the_others_and_undoes_the_iteration(tmp_path):
    algorithm, how = PPO(epochs=2, minibatches=3), {"horizon": 15, "total_steps": 3000}
    alone = bits(trained("CartPole-v1", algorithm, how))

    def run(c):
        def leaves(count):
            if count == 60:  # in the middle of an iteration
                raise ConnectionError("the wire was cut")

        if c.rank == 1:
            c.before = leaves
        try:
            return trained("CartPole-v1", algorithm, how, c, run=tmp_path / "run")
        finally:
            assert c.closed == 1

    outcomes = of_all(3, run)
    assert all(isinstance(one, fastpg.RankError) for one in outcomes), outcomes
    assert str(outcomes[1]) == (
        "train(): another of the 3 ranks is gone, or did not answer in time (the wire was cut)"
    )
    assert "goes on" in outcomes[0].__notes__[0]
    assert bits(fastpg.resume(tmp_path / "run")) == alone


# ---- folders --------------------------------------------------------------------------------------


def test_a_run_goes_on_with_any_number_of_ranks(tmp_path):
    algorithm, how = PPO(epochs=2, minibatches=3, normalize_observations=True), {"horizon": 15}
    alone = bits(trained("CartPole-v1", algorithm, how, total_steps=2000))
    of_all(3, lambda c: trained("CartPole-v1", algorithm, how, c, run=tmp_path / "run"))
    resumed = of_all(2, lambda c: fastpg.resume(tmp_path / "run", communicator=c, total_steps=1500))
    assert bits(resumed[0]) == bits(resumed[1])
    assert bits(fastpg.resume(tmp_path / "run", total_steps=2000)) == alone


def test_only_rank_0_writes_and_needs_the_folder(tmp_path):
    (tmp_path / "0").mkdir()

    def run(c):
        place = tmp_path / str(c.rank)
        return trained(
            "CartPole-v1", A2C(), {}, c, run=place / "run", checkpoint=place / "policy.safetensors"
        )

    first, second = of_all(2, run)
    assert bits(first) == bits(second)
    assert sorted(one.name for one in tmp_path.glob("*/*")) == ["policy.safetensors", "run"]
    assert not (tmp_path / "1").exists()


def test_what_rank_0_cannot_save_ends_all(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    outcomes = of_all(2, lambda c: trained("CartPole-v1", A2C(), {}, c, run=tmp_path / "run"))
    assert isinstance(outcomes[0], ValueError)
    assert "rank 0 of 2 stopped: ValueError: train(): run must be a new folder" in str(outcomes[1])


def test_a_folder_that_is_none_is_a_sentence_everywhere(tmp_path):
    first, second = of_all(2, lambda c: fastpg.resume(tmp_path, communicator=c))
    assert isinstance(first, fastpg.CheckpointError)
    assert "resume(): rank 0 of 2 stopped: CheckpointError" in str(second)


# ---- processes ------------------------------------------------------------------------------------

SCRIPT = """
import sys
import fastpg

communicator = fastpg.distributed.torch(timeout=120)
how = {"horizon": 15, "num_envs": 21, "seed": 3, "total_steps": int(sys.argv[1]), "run": sys.argv[2]}
algorithm = fastpg.PPO(epochs=2, minibatches=3)
try:
    run = fastpg.train("CartPole-v1", algorithm, **how, communicator=communicator)
    print("theta", run.policy.theta.tobytes().hex())
except BaseException as error:
    print(type(error).__name__, error, getattr(error, "__notes__", ""))
"""
ALONE = (PPO(epochs=2, minibatches=3), {"horizon": 15})


@pytest.fixture
def script(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(size, *command):
    """Start ranks without torchrun, which would end those that are left itself."""
    address = {"GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, *map(str, command)]
    ranks = []
    for rank in range(size):
        env = {**os.environ, **address, "RANK": str(rank), "WORLD_SIZE": str(size)}
        ranks.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        )
    return ranks


def wait_for_iterations(run, count):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        metrics = run / "metrics.csv"
        if metrics.exists() and metrics.read_text().count("\n") > count:
            return
        time.sleep(0.05)
    raise AssertionError("the ranks do not run")


@pytest.mark.slow
def test_what_the_page_about_ranks_shows_runs_under_torchrun(script, tmp_path):
    document = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text()
    shown = re.search(r"```python\n(.*?)```", document, flags=re.DOTALL)[1]
    script.write_text(shown.replace("100_000", "20_000"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
    done = subprocess.run(
        [*launch, str(free_port()), str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
    )
    assert done.returncode == 0, done.stderr
    alone = fastpg.train("CartPole-v1", PPO(), num_envs=64, total_steps=20_000)
    for saved in ("policy.safetensors", "runs/cartpole/policy.safetensors"):
        assert (fastpg.Policy.load(tmp_path / saved).theta == alone.policy.theta).all()


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_others_of_torch_and_the_run_resumes(script, tmp_path):
    ranks = started(2, script, 10**9, tmp_path / "run")
    try:
        wait_for_iterations(tmp_path / "run", 20)
        ranks[1].kill()
        out, _ = ranks[0].communicate(timeout=30)
    finally:
        for one in ranks:
            one.kill()
            one.communicate()  # closes its pipe
    assert ranks[0].returncode == 0, out
    assert re.search(
        r"RankError train\(\): another of the 2 ranks is gone, or did not answer in time \(.+\)", out
    ), out
    steps = int(sorted((tmp_path / "run" / "checkpoints").iterdir())[-1].stem.split("-")[1])
    assert steps > 20 * 15 * NUM_ENVS
    resumed = fastpg.resume(tmp_path / "run", total_steps=steps + 1000)
    assert bits(resumed) == bits(trained("CartPole-v1", *ALONE, total_steps=steps + 1000))


@pytest.mark.slow
def test_ctrl_c_of_one_rank_ends_all_of_torch(script, tmp_path):
    ranks = started(2, script, 10**9, tmp_path / "run")
    try:
        wait_for_iterations(tmp_path / "run", 20)
        ranks[1].send_signal(signal.SIGINT)
        first, second = (one.communicate(timeout=30)[0] for one in ranks)
    finally:
        for one in ranks:
            one.kill()
            one.wait()
    assert "KeyboardInterrupt" in second
    assert re.search(r"RankError train\(\): rank 1 of 2 stopped: it was interrupted", first), first


@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_no_rank_that_hangs(script, tmp_path):
    ranks = started(2, script, 10**9, tmp_path / "run")
    try:
        wait_for_iterations(tmp_path / "run", 20)
        ranks[1].send_signal(signal.SIGSTOP)
        while ranks[0].poll() is None:  # the first one is heard while the other rank is waited for
            ranks[0].send_signal(signal.SIGINT)
            time.sleep(0.5)
        out, _ = ranks[0].communicate(timeout=30)
    finally:
        for one in ranks:
            one.kill()
            one.communicate()
    assert re.search(r"KeyboardInterrupt.*\['after [\d,]+ steps; fastpg resume .*run goes on'\]", out), out


@pytest.mark.slow
def test_ctrl_c_ends_a_rank_that_waits_for_the_others_to_connect(script):
    script.write_text(
        "import fastpg, torch.distributed; print('ready', flush=True); fastpg.distributed.torch(timeout=120)"
    )
    present, absent = started(2, script)
    absent.kill()
    absent.communicate()
    assert present.stdout.readline() == "ready\n"
    end = time.monotonic() + 60
    while present.poll() is None and time.monotonic() < end:
        time.sleep(1)
        present.send_signal(signal.SIGINT)
    present.kill()
    out, _ = present.communicate()
    assert present.returncode != -signal.SIGKILL and "KeyboardInterrupt" in out, out


CLOSED = """
import os
from pathlib import Path
import numpy as np
import fastpg

communicator = fastpg.distributed.torch()
communicator.allgather(np.ones(8, np.uint8), np.empty((communicator.size, 8), np.uint8))
communicator.close()
print(*(name.read_text() for name in Path("/proc/self/task").glob("*/comm")))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="threads are read from /proc")
def test_a_closed_communicator_leaves_no_thread_that_needs_the_interpreter(script):
    script.write_text(CLOSED)
    outputs = [one.communicate(timeout=120)[0] for one in started(2, script)]
    assert all("python" in output and "gloo" not in output for output in outputs), outputs


@pytest.mark.slow
def test_under_mpi(script, tmp_path):
    pytest.importorskip("mpi4py")
    launcher = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if launcher is None:
        pytest.skip("there is no mpirun")
    script.write_text(SCRIPT.replace("torch(timeout=120)", "mpi()"))
    command = [launcher, "-n", "3", sys.executable, "-m", "mpi4py", str(script), "900", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    theta = trained("CartPole-v1", *ALONE).policy.theta.tobytes().hex()
    assert done.stdout.count(f"theta {theta}") == 3, done.stderr
