"""Environments compiled from C: the worked example, and what a file can be that is none."""

import importlib.util
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary

import fastpg
from tests import ROOT

SOURCE = ROOT / "examples" / "c_env" / "integrator.c"


@pytest.fixture(scope="module")
def compiler():
    found = shutil.which("cc")
    if found is None:
        pytest.skip("there is no C compiler called cc")
    return found


def build(compiler, folder, *changes, name="env"):
    """Compile the example, with pieces of its source replaced."""
    text = SOURCE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.c").write_text(text + "\nconst int32_t integrator_data = 7;\n")
    library = folder / f"{name}.so"
    include = f"-I{fastpg.get_include()}"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", include, f"{folder / name}.c"]
    subprocess.run([*command, "-o", str(library)], check=True)
    return library


@pytest.fixture(scope="module")
def library(compiler, tmp_path_factory):
    return build(compiler, tmp_path_factory.mktemp("c_env"))


def test_the_header_is_where_get_include_says():
    for name in ("fastpg.h", "vecmath.h"):
        assert (Path(fastpg.get_include()) / name).read_text() == (ROOT / "csrc" / name).read_text()


def test_an_environment_in_c_is_accepted_wherever_an_env_id_is(library):
    env = fastpg.load_env(library)
    assert env.name == "Integrator"
    assert env.max_episode_steps == 100
    assert env.observation_space == Box(-np.inf, np.inf, (2,))
    assert env.action_space == Box(-1.0, 1.0, (1,))
    assert env.params == {"gust": 0.2, "mass": 1.0}
    policy = fastpg.Policy.for_env(env, hidden=(8,))
    short = {"num_envs": 9, "total_steps": 900, "hidden": (6,)}
    runs = fastpg.train_many(env, [fastpg.Reinforce(), fastpg.A2C()], seeds=2, **short)
    alone = fastpg.train(env, fastpg.A2C(), seed=1, **short)
    assert runs[3].policy.theta.tobytes() == alone.policy.theta.tobytes()
    value = fastpg.ValueFunction.for_env(env, hidden=(8,))
    estimate = fastpg.estimate_gradient(env, policy, form="gae", value=value, horizon=16, num_envs=40)
    assert np.isfinite(estimate.gradient).all()
    returns, lengths = fastpg.evaluate(env, policy, episodes=5)
    assert (lengths <= 100).all()
    assert (returns < 0).all()


@pytest.mark.parametrize(
    "algorithm",
    [
        fastpg.Reinforce(),
        fastpg.VPG(value_hidden=(4,)),
        fastpg.PPO(value_hidden=(4,), minibatches=3, normalize_observations=True, normalize_rewards=True),
    ],
    ids=lambda one: type(one).__name__,
)
def test_training_in_it_has_the_same_bits_on_any_threads(library, algorithm, threads):
    env, results = fastpg.load_env(library), set()
    for number in (1, 2, 3):
        threads(number)
        run = fastpg.train(env, algorithm, num_envs=21, horizon=13, hidden=(4,), total_steps=600)
        results.add(run.policy.theta.tobytes())
    assert len(results) == 1


def test_its_steps_are_those_of_the_formulas(library):
    env = fastpg.make(fastpg.load_env(library, gust=0.0, mass=2.0), num_envs=50)
    env.reset(seed=0)
    for _ in range(120):
        before = env.get_state()[0]
        actions = np.random.default_rng(0).normal(size=(50, 1)).astype(np.float32)
        _, rewards, terminated, truncated, _ = env.step(actions)
        (position, velocity), force = before.T, np.clip(actions[:, 0].astype(float), -1, 1)
        velocity = velocity + 0.1 / 2 * force
        position = position + 0.1 * velocity
        going = ~(rewards == 0.0)  # a reset
        state = env.get_state()[0]
        np.testing.assert_allclose(state[going], np.stack([position, velocity], 1)[going], rtol=1e-12)
        np.testing.assert_allclose(
            rewards[going], -(position**2 + 0.1 * velocity**2 + 0.01 * force**2)[going], rtol=1e-12
        )
        assert (terminated[going] == (abs(position[going]) > 5)).all()
    assert truncated.sum() == 0


def test_training_in_it_reaches_its_return():
    example = importlib.util.spec_from_file_location("c_env_train", SOURCE.parent / "train.py")
    module = importlib.util.module_from_spec(example)
    example.loader.exec_module(module)
    if shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("there is no C compiler called cc")
    before, after = module.main(200_000)
    assert before < -20
    assert after > -5


def test_it_pickles_and_changes(library):
    env = fastpg.load_env(library, name="Mine", max_episode_steps=7).with_params(mass=3.0)
    again = pickle.loads(pickle.dumps(env))
    assert repr(again) == repr(env)
    assert repr(env).startswith(
        "LoadedEnv('Mine', Box(-inf, inf, (2,), float32), Box(-1.0, 1.0, (1,), float32), max_"
    )
    assert again.params == {"gust": 0.2, "mass": 3.0}
    assert fastpg.make(again).spec.max_episode_steps == 7
    assert fastpg.make(env, mass=2.0).native.settings[1] == 2.0


def test_a_function_that_returns_a_status_stops_whoever_called_it(library):
    with pytest.raises(
        fastpg.EnvError, match=r"^load_env\(\): step\(\) of Integrator \(env.so\) failed: it returned 1"
    ):
        fastpg.load_env(library, mass=0.0)
    env = fastpg.load_env(library)
    with pytest.raises(
        fastpg.EnvError, match=r"^train\(\): iteration 0: step\(\) of Integrator .* returned 1"
    ):
        fastpg.train(env, env_params={"mass": -1.0})


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (
            {"speed": 1.0},
            TypeError,
            "unexpected argument 'speed'; the parameters of Integrator are: gust, mass",
        ),
        ({"mass": "x"}, TypeError, "mass must be a number"),
        ({"max_episode_steps": -1}, ValueError, "max_episode_steps must be an integer from 0"),
        ({"observation_space": Box(0, 1, (3,))}, ValueError, "observation_space must have 2 entries"),
        (
            {"action_space": Discrete(2)},
            ValueError,
            r"action_space must have 1 components with the categories \(\)",
        ),
        (
            {"symbol": "other"},
            ValueError,
            r"exports no environment other; it has to say `FPG_EXPORT_ENVIRONMENT\(other, environment\);`",
        ),
        ({"symbol": "integrator_data"}, ValueError, "exports no environment integrator_data; it has to say"),
        (
            {"symbol": "fastpg_environment_magic"},
            ValueError,
            "exports no environment fastpg_env",
        ),
        ({"symbol": "abort"}, ValueError, "exports no environment abort"),
        ({"symbol": 3}, TypeError, "symbol must be a string, got 3"),
        ({"name": 3}, TypeError, "name must be a string, got 3"),
    ],
)
def test_bad_arguments(library, arguments, error, says):
    with pytest.raises(error, match=rf"^load_env\(\): .*{says}"):
        fastpg.load_env(library, **arguments)


def test_files_that_are_no_library(tmp_path):
    with pytest.raises(TypeError, match="path must be a path, got 3"):
        fastpg.load_env(3)
    with pytest.raises(ValueError, match=r"there is no file '.*missing.so'"):
        fastpg.load_env(tmp_path / "missing.so")
    with pytest.raises(ValueError, match="is a folder, not a library"):
        fastpg.load_env(tmp_path)
    os.mkfifo(tmp_path / "pipe.so")
    with pytest.raises(ValueError, match="is a device, pipe or socket, not a library"):
        fastpg.load_env(tmp_path / "pipe.so")
    for content in (b"not a library", b"", b"\x7fELF"):
        (tmp_path / "text.so").write_bytes(content)
        with pytest.raises(ValueError, match=r"'.*text.so' is not a library that can be loaded here: "):
            fastpg.load_env(tmp_path / "text.so")


def test_a_truncated_library_is_refused_at_every_length(library, tmp_path):
    content, short = library.read_bytes(), tmp_path / "short.so"
    for length in [*range(0, len(content), 97), len(content) - 1]:
        short.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"is not a library .*: it is (truncated|no ELF file)"):
            fastpg.load_env(short)


@pytest.mark.parametrize(
    ("at", "byte", "says"),
    [
        (4, 1, "another kind of processor"),  # 32 bits
        (5, 2, "another kind of processor"),  # big-endian
        (18, 243, "another kind of processor"),  # RISC-V
        (16, 1, "not linked as a shared library: compile it with -shared"),
    ],
)
def test_a_library_for_another_machine_is_refused(library, tmp_path, at, byte, says):
    content = bytearray(library.read_bytes())
    assert content[at] != byte
    content[at] = byte
    other = tmp_path / "other.so"
    other.write_bytes(content)
    with pytest.raises(ValueError, match=rf"is not a library that can be loaded here: .*{says}"):
        fastpg.load_env(other)


EXPORT = "FPG_EXPORT_ENVIRONMENT(fastpg_environment, integrator);"
FUNCTION = "const fpg_environment *fastpg_environment(void)"
NULL_EXPORT = f"const uint64_t fastpg_environment_magic = FPG_ENV_MAGIC; {FUNCTION} {{ return NULL; }}"
BAD_STRUCTS = [
    (
        EXPORT,
        f"{FUNCTION} {{ return &integrator; }}",
        "exports no environment fastpg_env",
    ),
    (EXPORT, NULL_EXPORT.replace("FPG_ENV_MAGIC", "3"), "exports no environment fastpg_environment; it has"),
    (EXPORT, NULL_EXPORT, r"fastpg_environment\(\) of '.*' returned NULL"),
    (
        ".abi = FPG_ENV_ABI",
        ".abi = 2",
        r"was compiled for version 2 of fpg_environment, .* has version 4; compile it",
    ),
    (".state_size = 2", ".state_size = 0", "has state_size = 0, which must lie in 1 .. "),
    (".obs_size = 2", ".obs_size = -2", "has obs_size = -2, which must lie in 1 .. "),
    (".action_size = 1", ".action_size = 99", "has action_size = 99, which must lie in 1 .. 32"),
    (".reset_noise_size = 1", ".reset_noise_size = -1", "has reset_noise_size = -1"),
    (".max_episode_steps = 100", ".max_episode_steps = -1", "has max_episode_steps = -1"),
    (".reset = reset, ", "", "has NULL for reset"),
    (".step = step, ", "", "has NULL for step"),
    (", .observe = observe", "", "has NULL for observe"),
    (".action_high = {1}", ".action_high = {-2}", r"has action_low\[0\] = -1.0 and action_high\[0\] = -2.0"),
    (".action_low = {-1}, .action_high = {1}", ".action_categories = {-3}", r"has action_categories \(\)"),
    (
        ".obs_size = 2",
        ".obs_size = 2, .obs_categories = {3, 0}",
        r"has obs_categories \(3, 0\): all of the 2",
    ),
    ('"gust", "mass"', '"mass", "mass"', "has param_names that are not distinct"),
]


@pytest.mark.slow  # each is compiled
@pytest.mark.parametrize(("old", "new", "says"), BAD_STRUCTS, ids=[one[1] or one[0] for one in BAD_STRUCTS])
def test_structs_that_are_no_environment(compiler, tmp_path, old, new, says):
    changes = [(old, new)]
    if "return NULL" in new:
        changes.append(("static const fpg_environment integrator", "const fpg_environment integrator"))
    if new == "" or "categories = {-3}" in new:  # what is not used any more is a warning, not an error
        changes.append(("static int32_t", "int32_t"))
    with pytest.raises(ValueError, match=rf"^load_env\(\): .*{says}"):
        fastpg.load_env(build(compiler, tmp_path, *changes))


BAD_NUMBERS = [
    (
        "FPG_END_TERMINATED : 0;",
        "0 : -1;",
        r"step\(\) of Integrator wrote the end -1.0, which must be 0",
    ),
    (
        "FPG_END_TERMINATED : 0;",
        "0 : 7;",
        r"step\(\) of Integrator wrote the end 7.0, which must be 0",
    ),
    (
        "FPG_END_TERMINATED : 0;",
        "0 : NAN;",
        r"step\(\) of Integrator wrote the end nan, which must be 0",
    ),
    ("(float)state[i]", "(float)(0 * state[i] / 0)", r"observe\(\) of Integrator wrote -?nan into obs\[0\]"),
    ("reward[i] = -(", "reward[i] = -(1 / 0.0 + ", r"step\(\) of Integrator wrote the reward -inf"),
    (
        ".obs_size = 2",
        ".obs_size = 2, .obs_categories = {3, 3}",
        r"obs\[0\], which must be a whole number in 0..2",
    ),
]


@pytest.mark.parametrize(("old", "new", "says"), BAD_NUMBERS)
def test_numbers_that_are_none_are_found_when_it_is_tried_out(compiler, tmp_path, old, new, says):
    with pytest.raises(fastpg.EnvError, match=rf"^load_env\(\): .*{says}"):
        fastpg.load_env(build(compiler, tmp_path, (old, new)))


def test_integers_and_bits_as_actions(compiler, tmp_path):
    changes = [
        (
            ".action_size = 1,\n    .action_low = {-1}, .action_high = {1}",
            ".action_size = 2, .action_categories = {2, 2}",
        ),
        ("const float *action = actions;", "const int32_t *action = actions;"),
    ]
    path = build(compiler, tmp_path, *changes)
    assert str(fastpg.load_env(path).action_space) == "MultiDiscrete([2 2])"
    env = fastpg.load_env(path, action_space=MultiBinary(2))
    policy = fastpg.Policy.for_env(env, hidden=())
    assert policy.network.head == "bernoulli"
    assert fastpg.estimate_gradient(env, policy, episodes=10).num_episodes == 10
