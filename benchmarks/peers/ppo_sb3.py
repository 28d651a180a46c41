"""PPO by Stable-Baselines3, all environments in one process: `ppo_sb3.py --env ENV ...` (ppo_setting.py)."""

import time

from ppo_setting import arguments, evaluate, iterations, report

setting = arguments(__doc__)

import torch  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402

if setting.threads:
    torch.set_num_threads(setting.threads)
batch = setting.num_envs * setting.horizon
model = PPO(
    "MlpPolicy",
    make_vec_env(setting.env, n_envs=setting.num_envs, seed=setting.seed),
    n_steps=setting.horizon,
    batch_size=batch // setting.minibatches,
    n_epochs=setting.epochs,
    learning_rate=setting.learning_rate,
    gamma=setting.gamma,
    gae_lambda=setting.lam,
    clip_range=setting.clip_range,
    ent_coef=setting.entropy_coef,
    max_grad_norm=setting.max_grad_norm,
    policy_kwargs={"net_arch": {"pi": setting.hidden, "vf": setting.hidden}},
    seed=setting.seed,
    device="cpu",
)
begin = time.perf_counter()
model.learn(iterations(setting) * batch)
seconds = time.perf_counter() - begin
report(model.num_timesteps, seconds, evaluate(setting.env, setting.seed, lambda obs: model.predict(obs)[0]))
