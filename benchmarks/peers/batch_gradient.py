"""The gradient of mean(weights * log pi) for a given batch: `batch_gradient.py KIND BATCH HIDDEN THREADS`.

KIND is torch, torch_compile or jax. Prints samples per second, the median of nine runs after warming up.
JAX uses all cores whatever THREADS says.
"""

import itertools
import statistics
import sys
import time

import numpy as np

kind, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[4])
sizes = [4, *(int(width) for width in sys.argv[3].split(",") if width != "0"), 2]
rng = np.random.default_rng(0)
obs = rng.normal(size=(batch, 4)).astype(np.float32)
actions = rng.integers(2, size=batch)
weights = rng.normal(size=batch).astype(np.float32)
layers = [
    ((rng.normal(size=(fan_in, out)) / fan_in**0.5).astype(np.float32), np.zeros(out, np.float32))
    for fan_in, out in itertools.pairwise(sizes)
]


def with_torch():
    import torch

    torch.set_num_threads(threads)
    parts = []
    for weight, bias in layers:
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = torch.tensor(weight.T), torch.tensor(bias)
        parts += [linear, torch.nn.Tanh()]
    net = torch.nn.Sequential(*parts[:-1])
    x, a, w = (torch.from_numpy(array) for array in (obs, actions, weights))

    def loss(x, a, w):
        return -(torch.log_softmax(net(x), -1).gather(1, a[:, None])[:, 0] * w).mean()

    used = torch.compile(loss) if kind == "torch_compile" else loss

    def run():
        net.zero_grad()
        used(x, a, w).backward()

    return run


def with_jax():
    import jax
    import jax.numpy as jnp

    @jax.jit
    def gradient(layers, obs, actions, weights):
        def loss(layers):
            x = obs
            for weight, bias in layers[:-1]:
                x = jnp.tanh(x @ weight + bias)
            log_prob = jax.nn.log_softmax(x @ layers[-1][0] + layers[-1][1])
            return -(jnp.take_along_axis(log_prob, actions[:, None], 1)[:, 0] * weights).mean()

        return jax.grad(loss)(layers)

    arguments = jax.tree.map(jnp.asarray, (layers, obs, actions, weights))
    return lambda: jax.block_until_ready(gradient(*arguments))


run = with_jax() if kind == "jax" else with_torch()
run()
run()
times = []
for _ in range(9):
    begin = time.perf_counter()
    run()
    times.append(time.perf_counter() - begin)
print(batch / statistics.median(times))
