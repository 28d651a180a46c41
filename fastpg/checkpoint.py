"""Policies in safetensors files: named tensors, and in the metadata everything else that a policy is.

The format is plain data: loading runs no code from the file, and other programs can read the tensors.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fastpg import _check, _core, spaces
from fastpg.errors import CheckpointError
from fastpg.policy import ACTIVATIONS, Policy, restore

FORMAT = "fastpg.policy"
FORMAT_VERSION = "1"


def save_policy(where: str, policy: Policy, path: str | os.PathLike[str]) -> None:
    """Write a policy; the file appears whole or not at all."""
    target = _check.output_path(where, "path", path)
    policy.checked_theta(where)
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "fastpg_version": _core.version(),
        "observation_space": json.dumps(spaces.to_json(policy.observation_space)),
        "action_space": json.dumps(spaces.to_json(policy.action_space)),
        "hidden": json.dumps(policy.hidden),
        "activation": policy.activation,
    }
    if policy.env_id is not None:
        metadata["env_id"] = policy.env_id
    _write_atomically(target, save(policy.parameters(), metadata))


def load_policy(where: str, path: str | os.PathLike[str]) -> Policy:
    """Read a policy; whatever is wrong with the file is a CheckpointError."""
    path = _check.file_path(where, "path", path)
    with open(path, "rb"):  # a missing or unreadable file stays the OSError that it is
        pass
    problem = f"{where}: {os.fspath(path)!r}"
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{problem} is damaged or not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{problem} is a safetensors file, but not of a fastpg policy")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{problem} has format version {metadata.get('format_version')!r}; "
            f"this fastpg reads {FORMAT_VERSION!r}"
        )
    policy = _empty_policy(problem, metadata)
    views = policy.parameters()
    if set(tensors) != set(views):
        raise CheckpointError(f"{problem} holds the tensors {sorted(tensors)}, expected {sorted(views)}")
    for name, view in views.items():
        tensor = tensors[name]
        if tensor.shape != view.shape or tensor.dtype != view.dtype:
            raise CheckpointError(
                f"{problem}: {name} must be {view.dtype} of shape {view.shape}, "
                f"got {tensor.dtype} of shape {tensor.shape}"
            )
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{problem}: {name} holds NaN or infinite parameters")
        view[:] = tensor
    return policy


def _empty_policy(problem: str, metadata: dict[str, str]) -> Policy:
    """Make a policy of the shape that the metadata describes, its parameters still to be filled in."""
    try:
        hidden = json.loads(metadata["hidden"])
        widths = _check.widths(problem, "hidden", hidden, _core.MAX_HIDDEN, _core.MAX_WIDTH)
        activation = _check.choice(problem, "activation", metadata["activation"], ACTIVATIONS)
        observation_space = spaces.from_json(json.loads(metadata["observation_space"]))
        action_space = spaces.from_json(json.loads(metadata["action_space"]))
        return restore(observation_space, action_space, widths, activation, metadata.get("env_id"), None)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise CheckpointError(f"{problem} has unusable metadata ({type(error).__name__}: {error})") from error


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
