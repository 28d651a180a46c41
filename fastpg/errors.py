"""The library's own exceptions: each is a kind of Gymnasium's or Python's, so either name catches it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import gymnasium


class CheckpointError(ValueError):
    """A file that is damaged, or does not hold what it should."""


class SaveError(OSError):
    """A file that could not be written; what was there before is still there.

    Attributes
    ----------
    result : TrainResult or None
        Of a `train` that was through when it could not save its checkpoint: what it would have returned.
    """

    result: Any = None

    def __str__(self) -> str:
        return str(self.strerror)


class RankError(RuntimeError):
    """Another of the processes that train together failed, was interrupted, or is gone."""


class InvalidAction(gymnasium.error.InvalidAction, ValueError):
    """An action that the action space does not hold; nothing was stepped."""


class ResetNeeded(gymnasium.error.ResetNeeded, AssertionError):
    """A step of an environment that was never reset, or whose episode has ended."""


class ResetMaskTypeError(TypeError, AssertionError):
    """A reset mask of the wrong kind: an AssertionError before Gymnasium 1.4, a TypeError since."""


class ResetMaskValueError(ValueError, AssertionError):
    """A reset mask of the wrong shape, or without a True entry: as above, a ValueError since 1.4."""


class EnvError(RuntimeError):
    """A function of a custom environment raised an exception, or did what it must not."""


class EnvNotFinite(EnvError, FloatingPointError):
    """A custom environment's state, reward or observation became NaN (or infinite, where it may not be)."""


def endless(where: str, steps: int) -> EnvError:
    """Return what to raise where whole episodes are waited for, and one has had so many steps."""
    advice = "max_steps" if where.startswith("evaluate()") else "horizon instead"
    return EnvError(
        f"{where}: an episode has not ended in {steps:,} steps, and whole episodes are waited for: give the "
        f"environment a time limit, or pass {advice}"
    )


def in_iteration(where: str, number: int) -> str:
    """Return the place of an error: "train(): iteration 3", or "train_many(): run 2, iteration 3"."""
    return f"{where}{':' if where.endswith('()') else ','} iteration {number}"


def without_place(error: BaseException) -> str:
    """Return the sentence of a core's error without the function that it names first, to name another."""
    return str(error).partition("(): ")[2] or str(error)


@contextlib.contextmanager
def named(where: str) -> Iterator[None]:
    """Put the function that the user called in the place of one that it calls, at the start of its errors."""
    try:
        yield
    except (TypeError, ValueError, FloatingPointError) as error:
        raise type(error)(f"{where}: {without_place(error)}") from error


@contextlib.contextmanager
def stepped_for(where: str) -> Iterator[None]:
    """Put the function that the user called at the start of what goes wrong where it steps environments."""
    try:
        yield
    except EnvError as error:
        raise type(error)(f"{where}: {without_place(error)}") from error.__cause__
    except FloatingPointError as error:
        raise FloatingPointError(f"{where}: {without_place(error)}") from error
