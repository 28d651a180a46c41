"""The work that compare.py gives to fastpg, each in a process of its own: `fastpg_work.py WORK ARGUMENTS`.

Prints one number: a rate per second, seconds, or megabytes. FASTPG_NUM_THREADS and FASTPG_ISA apply.
"""

import contextlib
import importlib
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from suite.rate import seconds_of_calls


def median_rate(work: Callable[[], int], repeats: int) -> float:
    """Units per second, the median of `repeats` runs after one to warm up."""
    work()
    rates = []
    for _ in range(repeats):
        begin = time.perf_counter()
        units = work()
        rates.append(units / (time.perf_counter() - begin))
    return statistics.median(rates)


def widths(text: str) -> tuple[int, ...]:
    return tuple(int(width) for width in text.split(",") if width != "0")


def train(num_envs: str, horizon: str, hidden: str) -> float:
    """Steps per second of whole iterations: rollout, gradient, Adam."""
    import fastpg

    def run(steps: int) -> int:
        algorithm = fastpg.Reinforce(gamma=0.99, learning_rate=3e-3)
        return fastpg.train(
            "CartPole-v1",
            algorithm,
            num_envs=int(num_envs),
            horizon=int(horizon),
            hidden=widths(hidden),
            total_steps=steps,
        ).num_steps

    begin = time.perf_counter()
    steps = run(1_000_000)
    half_a_second = int(0.5 * steps / (time.perf_counter() - begin))
    return median_rate(lambda: run(half_a_second), 3)


def on_a_batch(size: str, hidden: str, what: str) -> float:
    """Samples per second of a function of a batch that the caller has."""
    import fastpg
    from fastpg import _core

    rng = np.random.default_rng(0)
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=widths(hidden))
    obs = rng.normal(size=(int(size), 4)).astype(np.float32)
    actions, weights = rng.integers(2, size=int(size)), rng.normal(size=int(size)).astype(np.float32)
    calls = {
        "gradient": lambda: fastpg.policy_gradient(policy, obs, actions, weights),
        "logits": lambda: _core.logits(policy.network, policy.theta, obs),
        "act": lambda: _core.act(policy.network, policy.theta, obs, 0, 0, False),
    }

    def run() -> int:
        calls[what]()
        return int(size)

    return median_rate(run, 21 if int(size) > 10_000 else 101)


def environment() -> float:
    """Steps per second of CartPole's step and observe alone, 4096 copies in one call."""
    from fastpg import _core

    env = _core.Environment("cartpole", (), 500)
    rng = np.random.default_rng(0)
    state, start = np.empty((4, 4096)), rng.uniform(-0.05, 0.05, (4, 4096))
    action, noise = rng.integers(2, size=4096, dtype=np.int32), np.empty((1, 4096))

    def run() -> int:
        state[:] = start
        for _ in range(20):
            env.step(action, noise, state)
            env.observe(state)
        return 20 * 4096

    return median_rate(run, 101)


def suite(name: str, *params: str) -> float:
    """Steps per second of a benchmark of the suite, such as environments.Step CartPole-v1 1024."""
    module, benchmark = name.split(".")
    found = getattr(importlib.import_module(f"suite.{module}"), benchmark)()
    call, steps = found.work(*(int(param) if param.isdigit() else param for param in params))
    return steps / statistics.median(seconds_of_calls(call))


def solve(algorithm: str, seed: str, most_seconds: str) -> float:
    """Seconds until CartPole's mean return is 475, with the algorithm's defaults; inf after most_seconds.

    "PPO, N-N" has settings that get there quickly, and networks with two hidden layers of that width.
    """
    import fastpg

    name, _, width = algorithm.partition(", ")
    settings: dict[str, Any] = {"algorithm": getattr(fastpg, name)()}
    if width:
        hidden = int(width.split("-")[0]), int(width.split("-")[1])
        quick = {"gamma": 0.98, "lam": 0.9, "learning_rate": 0.005, "epochs": 4, "minibatches": 4}
        settings = {"algorithm": fastpg.PPO(**quick, value_hidden=hidden), "hidden": hidden}
        settings |= {"num_envs": 32, "horizon": 32}
    run = fastpg.train(
        "CartPole-v1",
        **settings,
        target_return=475,
        total_steps=10**9,
        seed=int(seed),
        callback=lambda progress: progress.seconds > float(most_seconds),
    )
    return run.seconds if run.stopped_because == "target_return" else float("inf")


def c_loop(kind: str, library: str, kernel: str, num_envs: str) -> float:
    """Steps per second of plain_c/loops.c, compiled into `library`; kind is "kernel" or "plain"."""
    import ctypes

    from fastpg import _core

    env, n, steps = _core.Environment(kernel, (), 0), int(num_envs), 2_000_000 // int(num_envs)
    rng = np.random.default_rng(0)
    noise, start = rng.uniform(size=(env.reset_noise_size, n)), np.zeros((env.state_size, n))
    env.reset(np.arange(n, dtype=np.int32), noise, start)
    if env.action_categories:
        actions = rng.integers(env.action_categories[0], size=n, dtype=np.int32)
    else:
        actions = rng.uniform(-2, 2, n).astype(np.float32)
    init = ctypes.cast(ctypes.CDLL(_core.__file__).fpg_environment_init, ctypes.c_void_p)
    loop = ctypes.CDLL(library).run
    final = {kind: np.zeros(env.state_size) for kind in ("kernel", "plain")}

    def run(kind: str, steps: int) -> int:
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (start, actions, final[kind]))
        first, action, last = pointers
        known = loop(
            init if kind == "kernel" else None,
            kernel.encode(),
            ctypes.c_int64(n),
            ctypes.c_int64(steps),
            first,
            ctypes.c_int32(env.state_size),
            action,
            last,
        )
        assert known, kernel
        return n * steps

    for one in final:  # eight steps: the two compute the same
        run(one, 8)
    np.testing.assert_allclose(final["plain"], final["kernel"], rtol=1e-6, atol=1e-9)
    return median_rate(lambda: run(kind, steps), 51)


def tanh() -> float:
    """Hyperbolic tangents per second, 65536 in one call, so that the call itself does not show."""
    from fastpg import _core

    x = np.linspace(-3, 3, 65536, dtype=np.float32)

    def run() -> int:
        _core.vecmath("tanh", x)
        return len(x)

    return median_rate(run, 501)


def sgemm() -> float:
    """Floating-point operations per second of numpy's matrix product, 1024 x 1024, the best of 30."""
    a = np.ones((1024, 1024), np.float32)
    seconds = []
    for _ in range(30):
        begin = time.perf_counter()
        _ = a @ a
        seconds.append(time.perf_counter() - begin)
    return 2 * 1024**3 / min(seconds)


def bandwidth() -> float:
    """Bytes per second, read and written, of copying an array that no cache holds; the best in 2 s."""
    source = np.ones(1 << 25)
    target = np.empty_like(source)
    np.copyto(target, source)
    return 2 * source.nbytes / min(seconds_of_calls(lambda: np.copyto(target, source), lasting=2.0))


def memory(num_envs: str, horizon: str) -> float:
    """Peak resident megabytes of a process that estimates the gradient of a linear policy."""
    import fastpg

    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    fastpg.estimate_gradient("CartPole-v1", policy, num_envs=int(num_envs), horizon=int(horizon))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def interrupt() -> float:
    """Seconds from SIGINT to KeyboardInterrupt in Python, in an iteration that would take minutes."""
    import signal
    import threading

    import fastpg

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    sent = []

    def send() -> None:
        time.sleep(1.0)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send).start()
    with contextlib.suppress(KeyboardInterrupt):
        fastpg.train("CartPole-v1", num_envs=4096, horizon=2000, hidden=(512, 512, 512), total_steps=10**9)
    return time.perf_counter() - sent[0]


def imports() -> float:
    """Seconds that `import fastpg` takes beyond `import numpy`."""
    begin = time.perf_counter()
    import fastpg  # noqa: F401

    return time.perf_counter() - begin


if __name__ == "__main__":
    all_work = (suite, train, solve, on_a_batch, environment, c_loop, tanh, sgemm, bandwidth, memory)
    works = {work.__name__: work for work in (*all_work, interrupt, imports)}
    print(works[sys.argv[1]](*sys.argv[2:]))
