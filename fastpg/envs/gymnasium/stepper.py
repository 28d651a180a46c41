"""Steps of a vector environment, whatever follows its episodes' ends: rows in the core's form."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.error import AlreadyPendingCallError
from numpy.typing import NDArray

from fastpg import _check
from fastpg.acted import Acted
from fastpg.envs.autoreset import AutoresetMode
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.asked_masks import METHOD, asking
from fastpg.envs.gymnasium.final_obs import final_batch
from fastpg.envs.gymnasium.flatten import Rows
from fastpg.envs.gymnasium.info_masks import IN_INFOS, KEY, are_in, read_masks
from fastpg.envs.gymnasium.misfits import misfit
from fastpg.envs.gymnasium.ready import require_whole_batches
from fastpg.envs.gymnasium.under_way import leave
from fastpg.envs.native.registry import USE_ACTION_MASK
from fastpg.errors import EnvError

LOST = (EOFError, ConnectionError, AlreadyPendingCallError)  # what calls of asynchronous environments raise


class Stepper:
    """Steps a vector environment, whatever its autoreset mode.

    Attributes
    ----------
    done : bool array, (num_envs,)
        Whose episode ended with the last step.
    filler : bool array, (num_envs,)
        Where the next step is a reset and no transition.
    action_mask : uint8 array, (num_envs, categories), or None
        0 where the next action must not be taken, of environments whose masks are used.
    """

    def __init__(
        self,
        env: GymnasiumEnv,
        *,
        squash: bool = False,
        scales: bool = False,
        wants_final: bool = False,
        all_ends: bool = False,
    ) -> None:
        require_whole_batches(env.label, env.env)
        self._owner = env
        self._env = env.env
        self._mode = env.autoreset
        self._write = env.observed.write
        acted = env.acted
        if squash or scales:
            acted = Acted(env.label, env.action_space, env.num_envs, squash=squash, scales=scales)
        self._prepare = acted.prepare
        self._wants_final, self._all_ends = wants_final, all_ends
        self.done = np.zeros(env.num_envs, np.bool_)
        self.filler = np.zeros(env.num_envs, np.bool_)
        self._any_filler = False
        self._checked = self._checked_resets = False
        # Final observations: where the environment hides them from the next row, they are kept here.
        self._final = np.empty((env.num_envs, env.observed.size), np.float32)
        self.action_mask: NDArray[np.uint8] | None = None
        self._ask: Callable[[], Any] | None = None  # for masks, where infos do not have them
        self._knows_masks = False
        if env.uses_action_mask:
            self.action_mask = np.ones((env.num_envs, env.acted.form.num_outputs), np.uint8)

    def reset(self, rows: Rows, seed: int | None = None) -> None:
        """Begin an episode everywhere; its observations go into rows (num_envs, size)."""
        options = dict(self._owner.reset_options) or None
        leave(self._env)
        obs, infos = self._reset(seed=seed, options=options)
        self._observe(obs, rows)
        self.done[:] = self.filler[:] = False
        self._any_filler = False
        self._mask_actions(infos, ~self.filler)

    def _reset(self, **arguments: Any) -> tuple[Any, Any]:
        try:
            result = self._env.reset(**arguments)
        except Exception as error:
            self._explain("reset", error)
            raise
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(
                f"{self._owner.label}: reset() must return observations and infos, got {_check.shown(result)}"
            )
        return result

    def resume(self, filler: NDArray[np.bool_], action_mask: NDArray[np.uint8] | None) -> None:
        """Go on where another stepper of this environment stood; `filler` and `action_mask` were its own."""
        if (action_mask is None) != (self.action_mask is None):
            raise ValueError(
                f"{self._owner.label}: {USE_ACTION_MASK} must be what it was in the call before, as this one "
                "goes on where that ended; or pass a seed, to begin anew"
            )
        self.filler[:] = filler
        self._any_filler = bool(filler.any())
        self.action_mask = action_mask

    def step(self, actions: NDArray[Any], rewards: Any, flags: Any, rows: Rows) -> bool:
        """Take the core's actions; return whether episodes ended or filler rows passed.

        Writes rewards (num_envs,) float64, flags (2, num_envs) bool: terminated, truncated, and the
        observations that the next actions are for.
        """
        try:
            result = self._env.step(self._prepare(actions))
        except Exception as error:
            self._explain("step", error)
            raise
        if not self._checked:
            self._check(result)
        try:
            obs, reward, terminated, truncated, infos = result
            np.copyto(rewards, reward)
            np.copyto(flags[0], terminated)
            np.copyto(flags[1], truncated)
        except (ValueError, TypeError):  # this step does not fit, where the first did
            self._check(result)
            raise
        if not self._any_filler and not np.count_nonzero(flags):
            self._observe(obs, rows)
            self._mask_actions(infos, ~self.filler)
            return False
        np.logical_or(flags[0], flags[1], out=self.done)
        if self._any_filler:
            np.logical_and(self.done, ~self.filler, out=self.done)
        any_done = bool(np.count_nonzero(self.done))
        if self._mode is AutoresetMode.NEXT_STEP:
            self.filler[:] = self.done
            self._any_filler = any_done
            self._mask_actions(infos, ~self.filler)
        elif any_done:
            cut = self.done if self._all_ends else flags[1] & self.done & ~flags[0]
            if self._wants_final and cut.any():
                self._keep_final(np.flatnonzero(cut), obs, infos)
            if self._mode is AutoresetMode.DISABLED:
                self._mask_actions(infos, ~self.done)
                obs, infos = self._reset_ended(obs)
                self._mask_actions(infos, self.done)
            else:
                self._mask_actions(infos, ~self.filler)
        self._observe(obs, rows)
        return True

    def _reset_ended(self, obs: Any) -> tuple[Any, Any]:
        """Reset the environments whose episodes a step, which showed `obs`, has ended.

        The first time look whether the reset leaves the others alone.
        """
        options = {**self._owner.reset_options, "reset_mask": self.done.copy()}
        if self._checked_resets or self.done.all():
            return self._reset(options=options)
        before, after = np.empty((2, *self._final.shape), np.float32)
        self._observe(obs, before)  # now: it may be memory that the reset writes to
        obs, infos = self._reset(options=options)
        self._observe(obs, after)
        moved = ((before != after) & ~np.isnan(before)).any(axis=1) & ~self.done
        if moved.any():
            raise ValueError(
                f"{self._owner.label} says autoreset mode DISABLED, but a reset with the option 'reset_mask' "
                f"changed the observation of environment {int(moved.argmax())}, which the mask leaves out"
            )
        self._checked_resets = True
        return obs, infos

    def _mask_actions(self, infos: Any, which: NDArray[np.bool_]) -> None:
        """Read the masks of some environments out of what a step or a reset said of them, or ask them.

        Where the first infos have no masks, environments that can be asked are, from then on.
        """
        if self.action_mask is None:
            return
        self.action_mask[self.filler] = 1  # whose next action nobody takes
        if not which.any():
            return
        if not self._knows_masks:
            self._ask = None if are_in(infos) else asking(self._env)
            self._knows_masks = True
        name = IN_INFOS
        if self._ask is not None:
            infos, name = {KEY: self._ask()}, f"{METHOD}()"
        read_masks(self._owner.label, self._owner.acted.form, infos, which, self.action_mask, name)

    def _explain(self, method: str, error: Exception) -> None:
        """Raise a sentence in the place of an error of a call, where it is none of the environment's own."""
        said: Exception | None
        if isinstance(error, LOST):
            said = self._lost(error)
        else:
            said = misfit(self._owner.label, self._env, method, error)
        if said is not None:
            raise said from error

    def _lost(self, error: Exception) -> EnvError:
        """Return what to raise where the workers of an asynchronous environment cannot be called any more."""
        if isinstance(error, AlreadyPendingCallError):
            return EnvError(
                f"{self._owner.label}: its workers are still at a call that was begun before, as after "
                "Ctrl-C, and take no other: close(terminate=True) ends them; make a new environment"
            )
        return EnvError(f"{self._owner.label}: a worker process ended, its pipe is broken ({error!r})")

    def final_rows(self, which: NDArray[np.int64], rows: Rows) -> Rows:
        """Return the final observations of episodes that the last step ended; it wrote `rows`."""
        return (rows if self._mode is AutoresetMode.NEXT_STEP else self._final)[which]

    def _observe(self, obs: Any, rows: Rows) -> None:
        try:
            self._write(obs, rows)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._owner.label} returned observations that do not fit: {error}") from error

    def _keep_final(self, which: NDArray[np.int64], obs: Any, infos: Any) -> None:
        """Keep the final observations of episodes that this step ended, before new ones hide them."""
        if self._mode is AutoresetMode.DISABLED:
            self._observe(obs, self._final)
            return
        batch = final_batch(self._owner.label, self._env.single_observation_space, infos, which)
        chosen = np.empty((len(which), self._final.shape[1]), np.float32)
        self._observe(batch, chosen)
        self._final[which] = chosen

    def _check(self, result: Any) -> None:
        """Check what a step returned: of the first one, and of those that do not fit."""
        name, count = self._owner.label, self._owner.num_envs
        if not isinstance(result, tuple) or len(result) != 5:
            raise ValueError(
                f"{name}: step() must return observations, rewards, terminated, truncated and infos, "
                f"got {_check.shown(result)}"
            )
        for what, array, kinds in (
            ("rewards", result[1], "fiu"),
            ("terminated", result[2], "b"),
            ("truncated", result[3], "b"),
        ):
            got = np.asarray(array)
            if got.shape != (count,) or got.dtype.kind not in kinds:
                kind = "bools" if kinds == "b" else "numbers"
                raise ValueError(
                    f"{name}: step() must return {what} as {kind} of shape ({count},), "
                    f"got shape {got.shape} and dtype {got.dtype}"
                )
        self._checked = True
