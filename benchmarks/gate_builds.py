"""Builds of commits and working trees for the gate, kept by the content that they are made of."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fastpg-gate"


def git(repo: Path, *arguments: str, **environment: str) -> str:
    command = ["git", "-C", str(repo), *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def top(folder: Path) -> Path:
    """Return the root of the working tree that the folder is in."""
    return Path(git(folder, "rev-parse", "--show-toplevel"))


def tree_of(what: str) -> tuple[Path, str]:
    """Return the repository and the git tree of a commit, or of a folder as it is, uncommitted files too."""
    if not Path(what).is_dir():
        known = subprocess.run(
            ["git", "-C", str(HERE), "rev-parse", "--quiet", "--verify", f"{what}^{{tree}}"],
            capture_output=True,
            text=True,
        )
        if known.returncode:
            raise SystemExit(f"gate.py: {what!r} is neither a commit of this repository nor a folder")
        return top(HERE), known.stdout.strip()
    repo = top(Path(what))
    with tempfile.TemporaryDirectory() as folder:  # the user's index stays as it is
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(repo, "read-tree", "HEAD", **index)
        git(repo, "add", "--all", **index)
        return repo, git(repo, "write-tree", **index)


def build(made_of: tuple[Path, str], cache: Path = CACHE) -> Path:
    """Return the folder of an installation of what `tree_of` found, made by the project's build if new."""
    repo, tree = made_of
    flags = "\0".join(f"{name}={os.environ.get(name, '')}" for name in ("CC", "CFLAGS", "LDFLAGS"))
    for_what = hashlib.sha256(f"{sys.version}\0{flags}".encode()).hexdigest()
    target = cache / f"{tree[:16]}-{for_what[:8]}"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        source, archive, made = (Path(folder) / name for name in ("source", "tree.tar", "made"))
        git(repo, "archive", "--output", str(archive), tree)
        shutil.unpack_archive(archive, source)
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(made),
            str(source),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"gate.py: {tree} does not build:\n{done.stderr[-3000:]}")
        if not target.exists():  # another process may have been faster
            made.rename(target)
    return target


def environment_for(build: Path) -> dict[str, str]:
    """Return the environment of a single-threaded process that imports fastpg from the build."""
    ours = {
        "PYTHONPATH": str(build),
        "FASTPG_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }
    return os.environ | ours
