"""The long run: `python -m tests.fuzz --seconds 600` makes as many calls as fit, other ones every time.

Each round is a process of its own, so that a crash or a call that hangs ends a round and not the run, and is
reported with the call. Every fault is shrunk to its smallest input, and reported once.
"""

import argparse
import collections
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUND_SECONDS = 300
EXAMPLES = 150


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; by default the time")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="calls of each function in a round")
    parser.add_argument("--only", default="", help="only what has this in its name")
    parser.add_argument("--report", type=Path, default=None, help="write what was found here as well")
    parser.add_argument("--worker", nargs=2, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    if options.worker is not None:
        work(Path(options.worker[0]), float(options.worker[1]), seed, options.only, options.examples)
        return 0
    with tempfile.TemporaryDirectory(prefix="fastpg-fuzz-") as folder:
        text, failed = supervise(Path(folder), options.seconds, seed, options.only, options.examples)
    print(text)
    if options.report is not None:
        options.report.write_text(text)
    return int(failed)


def supervise(folder: Path, seconds: float, seed: int, only: str, examples: int) -> tuple[str, bool]:
    """Run rounds until the time is up; return what they found, and whether that is anything."""
    counts: collections.Counter[str] = collections.Counter()
    faults: dict[str, str] = {}
    start = time.monotonic()
    while (left := seconds - (time.monotonic() - start)) > 5 or not counts:
        (folder / "known.json").write_text(
            json.dumps([json.loads(one) for one in faults if one.startswith("[")])
        )
        command = [sys.executable, "-m", "tests.fuzz", "--seed", str(seed), "--only", only]
        command += ["--examples", str(examples)]
        command += ["--worker", str(folder), str(min(left, ROUND_SECONDS))]
        with open(folder / "output", "wb") as output:
            code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
        result = json.loads((folder / "result.json").read_text()) if (folder / "result.json").exists() else {}
        counts.update(result.get("counts", {}))
        faults.update(result.get("faults", {}))
        if code != 0:
            tail = (folder / "output").read_bytes()[-6000:].decode(errors="replace")
            call = (folder / "call").read_text(errors="replace")
            faults[f"crash of {call.partition('(')[0]}"] = f"exit code {code}, seed {seed}, in {call}\n{tail}"
            only_crashes = not result.get("counts")
            if only_crashes and len(faults) > 20:
                break
        (folder / "result.json").unlink(missing_ok=True)
        seed += 1
    lines = [f"{sum(counts.values()):,} calls, {len(faults)} faults"]
    lines += [f"{number:8,} {name}" for name, number in sorted(counts.items())]
    lines += [f"\n{key}\n{text}" for key, text in sorted(faults.items())]
    return "\n".join(lines), bool(faults)


def work(folder: Path, seconds: float, seed: int, only: str, examples: int) -> None:
    """Make calls of everything, again and again; write counts and faults when the time is up, or at once."""
    from . import judge, targets

    judge.KNOWN.update(map(tuple, json.loads((folder / "known.json").read_text())))
    note = os.open(folder / "call", os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def before_call(text: str) -> None:
        data = text.encode(errors="replace")
        os.pwrite(note, data, 0)
        os.ftruncate(note, len(data))

    judge.before_call = before_call
    faults: dict[str, str] = {}
    end = time.monotonic() + seconds
    names = [name for name in (*targets.CALLS, *targets.MACHINES) if only in name]
    first = 29 * seed % len(names)  # a short round need not reach all
    names = names[first:] + names[:first]
    with targets.confined():
        while time.monotonic() < end:
            for name in names:
                if time.monotonic() > end:
                    break
                faulthandler.dump_traceback_later(4 * judge.SECONDS, exit=True)
                try:
                    targets.explore(name, examples, seed)
                except judge.Fault as fault:
                    judge.KNOWN.add(fault.signature)
                    faults[json.dumps(fault.signature)] = str(fault)
                except judge.Hang as hang:
                    faults[f"hang of {name}"] = (
                        f"{hang} in {os.pread(note, 10_000, 0).decode(errors='replace')}"
                    )
                result = {"counts": judge.COUNTS, "faults": faults}
                (folder / "part").write_text(json.dumps(result))
                os.replace(folder / "part", folder / "result.json")
            seed += 10**6
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    sys.exit(main())
