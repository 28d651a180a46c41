"""`--config FILE`: options of `fastpg train` and `sweep` from a TOML file, as words before those typed.

What is typed comes later, and wins. The settings.toml of a run is such a file, and says all of its options.
"""

import argparse
import dataclasses
import math
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastpg import _check, _core, _spelling
from fastpg.cli.options import ALGORITHMS, DEFAULT_ALGORITHM, OF_ONE_RUN, train_options
from fastpg.training.begin import COLLECTIONS
from fastpg.training.settings import FORMAT_VERSION

TABLES = ("env_params", "reset_options")  # of values that cannot all be typed
# What the settings of a run say that is no option.
RECORDS = {
    "format_version", "policy_given", "value_given", "policy_untrained", "value_untrained", "stretched_from",
    "environment", "machine", "versions",
}  # fmt: skip


def with_config(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return a command line with the words of its file, and what they cannot say: defaults of options."""
    if not arguments or arguments[0] not in ("train", "sweep"):
        return list(arguments), {}
    command, *typed = arguments
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("config", "algorithm", "from", *COLLECTIONS):
        parser.add_argument(f"--{name.replace('_', '-')}", f"--{name}", dest=name, nargs="?")
    given, _ = parser.parse_known_args(typed)
    if given.config is None:
        return list(arguments), {}
    where = f"--config {given.config}"
    settings = _read(where, given.config)
    if "format_version" in settings:
        begun = getattr(given, "from") is not None
        settings = _of_run(where, settings, sweeps=command == "sweep", begun=begun)
    defaults = {name: _table(where, settings, name) for name in TABLES if name in settings}
    words = _algorithm(where, _table(where, settings, "algorithm"), given.algorithm)
    if "env_id" in settings:
        defaults["env_id"] = settings.pop("env_id")
        if not isinstance(defaults["env_id"], str):
            raise ValueError(f"{where}: env_id must be a string, got {_check.shown(defaults['env_id'])}")
    if any(getattr(given, name) is not None for name in COLLECTIONS):  # one says how much is collected
        settings = {name: value for name, value in settings.items() if name not in COLLECTIONS}
    options = dataclasses.fields(train_options(DEFAULT_ALGORITHM, {}, sweeps=command == "sweep"))
    left_out = {"config", "env", DEFAULT_ALGORITHM, "algorithm", "env_id", *TABLES}
    words += _words(where, [one for one in options if one.name not in left_out], settings)
    return [command, *words, *typed], defaults


def _read(where: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_check.file_path("train", "--config", file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{where} is not TOML: {error}") from error


def _of_run(where: str, settings: dict[str, Any], *, sweeps: bool, begun: bool) -> dict[str, Any]:
    """Return the options that the settings.toml of a run stands for: what it leaves out is None.

    `begun`: it is said what networks to begin with.
    """
    if settings["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{where} has format version {settings['format_version']}; this fastpg reads {FORMAT_VERSION}"
        )
    if (settings.get("policy_given") or settings.get("value_given")) and not begun:
        raise ValueError(
            f"{where}: the run began with networks that were given, which its settings do not have; "
            "--from PATH gives some"
        )
    machine, environment = (_table(where, settings, name) for name in ("machine", "environment"))
    isa = machine.get("isa", _core.isa())
    if isa != _core.isa():
        warnings.warn(
            f"{where} is of a run with {isa}; other bits come of {_core.isa()}", RuntimeWarning, stacklevel=2
        )
    if "stretched_from" in settings:
        warnings.warn(
            f"{where} is of a run whose schedule was stretched on the way; other bits come of it at once",
            RuntimeWarning,
            stacklevel=2,
        )
    none = dict.fromkeys(environment.get("none", []))
    params = {**none, **_table(where, settings, "env_params")}
    left_out = {*RECORDS, *(OF_ONE_RUN if sweeps else ()), *(n for n in COLLECTIONS if settings.get(n) == 0)}
    if not environment.get("by_id", True):
        left_out.add("env_id")  # which names what a file cannot make
    kept = {name: value for name, value in settings.items() if name not in left_out}
    return {"target_return": math.inf, **kept, "env_params": params}


def _table(where: str, settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Take a table out of the settings."""
    table = settings.pop(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"{where}: {name} must be a table, [{name}], got {_check.shown(table)}")
    return table


def _algorithm(where: str, options: dict[str, Any], typed: str | None) -> list[str]:
    """Return the words of an [algorithm]; none if another one is typed, which has other options."""
    if not options:
        return []
    where = f"{where}: [algorithm]"
    name = _check.choice(where, "name", str(options.pop("name", "")).lower(), tuple(ALGORITHMS))
    if typed not in (None, name):
        return []
    options |= dict.fromkeys(options.pop("none", []))
    words = _words(where, dataclasses.fields(ALGORITHMS[name]), options)
    return [f"--algorithm={name}", *words]


def _words(where: str, known: Iterable[dataclasses.Field[Any]], settings: Mapping[str, Any]) -> list[str]:
    """Return settings as they are typed; whether their values are right is left to tyro."""
    fields = {field.name.rstrip("_"): field for field in known}
    words = []
    for name, value in settings.items():
        if name not in fields:
            hint = _spelling.hint(name.replace("-", "_"), sorted(fields))
            raise ValueError(f"{where}: there is no setting {name!r}; {hint}")
        option = name.replace("_", "-")
        if isinstance(fields[name].default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{where}: {name} must be true or false, got {_check.shown(value)}")
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, dict):
            raise ValueError(f"{where}: {name} must be a value, not a table")
        elif name == "grid" and isinstance(value, list):  # typed once for each
            words += [f"--grid={one}" for one in value]
        else:
            shown = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"--{option}={shown}")
    return words
