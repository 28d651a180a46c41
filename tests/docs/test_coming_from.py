"""What the page for users of Stable-Baselines3 and CleanRL shows runs, and its numbers are theirs."""

import copy
import re

import numpy as np
import pytest

import fastpg
from tests import ROOT

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
fpt = pytest.importorskip("fastpg.torch")
as_vec_env = pytest.importorskip("fastpg.sb3").as_vec_env
nn = torch.nn

PAGE = (ROOT / "docs" / "coming_from.md").read_text()


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.slow
def test_the_blocks_run_and_learn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sb3s, ours, weights, loop, buffers = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    for block in (sb3s.replace("20_000", "1_000"), ours, weights, loop):
        exec(block, names)
        assert block is not ours or names["returns"].mean() > 100
    assert np.mean(names["earned"][-20:]) > 2 * np.mean(names["earned"][:20])
    exec(buffers, names)
    assert torch.allclose(names["returns"][0], (1 - 0.99**128 * 0.95**128) / (1 - torch.tensor(0.99 * 0.95)))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_an_update_of_one_minibatch_is_stable_baselines_own(env_id):
    env = fastpg.make(env_id, num_envs=4, max_episode_steps=12)
    env.reset(seed=3)
    settings = {"n_steps": 100, "batch_size": 400, "n_epochs": 1, "ent_coef": 0.03, "gamma": 0.97}
    model = sb3.PPO(
        "MlpPolicy", as_vec_env(env_id, 4), learning_rate=1e-3, max_grad_norm=0.1, seed=1, **settings,
        device="cpu",
    )  # fmt: skip
    theirs = model.policy

    def networks(policy):
        log_std = getattr(policy, "log_std", None)
        actor = nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net)
        critic = nn.Sequential(policy.mlp_extractor.value_net, policy.value_net)
        return fpt.from_module(actor, model.action_space, log_std=log_std), fpt.value_from_module(critic)

    ppo = fastpg.PPO(
        gamma=0.97, learning_rate=1e-3, epochs=1, minibatches=1, entropy_coef=0.03, max_grad_norm=0.1,
        joint_grad_norm=True,
    )  # fmt: skip
    policy, value = networks(copy.deepcopy(theirs))
    agent = fastpg.Agent(ppo, policy, value)
    model._setup_learn(400)
    buffer, before = model.rollout_buffer, policy.theta.copy()
    for _ in range(3):  # whose moments Adam adds up
        batch = fastpg.collect(env, policy, 100, value=value)
        assert batch.truncated.any()
        buffer.reset()
        for name in ("rewards", "values", "log_probs"):
            getattr(buffer, name)[:] = getattr(batch, name)
        buffer.observations[:] = batch.obs
        buffer.actions[:] = batch.actions.reshape(buffer.actions.shape)
        buffer.advantages, buffer.returns = batch.gae(gamma=0.97, lam=0.95)
        buffer.pos, buffer.full = 100, True
        model.train()
        agent.update(batch)
    assert np.abs(policy.theta - before).max() > 5e-4
    wanted, wanted_value = networks(theirs)
    np.testing.assert_allclose(policy.theta, wanted.theta, rtol=0, atol=1e-5)
    np.testing.assert_allclose(value.theta, wanted_value.theta, rtol=0, atol=1e-5)
