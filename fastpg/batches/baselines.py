"""Baselines as users give them, in the form that the core takes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.batches.forms import MEAN_BASELINES, Form
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction, require_value


def read_baseline(
    where: str, form: Form, baseline: Any, value: ValueFunction | None
) -> tuple[str, ValueFunction | None]:
    """Return the core's name of the baseline, and the value function that the estimate reads, if any."""
    if value is not None:
        require_value(where, "value", value)
    name = "none"
    if isinstance(baseline, ValueFunction):
        if value is not None and value is not baseline:
            raise ValueError(f"{where}: baseline and value must be the same ValueFunction, got two")
        value, name = baseline, "none" if form in ("td", "gae") else "value"
    elif callable(baseline) or isinstance(baseline, np.ndarray):
        if form not in ("total", "reward_to_go"):
            raise ValueError(
                f"{where}: with form={form!r} baseline must be 'batch_mean', 'timestep_mean', "
                "a fastpg.ValueFunction or None"
            )
        name = "caller"
    elif baseline is not None:
        if not isinstance(baseline, str):
            raise TypeError(
                f"{where}: baseline must be 'batch_mean', 'timestep_mean', a fastpg.ValueFunction, another "
                f"function of observations or None, got {_check.shown(baseline)}"
            )
        name = _check.choice(where, "baseline", baseline, MEAN_BASELINES)
    if form in ("q", "td", "gae"):
        if value is None:
            raise ValueError(f"{where}: form={form!r} needs value, a fastpg.ValueFunction")
    elif name != "value" and value is not None:
        raise ValueError(f"{where}: form={form!r} does not read value; pass it as baseline to subtract it")
    return name, value


def baseline_of_rows(
    where: str, policy: Policy, baseline: Any
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a baseline of the caller as a function of the core's rows."""

    def checked(values: Any, count: int) -> NDArray[np.float32]:
        numbers = _check.as_array(where, "what baseline returned", values)
        if numbers.shape != (count,) or numbers.dtype.kind not in "fiu":
            raise ValueError(
                f"{where}: baseline must return {count} numbers for {count} observations, "
                f"got {_check.shown(numbers)}"
            )
        _check.finite(where, "what baseline returned", numbers)
        with np.errstate(over="ignore"):
            single = numbers.astype(np.float32)
        _check.finite(where, "what baseline returned, in float32,", single)
        return single

    if isinstance(baseline, np.ndarray):
        baseline = _check.as_array(where, "baseline", baseline)
        categories = policy.observations.categories
        if len(categories) != 1 or baseline.shape != categories:
            raise ValueError(
                f"{where}: an array as baseline goes with Discrete observations, one number each, "
                f"got shape {baseline.shape} for {_check.line(policy.observation_space)}"
            )
        table = baseline
        return lambda rows: checked(table[rows[:, 0].astype(np.int64)], len(rows))

    _check.takes(where, "baseline", baseline, None)
    return lambda rows: checked(baseline(policy.observations.batch(rows)), len(rows))
