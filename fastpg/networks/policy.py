"""The policy: a flat float32 parameter vector, and named views of it, around the compiled network."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.envs.gymnasium.adapter import AnyEnv, GymnasiumEnv, spaces_of
from fastpg.envs.native.registry import NativeEnv
from fastpg.errors import named
from fastpg.networks import distributions

Activation = Literal["tanh", "relu"]
ACTIVATIONS: tuple[Activation, ...] = ("tanh", "relu")


class Policy:
    """A stochastic policy: a linear map or a small MLP whose outputs are a distribution of actions.

    Discrete actions have a softmax; MultiDiscrete ones an independent softmax for each component;
    MultiBinary ones an independent probability, the sigmoid of an output, that each bit is 1. Actions in a
    Box are normal: the outputs are the means, and the logarithms of the standard deviations, `log_std`, are
    parameters that do not depend on the observation. They are drawn without regard to the Box's bounds. Where
    fastpg runs an environment, it clips them on their way there; the log-probability stays that of the
    unclipped action.

    Parameters
    ----------
    observation_space : gymnasium.spaces.Box, Discrete, MultiDiscrete, or Tuple of Discrete
        A Box has to be one-dimensional, of floats: its length D is the width of the input. The others are
        read as one-hot vectors, as `gymnasium.spaces.flatten` makes them, D categories together.
    action_space : gymnasium.spaces.Discrete, MultiDiscrete, MultiBinary, or Box
        Of at most 32 components n; a Box of floats. Arrays of actions hold what the space holds, in whatever
        takes or returns them: they have the shape of the batch and then that of the space, so (...) for
        Discrete and (..., n) where it has one dimension; and the space's numbers, which begin at its start.
        They are integers, or float32 for a Box, also where its own numbers are of another width.
    hidden : sequence of int
        Widths of the hidden layers, 0 to 3 of them, each from 1 to 512. () is the linear policy.
    activation : {"tanh", "relu"}
        The activation function of the hidden layers.
    seed : int
        Seeds the initial parameters: orthogonal weights with gain sqrt(2), and 0.01 in the head so that the
        first policy is nearly uniform; zero biases and log_std.

    Attributes
    ----------
    theta : float32 array, shape (P,)
        The parameters, the storage of record: write into it, or assign to it to copy another vector in.
        Per layer the weight (out, in) row-major, then the bias (out,); hidden layers first, then the head,
        then log_std (n,) where actions are in a Box.
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
                view[:] = orthogonal(
                    rng, view.shape, gain=0.01 if name.startswith("head") else math.sqrt(2.0)
                )

    @classmethod
    def for_env(
        cls,
        env_id: AnyEnv,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
    ) -> "Policy":
        """Return a new policy with the spaces of an environment.

        Parameters
        ----------
        env_id : str, fastpg.exact.FiniteMDP, what jit_env or load_env made, VectorEnv or callable
            As in `fastpg.train`. One that is not native is made for a moment; spaces that `Policy` does not
            read are flattened, as docs/gymnasium.md says.
        hidden, activation, seed
            As in `Policy`.

        Raises
        ------
        ImportError
            The environment needs a package that is not installed.
        TypeError, ValueError
            There is no such environment, or as in `Policy`.

        Examples
        --------
        >>> Policy.for_env("CartPole-v1", hidden=())
        Policy(4 inputs, 2 actions, hidden=(), activation='tanh', 10 parameters, env_id='CartPole-v1')
        """
        where = "Policy.for_env()"
        observations, actions, known_as = spaces_of(where, env_id)
        with named(where):
            policy = cls(observations, actions, hidden=hidden, activation=activation, seed=seed)
        policy.env_id = known_as
        return policy

    def _set_shape(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        hidden: tuple[int, ...],
        activation: str,
        env_id: str | None = None,
        theta: NDArray[np.float32] | None = None,
    ) -> None:
        self.observations = spaces.observations("Policy()", observation_space)
        self.actions = spaces.actions("Policy()", action_space)
        self.observation_space = observation_space
        self.action_space = action_space
        self.hidden = hidden
        self.activation = activation
        self.env_id = env_id
        self.network = _core.Network(
            self.observations.num_inputs,
            hidden,
            self.actions.num_outputs,
            activation,
            self.observations.categories,
            self.actions.head,
            self.actions.categories if self.actions.head == "categorical" else (),
        )
        self._theta = np.zeros(self.network.num_parameters, np.float32) if theta is None else theta
        self.on_write: Callable[[], None] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        shape = (self.observation_space, self.action_space, self.hidden, self.activation, self.env_id)
        return restore, (*shape, self._theta)

    def __repr__(self) -> str:
        network = self.network
        known = "" if self.env_id is None else f", env_id={self.env_id!r}"
        return (
            f"Policy({network.num_inputs} inputs, {self.actions}, hidden={self.hidden}, "
            f"activation={self.activation!r}, {self._theta.size} parameters{known})"
        )

    @property
    def theta(self) -> NDArray[np.float32]:
        """The parameters, (P,) float32; writable in place."""
        return self._theta

    @theta.setter
    def theta(self, value: NDArray[np.float32]) -> None:
        self._theta[:] = _check.floats("Policy.theta", "theta", value, self._theta.shape)
        self.written()

    def written(self) -> None:
        """Tell whoever shares theta's memory, as torch's autograd, that it was written to."""
        if self.on_write is not None:
            self.on_write()

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return views of theta, by name: "hidden.0.weight" (out, in), ..., "head.bias" (out,).

        Where actions are in a Box, "log_std" (n,) is the last.

        Examples
        --------
        >>> policy = Policy.for_env("CartPole-v1", hidden=(8,))
        >>> {name: view.shape for name, view in policy.parameters().items()}
        {'hidden.0.weight': (8, 4), 'hidden.0.bias': (8,), 'head.weight': (2, 8), 'head.bias': (2,)}
        """
        views = named_views(self.network, self._theta)
        if self.actions.head == "gaussian":
            views["log_std"] = self._theta[-self.network.num_outputs :]
        return views

    def act(
        self, obs: NDArray[np.float32], *, seed: int | None = None, step: int = 0, deterministic: bool = False
    ) -> NDArray[Any]:
        """Choose an action for each observation.

        Parameters
        ----------
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
        seed : int
            With `step` and the row's position in the batch it decides the draw: the same three give the
            same action. Only ``deterministic=True`` does without.
        step : int
            Count it up over time so that the draws of successive calls are independent.
        deterministic : bool
            Take the most likely action (the first of equals; in a Box the mean) instead of drawing one.

        Returns
        -------
        int64 or float32 array, shape (...) or (..., n)
            A NumPy scalar for a single observation and a Discrete action. Actions in a Box are not clipped:
            ``numpy.clip(action, space.low, space.high)`` is what an environment should get.

        Raises
        ------
        TypeError
            obs is not float32; there is no seed to draw actions by.
        ValueError
            obs has the wrong length or is not finite; theta is not finite.
        FloatingPointError
            The network's output is not finite.

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
        deterministic = _check.boolean(where, "deterministic", deterministic)
        if seed is None and not deterministic:
            raise TypeError(f"{where}: seed must be given, as actions are drawn; or pass deterministic=True")
        seed = 0 if seed is None else _check.seed(where, seed)
        step = _check.integer(where, "step", step, 0, 2**32 - 1)
        theta = self.checked_theta(where)
        with named(where):
            drawn = _core.act(self.network, theta, rows, seed, step, deterministic)
        return self.actions.shaped(drawn, batch_shape)

    def log_prob(self, obs: NDArray[np.float32], actions: NDArray[Any]) -> NDArray[np.float32]:
        """Return log pi(actions|obs): a density in a Box, else a probability, of all components together.

        Parameters
        ----------
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
        actions : integer or float32 array, shape (...) or (..., n)

        Returns
        -------
        float32 array, shape (...)
            A NumPy scalar for a single observation.

        Raises
        ------
        TypeError, ValueError
            As in `act`; actions have the wrong dtype or shape, or are out of range or not finite.

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
        """Return the entropy of pi(.|obs) in nats; in a Box it is the differential entropy.

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
        any_actions = np.zeros(len(rows) * self.actions.size, self.actions.dtype)
        theta = self.checked_theta(where)
        with named(where):
            entropy = _core.log_prob_and_entropy(self.network, theta, rows, any_actions)[1]
        return entropy.reshape(batch_shape)[()]

    def kl(self, other: "Policy", obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the divergence KL(self || other) of the action's distribution at each observation, in nats.

        Parameters
        ----------
        other : Policy
            With the same spaces; its network may have another shape.
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds

        Returns
        -------
        float32 array, shape (...)
            A NumPy scalar for a single observation.

        Raises
        ------
        TypeError, ValueError
            As in `act`; other is not a Policy, or has other spaces.
        FloatingPointError
            The divergence overflows float32, or an output of a network is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> policy = Policy.for_env("CartPole-v1", hidden=())
        >>> other = policy.copy()
        >>> other.parameters()["head.bias"][:] += [0.0, 1.0]
        >>> policy.kl(policy, np.zeros((2, 4), np.float32))
        array([0., 0.], dtype=float32)
        >>> round(float(policy.kl(other, np.zeros(4, np.float32))), 4)
        0.1201
        """
        where = "Policy.kl()"
        if not isinstance(other, Policy):
            raise TypeError(f"{where}: other must be a fastpg.Policy, got {_check.shown(other)}")
        if not self.has_spaces_like(other.observations, other.actions):
            raise ValueError(
                f"{where}: other must map {self.observation_space} to {self.action_space} as this policy "
                f"does, but it maps {other.observation_space} to {other.action_space}"
            )
        rows, batch_shape = self.observations.rows(where, obs)
        outputs = *self._outputs(where, rows), *other._outputs(where, rows)
        with np.errstate(all="ignore"):  # what overflows is seen in the result
            # Rounding may leave a little less than nothing, which a square root would not take.
            divergence = np.maximum(distributions.kl(self.actions, *outputs), 0.0).astype(np.float32)
        if not np.isfinite(divergence).all():
            raise FloatingPointError(
                f"{where}: the divergence is NaN or infinite: a policy's outputs are too large, or a "
                "standard deviation is too small"
            )
        return divergence.reshape(batch_shape)[()]

    def _outputs(
        self, where: str, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the network's outputs (B, num_outputs), and log_std (n,), of length 0 if there is none."""
        with named(where):
            outputs = _core.logits(self.network, self.checked_theta(where), rows).astype(np.float64)
        log_std = self.parameters().get("log_std", self._theta[:0])
        return outputs, log_std.astype(np.float64)

    def log_prob_and_entropy(
        self, where: str, obs: NDArray[np.float32], actions: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Do the work of `log_prob` and `fastpg.log_prob_and_entropy`; `where` is the caller."""
        rows, batch_shape = self.observations.rows(where, obs)
        flat_actions = self.actions.flat(where, actions, batch_shape)
        theta = self.checked_theta(where)
        with named(where):
            log_prob, entropy = _core.log_prob_and_entropy(self.network, theta, rows, flat_actions)
        return log_prob.reshape(batch_shape)[()], entropy.reshape(batch_shape)[()]

    def checked_theta(self, where: str) -> NDArray[np.float32]:
        """Return `theta`, checked to be finite: it is writable in place, so every use has to look."""
        _check.finite(where, "theta", self._theta)
        return self._theta

    def check_fits(self, where: str, env: NativeEnv | GymnasiumEnv) -> None:
        """Raise ValueError unless the policy's widths are those of the environment."""
        actions = spaces.actions(where, env.action_space)
        # Checkpoints of policies that counted from 0 whatever the environment did: they go on.
        starts_fit = not self.actions.starts or self.actions.starts == actions.starts
        if not starts_fit or not self.has_spaces_like(
            spaces.observations(where, env.observation_space), actions
        ):
            raise ValueError(
                f"{where}: policy maps {self.observation_space} to {self.action_space}, "
                f"but {env.id} has {env.observation_space} and {env.action_space}"
            )

    def has_spaces_like(self, observations: spaces.Observations, actions: spaces.Actions) -> bool:
        """Return whether observations and actions have this policy's widths and kinds.

        Bounds are free, and so are starts and shapes, of which the network knows nothing.
        """
        return observations.shape == self.observations.shape and actions.shape == self.actions.shape

    def copy(self) -> "Policy":
        """Return an independent policy with the same shape and parameters."""
        function, arguments = self.__reduce__()
        copied: Policy = function(*arguments)
        return copied

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to a safetensors file, replacing it in one step.

        A file that is replaced gives its mode to the new one. Where path is a link, so is it afterwards: the
        file that it leads to is replaced.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        TypeError, ValueError
            path is not a path to a file in a directory that exists, or theta is not finite.
        fastpg.SaveError
            The file cannot be written: the disk is full or may not be written to. An older one is unchanged.

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
        self.save_as("Policy.save()", path)

    def save_as(self, where: str, path: str | os.PathLike[str]) -> None:
        """Do the work of `save`; `where` is the caller."""
        from fastpg.networks.checkpoint import save_policy  # here: it imports this module, and safetensors

        save_policy(where, self, path)

    def file_content(self, where: str) -> bytes:
        """Return what `save` would write."""
        from fastpg.networks.checkpoint import content  # here: it imports this module, and safetensors

        return content(where, self)

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

        Notes
        -----
        No code of the file is run. But `env_id` is what the file says, and Gymnasium imports the module that
        an id like "module:Env-v0" names: look at it before making an environment of a stranger's policy.
        """
        from fastpg.networks.checkpoint import load_policy  # here: it imports this module, and safetensors

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


def over_memory(
    theta: NDArray[np.float32],
    observation_space: Space[Any],
    action_space: Space[Any],
    hidden: tuple[int, ...],
    activation: str,
) -> Policy:
    """Make a policy whose parameters are in memory that exists, (P,) contiguous, and stay there."""
    policy = Policy.__new__(Policy)
    policy._set_shape(observation_space, action_space, hidden, activation, theta=theta)
    return policy


def require_policy(where: str, value: Any) -> Policy:
    """Return the value if it is a Policy, else raise TypeError."""
    if not isinstance(value, Policy):
        raise TypeError(f"{where}: policy must be a fastpg.Policy, got {_check.shown(value)}")
    return value


def named_views(network: _core.Network, theta: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the views of theta that `Policy.parameters` describes."""
    views: dict[str, NDArray[np.float32]] = {}
    offset, inputs = 0, network.num_inputs
    names = [f"hidden.{i}" for i in range(len(network.hidden))] + ["head"]
    for name, outputs in zip(names, (*network.hidden, network.num_outputs), strict=True):
        views[f"{name}.weight"] = theta[offset : offset + outputs * inputs].reshape(outputs, inputs)
        offset += outputs * inputs
        views[f"{name}.bias"] = theta[offset : offset + outputs]
        offset, inputs = offset + outputs, outputs
    return views


def orthogonal(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> NDArray[np.float64]:
    """Draw a matrix with orthonormal rows or columns, whichever are fewer, times `gain`."""
    tall = rng.standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the distribution uniform over rotations
    oriented: NDArray[np.float64] = q if shape[0] >= shape[1] else q.T
    return gain * oriented
