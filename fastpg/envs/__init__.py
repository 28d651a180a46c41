"""Environments: native ones, which step without Python, and whatever has Gymnasium's interface."""

from fastpg.envs import classic_control, gymnasium_ids, toy_text  # noqa: F401  (two of them fill the registry)
from fastpg.envs.jit import JitEnv, jit_env
from fastpg.envs.load import LoadedEnv, get_include, load_env
from fastpg.envs.registry import EnvSpec, NativeEnv, env_spec, list_envs, native_env
from fastpg.envs.vector import VectorEnv, make

__all__ = [
    "EnvSpec",
    "JitEnv",
    "LoadedEnv",
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

gymnasium_ids.register()
