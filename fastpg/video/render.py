"""`fastpg.render`: a policy at work, as an animated GIF or a video."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, files
from fastpg.batches.evaluate import played
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.opening import AnyEnv
from fastpg.errors import stepped_for
from fastpg.networks.policy import Policy, require_policy
from fastpg.networks.weights import Weights
from fastpg.video.files import ENDINGS, Frame, can_encode, encoded, steps_a_frame
from fastpg.video.pictures import MAX_RATE, MIN_RATE, picture, rate_of, seen

DEFAULT_MAX_STEPS = 1000
PROBED_BYTES = 100_000  # about what a short episode of CartPole takes


def render(
    env_id: AnyEnv,
    policy: Policy,
    out: str | os.PathLike[str],
    *,
    episodes: int = 1,
    deterministic: bool = True,
    seed: int = 0,
    max_steps: int = DEFAULT_MAX_STEPS,
    fps: float | None = None,
    reset_options: Mapping[str, Any] | None = None,
    **env_params: Any,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Play episodes and show them in a file, drawn by Gymnasium's renderers.

    Needs what they need, and Pillow: ``fastpg[video]`` for native environments, ``fastpg[mujoco]`` for
    MuJoCo's, which draw without a screen where the variable MUJOCO_GL is "egl".

    Parameters
    ----------
    env_id : str, class, callable or VectorEnv
        As in `evaluate`, but for environments that have no renderer: those of jit_env, load_env and
        FiniteMDP. What is made elsewhere, by a function or before the call, is one environment with
        render_mode="rgb_array".
    policy : Policy
    out : path
        Ending in ".gif", or in ".mp4" or ".webm", for which ffmpeg is needed. A file that exists is replaced.
    episodes : int
        How many, E, one after the other.
    deterministic : bool
        Take the most likely action at every step (in a Box the mean) instead of drawing one.
    seed : int
        Of the first reset and of drawn actions. Episodes are not those of `evaluate` with this seed.
    max_steps : int
        End an episode here.
    fps : float, optional
        Steps shown in a second, 0.01 to 1000; by default as many as the environment takes, or 30 where it
        does not say. In a GIF, which shows at most 50 frames a second, each frame then stands for several
        steps.
    reset_options
        As in `train`.
    **env_params
        Parameters of the environment, as in `evaluate`.

    Returns
    -------
    returns : float64 array, shape (E,)
        What the episodes earned that are seen, undiscounted.
    lengths : int64 array, shape (E,)
        In steps.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the environment has no renderer; the policy does not
        fit it.
    ImportError
        The environment, its renderer, Pillow or ffmpeg is not installed.
    FloatingPointError
        A reward, an observation or the policy's output is NaN or infinite.
    fastpg.EnvError
        The renderer fails, as MuJoCo's without a screen.
    fastpg.SaveError
        The file cannot be written: then what was there stays.

    Examples
    --------
    >>> import fastpg, tempfile
    >>> policy = fastpg.Policy.for_env("CartPole-v1")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     returns, lengths = fastpg.render("CartPole-v1", policy, f"{folder}/policy.gif", max_steps=5)
    >>> lengths
    array([5])
    """
    where = "render()"
    require_policy(where, policy)
    path = files.output(where, "out", out)
    _check.choice(where, "the ending of out", path.suffix, ENDINGS)
    episodes = _check.integer(where, "episodes", episodes, 1, _check.MAX_COUNT)
    deterministic = _check.boolean(where, "deterministic", deterministic)
    seed = _check.seed(where, seed)
    max_steps = _check.integer(where, "max_steps", max_steps, 1, 2**31 - 1)
    rate = None if fps is None else _check.real(where, "fps", fps, f"[{MIN_RATE}, {MAX_RATE:g}]")
    theta = policy.checked_theta(where)
    can_encode(where, path.suffix)
    files.probe(where, path, PROBED_BYTES)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    with seen(where, env_id, env_params, reset_options) as env:
        policy.check_fits(where, env)
        rate = rate or rate_of(env)
        every = steps_a_frame(path.suffix, rate)
        playing = played(
            env, Weights(policy.network, theta), returns, lengths, deterministic=deterministic, seed=seed,
            max_steps=max_steps,
        )  # fmt: skip
        with stepped_for(where):
            content = encoded(where, path, _frames(where, env, playing, every), rate / every)
    files.write(where, path, content)
    return returns, lengths


def _frames(where: str, env: GymnasiumEnv, playing: Iterator[bool], every: int) -> Iterator[Frame]:
    """Draw every so many steps, and the ends of episodes."""
    shape = None
    for k, ended in enumerate(playing):
        if k % every == 0 or ended:
            frame = picture(where, env)
            shape = shape or frame.shape
            if frame.shape != shape:
                raise ValueError(
                    f"{where}: render() of {env.id} must return pictures of one size, "
                    f"got {frame.shape} after {shape}"
                )
            yield frame
