"""MuJoCo's batch: N simulations of one model on the engine's own threads.

This is what `mujoco.batch.Batch` is made of, called through the engine's C interface (mujoco/mjbatch.h). The
class in Python has no `mjb_apply`, which contact forces need: Gymnasium computes them after a step, by a
function that the step itself does not call.
"""

import ctypes
import functools
import os
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg.errors import EnvError

# What mj_rnePostConstraint computes, and a step does not.
AFTER_STEP = frozenset({"cacc", "cfrc_int", "cfrc_ext"})
NEEDED = "MuJoCo 4.0 or newer, which is not installed: pip install 'mujoco>=4.0'"
_COMPONENTS = {"qacc_warmstart": "WARMSTART", "plugin_state": "PLUGIN"}  # others are called as their field
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "mjb_makeBatch": (_POINTER, [_POINTER, _INT, _POINTER, ctypes.c_char_p, _INT]),
    "mjb_deleteBatch": (None, [_POINTER]),
    "mjb_state": (_POINTER, [_POINTER]),
    "mjb_stateComponent": (_POINTER, [_POINTER, _INT, _POINTER]),
    "mjb_output": (_POINTER, [_POINTER, ctypes.c_char_p, _POINTER, _POINTER]),
    "mjb_reset": (_INT, [_POINTER, _POINTER, _INT, _POINTER, _INT]),
    "mjb_step": (_INT, [_POINTER, _POINTER, _INT, _INT, _INT]),
    "mjb_forward": (_INT, [_POINTER, _POINTER, _INT, _INT]),
    "mjb_apply": (_INT, [_POINTER, _POINTER, _INT, _POINTER, _POINTER, _INT]),
    "mjb_status": (_POINTER, [_POINTER]),
    "mjb_error": (ctypes.c_char_p, [_POINTER, _INT]),
    "mjb_getData": (None, [_POINTER, _INT, _POINTER]),
}


class _Config(ctypes.Structure):
    """mjBatchConfig."""

    _fields_ = (("nthread", _INT), ("persistent", ctypes.c_ubyte))


@functools.cache
def is_installed() -> bool:
    """Return whether there is a MuJoCo that has a batch."""
    try:
        from mujoco import _batch  # noqa: F401
    except ImportError:
        return False
    return True


def require(where: str, what: str) -> None:
    """Raise ImportError where MuJoCo is missing, or older than its batch."""
    if not is_installed():
        raise ImportError(f"{where}: {what} needs {NEEDED}")


@functools.cache
def _library() -> ctypes.CDLL:
    """Return the engine's functions: those that its Python module links."""
    from mujoco import _batch

    library = ctypes.CDLL(_batch.__file__)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Owner:
    """An mjBatch, which goes when nothing refers to its memory any more."""

    def __init__(self, where: str, model: Any, count: int, threads: int, persistent: bool) -> None:
        self.process = os.getpid()
        self.batch = None
        self._delete = _library().mjb_deleteBatch
        message = ctypes.create_string_buffer(500)
        config = _Config(threads, persistent)
        self.batch = _library().mjb_makeBatch(
            model._address, count, ctypes.addressof(config), message, len(message)
        )
        if not self.batch:
            raise EnvError(f"{where}: MuJoCo makes no {count} simulations: {_line(message.value)}")

    def __del__(self) -> None:
        if self.batch and os.getpid() == self.process:  # a child has none of the threads to end
            self._delete(self.batch)


class Simulations:
    """N simulations of a copy of a model.

    Arrays of `field` are the engine's memory, which lives as long as one of them does.

    Parameters
    ----------
    where : str
        The caller, for errors, as in the methods.
    model : mujoco.MjModel
    count : int
        N.
    threads : int
    outputs : collection of str, optional
        The fields, beside those of states, that the engine copies out of every call. None: those that are
        asked for, in simulations that stand in the model's first state to find out which these are.
    persistent : bool
        Each simulation keeps an mjData of its own, not each thread, so that it can be looked at after a call.
        That costs some percent of a step, and is done anyway where fields are computed after the step.
    """

    def __init__(
        self,
        where: str,
        model: Any,
        count: int,
        threads: int,
        outputs: Collection[str] | None = None,
        *,
        persistent: bool = False,
    ) -> None:
        import mujoco

        self.model, self.count = model, count
        self.calls = 0  # so that what was computed from an earlier state can be told
        self._maker = where
        self._template = mujoco.MjData(model)  # for the shapes and dtypes of fields
        self._states = mujoco.mjtState
        self._all_stages = int(mujoco.mjtStage.mjSTAGE_ACC)
        self._library = library = _library()
        self._wants_after_step = not AFTER_STEP.isdisjoint(outputs or ())
        self._owner = _Owner(where, model, count, threads, persistent or self._wants_after_step)
        self._batch = self._owner.batch
        self._status = self._array(library.mjb_status(self._batch), (count,), np.dtype(np.int32))
        self._row_size = mujoco.mj_stateSize(model, int(mujoco.mjtState.mjSTATE_INTEGRATION))
        shape = (count, self._row_size)
        self.rows: NDArray[np.float64] = self._array(library.mjb_state(self._batch), shape, np.dtype(float))
        is_persistent = persistent or self._wants_after_step
        self._first_row = None if is_persistent else self.rows[0].copy()
        self.outputs: dict[str, NDArray[Any]] = {}
        self._finds_out = outputs is None
        for name in outputs or ():
            self._bind(name)
        self._after_step = ctypes.cast(library.mj_rnePostConstraint, _POINTER)

    def field(self, name: str) -> NDArray[Any]:
        """Return a live array (N, ...) of a field of mjData.

        Raises
        ------
        AttributeError
            There is none of that name, its size changes from step to step, or it is not among the outputs.
        """
        template = self._like(name)
        if template is not None:
            part = self.part_of_state(name)
            if part is not None:
                return part
            if name in self.outputs:
                return self.outputs[name]
            if not self._finds_out:
                raise AttributeError(
                    f"no formula read {name!r} of the simulations when the environment was made; "
                    "have one read it, as info()"
                )
            if self._bind(name):
                self.forward(self._maker, None)
                return self.outputs[name]
        raise AttributeError(
            f"MuJoCo's data has no field {name!r} of fixed size; mujoco.MjData documents those it has"
        )

    def part_of_state(self, name: str) -> NDArray[np.float64] | None:
        """Return the same of a field of the states, from which all others are computed; None of others."""
        template = self._like(name)
        component = getattr(self._states, f"mjSTATE_{_COMPONENTS.get(name, name.upper())}", None)
        if template is None or component is None:
            return None
        start = self._library.mjb_stateComponent(self._batch, int(component), None)
        first = (start - self.rows.ctypes.data) // self.rows.itemsize
        return self.rows[:, first : first + template.size].reshape(self.count, *template.shape)

    def _like(self, name: str) -> NDArray[Any] | None:
        """Return one simulation's field, for its shape and dtype; None where there is no array."""
        value = getattr(self._template, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return np.array(value, np.int32 if isinstance(value, int) else np.float64)
        return value if isinstance(value, np.ndarray) else None

    def _bind(self, name: str) -> bool:
        """Have a field copied out after every call, beginning with the next one."""
        start = self._library.mjb_output(self._batch, name.encode(), None, None)
        if not start:
            return False
        template = self._like(name)
        assert template is not None
        self.outputs[name] = self._array(start, (self.count, *template.shape), template.dtype)
        return True

    def begin(self, where: str, ids: NDArray[np.int32] | None) -> None:
        """Put simulations into the model's first state, for a caller who then writes qpos and qvel.

        Where no simulation has an mjData, its row is all that it is, and is copied.
        """
        if self._first_row is None:
            self._call(where, "reset", ids, None, 0)
        else:
            self.rows[slice(None) if ids is None else ids] = self._first_row

    def forward(self, where: str, ids: NDArray[np.int32] | None) -> None:
        """Compute what follows from the states that were written."""
        self._call(where, "forward", ids, self._all_stages)

    def step(self, where: str, ids: NDArray[np.int32] | None, count: int) -> None:
        """Take `count` steps of the engine, and compute what is computed after a step where it is wanted."""
        self._call(where, "step", ids, count, 0)
        if self._wants_after_step:
            self._call(where, "apply", ids, self._after_step, None, 0)
            self._call(where, "forward", ids, 0)  # computes nothing, and copies fields out

    def state(self) -> NDArray[np.float64]:
        """Return all that later steps and observations depend on, (N, size)."""
        outputs = [output.reshape(self.count, -1) for output in self.outputs.values()]
        return np.concatenate([self.rows, *outputs], axis=1, dtype=np.float64)

    def load(self, state: NDArray[np.float64]) -> None:
        """Go back to where `state` was taken."""
        self.calls += 1
        self.rows[...] = state[:, : self._row_size]
        first = self._row_size
        for output in self.outputs.values():
            size = output[0].size
            output[...] = state[:, first : first + size].reshape(output.shape)
            first += size

    def copy_to(self, i: int, data: Any) -> None:
        """Copy simulation i to a mujoco.MjData: its state, and if the batch is persistent all of it."""
        self._library.mjb_getData(self._batch, i, data._address)

    def _call(self, where: str, name: str, ids: NDArray[np.int32] | None, *arguments: Any) -> None:
        if os.getpid() != self._owner.process:
            raise EnvError(
                f"{where}: a MuJoCo environment cannot be used in a process that was forked: "
                "make another there"
            )
        self.calls += 1
        which, count = (None, self.count) if ids is None else (ids.ctypes.data, len(ids))
        function = getattr(self._library, f"mjb_{name}")
        if function(self._batch, which, count, *arguments):
            i = int(np.flatnonzero(self._status if ids is None else self._status[ids])[0])
            i = i if ids is None else int(ids[i])
            message = _line(self._library.mjb_error(self._batch, i))
            raise EnvError(f"{where}: MuJoCo failed in the simulation of environment {i}: {message}")

    def _array(self, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the engine's memory as an array that keeps the engine alive."""
        size = int(np.prod(shape)) * dtype.itemsize
        if size == 0:
            return np.empty(shape, dtype)
        memory: Any = (ctypes.c_char * size).from_address(start)
        memory.owner = self._owner
        return np.frombuffer(memory, dtype).reshape(shape)


def _line(message: bytes) -> str:
    return " ".join(message.decode(errors="replace").split())
