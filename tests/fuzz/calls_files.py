"""Files and the command line: saving and loading, bytes that were changed, lists of arguments."""

import contextlib
import functools
import io
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

import fastpg
from fastpg.cli import main as cli

from . import calls_policies
from .calls_runs import ODD_PATHS
from .judge import Call
from .values import one_of

TEMPORARY = tempfile.TemporaryDirectory(prefix="fastpg-fuzz-")
FOLDER = Path(TEMPORARY.name)
FILE = FOLDER / "policy.safetensors"


@functools.cache
def saved(kind=fastpg.Policy):
    network = kind.for_env("CartPole-v1", hidden=(3,))
    network.save(FILE)
    return network, FILE.read_bytes()


@st.composite
def damaged(draw, kind):
    """Draw the bytes of a file of a policy or a value function, with something wrong in them."""
    _, data = saved(kind)
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    damage = draw(one_of(["bit", "bit", "bit", "cut", "bytes", "header", "metadata", "tensor", "length"]))
    if damage == "bit":
        changed = bytearray(data)
        changed[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
        return bytes(changed)
    if damage == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if damage == "bytes":
        return draw(st.binary(max_size=40))
    if damage == "length":
        return struct.pack("<Q", draw(one_of([0, size - 1, size + 1, 2**31, 2**63, 2**64 - 1]))) + data[8:]
    if damage == "header":
        text = draw(
            one_of(
                [
                    "{}",
                    "[]",
                    "null",
                    "1",
                    '"x"',
                    "[" * 10**5,
                    '{"a":' * 10**5,
                    "{" + " " * 999 + "}",
                    '{"a": 1}',
                ]
            )
        )
        return _file(text, body)
    if damage == "metadata":
        key = draw(one_of(["hidden", "activation", *kind.SPACES, "env_id", "format", "format_version"]))
        header["__metadata__"][key] = draw(one_of(METADATA))
        if draw(st.booleans()):
            del header["__metadata__"][key]
        return _file(json.dumps(header), body)
    name = draw(one_of(sorted(header.keys() - {"__metadata__"})))
    key, value = draw(
        one_of([("dtype", dtype) for dtype in ("BF16", "F16", "F64", "F8_E4M3", "I32", "U8", "BOOL", "C64", "x", "")]
               + [("shape", shape) for shape in ([], [3], [2**62, 2], [-1], [0], [1.5], None, "x")]
               + [("data_offsets", ends) for ends in ([0, 4], [4, 0], [0, 2**63], [-4, 0], [0], None)])
    )  # fmt: skip
    header[name][key] = value
    return _file(json.dumps(header), body)


DEEP = "[" * 10**5 + "]" * 10**5
METADATA = [
    "", "x", "null", "[]", "{}", "[3]", "[0]", "[600]", "[1e3]", "[" + "9" * 5000 + "]", "NaN", DEEP, "9" * 5000, "tanh", "relu",
    '{"type": "Discrete", "n": 3}', '{"type": "Discrete", "n": -1}', '{"type": "Discrete", "n": 1e400}',
    '{"type": "Discrete", "n": 99999999999999999999999}', '{"type": "Discrete", "n": 9223372036854775808}',
    '{"type": "Discrete", "n": 2, "start": 99999999999999999999}', '{"type": "Discrete", "n": null}', '{"type": "Tuple", "spaces": 3}',
    '{"type": "Tuple", "spaces": []}', '{"type": "MultiDiscrete", "nvec": [2], "start": [1, 2]}', '{"type": ["Box"]}',
    '{"type": "MultiDiscrete", "nvec": [9223372036854775807, 9], "start": [0, 0]}', '{"type": "MultiBinary", "n": 1e9}',
    '{"type": "MultiBinary", "n": 9999999999999}', '{"type": "Box", "dtype": "float32", "low": ["a"], "high": [1]}',
    '{"type": "Box", "dtype": "O", "low": [0, 0, 0, 0], "high": [1, 1, 1, 1]}', '{"type": "Box", "dtype": "M8[s]", "low": [0], "high": [1]}',
    '{"type": "Box", "dtype": "float32", "low": [0, 0, 0, 0], "high": [1]}', '{"type": "Box", "dtype": "V99999999999", "low": [0], "high": [1]}',
    '{"type": "Box", "dtype": "f4", "low": 3, "high": 4}', '{"type": "Box", "dtype": "f4,f4", "low": [0], "high": [1]}',
    '{"type": "Tuple", "spaces": [' + '{"type": "Tuple", "spaces": [' * 2000 + "]}" * 2001, "2", "\ud800", "\0",
]  # fmt: skip


def _file(header, body):
    text = header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def load_bytes(kind, data):
    FILE.write_bytes(data)
    try:
        return kind.load(FILE)
    except fastpg.CheckpointError as error:
        assert "\n" not in str(error) and str(error).startswith(f"{kind.__name__}.load(): ")
        return None


def check_loaded(given, network):
    if network is not None:
        right = saved(given["kind"])[0].theta
        assert np.array_equal(network.theta, right), "damage loads as other parameters"


def save_and_load(self, path):
    self.save(path)
    return type(self).load(path)


def saved_for_loading(kind):
    path = FOLDER / "load.safetensors"
    saved(kind)[0].save(path)
    return {"path": str(path)}


def calls(kind):
    """Return the calls of the files of policies or of value functions."""
    name = kind.__name__
    return {
        f"{name}.save": Call(
            save_and_load,
            st.fixed_dictionaries(
                {"self": calls_policies.networks(kind), "path": st.just(str(FOLDER / "save.safetensors"))}
            ),
            (f"{name}.save()",),
            lambda given, loaded: calls_policies.check_theta({**given, "theta": loaded.theta}, None),
            odd={"path": ODD_PATHS},
            words={"self": ("theta",)},
            raises=(OSError,),
        ),
        f"{name}.load": Call(
            kind.load,
            st.builds(saved_for_loading, st.just(kind)),
            (f"{name}.load()",),
            odd={"path": ODD_PATHS},
            raises=(OSError,),
            share=0.5,
        ),
        f"{name}.load of damaged bytes": Call(
            load_bytes,
            st.fixed_dictionaries({"kind": st.just(kind), "data": damaged(kind)}),
            (),
            check_loaded,
            fixed=frozenset(["kind", "data"]),
            share=3.0,
        ),
    }


EXPORT = {
    "Policy.export": Call(
        fastpg.Policy.export,
        st.fixed_dictionaries(
            {
                "self": calls_policies.networks(fastpg.Policy),
                "path": st.just(str(FOLDER / "export.h")),
                "sampled": st.just(False),
                "masked": st.just(False),
            }
        ),
        ("Policy.export()",),
        odd={"path": ODD_PATHS},
        words={"self": ("theta",), "sampled": ("a header",), "masked": ("a header", "action masks")},
        raises=(OSError,),
        share=0.2,
    )
}


# ---- the command line ---------------------------------------------------------------------------------------------

WORDS = [
    "train", "resume", "eval", "render", "export", "--from", "--sampled", "diagnose", "envs", "info", "completion", "--config", "--help", "-h", "--version", "CartPole-v1", "CartPole", "Taxi-v4", "FrozenLake-v1",
    "gym:CartPole-v1", "no_module:X-v0", "", "-", "--", "x", "--env", "--seed", "--gamma", "--hidden", "--algorithm", "vpg", "a2c", "ppo",
    "--no-progress", "--episodes", "--horizon", "--lam", "--activation", "--num-envs", "--stochastic", "--checkpoint", "--plot", "-o", "--fps",
    "None", "nan", "inf", "-1", "0", "3", "1e3", "0.5", "1e309", "9" * 30, "true", "\0", "\ud800", "a b", "{}", "[1]", "--policy",
    str(FOLDER / "p.safetensors"), str(FILE), "/", "/dev/null/x", "--vectorization-mode", "sync", "--target-return", "--max-steps",
]  # fmt: skip
VALID = [
    [
        "train",
        "CartPole-v1",
        "--total-steps",
        "50",
        "--horizon",
        "8",
        "--num-envs",
        "2",
        "--checkpoint",
        str(FOLDER / "c.safetensors"),
    ],
    ["eval", str(FOLDER / "eval.safetensors"), "--episodes", "2", "--max-steps", "20"],
    [
        "diagnose",
        "FrozenLake-v1",
        "--policy",
        str(FOLDER / "lake.safetensors"),
        "--episodes",
        "1",
        "--batches",
        "2",
    ],
    ["render", str(FOLDER / "eval.safetensors"), "-o", str(FOLDER / "a.gif"), "--max-steps", "2"],
    ["export", str(FOLDER / "eval.safetensors"), "-o", str(FOLDER / "a.h")],
    ["envs"],
    ["info"],
]
COSTS = {
    "--total-steps",
    "--max-steps",
    "--batches",
    "--episodes",
    "--policy",
    "--horizon",
    "--num-envs",
    "--env",
}


@st.composite
def command_lines(draw):
    """Draw a command line; with words put in, replaced or left out, but not where they say how much to do."""
    words = list(draw(one_of(VALID)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(words)))
        costs = at > 0 and words[at - 1] in COSTS
        word = draw(one_of(WORDS))
        if costs or (at < len(words) and words[at] in COSTS):
            continue
        kind = draw(one_of(["put", "replace", "drop"]))
        words[at : at + (kind != "put")] = [] if kind == "drop" else [word]
    return words


def run(arguments):
    """Run the command line; return its exit code and what it wrote to stderr."""
    lake = FOLDER / "lake.safetensors"
    if not lake.exists():
        fastpg.Policy.for_env("FrozenLake-v1", hidden=()).save(lake)
        fastpg.Policy.for_env("CartPole-v1", hidden=()).save(FOLDER / "eval.safetensors")
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.chdir(FOLDER), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(arguments)
    except SystemExit as exit_:
        code = exit_.code or 0
        assert code == 0, f"SystemExit({code})"  # --help
    return code, err.getvalue()


def check_run(given, result):
    code, err = result
    assert code in (0, 1, 2), f"exit code {code}"
    if code:
        lines = [line for line in err.splitlines() if line.strip() and "\r" not in line]
        assert lines and lines[-1].startswith("fastpg: "), f"exit code {code} and on stderr {err!r}"
        assert "Traceback" not in err


CALLS = {
    **calls(fastpg.Policy),
    **calls(fastpg.ValueFunction),
    **EXPORT,
    "cli.main": Call(
        run,
        st.fixed_dictionaries({"arguments": command_lines()}),
        (),
        check_run,
        fixed=frozenset(["arguments"]),
        share=0.4,
    ),
}
