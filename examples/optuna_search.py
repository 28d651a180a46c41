"""A search by Optuna: a batch of trials at a time is trained in one call, and pruned on the way.

    python examples/optuna_search.py

Trials are made by ask and tell, as `study.optimize` runs them one after the other and a single small agent
does not fill a machine. All of a batch pause together; Optuna hears how each does and says which of them to
stop. What goes on does it as if it had not paused. Every seed is fixed, so the search can be repeated.
"""

import argparse

import numpy as np
import optuna

import fastpg

ENV_ID = "CartPole-v1"
SEEDS = 3  # of each trial
TRAIN = {"num_envs": 16, "horizon": 64, "hidden": (32,), "seeds": SEEDS}


def ask(trial: optuna.Trial) -> fastpg.PPO:
    """Return the algorithm that a trial suggests."""
    return fastpg.PPO(
        learning_rate=trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True),
        gamma=1 - trial.suggest_float("1 - gamma", 1e-3, 0.3, log=True),
        epochs=trial.suggest_int("epochs", 1, 10),
        minibatches=4,
        value_hidden=(32,),
    )


def train(study: optuna.Study, size: int, total_steps: int) -> int:
    """Ask for a batch of trials, train them, and tell; return how many steps it took."""
    trials = [study.ask() for _ in range(size)]
    pauses = 0

    def prune(runs: fastpg.Runs) -> list[int]:
        nonlocal pauses
        pauses += 1
        stop = []
        for trial, members, value in zip(trials, numbers, means(runs), strict=True):
            if all(runs[k].stopped_because == "" for k in members):
                trial.report(value, pauses)
                if trial.should_prune():
                    stop += members
        return stop

    numbers = [list(range(i * SEEDS, (i + 1) * SEEDS)) for i in range(size)]
    runs = fastpg.train_many(
        ENV_ID, [ask(trial) for trial in trials], **TRAIN, total_steps=total_steps, callback=prune,
        callback_every=total_steps // 5,
    )  # fmt: skip
    for trial, members, value in zip(trials, numbers, means(runs), strict=True):
        because = {runs[k].stopped_because for k in members}
        if "error" in because:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif "callback" in because:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
    return sum(run.num_steps for run in runs)


def means(runs: fastpg.Runs) -> list[float]:
    """Return each trial's mean return over its seeds."""
    return runs.returns.reshape(-1, SEEDS).mean(axis=1).tolist()


def main(batches: int = 4, size: int = 8, total_steps: int = 50_000) -> tuple[optuna.Study, float]:
    """Return the study, and the share of the steps of a search without pruning that it took."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True),  # a batch is not all alike
        pruner=optuna.pruners.MedianPruner(n_startup_trials=size),
    )
    steps = sum(train(study, size, total_steps) for _ in range(batches))
    share = steps / (batches * size * SEEDS * total_steps)
    states = [trial.state.name for trial in study.trials]
    counts = ", ".join(
        f"{n} {name.lower()}" for name, n in zip(*np.unique(states, return_counts=True), strict=True)
    )
    print(f"{len(states)} trials: {counts}; {share:.0%} of the steps that they would take unpruned")
    print(f"best: {study.best_value:.1f} with {study.best_params}")
    return study, share


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--size", type=int, default=8, help="trials in a batch")
    parser.add_argument("--total-steps", type=int, default=50_000)
    options = parser.parse_args()
    main(options.batches, options.size, options.total_steps)
