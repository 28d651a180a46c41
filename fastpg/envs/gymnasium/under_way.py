"""Where the vector environments of callers stand, which are passed to `collect` again and again.

Nobody can ask a vector environment what it showed last. It is known after `collect`, until fastpg resets the
environment for something else, as `evaluate` does.
"""

import weakref
from typing import Any, NamedTuple


class Known(NamedTuple):
    """What the last call of `collect` left."""

    env: "weakref.ref[Any]"  # that was passed: another wrapper of the same one shows something else
    where: Any
    stands: bool  # there, still


_known: dict[int, Known] = {}  # by id of the environment without wrappers: a user's own may have no hash


def remember(env: Any, where: Any) -> None:
    """Take note of where an environment stands."""
    inner = env.unwrapped
    if id(inner) not in _known:
        weakref.finalize(inner, _known.pop, id(inner), None).atexit = False
    _known[id(inner)] = Known(weakref.ref(env), where, stands=True)


def leave(env: Any) -> None:
    """Take note that it does not stand there any more."""
    key = id(env.unwrapped)
    if key in _known:
        _known[key] = _known[key]._replace(stands=False)


def known(env: Any) -> tuple[Any, bool]:
    """Return where the last call of `collect` left an environment, None at first, and whether it is there."""
    found = _known.get(id(env.unwrapped))
    return (None, False) if found is None else (found.where, found.stands and found.env() is env)
