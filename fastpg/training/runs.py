"""What comes of many runs: results by number, and tables, curves and files of them."""

import csv
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core, files
from fastpg._brief import columns
from fastpg.training import toml
from fastpg.training.metrics import FIELDS, Metrics, means
from fastpg.training.result import TrainResult
from fastpg.training.run_folder import METRICS, POLICY, SETTINGS, VALUE
from fastpg.training.settings import result_settings
from fastpg.training.statistics import interquartile_mean, interval

WINDOW = 100  # episodes in a mean return, as of `target_return`
TABLE = "runs.csv"
HEAD = "# One of many runs of fastpg. To repeat it: fastpg train --config FILE.\n"
MAX_POINTS = 1_000_000
WHOLE = ("total_steps", "target_return")  # how a run ends that did all it was to do
RANKED = (*WHOLE, "callback", "halving")  # and one that was not to do more
Table = dict[str, list[Any]]  # columns by name


class Curves(NamedTuple):
    """Learning curves on one axis.

    Attributes
    ----------
    steps : array (P,)
        Environment steps.
    returns : array (K, P)
        Of each run: the mean return of its last 100 or more episodes then. NaN before its first episode has
        ended. A run that has reached its end keeps its last value; one that failed, or was stopped before,
        does not.
    """

    steps: NDArray[np.int64]
    returns: NDArray[np.float64]


class Runs(Sequence[TrainResult]):
    """What `train_many` returns: a sequence of `TrainResult`, in the order of settings, then seeds.

    Examples
    --------
    >>> import fastpg
    >>> runs = fastpg.train_many("CartPole-v1", fastpg.PPO(), seeds=2, total_steps=4096, hidden=(8,))
    >>> len(runs), runs[1].config["seed"], runs[1].num_steps
    (2, 1, 4096)
    """

    def __init__(self, results: Sequence[TrainResult], settings: Sequence[int]) -> None:
        self._results = tuple(results)
        self._settings = tuple(settings)  # each run's number of the setting that it has
        self._smoothed = [_smoothed(run) for run in results]

    @overload
    def __getitem__(self, index: int) -> TrainResult: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "TrainResult | Runs":
        if isinstance(index, slice):
            return Runs(self._results[index], self._settings[index])
        return self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[TrainResult]:
        return iter(self._results)

    def __repr__(self) -> str:
        return f"Runs({len(self)} runs of {len(set(self._settings))} settings)"

    def __str__(self) -> str:
        summary = self.summary()
        rows = zip(*(map(_shown, column) for column in summary.values()), strict=True)
        return columns([tuple(summary), *rows])

    @property
    def returns(self) -> NDArray[np.float64]:
        """Each run's mean return of its last 100 or more episodes, (K,); NaN if no episode has ended."""
        return np.array([one[-1] if len(one) else np.nan for one in self._smoothed], np.float64)

    @property
    def ranking(self) -> list[int]:
        """The numbers of the settings, best first; settings that are equal have one, which is the first's.

        They are ordered by the interquartile mean of their runs' `returns`, in which a run that failed, or in
        which no episode has ended, counts as the worst that there is. What `halving` has stopped comes after
        what it has not, and what it stopped early comes last.
        """
        worth = np.where(np.isnan(self.returns), -np.inf, self.returns)
        worth[[run.error is not None for run in self]] = -np.inf
        keys = {}
        for setting, members in self._groups().items():
            mean = interquartile_mean(worth[members])
            halved = [self[k].num_steps for k in members if self[k].stopped_because == "halving"]
            keys[setting] = (mean > -np.inf, max(halved, default=math.inf), mean)
        return sorted(keys, key=lambda setting: keys[setting], reverse=True)

    def table(self, *, every_setting: bool = False) -> dict[str, list[Any]]:
        """Return one row a run, as columns by name; `pandas.DataFrame(runs.table())` takes it.

        Parameters
        ----------
        every_setting : bool
            All settings, and not only those in which the runs of an algorithm differ.

        Returns
        -------
        dict of str to list, each of length K
            run, setting (their numbers), algorithm, the settings, seed, mean_return (as `returns`),
            num_steps, num_iterations, seconds, stopped_because, error.
        """
        every_setting = _check.boolean("Runs.table()", "every_setting", every_setting)
        return {
            "run": list(range(len(self))),
            "setting": list(self._settings),
            **self._varied(self._results, every_setting=every_setting),
            "seed": [run.config["seed"] for run in self],
            "mean_return": self.returns.tolist(),
            "num_steps": [run.num_steps for run in self],
            "num_iterations": [len(run.history["num_steps"]) for run in self],
            "seconds": [run.seconds for run in self],
            "stopped_because": [run.stopped_because for run in self],
            "error": [None if run.error is None else str(run.error) for run in self],
        }

    def summary(self) -> dict[str, list[Any]]:
        """Return one row a setting, over its seeds, as columns by name.

        Returns
        -------
        dict of str to list
            setting, algorithm, the settings in which its runs differ; runs, that reached their ends, or were
            stopped by a callback or `halving`, and failed (one of several with the same setting and seed,
            which are one result and no evidence more); mean_return, the interquartile mean of the
            former's `returns`, with low and high, its 95 % bootstrap interval (NaN of fewer than two); steps,
            the median number that they took.
        """
        groups = self._groups()
        firsts = [self._results[members[0]] for members in groups.values()]
        rows: dict[str, list[Any]] = {
            "setting": list(groups), **self._varied(firsts), "runs": [], "failed": [], "mean_return": [],
            "low": [], "high": [], "steps": [],
        }  # fmt: skip
        for members in groups.values():
            ended = [k for k in members if self._results[k].stopped_because in RANKED]
            returns = self.returns[ended]
            returns = returns[~np.isnan(returns)]
            low, high = interval(returns)
            rows["runs"].append(len(ended))
            rows["failed"].append(sum(self._results[k].error is not None for k in members))
            rows["mean_return"].append(interquartile_mean(returns))
            rows["low"].append(low)
            rows["high"].append(high)
            steps = [self._results[k].num_steps for k in ended]
            rows["steps"].append(int(np.median(steps)) if steps else 0)
        return rows

    def curves(self, points: int = 200) -> Curves:
        """Return the runs' learning curves at the same numbers of steps.

        Parameters
        ----------
        points : int
            How many, evenly spaced up to the longest run's last step.

        Returns
        -------
        Curves
            steps (points,) and returns (K, points). `np.nanmean(curves.returns, axis=0)` is the mean curve.
        """
        points = _check.integer("Runs.curves()", "points", points, 1, MAX_POINTS)
        longest = max((run.num_steps for run in self), default=0)
        steps = np.arange(1, points + 1) * longest // points
        returns = np.full((len(self), points), np.nan)
        for row, run, smoothed in zip(returns, self, self._smoothed, strict=True):
            if len(smoothed):
                newest = np.searchsorted(run.history["total_steps"], steps, side="right") - 1
                row[:] = np.where(newest >= 0, smoothed[newest], np.nan)
                if run.stopped_because not in WHOLE:
                    row[steps > run.num_steps] = np.nan
        return Curves(steps, returns)

    def save(self, folder: Any) -> None:
        """Write a new folder: runs.csv, and for each run its policy, value function, metrics and settings.

        Parameters
        ----------
        folder : path
            One that is not there yet, or is empty. runs.csv is `table` with every setting, and is written
            last; run 7 of 100 is in the folder 07, whose files are those of docs/runs.md without checkpoints.
            There is no settings.toml if it cannot say what the environment's parameters are.

        Raises
        ------
        TypeError, ValueError
            folder is no path, or holds something.
        fastpg.SaveError
            A file cannot be written.
        """
        where = "Runs.save()"
        self.save_in(where, new_folder(where, "folder", folder), len(self))

    def save_in(self, where: str, path: Path, count: int, saved: Collection[int] = ()) -> None:
        """Do the work of `save`; `where` is the caller, `count` how many runs there were to be.

        Those that are `saved` are in their folders.
        """
        for k, (run, place) in enumerate(zip(self, run_places(path, count), strict=False)):
            if k not in saved:
                save_run(where, place, run)
        write_table(where, path / TABLE, self.table(every_setting=True))

    def _groups(self) -> dict[int, list[int]]:
        """Return the numbers of the runs that each setting has; of runs that are the same, the first."""
        groups: dict[int, dict[int, int]] = {}
        for k, setting in enumerate(self._settings):
            groups.setdefault(setting, {}).setdefault(self[k].config["seed"], k)
        return {setting: list(members.values()) for setting, members in groups.items()}

    def _varied(self, shown: Sequence[TrainResult], *, every_setting: bool = False) -> dict[str, list[Any]]:
        """Return the algorithm, and the settings in which its runs differ, of those that are to be shown."""
        chosen = {"algorithm": [run.config["algorithm"] for run in shown]}
        for name in dict.fromkeys(name for run in self for name in run.config if name != "seed"):
            values = {run.config["algorithm"]: run.config.get(name) for run in self}  # the last ones'
            if every_setting or any(run.config.get(name) != values[run.config["algorithm"]] for run in self):
                chosen[name] = [run.config.get(name) for run in shown]
        return chosen


def run_places(path: Path, count: int) -> list[Path]:
    """Return the folders of so many runs in a folder."""
    digits = len(str(max(count - 1, 0)))
    return [path / f"{k:0{digits}}" for k in range(count)]


def save_run(where: str, place: Path, run: TrainResult) -> None:
    """Write the folder of one run; what is there of an earlier attempt is replaced."""
    with files.saving(where, place):
        place.mkdir(exist_ok=True)
        (place / METRICS).unlink(missing_ok=True)
    run.policy.save_as(where, place / POLICY)
    if run.value is not None:
        run.value.save_as(where, place / VALUE)
    with files.saving(where, place / METRICS):
        metrics = Metrics(place / METRICS)
        try:
            metrics.add([_records(run)[:0], _records(run)])
            metrics.write()
        finally:
            metrics.close()
    settings = result_settings(run.config)
    if settings is not None:  # last: a folder that has them is whole
        files.write(where, place / SETTINGS, (HEAD + toml.dumps(settings)).encode(), lasting=False)


def write_table(where: str, path: Path, table: Table) -> None:
    """Write columns by name as a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    files.write(where, path, text.getvalue().encode())


def new_folder(where: str, name: str, value: Any) -> Path:
    """Return the path of a folder that runs can be saved in: made, written to, and empty."""
    path = files.output_folder(where, name, value)
    with files.saving(where, path):
        path.mkdir(parents=True, exist_ok=True)
        there = sorted(one.name for one in path.iterdir())
    if there:
        raise ValueError(
            f"{where}: {name} must be a new folder or an empty one, but {str(path)!r} holds {there[0]!r}"
        )
    files.probe(where, path / TABLE, 1)
    return path


def _smoothed(run: TrainResult) -> NDArray[np.float64]:
    """Return for each iteration the mean return of the last 100 or more episodes."""
    return means(run.history["mean_return"], run.history["num_episodes"], WINDOW)


def _records(run: TrainResult) -> NDArray[np.void]:
    records = np.zeros(len(run.history["num_steps"]), _core.STATS_DTYPE)
    for name in FIELDS:
        records[name] = run.history[name]
    return records


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_shown(one)}" for name, one in value.items()) or "-"
    return "x".join(map(str, value)) or "linear" if isinstance(value, tuple) else str(value)
