"""Rollouts that Stable-Baselines3 collected, as batches of ours, and its `train()` on our minibatches.

Its networks are made float64 after the rollout, and its samples with them: what is left of a difference is
the rounding of its float32 buffer.
"""

import functools

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBufferSamples
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

from fastpg import reference

NUM_ENVS, NUM_STEPS = 8, 16  # two shards of four environments, whose rows four minibatches divide evenly
LIMIT = 7  # of an episode


class Noise(gymnasium.Env):
    """Random observations and rewards; episodes that terminate now and then, and are truncated at LIMIT."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,))

    def __init__(self, action_space):
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return self.np_random.normal(size=3).astype(np.float32), {}

    def step(self, action):
        self.age += 1
        obs, reward = self.np_random.normal(size=3).astype(np.float32), self.np_random.normal()
        terminated = bool(self.np_random.random() < 0.1)
        return obs, reward + np.mean(action), terminated, self.age == LIMIT, {}


class Recorder(VecEnvWrapper):
    """What the environments said, before Stable-Baselines3 adds the values of truncated episodes to it."""

    def reset(self):
        self.said = []
        return self.venv.reset()

    def step_wait(self):
        obs, rewards, dones, infos = self.venv.step_wait()
        truncated = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        final = [info.get("terminal_observation", np.full(3, np.nan)) for info in infos]
        self.said.append((rewards.copy(), dones & ~truncated, truncated, np.stack(final)))
        return obs, rewards, dones, infos


def collected(algorithm, action_space, **settings):
    """A model of Stable-Baselines3 with a full rollout buffer, and the batch of the same rows."""
    env = Recorder(DummyVecEnv([functools.partial(Noise, action_space)] * NUM_ENVS))
    networks = {"net_arch": {"pi": [6, 5], "vf": [7]}, "ortho_init": False}
    model = algorithm(
        "MlpPolicy", env, n_steps=NUM_STEPS, policy_kwargs=networks, seed=3, device="cpu", **settings
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    _, callback = model._setup_learn(NUM_ENVS * NUM_STEPS)
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, NUM_STEPS)
    rewards, terminated, truncated, next_obs = (np.stack(column) for column in zip(*env.said, strict=True))
    assert terminated.any() and truncated.any()
    buffer = model.rollout_buffer
    actions = buffer.actions.reshape(NUM_STEPS, NUM_ENVS, -1)
    if isinstance(action_space, gymnasium.spaces.Discrete):
        actions = actions[..., 0]
    if not isinstance(action_space, gymnasium.spaces.Box):
        actions = actions.astype(np.int64)
    batch = reference.Batch(
        buffer.observations.copy(),
        actions.copy(),
        rewards.astype(np.float64),
        terminated,
        truncated,
        np.ones_like(truncated),
        next_obs,
        model._last_obs.copy(),
    )
    model.policy.double()
    model.policy.features_extractor.register_forward_hook(lambda *called: called[-1].double())
    return model, batch


def parameters_of(model, which):
    """The parameters of the "policy" or the "value" network in the order of ours, `(P,)`."""
    one, extractor = model.policy, model.policy.mlp_extractor
    layers = {
        "policy": [*extractor.policy_net.parameters(), *one.action_net.parameters()],
        "value": [*extractor.value_net.parameters(), *one.value_net.parameters()],
    }[which]
    if which == "policy" and hasattr(one, "log_std"):
        layers.append(one.log_std)
    return torch.cat([layer.detach().flatten() for layer in layers]).numpy()


def agent_of(model, seed):
    """The oracle's agent with the same networks."""
    space, kinds = model.action_space, gymnasium.spaces
    head, outputs, categories = {
        kinds.Discrete: lambda: ("categorical", int(space.n), ()),
        kinds.MultiDiscrete: lambda: (
            "categorical",
            int(space.nvec.sum()),
            tuple(map(int, space.nvec)),
        ),
        kinds.MultiBinary: lambda: ("bernoulli", space.n, ()),
        kinds.Box: lambda: ("gaussian", space.shape[0], ()),
    }[type(space)]()
    policy = reference.Network(3, (6, 5), outputs, "tanh", head, categories)
    models = [
        reference.new_model(network, parameters_of(model, which))
        for which, network in {"policy": policy, "value": reference.Network(3, (7,), 1)}.items()
    ]
    return reference.new_agent(*models, seed)


def train_on_our_minibatches(model, count, seed):
    """Let `train()` take our minibatches, `count` in each epoch; all rows where it asks for all of them."""
    buffer = model.rollout_buffer
    next(buffer.get())  # lays the rows out flat, environment by environment
    epochs = iter(range(10**6))

    def ours(batch_size=None):
        parts = [np.arange(NUM_STEPS * NUM_ENVS)]
        if batch_size is not None:
            valid = np.ones((NUM_STEPS, NUM_ENVS), bool)
            parts = reference.minibatches(valid, count, seed=seed, iteration=0, epoch=next(epochs))
        for rows in parts:
            t, n = np.divmod(rows, NUM_ENVS)
            samples = buffer._get_samples(n * NUM_STEPS + t)
            yield RolloutBufferSamples._make(column.double() for column in samples)

    buffer.get = ours
    model.train()
    return model.logger.name_to_value
