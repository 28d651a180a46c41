"""Land on the moon: an environment of Gymnasium's that is not native, trained by the compiled learner.

    pip install swig && pip install "gymnasium[box2d]"
    python examples/gymnasium_lunar_lander.py [--total-steps 500000] [--env-id LunarLander-v3]

Python steps Box2D; acting, advantages, gradients and optimizers are compiled. Without Box2D it says so,
and stops.
"""

import argparse

import fastpg


def main() -> None:
    """Train, and show what the policy earned before and after."""
    parser = argparse.ArgumentParser(description="Train a policy in an environment of Gymnasium's.")
    parser.add_argument("--env-id", default="LunarLander-v3", help="any id that Gymnasium knows")
    parser.add_argument("--total-steps", type=int, default=500_000)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--vectorization-mode", choices=["sync", "async"], help="async: a process for each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    how = {"vectorization_mode": options.vectorization_mode}

    try:
        before = fastpg.Policy.for_env(options.env_id, seed=options.seed)
    except ImportError as error:  # Gymnasium says what to install
        print(f"skipped: {error}")
        return

    def play(policy: fastpg.Policy) -> str:
        returns, lengths = fastpg.evaluate(
            options.env_id, policy, episodes=32, deterministic=False, seed=options.seed, **how
        )
        return f"return {returns.mean():7.1f} +- {returns.std():.1f}, {lengths.mean():.0f} steps an episode"

    print(f"before: {play(before)}")
    run = fastpg.train(
        options.env_id,
        fastpg.VPG(gamma=0.99, lam=0.97, learning_rate=3e-3, entropy_coef=0.01, normalize_observations=True),
        policy=before,
        num_envs=options.num_envs,
        horizon=256,  # steps of every environment in an iteration; episodes go on in the next
        total_steps=options.total_steps,
        target_return=200.0,
        seed=options.seed,
        progress=True,
        **how,
    )
    print(f"after:  {play(run.policy)}")
    print(f"{run.num_steps:,} steps in {run.seconds:.1f} s; stopped by {run.stopped_because}")


if __name__ == "__main__":
    main()
