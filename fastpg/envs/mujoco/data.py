"""What formulas of a MuJoCo environment read: MjData's fields, for all environments at once."""

import functools
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from fastpg.envs.mujoco.engine import Simulations


class Data:
    """The fields of `mujoco.MjData` as attributes, each a read-only array (N, ...): ``data.qpos`` is (N, nq).

    They are live: the next step overwrites them. As after `mujoco.mj_step`, states (qpos, qvel, ...) are
    those after the step, and what the engine computes from states (xpos, sensordata, ...) belongs to the
    state one engine step before. Contact forces (cfrc_ext, cfrc_int, cacc) are computed after the step, and
    are 0 after a reset, as in Gymnasium's environments.

    Besides states there are the fields that a formula read when the environment was made.
    """

    def __init__(self, simulations: Simulations) -> None:
        self._simulations = simulations

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        array = self._simulations.field(name).view()
        array.flags.writeable = False
        self.__dict__[name] = array  # is found there from now on
        return array


def once(formula: Callable[[Any, Data], NDArray[Any]]) -> Callable[[Any, Data], NDArray[Any]]:
    """Have a formula that several others read computed once for each state of the simulations."""
    name = f"_once_{formula.__qualname__}"

    @functools.wraps(formula)
    def remembered(env: Any, data: Data) -> NDArray[Any]:
        calls, known = data._simulations.calls, data.__dict__.get(name)
        if known is None or known[0] != calls:
            known = data.__dict__[name] = calls, formula(env, data)
        return known[1]

    return remembered
