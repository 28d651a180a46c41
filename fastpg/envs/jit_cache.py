"""When compiled code may be used again: a fingerprint of functions and of everything that they refer to.

numba's own cache looks at a function's source file, and would not see that a helper or a constant in another
place has changed. Here the bytecode, constants, defaults, closures and globals are walked through, helpers
too.
"""

import enum
import hashlib
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

# What these hold changes with their version only.
_LIBRARIES = ("math", "cmath", "operator", "builtins", "numpy", "numba", "llvmlite")


class Fingerprint:
    """Walks through functions and what they refer to.

    Attributes
    ----------
    helpers : list of functions
        The plain Python functions that were met on the way.
    unknown : str
        The name of something whose value cannot be told apart from another's; "" if there is none.
    """

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._hash = hashlib.sha256()
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []  # so that no id is used twice
        self.helpers: list[Callable[..., Any]] = []
        self.unknown = ""
        for function in functions:
            self._function(function)

    def add(self, *texts: str) -> None:
        """Take in something that the functions do not refer to."""
        for text in texts:
            self._hash.update(f"{len(text)}:{text}".encode())

    def hexdigest(self) -> str:
        """Return the fingerprint of all that was taken in."""
        return self._hash.hexdigest()

    def _function(self, function: Any) -> None:
        if id(function) in self._met:
            self.add("seen", str(self._met[id(function)]))
            return
        self._met[id(function)] = len(self._met)
        self._alive.append(function)
        self.add("function", function.__name__)
        names = self._code(function.__code__)
        self._value("defaults", function.__defaults__)
        self._value("defaults", tuple(sorted((function.__kwdefaults__ or {}).items())))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.add("free", name)
            try:
                self._value(name, cell.cell_contents, names)
            except ValueError:  # an empty cell
                self.unknown = self.unknown or name
        for name in sorted(names):
            if name in function.__globals__:
                self.add("global", name)
                self._value(name, function.__globals__[name], names)

    def _code(self, code: types.CodeType) -> set[str]:
        """Take in bytecode; return the names that it and the functions inside of it use."""
        names = {*code.co_names}
        self.add("code", code.co_code.hex(), str(code.co_argcount), str(code.co_flags))
        self.add(*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                names |= self._code(constant)
            else:
                self._value("a constant", constant)
        return names

    def _value(self, name: str, value: Any, names: Iterable[str] = ()) -> None:
        """Take in what a name stands for. `names` are those that may follow a module's dot."""
        module = str(getattr(value, "__module__", None) or "").partition(".")[0]
        if hasattr(value, "py_func"):  # compiled by numba
            self.add("jit", repr(sorted(getattr(value, "targetoptions", {}).items(), key=str)))
            self._function(value.py_func)
        elif isinstance(value, types.ModuleType):
            self.add("module", value.__name__, str(getattr(value, "__version__", "")))
            if value.__name__.partition(".")[0] not in _LIBRARIES:
                for attribute in sorted(set(names) & vars(value).keys()):
                    self.add("attribute", attribute)
                    self._value(f"{name}.{attribute}", vars(value)[attribute], names)
        elif callable(value) and (module in _LIBRARIES or isinstance(value, np.ufunc)):
            self.add("library", module, getattr(value, "__qualname__", getattr(value, "__name__", "")))
        elif isinstance(value, types.FunctionType):
            if id(value) not in self._met:
                self.helpers.append(value)
            self._function(value)
        elif isinstance(value, enum.Enum):
            self.add("enum", type(value).__qualname__, value.name)
            self._value(name, value.value)
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self.add("array", value.dtype.str, str(value.shape), value.tobytes().hex())
        elif isinstance(value, tuple | list):
            self.add(type(value).__qualname__, str(len(value)), *getattr(value, "_fields", ()))
            for part in value:
                self._value(name, part, names)
        elif value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
            self.add(type(value).__qualname__, repr(value))
        elif isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
            self.add("namedtuple", value.__qualname__, *value._fields)
        elif isinstance(value, type) and issubclass(value, enum.Enum):
            for member in value:
                self._value(name, member)
        elif value is Ellipsis or isinstance(value, frozenset | slice):
            self.add(type(value).__qualname__, repr(value))
        else:
            self.unknown = self.unknown or name


def folder() -> Path:
    """Return where compiled environments are kept."""
    chosen = os.environ.get("FASTPG_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir())) / "fastpg"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastpg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastpg"


def write(path: Path, text: str) -> bool:
    """Write a file in one step unless it is there; False if that is not possible."""
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return os.access(path.parent, os.W_OK)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False
        ) as file:
            file.write(text)
        os.replace(file.name, path)
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return False
    return True
