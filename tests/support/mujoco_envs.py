"""A small model with formulas, and comparisons with Gymnasium's MuJoCo classes."""

import numpy as np

import fastpg

SWING = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 .1" pos="0 0 -1.02"/>
    <body name="pole">
      <joint name="hinge" axis="0 1 0" damping=".05"/>
      <geom name="bar" type="capsule" size=".05" fromto="0 0 0 0 0 -1"/>
      <site name="tip" pos="0 0 -1"/>
    </body>
  </worldbody>
  <actuator><motor joint="hinge" ctrlrange="-2 2"/></actuator>
</mujoco>
"""


class Swing(fastpg.MujocoEnv):
    """A pole to swing up; episodes end where it turns too fast."""

    def __init__(self, num_envs=1, *, effort=0.01, **options):
        self.effort = effort
        super().__init__(SWING, num_envs, frame_skip=2, **({"max_episode_steps": 20} | options))

    def observe(self, data):
        return np.concatenate([np.cos(data.qpos), np.sin(data.qpos), data.qvel], axis=1)

    def reward(self, before, data, actions):
        height, cost = data.site_xpos[:, 0, 2], self.effort * np.square(actions).sum(axis=1)
        return height - cost, {"cost": cost, "turned": data.qpos[:, 0] - before[:, 0]}

    def terminated(self, data):
        return np.abs(data.qvel[:, 0]) > 4

    def info(self, data):
        return {"tip": data.site_xpos[:, 0]}

    def initial_state(self, rng):
        return rng.uniform(-3, 3, 1), rng.normal(size=1)


def differences(ours, theirs, where="", close=()):
    """Return what differs between two results: in a bit, under names in `close` in more than rounding."""
    if isinstance(theirs, dict):
        if set(ours) != set(theirs):
            return [f"{where}: {sorted(set(ours) ^ set(theirs))}"]
        return [one for name in theirs for one in differences(ours[name], theirs[name], name, close)]
    if isinstance(theirs, tuple):
        pairs = zip(ours, theirs, strict=True)
        return [one for i, pair in enumerate(pairs) for one in differences(*pair, where or f"[{i}]", close)]
    if theirs is None or ours is None:
        return [] if ours is theirs else [f"{where}: {ours} and {theirs}"]
    if theirs.dtype == object:
        return differences(tuple(ours), tuple(theirs), where, close)
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return [f"{where}: {ours.dtype} {ours.shape} and {theirs.dtype} {theirs.shape}"]
    if where in close:
        return [] if np.allclose(ours, theirs, rtol=1e-14, atol=0) else [f"{where}: {ours} and {theirs}"]
    return [] if np.array_equal(ours, theirs, equal_nan=True) else [f"{where}: {ours - theirs}"]


def kolmogorov_smirnov(first, second):
    """Return the largest distance of two samples' distribution functions, times sqrt(n m / (n + m))."""
    values = np.concatenate([first, second])
    steps = [np.searchsorted(np.sort(one), values, side="right") / len(one) for one in (first, second)]
    n, m = len(first), len(second)
    return np.abs(steps[0] - steps[1]).max() * np.sqrt(n * m / (n + m))
