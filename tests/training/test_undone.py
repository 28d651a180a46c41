"""What fails or is interrupted has not happened: updates of an agent, iterations of the compiled trainer."""

import dataclasses
import math
import signal

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg import _core
from fastpg.envs.native.registry import native_env
from fastpg.training.agent import core_agent
from tests.support.agents import ALGORITHMS, WHOLES, agent_of, as_bytes, critic_of, networks, random_batch

REINFORCE = ALGORITHMS["to go, timestep mean"]
every_whole = pytest.mark.parametrize("algorithm", WHOLES.values(), ids=WHOLES)


def interrupted(call, seconds):
    """Make a call with a signal on its way; return whether it arrived."""
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    finally:
        signal.signal(signal.SIGALRM, previous)
    return False


# ---- updates -----------------------------------------------------------------------------------------------


# Without what would scale down the steps that rewards as large as these lead to.
NOT_SCALED = {
    (fastpg.VPG, "policy step"): {"standardize_advantages": False, "max_grad_norm": None},
    (fastpg.PPO, "policy step"): {
        "standardize_advantages": "none",
        "normalize_rewards": False,
        "max_grad_norm": None,
    },
    (fastpg.PPO, "value fit"): {"normalize_rewards": False, "max_grad_norm": None},
    # A natural step has the length that it has, whatever the gradient's: the value function fails in both.
    (fastpg.TRPO, "policy step"): {"normalize_rewards": False},
    (fastpg.TRPO, "value fit"): {"normalize_rewards": False},
}


def spoilt(policy, how):
    """A batch whose update fails: where, its name says."""
    batch = random_batch(policy, 33, 17, 9, scale=1e25 if how in ("policy step", "value fit") else 1.0)
    if how == "action":
        batch.actions[-1, -1] = 99
        batch.mask[-1, -1] = True
    return batch


@every_whole
@pytest.mark.parametrize("how", ["policy step", "value fit", "action", "parameters", "values"])
def test_an_update_that_fails_has_not_happened(algorithm, how):
    algorithm = dataclasses.replace(algorithm, **NOT_SCALED.get((type(algorithm), how), {}))
    ends = []
    for fails in (False, True):
        policy, value, *_ = networks(Discrete(5))
        agent = agent_of(algorithm, policy, value)
        for seed in range(4):
            if fails:
                before = as_bytes(agent.state())
                theta = {"parameters": policy.theta, "values": value.theta}.get(how, np.zeros(2, np.float32))
                kept = theta[1]
                if how in ("parameters", "values"):
                    theta[1] = np.nan
                bad = spoilt(policy, how)
                with pytest.raises((FloatingPointError, ValueError), match=r"Agent\.update\(\)"):
                    agent.update(bad)
                theta[1] = kept
                assert as_bytes(agent.state()) == before
            agent.update(random_batch(policy, 33, 17, seed))
        ends.append(as_bytes(agent.state()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "rate",
    # Of the last, the first step of the value function is finite.
    [{"learning_rate": 1e39}, {"value_learning_rate": 1e39}, {"value_learning_rate": 1e30}],
    ids=str,
)
@pytest.mark.parametrize("name", ["normalised", "ppo", "ppo, normalised"])
def test_an_update_whose_step_overflows_has_not_happened(name, rate):
    algorithm = dataclasses.replace(ALGORITHMS[name], **rate)
    policy, value, *_ = networks(Discrete(5))
    agent = agent_of(algorithm, policy, value)
    before = as_bytes(agent.state())
    with pytest.raises(FloatingPointError, match=r"Agent\.update\(\): "):
        agent.update(random_batch(policy, 12, 7))
    assert as_bytes(agent.state()) == before


@pytest.mark.parametrize(
    "algorithm",
    [
        fastpg.VPG(value_epochs=10_000),
        fastpg.PPO(epochs=10_000),
        fastpg.PPO(epochs=10_000, minibatches=1, recompute_advantages=True, normalize_rewards=True),
        # Most of these have no rows.
        fastpg.PPO(epochs=10_000, minibatches=1_000_000),
    ],
    ids=["vpg", "ppo", "ppo, whole batches", "ppo, empty minibatches"],
)
def test_an_update_that_is_interrupted_has_not_happened(algorithm):
    policy, *_ = networks(Discrete(5))
    value = fastpg.ValueFunction(policy.observation_space, hidden=(256, 256))
    agent = agent_of(algorithm, policy, value)
    batch = random_batch(policy, 64, 64)
    before = as_bytes(agent.state())
    assert interrupted(lambda: agent.update(batch), 0.1)
    assert as_bytes(agent.state()) == before


# ---- iterations of the compiled trainer --------------------------------------------------------------------


# Fails where it is told to: in the middle of an episode, when the force is absurd.
@fastpg.jit_env(
    observation_space=Box(-np.inf, np.inf, (1,)),
    action_space=Box(-1e4, 1e4, (1,)),
    state_size=2,
    noise_size=1,
    max_episode_steps=20,
)
class Fragile:
    def reset(state, noise):
        state[0] = noise[0]
        state[1] = 0.0

    def step(state, action, noise):
        state[1] += 1.0
        state[0] = 0.9 * state[0] + 0.1 * noise[0]
        if action[0] > 500.0 and state[1] > 5.0:
            return math.inf, False
        return state[0], noise[0] < 0.05

    def observe(state, obs):
        obs[0] = state[0]


def native_trainer(algorithm, collection, env=Fragile, num_envs=21):
    native = native_env("test", env, {}).core
    policy = fastpg.Policy.for_env(env, hidden=(6,), seed=1, action_scaling=False)
    value = fastpg.ValueFunction.for_env(env, hidden=(5,), seed=2)
    settings = {"horizon": 0, "episodes": 0, "steps_per_iteration": 0, **collection}
    agent = core_agent(
        algorithm,
        policy,
        critic_of(algorithm, value),
        seed=3,
        total_steps=10**9,
        target_return=None,
        **settings,
    )
    return _core.Trainer(native, agent, num_envs=num_envs), policy, value


COLLECTIONS = [{"horizon": 13}, {"episodes": 30}, {"steps_per_iteration": 300}]


@pytest.mark.parametrize(
    ("algorithm", "stage"),
    [(REINFORCE, "environment"), (REINFORCE, "policy")]
    + [(one, stage) for one in WHOLES.values() for stage in ("environment", "policy", "value")],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
@pytest.mark.parametrize("collection", COLLECTIONS, ids=str)
def test_an_iteration_of_training_that_fails_has_not_happened(algorithm, collection, stage):
    ends = []
    for fails in (False, True):
        trainer, policy, value = native_trainer(algorithm, collection)
        for iteration in range(4):
            if fails:
                before = as_bytes(trainer.agent.state())
                theta = value.theta if stage == "value" else policy.theta
                kept = theta.copy()
                if stage == "environment":
                    biases = [view for name, view in policy.parameters().items() if name.endswith("bias")]
                    biases[-1][:] = 1e3
                else:
                    theta[0] = np.nan
                with pytest.raises((FloatingPointError, fastpg.EnvError), match=f"iteration {iteration}"):
                    trainer.run(0.0, 1)
                theta[:] = kept
                assert as_bytes(trainer.agent.state()) == before
            trainer.run(0.0, 1)
        ends.append(as_bytes(trainer.agent.state()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("collection", [{"horizon": 200}, {"episodes": 600}], ids=str)
@pytest.mark.parametrize(
    "algorithm",
    [
        REINFORCE,
        fastpg.VPG(normalize_observations=True, value_epochs=8, value_minibatches=4),
        dataclasses.replace(WHOLES["ppo, whole"], epochs=4),
    ],
    ids=lambda one: type(one).__name__,
)
def test_training_that_is_interrupted_goes_on_as_if_it_was_not(collection, algorithm):
    ends, hits = [], 0
    for interrupts in (False, True):
        trainer, *_ = native_trainer(algorithm, collection, "CartPole-v1", num_envs=256)
        moments = iter(np.linspace(0.0003, 0.05, 12))
        while trainer.agent.num_iterations < 6:
            if interrupts and (seconds := next(moments, None)) is not None:
                hits += interrupted(lambda trainer=trainer: trainer.run(0.0, 1), seconds)
            else:
                trainer.run(0.0, 1)
        ends.append(as_bytes(trainer.agent.state()))
    assert hits
    assert ends[0] == ends[1]
