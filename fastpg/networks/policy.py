"""The policy: what acts in an environment, by a distribution of actions for each observation."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

from fastpg import _check, _core, acted, spaces
from fastpg.action_masks import mask_rows
from fastpg.errors import named
from fastpg.networks.action_distribution import ActionDistribution
from fastpg.networks.parametric import Activation, how_to_get, spaces_of

if TYPE_CHECKING:
    from fastpg.envs.gymnasium.opening import AnyEnv

__all__ = ["Activation", "HasSpaces", "Policy", "require_policy"]


class HasSpaces(Protocol):
    """An environment, native or not, as far as a policy has to know it."""

    @property
    def id(self) -> str:
        """What it is called."""

    @property
    def observation_space(self) -> Space[Any]:
        """Of one environment."""

    @property
    def action_space(self) -> Space[Any]:
        """Of one environment."""


class Policy(ActionDistribution):
    """A stochastic policy: a linear map or a small MLP whose outputs are a distribution of actions.

    Discrete actions have a softmax; MultiDiscrete ones an independent softmax for each component;
    MultiBinary ones an independent probability, the sigmoid of an output, that each bit is 1. Actions in a
    Box are normal: the outputs are the means, and the logarithms of the standard deviations, `log_std`, are
    parameters that do not depend on the observation. They are drawn without regard to the Box's bounds. Where
    fastpg runs an environment, it scales them on their way there, if it is told to, and clips them; the
    log-probability stays that of what was drawn.

    With `squash`, the environment gets ``tanh`` of what was drawn, scaled to the Box, so that it is always
    strictly inside the bounds. Arrays of actions hold the number u that was drawn, before the tanh:
    `env_actions` makes the environment's action of it, `from_env_actions` goes back. Near a bound, rounding
    leaves nothing of u in the action; so u is what `act` returns, what batches hold and what is learnt from.
    Log-probabilities are those of the environment's action, the change of variables included.
    `entropy`, and so the bonus that an algorithm's entropy_coef gives, is that of u, which grows with the
    standard deviation without end: with much of it, actions crowd at the bounds. (That of the squashed action
    has no closed form.) Divergences and Fisher matrices are the same for both.

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
    squash : bool
        Squash actions into a Box, which has to have finite bounds.
    state_dependent_std : bool
        In a Box of n components: the network has 2 n outputs, the means and then `log_std`, which is held in
        [-20, 2]; beyond, its gradient is 0. There is no parameter `log_std` then.
    action_scaling : bool, optional
        Of a Box with bounds on all sides: actions count from -1 to 1, which stand for its bounds, as with
        Gymnasium's `RescaleAction`. What `act` returns and what is learnt from are such numbers;
        `env_actions` and whatever of fastpg runs an environment turns them into the environment's. By
        default they are not scaled, and a warning says so where bounds are above 4 or below 1/4: the first
        policy draws with mean 0 and standard deviation 1. Not together with `squash`, which scales anyway.

    Attributes
    ----------
    theta : float32 array, shape (P,)
        The parameters, the storage of record: write into it, or assign to it to copy another vector in.
        Per layer the weight (out, in) row-major, then the bias (out,); hidden layers first, then the head,
        then log_std (n,) where actions are in a Box, unless it depends on the state.
    observation_space, action_space, hidden, activation, squash, state_dependent_std, action_scaling
        As given.
    env_id : str or None
        The environment that the policy was made for, if known; `save` keeps it.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; a space is not supported; action_scaling is True
        without bounds, or together with squash.

    Warns
    -----
    UserWarning
        A Box's bounds are far from 1, and neither action_scaling nor squash is given.

    References
    ----------
    Saxe, McClelland and Ganguli, 2014 (orthogonal initialisation); Haarnoja et al., "Soft actor-critic
    algorithms and applications", 2018, appendix C (squashing), and their code (the range of `log_std`).

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

    NOUN = "policy"
    FORMAT = "fastpg.policy"
    THETA = "theta"
    LABELS = ("env_id",)

    env_id: str | None

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
        squash: bool = False,
        state_dependent_std: bool = False,
        action_scaling: bool | None = None,
    ) -> None:
        squash = _check.boolean("Policy()", "squash", squash)
        options = {
            "squash": squash,
            "state_dependent_std": _check.boolean("Policy()", "state_dependent_std", state_dependent_std),
            "action_scaling": acted.action_scaling(
                "Policy()", action_space, action_scaling, stacklevel=2, squash=squash
            ),
        }
        given = observation_space, action_space
        self._begin(given, hidden, activation, seed, head_gain=0.01, **options)

    @classmethod
    def for_env(
        cls,
        env_id: "AnyEnv",
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        seed: int = 0,
        squash: bool = False,
        state_dependent_std: bool = False,
        action_scaling: bool | None = None,
    ) -> Self:
        """Return a new policy with the spaces of an environment.

        Parameters
        ----------
        env_id : str, fastpg.exact.FiniteMDP, what jit_env or load_env made, VectorEnv or callable
            As in `fastpg.train`. One that is not native is made for a moment; spaces that `Policy` does not
            read are flattened, as docs/gymnasium.md says.
        hidden, activation, seed, squash, state_dependent_std, action_scaling
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
        squash = _check.boolean(where, "squash", squash)
        scales = acted.action_scaling(where, actions, action_scaling, stacklevel=2, squash=squash)
        with named(where):
            policy = cls(
                observations, actions, hidden=hidden, activation=activation, seed=seed, squash=squash,
                state_dependent_std=state_dependent_std, action_scaling=scales,
            )  # fmt: skip
        policy.env_id = known_as
        return policy

    def _mapping(self) -> str:
        return f"{super()._mapping()}, {self.actions}"

    def act(
        self,
        obs: NDArray[np.float32],
        *,
        seed: int | None = None,
        step: int = 0,
        deterministic: bool = False,
        action_mask: NDArray[Any] | None = None,
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
            Take the most likely action (the first of equals; in a Box the mean) instead of drawing one. With
            `squash` the environment then gets the tanh of the mean.
        action_mask : bool or 0/1 array, shape (..., A), optional
            Of Discrete and MultiDiscrete actions: which may be taken, A categories of all components, one
            component's after the other's. The others have probability 0. Every row has to allow one of each
            component.

        Returns
        -------
        int64 or float32 array, shape (...) or (..., n)
            A NumPy scalar for a single observation and a Discrete action. Actions in a Box are as drawn,
            neither clipped, scaled nor squashed: `env_actions` makes of them what an environment should get.

        Raises
        ------
        TypeError
            obs is not float32; there is no seed to draw actions by.
        ValueError
            obs has the wrong length or is not finite; theta is not finite; action_mask has the wrong shape,
            allows nothing somewhere, or actions have no softmax.
        FloatingPointError
            The network's output is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> policy = Policy.for_env("CartPole-v1")
        >>> policy.parameters()["head.bias"][:] = [0.0, 100.0]
        >>> policy.act(np.zeros((3, 4), np.float32), seed=0)
        array([1, 1, 1])
        >>> policy.act(np.zeros((2, 4), np.float32), seed=0, action_mask=np.array([[1, 0], [1, 1]]))
        array([0, 1])
        """
        where = "Policy.act()"
        rows, batch_shape = self.observations.rows(where, obs)
        deterministic = _check.boolean(where, "deterministic", deterministic)
        if seed is None and not deterministic:
            raise TypeError(f"{where}: seed must be given, as actions are drawn; or pass deterministic=True")
        seed = 0 if seed is None else _check.seed(where, seed)
        step = _check.integer(where, "step", step, 0, 2**32 - 1)
        mask = mask_rows(where, self.actions, action_mask, batch_shape)
        theta = self.checked_theta(where)
        with named(where):
            drawn = _core.act(self.network, theta, rows, seed, step, deterministic, action_mask=mask)
        return self.actions.shaped(drawn, batch_shape)

    def env_actions(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Return actions as the environment takes them, in its own numbers.

        In a Box they are clipped to the bounds, and scaled to them before, if the policy was made with
        `action_scaling`; or, with `squash`, strictly inside of them: ``tanh(actions)``, scaled. Others are in
        the space already, and only get its dtype.

        Parameters
        ----------
        actions : integer or float32 array, shape (...) or (..., n)
            Of `act`: one or many.

        Returns
        -------
        array of the same shape
            In the dtype of `action_space`: elements of it, one or many.

        Raises
        ------
        TypeError, ValueError
            actions have the wrong dtype or shape, or are out of range or not finite.

        Examples
        --------
        >>> import numpy as np
        >>> from gymnasium.spaces import Box
        >>> policy = Policy(Box(-1.0, 1.0, (3,)), Box(0.0, 8.0, (1,)), squash=True)
        >>> policy.env_actions(np.array([[-0.5], [0.0], [50.0]], np.float32)).ravel().round(3)
        array([2.152, 4.   , 8.   ], dtype=float32)
        >>> policy = Policy(Box(-1.0, 1.0, (3,)), Box(0.0, 100.0, (2,)), action_scaling=True)
        >>> policy.env_actions(np.array([[-1.0, 0.0], [0.5, 7.0]], np.float32)).tolist()
        [[0.0, 50.0], [75.0, 100.0]]
        """
        where = "Policy.env_actions()"
        given, batch_shape = self._batch_of(where, actions)
        flat = self.actions.flat(where, given, batch_shape)
        count = flat.size // self.actions.size
        prepared = acted.Acted(
            where, self.action_space, count, squash=self.squash, scales=self.action_scaling
        ).prepare(flat)
        return prepared.reshape(given.shape)[()]

    def from_env_actions(self, actions: NDArray[Any]) -> NDArray[np.float32]:
        """Return what a squashed policy would have drawn to act so: what `log_prob` and others take.

        The inverse of `env_actions`, as far as rounding has left one: half a unit in the last place of an
        action moves the result by up to 0.1 where it is 8, and by more beyond. Actions on the bounds become
        the numbers next to them.

        Parameters
        ----------
        actions : float array, shape (..., n)
            In the Box, bounds included.

        Returns
        -------
        float32 array of the same shape

        Raises
        ------
        TypeError, ValueError
            The policy does not squash; actions have the wrong dtype or shape, or lie outside of the Box.

        Examples
        --------
        >>> import numpy as np
        >>> from gymnasium.spaces import Box
        >>> policy = Policy(Box(-1.0, 1.0, (3,)), Box(0.0, 8.0, (1,)), squash=True)
        >>> policy.from_env_actions(np.array([[4.0], [5.848]], np.float32)).round(3).tolist()
        [[0.0], [0.5]]
        """
        where = "Policy.from_env_actions()"
        if not self.squash:
            raise ValueError(f"{where}: the policy does not squash its actions: it takes them as they are")
        given, _ = self._batch_of(where, actions)
        if given.dtype.kind != "f":
            raise TypeError(f"{where}: actions must be floats, got {given.dtype}")
        drawn = acted.unsquashed(where, self.action_space, given)
        return np.asarray(drawn, np.float32)

    def _batch_of(self, where: str, actions: Any) -> tuple[NDArray[Any], tuple[int, ...]]:
        """Return actions as an array, and the shape of the batch that they are."""
        given = np.asarray(actions) if isinstance(actions, np.generic) else actions
        given = _check.as_array(where, "actions", given)
        inner = self.action_space.shape or ()
        batch_shape = given.shape[: given.ndim - len(inner)]
        if given.size == 0 or given.shape != (*batch_shape, *inner):
            wanted = ", ".join(["...", *map(str, inner)])
            raise ValueError(f"{where}: actions must have shape ({wanted}), got {given.shape}")
        return given, batch_shape

    def export(self, path: str | os.PathLike[str], *, sampled: bool = False, masked: bool = False) -> None:
        """Write the policy for where there is no fastpg, in the form that the ending of path says.

        Observation normalisation is part of the first layer; actions are those of `env_actions`. What is
        written has been compared with the policy on random observations. Inputs and outputs of ".onnx" and
        ".pt2" are batches: "obs", (B, ...), as the space has them; with ``sampled`` "uniforms", (B, n),
        independent numbers inside (0, 1); with ``masked`` "action_mask", (B, A) bool, as in `act`; "action",
        (B, ...), and "outputs", those of the network: logits, which know no mask, or means. The same uniforms
        draw the same actions in all forms.

        Parameters
        ----------
        path : str or path
            Ending in ".onnx" (needs onnx), ".h" (C99, no dependency but libm) or ".pt2" (torch.export, needs
            torch).
        sampled : bool
            Draw actions, instead of taking the most likely ones. A header has functions for both.
        masked : bool
            Take an action mask as well, of Discrete and MultiDiscrete actions: every row has to allow one of
            each component, which nobody checks there. A header of such actions has functions with it anyway.

        Raises
        ------
        TypeError, ValueError
            path is no path of a file with such an ending, in a directory that exists; theta is not finite;
            masked is True, but actions have no masks.
        ImportError
            The package for this form is not installed.
        RuntimeError
            What was made does not act as the policy does: nothing is written.
        fastpg.SaveError
            The file cannot be written.

        Warns
        -----
        RuntimeWarning
            There is no C compiler to check a header with.

        Examples
        --------
        >>> import tempfile
        >>> policy = Policy.for_env("CartPole-v1")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     policy.export(f"{folder}/policy.h")
        """
        from fastpg import exports  # here: nothing of it is needed before

        exports.export("Policy.export()", self, path, sampled, masked)

    def check_fits(self, where: str, env: HasSpaces) -> None:
        """Raise ValueError unless the policy's widths are those of the environment."""
        actions = self._actions_of(where, env.action_space)
        # Checkpoints of policies that counted from 0 whatever the environment did: they go on.
        starts_fit = not self.actions.starts or self.actions.starts == actions.starts
        if not starts_fit or not self.has_spaces_like(
            spaces.observations(where, env.observation_space), actions
        ):
            raise ValueError(
                f"{where}: policy maps {_check.line(self.observation_space)} to "
                f"{_check.line(self.action_space)}, but {env.id} has {_check.line(env.observation_space)} "
                f"and {_check.line(env.action_space)}"
            )


def require_policy(where: str, value: Any) -> Policy:
    """Return the value if it is a Policy, else raise TypeError."""
    if not isinstance(value, Policy):
        is_module = hasattr(value, "named_parameters")
        of_modules = "; fastpg.torch has from_module, collect and evaluate for modules"
        advice = of_modules if is_module else how_to_get(Policy, value)
        raise TypeError(f"{where}: policy must be a fastpg.Policy, got {_check.shown(value)}{advice}")
    return value
