"""Batches: what policies saw and did, as arrays, whoever collected them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg._brief import Brief
from fastpg.action_masks import mask_rows, require_allowed
from fastpg.batches import returns as estimates
from fastpg.batches.episodes import episode_sums
from fastpg.networks.policy import Policy

Array = TypeVar("Array")  # of NumPy, or a tensor


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batch(Brief, Generic[Array]):
    """T steps of N environments, time first, and the K episodes that ended in them: what `collect` returns.

    Attributes
    ----------
    obs : float32, (T, N, D); int64 (T, N) for Discrete, (T, N, k) for MultiDiscrete; a tuple of k for a Tuple
        What the policy saw.
    actions : int64, (T, N) or (T, N, n); float32, (T, N, n) for a Box
        What it drew. In a Box they are neither clipped, scaled nor squashed: the environment got
        ``policy.env_actions(actions)``.
    log_probs : float32, (T, N), or None
        log pi(actions|obs), as `Policy.log_prob` says.
    rewards : float32, (T, N)
    terminated, truncated : bool, (T, N)
        Of the transition t; both are True where a time limit met an absorbing state, as in Gymnasium.
    last_obs : as `obs`, without T
        What comes after the last row: ``obs[0]`` of the next call. A new episode's where one has just ended.
        None where it was not given; like `final_obs`.
    ends : int64, (K, 2)
        The rows (t, n) that ended an episode, sorted.
    final_obs : as `obs`, (K, ...)
        The observation after each of these transitions, which no row of `obs` has.
    episode_returns : float64, (K,)
        Undiscounted, of the whole episode, also where it began in an earlier call.
    episode_lengths : int64, (K,)
        In steps.
    entropy : float
        The policy's mean entropy over the rows, in nats.
    values : float32, (T, N), or None
        V(obs), if `collect` was given a value function; like the next two.
    last_values : float32, (N,), or None
        V(last_obs).
    final_values : float32, (T, N), or None
        V(final_obs) where an episode was truncated and not terminated, else 0: what `gae` takes.
    mask : bool, (T, N), or None
        False where a row is no transition but a reset, of Gymnasium environments whose autoreset costs a
        step: `Batch.gae` heeds it, `fastpg.gae` and its relatives take it, and a loss has to leave such rows
        out. None: every row is one.
    action_mask : bool, (T, N, A), or None
        Which of the categories of an action were allowed, those of all components one after the other: where
        the environment has a mask, or was asked for it by ``use_action_mask``. None: all were.

    Examples
    --------
    >>> import numpy as np
    >>> no = np.zeros((2, 1), bool)
    >>> obs = np.zeros((2, 1, 4), np.float32)
    >>> batch = Batch.from_arrays(obs, no.astype(int), no.astype(np.float32), no, no)
    >>> batch.num_steps, batch.num_episodes
    (2, 0)
    """

    obs: Any
    actions: Array
    log_probs: Array | None
    rewards: Array
    terminated: Array
    truncated: Array
    last_obs: Any
    ends: Array
    final_obs: Any
    episode_returns: Array
    episode_lengths: Array
    entropy: float
    values: Array | None
    last_values: Array | None
    final_values: Array | None
    mask: Array | None = None
    action_mask: Array | None = None
    memory: Any = field(default=None, repr=False)  # what `out=` writes to; not for users

    @property
    def num_steps(self) -> int:
        """Return the number of transitions."""
        counted: Any = self.terminated if self.mask is None else self.mask
        return int(counted.shape[0] * counted.shape[1] if self.mask is None else counted.sum())

    @property
    def num_episodes(self) -> int:
        """Return the number of episodes that ended, K."""
        return len(self.ends)  # type: ignore[arg-type]

    @property
    def mean_return(self) -> float:
        """Return the mean of `episode_returns`; NaN if no episode ended."""
        return float(self.episode_returns.mean()) if self.num_episodes else float("nan")  # type: ignore[attr-defined]

    @property
    def mean_length(self) -> float:
        """Return the mean of `episode_lengths`; NaN if no episode ended."""
        lengths: Any = self.episode_lengths
        return float(lengths.sum()) / self.num_episodes if self.num_episodes else float("nan")

    def scatter_final(self, values: Array) -> Array:
        """Return values of `final_obs`, (K,), at the rows that ended an episode, and 0 elsewhere: (T, N).

        With V of your own it is what `gae` takes as `final_values`.

        Raises
        ------
        TypeError, ValueError
            values has the wrong dtype or shape, or is not finite.
        """
        scattered: Any = scatter("Batch.scatter_final()", self, values)  # type: ignore[arg-type]
        return scattered  # type: ignore[no-any-return]

    def gae(self, *, gamma: float, lam: float) -> tuple[Array, Array]:
        """Return the advantages of `fastpg.gae` and the returns, (T, N), of what the batch has.

        `values`, `last_values`, `final_values` and `mask` are heeded; rows that are no transition have 0.

        Raises
        ------
        TypeError, ValueError
            The batch has no values, or gamma or lam is no number in [0, 1].
        FloatingPointError
            The result overflows.

        Examples
        --------
        >>> import fastpg
        >>> policy = fastpg.Policy.for_env("CartPole-v1")
        >>> value = fastpg.ValueFunction.for_env("CartPole-v1")
        >>> batch = fastpg.collect("CartPole-v1", policy, 16, value=value, num_envs=4)
        >>> advantages, returns = batch.gae(gamma=0.99, lam=0.95)
        >>> advantages.shape
        (16, 4)
        """
        return gae(self, estimates.gae, gamma, lam)  # type: ignore[arg-type]

    @classmethod
    def from_arrays(
        cls,
        obs: Any,
        actions: Any,
        rewards: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        *,
        last_obs: Any = None,
        final_obs: Any = None,
        log_probs: NDArray[np.float32] | None = None,
        mask: NDArray[np.bool_] | None = None,
        action_mask: NDArray[Any] | None = None,
    ) -> "Batch[NDArray[Any]]":
        """Make a batch of arrays of your own: T steps of N environments, time first.

        Parameters
        ----------
        obs, actions, rewards, terminated, truncated, log_probs, mask, action_mask
            As the attributes say. Flags are of the transition in their row. Whether observations and actions
            fit a policy, `Agent.update` finds out.
        last_obs : as `obs`, without T, optional
            What follows the last row. Needed by algorithms that bootstrap ("gae", "td", "q").
        final_obs : as `obs`, (K, ...), optional
            The observation after each transition that ended an episode, in the order of (t, n). Needed by the
            same algorithms where an episode was truncated.

        Returns
        -------
        Batch
            Returns and lengths are those of the episodes' rows in the batch.

        Raises
        ------
        TypeError, ValueError
            An array has the wrong dtype or shape, or is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> rewards = np.ones((3, 2), np.float32)
        >>> terminated = np.array([[False, False], [False, True], [False, False]])
        >>> obs, actions = np.zeros((3, 2, 4), np.float32), np.zeros((3, 2), int)
        >>> batch = Batch.from_arrays(obs, actions, rewards, terminated, np.zeros((3, 2), bool))
        >>> batch.episode_returns, batch.ends
        (array([2.]), array([[1, 1]]))
        """
        where = "Batch.from_arrays()"
        ends_here = _flags(where, "terminated", terminated, None)
        shape = ends_here.shape
        cut_here = _flags(where, "truncated", truncated, shape)
        counts = np.ones(shape, bool) if mask is None else _flags(where, "mask", mask, shape)
        earned = _check.contiguous(_check.floats(where, "rewards", rewards, shape))
        done = (ends_here | cut_here) & counts
        returns, lengths = episodes_in(earned, done, counts)
        if log_probs is not None:
            log_probs = _check.contiguous(_check.floats(where, "log_probs", log_probs, shape))
        if action_mask is not None:
            action_mask = _check.zeros_and_ones(where, "action_mask", action_mask)
            if action_mask.ndim != 3 or action_mask.shape[:2] != shape:
                raise ValueError(
                    f"{where}: action_mask must have shape {shape} like terminated and then an entry for "
                    f"each category of an action, got {action_mask.shape}"
                )
        return Batch(
            obs=_plain(obs), actions=_plain(actions), log_probs=log_probs, rewards=earned,
            terminated=ends_here, truncated=cut_here, last_obs=_plain(last_obs), ends=np.argwhere(done),
            final_obs=_plain(final_obs),
            episode_returns=returns, episode_lengths=lengths, entropy=math.nan, values=None, last_values=None,
            final_values=None, mask=None if mask is None else counts, action_mask=action_mask,
        )  # fmt: skip

    def rows(self, where: str, policy: Policy, *, with_cuts: bool) -> _core.Batch:
        """Return the batch in the core's form, checked to fit the policy: what `Agent.update` learns from.

        `with_cuts` asks for what follows the rows that cut an episode.
        """
        terminated = _flags(where, "terminated of the batch", np.asarray(self.terminated), None)
        shape = terminated.shape
        truncated = _flags(where, "truncated of the batch", np.asarray(self.truncated), shape)
        mask = None
        if self.mask is not None:
            mask = _flags(where, "mask of the batch", np.asarray(self.mask), shape)
        rewards = _check.floats(where, "rewards of the batch", np.asarray(self.rewards), shape)
        rows, batch_shape = policy.observations.rows(where, _arrays(self.obs))
        if batch_shape != shape:
            raise ValueError(
                f"{where}: obs of the batch must begin with {shape} like terminated, got {batch_shape}"
            )
        width = rows.shape[-1]
        last = np.zeros((shape[1], width), np.float32)
        which, final = np.empty((0, 2), np.int64), np.empty((0, width), np.float32)
        if with_cuts:
            if self.last_obs is None:
                raise ValueError(
                    f"{where}: batch has no last_obs, whose value stands for what follows the last row"
                )
            last, after = policy.observations.rows(where, _arrays(self.last_obs), "last_obs of the batch")
            if after != shape[1:]:
                raise ValueError(f"{where}: last_obs of the batch must begin with {shape[1:]}, got {after}")
            cut = truncated & ~terminated
            cut = cut if mask is None else cut & mask
            if cut.any():
                which, final = self._finals(where, policy, cut)
        record: dict[str, Any] = {
            "rewards": _check.contiguous(rewards),
            "terminated": terminated.view(np.uint8),
            "truncated": truncated.view(np.uint8),
            "last_obs": _check.contiguous(last),
            "final_rows": which,
            "final_obs": final,
            "episode_returns": np.ascontiguousarray(self.episode_returns, np.float64),
            "episode_lengths": np.ascontiguousarray(self.episode_lengths, np.int64),
            "entropy": self.entropy,
            "mask": None if mask is None else mask.view(np.uint8),
        }
        actions = policy.actions.flat(where, np.asarray(self.actions), shape)
        if self.action_mask is not None:
            allowed = mask_rows(where, policy.actions, np.asarray(self.action_mask), shape, mask)
            require_allowed(where, policy.actions, actions, allowed, shape, mask)
            assert allowed is not None
            record["action_mask"] = allowed.reshape(*shape, -1)
        return _core.Batch(
            policy.network, obs=_check.contiguous(rows).reshape(*shape, width), actions=actions, **record
        )

    def _finals(
        self, where: str, policy: Policy, cut: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the rows (t, n) that a truncation cut, and the core's observations after them."""
        ends = np.asarray(self.ends)
        if ends.ndim != 2 or ends.shape[1] != 2 or ends.dtype.kind not in "iu":
            raise ValueError(
                f"{where}: ends of the batch must be integers (K, 2), got {_check.shown(self.ends)}"
            )
        if len(ends) and ((ends < 0).any() or (ends >= np.array(cut.shape)).any()):
            raise ValueError(
                f"{where}: ends of the batch must lie in {cut.shape}, the steps and environments"
            )
        if self.final_obs is None:
            t, n = np.argwhere(cut)[0]
            raise ValueError(
                f"{where}: batch has no final_obs, but truncated is True at row {t} of environment {n}: the "
                "value of its final observation stands for the rest of the episode"
            )
        rows, count = policy.observations.rows(where, _arrays(self.final_obs), "final_obs of the batch")
        if count != (len(ends),):
            raise ValueError(
                f"{where}: final_obs of the batch must hold {len(ends)} observations, one for each row that "
                f"ended an episode, got the shape {count}"
            )
        chosen = cut[ends[:, 0], ends[:, 1]]
        if np.count_nonzero(chosen) != np.count_nonzero(cut):
            raise ValueError(f"{where}: ends of the batch must have every row that ends an episode")
        return np.ascontiguousarray(ends[chosen], np.int64), np.ascontiguousarray(rows[chosen])


def gae(
    batch: Batch[Array], estimate: Callable[..., tuple[Array, Array]], gamma: float, lam: float
) -> tuple[Array, Array]:
    """Do the work of `Batch.gae` with the function of arrays or of tensors."""
    if batch.values is None or batch.last_values is None:
        raise ValueError(
            "Batch.gae(): the batch has no values; call collect(..., value=...), or gae() with V of your own"
        )
    return estimate(
        batch.rewards, batch.values, batch.terminated, batch.truncated, last_values=batch.last_values,
        final_values=batch.final_values, mask=batch.mask, gamma=gamma, lam=lam,
    )  # fmt: skip


def _flags(where: str, name: str, value: Any, shape: tuple[int, ...] | None) -> NDArray[np.bool_]:
    """Return a copy of bools (T, N), checked, each byte of it 0 or 1; `shape` is that of terminated."""
    array = _check.as_array(where, name, value)
    if array.dtype != np.bool_ or array.ndim != 2 or array.size == 0 or shape not in (None, array.shape):
        wanted = "(T, N), not empty" if shape is None else f"{shape} like terminated"
        raise ValueError(f"{where}: {name} must be bools of shape {wanted}, got {_check.shown(value)}")
    bools: NDArray[np.bool_] = array.view(np.uint8) != 0  # a view of other bytes as bools is not
    return bools


def _plain(given: Any) -> Any:
    """Return arrays of a subclass as arrays; what is none, as a tensor, stays what it is."""
    if isinstance(given, tuple):
        return tuple(map(_plain, given))
    return np.asarray(given) if isinstance(given, np.ndarray) else given


def _arrays(obs: Any) -> Any:
    """Return observations as arrays; tensors share their memory."""
    return tuple(map(np.asarray, obs)) if isinstance(obs, tuple) else np.asarray(obs)


def episodes_in(
    rewards: NDArray[Any], done: NDArray[np.bool_], counts: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the sums of rewards, and the lengths, of the episodes that end here, in order of (t, n)."""
    start = np.zeros(rewards.shape[1])
    returns, _ = episode_sums(rewards.astype(np.float64), counts, done, start)
    lengths, _ = episode_sums(counts.astype(np.float64), counts, done, start)
    order = by_step(np.argwhere(done))
    return returns[order], lengths[order].astype(np.int64)


def by_step(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each end (t, n), sorted by these, is in an order of environments and then steps."""
    order: NDArray[np.int64] = np.argsort(np.lexsort((ends[:, 0], ends[:, 1])), kind="stable")
    return order


def scatter(where: str, batch: Batch[NDArray[Any]], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Do the work of `Batch.scatter_final`; `where` is the caller."""
    ends = batch.ends
    numbers = _check.floats(where, "values", values, (len(ends),))
    result = np.zeros(batch.rewards.shape, np.float32)
    result[ends[:, 0], ends[:, 1]] = numbers
    return result
