"""Files of policies and value functions: what is saved is what is loaded, anything else is a sentence."""

import json
import os
import resource

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fastpg
from fastpg.networks import safetensors_bytes


@pytest.fixture(params=[fastpg.Policy, fastpg.ValueFunction], ids=["policy", "value"])
def kind(request):
    return request.param


@pytest.fixture
def network(kind):
    return kind.for_env("CartPole-v1", hidden=(8,))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.safetensors"


def rewrite(path, *, tensors=None, metadata=None):
    """Change parts of a checkpoint."""
    with safe_open(path, framework="numpy") as file:
        before = file.metadata()
    save_file({**load_file(path), **(tensors or {})}, path, {**before, **(metadata or {})})


def last(number):
    """Return eight biases, the last of them this one."""
    return np.array([0] * 7 + [number], np.float32)


@pytest.mark.parametrize("hidden", [(), (8,), (5, 4, 3)], ids=str)
def test_what_is_saved_comes_back_as_it_was(hidden, kind, path):
    network = kind.for_env("CartPole-v1", hidden=hidden, activation="relu", seed=3)
    network.save(path)
    loaded = kind.load(path)
    assert type(loaded) is kind and repr(loaded) == repr(network)
    assert (loaded.theta == network.theta).all()
    assert loaded.observation_space == network.observation_space  # bounds, infinite ones too
    assert kind is fastpg.ValueFunction or loaded.action_space == network.action_space


@pytest.mark.parametrize(
    "space",
    [Box(-1, 2, (3,), np.float64), Discrete(3, start=2), MultiDiscrete([2, 3]), Tuple([Discrete(2)] * 2)],
    ids=str,
)
def test_a_value_function_of_any_space_comes_back(space, path):
    value = fastpg.ValueFunction(space, hidden=(4,), seed=3)
    value.save(path)
    loaded = fastpg.ValueFunction.load(path)
    obs = space.sample()
    obs = np.asarray(obs, np.float32) if isinstance(space, Box) else obs
    assert loaded.observation_space == space and loaded(obs) == value(obs)


def test_a_policy_without_an_environment_comes_back_without_one(path):
    fastpg.Policy(Box(-1, 2, (3,), np.float64), Discrete(5), hidden=(4,)).save(path)
    loaded = fastpg.Policy.load(path)
    assert loaded.env_id is None
    assert loaded.observation_space == Box(-1, 2, (3,), np.float64)


def test_other_programs_can_read_the_tensors(network, path):
    network.save(path)
    tensors = load_file(path)
    assert tensors.keys() == network.parameters().keys()
    assert (tensors["head.weight"] == network.parameters()["head.weight"]).all()
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["hidden"]) == [8]
    assert json.loads(metadata["observation_space"])["type"] == "Box"
    if "action_space" in network.SPACES:
        assert json.loads(metadata["action_space"]) == {"type": "Discrete", "n": 2}


def test_equal_networks_have_equal_bytes(network, path, tmp_path):
    network.save(path)
    for number in range(5):  # safetensors' own writer orders the metadata anew at each call
        network.copy().save(tmp_path / f"{number}.safetensors")
        assert (tmp_path / f"{number}.safetensors").read_bytes() == path.read_bytes()


def test_bytes_are_those_of_a_safetensors_file_whatever_the_metadata_says(path):
    tensors = {"a": np.arange(3, dtype=np.float32), "b": np.eye(2)}
    for metadata in ({}, {"z": 'é \u001f "quoted" \\ \U0001f980', "a": "1" * 5}):
        path.write_bytes(safetensors_bytes.content(tensors, metadata))
        with safe_open(path, framework="numpy") as file:
            assert (file.metadata() or {}) == metadata
        loaded = load_file(path)
        assert loaded.keys() == tensors.keys()
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(loaded[name], tensor, strict=True)


def test_saving_replaces_the_file_and_leaves_nothing_else(kind, network, path):
    path.write_bytes(b"older")
    network.save(path)
    assert (kind.load(path).theta == network.theta).all()
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_file(network, path, monkeypatch):
    network.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    network.theta[:] = 1.0
    with pytest.raises(OSError, match="disk full"):
        network.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_every_truncation_is_refused(kind, network, path):
    network.save(path)
    whole = path.read_bytes()
    for length in [*range(16), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(
            fastpg.CheckpointError, match=rf"{kind.__name__}.load\(\): .*network.safetensors' is damaged"
        ):
            kind.load(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04K\x01.", b"\xff" * 100, bytes(100)], ids=repr)
def test_foreign_bytes_are_refused(kind, content, path):
    path.write_bytes(content)
    with pytest.raises(fastpg.CheckpointError, match="damaged or not a safetensors file"):
        kind.load(path)


def test_another_programs_safetensors_are_refused(path, kind):
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(fastpg.CheckpointError, match=f"not of a fastpg {kind.NOUN}"):
        kind.load(path)


@pytest.mark.parametrize(
    ("saved", "loaded", "sentence"),
    [
        (fastpg.ValueFunction, fastpg.Policy, "a value function: load it with fastpg.ValueFunction.load()"),
        (fastpg.Policy, fastpg.ValueFunction, "a policy: load it with fastpg.Policy.load()"),
    ],
    ids=["a value function as a policy", "a policy as a value function"],
)
def test_a_file_of_the_other_kind_says_who_loads_it(saved, loaded, sentence, path):
    saved.for_env("CartPole-v1").save(path)
    with pytest.raises(fastpg.CheckpointError) as caught:
        loaded.load(path)
    assert str(caught.value) == f"{loaded.__name__}.load(): {str(path)!r} holds {sentence}"


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
        ({"metadata": {"observation_space": '{"type": "Text"}'}}, "unusable metadata .*Text"),
        ({"metadata": {"observation_space": '{"type": "Discrete", "n": -2}'}}, "unusable metadata"),
        ({"metadata": {"observation_space": "[]"}}, "unusable metadata"),
        ({"tensors": {"extra": np.zeros(1, np.float32)}}, "holds the tensors .*extra"),
        ({"tensors": {"head.bias": np.zeros(2, np.float64)}}, "head.bias must be float32 .* got float64"),
        (
            {"tensors": {"head.bias": np.zeros(3, np.float32)}},
            r"head.bias must be .* got float32 of shape \(3,\)",
        ),
        ({"tensors": {"hidden.0.bias": last(np.nan)}}, "hidden.0.bias holds NaN or infinite"),
        ({"tensors": {"hidden.0.bias": last(np.inf)}}, "hidden.0.bias holds NaN or infinite"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(change, sentence, kind, network, path):
    network.save(path)
    rewrite(path, **change)
    with pytest.raises(fastpg.CheckpointError, match=sentence):
        kind.load(path)


@pytest.mark.parametrize("space", ['{"type": "Text"}', '{"type": "Discrete", "n": -2}'])
def test_action_spaces_that_do_not_fit_are_refused(space, policy, path):
    policy.save(path)
    rewrite(path, metadata={"action_space": space})
    with pytest.raises(fastpg.CheckpointError, match="unusable metadata"):
        fastpg.Policy.load(path)


def test_a_missing_file_is_a_missing_file(kind, path):
    with pytest.raises(FileNotFoundError):
        kind.load(path)


def test_parameters_that_are_not_finite_are_not_saved(kind, network, path):
    network.theta[3] = np.nan
    words = rf"{kind.__name__}.save\(\): {kind.THETA} must be finite, but {kind.THETA}\[3\] is nan"
    with pytest.raises(ValueError, match=words):
        network.save(path)
    assert not path.exists()


def test_saving_into_a_missing_directory_says_so(network, tmp_path):
    with pytest.raises(ValueError, match="directory that does not exist"):
        network.save(tmp_path / "nowhere" / "policy.safetensors")


def parts(path):
    """Return the header of a file, as JSON, and the bytes after it."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def put(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.fixture
def refused(kind, path):
    """Require that loading is refused."""

    def check(sentence):
        with pytest.raises(fastpg.CheckpointError, match=f"{kind.__name__}.load.*{sentence}"):
            kind.load(path)

    return check


def small(kind, hidden):
    """Return a network with everything that a file can have."""
    if kind is fastpg.ValueFunction:
        return kind(Box(-1, 1, (2,)), hidden=hidden)
    policy = kind(Box(-1, 1, (2,)), Discrete(2), hidden=hidden)
    policy.env_id = "Some-v0"
    return policy


@pytest.mark.slow
def test_any_flip_of_a_bit_is_refused(kind, path, rng, refused):
    small(kind, (2,)).save(path)
    content = path.read_bytes()
    for position in rng.choice(8 * len(content), 1500, replace=False):  # all of them were tried: 20 s
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        refused("")


@pytest.mark.parametrize("seed", range(10))
def test_files_with_any_damage_are_refused(seed, kind, network, path):
    rng = np.random.default_rng(seed)
    network.save(path)
    content = path.read_bytes()
    for _ in range(100):
        start, end, other = rng.integers(0, len(content), 3)
        end = min(end, start + 40)
        inserted = [rng.bytes(9), b"", content[other : other + 30], b"[" * 5000][rng.integers(4)]
        damaged = content[:start] + inserted + content[max(start, end) :]
        path.write_bytes(damaged)
        try:
            loaded = kind.load(path)
        except fastpg.CheckpointError:
            continue
        assert (loaded.theta == network.theta).all()
        assert repr(loaded) == repr(network)


def test_the_checksum_is_of_the_metadata_too(kind, path, refused):
    small(kind, (2, 2)).save(path)
    header, data = parts(path)
    metadata = header["__metadata__"]
    changes = {
        "hidden": "[2,2]",
        "observation_space": metadata["observation_space"].replace("1.0", "2.0"),
        "fastpg_version": "0",
        "sha256": "0",
        **{label: "0" for label in kind.LABELS},
    }
    for name, change in changes.items():
        put(path, header | {"__metadata__": metadata | {name: change}}, data)
        refused("checksum")


def test_the_checksum_is_of_the_parameters(network, path, refused):
    network.save(path)
    rewrite(path, tensors={"head.bias": np.array([0, 1e-45], np.float32)})
    refused("checksum")


def test_files_that_are_older_than_the_checksum_load(kind, network, path):
    network.save(path)
    header, data = parts(path)
    del header["__metadata__"]["sha256"]
    put(path, header, data)
    loaded = kind.load(path)
    assert (loaded.theta == network.theta).all()


def test_a_file_of_version_0_1_loads(path):
    # Written out, so that a name in the format cannot change on both sides unseen.
    metadata = {
        "format": "fastpg.policy",
        "format_version": "1",
        "fastpg_version": "0.1.0",
        "observation_space": '{"type": "Box", "dtype": "float32", "low": [-1.0, -1.0], "high": [1.0, 1.0]}',
        "action_space": '{"type": "Discrete", "n": 2}',
        "hidden": "[]",
        "activation": "tanh",
        "env_id": "Some-v0",
        "sha256": "d51dc7c756554699459272c03d8ddcee7f91c102cc34058dface6c9c70b2334d",
    }
    header = {
        "__metadata__": metadata,
        "head.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "head.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]},
    }
    put(path, header, np.array([5, 6, 1, 2, 3, 4], "<f4").tobytes())
    loaded = fastpg.Policy.load(path)
    assert loaded.theta.tolist() == [1, 2, 3, 4, 5, 6]
    assert (loaded.observation_space, loaded.action_space) == (Box(-1, 1, (2,)), Discrete(2))
    assert (loaded.hidden, loaded.activation, loaded.env_id) == ((), "tanh", "Some-v0")
    loaded.save(path)
    written = parts(path)[0]["__metadata__"]
    of_this_version = {"fastpg_version": fastpg.__version__, "sha256": written["sha256"]}
    assert written == metadata | of_this_version


def test_metadata_that_lack_something_or_have_more_are_refused(kind, network, path, refused):
    network.save(path)
    header, data = parts(path)
    metadata = header["__metadata__"]
    for name in metadata.keys() - {"sha256", *kind.LABELS}:
        put(path, header | {"__metadata__": metadata | {name + "x": metadata[name]}}, data)
        refused("unknown")
        put(path, header | {"__metadata__": {key: metadata[key] for key in metadata.keys() - {name}}}, data)
        refused("" if name in ("format", "format_version") else "without")


@pytest.mark.parametrize(
    "dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F64", "I64", "BOOL", "nonsense", None, 3, []]
)
def test_tensors_of_other_types_are_refused(dtype, network, path, refused):
    network.save(path)
    header, data = parts(path)
    header["head.bias"]["dtype"] = dtype
    put(path, header, data)
    refused("head.bias must be float32 of shape")


@pytest.mark.parametrize(
    "shape", [[], [0], [2, 0], [2**63], [2**64], [-2], [[2]], [2.5], None, "2", {}], ids=str
)
def test_tensors_of_other_shapes_are_refused(shape, network, path, refused):
    network.save(path)
    header, data = parts(path)
    header["head.bias"]["shape"] = shape
    put(path, header, data)
    refused("head.bias must be float32 of shape")


@pytest.mark.parametrize("offsets", [[4, 12], [8, 0], [2**63, 2**64], [-8, 0], [], None, [0, 7]], ids=str)
def test_tensors_that_lie_elsewhere_are_refused(offsets, network, path, refused):
    network.save(path)
    header, data = parts(path)
    header["head.bias"]["data_offsets"] = offsets
    put(path, header, data)
    refused("damaged")


@pytest.mark.parametrize("name", ["observation_space", "action_space", "hidden"])
@pytest.mark.parametrize(
    "value",
    [
        "[" * 100_000,
        '{"type": "Tuple", "spaces": [' * 300 + "]}" * 300,
        *(
            f'{{"type": "Discrete", "n": {n}}}'
            for n in (2**63 - 1, 2**63, 2**64, -(2**63) - 1, 1e999, "null")
        ),
        f'{{"type": "Discrete", "n": 2, "start": {2**70}}}',
        f'{{"type": "MultiDiscrete", "nvec": [{2**63}], "start": [0]}}',
        '{"type": "MultiBinary", "n": 100000000000000}',
        '{"type": "Box", "dtype": "float32", "low": [], "high": []}',
        '{"type": "Box", "dtype": "U90000000", "low": [0], "high": [1]}',
        '{"type": "Box", "dtype": "O", "low": [0], "high": [1]}',
        '{"type": "Box", "dtype": "float32", "low": [0], "high": [1, 2]}',
        f"[{2**70}]",
        "null",
        "NaN",
        "",
    ],
    ids=lambda value: value[:50],
)
def test_metadata_of_any_nonsense_are_refused(name, value, network, path, refused):
    network.save(path)
    rewrite(path, metadata={name: value})
    refused("unusable metadata")


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b"[]",
        b"null",
        b"3",
        b'{"__metadata__": []}',
        b'{"__metadata__": null}',
        b'{"__metadata__": {"format": 3}}',
        b'{"__metadata__": {"format": "fastpg.policy"}}',
        b'{"__metadata__": {"format": "fastpg.policy", "format_version": []}}',
        b'{"a": ' * 3000 + b"1" + b"}" * 3000,
        b"\xff{}",
        b"",
    ],
    ids=lambda header: repr(header[:40]),
)
def test_headers_of_any_nonsense_are_refused(header, path, refused):
    put(path, header, b"")
    refused("")


def test_a_name_that_is_there_twice_is_refused(network, path, refused):
    network.save(path)
    header, data = parts(path)
    text = json.dumps(header).encode()
    put(path, text[:-1] + b', "head.bias": ' + json.dumps(header["head.bias"]).encode() + b"}", data)
    refused("twice")


@pytest.mark.parametrize("length", [0, 7, 2**31, 2**63, 2**64 - 1])
def test_a_large_file_of_something_else_is_not_read(length, path, refused):
    with open(path, "wb") as file:
        file.write(length.to_bytes(8, "little") + b"{}")
        file.truncate(2**33)
    before = peak()
    refused("damaged")
    assert peak() - before < 2**28


def test_a_large_file_of_another_program_is_not_read(kind, path, refused):
    large = {"weight": {"dtype": "F32", "shape": [2**31], "data_offsets": [0, 2**33]}}
    put(path, large, b"")
    os.truncate(path, path.stat().st_size + 2**33)
    before = peak()
    refused(f"not of a fastpg {kind.NOUN}")
    assert peak() - before < 2**28


def test_a_file_with_more_after_it_is_not_read_to_its_end(network, path, refused):
    network.save(path)
    os.truncate(path, 2**33)
    before = peak()
    refused("damaged: it has 8,589,934,592 bytes")
    assert peak() - before < 2**28


def peak():
    """Return the most memory that the process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_pipes_and_devices_are_refused_without_waiting(path, refused):
    os.mkfifo(path)
    refused("a pipe or a device")
    path.unlink()
    path.symlink_to("/dev/zero")
    refused("a pipe or a device")


def test_what_is_checked_is_what_is_written(kind, network, path, monkeypatch):
    # Another thread writes into theta after it was found to be finite.
    checked = kind.checked_theta

    def check(self, where):
        theta = checked(self, where)
        network.theta[:] = np.nan
        return theta

    monkeypatch.setattr(kind, "checked_theta", check)
    network.save(path)
    assert np.isfinite(kind.load(path).theta).all()
