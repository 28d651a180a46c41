"""The command line: `fastpg train ENV_ID`, `eval PATH`, `diagnose ENV_ID`, `envs`, `info`.

The options of `train` are made from `fastpg.train` and the chosen dataclass: names, defaults, help.
Exit codes: 0 done, 1 the run failed, 2 a bad value, 130 Ctrl-C.
"""

import argparse
import contextlib
import dataclasses
import inspect
import io
import os
import re
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from gymnasium.spaces import Box, Space, Tuple

from fastpg import _check, diagnostics
from fastpg.algorithms import A2C, VPG, Algorithm, Reinforce
from fastpg.envs import env_spec, list_envs, native_env
from fastpg.envs.gymnasium_env import FORCED, reward_threshold
from fastpg.estimators import evaluate
from fastpg.policy import Policy
from fastpg.system import build_info
from fastpg.train import TrainProgress, train
from fastpg.verdict import DETERMINISTIC, STOCHASTIC, Evaluation, advice, verdict

EVALUATION_EPISODES = 100
EVALUATION_MAX_STEPS = 100_000  # a deterministic policy may stand still where there is no time limit
ALGORITHMS: dict[str, type[Algorithm]] = {"reinforce": Reinforce, "vpg": VPG, "a2c": A2C}
DEFAULT_ALGORITHM = "reinforce"
DIAGNOSIS_TRAINING_STEPS = 500_000  # at most, for a policy to ask about
# Of train(), these take Python objects.
NOT_OPTIONS = ("policy", "value", "callback", "progress", "env_params", "reset_options")


def _train_options(name: str) -> type[Any]:
    """Make a dataclass of train()'s and the algorithm's parameters, for tyro to make options of."""
    arg, types = tyro.conf.arg, typing.get_type_hints(train)
    types["env_id"] = Annotated[tyro.conf.Positional[str], arg(metavar="ENV_ID")]
    algorithm = ALGORITHMS[name]
    choose = f"Its options are below: those of {name}. For another's: fastpg train --algorithm NAME --help."
    types["algorithm"] = Annotated[Literal[tuple(ALGORITHMS)], arg(help=choose)]
    # Where the command line's default differs from train()'s, so does the help.
    target_return = (
        "Stop when the mean return of the last 100 or more episodes reaches this; by default the "
        "environment's reward threshold. inf: never."
    )
    types["target_return"] = Annotated[float | None, arg(help=target_return)]
    types["checkpoint"] = Annotated[
        Path | None, arg(help="Where to save the policy; by default ENV_ID.safetensors.")
    ]
    parameters = inspect.signature(train).parameters.values()
    fields = [
        (one.name, types[one.name], dataclasses.field(default=one.default))
        for one in parameters
        if one.name not in ("env_id", "algorithm", *NOT_OPTIONS)
    ]
    required = [("env_id", types["env_id"])]
    chosen = [
        ("algorithm", types["algorithm"], dataclasses.field(default=DEFAULT_ALGORITHM)),
        (name, Annotated[algorithm, tyro.conf.OmitArgPrefixes], dataclasses.field(default=algorithm())),
    ]
    documented = {"__doc__": train.__doc__}
    return dataclasses.make_dataclass("TrainOptions", [*required, *chosen, *fields], namespace=documented)


def _chosen_algorithm(arguments: Sequence[str] | None) -> str:
    """Look for --algorithm before there are the options that it decides on; a wrong name is left to tyro."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--algorithm", nargs="?")
    name = parser.parse_known_args(arguments)[0].algorithm
    return name if name in ALGORITHMS else DEFAULT_ALGORITHM


@dataclass(frozen=True)
class EvalOptions:
    """Play episodes with a saved policy and report what they earned.

    Parameters
    ----------
    path
        A policy that `fastpg train` saved.
    env
        Environment; by default the one that the policy was trained in.
    episodes
        How many.
    seed
        Seeds the episodes.
    stochastic
        Draw the actions instead of taking the most likely one.
    max_steps
        End an episode here.
    """

    path: tyro.conf.Positional[Path]
    env: str | None = None
    episodes: int = EVALUATION_EPISODES
    seed: int = 0
    stochastic: tyro.conf.FlagCreatePairsOff[bool] = False
    max_steps: int = EVALUATION_MAX_STEPS


@dataclass(frozen=True)
class DiagnoseOptions:
    """Compare the forms of the policy gradient: variance, signal to noise, direction.

    A value function is first fitted to the policy, for the forms that need one.

    Parameters
    ----------
    env_id
        Environment.
    policy
        A policy that `fastpg train` saved; by default one is trained half way to the reward threshold.
    episodes
        Episodes in a batch, of which one estimate is made.
    batches
        Estimates of each form.
    gamma
        Discount, in [0, 1].
    seed
        Seeds the training and the episodes.
    plot
        Draw a picture as well: .png, .svg or .pdf; needs matplotlib.
    """

    env_id: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV_ID")]
    policy: Path | None = None
    episodes: int = 64
    batches: int = 200
    gamma: float = 1.0
    seed: int = 0
    plot: Path | None = None


@dataclass(frozen=True)
class EnvsOptions:
    """List the native environments: spaces, step limit, reward threshold."""


@dataclass(frozen=True)
class InfoOptions:
    """Show versions, instruction sets and threads."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        options = _parse(arguments)
        if isinstance(options, EvalOptions):
            return _eval(options)
        if isinstance(options, DiagnoseOptions):
            return _diagnose(options)
        if isinstance(options, EnvsOptions):
            return _envs()
        if isinstance(options, InfoOptions):
            return _info()
        return _train(options)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    except (TypeError, ValueError) as error:
        return _fail(str(error), 2)
    except (FloatingPointError, ImportError, MemoryError) as error:
        return _fail(str(error) or "out of memory", 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _parse(arguments: Sequence[str] | None) -> Any:
    """Options from the command line; what tyro objects to becomes one line."""
    commands: dict[str, Any] = {
        "train": _train_options(_chosen_algorithm(arguments)),
        "eval": EvalOptions,
        "diagnose": DiagnoseOptions,
        "envs": EnvsOptions,
        "info": InfoOptions,
    }
    panel = io.StringIO()
    try:
        with contextlib.redirect_stderr(panel):
            return tyro.extras.subcommand_cli_from_dict(
                commands, prog="fastpg", args=arguments, description="Policy gradients on CPUs."
            )
    except SystemExit as exit_:
        if exit_.code:
            raise ValueError(_one_line(panel.getvalue())) from None
        raise


def _one_line(panel: str) -> str:
    """Return the message of tyro's error panel: its text up to the first rule, without the frame."""
    rows = [row.strip("│ ").strip() for row in panel.splitlines() if not row.startswith(("╭", "╰"))]
    message: list[str] = []
    for row in rows:
        if row.startswith("──"):
            break
        message.append(row)
    # A dataclass that rejects its values is named by its place in tyro's tree: its own sentence says more.
    text = re.sub(r"^Error parsing [^-]\S*: ", "", " ".join(message))
    return f"{text.rstrip('.')}; see fastpg --help"


def _fail(message: str, code: int) -> int:
    print(f"fastpg: {message}", file=sys.stderr)
    return code


def _train(options: Any) -> int:
    settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    env_id: str = settings.pop("env_id")
    threshold = reward_threshold("train()", env_id)
    settings["algorithm"] = settings.pop(settings["algorithm"])
    path = settings.pop("checkpoint") or _default_path(env_id)
    if settings["target_return"] is None:
        settings["target_return"] = threshold
    reached: list[TrainProgress] = []

    def remember(state: TrainProgress) -> None:
        reached[:] = [state]

    try:
        run = train(env_id, **settings, checkpoint=path, progress=True, callback=remember)
    except KeyboardInterrupt:
        if not reached:
            raise
        return _fail(f"interrupted after {reached[0].num_steps:,} steps; policy saved to {path}", 130)
    ways = []
    for way in (DETERMINISTIC, STOCHASTIC):
        returns, lengths = evaluate(
            env_id,
            run.policy,
            episodes=EVALUATION_EPISODES,
            deterministic=way == DETERMINISTIC,
            seed=options.seed,
            max_steps=EVALUATION_MAX_STEPS,
            vectorization_mode=options.vectorization_mode,
        )
        ways.append(Evaluation(way, returns, lengths, EVALUATION_MAX_STEPS))
    deterministic, stochastic = ways
    if threshold is None:
        print(f"{env_id}: stopped by {run.stopped_because}")
    else:
        judged = verdict(deterministic, stochastic, threshold)
        print(f"{env_id}: {judged} (threshold {threshold:g}; stopped by {run.stopped_because})")
    rate = run.num_steps / run.seconds
    print(f"  trained      {run.num_steps:,} steps in {run.seconds:.2f} s, {rate:,.0f} steps/s")
    earned = ", ".join(f"{one.mean:.1f} {one.way}" for one in ways)
    print(f"  mean return  {earned}, over {EVALUATION_EPISODES} evaluation episodes each")
    hint = advice(deterministic, stochastic, reached[0].mean_return)
    if hint:
        print(f"  note         {hint}")
    print(f"  policy       {path}")
    return 0


def _default_path(env_id: str) -> Path:
    """Return where a policy is saved: "ALE/Pong-v5" would be a folder, and "gym:" a drive."""
    name = env_id.removeprefix(FORCED).replace("/", "-").replace(":", "-")
    return Path(f"{name}.safetensors")


def _eval(options: EvalOptions) -> int:
    policy = Policy.load(options.path)
    env_id = options.env or policy.env_id
    if env_id is None:
        raise ValueError(f"{os.fspath(options.path)!r} does not say which environment it is for; pass --env")
    returns, lengths = evaluate(
        env_id,
        policy,
        episodes=options.episodes,
        deterministic=not options.stochastic,
        seed=options.seed,
        max_steps=options.max_steps,
    )
    print(f"{env_id}: {len(returns)} episodes")
    spread = f"std {returns.std():.1f}, min {returns.min():g}, max {returns.max():g}"
    print(f"  return  mean {returns.mean():.1f}, {spread}")
    print(f"  length  mean {lengths.mean():.1f}")
    return 0


def _diagnose(options: DiagnoseOptions) -> int:
    where = "diagnose"
    spec = env_spec(where, options.env_id)
    _check.integer(where, "episodes", options.episodes, 1)
    _check.integer(where, "batches", options.batches, 2)
    if options.plot is not None:
        diagnostics.can_plot(where, options.plot)
    if options.policy is None:
        policy = _half_trained(spec.id, spec.gymnasium_spec.reward_threshold, options)
    else:
        policy = Policy.load(options.policy)
    compared = diagnostics.compare_forms(
        spec.id,
        policy,
        value=diagnostics.fit_value(spec.id, policy, gamma=options.gamma, seed=options.seed),
        gamma=options.gamma,
        episodes=options.episodes,
        batches=options.batches,
        seed=options.seed,
    )
    print(compared)
    if options.plot is not None:
        compared.plot(options.plot)
    return 0


def _half_trained(env_id: str, threshold: float | None, options: DiagnoseOptions) -> Policy:
    """Train a policy half way from its first return to the threshold: where there is something to learn."""
    target = None
    if threshold is not None:
        untrained = Policy.for_env(env_id, seed=options.seed)
        returns, _ = evaluate(env_id, untrained, deterministic=False, seed=options.seed)
        target = (float(returns.mean()) + threshold) / 2
    run = train(
        env_id,
        VPG(gamma=options.gamma),
        total_steps=DIAGNOSIS_TRAINING_STEPS,
        target_return=target,
        seed=options.seed,
    )
    return run.policy


def _envs() -> int:
    rows = [("id", "observations", "actions", "step limit", "reward threshold")]
    for env_id in list_envs():
        env = native_env("envs", env_id, {})
        limit, threshold = env.spec.gymnasium_spec.max_episode_steps, env.spec.gymnasium_spec.reward_threshold
        rows.append(
            (
                env_id,
                _space(env.observation_space),
                _space(env.action_space),
                "none" if limit is None else str(limit),
                "none" if threshold is None else f"{threshold:g}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _space(space: Space[Any]) -> str:
    """Return a space on one line, a Box without its bounds: Box(4), Discrete(2), Tuple(...)."""
    if isinstance(space, Box):
        return f"Box({', '.join(map(str, space.shape))})"
    if isinstance(space, Tuple):
        return f"Tuple({', '.join(map(_space, space.spaces))})"
    return str(space)


def _info() -> int:
    for name, value in build_info().items():
        print(f"{name:12} {', '.join(value) if isinstance(value, tuple) else value}")
    return 0
