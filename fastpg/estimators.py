"""Policy gradients: of an environment, in one compiled pass, or of a batch that the caller has."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg.envs.registry import native_env
from fastpg.policy import Policy, require_policy
from fastpg.value import ValueFunction

Form = Literal["total", "reward_to_go", "q", "td", "gae"]
MeanBaseline = Literal["batch_mean", "timestep_mean"]
Normalize = Literal["trajectory", "timestep"]
FORMS: tuple[Form, ...] = ("total", "reward_to_go", "q", "td", "gae")
MEAN_BASELINES: tuple[MeanBaseline, ...] = ("batch_mean", "timestep_mean")
NORMALIZE: tuple[Normalize, ...] = ("trajectory", "timestep")
MAX_NUM_ENVS = 2**31 - 1
MAX_COUNT = 2**40  # steps or episodes in one call
EVALUATION_ENVS = 1024  # at most so many side by side


@dataclass(frozen=True, slots=True, eq=False)
class GradientEstimate:
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
    env_id: str,
    policy: Policy,
    *,
    form: Form = "reward_to_go",
    baseline: MeanBaseline | ValueFunction | None = None,
    value: ValueFunction | None = None,
    gamma: float = 1.0,
    lam: float = 0.95,
    n_step: int = 5,
    discount_states: bool = False,
    num_envs: int = 1024,
    horizon: int | None = None,
    episodes: int | None = None,
    normalize: Normalize = "trajectory",
    seed: int = 0,
    **env_params: bool,
) -> GradientEstimate:
    """Estimate the gradient of the expected return from fresh episodes of the policy.

    The mean over trajectories of ``sum_t grad log pi(a_t|s_t) * Phi_t``. Environments are stepped, and the
    sum accumulated, in one compiled pass. The same seed gives the same bits on any number of threads.

    Parameters
    ----------
    env_id : str
        One of `fastpg.list_envs()`.
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
    baseline : {"batch_mean", "timestep_mean"}, ValueFunction or None
        What is taken off Phi_t. A mean is over the other environments of the same tile of up to 64, over all
        their steps or over their steps of the same number, so it leaves the expectation as it is. "td" and
        "gae" have V(s_t) in them: with them a ValueFunction is the same as `value`.
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
    num_envs : int
        How many environments run side by side, N.
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
    **env_params
        Parameters of the environment, as ``sutton_barto_reward=True`` for CartPole.

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
    env = native_env(where, env_id, env_params)
    require_policy(where, policy).check_fits(where, env)
    _check.choice(where, "form", form, FORMS)
    _check.choice(where, "normalize", normalize, NORMALIZE)
    baseline_name, value = _baseline(where, form, baseline, value)
    if value is not None:
        value.check_fits(where, "value", env.observation_space)
    gamma = _check.real(where, "gamma", gamma, "[0, 1]")
    lam = _check.real(where, "lam", lam, "[0, 1]")
    n_step = _check.integer(where, "n_step", n_step, 1, 2**31 - 1)
    discount_states = _check.boolean(where, "discount_states", discount_states)
    num_envs = _check.integer(where, "num_envs", num_envs, 1, MAX_NUM_ENVS)
    _check.exactly_one(where, horizon=horizon, episodes=episodes)
    if horizon is not None:
        horizon = _check.integer(where, "horizon", horizon, 1, MAX_COUNT)
    if episodes is not None:
        episodes = _check.integer(where, "episodes", episodes, 1, MAX_COUNT)
        num_envs = min(num_envs, episodes)
    value_network = None if value is None else value.network
    sampler = _core.Sampler(env.core, policy.network, num_envs, _check.seed(where, seed), value_network)
    gradient = np.empty_like(policy.theta)
    stats = sampler.gradient(
        policy.checked_theta(where),
        form=form,
        gamma=gamma,
        horizon=horizon or 0,
        episodes=episodes or 0,
        normalize=normalize,
        out=gradient,
        baseline=baseline_name,
        lam=lam,
        n_step=n_step,
        discount_states=discount_states,
        value_theta=None if value is None else value.checked_theta(where),
    )
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


def _baseline(
    where: str, form: Form, baseline: Any, value: ValueFunction | None
) -> tuple[str, ValueFunction | None]:
    """Return the core's name of the baseline, and the value function that the estimate reads, if any."""
    if value is not None and not isinstance(value, ValueFunction):
        raise TypeError(f"{where}: value must be a fastpg.ValueFunction, got {_check.shown(value)}")
    name = "none"
    if isinstance(baseline, ValueFunction):
        if value is not None and value is not baseline:
            raise ValueError(f"{where}: baseline and value must be the same ValueFunction, got two")
        value, name = baseline, "none" if form in ("td", "gae") else "value"
    elif baseline is not None:
        if not isinstance(baseline, str):
            raise TypeError(
                f"{where}: baseline must be 'batch_mean', 'timestep_mean', a fastpg.ValueFunction or None, "
                f"got {_check.shown(baseline)}; for another function of observations collect the batch and "
                "use fastpg.policy_gradient"
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
    reduction: Literal["mean", "sum"] = "mean",
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the sum or the mean of ``weights * grad log pi(actions|obs)`` over a batch.

    Parameters
    ----------
    policy : Policy
    obs : float32 array, shape (..., D); or what else the observation space holds
    actions : integer or float32 array, shape (...) or (..., n), as `Policy` says
    weights : float32 array, shape (...)
        Phi_t of every transition: returns, advantages.
    reduction : {"mean", "sum"}
    out : float32 array, shape (P,), optional
        Where to write the result.

    Returns
    -------
    float32 array, shape (P,)
        The ascent direction, laid out as `Policy.theta`; `out` if it is given.

    Raises
    ------
    TypeError, ValueError
        An array has the wrong dtype or shape, or is not finite; an action is out of range; the batch is
        empty.
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
    """
    where = "policy_gradient()"
    network = require_policy(where, policy).network
    rows, batch_shape = policy.observations.rows(where, obs)
    flat_actions = policy.actions.flat(where, actions, batch_shape)
    flat_weights = np.ascontiguousarray(_check.floats(where, "weights", weights, batch_shape)).reshape(-1)
    _check.choice(where, "reduction", reduction, ("mean", "sum"))
    if out is None:
        out = np.empty_like(policy.theta)
    elif np.may_share_memory(_check.output(where, "out", out, policy.theta.shape), policy.theta):
        raise ValueError(f"{where}: out must not share memory with policy.theta")
    scale = 1.0 / len(rows) if reduction == "mean" else 1.0
    theta = policy.checked_theta(where)
    _core.policy_gradient(network, theta, rows, flat_actions, flat_weights, scale, out)
    return out


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
    env_id: str,
    policy: Policy,
    *,
    episodes: int = 100,
    deterministic: bool = True,
    seed: int = 0,
    **env_params: bool,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Play whole episodes and return what each of them earned.

    Parameters
    ----------
    env_id : str
        One of `fastpg.list_envs()`.
    policy : Policy
    episodes : int
        How many, E.
    deterministic : bool
        Take the most likely action at every step (in a Box the mean) instead of drawing one.
    seed : int
        Evaluation draws its own random numbers: episodes differ from those of training with the same seed.
    **env_params
        Parameters of the environment.

    Returns
    -------
    returns : float64 array, shape (E,)
        Undiscounted.
    lengths : int64 array, shape (E,)
        In steps.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the policy does not fit the environment.

    Examples
    --------
    >>> returns, lengths = evaluate("CartPole-v1", Policy.for_env("CartPole-v1"), episodes=10)
    >>> bool((returns == lengths).all())  # a reward of 1 for every step
    True
    """
    where = "evaluate()"
    env = native_env(where, env_id, env_params)
    require_policy(where, policy).check_fits(where, env)
    episodes = _check.integer(where, "episodes", episodes, 1, MAX_COUNT)
    deterministic = _check.boolean(where, "deterministic", deterministic)
    num_envs = min(episodes, EVALUATION_ENVS)
    sampler = _core.Sampler(env.core, policy.network, num_envs, _check.seed(where, seed))
    return sampler.evaluate(policy.checked_theta(where), episodes=episodes, deterministic=deterministic)
