"""The examples for PyTorch users run, learn, and print what they say."""

import importlib.util
import re

import numpy as np
import pytest

from tests import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

torch = pytest.importorskip("torch")
EXAMPLES = ROOT / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_python_blocks_of_the_document_run():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "torch.md").read_text(), flags=re.DOTALL)
    spaces = [{} for _ in blocks]
    for block, names in zip(blocks, spaces, strict=True):
        exec(block, names)
    (stats,) = [names["stats"] for names in spaces if "stats" in names and "fpt" in names]
    assert 0 < stats.approx_kl < 0.2 and 0 < stats.clip_fraction < 1 and 0 < stats.entropy < 0.6932


def test_reinforce_learns_both_ways_and_prints_both_times(capsys):
    arguments = ["--num-envs", "64", "--horizon", "32", "--hidden", "8", "--iterations", "3"]
    lengths = example("torch_reinforce").main(arguments)
    assert {name: len(means) for name, means in lengths.items()} == {"gymnasium": 3, "fastpg": 3}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].lstrip().startswith("gymnasium: ") and lines[1].lstrip().startswith("fastpg: ")
    assert lines[2].endswith("times as fast")


def test_reinforce_with_fastpg_learns_cartpole():
    arguments = ["--with", "fastpg", "--num-envs", "256", "--hidden", "16", "--iterations", "80"]
    lengths = example("torch_reinforce").main(arguments)["fastpg"]
    assert np.mean(lengths[:5]) < 40 and np.mean(lengths[-5:]) > 100


def test_ppo_improves_in_a_short_run(capsys):
    returns = example("cleanrl_style_ppo").main(["--total-timesteps", "60000"])
    assert np.mean(returns[:100]) < 40 and np.mean(returns[-100:]) > 100
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("collecting took ") and lines[-1].endswith("times as fast")


def test_both_ways_of_collecting_serve_the_same_ppo():
    returns = example("cleanrl_style_ppo").main(
        ["--rollout", "usual", "--total-timesteps", "4096", "--num-envs", "16", "--compare", "0"]
    )
    assert len(returns) > 50 and np.mean(returns) < 60


def test_sb3s_ppo_trains_on_our_rollouts(capsys):
    pytest.importorskip("stable_baselines3")
    main = example("sb3_ppo").main
    reached = main(["--num-envs", "16", "--rollouts", "8", "--n-steps", "64", "--n-epochs", "10"])
    assert reached["FastPPO"] > 40 and reached["PPO, DummyVecEnv"] > 40  # random: 22
    lines = capsys.readouterr().out.splitlines()
    assert float(lines[0].split()[-3]) < 1e-4 and lines[0].endswith("at most")
    assert lines[-1].startswith("collecting is ") and lines[-1].endswith("times as fast")


def test_sb3s_ppo_takes_real_actions():
    pytest.importorskip("stable_baselines3")
    reached = example("sb3_ppo").main(
        ["--env-id", "Pendulum-v1", "--num-envs", "4", "--rollouts", "4", "--n-steps", "64"]
    )
    assert -2000 < reached["FastPPO"] < -500
