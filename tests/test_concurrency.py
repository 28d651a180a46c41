"""Ctrl-C, several Python threads at once, and processes that fork."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastpg


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
