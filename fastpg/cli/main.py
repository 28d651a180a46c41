"""The command line: `fastpg train ENV_ID`, `sweep ENV_ID`, `resume FOLDER`, `eval PATH` and others.

The options of `train` and `sweep` are made from `fastpg.train` and the chosen dataclass. Where no algorithm
is named, a native environment's defaults are those of `fastpg.recommended`.
Exit codes: 0 done, 1 the run failed, 2 a bad value, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

import argparse
import contextlib
import dataclasses
import inspect
import io
import math
import os
import shlex
import signal
import sys
import tempfile
import threading
import typing
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import tyro
from gymnasium.spaces import Box, Space, Tuple

from fastpg import _check, diagnostics
from fastpg._brief import columns
from fastpg.algorithms import A2C, NPG, PPO, TRPO, VPG, Algorithm, Reinforce
from fastpg.batches.evaluate import evaluate
from fastpg.cli.arguments import one_line, parse
from fastpg.cli.environments import env_params, environment, environment_name, file_stem
from fastpg.cli.many import sweep, train_seeds
from fastpg.cli.says import fail, say
from fastpg.cli.verdict import (
    DETERMINISTIC,
    STOCHASTIC,
    Evaluation,
    advice,
    least_return,
    verdict,
    what_to_try,
)
from fastpg.envs import env_spec, list_envs, native_env
from fastpg.envs.gymnasium.adapter import FORCED, reward_threshold
from fastpg.envs.native.registry import is_native
from fastpg.errors import EnvError, SaveError
from fastpg.networks.policy import Policy
from fastpg.system import build_info
from fastpg.training.curves import curves, draw, in_characters
from fastpg.training.recommended import recommended
from fastpg.training.resume import resume
from fastpg.training.run_folder import load_policy
from fastpg.training.train import TrainResult, train

EVALUATION_EPISODES = 100
EVALUATION_MAX_STEPS = 100_000  # a deterministic policy may stand still where there is no time limit
ALGORITHMS: dict[str, type[Algorithm]] = {
    "reinforce": Reinforce,
    "vpg": VPG,
    "a2c": A2C,
    "ppo": PPO,
    "npg": NPG,
    "trpo": TRPO,
}
DEFAULT_ALGORITHM = "reinforce"  # where nothing is recommended
DIAGNOSIS_TRAINING_STEPS = 500_000  # at most, for a policy to ask about
ENV_ID_HELP = (
    "One of `fastpg envs`, or any other id that Gymnasium knows, as HalfCheetah-v5. MODULE:ENV_ID imports "
    "the module first, also from the current folder. MODULE:NAME and FILE.py:NAME are what jit_env made, or "
    "a function. gym:ENV_ID is Gymnasium's own environment where there is a native one."
)
NOT_GIVEN = object()
# Of train(), these take Python objects.
NOT_OPTIONS = ("policy", "value", "callback", "progress", "env_params", "reset_options")
OF_ONE_RUN = ("checkpoint", "checkpoint_every", "keep_checkpoints", "callback_every", "overwrite")


def _options(name: str, defaults: Mapping[str, Any], *, sweeps: bool) -> type[Any]:
    """Make a dataclass of train()'s and the algorithm's parameters, for tyro to make options of.

    `defaults` are arguments of train() that replace its own, `algorithm` among them.
    """
    arg, types = tyro.conf.arg, typing.get_type_hints(train)
    types["env_id"] = Annotated[tyro.conf.Positional[str], arg(metavar="ENV_ID", help=ENV_ID_HELP)]
    algorithm = ALGORITHMS[name]
    choose = (
        "By default what is recommended for a native environment: fastpg train ENV_ID --help shows it. "
        f"Its options are below: those of {name}. For another's: "
        f"fastpg {'sweep' if sweeps else 'train'} --algorithm NAME --help."
    )
    types["algorithm"] = Annotated[Literal[tuple(ALGORITHMS)], arg(help=choose)]
    # Where the command line's default differs from train()'s, so does the help.
    if not sweeps:
        target_return = (
            "Stop when the mean return of the last 100 or more episodes reaches this; by default the "
            "environment's reward threshold. inf: never, which is the default of recommended settings."
        )
        types["target_return"] = Annotated[float | None, arg(help=target_return)]
    types["checkpoint"] = Annotated[
        Path | None,
        arg(help="Where to save the policy; by default ENV_ID.safetensors, or in the folder of the run."),
    ]
    types["run"] = Path | None
    if sweeps:
        types["run"] = Annotated[
            Path | None, arg(help="A new folder for the results; by default ENV_ID-runs.")
        ]
        types["seed"] = Annotated[int, arg(help="The first of the seeds.")]
    parameters = inspect.signature(train).parameters.values()
    fields = [
        (one.name, types[one.name], dataclasses.field(default=defaults.get(one.name, one.default)))
        for one in parameters
        if one.name not in ("env_id", "algorithm", *NOT_OPTIONS)
    ]
    overwrite = Annotated[tyro.conf.FlagCreatePairsOff[bool], arg(help="Replace the policy that is there.")]
    fields.append(("overwrite", overwrite, dataclasses.field(default=False)))
    env = Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        arg(metavar="KEY=VALUE", help="A parameter of the environment; once for each."),
    ]
    fields.append(("env", env, dataclasses.field(default=())))
    seeds = "Train so many agents with each setting, on all threads; seeds are --seed and the next ones."
    if not sweeps:
        seeds += " The results are then in the folder --run, by default ENV_ID-runs."
    fields.append(("seeds", Annotated[int, arg(help=seeds)], dataclasses.field(default=1)))
    if sweeps:
        fields = [one for one in fields if one[0] not in OF_ONE_RUN]
        help_ = (
            "A setting and its values, as learning_rate=1e-4,3e-4 or hidden=64x64,32; once for each setting. "
            "Every combination is trained with every seed."
        )
        words = Annotated[
            tyro.conf.UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUE,...", help=help_)
        ]
        fields.append(("grid", words, dataclasses.field(default=())))
    required = [("env_id", types["env_id"])]
    chosen = [
        ("algorithm", types["algorithm"], dataclasses.field(default=name)),
        (
            name,
            Annotated[algorithm, tyro.conf.OmitArgPrefixes],
            dataclasses.field(default=defaults.get("algorithm", algorithm())),
        ),
    ]
    doc = train.__doc__
    if sweeps:
        parameters_of = inspect.getdoc(train).partition("\n\n")[2]  # type: ignore[union-attr]
        doc = f"Compare settings over seeds: a table of returns at the end.\n\n{parameters_of}"
    kind = "SweepOptions" if sweeps else "TrainOptions"
    return dataclasses.make_dataclass(kind, [*required, *chosen, *fields], namespace={"__doc__": doc})


def _chosen(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the algorithm's name, and arguments of train() that are its defaults on this command line.

    Looked for before there are the options that they decide on. Where no algorithm is named, they are what is
    recommended for a native environment; a wrong name is left to tyro.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--algorithm", nargs="?", default=NOT_GIVEN)
    for options in (("--episodes",), ("--steps-per-iteration", "--steps_per_iteration")):
        parser.add_argument(*options, nargs="?", default=NOT_GIVEN)
    for option in ("--checkpoint", "--run"):  # a file of an environment's name is not the environment
        parser.add_argument(option, nargs="?")
    given, others = parser.parse_known_args(arguments)
    if given.algorithm != NOT_GIVEN:
        return given.algorithm if given.algorithm in ALGORITHMS else DEFAULT_ALGORITHM, {}
    env_id = next(filter(is_native, others), None)
    if env_id is None:
        return DEFAULT_ALGORITHM, {}
    defaults: dict[str, Any] = {**recommended(env_spec("train", env_id).id), "target_return": math.inf}
    if {given.episodes, given.steps_per_iteration} != {NOT_GIVEN}:
        del defaults["horizon"]  # at most one of them says how much an iteration collects
    (name,) = (name for name, one in ALGORITHMS.items() if one is type(defaults["algorithm"]))
    return name, defaults


@dataclass(frozen=True)
class ResumeOptions:
    """Go on with a run that has a folder: bit for bit as if it had never stopped.

    Parameters
    ----------
    run
        The folder that `fastpg train --run` made.
    env
        Where the folder does not say what the environment is: as in `fastpg train`.
    total_steps
        Where the run ends now; by default where it was to end.
    target_return
        In place of the run's; inf is never.
    checkpoint_every
        Steps between checkpoints, or a time as 60s, 10min, 2h; by default as before.
    keep_checkpoints
        How many of the newest are kept; by default as before.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    env: str | None = None
    total_steps: int | None = None
    target_return: float | None = None
    checkpoint_every: int | str | None = None
    keep_checkpoints: int | None = None


@dataclass(frozen=True)
class PlotOptions:
    """Compare the learning curves of runs: those that differ in their seeds alone are one curve.

    Parameters
    ----------
    runs
        Folders that `fastpg train --run` made.
    out
        A picture, .png, .svg or .pdf, with 95 % intervals; needs matplotlib. By default the terminal's.
    """

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FOLDER...")]
    out: Path | None = None


@dataclass(frozen=True)
class EvalOptions:
    """Play episodes with a saved policy and report what they earned.

    Parameters
    ----------
    path
        A policy that `fastpg train` saved, or the folder of a run.
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


class _Terminated(BaseException):
    """A signal that asks the process to end; code is what it then exits with."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("terminated")
        self.code = 128 + signal_number


class _OutputLost(Exception):
    """What stdout raised: no part of the run."""


class _Output:
    """stdout, with errors that cannot be taken for those of a run or of its pipes to other processes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise _OutputLost from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise _OutputLost from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    stdout = sys.stdout
    try:
        with (
            _raised_signals(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(stdout and _Output(stdout)),
        ):
            warnings.showwarning = lambda message, *_: say(str(message))
            code = _run(arguments)
            print(end="", flush=True)  # here, where it can still be said that it failed
            return code
    except _OutputLost as lost:
        if isinstance(lost.__cause__, BrokenPipeError):  # whoever read the output has seen enough
            return 0
        return fail(f"the output cannot be written: {lost.__cause__}", 1)
    except SaveError as error:
        return fail(error, 2 if error.result is None else 1)
    except OSError as error:
        return fail(error, 2 if error.filename else 1)
    except (TypeError, ValueError) as error:
        return fail(error, 2)
    except (FloatingPointError, ImportError, MemoryError, EnvError) as error:
        return fail(error, 1)
    except KeyboardInterrupt as error:
        return fail(error, 130)
    except _Terminated as error:
        return fail(error, error.code)
    finally:
        for stream in (stdout, sys.stderr):
            _drain(stream)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = _parse(arguments)
    except SystemExit:  # help was asked for
        return 0
    if isinstance(options, ResumeOptions):
        return _resume(options)
    if isinstance(options, PlotOptions):
        return _plot(options)
    if isinstance(options, EvalOptions):
        return _eval(options)
    if isinstance(options, DiagnoseOptions):
        return _diagnose(options)
    if isinstance(options, EnvsOptions):
        return _envs()
    if isinstance(options, InfoOptions):
        return _info()
    return _train(options) if hasattr(options, "overwrite") else sweep(options)


@contextlib.contextmanager
def _raised_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into exceptions, so that a run saves its policy; unless they are ignored."""
    process = os.getpid()

    def end(number: int, _: Any) -> None:
        if os.getpid() != process:  # a worker, which inherited this
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        signal.signal(number, signal.SIG_IGN)  # saving is not to be interrupted by a second one
        raise _Terminated(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # the only one that hears of signals
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _drain(stream: TextIO | None) -> None:
    """Flush, or drop what cannot be written: Python would try it again at its end, and exit with 120."""
    if stream is None or stream.closed:
        return
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parse(arguments: Sequence[str] | None) -> Any:
    """Options from the command line; what tyro objects to becomes one line."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"fastpg {build_info()['version']}")
        raise SystemExit(0)
    algorithm, defaults = _chosen(arguments)
    commands: dict[str, Any] = {
        "train": _options(algorithm, defaults, sweeps=False),
        "sweep": _options(algorithm, defaults, sweeps=True),
        "resume": ResumeOptions,
        "plot": PlotOptions,
        "eval": EvalOptions,
        "diagnose": DiagnoseOptions,
        "envs": EnvsOptions,
        "info": InfoOptions,
    }
    panel = io.StringIO()
    try:
        with contextlib.redirect_stderr(panel):
            return parse(commands, arguments, "Policy gradients on CPUs. fastpg --version shows the version.")
    except SystemExit as exit_:
        if exit_.code:
            raise ValueError(one_line(panel.getvalue(), ALGORITHMS, algorithm)) from None
        raise


def _train(options: Any) -> int:
    if options.seeds != 1:
        return train_seeds(options)
    settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    env_id = environment(settings.pop("env_id"))
    threshold = reward_threshold("train()", env_id)
    settings["env_params"] = env_params(settings.pop("env"))
    settings["algorithm"] = settings.pop(settings["algorithm"])
    del settings["seeds"]
    path = settings.pop("checkpoint") or (None if options.run else Path(f"{file_stem(env_id)}.safetensors"))
    overwrite = settings.pop("overwrite")
    if path is not None and path.is_file() and not overwrite:
        raise ValueError(
            f"{str(path)!r} exists; pass --overwrite to replace it, or --checkpoint with another name"
        )
    if settings["target_return"] is None:
        settings["target_return"] = threshold
    code = 0
    try:
        run = train(env_id, **settings, checkpoint=path, progress=True)
    except SaveError as error:
        run, path, code = _saved_elsewhere(error)
    path = path or options.run
    _report(env_id, run, threshold, path, options.vectorization_mode, what_to_try(env_id, settings))
    return code


def _resume(options: ResumeOptions) -> int:
    settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    path: Path = options.run
    if options.env is not None:
        settings["env"] = environment(options.env)
    code = 0
    try:
        run = resume(**settings, progress=True)
    except SaveError as error:
        run, path, code = _saved_elsewhere(error)
    env_id = settings["env"] or run.config["env_id"]
    mode = run.config.get("vectorization_mode")
    _report(env_id, run, reward_threshold("resume()", env_id), path, mode, "try a run of more --total-steps")
    return code


def _saved_elsewhere(error: SaveError) -> tuple[TrainResult, Path, int]:
    """Save the policy of a run that is through, but could not be saved where it was to be."""
    if error.result is None:
        raise error
    run: TrainResult = error.result
    try:
        path = Path(tempfile.mkdtemp(prefix="fastpg-"), f"{file_stem(run.config['env_id'])}.safetensors")
        run.policy.save(path)
    except OSError as other:
        raise error from other
    return run, path, fail(f"{error}; policy saved to {path} instead", 1)


def _report(
    env_id: Any, run: TrainResult, threshold: float | None, path: Path, mode: Any, to_try: str
) -> None:
    """Evaluate the policy of a run, and say what has become of it, and what to try if it did not learn."""
    ways = []
    for way in (DETERMINISTIC, STOCHASTIC):
        returns, lengths = evaluate(
            env_id,
            run.policy,
            episodes=EVALUATION_EPISODES,
            deterministic=way == DETERMINISTIC,
            seed=run.config["seed"],
            max_steps=EVALUATION_MAX_STEPS,
            vectorization_mode=mode,
            **run.config["env_params"],
        )
        ways.append(Evaluation(way, returns, lengths, EVALUATION_MAX_STEPS))
    deterministic, stochastic = ways
    if threshold is None:
        print(f"{environment_name(env_id)}: stopped by {run.stopped_because}")
    else:
        judged = verdict(deterministic, stochastic, threshold)
        name = environment_name(env_id)
        print(f"{name}: {judged} (threshold {threshold:g}; stopped by {run.stopped_because})")
    rate = run.num_steps / run.seconds
    print(f"  trained      {run.num_steps:,} steps in {run.seconds:.2f} s, {rate:,.0f} steps/s")
    earned = ", ".join(f"{one.mean:.1f} {one.way}" for one in ways)
    print(f"  mean return  {earned}, over {EVALUATION_EPISODES} evaluation episodes each")
    trained = run.history["mean_return"][run.history["num_episodes"] > 0]
    hint = advice(deterministic, stochastic, trained[-1] if len(trained) else math.nan)
    if hint is None and max(one.mean for one in ways) < least_return(env_id, threshold):
        hint = to_try
    print(f"  {'run   ' if path.is_dir() else 'policy'}       {path}")
    if hint:
        print(f"  note         {hint}")


def _plot(options: PlotOptions) -> int:
    if not options.runs:
        raise ValueError("plot: name the folder of a run")
    found = curves("plot", options.runs)
    if options.out is None:
        print(in_characters(found))
    else:
        draw("plot", found, options.out)
    return 0


def _eval(options: EvalOptions) -> int:
    is_run = options.path.is_dir()
    policy = load_policy("eval", options.path) if is_run else Policy.load(options.path)
    env_id = policy.env_id if options.env is None else environment(options.env)
    if env_id is None:
        raise ValueError(f"{os.fspath(options.path)!r} does not say which environment it is for; pass --env")
    if options.env is None and ":" in env_id.removeprefix(FORCED):  # only what the user typed is imported
        raise ValueError(
            f"{os.fspath(options.path)!r} names the environment {env_id!r}, which would import a module; "
            f"pass --env {shlex.quote(env_id)} if you trust it"
        )
    returns, lengths = evaluate(
        env_id,
        policy,
        episodes=options.episodes,
        deterministic=not options.stochastic,
        seed=options.seed,
        max_steps=options.max_steps,
    )
    print(f"{environment_name(env_id)}: {len(returns)} episodes")
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
    print(columns(rows))
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
