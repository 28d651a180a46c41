# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled core: checks what memory safety needs, releases the GIL, calls csrc/fastpg.h.

The contract of each name is in _core.pyi. Arrays come in as typed memoryviews and go out as NumPy arrays; nothing
here links against NumPy, so one abi3 build serves every Python from 3.11 on.
"""

import os
import typing

import numpy

cimport cython
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

include "capi.pxi"


MAX_WIDTH = FPG_MAX_WIDTH
MAX_HIDDEN = FPG_MAX_HIDDEN
MAX_ACTIONS = FPG_MAX_ACTIONS
MAX_COMPONENTS = FPG_MAX_COMPONENTS
MAX_THREADS = FPG_MAX_THREADS
LONGEST_EPISODE = FPG_LONGEST_EPISODE
MAX_CATEGORIES = 1 << 20  # of observations: floats count them, and inputs are as many
STOPPED = {FPG_RUNNING: "", FPG_STOPPED_TOTAL_STEPS: "total_steps", FPG_STOPPED_TARGET_RETURN: "target_return"}
ACTIVATIONS = {"tanh": FPG_TANH, "relu": FPG_RELU}
HEADS = {"categorical": FPG_CATEGORICAL, "bernoulli": FPG_BERNOULLI, "gaussian": FPG_GAUSSIAN}
FUNCTIONS = {FPG_RESET: "reset", FPG_STEP: "step", FPG_OBSERVE: "observe", FPG_MASK_ACTIONS: "mask"}
MAX_PARAMS = FPG_MAX_PARAMS
ENV_ABI = FPG_ENV_ABI
ENV_MAGIC = FPG_ENV_MAGIC
PARAMS_OFFSET, DATA_OFFSET = FPG_PARAMS_OFFSET, FPG_DATA_OFFSET  # in fpg_environment, in bytes
AUTORESET = {"next_step": FPG_NEXT_STEP, "same_step": FPG_SAME_STEP, "disabled": FPG_NO_AUTORESET}


include "options.pxi"
include "errors.pxi"
include "exclusive.pxi"
include "ranks.pxi"
include "system.pxi"
include "networks.pxi"
include "environments.pxi"
include "vector.pxi"
include "rows.pxi"
include "returns.pxi"
include "sampler.pxi"
include "normalizer.pxi"
include "batch.pxi"
include "training.pxi"
include "for_tests.pxi"
