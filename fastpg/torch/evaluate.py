"""What whole episodes of a torch module earn."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fastpg.batches.evaluate import play_episodes
from fastpg.envs.gymnasium.opening import AnyEnv, VectorizationMode
from fastpg.networks.normalizer import ObservationNormalizer
from fastpg.torch.stepping import who_acts

IN_TRAIN_MODE = "what is played is not what the module does in eval mode"


def evaluate(
    env: AnyEnv,
    module: nn.Module,
    *,
    episodes: int = 100,
    deterministic: bool = True,
    seed: int = 0,
    max_steps: int | None = None,
    log_std: Tensor | None = None,
    action_scaling: bool | None = None,
    normalizer: ObservationNormalizer | None = None,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
    **env_params: Any,
) -> tuple[Tensor, Tensor]:
    """Play whole episodes with the module's actions, and return what each of them earned.

    `fastpg.evaluate` for a torch module: where the kernels run it, the results are those of the policy that
    `from_module` makes of it. Any other module is called by torch, as in `collect`, once a step for all
    environments, of which Python then steps at most 1,024 side by side, native ones too.

    Parameters
    ----------
    env : str, fastpg.exact.FiniteMDP, what jit_env or load_env made, VectorEnv or callable
        As in `fastpg.train`. A vector environment is reset first, and left in the middle of its last
        episodes.
    module : torch.nn.Module
        As in `collect`. V behind its outputs is left out of account.
    episodes, deterministic, seed, max_steps
        As in `fastpg.evaluate`. Every environment plays a quota of episodes that is fixed beforehand, so that
        long ones count as often as short ones. Actions are drawn by `seed`, not by torch's random numbers.
    log_std, action_scaling
        As in `collect`.
    normalizer : ObservationNormalizer, optional
        The module reads observations that it has normalised. Its statistics stay as they are.
    vectorization_mode, reset_options
        As in `fastpg.train`.
    **env_params
        Parameters of the environment, as in `collect`; with ``use_action_mask=True`` as there.

    Returns
    -------
    returns : float64 tensor, shape (E,)
        Undiscounted.
    lengths : int64 tensor, shape (E,)
        In steps; `max_steps` where an episode was ended there.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the module does not fit the environment, or raises.
    ImportError
        The environment needs a package that is not installed.
    FloatingPointError
        A reward, an observation or what the module returns is NaN or infinite.

    Warns
    -----
    UserWarning
        A module that torch calls is in train mode and has layers that compute something else at each call.

    Examples
    --------
    >>> module = nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 2))
    >>> returns, lengths = evaluate("CartPole-v1", module, episodes=10, deterministic=False)
    >>> bool((returns == lengths).all())  # a reward of 1 for every step
    True
    """
    where = "evaluate()"
    actor = who_acts(where, module, log_std, action_scaling, normalizer, IN_TRAIN_MODE)
    returns, lengths = play_episodes(
        where, env, actor.actor, episodes=episodes, deterministic=deterministic, seed=seed,
        max_steps=max_steps, vectorization_mode=vectorization_mode, reset_options=reset_options,
        env_params=env_params,
    )  # fmt: skip
    return torch.from_numpy(returns), torch.from_numpy(lengths)
