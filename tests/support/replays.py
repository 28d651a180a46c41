"""Rollouts of the core, played again step by step: its own random numbers, the environment's kernel alone."""

import numpy as np

import fastpg
from fastpg import _core, reference
from tests.support.heads import exact

SEED = 0x123456789
DRAW_RESET, DRAW_STEP = 1, 2  # FPG_DRAW_... in philox.h


def uniforms(net, num_rows, step, iteration=0):
    """The core's own: counter (environment, step / 4, iteration, FPG_DRAW_ACTION | k << 8), word step % 4."""
    draws = net.action_size + (net.action_size % 2 if net.head == "gaussian" else 0)
    counter = np.zeros((num_rows, draws, 4), np.uint32)
    counter[:, :, 0] = np.arange(num_rows)[:, None]
    counter[:, :, 1], counter[:, :, 2], counter[:, :, 3] = step // 4, iteration, np.arange(draws) << 8
    key = np.array([SEED & 0xFFFFFFFF, SEED >> 32], np.uint32)
    return ((reference.philox4x32(counter, key)[..., step % 4] >> 9) + 0.5) / 2**23


def replay(env_id, policy, oracle, num_envs, limit, num_steps, clip=True):
    """Play a rollout of the core step by step: the environment's kernel alone, actions checked against the
    oracle's, the core's own random numbers. Returns a batch of the oracle's, every row valid."""
    env = fastpg.envs.native_env("", env_id, {}).core
    net, box = policy.network, policy.action_space
    width = -(-num_envs // 16) * 16
    key = np.array([SEED & 0xFFFFFFFF, SEED >> 32], np.uint32)
    state, noise = np.zeros((env.state_size, width)), np.full((4, width), 0.5)
    step_noise = np.full((4, width), 0.5)

    def draw(which, step, purpose, to):
        counter = np.zeros((len(which), 4), np.uint32)
        counter[:, 0], counter[:, 1], counter[:, 3] = which, step, purpose
        to[:, which] = ((reference.philox4x32(counter, key) + 0.5) / 2**32).T

    def reset(which, step):
        draw(which, step, DRAW_RESET, noise)
        env.reset(which.astype(np.int32), noise, state)

    reset(np.arange(num_envs), 0)
    age, rows = np.zeros(num_envs, int), []
    for step in range(num_steps):
        obs = np.ascontiguousarray(env.observe(state).T[:num_envs])
        actions = policy.act(obs, seed=SEED, step=step)
        expected = reference.draw(oracle, *exact(policy, obs), uniforms(net, num_envs, step))
        np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)
        given = np.zeros((env.action_size, width), np.float32 if net.head == "gaussian" else np.int32)
        if policy.squash:
            given[:, :num_envs] = policy.env_actions(actions).T
        else:
            given[:, :num_envs] = np.clip(actions, box.low, box.high).T if clip else actions.T
        draw(np.arange(num_envs), step, DRAW_STEP, step_noise)
        rewards, ends = env.step(given, step_noise, state)
        terminated = (ends == 1) | (ends == 3)  # FPG_END_TERMINATED, with or without FPG_END_TRUNCATED
        age += 1
        done = terminated[:num_envs] | (age >= limit)
        rows.append((obs, actions, rewards[:num_envs], terminated[:num_envs], done & ~terminated[:num_envs]))
        age[done] = 0
        if done.any():
            reset(np.flatnonzero(done), step + 1)
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    return reference.Batch(*columns, np.ones((num_steps, num_envs), bool))


def core_estimate(env_id, policy, num_envs, limit, form, **collect):
    env = fastpg.envs.native_env("", env_id, {}, max_episode_steps=limit)
    sampler = _core.Sampler(env.core, policy.network, num_envs, SEED)
    gradient = np.empty_like(policy.theta)
    given = {"horizon": 0, "episodes": 0, **collect}
    stats = sampler.gradient(
        policy.theta, form=form, gamma=0.97, normalize="trajectory", out=gradient, **given
    )
    return gradient, stats
