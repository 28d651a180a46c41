"""Learning curves of runs with folders: in the terminal, or as a picture by matplotlib."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import files
from fastpg.errors import CheckpointError
from fastpg.training.metrics import means, parse
from fastpg.training.run_folder import LEARNING_CURVE, METRICS, read_settings

ENDINGS = (".png", ".svg", ".pdf")
WINDOW = 100  # episodes that a point is the mean of
POINTS = 200
WIDTH, HEIGHT = 72, 16  # of a picture in the terminal, in characters
OF_ONE_RUN = (
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
    """Runs that differ in their seeds: their mean return, and its 95 % interval where they are several."""

    label: str
    steps: NDArray[np.float64]  # (POINTS,)
    mean: NDArray[np.float64]  # NaN before there are episodes
    half_width: NDArray[np.float64]  # 0 of a single run
    num_runs: int


def curves(where: str, folders: Sequence[str | os.PathLike[str]]) -> list[Curve]:
    """Return the curves of runs, those that differ in nothing but their seed as one."""
    groups: dict[str, list[tuple[Path, NDArray[np.void]]]] = {}
    for folder in folders:
        path = files.output_folder(where, "run", folder)
        settings = read_settings(where, path)
        try:
            records = parse(f"{where}: {str(path / METRICS)!r}", (path / METRICS).read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(f"{where}: {str(path / METRICS)!r}: {error.strerror}") from error
        key = json.dumps(
            {name: one for name, one in settings.items() if name not in OF_ONE_RUN}, sort_keys=True
        )
        groups.setdefault(key, []).append((path, records))
    return [_curve(json.loads(key), runs) for key, runs in groups.items()]


def _curve(settings: Mapping[str, Any], runs: Sequence[tuple[Path, NDArray[np.void]]]) -> Curve:
    last = min((int(records["total_steps"][-1]) for _, records in runs if len(records)), default=1)
    steps = np.linspace(0, last, POINTS)
    rows = []
    for _, records in runs:
        smooth = means(records["mean_return"], records["num_episodes"], WINDOW)
        place = np.searchsorted(records["total_steps"], steps, side="right") - 1
        rows.append(np.where(place >= 0, smooth[np.maximum(place, 0)] if len(smooth) else np.nan, np.nan))
    table, n = np.array(rows), len(rows)
    half_width = np.zeros(POINTS) if n == 1 else 1.96 * table.std(axis=0, ddof=1) / np.sqrt(n)
    names = runs[0][0].name if n == 1 else f"{n} runs as {runs[0][0].name}"
    label = f"{names}: {settings['algorithm']['name']}, {settings['env_id']}"
    return Curve(label, steps, table.mean(axis=0), half_width, n)


def write_curve(where: str, path: Path, settings: Mapping[str, Any], records: NDArray[np.void]) -> None:
    """Write a run's learning curve into its folder, as the terminal shows it."""
    picture = in_characters([_curve(settings, [(path, records)])]) + "\n"
    files.write(where, path / LEARNING_CURVE, picture.encode(), lasting=False)


def draw(where: str, found: Sequence[Curve], path: Path) -> None:
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
    axes.set_ylabel(f"return, mean of {WINDOW} episodes")
    axes.legend()
    with files.saving(where, file):
        figure.savefig(file)


def in_characters(found: Sequence[Curve]) -> str:
    """Return a picture of the curves for a terminal: the k-th is drawn with the k-th letter.

    Examples
    --------
    >>> steps = np.linspace(0, 100, POINTS)
    >>> print(in_characters([Curve("a run", steps, steps, 0 * steps, 1)]).splitlines()[-1])
    a  a run
    """
    values = np.concatenate([curve.mean[np.isfinite(curve.mean)] for curve in found])
    if not len(values):
        return "no episode has ended yet"
    low, high = float(values.min()), float(values.max())
    last = max(curve.steps[-1] for curve in found)
    cells = [[" "] * WIDTH for _ in range(HEIGHT)]
    letters = "abcdefghijklmnopqrstuvwxyz"
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
    return "\n".join([*rows, *axis, *legend])
