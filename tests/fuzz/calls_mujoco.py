"""Calls of MuJoCo environments: a small model's, made, reset, stepped, put into states."""

import numpy as np
from hypothesis import strategies as st

import fastpg
from tests.support.mujoco_envs import SWING, Swing

from .calls_envs import ODD_SEEDS, SELF, sample, set_and_step
from .judge import Call
from .values import one_of


def made(model=SWING, **given):
    """Make the model with Swing's formulas."""

    class Made(Swing):
        def __init__(self):
            self.effort = 0.1
            fastpg.MujocoEnv.__init__(self, model, **given)

    return Made()


@st.composite
def envs(draw):
    """Draw an environment that was reset."""
    mode = draw(one_of(["next_step", "same_step"]))
    env = made(
        num_envs=draw(one_of([1, 3])), frame_skip=2, autoreset=mode, max_episode_steps=draw(one_of([0, 3]))
    )
    env.reset(seed=draw(st.integers(0, 9)))
    return env


@st.composite
def step_arguments(draw):
    env = draw(envs())
    return {"self": env, "actions": sample(env, draw(st.integers(0, 99)))}


def step(self, actions):
    """Step: the formula squares actions, of which the engine takes what lies in their range."""
    with np.errstate(over="ignore"):
        return self.step(actions)


@st.composite
def reset_arguments(draw):
    env = draw(envs())
    seed = draw(one_of([None, 3, [1] * env.num_envs, [None] * env.num_envs]))
    return {
        "self": env,
        "seed": seed,
        "options": draw(one_of([None, {"reset_mask": np.ones(env.num_envs, bool)}])),
    }


@st.composite
def state_arguments(draw):
    env = draw(envs())
    state, elapsed = env.get_state()
    return {"self": env, "state": state, "elapsed": draw(one_of([None, elapsed]))}


def check_step(given, result):
    obs, rewards, terminated, truncated, infos = result
    env = given["self"]
    assert obs.dtype == rewards.dtype == np.float64 and terminated.dtype == truncated.dtype == bool
    assert obs.shape == (env.num_envs, 3) and rewards.shape == terminated.shape == truncated.shape == (
        env.num_envs,
    )
    assert np.isfinite(obs).all() and isinstance(infos, dict)


def check_made(given, env):
    assert env.reset(seed=0)[0].shape == (env.num_envs, 3)


WHERE = ("Made()", "MujocoEnv.reset()")
CALLS = {
    "MujocoEnv": Call(
        made,
        st.fixed_dictionaries(
            {
                "model": st.just(SWING), "num_envs": one_of([1, 4]), "frame_skip": one_of([1, 3]),
                "max_episode_steps": one_of([0, 9]), "autoreset": one_of(["next_step", "disabled"]),
                "seed": one_of([None, 1]), "width": st.just(64), "camera_id": one_of([None, 0]),
            }
        ),
        WHERE,
        check_made,
        odd={"num_envs": one_of([0, 2**31]), "model": one_of(["", "<", "<mujoco", "none.xml", b"<mujoco/>", 3, "\0"])},
        only=frozenset(["num_envs"]),
        raises=(FileNotFoundError,),
        share=0.5,
    ),
    "MujocoEnv.step": Call(
        step, step_arguments(), ("MujocoEnv.step()",), check_step, words={"actions": ("action",)},
        fixed=SELF, writes=SELF, share=0.5,
    ),
    "MujocoEnv.reset": Call(
        fastpg.MujocoEnv.reset, reset_arguments(), ("MujocoEnv.reset()",), words={"options": ("options", "reset_mask")},
        odd={"seed": ODD_SEEDS}, fixed=SELF, writes=SELF, raises=(AssertionError,), share=0.5,
    ),
    "MujocoEnv.set_state": Call(
        set_and_step, state_arguments(), ("MujocoEnv.set_state()",), fixed=SELF, writes=SELF, share=0.5
    ),
    "MujocoEnv.get_state": Call(
        fastpg.MujocoEnv.get_state, st.fixed_dictionaries({"self": envs()}), (), fixed=SELF, writes=SELF, share=0.1
    ),
    "MujocoEnv.render": Call(
        fastpg.MujocoEnv.render, st.fixed_dictionaries({"self": envs()}), (), fixed=SELF, writes=SELF, share=0.1
    ),
    "MujocoEnv.close_extras": Call(
        lambda self: self.close(), st.fixed_dictionaries({"self": envs()}), (), fixed=SELF, share=0.1
    ),
}  # fmt: skip
