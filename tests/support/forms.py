"""Phi of every form by the oracle, on rollouts of CartPole."""

import numpy as np

from fastpg import _core, reference

GAMMA, LAM, N_STEP = 0.97, 0.8, 3
LIMIT = 12  # short, so that many episodes are truncated


def value_network(hidden=(7,)):
    net = _core.Network(4, hidden, 1, "tanh")
    oracle = reference.Network(4, hidden, 1)
    theta = np.random.default_rng(3).normal(0, 0.7, net.num_parameters).astype(np.float32)
    return net, theta, lambda obs: reference.logits(oracle, np.float64(theta), np.float64(obs))[..., 0]


def weights_of(form, played, values_of):
    """Phi_t by the oracle, and V(s_t)."""
    if form in reference.FORMS:
        values = (
            None if values_of is None else values_of(played.obs.reshape(-1, 4)).reshape(played.rewards.shape)
        )
        return reference.FORMS[form](played.rewards, played.terminated, played.truncated, GAMMA), values
    shape = played.rewards.shape
    values, following = (
        values_of(obs.reshape(-1, 4)).reshape(shape) for obs in (played.obs, played.next_obs)
    )
    flags = played.terminated, played.truncated
    bootstrap = {"last_values": following[-1], "final_values": following, "gamma": GAMMA}
    if form == "q":
        weights = reference.nstep_returns(played.rewards, values, *flags, n=N_STEP, **bootstrap)
    elif form == "td":
        weights = reference.td_errors(played.rewards, values, *flags, **bootstrap)
    else:
        weights = reference.gae(played.rewards, values, *flags, lam=LAM, **bootstrap)[0]
    return weights, values


def tile_lanes(num_envs):
    quarter = (num_envs + 3) // 4
    if num_envs >= 1024:
        return 64
    return 4 if quarter <= 4 else (quarter + 3) // 4 * 4 if quarter <= 16 else 16 if quarter <= 32 else 32
