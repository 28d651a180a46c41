"""The state of a run in a safetensors file: every entry of the state table, and facts in the metadata.

A checksum in the metadata covers the entries and the rest of the metadata.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg.errors import CheckpointError
from fastpg.networks import safetensors_bytes

FORMAT, FORMAT_VERSION, CHECKSUM = "fastpg.run_state", "1", "sha256"
DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}
BEFORE = "without the file, the run goes on from the checkpoint before"

State = dict[str, NDArray[Any]]


def content(state: State, facts: dict[str, Any]) -> bytes:
    """Return the bytes of a file; facts are what JSON can say."""
    metadata = {"format": FORMAT, "format_version": FORMAT_VERSION}
    metadata |= {name: json.dumps(fact) for name, fact in facts.items()}
    return safetensors_bytes.content(state, metadata | {CHECKSUM: _checksum(metadata, state)})


def load(where: str, path: Path, advice: str = BEFORE) -> tuple[State, dict[str, Any]]:
    """Return the state and the facts of a file; whatever is wrong with it is a CheckpointError.

    `advice` is what to do without a file that is damaged.
    """
    from safetensors import SafetensorError, deserialize

    problem = f"{where}: {str(path)!r}"
    data = path.read_bytes()
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        if metadata.get("format") != FORMAT:
            raise CheckpointError(f"{problem} holds no state of a run")
        if metadata.get("format_version") != FORMAT_VERSION:
            raise CheckpointError(
                f"{problem} has format version {metadata.get('format_version')}; "
                f"this fastpg reads {FORMAT_VERSION!r}"
            )
        tensors: list[tuple[str, Any]] = deserialize(data)  # type: ignore[no-untyped-call]
        state = {
            name: np.frombuffer(one["data"], DTYPES[one["dtype"]]).reshape(one["shape"])
            for name, one in tensors
        }
        checksum = metadata.pop(CHECKSUM)
        if checksum != _checksum(metadata, state):
            raise CheckpointError(
                f"{problem} is damaged: its content does not have the checksum that it names; {advice}"
            )
        facts = {name: json.loads(text) for name, text in metadata.items() if not name.startswith("format")}
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{problem} is damaged or not a safetensors file; {advice}") from error
    return state, facts


def _checksum(metadata: dict[str, str], state: State) -> str:
    """Return the SHA-256, in hexadecimal, of the metadata and all entries."""
    total = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(state):
        array = state[name].astype(state[name].dtype.newbyteorder("<"), copy=False)
        total.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
