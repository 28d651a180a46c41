"""Generalised advantages on arrays, beside what users have now: `python benchmarks/gae.py [T N]`.

float32, one thread each, microseconds, the least of many calls. Peers that are not installed are left out;
"copy" copies the four inputs, which no estimate can do without reading.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fastpg

GAMMA, LAM, SECONDS = 0.99, 0.95, 0.5
SHAPES = [(128, 4096), (2048, 64), (128, 8)]
Function = Callable[[], Any]


def loop(
    rewards: np.ndarray, values: np.ndarray, done: np.ndarray, last_values: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """The loop of Stable-Baselines3 and CleanRL."""
    advantage = np.zeros_like(last_values)
    following = last_values
    for t in range(len(rewards) - 1, -1, -1):
        goes_on = np.float32(1) - done[t]
        delta = rewards[t] + np.float32(GAMMA) * following * goes_on - values[t]
        advantage = delta + np.float32(GAMMA * LAM) * goes_on * advantage
        out[t] = advantage
        following = values[t]
    return out


def functions(num_steps: int, num_envs: int) -> dict[str, Function]:
    """Return what is installed, by name."""
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(num_steps, num_envs)).astype(np.float32)
    values = rng.normal(size=(num_steps, num_envs)).astype(np.float32)
    last_values = rng.normal(size=num_envs).astype(np.float32)
    terminated = rng.random((num_steps, num_envs)) < 0.02
    truncated = np.zeros_like(terminated)
    done, out = terminated.astype(np.float32), np.empty_like(rewards)
    pair = (np.empty_like(rewards), np.empty_like(rewards))
    inputs = (rewards, values, terminated, truncated)
    targets = [np.empty_like(one) for one in inputs]
    settings: dict[str, Any] = {"last_values": last_values, "gamma": GAMMA, "lam": LAM}
    found: dict[str, Function] = {
        "fastpg": lambda: fastpg.gae(*inputs, **settings, out=pair),
        "copy": lambda: [np.copyto(to, one) for to, one in zip(targets, inputs, strict=True)],
        "NumPy loop": lambda: loop(rewards, values, done, last_values, out),
    }
    np.testing.assert_allclose(found["fastpg"]()[0], found["NumPy loop"](), rtol=1e-3, atol=1e-3)
    try:
        import torch
        from torchrl.objectives.value.functional import vec_generalized_advantage_estimate

        torch.set_num_threads(1)
        following = np.concatenate([values[1:], last_values[None]])
        tensors = [
            torch.from_numpy(np.ascontiguousarray(one.T))[..., None]
            for one in (values, following, rewards, terminated, terminated)
        ]
        found["torchrl"] = lambda: vec_generalized_advantage_estimate(GAMMA, LAM, *tensors)
    except ImportError:
        pass
    return found


def microseconds(function: Function) -> float:
    """Return the least time of a call."""
    function()
    best, end = np.inf, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best * 1e6


def main() -> None:
    """Print a line for each shape."""
    fastpg.set_num_threads(1)
    given = tuple(int(one) for one in sys.argv[1:])
    for shape in [(given[0], given[1])] if given else SHAPES:
        times = {name: microseconds(function) for name, function in functions(*shape).items()}
        line = ", ".join(f"{name} {time:.1f}" for name, time in times.items())
        ratios = ", ".join(f"{name} {one / times['fastpg']:.2f}" for name, one in times.items())
        print(f"{shape[0]} x {shape[1]}: {line}; over fastpg: {ratios}")


if __name__ == "__main__":
    main()
