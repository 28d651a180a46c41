"""What `fastpg train` says of a policy: what either way of acting earns, and whether that is enough."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg.algorithms import PPO
from fastpg.envs import env_spec
from fastpg.envs.native.registry import USE_ACTION_MASK, is_native
from fastpg.training.recommended import recommended

DETERMINISTIC, STOCHASTIC = "deterministic", "stochastic"
# Where Gymnasium names no threshold: a policy that earns less over 100 episodes has not learnt the task.
LEAST_RETURNS = {
    "Blackjack-v1": -0.35,
    "CliffWalking-v1": -17.0,
    "CliffWalkingSlippery-v1": -100.0,
    "Pendulum-v1": -200.0,
}


@dataclass(frozen=True)
class Evaluation:
    """Episodes that a policy played in one way of acting: (E,) each; they were cut at `max_steps`."""

    way: str  # DETERMINISTIC, the most likely action, or STOCHASTIC, a draw
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    max_steps: int

    @property
    def mean(self) -> float:
        """Return the mean return."""
        return float(self.returns.mean())

    @property
    def num_cut(self) -> int:
        """Return how many episodes did not end by themselves."""
        return int(np.count_nonzero(self.lengths >= self.max_steps))


def verdict(deterministic: Evaluation, stochastic: Evaluation, threshold: float) -> str:
    """Return whether the threshold is reached, and if by one way of acting only, by which.

    Examples
    --------
    >>> import numpy as np
    >>> hovers, lands = (
    ...     Evaluation(way, np.array([mean]), np.array([9]), 1000)
    ...     for way, mean in ((DETERMINISTIC, -14.5), (STOCHASTIC, 203.0))
    ... )
    >>> verdict(hovers, lands, 200.0)
    'solved stochastically, not deterministically'
    """
    reached = deterministic.mean >= threshold, stochastic.mean >= threshold
    if all(reached):
        return "solved"
    if not any(reached):
        return "not solved"
    first, second = (DETERMINISTIC, STOCHASTIC) if reached[0] else (STOCHASTIC, DETERMINISTIC)
    return f"solved {_adverb(first)}, not {_adverb(second)}"


def _adverb(way: str) -> str:
    return "deterministically" if way == DETERMINISTIC else "stochastically"


def advice(deterministic: Evaluation, stochastic: Evaluation, trained: float) -> str | None:
    """Return a sentence where an evaluation is far from `trained`, the mean return at training's end."""
    for one in (deterministic, stochastic):
        if one.num_cut:
            return (
                f"{one.num_cut} of {len(one.returns)} {one.way} episodes did not end within "
                f"{one.max_steps:,} steps and were cut there; train longer, or with a time limit"
            )
    if _far_below(deterministic.mean, stochastic.mean, stochastic.returns):
        return (
            "the most likely actions earn far less than drawn ones; train longer, with a higher "
            "--target-return, or act by draws: fastpg eval --stochastic"
        )
    best = max(deterministic, stochastic, key=lambda one: one.mean)
    if _far_below(best.mean, trained, best.returns):
        return (
            f"the last episodes of training earned {trained:.1f}, far more; the policy changed since: "
            "a lower --learning-rate or larger iterations make it steadier"
        )
    return None


def _far_below(mean: float, other: float, returns: NDArray[np.float64]) -> bool:
    """Return whether it lacks more than the spread and a tenth of the other; no for NaN."""
    return other - mean > max(float(returns.std()), 0.1 * abs(other))


def threshold_with(env_params: Mapping[str, Any], threshold: float | None) -> float | None:
    """Return the threshold that a run in an environment with parameters is judged by: of another task, none.

    Examples
    --------
    >>> threshold_with({}, 475.0), threshold_with({"sutton_barto_reward": True}, 475.0)
    (475.0, None)
    """
    return None if env_params.keys() - {USE_ACTION_MASK} else threshold


def least_return(env_id: Any, threshold: float | None) -> float:
    """Return the mean return below which a run is given advice: the threshold where there is one."""
    if threshold is not None:
        return threshold
    return LEAST_RETURNS.get(env_spec("train", env_id).id, -math.inf) if _has_id(env_id) else -math.inf


def _has_id(env_id: Any) -> bool:
    """Return whether this is the id of a native environment, not one of the user's own."""
    return isinstance(env_id, str) and is_native(env_id)


def what_to_try(env_id: Any, settings: Mapping[str, Any]) -> str:
    """Return advice for a run of `train` with these arguments that did not reach what it should.

    Examples
    --------
    >>> what_to_try("Pendulum-v1", recommended("Pendulum-v1") | {"total_steps": 1000})
    'try fastpg train Pendulum-v1 without other options, whose settings are known to learn it'
    """
    if not _has_id(env_id):
        if isinstance(settings["algorithm"], PPO):
            return f"try more --total-steps than {settings['total_steps']:,}, or another --learning-rate"
        return "try --algorithm ppo --normalize-observations --normalize-rewards"
    native_id = env_spec("train", env_id).id
    if any(settings[name] != value for name, value in recommended(native_id).items()):
        return f"try fastpg train {native_id} without other options, whose settings are known to learn it"
    return f"try another --seed, or more --total-steps than {settings['total_steps']:,}"
