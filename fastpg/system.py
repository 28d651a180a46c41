"""What was built, what runs, on how many threads."""

import platform
from typing import TypedDict

import numpy

from fastpg import _check, _core


class BuildInfo(TypedDict):
    """What `build_info` returns."""

    version: str
    isa: str
    isas: tuple[str, ...]
    compiler: str
    num_threads: int
    python: str
    numpy: str


def build_info() -> BuildInfo:
    """Describe the compiled core and what it runs on.

    Returns
    -------
    dict
        version of fastpg; isa in use, and isas compiled in that this CPU runs, slowest first (the environment
        variable FASTPG_ISA chooses one); compiler; num_threads; python and numpy, their versions.

    Examples
    --------
    >>> info = build_info()
    >>> info["isa"] in info["isas"]
    True
    """
    return {
        "version": _core.version(),
        "isa": _core.isa(),
        "isas": _core.isas(),
        "compiler": _core.compiler(),
        "num_threads": _core.get_num_threads(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
    }


def set_num_threads(num_threads: int) -> None:
    """Set how many threads the compiled core uses; results are the same bits for any number.

    Parameters
    ----------
    num_threads : int
        1 to 256. The start value is the number of CPUs, or the environment variable FASTPG_NUM_THREADS.

    Raises
    ------
    TypeError, ValueError
        num_threads is not an integer, or out of range.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    _core.set_num_threads(
        _check.integer("set_num_threads()", "num_threads", num_threads, 1, _core.MAX_THREADS)
    )


def get_num_threads() -> int:
    """Return how many threads the compiled core uses.

    Examples
    --------
    >>> get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()
