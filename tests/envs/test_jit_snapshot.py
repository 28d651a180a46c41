"""What a `jit_env` refers to is compiled as it is now: nothing stale, in this process or from disk."""

import os
import subprocess
import sys
import textwrap
from types import ModuleType

import numba
import numpy as np
import pytest

import fastpg
from fastpg.envs.custom import jit_cache, jit_compile
from fastpg.envs.custom.jit_snapshot import Snapshot
from tests import ROOT
from tests.support.jit_made import env_of, reward

pytestmark = pytest.mark.slow

G = 1.0
TABLE = np.zeros(3)
LARGE = np.zeros(200_000)  # numba reads what is over 1 MB by its address


def plain_helper(x):
    return x + G


@numba.njit
def jitted_helper(x):
    return x + G


def nested(x):
    return jitted_helper(plain_helper(x))


@numba.njit("float64(float64)")
def of_one_type(x):
    return x + 7.0


def factorial(n):
    return 1.0 if n <= 1 else n * factorial(n - 1)


@pytest.mark.parametrize(
    ("expression", "helper", "before", "after"),
    [
        ("pull(x)", nested, 3.0, 5.0),
        ("pull[0](x)", (plain_helper, jitted_helper), 2.0, 3.0),
    ],
    ids=["nested", "in a tuple"],
)
@pytest.mark.filterwarnings("ignore:First-class function type")
def test_a_global_that_a_helper_reads_is_what_it_is_when_an_environment_is_made(
    monkeypatch, expression, helper, before, after
):
    env, _ = env_of(expression, pull=helper)
    assert reward(env) == before == reward(env.plain())
    monkeypatch.setitem(globals(), "G", 2.0)
    assert reward(env) == after
    monkeypatch.setitem(globals(), "G", 1.0)
    assert reward(env) == before


def test_helpers_keep_the_types_that_they_are_declared_for_and_may_call_themselves():
    assert reward(env_of("pull(1)", pull=of_one_type)[0]) == 8.0
    assert reward(env_of("pull(4.0)", pull=factorial)[0]) == 24.0


def test_an_array_is_what_it_was_when_an_environment_was_made():
    expression = "table[0] + table[-1] + 100 * (large[0] + large[-1])"
    table, large = TABLE.copy(), LARGE.copy()
    env, names = env_of(expression, table=table, large=large)
    one = fastpg.make(env, 1)
    one.reset(seed=0)
    assert one.step(np.array([0]))[1][0] == 0.0
    table[:], large[:] = 3.0, 2.0
    assert one.step(np.array([0]))[1][0] == 0.0  # what is made already is left alone
    assert reward(env) == 406.0
    names["table"], names["large"] = np.full(3, 4.0), np.full(len(large), 1.0)
    assert reward(env) == 208.0
    other, _ = env_of(expression, table=np.full(3, 4.0), large=np.full(len(large), 1.0))
    names["table"][:], names["large"][:] = 5.0, 5.0
    assert reward(other) == 208.0


def test_modules_of_the_users_are_read_by_their_attributes():
    module = ModuleType("helpers")
    exec("SCALE = 2.0\ndef scaled(x):\n    return SCALE * x\n", vars(module))
    module.itself = module
    env, _ = env_of("lib.itself.scaled(x) + lib.SCALE", lib=module)
    assert reward(env) == 4.0
    module.SCALE = 5.0
    assert reward(env) == 10.0


def digest(source, **names):
    names = {"np": np} | names
    exec(textwrap.dedent(source), names)
    made = Snapshot({})
    made.take(names["f"])
    return made.hexdigest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x):\n    return x + 1", "def f(x):\n    return x - 1"),
        ("def f(x):\n    return x + 1", "def f(x):\n    return x + 1.0"),
        ("def f(x):\n    return x + 0.0", "def f(x):\n    return x + -0.0"),
        # only the exception table says which lines are guarded
        (
            "def f(x):\n y = x\n try:\n  y = g(x)\n except Exception:\n  y = 2\n return y",
            "def f(x):\n try:\n  y = x\n  y = g(x)\n except Exception:\n  y = 2\n return y",
        ),
        ("def f(x, y=1):\n    return x + y", "def f(x, y=2):\n    return x + y"),
        ("def f(x, *, y=1):\n    return x + y", "def f(x, *, y=2):\n    return x + y"),
        ("def f(x):\n    return (lambda y: y + 1)(x)", "def f(x):\n    return (lambda y: y + 2)(x)"),
        ("k = 1\ndef f(x):\n    return x + k", "k = 2\ndef f(x):\n    return x + k"),
        ("k = 1\ndef f(x):\n    return x + k", "k = True\ndef f(x):\n    return x + k"),
        ("k = np.zeros(2)\ndef f(x):\n    return k", "k = np.zeros((2, 1))\ndef f(x):\n    return k"),
        (
            "k = np.eye(2)\ndef f(x):\n    return k[0, 1]",
            "k = np.eye(2, order='F')\ndef f(x):\n    return k[0, 1]",
        ),
        ("k = np.zeros(2)\ndef f(x):\n    return k", "k = np.zeros(2, np.int64)\ndef f(x):\n    return k"),
        ("def f(x):\n    return min(x, 1)", "min = max\ndef f(x):\n    return min(x, 1)"),
    ],
)
def test_everything_that_compilation_reads_is_in_the_fingerprint(one, other):
    assert digest(one) != digest(other)
    assert digest(one) == digest("\n\n# a comment\n" + textwrap.dedent(one))


def test_an_attribute_of_a_name_is_no_global():
    source = "def f(state, params):\n    state[0] = params.mass"
    assert digest(source, mass=1.0) == digest(source, mass=[2.0])


PROGRAM = """
import sys
import numpy as np, fastpg
from gymnasium.spaces import Box, Discrete
from fastpg.envs.custom import jit_compile
compiled = []
original = jit_compile.check_types
jit_compile.check_types = lambda *a: (compiled.append(1), original(*a))

{before}
@fastpg.jit_env(observation_space=Box(-9, 9, (1,)), action_space=Discrete(2), state_size=1)
class Mine:
    def reset(state, noise):
        state[0] = 1.0
    def step(state, action, noise):
        if state[0] > 1e9:
            raise ValueError("too far")
        return {reward}, False
    def observe(state, obs):
        obs[0] = state[0]

env = fastpg.make(Mine, 1)
env.reset(seed=0)
if "print" in sys.argv[-1] or __name__ == "__main__":
    print(env.step(np.array([0]))[1][0], "compiled" if compiled else "found")
"""


@pytest.fixture
def run(tmp_path):
    """Run the program under a name; return the reward, and how the environment was got."""

    def run(name="program", before="", reward="state[0]"):
        (tmp_path / f"{name}.py").write_text(PROGRAM.format(before=before, reward=reward))
        changed = {"FASTPG_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", f"import sys; sys.argv.append('print'); import {name}"]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | changed, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return (*done.stdout.split(), done.stderr)

    return run


def test_a_module_that_is_renamed_finds_what_it_has_compiled(run, tmp_path):
    assert run("first") == ("1.0", "compiled", "")
    (tmp_path / "first.py").unlink()
    assert run("second") == ("1.0", "found", "")


def test_code_of_a_helper_that_changed_is_not_kept_under_another_fingerprint(run):
    change = "G = 1.0\ndef pull(x):\n    return x + G\n"
    first = change + "import numba\n"
    assert run(before=first, reward="pull(state[0])")[:2] == ("2.0", "compiled")
    assert run(before=first.replace("G = 1.0", "G = 2.0"), reward="pull(state[0])")[:2] == ("3.0", "compiled")
    assert run(before=first, reward="pull(state[0])")[:2] == ("2.0", "found")


def test_a_large_array_is_compiled_in_every_process_with_what_is_in_it(run):
    before = "LARGE = np.full(200_000, {value})"
    for _ in range(2):
        assert run(before=before.format(value=2.0), reward="LARGE[5]")[:2] == ("2.0", "compiled")


def test_a_damaged_file_is_compiled_anew_with_a_warning(run, tmp_path):
    assert run()[:2] == ("1.0", "compiled")
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    reward, how, said = run()
    assert (reward, how) == ("1.0", "compiled")
    assert "is damaged; it is compiled again" in said
    assert run() == ("1.0", "found", "")


def test_no_part_of_a_file_that_is_kept_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTPG_CACHE_DIR", str(tmp_path))
    jit_cache.write("make()", "name", b"content")
    assert jit_cache.read("make()", "name") == b"content"
    assert jit_cache.read("make()", "other") is None
    whole = (tmp_path / "name").read_bytes()
    for content in (b"", whole[:-1], whole[1:], whole + b" ", b"something else"):
        (tmp_path / "name").write_bytes(content)
        with pytest.warns(RuntimeWarning, match=r"make\(\): the compiled environment .*name is damaged"):
            assert jit_cache.read("make()", "name") is None


def test_a_full_disk_is_a_warning(monkeypatch, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    monkeypatch.setenv("FASTPG_CACHE_DIR", str(tmp_path))

    class Full:
        name = str(tmp_path / "some.tmp")

        def __init__(self, **arguments):
            self.file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, content):
            self.file.write(content)

    monkeypatch.setattr(jit_cache.tempfile, "NamedTemporaryFile", Full)
    with pytest.warns(RuntimeWarning, match="cannot be kept on disk .*No space left"):
        jit_cache.write("make()", "name", b"content")
    assert list(tmp_path.iterdir()) == []


def test_without_a_cache_it_is_compiled_once_in_a_process(monkeypatch):
    env, _ = env_of("x + 0.125")
    assert reward(env) == 1.125
    monkeypatch.setattr(jit_compile, "_compile", None)
    assert reward(env) == reward(env.with_params()) == 1.125


def test_what_is_dropped_gives_its_memory_back():
    mallinfo = r"""
import ctypes, gc
import numpy as np
from tests.support.jit_made import env_of, reward
from fastpg.envs.custom import jit_compile

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info

def used():
    gc.collect()
    info = libc.mallinfo2()
    return info.uordblks + info.hblkhd

for k in range(6):
    if k == 2:  # what is made once has been made
        before = used()
    reward(env_of(f"x + {k}.5")[0])
print((used() - before) / 4, len(jit_compile._made))
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("mallinfo2 is glibc's")
    done = subprocess.run([sys.executable, "-c", mallinfo], cwd=ROOT, capture_output=True, text=True)
    if "mallinfo2" in done.stderr:
        pytest.skip("mallinfo2 is glibc's, from 2.33")
    assert done.returncode == 0, done.stderr
    kept, number = done.stdout.split()
    assert float(kept) < 3e6
    assert number == "0"
