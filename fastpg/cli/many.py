"""`fastpg train --seeds` and `fastpg sweep`: many agents in one call, and a table of them."""

import functools
import inspect
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastpg.cli.environments import env_params, environment, environment_name, file_stem, remembered
from fastpg.cli.given import OF_A_NEW_POLICY, networks_given
from fastpg.cli.says import fail
from fastpg.cli.sweep import parse_grid
from fastpg.cli.watching import are_asked_for, callbacks
from fastpg.envs.gymnasium.registered import reward_threshold
from fastpg.errors import SaveError
from fastpg.training.halving import halving
from fastpg.training.many import train_many
from fastpg.training.rungs import Rungs
from fastpg.training.runs import Runs, run_places
from fastpg.training.search import grid


def train_seeds(options: Any) -> int:
    """Do `fastpg train --seeds`."""
    for name in ("checkpoint", "overwrite"):
        if getattr(options, name) not in (None, False):
            raise ValueError(f"--{name} goes with one run; with --seeds, --run is a folder for all of them")
    threshold = reward_threshold("train()", environment(options.env_id))
    target = threshold if options.target_return is None else options.target_return
    return _many(options, getattr(options, options.algorithm), target)


def sweep(options: Any) -> int:
    """Do `fastpg sweep`."""
    base = getattr(options, options.algorithm)
    values = parse_grid(base, options.grid)
    shapes = [name for name in (*OF_A_NEW_POLICY, "value_hidden") if name in values]
    if options.from_ is not None and shapes:
        raise ValueError(f"--grid: {shapes[0]} is of new networks, and --from has them already")
    if options.keep is not None and not options.halving:
        raise ValueError("--keep goes with --halving")
    train: Callable[..., Runs] = train_many
    if options.halving:
        train = halving if options.keep is None else functools.partial(halving, keep=options.keep)
    return _many(options, grid(base, **values), options.target_return, train)


def _many(
    options: Any, algorithms: Any, target_return: float | None, train: Callable[..., Runs] = train_many
) -> int:
    """Train, save and compare many agents."""
    env_id = environment(options.env_id)
    if options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {options.seeds}")
    taken = inspect.signature(train_many).parameters.keys() - {"env_id", "callback_every"}
    settings = {name: getattr(options, name) for name in taken if hasattr(options, name)}
    settings |= {"target_return": target_return, "seeds": range(options.seed, options.seed + options.seeds)}
    settings["env_params"] = options.env_params | env_params(options.env)
    settings["reset_options"] = options.reset_options or None
    settings |= networks_given(options)
    path = options.run or Path(f"{file_stem(env_id)}-runs")
    goes_on = getattr(options, "halving", False) and Rungs.is_unfinished("halving()", path)
    if path.is_dir() and any(path.iterdir()) and not goes_on:
        raise ValueError(f"{str(path)!r} holds something; pass --run with the name of a new folder")
    if are_asked_for(options):
        count = options.seeds * (len(algorithms) if isinstance(algorithms, list) else 1)
        boards = run_places(Path(options.tensorboard), count) if options.tensorboard else [None] * count
        settings["callbacks_of"] = lambda k: callbacks(options, path, boards[k])
    code, start = 0, time.perf_counter()
    try:
        with remembered(options.env_id, env_id):
            runs = train(env_id, algorithms, **settings, progress=True, save=path)
    except SaveError as error:
        if error.result is None:
            raise
        runs, path = error.result, Path(tempfile.mkdtemp(prefix="fastpg-"))
        runs.save(path)
        code = fail(f"{error}; saved to {path} instead", 1)
    except BaseException as error:
        if any(run.stopped_because != "interrupted" for run in getattr(error, "runs", ())):
            print(error.runs)  # type: ignore[attr-defined]
        raise
    seconds, num_steps = time.perf_counter() - start, sum(run.num_steps for run in runs)
    rate = num_steps / seconds
    took = f"{num_steps:,} steps in {seconds:.2f} s, {rate:,.0f} steps/s"
    print(f"{environment_name(env_id)}: {len(runs)} runs, {took}")
    print(runs)
    print(
        "mean_return: of the last 100 episodes; interquartile mean over the runs, 95 % interval low to high"
    )
    if getattr(options, "halving", False):
        print(f"best: setting {runs.ranking[0]}")
    print(f"runs: {path}")
    return code or int(all(run.error is not None for run in runs))
