"""What makes an environment is accepted wherever an id is: ids, finite MDPs, jit_env, load_env."""

import shutil
import subprocess

import numpy as np
import pytest

import fastpg
from tests import ROOT
from tests.support import jit_envs

EXAMPLE = ROOT / "examples" / "c_env" / "integrator.c"


def finite():
    transition = np.zeros((2, 2, 2))
    transition[:, 0, 0] = transition[:, 1, 1] = 1.0
    return fastpg.exact.FiniteMDP(
        transition, np.eye(2), np.zeros(2, bool), start=np.array([1.0, 0.0]), max_episode_steps=5
    )


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler called cc")
    library = tmp_path_factory.mktemp("c_env") / "env.so"
    include = f"-I{fastpg.get_include()}"
    subprocess.run(
        [compiler, "-O2", "-fPIC", "-shared", include, str(EXAMPLE), "-o", str(library)], check=True
    )
    return fastpg.load_env(library)


@pytest.fixture(params=["id", "FiniteMDP", "JitEnv", "JitEnv in plain Python", "LoadedEnv"])
def env(request):
    if request.param == "LoadedEnv":
        return request.getfixturevalue("loaded")
    if request.param == "JitEnv":
        pytest.importorskip("numba")
        return jit_envs.Bits
    return {
        "id": "CartPole-v1",
        "FiniteMDP": finite(),
        "JitEnv in plain Python": jit_envs.Bits.plain(),
    }[request.param]


def policy_of(env):
    return fastpg.Policy.for_env(env, hidden=())


def as_vec_env(env):
    pytest.importorskip("stable_baselines3")
    from fastpg.sb3 import as_vec_env

    return as_vec_env(env, num_envs=2, seed=0).reset()


def torch_collect(env):
    pytest.importorskip("torch")
    import fastpg.torch

    module = fastpg.torch.to_module(policy_of(env))
    return fastpg.torch.collect(env, module, horizon=2, num_envs=16)


PLACES = {
    "make": lambda env: fastpg.make(env, 2).reset(seed=0),
    "train": lambda env: fastpg.train(env, hidden=(), total_steps=64, num_envs=16, horizon=4),
    "evaluate": lambda env: fastpg.evaluate(env, policy_of(env), episodes=1, max_steps=200),
    "estimate_gradient": lambda env: fastpg.estimate_gradient(env, policy_of(env), horizon=2, num_envs=16),
    "collect": lambda env: fastpg.collect(env, policy_of(env), horizon=2, num_envs=16),
    "Policy.for_env": policy_of,
    "ValueFunction.for_env": lambda env: fastpg.ValueFunction.for_env(env, hidden=()),
    "compare_forms": lambda env: fastpg.diagnostics.compare_forms(
        env, policy_of(env), forms=["total"], episodes=2, batches=2
    ),
    "fit_value": lambda env: fastpg.diagnostics.fit_value(env, policy_of(env), hidden=(), total_steps=64),
    "as_vec_env": as_vec_env,
    "torch.collect": torch_collect,
}


@pytest.mark.parametrize("place", PLACES)
def test_whatever_makes_an_environment_is_accepted(env, place):
    assert PLACES[place](env) is not None
