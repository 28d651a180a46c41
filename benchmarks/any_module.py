"""How much slower collect and evaluate are where torch calls the module: the same network, both ways.

    python benchmarks/any_module.py [--envs 64] [--horizon 128] [--repeats 5]

The kernels run an MLP of 64-64 tanh units, or torch calls the same inside a module of its own, in a native
environment and in Gymnasium's vector environment of that id: steps a second. And PPO's loss with its
backward pass.
"""

import argparse
import time

import fastpg.torch as fpt  # isort: skip  (before torch)
import gymnasium
import torch
from torch import nn

import fastpg


class Hidden(nn.Module):
    """The same network, which nobody can read."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, obs):
        return self.inner(obs)


def best(function, repeats):
    """Return the least of the seconds that a call took."""
    function()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--horizon", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    inner = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    modules = {"kernels": inner, "torch": Hidden(inner)}
    steps = given.envs * given.horizon
    native = fastpg.make("CartPole-v1", given.envs, autoreset="same_step")
    native.reset(seed=0)
    stepped = gymnasium.make_vec("CartPole-v1", given.envs, vectorization_mode="vector_entry_point")
    print(f"{given.envs} environments, {given.horizon} steps, {torch.get_num_threads()} threads of torch")
    for name, env in (("native", native), ("Gymnasium's", stepped)):
        took = {
            way: best(lambda env=env, one=one: fpt.collect(env, one, given.horizon), given.repeats)
            for way, one in modules.items()
        }
        rates = ", ".join(f"{way} {steps / seconds:,.0f} steps/s" for way, seconds in took.items())
        print(f"collect, {name} CartPole-v1: {rates}; ratio {took['torch'] / took['kernels']:.1f}")
    took, played = {}, {}
    for way, one in modules.items():
        drawn = {"episodes": given.envs, "deterministic": False}
        took[way] = best(
            lambda one=one, drawn=drawn: fpt.evaluate("CartPole-v1", one, **drawn), given.repeats
        )
        played[way] = int(fpt.evaluate("CartPole-v1", one, **drawn)[1].sum())
    rates = {way: played[way] / seconds for way, seconds in took.items()}
    shown = ", ".join(f"{way} {rate:,.0f} steps/s" for way, rate in rates.items())
    print(f"evaluate, native CartPole-v1: {shown}; ratio {rates['kernels'] / rates['torch']:.1f}")
    batch = fpt.collect(native, inner, given.horizon)
    obs, actions, old = (one.flatten(0, 1) for one in (batch.obs, batch.actions, batch.log_probs))
    gains = torch.randn(len(obs))
    took = {
        way: best(lambda one=one: fpt.ppo_loss(one, obs, actions, gains, old).backward(), given.repeats)
        for way, one in modules.items()
    }
    shown = ", ".join(f"{way} {1e3 * seconds:.2f} ms" for way, seconds in took.items())
    print(f"ppo_loss and backward, {steps} rows: {shown}; ratio {took['torch'] / took['kernels']:.1f}")


if __name__ == "__main__":
    main()
