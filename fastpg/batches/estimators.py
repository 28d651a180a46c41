"""Policy gradients: of an environment, in one compiled pass, or of a batch that the caller has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg._brief import Brief
from fastpg.batches.collector import Collector, Rows, play
from fastpg.envs.gymnasium.adapter import AnyEnv, GymnasiumEnv, VectorizationMode, opened
from fastpg.envs.native.registry import native_env
from fastpg.errors import without_place
from fastpg.networks.policy import Policy, require_policy
from fastpg.networks.value import ValueFunction, require_value

Form = Literal["total", "reward_to_go", "q", "td", "gae"]
MeanBaseline = Literal["batch_mean", "timestep_mean"]
Normalize = Literal["trajectory", "timestep"]
FORMS: tuple[Form, ...] = ("total", "reward_to_go", "q", "td", "gae")
MEAN_BASELINES: tuple[MeanBaseline, ...] = ("batch_mean", "timestep_mean")
NORMALIZE: tuple[Normalize, ...] = ("trajectory", "timestep")
MAX_NUM_ENVS = 2**31 - 1
MAX_COUNT = 2**40  # steps or episodes in one call
DEFAULT_NUM_ENVS = 1024
EVALUATION_ENVS = 1024  # at most so many side by side


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
    baseline_name, value = _baseline(where, form, baseline, value)
    gamma = _check.real(where, "gamma", gamma, "[0, 1]")
    lam = _check.real(where, "lam", lam, "[0, 1]")
    n_step = _check.integer(where, "n_step", n_step, 1, 2**31 - 1)
    discount_states = _check.boolean(where, "discount_states", discount_states)
    entropy_coef = _check.real(where, "entropy_coef", entropy_coef, "(-inf, inf)")
    if num_envs is not None:
        num_envs = _check.integer(where, "num_envs", num_envs, 1, MAX_NUM_ENVS)
    _check.exactly_one(where, horizon=horizon, episodes=episodes)
    if horizon is not None:
        horizon = _check.integer(where, "horizon", horizon, 1, MAX_COUNT)
    if episodes is not None:
        episodes = _check.integer(where, "episodes", episodes, 1, MAX_COUNT)
    seed = _check.seed(where, seed)
    row_baseline = _row_baseline(where, policy, baseline) if baseline_name == "caller" else None
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
            try:
                rows = collector.collect(theta, **collect)
                if row_baseline is not None:
                    phi.update(baseline="value", baseline_values=_at_rows(rows, row_baseline))
                batch = rows.of(policy.network)
                stats = _core.batch_gradient(policy.network, theta, batch, **phi, **normalized)
            except FloatingPointError as error:
                raise FloatingPointError(f"{where}: {without_place(error)}") from error
        else:
            count = min(num_envs or DEFAULT_NUM_ENVS, episodes or MAX_NUM_ENVS)
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


def _row_baseline(
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
        return numbers.astype(np.float32)

    if isinstance(baseline, np.ndarray):
        baseline = _check.as_array(where, "baseline", baseline)
        categories = policy.observations.categories
        if len(categories) != 1 or baseline.shape != categories:
            raise ValueError(
                f"{where}: an array as baseline goes with Discrete observations, one number each, "
                f"got shape {baseline.shape} for {policy.observation_space}"
            )
        table = baseline
        return lambda rows: checked(table[rows[:, 0].astype(np.int64)], len(rows))

    return lambda rows: checked(baseline(policy.observations.batch(rows)), len(rows))


def _baseline(
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


def policy_gradient(
    policy: Policy,
    obs: NDArray[np.float32],
    actions: NDArray[Any],
    weights: NDArray[np.float32],
    *,
    reduction: Literal["mean", "sum"] | None = None,
    entropy_coef: float = 0.0,
    per: Literal["sample", "trajectory"] | None = None,
    lengths: NDArray[np.int64] | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the sum or the mean of ``weights * grad log pi(actions|obs)`` over a batch, or over parts of it.

    Parameters
    ----------
    policy : Policy
    obs : float32 array, shape (..., D); or what else the observation space holds
    actions : integer or float32 array, shape (...) or (..., n), as `Policy` says
    weights : float32 array, shape (...)
        Phi_t of every transition: returns, advantages.
    reduction : {"mean", "sum"}, optional
        Over what is reduced to one gradient. By default the mean over a whole batch, and the sum over a
        trajectory: the mean of these sums over trajectories is then the estimate that
        ``normalize="trajectory"`` makes.
    entropy_coef : float
        Add the gradient of this times the entropy at each observation, reduced like the rest: an entropy
        bonus. Of a whole batch only.
    per : {"sample", "trajectory"}, optional
        One gradient for each transition, or for each trajectory; by default one for the whole batch. Their
        rows take 4 P bytes each; what is computed beside them does not grow with their number.
    lengths : integer array, shape (M,)
        With ``per="trajectory"``: how many rows each of M trajectories has, at least one. The batch is then
        one-dimensional, the trajectories one after the other in it, and the lengths add up to its size.
    out : float32 array of the result's shape, optional
        Where to write the result.

    Returns
    -------
    float32 array, shape (P,); (..., P) with ``per="sample"``; (M, P) with ``per="trajectory"``
        The ascent direction, laid out as `Policy.theta`; `out` if it is given. The same bits on any number of
        threads.

    Raises
    ------
    TypeError, ValueError
        An array has the wrong dtype or shape, or is not finite; an action is out of range; the batch is
        empty; lengths do not fit.
    FloatingPointError
        The result overflows float32.

    Examples
    --------
    >>> import numpy as np
    >>> policy = Policy.for_env("CartPole-v1", hidden=())
    >>> policy.theta[:] = 0.0
    >>> obs = np.array([[1, 2, 3, 4]], np.float32)
    >>> policy_gradient(policy, obs, np.array([1]), np.array([2.0], np.float32))  # 2 (onehot - pi) (s, 1)'
    array([-1., -2., -3., -4.,  1.,  2.,  3.,  4., -1.,  1.], dtype=float32)

    Two trajectories, of two steps and of one; their estimates differ, which tells how sure their mean is:

    >>> obs, actions = np.ones((3, 4), np.float32), np.array([0, 0, 1])
    >>> to_go = np.array([2.0, 1.0, 1.0], np.float32)
    >>> policy_gradient(policy, obs, actions, to_go, per="trajectory", lengths=np.array([2, 1]))[:, -2:]
    array([[ 1.5, -1.5],
           [-0.5,  0.5]], dtype=float32)
    """
    where = "policy_gradient()"
    network = require_policy(where, policy).network
    rows, batch_shape = policy.observations.rows(where, obs)
    flat_actions = policy.actions.flat(where, actions, batch_shape)
    flat_weights = _check.contiguous(_check.floats(where, "weights", weights, batch_shape)).reshape(-1)
    if reduction is not None:
        _check.choice(where, "reduction", reduction, ("mean", "sum"))
    shape = policy.theta.shape
    if per is not None and _check.choice(where, "per", per, ("sample", "trajectory")) == "sample":
        shape = (*batch_shape, *shape)
    starts = None
    if per == "trajectory":
        starts = _starts(where, lengths, batch_shape)
        shape = (len(starts) - 1, *shape)
    elif lengths is not None:
        raise ValueError(f'{where}: lengths goes with per="trajectory", got it with per={per!r}')
    entropy_coef = _check.real(where, "entropy_coef", entropy_coef, "(-inf, inf)")
    if entropy_coef != 0 and per is not None:
        raise ValueError(f"{where}: entropy_coef goes with a whole batch, got it with per={per!r}")
    theta = policy.checked_theta(where)
    if out is None:
        out = np.empty(shape, np.float32)
    else:
        inputs = {"policy.theta": theta, "obs": rows, "actions": flat_actions, "weights": flat_weights}
        _check.output(where, "out", out, shape, inputs)
    if per is None:
        scale = 1.0 if reduction == "sum" else 1.0 / len(rows)
        _core.policy_gradient(network, theta, rows, flat_actions, flat_weights, scale, out, entropy_coef)
    else:
        gradients = out.reshape(-1, theta.size)
        mean = reduction == "mean"
        _core.segment_gradients(network, theta, rows, flat_actions, flat_weights, starts, mean, gradients)
    return out


def _starts(where: str, lengths: Any, batch_shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the row at which each trajectory begins, and the number of rows after them."""
    if len(batch_shape) != 1:
        raise ValueError(
            f'{where}: per="trajectory" needs a one-dimensional batch, trajectories one after the other, '
            f"got the batch shape {batch_shape}"
        )
    if not _check.is_array(lengths) or lengths.dtype.kind not in "iu" or lengths.ndim != 1:
        raise TypeError(
            f"{where}: lengths must be a one-dimensional array of integers, the rows of each trajectory, "
            f"got {_check.shown(lengths)}"
        )
    lengths = lengths.astype(np.int64)  # a copy: what is checked is what is used
    if lengths.size == 0 or lengths.min() < 1 or lengths.max() > batch_shape[0]:
        raise ValueError(f"{where}: lengths must hold integers from 1 to {batch_shape[0]}, the batch's size")
    total = int(lengths.sum())
    if total != batch_shape[0]:
        raise ValueError(f"{where}: lengths must add up to the {batch_shape[0]} rows, got the sum {total}")
    return np.concatenate([[0], np.cumsum(lengths)])


def log_prob_and_entropy(
    policy: Policy, obs: NDArray[np.float32], actions: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return log pi(actions|obs) and the entropy of pi(.|obs), from one forward pass.

    Parameters
    ----------
    policy : Policy
    obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
    actions : integer or float32 array, shape (...) or (..., n), as `Policy` says

    Returns
    -------
    log_prob, entropy : float32 arrays, shape (...)
        In nats.

    Raises
    ------
    TypeError, ValueError
        An array has the wrong dtype or shape, or is not finite; an action is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> policy = Policy.for_env("CartPole-v1")
    >>> log_prob, entropy = log_prob_and_entropy(policy, np.zeros((3, 4), np.float32), np.array([0, 1, 1]))
    >>> log_prob.shape, entropy.shape
    ((3,), (3,))
    """
    where = "log_prob_and_entropy()"
    return require_policy(where, policy).log_prob_and_entropy(where, obs, actions)


def evaluate(
    env_id: AnyEnv,
    policy: Policy,
    *,
    episodes: int = 100,
    deterministic: bool = True,
    seed: int = 0,
    max_steps: int | None = None,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
    **env_params: Any,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Play whole episodes and return what each of them earned.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, what jit_env or load_env made, VectorEnv or callable
        As in `train`. A vector environment is reset first, and left in the middle of its last episodes.
    policy : Policy
    episodes : int
        How many, E. Every environment plays a quota that is fixed beforehand.
    deterministic : bool
        Take the most likely action at every step (in a Box the mean) instead of drawing one.
    seed : int
        Evaluation draws its own random numbers: episodes differ from those of training with the same seed.
    max_steps : int, optional
        End an episode here, with what it has earned so far. In an environment without a time limit a
        deterministic policy may otherwise stand still for ever. By default episodes end by themselves.
    vectorization_mode, reset_options
        As in `train`.
    **env_params
        Parameters of the environment, as in `estimate_gradient`.

    Returns
    -------
    returns : float64 array, shape (E,)
        Undiscounted.
    lengths : int64 array, shape (E,)
        In steps; `max_steps` where an episode was ended there.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the policy does not fit the environment.
    ImportError
        The environment needs a package that is not installed.
    FloatingPointError
        A reward, an observation or the policy's output is NaN or infinite.

    Examples
    --------
    >>> returns, lengths = evaluate("CartPole-v1", Policy.for_env("CartPole-v1"), episodes=10)
    >>> bool((returns == lengths).all())  # a reward of 1 for every step
    True
    """
    where = "evaluate()"
    require_policy(where, policy)
    episodes = _check.integer(where, "episodes", episodes, 1, MAX_COUNT)
    deterministic = _check.boolean(where, "deterministic", deterministic)
    seed = _check.seed(where, seed)
    if max_steps is not None:
        max_steps = _check.integer(where, "max_steps", max_steps, 1, 2**31 - 1)
    theta = policy.checked_theta(where)
    with opened(
        where, env_id, env_params, at_most=episodes,
        vectorization_mode=vectorization_mode, reset_options=reset_options,
    ) as env:  # fmt: skip
        policy.check_fits(where, env)
        if isinstance(env, GymnasiumEnv):
            try:
                return play(
                    env, policy.network, theta, episodes=episodes, deterministic=deterministic, seed=seed,
                    max_steps=max_steps,
                )  # fmt: skip
            except FloatingPointError as error:
                raise FloatingPointError(f"{where}: {without_place(error)}") from error
        core, limit = env.core, env.core.max_episode_steps
        if max_steps is not None and (limit == 0 or max_steps < limit):
            core = native_env(where, env_id, env_params, max_episode_steps=max_steps).core
        sampler = _core.Sampler(core, policy.network, min(episodes, EVALUATION_ENVS), seed)
        return sampler.evaluate(theta, episodes=episodes, deterministic=deterministic)
