"""Ctrl-C, several Python threads at once, and processes that fork."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastpg
from tests.support.quick import few


def short_run(seed):
    return fastpg.train("CartPole-v1", hidden=(16,), total_steps=30_000, seed=seed).policy.theta


def estimate(policy):
    return fastpg.estimate_gradient("CartPole-v1", policy, num_envs=64, horizon=16).gradient


@pytest.fixture(autouse=True)
def python_handles_sigint():
    """Restore what Python does at start-up unless, as for a shell's background jobs, SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


LONG = {"num_envs": 4096, "horizon": 5000, "total_steps": 10**12}  # one iteration of it takes minutes


def interrupt_soon():
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("hidden", [(), (256, 256)])
def test_ctrl_c_stops_inside_an_iteration_and_leaves_everything_usable(hidden):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=hidden)
    before, gradient = policy.theta.copy(), estimate(policy)
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        fastpg.train("CartPole-v1", policy=policy, **LONG)
    np.testing.assert_array_equal(policy.theta, before)
    np.testing.assert_array_equal(estimate(policy), gradient)


def test_ctrl_c_stops_an_estimate():
    policy = fastpg.Policy.for_env("CartPole-v1")
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        fastpg.estimate_gradient("CartPole-v1", policy, num_envs=4096, horizon=10_000)


def test_what_a_signal_handler_raises_comes_out_as_it_is():
    class Enough(Exception):
        pass

    def handler(signum, frame):
        raise Enough

    previous = signal.signal(signal.SIGINT, handler)
    try:
        interrupt_soon()
        with pytest.raises(Enough):
            fastpg.train("CartPole-v1", **LONG)
    finally:
        signal.signal(signal.SIGINT, previous)


def test_runs_side_by_side_in_python_threads_equal_runs_one_after_another():
    expected = [short_run(seed) for seed in range(6)]
    results = [None] * 6

    def work(seed):
        results[seed] = short_run(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


FORKS = """
import os
import fastpg

fastpg.set_num_threads(4)
policy = fastpg.Policy.for_env("CartPole-v1")

def gradient():
    return fastpg.estimate_gradient("CartPole-v1", policy, num_envs=256, horizon=16).gradient.tobytes()

expected = gradient()  # starts the threads, which the child does not inherit
child = os.fork()
if child == 0:
    os._exit(0 if gradient() == expected else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), gradient() == expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_computes_the_same_with_threads_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["0", "True"], done.stderr


# ---- one VectorEnv, several threads ------------------------------------------------------------------------

CALLS = {
    "step": lambda env: env.step(np.zeros(3, np.int64)),
    "reset": lambda env: env.reset(seed=7),
    "get_state": lambda env: env.get_state(),
    "set_state": lambda env: env.set_state(np.zeros((3, 4))),
    "render": lambda env: env.render(),
    "close": lambda env: env.close(),
}


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("name", [*CALLS, "collect"])
def test_what_another_thread_has_is_refused_and_stays_as_it_is(name, copy):
    made = {"num_envs": 3, "seed": 0, "copy": copy, "autoreset": "same_step", "render_mode": "rgb_array"}
    env, twin = fastpg.make("CartPole-v1", **made), fastpg.make("CartPole-v1", **made)
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    call = CALLS.get(name, lambda env: fastpg.collect(env, policy, 2))
    actions = np.array([0, 1, 0])
    for one in (env, twin):
        one.reset()
        last = one.step(actions)
    kept = [np.copy(part) for part in last[:4]]
    with env._core.turn("another thread"):
        where = "collect" if name == "collect" else f"VectorEnv.{name}"
        sentence = rf"^{where}\(\): this VectorEnv is at work in another thread, and serves one at a time"
        with pytest.raises(ValueError, match=sentence):
            call(env)
        for part, before in zip(last, kept, strict=False):
            np.testing.assert_array_equal(part, before)
    assert not env.closed
    assert env.np_random_seed == twin.np_random_seed
    for _ in range(300):  # episodes end: their random numbers are the same, too
        got, wanted = env.step(actions), twin.step(actions)
        for part, other in zip(got[:4], wanted[:4], strict=True):
            np.testing.assert_array_equal(part, other)


def test_a_step_with_wrong_actions_leaves_the_environments_reset():
    env = fastpg.make("Pendulum-v1", num_envs=3, seed=0)
    env.reset()
    for wrong in (np.zeros((3, 1)), np.zeros((2, 1), np.float32), np.full((3, 1), np.nan, np.float32)):
        with pytest.raises((TypeError, ValueError), match=r"actions must|must be finite"):
            env.step(wrong)
        env.step(np.zeros((3, 1), np.float32))
    env.step(np.zeros((3, 1), np.float32).view(np.matrix))
    np.testing.assert_array_equal(env.get_state()[1], 4)


TWO_THREADS = """
import threading
import numpy as np
import fastpg

env = fastpg.make("CartPole-v1", num_envs=20_000, seed=0)
env.reset()
actions, policy = np.ones(20_000, np.int64), fastpg.Policy.for_env("CartPole-v1", hidden=())
wrong, began = [], threading.Barrier(3)

def step():
    obs, rewards, *_ = env.step(actions)
    if not np.isfinite(obs).all() or not np.isin(rewards, (0.0, 1.0)).all():
        wrong.append("a step returned what no step does")

def work(call):
    began.wait()
    for _ in range(100):
        try:
            call()
        except Exception as error:
            if "at work in another thread" not in str(error):
                wrong.append(repr(error))

def reset_or_set():
    env.reset()
    state, elapsed = env.get_state()
    if not (np.abs(state) <= 0.05).all() and not elapsed.any():
        wrong.append("states of two calls")
    env.set_state(np.zeros((20_000, 4)))

calls = (step, reset_or_set, lambda: fastpg.collect(env, policy, 2))
workers = [threading.Thread(target=work, args=(call,)) for call in calls]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(wrong)
"""


@pytest.mark.slow
def test_threads_on_one_vector_env_get_whole_results_or_a_refusal():
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "100000"},  # memory that is freed is gone at once
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


FORKED_IN_A_STEP = """
import os
import numpy as np
import fastpg
from fastpg import _core

made = {"num_envs": 5, "seed": 3, "autoreset": "AUTORESET"}
env, twin = fastpg.make("CartPole-v1", **made), fastpg.make("CartPole-v1", **made)
policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
fastpg.collect(env, policy, 4)
sampler = _core.Sampler(env.native.core, policy.network, 5, 0)
turns = [one.turn("a thread of the parent") for one in (env._core, sampler)]
for turn in turns:
    turn.__enter__()
if os.fork() == 0:
    actions = np.zeros(5, np.int64)
    for call in (
        lambda: env.step(actions),
        lambda: env.step(actions),
        lambda: env.set_state(np.zeros((5, 4))),
        lambda: env.reset(options={"reset_mask": np.ones(5, bool)}),
        lambda: sampler.evaluate(policy.theta, episodes=1, deterministic=True),
        lambda: sampler.evaluate(policy.theta, episodes=1, deterministic=True),
    ):
        try:
            call()
        except Exception as error:
            print(type(error).__name__, error)
    assert np.array_equal(env.reset()[0], twin.reset()[0])
    assert all(np.array_equal(env.step(actions)[k], twin.step(actions)[k]) for k in range(4))
    assert np.array_equal(fastpg.collect(env, policy, 9).obs, fastpg.collect(twin, policy, 9).obs)
    env.close()
    print("done", flush=True)
    os._exit(0)
os.wait()
try:
    env.step(np.zeros(5, np.int64))
except ValueError as error:
    print(error)
for turn in turns:
    turn.__exit__(None, None, None)
env.step(np.zeros(5, np.int64))
print("going on")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("autoreset", few(["next_step", "same_step", "disabled"], {"next_step"}))
def test_a_child_forked_in_the_middle_of_a_step_has_to_reset(autoreset):
    done = subprocess.run(
        [sys.executable, "-c", FORKED_IN_A_STEP.replace("AUTORESET", autoreset)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    forked = "this process was forked while another thread was at work on the environments"
    torn = (
        "RuntimeError evaluate(): this Sampler was at work in another thread when the process was forked, "
        "and cannot be used in the child; make a new one"
    )
    assert done.stdout.splitlines() == [
        f"ResetNeeded VectorEnv.step(): call reset() first; {forked}",
        f"ResetNeeded VectorEnv.step(): call reset() first; {forked}",
        f"ResetNeeded VectorEnv.set_state(): call reset() first; {forked}",
        f"ResetNeeded VectorEnv.reset(): options['reset_mask'] needs a full reset first; {forked}",
        torn,
        torn,
        "done",
        "VectorEnv.step(): this VectorEnv is at work in another thread, and serves one at a time; give each "
        "thread its own",
        "going on",
    ], done.stderr


# ---- arguments that another thread is writing to -----------------------------------------------------------

WRITTEN_TO = """
import sys
import threading
import numpy as np
from gymnasium.spaces import Discrete
import fastpg

n, calls = 50_000, 300
sys.setswitchinterval(1e-6)
env = fastpg.make("FrozenLake-v1", num_envs=n, seed=0)
env.reset()
policy = fastpg.Policy(Discrete(16), Discrete(4), hidden=())
value = fastpg.ValueFunction(Discrete(16), hidden=())
integers, states = np.zeros(n, np.int64), np.zeros((n, 2))
lengths, weights = np.ones(n, np.int64), np.ones(n, np.float32)
done = False

def write():  # what is allowed half of the time
    while not done:
        for number in (2**25, 0, 2**30, 0):
            integers[-1] = number
            states[-1, 0] = number
            lengths[-1] = number + 1

def gradient():
    fastpg.policy_gradient(
        policy, np.zeros(n, np.int64), integers, weights, per="trajectory", lengths=lengths
    )

writer = threading.Thread(target=write)
writer.start()
try:
    for call in (
        lambda: env.step(integers),
        lambda: env.set_state(states),
        lambda: policy.act(integers, seed=0),
        lambda: value(integers),
        lambda: policy.log_prob(np.zeros(n, np.int64), integers),
        gradient,
    ):
        for _ in range(calls):
            try:
                call()
            except ValueError:
                pass
finally:
    done = True
    writer.join()
print("survived")
"""


@pytest.mark.slow
def test_what_is_checked_is_what_memory_is_found_by():
    done = subprocess.run([sys.executable, "-c", WRITTEN_TO], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr


def test_changing_the_number_of_threads_again_and_again_changes_nothing():
    policy, before = fastpg.Policy.for_env("CartPole-v1"), fastpg.get_num_threads()
    results = set()
    for n in (1, 4, 2, 7, 1, 3):
        fastpg.set_num_threads(n)
        results.add(estimate(policy).tobytes())
    fastpg.set_num_threads(before)
    assert len(results) == 1


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("FASTPG_ISA", "sse9", "FASTPG_ISA=sse9: this build does not know it; available here: baseline"),
        ("FASTPG_NUM_THREADS", "many", "FASTPG_NUM_THREADS must be an integer from 1 to 256, got 'many'"),
        ("FASTPG_NUM_THREADS", "0", "FASTPG_NUM_THREADS must be an integer from 1 to 256, got '0'"),
        ("FASTPG_NUM_THREADS", "5000", "FASTPG_NUM_THREADS must be an integer from 1 to 256, got '5000'"),
        ("FASTPG_NUM_THREADS", "9" * 5000, "FASTPG_NUM_THREADS must be an integer from 1 to 256, got '999"),
    ],
)
def test_a_bad_environment_variable_is_a_sentence(variable, value, sentence):
    done = subprocess.run(
        [sys.executable, "-c", "import fastpg"],
        env=os.environ | {variable: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"ImportError: {sentence}" in done.stderr
