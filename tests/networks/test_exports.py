"""Exported policies act as the original, for every head: ONNX in onnxruntime, C, torch.export."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Tuple

import fastpg
from fastpg import _core, exports, reference
from fastpg.exports import c_header, check, plan
from tests.support.heads import BOTH, SQUASHED, STATE_STD, options_of, oracle_of

REAL = Box(-np.inf, np.inf, (5,))
BOX = Box(np.array([-1.0, -np.inf, 0.0], np.float32), np.array([0.5, np.inf, np.inf], np.float32))
CASES = {
    "discrete": (REAL, Discrete(3, start=-4), (17, 9), "tanh"),
    "one action": (REAL, Discrete(1), (4,), "relu"),
    "multi-discrete": (REAL, MultiDiscrete([[2, 5], [1, 3]], start=[[0, 7], [1, -1]]), (8,), "relu"),
    "multi-binary": (REAL, MultiBinary(6), (8, 8, 8), "tanh"),
    "box": (REAL, BOX, (16,), "tanh"),
    "box of another shape": (REAL, Box(-0.3, 0.3, (2, 2)), (), "tanh"),
    "scaled box": (REAL, Box(np.array([0.0, -3.0]), np.array([100.0, -1.0]), dtype=np.float64), (8,), "tanh"),
    "categories": (Discrete(7, start=3), Discrete(4), (8,), "tanh"),
    "many categories": (Tuple([Discrete(3, start=1), Discrete(2)]), BOX, (8,), "tanh"),
    "linear of categories": (MultiDiscrete([3, 4]), MultiBinary(2), (), "tanh"),
    "squashed": (REAL, SQUASHED, (16,), "tanh"),
    "std of the state": (REAL, STATE_STD, (), "tanh"),
    "both": (Discrete(7), BOTH, (8,), "relu"),
}
COUNT = 10_000
STRICT = ["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]


def made(name):
    observations, actions, hidden, activation = CASES[name]
    options = options_of(actions) or {"action_scaling": name == "scaled box"}
    policy = fastpg.Policy(observations, actions, hidden=hidden, activation=activation, **options)
    oracle_of(policy, seed=len(name))
    return policy


def uniforms_of(policy, seed, step, count):
    """What `act` draws with: philox.h numbers rows, steps and draws."""
    draws = plan.plan_of("", policy, "x").num_uniforms
    which, k = np.meshgrid(np.arange(count), np.arange(draws), indexing="ij")
    counter = np.stack([which, np.full_like(which, step // 4), np.zeros_like(which), k << 8], axis=-1).astype(
        np.uint32
    )
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32)
    words = reference.philox4x32(counter, np.broadcast_to(key, (*which.shape, 2)))[..., step % 4]
    return (((words >> 9) + 0.5) / 2**23).astype(np.float32)


def loaded_onnx(path, policy):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def act(obs, uniforms, mask=None):
        given = {"obs": obs, "uniforms": uniforms, "action_mask": mask}
        return session.run(["action", "outputs"], {k: v for k, v in given.items() if v is not None})

    return act


def loaded_pt2(path, policy):
    torch = pytest.importorskip("torch")
    module = torch.export.load(path).module()

    def act(*arrays):
        return [one.numpy() for one in module(*(torch.from_numpy(one) for one in arrays if one is not None))]

    return act


def loaded_h(path, policy):
    subprocess.run([*STRICT, "-fsyntax-only", "-x", "c", path], check=True)  # nothing used is nothing wrong
    return c_header._compiled("", plan.plan_of("", policy, path.stem), path.read_text(), STRICT, path.parent)


LOADED = {".onnx": loaded_onnx, ".pt2": loaded_pt2, ".h": loaded_h}


@pytest.mark.slow
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("ending", LOADED)
@pytest.mark.parametrize("name", CASES)
def test_what_is_exported_acts_as_the_policy(name, ending, sampled, tmp_path):
    policy = made(name)
    if ending == ".onnx":
        pytest.importorskip("onnx")
    path = tmp_path / f"policy{ending}"
    policy.export(path, sampled=sampled and ending != ".h")
    act = LOADED[ending](path, policy)
    described = plan.plan_of("", policy, "policy")
    obs = check.observations(described, policy, np.random.default_rng(1), COUNT)
    uniforms = uniforms_of(policy, 5, 6, COUNT) if sampled else None
    actions, outputs = act(obs, uniforms)
    given = check._as_space(policy, obs)
    wanted = _core.logits(policy.network, policy.theta, policy.observations.rows("", given)[0])
    np.testing.assert_allclose(outputs, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
    expected = policy.act(given, seed=5, step=6, deterministic=not sampled)
    if described.head == "gaussian":
        expected = policy.env_actions(expected).astype(np.float32)
        if policy.squash:
            assert ((policy.action_space.low < actions) & (actions < policy.action_space.high)).all()
        near = 4e-6 if sampled else 1e-6
        near *= 5 if described.state_std else 1  # of a std of up to e^2
        near *= max(1.0, np.abs(described.half).max(initial=0.0))
        np.testing.assert_allclose(actions, expected, rtol=1e-6, atol=near)
    else:  # rounding may tip an action over whose uniform, or rival, is as near as that
        assert (actions != expected).mean() < 1e-3
    assert actions.shape == expected.shape
    assert actions.dtype == expected.dtype
    assert all(policy.action_space.contains(one) for one in actions[:50].astype(policy.action_space.dtype))


@pytest.mark.slow
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("ending", LOADED)
def test_what_is_exported_with_masks_heeds_them_as_the_policy(ending, sampled, tmp_path):
    pytest.importorskip({".onnx": "onnx", ".pt2": "torch", ".h": "numpy"}[ending])
    policy, path = made("multi-discrete"), tmp_path / f"policy{ending}"
    policy.export(path, **({} if ending == ".h" else {"sampled": sampled, "masked": True}))
    described, rng = plan.plan_of("", policy, "policy"), np.random.default_rng(2)
    obs, mask = check.observations(described, policy, rng, COUNT), check.masks(described, rng, COUNT)
    uniforms = uniforms_of(policy, 5, 6, COUNT) if sampled else None
    actions, outputs = LOADED[ending](path, policy)(obs, uniforms, mask)
    wanted = _core.logits(policy.network, policy.theta, policy.observations.rows("", obs)[0])
    np.testing.assert_allclose(outputs, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
    expected = policy.act(obs, seed=5, step=6, deterministic=not sampled, action_mask=mask)
    assert actions.shape == expected.shape and (actions != expected).mean() < 1e-3
    assert check.are_allowed(described, actions, mask)
    assert not check.are_allowed(described, policy.act(obs, seed=1), mask)


@pytest.mark.parametrize("ending", [".onnx", ".h", pytest.param(".pt2", marks=pytest.mark.slow)])
def test_what_a_mask_does_not_allow_is_not_drawn_where_rounding_leaves_a_rest(ending, tmp_path):
    """As in test_action_masks.py: cumulative probabilities may end below a uniform."""
    pytest.importorskip({".onnx": "onnx", ".pt2": "torch", ".h": "numpy"}[ending])
    policy, path = fastpg.Policy(Box(-1, 1, (1,)), Discrete(512), hidden=()), tmp_path / f"policy{ending}"
    policy.theta[:] = 0
    policy.export(path, **({} if ending == ".h" else {"sampled": True, "masked": True}))
    allowed = np.arange(200, 512)
    mask = np.arange(512) < allowed[:, None]
    nearly_one = np.full((len(mask), 1), np.nextafter(np.float32(1), np.float32(0)))
    actions, _ = LOADED[ending](path, policy)(np.zeros((len(mask), 1), np.float32), nearly_one, mask)
    assert (actions < allowed).all() and (actions >= allowed - 2).all()


@pytest.mark.slow
def test_normalised_observations_and_bounds_go_along(tmp_path):
    pytest.importorskip("onnx")
    run = fastpg.train(
        "Pendulum-v1", fastpg.VPG(normalize_observations=True), horizon=64, total_steps=20_000, hidden=(16,)
    )
    for ending, load in LOADED.items():
        path = tmp_path / f"pendulum{ending}"
        run.policy.export(path)
        env = gymnasium.make("Pendulum-v1")
        seen = np.stack([env.observation_space.sample() for _ in range(1000)])
        actions, _ = load(path, run.policy)(seen, None)
        np.testing.assert_allclose(
            actions, np.clip(run.policy.act(seen, deterministic=True), -2, 2), atol=2e-6
        )


def test_a_header_is_c_that_strict_compilers_take(tmp_path):
    policy = made("multi-discrete")
    policy.export(tmp_path / "3 a-b.h")
    text = (tmp_path / "3 a-b.h").read_text()
    assert "static inline void policy_3_a_b_act(const float *obs, int64_t *action)" in text
    assert "nan" not in text
    for standard in ("-std=c99", "-std=c11"):
        subprocess.run([*STRICT, standard, "-fsyntax-only", "-x", "c", tmp_path / "3 a-b.h"], check=True)


def test_numbers_of_a_header_read_back_to_the_bit():
    values = np.random.default_rng(0).integers(0, 2**32, 2000, dtype=np.uint32).view(np.float32)
    for value in [*values[np.isfinite(values)], np.float32(3.0), np.float32(1e10), np.float32(0.0)]:
        text = c_header._number(float(value))
        assert text.endswith("f") and set(text) & {".", "e"}
        assert np.float32(text[:-1]).tobytes() == value.tobytes()


@pytest.mark.parametrize("ending", [".onnx", ".pt2", ".h"])
def test_what_acts_otherwise_is_not_written(ending, tmp_path, monkeypatch):
    pytest.importorskip({".onnx": "onnx", ".pt2": "torch", ".h": "numpy"}[ending])
    policy = made("discrete")
    original = plan.plan_of

    def wrong(*arguments):
        found = original(*arguments)
        found.layers[1][1][0] += 1e-3
        return found

    monkeypatch.setattr(plan, "plan_of", wrong)
    with pytest.raises(RuntimeError, match=r"^Policy.export\(\): what was exported computes something else"):
        policy.export(tmp_path / f"policy{ending}")
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_sentences(tmp_path, monkeypatch):
    policy = made("discrete")
    for path in ("policy.pt", "policy", ".onnx", "policy.H"):
        with pytest.raises(ValueError, match=r"the ending of path must be one of '.onnx'"):
            policy.export(tmp_path / path)
    with pytest.raises(ValueError, match="directory that does not exist"):
        policy.export(tmp_path / "missing" / "policy.h")
    with pytest.raises(ValueError, match="a header has both ways"):
        policy.export(tmp_path / "policy.h", sampled=True)
    with pytest.raises(TypeError, match="sampled must be True or False"):
        policy.export(tmp_path / "policy.onnx", sampled=1)
    with pytest.raises(ValueError, match=r"masked goes with '\.onnx'"):
        policy.export(tmp_path / "policy.h", masked=True)
    with pytest.raises(TypeError, match="masked must be True or False"):
        policy.export(tmp_path / "policy.onnx", masked=1)
    for name in ("box", "multi-binary"):
        with pytest.raises(ValueError, match=r"^Policy.export\(\): action masks go with Discrete and Multi"):
            made(name).export(tmp_path / "policy.onnx", masked=True)
    policy.theta[3] = np.nan
    with pytest.raises(ValueError, match="theta must be finite"):
        policy.export(tmp_path / "policy.h")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"needs onnx: pip install '.\[export\]'"):
        made("discrete").export(tmp_path / "policy.onnx")
    assert set(exports.ENDINGS) == set(LOADED)
