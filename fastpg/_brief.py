"""Results that show what they hold, not every number of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Brief:
    """Base of dataclasses with arrays: `repr` gives the dtype and the shape of each."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = [f"{field.name}={brief(getattr(self, field.name))}" for field in fields if field.repr]
        return f"{type(self).__name__}({', '.join(shown)})"


def brief(value: Any) -> str:
    """Return a short form of an attribute.

    Examples
    --------
    >>> brief(np.zeros((100, 8), np.float32)), brief({"a": 1, "b": 2}), brief(0.123456789), brief(None)
    ('<float32 (100, 8)>', '<2 entries>', '0.123457', 'None')
    """
    if hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, np.generic):
        return f"<{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}>"
    if isinstance(value, tuple):
        return f"({', '.join(map(brief, value))}{',' * (len(value) == 1)})"
    if isinstance(value, Mapping):
        return f"<{len(value)} entries>"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text, its columns as wide as their widest entries.

    Examples
    --------
    >>> print(columns([("seed", "return"), ("1", "475.5")]))
    seed  return
    1     475.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
