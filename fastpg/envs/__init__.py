"""Environments: native ones, which step without Python, MuJoCo's, and whatever has Gymnasium's interface."""

from fastpg.envs.custom.jit import JitEnv, jit_env
from fastpg.envs.custom.load import LoadedEnv, get_include, load_env
from fastpg.envs.gymnasium import ids
from fastpg.envs.mujoco import MujocoEnv
from fastpg.envs.native import classic_control, toy_text  # noqa: F401  (they fill the registry)
from fastpg.envs.native.make import make
from fastpg.envs.native.registry import EnvSpec, NativeEnv, env_spec, list_envs, native_env
from fastpg.envs.native.vector import VectorEnv

__all__ = [
    "EnvSpec",
    "JitEnv",
    "LoadedEnv",
    "MujocoEnv",
    "NativeEnv",
    "VectorEnv",
    "env_spec",
    "get_include",
    "jit_env",
    "list_envs",
    "load_env",
    "make",
    "native_env",
]

ids.register()
