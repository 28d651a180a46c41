"""The options of algorithms: each is checked by its range in the core, or by its annotation."""

import dataclasses
import functools
import types
import typing
from typing import Any, TypeVar

from fastpg import _check, _core, _spelling

Kind = TypeVar("Kind", bound=type)

# Options of `train` that other libraries' algorithms have.
OF_TRAIN = ("num_envs", "horizon", "total_steps", "hidden", "activation", "seed")


def spelled(kind: Kind) -> Kind:
    """Let a dataclass say which option was meant by a name that it does not have."""
    made = kind.__init__  # type: ignore[misc]
    names = [field.name for field in dataclasses.fields(kind)]

    @functools.wraps(made)
    def __init__(self: Any, *values: Any, **options: Any) -> None:
        for name in options:
            if name not in names:
                raise TypeError(f"{kind.__name__}(): there is no option {name!r}; {_hint(name, names)}")
        made(self, *values, **options)

    kind.__init__ = __init__  # type: ignore[misc]
    return kind


def _hint(name: str, names: list[str]) -> str:
    """Return which option was meant, where it is if it is one of `train`, or which options there are."""
    elsewhere = _spelling.ELSEWHERE.get(name, name)
    return f"fastpg.train() has {elsewhere!r}" if elsewhere in OF_TRAIN else _spelling.hint(name, names)


def check_options(algorithm: Any) -> None:
    """Check an algorithm's options, and keep each in its plain form: settings that are equal have one hash.

    Ranges are those of csrc/fastpg.h; which words a choice has, the annotation says. Raises TypeError or
    ValueError for the first option that is out of its range.
    """
    where = f"{type(algorithm).__name__}()"
    for name, (hint, optional) in _hints(type(algorithm)).items():
        value = getattr(algorithm, name)
        if value is not None or not optional:
            object.__setattr__(algorithm, name, _checked(where, name, value, hint))


def _checked(where: str, name: str, value: Any, hint: Any) -> Any:
    option = _core.OPTIONS.get(name)
    if name == "initial_log_std":
        return _check.real(where, name, value, "[-87, 87]")
    if option is None:
        return _check.widths(where, name, value, _core.MAX_HIDDEN, _core.MAX_WIDTH)
    if hint is bool:
        return _check.boolean(where, name, value)
    if option.kind == "choice":
        return _check.choice(where, name, value, typing.get_args(hint))
    if option.kind == "integer":
        low, high = option.range[1:-1].split(",")
        return _check.integer(where, name, value, int(low), int(high))
    return _check.real(where, name, value, option.range)


def _hints(algorithm: type) -> dict[str, tuple[Any, bool]]:
    """Return the type of each option, None taken out, and whether it may be None."""
    hints, all_hints = {}, typing.get_type_hints(algorithm)
    for name in [field.name for field in dataclasses.fields(algorithm)]:
        hint = all_hints[name]
        is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
        parts = typing.get_args(hint) if is_union else (hint,)
        hints[name] = parts[0], types.NoneType in parts
    return hints
