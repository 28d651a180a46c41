"""What learns: a policy, a value function, and all that an algorithm remembers between iterations."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg.algorithms import Algorithm, Reinforce, require_algorithm
from fastpg.batches.batch import Batch
from fastpg.errors import named
from fastpg.networks.parametric import is_untrained
from fastpg.networks.policy import Policy, require_policy
from fastpg.networks.value import ValueFunction, require_value

MAX_COUNTED = 2**53  # episodes, steps and iterations of an agent


def core_agent(
    algorithm: Algorithm, policy: Policy, value: ValueFunction | None, *, seed: int, **settings: Any
) -> _core.Agent:
    """Return the core's agent, which updates the parameters of policy and value in place."""
    return _core.Agent(
        policy.network, policy.theta, seed=seed, **core_arguments(algorithm, value, **settings)
    )


def core_arguments(
    algorithm: Algorithm,
    value: ValueFunction | None,
    *,
    total_steps: int,
    target_return: float | None,
    policy_untrained: bool = True,
    value_untrained: bool = True,
    **settings: Any,
) -> dict[str, Any]:
    """Return the settings of the core's agent, its value function among them."""
    if value is not None:
        settings |= {"value": value.network, "value_theta": value.theta}
    return {
        "total_steps": total_steps,
        "target_return": math.nan if target_return is None else target_return,
        "policy_given": not policy_untrained,
        "value_given": not value_untrained,
        **algorithm.core_settings(),
        **settings,
    }


def untrained_of(policy: Policy, value: ValueFunction | None) -> dict[str, bool]:
    """Return which networks have learnt nothing: the first statistics may change what these compute."""
    return {
        "policy_untrained": is_untrained(policy),
        "value_untrained": value is None or is_untrained(value),
    }


def bootstraps(algorithm: Algorithm) -> bool:
    """Return whether V of what follows a cut enters the weights."""
    return algorithm.core_settings()["form"] in ("q", "td", "gae")


class Agent:
    """A policy and a value function that learn from batches: the update that `train` makes, on your own rows.

    Parameters
    ----------
    algorithm : Reinforce, VPG, A2C, PPO, NPG or TRPO
    policy : Policy
        Learns in place. With `normalize_observations`, one that has learnt nothing is read anew by the
        statistics of the first batch, as in `VPG`.
    value : ValueFunction, optional
        Of all but Reinforce, which by default get a new one. Learns in place.
    seed : int
        Decides what the minibatches of the value function hold, and its first parameters where it is new.
    total_steps : int, optional
        With ``linear_schedule``: the steps at which the learning rates reach 0.

    Attributes
    ----------
    algorithm, policy, value, seed
        As given.
    num_iterations, num_steps : int
        Updates so far, and the transitions in them.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind, or goes with another algorithm.

    Examples
    --------
    >>> import fastpg
    >>> policy = fastpg.Policy.for_env("CartPole-v1")
    >>> agent = fastpg.Agent(fastpg.VPG(), policy, seed=1)
    >>> env = fastpg.make("CartPole-v1", num_envs=16)
    >>> _ = env.reset(seed=0)
    >>> for _ in range(3):
    ...     stats = agent.update(fastpg.collect(env, policy, horizon=64))
    >>> stats["num_steps"], agent.num_iterations
    (1024, 3)
    """

    def __init__(
        self,
        algorithm: Algorithm,
        policy: Policy,
        value: ValueFunction | None = None,
        seed: int = 0,
        *,
        total_steps: int | None = None,
    ) -> None:
        where = "Agent()"
        require_algorithm(where, algorithm)
        require_policy(where, policy)
        seed = _check.seed(where, seed)
        if total_steps is not None:
            total_steps = _check.integer(where, "total_steps", total_steps, 1, _check.MAX_COUNT)
        else:
            for option in ("linear_schedule", "linear_clip_range"):
                if getattr(algorithm, option, False):
                    raise ValueError(f"{where}: {option} needs total_steps, where it reaches 0")
        value = value_for(where, algorithm, policy, value, seed)
        policy.checked_theta(where)
        self.algorithm, self.policy, self.value, self.seed = algorithm, policy, value, seed
        self._total_steps = total_steps
        self._core = core_agent(
            algorithm, policy, value, seed=seed, total_steps=total_steps or _check.MAX_COUNT,
            target_return=None, **untrained_of(policy, value),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Agent({type(self.algorithm).__name__}, {self.policy!r}, {self.num_iterations} iterations)"

    @property
    def num_iterations(self) -> int:
        """Updates so far."""
        return self._core.num_iterations

    @property
    def num_steps(self) -> int:
        """Transitions in all updates so far."""
        return self._core.num_steps

    def update(self, batch: Batch[NDArray[Any]]) -> dict[str, Any]:
        """Learn from a batch: one iteration of the algorithm.

        Parameters
        ----------
        batch : Batch
            Of `collect`, or of `Batch.from_arrays`. Advantages are made of its rewards with the value
            function as it is now; `values` of the batch are not read.

        Returns
        -------
        dict
            The statistics of `TrainResult.history`, of this iteration.

        Raises
        ------
        TypeError, ValueError
            batch is no Batch, or does not fit the policy; it lacks `last_obs` or a final observation that the
            algorithm needs.
        FloatingPointError
            A parameter, value or gradient became NaN or infinite. As after KeyboardInterrupt, the update has
            then not happened.
        """
        where = "Agent.update()"
        if not isinstance(batch, Batch):
            raise TypeError(f"{where}: batch must be a fastpg.Batch, got {_check.shown(batch)}")
        rows = batch.rows(where, self.policy, with_cuts=bootstraps(self.algorithm))
        record = self._core.update(rows, where)
        self.policy.written()
        if self.value is not None:
            self.value.written()
        return {name: record[name][0].item() for name in record.dtype.names or ()}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that the agent is, as arrays by name: parameters, moments, normaliser, counters.

        With `from_state` an agent goes on as this one would, to the last bit.
        """
        return self._core.state()

    @classmethod
    def from_state(
        cls,
        state: dict[str, NDArray[Any]],
        algorithm: Algorithm,
        policy: Policy,
        value: ValueFunction | None = None,
        seed: int = 0,
        *,
        total_steps: int | None = None,
    ) -> "Agent":
        """Return the agent whose `state` this is; policy and value are of its shapes and get its parameters.

        Raises
        ------
        ValueError
            The state is of an agent with another algorithm or other shapes.

        Examples
        --------
        >>> import fastpg
        >>> policy = fastpg.Policy.for_env("CartPole-v1")
        >>> agent = fastpg.Agent(fastpg.VPG(), policy)
        >>> again = fastpg.Agent.from_state(agent.state(), fastpg.VPG(), policy.copy())
        >>> bool((again.policy.theta == policy.theta).all())
        True
        """
        where = "Agent.from_state()"
        with named(where):
            agent = cls(algorithm, policy, value, seed, total_steps=total_steps)
        check_state(where, state, agent.state())
        agent._core.set_state(state)
        agent.policy.written()
        if agent.value is not None:
            agent.value.written()
        return agent


def check_state(
    where: str, state: Any, own: dict[str, NDArray[Any]], whole: dict[str, NDArray[Any]] | None = None
) -> None:
    """Require a state that an agent could be in whose own is `own`: counters are indices in the core.

    `whole` is `own` and what else the state has, numbers of any value.
    """
    whole = own if whole is None else whole
    if not isinstance(state, dict):
        raise TypeError(f"{where}: state must be a dict of Agent.state(), got {_check.shown(state)}")
    unknown = sorted(map(str, set(state) - set(whole)))
    if unknown:
        raise ValueError(f"{where}: state has entries that this agent lacks: {', '.join(unknown)}")
    for name, like in whole.items():
        array, entry = state.get(name), f"{where}: the entry {name} of state"
        if name == "rewards.so_far" and isinstance(array, np.ndarray) and array.ndim == 1:
            like = np.empty(array.shape)  # of as many environments as there were
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (like.dtype, like.shape):
            raise ValueError(
                f"{entry} must be {like.size} numbers of {like.dtype}, got {_check.shown(array)}"
            )
        if name not in own:
            continue
        if like.dtype == np.int64:
            if (array < 0).any() or (array > MAX_COUNTED).any():
                raise ValueError(f"{entry} must lie in 0..{MAX_COUNTED}, got {_check.shown(array)}")
        elif name == "mean_length":
            if not np.isnan(array[0]) and not 1 <= array[0] < math.inf:
                raise ValueError(
                    f"{entry} must be at least 1, or NaN before there are episodes, got {array[0]}"
                )
        elif not np.isfinite(array).all():
            raise ValueError(f"{entry} must be finite, got {_check.shown(array)}")
        elif name == "rate_factor" and array[0] <= 0:
            raise ValueError(f"{entry} must be above 0, got {array[0]}")


def value_for(
    where: str, algorithm: Algorithm, policy: Policy, value: ValueFunction | None, seed: int
) -> ValueFunction | None:
    """Return the value function that an algorithm has: the one that is given, checked, or a new one."""
    if policy.observations.categories and getattr(algorithm, "normalize_observations", False):
        raise ValueError(
            f"{where}: normalize_observations needs observations that are real numbers, got "
            f"{_check.line(policy.observation_space)}"
        )
    if value is not None:
        require_value(where, "value", value)
    if isinstance(algorithm, Reinforce):
        if value is not None:
            raise ValueError(f"{where}: {type(algorithm).__name__} has no value function, but value is given")
        return None
    if value is None:
        # Another seed than the policy's: the networks must not start alike.
        return ValueFunction(
            policy.observation_space,
            hidden=algorithm.value_hidden,
            activation=policy.activation,  # type: ignore[arg-type]
            seed=(seed + 2**63) % 2**64,
        )
    value.check_fits(where, "value", policy.observation_space)
    value.checked_theta(where)
    return value
