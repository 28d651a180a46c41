"""Environments that step without Python."""

from fastpg.envs import classic_control, toy_text  # noqa: F401  (they fill the registry)
from fastpg.envs.registry import EnvSpec, NativeEnv, env_spec, list_envs, native_env

__all__ = ["EnvSpec", "NativeEnv", "env_spec", "list_envs", "native_env"]
