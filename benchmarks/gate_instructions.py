"""Instructions that the gate's workloads execute, counted by valgrind: a witness without noise.

gate_work.py calls each workload through libc's qsort; callgrind counts only inside that function and writes one file each
time it returns, so neither Python's start nor what prepares the work is in the count. Valgrind does not know AVX-512: what is
counted are the AVX2 kernels. Counts are kept beside the build.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gate_builds import HERE, environment_for


def available() -> bool:
    return shutil.which("valgrind") is not None


def fingerprint() -> str:
    """Of everything that decides what is counted."""
    version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True).stdout
    sources = [HERE / "gate_work.py", *sorted((HERE / "suite").glob("*.py"))]
    return hashlib.sha256(version.encode() + b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def counts(build: Path, names: list[str]) -> dict[str, int]:
    """Return the instructions of one call of every workload."""
    kept = build / f"instructions-{fingerprint()}.json"
    known: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
    missing = [name for name in names if name not in known]
    if missing:
        known |= dict(zip(missing, counted(build, missing), strict=True))
        kept.write_text(json.dumps(known))
    return {name: known[name] for name in names}


def counted(build: Path, names: list[str]) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        options = ["--tool=callgrind", "--toggle-collect=qsort", "--zero-before=qsort", "--dump-after=qsort"]
        options += [f"--callgrind-out-file={folder}/out", "--combine-dumps=no"]
        command = ["valgrind", *options, sys.executable, str(HERE / "gate_work.py"), "count", str(build), *names]
        environment = environment_for(build) | {"FASTPG_ISA": "avx2"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        parts = sorted(Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        totals = [int(re.findall(r"^(?:totals|summary): (\d+)", part.read_text(), re.MULTILINE)[0]) for part in parts]
    found = [total for total in totals if total > 0]
    if len(found) < len(names):
        raise SystemExit(f"valgrind counted {len(found)} workloads of {len(names)}: {totals}")
    return found[-len(names) :]
