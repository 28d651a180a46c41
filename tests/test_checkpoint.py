"""Checkpoints: what is saved is what is loaded, and anything else is refused in a sentence."""

import json

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fastpg


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.safetensors"


def rewrite(path, *, tensors=None, metadata=None):
    """Change parts of a checkpoint."""
    with safe_open(path, framework="numpy") as file:
        before = file.metadata()
    save_file({**load_file(path), **(tensors or {})}, path, {**before, **(metadata or {})})


@pytest.mark.parametrize("hidden", [(), (8,), (5, 4, 3)], ids=str)
def test_a_policy_comes_back_as_it_was(hidden, path):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=hidden, activation="relu", seed=3)
    policy.save(path)
    loaded = fastpg.Policy.load(path)
    assert repr(loaded) == repr(policy)
    assert (loaded.theta == policy.theta).all()
    assert loaded.observation_space == policy.observation_space  # bounds, infinite ones too
    assert loaded.action_space == policy.action_space


def test_a_policy_without_an_environment_comes_back_without_one(path):
    fastpg.Policy(Box(-1, 2, (3,), np.float64), Discrete(5), hidden=(4,)).save(path)
    loaded = fastpg.Policy.load(path)
    assert loaded.env_id is None
    assert loaded.observation_space == Box(-1, 2, (3,), np.float64)


def test_other_programs_can_read_the_tensors(policy, path):
    policy.save(path)
    tensors = load_file(path)
    assert tensors.keys() == policy.parameters().keys()
    assert (tensors["head.weight"] == policy.parameters()["head.weight"]).all()
    with safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["action_space"]) == {"type": "Discrete", "n": 2}


def test_saving_replaces_the_file_and_leaves_nothing_else(policy, path):
    path.write_bytes(b"older")
    policy.save(path)
    assert fastpg.Policy.load(path).env_id == "CartPole-v1"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_file(policy, path, monkeypatch):
    policy.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    policy.theta[:] = 1.0
    with pytest.raises(OSError, match="disk full"):
        policy.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_every_truncation_is_refused(policy, path):
    policy.save(path)
    whole = path.read_bytes()
    for length in [*range(16), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(
            fastpg.CheckpointError, match=r"Policy.load\(\): .*policy.safetensors' is damaged"
        ):
            fastpg.Policy.load(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04K\x01.", b"\xff" * 100, bytes(100)], ids=repr)
def test_foreign_bytes_are_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(fastpg.CheckpointError, match="damaged or not a safetensors file"):
        fastpg.Policy.load(path)


def test_another_programs_safetensors_are_refused(path):
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(fastpg.CheckpointError, match="not of a fastpg policy"):
        fastpg.Policy.load(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"metadata": {"format_version": "99"}}, "format version '99'; this fastpg reads '1'"),
        ({"metadata": {"hidden": "[9]"}}, r"hidden.0.weight must be float32 of shape \(9, 4\)"),
        ({"metadata": {"hidden": "[]"}}, "holds the tensors"),
        ({"metadata": {"hidden": "[-1]"}}, r"unusable metadata .*hidden\[0\]"),
        ({"metadata": {"hidden": "nonsense"}}, "unusable metadata"),
        ({"metadata": {"hidden": "[1,1,1,1]"}}, "at most 3 layers"),
        ({"metadata": {"activation": "gelu"}}, "unusable metadata .*activation"),
        ({"metadata": {"action_space": '{"type": "Text"}'}}, "unusable metadata .*Text"),
        ({"metadata": {"action_space": '{"type": "Discrete", "n": -2}'}}, "unusable metadata"),
        ({"metadata": {"observation_space": "[]"}}, "unusable metadata"),
        ({"tensors": {"extra": np.zeros(1, np.float32)}}, "holds the tensors .*extra"),
        ({"tensors": {"head.bias": np.zeros(2, np.float64)}}, "head.bias must be float32 .* got float64"),
        (
            {"tensors": {"head.bias": np.zeros(3, np.float32)}},
            r"head.bias must be .* got float32 of shape \(3,\)",
        ),
        ({"tensors": {"head.bias": np.array([0, np.nan], np.float32)}}, "head.bias holds NaN or infinite"),
        ({"tensors": {"head.bias": np.array([0, np.inf], np.float32)}}, "head.bias holds NaN or infinite"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(change, sentence, policy, path):
    policy.save(path)
    rewrite(path, **change)
    with pytest.raises(fastpg.CheckpointError, match=sentence):
        fastpg.Policy.load(path)


def test_a_missing_file_is_a_missing_file(path):
    with pytest.raises(FileNotFoundError):
        fastpg.Policy.load(path)


def test_parameters_that_are_not_finite_are_not_saved(policy, path):
    policy.theta[3] = np.nan
    with pytest.raises(ValueError, match=r"Policy.save\(\): theta must be finite, but theta\[3\] is nan"):
        policy.save(path)
    assert not path.exists()


def test_saving_into_a_missing_directory_says_so(policy, tmp_path):
    with pytest.raises(ValueError, match="directory that does not exist"):
        policy.save(tmp_path / "nowhere" / "policy.safetensors")
