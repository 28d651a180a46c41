"""Where the vector environments of callers stand, which are passed to `collect` again and again.

Nobody can ask a vector environment what it showed last. It is known after `collect`, until fastpg resets the
environment for something else, as `evaluate` does. That somebody else has stepped it is found out where it
tells.
"""

import weakref
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from fastpg.envs.native.vector import VectorEnv


class Known(NamedTuple):
    """What the last call of `collect` left."""

    env: "weakref.ref[Any]"  # that was passed: another wrapper of the same one shows something else
    standing: Any
    shown: bytes
    stands: bool  # there, still


_known: dict[int, Known] = {}  # by id of the environment without wrappers: a user's own may have no hash


def remember(env: Any, standing: Any) -> None:
    """Take note of where an environment stands."""
    inner = env.unwrapped
    if id(inner) not in _known:
        weakref.finalize(inner, _known.pop, id(inner), None).atexit = False
    _known[id(inner)] = Known(weakref.ref(env), standing, _shown_by(env), stands=True)


def leave(env: Any) -> None:
    """Take note that it does not stand there any more."""
    key = id(env.unwrapped)
    if key in _known:
        _known[key] = _known[key]._replace(stands=False)


def known(where: str, env: Any) -> tuple[Any, bool]:
    """Return where the last call of `collect` left an environment, None at first, and whether it is there.

    Raises ValueError, for the caller `where`, if somebody else has stepped or reset it.
    """
    found = _known.get(id(env.unwrapped))
    if found is None:
        return None, False
    stands = found.stands and found.env() is env
    if stands and _shown_by(env) != found.shown:
        raise ValueError(
            f"{where}: env was stepped or reset by somebody else since the call that this one would go on "
            "from; pass seed= to begin anew"
        )
    return found.standing, stands


def _shown_by(env: Any) -> bytes:
    """Return what changes with each step: fastpg's state, what Gymnasium's own vector environments showed.

    Nothing of others, which do not tell.
    """
    inner: Any = env.unwrapped
    if isinstance(inner, VectorEnv):
        return _memory(inner.get_state())
    if isinstance(inner, AsyncVectorEnv):
        return _memory(getattr(inner, "observations", ()))
    return _memory(getattr(inner, "_observations", ())) if isinstance(inner, SyncVectorEnv) else b""


def _memory(obs: Any) -> bytes:
    """Return the bytes of observations, which may be arrays in dicts and tuples."""
    if isinstance(obs, dict | tuple):
        return b"".join(map(_memory, obs.values() if isinstance(obs, dict) else obs))
    return obs.tobytes() if isinstance(obs, np.ndarray) else b""
