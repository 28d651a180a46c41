"""Calls that play episodes and learn: estimates, evaluation, training, diagnostics; and the system's settings."""

import copy
import dataclasses
import functools
import pickle
import tempfile
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

import fastpg
from fastpg import callbacks, diagnostics, exact

from .calls_envs import MDP, ODD_ENVS, PLAIN, no_arguments
from .calls_policies import ODD_HIDDEN
from .judge import Call, same
from .values import ASAN, NAN, one_of

ENVS = [
    "CartPole-v1",
    "Pendulum-v1",
    "Blackjack-v1",
    "Taxi-v4",
    MDP,
    PLAIN,
    "gym:CartPole-v1",
    "gym:Pendulum-v1",
]
WORDS = {
    "policy": ("theta", "output", "normalize_observations"),
    "value": ("theta of the value function", "form"),
    "baseline": ("value", "form", "theta of the value function"),
    "form": ("value", "baseline"),
    "env_id": ("Gymnasium", "policy maps", "value reads", "normalize_observations"),
    "episodes": ("horizon",),
    "horizon": ("episodes",),
    "algorithm": ("value",),
    "entropy_coef": ("gradient",),
    "vectorization_mode": ("native",),
    "reset_options": ("native", "options"),
}
ODD_BASELINE = one_of(
    [lambda obs: None, lambda obs: 0.0, lambda obs: np.full(len(obs), NAN), lambda obs: np.zeros((len(obs), 2)),
     lambda obs: np.zeros(len(obs), complex), lambda obs: ["a"] * len(obs), lambda obs: np.full(len(obs), 1e39),
     lambda: 0.0, lambda obs: np.zeros(len(obs), "M8[s]"), np.zeros(500), np.zeros(16), np.zeros((4, 4)), np.array(1.0),
     np.full(500, NAN), np.zeros(500, complex), np.zeros(500, object), np.zeros(500, "m8[s]"), "mean", 0.5]
)  # fmt: skip


@functools.cache
def networks(index):
    """Return a policy and a value function for an environment."""
    env = ENVS[index]
    return fastpg.Policy.for_env(env, hidden=(4,)), fastpg.ValueFunction.for_env(env, hidden=())


@st.composite
def players(draw, which=(0, 1, 2, 3, 4, 5, 6, 7)):
    """Draw an environment with a policy for it, and a value function that may be left out."""
    index = draw(one_of(which))
    policy, value = networks(index)
    return {"env_id": ENVS[index], "policy": policy.copy()}, value.copy()


@st.composite
def estimate_arguments(draw):
    given, value = draw(players())
    form = draw(one_of(["total", "reward_to_go", "q", "td", "gae"]))
    given["form"] = form
    if form in ("q", "td", "gae"):
        given |= {"value": value, "lam": draw(one_of([0.0, 0.9, 1.0])), "n_step": draw(one_of([1, 3]))}
    else:
        choices = [None, "batch_mean", "timestep_mean", value]
        if given["env_id"] != "Blackjack-v1":  # whose observations are a tuple
            choices.append(lambda obs: np.zeros(len(obs), np.float32))
        given["baseline"] = draw(one_of(choices))
    given |= {"gamma": draw(one_of([0.0, 0.9, 1.0])), "discount_states": draw(st.booleans())}
    count = draw(one_of([1, 3]))
    given |= {"num_envs": count} | draw(one_of([{"episodes": count}, {"horizon": 7}]))
    if "episodes" in given and given["env_id"] == "Taxi-v4":
        given["env_id"], given["policy"] = MDP, networks(4)[0].copy()
        given = {key: one for key, one in given.items() if key not in ("value", "baseline")} | {
            "form": "total"
        }
    return given | {
        "normalize": draw(one_of(["trajectory", "timestep"])),
        "entropy_coef": draw(one_of([0.0, 0.01])),
        "seed": draw(st.integers(0, 2**64 - 1)),
    }


def check_estimate(given, estimate):
    assert np.isfinite(estimate.gradient).all(), "a gradient that is not finite"
    assert estimate.gradient.shape == given["policy"].theta.shape
    assert estimate.num_steps > 0 and estimate.num_trajectories > 0
    if isinstance(given.get("episodes"), int):
        assert estimate.num_episodes == given["episodes"]


@st.composite
def evaluate_arguments(draw):
    given, _ = draw(players())
    given |= {
        "episodes": draw(one_of([1, 5])),
        "deterministic": draw(st.booleans()),
        "seed": draw(st.integers(0, 9)),
    }
    return given | {"max_steps": draw(one_of([1, 30]))}


def render_arguments():
    """Draw arguments of `render`, of few steps: pictures take time. A FiniteMDP has none."""
    given = evaluate_arguments().filter(lambda given: isinstance(given["env_id"], str))
    return given.map(
        lambda given: given | {"max_steps": 2, "out": f"{TEMPORARY.name}/a.gif", "fps": 20.0, "episodes": 1}
    )


def check_evaluate(given, result):
    returns, lengths = result
    assert returns.shape == lengths.shape == (given["episodes"],)
    assert np.isfinite(returns).all() and lengths.min() >= 1
    if given["max_steps"] is not None:
        assert lengths.max() <= given["max_steps"]


ALGORITHMS = [
    fastpg.Reinforce(), fastpg.Reinforce(form="total", baseline="batch_mean", optimizer="sgd", momentum=0.5), fastpg.VPG(),
    fastpg.VPG(form="q", normalize_observations=True, value_minibatches=3), fastpg.A2C(linear_schedule=True),
    fastpg.VPG(form="reward_to_go", value_hidden=(), value_epochs=0), fastpg.PPO(epochs=2, minibatches=3),
    fastpg.PPO(normalize_observations=True, normalize_rewards=True, minibatches=1000, linear_clip_range=True, target_kl=0.01),
]  # fmt: skip


def communicator(rank, size):
    return types.SimpleNamespace(rank=rank, size=size, allgather=None, close=None)


ODD_COMMUNICATORS = one_of(
    [2, "torch", object(), fastpg.distributed, fastpg.distributed.torch, fastpg.distributed.Communicator]
    + [communicator(*one) for one in ((2, 2), (-1, 2), (0, 0), ("a", 2), (0, None), (0, 2.5), (0, 10**30))]
)


@st.composite
def train_arguments(draw):
    given, value = draw(players())
    algorithm = draw(one_of(ALGORITHMS))
    if given["policy"].observations.categories and getattr(algorithm, "normalize_observations", False):
        algorithm = dataclasses.replace(algorithm, normalize_observations=False)  # categories are not
    given |= {"algorithm": algorithm, "num_envs": draw(one_of([1, 3])), "total_steps": draw(one_of([1, 40]))}
    given |= draw(one_of([{"horizon": 1}, {"horizon": 5}, {"episodes": 2}, {"steps_per_iteration": 30}]))
    if "horizon" not in given and given["env_id"] == "Taxi-v4":
        given["horizon"] = given.pop("episodes", None) or given.pop("steps_per_iteration")
    if not isinstance(algorithm, fastpg.Reinforce) and draw(st.booleans()):
        given["value"] = value
    given["policy"] = draw(one_of([None, given["policy"]]))
    given |= {
        "hidden": (4,),
        "activation": "relu",
        "seed": draw(st.integers(0, 2**64 - 1)),
        "progress": False,
    }
    given |= {
        "target_return": draw(one_of([None, 0.0, 1e9])),
        "callback": draw(one_of([None, lambda state: True])),
    }
    given |= {"run": None, "checkpoint_every": "60s", "keep_checkpoints": 3, "communicator": None}
    return given | {"env_params": draw(one_of([None, {}])), "checkpoint": None}


RUNS = tempfile.TemporaryDirectory(prefix="fastpg-fuzz-")  # until the process ends


@st.composite
def resume_arguments(draw):
    folder = tempfile.mkdtemp(dir=RUNS.name)
    fastpg.train(
        "CartPole-v1", run=folder, hidden=(), num_envs=2, horizon=8, total_steps=draw(one_of([1, 40]))
    )
    return {
        "run": folder,
        "env": draw(one_of([None, "CartPole-v1"])),
        "total_steps": draw(one_of([None, 1, 80])),
        "stretch_schedule": draw(st.booleans()),
        "target_return": draw(one_of([None, 0.0, 1e9])),
        "checkpoint_every": draw(one_of([None, 16, "1h"])),
        "keep_checkpoints": draw(one_of([None, 1])),
        "callback": draw(one_of([None, lambda state: True])),
        "callback_every": draw(one_of(["slice", "iteration"])),
        "progress": False,
    }


def check_train(given, run):
    assert np.isfinite(run.policy.theta).all()
    assert run.num_steps == run.history["num_steps"].sum()


ODD_CALLBACKS = one_of(
    [lambda state: "yes", lambda state: 1 / 0, 3, "x", [], [lambda state: None, lambda state: True], [3],
     callbacks.Evaluate, callbacks.Callback(), lambda: None, {}, (callbacks.EarlyStopping(1), print)]
)  # fmt: skip
ODD_FOLDERS = one_of(
    ["", "/", "\0", "x" * 5000, b"x", Path("/proc"), 3, None, ["a"], "/dev/null", "/dev/null/x"]
)
ODD_TIMES = one_of(["", "60", "1 day", "-1s", 0, -1, 2.5, True, b"1s", ["1s"]])
ODD_PATHS = one_of(
    ["", "/", "/nowhere/x", "\0", "x" * 5000, b"x", Path("/proc/x"), 3, None, ["a"], "/dev/null/x"]
)

algorithm_fields = {
    "Reinforce": {
        "form": one_of(["total", "reward_to_go"]), "baseline": one_of([None, "batch_mean"]), "gamma": st.just(0.9),
        "learning_rate": st.just(0.1), "optimizer": one_of(["adam", "sgd"]), "momentum": st.just(0.5),
        "beta1": st.just(0.9), "beta2": st.just(0.9), "epsilon": st.just(1e-8), "entropy_coef": st.just(0.0),
        "normalize": one_of(["timestep", "trajectory"]),
    },
    "VPG": {
        "form": one_of(["gae", "td", "q", "reward_to_go"]), "gamma": st.just(0.9), "lam": st.just(0.9), "n_step": st.just(3),
        "learning_rate": st.just(0.1), "value_learning_rate": st.just(0.1), "value_epochs": st.just(2),
        "value_minibatches": st.just(2), "value_hidden": one_of([(), (3,)]), "standardize_advantages": st.booleans(),
        "normalize_observations": st.booleans(), "entropy_coef": st.just(0.0), "max_grad_norm": one_of([None, 0.5]),
        "linear_schedule": st.booleans(), "beta1": st.just(0.9), "beta2": st.just(0.9), "epsilon": st.just(1e-8),
    },
    "PPO": {
        "gamma": st.just(0.9), "lam": st.just(0.9), "learning_rate": st.just(0.1), "value_learning_rate": one_of([None, 0.1]),
        "epochs": one_of([1, 3]), "minibatches": one_of([1, 3, 100]), "clip_range": one_of([1e-9, 0.2, 1e9]),
        "linear_clip_range": st.booleans(), "entropy_coef": one_of([0.0, 0.1]),
        "standardize_advantages": one_of(["minibatch", "batch", "none"]), "recompute_advantages": st.booleans(),
        "target_kl": one_of([None, 1e-300, 0.01]), "desired_kl": one_of([None, 1e-300, 0.01]),
        "value_loss": one_of(["squared", "huber"]), "huber_delta": one_of([1e-9, 1.0]), "value_clip_range": one_of([None, 1e-9, 0.2]),
        "value_hidden": one_of([(), (3,)]), "initial_log_std": one_of([-0.5, 0.0, -87]),
        "max_grad_norm": one_of([None, 1e-9, 0.5]), "joint_grad_norm": st.booleans(),
        "linear_schedule": st.booleans(), "normalize_observations": st.booleans(), "normalize_rewards": st.booleans(),
        "beta1": st.just(0.9), "beta2": st.just(0.9), "epsilon": st.just(1e-8),
    },
    "NPG": {
        "gamma": st.just(0.9), "lam": st.just(0.9), "max_kl": one_of([1e-300, 0.01, 1.0]), "damping": one_of([0.0, 0.1, 1e300]),
        "cg_iterations": one_of([1, 10]), "cg_tolerance": one_of([0.0, 0.5]), "fisher_every": one_of([1, 5, 2**40]),
        "standardize_advantages": st.booleans(), "value_learning_rate": st.just(0.1), "value_epochs": one_of([0, 2]),
        "value_minibatches": one_of([1, 100]), "value_hidden": one_of([(), (3,)]), "linear_schedule": st.booleans(),
        "normalize_observations": st.booleans(), "normalize_rewards": st.booleans(),
        "beta1": st.just(0.9), "beta2": st.just(0.9), "epsilon": st.just(1e-8),
    },
}  # fmt: skip
algorithm_fields["TRPO"] = algorithm_fields["NPG"] | {
    "backtracks": one_of([0, 3]), "backtrack_factor": one_of([1e-300, 0.5]), "accept_ratio": one_of([0.0, 0.5, 1.0]),
}  # fmt: skip


def callback(kind, fields, odd, raises=()):
    """Return the call that makes a callback, and trains with it."""

    def make_and_use(**given):
        made = kind(**given)
        with tempfile.TemporaryDirectory(dir=RUNS.name) as folder:
            fastpg.train(
                "CartPole-v1", callback=made, num_envs=1, horizon=8, total_steps=64, hidden=(), run=folder
            )
        return made

    where = (f"{kind.__name__}()", "train()", "evaluate()")
    words = {"env_params": ("unexpected argument",)}
    return Call(
        make_and_use, st.fixed_dictionaries(fields), where, words=words, odd=odd, raises=raises, share=0.5
    )


def algorithm(kind, fields):
    def make_and_use(**given):
        made = kind(**given)
        hash(made)
        fastpg.train("CartPole-v1", made, num_envs=1, horizon=8, total_steps=16, hidden=())
        return made

    return Call(
        make_and_use,
        st.fixed_dictionaries(fields),
        (f"{kind.__name__}()", "train()"),
        odd={"value_hidden": ODD_HIDDEN},
        words={"value_hidden": ("hidden",), "learning_rate": ("theta", "gradient")},
    )


@st.composite
def compare_arguments(draw):
    given, value = draw(players((4, 5, 0)))
    given |= {
        "value": draw(one_of([None, value])),
        "episodes": draw(one_of([1, 3])),
        "batches": draw(one_of([2, 3])),
    }
    forms = ["total", "reward_to_go"] + (["q", "gae"] if given["value"] is not None else [])
    given["forms"] = draw(one_of([None, tuple(forms)]))
    return given | {
        "gamma": draw(one_of([0.5, 1.0])),
        "lam": 0.9,
        "n_step": 2,
        "seed": draw(st.integers(0, 9)),
    }


def check_compared(given, compared):
    assert str(compared) and repr(compared)
    for record in compared.records:
        assert compared[record.name] is record


@functools.cache
def comparison():
    policy, value = networks(4)
    return diagnostics.compare_forms(MDP, policy, batches=2, episodes=1, value=value)


@st.composite
def exact_arguments(draw):
    given, _ = draw(players((2, 4)))
    given |= {"gamma": draw(one_of([0.0, 0.9, 1.0])), "horizon": draw(one_of([None, 1, 5]))}
    given |= {"discount_states": draw(st.booleans()), "max_episode_steps": draw(one_of([None, 4, 0]))}
    if given["env_id"] is MDP and (given["horizon"] or given["max_episode_steps"] is None):
        given["final_values"] = draw(one_of([None, np.array([1.0, 2.0, 3.0])]))
    return given


def check_exact(given, found):
    for part in (found.gradient, found.objective, found.visits, found.action_values, found.values):
        assert np.isfinite(part).all()
    assert found.visits.min() >= 0


def threads(num_threads):
    before = fastpg.get_num_threads()
    try:
        fastpg.set_num_threads(num_threads)
        assert fastpg.get_num_threads() == num_threads, f"{fastpg.get_num_threads()} threads"
    finally:
        fastpg.set_num_threads(before)


@functools.cache
def things():
    """Return one of everything that holds results, which may be copied and sent to other processes."""
    policy, value = networks(0)
    run = fastpg.train("CartPole-v1", fastpg.VPG(), policy=policy, value=value, total_steps=50, horizon=8)
    rollout = fastpg.collect("CartPole-v1", policy, 5, num_envs=2, value=value)
    estimate = fastpg.estimate_gradient("CartPole-v1", policy, episodes=2)
    return [
        policy,
        value,
        run,
        rollout,
        estimate,
        comparison(),
        MDP,
        fastpg.A2C(),
        fastpg.PPO(),
        exact.policy_gradient(MDP, networks(4)[0]),
    ]


def copied(thing, how):
    if how == "pickle":
        return pickle.loads(pickle.dumps(thing))
    return copy.deepcopy(thing) if how == "deepcopy" else copy.copy(thing)


def check_copied(given, result):
    assert same(result, given["thing"]), "a copy that differs"
    if given["how"] == "copy" and isinstance(result, fastpg.Policy | fastpg.ValueFunction):
        assert not np.shares_memory(result.theta, given["thing"].theta), "a copy that shares its parameters"


TEMPORARY = tempfile.TemporaryDirectory(prefix="fastpg-fuzz-")
CALLS = {
    "estimate_gradient": Call(
        fastpg.estimate_gradient,
        estimate_arguments(),
        ("estimate_gradient()",),
        check_estimate,
        words=WORDS,
        odd={"env_id": ODD_ENVS, "baseline": ODD_BASELINE},
        repeatable=True,
        share=2.0,
    ),
    "evaluate": Call(
        fastpg.evaluate,
        evaluate_arguments(),
        ("evaluate()",),
        check_evaluate,
        words=WORDS,
        odd={"env_id": ODD_ENVS},
        repeatable=True,
    ),
    "render": Call(
        fastpg.render,
        render_arguments(),
        ("render()",),
        check_evaluate,
        words=WORDS | {"env_id": ("no renderer", *WORDS.get("env_id", ()))},
        odd={"env_id": ODD_ENVS, "out": ODD_PATHS},
        fixed=frozenset(["max_steps", "episodes"]),
        raises=(ImportError,),
        share=0.1,
    ),
    "train": Call(
        fastpg.train,
        train_arguments(),
        ("train()",),
        check_train,
        words=WORDS | {"env_params": ("argument", "parameters", "sutton_barto_reward", "g must")},
        odd={
            "env_id": ODD_ENVS,
            "hidden": ODD_HIDDEN,
            "callback": ODD_CALLBACKS,
            "checkpoint": ODD_PATHS,
            "run": ODD_FOLDERS,
            "checkpoint_every": ODD_TIMES,
            "communicator": ODD_COMMUNICATORS,
            "env_params": one_of([{"x": 1}, {1: 2}, [], "x", {"sutton_barto_reward": 3}, {"g": NAN}, {None: 1, "a": 2}, 5]),
        },
        only=frozenset(["callback", "run", "checkpoint_every", "communicator"]),
        raises=(ZeroDivisionError,),  # a callback's own
    ),
    "resume": Call(
        fastpg.resume,
        resume_arguments(),
        ("resume()",),
        check_train,
        words=WORDS | {"env": ("environment", "env_id"), "run": ("cannot be written", "folder of a run")},
        odd={"env": ODD_ENVS, "run": ODD_FOLDERS, "callback": ODD_CALLBACKS, "checkpoint_every": ODD_TIMES},
        only=frozenset(["callback", "run", "checkpoint_every"]),
        raises=(ZeroDivisionError,),
        share=0.5,
    ),
    "callbacks.Evaluate": callback(
        callbacks.Evaluate,
        {
            "every": one_of([1, 16, 10**6]),
            "episodes": one_of([1, 3]),
            "deterministic": st.booleans(),
            "seed": st.integers(0, 2**64 - 1),
            "max_steps": one_of([None, 10]),
            "env": one_of([None, "CartPole-v1"]),
            "env_params": st.none(),
        },
        {"env": ODD_ENVS},
    ),
    "callbacks.EarlyStopping": callback(
        callbacks.EarlyStopping,
        {
            "patience": one_of([1, 100]),
            "min_delta": one_of([0.0, 5]),
            "monitor": one_of([None, "train/entropy"]),
            "mode": one_of(["max", "min"]),
        },
        {"monitor": one_of(["", "nothing", 3, b"x", ["train/entropy"]])},
        raises=(RuntimeWarning,),  # there is no such metric
    ),
    "Reinforce": algorithm(fastpg.Reinforce, algorithm_fields["Reinforce"]),
    "VPG": algorithm(fastpg.VPG, algorithm_fields["VPG"]),
    "A2C": algorithm(fastpg.A2C, algorithm_fields["VPG"]),
    "PPO": algorithm(fastpg.PPO, algorithm_fields["PPO"]),
    "NPG": algorithm(fastpg.NPG, algorithm_fields["NPG"]),
    "TRPO": algorithm(fastpg.TRPO, algorithm_fields["TRPO"]),
    "diagnostics.compare_forms": Call(
        diagnostics.compare_forms,
        compare_arguments(),
        ("compare_forms()",),
        check_compared,
        words=WORDS,
        odd={
            "env_id": ODD_ENVS,
            "forms": one_of([["total", "x"], "total", [], (1,), [None], [["total"]], {"total"}, np.array(["total"]), b"ab", ("q",)]),
        },
    ),
    "diagnostics.fit_value": Call(
        diagnostics.fit_value,
        players((0, 4, 5)).flatmap(
            lambda drawn: st.fixed_dictionaries(
                {**{name: st.just(one) for name, one in drawn[0].items()}, "gamma": one_of([0.5, 1.0]),
                 "hidden": one_of([(), (3,)]), "total_steps": one_of([1, 50]), "seed": st.integers(0, 9)}
            )
        ),
        ("fit_value()",),
        words=WORDS,
        odd={"env_id": ODD_ENVS, "hidden": ODD_HIDDEN},
        share=0.5,
    ),
    "diagnostics.FormComparison.__getitem__": Call(
        lambda self, name: self[name],
        st.fixed_dictionaries({"self": st.builds(comparison), "name": one_of(diagnostics.FORMS)}),
        (),
        fixed=frozenset(["self"]),
        odd={"name": one_of(["", "x", "total ", "TOTAL"])},
        only=frozenset(["name"]),
        raises=(KeyError,),
        share=0.5,
    ),
    "diagnostics.FormComparison.plot": Call(
        diagnostics.FormComparison.plot,
        st.fixed_dictionaries({"self": st.builds(comparison), "path": st.just(f"{TEMPORARY.name}/plot.svg")}),
        ("FormComparison.plot()",),
        odd={"path": ODD_PATHS},
        fixed=frozenset(["self"]),
        share=0.1,
    ),
    "exact.policy_gradient": Call(
        exact.policy_gradient,
        exact_arguments(),
        ("exact.policy_gradient()",),
        check_exact,
        words=WORDS | {"max_episode_steps": ("time limit",), "horizon": ("time limit", "horizon")},
        odd={"env_id": ODD_ENVS},
        repeatable=True,
        share=0.4,
    ),
    "set_num_threads": Call(
        threads, st.fixed_dictionaries({"num_threads": one_of([1, 2, 3])}), ("set_num_threads()",), share=0.5
    ),
    "copies": Call(
        copied,
        st.builds(things).flatmap(
            lambda all_of_them: st.fixed_dictionaries(
                {"thing": one_of(all_of_them), "how": one_of(["pickle", "deepcopy", "copy"])}
            )
        ),
        (),
        check_copied,
        fixed=frozenset(["thing", "how"]),
    ),
    "get_num_threads": no_arguments(fastpg.get_num_threads),
    "build_info": no_arguments(fastpg.build_info),
}  # fmt: skip
if not ASAN and find_spec("tensorboardX"):  # which imports torch
    CALLS["callbacks.TensorBoard"] = callback(
        callbacks.TensorBoard,
        {"folder": one_of([None, f"{RUNS.name}/board"]), "every": one_of([None, 1, 16])},
        {"folder": one_of(["", "\0", "x" * 5000, b"x", Path("/proc"), 3, ["a"], "/dev/null", "/dev/null/x"])},
    )
