"""What a function refers to outside of itself, as its bytecode says; and what it must not refer to."""

import dis
import sys
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastpg.envs.custom.jit_plain import shown_line

# What these hold changes with their version only.
LIBRARIES = ("math", "cmath", "operator", "builtins", "numpy", "numba", "llvmlite")
# Random numbers and clocks: what these hold or return does not come from the seed.
_HIDDEN = ("random", "numpy.random", "secrets", "time", "datetime", "uuid")
_HIDDEN_FUNCTIONS = ("urandom", "getrandom")  # of the module os


class Reference(NamedTuple):
    """A name from outside, and the attributes that are read from it at once: np.random.uniform."""

    kind: str  # "global", "free" (a variable of an enclosing function) or "import"
    name: str
    attributes: tuple[str, ...]
    line: int


def references(code: types.CodeType) -> Iterator[Reference]:
    """Return what code and the functions inside of it refer to."""
    kinds = {"LOAD_GLOBAL": "global", "LOAD_NAME": "global", "LOAD_DEREF": "free", "IMPORT_NAME": "import"}
    line, last = code.co_firstlineno, None
    for instruction in dis.get_instructions(code):
        line = (
            instruction.positions.lineno if instruction.positions and instruction.positions.lineno else line
        )
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and last is not None:
            last = last._replace(attributes=(*last.attributes, instruction.argval))
        elif instruction.opname != "EXTENDED_ARG":
            if last is not None:
                yield last
            kind = kinds.get(instruction.opname)
            if kind == "free" and instruction.argval not in code.co_freevars:
                kind = None  # a variable of its own, which a function inside of it reads
            last = None if kind is None else Reference(kind, instruction.argval, (), line)
    if last is not None:
        yield last
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            # What is free in a function inside is a variable of this one, unless it is free here too.
            yield from (
                one for one in references(constant) if one.kind != "free" or one.name in code.co_freevars
            )


def names_in(code: types.CodeType) -> set[str]:
    """Return the names of globals and attributes in code and the functions inside of it."""
    inside = [names_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return {*code.co_names}.union(*inside)


def value_of(function: types.FunctionType, kind: str, name: str) -> tuple[bool, Any]:
    """Return whether a name has a value now, and which."""
    if kind == "global":
        return name in function.__globals__, function.__globals__.get(name)
    cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
    try:
        return True, cell.cell_contents
    except ValueError:  # it is empty
        return False, None


def check_randomness(where: str, called: str, function: types.FunctionType) -> None:
    """Raise ValueError if a function, or a helper of it, refers to random numbers or to a clock."""
    met: set[int] = set()
    waiting: list[Any] = [function]
    while waiting:
        one = waiting.pop()
        if id(one) in met:
            continue
        met.add(id(one))
        for reference in references(one.__code__):
            said, line, value = _followed(one, reference)
            if said is not None:
                raise ValueError(
                    f"{where}: {called} refers to {said}{shown_line(one.__code__.co_filename, line)}, whose "
                    "values do not come from the seed: use `noise`, independent uniform numbers in (0, 1), "
                    "of which jit_env(noise_size=...) says how many"
                )
            waiting += _functions(value)


def _followed(function: types.FunctionType, reference: Reference) -> tuple[str | None, int, Any]:
    """Return the dotted name if it leads to something hidden, the line, and the value at its end."""
    shown, line = reference.name, reference.line
    if reference.kind == "import":
        found, value = True, sys.modules.get(shown)
        if _is_hidden_module(shown):
            return shown, line, None
    else:
        found, value = value_of(function, reference.kind, shown)
    if not found:
        return None, line, None
    hidden = _is_hidden(value)
    attributes = list(reference.attributes)
    if isinstance(value, types.ModuleType) and not attributes:
        # The module gets another name, or is handed on: any attribute of the code may be one of it.
        for name in sorted(names_in(function.__code__)):
            if not hidden and _is_hidden(getattr(value, name, None)):
                shown, hidden = f"{shown}.{name}", True
        return shown if hidden else None, line, None
    while attributes and isinstance(value, types.ModuleType):
        name = attributes.pop(0)
        value, shown = getattr(value, name, None), f"{shown}.{name}"
        hidden = hidden or _is_hidden(value)
    return ".".join((shown, *attributes)) if hidden else None, line, value


def _functions(value: Any) -> list[Any]:
    """Return the Python functions in a value."""
    value = getattr(value, "py_func", value)
    if isinstance(value, tuple):
        return [one for part in value for one in _functions(part)]
    library = str(getattr(value, "__module__", None)).partition(".")[0] in LIBRARIES
    return [value] if isinstance(value, types.FunctionType) and not library else []


def _is_hidden_module(name: str) -> bool:
    return any(name == one or name.startswith(one + ".") for one in _HIDDEN)


def _is_hidden(value: Any) -> bool:
    """Return whether a value is random numbers or a clock: their module, a function or an object of it."""
    if isinstance(value, types.ModuleType):
        return _is_hidden_module(value.__name__)
    if getattr(value, "__name__", "") in _HIDDEN_FUNCTIONS:
        return isinstance(value, types.BuiltinFunctionType)
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType | type):
        owner = type(getattr(value, "__self__", None)).__module__
        return _is_hidden_module(str(getattr(value, "__module__", None))) or _is_hidden_module(owner)
    return _is_hidden_module(type(value).__module__)
