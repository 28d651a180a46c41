"""Functions and everything that they refer to, as they are now: a fingerprint, and copies to compile.

numba compiles what a global is when a function is compiled for the first time, and keeps that. Its own cache
looks at a function's source file only. Here functions, helpers and the arrays that they read are copied with
exactly what the fingerprint has seen: what is compiled cannot be something else, and no later change gets
into it.
"""

import builtins
import enum
import hashlib
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import MAGIC_NUMBER
from typing import Any

import numpy as np

from fastpg.envs.custom.jit_names import LIBRARIES, names_in, references, value_of
from fastpg.envs.custom.jit_plain import shown_line

Build = Callable[
    [bool], Any
]  # makes the copy of a value: with functions compiled by numba, or in plain Python
_CONTAINERS = (list, dict, set, bytearray)


class Unusable(Exception):
    """A function refers to what cannot be compiled."""


class Snapshot:
    """Walks through functions and what they refer to.

    `options` are those of numba.njit, for functions that are not decorated.

    Attributes
    ----------
    module : str
        The name of the module that copies are put in.
    arrays : list of arrays
        The copies that compiled code may read.
    unknown : str
        The name of something whose value cannot be told apart from another's; "" if there is none.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._hash = hashlib.sha256()
        self._options = options
        self._met: dict[int, _Function] = {}
        self._modules: dict[tuple[int, int], dict[bool, types.ModuleType]] = {}
        self._attributes: list[tuple[dict[bool, types.ModuleType], str, Build]] = []
        self.module = ""
        self.arrays: list[Any] = []
        self.unknown = ""
        self.add(MAGIC_NUMBER.hex(), repr(sorted(options.items())))
        self._entries: list[_Function] = []

    def take(self, function: types.FunctionType) -> None:
        """Take in a function that is to be compiled."""
        self._entries.append(self._function(function, self._options))

    def add(self, *texts: str) -> None:
        """Take in something that the functions do not refer to."""
        for text in texts:
            self._hash.update(f"{len(text)}:{text}".encode())

    def hexdigest(self) -> str:
        """Return the fingerprint of all that was taken in."""
        return self._hash.hexdigest()

    def copies(self, jit: bool) -> list[Any]:
        """Return copies of the functions: numba's dispatchers, or functions of plain Python."""
        for modules, attribute, build in self._attributes:
            setattr(modules[jit], attribute, build(jit))
        return [self._copy(one, jit) for one in self._entries]

    @property
    def dispatchers(self) -> list[Any]:
        """Return numba's dispatchers of all functions, those of helpers as well."""
        return [one.copies[True] for one in self._met.values() if True in one.copies]

    # ---- functions -----------------------------------------------------------------------------------------

    def _function(
        self, function: types.FunctionType, options: dict[str, Any], signatures: tuple[Any, ...] = ()
    ) -> "_Function":
        if id(function) in self._met:
            met = self._met[id(function)]
            self.add("seen", str(met.number))
            return met
        made = self._met[id(function)] = _Function(function, options, signatures, len(self._met))
        self.add("function", function.__name__, repr(sorted(options.items())), repr(signatures))
        self._code(function.__code__)
        made.defaults = self._value("a default", function.__defaults__, function)
        made.kwdefaults = {
            name: self._value("a default", value, function)
            for name, value in sorted((function.__kwdefaults__ or {}).items())
        }
        for kind, name, _, line in references(function.__code__):
            if kind == "import" or (kind, name) in made.outside:
                continue
            found, value = value_of(function, kind, name)
            self.add(kind, name, str(found))
            if found:
                made.outside[kind, name] = self._value(name, value, function, line)
            elif kind == "free":
                self.unknown = self.unknown or name
        return made

    def _code(self, code: types.CodeType) -> None:
        """Take in bytecode with all that says what it does. Names of files and lines change nothing."""
        self.add(
            "code", code.co_code.hex(), getattr(code, "co_exceptiontable", b"").hex(), str(code.co_flags)
        )
        self.add(str(code.co_argcount), str(code.co_posonlyargcount), str(code.co_kwonlyargcount))
        for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            self.add(str(len(names)), *names)
        self.add(str(len(code.co_consts)))
        for constant in code.co_consts:
            self._constant(constant)

    def _constant(self, constant: Any) -> None:
        if isinstance(constant, types.CodeType):
            self._code(constant)
        elif isinstance(constant, tuple | frozenset):
            parts = constant if isinstance(constant, tuple) else sorted(constant, key=repr)
            self.add(type(constant).__name__, str(len(constant)))
            for part in parts:
                self._constant(part)
        else:  # numbers, strings, None, Ellipsis
            self.add(type(constant).__name__, repr(constant))

    # ---- what they refer to --------------------------------------------------------------------------------

    def _value(self, name: str, value: Any, function: types.FunctionType, line: int = 0) -> Build:
        """Take in what a name stands for, and return what copies it."""
        kind = type(value)
        module = str(getattr(value, "__module__", None) or "").partition(".")[0]
        if value is None or kind in (bool, int, float, complex, str, bytes, type(Ellipsis)):
            self.add(kind.__name__, repr(value))
        elif isinstance(value, np.generic):
            self.add("scalar", repr(value.dtype), repr(value))
        elif kind in (np.ndarray, np.recarray) and not value.dtype.hasobject:
            return self._array(value)
        elif hasattr(value, "py_func") and hasattr(value, "targetoptions"):
            options = {"boundscheck": True} | {k: v for k, v in value.targetoptions.items() if v is not None}
            options.pop("nopython", None)
            signatures = () if value._can_compile else tuple(value.nopython_signatures)
            made = self._function(value.py_func, options, signatures)
            return lambda jit: self._copy(made, jit)
        elif isinstance(value, types.ModuleType):
            self.add("module", value.__name__, str(getattr(value, "__version__", "")))
            if value.__name__.partition(".")[0] not in LIBRARIES:
                return self._module(name, value, function, line)
        elif (callable(value) and module in LIBRARIES) or isinstance(value, np.ufunc):
            self.add("library", module, getattr(value, "__qualname__", None) or repr(value))
        elif isinstance(value, np.dtype):
            self.add("dtype", repr(value))
        elif isinstance(value, types.FunctionType):
            helper = self._function(value, self._options)
            return lambda jit: self._copy(helper, jit)
        elif isinstance(value, enum.Enum):
            self.add("enum", kind.__qualname__, value.name)
            self._value(name, value.value, function, line)
        elif kind is tuple or (isinstance(value, tuple) and hasattr(value, "_fields")):
            self.add("tuple", kind.__qualname__, str(len(value)), *getattr(value, "_fields", ()))
            make = kind if kind is tuple else kind._make
            parts = [self._value(name, part, function, line) for part in value]
            return lambda jit: make([part(jit) for part in parts])
        elif kind in _CONTAINERS:
            raise Unusable(
                f"{name} is a {kind.__name__}{shown_line(function.__code__.co_filename, line)}, which is not "
                "read from outside: make it a tuple, or an array (np.array), of which a copy is compiled"
            )
        elif isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
            self.add("namedtuple", value.__qualname__, *value._fields)
        elif isinstance(value, type) and issubclass(value, enum.Enum):
            self.add("enum", value.__qualname__, str(len(value)))
            for member in value:
                self._value(name, member, function, line)
        else:
            self.unknown = self.unknown or name
        return lambda jit: value

    def _array(self, value: Any) -> Build:
        """Take in an array. numba reads a small one when it compiles, a large one where it lies, for ever."""
        copy = value.copy(order="K")
        copy.flags.writeable = False
        self.add("array", type(value).__name__, repr(copy.dtype), str(copy.shape), str(copy.strides))
        self._hash.update(memoryview(copy.view(np.ndarray).ravel(order="K").view(np.uint8)))
        self.arrays.append(copy)
        return lambda jit: copy

    def _module(self, name: str, value: Any, function: types.FunctionType, line: int) -> Build:
        """Take in a module of the user's: what the function may read of it."""
        copies = self._modules.get((id(value), id(function)))
        if copies is None:
            copies = {jit: types.ModuleType(value.__name__) for jit in (True, False)}
            self._modules[id(value), id(function)] = copies  # before: what it holds may refer to it
            for attribute in sorted(names_in(function.__code__) & vars(value).keys()):
                self.add("attribute", attribute)
                build = self._value(f"{name}.{attribute}", vars(value)[attribute], function, line)
                self._attributes.append((copies, attribute, build))
        made = copies
        return lambda jit: made[jit]

    # ---- copies --------------------------------------------------------------------------------------------

    def _copy(self, made: "_Function", jit: bool) -> Any:
        """Return the copy of a function, whose globals are copies too."""
        if jit in made.copies:
            return made.copies[jit]
        source = made.source
        names: dict[str, Any] = {"__name__": self.module, "__builtins__": builtins}
        cells = tuple(types.CellType() for _ in source.__code__.co_freevars)
        copy = types.FunctionType(source.__code__, names, source.__name__, made.defaults(jit), cells)
        copy.__kwdefaults__ = {name: build(jit) for name, build in made.kwdefaults.items()} or None
        copy.__qualname__ = source.__qualname__
        if jit:
            import numba

            made.copies[jit] = numba.njit(**made.options)(copy)
        else:
            made.copies[jit] = copy
        for (kind, name), build in made.outside.items():  # after: it may refer to the copy itself
            if kind == "global":
                names[name] = build(jit)
            else:
                cells[source.__code__.co_freevars.index(name)].cell_contents = build(jit)
        if jit and made.signatures:
            for signature in made.signatures:
                made.copies[jit].compile(signature)
            made.copies[jit].disable_compile()
        return made.copies[jit]


@dataclass(slots=True, eq=False)
class _Function:
    """A function, what it refers to, and its copies once they are made."""

    source: types.FunctionType
    options: dict[str, Any]
    signatures: tuple[Any, ...]  # of the arguments that it is compiled for, where it is for no others
    number: int
    outside: dict[tuple[str, str], Build] = field(default_factory=dict)
    defaults: Build = lambda jit: None
    kwdefaults: dict[str, Build] = field(default_factory=dict)
    copies: dict[bool, Any] = field(default_factory=dict)
