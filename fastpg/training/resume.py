"""Going on with a run where its newest checkpoint stands."""

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gymnasium.vector import AsyncVectorEnv

from fastpg import _check, files
from fastpg.distributed.communicator import Communicator
from fastpg.distributed.ranks import Ranks, together
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.opening import AnyEnv, opened
from fastpg.envs.native.registry import NativeEnv
from fastpg.errors import CheckpointError
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.agent import check_state
from fastpg.training.begin import COLLECTIONS, facts_of
from fastpg.training.callbacks import AnyCallback, Callbacks
from fastpg.training.fingerprint import fingerprint
from fastpg.training.loop import Loop
from fastpg.training.result import TrainResult
from fastpg.training.run_folder import MAX_KEPT, POLICY, VALUE, Interval, RunFolder
from fastpg.training.settings import GIVEN, algorithm_of, check_machine, env_params_of, given_of, run_config
from fastpg.training.trainer import make_trainer


def resume(
    run: str | os.PathLike[str],
    *,
    env: AnyEnv | None = None,
    total_steps: int | None = None,
    stretch_schedule: bool = False,
    target_return: float | None = None,
    checkpoint_every: int | str | None = None,
    keep_checkpoints: int | None = None,
    callback: AnyCallback | Sequence[AnyCallback] | None = None,
    callback_every: Literal["slice", "iteration"] = "slice",
    progress: bool = False,
    communicator: Communicator | None = None,
) -> TrainResult:
    """Go on with a run that has a folder, from its newest checkpoint.

    Parameters, moments, environments, random numbers, counters and metrics are those of the run, to the last
    bit, as if it had never stopped: whatever killed it, on any number of threads, and in a copy of the
    folder. A run that has ended is returned as it is, unless it gets more steps.

    Parameters
    ----------
    run : path
        The folder that `train(..., run=...)` made.
    env : as in `train`, optional
        The environment, where the folder cannot name it: one that jit_env or load_env made, a FiniteMDP, a
        VectorEnv, a function, an id that names a module. It has to be the one of before.
    total_steps : int, optional
        Where the run ends now; by default where it was to end.
    stretch_schedule : bool
        Of a run with `linear_schedule` or `linear_clip_range` that is to end elsewhere: what falls to 0 does
        it at the new `total_steps`, on the line from the run's beginning to there, and so jumps up where the
        run goes on. Without it such a run cannot change its end.
    target_return : float, optional
        In place of the run's; inf is never.
    checkpoint_every, keep_checkpoints : optional
        As in `train`, in place of the run's.
    callback, callback_every, progress
        As in `train`. Folders do not remember callbacks, but what they have to remember: one of the same
        class is given what `Callback.state_dict` has returned, so that `EarlyStopping` ends the run where it
        would have. A callback that had stopped the run is asked again before the first iteration.
    communicator : Communicator, optional
        As in `train`: the run goes on with as many processes as there are now, of which the first one reads
        the folder.

    Returns
    -------
    TrainResult
        Of the whole run, from its first iteration on.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; another process is at work in the folder.
    fastpg.CheckpointError
        The folder is damaged, or the run cannot be the same here: another instruction set is in use, or the
        environment has changed.
    ImportError, FloatingPointError, fastpg.SaveError, fastpg.RankError, KeyboardInterrupt
        As in `train`.

    Warns
    -----
    RuntimeWarning
        The environments are Gymnasium's, which cannot be saved: the agent goes on, in environments that begin
        anew. The run was begun with another version of fastpg.

    Examples
    --------
    >>> import tempfile
    >>> import fastpg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     half = fastpg.train("CartPole-v1", run=f"{folder}/cartpole", total_steps=10_000)
    ...     whole = fastpg.resume(f"{folder}/cartpole", total_steps=20_000)
    >>> at_once = fastpg.train("CartPole-v1", total_steps=20_000)
    >>> bool((whole.policy.theta == at_once.policy.theta).all())
    True
    """
    where = "resume()"
    path = files.output_folder(where, "run", run)
    callbacks = Callbacks(where, callback, callback_every)
    show = _check.boolean(where, "progress", progress)
    stretch = _check.boolean(where, "stretch_schedule", stretch_schedule)
    changed: dict[str, Any] = {}
    if total_steps is not None:
        changed["total_steps"] = _check.integer(where, "total_steps", total_steps, 1, _check.MAX_COUNT)
    if target_return is not None:
        changed["target_return"] = _check.real(where, "target_return", target_return, "[-inf, inf]")
    if checkpoint_every is not None:
        changed["checkpoint_every"] = Interval(where, checkpoint_every).text
    if keep_checkpoints is not None:
        changed["keep_checkpoints"] = _check.integer(where, "keep_checkpoints", keep_checkpoints, 1, MAX_KEPT)
    with together(where, communicator) as ranks, contextlib.ExitStack() as stack:
        folder = None
        if ranks is None or ranks.leads:
            folder = stack.enter_context(RunFolder.reopen(where, path))
        settings = _of_first(ranks, None if folder is None else folder.settings)
        check_machine(where, settings)
        if changed.get("total_steps", settings["total_steps"]) != settings["total_steps"]:
            changed |= _stretched(where, settings, changed["total_steps"], stretch=stretch)
        env_id = settings["env_id"] if env is None else env
        if env is None and not settings["environment"]["by_id"]:
            raise ValueError(
                f"{where}: the run was in {env_id!r}, which a folder cannot make again: pass it as env"
            )
        is_gymnasium = settings["environment"]["kind"] == "gymnasium"
        with opened(
            where, env_id, env_params_of(settings), num_envs=settings["num_envs"],
            vectorization_mode=settings.get("vectorization_mode"),
            reset_options=settings["reset_options"] if is_gymnasium else None, ranks=ranks,
            argument="env",
        ) as environment:  # fmt: skip
            if isinstance(environment, GymnasiumEnv) and settings["env_id"] == AsyncVectorEnv.__name__:
                environment.id = settings["env_id"]  # so older runs call what a function makes
            if fingerprint(where, env_id, environment) != settings["environment"]["fingerprint"]:
                raise CheckpointError(
                    f"{where}: the environment {environment.id} is not the one that the run was begun in: "
                    "its functions, tables, parameters or spaces have changed"
                )
            if folder is not None:
                folder.change(where, changed)
            loop = _restored(where, path, folder, settings | changed, environment, ranks, callbacks)
            if ranks is not None:
                ranks.require_same(facts_of(where, env_id, environment, loop.trainer.agent, loop.config))
            loop.env, loop.show = env_id, show
            return loop.run()


def _stretched(where: str, settings: Mapping[str, Any], total_steps: int, *, stretch: bool) -> dict[str, Any]:
    """Return what settings say of another end where the number of steps has decided on every one of them."""
    linear = [name for name in ("linear_schedule", "linear_clip_range") if settings["algorithm"].get(name)]
    if not linear:
        return {}
    before = settings["total_steps"]
    if not stretch:
        raise ValueError(
            f"{where}: the run has {linear[0]}, whose line falls to 0 at {before:,} steps. With "
            f"stretch_schedule=True it falls to 0 at {total_steps:,}, and jumps up where the run goes on. Or "
            "begin a new run with what was learnt: fastpg train --from FOLDER, or "
            "train(policy=Policy.load(FOLDER), value=ValueFunction.load(FOLDER))"
        )
    return {"stretched_from": [*settings.get("stretched_from", []), before]}


def _of_first(ranks: Ranks | None, thing: Any) -> Any:
    """Return what rank 0 has read."""
    return thing if ranks is None else ranks.from_first(thing)


def _read(where: str, folder: RunFolder) -> tuple[Any, ...]:
    """Return what a folder holds: the networks as they were begun with, and the newest checkpoint."""
    if not (folder.path / POLICY).is_file():
        raise CheckpointError(
            f"{where}: {str(folder.path)!r} lacks {POLICY}, which says what network its checkpoints are of"
        )
    policy = Policy.load(folder.path / POLICY)
    value = ValueFunction.load(folder.path / VALUE) if (folder.path / VALUE).exists() else None
    return policy, value, *folder.restore(where)


def _restored(
    where: str,
    path: Path,
    folder: RunFolder | None,
    settings: Mapping[str, Any],
    env: NativeEnv | GymnasiumEnv,
    ranks: Ranks | None,
    callbacks: Callbacks,
) -> Loop:
    """Return a loop that stands where the newest checkpoint does; of ranks, the first has the folder."""
    algorithm = algorithm_of(where, settings)
    policy, value, state, facts, records = _of_first(ranks, None if folder is None else _read(where, folder))
    policy.check_fits(where, env)
    names = ("num_envs", *COLLECTIONS, "total_steps", "seed")
    config = run_config(
        env, algorithm, policy, value, env_params_of(settings), **{name: settings[name] for name in names},
        target_return=settings.get("target_return"),
    )  # fmt: skip
    if isinstance(env, GymnasiumEnv):
        config |= {
            "vectorization_mode": settings.get("vectorization_mode"),
            "reset_options": env.reset_options,
        }
    config |= given_of({name: settings[name] for name in GIVEN})
    untrained = {  # before there were these entries, networks that were given counted as trained
        f"{name}_untrained": settings.get(f"{name}_untrained", not settings[f"{name}_given"])
        for name in ("policy", "value")
    }
    trainer = make_trainer(env, algorithm, policy, value, config, **untrained)
    loop = Loop(where, trainer, policy, value, config, ranks)
    try:
        check_state(where, state, trainer.agent.state(), trainer.state())
        trainer.set_state(state)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{where}: the checkpoint of {str(path)!r} is not of this run: {error}"
        ) from error
    policy.written()
    if value is not None:
        value.written()
    loop.folder, loop.seconds = folder, facts["seconds"]
    loop.records = [records]
    callbacks.go_on(facts.get("callbacks", []))  # older checkpoints have nothing of them
    loop.callbacks = callbacks
    if folder is not None and isinstance(env, GymnasiumEnv) and not trainer.agent.stopped_because:
        warnings.warn(
            f"{where}: Gymnasium's environments cannot be saved: the agent of {str(folder.path)!r} goes on "
            "as it was, its environments begin anew",
            RuntimeWarning,
            stacklevel=3,
        )
    return loop
