"""Instructions that the gate's workloads execute, counted by valgrind: a witness without noise.

gate_work.py calls each workload through a C function, gate_counted; callgrind counts only inside that and
writes one file each time it returns, so neither Python's start nor what prepares the work is in the count.
Valgrind does not know AVX-512: what is counted are the AVX2 kernels. Counts are kept beside the build.
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

# Two functions: callgrind does not see the call that libffi makes, but the next.
MARKER = """
__attribute__((noinline)) void gate_inner(void (*call)(void)) { call(); __asm__ volatile(""); }
void gate_counted(void (*call)(void)) { gate_inner(call); __asm__ volatile(""); }
"""


def missing_tool() -> str | None:
    """Return the program that is not installed and without which nothing is counted."""
    return next((tool for tool in ("valgrind", "cc") if shutil.which(tool) is None), None)


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


def run(*command: str, **environment: str) -> None:
    done = subprocess.run(command, env=environment or None, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")


def counted(build: Path, names: list[str]) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        marker, library = Path(folder) / "marker.c", str(Path(folder) / "marker.so")
        marker.write_text(MARKER)
        run("cc", "-O1", "-shared", "-fPIC", "-o", library, str(marker))
        options = ["--tool=callgrind", "--toggle-collect=gate_inner", "--dump-after=gate_inner"]
        work = [sys.executable, str(HERE / "gate_work.py"), str(build), library, *names]
        isa = {"FASTPG_ISA": "avx2"}
        run(
            "valgrind", *options, f"--callgrind-out-file={folder}/out", *work, **environment_for(build), **isa
        )
        parts = sorted(Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        totals = [int(re.findall(r"^totals: (\d+)", part.read_text(), re.MULTILINE)[0]) for part in parts]
    if len(totals) != len(names):
        raise SystemExit(f"valgrind counted {len(totals)} workloads of {len(names)}: {totals}")
    return totals
