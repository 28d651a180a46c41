"""Bits: what a few iterations leave, hashed, for every algorithm, head, source and instruction set.

They make a refactoring safe: the hashes stay, or the commit that changes them says why. Bits depend on the
compiler and on the packages that take part; where those are others, there is nothing to compare.
`python -m tests.training.test_snapshots` writes snapshots.json anew and prints what changed.
"""

import hashlib
import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest

import fastpg
from fastpg import A2C, NPG, PPO, TRPO, VPG, Reinforce, _core
from tests.support.finite_mdps import random_mdp
from tests.support.jit_envs import Bits, Cart, Grid, Rooms

STORE = Path(__file__).with_name("snapshots.json")
NUM_ENVS, STEPS = 21, 900  # a full tile and a ragged one, a few iterations

NATIVE = {
    "categorical": "CartPole-v1",
    "categories": "Taxi-v4",
    "gaussian": "Pendulum-v1",
    "table": random_mdp(),
}
JIT = {"gaussian": Cart, "multidiscrete": Grid, "bernoulli": Bits, "categories": Rooms}
GYMNASIUM = {"categorical": "gym:CartPole-v1", "gaussian": "gym:Pendulum-v1", "categories": "gym:Taxi-v4"}
SOURCES = {"native": NATIVE, "jit": JIT, "gymnasium": GYMNASIUM}
PACKAGES = {"native": (), "jit": ("numba",), "gymnasium": ("gymnasium", "numpy")}

LINEAR, SMALL = {"hidden": ()}, {"hidden": (9,)}
ALGORITHMS = {
    "reinforce, traces": (Reinforce(), {**LINEAR, "horizon": 15}),
    "reinforce, total, episodes": (
        Reinforce(form="total", gamma=0.9, optimizer="sgd"),
        {**SMALL, "episodes": 30},
    ),
    "reinforce, means": (Reinforce(baseline="timestep_mean", entropy_coef=0.01), {**SMALL, "horizon": 15}),
    "vpg": (VPG(normalize_observations=True, value_hidden=(7,), value_epochs=2), {**SMALL, "horizon": 15}),
    "vpg, q, minibatches": (
        VPG(form="q", value_minibatches=3, value_epochs=2, value_hidden=(), linear_schedule=True),
        {**LINEAR, "steps_per_iteration": 400},
    ),
    "a2c": (A2C(value_hidden=(5, 6)), {"hidden": (8, 7), "horizon": 5}),
    "npg": (NPG(value_hidden=(7,), value_minibatches=3, normalize_rewards=True), {**SMALL, "horizon": 15}),
    "trpo": (TRPO(value_hidden=(), value_minibatches=1, fisher_every=2), {**LINEAR, "horizon": 15}),
    "ppo": (PPO(value_hidden=(7,), epochs=2, minibatches=3), {**SMALL, "horizon": 15}),
    "ppo, more": (
        PPO(
            value_hidden=(),
            epochs=2,
            minibatches=1,
            standardize_advantages="batch",
            recompute_advantages=True,
            desired_kl=0.01,
            value_loss="huber",
            value_clip_range=0.2,
            joint_grad_norm=True,
            linear_schedule=True,
            normalize_rewards=True,
            entropy_coef=0.01,
        ),
        {**LINEAR, "horizon": 15},
    ),
}


def digest(*arrays):
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def with_parameters(made):
    """The same parameters everywhere: what initialises them is LAPACK's, whose bits depend on the machine."""
    rng = np.random.default_rng(made.theta.size)
    made.theta = (rng.random(made.theta.size, np.float32) - np.float32(0.5)) * np.float32(0.6)
    return made


def snapshot(source, head, algorithm):
    """The hash of a run's parameters and statistics."""
    env = SOURCES[source][head]
    settings, how = ALGORITHMS[algorithm]
    how = dict(how)
    if settings.__class__ is VPG and settings.normalize_observations and head in ("categories", "table"):
        settings = VPG(value_hidden=(7,), value_epochs=2)
    policy = with_parameters(fastpg.Policy.for_env(env, hidden=how.pop("hidden")))
    value = None
    if not isinstance(settings, Reinforce):
        value = with_parameters(fastpg.ValueFunction.for_env(env, hidden=settings.value_hidden))
    steps = STEPS if source != "gymnasium" else STEPS // 2
    run = fastpg.train(
        env, settings, policy=policy, value=value, num_envs=NUM_ENVS, total_steps=steps, seed=3, **how
    )
    parameters = [run.policy.theta] if run.value is None else [run.policy.theta, run.value.theta]
    return digest(*parameters, *(column for name, column in run.history.items() if name != "seconds"))


CASES = [
    (source, head, algorithm)
    for source, envs in SOURCES.items()
    for head in envs
    for algorithm in ALGORITHMS
    if not (head in ("categories", "table") and algorithm == "reinforce, total, episodes")  # 200 steps each
]


def name(source, head, algorithm):
    return f"{source} | {head} | {algorithm}"


def made_with():
    packages = ("gymnasium", "numba", "numpy")
    return {"compiler": _core.compiler()} | {one: importlib.metadata.version(one) for one in packages}


# The quick loop has every algorithm of one native environment, and every source.
QUICK = [one for one in CASES if one[:2] == ("native", "categorical") or one[1:] == ("gaussian", "a2c")]


@pytest.mark.parametrize(
    ("source", "head", "algorithm"),
    [pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow) for one in CASES],
    ids=lambda value: value,
)
def test_a_run_has_the_recorded_bits(isa, source, head, algorithm):
    recorded = json.loads(STORE.read_text())
    for one in ("compiler", *PACKAGES[source]):
        if recorded["made with"][one] != made_with()[one]:
            pytest.skip(f"recorded with {one} {recorded['made with'][one]}")
    assert snapshot(source, head, algorithm) == recorded[_core.isa()][name(source, head, algorithm)]


def write():
    before = json.loads(STORE.read_text()) if STORE.exists() else {}
    store = {"made with": made_with()}
    for isa in _core.isas():
        _core.select_isa(isa)
        store[isa] = {name(*case): snapshot(*case) for case in CASES}
        for case, bits in store[isa].items():
            if before.get(isa, {}).get(case) != bits:
                print(f"{isa}: {case}")
    STORE.write_text(json.dumps(store, indent=1) + "\n")


if __name__ == "__main__":
    write()
