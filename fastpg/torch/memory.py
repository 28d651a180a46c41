"""A tensor's memory as an array, or a sentence that says why there is none."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from fastpg import _check

# What torch.autograd.Function.apply asks as well; torch has no public name for it.
_transforms_are_active: Callable[[], bool] = getattr(
    torch._C, "_are_functorch_transforms_active", lambda: False
)


def require_no_transform(where: str) -> None:
    """Raise TypeError within torch.func's transforms, where plain tensors become some without memory."""
    if _transforms_are_active():
        raise TypeError(
            f"{where} cannot run within torch.func's transforms (grad, vmap, jvp), whose tensors have no "
            "memory that compiled code can read; call it outside of them, as with backward()"
        )


def memory(where: str, name: str, tensor: Tensor) -> NDArray[Any]:
    """Return the memory of a CPU tensor that requires no gradient, with its strides; nothing is copied."""
    try:
        array: NDArray[Any] = tensor.numpy()
    except (RuntimeError, TypeError) as error:
        require_no_transform(where)
        raise TypeError(
            f"{where}: {name} has no memory that compiled code can read ({_check.line(error)})"
        ) from error
    return array
