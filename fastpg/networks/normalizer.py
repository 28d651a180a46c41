"""Normalisation of observations for a learner of one's own: what an agent does with its own, as an object."""

from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.networks.parametric import Parametric

Kind = TypeVar("Kind", bound=Parametric)


class ObservationNormalizer:
    """Running mean and standard deviation of observations; `collect` reads and keeps them.

    With ``collect(..., normalizer=normalizer)`` the policy and the value function read observations less
    their mean, over their standard deviation, and so does who learns from the batch: its observations are
    normalised. A batch is normalised by the statistics of before; then its own observations are added.
    Before the first, they are taken as they are. `fold` makes of what has been learnt networks that read the
    environment's observations, as those of `train(..., normalize_observations=True)` do.

    Parameters
    ----------
    observation_space : gymnasium.spaces.Box
        Of the policy: one-dimensional, of floats.

    Attributes
    ----------
    training : bool
        Whether `collect` adds what it sees; True at first.
    num_rows : int
        Observations so far.
    mean, std : float64 array, shape (D,)
        What is subtracted, and what that is divided by: 1 where a number never varies.

    Raises
    ------
    TypeError, ValueError
        The space is none, or observations are categories.

    References
    ----------
    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.

    Examples
    --------
    >>> import fastpg
    >>> env = fastpg.make("Pendulum-v1", num_envs=8)
    >>> policy = fastpg.Policy.for_env("Pendulum-v1")
    >>> normalizer = ObservationNormalizer(policy.observation_space)
    >>> for _ in range(3):
    ...     batch = fastpg.collect(env, policy, 100, normalizer=normalizer)
    ...     # learn from batch.obs, which are normalised, as policy.log_prob(batch.obs, ...) reads them
    >>> normalizer.num_rows, bool(abs(batch.obs).max() < 10)
    (2400, True)
    >>> deployed = normalizer.fold(policy)  # acts on what the environment returns
    """

    def __init__(self, observation_space: Space[Any]) -> None:
        where = "ObservationNormalizer()"
        form = spaces.observations(where, observation_space)
        if form.categories:
            raise ValueError(
                f"{where}: observation_space must be of real numbers, got {_check.line(observation_space)}, "
                "whose categories have no mean"
            )
        self.observation_space = observation_space
        self.training = True
        self._core = _core.Normalizer(form.num_inputs)

    def __repr__(self) -> str:
        return f"ObservationNormalizer({_check.line(self.observation_space)}, {self.num_rows} observations)"

    @property
    def num_rows(self) -> int:
        """Observations so far."""
        return self._core.count

    @property
    def mean(self) -> NDArray[np.float64]:
        """What is subtracted, (D,)."""
        return self._core.scale()[0]

    @property
    def std(self) -> NDArray[np.float64]:
        """What that is divided by, (D,)."""
        return self._core.scale()[1]

    def update(self, obs: NDArray[np.float32]) -> None:
        """Add observations, (..., D) float32, to the statistics.

        Raises
        ------
        TypeError, ValueError
            obs has the wrong dtype or shape, or is not finite.
        """
        where = "ObservationNormalizer.update()"
        self.add(where, self._rows(where, obs)[0])

    def add(self, where: str, rows: NDArray[np.float32]) -> None:
        """Do the work of `update` with rows (B, D) that were checked; `where` is the caller."""
        numbers = rows.astype(np.float64)
        squares = np.einsum("ij,ij->j", numbers, numbers)
        if not np.isfinite(squares).all():
            raise FloatingPointError(f"{where}: observations are too large for their variance")
        self._core.add(len(rows), numbers.sum(axis=0), squares)

    def normalize(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return observations, (..., D) float32, as the policy reads them.

        Raises
        ------
        TypeError, ValueError
            As in `update`.
        FloatingPointError
            A result is too large for float32.
        """
        where = "ObservationNormalizer.normalize()"
        rows, shape = self._rows(where, obs)
        return self.scaled(where, rows).reshape(*shape, rows.shape[-1])

    def scaled(self, where: str, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Do the work of `normalize` with rows (..., D) that were checked; `where` is the caller."""
        mean, std = self._core.scale()
        with np.errstate(over="ignore"):
            result = ((rows - mean) / std).astype(np.float32)
        if not np.isfinite(result).all():
            raise FloatingPointError(f"{where}: a normalised observation is too large for float32")
        return result

    def fold(self, network: Kind) -> Kind:
        """Return a copy of a policy or value function that reads observations as they are.

        Parameters
        ----------
        network : Policy or ValueFunction
            That reads normalised ones.

        Raises
        ------
        TypeError, ValueError
            network is neither, or reads other observations.
        FloatingPointError
            A parameter overflows float32.

        Examples
        --------
        >>> import numpy as np
        >>> from gymnasium.spaces import Box
        >>> from fastpg import ValueFunction
        >>> space = Box(-np.inf, np.inf, (1,))
        >>> normalizer, value = ObservationNormalizer(space), ValueFunction(space, hidden=())
        >>> normalizer.update(np.array([[2.0], [6.0]], np.float32))
        >>> value.theta[:] = [1.0, 0.5]
        >>> normalizer.fold(value)(np.array([8.0], np.float32))  # (8 - 4) / 2 + 0.5
        np.float32(2.5)
        """
        where = "ObservationNormalizer.fold()"
        if not isinstance(network, Parametric):
            raise TypeError(
                f"{where}: network must be a Policy or a ValueFunction, got {_check.shown(network)}"
            )
        self.check_fits(where, "network", network.observations)
        folded = network.copy()
        self.fold_into(where, network.network, network.checked_theta(where), folded.theta)
        return folded

    def check_fits(self, where: str, name: str, observations: spaces.Observations) -> None:
        """Raise ValueError unless these are the observations that are normalised; `name` is what has them."""
        if observations.shape != spaces.observations(where, self.observation_space).shape:
            raise ValueError(
                f"{where}: {name} has observations of {_check.line(observations.space)}, but normalizer "
                f"those of {_check.line(self.observation_space)}"
            )

    def fold_into(
        self, where: str, network: _core.Network, theta: NDArray[np.float32], out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Do the work of `fold` with parameters, (P,); return `out`."""
        self._core.fold(network, theta, out)
        if not np.isfinite(out).all():
            raise FloatingPointError(f"{where}: a parameter for observations as they are overflows float32")
        return out

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that it is, as arrays by name, for `set_state`."""
        count, statistics = self._core.state()
        return {"count": np.array([count]), "statistics": statistics}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on with the statistics of another, of the same size.

        Raises
        ------
        TypeError, ValueError
            state is none of `state`, or of another size.

        Examples
        --------
        >>> import numpy as np
        >>> from gymnasium.spaces import Box
        >>> first, second = (ObservationNormalizer(Box(-1.0, 1.0, (2,))) for _ in range(2))
        >>> first.update(np.ones((5, 2), np.float32))
        >>> second.set_state(first.state())
        >>> second.mean.tolist(), second.num_rows
        ([1.0, 1.0], 5)
        """
        where = "ObservationNormalizer.set_state()"
        own = self.state()
        if not isinstance(state, dict) or state.keys() != own.keys():
            raise TypeError(f"{where}: state must be a dict of state(), got {_check.shown(state)}")
        for name, like in own.items():
            array = state[name]
            if not _check.is_array(array) or (array.dtype, array.shape) != (like.dtype, like.shape):
                raise ValueError(
                    f"{where}: the entry {name} of state must be {like.size} numbers of {like.dtype}, "
                    f"got {_check.shown(array)}"
                )
        statistics = np.ascontiguousarray(state["statistics"])
        _, square, _, std = statistics.reshape(4, -1)
        if (
            not np.isfinite(statistics).all()
            or (square < 0).any()
            or (std <= 0).any()
            or state["count"][0] < 0
        ):
            raise ValueError(f"{where}: state must have finite statistics, and deviations above 0")
        self._core.set_state(int(state["count"][0]), statistics)

    def _rows(self, where: str, obs: Any) -> tuple[NDArray[np.float32], tuple[int, ...]]:
        rows, shape = spaces.observations(where, self.observation_space).rows(where, obs)
        _check.finite(where, "obs", rows)
        return rows, shape


def require_normalizer(where: str, value: Any) -> ObservationNormalizer | None:
    """Return the value if it is a normaliser or None, else raise TypeError."""
    if value is not None and not isinstance(value, ObservationNormalizer):
        raise TypeError(
            f"{where}: normalizer must be a fastpg.ObservationNormalizer, got {_check.shown(value)}"
        )
    return value
