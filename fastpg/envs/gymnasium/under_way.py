"""Where the vector environments of callers stand, which are passed to `collect` again and again.

Nobody can ask a vector environment what it showed last. It is known after `collect`, until fastpg resets the
environment for something else, as `evaluate` does.
"""

import weakref
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Known(NamedTuple, Generic[T]):
    """What the last call of `collect` left."""

    env: "weakref.ref[Any]"  # that was passed: other wrappers of the same one show something else
    where: T
    stands: bool  # there, still


_known: weakref.WeakKeyDictionary[Any, Known[Any]] = weakref.WeakKeyDictionary()


def remember(env: Any, where: Any) -> None:
    """Take note of where an environment stands."""
    _known[env.unwrapped] = Known(weakref.ref(env), where, stands=True)


def leave(env: Any) -> None:
    """Take note that it does not stand there any more."""
    known = _known.get(env.unwrapped)
    if known is not None:
        _known[env.unwrapped] = known._replace(stands=False)


def known(env: Any) -> tuple[Any, bool]:
    """Return where the last call of `collect` left an environment, None at first, and whether it is there."""
    found = _known.get(env.unwrapped)
    return (None, False) if found is None else (found.where, found.stands and found.env() is env)
