"""The bytes of a safetensors file, which are the same for the same content."""

import json
from typing import Any

from numpy.typing import NDArray


def content(tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    """Return the bytes of a file, the entries of its metadata in the order of their names.

    safetensors' own writer puts them in another order at each call, so that files of one policy would differ.
    """
    from safetensors.numpy import save  # here: importing fastpg stays quick

    data = save(tensors, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    described = json.loads(data[8:end]) | {"__metadata__": dict(sorted(metadata.items()))}
    header = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at multiples of 8 bytes
    return len(header).to_bytes(8, "little") + header + data[end:]
