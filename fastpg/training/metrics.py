"""The metrics of a run: a CSV file with one line an iteration, under the names that SB3 writes.

Numbers are written so that they read back to the bit: the file is also where a run that goes on has its
history from.
"""

import contextlib
import io
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.errors import CheckpointError

# What the fields of an iteration's record are called; others are "train/" and their own name.
NAMES = {
    "num_steps": "rollout/timesteps",
    "num_episodes": "rollout/episodes",
    "num_trajectories": "rollout/trajectories",
    "mean_return": "rollout/ep_rew_mean",
    "return_std": "rollout/ep_rew_std",
    "min_return": "rollout/ep_rew_min",
    "max_return": "rollout/ep_rew_max",
    "mean_length": "rollout/ep_len_mean",
    "total_steps": "time/total_timesteps",
    "seconds": "time/iteration_seconds",
}
COUNTED = ("time/iterations", "time/time_elapsed", "time/fps")  # made of the records before a line


def column(field: str) -> str:
    """Return what a statistic is called in files and dashboards.

    Examples
    --------
    >>> column("mean_return"), column("entropy")
    ('rollout/ep_rew_mean', 'train/entropy')
    """
    return NAMES.get(field, f"train/{field}")


FIELDS = tuple(_core.STATS_DTYPE.names or ())
COLUMNS = (*COUNTED, *map(column, FIELDS))
HEADER = ",".join(COLUMNS) + "\n"
LINE = ",".join(["%r"] * len(COLUMNS)) + "\n"
OF_EPISODES = ("mean_return", "return_std", "min_return", "max_return", "mean_length")
SECONDS, STEPS = FIELDS.index("seconds"), FIELDS.index("total_steps")


class Newest:
    """The newest line of the metrics, with returns and lengths of the newest iteration that has some.

    Attributes
    ----------
    values : dict of str to float
        By column; empty before there is a line. Another one after every `add`.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._num_iterations, self._elapsed = 0, 0.0
        self._of_episodes: dict[str, float] = {}

    def add(self, records: NDArray[np.void]) -> None:
        """Take in the iterations that follow."""
        if not len(records):
            return
        self._num_iterations += len(records)
        self._elapsed = sum(records["seconds"].tolist(), self._elapsed)
        newest = records[-1].tolist()
        rate = newest[STEPS] / self._elapsed if self._elapsed > 0 else 0.0
        self.values = dict(zip(COLUMNS, (self._num_iterations, self._elapsed, rate, *newest), strict=True))
        ended = np.flatnonzero(records["num_episodes"])
        if len(ended):
            self._of_episodes = {column(name): float(records[name][ended[-1]]) for name in OF_EPISODES}
        self.values |= self._of_episodes


class Taken(NamedTuple):
    """What a metrics file has taken in."""

    pending: bytes  # that are still to be written
    size: int  # bytes that are written
    num_iterations: int
    elapsed: float  # seconds of all iterations
    num_arrays: int  # of the list of records


class Metrics:
    """A metrics file that grows; what cannot be written is kept, and written when there is room again."""

    def __init__(self, path: Path) -> None:
        mode = "r+b" if path.exists() else "x+b"
        self._file = open(path, mode, buffering=0)  # noqa: SIM115 (for as long as the run lasts)
        self._taken = Taken(HEADER.encode(), 0, 0, 0.0, 1)

    def cut(self, where: str, size: int, num_iterations: int) -> NDArray[np.void]:
        """Drop what comes after the first `size` bytes; return what they say, as records."""
        shown = f"{where}: {str(self._file.name)!r}"
        self._file.seek(0)
        data = self._file.read(size) or b""
        if len(data) < size or data.count(b"\n") != num_iterations + 1:
            raise CheckpointError(
                f"{shown} was changed: it does not hold the {num_iterations} iterations before the checkpoint"
            )
        records = parse(shown, data.decode(errors="replace"))
        self._file.truncate(size)
        self._taken = Taken(b"", size, num_iterations, float(sum(records["seconds"].tolist())), 1)
        return records

    @property
    def size(self) -> int:
        """Bytes that are written."""
        return self._taken.size

    @property
    def num_iterations(self) -> int:
        """Lines so far, those that are still to be written included."""
        return self._taken.num_iterations

    def add(self, records: Sequence[NDArray[np.void]]) -> None:
        """Take in what is new in a list of records that grows; the first the file began with."""
        pending, size, iteration, elapsed, arrays = self._taken
        lines = [pending.decode()]
        for record in itertools.chain.from_iterable(array.tolist() for array in records[arrays:]):
            iteration += 1
            elapsed += record[SECONDS]
            rate = record[STEPS] / elapsed if elapsed > 0 else 0.0
            lines.append(LINE % (iteration, elapsed, rate, *record))
        # At once, so that an exception from outside, as Ctrl-C, takes all of it or nothing away.
        self._taken = Taken("".join(lines).encode(), size, iteration, elapsed, len(records))

    def write(self) -> None:
        """Write what is not written yet; after an OSError it still is not."""
        self._file.seek(self.size)  # over what a call that was interrupted has written
        pending, done = self._taken.pending, 0
        while done < len(pending):
            done += self._file.write(pending[done:])
        self._taken = self._taken._replace(pending=b"", size=self.size + done)

    def sync(self) -> None:
        """Make what was written last through a power cut, where files can be synchronised."""
        with contextlib.suppress(io.UnsupportedOperation):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def parse(shown: str, text: str) -> NDArray[np.void]:
    """Return the records in the text of a metrics file; a last line that is not whole is left out."""
    header, _, body = text.partition("\n")
    names = header.split(",")
    lines = body[: body.rfind("\n") + 1].splitlines()
    table = np.empty((0, len(names)))
    if lines:
        try:
            table = np.loadtxt(lines, delimiter=",", ndmin=2)
        except ValueError as error:
            raise CheckpointError(f"{shown} is not a file of metrics: {_wrong(lines, names)}") from error
    if table.shape[1] != len(names) or names[: len(COUNTED)] != list(COUNTED):
        raise CheckpointError(f"{shown} is not a file of metrics: its first line does not name its columns")
    records = np.zeros(len(lines), _core.STATS_DTYPE)
    for field in FIELDS:
        missing = 0 if records.dtype[field].kind == "i" else np.nan  # of a version that did not have it
        name = column(field)
        records[field] = table[:, names.index(name)] if name in names else missing
    return records


def _wrong(lines: Sequence[str], names: Sequence[str]) -> str:
    """Return which line of a table is not of as many numbers as there are names."""
    for number, line in enumerate(lines, 2):
        words = line.split(",")
        if len(words) != len(names):
            return f"line {number} has {len(words)} columns, not {len(names)}"
        for name, word in zip(names, words, strict=True):
            try:
                float(word)
            except ValueError:
                return f"line {number} has {word!r} for {name}"
    return "a line is empty"


def history(records: list[NDArray[np.void]]) -> dict[str, NDArray[Any]]:
    """Return the statistics of all iterations by name."""
    table = np.concatenate(records)
    return {name: np.ascontiguousarray(table[name]) for name in FIELDS}


def values_of(records: NDArray[np.void], name: str) -> NDArray[np.float64]:
    """Return a column of the metrics file that has these records."""
    if name not in COUNTED:
        return np.array(records[FIELDS[COLUMNS.index(name) - len(COUNTED)]], np.float64)
    elapsed: NDArray[np.float64] = np.cumsum(records["seconds"])
    if name == "time/iterations":
        return np.arange(1.0, len(records) + 1)
    if name == "time/time_elapsed":
        return elapsed
    rate = np.zeros(len(records))
    np.divide(records["total_steps"], elapsed, out=rate, where=elapsed > 0)
    return rate


def means(values: NDArray[np.float64], weights: NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """Return for each iteration the mean over the newest ones that have `window` episodes together.

    Examples
    --------
    >>> means(np.array([1.0, 3.0, np.nan, 9.0]), np.array([1, 1, 0, 1]), window=2)
    array([1., 2., 2., 6.])
    """
    sums = list(itertools.accumulate(np.where(weights > 0, values * weights, 0.0).tolist(), initial=0.0))
    counts = list(itertools.accumulate(weights.tolist(), initial=0))
    result = np.full(len(values), np.nan)
    first = 0
    for k in range(len(values)):
        while counts[k + 1] - counts[first + 1] >= window:
            first += 1
        episodes = counts[k + 1] - counts[first]
        if episodes:
            result[k] = (sums[k + 1] - sums[first]) / episodes
    return result
