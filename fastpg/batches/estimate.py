"""The policy gradient of an environment, estimated from fresh episodes in one compiled pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg._brief import Brief
from fastpg.batches.baselines import baseline_of_rows, read_baseline
from fastpg.batches.collector import Collector, Rows
from fastpg.batches.forms import FORMS, NORMALIZE, Form, MeanBaseline, Normalize
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.opening import AnyEnv, VectorizationMode, opened
from fastpg.envs.native.registry import DEFAULT_NUM_ENVS
from fastpg.errors import stepped_for
from fastpg.networks.policy import Policy, require_policy
from fastpg.networks.value import ValueFunction


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GradientEstimate(Brief):
    """What `estimate_gradient` returns.

    Attributes
    ----------
    gradient : float32 array, shape (P,)
        The ascent direction, laid out as `Policy.theta`.
    num_steps, num_episodes, num_trajectories : int
        Transitions; episodes that finished; and finished episodes plus fragments cut by the horizon.
    mean_return, return_std, mean_length : float
        Of the finished episodes, undiscounted, lengths in steps; NaN where none finished.
    entropy : float
        The policy's mean entropy over the transitions, in nats.
    """

    gradient: NDArray[np.float32]
    num_steps: int
    num_episodes: int
    num_trajectories: int
    mean_return: float
    mean_length: float
    return_std: float
    entropy: float


def estimate_gradient(
    env_id: AnyEnv,
    policy: Policy,
    *,
    form: Form = "reward_to_go",
    baseline: MeanBaseline | ValueFunction | Callable[[Any], Any] | NDArray[Any] | None = None,
    value: ValueFunction | None = None,
    gamma: float = 1.0,
    lam: float = 0.95,
    n_step: int = 5,
    discount_states: bool = False,
    entropy_coef: float = 0.0,
    num_envs: int | None = None,
    horizon: int | None = None,
    episodes: int | None = None,
    normalize: Normalize = "trajectory",
    seed: int = 0,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
    **env_params: Any,
) -> GradientEstimate:
    """Estimate the gradient of the expected return from fresh episodes of the policy.

    The mean over trajectories of ``sum_t grad log pi(a_t|s_t) * Phi_t``. Native environments are stepped, and
    the sum accumulated, in one compiled pass. The same seed gives the same bits on any number of threads.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, what jit_env or load_env made, VectorEnv or callable
        As in `train`. A vector environment is reset first.
    policy : Policy
    form : {"reward_to_go", "total", "q", "td", "gae"}
        Phi_t, the weight of a step:

        - "total": the whole trajectory's return, ``sum_k gamma^k r_k``;
        - "reward_to_go": the rewards from t on, ``sum_{k>=t} gamma^(k-t) r_k``; the same mean at gamma=1,
          and less variance;
        - "q": the return of `n_step` steps and ``gamma^n V(s_{t+n})``;
        - "td": ``r_t + gamma V(s_{t+1}) - V(s_t)``;
        - "gae": ``sum_k (gamma lam)^k`` times the "td" of step t+k, generalised advantages.

        The last three bootstrap: at a time limit and at the horizon's cut V of the observation there stands
        for the rest. They are unbiased where V is the policy's true value (with "gae" at lam=1, for any V,
        if every episode ends by itself).
    baseline : {"batch_mean", "timestep_mean"}, ValueFunction, callable, array or None
        What is taken off Phi_t. A mean is over the other environments of the same tile of up to 64 (where
        Python steps them: over all others), over all their steps or over their steps of the same number, so
        it leaves the expectation as it is. "td" and "gae" have V(s_t) in them: with them a ValueFunction is
        the same as `value`. With the first two forms it can be any function of a batch of observations to
        numbers, one each, or for Discrete observations the array of them; Python calls it once, between the
        steps and their gradient, with all B steps.
    value : ValueFunction, optional
        V of the forms that bootstrap.
    gamma : float
        Discount, in [0, 1].
    lam : float
        "gae": trace decay, in [0, 1]; 0 is "td".
    n_step : int
        "q": the steps whose rewards are counted.
    discount_states : bool
        Weight step t of an episode with ``gamma^t`` as well, which makes the discounted estimators unbiased
        for the discounted return; left out in practice, as by default. "total" needs no such weight, and
        gets none.
    entropy_coef : float
        Add the gradient of this times the sum of the steps' entropies, states given: an entropy bonus.
    num_envs : int
        How many environments run side by side, N. By default 1024; of environments that are not native 16, or
        as many as a vector environment has.
    horizon : int, optional
        Take this many steps of every environment, episodes following each other. The trajectory that the
        horizon cuts is treated as if its episode ended there, without bootstrap: rewards after the cut are
        missing from Phi_t, so this estimate is biased. Exactly one of `horizon`, `episodes` is given.
    episodes : int, optional
        Take exactly this many whole episodes, E. Each environment plays a fixed quota, E // N, and the first
        E % N of them one more (N is lowered to E if it is larger): which episodes count does not depend on
        how long they are, so this estimate is unbiased.
    normalize : {"trajectory", "timestep"}
        Divide the sum by the number of trajectories (with `horizon`, finished and cut ones both count): the
        textbook estimator. Or by the number of transitions: smaller by the mean length, and a ratio of two
        random numbers, thus biased by O(1/E).
    seed : int
    vectorization_mode, reset_options
        As in `train`.
    **env_params
        Parameters of the environment, as ``sutton_barto_reward=True`` for CartPole; or as in `train`.

    Returns
    -------
    GradientEstimate

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the policy does not fit the environment.
    FloatingPointError
        A reward or the gradient is not finite.

    References
    ----------
    Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement
    learning", 1992; Schulman et al., "High-dimensional continuous control using generalized advantage
    estimation", 2016.

    Examples
    --------
    >>> policy = Policy.for_env("CartPole-v1", hidden=(32,))
    >>> estimate = estimate_gradient("CartPole-v1", policy, episodes=100, num_envs=32)
    >>> estimate.gradient.shape, estimate.num_episodes
    ((226,), 100)
    """
    where = "estimate_gradient()"
    require_policy(where, policy)
    _check.choice(where, "form", form, FORMS)
    _check.choice(where, "normalize", normalize, NORMALIZE)
    baseline_name, value = read_baseline(where, form, baseline, value)
    gamma = _check.real(where, "gamma", gamma, "[0, 1]")
    lam = _check.real(where, "lam", lam, "[0, 1]")
    n_step = _check.integer(where, "n_step", n_step, 1, 2**31 - 1)
    discount_states = _check.boolean(where, "discount_states", discount_states)
    entropy_coef = _check.real(where, "entropy_coef", entropy_coef, "(-inf, inf)")
    if num_envs is not None:
        num_envs = _check.integer(where, "num_envs", num_envs, 1, _check.MAX_NUM_ENVS)
    _check.exactly_one(where, horizon=horizon, episodes=episodes)
    if horizon is not None:
        horizon = _check.integer(where, "horizon", horizon, 1, _check.MAX_COUNT)
    if episodes is not None:
        episodes = _check.integer(where, "episodes", episodes, 1, _check.MAX_COUNT)
    seed = _check.seed(where, seed)
    row_baseline = baseline_of_rows(where, policy, baseline) if baseline_name == "caller" else None
    theta = policy.checked_theta(where)
    value_theta = None if value is None else value.checked_theta(where)
    gradient = np.empty_like(policy.theta)
    collect: dict[str, Any] = {"horizon": horizon or 0, "episodes": episodes or 0}
    phi: dict[str, Any] = {"form": form, "gamma": gamma, "discount_states": discount_states}
    normalized: dict[str, Any] = {"normalize": normalize, "entropy_coef": entropy_coef, "out": gradient}
    with opened(
        where, env_id, env_params, num_envs=num_envs, at_most=episodes,
        vectorization_mode=vectorization_mode, reset_options=reset_options,
    ) as env:  # fmt: skip
        policy.check_fits(where, env)
        if value is not None:
            value.check_fits(where, "value", env.observation_space)
        if isinstance(env, GymnasiumEnv):
            collector = Collector(env, policy.network, seed, wants_final=form in ("q", "td", "gae"))
            phi.update(lam=lam, n_step=n_step, baseline=baseline_name)
            if value is not None:
                phi.update(value=value.network, value_theta=value_theta)
            with stepped_for(where):
                rows = collector.collect(theta, **collect)
                if row_baseline is not None:
                    phi.update(baseline="value", baseline_values=_at_rows(rows, row_baseline))
                batch = rows.of(policy.network)
                stats = _core.batch_gradient(policy.network, theta, batch, **phi, **normalized)
        else:
            count = min(num_envs or DEFAULT_NUM_ENVS, episodes or _check.MAX_NUM_ENVS)
            network = None if value is None else value.network
            sampler = _core.Sampler(env.core, policy.network, count, seed, network)
            if row_baseline is not None:
                stats = sampler.gradient_minus(theta, row_baseline, **collect, **phi, **normalized)
            else:
                stats = sampler.gradient(
                    theta, **collect, **phi, **normalized, baseline=baseline_name, lam=lam, n_step=n_step,
                    value_theta=value_theta,
                )  # fmt: skip
    return GradientEstimate(
        gradient=gradient,
        num_steps=int(stats["num_steps"]),
        num_episodes=int(stats["num_episodes"]),
        num_trajectories=int(stats["num_trajectories"]),
        mean_return=float(stats["mean_return"]),
        mean_length=float(stats["mean_length"]),
        return_std=float(stats["return_std"]),
        entropy=float(stats["entropy"]),
    )


def _at_rows(
    rows: Rows, baseline: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return a baseline of the rows that count, (T, N); 0 elsewhere."""
    counts = np.ones(rows.rewards.shape, bool) if rows.mask is None else rows.mask.view(np.bool_)
    values = np.zeros(counts.shape, np.float32)
    values[counts] = baseline(np.ascontiguousarray(rows.obs[counts]))
    return values
