"""Returns and advantages on CPU tensors: the functions of `fastpg` on the tensors' own memory.

Arguments, shapes and errors are those of the functions of the same names in `fastpg`, with tensors for
arrays. Nothing is copied, whatever the strides. Tensors are data here, as targets and advantages are: inputs
may require a gradient, results never do.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fastpg
from fastpg import _check
from fastpg.torch.memory import memory

FLAGS = ("terminated", "truncated", "mask")
NUMBERS = ("gamma", "lam", "n", "rho_bar", "c_bar", "bootstrap_truncated")
ZEROS_AND_ONES = ("episode_starts", "last_done", "dones", "next_done")  # of any dtype, as others store them


def _array(where: str, name: str, value: Any) -> Any:
    """Return the memory of an argument if it is a tensor; what is no array is for the function to judge."""
    if not isinstance(value, Tensor) or name in NUMBERS:
        if isinstance(value, np.ndarray) and name not in NUMBERS:
            raise TypeError(
                f"{where}: {name} must be a tensor, got {_check.shown(value)}; pass "
                f"torch.from_numpy({name}), or call fastpg.{where.removeprefix('fastpg.torch.')} with arrays"
            )
        if isinstance(value, tuple) and name == "out":
            return tuple(_array(where, f"out[{i}]", one) for i, one in enumerate(value))
        return value
    if not value.is_cpu:
        raise ValueError(f"{where}: {name} must lie on the CPU, got {value.device}; pass {name}.cpu()")
    if name in ZEROS_AND_ONES:
        pass  # the function looks at them
    elif name in FLAGS:
        if value.dtype != torch.bool:
            raise TypeError(f"{where}: {name} must be bool, got {value.dtype}; convert it with {name}.bool()")
    elif value.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{where}: {name} must be float32 or float64, got {value.dtype}; convert it with {name}.float()"
        )
    if value.requires_grad:
        if name.startswith("out"):
            raise ValueError(f"{where}: {name} must not require a gradient, as none is computed")
        value = value.detach()
    return memory(where, name, value)


def _on_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays as one of tensors, with the same signature."""
    signature = inspect.signature(function)
    signature = signature.replace(
        parameters=[one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )
    names = tuple(signature.parameters)
    where = f"fastpg.torch.{function.__name__}()"

    @functools.wraps(function)
    def on_tensors(*args: Any, **kwargs: Any) -> Any:
        arrays = [_array(where, name, value) for name, value in zip(names, args, strict=False)]
        result = function(
            *arrays, *args[len(arrays) :], **{name: _array(where, name, kwargs[name]) for name in kwargs}
        )
        out = kwargs.get("out")
        if out is not None:
            return out
        if type(result) is tuple:
            return tuple(map(torch.from_numpy, result))
        return torch.from_numpy(result)

    del on_tensors.__wrapped__  # its annotations are of arrays
    on_tensors.__module__ = __name__
    on_tensors.__annotations__ = {}
    on_tensors.__signature__ = signature  # type: ignore[attr-defined]
    summary = (inspect.getdoc(function) or "").split("\n\n")[0]
    on_tensors.__doc__ = (
        f"{summary}\n\nAs `fastpg.{function.__name__}`, which describes the arguments, but on CPU tensors: "
        "float32 or float64, flags bool,\nof any strides, read in place. Results are tensors that require no "
        "gradient; `out` itself if it is given."
    )
    return on_tensors


returns: Callable[..., Tensor] = _on_tensors(fastpg.returns)
episode_returns: Callable[..., Tensor] = _on_tensors(fastpg.episode_returns)
nstep_returns: Callable[..., Tensor] = _on_tensors(fastpg.nstep_returns)
td_errors: Callable[..., Tensor] = _on_tensors(fastpg.td_errors)
gae: Callable[..., tuple[Tensor, Tensor]] = _on_tensors(fastpg.gae)
vtrace: Callable[..., tuple[Tensor, Tensor]] = _on_tensors(fastpg.vtrace)
done_from_cleanrl: Callable[..., Tensor] = _on_tensors(fastpg.done_from_cleanrl)
done_from_episode_starts: Callable[..., Tensor] = _on_tensors(fastpg.done_from_episode_starts)
