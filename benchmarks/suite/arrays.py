"""Returns and advantages on arrays that the caller has, float32, one thread; a step is an entry of (T, N)."""

from typing import Any

import numpy as np

from .rate import Rate, Work, unless_missing

GAMMA, LAM = 0.99, 0.95


def arrays(num_steps: int, num_envs: int) -> dict[str, np.ndarray]:
    """Return rewards, values, flags and log_rhos, (T, N), and last_values, (N,); 2 % terminate."""
    rng = np.random.default_rng(0)
    shape = (num_steps, num_envs)
    terminated = rng.random(shape) < 0.02
    return {
        "rewards": rng.normal(size=shape).astype(np.float32),
        "values": rng.normal(size=shape).astype(np.float32),
        "last_values": rng.normal(size=num_envs).astype(np.float32),
        "terminated": terminated,
        "truncated": np.zeros_like(terminated),
        "log_rhos": rng.normal(scale=0.1, size=shape).astype(np.float32),
    }


class Estimate(Rate):
    """Into arrays that are there already."""

    params = (["returns", "gae", "vtrace"], ["128x4096", "2048x64", "128x8"])
    param_names = ("function", "shape")

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, function: str, shape: str) -> Work:
        unless_missing((f"fastpg.{function}",))
        import fastpg

        num_steps, num_envs = map(int, shape.split("x"))
        given = arrays(num_steps, num_envs)
        rewards, values, flags = given["rewards"], given["values"], (given["terminated"], given["truncated"])
        settings: dict[str, Any] = {"gamma": GAMMA, "last_values": given["last_values"]}
        one, pair = np.empty_like(rewards), (np.empty_like(rewards), np.empty_like(rewards))
        calls = {
            "returns": lambda: fastpg.returns(rewards, *flags, **settings, out=one),
            "gae": lambda: fastpg.gae(rewards, values, *flags, **settings, lam=LAM, out=pair),
            "vtrace": lambda: fastpg.vtrace(
                rewards, values, *flags, given["log_rhos"], **settings, lam=LAM, out=pair
            ),
        }
        return calls[function], num_steps * num_envs
