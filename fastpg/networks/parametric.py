"""What a policy and a value function share: a compiled network, and its parameters in one flat vector."""

import contextlib
import copy as copying
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.networks.layers import draw_weights, named_views

if TYPE_CHECKING:
    from fastpg.envs.gymnasium.opening import AnyEnv

Activation = Literal["tanh", "relu"]
ACTIVATIONS: tuple[Activation, ...] = ("tanh", "relu")


class Parametric:
    """A linear map or a small MLP of observations, whose parameters are one flat vector, `theta`.

    The base of `Policy` and `ValueFunction`. A kind says of itself, in capitals, what files, copies and
    errors have to know, and makes its compiled network.
    """

    NOUN: ClassVar[str]  # as in "the file of a policy"
    FORMAT: ClassVar[str]  # what its files call it
    THETA: ClassVar[str]  # what errors call its parameters
    SPACES: ClassVar[tuple[str, ...]]  # the attributes that are spaces, in the order of the constructor
    LABELS: ClassVar[tuple[str, ...]] = ()  # the attributes that are a word or None
    OPTIONS: ClassVar[Mapping[str, Any]] = {}  # what else the constructor takes, with what is usual

    network: _core.Network
    observations: spaces.Observations
    observation_space: Space[Any]
    hidden: tuple[int, ...]
    activation: str
    on_write: Callable[[], None] | None
    _drawn: bytes | None = None  # what the weights hashed to when a constructor drew them

    @classmethod
    def of_shape(
        cls,
        where: str,
        given: Sequence[Space[Any]],
        hidden: tuple[int, ...],
        activation: str,
        theta: NDArray[np.float32] | None = None,
        **options: Any,
    ) -> Self:
        """Make one of a shape that was checked; `where` is the caller, `given` the spaces.

        Its parameters are zeros, or `theta`, (P,) contiguous, memory that exists: they stay there.
        """
        made = cls.__new__(cls)
        made._set_shape(where, given, hidden, activation, theta, **options)
        return made

    def _begin(
        self,
        given: Sequence[Space[Any]],
        hidden: Sequence[int],
        activation: str,
        seed: int,
        head_gain: float,
        **options: Any,
    ) -> None:
        """Do the work of a constructor: check its arguments, draw the first parameters."""
        where = f"{type(self).__name__}()"
        widths = _check.widths(where, "hidden", hidden, _core.MAX_HIDDEN, _core.MAX_WIDTH)
        activation = _check.choice(where, "activation", activation, ACTIVATIONS)
        seed = _check.seed(where, seed)
        self._set_shape(where, given, widths, activation, **options)
        draw_weights(self.parameters(), seed, head_gain)
        self._drawn = hash_of_weights(self)

    def _set_shape(
        self,
        where: str,
        given: Sequence[Space[Any]],
        hidden: tuple[int, ...],
        activation: str,
        theta: NDArray[np.float32] | None = None,
        **options: Any,
    ) -> None:
        for name, space in zip(self.SPACES, given, strict=True):
            setattr(self, name, space)
        for name in self.LABELS:
            setattr(self, name, None)
        for name, usual in self.OPTIONS.items():
            setattr(self, name, options.get(name, usual))
        self.observations = spaces.observations(where, self.observation_space)
        self.hidden = hidden
        self.activation = activation
        self.network = self._make_network(where)
        self._theta = np.zeros(self.network.num_parameters, np.float32) if theta is None else theta
        self.on_write = None

    def _make_network(self, where: str) -> _core.Network:
        raise NotImplementedError

    @property
    def theta(self) -> NDArray[np.float32]:
        """The parameters, (P,) float32; writable in place."""
        return self._theta

    @theta.setter
    def theta(self, value: NDArray[np.float32]) -> None:
        where = f"{type(self).__name__}.theta"
        self._theta[:] = _check.floats(where, "theta", value, self._theta.shape)
        self.written()

    def checked_theta(self, where: str) -> NDArray[np.float32]:
        """Return `theta`, checked to be finite: it is writable in place, so every use has to look."""
        _check.finite(where, self.THETA, self._theta)
        return self._theta

    def written(self) -> None:
        """Tell whoever shares theta's memory, as torch's autograd, that it was written to."""
        if self.on_write is not None:
            self.on_write()

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Return views of theta, by name: "hidden.0.weight" (out, in), ..., "head.bias" (out,).

        Where a policy's actions are in a Box, "log_std" (n,) is the last.

        Examples
        --------
        >>> from fastpg import Policy
        >>> policy = Policy.for_env("CartPole-v1", hidden=(8,))
        >>> {name: view.shape for name, view in policy.parameters().items()}
        {'hidden.0.weight': (8, 4), 'hidden.0.bias': (8,), 'head.weight': (2, 8), 'head.bias': (2,)}
        """
        return named_views(self.network, self._theta)

    def copy(self) -> Self:
        """Return an independent one with the same shape and parameters."""
        return copying.copy(self)

    def __reduce__(self) -> tuple[Any, ...]:
        shape = (spaces_in(self), self.hidden, self.activation)
        state = labels_in(self) if self._drawn is None else labels_in(self) | {"_drawn": self._drawn}
        return restore, (type(self), *shape, self._theta, options_in(self)), state

    def __repr__(self) -> str:
        named = options_in(self) | labels_in(self)
        labels = "".join(f", {name}={label!r}" for name, label in named.items())
        return (
            f"{type(self).__name__}({self._mapping()}, hidden={self.hidden}, "
            f"activation={self.activation!r}, {self._theta.size} parameters{labels})"
        )

    def _mapping(self) -> str:
        """Return what is mapped to what, as `repr` has it."""
        return f"{self.network.num_inputs} inputs"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, shape and spaces to a safetensors file, replacing it in one step.

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
        >>> from fastpg import Policy, ValueFunction
        >>> policy, value = Policy.for_env("CartPole-v1"), ValueFunction.for_env("CartPole-v1")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     policy.save(f"{folder}/policy.safetensors")
        ...     value.save(f"{folder}/value.safetensors")
        ...     loaded = Policy.load(f"{folder}/policy.safetensors")
        >>> bool((loaded.theta == policy.theta).all())
        True
        """
        self.save_as(f"{type(self).__name__}.save()", path)

    def save_as(self, where: str, path: str | os.PathLike[str]) -> None:
        """Do the work of `save`; `where` is the caller."""
        from fastpg.networks import checkpoint  # here: it imports this module, and safetensors

        checkpoint.save(where, self, path)

    def file_content(self, where: str) -> bytes:
        """Return what `save` would write."""
        from fastpg.networks import checkpoint  # here: it imports this module, and safetensors

        return checkpoint.content(where, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that `save` wrote, or what the newest checkpoint of a run has.

        Parameters
        ----------
        path : str or path
            A file; or the folder of a run, which may be under way, have been killed, or be one of many.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        fastpg.CheckpointError
            The file is damaged, holds something else (a policy where a value function is wanted, or the
            other way round), or holds parameters that do not fit or are not finite. The folder is not that of
            a run, or its run has no value function.

        Notes
        -----
        No code of the file is run. But a policy's `env_id` is what the file says, and Gymnasium imports the
        module that an id like "module:Env-v0" names: look at it before making an environment of a stranger's
        policy.
        """
        from fastpg.networks import checkpoint  # here: it imports this module, and safetensors

        return checkpoint.load(f"{cls.__name__}.load()", cls, path)


Kind = TypeVar("Kind", bound=Parametric)


def how_to_get(kind: type[Parametric], value: object) -> str:
    """Return the end of a sentence about what is no network: how to get the one that was meant, or ""."""
    name = kind.NOUN.partition(" ")[0]
    if isinstance(value, str | os.PathLike):
        return f"; read it with fastpg.{kind.__name__}.load({os.fspath(value)!r})"
    with contextlib.suppress(Exception):  # of a property
        if isinstance(getattr(value, name, None), kind):  # a TrainResult, an Agent
            return f"; pass its {name}, as run.{name}"
    return ""


def spaces_in(network: Parametric) -> tuple[Space[Any], ...]:
    """Return the spaces that a network was made with, in the order of its constructor."""
    return tuple(getattr(network, name) for name in network.SPACES)


def labels_in(network: Parametric) -> dict[str, str]:
    """Return the labels that a network has, by name."""
    return {name: label for name in network.LABELS if (label := getattr(network, name)) is not None}


def options_in(network: Parametric) -> dict[str, Any]:
    """Return the options of a network that are not as usual, by name."""
    return {
        name: value for name, usual in network.OPTIONS.items() if (value := getattr(network, name)) != usual
    }


def hash_of_weights(network: Parametric) -> bytes:
    """Return a hash of the weights of all layers."""
    total = hashlib.sha256()
    for name, view in network.parameters().items():
        if name.endswith("weight"):
            total.update(view.tobytes())
    return total.digest()


def is_untrained(network: Parametric) -> bool:
    """Return whether all weights are still those that a constructor drew.

    Biases and `log_std` do not count: who sets the first standard deviation has trained nothing. Of what a
    file or a torch module holds nobody knows, so that it is trained.
    """
    return network._drawn is not None and network._drawn == hash_of_weights(network)


def restore(
    kind: type[Kind],
    given: tuple[Space[Any], ...],
    hidden: tuple[int, ...],
    activation: str,
    theta: NDArray[np.float32],
    options: Mapping[str, Any],
) -> Kind:
    """Make one with a copy of parameters that exist: what copying and unpickling do."""
    made = kind.of_shape(f"{kind.__name__}()", given, hidden, activation, **options)
    made.theta[:] = theta
    return made


def spaces_of(where: str, env_id: "AnyEnv") -> tuple[Space[Any], Space[Any], str | None]:
    """Return the spaces that a policy for an environment has, and the id to remember."""
    # Here: networks know spaces, not environments, which lie above them. Only `for_env` looks up.
    from fastpg.envs.gymnasium import opening

    return opening.spaces_of(where, env_id)
