"""The environments of strict.c."""

import subprocess
import tempfile
from pathlib import Path

from gymnasium.spaces import MultiBinary

import fastpg


def load() -> list[fastpg.LoadedEnv]:
    """Compile them, and return one for each kind of action."""
    source = Path(__file__).with_suffix(".c")
    with tempfile.TemporaryDirectory() as folder:  # what is loaded outlives its file
        library = Path(folder) / "strict.so"
        flags = ["-O1", "-g", "-fPIC", "-shared", f"-I{fastpg.get_include()}"]
        subprocess.run(["cc", *flags, source, "-o", library], check=True)
        kinds = [fastpg.load_env(library, symbol=name) for name in ("force", "choice", "choices")]
        return [*kinds, fastpg.load_env(library, symbol="switches", action_space=MultiBinary(3))]
