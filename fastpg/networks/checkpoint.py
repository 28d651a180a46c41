"""Policies and value functions in safetensors files: named tensors, and all else in the metadata.

The format is plain data: loading runs no code from the file, and other programs can read the tensors. A
checksum in the metadata covers the parameters and the rest of the metadata.
"""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, deserialize

from fastpg import _check, _core, files, spaces
from fastpg.errors import CheckpointError
from fastpg.networks import safetensors_bytes
from fastpg.networks.parametric import ACTIVATIONS, Kind, Parametric, labels_in, options_in, spaces_in

# The formats that there are, for who loads one as another; a network's class says which its own is.
FORMATS = {
    "fastpg.policy": "a policy: load it with fastpg.Policy.load()",
    "fastpg.value_function": "a value function: load it with fastpg.ValueFunction.load()",
}
FORMAT_VERSION = "1"
CHECKSUM = "sha256"  # files of this version that are older than the checksum do not have it
REQUIRED = {"format", "format_version", "fastpg_version", "hidden", "activation"}  # and the spaces
DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64"}  # as NumPy calls them
MAX_HEADER = 100_000_000  # bytes: what safetensors takes


def save(where: str, network: Parametric, path: str | os.PathLike[str]) -> None:
    """Write a policy or a value function; the file appears whole or not at all."""
    files.write(where, files.output(where, "path", path), content(where, network))


def content(where: str, network: Parametric) -> bytes:
    """Return the bytes of a file."""
    network = network.copy()  # what is checked is what is written, whoever writes to theta meanwhile
    network.checked_theta(where)
    described = zip(network.SPACES, spaces_in(network), strict=True)
    metadata = {
        "format": network.FORMAT,
        "format_version": FORMAT_VERSION,
        "fastpg_version": _core.version(),
        **{name: json.dumps(spaces.to_json(space)) for name, space in described},
        "hidden": json.dumps(network.hidden),
        "activation": network.activation,
        **{name: json.dumps(value) for name, value in options_in(network).items()},
        **labels_in(network),
    }
    return safetensors_bytes.content(
        network.parameters(), metadata | {CHECKSUM: _checksum(metadata, network)}
    )


def load(where: str, kind: type[Kind], path: str | os.PathLike[str]) -> Kind:
    """Read a network of this kind, or that of a run's folder; whatever is wrong is a CheckpointError."""
    path = _check.file_path(where, "path", path)
    if os.path.isdir(path):
        from fastpg.training.run_folder import load_network  # here: it imports this module

        return load_network(where, kind, path)
    problem = f"{where}: {os.fspath(path)!r}"
    mode = _status(path).st_mode  # a missing or unreadable file stays the OSError that it is
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{problem} is a pipe or a device, not a file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _header(problem, file, size)
        tensors = _parsed(problem, header)
        metadata = _metadata(problem, kind, tensors.pop("__metadata__", None))
        network = _empty(problem, kind, metadata)
        _check_tensors(problem, network, tensors)
        if size != len(header) + network.theta.nbytes:  # looked at before the file is read
            raise CheckpointError(
                f"{problem} is damaged: it has {size:,} bytes, and a {kind.NOUN} of its shape has "
                f"{len(header) + network.theta.nbytes:,}"
            )
        data = header + file.read(network.theta.nbytes)
    _fill(problem, network, data)
    checksum = metadata.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(metadata, network):
        raise CheckpointError(f"{problem} is damaged: its content does not have the checksum that it names")
    return network


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as error:
        whole = path.with_name(f"{path.name}.safetensors")
        if path.name and whole.exists():
            error.add_note(f"(did you mean {os.fspath(whole)!r}?)")
        raise


def _checksum(metadata: dict[str, str], network: Parametric) -> str:
    """Return the SHA-256, in hexadecimal, of the metadata and theta."""
    described = json.dumps(metadata, sort_keys=True).encode()
    return hashlib.sha256(described + b"\n" + network.theta.astype("<f4").tobytes()).hexdigest()


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


def _metadata(problem: str, kind: type[Parametric], metadata: Any) -> dict[str, str]:
    """Return the metadata, checked to be of the format of this module and of this kind of network."""
    if not isinstance(metadata, dict) or metadata.get("format") != kind.FORMAT:
        found = str(metadata.get("format")) if isinstance(metadata, dict) else ""
        if found in FORMATS:
            raise CheckpointError(f"{problem} holds {FORMATS[found]}")
        raise CheckpointError(f"{problem} is a safetensors file, but not of a fastpg {kind.NOUN}")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{problem} has format version {_check.shown(metadata.get('format_version'))}; "
            f"this fastpg reads {FORMAT_VERSION!r}"
        )
    required = REQUIRED.union(kind.SPACES)
    unknown = sorted(metadata.keys() - required.union(kind.LABELS, kind.OPTIONS, [CHECKSUM]))
    missing = sorted(required - metadata.keys())
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


def _empty(problem: str, kind: type[Kind], metadata: dict[str, str]) -> Kind:
    """Make a network of the shape that the metadata describes, its parameters still to be filled in."""
    try:
        hidden = json.loads(metadata["hidden"])
        widths = _check.widths(problem, "hidden", hidden, _core.MAX_HIDDEN, _core.MAX_WIDTH)
        activation = _check.choice(problem, "activation", metadata["activation"], ACTIVATIONS)
        with np.errstate(all="ignore"):  # of bounds that are too large for their dtype
            given = [spaces.from_json(json.loads(metadata[name])) for name in kind.SPACES]
        options = {name: json.loads(metadata[name]) for name in kind.OPTIONS if name in metadata}
        for name, value in options.items():
            if type(value) is not type(kind.OPTIONS[name]):
                raise TypeError(f"{name} is {_check.shown(value)}")
        network = kind.of_shape(f"{kind.__name__}()", given, widths, activation, **options)
        for name in kind.LABELS:
            setattr(network, name, metadata.get(name))
        return network
    # What a space may raise whose numbers are nonsense is Gymnasium's and NumPy's affair: any of these.
    except (
        ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise CheckpointError(f"{problem} has unusable metadata ({reason:.500})") from error


def _check_tensors(problem: str, network: Parametric, tensors: dict[str, Any]) -> None:
    """Raise CheckpointError unless a header describes the network's parameters."""
    views = network.parameters()
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


def _fill(problem: str, network: Parametric, data: bytes) -> None:
    """Read the parameters of a network out of a file's content, whose header was checked."""
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise _damaged(problem, error) from error
    for name, view in network.parameters().items():
        view[:] = np.frombuffer(tensors[name]["data"], "<f4").reshape(view.shape)
        if not np.isfinite(view).all():
            raise CheckpointError(f"{problem}: {name} holds NaN or infinite parameters")
