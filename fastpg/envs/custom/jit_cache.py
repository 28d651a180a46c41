"""Compiled environments on disk: one file each, which is whole or is not used.

A file that is damaged, or a folder that cannot be written, is a warning: the environment is compiled then.
"""

import hashlib
import os
import sys
import tempfile
import warnings
from pathlib import Path

_MAGIC = b"fastpg compiled environment 1\n"
_DIGEST_SIZE = hashlib.sha256().digest_size


def folder() -> Path:
    """Return where compiled environments are kept; RuntimeError if there is no home folder."""
    chosen = os.environ.get("FASTPG_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir())) / "fastpg"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastpg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastpg"


def read(where: str, name: str) -> bytes | None:
    """Return what was kept under a name; None if there is nothing that can be used."""
    try:
        text = (folder() / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError, RuntimeError):
        return None
    except OSError as error:
        _warn(where, f"the compiled environment {folder() / name} cannot be read ({error})")
        return None
    content = text[len(_MAGIC) + _DIGEST_SIZE :]
    if text[: len(_MAGIC) + _DIGEST_SIZE] != _MAGIC + hashlib.sha256(content).digest():
        _warn(where, f"the compiled environment {folder() / name} is damaged")
        return None
    return content


def write(where: str, name: str, content: bytes) -> None:
    """Keep something under a name, in one step."""
    temporary = None
    try:
        target = folder() / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".tmp", delete=False) as file:
            temporary = file.name
            file.write(_MAGIC + hashlib.sha256(content).digest() + content)
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        _warn(
            where,
            f"the compiled environment cannot be kept on disk ({error}); set FASTPG_CACHE_DIR to a folder "
            "that can be written, or jit_env(cache=False)",
        )


def _warn(where: str, what: str) -> None:
    warnings.warn(f"{where}: {what}; it is compiled again in every process", RuntimeWarning, stacklevel=2)
