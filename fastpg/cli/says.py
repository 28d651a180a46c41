"""What the command line says on stderr: one line, or two."""

import contextlib
import sys

from fastpg.errors import SaveError


def fail(message: str | BaseException, code: int) -> int:
    """Say why the run failed, with the notes that an exception has; return the exit code."""
    say(sentence(message) if isinstance(message, BaseException) else message)
    return code


def say(text: str) -> None:
    """Say it, if there is anybody to tell."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # nobody can be told
            print(f"fastpg: {text}", file=sys.stderr)


def sentence(error: BaseException) -> str:
    """Return an exception and its notes as one line."""
    if isinstance(error, OSError) and not isinstance(error, SaveError) and error.filename:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or {KeyboardInterrupt: "interrupted", MemoryError: "out of memory"}.get(
            type(error), type(error).__name__
        )
    return " ".join([text, *getattr(error, "__notes__", [])])
