"""The environment of docs/write_an_env.md compiles, vectorises, and does what its plain Python says."""

import ctypes
import platform
import re
import shutil
import subprocess

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from fastpg.envs.native import registry
from tests import ROOT

DOCUMENT = (ROOT / "docs" / "write_an_env.md").read_text()
HEADER = re.search(r"```c\n(.*?)```", DOCUMENT, re.DOTALL)[1]
CLASS = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)[1]
FLAGS = re.search(r"^cc (.*) \\$", DOCUMENT, re.MULTILINE)[1].split()
WIDTH, GUST = 64, 0.7

SHIM = """
#include "double_integrator.h"

static fpg_environment env;
const fpg_environment *start(double gust)
{
    env = fpg_double_integrator;
    env.params[0] = gust;
    return &env;
}
void reset(int32_t count, const int32_t *which, const double *noise, double *state)
{
    env.reset(&env, WIDTH, count, which, noise, state);
}
void step(const void *action, const double *noise, double *state, double *reward, double *terminated)
{
    env.step(&env, WIDTH, action, noise, state, reward, terminated);
}
void observe(const double *state, float *obs) { env.observe(&env, WIDTH, state, obs); }
"""


@pytest.fixture(scope="module")
def compiler():
    found = shutil.which("cc")
    if found is None:
        pytest.skip("there is no C compiler called cc")
    return found


def compiled(compiler, folder, *flags):
    """Compile the document's header with its compiler flags; the library, and what the compiler said."""
    (folder / "double_integrator.h").write_text(HEADER)
    (folder / "shim.c").write_text(SHIM)
    command = [compiler, *flags, f"-DWIDTH={WIDTH}", "-Wall", "-Wextra", "-Werror"]
    command += [
        "-I",
        str(ROOT / "csrc"),
        "-shared",
        "-fPIC",
        "-o",
        str(folder / "env.so"),
        str(folder / "shim.c"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(folder / "env.so"), done.stderr


@pytest.fixture(scope="module")
def kernel(compiler, tmp_path_factory):
    portable = [flag for flag in FLAGS if not flag.startswith("-m")]
    library = ctypes.CDLL(compiled(compiler, tmp_path_factory.mktemp("env"), *portable)[0])
    library.start(ctypes.c_double(GUST))
    return library


def address(array):
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


class Drawn:
    """np_random whose next uniform number is the one that the kernel is given."""

    uniform01 = 0.0

    def uniform(self, low, high):
        return low + (high - low) * self.uniform01


@pytest.fixture
def plain(monkeypatch):
    """The document's class and its registry entry, in registries that are put back afterwards."""
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    names = {"__name__": "double_integrator"}
    exec(CLASS, names)
    return names["DoubleIntegrator"]


def test_the_step_of_the_header_is_that_of_the_plain_class(kernel, plain):
    rng = np.random.default_rng(0)
    theirs, lost = plain(gust=GUST), 0
    theirs._np_random = drawn = Drawn()
    for _ in range(20):
        state = rng.uniform([[-5.2], [-3]], [[5.2], [3]], (2, WIDTH))
        action = rng.uniform(-1.5, 1.5, (1, WIDTH)).astype(np.float32)
        noise, reward, terminated = rng.uniform(size=(1, WIDTH)), np.empty(WIDTH), np.empty(WIDTH)
        before, obs = state.copy(), np.empty((2, WIDTH), np.float32)
        kernel.step(*map(address, (action, noise, state, reward, terminated)))
        kernel.observe(address(state), address(obs))
        for i in range(WIDTH):
            theirs.state, drawn.uniform01 = tuple(before[:, i]), noise[0, i]
            their_obs, their_reward, their_end, truncated, _ = theirs.step(action[:, i])
            np.testing.assert_allclose(state[:, i], theirs.state, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(obs[:, i], their_obs, rtol=1e-7)
            assert reward[i] == pytest.approx(their_reward, rel=1e-12)
            assert terminated[i] == their_end
            assert not truncated
            lost += their_end
    assert lost > 10


def test_its_reset_starts_the_chosen_copies_only(kernel, plain):
    theirs = plain()
    theirs._np_random = drawn = Drawn()
    noise = np.random.default_rng(0).uniform(size=(1, WIDTH))
    state, which = np.full((2, WIDTH), 7.0), np.arange(1, WIDTH, 2, dtype=np.int32)
    kernel.reset(len(which), address(which), address(noise), address(state))
    assert (state[:, ::2] == 7).all()
    for i in which:
        drawn.uniform01 = noise[0, i]
        theirs.reset()
        np.testing.assert_allclose(state[:, i], theirs.state, rtol=1e-12)


def test_its_loops_vectorise_as_the_document_says(compiler, tmp_path):
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    if "Free Software Foundation" not in version or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the document asks GCC on x86-64")
    _, said = compiled(compiler, tmp_path, *FLAGS, "-fopt-info-vec")
    told = set(map(int, re.findall(r"\.h:(\d+):.*loop vectorized using 32 byte vectors", said)))
    steps, observes = (i for i, line in enumerate(HEADER.splitlines(), 1) if "FPG_SIMD for" in line)
    for loop in (steps, observes):
        assert told & {loop, loop + 1}, said  # GCC counts from the body's first line


@pytest.mark.filterwarnings("ignore:.*(Box|render_modes|render_mode)")
def test_the_registry_takes_its_spaces_and_limits_from_the_class(plain):
    spec = registry.env_spec("test", "DoubleIntegrator-v0")
    assert spec.kernel == "double_integrator"
    assert spec.gymnasium_spec.max_episode_steps == 200
    assert registry._original("test", spec, {"gust": 0.5}).gust == 0.5
    check_env(plain(), skip_render_check=True)
    defaults = re.search(r"\.params = \{([^}]*)\}", HEADER)[1].split(",")
    assert [*spec.parameters.values(), *spec.reset_options.values()] == [float(value) for value in defaults]
