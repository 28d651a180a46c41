"""Small Markov decision processes, policies in them, and every trajectory that they can take."""

from typing import NamedTuple

import numpy as np

import fastpg
from fastpg import reference
from fastpg.exact import FiniteMDP


def random_mdp(*, states=5, actions=3, ends=0.2, limit=12, seed=0, forbidden=0.0):
    """Rewards and transitions at random; every step ends the episode with probability `ends` on average.

    A share `forbidden` of the actions, but the first, is not allowed.
    """
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(states, 0.5), size=(states, actions))
    transition[rng.random(transition.shape) < 0.2] = 0.0  # rows of different numbers of outcomes
    transition[..., 0] += 0.05
    transition[..., -1] = 0.0
    transition *= (1.0 - ends) / transition.sum(axis=-1, keepdims=True)
    transition[..., -1] = ends
    reward = rng.normal(0.5, 1.0, size=(states, actions, states))
    terminal = np.arange(states) == states - 1
    start = rng.dirichlet(np.ones(states)) * ~terminal
    mask = None
    if forbidden:
        mask = rng.random((states, actions)) >= forbidden
        mask[:, 0] = True
    return FiniteMDP(transition, reward, terminal, start / start.sum(), limit, f"random MDP {seed}", mask)


def two_step_mdp(limit=0):
    """A bandit whose second arm leads to a second bandit, sometimes: episodes of one or two steps."""
    transition, reward = np.zeros((4, 2, 4)), np.zeros((4, 2, 4))
    transition[0] = [[0, 0, 0, 1], [0, 0.5, 0.25, 0.25]]
    reward[0] = [[0, 0, 0, 1.0], [0, -0.5, 0.5, 2.0]]
    transition[1, :, 3] = transition[2, :, 3] = 1.0
    reward[1, :, 3], reward[2, :, 3] = [3.0, -1.0], [0.0, 2.0]
    terminal, start = np.array([False, False, False, True]), np.array([1.0, 0.0, 0.0, 0.0])
    return FiniteMDP(transition, reward, terminal, start, limit, "two steps")


def random_policy(env, hidden, *, scale=0.7, seed=1):
    """Parameters at random, multiples of 2^-12: a central difference of that size is exact in float32."""
    policy = fastpg.Policy.for_env(env, hidden=hidden, seed=seed)
    rng = np.random.default_rng(seed)
    policy.theta[:] = np.round(rng.normal(0.0, scale, policy.theta.size) * 4096) / 4096
    return policy


def oracle(policy):
    """The policy's network and parameters, for fastpg.reference."""
    network = reference.Network(
        policy.network.num_inputs, policy.hidden, policy.network.num_outputs, policy.activation
    )
    return network, policy.theta.astype(np.float64)


def probabilities(mdp, policy):
    """pi(a|s), (S, A)."""
    return np.exp(reference.log_softmax(reference.logits(*oracle(policy), np.eye(len(mdp.start)))))


class Trajectory(NamedTuple):
    probability: float
    states: tuple
    actions: tuple
    rewards: tuple


def trajectories(mdp, policy):
    """Every trajectory that there is, with its probability."""
    pi = probabilities(mdp, policy)
    found = []

    def go_on(so_far, state):
        for action in range(pi.shape[1]):
            for following in np.flatnonzero(mdp.transition[state, action]):
                one = Trajectory(
                    so_far.probability * pi[state, action] * mdp.transition[state, action, following],
                    (*so_far.states, int(state)),
                    (*so_far.actions, action),
                    (*so_far.rewards, mdp.reward[state, action, following]),
                )
                if mdp.terminal[following] or len(one.states) == mdp.max_episode_steps:
                    found.append(one)
                else:
                    go_on(one, following)

    for state in np.flatnonzero(mdp.start):
        go_on(Trajectory(mdp.start[state], (), (), ()), state)
    return found


def discounted(rewards, gamma):
    return sum(gamma**k * reward for k, reward in enumerate(rewards))


def estimate_of(trajectory, policy, form, gamma=1.0):
    """The estimate that this one trajectory makes, (P,)."""
    steps = range(len(trajectory.states))
    if form == "total":
        weights = [discounted(trajectory.rewards, gamma) for t in steps]
    else:
        weights = [discounted(trajectory.rewards[t:], gamma) for t in steps]
    obs = np.eye(policy.network.num_inputs)[list(trajectory.states)]
    return reference.policy_gradient(
        *oracle(policy), obs, np.array(trajectory.actions), np.array(weights), "sum"
    )
