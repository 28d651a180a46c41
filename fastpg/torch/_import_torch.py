"""Imports torch, whose threads then leave the cores to others soon after their work.

The OpenMP runtime that torch brings lets its threads spin for milliseconds after each parallel operation, on
the cores that the compiled core's threads want next. It reads how long when it is loaded, and not again. A
tenth of a millisecond still spans the pause between two operations of torch: docs/collect.md.
"""

import os
import sys

SPINS = "10000"

if "torch" not in sys.modules and not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        import torch
    finally:
        del os.environ["GOMP_SPINCOUNT"]
else:
    import torch  # noqa: F401
