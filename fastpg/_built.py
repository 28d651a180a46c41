"""Imported first: whoever runs Python in a clone whose core is not built is told so."""

from importlib.util import find_spec
from pathlib import Path

if find_spec("fastpg._core") is None:
    raise ImportError(
        f"{Path(__file__).parent} holds fastpg's sources, without the compiled core: run Python from "
        "another directory to use the fastpg that is installed, or build it here with `pip install -e .`"
    )
