"""The model that a user means: a file, its text, or one that is compiled."""

import copy as copying
import os
from typing import Any

from fastpg import _check


def compiled(where: str, model: Any) -> Any:
    """Return the mujoco.MjModel that a user means."""
    import mujoco

    if isinstance(model, mujoco.MjModel):
        return copying.copy(model)
    if not isinstance(model, str | os.PathLike):
        raise TypeError(
            f"{where}: model must be a path, MJCF text or a mujoco.MjModel, got {_check.shown(model)}"
        )
    is_text = isinstance(model, str) and model.lstrip().startswith("<")
    if not is_text:
        path = _check.file_path(where, "model", model).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{where}: model {os.fspath(path)!r} is no file")
    try:
        if is_text:
            return mujoco.MjModel.from_xml_string(model)
        return mujoco.MjModel.from_xml_path(os.fspath(path))
    except ValueError as error:
        raise ValueError(f"{where}: MuJoCo does not compile the model: {_check.line(error)}") from error
