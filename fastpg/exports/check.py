"""Whether an exported policy acts as the original: on random observations, deterministic and sampled."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Tuple
from numpy.typing import NDArray

from fastpg import _core
from fastpg.exports.plan import LOG_STD_RANGE, Plan
from fastpg.networks.policy import Policy

NUM_OBSERVATIONS = 1000
TOLERANCE = 1e-5  # of what the largest numbers on the way are: float32 sums in another order

# Observations (B, ...), uniforms (B, num_uniforms) or None, action mask (B, num_outputs) or None
# -> actions (B, ...), outputs (B, num_outputs).
Uniforms = NDArray[np.float32] | None
Mask = NDArray[np.bool_] | None
Act = Callable[[NDArray[Any], Uniforms, Mask], tuple[NDArray[Any], NDArray[np.float32]]]


def check(where: str, policy: Policy, plan: Plan, act: Act, *, sampled: bool, masked: bool = False) -> None:
    """Raise RuntimeError if `act`, which is made of an exported policy, does not do what the policy does."""
    rng = np.random.default_rng(0)
    obs = observations(plan, policy, rng, NUM_OBSERVATIONS)
    uniforms = mask = None
    if sampled:
        uniforms = rng.uniform(0.001, 0.999, (NUM_OBSERVATIONS, plan.num_uniforms)).astype(np.float32)
    if masked:
        mask = masks(plan, rng, NUM_OBSERVATIONS)
    actions, outputs = act(obs, uniforms, mask)
    rows, _ = policy.observations.rows(where, _as_space(policy, obs))
    wanted = _core.logits(policy.network, policy.checked_theta(where), rows)
    tolerance = TOLERANCE * max(1.0, _largest(plan, rows))
    if outputs.shape != wanted.shape or not np.abs(outputs - wanted).max() <= tolerance:
        raise RuntimeError(f"{where}: what was exported computes something else than the policy")
    shape = (NUM_OBSERVATIONS, *plan.action_shape)
    between = (drawn(plan, wanted, uniforms, mask, by) for by in (-tolerance, tolerance))
    low, high = (one.reshape(shape) for one in between)
    alike = actions.shape == shape and bool(((low <= actions) & (actions <= high)).all())
    if not alike or not are_allowed(plan, actions, mask):
        raise RuntimeError(f"{where}: what was exported acts otherwise than the policy")


def observations(plan: Plan, policy: Policy, rng: np.random.Generator, count: int) -> NDArray[Any]:
    """Return random observations (count, ...) within the space."""
    if plan.obs_categories:
        columns = [
            rng.integers(start, start + size, count)
            for start, size in zip(plan.obs_starts, plan.obs_categories, strict=True)
        ]
        return np.stack(columns, axis=-1).reshape(count, *plan.obs_shape)
    space: Any = policy.observation_space
    normal = np.clip(3 * rng.normal(size=(count, plan.num_inputs)), space.low, space.high)
    return np.asarray(normal, np.float32)


def masks(plan: Plan, rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """Return random masks (count, num_outputs) that allow something of every component."""
    mask = rng.random((count, plan.num_outputs)) < 0.5
    for begin, end, _ in plan.parts:
        mask[np.arange(count), rng.integers(begin, end, count)] = True
    return mask


def are_allowed(plan: Plan, actions: NDArray[Any], mask: Mask) -> bool:
    """Return whether a mask allows all actions (B, ...), which are within the space."""
    if mask is None:
        return True
    offsets = np.array([begin - start for begin, _, start in plan.parts])
    columns = actions.reshape(len(mask), -1) + offsets
    return bool(np.take_along_axis(mask, columns, axis=1).all())


def _as_space(policy: Policy, obs: NDArray[Any]) -> Any:
    """Return observations as the policy takes them: in a Tuple, component by component."""
    return tuple(np.moveaxis(obs, -1, 0)) if isinstance(policy.observation_space, Tuple) else obs


def drawn(
    plan: Plan, outputs: NDArray[np.float32], uniforms: Uniforms, mask: Mask, by: float
) -> NDArray[Any]:
    """Return the actions (B, action_size) at the outputs, in float64, if every number is `by` more.

    Without uniforms, the most likely ones. Rounding may tip an action over: it lies between those at -`by`
    and `by`.
    """
    x = outputs.astype(np.float64)
    if plan.head == "gaussian":
        if uniforms is not None:
            u = uniforms.astype(np.float64)
            radius, angle = np.sqrt(-2 * np.log(u[:, ::2])), 2 * np.pi * u[:, 1::2]
            pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(len(x), -1)
            std = np.exp(plan.log_std.astype(np.float64))
            if plan.state_std:
                std = np.exp(np.clip(x[:, plan.action_size :], *LOG_STD_RANGE))
            deviate = std * pairs[:, : plan.action_size]
            x = x[:, : plan.action_size] + deviate + by * (std + np.abs(deviate) * plan.state_std)
        x = x[:, : plan.action_size] + by
        if len(plan.half):
            rounding = np.sign(by) * 4 * np.spacing(np.maximum(np.abs(plan.low), np.abs(plan.high)))
            half = plan.half.astype(np.float64)
            x = (
                plan.middle + half * np.tanh(x) if len(plan.middle) else plan.low + (x + 1) * half
            ) + rounding
        return np.asarray(np.clip(x, plan.low, plan.high))
    if plan.head == "bernoulli":
        if uniforms is None:
            return (x + by > 0).astype(np.int64)
        above = uniforms + by > 1 / (1 + np.exp(np.minimum(x, 700.0)))
        return np.asarray(above, np.int64)
    columns = []
    for k, (begin, end, start) in enumerate(plan.parts):
        logits = x[:, begin:end]
        last = end - begin - 1  # of those allowed, or an array of them
        if mask is not None:
            allowed = mask[:, begin:end]
            logits = np.where(allowed, logits, -np.inf)
            last = last - allowed[:, ::-1].argmax(axis=1)
        if uniforms is None:  # the first, or last, of those that may be the largest
            best = logits >= logits.max(axis=1, keepdims=True) - 2 * abs(by)
            rival = end - begin - 1 - best[:, ::-1].argmax(axis=1)
            columns.append(start + (best.argmax(axis=1) if by < 0 else rival))
            continue
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        cumulative = np.cumsum(p / p.sum(axis=1, keepdims=True), axis=1)[:, :-1]
        passed = (uniforms[:, k : k + 1] + by > cumulative).sum(axis=1)
        columns.append(start + np.minimum(passed, last))
    return np.stack(columns, axis=-1)


def _largest(plan: Plan, rows: NDArray[np.float32]) -> float:
    """Return the largest sum of products' sizes that an output may round: cancellation costs digits."""
    layers = [(weight.astype(np.float64), bias) for weight, bias in plan.layers]  # sums that float32 overflow
    weight, bias = layers[0]
    first = np.abs(weight).sum(axis=1) if plan.obs_categories else np.abs(rows) @ np.abs(weight).T
    size = float((first + np.abs(bias)).max())
    for weight, bias in layers[1:]:
        inputs = 1.0 if plan.activation == "tanh" else size
        size = max(size, float((np.abs(weight).sum(axis=1) * inputs + np.abs(bias)).max()))
    return size
