"""Seconds that Stable-Baselines3 needs for CartPole-v1: `sb3_cartpole.py {a2c,ppo} SEED MOST_SECONDS`.

Until the mean return of the last 100 episodes is 475; prints inf if MOST_SECONDS are over before. Eight
environments in one process, one thread, and for PPO the settings that its own collection of tuned ones has
for CartPole: with its defaults it takes longer. A2C has its defaults, as there.
"""

import sys
import time

import numpy as np
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

algorithm, seed, most_seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])


class UntilSolved(BaseCallback):
    solved = False

    def _on_step(self) -> bool:
        episodes = self.model.ep_info_buffer
        self.solved = len(episodes) == 100 and float(np.mean([one["r"] for one in episodes])) >= 475
        return not self.solved and time.perf_counter() - begin < most_seconds


torch.set_num_threads(1)
env = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
if algorithm == "a2c":
    model = A2C("MlpPolicy", env, ent_coef=0.0, seed=seed, device="cpu")
else:
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=1e-3,
        clip_range=0.2,
        seed=seed,
        device="cpu",
    )
callback = UntilSolved()
begin = time.perf_counter()
model.learn(10_000_000, callback=callback)
print(time.perf_counter() - begin if callback.solved else float("inf"))
