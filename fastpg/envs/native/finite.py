"""Any finite Markov decision process, given as arrays, as a native environment."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpg import _check
from fastpg._core import Table

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FiniteMDP:
    """A finite Markov decision process. It is accepted where an env id is, and then runs compiled.

    The observation is the number of the state: spaces are ``Discrete(S)`` and ``Discrete(A)``.

    Parameters
    ----------
    transition : array, shape (S, A, S)
        The probability of the next state. Rows of terminal states mean nothing and are not looked at.
    reward : array, shape (S, A, S) or (S, A)
        Of the transition; or of the action, whatever the next state.
    terminal : bool array, shape (S,)
        A transition into such a state pays its reward and ends the episode.
    start : array, shape (S,)
        The probability that an episode begins in the state; none of a terminal one.
    max_episode_steps : int
        Episodes are truncated after so many steps; 0 is never.
    name : str
        What messages call it.
    action_mask : bool or 0/1 array, shape (S, A), optional
        Which actions may be taken in each state, at least one: policies draw no others, and learn from these
        alone. Rows of terminal states are not looked at. By default all may.

    Raises
    ------
    TypeError, ValueError
        An array has the wrong shape, or is not what its description says.

    Examples
    --------
    Two arms: the first pays 1, the second pays 2 in three cases of four.

    >>> import fastpg
    >>> transition, reward = np.zeros((3, 2, 3)), np.zeros((3, 2, 3))
    >>> transition[0] = [[0, 1, 0], [0, 0.25, 0.75]]
    >>> reward[0] = [[0, 1, 0], [0, 0, 2]]
    >>> terminal = np.array([False, True, True])
    >>> arms = FiniteMDP(transition, reward, terminal, start=np.array([1.0, 0.0, 0.0]))
    >>> policy = fastpg.Policy.for_env(arms, hidden=())
    >>> fastpg.estimate_gradient(arms, policy, episodes=100).num_steps
    100
    """

    transition: Floats
    reward: Floats
    terminal: NDArray[np.bool_]
    start: Floats
    max_episode_steps: int = 0
    name: str = "FiniteMDP"
    action_mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        where = "FiniteMDP()"
        transition = _numbers(where, "transition", self.transition)
        if transition.ndim != 3 or 0 in transition.shape or transition.shape[0] != transition.shape[2]:
            raise ValueError(f"{where}: transition must have shape (S, A, S), got {transition.shape}")
        states, actions, _ = transition.shape
        terminal = np.array(_check.as_array(where, "terminal", self.terminal))
        if terminal.dtype != np.bool_ or terminal.shape != (states,):
            raise TypeError(f"{where}: terminal must be ({states},) bools, got {_check.shown(terminal)}")
        transition[terminal] = 0.0
        transition[terminal, :, 0] = 1.0
        reward = _numbers(where, "reward", self.reward)
        if reward.shape not in [(states, actions), (states, actions, states)]:
            raise ValueError(
                f"{where}: reward must have shape {(states, actions)} or {(states, actions, states)}, "
                f"got {reward.shape}"
            )
        start = _numbers(where, "start", self.start)
        if start.shape != (states,):
            raise ValueError(f"{where}: start must have shape {(states,)}, got {start.shape}")
        if start[terminal].any():
            raise ValueError(
                f"{where}: start must be 0 in terminal states, but state {np.argmax(start * terminal)} is one"
            )
        if not isinstance(self.name, str):
            raise TypeError(f"{where}: name must be a string, got {_check.shown(self.name)}")
        arrays: dict[str, NDArray[Any]] = {
            "transition": _distributions(where, "transition", transition),
            "reward": reward,
            "terminal": terminal,
            "start": _distributions(where, "start", start),
        }
        if self.action_mask is not None:
            arrays["action_mask"] = _mask(where, self.action_mask, terminal, (states, actions))
        for name, array in arrays.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        limit = _check.integer(where, "max_episode_steps", self.max_episode_steps, 0, 2**31 - 1)
        object.__setattr__(self, "max_episode_steps", limit)

    def __repr__(self) -> str:
        states, actions, _ = self.transition.shape
        return f"FiniteMDP({states} states, {actions} actions, name={self.name!r})"

    def table(self) -> Table:
        """Return what the kernel "tabular" reads: the next states that each action may lead to."""
        transition, terminal, reward = self.transition, self.terminal, self.reward
        states = len(terminal)
        # The possible outcomes of each row first, in the states' order; then as many as the longest row has.
        order = np.argsort(transition == 0, axis=-1, kind="stable")
        following = np.ascontiguousarray(order[:, :, : (transition > 0).sum(axis=-1).max()])
        if reward.ndim == 2:
            reward = np.broadcast_to(reward[:, :, None], transition.shape)
        probability = np.take_along_axis(transition, following, axis=-1)
        possible = np.flatnonzero(self.start)
        return Table(
            cumulative=np.cumsum(probability, axis=-1),
            next=following.astype(np.float64),
            reward=np.take_along_axis(reward, following, axis=-1) * ~terminal[:, None, None],
            terminated=(terminal[following] | terminal[:, None, None]).astype(np.float64),
            probability=probability,
            start_cumulative=np.cumsum(self.start[possible]),
            start=possible.astype(np.float64),
            obs=np.arange(states, dtype=np.float64)[None],
            obs_categories=(states,),
            action_mask=self.action_mask,
        )


def _mask(where: str, value: Any, terminal: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which actions are allowed, (S, A); all of them in terminal states."""
    mask = _check.zeros_and_ones(where, "action_mask", _check.as_array(where, "action_mask", value))
    if mask.shape != shape:
        raise ValueError(f"{where}: action_mask must have shape {shape}, got {mask.shape}")
    mask = mask | terminal[:, None]
    if not mask.any(axis=1).all():
        raise ValueError(
            f"{where}: action_mask[{int(np.argmin(mask.any(axis=1)))}] allows no action, so that there is "
            "none to take in this state"
        )
    return mask


def _numbers(where: str, name: str, value: ArrayLike) -> Floats:
    """Return finite numbers as a float64 array of our own."""
    given = _check.as_array(where, name, value)
    if given.dtype.kind not in "biuf":
        raise TypeError(f"{where}: {name} must be an array of numbers, got {_check.shown(value)}")
    array = np.array(given, np.float64)
    _check.finite(where, name, array)
    return array


def _distributions(where: str, name: str, array: Floats) -> Floats:
    """Return distributions over the last axis, whose sums may be wrong by rounding only."""
    sums = array.sum(axis=-1, keepdims=True)
    if array.min() < 0 or np.abs(sums - 1.0).max() > 1e-9:
        wrong = np.argwhere((array.min(axis=-1) < 0) | (np.abs(sums[..., 0] - 1.0) > 1e-9))[0].tolist()
        raise ValueError(
            f"{where}: {name}{wrong or ''} must be a distribution: not negative, and with the sum 1; "
            f"got {array[tuple(wrong)].tolist()}"
        )
    scaled: Floats = array / sums
    return scaled
