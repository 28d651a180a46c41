"""Generalised advantages on arrays: `gae.py KIND T N`, KIND one of numpy, copy, torchrl, jax, numba.

float32, one thread (JAX: all). numpy is the loop of Stable-Baselines3 and CleanRL; copy copies the four
inputs, which no estimate can do without reading; numba is that loop over single entries, compiled. Prints
entries per second, the median of many calls, the first of which are left out.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from suite.arrays import GAMMA, LAM, arrays

kind, num_steps, num_envs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
given = arrays(num_steps, num_envs)
rewards, values, last_values = given["rewards"], given["values"], given["last_values"]
terminated, truncated = given["terminated"], given["truncated"]
goes_on, out = 1 - terminated.astype(np.float32), np.empty_like(rewards)
gamma, gamma_lam = np.float32(GAMMA), np.float32(GAMMA * LAM)


def loop():
    advantage, following = np.zeros_like(last_values), last_values
    for t in range(num_steps - 1, -1, -1):
        delta = rewards[t] + gamma * following * goes_on[t] - values[t]
        advantage = delta + gamma_lam * goes_on[t] * advantage
        out[t], following = advantage, values[t]
    return out


def with_numpy():
    return loop


def with_copy():
    inputs = (rewards, values, terminated, truncated)
    targets = [np.empty_like(one) for one in inputs]
    return lambda: [np.copyto(to, one) for to, one in zip(targets, inputs, strict=True)]


def with_torchrl():
    import torch
    from torchrl.objectives.value.functional import vec_generalized_advantage_estimate

    torch.set_num_threads(1)
    following = np.concatenate([values[1:], last_values[None]])
    tensors = [
        torch.from_numpy(np.ascontiguousarray(one.T))[..., None]
        for one in (values, following, rewards, terminated, terminated)
    ]
    return lambda: vec_generalized_advantage_estimate(GAMMA, LAM, *tensors)


def with_jax():
    import jax
    import jax.numpy as jnp

    @jax.jit
    def estimate(rewards, values, goes_on, last_values):
        def step(carry, row):
            advantage, following = carry
            reward, value, on = row
            advantage = reward + gamma * following * on - value + gamma_lam * on * advantage
            return (advantage, value), advantage

        start = (jnp.zeros_like(last_values), last_values)
        return jax.lax.scan(step, start, (rewards, values, goes_on), reverse=True)[1]

    on_device = [jnp.asarray(one) for one in (rewards, values, goes_on, last_values)]
    return lambda: jax.block_until_ready(estimate(*on_device))


def with_numba():
    import numba

    @numba.njit(error_model="numpy")
    def estimate(rewards, values, goes_on, last_values, out):
        for t in range(rewards.shape[0] - 1, -1, -1):
            for i in range(rewards.shape[1]):
                last = t == rewards.shape[0] - 1
                following = last_values[i] if last else values[t + 1, i]
                later = np.float32(0) if last else out[t + 1, i]
                delta = rewards[t, i] + gamma * following * goes_on[t, i] - values[t, i]
                out[t, i] = delta + gamma_lam * goes_on[t, i] * later

    return lambda: estimate(rewards, values, goes_on, last_values, out)


run = {
    "numpy": with_numpy,
    "copy": with_copy,
    "torchrl": with_torchrl,
    "jax": with_jax,
    "numba": with_numba,
}[kind]()
run()
run()
seconds = []
end = time.perf_counter() + 0.5
while len(seconds) < 3 or time.perf_counter() < end:
    begin = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - begin)
print(rewards.size / statistics.median(seconds))
