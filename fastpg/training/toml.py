"""Settings as TOML: Python reads it, but does not write it."""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dumps(tables: Mapping[str, Any]) -> str:
    """Return settings as TOML: what is a mapping becomes a table, after what is not.

    TOML has no null: entries that are None are left out.

    Raises
    ------
    TypeError
        A value is something else than a number, string, bool, list, mapping or None.

    Examples
    --------
    >>> print(dumps({"seed": 1, "algorithm": {"gamma": 0.99, "hidden": (64, 64)}}), end="")
    seed = 1
    <BLANKLINE>
    [algorithm]
    gamma = 0.99
    hidden = [64, 64]
    """
    plain = {key: value for key, value in tables.items() if not isinstance(value, Mapping)}
    lines = _entries(plain)
    for key, value in tables.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{_key(key)}]", *_entries(value)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _entries(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None]


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        inner = (f"{_key(key)} = {_value(one)}" for key, one in value.items())
        return f"{{{', '.join(inner)}}}"
    raise TypeError(f"{type(value).__name__} has no form in TOML")
