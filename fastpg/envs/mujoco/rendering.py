"""Pictures of MuJoCo environments, by Gymnasium's renderer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _check
from fastpg.envs.mujoco.engine import Simulations

RENDER_MODES = ("rgb_array", "depth_array")


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What Gymnasium's MujocoEnv takes for its renderer, with its defaults."""

    width: int = 480
    height: int = 480
    camera_id: int | None = None
    camera_name: str | None = None
    default_camera_config: Mapping[str, Any] | None = None
    max_geom: int = 1000
    visual_options: Mapping[int, bool] | None = field(default=None)

    def checked(self, where: str) -> "RenderOptions":
        """Return these, or raise what is wrong with them."""
        for name in ("width", "height", "max_geom"):
            _check.integer(where, name, getattr(self, name), 1, 2**31 - 1)
        if self.camera_id is not None:
            _check.integer(where, "camera_id", self.camera_id, -1, 2**31 - 1)
        if self.camera_name is not None and not isinstance(self.camera_name, str):
            raise TypeError(f"{where}: camera_name must be a string, got {_check.shown(self.camera_name)}")
        if self.camera_id is not None and self.camera_name is not None:
            raise ValueError(f"{where}: at most one of camera_id and camera_name can be given")
        _check.mapping(where, "default_camera_config", self.default_camera_config)
        if self.visual_options is not None and not isinstance(self.visual_options, Mapping):
            raise TypeError(
                f"{where}: visual_options must be a mapping, got {_check.shown(self.visual_options)}"
            )
        return self


class Renderer:
    """Draws one simulation after the other."""

    def __init__(self, simulations: Simulations, mode: str, options: RenderOptions) -> None:
        import mujoco
        from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

        self._simulations, self._mode = simulations, mode
        model = simulations.model
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, options.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, options.height)
        self._data = mujoco.MjData(model)
        self._renderer: Any = MujocoRenderer(
            model,
            self._data,
            dict(options.default_camera_config or {}),
            options.width,
            options.height,
            options.max_geom,
            options.camera_id,
            options.camera_name,
            dict(options.visual_options or {}),
        )

    def frames(self) -> tuple[NDArray[Any], ...]:
        """Return one picture of each simulation."""
        pictures = []
        for i in range(self._simulations.count):
            self._simulations.copy_to(i, self._data)
            pictures.append(np.array(self._renderer.render(self._mode)))
        return tuple(pictures)

    def close(self) -> None:
        """Free the renderer's contexts."""
        self._renderer.close()
