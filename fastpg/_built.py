"""Imported first: whatever keeps fastpg from being imported is said in a sentence.

To users of Python that is an exception's. The command line catches nothing before it is imported itself, so
a hook says there in one line what is wrong.
"""

import contextlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType


def _is_the_command() -> bool:
    """Return whether this process is `fastpg` or ``python -m fastpg``."""
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    if program == "-m":  # as long as the package of the module is imported
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "fastpg"
    return Path(program).name in ("fastpg", "fastpg.exe")


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line why the command has not begun, and exit."""
    if not issubclass(kind, ImportError | KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    is_interrupted = issubclass(kind, KeyboardInterrupt)
    with contextlib.suppress(OSError, ValueError):  # nobody can be told
        if sys.stderr is not None:
            print(f"fastpg: {'interrupted' if is_interrupted else error}", file=sys.stderr)
    # As fastpg/cli/main.py has them; a variable that the core does not take is a bad value.
    sys.exit(130 if is_interrupted else 2 if str(error).startswith("FASTPG_") else 1)


if _is_the_command():
    sys.excepthook = _say

if find_spec("fastpg._core") is None:
    raise ImportError(
        f"{Path(__file__).parent} holds fastpg's sources, without the compiled core: run Python from "
        "another directory to use the fastpg that is installed, or build it here with `pip install -e .`"
    )
