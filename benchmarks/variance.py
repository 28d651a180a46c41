"""The variance of each form's estimate: `variance.py` writes the table of docs/policy_gradients.md.

One estimate is made of one whole episode; its variance is the trace of the covariance.
An estimate from E episodes has 1/E of it. gamma is 1: with a discount the forms would differ in the mean too.
"""

import argparse
from pathlib import Path

import numpy as np

import fastpg

DOCUMENT = Path(__file__).parent.parent / "docs" / "policy_gradients.md"
BEGIN, END = "<!-- variance.py begins -->\n", "<!-- variance.py ends -->\n"
FORMS = {  # what estimate_gradient takes; the first is what the others are compared with
    "`total`": {"form": "total"},
    "`reward_to_go`": {"form": "reward_to_go"},
}
ENVIRONMENTS = {"CartPole-v1": 150.0, "FrozenLake-v1": 0.4}  # mean return that the second policy has reached
HIDDEN = (16,)


def policies(env_id):
    """The policies that estimates are made with, by what they are."""
    yield "untrained", fastpg.Policy.for_env(env_id, hidden=HIDDEN)
    target, faster = ENVIRONMENTS[env_id], fastpg.Reinforce(learning_rate=0.02)
    run = fastpg.train(env_id, faster, hidden=HIDDEN, target_return=target, total_steps=10_000_000)
    yield "half trained", run.policy


def variance(env_id, policy, settings, episodes):
    """Return the variance of an estimate from one episode."""
    estimates = np.array(
        [
            fastpg.estimate_gradient(env_id, policy, num_envs=1, episodes=1, seed=seed, **settings).gradient
            for seed in range(episodes)
        ],
        np.float64,
    )
    return estimates.var(axis=0, ddof=1).sum()


def table(episodes):
    yield f"{episodes:,} estimates of one episode each, the same episodes for every form; one hidden layer of"
    yield f"{HIDDEN[0]} units, gamma = 1. Written by `python benchmarks/variance.py`."
    yield ""
    yield "| environment | policy | mean return | " + " | ".join(FORMS) + " |"
    yield "|---|---|---|" + "---|" * len(FORMS)
    for env_id in ENVIRONMENTS:
        for name, policy in policies(env_id):
            returns, _ = fastpg.evaluate(env_id, policy, episodes=episodes, deterministic=False)
            found = [variance(env_id, policy, settings, episodes) for settings in FORMS.values()]
            columns = [f"{one:.3g} ({one / found[0]:.2f})" for one in found]
            yield f"| {env_id} | {name} | {returns.mean():.3g} | " + " | ".join(columns) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=4000)
    lines = "\n".join(table(parser.parse_args().episodes))
    print(lines)
    before, rest = DOCUMENT.read_text().split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}{lines}\n{END}{after}")


if __name__ == "__main__":
    main()
