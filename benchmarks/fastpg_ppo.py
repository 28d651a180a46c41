"""PPO or TRPO by fastpg, beside its peers: `fastpg_ppo.py {ppo,trpo} --env ENV ...`.

The arguments are those of peers/ppo_setting.py.
"""

import itertools
import time

from peers.ppo_setting import arguments, evaluate, iterations, report

setting = arguments(__doc__, ("ppo", "trpo"))  # before fastpg looks for cores

import fastpg  # noqa: E402

if setting.threads:
    fastpg.set_num_threads(setting.threads)
hidden = tuple(setting.hidden)
shared = {
    "gamma": setting.gamma,
    "lam": setting.lam,
    "value_learning_rate": setting.learning_rate,
    "value_hidden": hidden,
    "epsilon": 1e-5,  # as in the peers
}
if setting.algorithm == "ppo":
    algorithm = fastpg.PPO(
        learning_rate=setting.learning_rate,
        epochs=setting.epochs,
        minibatches=setting.minibatches,
        clip_range=setting.clip_range,
        entropy_coef=setting.entropy_coef,
        max_grad_norm=setting.max_grad_norm,
        joint_grad_norm=True,  # as of the peers, which have one optimiser
        **shared,
    )
else:
    algorithm = fastpg.TRPO(
        max_kl=setting.max_kl,
        damping=0.1,
        cg_iterations=10,
        value_epochs=setting.epochs,
        value_minibatches=setting.minibatches,
        **shared,
    )
common = {
    "num_envs": setting.num_envs,
    "horizon": setting.horizon,
    "hidden": hidden,
    "total_steps": iterations(setting) * setting.num_envs * setting.horizon,
}
begin = time.perf_counter()
if setting.agents > 1:
    seeds = range(setting.seed, setting.seed + setting.agents)
    runs = fastpg.train_many(setting.env, algorithm, seeds=seeds, **common)
    seconds, run = time.perf_counter() - begin, runs[0]
else:
    run = fastpg.train(setting.env, algorithm, seed=setting.seed, **common)
    seconds = run.seconds
step = itertools.count()
returns = evaluate(
    setting.env, setting.seed, lambda obs: run.policy.act(obs, seed=setting.seed, step=next(step))
)
report(run.num_steps * setting.agents, seconds, returns)
