"""asv finds the benchmarks, the gate tells a regression from noise, bad arguments get a sentence."""

import ast
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

import fastpg
from tests import ROOT

BENCHMARKS = ROOT / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("a copy without benchmarks/", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

import gate_statistics  # noqa: E402
from suite.environments import Step  # noqa: E402
from suite.rate import Rate, seconds_of_calls, unless_missing  # noqa: E402

pytestmark = pytest.mark.slow

FACTOR, TESTS, ROUNDS = 1.15, 20, 16


def noise(seed: int, spread: float = 0.02) -> np.ndarray:
    """Log-ratios of rounds: heavy tails, as on a machine that others use."""
    return spread * np.random.default_rng(seed).standard_t(3, ROUNDS)


def test_noise_alone_is_never_a_regression():
    verdicts = [gate_statistics.judge(noise(seed), FACTOR, TESTS).verdict for seed in range(2000)]
    assert "slower" not in verdicts


def test_twenty_percent_is_a_regression_in_quiet_rounds():
    verdicts = [
        gate_statistics.judge(noise(seed, 0.01) + np.log(1.2), FACTOR, TESTS).verdict for seed in range(200)
    ]
    assert verdicts.count("slower") >= 180
    assert "fine" not in verdicts


def test_a_slowdown_of_exactly_the_factor_is_hardly_ever_reported():
    verdicts = [
        gate_statistics.judge(noise(seed) + np.log(FACTOR), FACTOR, TESTS).verdict for seed in range(2000)
    ]
    assert verdicts.count("slower") <= 2000 * gate_statistics.FALSE_ALARMS / TESTS + 3


def test_one_outlier_does_not_decide():
    rounds = noise(0, 0.002)
    rounds[3] = 10.0
    assert gate_statistics.judge(rounds, FACTOR, TESTS).verdict == "fine"
    rounds = noise(0, 0.002) + np.log(1.2)
    rounds[3] = -10.0
    assert gate_statistics.judge(rounds, FACTOR, TESTS).verdict == "slower"


def test_the_interval_covers_the_median_as_often_as_it_says():
    alpha = 0.05
    k = gate_statistics.order(ROUNDS, alpha)
    drawn = np.sort(np.random.default_rng(0).normal(size=(20_000, ROUNDS)), axis=1)
    above = (drawn[:, k - 1] > 0).mean()
    assert 0.02 < above <= alpha
    assert gate_statistics.order(3, 0.01) == 0  # three rounds say nothing at 1 %: the interval is everything
    assert gate_statistics.judge([1.0] * 3, FACTOR, 1).low == 0


def test_every_native_environment_is_benchmarked():
    assert list(Step.params[0]) == fastpg.list_envs()


def test_what_a_commit_lacks_is_skipped_and_what_is_broken_is_not():
    with pytest.raises(NotImplementedError, match=r"there is no fastpg\.telepathy here"):
        unless_missing(("fastpg.telepathy",))

    class Broken(Rate):
        params, param_names = ([1, 2],), ("which",)

        def prepare(self, which):
            if which == 1:
                raise NotImplementedError
            raise TypeError("broken")

    with pytest.raises(TypeError, match="broken"):
        Broken().measure_all()


def test_a_rate_and_its_nanoseconds_are_one_measurement():
    cached = {("CartPole-v1", 16): 2e-8}
    step = Step()
    assert step.track_steps_per_second(cached, "CartPole-v1", 16) == 5e7
    assert step.track_nanoseconds_per_step(cached, "CartPole-v1", 16) == 20
    with pytest.raises(NotImplementedError):
        step.setup(cached, "CartPole-v1", 256)


def test_a_measurement_warms_up_and_repeats():
    calls = []
    clock = iter(range(1000))
    seconds = seconds_of_calls(lambda: calls.append(1), lasting=6, clock=lambda: next(clock))
    assert len(calls) == len(seconds) + 1 >= 4
    assert set(seconds) == {1}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ASV_PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True)


def test_asv_finds_the_benchmarks_and_has_no_complaint():
    pytest.importorskip("asv")
    done = run(sys.executable, "-m", "asv", "check", "--python=same")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No problems found" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["HEAD", "HEAD", "--factor", "1"], "--factor is 1; it has to be above 1, such as 1.15"),
        (["HEAD", "HEAD", "--only", "teleport"], "--only teleport names no workload of: step CartPole"),
        (["HEAD", "no-such-commit"], "'no-such-commit' is neither a commit of this repository nor a folder"),
        ([], "the following arguments are required: BASE, HEAD"),
    ],
)
def test_the_gate_refuses_with_a_sentence(arguments, sentence):
    done = run(sys.executable, "gate.py", *arguments)
    assert done.returncode != 0
    assert sentence in done.stderr


class Graph:
    """What asv hands to publishers: where a curve was measured, and its points."""

    def __init__(self, values, **params):
        self.params, self._values = params, values

    def get_data(self):
        return list(enumerate(self._values))


class Repo:
    def get_date(self, commit):
        return 0


def test_graphs_of_two_machines_have_captions_of_their_own():
    pytest.importorskip("asv")
    from asv_graphs import Graphs

    graphs = [
        Graph([1.0, 2.0], machine="epyc-2core", cpu="EPYC", python="3.11"),
        Graph([3.0], machine="laptop", cpu="Core", python="3.11"),
        Graph([4.0], machine="laptop", cpu="Core", python="3.13"),
        Graph([5.0], summary=True),
    ]
    benchmark = {"params": [["1", "2"]], "param_names": ["threads"]}
    for graph in graphs:
        graph._values = [[value, value] for value in graph._values]
    page = "".join(Graphs.figures(Repo(), {0: "a" * 40, 1: "b" * 40}, benchmark, "steps/s", graphs))
    captions = [part.split("</figcaption>")[0] for part in page.split("<figcaption>")[1:]]
    assert captions == [
        "epyc-2core, threads 1 (2 commits, last 2)",
        "epyc-2core, threads 2 (2 commits, last 2)",
        "laptop, python 3.11, threads 1 (1 commits, last 3)",
        "laptop, python 3.11, threads 2 (1 commits, last 3)",
        "laptop, python 3.13, threads 1 (1 commits, last 4)",
        "laptop, python 3.13, threads 2 (1 commits, last 4)",
    ]


@pytest.mark.parametrize("script", sorted(BENCHMARKS.rglob("*.py")), ids=lambda path: path.name)
def test_what_a_script_imports_from_fastpg_is_there(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fastpg":
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
