"""Policies in safetensors files: named tensors, and in the metadata everything else that a policy is.

The format is plain data: loading runs no code from the file, and other programs can read the tensors. A
checksum in the metadata covers the parameters and the rest of the metadata.
"""

import hashlib
import json
import os
import stat
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from fastpg import _check, _core, files, spaces
from fastpg.errors import CheckpointError
from fastpg.networks.policy import ACTIVATIONS, Policy, restore

FORMAT = "fastpg.policy"
FORMAT_VERSION = "1"
CHECKSUM = "sha256"  # files of this version that are older than the checksum do not have it
REQUIRED = {
    "format", "format_version", "fastpg_version", "observation_space", "action_space", "hidden", "activation",
}  # fmt: skip
OPTIONAL = {"env_id", CHECKSUM}
DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64"}  # as NumPy calls them
MAX_HEADER = 100_000_000  # bytes: what safetensors takes


def save_policy(where: str, policy: Policy, path: str | os.PathLike[str]) -> None:
    """Write a policy; the file appears whole or not at all."""
    files.write(where, files.output(where, "path", path), content(where, policy))


def content(where: str, policy: Policy) -> bytes:
    """Return the bytes of a policy's file."""
    policy = policy.copy()  # what is checked is what is written, whoever writes to theta meanwhile
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
    return save(policy.parameters(), metadata | {CHECKSUM: _checksum(metadata, policy)})


def load_policy(where: str, path: str | os.PathLike[str]) -> Policy:
    """Read a policy; whatever is wrong with the file is a CheckpointError."""
    path = _check.file_path(where, "path", path)
    problem = f"{where}: {os.fspath(path)!r}"
    mode = os.stat(path).st_mode  # a missing or unreadable file stays the OSError that it is
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise CheckpointError(f"{problem} is a pipe or a device, not a file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _header(problem, file, size)
        tensors = _parsed(problem, header)
        metadata = _metadata(problem, tensors.pop("__metadata__", None))
        policy = _empty_policy(problem, metadata)
        _check_tensors(problem, policy, tensors)
        if size != len(header) + policy.theta.nbytes:  # looked at before the file is read
            raise CheckpointError(
                f"{problem} is damaged: it has {size:,} bytes, and a policy of its shape has "
                f"{len(header) + policy.theta.nbytes:,}"
            )
        data = header + file.read(policy.theta.nbytes)
    _fill(problem, policy, data)
    checksum = metadata.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(metadata, policy):
        raise CheckpointError(f"{problem} is damaged: its content does not have the checksum that it names")
    return policy


def _checksum(metadata: dict[str, str], policy: Policy) -> str:
    """Return the SHA-256, in hexadecimal, of the metadata and theta."""
    described = json.dumps(metadata, sort_keys=True).encode()
    return hashlib.sha256(described + b"\n" + policy.theta.astype("<f4").tobytes()).hexdigest()


def _damaged(problem: str, reason: object) -> CheckpointError:
    return CheckpointError(f"{problem} is damaged or not a safetensors file ({_check.shown(str(reason))})")


def _header(problem: str, file: BinaryIO, size: int) -> bytes:
    """Return how a safetensors file begins: eight bytes, which say how long the JSON is, and the JSON."""
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(size - 8, MAX_HEADER):
        raise _damaged(problem, "its header is not whole")
    return start + file.read(length)


def _parsed(problem: str, header: bytes) -> dict[str, Any]:
    """Return what a header says, the metadata among it."""
    try:
        parsed = json.loads(header[8:], object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(problem, error) from error
    if not isinstance(parsed, dict):
        raise _damaged(problem, "its header is not an object")
    return parsed


def _metadata(problem: str, metadata: Any) -> dict[str, str]:
    """Return the metadata, checked to be of the format of this module."""
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise CheckpointError(f"{problem} is a safetensors file, but not of a fastpg policy")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{problem} has format version {_check.shown(metadata.get('format_version'))}; "
            f"this fastpg reads {FORMAT_VERSION!r}"
        )
    unknown, missing = sorted(metadata.keys() - REQUIRED - OPTIONAL), sorted(REQUIRED - metadata.keys())
    if unknown or missing:
        wrong = f"unknown {unknown}" if unknown else f"without {missing}"
        raise CheckpointError(f"{problem} has unusable metadata ({_check.shown(wrong)})")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{problem} has unusable metadata (it must be strings)")
    return metadata


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name is there twice")
    return made


def _empty_policy(problem: str, metadata: dict[str, str]) -> Policy:
    """Make a policy of the shape that the metadata describes, its parameters still to be filled in."""
    try:
        hidden = json.loads(metadata["hidden"])
        widths = _check.widths(problem, "hidden", hidden, _core.MAX_HIDDEN, _core.MAX_WIDTH)
        activation = _check.choice(problem, "activation", metadata["activation"], ACTIVATIONS)
        with np.errstate(all="ignore"):  # of bounds that are too large for their dtype
            observation_space = spaces.from_json(json.loads(metadata["observation_space"]))
            action_space = spaces.from_json(json.loads(metadata["action_space"]))
        return restore(observation_space, action_space, widths, activation, metadata.get("env_id"), None)
    # What a space may raise whose numbers are nonsense is Gymnasium's and NumPy's affair: any of these.
    except (
        ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise CheckpointError(f"{problem} has unusable metadata ({reason:.500})") from error


def _check_tensors(problem: str, policy: Policy, tensors: dict[str, Any]) -> None:
    """Raise CheckpointError unless a header describes the policy's parameters."""
    views = policy.parameters()
    if tensors.keys() != views.keys():
        strange = sorted(tensors.keys() - views.keys())
        wrong = f"holds the tensors {_check.shown(strange)}" if strange else "lacks tensors"
        raise CheckpointError(f"{problem} {wrong}, expected {sorted(views)}")
    for name, view in views.items():
        tensor = tensors[name]
        dtype, shape = (tensor.get(key) if isinstance(tensor, dict) else None for key in ("dtype", "shape"))
        if dtype != "F32" or shape != list(view.shape):
            got = DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype
            shown = _check.shown(tuple(shape) if isinstance(shape, list) else shape)
            raise CheckpointError(
                f"{problem}: {name} must be float32 of shape {view.shape}, "
                f"got {got!s:.60} of shape {shown.removesuffix(' (tuple)')}"
            )


def _fill(problem: str, policy: Policy, data: bytes) -> None:
    """Read the parameters of a policy out of a file's content, whose header was checked."""
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise _damaged(problem, error) from error
    for name, view in policy.parameters().items():
        view[:] = np.frombuffer(tensors[name]["data"], "<f4").reshape(view.shape)
        if not np.isfinite(view).all():
            raise CheckpointError(f"{problem}: {name} holds NaN or infinite parameters")
