"""PPO by rejax, the whole loop jitted: `ppo_rejax.py --env ENV ...`; see ppo_setting.py.

Its own implementation on gymnax's environments, with tanh and without its evaluations along the way. As in
rejax, the gradient is clipped entry by entry, values are clipped as ratios are, and the end of an episode is
a termination whichever it is.
"""

import time
import warnings

from ppo_setting import EPISODES, arguments, iterations, report

setting = arguments(__doc__)  # before JAX looks for cores
warnings.simplefilter("ignore")

import gymnax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import rejax  # noqa: E402
from rejax.evaluate import evaluate  # noqa: E402

env, env_params = gymnax.make(setting.env)


class OneEnd(type(env)):
    """The environment with one `done`, as rejax asks for it: gymnax 1.0 says how an episode ended."""

    def step(self, key, state, action, params):
        obs, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        return obs, state, reward, jnp.logical_or(terminated, truncated), info


steps = iterations(setting) * setting.num_envs * setting.horizon
algorithm = (
    rejax.get_algo("ppo")
    .create(
        env=OneEnd(),
        env_params=env_params,
        agent_kwargs={"hidden_layer_sizes": setting.hidden, "activation": "tanh"},
        num_envs=setting.num_envs,
        num_steps=setting.horizon,
        num_epochs=setting.epochs,
        num_minibatches=setting.minibatches,
        learning_rate=setting.learning_rate,
        gamma=setting.gamma,
        gae_lambda=setting.lam,
        clip_eps=setting.clip_range,
        ent_coef=setting.entropy_coef,
        max_grad_norm=setting.max_grad_norm,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
    )
    .replace(eval_callback=lambda algorithm, state, key: ())
)

keys = jax.vmap(jax.random.PRNGKey)(setting.seed + jnp.arange(setting.agents))
train = jax.jit(jax.vmap(algorithm.train) if setting.agents > 1 else lambda keys: algorithm.train(keys[0]))
train = train.lower(keys).compile()
begin = time.perf_counter()
state, _ = jax.block_until_ready(train(keys))
seconds = time.perf_counter() - begin
if setting.agents > 1:  # the first is evaluated
    state = jax.tree.map(lambda leaf: leaf[0], state)
key = jax.random.PRNGKey(10_000 + setting.seed)
limit = env_params.max_steps_in_episode
_, returns = evaluate(algorithm.make_act(state), key, algorithm.env, env_params, EPISODES, limit)
report(steps * setting.agents, seconds, returns.tolist())
