"""What programs that train with PPO or TRPO share: their arguments, their evaluation, and what they print.

`--threads 1` keeps a program on one core. Seconds are those of training alone: imports, compilation and the
evaluation at the end are left out.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence

import numpy as np

EPISODES = 100  # of the evaluation


def arguments(description: str, algorithms: Sequence[str] = ()) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    if algorithms:
        parser.add_argument("algorithm", choices=algorithms)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--horizon", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4, help="of TRPO: of the value function")
    parser.add_argument("--minibatches", type=int, default=4, help="in an epoch")
    parser.add_argument("--hidden", default="64,64", help="of the policy, and of the value function")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--agents", type=int, default=1, help="in one call, of this seed and the next ones")
    parser.add_argument("--threads", type=int, help="by default all")
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--lam", type=float, default=0.95)
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of TRPO: of the value function")
    parser.add_argument("--clip-range", type=float, default=0.2)
    parser.add_argument("--entropy-coef", type=float, default=0.0)
    parser.add_argument("--max-grad-norm", type=float, default=0.5)
    parser.add_argument("--max-kl", type=float, default=0.01, help="of TRPO")
    setting = parser.parse_args()
    setting.hidden = [int(width) for width in setting.hidden.split(",")]
    if setting.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setting.threads])
    return setting


def iterations(setting: argparse.Namespace) -> int:
    """Return how many iterations take `--steps` or a little more."""
    return -(-setting.steps // (setting.num_envs * setting.horizon))


def evaluate(env_id: str, seed: int, act: Callable[[np.ndarray], np.ndarray]) -> list[float]:
    """Return the returns of EPISODES episodes, with actions that `act` draws from the policy.

    Every program's policy begins in the same states, and those of other seeds in others.
    """
    import gymnasium

    env = gymnasium.make_vec(env_id, num_envs=EPISODES, vectorization_mode="sync")
    obs, _ = env.reset(seed=10_000 + EPISODES * seed)  # environment i gets this and i
    returns, playing = np.zeros(EPISODES), np.ones(EPISODES, bool)
    while playing.any():
        obs, rewards, terminated, truncated, _ = env.step(act(obs))
        returns += rewards * playing
        playing &= ~(terminated | truncated)
    return [float(one) for one in returns]


def report(steps: int, seconds: float, returns: list[float]) -> None:
    """Print how many steps a second training took, and the returns of the policy that came of it."""
    print(
        json.dumps(
            {"steps": steps, "seconds": seconds, "steps_per_second": steps / seconds, "returns": returns}
        )
    )
