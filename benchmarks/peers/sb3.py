"""PPO or TRPO by Stable-Baselines3, environments in one process: `sb3.py {ppo,trpo} --env ENV ...`.

The arguments are those of ppo_setting.py. TRPO is sb3-contrib's, with ten iterations of conjugate gradients
and a damping of 0.1 as in its defaults.
"""

import time

from ppo_setting import arguments, evaluate, iterations, report

setting = arguments(__doc__, ("ppo", "trpo"))

import torch  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402

torch.set_num_threads(1)  # more are slower with networks of this size
batch = setting.num_envs * setting.horizon
if setting.algorithm == "ppo":
    from stable_baselines3 import PPO as Algorithm

    options = {
        "n_epochs": setting.epochs,
        "clip_range": setting.clip_range,
        "ent_coef": setting.entropy_coef,
        "max_grad_norm": setting.max_grad_norm,
    }
else:
    from sb3_contrib import TRPO as Algorithm

    options = {
        "n_critic_updates": setting.epochs,
        "target_kl": setting.max_kl,
        "cg_max_steps": 10,
        "cg_damping": 0.1,
    }
model = Algorithm(
    "MlpPolicy",
    make_vec_env(setting.env, n_envs=setting.num_envs, seed=setting.seed),
    n_steps=setting.horizon,
    batch_size=batch // setting.minibatches,
    learning_rate=setting.learning_rate,
    gamma=setting.gamma,
    gae_lambda=setting.lam,
    policy_kwargs={"net_arch": {"pi": setting.hidden, "vf": setting.hidden}},
    seed=setting.seed,
    device="cpu",
    **options,
)
begin = time.perf_counter()
model.learn(iterations(setting) * batch)
seconds = time.perf_counter() - begin
report(model.num_timesteps, seconds, evaluate(setting.env, setting.seed, lambda obs: model.predict(obs)[0]))
