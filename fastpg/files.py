"""A file that appears whole or not at all, wherever its path leads; that it can is tried before the work.

The content is written beside the target under a name that nobody else has, then renamed. The writer holds a
lock on it for as long as it lives: a file of such a name that nobody has locked was left by a killed process.
"""

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastpg import _check
from fastpg.errors import SaveError

try:
    import fcntl
except ImportError:  # on Windows, where modes, owners and what killed processes leave are left alone
    fcntl = None  # type: ignore[assignment]

PREFIX, SUFFIX = ".fastpg-", ".tmp"  # short: the name of the target may be as long as names can be
LEFT_SECONDS = 3600.0  # so old is what is removed: a file is not locked yet when it has just been made


def output(where: str, name: str, value: Any) -> Path:
    """Return the path of a file to write: one that is there or could be, and no device, pipe or folder."""
    path, kind, parent_is_there = _looked_up(where, name, value, "file")
    if kind != "file":
        raise ValueError(f"{where}: {name} must be a file, but {str(path)!r} is a {kind}")
    if not parent_is_there:
        raise ValueError(f"{where}: {name} lies in a directory that does not exist: {str(path)!r}")
    return path


def output_folder(where: str, name: str, value: Any) -> Path:
    """Return the path of a folder to write into: one that is there or could be."""
    path, kind, _ = _looked_up(where, name, value, "folder")
    if os.path.lexists(path) and kind != "directory":
        what = "link that leads nowhere" if path.is_symlink() and not path.exists() else kind
        raise ValueError(f"{where}: {name} must be a folder, but {str(path)!r} is a {what}")
    return path


def _looked_up(where: str, name: str, value: Any, wanted: str) -> tuple[Path, str, bool]:
    """Return a path to write to, what is there, and whether the folder that it is in exists."""
    path = _check.file_path(where, name, value)
    if not os.fspath(value):
        raise ValueError(f"{where}: {name} must be the path of a {wanted}, got {str(path)!r}")
    try:
        return path, _kind(path), _target(path).parent.is_dir()
    except OSError as error:  # a name that is too long, a loop of links
        raise ValueError(
            f"{where}: {name} must be a path to write to: {error.strerror}: {str(path)!r}"
        ) from error


def probe(where: str, path: Path, size: int) -> None:
    """Raise SaveError if so many bytes cannot be written; what is there stays."""
    with saving(where, path), _temporary(_target(path), bytes(size)):
        pass


def probe_folder(where: str, folder: Path) -> None:
    """Raise SaveError if files cannot be written into a folder, or it cannot be made; what was made goes."""
    made: list[Path] = []
    try:
        with saving(where, folder):
            for one in reversed([folder, *folder.parents]):
                if not one.exists():
                    one.mkdir()
                    made.append(one)
            with _temporary(folder / "probe", bytes(1)):
                pass
    finally:
        for one in reversed(made):
            with contextlib.suppress(OSError):  # somebody else writes into it
                one.rmdir()


def write(where: str, path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Write a file in one step; if that fails with a SaveError, or is interrupted, what was there stays.

    Without `lasting` it is left to `sync` to make it outlive a power cut.
    """
    with saving(where, path):
        target = _target(path)
        with _temporary(target, data, lasting) as temporary:
            os.replace(temporary, target)
        if lasting:
            sync(target.parent)


@contextlib.contextmanager
def saving(where: str, path: Path) -> Iterator[None]:
    """Turn the system's errors about a file into a SaveError."""
    try:
        yield
    except OSError as error:
        sentence = f"{where}: {str(path)!r} cannot be written: {error.strerror or error}"
        raise SaveError(error.errno, sentence, str(path)) from error


def _target(path: Path) -> Path:
    """Return where links lead: the file there is what is replaced, not the link."""
    return Path(os.path.realpath(path))


def _kind(path: Path) -> str:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "file"  # that does not exist yet
    if stat.S_ISREG(mode):
        return "file"
    kinds = {stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


@contextlib.contextmanager
def _temporary(target: Path, data: bytes, lasting: bool = True) -> Iterator[Path]:
    """Write a file beside the target, with the target's mode and owner; remove it if it is still there."""
    existing = None
    if fcntl is not None:
        existing = _existing(target)
        _remove_left(target.parent)
    path = target.with_name(f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if existing is None else 0o600)
        with open(descriptor, "wb") as file:
            with contextlib.suppress(OSError, AttributeError):  # where there are no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if existing is not None:
                with contextlib.suppress(OSError):  # only root may give files away
                    os.fchown(descriptor, existing.st_uid, existing.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(existing.st_mode))
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(descriptor)  # or a power cut could leave the new name on an empty file
            yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _existing(target: Path) -> os.stat_result | None:
    """Return what is known of a file that will be replaced; one that may not be written may not be either."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _remove_left(folder: Path) -> None:
    """Remove what killed processes of this user left behind: old, and locked by nobody who lives."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                with contextlib.suppress(OSError):
                    _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    known = entry.stat(follow_symlinks=False)
    old = time.time() - known.st_mtime > LEFT_SECONDS
    if not (stat.S_ISREG(known.st_mode) and known.st_uid == os.geteuid() and old):
        return
    descriptor = os.open(entry.path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError while the writer lives
        os.unlink(entry.path)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file, or the new names in a folder, last through a power cut, where that can be done."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
