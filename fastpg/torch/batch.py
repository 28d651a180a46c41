"""A batch of tensors in the core's form, and what the core computes of it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastpg import _check, _core
from fastpg.action_masks import Mask, mask_rows, require_allowed
from fastpg.torch.memory import memory
from fastpg.torch.reading import ModuleParameters

LARGEST = float(np.finfo(np.float32).max)
LARGE_LOG_RATIO = 40.0  # a ratio of 1e17: if something has overflowed, it is by this


class Batch:
    """A batch in the core's form, and what the core computes of it. The kernels find what is not finite."""

    def __init__(
        self, where: str, read: ModuleParameters, obs: Any, actions: Any, action_mask: Any = None
    ) -> None:
        self.where = where
        self.read = read
        self.numbers: dict[str, NDArray[np.float32]] = {}  # of the rows, (B,), by the arguments' names
        if read.observations.categories:
            columns = [array_of(where, "obs", one) for one in (obs if type(obs) in (tuple, list) else (obs,))]
            self.rows, self.shape = read.observations.rows(
                where, tuple(columns) if type(obs) in (tuple, list) else columns[0]
            )
        else:
            if isinstance(obs, Tensor) and obs.dtype == torch.int64:
                raise TypeError(
                    f"{where}: obs must be float32, got int64; convert it with obs.to(torch.float32), or, "
                    "where these are categories, pass their observation_space"
                )
            rows = array_of(where, "obs", obs, torch.float32)
            width = read.network.num_inputs
            if rows.ndim == 0 or rows.shape[-1] != width or rows.size == 0:
                _check.observations(where, "obs", rows, width)
            self.shape = rows.shape[:-1]
            self.rows = rows if rows.ndim == 2 else rows.reshape(-1, width)
        wanted = (*self.shape, *(read.actions.space.shape or ()))
        if read.actions.head == "gaussian":
            taken = array_of(where, "actions", actions, torch.float32)
        else:
            taken = array_of(where, "actions", actions)
            if taken.dtype != np.int64 and taken.dtype.kind in "iu":
                taken = taken.astype(np.int64)
        if taken.shape != wanted or taken.dtype != read.actions.dtype or action_mask is not None:
            read.actions.flat(where, taken, self.shape)
        taken = read.actions.from_zero(taken)
        self.actions = taken if taken.ndim == 1 else taken.reshape(-1)
        self.mask: Mask | None = None
        if action_mask is not None:
            given = array_of(where, "action_mask", action_mask)
            self.mask = mask_rows(where, read.actions, given, self.shape)
            require_allowed(where, read.actions, self.actions, self.mask, self.shape)

    def take(self, **arguments: Any) -> None:
        """Take numbers of the rows: weights, log-probs."""
        for name, value in arguments.items():
            values = array_of(self.where, name, value, torch.float32)
            if values.shape != self.shape:
                raise ValueError(
                    f"{self.where}: {name} must have shape {self.shape} like obs' batch, got {values.shape}"
                )
            self.numbers[name] = values if values.ndim == 1 else values.reshape(-1)

    def loss_and_gradient(self, entropy_coef: float, reduction: str, gradient: NDArray[np.float32]) -> float:
        """Return the loss, and write its gradient by theta, (P,)."""
        scale = -1.0 if reduction == "sum" else -1.0 / len(self.rows)
        read = self.read
        try:
            loss = _core.policy_gradient(
                read.network, read.theta, self.rows, self.actions, self.numbers["weights"], scale, gradient,
                entropy_coef, True, self.mask,
            )  # fmt: skip
        except (ValueError, FloatingPointError) as error:
            raise self._explained(error) from None
        return self._within_float32(loss)

    def clipped_loss_and_gradient(
        self, clip_range: float, entropy_coef: float, reduction: str, gradient: NDArray[np.float32]
    ) -> tuple[float, tuple[float, ...]]:
        """Return the loss of PPO and what is watched of it; write the loss' gradient by theta, (P,).

        Watched are means over the rows, in the order of PPOStats: minus the surrogate, the entropy, the
        estimates k3 and k1 of the divergence, the share of the rows that are clipped.
        """
        count = len(self.rows)
        scale = -1.0 if reduction == "sum" else -1.0 / count
        read, numbers = self.read, self.numbers
        try:
            surrogate, entropy, k1, k3, num_clipped = _core.clipped_gradient(
                read.network, read.theta, self.rows, self.actions, numbers["advantages"],
                numbers["old_log_probs"], scale, clip_range, entropy_coef, gradient, self.mask,
            )  # fmt: skip
        except (ValueError, FloatingPointError) as error:
            explained = self._explained(error)
            if isinstance(error, FloatingPointError):
                self._require_ratios()
            raise explained from None
        watched = -surrogate / count, entropy / count, k3 / count, k1 / count, num_clipped / count
        return self._within_float32(scale * (surrogate + entropy_coef * entropy)), watched

    def loss(self, entropy_coef: float, reduction: str) -> float:
        """Return the loss alone, at the cost of a forward pass."""
        weights = self.numbers["weights"]
        log_prob, entropy = self.log_prob_and_entropy()
        _check.finite(self.where, "weights", weights)
        total = np.dot(weights.astype(np.float64), log_prob.astype(np.float64))
        total += entropy_coef * entropy.sum(dtype=np.float64)
        return self._within_float32(float(-total if reduction == "sum" else -total / len(self.rows)))

    def log_prob_and_entropy(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return both, (B,)."""
        read = self.read
        # Looked at here: a forward pass may lose an infinity (tanh(inf) is 1), and does not mind a NaN.
        _check.finite(self.where, "obs", self.rows)
        if read.actions.head == "gaussian":
            _check.finite(self.where, "actions", self._actions_by_row())
        try:
            return _core.log_prob_and_entropy(read.network, read.theta, self.rows, self.actions, self.mask)
        except (ValueError, FloatingPointError) as error:
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> Exception:
        """Raise what is wrong with the batch, if anything is; else return the core's error."""
        where, read = self.where, self.read
        if isinstance(error, FloatingPointError):
            _check.finite(where, "obs", self.rows)
            for name, values in self.numbers.items():
                _check.finite(where, name, values)
            _check.finite(where, "the module's parameters", read.theta)
        read.actions.flat(where, self._actions_by_row(), (len(self.rows),))
        return type(error)(f"{where}: {str(error).partition(': ')[2]}")

    def _within_float32(self, loss: float) -> float:
        """Return the loss if a float32 tensor can hold it."""
        if abs(loss) > LARGEST:
            raise FloatingPointError(f"{self.where}: the loss is {loss:.4g}, which is too large for float32")
        return loss

    def _require_ratios(self) -> None:
        """Raise if a ratio pi / pi_old is what overflowed."""
        log_prob, _ = self.log_prob_and_entropy()
        log_ratios = log_prob - self.numbers["old_log_probs"]
        row = int(log_ratios.argmax())
        if log_ratios[row] > LARGE_LOG_RATIO:
            raise FloatingPointError(
                f"{self.where}: old_log_probs[{row}] is {log_ratios[row]:.4g} less than log pi(actions|obs), "
                "so that the ratio is too large; pass the log-probs of the policy that drew the actions"
            )

    def _actions_by_row(self) -> NDArray[Any]:
        """Return the actions as the space has them, (B,) or (B, ...)."""
        return self.read.actions.shaped(self.actions, (len(self.rows),))


def array_of(where: str, name: str, value: Any, dtype: torch.dtype | None = None) -> NDArray[Any]:
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
