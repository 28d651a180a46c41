"""The options of every command, as dataclasses that tyro makes options of.

Those of `train` and `sweep` are made from `fastpg.train` and the chosen algorithm's dataclass.
"""

import argparse
import dataclasses
import inspect
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from fastpg.algorithms import A2C, NPG, PPO, TRPO, VPG, Algorithm, Reinforce
from fastpg.training.curves import RETURN
from fastpg.training.recommended import has_settings, recommended
from fastpg.training.train import train
from fastpg.video.render import DEFAULT_MAX_STEPS

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
ENV_ID_HELP = (
    "One of `fastpg envs`, or any other id that Gymnasium knows, as HalfCheetah-v5. MODULE:ENV_ID imports "
    "the module first, also from the current folder. MODULE:NAME and FILE.py:NAME are what jit_env made, or "
    "a function. gym:ENV_ID is Gymnasium's own environment where there is a native one."
)
NOT_GIVEN = object()
# Of train(), these take Python objects.
NOT_OPTIONS = ("policy", "value", "callback", "progress", "env_params", "reset_options", "communicator")
OF_ONE_RUN = (
    "checkpoint",
    "checkpoint_every",
    "keep_checkpoints",
    "callback_every",
    "overwrite",
)
EVAL_EVERY = Annotated[
    int | None,
    tyro.conf.arg(
        metavar="STEPS",
        help="Play 20 episodes with the most likely actions, every so many steps: evaluations.csv and "
        "best.safetensors in the folder of the run.",
    ),
]
PATIENCE = Annotated[
    int | None,
    tyro.conf.arg(
        metavar="STEPS",
        help="Stop when so many steps have brought no better mean return: of the evaluations where there is "
        "--eval-every, else of the last 100 episodes.",
    ),
]
TENSORBOARD = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="[DIR]",
        help="Write the metrics for TensorBoard; without DIR into tensorboard in the folder of the run, or "
        "ENV_ID-tensorboard.",
    ),
]


def train_options(name: str, defaults: Mapping[str, Any], *, sweeps: bool) -> type[Any]:
    """Make a dataclass of train()'s and the algorithm's parameters, for tyro to make options of.

    `defaults` are arguments of train() that replace its own, `algorithm` and `env_id` among them.
    """
    arg, types = tyro.conf.arg, typing.get_type_hints(train)
    types["env_id"] = Annotated[tyro.conf.Positional[str], arg(metavar="ENV_ID", help=ENV_ID_HELP)]
    algorithm = ALGORITHMS[name]
    choose = (
        "By default what is recommended for a native environment or a MuJoCo task: "
        "fastpg train ENV_ID --help shows it. "
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
    fields.append(("eval_every", EVAL_EVERY, dataclasses.field(default=None)))
    fields.append(("patience", PATIENCE, dataclasses.field(default=None)))
    fields.append(("tensorboard", TENSORBOARD, dataclasses.field(default=None)))
    env = Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        arg(metavar="KEY=VALUE", help="A parameter of the environment; once for each."),
    ]
    fields.append(("env", env, dataclasses.field(default=())))
    seeds = "Train so many agents with each setting, on all threads; seeds are --seed and the next ones."
    if not sweeps:
        seeds += " The results are then in the folder --run, by default ENV_ID-runs."
    fields.append(("seeds", Annotated[int, arg(help=seeds)], dataclasses.field(default=1)))
    begins = (
        "Begin with the policy of this run, or of this file, and with the value function that the run has. "
        "Options of their shapes are then what theirs are."
    )
    given = Annotated[Path | None, arg(name="from", metavar="PATH", help=begins)]
    fields.append(("from_", given, dataclasses.field(default=None)))
    config = (
        "A TOML file with options under the names of train(), env_id, [algorithm] and [env_params]; the "
        "settings.toml of a run repeats it. What is typed wins."
    )
    fields.append(("config", Annotated[Path | None, arg(help=config)], dataclasses.field(default=None)))
    for table in ("env_params", "reset_options"):  # only a file has them
        hidden = tyro.conf.Suppress[tyro.conf.Fixed[Any]]
        fields.append((table, hidden, dataclasses.field(default_factory=dict(defaults.get(table, {})).copy)))
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
        halving = Annotated[
            tyro.conf.FlagCreatePairsOff[bool],
            arg(help="Stop the worse settings on the way (successive halving), so that many can be tried."),
        ]
        fields.append(("halving", halving, dataclasses.field(default=False)))
        keep = Annotated[
            float | None,
            arg(help="With --halving: the share of the settings that goes on each time; by default 1/3."),
        ]
        fields.append(("keep", keep, dataclasses.field(default=None)))
    env_id = dataclasses.field(**({"default": defaults["env_id"]} if "env_id" in defaults else {}))
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
    return dataclasses.make_dataclass(
        kind, [("env_id", types["env_id"], env_id), *chosen, *fields], namespace={"__doc__": doc}
    )


def chosen_defaults(arguments: Sequence[str], env_id: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return the algorithm's name, and arguments of train() that are its defaults on this command line.

    `env_id` is the environment where none is typed.

    Looked for before there are the options that they decide on. Where no algorithm is named, they are what is
    recommended for the environment; a wrong name is left to tyro.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--algorithm", nargs="?", default=NOT_GIVEN)
    for options in (("--episodes",), ("--steps-per-iteration", "--steps_per_iteration")):
        parser.add_argument(*options, nargs="?", default=NOT_GIVEN)
    for option in (
        "--checkpoint",
        "--run",
        "--config",
        "--from",
    ):  # a file of an environment's name is not the environment
        parser.add_argument(option, nargs="?")
    given, others = parser.parse_known_args(arguments)
    if given.algorithm != NOT_GIVEN:
        return given.algorithm if given.algorithm in ALGORITHMS else DEFAULT_ALGORITHM, {}
    env_id = next(filter(has_settings, others), env_id)
    if env_id is None or not has_settings(env_id):
        return DEFAULT_ALGORITHM, {}
    defaults: dict[str, Any] = {**recommended(env_id), "target_return": math.inf}
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
    stretch_schedule
        What falls to 0 at the end, by --linear-schedule or --linear-clip-range, does it at the new end.
    target_return
        In place of the run's; inf is never.
    checkpoint_every
        Steps between checkpoints, or a time as 60s, 10min, 2h; by default as before.
    keep_checkpoints
        How many of the newest are kept; by default as before.
    eval_every
        Steps between evaluations.
    patience
        Steps without a better mean return after which the run stops.
    tensorboard
        Write the metrics for TensorBoard.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    env: str | None = None
    total_steps: int | None = None
    stretch_schedule: tyro.conf.FlagCreatePairsOff[bool] = False
    target_return: float | None = None
    checkpoint_every: int | str | None = None
    keep_checkpoints: int | None = None
    eval_every: EVAL_EVERY = None
    patience: PATIENCE = None
    tensorboard: TENSORBOARD = None


@dataclass(frozen=True)
class PlotOptions:
    """Compare the learning curves of runs: those that differ in their seeds alone are one curve.

    Parameters
    ----------
    runs
        Folders that `fastpg train --run` made.
    metric
        What to draw: a column of metrics.csv, as train/entropy. Returns, lengths: means of 100 episodes.
    out
        A picture, .png, .svg or .pdf, with 95 % intervals; needs matplotlib. By default the terminal's.
    """

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FOLDER...")]
    metric: str = RETURN
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """What commands that play episodes with a saved policy share.

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
    episodes: int
    seed: int = 0
    stochastic: tyro.conf.FlagCreatePairsOff[bool] = False
    max_steps: int


@dataclass(frozen=True, kw_only=True)
class EvalOptions(PlayOptions):
    """Play episodes with a saved policy and report what they earned."""

    episodes: int = EVALUATION_EPISODES
    max_steps: int = EVALUATION_MAX_STEPS


@dataclass(frozen=True, kw_only=True)
class RenderOptions(PlayOptions):
    """Show episodes of a saved policy, drawn by Gymnasium's renderers.

    Parameters
    ----------
    out
        The file to make: .gif (needs Pillow), .mp4 or .webm (need ffmpeg). One that is there is replaced.
    fps
        Steps shown in a second; by default as many as the environment takes.
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    episodes: int = 1
    max_steps: int = DEFAULT_MAX_STEPS
    fps: float | None = None


@dataclass(frozen=True)
class ExportOptions:
    """Write a saved policy for where there is no fastpg, once it has been found to act alike.

    Parameters
    ----------
    path
        A policy that `fastpg train` saved, or the folder of a run.
    out
        The file to make: .onnx (needs onnx), .h (C99) or .pt2 (torch.export). One that is there is replaced.
    sampled
        Draw the actions instead of taking the most likely one. A header has functions for both.
    """

    path: tyro.conf.Positional[Path]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    sampled: tyro.conf.FlagCreatePairsOff[bool] = False


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
class CompletionOptions:
    """Print a script for a shell, which then completes commands, options and environments with the Tab key.

    Parameters
    ----------
    shell
        bash: fastpg completion bash > ~/.local/share/bash-completion/completions/fastpg.
        zsh: to a file _fastpg in a folder of $fpath.
    """

    shell: Annotated[
        tyro.conf.Positional[Literal["bash", "zsh", "fish", "tcsh"]], tyro.conf.arg(metavar="SHELL")
    ]


@dataclass(frozen=True)
class EnvsOptions:
    """List the native environments: spaces, step limit, reward threshold."""


@dataclass(frozen=True)
class InfoOptions:
    """Show versions, instruction sets and threads."""
