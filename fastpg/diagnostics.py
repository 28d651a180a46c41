"""How good each form of the policy gradient is for one policy in one environment: its variance and its bias.

Every form is estimated from the same episodes, many batches of them: what differs between the rows of the
table is the form. The equations are in docs/policy_gradients.md.
"""

import importlib
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, exact, files
from fastpg._brief import Brief
from fastpg.algorithms import VPG
from fastpg.batches.estimate import estimate_gradient
from fastpg.envs.native.registry import EnvLike, native_env
from fastpg.errors import named
from fastpg.networks.policy import Policy, require_policy
from fastpg.networks.value import ValueFunction, require_value
from fastpg.training.train import train

__all__ = ["FORMS", "FormComparison", "FormRecord", "compare_forms", "fit_value"]

Floats = NDArray[np.float64]

# What estimate_gradient takes; VALUE stands for the value function.
VALUE = object()
SETTINGS: dict[str, dict[str, Any]] = {
    "total": {"form": "total"},
    "reward_to_go": {"form": "reward_to_go"},
    "reward_to_go - batch_mean": {"form": "reward_to_go", "baseline": "batch_mean"},
    "reward_to_go - timestep_mean": {"form": "reward_to_go", "baseline": "timestep_mean"},
    "reward_to_go - V": {"form": "reward_to_go", "baseline": VALUE},
    "q": {"form": "q", "value": VALUE},
    "td": {"form": "td", "value": VALUE},
    "gae": {"form": "gae", "value": VALUE},
}
FORMS = tuple(SETTINGS)
BIASED = ("q", "td", "gae")  # they bootstrap: unbiased only where V is the policy's true value
NEED_VALUE = tuple(name for name, settings in SETTINGS.items() if VALUE in settings.values())
MAX_BATCHES = 100_000
PLOT_FORMATS = (".png", ".svg", ".pdf")
PLOT_BYTES = 100_000  # about as many as a picture has


@dataclass(frozen=True, slots=True)
class FormRecord:
    """One form's row of a `FormComparison`. A ratio whose divisor is zero is NaN.

    Attributes
    ----------
    name : str
        One of `FORMS`.
    mean_norm : float
        The mean over the batches of the estimate's Euclidean norm.
    variance : float
        Of an estimate from one batch, over all parameters: the trace of the covariance (divisor B - 1).
    signal_to_noise : float
        The squared norm of the mean estimate over the variance. From B batches the squared norm of the mean
        is too large by variance / B on average; that is subtracted, so a form that is all noise has a ratio
        around 0, of either sign.
    cosine : float
        Of the angle between the mean over the batches and the reference gradient.
    relative_variance : float
        The variance over that of "total", from the same episodes.
    """

    name: str
    mean_norm: float
    variance: float
    signal_to_noise: float
    cosine: float
    relative_variance: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FormComparison(Brief):
    """What `compare_forms` returns; `str` of it is a table.

    Attributes
    ----------
    env_id : str
    gamma : float
    episodes, batches : int
        Episodes in a batch, and the number of batches, B.
    mean_return : float
        Of all the episodes, undiscounted.
    records : tuple of FormRecord
        In the order in which the forms were asked for.
    reference : {"exact", "large batch"}
        What the cosines refer to: the exact gradient of the discounted return (`fastpg.exact`), in tabular
        environments. Elsewhere the mean over the batches of all unbiased forms that were asked for and of
        "total": a form's own noise is in it as well, which flatters the cosine of an unbiased form.
    reference_gradient : float64 array, shape (P,)
    mean_score_standard_errors : float
        How far the mean score of an episode, ``E[sum_t grad log pi(a_t|s_t)] = 0``, was found from zero, as a
        deviate of the standard normal distribution: above 4, something is wrong with the scores or
        the sampling.
    """

    env_id: str
    gamma: float
    episodes: int
    batches: int
    mean_return: float
    records: tuple[FormRecord, ...]
    reference: Literal["exact", "large batch"]
    reference_gradient: Floats
    mean_score_standard_errors: float

    def __getitem__(self, name: str) -> FormRecord:
        """Return the record of a form."""
        for record in self.records:
            if record.name == name:
                return record
        raise KeyError(f"{name!r} is not among the forms compared: {', '.join(r.name for r in self.records)}")

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("form", "mean norm", "variance", "of total", "signal/noise", "cosine")
        ]
        for one in self.records:
            numbers = (one.mean_norm, one.variance, one.relative_variance, one.signal_to_noise)
            rows.append((one.name, *(f"{number:.3g}" for number in numbers), f"{one.cosine:.3f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join([name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])])
            for name, *numbers in rows
        ]
        batches = f"{self.batches:,} batches of {self.episodes:,} episodes"
        heading = f"{self.env_id}: mean return {self.mean_return:.4g}, gamma {self.gamma:g}, {batches}"
        score = f"mean score: {self.mean_score_standard_errors:+.1f} standard errors from zero"
        return "\n".join([heading, *table, f"cosine to: {self.reference} gradient", score])

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the forms' relative variances and signal-to-noise ratios.

        Parameters
        ----------
        path : path
            Where to write it; its ending says in which format, as .png, .svg or .pdf.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        TypeError, ValueError
            path is not a path, has no format's ending, or lies in a directory that does not exist.
        fastpg.SaveError
            The file cannot be written there.
        """
        where = "FormComparison.plot()"
        target, matplotlib_figure = can_plot(where, path)
        figure = matplotlib_figure.Figure(layout="constrained")
        figure.set_size_inches(9, 1.2 + 0.35 * len(self.records))
        names = [record.name for record in self.records]
        left, right = figure.subplots(1, 2, sharey=True)
        left.barh(names, [record.relative_variance for record in self.records])
        left.set(xlabel="variance, that of total being 1")
        right.barh(names, [record.signal_to_noise for record in self.records], color="tab:green")
        right.set(xlabel="signal-to-noise ratio")
        left.invert_yaxis()
        figure.suptitle(f"{self.env_id}, gamma = {self.gamma:g}, {self.episodes:,} episodes an estimate")
        picture = io.BytesIO()
        figure.savefig(picture, dpi=150, format=target.suffix[1:])
        files.write(where, target, picture.getvalue())


def compare_forms(
    env_id: EnvLike,
    policy: Policy,
    *,
    value: ValueFunction | None = None,
    forms: Sequence[str] | None = None,
    gamma: float = 1.0,
    lam: float = 0.95,
    n_step: int = 5,
    episodes: int = 64,
    batches: int = 200,
    seed: int = 0,
    **env_params: bool,
) -> FormComparison:
    """Estimate the policy gradient in every form from the same episodes, and compare variance and direction.

    All forms estimate one gradient, that of the discounted return: with ``discount_states=True``, which is no
    difference at gamma=1, and with ``normalize="trajectory"``.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, or what jit_env or load_env made
        One of `fastpg.list_envs()`; or an environment given as arrays, or as compiled functions.
    policy : Policy
    value : ValueFunction, optional
        V of "reward_to_go - V", "q", "td" and "gae"; see `fit_value`.
    forms : sequence of str, optional
        Which of `FORMS`; by default all, without `value` all that need none.
    gamma : float
        Discount, in [0, 1].
    lam : float
        "gae": trace decay, in [0, 1].
    n_step : int
        "q": steps before the bootstrap.
    episodes : int
        In a batch.
    batches : int
        How many, B, at least 2.
    seed : int
    **env_params
        Parameters of the environment.

    Returns
    -------
    FormComparison

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; a form needs a value function and there is none; the
        policy does not fit the environment.
    FloatingPointError
        A reward or a gradient is not finite.

    Notes
    -----
    The sum of an episode's scores is the estimate without a baseline minus the one with the constant baseline
    1, of the same episodes. B times the squared norm of its mean over the batches, in units of the variance,
    would be the mean of nu squares of normal variables if nu directions varied alike; nu is
    ``tr(C)^2 / tr(C^2)`` (Satterthwaite, 1946) of the covariance C, and the cube root of such a mean is
    nearly normal (Wilson and Hilferty, 1931). That normal deviate is `mean_score_standard_errors`.

    Examples
    --------
    >>> policy = Policy.for_env("FrozenLake-v1", hidden=())
    >>> forms = ["total", "reward_to_go - batch_mean"]
    >>> compared = compare_forms("FrozenLake-v1", policy, forms=forms, batches=20)
    >>> compared.reference, compared["total"].relative_variance
    ('exact', 1.0)
    """
    where = "compare_forms()"
    env = native_env(where, env_id, env_params)
    require_policy(where, policy).check_fits(where, env)
    if value is not None:
        require_value(where, "value", value)
    names = _names(where, forms, value)
    episodes = _check.integer(where, "episodes", episodes, 1, _check.MAX_COUNT)
    batches = _check.integer(where, "batches", batches, 2, MAX_BATCHES)
    gamma = _check.real(where, "gamma", gamma, "[0, 1]")
    seeds = np.random.default_rng(_check.seed(where, seed)).integers(2**63, size=batches).tolist()
    returns: list[float] = []

    def estimates(**settings: Any) -> NDArray[np.float32]:
        """Return the estimate of every batch, (B, P)."""
        rows = np.empty((batches, policy.theta.size), np.float32)
        for row, one in zip(rows, seeds, strict=True):
            given: dict[str, Any] = {**settings, **env_params}
            with named(where):
                found = estimate_gradient(
                    env_id, policy, episodes=episodes, discount_states=True, seed=one, **given
                )
            row[:] = found.gradient
            returns.append(found.mean_return)
        return rows

    means: dict[str, Floats] = {}
    variances: dict[str, float] = {}
    norms: dict[str, float] = {}
    for name in dict.fromkeys(["total", *names]):
        settings = {key: value if one is VALUE else one for key, one in SETTINGS[name].items()}
        rows = estimates(gamma=gamma, lam=lam, n_step=n_step, **settings)
        means[name], variances[name] = _moments(rows)
        norms[name] = float(np.linalg.norm(rows, axis=1).mean(dtype=np.float64))
    if env.core.table is not None:
        kind: Literal["exact", "large batch"] = "exact"
        given: dict[str, Any] = dict(env_params)
        with named(where):
            found = exact.policy_gradient(env_id, policy, gamma=gamma, discount_states=True, **given)
        reference = found.gradient
    else:
        kind = "large batch"
        reference = np.mean([mean for name, mean in means.items() if name not in BIASED], axis=0)
    constant = ValueFunction(env.observation_space, hidden=())
    constant.theta[:] = 0.0
    constant.theta[-1] = 1.0  # the bias
    scores = estimates(gamma=0.0) - estimates(gamma=0.0, baseline=constant)
    records = tuple(
        FormRecord(
            name,
            norms[name],
            variances[name],
            _ratio(float(means[name] @ means[name]) - variances[name] / batches, variances[name]),
            _ratio(
                float(means[name] @ reference),
                float(np.linalg.norm(means[name]) * np.linalg.norm(reference)),
            ),
            _ratio(variances[name], variances["total"]),
        )
        for name in names
    )
    return FormComparison(
        env_id=env.id,
        gamma=gamma,
        episodes=episodes,
        batches=batches,
        mean_return=float(np.mean(returns)),
        records=records,
        reference=kind,
        reference_gradient=reference,
        mean_score_standard_errors=_standard_errors_from_zero(scores),
    )


def fit_value(
    env_id: EnvLike,
    policy: Policy,
    *,
    gamma: float = 1.0,
    hidden: tuple[int, ...] = (64, 64),
    total_steps: int = 200_000,
    seed: int = 0,
    **env_params: bool,
) -> ValueFunction:
    """Fit a value function to the returns of a policy that stays as it is.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, or what jit_env or load_env made
    policy : Policy
    gamma : float
        Discount, in [0, 1].
    hidden : tuple of int
        Widths of the hidden layers.
    total_steps : int
        Environment steps to fit it to.
    seed : int
    **env_params
        Parameters of the environment.

    Returns
    -------
    ValueFunction

    Raises
    ------
    TypeError, ValueError
        As `fastpg.train`.

    Examples
    --------
    >>> policy = Policy.for_env("CartPole-v1", hidden=(8,))
    >>> fit_value("CartPole-v1", policy, hidden=(8,), total_steps=5000)
    ValueFunction(4 inputs, hidden=(8,), activation='tanh', 49 parameters)
    """
    # Of train()'s two fits only that of V is wanted: a policy's step this small is lost in rounding.
    with named("fit_value()"):
        fit = VPG(
            form="reward_to_go", gamma=gamma, value_hidden=hidden, value_minibatches=16, learning_rate=1e-30
        )
        run = train(env_id, fit, policy=policy, total_steps=total_steps, seed=seed, env_params=env_params)
    assert run.value is not None  # VPG has one
    return run.value


def can_plot(where: str, path: Any) -> tuple[Path, Any]:
    """Return the path and matplotlib's module of figures; asked for before the work, not after it."""
    target = files.output(where, "path", path)
    _check.choice(where, "the ending of path", target.suffix, PLOT_FORMATS)
    try:
        matplotlib_figure = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError(f"{where} needs matplotlib: pip install matplotlib") from error
    files.probe(where, target, PLOT_BYTES)
    return target, matplotlib_figure


def _names(where: str, forms: Any, value: ValueFunction | None) -> tuple[str, ...]:
    """Return the forms to compare."""
    if forms is None:
        return tuple(name for name in FORMS if value is not None or name not in NEED_VALUE)
    if not _check.is_sequence(forms) or not forms:
        raise TypeError(f"{where}: forms must be a sequence of names, got {_check.shown(forms)}")
    for index, name in enumerate(forms):
        _check.choice(where, f"forms[{index}]", name, FORMS)
        if value is None and name in NEED_VALUE:
            raise ValueError(f"{where}: the form {name!r} needs value, a fastpg.ValueFunction")
    return tuple(dict.fromkeys(forms))


def _moments(rows: NDArray[np.float32]) -> tuple[Floats, float]:
    """Return the mean (P,) and the trace of the covariance of estimates (B, P)."""
    mean = rows.mean(axis=0, dtype=np.float64)
    return mean, float(((rows - mean) ** 2).sum() / (len(rows) - 1))


def _standard_errors_from_zero(rows: NDArray[np.float32]) -> float:
    """Return how far the mean of rows (B, P) is from zero, as a standard normal deviate."""
    number = len(rows)
    mean, variance = _moments(rows)
    centred = rows - mean
    products = centred @ centred.T if number < rows.shape[1] else centred.T @ centred
    # Of the B x B products, those of two different rows: their mean square is tr(C^2).
    same = float(((centred**2).sum(axis=1) ** 2).sum())
    squares = (float((products**2).sum()) - same) / (number * (number - 1))
    degrees = _ratio(variance**2, squares)
    found = _ratio(number * float(mean @ mean), variance)
    return (math.cbrt(found) - 1 + 2 / (9 * degrees)) / math.sqrt(2 / (9 * degrees))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
