"""Calls that make environments and use them: make, reset, step, collect, FiniteMDP, jit_env, load_env."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

import fastpg
from fastpg import exact
from tests import ROOT

from .judge import Call
from .values import ASAN, NAN, numbers, one_of

CLOSED = (fastpg.ResetNeeded, gymnasium.error.ClosedEnvironmentError)


def chain(states=3):
    """Return a Markov decision process: to the right, or stay; the last state ends the episode."""
    transition, reward = np.zeros((states, 2, states)), np.zeros((states, 2, states))
    for s in range(states):
        transition[s, 0, s], transition[s, 1, min(s + 1, states - 1)] = 0.25, 1.0
        transition[s, 0, -1] += 0.75
        reward[s] = s
    return {
        "transition": transition,
        "reward": reward,
        "terminal": np.arange(states) == states - 1,
        "start": np.eye(states)[0],
        "max_episode_steps": 20,
        "name": "chain",
    }


class Walk:
    """Functions of a jit_env."""

    def reset(state, noise):
        state[0] = noise[0] - 0.5

    def step(state, action, noise, params):
        state[0] += params.push if action == 1 else -params.push
        return -abs(state[0]), abs(state[0]) > 2.0

    def observe(state, obs):
        obs[0] = state[0]


JIT = {
    "observation_space": spaces.Box(-np.inf, np.inf, (1,)),
    "action_space": spaces.Discrete(2),
    "state_size": 1,
    "noise_size": 1,
    "noise": "uniform",
    "max_episode_steps": 20,
    "params": {"push": (0.1, 0.2)},
    "name": "Walk",
    "jit": False,
    "cache": False,
}
MDP = exact.FiniteMDP(**chain())
PLAIN = fastpg.jit_env(**JIT)(Walk)
# What `make` takes, with the parameters of some.
ENVS = [
    ("CartPole-v1", {"sutton_barto_reward": True}), ("Pendulum-v1", {"g": 9.0}), ("MountainCarContinuous-v0", {}),
    ("Acrobot-v1", {"book_or_nips": "nips", "torque_noise_max": 0.5}), ("Blackjack-v1", {"natural": True}),
    ("FrozenLake-v1", {"success_rate": 0.5, "desc": ["SF", "FG"], "reward_schedule": (1, -1, 0)}), (MDP, {}),
    (PLAIN, {"push": (0.1, 0.3)}),
]  # fmt: skip
ODD_ENVS = one_of(
    ["cartpole-v1", "CartPole-v9", "CartPole", "gym:", "gym:Nope-v0", "nosuch_module:X-v0", "a:b:c", "../x", "\0", "x" * 5000,
     "fastpg/CartPole-v1", "ALE/Pong-v5", gymnasium.Env(), lambda: None, lambda: gymnasium.Env(), gymnasium.Env, Walk]
)  # fmt: skip


@st.composite
def envs(draw, with_params=True):
    """Draw a name of an environment and parameters for it."""
    env_id, params = draw(one_of(ENVS))
    return {"env_id": env_id} | (params if with_params and draw(st.booleans()) else {})


@st.composite
def vector_envs(draw, reset=True):
    """Draw a vector environment."""
    made = fastpg.make(
        **draw(envs()),
        num_envs=draw(one_of([1, 3, 17])),
        autoreset=draw(one_of(["next_step", "same_step", "disabled"])),
        copy=draw(st.booleans()),
        max_episode_steps=draw(one_of([None, 3])),
    )
    if reset:
        made.reset(seed=draw(st.integers(0, 9)))
    return made


@st.composite
def make_arguments(draw):
    given = draw(envs()) | {"num_envs": draw(one_of([1, 5]))}
    given["autoreset"] = draw(one_of(["next_step", "same_step", gymnasium.vector.AutoresetMode.DISABLED]))
    return given | {"copy": draw(st.booleans()), "seed": draw(one_of([None, 3])), "max_episode_steps": 7}


def check_make(given, env):
    env.reset(seed=0)
    _, rewards, *_ = env.step(env.action_space.sample())
    assert len(rewards) == env.num_envs


def sample(env, seed):
    env.action_space.seed(seed)
    return env.action_space.sample()


@st.composite
def step_arguments(draw):
    env = draw(vector_envs())
    return {"self": env, "actions": sample(env, draw(st.integers(0, 99)))}


def check_step(given, result):
    obs, rewards, terminated, truncated, infos = result
    env = given["self"]
    assert rewards.dtype == np.float64 and rewards.shape == (env.num_envs,)
    assert terminated.dtype == truncated.dtype == bool and isinstance(infos, dict)
    assert np.isfinite(rewards).all()
    assert env.observation_space.contains(obs) or isinstance(env.observation_space, spaces.Tuple)


@st.composite
def reset_arguments(draw):
    env = draw(vector_envs())
    seed = draw(one_of([None, 3, [1] * env.num_envs, [None] * env.num_envs, np.arange(env.num_envs)]))
    mask = np.arange(env.num_envs) % 2 == 0
    option = draw(one_of([None, {"reset_mask": mask}, {}]))
    return {"self": env, "seed": seed, "options": option}


ODD_OPTIONS = one_of(
    [{"reset_mask": [True]}, {"reset_mask": np.zeros(1, bool)}, {"reset_mask": np.ones(3, int)}, {"low": 1.0, "high": -1.0},
     {"low": NAN}, {"low": 10**400}, {"low": "a", "high": 2}, {"x": 1}, {1: 2}, {None: 1, "a": 2}, 5, "low", [("low", 0.0)],
     {"reset_mask": None}, {"low": -np.inf}, {"high": np.array(3)}, {"low": 1e300, "high": 1e301}, ["low"], True]
)  # fmt: skip
ODD_SEEDS = one_of(
    [-1, 2**64, 2**64 - 1, [0], [None], ["a"], [-1] * 3, np.zeros((3, 1), int), np.array(3), np.zeros(3), "abc", b"abc",
     (1, 2, 3), range(3), [2**64] * 3, [True] * 3, np.array([1, 2, None]), {1, 2, 3}, np.random.default_rng(0),
     np.zeros(3, "M8[s]"), [np.uint64(2**64 - 1)] * 3]
)  # fmt: skip


@st.composite
def state_arguments(draw):
    env = draw(vector_envs())
    state, elapsed = env.get_state()
    return {"self": env, "state": state, "elapsed": draw(one_of([None, elapsed]))}


ODD_ELAPSED = one_of(
    [np.full(n, value, np.int32) for n in (1, 3, 17) for value in (-1, 2**31 - 1, 3, 2, -(2**31))]
)


def set_and_step(self, state, elapsed):
    """set_state, and the step after it, which meets what was put in."""
    obs = self.set_state(state, elapsed)
    assert isinstance(obs, np.ndarray | tuple)
    for _ in range(2):
        with np.errstate(all="ignore"):
            _, _, terminated, truncated, _ = self.step(sample(self, 0))
        if self.metadata["autoreset_mode"].name == "DISABLED" and (terminated | truncated).any():
            self.reset(options={"reset_mask": terminated | truncated})
    return self.get_state()


def check_state(given, result):
    _, elapsed = result
    assert elapsed.min() >= 0, f"elapsed is {elapsed.min()}"


@st.composite
def collect_arguments(draw):
    given = draw(envs())
    env_id = given.pop("env_id")
    made = fastpg.make(env_id, draw(one_of([1, 4])), **given)
    observations = made.single_observation_space
    policy = fastpg.Policy(observations, made.single_action_space, hidden=(3,))
    value = fastpg.ValueFunction(observations, hidden=draw(one_of([(), (4,)])))
    horizon = draw(one_of([1, 5, 24]))
    if draw(st.booleans()):
        given = {"env": made}
    else:
        given |= {"env": env_id, "num_envs": draw(one_of([1, 4]))}
    given |= {"policy": policy, "horizon": horizon, "seed": draw(one_of([None, 3]))}
    given["value"] = draw(one_of([None, value]))
    if draw(st.booleans()):
        given["out"] = fastpg.collect(**given)
    return given


def check_collect(given, rollout):
    assert np.isfinite(rollout.log_probs).all(), "log_probs that are not finite"
    assert np.isfinite(rollout.rewards).all()
    assert rollout.num_episodes == len(rollout.episode_returns) == len(rollout.final_obs if not isinstance(
        rollout.final_obs, tuple) else rollout.final_obs[0])  # fmt: skip
    policy = given["policy"]
    if isinstance(policy, fastpg.Policy) and np.abs(policy.theta).max() < 20:
        again = policy.log_prob(rollout.obs, rollout.actions)
        assert np.allclose(again, rollout.log_probs, rtol=1e-3, atol=1e-3), "log_probs of other actions"


@st.composite
def scatter_arguments(draw):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    rollout = fastpg.collect("CartPole-v1", policy, draw(one_of([1, 40])), num_envs=2)
    return {"self": rollout, "values": numbers(rollout.num_episodes, np.float32, 0)}


@st.composite
def batch_gae_arguments(draw):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    value = draw(one_of([None, fastpg.ValueFunction.for_env("CartPole-v1", hidden=())]))
    batch = fastpg.collect("CartPole-v1", policy, draw(one_of([1, 40])), value=value, num_envs=2)
    return {"self": batch, "gamma": 0.9, "lam": 0.5}


ODD_CLASSES = {
    "step of two": "def step(state, action):\n  return 0.0, False",
    "step of one": "def step(state, action, noise, params):\n  return 0.0",
    "step of None": "def step(state, action, noise, params):\n  return None",
    "step of four": "def step(state, action, noise, params):\n  return 0.0, False, False, {}",
    "step of strings": "def step(state, action, noise, params):\n  return 'a', 'b'",
    "step of NaN": "def step(state, action, noise, params):\n  return float('nan'), False",
    "step of arrays": "def step(state, action, noise, params):\n  return state, False",
    "step of complex": "def step(state, action, noise, params):\n  return 1j, False",
    "step beyond": "def step(state, action, noise, params):\n  state[7] = 1.0\n  return 0.0, False",
    "step raises": "def step(state, action, noise, params):\n  raise KeyError(3)",
    "step recurses": "def step(state, action, noise, params):\n  return Walk.step(state, action, noise, params)",
    "step divides": "def step(state, action, noise, params):\n  return 1 / 0, False",
    "step is large": "def step(state, action, noise, params):\n  return 10**400, False",
    "step exits": "def step(state, action, noise, params):\n  raise SystemExit(0)",
    "step yields": "def step(state, action, noise, params):\n  yield 1",
    "step is async": "async def step(state, action, noise, params):\n  return 0.0, False",
    "step has defaults": "def step(state, action, noise, params=None):\n  return 0.0, False",
    "step takes any": "def step(*args):\n  return 0.0, False",
    "step is a number": "step = 3",
    "step is a lambda": "step = lambda state, action, noise, params: (0.0, False)",
    "step is a class method": "@classmethod\ndef step(cls, state, action, noise, params):\n  return 0.0, False",
    "step is static": "@staticmethod\ndef step(state, action, noise, params):\n  return 0.0, False",
    "observe says NaN": "def observe(state, obs):\n  obs[0] = float('nan')",
    "observe says strings": "def observe(state, obs):\n  obs[0] = 'a'",
    "observe says much": "def observe(state, obs):\n  obs[0] = 1e39",
    "reset writes NaN": "def reset(state, noise):\n  state[0] = float('nan')",
    "reset writes 10**400": "def reset(state, noise):\n  state[0] = 10**400",
    "reset resizes": "def reset(state, noise):\n  state.resize(5)",
    "no observe": "observe = None",
}


def odd_class(code):
    namespace = {}
    exec(code, namespace)  # what a user's module would hold
    changed = {key: value for key, value in namespace.items() if key != "__builtins__"}
    return type(
        "Walk",
        (),
        {**{name: staticmethod(vars(Walk)[name]) for name in ("reset", "step", "observe")}, **changed},
    )


def jit(cls, **given):
    env = fastpg.jit_env(**given)(cls)
    made = fastpg.make(env, 2)
    made.reset(seed=0)
    made.step(sample(made, 0))
    return env


ODD_PARAMS = one_of(
    [{"push": NAN}, {"push": (0.2, 0.1)}, {"push": (1, 2, 3)}, {"push": 10**400}, {"push": "a"}, {"pull": 1.0}, {}, [0.1], (),
     {"push": True}, {"push": np.float32(1)}, {"push": (0.1, np.inf)}, {"class": 1.0}, {"": 1.0}, {"_x": 1.0}, {1: 2.0},
     {"push": 0.1, **{f"a{k}": 1.0 for k in range(40)}}, "abc", b"abc", np.array([0.1]), np.zeros((2, 2)), {"push": []},
     {"push": np.array([0.1, 0.2])}, {"count": 1.0}, {"push": np.datetime64("NaT")}, {"push": -1e308}]
)  # fmt: skip


TEMPORARY = tempfile.TemporaryDirectory(prefix="fastpg-fuzz-")


@functools.cache
def c_library():
    """Build the example in C; None without a compiler."""
    compiler = shutil.which("cc")
    source = ROOT / "examples/c_env/integrator.c"
    if compiler is None:
        return None
    path = Path(TEMPORARY.name) / "env.so"
    command = [compiler, "-O1", "-fPIC", "-shared", f"-I{fastpg.get_include()}", source, "-o", path, "-lm"]
    subprocess.run(command, check=True)
    return str(path)


def load(path, **given):
    env = fastpg.load_env(path, **given)
    fastpg.make(env, 2).reset(seed=0)
    return env


@st.composite
def load_arguments(draw):
    env = fastpg.load_env(c_library())
    return {
        "path": c_library(),
        "observation_space": draw(one_of([None, env.observation_space])),
        "action_space": draw(one_of([None, env.action_space])),
        "max_episode_steps": draw(one_of([None, 5])),
        "name": draw(one_of([None, "mine"])),
        "symbol": "fastpg_environment",
    }


def no_arguments(function, where=()):
    return Call(function, st.just({}), where, share=0.1)


SELF = frozenset(["self"])
CALLS = {
    "make": Call(
        fastpg.make,
        make_arguments(),
        ("make()",),
        check_make,
        odd={
            "env_id": ODD_ENVS,
            "desc": one_of([[], [""], ["SG", "S"], ["XY"], "SG", b"SG", [b"SG"], ["G"], [["S", "G"]], [[1]], 3, ["SFG" * 50]]),
            "num_envs": one_of([0] if ASAN else [2**31 - 1]),
        },
        words={"env_id": ("Gymnasium",), "push": ("interval", "pair")},
    ),
    "VectorEnv.step": Call(
        fastpg.VectorEnv.step,
        step_arguments(),
        ("VectorEnv.step()",),
        check_step,
        words={"actions": ("action",)},
        fixed=SELF,
        writes=SELF,
    ),
    "VectorEnv.reset": Call(
        fastpg.VectorEnv.reset,
        reset_arguments(),
        ("VectorEnv.reset()",),
        words={"options": ("options", "reset_mask")},
        odd={"options": ODD_OPTIONS, "seed": ODD_SEEDS},
        fixed=SELF,
        writes=SELF,
        raises=(AssertionError,),
    ),
    "VectorEnv.set_state": Call(
        set_and_step,
        state_arguments(),
        ("VectorEnv.set_state()",),
        check_state,
        odd={"elapsed": ODD_ELAPSED},
        fixed=SELF,
        writes=SELF,
        raises=(fastpg.EnvNotFinite,),
    ),
    "VectorEnv.get_state": Call(
        fastpg.VectorEnv.get_state, st.fixed_dictionaries({"self": vector_envs()}), (), fixed=SELF, writes=SELF, share=0.2
    ),
    "VectorEnv.render": Call(
        fastpg.VectorEnv.render,
        st.fixed_dictionaries({"self": vector_envs()}),
        (),
        lambda given, frames: None,
        fixed=SELF,
        writes=SELF,
        share=0.2,
    ),
    "VectorEnv.np_random_seed": Call(
        lambda self: self.np_random_seed, st.fixed_dictionaries({"self": vector_envs()}), (), fixed=SELF, share=0.1
    ),
    "VectorEnv.close_extras": Call(
        lambda self: self.close(), st.fixed_dictionaries({"self": vector_envs(reset=False)}), (), fixed=SELF, share=0.1
    ),
    "collect": Call(
        fastpg.collect,
        collect_arguments(),
        ("collect()",),
        check_collect,
        words={"policy": ("theta", "output"), "value": ("theta of the value function",), "env": ("env_id", "num_envs", "policy", "value reads"),
               "out": ("policy", "horizon"), "horizon": ("out",), "num_envs": ("out",)},
        odd={"horizon": one_of([0] if ASAN else [2**40, 2**31])},
        writes=frozenset(["env", "out"]),
    ),
    "Batch.scatter_final": Call(
        fastpg.Batch.scatter_final, scatter_arguments(), ("Batch.scatter_final()",), fixed=SELF, repeatable=True
    ),
    "Batch.gae": Call(
        fastpg.Batch.gae,
        batch_gae_arguments(),
        ("Batch.gae()", "gae()"),
        raises=(ValueError,),
        fixed=SELF,
        repeatable=True,
        share=0.5,
    ),
    "exact.FiniteMDP": Call(
        exact.FiniteMDP,
        st.builds(chain, st.integers(2, 5)),
        ("FiniteMDP()",),
        lambda given, mdp: fastpg.Policy.for_env(mdp, hidden=()) and mdp.table() and None,
        words={"transition": ("terminal", "reward", "start"), "terminal": ("start",)},
        repeatable=True,
    ),
    "exact.FiniteMDP.table": Call(
        exact.FiniteMDP.table, st.fixed_dictionaries({"self": st.just(MDP)}), (), fixed=SELF, share=0.1
    ),
    "jit_env": Call(
        jit,
        st.fixed_dictionaries({"cls": st.just(Walk), **{name: st.just(value) for name, value in JIT.items()}}),
        ("jit_env()", "make()", "VectorEnv.reset()", "VectorEnv.step()"),
        odd={
            "cls": one_of(list(ODD_CLASSES)).map(lambda name: odd_class(ODD_CLASSES[name])),
            "params": ODD_PARAMS,
            "noise_size": one_of([(1, 1), (1,), (1, 2, 3), (-1, 1), 2**31, 10**400, (1.0, 1.0), "11", 1.0, 0, [1, 1]]),
            "jit": st.just(False),  # what it compiles is another's test
        },
        words={
            "cls": ("Walk", "class", "function"), "params": ("Walk",), "noise_size": ("Walk",), "state_size": ("Walk",),
            "observation_space": ("Walk", "obs"), "action_space": ("Walk",), "name": ("string",),
        },
        raises=(fastpg.EnvError,),
        share=0.5,
    ),
    "JitEnv.with_params": Call(
        fastpg.JitEnv.with_params,
        st.fixed_dictionaries({"self": st.just(PLAIN), "push": one_of([0.1, (0.1, 0.2), [0, 1]])}),
        ("Walk.with_params()",),
        fixed=SELF,
    ),
    "JitEnv.plain": Call(
        fastpg.JitEnv.plain, st.fixed_dictionaries({"self": st.just(PLAIN)}), (), fixed=SELF, share=0.1
    ),
    "get_include": no_arguments(fastpg.get_include),
    "list_envs": no_arguments(fastpg.list_envs),
    "recommended": Call(
        fastpg.recommended,
        st.fixed_dictionaries({"env_id": st.sampled_from(fastpg.list_envs())}),
        ("recommended()",),
        odd={"env_id": ODD_ENVS},
    ),
    "gymnasium's fastpg/CartPole-v1": Call(
        lambda self, action: (self.reset(seed=0), self.step(action)),
        st.fixed_dictionaries(
            {"self": st.builds(gymnasium.make, st.just("fastpg/CartPole-v1"), disable_env_checker=st.just(True)),
             "action": st.integers(0, 1)}
        ),
        ("VectorEnv.step()",),
        fixed=SELF,
        writes=SELF,
        share=0.5,
    ),
}  # fmt: skip
if c_library() is not None:
    CALLS["load_env"] = Call(
        load,
        load_arguments(),
        ("load_env()",),
        odd={
            "path": one_of(
                ["", "/", "/dev/null", __file__, "nowhere.so", "\0", "a" * 5000, Path("/proc/self/mem")]
            )
        },
        words={
            "path": ("file", "path", "library", "cannot be read"),
            "symbol": ("environment",),
            "observation_space": ("space",),
            "action_space": ("space",),
        },
        share=0.5,
    )
    CALLS["LoadedEnv.with_params"] = Call(
        fastpg.LoadedEnv.with_params,
        st.fixed_dictionaries(
            {"self": st.builds(lambda: fastpg.load_env(c_library())), "mass": st.just(1.0)}
        ),
        ("Integrator.with_params()",),
        fixed=SELF,
        share=0.1,
    )
