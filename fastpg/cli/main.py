"""The command line: `fastpg train ENV_ID`, `sweep ENV_ID`, `resume FOLDER`, `render PATH` and others.

The options of `train` and `sweep` are made from `fastpg.train` and the chosen dataclass. Where no algorithm
is named, the defaults of native environments and MuJoCo tasks are those of `fastpg.recommended`.
Exit codes: 0 done, 1 the run failed, 2 a bad value, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

import contextlib
import dataclasses
import io
import math
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from gymnasium.spaces import Box, Space, Tuple

from fastpg import _check, _spelling, diagnostics
from fastpg._brief import columns
from fastpg.algorithms import VPG
from fastpg.batches.evaluate import evaluate
from fastpg.cli.arguments import joined_folder, one_line, parse
from fastpg.cli.completion import completion_script
from fastpg.cli.config import with_config
from fastpg.cli.environments import (
    env_params,
    environment,
    environment_name,
    file_stem,
    remembered,
    require_nameable,
)
from fastpg.cli.given import networks_given, shapes_given
from fastpg.cli.many import sweep, train_seeds
from fastpg.cli.options import (
    ALGORITHMS,
    DEFAULT_ALGORITHM,
    EVALUATION_EPISODES,
    EVALUATION_MAX_STEPS,
    CompletionOptions,
    DiagnoseOptions,
    EnvsOptions,
    EvalOptions,
    ExportOptions,
    InfoOptions,
    PlotOptions,
    RenderOptions,
    ResumeOptions,
    chosen_defaults,
    train_options,
)
from fastpg.cli.play import eval_policy, export_policy, render_policy
from fastpg.cli.says import fail, say
from fastpg.cli.verdict import (
    DETERMINISTIC,
    STOCHASTIC,
    Evaluation,
    advice,
    least_return,
    threshold_with,
    verdict,
    what_to_try,
)
from fastpg.cli.watching import OPTIONS as WATCHING
from fastpg.cli.watching import are_asked_for, callbacks
from fastpg.envs import env_spec, list_envs, native_env
from fastpg.envs.gymnasium.registered import reward_threshold
from fastpg.errors import EnvError, SaveError
from fastpg.networks.policy import Policy
from fastpg.system import build_info
from fastpg.training.curves import curves, draw, in_characters
from fastpg.training.result import TrainResult
from fastpg.training.resume import resume
from fastpg.training.run_folder import read_settings
from fastpg.training.train import train

DIAGNOSIS_TRAINING_STEPS = 500_000  # at most, for a policy to ask about


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
            with contextlib.suppress(UnicodeEncodeError):
                return self._stream.write(text)
            encoding = self._stream.encoding  # which lacks a letter, of a file's name for example
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
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
            contextlib.redirect_stdout(_Output(stdout or io.StringIO())),  # tyro asks it for its width
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
        return eval_policy(options)
    if isinstance(options, RenderOptions):
        return render_policy(options)
    if isinstance(options, ExportOptions):
        return export_policy(options)
    if isinstance(options, DiagnoseOptions):
        return _diagnose(options)
    if isinstance(options, CompletionOptions):
        print(completion_script(_commands(DEFAULT_ALGORITHM, {}), options.shell))
        return 0
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
    arguments, from_file = with_config(joined_folder(arguments))
    algorithm, defaults = chosen_defaults(arguments, from_file.get("env_id"))
    defaults |= from_file | shapes_given(arguments, defaults.get("algorithm", ALGORITHMS[algorithm]()))
    commands = _commands(algorithm, defaults)
    panel = io.StringIO()
    try:
        with contextlib.redirect_stderr(panel):
            return parse(commands, arguments, "Policy gradients on CPUs. fastpg --version shows the version.")
    except SystemExit as exit_:
        if exit_.code:
            _check_command(arguments, commands)
            raise ValueError(one_line(panel.getvalue(), ALGORITHMS, algorithm)) from None
        raise


def _check_command(arguments: Sequence[str], commands: Mapping[str, Any]) -> None:
    """Require that a command line begins with a command, or an option; tyro calls all the rest options."""
    if not arguments or arguments[0].startswith("-") or arguments[0] in commands:
        return
    hint = _spelling.hint(arguments[0], commands)
    raise ValueError(f"there is no command {arguments[0]!r}; {hint}; see fastpg --help")


def _commands(algorithm: str, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the options of every command."""
    return {
        "train": train_options(algorithm, defaults, sweeps=False),
        "sweep": train_options(algorithm, defaults, sweeps=True),
        "resume": ResumeOptions,
        "plot": PlotOptions,
        "eval": EvalOptions,
        "render": RenderOptions,
        "export": ExportOptions,
        "diagnose": DiagnoseOptions,
        "envs": EnvsOptions,
        "info": InfoOptions,
        "completion": CompletionOptions,
    }


def _train(options: Any) -> int:
    if options.seeds != 1:
        return train_seeds(options)
    settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    typed = settings.pop("env_id")
    env_id = environment(typed)
    threshold = reward_threshold("train()", env_id)
    settings["env_params"] = settings["env_params"] | env_params(settings.pop("env"))
    settings["reset_options"] = settings["reset_options"] or None
    settings["algorithm"] = settings.pop(settings["algorithm"])
    del settings["seeds"], settings["config"], settings["from_"]
    settings |= networks_given(options)
    path = settings.pop("checkpoint") or (None if options.run else Path(f"{file_stem(env_id)}.safetensors"))
    overwrite = settings.pop("overwrite")
    if path is not None and path.is_file() and not overwrite:
        raise ValueError(
            f"{str(path)!r} exists; pass --overwrite to replace it, or --checkpoint with another name"
        )
    if settings["target_return"] is None:
        settings["target_return"] = threshold
    for name in WATCHING:
        del settings[name]
    if are_asked_for(options):
        board = options.tensorboard or (None if options.run else f"{file_stem(env_id)}-tensorboard")
        settings["callback"] = callbacks(options, options.run, board)
    code = 0
    try:
        with remembered(typed, env_id):
            run = train(env_id, **settings, checkpoint=path, progress=True)
    except SaveError as error:
        run, path, code = _saved_elsewhere(error)
    path = path or options.run
    bar = threshold_with(settings["env_params"], threshold)
    _report(env_id, run, bar, path, options.vectorization_mode, what_to_try(env_id, settings))
    return code


def _resume(options: ResumeOptions) -> int:
    settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    path: Path = options.run
    if options.env is not None:
        settings["env"] = environment(options.env)
    else:
        require_nameable("resume", read_settings("resume", path), path)
    for name in WATCHING:
        del settings[name]
    if are_asked_for(options):
        settings["callback"] = callbacks(options, path, options.tensorboard or None)
    code = 0
    try:
        run = resume(**settings, progress=True)
    except SaveError as error:
        run, path, code = _saved_elsewhere(error)
    env_id = settings["env"] or run.config["env_id"]
    mode = run.config.get("vectorization_mode")
    bar = threshold_with(run.config["env_params"], reward_threshold("resume()", env_id))
    _report(env_id, run, bar, path, mode, "try a run of more --total-steps")
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
    try:
        deterministic, stochastic = (
            _evaluation(env_id, run, way, mode) for way in (DETERMINISTIC, STOCHASTIC)
        )
    except BaseException as error:
        error.add_note(f"while the trained policy was evaluated; it is saved to {path}")
        raise
    if threshold is None:
        print(f"{environment_name(env_id)}: stopped by {run.stopped_because}")
    else:
        judged = verdict(deterministic, stochastic, threshold)
        name = environment_name(env_id)
        print(f"{name}: {judged} (threshold {threshold:g}; stopped by {run.stopped_because})")
    rate = run.num_steps / run.seconds
    print(f"  trained      {run.num_steps:,} steps in {run.seconds:.2f} s, {rate:,.0f} steps/s")
    earned = ", ".join(f"{one.mean:.1f} {one.way}" for one in (deterministic, stochastic))
    print(f"  mean return  {earned}, over {EVALUATION_EPISODES} evaluation episodes each")
    trained = run.history["mean_return"][run.history["num_episodes"] > 0]
    hint = advice(deterministic, stochastic, trained[-1] if len(trained) else math.nan)
    if hint is None and max(deterministic.mean, stochastic.mean) < least_return(env_id, threshold):
        hint = to_try
    print(f"  {'run   ' if path.is_dir() else 'policy'}       {path}")
    if hint:
        print(f"  note         {hint}")


def _evaluation(env_id: Any, run: TrainResult, way: str, mode: Any) -> Evaluation:
    """Evaluate the policy of a run, by one way of acting."""
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
    return Evaluation(way, returns, lengths, EVALUATION_MAX_STEPS)


def _plot(options: PlotOptions) -> int:
    if not options.runs:
        raise ValueError("plot: name the folder of a run")
    found = curves("plot", options.runs, options.metric)
    if options.out is None:
        print(in_characters(found, options.metric))
    else:
        draw("plot", found, options.out, options.metric)
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
