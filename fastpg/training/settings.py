"""What settings.toml says of a run, and what a run that goes on makes of it."""

import dataclasses
import platform
import typing
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium

from fastpg import _core, algorithms
from fastpg.algorithms import Algorithm
from fastpg.envs.gymnasium.adapter import FORCED, GymnasiumEnv
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
            "none": _none(config["env_params"]),
            "fingerprint": fingerprint(where, env_id, env),
        },
        "machine": {"isa": _core.isa(), "platform": platform.platform()},
        "versions": {**_versions(), "gymnasium": gymnasium.__version__},
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


def _none(table: Mapping[str, Any]) -> list[str]:
    """Return which entries are None, for which TOML has no word."""
    return [name for name, value in table.items() if value is None]


def _by_id(env_id: Any) -> bool:
    """Return whether the environment can be made again of its id, without importing what a file names."""
    return isinstance(env_id, str) and (is_native(env_id) or ":" not in env_id.removeprefix(FORCED))


def _versions() -> dict[str, str]:
    info = build_info()
    return {
        "fastpg": info["version"],
        "compiler": info["compiler"],
        "python": info["python"],
        "numpy": info["numpy"],
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
    options = {name: tuple(one) if isinstance(one, list) else one for name, one in options.items()}
    return typing.cast(Algorithm, kind(**options))


def env_params_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the environment, those that are None as well."""
    return {**settings["env_params"], **dict.fromkeys(settings["environment"]["none"])}
