"""What numba says to the functions of a `jit_env`, as sentences that name the function and the line."""

import operator
import re
from pathlib import Path
from types import FunctionType
from typing import Any

from fastpg.envs.custom.jit_definition import ARGUMENTS, Definition
from fastpg.envs.custom.jit_plain import shown_line
from fastpg.envs.custom.jit_snapshot import Snapshot

# What to write instead of what numba does not know: parts of what it says.
_INSTEAD = (
    (
        r"opcode \((IMPORT_NAME|IMPORT_FROM)",
        "it imports inside of the function",
        "import at the top of the file",
    ),
    (r"opcode \((STORE_GLOBAL|DELETE_GLOBAL)", "it writes a global", "keep in `state` whatever has to last"),
    (
        r"opcode \((UNPACK_EX|LIST_EXTEND|LIST_TO_TUPLE|CALL_INTRINSIC_1)",
        "it unpacks with a star",
        "write out each of them",
    ),
    (
        r"Untyped global name|Unknown attribute '\w+' of type (type|class)",
        "it refers to an object that numba does not know",
        "give numbers of it names of their own, outside of the functions",
    ),
    (
        r"Unknown attribute 'format' of type|>>> mod\((Literal\[str\]|unicode_type)",
        "it makes a string by % or format",
        "write an f-string",
    ),
    (
        r">>> setitem\(readonly array",
        "it writes into an array from outside, which is a constant when it is compiled",
        "keep in `state` whatever has to last",
    ),
    (
        r"(?i)scipy [0-9.+]* ?is required",
        "np.dot, `@` and np.linalg need SciPy, which is not installed",
        "pip install scipy, or write np.sum(a * b) for a product of vectors",
    ),
)


def check_types(where: str, definition: Definition, jitted: dict[str, Any], snapshot: Snapshot) -> None:
    """Compile each of the user's functions by itself, so that an error is about that function."""
    from numba import types
    from numba.core.errors import NumbaError, UnsupportedBytecodeError

    reals = types.Array(types.float64, 1, "C")
    action: Any = types.Array(types.int64 if definition.actions.categories else types.float64, 1, "C")
    given = {
        "state": reals,
        "noise": reals,
        "action": types.int64 if definition.is_scalar_action else action,
        "obs": types.Array(types.float32, 1, "C"),
        "mask": types.Array(types.int64, 1, "C"),
    }
    params: Any = reals
    if definition.Params is not None:
        params = types.BaseTuple.from_types((types.float64,) * definition.num_params, definition.Params)
    for name, function in jitted.items():
        signature = tuple(given[one] for one in ARGUMENTS[name])
        if definition.takes_params[name]:
            signature += (params,)
        called = f"{definition.name}.{name}()"
        try:
            function.compile(signature)
        except (NumbaError, UnsupportedBytecodeError, ImportError, NotImplementedError) as error:
            said = _said(str(error), definition, function.py_func, snapshot)
            raise TypeError(f"{where}: {called} cannot be compiled: {said}") from error
        result = function.overloads[signature].signature.return_type
        if name == "step" and not (
            isinstance(result, types.BaseTuple)
            and len(result) in (2, 3)
            and all(isinstance(one, types.Number | types.Boolean) for one in result.types)
        ):
            raise TypeError(
                f"{where}: {called} must return (reward, terminated) or (reward, terminated, truncated) in "
                f"every case, numbers and bools; compiled it returns {result}"
            )
        if name != "step" and result is not types.none:
            raise TypeError(
                f"{where}: {called} must write into its argument and return nothing; "
                f"compiled it returns {result}"
            )
        for helper in snapshot.dispatchers:
            for overload in helper.overloads.values():
                _check_operators(where, called, helper.py_func, overload.type_annotation)


def _check_operators(where: str, called: str, function: FunctionType, typed: Any) -> None:
    """Raise TypeError for an operator that means something else when it is compiled."""
    from numba import types

    for expression, signature in typed.calltypes.items():
        if getattr(expression, "op", None) not in ("binop", "inplace_binop") or signature is None:
            continue
        operation = expression.fn if expression.op == "binop" else expression.immutable_fn
        left, right = (typed.typemap[one.name] for one in (expression.lhs, expression.rhs))
        power = operation is operator.pow and isinstance(types.unliteral(left), types.Integer | types.Boolean)
        exponent = types.unliteral(right)
        literal = isinstance(right, types.IntegerLiteral) and right.literal_value >= 0
        if power and isinstance(exponent, types.Integer) and exponent.signed and not literal:
            what = "an integer to the power of an integer is an integer when it is compiled, 10 ** -2 is 0"
            instead = "write float(...) around one of them"
        elif operation in (operator.add, operator.sub) and (
            isinstance(types.unliteral(left), types.Boolean) and isinstance(exponent, types.Boolean)
        ):
            what = "the sum of two bools is an integer when it is compiled, and in NumPy a bool"
            instead = "write int(...) around each"
        else:
            continue
        place = shown_line(function.__code__.co_filename, expression.loc.line)
        raise TypeError(f"{where}: {called} cannot be compiled: {what}{place}: {instead}")


def _said(message: str, definition: Definition, function: FunctionType, snapshot: Snapshot) -> str:
    """Return what numba has to say, in one sentence, with the place in the user's source."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    place = _place(plain, function, snapshot)
    unknown = re.search(r"Unknown attribute '(\w+)' of type Params\(", plain)
    if unknown and definition.Params is not None:
        return f"params has no {unknown[1]!r}{place}; {definition.param_names}"
    for pattern, what, instead in _INSTEAD:
        if re.search(pattern, plain):
            return f"{what}{place}: {instead}"
    lines = [line.strip() for line in plain.splitlines()]
    telling = [
        line
        for line in lines
        if line
        and not re.match(
            r"(Failed in \w+ mode|During:|File |There are \d+ candidate|- |Overload|<source|\^)", line
        )
    ]
    reason = telling[0] if telling else "numba does not say why"
    call = next((line[4:] for line in telling if line.startswith(">>> ")), None)
    if reason.endswith("for signature:"):
        reason = re.sub(r"Function\((.*)\)", r"\1", reason.removesuffix(" for signature:"))
        reason += f" for {call}" if call else ""
    return reason + place


def _place(message: str, function: FunctionType, snapshot: Snapshot) -> str:
    """Return the line that numba complains about: the function's own, else one of a helper of it."""
    codes = [function.__code__, *(helper.py_func.__code__ for helper in snapshot.dispatchers)]
    for code in codes:
        last = max(code.co_firstlineno, *(n for _, _, n in code.co_lines() if n))
        for found in re.finditer(r'File "(.*?)", line (\d+)|at (\S+) \((\d+)\)', message):
            file, line = (found[1], found[2]) if found[1] else (found[3], found[4])
            if Path(file).name == Path(code.co_filename).name and code.co_firstlineno <= int(line) <= last:
                return shown_line(code.co_filename, int(line))
    return shown_line(function.__code__.co_filename, function.__code__.co_firstlineno)
