"""Importing the package: what it brings in, what it exports."""

import subprocess
import sys
from pathlib import Path

import pytest

import fastpg


@pytest.mark.slow
@pytest.mark.parametrize("module", ["torch", "numba", "matplotlib", "mujoco", "tyro", "safetensors"])
def test_import_does_not_bring_in(module):
    program = f"import sys, fastpg; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_every_public_name_exists_and_is_documented():
    for name in fastpg.__all__:
        assert getattr(fastpg, name).__doc__


def test_version_is_the_compiled_cores():
    assert fastpg.__version__ == fastpg.build_info()["version"]


def test_nothing_else_is_public():
    names = {name for name in vars(fastpg) if not name.startswith("_")}
    modules = {name for name in names if f"fastpg.{name}" in sys.modules}
    assert names - modules <= set(fastpg.__all__)


def test_number_of_threads_is_set():
    before = fastpg.get_num_threads()
    try:
        fastpg.set_num_threads(3)
        assert fastpg.get_num_threads() == fastpg.build_info()["num_threads"] == 3
    finally:
        fastpg.set_num_threads(before)


def test_a_source_tree_without_the_core_says_so(tmp_path):
    package = tmp_path / "fastpg"
    package.mkdir()
    source = Path(fastpg.__file__).parent
    for name in ("__init__.py", "_built.py"):
        (package / name).write_text((source / name).read_text())
    result = subprocess.run(
        [sys.executable, "-S", "-c", "import fastpg"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "holds fastpg's sources, without the compiled core" in result.stderr
