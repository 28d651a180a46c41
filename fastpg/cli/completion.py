"""`fastpg completion SHELL`: commands, options and environments as shtab makes a script of them."""

import argparse
import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import gymnasium
import tyro

from fastpg.cli.options import ALGORITHMS
from fastpg.envs import list_envs

ENV_OF = ("eval", "render", "resume")  # where --env names an environment


def completion_script(commands: Mapping[str, type[Any]], shell: str) -> str:
    """Return the script for a shell, of the options that commands take as dataclasses."""
    try:
        import shtab
    except ImportError as error:
        raise ImportError("completion needs shtab: pip install '.[completion]'") from error
    top = argparse.ArgumentParser("fastpg")
    top.add_argument("--version", action="store_true", help="show the version")
    subparsers = top.add_subparsers()
    for name, kind in commands.items():
        summary = (inspect.getdoc(kind) or "").partition("\n")[0]
        command = subparsers.add_parser(name, help=summary)
        for field, hint, is_positional in _arguments(kind):
            kinds = _kinds(hint)
            words = [field] if is_positional else [f"--{field.rstrip('_').replace('_', '-')}"]
            takes: dict[str, Any] = {"help": field.replace("_", " ")}
            choices = [one for kind in kinds if typing.get_origin(kind) is Literal for one in kind.__args__]
            if field == "env_id" or (field == "env" and name in ENV_OF):
                choices = environments()
            if choices:
                takes["choices"] = choices
            if field == "runs":
                takes["nargs"] = "+"
            if bool in kinds:
                words, takes["action"] = [*words, f"--no-{words[0][2:]}"], "store_true"
            action: Any = command.add_argument(*words, **takes)
            if any(Path in (one, *typing.get_args(one)) for one in kinds):
                action.complete = shtab.DIRECTORY if field in ("run", "runs") else shtab.FILE
    return str(shtab.complete(top, shell))


def environments() -> list[str]:
    """Return the ids that Gymnasium and fastpg know, without copies in namespaces.

    Examples
    --------
    >>> {"CartPole-v1", "HalfCheetah-v5"} <= set(environments())
    True
    """
    return sorted({*list_envs(), *(env_id for env_id in gymnasium.registry if "/" not in env_id)})


def _arguments(kind: type[Any]) -> Iterator[tuple[str, Any, bool]]:
    """Return what a command takes: name, type, whether it is positional; options of all algorithms."""
    hints = typing.get_type_hints(kind, include_extras=True)
    seen = set[str]()
    for name, hint in hints.items():
        marks = getattr(hint, "__metadata__", ())
        if name in ALGORITHMS or tyro.conf.Suppress in marks:
            continue
        seen.add(name)
        yield name, hint, tyro.conf.Positional in marks
    if "algorithm" in hints:
        for algorithm in ALGORITHMS.values():
            for field in dataclasses.fields(algorithm):
                if field.name not in seen:
                    seen.add(field.name)
                    yield field.name, typing.get_type_hints(algorithm)[field.name], False


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself, without annotations."""
    while typing.get_origin(hint) is typing.Annotated:
        hint = hint.__origin__
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return typing.get_args(hint) if is_union else (hint,)
