"""The value function: V(s), a network with one output."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.envs.gymnasium.adapter import AnyEnv, spaces_of
from fastpg.errors import named
from fastpg.networks.policy import ACTIVATIONS, Activation, named_views, orthogonal


class ValueFunction:
    """A linear map or a small MLP from observations to the return that follows them.

    Parameters
    ----------
    observation_space : gymnasium.spaces.Space
        As in `Policy`.
    hidden : sequence of int
        Widths of the hidden layers, 0 to 3 of them, each from 1 to 512. () is a linear function.
    activation : {"tanh", "relu"}
    seed : int
        Seeds the initial parameters: orthogonal weights with gain sqrt(2), 1 in the head; zero biases.

    Attributes
    ----------
    theta : float32 array, shape (P,)
        The parameters, the storage of record, laid out as `Policy.theta`.
    observation_space, hidden, activation
        As given.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the space is not supported.

    Examples
    --------
    >>> import numpy as np
    >>> from gymnasium.spaces import Box
    >>> value = ValueFunction(Box(-1.0, 1.0, (3,)), hidden=())
    >>> value.theta[:] = [1, 2, 3, 0.5]
    >>> value(np.ones((2, 3), np.float32))
    array([6.5, 6.5], dtype=float32)
    """

    def __init__(
        self,
        observation_space: Space[Any],
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
    ) -> None:
        where = "ValueFunction()"
        widths = _check.widths(where, "hidden", hidden, _core.MAX_HIDDEN, _core.MAX_WIDTH)
        _check.choice(where, "activation", activation, ACTIVATIONS)
        rng = np.random.default_rng(_check.seed(where, seed))
        self._set_shape(observation_space, widths, activation)
        for name, view in self.parameters().items():
            if name.endswith("weight"):
                view[:] = orthogonal(rng, view.shape, gain=1.0 if name.startswith("head") else math.sqrt(2.0))

    @classmethod
    def for_env(
        cls,
        env_id: AnyEnv,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
    ) -> "ValueFunction":
        """Return a new value function with the observations of an environment, as `Policy.for_env`.

        Examples
        --------
        >>> ValueFunction.for_env("CartPole-v1", hidden=(8,))
        ValueFunction(4 inputs, hidden=(8,), activation='tanh', 49 parameters)
        """
        where = "ValueFunction.for_env()"
        observations, _, _ = spaces_of(where, env_id)
        with named(where):
            return cls(observations, hidden=hidden, activation=activation, seed=seed)

    def _set_shape(self, observation_space: Space[Any], hidden: tuple[int, ...], activation: str) -> None:
        self.observations = spaces.observations("ValueFunction()", observation_space)
        self.observation_space = observation_space
        self.hidden = hidden
        self.activation = activation
        form = self.observations
        self.network = _core.Network(form.num_inputs, hidden, 1, activation, form.categories)
        self._theta = np.zeros(self.network.num_parameters, np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, (self.observation_space, self.hidden, self.activation, self._theta)

    def __repr__(self) -> str:
        return (
            f"ValueFunction({self.network.num_inputs} inputs, hidden={self.hidden}, "
            f"activation={self.activation!r}, {self._theta.size} parameters)"
        )

    @property
    def theta(self) -> NDArray[np.float32]:
        """The parameters, (P,) float32; writable in place."""
        return self._theta

    @theta.setter
    def theta(self, value: NDArray[np.float32]) -> None:
        self._theta[:] = _check.floats("ValueFunction.theta", "theta", value, self._theta.shape)

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return views of theta, by name, as `Policy.parameters`."""
        return named_views(self.network, self._theta)

    def __call__(self, obs: Any) -> NDArray[np.float32]:
        """Return V(obs).

        Parameters
        ----------
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds

        Returns
        -------
        float32 array, shape (...)
            A NumPy scalar for a single observation.

        Raises
        ------
        TypeError, ValueError
            obs has the wrong dtype or shape or is not finite; theta is not finite.
        """
        where = "ValueFunction()"
        rows, batch_shape = self.observations.rows(where, obs)
        with named(where):
            values = _core.logits(self.network, self.checked_theta(where), rows)
        return values.reshape(batch_shape)[()]

    def checked_theta(self, where: str) -> NDArray[np.float32]:
        """Return `theta`, checked to be finite."""
        _check.finite(where, "theta of the value function", self._theta)
        return self._theta

    def copy(self) -> "ValueFunction":
        """Return an independent value function with the same shape and parameters."""
        function, arguments = self.__reduce__()
        copied: ValueFunction = function(*arguments)
        return copied

    def check_fits(self, where: str, name: str, observation_space: Space[Any]) -> None:
        """Raise ValueError unless the value function reads these observations."""
        wanted = spaces.observations(where, observation_space)
        if (self.observations.num_inputs, self.observations.categories) != (
            wanted.num_inputs,
            wanted.categories,
        ):
            raise ValueError(f"{where}: {name} reads {self.observation_space}, not {observation_space}")


def restore(
    observation_space: Space[Any], hidden: tuple[int, ...], activation: str, theta: NDArray[np.float32]
) -> ValueFunction:
    """Make a value function with a copy of parameters that exist: what copying and unpickling do."""
    value = ValueFunction.__new__(ValueFunction)
    value._set_shape(observation_space, hidden, activation)
    value.theta[:] = theta
    return value
