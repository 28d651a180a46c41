"""A regression gate: `python benchmarks/gate.py BASE HEAD` exits with 1 if HEAD is slower than BASE.

Both are built (and kept, by content); then rounds of a fresh process for each, in the order ABBA, measure the
CPU time of a few single-threaded workloads. A workload is slower only if all of the interval of its median
ratio is above --factor; where the factor lies inside the interval there are more rounds, and in the end the
count of instructions decides. README.md says more.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gate_instructions
from gate_builds import HERE, build, environment_for, tree_of
from gate_statistics import Judgement, judge
from gate_work import WORKLOADS

ROUNDS, MOST_ROUNDS = 16, 48  # of every workload; of those that are undecided


def measure(folder: Path, names: Iterable[str]) -> dict[str, float | None]:
    """Return the seconds per step of each workload in a fresh process."""
    command = [sys.executable, str(HERE / "gate_work.py"), str(folder), "time", *names]
    done = subprocess.run(command, env=environment_for(folder), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


class Comparison:
    """Paired measurements of two builds."""

    def __init__(self, base: Path, head: Path, names: list[str], factor: float) -> None:
        self.folders, self.factor = {"base": base, "head": head}, factor
        self.log_ratios: dict[str, list[float]] = {name: [] for name in names}
        self.absent: list[str] = []
        self.rounds = 0

    def round(self, names: Iterable[str]) -> None:
        """Measure both once, in the order ABBA over two rounds."""
        order = ("base", "head") if self.rounds % 2 == 0 else ("head", "base")
        self.rounds += 1
        found = {which: measure(self.folders[which], names) for which in order}
        for name in names:
            base, head = found["base"][name], found["head"][name]
            if base is None or head is None:
                self.absent.append(name)
                del self.log_ratios[name]
            else:
                self.log_ratios[name].append(math.log(head / base))

    def judgements(self) -> dict[str, Judgement]:
        """Judge every workload; a run judges each of them twice at most."""
        tests = 2 * len(self.log_ratios)
        return {name: judge(values, self.factor, tests) for name, values in self.log_ratios.items()}

    def run(self) -> dict[str, Judgement]:
        for _ in range(ROUNDS):
            self.round(list(self.log_ratios))
        undecided = [name for name, one in self.judgements().items() if one.verdict == "undecided"]
        if undecided:
            print(f"More rounds for: {'; '.join(undecided)}", flush=True)
            for _ in range(MOST_ROUNDS - ROUNDS):
                self.round(undecided)
        return self.judgements()


def counted(base: Path, head: Path, names: list[str]) -> dict[str, float]:
    """Return ratios of instructions, as far as they can be counted here."""
    if tool := gate_instructions.missing_tool():
        print(f"Instructions are not counted: there is no {tool} here.")
        return {}
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda folder: gate_instructions.counts(folder, names), {base: 0, head: 0}))
    return {name: counts[-1][name] / counts[0][name] for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", metavar="BASE", help="a commit, or a folder with a working tree, such as .")
    parser.add_argument("head", metavar="HEAD", help="the same")
    parser.add_argument(
        "--factor", type=float, default=1.15, help="ratio of times that is a regression (%(default)s)"
    )
    parser.add_argument(
        "--only", metavar="WORD", nargs="+", help="workloads whose name contains one of these"
    )
    options = parser.parse_args()
    if not options.factor > 1:
        parser.error(f"--factor is {options.factor:g}; it has to be above 1, such as 1.15")
    names = [name for name in WORKLOADS if any(word in name for word in options.only or [""])]
    if not names:
        parser.error(f"--only {' '.join(options.only)} names no workload of: {'; '.join(WORKLOADS)}")
    trees = [tree_of(options.base), tree_of(options.head)]
    with ThreadPoolExecutor(2) as pool:
        built = {tree: pool.submit(build, tree) for tree in set(trees)}
    base, head = (built[tree].result() for tree in trees)
    comparison = Comparison(base, head, names, options.factor)
    judgements = comparison.run()
    instructions = counted(base, head, list(judgements))
    slower = report(judgements, instructions, options.factor)
    for name in comparison.absent:
        print(f"{name}: not in both")
    sys.exit(f"Slower by more than {options.factor:g}: {'; '.join(slower)}" if slower else 0)


def report(judgements: dict[str, Judgement], instructions: dict[str, float], factor: float) -> list[str]:
    """Print the table; return the workloads that are slower."""
    slower = []
    print(f"{'workload':26}{'head/base':>10}{'interval':>18}{'instructions':>14}  verdict")
    for name, one in judgements.items():
        verdict, count = one.verdict, instructions.get(name)
        if verdict == "undecided" and count is not None:
            verdict = "slower, by the count" if count > factor else "fine, by the count"
        if verdict.startswith("slower"):
            slower.append(name)
        ratio = f"{count:.4f}" if count is not None else ""
        print(f"{name:26}{one.ratio:10.3f}{f'[{one.low:.3f}, {one.high:.3f}]':>18}{ratio:>14}  {verdict}")
    return slower


if __name__ == "__main__":
    main()
