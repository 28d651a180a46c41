"""The value function: V(s), a network with one output."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.errors import named
from fastpg.networks.parametric import Activation, Parametric, how_to_get, spaces_of
from fastpg.networks.weights import Weights, evaluate_rows

if TYPE_CHECKING:
    from fastpg.envs.gymnasium.opening import AnyEnv


class ValueFunction(Parametric):
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

    NOUN = "value function"
    FORMAT = "fastpg.value_function"
    THETA = "theta of the value function"
    SPACES = ("observation_space",)

    def __init__(
        self,
        observation_space: Space[Any],
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
    ) -> None:
        self._begin((observation_space,), hidden, activation, seed, head_gain=1.0)

    def _make_network(self, where: str) -> _core.Network:
        form = self.observations
        return _core.Network(form.num_inputs, self.hidden, 1, self.activation, form.categories)

    @classmethod
    def for_env(
        cls,
        env_id: "AnyEnv",
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
    ) -> Self:
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
        FloatingPointError
            A value overflows float32.
        """
        where = "ValueFunction()"
        rows, batch_shape = self.observations.rows(where, obs)
        weights = Weights(self.network, self.checked_theta(where))
        values = evaluate_rows(where, weights, rows, np.empty(len(rows), np.float32))
        return values.reshape(batch_shape)[()]

    def check_fits(self, where: str, name: str, observation_space: Space[Any]) -> None:
        """Raise ValueError unless the value function reads these observations."""
        if self.observations.shape != spaces.observations(where, observation_space).shape:
            raise ValueError(
                f"{where}: {name} reads {_check.line(self.observation_space)}, not "
                f"{_check.line(observation_space)}"
            )


def require_value(where: str, name: str, value: Any) -> ValueFunction:
    """Return the value if it is a ValueFunction, else raise TypeError; `name` is the argument's."""
    if not isinstance(value, ValueFunction):
        advice = how_to_get(ValueFunction, value)
        raise TypeError(f"{where}: {name} must be a fastpg.ValueFunction, got {_check.shown(value)}{advice}")
    return value
