"""Bits: what a few iterations leave, hashed, for every algorithm, head, source and instruction set.

They make a refactoring safe: the hashes stay, or the commit that changes them says why. Bits depend on the
compiler and on the packages that take part; where those are others, there is nothing to compare.
`python -m tests.training.test_snapshots` writes snapshots.json anew and prints what changed.
"""

import importlib.metadata
import json
from pathlib import Path

import pytest

import fastpg
from fastpg import VPG, Reinforce, _core
from tests.support.bits import ALGORITHMS, NATIVE, NUM_ENVS, STEPS, digest, with_parameters
from tests.support.jit_envs import Bits, Cart, Grid, Rooms

STORE = Path(__file__).with_name("snapshots.json")

JIT = {"gaussian": Cart, "multidiscrete": Grid, "bernoulli": Bits, "categories": Rooms}
GYMNASIUM = {"categorical": "gym:CartPole-v1", "gaussian": "gym:Pendulum-v1", "categories": "gym:Taxi-v4"}
SOURCES = {"native": NATIVE, "jit": JIT, "gymnasium": GYMNASIUM}
PACKAGES = {"native": (), "jit": ("numba",), "gymnasium": ("gymnasium", "numpy")}


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
