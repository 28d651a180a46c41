"""Updates of PPO and TRPO beside those of Stable-Baselines3, on its own rollout and our minibatches."""

import sys

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import reference
from fastpg.reference import NaturalOptions, PPOOptions, TrustRegion

pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")

import torch
from stable_baselines3 import PPO

from tests.support.sb3_updates import agent_of, collected, parameters_of, train_on_our_minibatches

SEED, MINIBATCHES = 11, 4
SPACES = [Discrete(3), MultiDiscrete([2, 4]), MultiBinary(3), Box(-100, 100, (2,))]
FAR = 2.0, 1e-3  # max_kl and damping of a step for which the second order is no good approximation
HUGE = 1e9  # a norm that no gradient has: no clipping


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small networks on a busy machine: several threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same_step(model, before, after):
    """Both networks have moved, and to the same place: to 1e-5 of the move."""
    for which in ("policy", "value"):
        start, end = (getattr(agent, which).theta for agent in (before, after))
        moved = np.linalg.norm(end - start)
        assert moved > 1e-3
        assert np.linalg.norm(end - parameters_of(model, which)) < 1e-5 * moved, which


def check_compiled(algorithm, model, batch, close):
    """The compiled update goes where theirs does, to a share of the move; returns what is known of it."""
    spaces = model.observation_space, model.action_space
    policy = fastpg.Policy(*spaces, hidden=(6, 5), action_scaling=False)
    value = fastpg.ValueFunction(model.observation_space, hidden=(7,))
    networks = {"policy": policy, "value": value}
    for which, one in networks.items():
        one.theta[:] = parameters_of(model, which)
    before = {which: one.theta.copy() for which, one in networks.items()}
    done = batch.terminated | batch.truncated
    rewards, final_obs = batch.rewards.astype(np.float32), batch.next_obs[done].astype(np.float32)
    columns = batch.obs, batch.actions, rewards, batch.terminated, batch.truncated
    stats = fastpg.Agent(algorithm, policy, value, SEED).update(
        fastpg.Batch.from_arrays(*columns, last_obs=batch.last_obs, final_obs=final_obs)
    )
    train_on_our_minibatches(model, MINIBATCHES, SEED)
    for which, one in networks.items():
        moved = np.linalg.norm(one.theta - before[which])
        assert np.linalg.norm(one.theta - parameters_of(model, which)) < close * moved, which
    return stats


def ppo(space, ours, **theirs):
    """One update of both: Stable-Baselines3's model and what it logged, our agents and statistics."""
    settings = {"n_epochs": 3, "batch_size": 32, "learning_rate": 0.02, "gamma": 0.9, "gae_lambda": 0.8}
    model, batch = collected(PPO, space, **(settings | theirs))
    before = agent_of(model, SEED)
    options = {"epochs": 3, "minibatches": MINIBATCHES, "gamma": 0.9, "lam": 0.8, "epsilon": 1e-5}
    rates = {"learning_rate": 0.02, "value_learning_rate": 0.02}
    after, known, _ = reference.ppo_update(before, batch, PPOOptions(**options, **rates, **ours))
    logged = train_on_our_minibatches(model, MINIBATCHES, SEED)
    same_step(model, before, after)
    return logged, known


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_an_update_of_ppo_is_theirs(space):
    ours = {"entropy_coef": 0.05, "max_grad_norm": 0.3, "joint_grad_norm": True}
    logged, known = ppo(space, ours, ent_coef=0.05, max_grad_norm=0.3)
    theirs = {
        "policy_loss": logged["train/policy_gradient_loss"],
        "approx_kl": logged["train/approx_kl"],
        "clip_fraction": logged["train/clip_fraction"],
        "explained_variance": logged["train/explained_variance"],
    }
    assert theirs["clip_fraction"] > 0.1 and theirs["approx_kl"] > 1e-3
    for name, value in theirs.items():
        assert getattr(known, name) == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert known.num_updates == 3 * MINIBATCHES


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_compiled_update_of_ppo_is_theirs(space, joint):
    """To the rounding of float32; without clipping, where the norm is each network's own."""
    norm = 0.3 if joint else None
    theirs = {"n_epochs": 3, "batch_size": 32, "learning_rate": 0.02, "gae_lambda": 0.8, "ent_coef": 0.05}
    model, batch = collected(PPO, space, max_grad_norm=norm or HUGE, **theirs)
    ours = {"epochs": 3, "minibatches": MINIBATCHES, "learning_rate": 0.02, "lam": 0.8, "entropy_coef": 0.05}
    algorithm = fastpg.PPO(max_grad_norm=norm, joint_grad_norm=joint, **ours)
    check_compiled(algorithm, model, batch, 3e-5)


def test_advantages_that_are_not_standardised_are_taken_as_they_are():
    ours = {"standardize_advantages": "none", "clip_range": 0.1}
    ppo(SPACES[0], ours, normalize_advantage=False, clip_range=0.1, max_grad_norm=HUGE)


def test_both_networks_stop_at_the_same_minibatch():
    logged, known = ppo(SPACES[0], {"target_kl": 0.01}, target_kl=0.01, max_grad_norm=HUGE)
    assert 0 < known.num_updates < 3 * MINIBATCHES and known.num_updates % MINIBATCHES
    assert known.approx_kl == pytest.approx(logged["train/approx_kl"], rel=1e-5)


def trpo_rollout(monkeypatch, space=SPACES[0], max_kl=0.02, damping=0.05, backtracks=9, shrink=0.7):
    """Their model, whose search is that of the paper, and what it collected."""
    contrib = pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")
    module = sys.modules["sb3_contrib.trpo.trpo"]
    theirs = module.kl_divergence

    def divergence(new, old):
        """KL(old | new) of each row, as in the paper: theirs is KL(new | old), and of bits and Gaussians the
        mean over the components of an action, not the sum."""
        each = theirs(old, new)
        return each.sum(dim=1) if each.ndim == 2 else each

    monkeypatch.setattr(module, "kl_divergence", divergence)
    # Their conjugate gradients start at a point that is drawn, ours at 0.
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    return collected(
        contrib.TRPO,
        space,
        target_kl=max_kl,
        cg_damping=damping,
        cg_max_steps=6,
        line_search_max_iter=backtracks + 1,
        line_search_shrinking_factor=shrink,
        n_critic_updates=3,
        batch_size=32,
        learning_rate=0.02,
        gamma=0.9,
        gae_lambda=0.8,
    )


def trpo(monkeypatch, space=SPACES[0], max_kl=0.02, damping=0.05, backtracks=9, shrink=0.7):
    """One update of both: Stable-Baselines3's model and what it logged, our agent before and our update."""
    model, batch = trpo_rollout(monkeypatch, space, max_kl, damping, backtracks, shrink)
    before = agent_of(model, SEED)
    options = NaturalOptions(
        gamma=0.9,
        lam=0.8,
        value_learning_rate=0.02,
        value_epochs=3,
        value_minibatches=MINIBATCHES,
        region=TrustRegion(max_kl, damping, 6, backtracks, shrink),
        epsilon=5e-6,  # their loss is twice ours, and so is their Adam's epsilon
    )
    done = reference.natural_update(before, batch, options)
    logged = train_on_our_minibatches(model, MINIBATCHES, SEED)
    return model, logged, before, done


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_the_compiled_update_of_trpo_is_theirs(space, far, monkeypatch):
    region = FAR if far else (0.02, 0.05)
    model, batch = trpo_rollout(monkeypatch, space, *region)
    algorithm = fastpg.TRPO(
        lam=0.8,
        gamma=0.9,
        max_kl=region[0],
        damping=region[1],
        cg_iterations=6,
        backtracks=9,
        backtrack_factor=0.7,
        value_learning_rate=0.02,
        value_epochs=3,
        value_minibatches=MINIBATCHES,
        epsilon=5e-6,
    )
    stats = check_compiled(algorithm, model, batch, 1e-2 if far else 1e-4)
    assert stats["num_updates"] == 1 and 0 < stats["approx_kl"] <= region[0]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_an_update_of_trpo_is_theirs(space, monkeypatch):
    model, logged, before, done = trpo(monkeypatch, space)
    assert done.step.accepted and logged["train/is_line_search_success"] == 1
    same_step(model, before, done.agent)
    assert done.step.kl == pytest.approx(logged["train/kl_divergence_loss"], rel=1e-5)


@pytest.mark.parametrize("space", SPACES[1:3], ids=str)
def test_a_step_is_shortened_as_often_as_theirs(space, monkeypatch):
    model, _, before, done = trpo(monkeypatch, space, *FAR)
    assert done.step.accepted and done.step.backtracks > 0
    same_step(model, before, done.agent)


def test_a_search_that_fails_leaves_the_policy_to_both(monkeypatch):
    model, logged, before, done = trpo(monkeypatch, SPACES[2], *FAR, backtracks=1, shrink=0.99)
    assert not done.step.accepted and logged["train/is_line_search_success"] == 0
    for theta in (done.agent.policy.theta, parameters_of(model, "policy")):
        assert (theta == before.policy.theta).all()
    assert np.linalg.norm(done.agent.value.theta - parameters_of(model, "value")) < 1e-6
