"""`--from PATH`: runs that begin with the networks of a saved run, or with a saved policy."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastpg.algorithms import Algorithm, Reinforce
from fastpg.cli.says import say
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.run_folder import VALUE

OF_A_NEW_POLICY = ("hidden", "activation", "squash", "state_dependent_std", "action_scaling")


def shapes_given(arguments: Sequence[str], algorithm: Algorithm) -> dict[str, Any]:
    """Return the options of `train` and `sweep` that the networks of a command line's `--from` decide on.

    As defaults, so that --help shows them, and what is typed can be told from them.
    """
    if not arguments or arguments[0] not in ("train", "sweep"):
        return {}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--from", dest="path", nargs="?", type=Path)
    path = parser.parse_known_args(arguments)[0].path
    if path is None:
        return {}
    policy, value = _loaded(path)
    shapes = {name: getattr(policy, name) for name in OF_A_NEW_POLICY}
    if value is not None and not isinstance(algorithm, Reinforce):
        shapes["algorithm"] = dataclasses.replace(algorithm, value_hidden=value.hidden)
    return shapes


def networks_given(options: Any) -> dict[str, Any]:
    """Return what `train` is given because of `--from`; no other option may say that it has another shape."""
    if options.from_ is None:
        return {}
    policy, value = _loaded(options.from_)
    algorithm: Any = getattr(options, options.algorithm)
    for name in OF_A_NEW_POLICY:
        _require_same(name, getattr(options, name), getattr(policy, name), "policy")
    if isinstance(algorithm, Reinforce):
        return {"policy": policy}
    if value is None:
        say(f"--from {options.from_} has no value function, so a new one begins")
        return {"policy": policy}
    _require_same("value_hidden", algorithm.value_hidden, value.hidden, "value function")
    return {"policy": policy, "value": value}


def _loaded(path: Path) -> tuple[Policy, ValueFunction | None]:
    has_value = path.is_dir() and (path / VALUE).exists()
    return Policy.load(path), ValueFunction.load(path) if has_value else None


def _require_same(name: str, typed: Any, given: Any, noun: str) -> None:
    if typed != given:
        raise ValueError(
            f"--{name.replace('_', '-')} is of a new {noun}, and --from has one already, with "
            f"{_shown(given)}; leave the option out"
        )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "widths " + " ".join(map(str, value)) if value else "no hidden layers"
    return str(value).lower()
