"""Environments that are asked which actions may be taken, by the method `action_masks` of sb3-contrib."""

from collections.abc import Callable
from typing import Any

from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper

METHOD = "action_masks"


def asking(env: VectorEnv[Any, Any, Any]) -> Callable[[], Any] | None:
    """Return a function that returns the masks of all environments, or None where they cannot be asked.

    It is the method of a vector environment, or that of each of the environments that Gymnasium steps one
    after the other or in processes.
    """
    inner: Any = env
    while True:
        method = getattr(inner, METHOD, None)
        if callable(method):
            return method  # type: ignore[no-any-return]
        if not isinstance(inner, VectorWrapper):
            break
        inner = inner.env
    if isinstance(inner, SyncVectorEnv | AsyncVectorEnv) and all(inner.call("has_wrapper_attr", METHOD)):
        return lambda: inner.call(METHOD)
    return None
