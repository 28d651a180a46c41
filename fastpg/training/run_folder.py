"""The folder of a run: settings, metrics, checkpoints, the policy; and who is at work in it.

    settings.toml         all that repeats the run; it is there once the run has begun
    metrics.csv           one line an iteration
    checkpoints/          the whole state, the newest ones
    policy.safetensors    and value.safetensors: as they were begun with, then as they are when the run ends
    learning_curve.txt    when the run ends
    lock                  held by the process that is at work

Every file but the metrics appears whole or not at all. A checkpoint says how many bytes of metrics come
before it: a run that goes on cuts off the rest. So a run can be killed at any moment.

What a process has written outlives the process. To outlive a power cut as well it has to be synchronised,
which can take longer than all the rest. A new run is synchronised from the moment its first checkpoint is
due: until then it is as young as what a power cut may take away from any run. Checkpoints, metrics and
networks are synchronised before their names are, so that what is found after a power cut is whole.
"""

import math
import re
import time
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core, files
from fastpg.errors import CheckpointError, SaveError
from fastpg.networks.parametric import Kind
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training import state_file, toml
from fastpg.training.callbacks import Remembered
from fastpg.training.metrics import Metrics
from fastpg.training.settings import (
    FORMAT_VERSION,
    OF_OPTIONS,
    PARTS,
    PARTS_OF_OPTIONS,
    REQUIRED,
    deciding,
)
from fastpg.training.state_file import State

try:
    import fcntl
except ImportError:  # on Windows there is no lock that a killed process does not leave behind
    fcntl = None  # type: ignore[assignment]

SETTINGS, METRICS, CHECKPOINTS, LOCK = "settings.toml", "metrics.csv", "checkpoints", "lock"
POLICY, VALUE, LEARNING_CURVE = "policy.safetensors", "value.safetensors", "learning_curve.txt"
OWN = {SETTINGS, METRICS, CHECKPOINTS, LOCK, POLICY, VALUE, LEARNING_CURVE}
DEFAULT_EVERY, DEFAULT_KEPT, MAX_KEPT = "60s", 3, 1_000_000
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
HEAD = "# A run of fastpg. To go on with it: fastpg resume FOLDER, or fastpg.resume(FOLDER).\n"


class Interval:
    """How often there is a checkpoint: every so many steps, or seconds."""

    def __init__(self, where: str, value: Any) -> None:
        self.steps, self.seconds = 0, 0.0
        if isinstance(value, str):
            found = re.fullmatch(r"(\d+(?:\.\d*)?) ?(s|min|h)", value.strip())
            self.seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
            if self.seconds <= 0:
                raise ValueError(
                    f"{where}: checkpoint_every must be a time as '60s', '10min' or '2h', or a number of "
                    f"steps, got {value!r}"
                )
        else:
            self.steps = _check.integer(where, "checkpoint_every", value, 1)
        self.text: int | str = self.steps or str(value)


class RunFolder:
    """The folder of a run that this process is at work in; `create` or `reopen` makes it.

    Attributes
    ----------
    path : Path
    settings : dict
        What settings.toml says.
    """

    def __init__(self, where: str, path: Path) -> None:
        self.path, self.settings = path, dict[str, Any]()
        self._warned = False
        self._lasting = True  # what is written is to outlive a power cut
        self._settled = False  # what was written before that does as well
        self._lock = locked(where, path)
        self._metrics: Metrics | None = None

    def close(self) -> None:
        """Let go of the folder."""
        if self._metrics is not None:
            self._metrics.close()
        self._lock.close()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- beginning and going on ---------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        where: str,
        path: Path,
        settings: dict[str, Any],
        policy: Policy,
        value: ValueFunction | None,
        state: State,
    ) -> "RunFolder":
        """Begin a folder with the state before the first iteration: a failure is found out here."""
        with files.saving(where, path):
            path.mkdir(parents=True, exist_ok=True)
            _check_new(where, path)
        folder = cls(where, path)
        try:
            _check_new(where, path)  # again, now that nobody else can begin a run here
            with files.saving(where, path):
                (path / METRICS).unlink(missing_ok=True)  # of a beginning that was killed
                (path / CHECKPOINTS).mkdir(exist_ok=True)
                for left in (path / CHECKPOINTS).iterdir():
                    left.unlink()
                folder._metrics = Metrics(path / METRICS)
            folder._use(where, settings)
            folder._lasting = False  # until a checkpoint is due there is less to lose than between two
            folder.save_networks(where, policy, value)
            folder.save(where, state, 0.0, [])
            folder.write_settings(where)
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def reopen(cls, where: str, path: Path) -> "RunFolder":
        """Open the folder of a run that was begun."""
        settings = read_settings(where, path)
        folder = cls(where, path)
        folder._use(where, settings)
        return folder

    def _use(self, where: str, settings: dict[str, Any]) -> None:
        self.settings = settings
        self._every = Interval(where, settings["checkpoint_every"])
        self._kept = _check.integer(where, "keep_checkpoints", settings["keep_checkpoints"], 1, MAX_KEPT)
        self._saved_at = 0, time.monotonic()

    def change(self, where: str, changed: dict[str, Any]) -> None:
        """Change settings, those of the file as well."""
        if changed:
            self._use(where, self.settings | changed)
            self.write_settings(where)

    def restore(self, where: str) -> tuple[State, dict[str, Any], NDArray[np.void]]:
        """Return the newest checkpoint's state and facts, and the records before it; cut off later ones."""
        state, facts = state_file.load(where, newest(where, self.path))
        path = self.path / METRICS
        try:
            with files.saving(where, path):
                if not path.is_file():
                    raise CheckpointError(f"{where}: {str(path)!r} is not there")
                self._metrics = Metrics(path)
                records = self._metrics.cut(where, facts["metrics_bytes"], facts["num_iterations"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{where}: the checkpoint of {str(self.path)!r} lacks {error}") from error
        self._check_settings(where, facts.get("settings"))
        self._saved_at = facts["num_steps"], time.monotonic()
        return state, facts, records

    def _check_settings(self, where: str, before: dict[str, Any] | None) -> None:
        """Raise CheckpointError where somebody has changed what decides on the run: it would be another."""
        now = deciding(self.settings)
        for name, value in ({} if before is None else before).items():  # older checkpoints do not say it
            if now.get(name) != value:
                raise CheckpointError(
                    f"{where}: {str(self.path / SETTINGS)!r} was changed: {name} was {value} in the run, "
                    f"and is {now.get(name)}. A run goes on as it was begun; fastpg train --config begins "
                    "another"
                )

    # ---- while it runs -------------------------------------------------------------------------------------

    def steps_left(self, num_steps: int) -> float:
        """Return how many steps there may be until a checkpoint is due; inf where time tells."""
        return self._saved_at[0] + self._every.steps - num_steps if self._every.steps else math.inf

    def add(self, where: str, records: Sequence[NDArray[np.void]]) -> None:
        """Write the metrics of a run's iterations, a list that grows, as far as they are new."""
        assert self._metrics is not None
        self._metrics.add(records)
        try:
            with files.saving(where, self.path / METRICS):
                self._metrics.write()
        except SaveError as error:
            self._warn(error)

    def _warn(self, error: SaveError) -> None:
        """Say once that a write has failed: the run goes on, and what is missing is written with the next."""
        if not self._warned:
            self._warned = True
            warnings.warn(f"{error}; the run goes on, and tries again", RuntimeWarning, stacklevel=2)

    def is_due(self, num_steps: int) -> bool:
        """Return whether it is time for a checkpoint."""
        steps, seconds = self._saved_at
        if self._every.steps:
            return num_steps - steps >= self._every.steps
        return time.monotonic() - seconds >= self._every.seconds

    def try_save(self, where: str, state: State, seconds: float, callbacks: Remembered) -> None:
        """Write a checkpoint; if that fails, try again when the next one is due."""
        try:
            self.save(where, state, seconds, callbacks)
        except SaveError as error:
            self._warn(error)
        self._saved_at = int(state["total_steps"][0]), time.monotonic()

    def save(self, where: str, state: State, seconds: float, callbacks: Remembered) -> None:
        """Write a checkpoint, and remove the oldest ones; nothing if metrics of its iterations were lost."""
        assert self._metrics is not None
        num_iterations, num_steps = (int(state[name][0]) for name in ("num_iterations", "total_steps"))
        if self._metrics.num_iterations != num_iterations:  # an exception came before a record was kept
            return
        self._lasting = self._lasting or self.is_due(num_steps)
        with files.saving(where, self.path / METRICS):
            self._metrics.write()
            if self._lasting:
                self._metrics.sync()
        facts = {
            "num_iterations": num_iterations, "num_steps": num_steps, "seconds": seconds,
            "metrics_bytes": self._metrics.size, "callbacks": callbacks, "settings": deciding(self.settings),
            "fastpg_version": _core.version(), "isa": _core.isa(),
        }  # fmt: skip
        path = self.path / CHECKPOINTS / f"checkpoint-{num_steps:013}.safetensors"
        files.write(where, path, state_file.content(state, facts), lasting=self._lasting)
        if self._lasting and not self._settled:
            for name in (SETTINGS, POLICY, VALUE, "."):
                files.sync(self.path / name)
            self._settled = True
        self._saved_at = num_steps, time.monotonic()
        for old in checkpoints(self.path)[: -self._kept]:
            with files.saving(where, old):
                old.unlink(missing_ok=True)

    def save_networks(self, where: str, policy: Policy, value: ValueFunction | None) -> None:
        """Write the policy and the value function as they are."""
        for name, network in ((POLICY, policy), (VALUE, value)):
            if network is not None:
                files.write(where, self.path / name, network.file_content(where), lasting=self._lasting)

    def write_settings(self, where: str) -> None:
        """Write settings.toml."""
        files.write(
            where, self.path / SETTINGS, (HEAD + toml.dumps(self.settings)).encode(), lasting=self._lasting
        )


def read_settings(where: str, path: Path, *, whole: bool = True) -> dict[str, Any]:
    """Return what a run's settings.toml says; CheckpointError if there is none of this format.

    Without `whole` it need not be all that a run goes on with: one of many runs has no more than its options.
    """
    file = path / SETTINGS
    if not file.is_file():
        inside = runs_in(path)
        hint = "" if inside == [path] else f"; {str(inside[0])!r} is one"
        raise CheckpointError(
            f"{where}: {str(path)!r} is not the folder of a run: it has no {SETTINGS}{hint}"
        )
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{where}: {str(file)!r} is not TOML: {error}") from error
    version = settings.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{where}: {str(file)!r} is no settings of a run: it has no format_version"
            if version is None
            else f"{where}: {str(path)!r} is a run of format version {version}; this fastpg goes on with "
            f"{FORMAT_VERSION}"
        )
    if whole and is_of_many(settings):
        raise CheckpointError(
            f"{where}: {str(path)!r} is one of many runs, which have no checkpoints to go on from; "
            f"fastpg train --config {file} repeats it in a folder that has"
        )
    missing = (REQUIRED if whole else OF_OPTIONS) - settings.keys()
    for table, entries in (PARTS if whole else PARTS_OF_OPTIONS).items():
        found = settings.get(table, {})
        missing |= {f"{table}.{one}" for one in entries if not isinstance(found, dict) or one not in found}
    if missing:
        raise CheckpointError(f"{where}: {str(file)!r} lacks {', '.join(sorted(missing))}")
    return settings


def is_of_many(settings: dict[str, Any]) -> bool:
    """Return whether a folder is of one of many runs: it was written when that had ended."""
    return "checkpoint_every" not in settings


def runs_in(path: Path) -> list[Path]:
    """Return the folders of runs that a folder has in it; the folder itself where it is one, or has none."""
    if (path / SETTINGS).exists() or not path.is_dir():
        return [path]
    return sorted(one.parent for one in path.glob(f"*/{SETTINGS}")) or [path]


def checkpoints(path: Path) -> list[Path]:
    """Return the checkpoints of a run, the oldest first."""
    return sorted((path / CHECKPOINTS).glob("checkpoint-*.safetensors"))


def newest(where: str, path: Path) -> Path:
    """Return the newest checkpoint of a run."""
    found = checkpoints(path)
    if not found:
        raise CheckpointError(f"{where}: {str(path)!r} has no checkpoint left")
    return found[-1]


def load_network(where: str, kind: type[Kind], path: Path) -> Kind:
    """Return a network of a run's newest checkpoint, of one that is under way as well.

    Of one of many runs, whose folder has no checkpoints, the one that it ended with.
    """
    name, entry = (POLICY, "policy.theta") if issubclass(kind, Policy) else (VALUE, "value.theta")
    if not (path / CHECKPOINTS).exists() and not (path / SETTINGS).exists() and (path / name).is_file():
        return kind.load(path / name)
    settings = read_settings(where, path, whole=False)
    if not (path / name).exists():
        raise CheckpointError(
            f"{where}: {str(path)!r} has no {kind.NOUN}; its algorithm is {settings['algorithm']['name']}"
        )
    network = kind.load(path / name)
    if is_of_many(settings):
        return network
    state, _ = state_file.load(where, newest(where, path))
    try:
        network.theta = state[entry]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{where}: the checkpoint of {str(path)!r} is not of its {kind.NOUN}"
        ) from error
    return network


def _check_new(where: str, path: Path) -> None:
    """Require a folder that has nothing of anybody's in it."""
    if (path / SETTINGS).exists():
        raise ValueError(
            f"{where}: {str(path)!r} holds a run already; go on with it by fastpg.resume({str(path)!r}), or "
            "choose another folder"
        )
    others = sorted(
        one.name for one in path.iterdir() if one.name not in OWN and not one.name.startswith(files.PREFIX)
    )
    if others:
        raise ValueError(
            f"{where}: run must be a new folder or an empty one, but {str(path)!r} holds {others[0]!r}"
        )


def locked(where: str, path: Path) -> Any:
    """Return the folder's lock file, locked: until it is closed, or the process ends in whatever way."""
    with files.saving(where, path / LOCK):
        file = open(path / LOCK, "a+b")  # noqa: SIM115 (for as long as the run lasts)
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise ValueError(f"{where}: another process is at work in {str(path)!r}") from error
        except OSError:  # where there are no locks
            pass
    return file
