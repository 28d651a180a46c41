"""The variance of each form's estimate: `variance.py` writes the tables of docs/policy_gradients.md.

One estimate is made of 64 whole episodes, the same ones for every form (diagnostics.compare_forms). gamma
is 1. V is fitted to the policy that is asked about, which stays as it is (diagnostics.fit_value).
"""

import argparse
from pathlib import Path

import fastpg
from fastpg.diagnostics import FORMS, compare_forms, fit_value

DOCUMENT = Path(__file__).parent.parent / "docs" / "policy_gradients.md"
BEGIN, END = "<!-- variance.py begins -->\n", "<!-- variance.py ends -->\n"
ENVIRONMENTS = {"CartPole-v1": 150.0, "FrozenLake-v1": 0.4}  # mean return that the second policy has reached
HIDDEN = (16,)


def policies(env_id):
    """The policies that estimates are made with, by what they are."""
    yield "untrained", fastpg.Policy.for_env(env_id, hidden=HIDDEN)
    target, faster = ENVIRONMENTS[env_id], fastpg.Reinforce(learning_rate=0.02)
    run = fastpg.train(env_id, faster, hidden=HIDDEN, target_return=target, total_steps=10_000_000)
    yield "half trained", run.policy


def comparisons(batches):
    """Every environment's comparisons, by the heading of their column."""
    for env_id in ENVIRONMENTS:
        for name, policy in policies(env_id):
            compared = compare_forms(env_id, policy, value=fit_value(env_id, policy), batches=batches)
            yield f"{env_id}, {name}", compared


def table(batches):
    found = dict(comparisons(batches))
    one = next(iter(found.values()))
    yield f"{batches:,} estimates of {one.episodes} episodes each; one hidden layer of {HIDDEN[0]} units,"
    yield "gamma = 1, lam = 0.95, n_step = 5. Written by `python benchmarks/variance.py`."

    def variance(record):
        return f"{record.variance:.3g} ({record.relative_variance:.3g})"

    def direction(record):
        return f"{record.signal_to_noise:.3g}; {record.cosine:.3f}"

    columns = {
        "variance (ratio to `total`)": variance,
        "signal-to-noise ratio; cosine to the reference": direction,
    }
    for title, shown in columns.items():
        yield ""
        yield f"| {title} | " + " | ".join(found) + " |"
        yield "|---|" + "---|" * len(found)
        for form in FORMS:
            yield f"| `{form}` | " + " | ".join(shown(compared[form]) for compared in found.values()) + " |"
        if shown is variance:
            returns = (f"{compared.mean_return:.3g}" for compared in found.values())
            yield "| mean return | " + " | ".join(returns) + " |"
        else:
            yield "| reference | " + " | ".join(compared.reference for compared in found.values()) + " |"
            errors = (f"{compared.mean_score_standard_errors:+.1f}" for compared in found.values())
            yield "| mean score, standard errors from 0 | " + " | ".join(errors) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=400)
    lines = "\n".join(table(parser.parse_args().batches))
    print(lines)
    before, rest = DOCUMENT.read_text().split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}{lines}\n{END}{after}")


if __name__ == "__main__":
    main()
