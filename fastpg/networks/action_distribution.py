"""The distribution of actions for each observation, which is what the outputs of a policy's network are."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

from fastpg import _check, _core, spaces
from fastpg.action_masks import mask_rows, require_allowed
from fastpg.errors import named
from fastpg.networks.divergence import kl
from fastpg.networks.parametric import Parametric, how_to_get

LOG_STD_RANGE = -20.0, 2.0  # in which csrc/heads/state_std.h holds outputs


class ActionDistribution(Parametric):
    """A network with a head: what can be asked of a `Policy` without drawing an action."""

    SPACES = ("observation_space", "action_space")
    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "squash": False,
        "state_dependent_std": False,
        "action_scaling": False,
    }

    action_space: Space[Any]
    squash: bool
    state_dependent_std: bool
    action_scaling: bool

    def _make_network(self, where: str) -> _core.Network:
        self.actions = self._actions_of(where, self.action_space)
        if self.action_scaling:
            spaces.require_scalable(where, self.actions)
        return _core.Network(
            self.observations.num_inputs,
            self.hidden,
            self.actions.num_outputs,
            self.activation,
            self.observations.categories,
            self.actions.head,
            self.actions.categories if self.actions.head == "categorical" else (),
            self.state_dependent_std,
            self.actions.log_scale,
            self.action_scaling,
        )

    def _actions_of(self, where: str, space: Space[Any]) -> spaces.Actions:
        """Return how this policy's options draw actions of a space."""
        return spaces.actions(where, space, squash=self.squash, state_dependent_std=self.state_dependent_std)

    def log_prob(
        self, obs: NDArray[np.float32], actions: NDArray[Any], *, action_mask: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Return log pi(actions|obs): a density in a Box, else a probability, of all components together.

        Parameters
        ----------
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
        actions : integer or float32 array, shape (...) or (..., n)
            As `act` returns them. With `squash` the density is that of ``env_actions(actions)``.
        action_mask : bool or 0/1 array, shape (..., A), optional
            As in `act`; it has to allow the actions.

        Returns
        -------
        float32 array, shape (...)
            A NumPy scalar for a single observation.

        Raises
        ------
        TypeError, ValueError
            As in `act`; actions have the wrong dtype or shape, are out of range or not finite, or are ones
            that action_mask does not allow.

        Examples
        --------
        >>> import numpy as np
        >>> from fastpg import Policy
        >>> policy = Policy.for_env("CartPole-v1")
        >>> policy.theta[:] = 0.0
        >>> policy.log_prob(np.zeros((2, 4), np.float32), np.array([0, 1])).round(4)
        array([-0.6931, -0.6931], dtype=float32)
        """
        return self.log_prob_and_entropy("Policy.log_prob()", obs, actions, action_mask)[0]

    def entropy(
        self, obs: NDArray[np.float32], *, action_mask: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Return the entropy of pi(.|obs) in nats; in a Box it is the differential entropy.

        With `squash` it is that of what is drawn, before the tanh.

        Parameters
        ----------
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
        action_mask : bool or 0/1 array, shape (..., A), optional
            As in `act`: the entropy is that of the actions that are allowed.

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
        >>> from fastpg import Policy
        >>> policy = Policy.for_env("CartPole-v1")
        >>> policy.theta[:] = 0.0
        >>> round(float(policy.entropy(np.zeros(4, np.float32))), 4)
        0.6931
        """
        where = "Policy.entropy()"
        rows, batch_shape = self.observations.rows(where, obs)
        any_actions = np.zeros(len(rows) * self.actions.size, self.actions.dtype)
        mask = mask_rows(where, self.actions, action_mask, batch_shape)
        theta = self.checked_theta(where)
        with named(where):
            entropy = _core.log_prob_and_entropy(self.network, theta, rows, any_actions, mask)[1]
        return entropy.reshape(batch_shape)[()]

    def fisher_product(
        self,
        obs: NDArray[np.float32],
        direction: NDArray[np.float32],
        *,
        damping: float = 0.0,
        action_mask: NDArray[Any] | None = None,
    ) -> NDArray[np.float32]:
        """Return F v, the policy's Fisher matrix times a direction: what natural gradients are solved with.

        F is the mean over the observations of ``E_a[grad log pi(a|s) grad log pi(a|s)^T]``, which is the
        second derivative of KL(pi || pi') at pi' = pi. It is never written down: a product is a tangent pass
        forward, the matrix by the outputs, and a pass backward.

        Parameters
        ----------
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
        direction : float32 array, shape (P,)
            In the order of `theta`.
        damping : float
            Adds this times `direction`, at least 0.
        action_mask : bool or 0/1 array, shape (..., A), optional
            As in `act`: the distributions are those of the actions that are allowed.

        Returns
        -------
        float32 array, shape (P,)

        Raises
        ------
        TypeError, ValueError
            As in `act`; direction has the wrong dtype or shape, or is not finite.
        FloatingPointError
            The product is not finite in float32.

        References
        ----------
        Kakade, "A natural policy gradient", 2001; Schraudolph, "Fast curvature matrix-vector products for
        second-order gradient descent", 2002.

        Examples
        --------
        >>> import numpy as np
        >>> from fastpg import Policy
        >>> policy = Policy.for_env("CartPole-v1", hidden=())
        >>> policy.theta[:] = 0.0
        >>> obs = np.array([1, 0, 0, 0], np.float32)
        >>> policy.fisher_product(obs, np.eye(10, dtype=np.float32)[0]).tolist()
        [0.25, 0.0, 0.0, 0.0, -0.25, 0.0, 0.0, 0.0, 0.25, -0.25]
        """
        where = "Policy.fisher_product()"
        rows, batch_shape = self.observations.rows(where, obs)
        mask = mask_rows(where, self.actions, action_mask, batch_shape)
        theta = self.checked_theta(where)
        vector = _check.contiguous(_check.floats(where, "direction", direction, theta.shape))
        damping = _check.real(where, "damping", damping, "[0, inf)")
        with named(where):
            product = _core.fisher_product(self.network, theta, rows, vector, mask)
        with np.errstate(over="ignore", invalid="ignore"):
            product += np.float32(damping) * vector
        if not np.isfinite(product).all():
            raise FloatingPointError(f"{where}: the product overflows float32: damping is too large")
        return product

    def kl(
        self, other: Self, obs: NDArray[np.float32], *, action_mask: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Return the divergence KL(self || other) of the action's distribution at each observation, in nats.

        Parameters
        ----------
        other : Policy
            With the same spaces; its network may have another shape.
        obs : float32 array, shape (D,) or (..., D); or what else the observation space holds
        action_mask : bool or 0/1 array, shape (..., A), optional
            As in `act`: both distributions are those of the actions that are allowed.

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
        >>> from fastpg import Policy
        >>> policy = Policy.for_env("CartPole-v1", hidden=())
        >>> other = policy.copy()
        >>> other.parameters()["head.bias"][:] += [0.0, 1.0]
        >>> policy.kl(policy, np.zeros((2, 4), np.float32))
        array([0., 0.], dtype=float32)
        >>> round(float(policy.kl(other, np.zeros(4, np.float32))), 4)
        0.1201
        """
        where = "Policy.kl()"
        if not isinstance(other, ActionDistribution):
            advice = how_to_get(type(self), other)
            raise TypeError(f"{where}: other must be a fastpg.Policy, got {_check.shown(other)}{advice}")
        if self.action_scaling != other.action_scaling:
            raise ValueError(
                f"{where}: other must count actions as this policy does, but its action_scaling is "
                f"{other.action_scaling}"
            )
        if not self.has_spaces_like(other.observations, other.actions):
            raise ValueError(
                f"{where}: other must map {_check.line(self.observation_space)} to "
                f"{_check.line(self.action_space)} as this policy does, but it maps "
                f"{_check.line(other.observation_space)} to {_check.line(other.action_space)}"
            )
        rows, batch_shape = self.observations.rows(where, obs)
        mask = mask_rows(where, self.actions, action_mask, batch_shape)
        outputs = *self._outputs(where, rows, mask), *other._outputs(where, rows, mask)
        with np.errstate(all="ignore"):  # what overflows is seen in the result
            # Rounding may leave a little less than nothing, which a square root would not take.
            divergence = np.maximum(kl(self.actions, *outputs), 0.0).astype(np.float32)
        if not np.isfinite(divergence).all():
            raise FloatingPointError(
                f"{where}: the divergence is NaN or infinite: a policy's outputs are too large, or a "
                "standard deviation is too small"
            )
        return divergence.reshape(batch_shape)[()]

    def _outputs(
        self, where: str, rows: NDArray[np.float32], mask: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return logits or means (B, ...), and log_std, (n,) or (B, n), of length 0 if there is none.

        Logits are -infinity where the mask does not allow a category.
        """
        with named(where):
            outputs = _core.logits(self.network, self.checked_theta(where), rows).astype(np.float64)
        if self.state_dependent_std:
            means, given = np.split(outputs, 2, axis=-1)
            return means, np.clip(given, *LOG_STD_RANGE)
        if mask is not None:
            outputs[mask == 0] = -np.inf
        log_std = self.parameters().get("log_std", self._theta[:0])
        return outputs, log_std.astype(np.float64)

    def log_prob_and_entropy(
        self, where: str, obs: NDArray[np.float32], actions: NDArray[Any], action_mask: NDArray[Any] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Do the work of `log_prob` and `fastpg.log_prob_and_entropy`; `where` is the caller."""
        rows, batch_shape = self.observations.rows(where, obs)
        flat_actions = self.actions.flat(where, actions, batch_shape)
        mask = mask_rows(where, self.actions, action_mask, batch_shape)
        require_allowed(where, self.actions, flat_actions, mask, batch_shape)
        theta = self.checked_theta(where)
        with named(where):
            log_prob, entropy = _core.log_prob_and_entropy(self.network, theta, rows, flat_actions, mask)
        return log_prob.reshape(batch_shape)[()], entropy.reshape(batch_shape)[()]

    def has_spaces_like(self, observations: spaces.Observations, actions: spaces.Actions) -> bool:
        """Return whether observations and actions have this policy's widths and kinds.

        Bounds are free, unless actions are squashed to them; and so are starts and shapes, of which the
        network knows nothing.
        """
        return observations.shape == self.observations.shape and actions.shape == self.actions.shape
