"""`fastpg eval`, `render` and `export`: what a saved policy earns, how it looks, and as another file."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import gymnasium

from fastpg.batches.evaluate import evaluate
from fastpg.cli.environments import environment, environment_name, is_named_again, require_nameable
from fastpg.cli.options import EvalOptions, ExportOptions, PlayOptions, RenderOptions
from fastpg.cli.says import fail
from fastpg.envs.gymnasium.registered import FORCED
from fastpg.envs.native.registry import is_native
from fastpg.exports import ENDINGS
from fastpg.networks.policy import Policy
from fastpg.training.run_folder import SETTINGS, read_settings
from fastpg.training.settings import env_params_of
from fastpg.video.render import render

# How graphics libraries draw where there is no screen.
WITHOUT_SCREEN = {"MUJOCO_GL": "egl", "SDL_VIDEODRIVER": "dummy"}


def eval_policy(options: EvalOptions) -> int:
    """Do `fastpg eval`."""
    policy, env_id, arguments = _played("eval", options)
    returns, lengths = evaluate(env_id, policy, **arguments)
    _say_earned(env_id, returns, lengths)
    return 0


def render_policy(options: RenderOptions) -> int:
    """Do `fastpg render`."""
    policy, env_id, arguments = _played("render", options)
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        for name, how in WITHOUT_SCREEN.items():
            os.environ.setdefault(name, how)
    returns, lengths = render(env_id, policy, options.out, fps=options.fps, **arguments)
    _say_earned(env_id, returns, lengths)
    print(f"  video   {options.out}, {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


def export_policy(options: ExportOptions) -> int:
    """Do `fastpg export`."""
    policy = Policy.load(options.path)
    try:
        policy.export(options.out, sampled=options.sampled)
    except RuntimeError as error:  # what was made acts otherwise
        return fail(error, 1)
    print(f"{options.out}: the policy of {options.path} as {ENDINGS[options.out.suffix]}")
    return 0


def _played(command: str, options: PlayOptions) -> tuple[Policy, Any, dict[str, Any]]:
    """Return a saved policy, the environment that it plays, and the other arguments of what plays it."""
    policy, env_id, params = _saved(command, options.path, options.env)
    arguments = {
        "episodes": options.episodes,
        "deterministic": not options.stochastic,
        "seed": options.seed,
        "max_steps": options.max_steps,
        **params,
    }
    return policy, env_id, arguments


def _saved(command: str, path: Path, env: str | None) -> tuple[Policy, Any, dict[str, Any]]:
    """Return a saved policy, the environment that it is for, and its parameters in the run that has one."""
    policy = Policy.load(path)
    has_settings = (path / SETTINGS).is_file()
    settings = read_settings(command, path, whole=False) if has_settings else None
    if env is not None:
        if settings is not None and is_named_again(env, settings):
            return policy, environment(env), env_params_of(settings)
        return policy, environment(env), {}
    if settings is not None:
        require_nameable(command, settings, path)
    env_id = policy.env_id
    if env_id is None:
        raise ValueError(f"{os.fspath(path)!r} does not say which environment it is for; pass --env")
    if ":" in env_id.removeprefix(FORCED):  # only what the user typed is imported
        raise ValueError(
            f"{os.fspath(path)!r} names the environment {env_id!r}, which would import a module; "
            f"pass --env {shlex.quote(env_id)} if you trust it"
        )
    if "-v" not in env_id and not is_native(env_id) and env_id not in gymnasium.registry:
        raise ValueError(
            f"{os.fspath(path)!r} is for the environment {env_id!r}, which is no id: pass --env "
            f"MODULE:{env_id} or --env FILE.py:{env_id}, which import it"
        )
    return policy, env_id, {} if settings is None else env_params_of(settings)


def _say_earned(env_id: Any, returns: Any, lengths: Any) -> None:
    print(f"{environment_name(env_id)}: {len(returns)} episode{'s' if len(returns) > 1 else ''}")
    spread = f"std {returns.std():.1f}, min {returns.min():g}, max {returns.max():g}"
    print(f"  return  mean {returns.mean():.1f}, {spread}")
    print(f"  length  mean {lengths.mean():.1f}")
