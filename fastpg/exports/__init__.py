"""Policies for where there is no fastpg: ONNX, C, torch.export. `Policy.export` brings this in."""

import os
from typing import Any

from fastpg import _check, files
from fastpg.action_masks import require_categorical
from fastpg.networks.policy import Policy

ENDINGS = {".onnx": "ONNX", ".h": "C99", ".pt2": "torch.export"}


def export(where: str, policy: Policy, path: str | os.PathLike[str], sampled: Any, masked: Any) -> None:
    """Write a policy in the form that the path's ending says, once it has been found to act alike."""
    file = files.output(where, "path", path)
    sampled = _check.boolean(where, "sampled", sampled)
    masked = _check.boolean(where, "masked", masked)
    if masked:
        require_categorical(where, policy.actions)
    if file.suffix not in ENDINGS:
        known = ", ".join(f"{ending!r} ({form})" for ending, form in ENDINGS.items())
        raise ValueError(f"{where}: the ending of path must be one of {known}, got {str(file)!r}")
    from fastpg.exports.plan import plan_of

    plan = plan_of(where, policy, file.stem)
    content: bytes
    if file.suffix == ".onnx":
        from fastpg.exports.onnx_model import model as content_of
    elif file.suffix == ".h":
        for name, value in (("sampled", sampled), ("masked", masked)):
            if value:
                raise ValueError(
                    f"{where}: {name} goes with '.onnx' and '.pt2'; a header has both ways of acting"
                )
        from fastpg.exports.c_header import header as content_of
    else:
        from fastpg.exports.torch_program import program as content_of
    content = content_of(where, policy, plan, sampled, masked)
    files.write(where, file, content)
