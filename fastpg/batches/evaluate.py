"""What whole episodes of a policy earn."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg.batches.collector import EVALUATION, seeds_for
from fastpg.batches.episodes import LONG_EPISODE, still_waiting
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.opening import AnyEnv, VectorizationMode, opened
from fastpg.envs.gymnasium.stepper import Stepper
from fastpg.envs.native.registry import NativeEnv, native_env
from fastpg.envs.native.vector import VectorEnv
from fastpg.errors import stepped_for, without_place
from fastpg.networks.policy import Policy, require_policy
from fastpg.networks.weights import Weights

MAX_SIDE_BY_SIDE = 1024  # environments


class Actor(Protocol):
    """Whoever acts: compiled `Weights`, or another."""

    @property
    def network(self) -> _core.Network:
        """Whose head says how actions are scaled or squashed on their way to the environment."""

    def act(
        self,
        obs: NDArray[np.float32],
        action_mask: NDArray[np.uint8] | None,
        seed: int,
        step: int,
        deterministic: bool,
        action: NDArray[Any],
    ) -> object:
        """Write the actions of rows (N, obs_size) to `action`, flat; `seed` and `step` decide the draw."""


def evaluate(
    env_id: AnyEnv,
    policy: Policy,
    *,
    episodes: int = 100,
    deterministic: bool = True,
    seed: int = 0,
    max_steps: int | None = None,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
    **env_params: Any,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Play whole episodes and return what each of them earned.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, what jit_env or load_env made, VectorEnv or callable
        As in `train`. A vector environment is reset first, and left in the middle of its last episodes.
    policy : Policy
    episodes : int
        How many, E. Every environment plays a quota that is fixed beforehand.
    deterministic : bool
        Take the most likely action at every step (in a Box the mean) instead of drawing one.
    seed : int
        Evaluation draws its own random numbers: episodes differ from those of training with the same seed.
    max_steps : int, optional
        End an episode here, with what it has earned so far. In an environment without a time limit a
        deterministic policy may otherwise stand still for ever. By default episodes end by themselves.
    vectorization_mode, reset_options
        As in `train`.
    **env_params
        Parameters of the environment, as in `estimate_gradient`.

    Returns
    -------
    returns : float64 array, shape (E,)
        Undiscounted.
    lengths : int64 array, shape (E,)
        In steps; `max_steps` where an episode was ended there.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the policy does not fit the environment.
    ImportError
        The environment needs a package that is not installed.
    FloatingPointError
        A reward, an observation or the policy's output is NaN or infinite.

    Examples
    --------
    >>> returns, lengths = evaluate("CartPole-v1", Policy.for_env("CartPole-v1"), episodes=10)
    >>> bool((returns == lengths).all())  # a reward of 1 for every step
    True
    """
    where = "evaluate()"
    weights = Weights(require_policy(where, policy).network, policy.checked_theta(where))

    def actor_of(env: NativeEnv | GymnasiumEnv) -> Weights:
        policy.check_fits(where, env)
        return weights

    return play_episodes(
        where, env_id, actor_of, episodes=episodes, deterministic=deterministic, seed=seed,
        max_steps=max_steps, vectorization_mode=vectorization_mode, reset_options=reset_options,
        env_params=env_params,
    )  # fmt: skip


def play_episodes(
    where: str,
    env_id: AnyEnv,
    actor_of: Callable[[NativeEnv | GymnasiumEnv], Actor],
    *,
    episodes: Any,
    deterministic: Any,
    seed: Any,
    max_steps: Any,
    vectorization_mode: Any,
    reset_options: Any,
    env_params: Mapping[str, Any],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Do the work of `evaluate` with whoever acts in the environment; `where` is the caller."""
    episodes = _check.integer(where, "episodes", episodes, 1, _check.MAX_COUNT)
    deterministic = _check.boolean(where, "deterministic", deterministic)
    seed = _check.seed(where, seed)
    if max_steps is not None:
        max_steps = _check.integer(where, "max_steps", max_steps, 1, 2**31 - 1)
    with opened(
        where, env_id, env_params, at_most=episodes,
        vectorization_mode=vectorization_mode, reset_options=reset_options,
    ) as env:  # fmt: skip
        actor = actor_of(env)
        if isinstance(env, NativeEnv):
            count = min(episodes, MAX_SIDE_BY_SIDE)
            if isinstance(actor, Weights):
                core, limit = env.core, env.core.max_episode_steps
                if max_steps is not None and (limit == 0 or max_steps < limit):
                    core = native_env(where, env_id, env_params, max_episode_steps=max_steps).core
                sampler = _core.Sampler(core, actor.network, count, seed)
                return sampler.evaluate(actor.theta, episodes=episodes, deterministic=deterministic)
            vector = VectorEnv(env, count, autoreset="same_step", copy=False, seed=None, render_mode=None)
            env = GymnasiumEnv(where, vector, None, {}, None)
        returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
        playing = played(
            env, actor, returns, lengths, deterministic=deterministic, seed=seed, max_steps=max_steps
        )
        with stepped_for(where):
            for _ in playing:
                pass
    return returns, lengths


def played(
    env: GymnasiumEnv,
    actor: Actor,
    returns: NDArray[np.float64],
    lengths: NDArray[np.int64],
    *,
    deterministic: bool,
    seed: int,
    max_steps: int | None,
) -> Iterator[bool]:
    """Play as many episodes as `returns` and `lengths` (E,) have room for, and write them there.

    Episode k of environment i is entry k N + i. Yields after each reset and each step, whether an episode has
    just ended.
    """
    count = env.num_envs
    stepper = Stepper(env, squash=actor.network.squashed, scales=actor.network.scales_actions)
    obs = np.empty((count, env.observed.size), np.float32)
    action = np.empty(count * env.acted.size, env.acted.dtype)
    reward, flags = np.empty(count), np.empty((2, count), np.bool_)
    reset_seed: int | None
    reset_seed, action_seed = seeds_for(seed, EVALUATION)
    quota = _core.episode_quota(len(returns), count)
    environments, nobody = np.arange(count), np.zeros(count, np.bool_)
    draws = 0
    # An episode that is cut leaves its environment in the middle of it: then all play one episode a round.
    rounds = quota[None] if max_steps is None else (np.arange(quota.max())[:, None] < quota).astype(np.int64)
    for before, owed in zip(np.cumsum(rounds, axis=0) - rounds, rounds, strict=True):
        stepper.reset(obs, reset_seed)
        reset_seed = None
        played, left = before.copy(), owed.copy()
        earned, age = np.zeros(count), np.zeros(count, np.int64)
        yield False
        while (counting := left > 0).any():
            live = counting & ~stepper.filler
            _check_obs(env, obs, age)
            try:
                actor.act(obs, stepper.action_mask, action_seed, draws, deterministic, action)
            except FloatingPointError as error:
                raise FloatingPointError(f"{env.id}: {without_place(error)}") from error
            draws += 1
            if max_steps is None and draws % LONG_EPISODE == 0:
                still_waiting(env.label, int(age[counting].max()))
            ended = live & stepper.done if stepper.step(action, reward, flags, obs) else nobody
            earned += np.where(live, reward, 0.0)
            if not np.isfinite(earned).all():
                n = int(np.argmin(np.isfinite(earned)))
                place = f"environment {n}, step {age[n]} of its episode"
                raise FloatingPointError(f"{env.id} returned the reward {reward[n]} ({place})")
            age += live
            if max_steps is not None:
                ended = ended | (live & (age >= max_steps))
            if ended.any():
                entries = played[ended] * count + environments[ended]
                returns[entries], lengths[entries] = earned[ended], age[ended]
                played += ended
                left -= ended
                earned[ended], age[ended] = 0.0, 0
            yield bool(ended.any())


def _check_obs(env: GymnasiumEnv, obs: NDArray[np.float32], age: NDArray[np.int64]) -> None:
    """Require that observations (N, size) are finite."""
    if not np.isfinite(obs).all():
        n, k = np.argwhere(~np.isfinite(obs))[0]
        raise FloatingPointError(
            f"{env.id} returned an observation with the entry {obs[n, k]} "
            f"(environment {n}, before step {age[n]} of its episode, component {k})"
        )
