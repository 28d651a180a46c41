"""Environments: the registry of those that the compiled core implements."""

from fastpg.envs.registry import EnvSpec, env_spec, list_envs, native_env

__all__ = ["EnvSpec", "env_spec", "list_envs", "native_env"]
