"""Environments and their parameters as people type them."""

import contextlib
import importlib
import importlib.util
import os
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium

from fastpg import _check
from fastpg.envs.custom.custom import CustomEnv
from fastpg.envs.gymnasium.registered import FORCED
from fastpg.exact import FiniteMDP
from fastpg.training.settings import TYPED_ENV

BOOLS = {"True": "true", "False": "false"}  # Python's words for TOML's


def environment(text: str) -> Any:
    """Return what is meant: an id as it is, or an object that "module:Name" or "file.py:Name" names.

    Modules are also looked for in the current folder. A module that has no such object is left to Gymnasium:
    it registers ids.
    """
    place, _, name = text.removeprefix(FORCED).rpartition(":")
    if not place or ":" in place.removesuffix(".py") or text.startswith(FORCED):
        see_current_folder(text)
        return text
    if place.endswith(".py"):
        module = _loaded(Path(place))
        if not hasattr(module, name):
            raise ValueError(f"{place!r} has no {name!r}")
        return _usable(text, getattr(module, name))
    see_current_folder(text)
    if importlib.util.find_spec(place.partition(".")[0]) is None:
        return text  # whoever makes it says so
    found = getattr(importlib.import_module(place), name, None)
    return text if found is None else _usable(text, found)


@contextlib.contextmanager
def remembered(text: str, env_id: Any) -> Iterator[None]:
    """Let the folders of runs that begin meanwhile remember what was typed for an object."""
    token = TYPED_ENV.set(None if isinstance(env_id, str) else text)
    try:
        yield
    finally:
        TYPED_ENV.reset(token)


def is_named_again(text: str, settings: Mapping[str, Any]) -> bool:
    """Return whether what is typed is the environment of a run whose folder cannot make it."""
    own = not settings["environment"]["by_id"]
    return own and text.rpartition(":")[2] == _named(settings).rpartition(":")[2]


def require_nameable(command: str, settings: Mapping[str, Any], run: Path) -> None:
    """Require a run whose environment is an id; that of another has to be typed again, and is then imported.

    What a folder says is not imported: whoever wrote it may be a stranger.
    """
    if settings["environment"]["by_id"]:
        return
    named = _named(settings)
    told = f"{command}: the run was in {named!r}, "
    if ":" not in named:  # a run of Python's
        raise ValueError(
            f"{told}which its folder cannot make again: pass --env MODULE:NAME or --env FILE.py:NAME"
        )
    module = named.removeprefix(FORCED).rpartition(":")[0]
    file = module if module.endswith(".py") else module.partition(".")[0]
    folders = [Path.cwd(), *run.resolve().parents]
    holds = [one for one in folders if (one / file).exists() or (one / f"{file}.py").exists()]
    where = f" in the folder {str(holds[0])!r}" if holds and holds[0] != folders[0] else ""
    raise ValueError(
        f"{told}which is imported only where it is typed: pass --env {shlex.quote(named)}{where}"
    )


def _named(settings: Mapping[str, Any]) -> str:
    return str(settings["environment"].get("typed", settings["env_id"]))


def _loaded(path: Path) -> Any:
    """Run a file as a module that is found again by its name, as pickles do."""
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _usable(text: str, found: Any) -> Any:
    if isinstance(found, str | CustomEnv | FiniteMDP | gymnasium.vector.VectorEnv) or callable(found):
        return found
    raise ValueError(f"{text!r} is no environment, and no function that makes one, but {_check.shown(found)}")


def see_current_folder(env_id: str) -> None:
    """Let the module of a typed "module:id" lie in the current folder, as it may with `python -m fastpg`."""
    folder = os.getcwd()
    if ":" in env_id.removeprefix(FORCED) and not sys.flags.safe_path and folder not in sys.path:
        sys.path.append(folder)


def env_params(words: Sequence[str]) -> dict[str, Any]:
    """Return parameters of "key=value": a value is what TOML reads, True or False, else a string.

    Examples
    --------
    >>> env_params(["g=9.81", "sutton_barto_reward=true", "map_name=8x8", "mass=[0.5, 2]"])
    {'g': 9.81, 'sutton_barto_reward': True, 'map_name': '8x8', 'mass': [0.5, 2]}
    """
    params: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"--env must be KEY=VALUE, a parameter of the environment, got {word!r}")
        try:
            params[name] = tomllib.loads(f"x = {BOOLS.get(value, value)}")["x"]
        except tomllib.TOMLDecodeError:
            params[name] = value
    return params


def environment_name(env_id: Any) -> str:
    """Return what an environment is called: an id, or the name of what jit_env made, or of a function."""
    if isinstance(env_id, str):
        return env_id
    name = getattr(env_id, "name", None) or getattr(env_id, "__name__", None)
    return str(name or type(env_id).__name__)


def file_stem(env_id: Any) -> str:
    """Return what its files are called: "ALE/Pong-v5" would be a folder, and "gym:" a drive."""
    return environment_name(env_id).removeprefix(FORCED).replace("/", "-").replace(":", "-")
