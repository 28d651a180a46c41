"""The oracle, set up as the core is: networks, and rollouts with the core's own random numbers."""

import numpy as np

from fastpg import _core, reference

SEED = 0x123456789


def draws(purpose, envs, step, iteration=0):
    """The words that the core draws: counter (environment, step, iteration, purpose)."""
    counter = np.zeros((len(envs), 4), np.uint32)
    counter[:, 0], counter[:, 1], counter[:, 2], counter[:, 3] = envs, step, iteration, purpose
    key = np.array([SEED & 0xFFFFFFFF, SEED >> 32], np.uint32)
    return reference.philox4x32(counter, key)


EVALUATION = 1 << 31  # of the iteration word


_rollouts = {}


def oracle_rollout(oracle, theta, num_envs, limit, iteration=0, **collect):
    """A rollout of the oracle with the core's own random numbers; many tests look at the same one."""
    key = (oracle, theta.tobytes(), num_envs, limit, iteration, *sorted(collect.items()))
    if key not in _rollouts:
        _rollouts[key] = _rollout(oracle, theta, num_envs, limit, iteration, **collect)
    return _rollouts[key]


def _rollout(oracle, theta, num_envs, limit, iteration, **collect):

    def reset_state(env, step):
        return -0.05 + 0.1 * (draws(1, np.array([env]), step, iteration)[0] + 0.5) / 2**32

    def action_uniform(step):
        return ((draws(0, np.arange(num_envs), step // 4, iteration)[:, step % 4] >> 9) + 0.5) / 2**23

    return reference.rollout(
        oracle,
        np.float64(theta),
        num_envs=num_envs,
        reset_state=reset_state,
        action_uniform=action_uniform,
        max_episode_steps=limit,
        **collect,
    )


def make(num_inputs, hidden, num_outputs, activation="tanh", seed=0):
    """A network, its oracle, and parameters that give every action a fair chance."""
    rng = np.random.default_rng(seed)
    net = _core.Network(num_inputs, hidden, num_outputs, activation)
    oracle = reference.Network(num_inputs, hidden, num_outputs, activation)
    theta = np.concatenate(
        [
            np.concatenate([rng.normal(size=out * fan_in) / np.sqrt(fan_in), 0.1 * rng.normal(size=out)])
            for out, fan_in in reference.layer_sizes(oracle)
        ]
    )
    return net, oracle, theta.astype(np.float32)


def relative_error(got, expected):
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)
