"""Build the environment in integrator.c, and train a policy in it."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import fastpg

SOURCE = Path(__file__).parent / "integrator.c"


def build(folder: str | os.PathLike[str]) -> Path:
    """Compile integrator.c into a folder; return the library."""
    library = Path(folder) / "integrator.so"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = ["-O3", "-fPIC", "-shared", f"-I{fastpg.get_include()}"]
    subprocess.run([*compiler, *flags, str(SOURCE), "-o", str(library)], check=True)
    return library


def main(total_steps: int = 400_000) -> tuple[float, float]:
    """Train; print and return the mean return of a new policy and of the trained one."""
    with tempfile.TemporaryDirectory() as folder:
        env = fastpg.load_env(build(folder))
        print(env)
        untrained = fastpg.Policy.for_env(env, hidden=(16,))
        before, _ = fastpg.evaluate(env, untrained)
        run = fastpg.train(
            env, fastpg.VPG(), policy=untrained, num_envs=32, horizon=100, total_steps=total_steps
        )
        after, _ = fastpg.evaluate(env, run.policy)
        heavy, _ = fastpg.evaluate(env, run.policy, mass=2.0)
    print(f"mean return {before.mean():.1f} before, {after.mean():.1f} after")
    print(f"mean return {heavy.mean():.1f} with twice the mass")
    return float(before.mean()), float(after.mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
