"""The policy: a flat float32 parameter vector, and named views of it, around the compiled network."""

import math
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Discrete, Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.envs.finite import FiniteMDP
from fastpg.envs.registry import NativeEnv, native_env

Activation = Literal["tanh", "relu"]
ACTIVATIONS: tuple[Activation, ...] = ("tanh", "relu")


class Policy:
    """A stochastic policy: a linear map or a small MLP with a softmax over discrete actions.

    Parameters
    ----------
    observation_space : gymnasium.spaces.Box, Discrete, MultiDiscrete, or Tuple of Discrete
        A Box has to be one-dimensional, of floats: its length D is the width of the input. The others are
        read as one-hot vectors, as `gymnasium.spaces.flatten` makes them, D categories together.
    action_space : gymnasium.spaces.Discrete
        Its n actions are 0..n-1; another `start` is not supported.
    hidden : sequence of int
        Widths of the hidden layers, 0 to 3 of them, each from 1 to 512. () is the linear policy.
    activation : {"tanh", "relu"}
        The activation function of the hidden layers.
    seed : int
        Seeds the initial parameters: orthogonal weights with gain sqrt(2), and 0.01 in the head so that the
        first policy is nearly uniform; zero biases.

    Attributes
    ----------
    theta : float32 array, shape (P,)
        The parameters, the storage of record: write into it, or assign to it to copy another vector in.
        Per layer the weight (out, in) row-major, then the bias (out,); hidden layers first, the head last.
    observation_space, action_space, hidden, activation
        As given.
    env_id : str or None
        The environment that the policy was made for, if known; `save` keeps it.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; a space is not supported.

    References
    ----------
    Saxe, McClelland and Ganguli, 2014 (orthogonal initialisation).

    Examples
    --------
    >>> import numpy as np
    >>> from gymnasium.spaces import Box, Discrete
    >>> policy = Policy(Box(-1.0, 1.0, (3,)), Discrete(2), hidden=(32,))
    >>> policy
    Policy(3 inputs, 2 actions, hidden=(32,), activation='tanh', 194 parameters)
    >>> obs = np.zeros((5, 3), np.float32)
    >>> policy.act(obs, seed=0).shape
    (5,)
    >>> policy.theta[:] = 0.0  # in place
    >>> bool(np.allclose(policy.entropy(obs), np.log(2)))
    True
    """

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
    ) -> None:
        where = "Policy()"
        widths = _check.widths(where, "hidden", hidden, _core.MAX_HIDDEN, _core.MAX_WIDTH)
        _check.choice(where, "activation", activation, ACTIVATIONS)
        rng = np.random.default_rng(_check.seed(where, seed))
        self._set_shape(observation_space, action_space, widths, activation)
        for name, view in self.parameters().items():
            if name.endswith("weight"):
                view[:] = _orthogonal(
                    rng, view.shape, gain=0.01 if name.startswith("head") else math.sqrt(2.0)
                )

    @classmethod
    def for_env(
        cls,
        env_id: str | FiniteMDP,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
    ) -> "Policy":
        """Return a new policy with the spaces of a native environment.

        Parameters
        ----------
        env_id : str or fastpg.exact.FiniteMDP
            One of `fastpg.list_envs()`; or an environment given as arrays.
        hidden, activation, seed
            As in `Policy`.

        Raises
        ------
        ValueError
            There is no native environment of that name, or as in `Policy`.

        Examples
        --------
        >>> Policy.for_env("CartPole-v1", hidden=())
        Policy(4 inputs, 2 actions, hidden=(), activation='tanh', 10 parameters, env_id='CartPole-v1')
        """
        env = native_env("Policy.for_env()", env_id, {})
        policy = cls(env.observation_space, env.action_space, hidden=hidden, activation=activation, seed=seed)
        policy.env_id = env.id
        return policy

    def _set_shape(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        hidden: tuple[int, ...],
        activation: str,
        env_id: str | None = None,
    ) -> None:
        self.observations = spaces.observations("Policy()", observation_space)
        num_actions = _num_actions(action_space)
        self.observation_space = observation_space
        self.action_space = action_space
        self.hidden = hidden
        self.activation = activation
        self.env_id = env_id
        self.network = _core.Network(
            self.observations.num_inputs, hidden, num_actions, activation, self.observations.categories
        )
        self._theta = np.zeros(self.network.num_parameters, np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        shape = (self.observation_space, self.action_space, self.hidden, self.activation, self.env_id)
        return restore, (*shape, self._theta)

    def __repr__(self) -> str:
        network = self.network
        known = "" if self.env_id is None else f", env_id={self.env_id!r}"
        return (
            f"Policy({network.num_inputs} inputs, {network.num_outputs} actions, hidden={self.hidden}, "
            f"activation={self.activation!r}, {self._theta.size} parameters{known})"
        )

    @property
    def theta(self) -> NDArray[np.float32]:
        """The parameters, (P,) float32; writable in place."""
        return self._theta

    @theta.setter
    def theta(self, value: NDArray[np.float32]) -> None:
        self._theta[:] = _check.floats("Policy.theta", "theta", value, self._theta.shape)

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return views of theta, by name: "hidden.0.weight" (out, in), ..., "head.bias" (out,).

        Examples
        --------
        >>> policy = Policy.for_env("CartPole-v1", hidden=(8,))
        >>> {name: view.shape for name, view in policy.parameters().items()}
        {'hidden.0.weight': (8, 4), 'hidden.0.bias': (8,), 'head.weight': (2, 8), 'head.bias': (2,)}
        """
        views: dict[str, NDArray[np.float32]] = {}
        offset, inputs = 0, self.network.num_inputs
        names = [f"hidden.{i}" for i in range(len(self.hidden))] + ["head"]
        for name, outputs in zip(names, (*self.hidden, self.network.num_outputs), strict=True):
            views[f"{name}.weight"] = self._theta[offset : offset + outputs * inputs].reshape(outputs, inputs)
            offset += outputs * inputs
            views[f"{name}.bias"] = self._theta[offset : offset + outputs]
            offset, inputs = offset + outputs, outputs
        return views

    def act(
        self, obs: NDArray[np.float32], *, seed: int, step: int = 0, deterministic: bool = False
    ) -> NDArray[np.int64]:
        """Choose an action for each observation.

        Parameters
        ----------
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
        seed : int
            With `step` and the row's position in the batch it decides the draw: the same three give the
            same action.
        step : int
            Count it up over time so that the draws of successive calls are independent.
        deterministic : bool
            Take the most likely action (the first of equals) instead of drawing one.

        Returns
        -------
        int64 array, shape (...)
            A NumPy scalar for a single observation.

        Raises
        ------
        TypeError
            obs is not float32.
        ValueError
            obs has the wrong length or is not finite; theta is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> policy = Policy.for_env("CartPole-v1")
        >>> policy.parameters()["head.bias"][:] = [0.0, 100.0]
        >>> policy.act(np.zeros((3, 4), np.float32), seed=0)
        array([1, 1, 1])
        """
        where = "Policy.act()"
        rows, batch_shape = self.observations.rows(where, obs)
        seed = _check.seed(where, seed)
        step = _check.integer(where, "step", step, 0, 2**32 - 1)
        deterministic = _check.boolean(where, "deterministic", deterministic)
        theta = self.checked_theta(where)
        # [()] turns the zero-dimensional result for a single observation into a scalar.
        return _core.act(self.network, theta, rows, seed, step, deterministic).reshape(batch_shape)[()]

    def log_prob(self, obs: NDArray[np.float32], actions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return log pi(actions|obs).

        Parameters
        ----------
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
        actions : integer array, shape (...)

        Returns
        -------
        float32 array, shape (...)
            A NumPy scalar for a single observation.

        Raises
        ------
        TypeError, ValueError
            As in `act`; actions are not integers, not of obs' batch shape, or out of range.

        Examples
        --------
        >>> import numpy as np
        >>> policy = Policy.for_env("CartPole-v1")
        >>> policy.theta[:] = 0.0
        >>> policy.log_prob(np.zeros((2, 4), np.float32), np.array([0, 1])).round(4)
        array([-0.6931, -0.6931], dtype=float32)
        """
        return self.log_prob_and_entropy("Policy.log_prob()", obs, actions)[0]

    def entropy(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the entropy of pi(.|obs) in nats.

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
            As in `act`.

        Examples
        --------
        >>> import numpy as np
        >>> policy = Policy.for_env("CartPole-v1")
        >>> policy.theta[:] = 0.0
        >>> round(float(policy.entropy(np.zeros(4, np.float32))), 4)
        0.6931
        """
        where = "Policy.entropy()"
        rows, batch_shape = self.observations.rows(where, obs)
        any_actions = np.zeros(len(rows), np.int64)
        theta = self.checked_theta(where)
        return _core.log_prob_and_entropy(self.network, theta, rows, any_actions)[1].reshape(batch_shape)[()]

    def log_prob_and_entropy(
        self, where: str, obs: NDArray[np.float32], actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Do the work of `log_prob` and `fastpg.log_prob_and_entropy`; `where` is the caller."""
        rows, batch_shape = self.observations.rows(where, obs)
        flat_actions = _check.actions(where, actions, batch_shape, self.network.num_outputs)
        theta = self.checked_theta(where)
        log_prob, entropy = _core.log_prob_and_entropy(self.network, theta, rows, flat_actions)
        return log_prob.reshape(batch_shape)[()], entropy.reshape(batch_shape)[()]

    def checked_theta(self, where: str) -> NDArray[np.float32]:
        """Return `theta`, checked to be finite: it is writable in place, so every use has to look."""
        _check.finite(where, "theta", self._theta)
        return self._theta

    def check_fits(self, where: str, env: NativeEnv) -> None:
        """Raise ValueError unless the policy's widths are those of the environment."""
        wanted = spaces.observations(where, env.observation_space)
        given = self.observations
        if (given.num_inputs, given.categories) != (wanted.num_inputs, wanted.categories) or (
            self.network.num_outputs != _num_actions(env.action_space)
        ):
            raise ValueError(
                f"{where}: policy maps {self.observation_space} to {self.action_space}, "
                f"but {env.id} has {env.observation_space} and {env.action_space}"
            )

    def copy(self) -> "Policy":
        """Return an independent policy with the same shape and parameters."""
        function, arguments = self.__reduce__()
        copied: Policy = function(*arguments)
        return copied

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to a safetensors file, replacing it in one step.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        TypeError, ValueError
            path is not a path to a file in a directory that exists.

        Examples
        --------
        >>> import tempfile
        >>> policy = Policy.for_env("CartPole-v1")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     policy.save(f"{folder}/policy.safetensors")
        ...     loaded = Policy.load(f"{folder}/policy.safetensors")
        >>> bool((loaded.theta == policy.theta).all())
        True
        """
        from fastpg.checkpoint import save_policy  # here: it imports this module, and safetensors

        save_policy("Policy.save()", self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Policy":
        """Read a policy that `save` wrote.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        FileNotFoundError
            There is no such file.
        fastpg.CheckpointError
            The file is damaged, no fastpg policy, or holds parameters that do not fit or are not finite.
        """
        from fastpg.checkpoint import load_policy  # here: it imports this module, and safetensors

        return load_policy("Policy.load()", path)


def restore(
    observation_space: Space[Any],
    action_space: Space[Any],
    hidden: tuple[int, ...],
    activation: str,
    env_id: str | None,
    theta: NDArray[np.float32] | None,
) -> Policy:
    """Make a policy with a copy of parameters that exist, or zeros: what copying and loading do."""
    policy = Policy.__new__(Policy)
    policy._set_shape(observation_space, action_space, hidden, activation, env_id)
    if theta is not None:
        policy.theta[:] = theta
    return policy


def require_policy(where: str, value: Any) -> Policy:
    """Return the value if it is a Policy, else raise TypeError."""
    if not isinstance(value, Policy):
        raise TypeError(f"{where}: policy must be a fastpg.Policy, got {_check.shown(value)}")
    return value


def _num_actions(action_space: Any) -> int:
    """Return the width of the network's output, for the spaces that are supported."""
    if not isinstance(action_space, Space):
        raise TypeError(f"Policy(): action_space must be a gymnasium space, got {_check.shown(action_space)}")
    if not isinstance(action_space, Discrete):
        raise ValueError(
            f"Policy(): action_space must be Discrete, got {action_space}; "
            "other action spaces are not supported"
        )
    num_actions = int(action_space.n)
    if action_space.start != 0:
        raise ValueError(
            f"Policy(): action_space must be Discrete with start=0, got {action_space}; "
            "subtract start from the actions and declare Discrete(n)"
        )
    if num_actions > _core.MAX_ACTIONS:
        raise ValueError(
            f"Policy(): action_space must have at most {_core.MAX_ACTIONS} actions, got {num_actions}"
        )
    return num_actions


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> NDArray[np.float64]:
    """Draw a matrix with orthonormal rows or columns, whichever are fewer, times `gain`."""
    tall = rng.standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the distribution uniform over rotations
    oriented: NDArray[np.float64] = q if shape[0] >= shape[1] else q.T
    return gain * oriented
