"""Learning curves of runs with folders: in the terminal, or as a picture by matplotlib."""

import json
import os
import string
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _spelling, files
from fastpg.errors import CheckpointError
from fastpg.training.metrics import COLUMNS, OF_EPISODES, column, means, parse, values_of
from fastpg.training.run_folder import LEARNING_CURVE, METRICS, SETTINGS, read_settings, runs_in
from fastpg.training.settings import GIVEN
from fastpg.training.statistics import mean_half_width

ENDINGS = (".png", ".svg", ".pdf")
WINDOW = 100  # episodes that a point is the mean of
RETURN = column("mean_return")
AVERAGED = tuple(map(column, OF_EPISODES))  # over the WINDOW; other metrics are drawn as they are
POINTS = 200
MUCH_SHORTER = 0.9  # than the longest run of a curve: its shortest is worth a warning
WIDTH, HEIGHT = 72, 16  # of a picture in the terminal, in characters
OF_ONE_RUN = (
    "format_version",
    "seed",
    "total_steps",
    "target_return",
    "machine",
    "versions",
    "checkpoint_every",
    "keep_checkpoints",
)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Runs that differ in their seeds: the mean of a metric, and its 95 % interval where they are several."""

    label: str
    steps: NDArray[np.float64]  # (POINTS,)
    mean: NDArray[np.float64]  # NaN where there is none, as before there are episodes
    half_width: NDArray[np.float64]  # 0 of a single run
    num_runs: int


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """The folder of a run, and what its files say."""

    path: Path
    settings: Mapping[str, Any]
    records: NDArray[np.void]

    @property
    def num_steps(self) -> int:
        return int(self.records["total_steps"][-1]) if len(self.records) else 0


def curves(where: str, folders: Sequence[str | os.PathLike[str]], metric: str = RETURN) -> list[Curve]:
    """Return the curves of runs, those that differ in nothing but their seed as one.

    A folder of such folders, as `Runs.save` writes it, stands for all of them. What is no run beside some is
    left out, with a warning. `metric` is a column of metrics.csv.
    """
    if metric not in COLUMNS:
        hint = _spelling.hint(metric, COLUMNS)
        raise ValueError(f"{where}: metric must be a column of metrics.csv, got {metric!r}; {hint}")
    groups: dict[str, list[_Run]] = {}
    for path in _of_each_run(where, folders):
        run = _read(where, path)
        told = _options(run.settings) | {"fingerprint": run.settings["environment"].get("fingerprint")}
        key = json.dumps(told, sort_keys=True)
        groups.setdefault(key, []).append(run)
    for runs in groups.values():
        _warn_of_short(where, runs)
    labels = _labels([runs[0] for runs in groups.values()])
    return [_curve(label, runs, metric) for label, runs in zip(labels, groups.values(), strict=True)]


def _of_each_run(where: str, folders: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the folders of runs, each once."""
    paths = [_check.file_path(where, "run", folder) for folder in folders]
    others = [path for path in paths if _is_no_run(path)]
    if others and len(others) < len(paths):
        listed = ", ".join(repr(str(path)) for path in others)
        warnings.warn(f"{where}: no run, and left out: {listed}", RuntimeWarning, stacklevel=3)
        paths = [path for path in paths if path not in others]
    found: dict[Path, Path] = {}  # by what they really are
    for path in paths:
        for one in runs_in(files.output_folder(where, "run", path)):
            found.setdefault(one.resolve(), one)
    return list(found.values())


def _is_no_run(path: Path) -> bool:
    """Return whether something is there that is neither a run nor a folder of runs."""
    return os.path.exists(path) and not os.path.exists(runs_in(path)[0] / SETTINGS)


def _read(where: str, path: Path) -> _Run:
    settings = read_settings(where, path, whole=False)
    try:
        text = (path / METRICS).read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{where}: {str(path / METRICS)!r}: {error.strerror}") from error
    return _Run(path, settings, parse(f"{where}: {str(path / METRICS)!r}", text))


def _warn_of_short(where: str, runs: Sequence[_Run]) -> None:
    """Say that a curve ends with the shortest of its runs, where that is much shorter than the longest."""
    shortest, longest = min(runs, key=_steps), max(runs, key=_steps)
    if shortest.num_steps < MUCH_SHORTER * longest.num_steps:
        warnings.warn(
            f"{where}: {str(shortest.path)!r} has {shortest.num_steps:,} steps, {str(longest.path)!r} "
            f"{longest.num_steps:,}: their curve ends with the shortest run; leave that out to see the "
            "others whole",
            RuntimeWarning,
            stacklevel=3,
        )


def _steps(run: _Run) -> int:
    return run.num_steps


def _labels(firsts: Sequence[_Run]) -> list[str]:
    """Return what curves are called: a name, and the options in which those of an algorithm differ."""
    names = [_name(run.path.resolve()) for run in firsts]
    options = [_options(run.settings) for run in firsts]
    labels = []
    for run, name, own in zip(firsts, names, options, strict=True):
        peers = [one for one in options if (one["name"], one["env_id"]) == (own["name"], own["env_id"])]
        told = f"{str(run.path) if names.count(name) > 1 else name}: {own['name']}, {own['env_id']}"
        for option, value in own.items():
            if any(one.get(option) != value for one in peers):
                told += f", {option} {_shown(value)}"
        labels.append(told)
    return labels


def _name(path: Path) -> str:
    """Return what a run's folder is called; one of many runs is a number in theirs."""
    return f"{path.parent.name}/{path.name}" if path.name.isdigit() else path.name


def _options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides on a run, without its tables."""
    plain = {name: one for name, one in settings.items() if name not in OF_ONE_RUN}
    plain = {
        name: one for name, one in plain.items() if one or name not in GIVEN
    }  # False is not to give them
    tables = {"algorithm", "env_params", "reset_options", "environment"} & plain.keys()
    options = {name: one for name, one in plain.items() if name not in tables}
    for table in sorted(tables - {"environment"}):
        options |= {name: one for name, one in plain[table].items() if name != "none"}
        options |= dict.fromkeys(plain[table].get("none", []))
    return options


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value)) or "linear"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _curve(label: str, runs: Sequence[_Run], metric: str = RETURN) -> Curve:
    last = min((run.num_steps for run in runs if len(run.records)), default=1)
    steps = np.linspace(0, last, POINTS)
    rows = []
    for run in runs:
        smooth = values_of(run.records, metric)
        if metric in AVERAGED:
            smooth = means(smooth, run.records["num_episodes"], WINDOW)
        place = np.searchsorted(run.records["total_steps"], steps, side="right") - 1
        rows.append(np.where(place >= 0, smooth[np.maximum(place, 0)] if len(smooth) else np.nan, np.nan))
    table = np.array(rows)
    label = label if len(runs) == 1 else f"{len(runs)} runs as {label}"
    return Curve(label, steps, table.mean(axis=0), mean_half_width(table), len(runs))


def write_curve(where: str, path: Path, settings: Mapping[str, Any], records: NDArray[np.void]) -> None:
    """Write a run's learning curve into its folder, as the terminal shows it."""
    run = _Run(path, settings, records)
    picture = in_characters([_curve(_labels([run])[0], [run])]) + "\n"
    content = picture.encode("utf-8", "backslashreplace")  # a folder's name may be no text
    files.write(where, path / LEARNING_CURVE, content, lasting=False)


def draw(where: str, found: Sequence[Curve], path: Path, metric: str = RETURN) -> None:
    """Draw the curves to a file whose ending says what it is."""
    file = files.output(where, "out", path)
    if file.suffix not in ENDINGS:
        raise ValueError(
            f"{where}: the ending of the picture must be one of {', '.join(ENDINGS)}, got {str(path)!r}"
        )
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{where}: drawing needs matplotlib: pip install '.[plot]'") from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for curve in found:
        (line,) = axes.plot(curve.steps, curve.mean, label=curve.label)
        low, high = curve.mean - curve.half_width, curve.mean + curve.half_width
        axes.fill_between(curve.steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel("environment steps")
    name = "return" if metric == RETURN else metric
    axes.set_ylabel(f"{name}, mean of {WINDOW} episodes" if metric in AVERAGED else name)
    axes.legend()
    with files.saving(where, file):
        figure.savefig(file)


def in_characters(found: Sequence[Curve], metric: str = RETURN) -> str:
    """Return a picture of the curves for a terminal: the k-th is drawn with the k-th letter.

    Examples
    --------
    >>> steps = np.linspace(0, 100, POINTS)
    >>> print(in_characters([Curve("a run", steps, steps, 0 * steps, 1)]).splitlines()[-1])
    a  a run
    """
    values = np.concatenate([curve.mean[np.isfinite(curve.mean)] for curve in found])
    if not len(values):
        return "no episode has ended yet" if metric in AVERAGED else f"{metric} has no values"
    low, high = float(values.min()), float(values.max())
    last = max(curve.steps[-1] for curve in found)
    cells = [[" "] * WIDTH for _ in range(HEIGHT)]
    letters = string.ascii_letters + string.digits
    for k, curve in enumerate(found):
        for x, y in zip(curve.steps, curve.mean, strict=True):
            if np.isfinite(y):
                row = round((high - y) / ((high - low) or 1) * (HEIGHT - 1))
                cells[row][round(x / last * (WIDTH - 1))] = letters[k % len(letters)]
    rows = [f"{'':>10} |{''.join(row).rstrip()}" for row in cells]
    rows[0] = f"{high:>10.4g}{rows[0][10:]}"
    rows[-1] = f"{low:>10.4g}{rows[-1][10:]}"
    axis = [f"{'':>10} +{'-' * WIDTH}", f"{'':>10}  0{f'{last:,.0f} steps':>{WIDTH - 1}}"]
    legend = [f"{letters[k % len(letters)]}  {curve.label}" for k, curve in enumerate(found)]
    title = [] if metric == RETURN else [metric]
    return "\n".join([*title, *rows, *axis, *legend])
