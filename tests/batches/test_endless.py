"""Whole episodes that never end are a sentence, not a hang."""

import os
import re
import signal
import threading
import warnings

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

import fastpg
from fastpg import _core
from fastpg.batches import collector, episodes, evaluate
from fastpg.exact import FiniteMDP
from tests.support.gymnasium_envs import Single

ENDLESS = FiniteMDP(np.full((2, 2, 2), 0.5), np.ones((2, 2, 2)), np.zeros(2, bool), np.array([0.5, 0.5]))
SENTENCE = r"an episode has not ended in .* steps, and whole episodes are waited for: give the environment a"


class Endless(Single):
    def __init__(self):
        super().__init__(Box(-1.0, 1.0, (2,)), Discrete(2), obs=np.zeros(2, np.float32))

    def step(self, action):
        return self.obs, 1.0, False, False, {}


@pytest.mark.slow
def test_native_environments():
    policy = fastpg.Policy.for_env(ENDLESS, hidden=())
    with pytest.raises(fastpg.EnvError, match=rf"^evaluate\(\): {SENTENCE}.* pass max_steps"):
        fastpg.evaluate(ENDLESS, policy, episodes=2)
    most = _core.LONGEST_EPISODE + 5  # what the caller says is waited for
    assert fastpg.evaluate(ENDLESS, policy, episodes=1, max_steps=most)[1] == most


@pytest.mark.parametrize("what", ["evaluate", "train", "estimate_gradient"])
def test_environments_that_python_steps(what, monkeypatch):
    for module in (collector, episodes, evaluate):
        monkeypatch.setattr(module, "LONG_EPISODE", 50)
    monkeypatch.setattr(_core, "LONGEST_EPISODE", 400)
    policy = fastpg.Policy.for_env(Endless, hidden=())
    vector = SyncVectorEnv([Endless, lambda: Single(Box(-1.0, 1.0, (2,)), Discrete(2))])  # one does end
    calls = {
        "evaluate": lambda: fastpg.evaluate(vector, policy, episodes=4),
        "train": lambda: fastpg.train(vector, episodes=4, policy=policy),
        "estimate_gradient": lambda: fastpg.estimate_gradient(vector, policy, episodes=4),
    }
    with (
        pytest.warns(
            RuntimeWarning, match=rf"^{what}\(\): Endless: an episode has had .* if it never"
        ) as said,
        pytest.raises(fastpg.EnvError, match=rf"^{what}\(\): Endless: {SENTENCE}"),
    ):
        calls[what]()
    assert len(said) == 1
    assert (fastpg.evaluate(vector, policy, episodes=4, max_steps=500)[1][::2] == 500).all()


NO_RETURNS = r"no episode has ended in [0-9,]+ steps of each environment, so there are no returns to report"


@pytest.mark.parametrize("env", [ENDLESS, Endless], ids=["native", "stepped"])
def test_a_horizon_that_sees_no_end_says_once_that_there_are_no_returns(env, monkeypatch, tmp_path):
    monkeypatch.setattr(episodes, "LONG_WAIT", 50)
    how = {"num_envs": 4, "horizon": 8, "hidden": ()}
    for call, place, said in (
        (lambda: fastpg.train(env, total_steps=1000, **how), "train()", 1),
        (lambda: fastpg.train(env, total_steps=150, run=tmp_path / "run", **how), "train()", 0),
        (lambda: fastpg.resume(tmp_path / "run", env=env, total_steps=400), "resume()", 1),
        (
            lambda: fastpg.train_many(env, fastpg.VPG(), seeds=1, total_steps=400, **how),
            "train_many(): run 0",
            1,
        ),
    ):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            call()
        texts = [str(one.message) for one in heard if "no episode" in str(one.message)]
        assert len(texts) == said
        assert all(re.match(rf"{re.escape(place)}: {NO_RETURNS}", text) for text in texts)


def test_a_horizon_that_has_seen_an_end_goes_on_in_silence(monkeypatch):
    monkeypatch.setattr(episodes, "LONG_WAIT", 50)

    class EndsOnce(Endless):
        def step(self, action):
            self.age += 1
            return self.obs, 1.0, False, self.age == 20, {}

        def reset(self, **given):
            result = super().reset(**given)
            self.age = 1000 * hasattr(self, "was_reset")
            self.was_reset = True
            return result

    with warnings.catch_warnings(action="error"):
        run = fastpg.train(EndsOnce, num_envs=2, horizon=2, total_steps=800, hidden=())
    assert np.isnan(run.history["mean_return"][-1])


@pytest.mark.parametrize("env", [ENDLESS, Endless], ids=["native", "stepped"])
def test_ctrl_c_ends_the_wait(env):
    policy = fastpg.Policy.for_env(env, hidden=(64, 64))
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fastpg.train(env, num_envs=16, episodes=16, policy=policy)
    timer.join()
