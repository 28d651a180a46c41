"""Calls of agents, and of batches that are made of arrays."""

import numpy as np
from gymnasium.spaces import Box, Discrete
from hypothesis import strategies as st

import fastpg

from .judge import Call
from .values import NAN, one_of

OBS, ACTIONS = Box(-np.inf, np.inf, (3,)), Discrete(2)
ALGORITHMS = [
    fastpg.Reinforce(),
    fastpg.Reinforce(form="total", baseline="batch_mean"),
    fastpg.VPG(value_hidden=(3,), value_epochs=2, value_minibatches=2, normalize_observations=True),
    fastpg.A2C(value_hidden=()),
    fastpg.PPO(
        value_hidden=(3,), epochs=2, minibatches=3, normalize_observations=True, normalize_rewards=True
    ),
    fastpg.PPO(value_hidden=(), minibatches=1, target_kl=0.01, desired_kl=0.01, recompute_advantages=True),
    fastpg.NPG(value_hidden=(3,), value_minibatches=1, fisher_every=3),
    fastpg.TRPO(value_hidden=(), normalize_observations=True, normalize_rewards=True, max_kl=1.0),
]
WORDS = {
    "batch": ("obs", "actions", "rewards", "mask", "last_obs", "final_obs", "transition", "ends"),
    "policy": ("theta", "value", "normalize_observations"),
    "value": ("theta", "Reinforce"),
    "algorithm": ("value", "linear_schedule", "linear_clip_range", "state"),
    "truncated": ("final_obs",),
    "mask": ("final_obs",),
    "state": ("entry", "theta"),
    "terminated": ("bools", "final_obs"),
}
SELF = frozenset(["self"])


@st.composite
def arrays(draw):
    """Draw the arrays of a batch."""
    shape = draw(one_of([1, 4, 9])), draw(one_of([1, 3, 5]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    terminated, truncated = rng.random(shape) < 0.2, rng.random(shape) < 0.2
    mask = rng.random(shape) < 0.8 if draw(st.booleans()) else None
    ends = np.count_nonzero((terminated | truncated) & (True if mask is None else mask))
    return {
        "obs": rng.normal(size=(*shape, 3)).astype(np.float32),
        "actions": rng.integers(0, 2, shape),
        "rewards": rng.normal(size=shape).astype(np.float32),
        "terminated": terminated,
        "truncated": truncated,
        "last_obs": rng.normal(size=(shape[1], 3)).astype(np.float32),
        "final_obs": rng.normal(size=(ends, 3)).astype(np.float32),
        "log_probs": -rng.random(shape).astype(np.float32),
        "mask": mask,
    }


def made(algorithm):
    return fastpg.Agent(algorithm, fastpg.Policy(OBS, ACTIONS, hidden=(4,)))


@st.composite
def updates(draw):
    given = draw(arrays())
    if given["mask"] is not None:
        given["mask"][:] = True
        given["mask"][0, 0] = given["terminated"][0, 0] = False
        given["truncated"][0, 0] = False
        given["mask"][0, 0] = True
        ends = np.count_nonzero(given["terminated"] | given["truncated"])
        given["final_obs"] = np.zeros((ends, 3), np.float32)
    return {"self": made(draw(one_of(ALGORITHMS))), "batch": fastpg.Batch.from_arrays(**given)}


def of_odd_arrays(self, **given):
    """Update from a batch whose arrays may be anything."""
    batch = fastpg.Batch.from_arrays(**given)
    if batch.num_steps:
        self.update(batch)


@st.composite
def odd_updates(draw):
    return {"self": made(draw(one_of(ALGORITHMS))), **draw(arrays())}


@st.composite
def agents(draw):
    algorithm = draw(one_of(ALGORITHMS))
    has_value = not isinstance(algorithm, fastpg.Reinforce) and draw(st.booleans())
    return {
        "algorithm": algorithm,
        "policy": fastpg.Policy(OBS, ACTIONS, hidden=(4,)),
        "value": fastpg.ValueFunction(OBS, hidden=(3,)) if has_value else None,
        "seed": draw(st.integers(0, 2**64 - 1)),
        "total_steps": draw(one_of([None, 1, 10**6])),
    }


@st.composite
def states(draw):
    given = draw(agents())
    given["value"] = None
    given["state"] = made(given["algorithm"]).state()
    return given


ODD_ALGORITHMS = one_of(
    [fastpg.VPG(linear_schedule=True), fastpg.PPO(linear_clip_range=True), "VPG", fastpg.VPG, None]
)
CALLS = {
    "Agent": Call(
        fastpg.Agent,
        agents(),
        ("Agent()",),
        words=WORDS,
        odd={"algorithm": ODD_ALGORITHMS},
        writes=frozenset(),
    ),
    "Agent.update": Call(
        fastpg.Agent.update,
        updates(),
        ("Agent.update()",),
        words=WORDS,
        fixed=SELF,
        writes=frozenset(["self"]),
    ),
    "Agent.update of arrays": Call(
        of_odd_arrays,
        odd_updates(),
        ("Agent.update()", "Batch.from_arrays()"),
        words=WORDS,
        fixed=SELF,
        writes=frozenset(["self"]),
    ),
    "Agent.state": Call(
        fastpg.Agent.state, st.builds(lambda one: {"self": made(one)}, one_of(ALGORITHMS)), (), fixed=SELF
    ),
    "Agent.from_state": Call(
        fastpg.Agent.from_state,
        states(),
        ("Agent.from_state()", "Agent()"),
        words=WORDS,
        odd={
            "algorithm": ODD_ALGORITHMS,
            "state": one_of([{}, {"x": np.zeros(1)}, {1: 2}, {"policy.theta": NAN}, None, [], "state"]),
        },
        writes=frozenset(["policy"]),
    ),
    "Batch.from_arrays": Call(
        fastpg.Batch.from_arrays, arrays(), ("Batch.from_arrays()",), words=WORDS, repeatable=True
    ),
}
