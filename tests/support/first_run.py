"""Write docs/first_run.md with what its commands print now.

    python -m tests.support.first_run

They run one after another in a folder that is thrown away, with the `fastpg` and `python` beside this Python.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import ROOT

DOCUMENT = ROOT / "docs" / "first_run.md"
BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)


def commands(block):
    """The commands of a block, without what they printed."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def main():
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run_again(match):
        lines = []
        for command in commands(match[0]):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=place,
                env=os.environ | {"PATH": path},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                sys.exit(f"{command}: {done.stderr}")
            lines += [f"$ {command}", *done.stdout.splitlines()]
        return "\n".join([*lines, ""])

    with tempfile.TemporaryDirectory() as place:
        DOCUMENT.write_text(BLOCK.sub(run_again, DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
