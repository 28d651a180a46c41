"""Taxi without the masks that its infos have, and with them: they leave out moves into walls, say."""

import sys

import fastpg


def main(total_steps: int = 100_000) -> tuple[float, float]:
    """Train both ways; print and return the mean return of each over the last tenth of the iterations."""
    means = []
    for use_action_mask in (False, True):
        run = fastpg.train(
            "Taxi-v4", fastpg.PPO(), hidden=(32,), total_steps=total_steps,
            env_params={"use_action_mask": use_action_mask},
        )  # fmt: skip
        returns = run.history["mean_return"]
        means.append(float(returns[-(len(returns) // 10 + 1) :].mean()))
    print(f"mean return after {total_steps:,} steps: {means[0]:.1f} without masks, {means[1]:.1f} with them")
    return means[0], means[1]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
