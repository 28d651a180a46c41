"""Many agents in one call, beside what else one could do: `python benchmarks/many.py`.

PPO, 64-64 twice, on CartPole and Pendulum, as in compare.py (16 x 128, 4 epochs of 4 minibatches, and
4 x 1024, 2 epochs of 16). Rates are environment steps a second of all agents together, medians of
`--rounds`, measured in turn, each in processes of their own:

- one agent on one thread;
- `--agents` of them in one call of `train_many`, on all cores;
- as many processes as there are cores, each pinned to one, which share the agents: what no call can beat;
- with `--peers-python`: rejax, whose `vmap` trains 8 and `--agents` seeds at once.

And how much memory an agent takes: 1,000 linear ones in one call.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from ppo_runs import RUNS, Run

HERE = Path(__file__).parent
FEW = 8  # seeds, of rejax

MEMORY = """
import resource, sys
import fastpg
count = int(sys.argv[1])
def train(seeds):
    return fastpg.train_many("CartPole-v1", fastpg.Reinforce(), seeds=seeds, hidden=(), total_steps=20_000)
train(8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
runs = train(count)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
iterations = sum(len(run.history["seconds"]) for run in runs) / count
print((peak - before) * 1024 / count, iterations)
"""


def start(
    python: str, script: str, run: Run, *options: str, core: int | None = None
) -> "subprocess.Popen[str]":
    """Begin a program of those that take the arguments of peers/ppo_setting.py."""

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    command = [python, str(HERE / script), *run.options.split(), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pin)


def rate(*programs: "subprocess.Popen[str]") -> float:
    """Return the steps a second of all programs together, each over its own time."""
    total = 0.0
    for program in programs:
        output, _ = program.communicate()
        if program.returncode:
            raise SystemExit(f"many.py: a program failed: {program.args}")
        total += json.loads(output.splitlines()[-1])["steps_per_second"]
    return total


def measure(run: Run, given: argparse.Namespace) -> dict[str, float]:
    """Return one round's rates by name."""
    cores = sorted(os.sched_getaffinity(0))
    share, steps = str(given.agents // len(cores)), ("--steps", str(given.steps))
    own = sys.executable, "fastpg_ppo.py"

    def fastpg_rate(*options: str, core: int | None = None) -> "subprocess.Popen[str]":
        return start(*own, Run(run.name, run.algorithm, f"ppo {run.options}"), *steps, *options, core=core)

    rates = {
        "one agent, one thread": rate(fastpg_rate("--threads", "1")),
        f"{given.agents} agents, one call": rate(fastpg_rate("--agents", str(given.agents))),
        f"{len(cores)} processes": rate(*[fastpg_rate("--agents", share, core=core) for core in cores]),
    }
    for agents in (FEW, given.agents) if given.peers_python else ():
        rejax = start(given.peers_python, "peers/ppo_rejax.py", run, *steps, "--agents", str(agents))
        rates[f"rejax, {agents} seeds"] = rate(rejax)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100_000, help="of each agent")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--linear-agents", type=int, default=1000)
    parser.add_argument("--peers-python", help="a Python that has rejax: see README.md")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    if given.agents < 2 * cores or given.agents % cores:
        parser.error(f"--agents must be a multiple of the {cores} cores, and at least two for each")
    for run in RUNS[:2]:
        rounds = [measure(run, given) for _ in range(given.rounds)]
        rates = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        one = rates["one agent, one thread"]
        print(run.name)
        for name, steps in rates.items():
            print(f"  {name:24} {steps:12,.0f} steps/s  {steps / one:5.2f} x one agent")
    memory = [sys.executable, "-c", MEMORY, str(given.linear_agents)]
    size, iterations = subprocess.run(memory, capture_output=True, text=True, check=True).stdout.split()
    what = f"{given.linear_agents:,} linear agents of {float(iterations):.1f} iterations"
    print(f"{what}: {float(size):,.0f} bytes each")


if __name__ == "__main__":
    main()
