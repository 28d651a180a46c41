"""Ray Tune looks for settings, and stops those that fall behind: `python examples/ray_tune.py [trials]`.

Each trial is a run of fastpg on one thread, so as many go on at a time as there are CPUs. Where no scheduler
is wanted, `fastpg.ray.train_many` needs one line instead.
"""

import sys

import ray
from ray import tune

import fastpg

ENV, STEPS = "CartPole-v1", 100_000


def trial(config):
    fastpg.set_num_threads(1)
    algorithm = fastpg.PPO(**config, epochs=4, minibatches=4)

    def report(progress):
        if progress.num_iterations % 10 == 0:
            tune.report({"steps": progress.num_steps, "mean_return": progress.mean_return})

    fastpg.train(
        ENV,
        algorithm,
        num_envs=8,
        horizon=128,
        hidden=(32,),
        total_steps=STEPS,
        callback=report,
        callback_every="iteration",
    )


def main(num_trials: int = 12) -> tuple[float, dict[str, float]]:
    """Print and return the best mean return and its settings."""
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={"learning_rate": tune.loguniform(1e-5, 1e-2), "gamma": tune.choice([0.9, 0.98, 0.99])},
        tune_config=tune.TuneConfig(
            metric="mean_return",
            mode="max",
            num_samples=num_trials,
            scheduler=tune.schedulers.ASHAScheduler(time_attr="steps", max_t=STEPS, grace_period=10_000),
        ),
    )
    best = tuner.fit().get_best_result()
    print(f"mean return {best.metrics['mean_return']:.0f} with {best.config}")
    return best.metrics["mean_return"], best.config


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
