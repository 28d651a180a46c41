"""Returns and advantages on arrays that you already have, whatever collected them.

Arrays are time-major, ``(T, N)``: T steps of N environments; ``(T,)`` is one environment. All real arrays are
float32, or all are float64: the arithmetic and the result have that precision. Any strides will do; arrays
whose rows are contiguous are read where they are, others (as the transpose of an ``(N, T)`` array) a small
chunk at a time, which is slower. Every number that a formula reads must be finite, or the call raises.

Flags belong to the transition: ``terminated[t]`` says that the step from t to t + 1 reached an absorbing
state, after which the value is 0; ``truncated[t]`` that a time limit cut the episode after it, where the
value is ``final_values[t]``, V of the final observation, and neither 0 nor ``values[t + 1]``, which belongs
to the next episode. Where both are set, termination wins. Libraries that store "obs t starts an episode"
instead are served by `done_from_episode_starts` and `done_from_cleanrl`.

A row whose ``mask`` is False is no transition (the filler row after an episode in Gymnasium's next-step
autoreset). It acts as if it were removed: its output is 0, what it holds is not read, and rows before it
continue with the row after it.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core

Real = TypeVar("Real", np.float32, np.float64)
Bools = NDArray[np.bool_]


def returns(
    rewards: NDArray[Real],
    terminated: Bools,
    truncated: Bools,
    *,
    gamma: float = 1.0,
    last_values: NDArray[Real] | float | None = None,
    final_values: NDArray[Real] | None = None,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
    out: NDArray[Real] | None = None,
) -> NDArray[Real]:
    """Return the reward-to-go of every transition, ``sum_{k>=t} gamma^(k-t) r_k`` within its episode.

    ``G_t = r_t + gamma * next``, where next is 0 after a termination, ``final_values[t]`` after a truncation,
    and otherwise ``G_{t+1}``. After the last row it is `last_values` or, without them, 0: the cut counts as
    an end then, so the returns of the episode that it cuts lack what came later.

    Parameters
    ----------
    rewards : float32 or float64 array, shape (T, N) or (T,)
    terminated, truncated : bool arrays, shape of `rewards`
        The flags of each transition; see the module's description.
    gamma : float
        Discount, in [0, 1].
    last_values : array, shape (N,), optional
        V of the observation after the last row; a number where the other arrays are (T,).
    final_values : array, shape of `rewards`, optional
        V of the final observation; read only where an episode was truncated (anything, NaN too, elsewhere).
    mask : bool array, shape of `rewards`, optional
        False where a row is no transition.
    bootstrap_truncated : bool
        False treats a truncation as a termination; `final_values` are not read then. Plain Monte-Carlo
        returns of data with time limits need it.
    out : array, shape and dtype of `rewards`, optional
        Where to write the result; must share no memory with the other arrays. Unspecified after an error.

    Returns
    -------
    array, shape and dtype of `rewards`

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong kind, dtype or shape, or is out of range; a number that is read is not
        finite; a transition is truncated, there are no `final_values` and `bootstrap_truncated` is True.
    FloatingPointError
        The result overflows.

    Examples
    --------
    >>> import numpy as np
    >>> rewards, ends = np.ones(4), np.array([False, True, False, False])
    >>> returns(rewards, ends, np.zeros(4, bool), gamma=0.5)
    array([1.5, 1. , 1.5, 1. ])
    >>> returns(rewards, np.zeros(4, bool), ends, gamma=0.5, final_values=np.full(4, 8.0), last_values=2.0)
    array([3.5, 5. , 2. , 2. ])
    """
    gamma = _check.fraction("returns()", "gamma", gamma)
    result: NDArray[Real] = _estimate(
        "returns", rewards, None, terminated, truncated, None, last_values, final_values, mask,
        bootstrap_truncated, gamma, out=out,
    )  # fmt: skip
    return result


def episode_returns(
    rewards: NDArray[Real],
    terminated: Bools,
    truncated: Bools,
    *,
    gamma: float = 1.0,
    mask: Bools | None = None,
    out: NDArray[Real] | None = None,
) -> NDArray[Real]:
    """Return the whole trajectory's return ``R(tau) = sum_t gamma^t r_t`` at every transition of it.

    t counts from the trajectory's first row in the arrays. A termination, a truncation and the last row end
    it, all without bootstrap.

    Parameters
    ----------
    rewards : float32 or float64 array, shape (T, N) or (T,)
    terminated, truncated : bool arrays, shape of `rewards`
    gamma : float
        Discount, in [0, 1].
    mask : bool array, shape of `rewards`, optional
        False where a row is no transition.
    out : array, shape and dtype of `rewards`, optional
        Where to write the result; must share no memory with the other arrays. Unspecified after an error.

    Returns
    -------
    array, shape and dtype of `rewards`

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong kind, dtype or shape, or is out of range; a reward is not finite.
    FloatingPointError
        The result overflows.

    Examples
    --------
    >>> import numpy as np
    >>> episode_returns(np.ones(4), np.array([False, True, False, False]), np.zeros(4, bool), gamma=0.5)
    array([1.5, 1.5, 1.5, 1.5])
    """
    gamma = _check.fraction("episode_returns()", "gamma", gamma)
    result: NDArray[Real] = _estimate(
        "episode_returns", rewards, None, terminated, truncated, None, None, None, mask, False, gamma, out=out
    )
    return result


def nstep_returns(
    rewards: NDArray[Real],
    values: NDArray[Real],
    terminated: Bools,
    truncated: Bools,
    *,
    n: int,
    last_values: NDArray[Real] | float,
    final_values: NDArray[Real] | None = None,
    gamma: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
    out: NDArray[Real] | None = None,
) -> NDArray[Real]:
    """Return the n-step return ``sum_{k<n} gamma^k r_{t+k} + gamma^n V(s_{t+n})``: an estimate of Q.

    A window that meets the end of its episode stops there: with 0 after a termination, with V of the final
    observation after a truncation. One that meets the last row stops with `last_values`. The cost grows with
    n.

    Parameters
    ----------
    rewards, values : float32 or float64 arrays, shape (T, N) or (T,)
        ``values[t]`` is V of the observation that transition t starts from.
    terminated, truncated : bool arrays, shape of `rewards`
    n : int
        At least 1.
    last_values, final_values, gamma, mask, bootstrap_truncated, out
        As in `returns`; `last_values` and `gamma` are required.

    Returns
    -------
    array, shape and dtype of `rewards`

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As in `returns`.

    References
    ----------
    Sutton and Barto, "Reinforcement learning: an introduction", 2nd edition, equation 7.1.

    Examples
    --------
    >>> import numpy as np
    >>> flags = np.zeros(4, bool)
    >>> nstep_returns(np.ones(4), np.arange(4.0), flags, flags, n=2, last_values=4.0, gamma=1.0)
    array([4., 5., 6., 5.])
    """
    gamma = _check.fraction("nstep_returns()", "gamma", gamma)
    n = _check.integer("nstep_returns()", "n", n, 1)
    result: NDArray[Real] = _estimate(
        "nstep_returns", rewards, _given("nstep_returns()", values), terminated, truncated, None,
        _given("nstep_returns()", last_values, "last_values"), final_values, mask, bootstrap_truncated, gamma,
        n=min(n, _check.MAX_STEPS), out=out,
    )  # fmt: skip
    return result


def td_errors(
    rewards: NDArray[Real],
    values: NDArray[Real],
    terminated: Bools,
    truncated: Bools,
    *,
    last_values: NDArray[Real] | float,
    final_values: NDArray[Real] | None = None,
    gamma: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
    out: NDArray[Real] | None = None,
) -> NDArray[Real]:
    """Return the temporal-difference residuals ``delta_t = r_t + gamma V(s_{t+1}) - V(s_t)``.

    ``V(s_{t+1})`` is 0 after a termination, ``final_values[t]`` after a truncation, `last_values` after the
    last row, and otherwise ``values[t + 1]``.

    Parameters
    ----------
    rewards, values : float32 or float64 arrays, shape (T, N) or (T,)
        ``values[t]`` is V of the observation that transition t starts from.
    terminated, truncated : bool arrays, shape of `rewards`
    last_values, final_values, gamma, mask, bootstrap_truncated, out
        As in `returns`; `last_values` and `gamma` are required.

    Returns
    -------
    array, shape and dtype of `rewards`

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As in `returns`.

    References
    ----------
    Sutton and Barto, "Reinforcement learning: an introduction", 2nd edition, equation 6.5.

    Examples
    --------
    >>> import numpy as np
    >>> flags = np.zeros(3, bool)
    >>> td_errors(np.ones(3), np.array([1.0, 2.0, 4.0]), flags, flags, last_values=8.0, gamma=0.5)
    array([1., 1., 1.])
    """
    gamma = _check.fraction("td_errors()", "gamma", gamma)
    result: NDArray[Real] = _estimate(
        "td_errors", rewards, _given("td_errors()", values), terminated, truncated, None,
        _given("td_errors()", last_values, "last_values"), final_values, mask, bootstrap_truncated,
        gamma, out=out,
    )  # fmt: skip
    return result


def gae(
    rewards: NDArray[Real],
    values: NDArray[Real],
    terminated: Bools,
    truncated: Bools,
    *,
    last_values: NDArray[Real] | float,
    final_values: NDArray[Real] | None = None,
    gamma: float,
    lam: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
    out: tuple[NDArray[Real], NDArray[Real]] | None = None,
) -> tuple[NDArray[Real], NDArray[Real]]:
    """Return generalised advantage estimates, and the returns that a value function is fitted to.

    ``A_t = sum_{k>=t} (gamma lam)^(k-t) delta_k`` over the rest of the episode, with the residuals of
    `td_errors`; the returns are ``A_t + V(s_t)``.

    Parameters
    ----------
    rewards, values : float32 or float64 arrays, shape (T, N) or (T,)
        ``values[t]`` is V of the observation that transition t starts from.
    terminated, truncated : bool arrays, shape of `rewards`
    last_values, final_values, gamma, mask, bootstrap_truncated
        As in `returns`; `last_values` and `gamma` are required.
    lam : float
        Trace decay, in [0, 1]: 0 gives the TD residual, 1 the return minus the value.
    out : tuple of two arrays, shape and dtype of `rewards`, optional
        Where to write the advantages and the returns; must share no memory with the other arrays or each
        other. Unspecified after an error.

    Returns
    -------
    advantages, returns : arrays, shape and dtype of `rewards`

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As in `returns`.

    References
    ----------
    Schulman et al., "High-dimensional continuous control using generalized advantage estimation", ICLR 2016,
    equation 16.

    Examples
    --------
    >>> import numpy as np
    >>> flags = np.zeros(3, bool)
    >>> gae(np.ones(3), np.zeros(3), flags, flags, last_values=0.0, gamma=1.0, lam=0.5)
    (array([1.75, 1.5 , 1.  ]), array([1.75, 1.5 , 1.  ]))
    """
    gamma = _check.fraction("gae()", "gamma", gamma)
    lam = _check.fraction("gae()", "lam", lam)
    results: tuple[NDArray[Real], NDArray[Real]] = _estimate(
        "gae", rewards, _given("gae()", values), terminated, truncated, None,
        _given("gae()", last_values, "last_values"), final_values, mask, bootstrap_truncated,
        gamma, lam, out=out,
    )  # fmt: skip
    return results


def vtrace(
    rewards: NDArray[Real],
    values: NDArray[Real],
    terminated: Bools,
    truncated: Bools,
    log_rhos: NDArray[Real],
    *,
    last_values: NDArray[Real] | float,
    final_values: NDArray[Real] | None = None,
    gamma: float,
    lam: float = 1.0,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
    out: tuple[NDArray[Real], NDArray[Real]] | None = None,
) -> tuple[NDArray[Real], NDArray[Real]]:
    """Return V-trace targets and advantages: returns corrected for data that an older policy collected.

    With ``rho_t = min(rho_bar, exp(log_rhos[t]))``, ``c_t = lam * min(c_bar, exp(log_rhos[t]))`` and the
    residuals delta of `td_errors`::

        vs_t = V(s_t) + rho_t delta_t + gamma c_t (vs_{t+1} - V(s_{t+1}))
        advantage_t = rho_t (r_t + gamma vs_{t+1} - V(s_t))

    At an episode's end and after the last row the bracket is 0, and ``vs_{t+1}`` is ``V(s_{t+1})`` as
    `td_errors` has it. The advantage is the one of the paper's policy gradient (its section 4.2), the
    importance weight included and clipped at the same rho_bar. lam as in the paper's remark 2: vs then is a
    mixture over horizons, and the advantage still uses it as it is.

    Parameters
    ----------
    rewards, values : float32 or float64 arrays, shape (T, N) or (T,)
        ``values[t]`` is V of the observation that transition t starts from.
    terminated, truncated : bool arrays, shape of `rewards`
    log_rhos : array, shape of `rewards`
        ``log pi(a_t|s_t) - log mu(a_t|s_t)``: the target policy against the one that acted.
    last_values, final_values, gamma, mask, bootstrap_truncated
        As in `returns`; `last_values` and `gamma` are required.
    lam : float
        In [0, 1].
    rho_bar, c_bar : float
        Where the ratios are clipped, in [0, inf].
    out : tuple of two arrays, shape and dtype of `rewards`, optional
        As in `gae`, for vs and the advantages.

    Returns
    -------
    vs, advantages : arrays, shape and dtype of `rewards`

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As in `returns`.

    References
    ----------
    Espeholt et al., "IMPALA: scalable distributed deep-RL with importance weighted actor-learner
    architectures", ICML 2018, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> flags, log_rhos = np.zeros(3, bool), np.log([0.5, 1.0, 2.0])
    >>> vtrace(np.ones(3), np.zeros(3), flags, flags, log_rhos, last_values=0.0, gamma=1.0)
    (array([1.5, 2. , 1. ]), array([1.5, 2. , 1. ]))
    """
    gamma = _check.fraction("vtrace()", "gamma", gamma)
    lam = _check.fraction("vtrace()", "lam", lam)
    rho_bar = _check.real("vtrace()", "rho_bar", rho_bar, "[0, inf]")
    c_bar = _check.real("vtrace()", "c_bar", c_bar, "[0, inf]")
    results: tuple[NDArray[Real], NDArray[Real]] = _estimate(
        "vtrace", rewards, _given("vtrace()", values), terminated, truncated,
        _given("vtrace()", log_rhos, "log_rhos"), _given("vtrace()", last_values, "last_values"),
        final_values, mask, bootstrap_truncated, gamma, lam, rho_bar, c_bar, out=out,
    )  # fmt: skip
    return results


def done_from_episode_starts(episode_starts: NDArray[Any], last_done: NDArray[Any]) -> Bools:
    """Return the end-of-episode flag of every transition, from Stable-Baselines3's rollout buffer.

    SB3 stores ``episode_starts[t]``: the observation of step t is the first of its episode. Transition t thus
    ended an episode if step t + 1 starts one; for the last row, that is the ``dones`` which SB3 hands to
    ``compute_returns_and_advantage``.

    SB3 does not tell truncations from terminations here. Its on-policy algorithms have already added
    ``gamma * V(final observation)`` to the reward of a truncated transition, so that the flag returned is
    exactly right as `terminated`, with nothing truncated.

    Parameters
    ----------
    episode_starts : bool or numeric array, shape (T, N) or (T,)
        Entries 0 or 1.
    last_done : bool or numeric array, shape (N,) or ()
        Whether the last transition of each environment ended its episode.

    Returns
    -------
    bool array, shape of `episode_starts`

    Raises
    ------
    TypeError, ValueError
        The arrays are not numeric, their shapes do not fit, or an entry is neither 0 nor 1.

    Examples
    --------
    >>> import numpy as np
    >>> done_from_episode_starts(np.array([1.0, 0.0, 1.0], np.float32), np.array(True))
    array([False,  True,  True])
    """
    return _shifted("done_from_episode_starts()", "episode_starts", episode_starts, "last_done", last_done)


def done_from_cleanrl(dones: NDArray[Any], next_done: NDArray[Any]) -> Bools:
    """Return the end-of-episode flag of every transition, from CleanRL's storage.

    CleanRL's ``dones[t]`` holds the flag that came with the observation of step t: it says that observation t
    starts an episode, and ``next_done`` says the same of the observation after the last step. The flag is
    "terminated or truncated"; CleanRL gives both the value 0, which passing it as `terminated` reproduces.

    Parameters
    ----------
    dones : bool or numeric array, shape (T, N) or (T,)
        Entries 0 or 1.
    next_done : bool or numeric array, shape (N,) or ()

    Returns
    -------
    bool array, shape of `dones`

    Raises
    ------
    TypeError, ValueError
        The arrays are not numeric, their shapes do not fit, or an entry is neither 0 nor 1.

    Examples
    --------
    >>> import numpy as np
    >>> done_from_cleanrl(np.array([[0.0], [0.0], [1.0]]), np.array([0.0])).ravel()
    array([False,  True, False])
    """
    return _shifted("done_from_cleanrl()", "dones", dones, "next_done", next_done)


def _shifted(where: str, name: str, starts: Any, last_name: str, last: Any) -> Bools:
    _check.refuse_tensor(where, name, starts)
    _check.refuse_tensor(where, last_name, last)
    starts = _check.zeros_and_ones(where, name, starts)
    last = _check.zeros_and_ones(where, last_name, last)
    if starts.ndim not in (1, 2) or starts.size == 0:
        raise ValueError(
            f"{where}: {name} must have shape (T, N) or (T,), none of them 0, got {starts.shape}"
        )
    if last.shape != starts.shape[1:]:
        raise ValueError(f"{where}: {last_name} must have shape {starts.shape[1:]}, got {last.shape}")
    return np.concatenate([starts[1:], last[None]])


def _given(where: str, value: Any, name: str = "values") -> Any:
    """Refuse None where the core would take it for "not given"."""
    if value is None:
        raise TypeError(f"{where}: {name} must be given, got None")
    return value


def _estimate(
    name: str,
    rewards: Any,
    values: Any,
    terminated: Any,
    truncated: Any,
    log_rhos: Any,
    last_values: Any,
    final_values: Any,
    mask: Any,
    bootstrap_truncated: Any,
    gamma: float,
    lam: float = 1.0,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    n: int = 1,
    out: Any = None,
) -> Any:
    """Call the core, which checks all that it needs to; only if it refuses is the reason looked for."""
    if bootstrap_truncated is not True and bootstrap_truncated is not False:
        bootstrap_truncated = _check.boolean(f"{name}()", "bootstrap_truncated", bootstrap_truncated)
    try:
        return _core.estimate(
            name, rewards, values, terminated, truncated, log_rhos, last_values, final_values, mask,
            bootstrap_truncated, gamma, lam, rho_bar, c_bar, n, out,
        )  # fmt: skip
    except (ValueError, BufferError, OverflowError):
        pass  # Misfit; a dtype that buffers cannot hold, as datetime64; an int beyond 1e308
    _check.transitions(
        f"{name}()",
        {"rewards": rewards, "values": values, "log_rhos": log_rhos, "final_values": final_values},
        {"terminated": terminated, "truncated": truncated, "mask": mask},
        last_values,
        bootstrap_truncated,
        out,
        outputs=2 if name in ("gae", "vtrace") else 1,
        bootstraps=name != "episode_returns",
    )
    dtype = rewards.dtype
    raise FloatingPointError(f"{name}(): the result overflows {dtype}: the numbers are too large")
