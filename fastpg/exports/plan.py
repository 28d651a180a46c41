"""What every form of an exported policy says: arrays, sizes, bounds, taken out of the policy once."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from fastpg.networks.action_distribution import LOG_STD_RANGE
from fastpg.networks.policy import Policy

F32 = NDArray[np.float32]

__all__ = ["LOG_STD_RANGE", "Plan", "identifier", "plan_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A policy as arrays. Its outputs are those of layer after layer, an activation between two."""

    name: str  # an identifier of C
    activation: str
    layers: tuple[tuple[F32, F32], ...]  # weight (out, in), bias (out,); the last is the head
    head: str  # "categorical", "bernoulli" or "gaussian"
    num_inputs: int
    obs_categories: tuple[int, ...]  # of observations that are categories, else ()
    obs_starts: tuple[int, ...]
    obs_shape: tuple[int, ...]  # of one observation
    categories: tuple[int, ...]  # of actions; () in a Box
    starts: tuple[int, ...]
    action_size: int
    action_shape: tuple[int, ...]  # of one action
    log_std: F32  # (action_size,) in a Box, unless it is the second half of the outputs; else ()
    state_std: bool  # it is
    low: F32  # (action_size,), of a Box, where actions are held; else ()
    high: F32
    middle: F32  # (action_size,), of the bounds, where actions are squashed: middle + half * tanh; else ()
    half: F32  # (action_size,), half of what lies between them, where actions are squashed or scaled; else ()

    @property
    def num_outputs(self) -> int:
        """Return the length of what the head puts out."""
        return len(self.layers[-1][1])

    @property
    def num_uniforms(self) -> int:
        """Return how many uniform numbers it takes to draw an action: normals come in pairs."""
        return self.action_size + self.action_size % 2 if self.head == "gaussian" else self.action_size

    @property
    def obs_offsets(self) -> tuple[int, ...]:
        """Return what is added to each component of an observation to find its column of the first layer."""
        before = np.cumsum((0, *self.obs_categories[:-1]))
        return tuple((before - np.array(self.obs_starts)).tolist()) if self.obs_categories else ()

    @property
    def parts(self) -> tuple[tuple[int, int, int], ...]:
        """Return where each component's logits begin and end, and the number of its first action."""
        ends = np.cumsum(self.categories).tolist()
        return tuple(zip([0, *ends[:-1]], ends, self.starts, strict=True))


def plan_of(where: str, policy: Policy, name: str) -> Plan:
    """Return the plan of a policy, whose parameters are copied."""
    policy = policy.copy()
    policy.checked_theta(where)
    views, seen, acted = policy.parameters(), policy.observations, policy.actions
    names = [f"hidden.{i}" for i in range(len(policy.hidden))] + ["head"]
    space: Any = policy.action_space
    bounds = (space.low, space.high) if isinstance(space, Box) else ((), ())
    low, high = (np.array(bound, np.float32).reshape(-1) for bound in bounds)
    middle = half = np.empty(0, np.float32)
    if policy.squash or policy.action_scaling:
        half = 0.5 * high - 0.5 * low
    if policy.squash:
        middle = 0.5 * low + 0.5 * high
        low, high = np.nextafter(low, high), np.nextafter(high, low)
    discrete = isinstance(policy.observation_space, Discrete)
    return Plan(
        name=identifier(name),
        activation=policy.activation,
        layers=tuple((views[f"{one}.weight"], views[f"{one}.bias"]) for one in names),
        head=acted.head,
        num_inputs=seen.num_inputs,
        obs_categories=seen.categories,
        obs_starts=seen.starts,
        obs_shape=() if discrete else (len(seen.categories) or seen.num_inputs,),
        categories=acted.categories,
        starts=acted.starts or (0,) * len(acted.categories),
        action_size=acted.size,
        action_shape=tuple(space.shape or ()),
        log_std=views.get("log_std", np.empty(0, np.float32)),
        state_std=policy.state_dependent_std,
        low=low,
        high=high,
        middle=middle,
        half=half,
    )


def identifier(name: str) -> str:
    """Return a name that C takes, made of a file's.

    Examples
    --------
    >>> identifier("CartPole-v1"), identifier("7")
    ('CartPole_v1', 'policy_7')
    """
    made = re.sub(r"\W", "_", name, flags=re.ASCII)
    return made if re.match(r"[A-Za-z]", made) else f"policy_{made}"
