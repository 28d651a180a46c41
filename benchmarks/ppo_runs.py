"""What the section "ppo" of compare.py trains; options are those of peers/ppo_setting.py."""

from typing import NamedTuple

PEER_SCRIPTS = {  # by algorithm and peer: the script, and its first argument
    "ppo": {
        "rejax": ("peers/ppo_rejax.py",),
        "PyTorch": ("peers/ppo_torch.py",),
        "SB3": ("peers/sb3.py", "ppo"),
    },
    "trpo": {"sb3-contrib": ("peers/sb3.py", "trpo")},
}


class Run(NamedTuple):
    """A training run whose rate is measured."""

    name: str
    algorithm: str
    options: str


RUNS = (
    Run(
        "PPO, CartPole-v1, 16 x 128, 4 epochs, 4 minibatches",
        "ppo",
        "--env CartPole-v1 --num-envs 16 --horizon 128 --epochs 4 --minibatches 4",
    ),
    Run(
        "PPO, Pendulum-v1, 4 x 1024, 2 epochs, minibatches of 256",
        "ppo",
        "--env Pendulum-v1 --num-envs 4 --horizon 1024 --epochs 2 --minibatches 16 --gamma 0.9",
    ),
    Run(
        "TRPO, CartPole-v1, 16 x 128, 10 epochs of the value function",
        "trpo",
        "--env CartPole-v1 --num-envs 16 --horizon 128 --epochs 10 --minibatches 16",
    ),
)
STEPS = {"fastpg": 303_104, "rejax": 303_104, "PyTorch": 32_768, "SB3": 32_768, "sb3-contrib": 32_768}

LEARNT_SEEDS = range(10)
LEARNT = {  # by environment: the options of fastpg and Stable-Baselines3
    "CartPole-v1": "--steps 100_000 --num-envs 8 --horizon 128 --epochs 10 --minibatches 16",
    "Acrobot-v1": "--steps 200_000 --num-envs 16 --horizon 128",
    "Pendulum-v1": (
        "--steps 300_000 --num-envs 4 --horizon 1024 --epochs 10 --minibatches 64 --gamma 0.9 "
        "--learning-rate 1e-3"
    ),
}
