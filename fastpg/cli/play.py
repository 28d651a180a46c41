"""`fastpg eval` and `fastpg render`: what a saved policy earns, and what it looks like."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from fastpg.batches.evaluate import evaluate
from fastpg.cli.environments import environment, environment_name
from fastpg.cli.options import EvalOptions, RenderOptions
from fastpg.envs.gymnasium.adapter import FORCED
from fastpg.networks.policy import Policy
from fastpg.training.run_folder import load_policy, read_settings
from fastpg.training.settings import env_params_of
from fastpg.video.render import render

# How graphics libraries draw where there is no screen.
WITHOUT_SCREEN = {"MUJOCO_GL": "egl", "SDL_VIDEODRIVER": "dummy"}


def eval_policy(options: EvalOptions) -> int:
    """Do `fastpg eval`."""
    policy, env_id, params = _saved("eval", options.path, options.env)
    returns, lengths = evaluate(
        env_id,
        policy,
        episodes=options.episodes,
        deterministic=not options.stochastic,
        seed=options.seed,
        max_steps=options.max_steps,
        **params,
    )
    _say_earned(env_id, returns, lengths)
    return 0


def render_policy(options: RenderOptions) -> int:
    """Do `fastpg render`."""
    policy, env_id, params = _saved("render", options.path, options.env)
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        for name, how in WITHOUT_SCREEN.items():
            os.environ.setdefault(name, how)
    returns, lengths = render(
        env_id,
        policy,
        options.out,
        episodes=options.episodes,
        deterministic=not options.stochastic,
        seed=options.seed,
        max_steps=options.max_steps,
        fps=options.fps,
        **params,
    )
    _say_earned(env_id, returns, lengths)
    print(f"  video   {options.out}, {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


def _saved(command: str, path: Path, env: str | None) -> tuple[Policy, Any, dict[str, Any]]:
    """Return a saved policy, the environment that it is for, and its parameters in the run that has one."""
    is_run = path.is_dir()
    policy = load_policy(command, path) if is_run else Policy.load(path)
    if env is not None:
        return policy, environment(env), {}
    env_id = policy.env_id
    if env_id is None:
        raise ValueError(f"{os.fspath(path)!r} does not say which environment it is for; pass --env")
    if ":" in env_id.removeprefix(FORCED):  # only what the user typed is imported
        raise ValueError(
            f"{os.fspath(path)!r} names the environment {env_id!r}, which would import a module; "
            f"pass --env {shlex.quote(env_id)} if you trust it"
        )
    return policy, env_id, env_params_of(read_settings(command, path, whole=False)) if is_run else {}


def _say_earned(env_id: Any, returns: Any, lengths: Any) -> None:
    print(f"{environment_name(env_id)}: {len(returns)} episode{'s' if len(returns) > 1 else ''}")
    spread = f"std {returns.std():.1f}, min {returns.min():g}, max {returns.max():g}"
    print(f"  return  mean {returns.mean():.1f}, {spread}")
    print(f"  length  mean {lengths.mean():.1f}")
