"""The programs in examples/."""

import importlib.util

from tests import ROOT


def load(name):
    """Return an example as a module."""
    example = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(example)
    example.loader.exec_module(module)
    return module
