"""Steps of a Gymnasium environment with a compiled policy, recorded as time-major arrays."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.batches.episodes import LONG_EPISODE, episode_sums, still_waiting
from fastpg.distributed.ranks import Ranks
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.stepper import Stepper
from fastpg.errors import without_place

Bools = NDArray[np.bool_]
FIRST_ROWS = 128  # of the arrays, where only the episodes will tell how many it takes
TRAINING, EVALUATION, RESUMED = 0, 1, 2  # what random numbers are for


def seeds_for(seed: int, *purpose: int) -> tuple[int, int]:
    """Return the seed of an environment's first reset, below 2^31, and that of the actions' draws.

    Gymnasium seeds environment i with the first number plus i. It is drawn from `seed`, rather than being
    `seed`, so that runs with neighbouring seeds share no environment, and evaluations none with training.
    """
    words = np.random.SeedSequence([seed, *purpose]).generate_state(2, np.uint64)
    return int(words[0] >> np.uint64(33)), int(words[1])


class Rows(NamedTuple):
    """What a policy saw and did in T steps of N environments, in the core's form: what `_core.Batch` takes.

    Arrays are the collector's until it goes on.
    """

    obs: NDArray[np.float32]  # (T, N, obs_size)
    actions: NDArray[Any]  # flat (T * N * action_size,), as they were drawn
    rewards: NDArray[np.float32]  # (T, N), like the next three
    terminated: NDArray[np.uint8]
    truncated: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None  # 0 where a row is a reset, or its environment has played its quota
    last_obs: NDArray[np.float32]  # (N, obs_size), what follows the last step
    final_rows: NDArray[np.int64]  # (K, 2): (t, n) of episodes that were truncated, if these were asked for
    final_obs: NDArray[np.float32]  # (K, obs_size)
    first_age: NDArray[np.int32]  # (N,): steps of the episodes under way when the first row began
    episode_returns: NDArray[np.float64]  # (E,): of the episodes that finished, environment by environment
    episode_lengths: NDArray[np.int64]  # (E,)
    entropy: float  # mean over the rows that count, in nats
    by_episode: bool  # whole episodes were collected, else a horizon
    action_mask: NDArray[np.uint8] | None  # (T, N, num_outputs): 0 where an action was not allowed

    def of(self, network: _core.Network) -> _core.Batch:
        """Return the core's batch of these arrays."""
        return _core.Batch(network, **self._asdict())


class Part(NamedTuple):
    """What neighbouring environments have seen and done, as in `Rows`, in T steps."""

    obs: NDArray[np.float32]
    actions: NDArray[Any]  # (T, N * action_size)
    entropy: NDArray[np.float32]  # (T, N), like the next four
    rewards: NDArray[np.float32]
    terminated: Bools
    truncated: Bools
    valid: Bools
    last_obs: NDArray[np.float32]
    final_rows: NDArray[np.int64]
    final_obs: NDArray[np.float32]
    first_age: NDArray[np.int32]
    episode_returns: NDArray[np.float64]
    episode_lengths: NDArray[np.int64]
    action_mask: NDArray[np.uint8] | None

    def rows(self, by_episode: bool) -> Rows:
        """Return them in the core's form."""
        valid = self.valid
        total = float(np.where(valid, self.entropy, 0.0).sum(dtype=np.float64))
        return Rows(
            obs=self.obs,
            actions=self.actions.reshape(-1),
            rewards=self.rewards,
            terminated=self.terminated.view(np.uint8),
            truncated=self.truncated.view(np.uint8),
            mask=None if valid.all() else valid.view(np.uint8),
            last_obs=self.last_obs,
            final_rows=self.final_rows,
            final_obs=self.final_obs,
            first_age=self.first_age,
            episode_returns=self.episode_returns,
            episode_lengths=self.episode_lengths,
            entropy=total / max(int(np.count_nonzero(valid)), 1),
            by_episode=by_episode,
            action_mask=self.action_mask,
        )


BY_STEP = ("obs", "actions", "entropy", "rewards", "terminated", "truncated", "valid", "action_mask")


def joined(parts: list[Part]) -> Part:
    """Return the parts of neighbours, in their order, as one."""
    whole: dict[str, Any] = {}
    for name in Part._fields:
        arrays = [getattr(part, name) for part in parts]
        whole[name] = None if arrays[0] is None else np.concatenate(arrays, axis=int(name in BY_STEP))
    by_step = np.argsort(whole["final_rows"][:, 0], kind="stable")
    whole |= {name: whole[name][by_step] for name in ("final_rows", "final_obs")}
    return Part(**whole)


class UnderWay(NamedTuple):
    """Where the environments of a collector stand between two batches."""

    last: NDArray[np.float32]  # (N, obs_size): what they showed
    age: NDArray[np.int64]  # (N,): steps of the episodes under way
    earned: NDArray[np.float64]  # (N,): and their rewards
    filler: Bools  # (N,): whose next step is a reset
    action_mask: NDArray[np.uint8] | None  # (N, num_outputs): of what they showed
    action_seed: int
    draws: int


class Collector:
    """Plays a Gymnasium environment; arrays are kept, and written anew, from batch to batch.

    The action of environment i at the k-th step since the collector was made is drawn with the counter
    (i, k) and a key that depends on `seed` only. With `ranks`, each plays its own environments, which are
    numbered through, and gets the rows of all: as many steps, whichever episodes end first.
    """

    ranks: Ranks | None = None

    def __init__(
        self,
        env: GymnasiumEnv,
        network: _core.Network,
        seed: int,
        *,
        wants_final: bool = False,
        all_ends: bool = False,
    ) -> None:
        self.env = env
        self._network = network
        self._reset_seed: int | None
        self._reset_seed, self._action_seed = seeds_for(seed, TRAINING)
        self._draws = 0
        self._stepper = Stepper(
            env, squash=network.squashed, scales=network.scales_actions,
            wants_final=wants_final, all_ends=all_ends,
        )  # fmt: skip
        self._wants_final, self._all_ends = wants_final, all_ends
        self._fresh = True  # what is under way cannot be continued
        self._age = np.zeros(env.num_envs, np.int64)  # steps of the episodes under way, and their rewards
        self._earned = np.zeros(env.num_envs)
        self._last = np.empty((env.num_envs, env.observed.size), np.float32)  # where the last batch ended
        self._masks: NDArray[np.uint8] | None = None  # (capacity, N, num_outputs), where actions have one
        self._capacity = 0
        self._arrays: tuple[NDArray[Any], ...] = ()
        self._rows: list[tuple[Any, ...]] = []

    def collect(self, theta: NDArray[np.float32], *, horizon: int = 0, episodes: int = 0) -> Rows:
        """Take `horizon` steps of every environment, continuing its episode; or play `episodes` whole ones.

        Of `episodes`, every environment plays a quota that is fixed beforehand and is ignored from then on:
        which episodes count does not depend on how long they are. They begin with a reset of all.

        Raises
        ------
        FloatingPointError
            An observation or a reward is not finite, or the policy's output is not.
        EnvError
            An episode does not end.
        """
        stepper, count, first = self._stepper, self.env.num_envs, self.env.first_env
        by_episode = episodes > 0
        self._reserve(horizon or FIRST_ROWS)
        if self._fresh or by_episode:
            stepper.reset(self._last, None if self._reset_seed is None else self._reset_seed + first)
            self._reset_seed = None
            self._age[:] = 0
            self._earned[:] = 0
        self._fresh = True  # until this batch is whole
        np.copyto(self._arrays[0][0], self._last)
        left = np.full(count, np.iinfo(np.int64).max)
        if by_episode:
            left = _core.episode_quota(episodes, self.env.all_envs)[first : first + count]
        counting = left > 0
        live = counting & ~stepper.filler
        if horizon == 1 and not self._anywhere(
            live
        ):  # the row after a reset of all has the first transitions
            horizon = 2
        finals: list[tuple[int, NDArray[np.int64], NDArray[np.float32]]] = []
        begun = np.zeros(count, np.int64)  # at which step the episodes under way did, where all begin here
        steps, t = horizon, 0
        while True:
            if t >= steps and not (by_episode and counting.any()):
                if not by_episode or self.ranks is None or steps > 0:
                    break
                steps = max(self.ranks.exchange(t))  # of the rank whose episodes take longest
                continue
            if by_episode and t > 0 and t % LONG_EPISODE == 0 and counting.any():
                still_waiting(self.env.label, t - int(begun[counting].min()))
            if t == self._capacity:
                self._reserve(2 * t)
            obs, next_obs, action, entropy, reward, flags, valid = self._rows[t]
            np.copyto(valid, live)
            mask = stepper.action_mask
            if self._masks is not None and mask is not None:
                np.copyto(self._masks[t], mask)
            try:
                self._act(theta, obs, mask, action, entropy)
            except FloatingPointError as error:
                self._check_obs(t, 1)
                raise FloatingPointError(without_place(error)) from error
            self._draws += 1
            if stepper.step(action, reward, flags, next_obs):
                ended = stepper.done & counting
                cut = ended if self._all_ends else ended & flags[1] & ~flags[0]
                if self._wants_final and cut.any():
                    which = np.flatnonzero(cut)
                    rows = stepper.final_rows(which, next_obs)
                    self._check_finals(t, which, rows)
                    finals.append((t, which, rows))
                left[ended] -= 1
                begun[ended] = t + 1
                counting = left > 0
                live = counting & ~stepper.filler
            t += 1
        collected = self._cut(t, finals, by_episode)
        self._fresh = False
        return collected

    def _act(
        self,
        theta: NDArray[np.float32],
        obs: NDArray[np.float32],
        mask: NDArray[np.uint8] | None,
        action: Any,
        entropy: NDArray[np.float32],
    ) -> None:
        """Draw the actions of a step, flat (N * action_size,), and say the entropy of each row's policy."""
        _core.act(
            self._network, theta, obs, self._action_seed, self._draws, False, action, entropy, mask,
            self.env.first_env,
        )  # fmt: skip

    def _anywhere(self, live: Bools) -> bool:
        """Return whether there is a transition in the next row, of whichever rank."""
        here = bool(live.any())
        return here if self.ranks is None else any(self.ranks.exchange(here))

    @property
    def draws(self) -> int:
        """Actions that were drawn of each environment."""
        return self._draws

    def begin_anew(self, seed: int, draws: int) -> None:
        """Go on with the draws after so many, in environments that begin anew: other episodes than before."""
        self._draws, self._fresh = draws, True
        self._reset_seed, _ = seeds_for(seed, RESUMED, draws)

    def begin_again(self, where: UnderWay) -> None:
        """Go on with the draws of an earlier collector, whose environments stand elsewhere by now."""
        self.begin_anew(where.action_seed, where.draws)
        self._action_seed = where.action_seed

    def under_way(self) -> UnderWay:
        """Return where the environments stand, for another collector of theirs."""
        return UnderWay(
            self._last.copy(), self._age.copy(), self._earned.copy(), self._stepper.filler.copy(),
            None if self._stepper.action_mask is None else self._stepper.action_mask.copy(),
            self._action_seed, self._draws,
        )  # fmt: skip

    def resume(self, where: UnderWay) -> None:
        """Go on where an earlier collector of these environments stood."""
        self._last[:], self._age[:], self._earned[:] = where.last, where.age, where.earned
        self._stepper.resume(where.filler, where.action_mask)
        self._action_seed, self._draws = where.action_seed, where.draws
        self._reset_seed, self._fresh = None, False

    def _reserve(self, steps: int) -> None:
        """Make room for so many steps, keeping what is there."""
        if steps <= self._capacity:
            return
        count, size = self.env.num_envs, self.env.acted.size
        shapes: tuple[tuple[tuple[int, ...], Any], ...] = (
            ((steps + 1, count, self.env.observed.size), np.float32),
            ((steps, count * size), self.env.acted.dtype),
            ((steps, count), np.float32),
            ((steps, count), np.float64),
            ((steps, 2, count), np.bool_),
            ((steps, count), np.bool_),
        )
        grown = tuple(np.zeros(shape, dtype) for shape, dtype in shapes)
        for old, new in zip(self._arrays, grown, strict=False):
            new[: len(old)] = old
        if self.env.uses_action_mask:
            masks = np.ones((steps, count, self._network.num_outputs), np.uint8)
            if self._masks is not None:
                masks[: len(self._masks)] = self._masks
            self._masks = masks
        self._arrays, self._capacity = grown, steps
        obs, *others = grown
        self._rows = list(zip(obs[:-1], obs[1:], *others, strict=True))

    def _cut(
        self, steps: int, finals: list[tuple[int, NDArray[np.int64], NDArray[np.float32]]], by_episode: bool
    ) -> Rows:
        """Return the first `steps` rows, checked to be finite."""
        obs, actions, entropy, rewards, flags, valid = self._arrays
        np.copyto(self._last, obs[steps])
        self._check_obs(0, steps + 1)
        valid, rewards = valid[:steps], rewards[:steps]
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite there
            rewards32 = np.where(valid, rewards, 0.0).astype(np.float32)
        if not np.isfinite(rewards32).all():
            t, n = np.argwhere(~np.isfinite(rewards32))[0]
            raise FloatingPointError(
                f"{self.env.id} returned the reward {rewards[t, n]} "
                f"(environment {self.env.first_env + n}, step {t} of the batch)"
            )
        done = flags[:steps].any(axis=1) & valid
        first_age = self._age.astype(np.int32)
        returns, self._earned = episode_sums(rewards, valid, done, self._earned)
        lengths, ages = episode_sums(valid.astype(np.float64), valid, done, self._age.astype(np.float64))
        self._age = ages.astype(np.int64)
        which = [np.column_stack([np.full(len(envs), t), envs + self.env.first_env]) for t, envs, _ in finals]
        part = Part(
            obs=obs[:steps],
            actions=actions[:steps],
            entropy=entropy[:steps],
            rewards=rewards32,
            terminated=np.ascontiguousarray(flags[:steps, 0]),
            truncated=np.ascontiguousarray(flags[:steps, 1]),
            valid=valid,
            last_obs=self._last,
            final_rows=np.concatenate(which).astype(np.int64) if which else np.empty((0, 2), np.int64),
            final_obs=np.concatenate([rows for _, _, rows in finals])
            if finals
            else np.empty((0, obs.shape[2]), np.float32),
            first_age=first_age,
            episode_returns=returns,
            episode_lengths=lengths.astype(np.int64),
            action_mask=None if self._masks is None else self._masks[:steps],
        )
        return (part if self.ranks is None else joined(self.ranks.exchange(part))).rows(by_episode)

    def _check_finals(self, t: int, which: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Require that the final observations of environments `which` are finite."""
        if not np.isfinite(rows).all():
            k, component = np.argwhere(~np.isfinite(rows))[0]
            raise FloatingPointError(
                f"{self.env.id} returned a final observation with the entry {rows[k, component]} "
                f"(environment {self.env.first_env + which[k]}, step {t} of the batch, component {component})"
            )

    def _check_obs(self, begin: int, steps: int) -> None:
        """Require that the observations that actions were drawn for are finite."""
        obs = self._arrays[0][begin : begin + steps]
        if not np.isfinite(obs).all():
            t, n, k = np.argwhere(~np.isfinite(obs))[0]
            raise FloatingPointError(
                f"{self.env.id} returned an observation with the entry {obs[t, n, k]} "
                f"(environment {self.env.first_env + n}, step {begin + t} of the batch, component {k})"
            )
