"""Calls that train many agents, make lists of settings, and read what comes back."""

import functools
import tempfile

import numpy as np
from hypothesis import strategies as st

import fastpg

from .calls_envs import ODD_ENVS
from .calls_runs import ODD_FOLDERS
from .judge import Call
from .values import NAN, one_of

SETTINGS = [
    fastpg.Reinforce(),
    fastpg.A2C(value_hidden=()),
    {"algorithm": fastpg.VPG(value_hidden=(3,)), "hidden": (), "horizon": 5},
    {"algorithm": fastpg.PPO(epochs=1, minibatches=2, value_hidden=()), "num_envs": 3, "total_steps": 20},
]
ODD_SETTINGS = one_of(
    [[], {}, None, "PPO", fastpg.PPO, [fastpg.PPO], [None], {"algorithm": 3}, {"algorithm": fastpg.A2C(), "seed": 1},
     {"algorithm": fastpg.A2C(), 1: 2}, {"algorithm": fastpg.A2C(), "horizon": 0}, {"algorithm": fastpg.A2C(), "hidden": NAN}]
)  # fmt: skip
ODD_VALUES = one_of(
    [[], None, "x", 3, [None], [NAN], ["uniform"], ("uniform", 2, 1), ("log_uniform", 0, 1), {}, [[1]]]
)
WORDS = {
    "algorithms": ("algorithm", "setting", "zipped", *fastpg.training.search.RUN_SETTINGS),
    "seeds": ("seed", "zipped"),
    "zipped": ("seeds",),
    "episodes": ("horizon",),
    "horizon": ("episodes",),
    "steps_per_iteration": ("horizon",),
    "env_id": ("Gymnasium", "policy maps", "value reads"),
    "vectorization_mode": ("native",),
    "reset_options": ("native",),
    "n": ("draw",),
    "callback": ("callback_every",),
    "callback_every": ("callback",),
    "total_steps": ("rungs",),
    "explore": ("gamma", *fastpg.training.search.RUN_SETTINGS),
}


@st.composite
def many_arguments(draw):
    zipped = draw(st.booleans())
    settings = [draw(one_of(SETTINGS)) for _ in range(draw(one_of([1, 3])))]
    return {
        "env_id": draw(one_of(["CartPole-v1", "Pendulum-v1"])),
        "algorithms": settings,
        "seeds": list(range(len(settings))) if zipped else draw(one_of([1, 2, [2**64 - 1, 3]])),
        "zipped": zipped,
        "num_envs": draw(one_of([None, 1, 3])),
        "hidden": draw(one_of([(), (4,)])),
        "total_steps": draw(one_of([1, 60])),
        "target_return": draw(one_of([None, 0.0])),
        "progress": False,
        "save": None,
        **draw(one_of([{"horizon": 8}, {"steps_per_iteration": 30}])),
        **draw(one_of([{}, {"callback": lambda runs: [0], "callback_every": 20}])),
        **draw(one_of([{}, {"callbacks_of": lambda k: lambda progress: k == 1}])),
    }


@st.composite
def halving_arguments(draw):
    return {
        "env_id": "CartPole-v1",
        "algorithms": [draw(one_of(SETTINGS[:3])) for _ in range(3)],
        "seeds": draw(one_of([1, [2**64 - 1, 3]])),
        "total_steps": 60,
        "keep": draw(one_of([0.3, 0.5, 0.99])),
        "rungs": draw(one_of([None, 2, [5, 40]])),
        "num_envs": 3,
        "hidden": (4,),
        "progress": False,
        "save": None,
    }


@st.composite
def population_arguments(draw):
    spaces = one_of([("uniform", 0.5, 1.0), [0.5, 1.0], lambda rng: rng.random()])
    return {
        "env_id": "CartPole-v1",
        "algorithm": draw(one_of([fastpg.PPO, fastpg.PPO(epochs=1, minibatches=2, value_hidden=())])),
        "size": draw(one_of([2, 5])),
        "explore": {"gamma": draw(spaces)},
        "explore_every": draw(one_of([1, 20])),
        "quantile": draw(one_of([0.1, 0.5])),
        "resample": draw(one_of([0, 0.5, 1])),
        "seed": draw(one_of([0, 2**64 - 1])),
        "total_steps": 60,
        "num_envs": 3,
        "horizon": 5,
        "hidden": (),
        "progress": False,
        "save": None,
    }


def check_population(given, population):
    check_many(given, population.runs)
    assert len(population.history["copied"]) % given["size"] == 0


def check_many(given, runs):
    assert all(np.isfinite(run.policy.theta).all() for run in runs)
    assert all(run.num_steps == run.history["num_steps"].sum() for run in runs)
    assert len(str(runs).splitlines()) >= 2


@st.composite
def grids(draw):
    return {
        "algorithm": draw(one_of([fastpg.PPO, fastpg.PPO(gamma=0.5)])),
        "gamma": [0.5, 1.0],
        "horizon": [1, 2],
    }


@st.composite
def samples(draw):
    drawn_from = one_of([("uniform", 0, 1), ("log_uniform", 1e-3, 1), [0.5, 1], lambda rng: rng.random()])
    return {
        "algorithm": fastpg.PPO,
        "n": draw(one_of([1, 5])),
        "seed": draw(st.integers(0, 9)),
        "gamma": draw(drawn_from),
    }


@functools.cache
def some():
    return fastpg.train_many("CartPole-v1", SETTINGS[:2], seeds=2, num_envs=2, hidden=(), total_steps=60)


def of_runs(method, **arguments):
    return Call(
        getattr(fastpg.Runs, method),
        st.builds(lambda **given: {"self": some(), **given}, **arguments),
        (f"Runs.{method}()",),
        fixed=frozenset(["self"]),
        odd={"folder": ODD_FOLDERS},
    )


CALLS = {
    "train_many": Call(
        fastpg.train_many,
        many_arguments(),
        ("train_many()", "Policy()"),
        check_many,
        words=WORDS,
        odd={"env_id": ODD_ENVS, "algorithms": ODD_SETTINGS, "save": ODD_FOLDERS},
    ),
    "halving": Call(
        fastpg.halving,
        halving_arguments(),
        ("halving()", "Policy()"),
        check_many,
        words=WORDS,
        odd={"env_id": ODD_ENVS, "algorithms": ODD_SETTINGS, "save": ODD_FOLDERS},
    ),
    "train_population": Call(
        fastpg.train_population,
        population_arguments(),
        ("train_population()", "Policy()", "PPO()"),
        check_population,
        words=WORDS,
        odd={"env_id": ODD_ENVS, "algorithm": ODD_SETTINGS, "save": ODD_FOLDERS},
    ),
    "grid": Call(
        fastpg.grid,
        grids(),
        ("grid()", "PPO()"),
        odd={"gamma": ODD_VALUES, "algorithm": ODD_SETTINGS},
        words=WORDS,
    ),
    "sample": Call(
        fastpg.sample,
        samples(),
        ("sample()", "PPO()"),
        odd={"gamma": ODD_VALUES, "algorithm": ODD_SETTINGS},
        words=WORDS,
    ),
    "Runs.table": of_runs("table", every_setting=st.booleans()),
    "Runs.summary": of_runs("summary"),
    "Runs.curves": of_runs("curves", points=one_of([1, 7])),
    "Runs.save": of_runs("save", folder=st.builds(lambda: tempfile.mkdtemp(prefix="fastpg-fuzz-"))),
}
