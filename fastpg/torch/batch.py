"""A batch of tensors in the core's form, and what the core computes of it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastpg import _check, _core
from fastpg.torch.memory import memory
from fastpg.torch.reading import ModuleParameters


class Batch:
    """A batch in the core's form, and what the core computes of it. The kernels find what is not finite."""

    weights: NDArray[np.float32] | None = None

    def __init__(self, where: str, read: ModuleParameters, obs: Any, actions: Any) -> None:
        self.where = where
        self.read = read
        if read.observations.categories:
            columns = [_array(where, "obs", one) for one in (obs if type(obs) in (tuple, list) else (obs,))]
            self.rows, self.shape = read.observations.rows(
                where, tuple(columns) if type(obs) in (tuple, list) else columns[0]
            )
        else:
            rows = _array(where, "obs", obs, torch.float32)
            width = read.network.num_inputs
            if rows.ndim == 0 or rows.shape[-1] != width or rows.size == 0:
                _check.observations(where, "obs", rows, width)
            self.shape = rows.shape[:-1]
            self.rows = rows if rows.ndim == 2 else rows.reshape(-1, width)
        wanted = (*self.shape, *(read.actions.space.shape or ()))
        if read.actions.head == "gaussian":
            taken = _array(where, "actions", actions, torch.float32)
        else:
            taken = _array(where, "actions", actions)
            if taken.dtype != np.int64 and taken.dtype.kind in "iu":
                taken = taken.astype(np.int64)
        if taken.shape != wanted or taken.dtype != read.actions.dtype:
            read.actions.flat(where, taken, self.shape)
        taken = read.actions.from_zero(taken)
        self.actions = taken if taken.ndim == 1 else taken.reshape(-1)

    def weigh(self, weights: Any) -> None:
        """Take the weights of the rows."""
        values = _array(self.where, "weights", weights, torch.float32)
        if values.shape != self.shape:
            raise ValueError(
                f"{self.where}: weights must have shape {self.shape} like obs' batch, got {values.shape}"
            )
        self.weights = values if values.ndim == 1 else values.reshape(-1)

    def loss_and_gradient(self, entropy_coef: float, reduction: str, gradient: NDArray[np.float32]) -> float:
        """Return the loss, and write its gradient by theta, (P,)."""
        scale = -1.0 if reduction == "sum" else -1.0 / len(self.rows)
        read = self.read
        assert self.weights is not None
        try:
            return _core.policy_gradient(
                read.network, read.theta, self.rows, self.actions, self.weights, scale, gradient,
                entropy_coef, True,
            )  # fmt: skip
        except (ValueError, FloatingPointError) as error:
            raise self._explained(error) from None

    def loss(self, entropy_coef: float, reduction: str) -> float:
        """Return the loss alone, at the cost of a forward pass."""
        assert self.weights is not None
        log_prob, entropy = self.log_prob_and_entropy()
        _check.finite(self.where, "weights", self.weights)
        total = np.dot(self.weights.astype(np.float64), log_prob.astype(np.float64))
        total += entropy_coef * entropy.sum(dtype=np.float64)
        return float(-total if reduction == "sum" else -total / len(self.rows))

    def log_prob_and_entropy(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return both, (B,)."""
        read = self.read
        # Looked at here: a forward pass may lose an infinity (tanh(inf) is 1), and does not mind a NaN.
        _check.finite(self.where, "obs", self.rows)
        if read.actions.head == "gaussian":
            _check.finite(self.where, "actions", self._actions_by_row())
        try:
            return _core.log_prob_and_entropy(read.network, read.theta, self.rows, self.actions)
        except (ValueError, FloatingPointError) as error:
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> Exception:
        """Raise what is wrong with the batch, if anything is; else return the core's error."""
        where, read = self.where, self.read
        if isinstance(error, FloatingPointError):
            _check.finite(where, "obs", self.rows)
            if self.weights is not None:
                _check.finite(where, "weights", self.weights)
            _check.finite(where, "the module's parameters", read.theta)
        read.actions.flat(where, self._actions_by_row(), (len(self.rows),))
        return type(error)(f"{where}: {str(error).partition(': ')[2]}")

    def _actions_by_row(self) -> NDArray[Any]:
        """Return the actions as the space has them, (B,) or (B, ...)."""
        return self.read.actions.shaped(self.actions, (len(self.rows),))


def _array(where: str, name: str, value: Any, dtype: torch.dtype | None = None) -> NDArray[Any]:
    """Return a tensor's memory as an array, C-contiguous; copied only if it is not."""
    if not isinstance(value, Tensor):
        wanted = "tensor of integers" if dtype is None else f"{_name(dtype)} tensor"
        raise TypeError(f"{where}: {name} must be a {wanted}, got {_check.shown(value)}")
    if not value.is_cpu:
        raise ValueError(
            f"{where}: {name} must lie on the CPU, got {value.device}; fastpg's kernels run there"
        )
    if dtype is not None and value.dtype != dtype:
        raise TypeError(
            f"{where}: {name} must be {_name(dtype)}, got {_name(value.dtype)}; "
            f"convert it with {name}.to(torch.{_name(dtype)})"
        )
    if value.requires_grad:
        value = value.detach()
    array = memory(where, name, value)
    return array if array.flags.c_contiguous else array.copy()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
