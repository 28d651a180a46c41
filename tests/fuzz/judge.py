"""What may come of a call: the right result, or one of the library's exceptions with a sentence.

A call has to say no with TypeError, ValueError or another documented exception, whose message is one line that
begins with the function and names an argument that is odd. It never changes what it is given to read.
"""

import contextlib
import dataclasses
import inspect
import signal
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from hypothesis import note
from hypothesis import strategies as st

import fastpg
from fastpg import _core

from . import values

SECONDS = 120  # of a machine that others use, too; after them a call counts as one that hangs
PACKAGE = str(Path(fastpg.__file__).parent)
DOCUMENTED = {
    TypeError, ValueError, FloatingPointError, ImportError, MemoryError, fastpg.CheckpointError, fastpg.EnvError,
    fastpg.EnvNotFinite, fastpg.InvalidAction, fastpg.ResetNeeded, fastpg.SaveError, gymnasium.error.ClosedEnvironmentError,
}  # fmt: skip

COUNTS: Counter[str] = Counter()  # calls by name
KNOWN: set[tuple[str, ...]] = set()  # faults that were found before, and are to be passed over


def before_call(text: str) -> None:
    """Hear of a call that may not come back; the long run puts its own function here."""


class Fault(AssertionError):
    """Something came of a call that must not."""

    def __init__(self, signature: tuple[str, ...], text: str) -> None:
        super().__init__(text)
        self.signature = signature


class Hang(BaseException):
    """The call took too long. Not an Exception, which the call might catch."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A public function, and what a valid call of it is.

    `arguments` draws those of a valid call, by name. `where` is what messages begin with. `check` gets the
    arguments and the result of every call that was accepted, odd or not, and asserts what is right. `words`
    are other names of arguments in messages. `odd` are further oddities of an argument, beside those of its
    kind, and alone where it is in `only`; arguments in `fixed` stay as they are. `writes` are arguments that a
    call changes. `repeatable` says that equal arguments give equal results.
    """

    function: Callable[..., Any]
    arguments: st.SearchStrategy[dict[str, Any]]
    where: tuple[str, ...]
    check: Callable[[dict[str, Any], Any], None] | None = None
    words: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    odd: dict[str, st.SearchStrategy[Any]] = dataclasses.field(default_factory=dict)
    only: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset({"out"})
    raises: tuple[type[BaseException], ...] = ()  # beside DOCUMENTED, in the words of others
    repeatable: bool = False
    share: float = 1.0  # of the examples that others get


def try_call(name: str, call: Call, data: st.DataObject) -> None:
    """Draw one call, make it, and raise a Fault if what comes of it is wrong."""
    arguments = data.draw(call.arguments)
    plan = data.draw(values.one_of(["valid", "layout", "one", "one", "one", "one", "two"]))
    candidates = sorted(arguments.keys() - call.fixed)
    if not isinstance(arguments.get("self", 0), fastpg.Policy | fastpg.ValueFunction):
        candidates = [one for one in candidates if one != "self"]
    if plan == "layout" and call.repeatable:
        _same_in_other_layouts(name, call, arguments, data)
        return
    odd: list[str] = []
    count = {"one": 1, "two": 2}.get(plan, 0)
    for which in data.draw(st.permutations(candidates))[:count] if count and candidates else ():
        own = call.odd.get(which)
        if own is None:
            own = values.odd(which, arguments[which])
        elif which not in call.only:
            own = st.one_of(own, values.odd(which, arguments[which]))
        arguments[which] = data.draw(own)
        odd.append(which)
    make(name, call, arguments, odd)


def make(name: str, call: Call, arguments: dict[str, Any], odd: list[str]) -> Any:
    """Make the call and judge it; return its result, or None if it was refused."""
    text = described(name, arguments, odd)
    note(text)
    COUNTS[name] += 1
    before_call(text)
    read = {key: value for key, value in arguments.items() if key not in call.writes}
    before = memory(read)
    try:
        with limited():
            result = call.function(**arguments)
    except Exception as error:
        changed(name, text, before, memory(read))
        judge_error(name, call, text, odd, error)
        return None
    changed(name, text, before, memory(read))
    if call.check is not None:
        try:
            with np.errstate(all="ignore"):
                call.check(arguments, result)
        except AssertionError as error:
            fail((name, "wrong result", place(error, all_code=True)), f"{text}\n  {error}")
    return result


def judge_error(name: str, call: Call, text: str, odd: list[str], error: BaseException) -> None:
    message = str(error)
    found = f"{text}\n  {type(error).__name__}: {message}"
    signature = (type(error).__name__, place(error))
    if isinstance(error, (*call.raises, values.Unwilling)):
        return
    if type(error) not in DOCUMENTED and not isinstance(error, MemoryError):
        fail((name, "raw", *signature), found)
    elif not odd:
        fail((name, "refused", *signature), f"a valid call: {found}")
    elif "\n" in message or not message:
        fail((name, "no line", *signature), found)
    elif not message.startswith(call.where) and not isinstance(error, MemoryError):
        fail((name, "nameless", *signature), found)
    elif type(error) in (TypeError, ValueError):
        words = [word for which in odd for word in (which, *call.words.get(which, ()))]
        if not any(word in message for word in words):
            fail((name, "about nothing odd", *signature), found)


def fail(signature: tuple[str, ...], text: str) -> None:
    if signature not in KNOWN:
        raise Fault(signature, f"{signature[1]}: {text}")


def place(error: BaseException, all_code: bool = False) -> str:
    """Return the innermost line of fastpg in the traceback; or of anything."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if all_code or frame.filename.startswith(PACKAGE)] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


@contextlib.contextmanager
def limited() -> Any:
    """End what takes too long, and make errors of NumPy's warnings, which nobody could act on."""

    def stop(*_: Any) -> None:
        raise Hang(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            warnings.filterwarnings("ignore", r"[\w.]+\(\): ", RuntimeWarning)  # ours: a sentence to the user
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- what is read stays as it is ----------------------------------------------------------------------------------


def memory(value: Any) -> Any:
    """Return the bytes of all arrays in the arguments, and of what they are views of."""
    if isinstance(value, dict):
        return {name: memory(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [memory(one) for one in value]
    if isinstance(value, fastpg.Policy | fastpg.ValueFunction):
        return value.theta.tobytes()
    if type(value).__module__ == "torch" and hasattr(value, "untyped_storage"):
        is_here = value.device.type == "cpu" and value.numel() < 10**6
        return bytes(value.untyped_storage()) if is_here else None
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        return repr(value) if value.dtype.hasobject else np.ndarray.tobytes(value)
    return None


def changed(name: str, text: str, before: Any, after: Any) -> None:
    if before != after:
        which = [key for key in before if before[key] != after[key]]
        fail((name, "changed", *which), f"{which} of {text}")


def in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes a call twice, without `out` and with it, and returns both results."""

    def both(out: Any, **given: Any) -> tuple[Any, Any]:
        fresh = {name: one.copy() if isinstance(one, np.ndarray) else one for name, one in given.items()}
        expected = function(**fresh)
        return function(**given, out=out), expected

    return both


def equal_results(given: dict[str, Any], results: tuple[Any, Any]) -> None:
    assert same(*results), "with this out another result"


# ---- equal results ------------------------------------------------------------------------------------------------


def _same_in_other_layouts(name: str, call: Call, arguments: dict[str, Any], data: st.DataObject) -> None:
    """The same numbers elsewhere in memory are accepted, and give the same bits."""
    moved = dict(arguments)
    for which in sorted(arguments.keys() - call.writes):
        other = data.draw(values.layouts(arguments[which]))
        moved[which] = arguments[which] if other is None else other
    expected = make(name, call, arguments, [])
    got = make(name, call, moved, [])
    if not same(got, expected):
        fail((name, "layout"), f"another result for another layout: {described(name, moved, [])}")


def same(a: Any, b: Any) -> bool:
    """Whether two results have the same bits in them."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        if a.dtype.hasobject:
            return same(a.tolist(), b.tolist())
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, fastpg.Policy | fastpg.ValueFunction):
        return same(a.theta, b.theta)
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, one.name), getattr(b, one.name)) for one in dataclasses.fields(a))
    if type(a).__module__ == "torch":
        return same(a.detach().numpy(), b.detach().numpy())
    if isinstance(a, float):
        return a == b or (a != a and b != b)
    if isinstance(a, np.generic):
        return a.tobytes() == b.tobytes()
    if a is None or isinstance(a, str | int | _core.Network):
        return a == b or isinstance(a, _core.Network)
    return True


# ---- in words -----------------------------------------------------------------------------------------------------


def described(name: str, arguments: dict[str, Any], odd: list[str]) -> str:
    listed = ", ".join(f"{'*' if key in odd else ''}{key}={shown(one)}" for key, one in arguments.items())
    return f"{name}({listed})"


def shown(value: Any) -> str:
    """Return a value so that it can be written again, as far as that is short."""
    if isinstance(value, tuple | list) and len(value) < 5:
        return f"{type(value).__name__}({', '.join(map(shown, value))})"
    if isinstance(value, np.ndarray):
        kind = "" if type(value) is np.ndarray else f"{type(value).__name__} "
        small = value.size <= 8 and not isinstance(value, np.ma.MaskedArray)
        entries = f" {value.tolist()}" if small else ""
        odd = []
        if value.dtype.kind in "fiu" and not small and value.size < 10**6 and type(value) is np.ndarray:
            odd = [x for x in value.ravel()[:64].tolist() if x and not 1e-30 < abs(x) < 1e6]
        rest = f" with {odd}" if odd else ""
        return f"<{kind}{value.dtype.str} {value.shape} strides {value.strides}{entries}{rest}>"
    if isinstance(value, types.FunctionType | type):
        return value.__name__ if isinstance(value, type) else inspect.getsource(value).strip()[:60]
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = type(value).__name__
    return text if len(text) < 120 else f"{text[:117]}..."
