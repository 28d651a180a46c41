"""Numbers at the ends of their types: the right value, or a sentence; never NaN, an overflow or a crash."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary
from numpy.lib.stride_tricks import as_strided

import fastpg

REAL = Box(-np.inf, np.inf, (1,))


def linear(action_space, *theta):
    """A policy of one observed number without hidden layers."""
    policy = fastpg.Policy(REAL, action_space, hidden=())
    policy.theta[:] = theta
    return policy


def rows(*numbers):
    return np.array(numbers, np.float32)[:, None]


# ---- sizes ---------------------------------------------------------------------------------------


def test_nstep_windows_longer_than_the_data_take_no_more_memory():
    rewards, flags = np.ones((4, 3), np.float32), np.zeros((4, 3), bool)
    arguments = {"last_values": np.zeros(3, np.float32), "gamma": 0.5}
    whole = fastpg.nstep_returns(rewards, rewards, flags, flags, n=4, **arguments)
    for n in (5, 2**31, 2**58 - 1, 2**62, 2**100):
        np.testing.assert_array_equal(
            fastpg.nstep_returns(rewards, rewards, flags, flags, n=n, **arguments), whole
        )


def test_steps_that_only_strides_of_0_make_are_no_output():
    """2**60 rows of one number: the size of what n = 2**58 - 1 needs overflowed, and the call crashed."""
    shape = (2**60, 1)
    ones, flags = np.broadcast_to(np.float32(1), shape), np.broadcast_to(np.False_, shape)
    out = as_strided(np.zeros(1, np.float32), shape, (0, 0))
    with pytest.raises(ValueError, match="out must not have entries that share memory with each other"):
        fastpg.nstep_returns(
            ones, ones, flags, flags, n=2**58 - 1, last_values=np.zeros(1, np.float32), gamma=0.9, out=out
        )


@pytest.mark.parametrize("hidden", [(), (8,)], ids=str)
def test_horizons_that_no_memory_holds_are_a_memory_error(hidden):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=hidden)
    value = fastpg.ValueFunction.for_env("CartPole-v1")
    with pytest.raises(MemoryError):
        fastpg.estimate_gradient("CartPole-v1", policy, horizon=2**40, num_envs=64, form="gae", value=value)


# ---- counters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_an_episode_cannot_be_older_than_its_counter(mode):
    env = fastpg.make("CartPole-v1", num_envs=3, autoreset=mode, max_episode_steps=2**31 - 1)
    env.reset(seed=0)
    oldest = np.full(3, 2**31 - 1, np.int32)
    with pytest.raises(ValueError, match=r"elapsed must be below 2\*\*31 - 1"):
        env.set_state(np.zeros((3, 4)), oldest)
    env.set_state(np.zeros((3, 4)), oldest - 1)
    *_, truncated, _ = env.step(np.zeros(3, np.int64))
    assert truncated.all()  # the limit fires at the last number that the counter holds
    if mode == "disabled":
        env.reset(options={"reset_mask": np.ones(3, bool)})
    else:
        env.step(np.zeros(3, np.int64))
    assert env.get_state()[1].tolist() == [{"next_step": 0, "same_step": 1, "disabled": 0}[mode]] * 3


# ---- standard deviations -------------------------------------------------------------------------


@pytest.mark.parametrize("log_std", [87.5, -87.5, 89.0, -89.0, 1e30, -1e30])
def test_standard_deviations_that_float32_cannot_hold_are_a_sentence(log_std):
    policy = linear(REAL, 0.0, 0.0, log_std)
    obs = rows(0.0, 1.0)
    sentence = r"log_std of the policy is not in -87 \.\. 87"
    calls = [
        lambda: policy.log_prob(obs, obs),
        lambda: policy.entropy(obs),
        lambda: policy.act(obs, seed=0),
        lambda: policy.act(obs, seed=0, deterministic=True),
        lambda: fastpg.policy_gradient(policy, obs, obs, np.ones(2, np.float32)),
        lambda: fastpg.policy_gradient(policy, obs, obs, np.ones(2, np.float32), per="sample"),
        lambda: policy.kl(policy, obs),
    ]
    for call in calls:
        with pytest.raises(FloatingPointError, match=sentence):
            call()
    continuous = fastpg.Policy.for_env("Pendulum-v1", hidden=(4,))
    continuous.parameters()["log_std"][:] = log_std
    for call in (
        lambda: fastpg.collect("Pendulum-v1", continuous, horizon=4, num_envs=3, seed=0),
        lambda: fastpg.estimate_gradient("Pendulum-v1", continuous, horizon=4, num_envs=3),
        lambda: fastpg.evaluate("Pendulum-v1", continuous, episodes=2),
    ):
        with pytest.raises(FloatingPointError, match=sentence):
            call()


@pytest.mark.parametrize("log_std", [-87.0, -80.0, -40.0, 40.0, 80.0])
def test_log_probs_are_right_as_far_as_standard_deviations_go(isa, log_std):
    policy = linear(REAL, 0.0, 0.25, log_std)
    std = np.exp(np.float64(log_std))
    actions = np.float32(0.25 + np.array([0.0, 1.0, -1e-3]) * min(1.0, std * 1e18))
    with np.errstate(over="ignore"):
        right = np.float32(
            -0.5 * ((np.float64(actions) - 0.25) / std) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
        )
    obs = np.zeros((3, 1), np.float32)
    np.testing.assert_allclose(policy.log_prob(obs, actions[:, None]), right, rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(obs), log_std + 0.5 + 0.5 * np.log(2 * np.pi), rtol=1e-5)
    collected = fastpg.Policy.for_env("Pendulum-v1", hidden=(4,))
    collected.parameters()["log_std"][:] = log_std
    rollout = fastpg.collect("Pendulum-v1", collected, horizon=4, num_envs=3, seed=0)
    assert np.isfinite(rollout.log_probs).all()


# ---- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space, action",
    [(Discrete(2), 0), (MultiBinary(1), [0]), (REAL, [0.0])],
    ids=["discrete", "bits", "real"],
)
def test_an_output_that_overflows_has_no_log_prob(isa, space, action):
    policy = fastpg.Policy(REAL, space, hidden=())
    policy.parameters()["head.weight"][:] = 1e30
    obs, actions = rows(1.0, 1e30), np.array([action, action])
    actions = actions.astype(np.float32 if space is REAL else np.int64)
    calls = [
        lambda: policy.log_prob(obs, actions),
        lambda: policy.entropy(obs),
        lambda: policy.act(obs, seed=0),
    ]
    if not isinstance(space, MultiBinary):  # a bit's score, the bit - p, is right at p = 1
        calls.append(lambda: fastpg.policy_gradient(policy, obs, actions, np.ones(2, np.float32)))
    for call in calls:
        with pytest.raises(FloatingPointError, match="NaN or infinite"):
            call()
    assert np.isfinite(policy.entropy(obs[:1])).all()


def test_an_action_as_good_as_impossible_has_the_log_prob_that_rounds_to_minus_infinity(isa):
    policy = linear(Discrete(2), 3e38, -3e38, 0.0, 0.0)
    obs = rows(1.0, 1.0)
    assert policy.log_prob(obs, np.array([0, 1])).tolist() == [0.0, -np.inf]  # rightly -6e38
    assert policy.entropy(obs).tolist() == [0.0, 0.0]
