"""What the policy of a run earns by itself, now and then."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from fastpg import _check, files
from fastpg.batches.evaluate import evaluate
from fastpg.envs.gymnasium.opening import AnyEnv
from fastpg.errors import CheckpointError, SaveError
from fastpg.networks.policy import Policy
from fastpg.training.callbacks import Callback, TrainProgress

EVALUATIONS, BEST = "evaluations.csv", "best.safetensors"  # in the folder of a run
HEADER = "time/total_timesteps,episode,return,length\n"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Whole episodes of the policy that a run had at some moment.

    Attributes
    ----------
    num_steps : int
        Of training, before it.
    returns : float64 array, shape (E,)
        Undiscounted.
    lengths : int64 array, shape (E,)
        In steps.
    """

    num_steps: int
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]

    @property
    def mean_return(self) -> float:
        """Mean of the returns."""
        return float(self.returns.mean())


class Evaluate(Callback):
    """Plays whole episodes now and then, and keeps what they earned and the policy that earned most.

    Every evaluation has the same random numbers, none of which are the run's: a run learns the same with and
    without it. TrainProgress.metrics get "eval/mean_reward" and "eval/mean_ep_length", for callbacks that
    come later in the list. In the folder of a run, evaluations.csv has one line an episode, best.safetensors
    the policy; a run that goes on adds to them.

    Parameters
    ----------
    every : int
        Environment steps between evaluations: there is one after the first iteration that reaches a multiple
        of it, and one when the run is over.
    episodes : int
        In each evaluation, E.
    deterministic : bool
        Take the most likely action (in a Box the mean) instead of drawing one.
    seed : int
        Of the episodes.
    max_steps : int, optional
        End an episode here, as in `evaluate`.
    env : as in `train`, optional
        By default the environment of the run, made once more.
    env_params : mapping, optional
        Parameters of `env`.

    Attributes
    ----------
    evaluations : list of Evaluation
        So far.
    best : Evaluation or None
        The first of those with the largest mean return.
    best_policy : Policy or None
        A copy of the policy that it was of.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range. Before the first iteration: the environment of the
        run is a vector environment, which an evaluation would reset; `env` has to be another one.
    fastpg.CheckpointError
        The evaluations in the folder of a run that goes on are damaged.

    Examples
    --------
    >>> import fastpg
    >>> evaluation = fastpg.callbacks.Evaluate(20_000, episodes=10)
    >>> run = fastpg.train("CartPole-v1", fastpg.VPG(), total_steps=50_000, callback=evaluation)
    >>> len(evaluation.evaluations), evaluation.best.returns.shape
    (3, (10,))
    """

    evaluations: list[Evaluation]

    def __init__(
        self,
        every: int,
        episodes: int = 20,
        *,
        deterministic: bool = True,
        seed: int = 0,
        max_steps: int | None = None,
        env: AnyEnv | None = None,
        env_params: Mapping[str, Any] | None = None,
    ) -> None:
        where = "Evaluate()"
        self.every = _check.integer(where, "every", every, 1, _check.MAX_COUNT)
        self._settings: dict[str, Any] = {
            "episodes": _check.integer(where, "episodes", episodes, 1, _check.MAX_COUNT),
            "deterministic": _check.boolean(where, "deterministic", deterministic),
            "seed": _check.seed(where, seed),
            "max_steps": max_steps,
        }
        if max_steps is not None:
            _check.integer(where, "max_steps", max_steps, 1, 2**31 - 1)
        self._env, self._env_params = env, _check.mapping(where, "env_params", env_params)
        if env is None and env_params is not None:
            raise ValueError(f"{where}: env_params go with env; those of the run are taken by themselves")
        self._forget()

    def _forget(self) -> None:
        self.evaluations = []
        self.best: Evaluation | None = None
        self.best_policy: Policy | None = None
        self._warned = self._best_is_saved = False

    def on_training_start(self, progress: TrainProgress) -> None:
        """Forget another run, and remember this one where it goes on."""
        self._forget()
        if self._env is None and isinstance(progress.env, VectorEnv):
            raise ValueError(
                "Evaluate(): the run's environment is a vector environment, which an evaluation would reset "
                "in the middle of an episode; pass another one, or a function that makes one, as env"
            )
        if progress.run is not None and (progress.run / EVALUATIONS).exists():
            for one in _read(progress.run / EVALUATIONS):
                if one.num_steps <= progress.num_steps:
                    self._add(one)
            if (progress.run / BEST).exists():
                self.best_policy, self._best_is_saved = Policy.load(progress.run / BEST), True

    def __call__(self, progress: TrainProgress) -> None:
        """Play episodes with the policy as it is."""
        env, params, how = self._env, self._env_params, dict[str, Any]()
        if env is None:
            env, params = progress.env, progress.config["env_params"]
            how = {name: progress.config.get(name) for name in ("vectorization_mode", "reset_options")}
        returns, lengths = evaluate(env, progress.policy, **self._settings, **how, **params)
        evaluation = Evaluation(progress.num_steps, returns, lengths)
        if self._add(evaluation):
            self.best_policy, self._best_is_saved = progress.policy.copy(), False
        progress.metrics["eval/mean_reward"] = evaluation.mean_return
        progress.metrics["eval/mean_ep_length"] = float(lengths.mean())
        if progress.run is not None:
            self._save(progress.run)

    def _add(self, evaluation: Evaluation) -> bool:
        """Keep an evaluation; return whether it is the best one, and new."""
        if self.evaluations and self.evaluations[-1].num_steps == evaluation.num_steps:
            return False  # an exception came after it, and so callbacks are called again
        self.evaluations.append(evaluation)
        best = self.best is None or evaluation.mean_return > self.best.mean_return
        if best:
            self.best = evaluation
        return best

    def _save(self, run: Path) -> None:
        """Write the files; if that fails, say so once, and try again with the next evaluation."""
        try:
            if not self._best_is_saved and self.best_policy is not None:
                content = self.best_policy.file_content("Evaluate()")
                files.write("Evaluate()", run / BEST, content, lasting=False)
                self._best_is_saved = True
            lines = "".join(
                f"{one.num_steps},{k},{earned!r},{length}\n"
                for one in self.evaluations
                for k, (earned, length) in enumerate(
                    zip(one.returns.tolist(), one.lengths.tolist(), strict=True)
                )
            )
            files.write("Evaluate()", run / EVALUATIONS, (HEADER + lines).encode(), lasting=False)
        except SaveError as error:
            if not self._warned:
                self._warned = True
                warnings.warn(f"{error}; the run goes on, and tries again", RuntimeWarning, stacklevel=2)


def _read(path: Path) -> list[Evaluation]:
    """Return the evaluations in a file."""
    shown = f"Evaluate(): {os.fspath(path)!r}"
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        table = np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.empty((0, 4))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{shown} cannot be read: {error}") from error
    if header != HEADER or table.shape[1] != 4:
        raise CheckpointError(f"{shown} is not a file of evaluations: its columns are not {HEADER.strip()}")
    evaluations = []
    for num_steps in np.unique(table[:, 0]):
        rows = table[table[:, 0] == num_steps]
        evaluations.append(Evaluation(int(num_steps), rows[:, 2].copy(), rows[:, 3].astype(np.int64)))
    return evaluations
