"""Environment steps per second of a peer: `env_step.py KIND ENV NUM_ENVS STEPS`.

KIND is vector (the NumPy vector environment that Gymnasium has for CartPole), sync (SyncVectorEnv), envpool,
or gymnax (vmap, and one jitted scan over the steps). Each environment takes one random action of its space
again and again, with autoreset. Prints the median over runs of STEPS steps that go on where the last stopped.
"""

import os
import statistics
import sys
import time
import warnings

import numpy as np

kind, env_id, num_envs, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
warnings.simplefilter("ignore")


def with_gymnasium():
    import gymnasium

    mode = {"vector": "vector_entry_point", "sync": "sync"}[kind]
    env = gymnasium.make_vec(env_id, num_envs=num_envs, vectorization_mode=mode)
    env.reset(seed=0)
    env.action_space.seed(0)
    return stepping(env, env.action_space.sample())


def with_envpool():
    import envpool

    env = envpool.make(env_id, env_type="gymnasium", num_envs=num_envs, num_threads=os.cpu_count())
    env.reset()
    env.action_space.seed(0)
    dtype = np.float32 if env.action_space.shape else np.int32
    return stepping(env, np.array([env.action_space.sample() for _ in range(num_envs)], dtype))


def stepping(env, actions):
    def run():
        for _ in range(steps):
            env.step(actions)

    return run


def with_gymnax():
    import gymnax
    import jax

    env, params = gymnax.make(env_id)
    keys = jax.random.split(jax.random.PRNGKey(0), num_envs)
    actions = jax.vmap(env.action_space(params).sample)(keys)
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))

    @jax.jit
    def many(key, state):
        def one(carry, _):
            key, state, total = carry
            key, used = jax.random.split(key)
            obs, state, reward, *_ = step(jax.random.split(used, num_envs), state, actions, params)
            return (key, state, total + reward.sum() + obs.sum()), None  # so that nothing is optimised away

        return jax.lax.scan(one, (key, state, 0.0), None, length=steps)[0]

    _, state = jax.vmap(env.reset, in_axes=(0, None))(keys, params)
    carry = [jax.random.PRNGKey(1), state]

    def run():
        carry[:] = jax.block_until_ready(many(*carry))[:2]

    return run


kinds = {"vector": with_gymnasium, "sync": with_gymnasium, "envpool": with_envpool, "gymnax": with_gymnax}
run = kinds[kind]()
run()
run()
rates = []
end = time.perf_counter() + 1.0
while len(rates) < 3 or time.perf_counter() < end:
    begin = time.perf_counter()
    run()
    rates.append(num_envs * steps / (time.perf_counter() - begin))
print(statistics.median(rates))
