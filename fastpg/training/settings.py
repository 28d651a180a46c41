"""What settings.toml says of a run, and what a run that goes on makes of it."""

import dataclasses
import json
import platform
import tomllib
import typing
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import gymnasium

from fastpg import _core, algorithms
from fastpg.algorithms import Algorithm
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.registered import FORCED
from fastpg.envs.native.registry import NativeEnv, is_native
from fastpg.errors import CheckpointError
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.system import build_info
from fastpg.training import toml
from fastpg.training.fingerprint import fingerprint

# The settings of a TrainResult.config that are not the algorithm's, in the order of the file.
PLAIN = (
    "env_id", "total_steps", "target_return", "seed", "num_envs", "horizon", "episodes",
    "steps_per_iteration", "hidden", "activation", "squash", "state_dependent_std", "action_scaling",
    "vectorization_mode",
)  # fmt: skip
GIVEN = ("policy_given", "value_given")
FORMAT_VERSION = 1
# What a file has to have; the others may be None, or have not been there from the beginning.
REQUIRED = {
    *PLAIN, "policy_given", "value_given", "checkpoint_every", "keep_checkpoints", "algorithm", "env_params",
    "reset_options", "environment", "machine", "versions",
} - {"target_return", "squash", "state_dependent_std", "action_scaling", "vectorization_mode"}  # fmt: skip
PARTS = {
    "environment": {"kind", "by_id", "none", "fingerprint"},
    "machine": {"isa"},
    "versions": {"fastpg", "compiler"},
    "algorithm": {"name", "none"},
}
# And what it has to have to be played, drawn and repeated, but not gone on with.
OF_OPTIONS = {"env_id", "seed", "algorithm", "env_params", "environment"}
PARTS_OF_OPTIONS = {"environment": {"by_id", "none"}, "algorithm": {"name", "none"}}
MAY_CHANGE = {"total_steps", "target_return", "vectorization_mode"}
DECIDING_TABLES = ("env_params", "reset_options")
# What a command line was given for an object that no file can name, as "module:Name" or "file.py:Name".
TYPED_ENV: ContextVar[str | None] = ContextVar("TYPED_ENV", default=None)
BUILD = ("fastpg", "compiler")  # of [versions]: what decides on the last bits of a native run


def run_config(
    env: NativeEnv | GymnasiumEnv,
    algorithm: Algorithm,
    policy: Policy,
    value: ValueFunction | None,
    env_params: Mapping[str, Any] | None,
    **others: Any,
) -> dict[str, Any]:
    """Return `TrainResult.config`."""
    return {
        "env_id": env.id,
        "env_params": dict(env_params or {}),
        "algorithm": type(algorithm).__name__,
        **dataclasses.asdict(algorithm),
        **({} if value is None else {"value_hidden": value.hidden}),
        "hidden": policy.hidden,
        "activation": policy.activation,
        "squash": policy.squash,
        "state_dependent_std": policy.state_dependent_std,
        "action_scaling": policy.action_scaling,
        **others,
    }


def run_settings(
    where: str,
    env_id: Any,
    env: NativeEnv | GymnasiumEnv,
    algorithm: Algorithm,
    config: Mapping[str, Any],
    given: Mapping[str, bool],
) -> dict[str, Any]:
    """Return what settings.toml is to say, checked to be of its kinds."""
    name = type(algorithm).__name__
    if getattr(algorithms, name, None) is not type(algorithm):
        raise TypeError(
            f"{where}: run takes an algorithm of fastpg itself, not {name}, which resume could not make"
        )
    options = dataclasses.asdict(algorithm)
    settings = {
        "format_version": FORMAT_VERSION,
        **{name: config[name] for name in PLAIN if name in config},
        **given,
        "algorithm": {"name": name, **options, "none": _none(options)},
        "env_params": config["env_params"],
        "reset_options": config.get("reset_options", {}),
        "environment": {
            "kind": "gymnasium" if isinstance(env, GymnasiumEnv) else "native",
            "by_id": _by_id(env_id),
            **_typed(),
            "none": _none(config["env_params"]),
            "fingerprint": fingerprint(where, env_id, env),
        },
        "machine": _machine(),
        "versions": _versions(),
    }
    for group in ("env_params", "reset_options"):
        for entry, value in settings[group].items():
            try:
                toml.dumps({entry: value})
            except TypeError as error:
                raise TypeError(
                    f"{where}: {group}[{entry!r}] cannot be kept in the settings of a run, as {error}; "
                    "pass a function that makes the environment instead"
                ) from error
    return settings


def given_of(given: Mapping[str, bool]) -> dict[str, bool]:
    """Return what a config says of networks that a run was given: that they were, as no file repeats it."""
    return {name: True for name, is_given in given.items() if is_given}


def result_settings(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what settings.toml is to say of one of many runs, all that repeats it; None if a file cannot.

    It is less than `run_settings`: what only a run that goes on needs is left out.
    """
    kind = getattr(algorithms, config["algorithm"], None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return None
    options = {field.name: config[field.name] for field in dataclasses.fields(kind)}
    env_id = config["env_id"]
    settings = {
        "format_version": FORMAT_VERSION,
        **{name: config[name] for name in (*PLAIN, *GIVEN) if name in config},
        "algorithm": {"name": config["algorithm"], **options, "none": _none(options)},
        "env_params": config["env_params"],
        "reset_options": config.get("reset_options", {}),
        "environment": {
            "by_id": is_native(env_id) or env_id.removeprefix(FORCED) in gymnasium.registry,
            **_typed(),
            "none": _none(config["env_params"]),
        },
        "machine": _machine(),
        "versions": _versions(),
    }
    try:
        toml.dumps(settings)
    except TypeError:  # parameters of the environment that have no form there
        return None
    return settings


def deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide on a run's steps, in words of JSON; those of its algorithm are apart.

    Its end, and how often it is saved, may change while it lasts; how its environments are stepped as well.
    """
    kept = {name: settings.get(name) for name in (*PLAIN, *GIVEN, *DECIDING_TABLES) if name not in MAY_CHANGE}
    told: dict[str, Any] = json.loads(json.dumps(tomllib.loads(toml.dumps(kept)), default=str))
    algorithm = tomllib.loads(toml.dumps(dict(settings["algorithm"])))
    return told | {f"algorithm.{name}": value for name, value in algorithm.items()}


def _none(table: Mapping[str, Any]) -> list[str]:
    """Return which entries are None, for which TOML has no word."""
    return [name for name, value in table.items() if value is None]


def _by_id(env_id: Any) -> bool:
    """Return whether the environment can be made again of its id, without importing what a file names."""
    return isinstance(env_id, str) and (is_native(env_id) or ":" not in env_id.removeprefix(FORCED))


def _typed() -> dict[str, str]:
    typed = TYPED_ENV.get()
    return {} if typed is None else {"typed": typed}


def _machine() -> dict[str, str]:
    return {"isa": _core.isa(), "platform": platform.platform()}


def _versions() -> dict[str, str]:
    info = build_info()
    return {
        "fastpg": info["version"],
        "compiler": info["compiler"],
        "python": info["python"],
        "numpy": info["numpy"],
        "gymnasium": gymnasium.__version__,
    }


def check_machine(where: str, settings: Mapping[str, Any]) -> None:
    """Raise CheckpointError where the bits of a run cannot be had; warn where they may be others."""
    isa, versions, own = settings["machine"]["isa"], settings["versions"], _versions()
    if isa != _core.isa():
        how = (
            f"set FASTPG_ISA={isa}" if isa in _core.isas() else f"this CPU has only {', '.join(_core.isas())}"
        )
        raise CheckpointError(
            f"{where}: the run was begun with the instruction set {isa}, and {_core.isa()} is in use, which "
            f"rounds otherwise: {how}"
        )
    for name in BUILD:
        if versions[name] != own[name]:
            warnings.warn(
                f"{where}: the run was begun with {name} {versions[name]}, and this is {own[name]}: it goes "
                "on, but perhaps not to the last bit as it would have",
                RuntimeWarning,
                stacklevel=3,
            )


def algorithm_of(where: str, settings: Mapping[str, Any]) -> Algorithm:
    """Return the algorithm that a settings file describes."""
    options = dict(settings["algorithm"])
    kind = getattr(algorithms, str(options.pop("name", None)), None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise CheckpointError(f"{where}: this fastpg has no algorithm {settings['algorithm'].get('name')!r}")
    options |= dict.fromkeys(options.pop("none"))
    unknown = sorted(options.keys() - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise CheckpointError(
            f"{where}: {kind.__name__} of this fastpg has no option {unknown[0]!r}, which settings.toml has"
        )
    options = {name: tuple(one) if isinstance(one, list) else one for name, one in options.items()}
    return typing.cast(Algorithm, kind(**options))


def env_params_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the environment, those that are None as well."""
    return {**settings["env_params"], **dict.fromkeys(settings["environment"]["none"])}
