"""Whether a file is a whole shared library for this machine, before the loader maps it.

The loader of Linux believes what the header says: the missing end of a truncated file is a bus error.
"""

import stat
import struct
import sys
from pathlib import Path

from fastpg import _core

_KIND = slice(4, 6)  # of the header: 32 or 64 bits, and the order of bytes
_SHARED, _NO_BITS = 3, 8  # ET_DYN, SHT_NOBITS


def check_library(where: str, file: Path) -> None:
    """Raise ValueError for what is no file, or no library that can be loaded here."""
    shown = repr(str(file))
    try:
        mode = file.stat().st_mode
    except OSError:
        raise ValueError(f"{where}: there is no file {shown}") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise ValueError(f"{where}: {shown} is {what}, not a library")
    if not sys.platform.startswith("linux"):
        return
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{where}: {shown} cannot be read: {error}") from error
    with open(_core.__file__, "rb") as library:
        problem = _problem(content, library.read(64))
    if problem:
        raise ValueError(f"{where}: {shown} is not a library that can be loaded here: {problem}")


def _problem(content: bytes, own: bytes) -> str:
    """Return what is wrong with the content of a file; `own` is the header of a library that loads."""
    if content[:4] != b"\x7fELF" or len(content) < len(own):
        return "it is no ELF file" if content[:4] != b"\x7fELF" else "it is truncated"
    if content[_KIND] != own[_KIND] or content[18:20] != own[18:20]:
        return "it was compiled for another kind of processor"
    order = "<" if sys.byteorder == "little" else ">"
    if struct.unpack_from(f"{order}H", content, 16)[0] != _SHARED:
        return "it is not linked as a shared library: compile it with -shared"
    if content[4] != 2:
        return ""  # 32 bits: other offsets
    segments, sections = struct.unpack_from(f"{order}QQ", content, 32)
    segment_size, num_segments, section_size, num_sections = struct.unpack_from(f"{order}4H", content, 54)
    needed = max(segments + num_segments * segment_size, sections + num_sections * section_size)
    if needed <= len(content):
        for k in range(num_segments):
            offset, size = struct.unpack_from(f"{order}Q16xQ", content, segments + k * segment_size + 8)
            needed = max(needed, offset + size)
        for k in range(num_sections):
            at = sections + k * section_size
            (kind,) = struct.unpack_from(f"{order}I", content, at + 4)
            offset, size = struct.unpack_from(f"{order}QQ", content, at + 24)
            needed = max(needed, 0 if kind == _NO_BITS else offset + size)
    if needed > len(content):
        return f"it is truncated, with {len(content)} bytes of {needed}"
    return ""
