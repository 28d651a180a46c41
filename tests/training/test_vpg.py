"""Iterations of the compiled trainer, replayed by the oracle, and what users see of VPG and A2C."""

import dataclasses
import math
import os
import re
import signal
import threading

import numpy as np
import pytest

import fastpg
from fastpg import _core, reference
from tests.support.forms import GAMMA, LAM, LIMIT, N_STEP, value_network
from tests.support.oracle import SEED, make, oracle_rollout, relative_error
from tests.support.quick import few

RATE, VALUE_RATE, TOTAL_STEPS = 3e-3, 1e-2, 1000
FORMS = ["gae", "td", "q", "reward_to_go"]


class Run:
    """A compiled trainer that takes one iteration at a time, on copies of the parameters.

    With value_hidden=None it is REINFORCE's.
    """

    def __init__(self, collect, num_envs, form="gae", hidden=(8,), value_hidden=(7,), **options):
        self.net, self.oracle, theta = make(4, hidden, 2)
        self.theta = theta.copy()
        self.value = self.value_oracle = self.value_theta = None
        if value_hidden is not None:
            self.value, value_theta, _ = value_network(value_hidden)
            self.value_oracle, self.value_theta = reference.Network(4, value_hidden, 1), value_theta.copy()
        self.settings = {
            "horizon": 0,
            "episodes": 0,
            "steps_per_iteration": 0,
            **collect,
            **VPG_AT_THE_CORE,
            "form": form,
            "baseline": "value" if form in ("q", "reward_to_go") else "none",
            **options,
        }
        self.agent = _core.Agent(
            self.net,
            self.theta,
            seed=SEED,
            value=self.value,
            value_theta=self.value_theta,
            **self.settings,
        )
        env = _core.Environment("cartpole", (), LIMIT)
        self.trainer = _core.Trainer(env, self.agent, num_envs=num_envs)

    def iterate(self):
        (record,) = self.trainer.run(0.0)
        return record


VPG_AT_THE_CORE = {
    "gamma": GAMMA,
    "lam": LAM,
    "n_step": N_STEP,
    "normalize": "timestep",
    "optimizer": "adam",
    "learning_rate": RATE,
    "momentum": 0.0,
    "beta1": 0.9,
    "beta2": 0.999,
    # Adam's default, 1e-8, would take the sign of a gradient that is all but zero, and with it the rounding.
    "epsilon": 1e-4,
    "total_steps": TOTAL_STEPS,
    "target_return": math.nan,
    "value_learning_rate": VALUE_RATE,
    "value_epochs": 1,
}


class Oracle:
    """The same iterations in float64."""

    def __init__(self, run, collect, num_envs):
        self.network, self.collect, self.num_envs = run.oracle, collect, num_envs
        names = {field.name for field in dataclasses.fields(reference.Options)} & run.settings.keys()
        self.options = reference.Options(**{name: run.settings[name] for name in names})
        given = {name: run.settings.get(f"{name}_given", False) for name in ("policy", "value")}
        policy, value = reference.new_model(run.oracle, run.theta, given=given["policy"]), None
        if run.value is not None:
            value = reference.new_model(run.value_oracle, run.value_theta, given=given["value"])
        self.agent = reference.new_agent(policy, value, SEED)

    @property
    def theta(self):
        return self.agent.policy.theta

    @property
    def value_theta(self):
        return self.agent.value.theta

    def write(self, theta, value_theta):
        policy, value = self.agent.policy, self.agent.value
        self.agent = self.agent._replace(
            policy=policy._replace(theta=np.float64(theta)),
            value=value._replace(theta=np.float64(value_theta)),
        )

    def iterate(self):
        iteration = self.agent.iteration
        played = oracle_rollout(self.network, self.theta, self.num_envs, LIMIT, iteration, **self.collect)
        self.agent, known = reference.update(self.agent, played, self.options)
        return known._asdict()


# The steps that two iterations of Adam made, not the parameters themselves, are compared: that is what could
# be wrong. They are differences of float32 parameters of size 1 that are 3e-3 apart, so their own rounding is
# 6e-8 / 3e-3 = 2e-5 already; 2e-4 leaves room for ten epochs of it, and no error of a formula is that small.
CLOSE = 2e-4


def assert_equal_steps(got, expected, before, close=CLOSE):
    assert relative_error(got - np.float64(before), expected - before) < close


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("standardize_advantages", ["none", "batch"])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("max_grad_norm", few([math.inf, 0.02], {0.02}))
@pytest.mark.parametrize(
    ("num_envs", "collect", "iterations"),
    # With a horizon the second iteration continues the episodes of the first: one iteration suffices.
    [(1, {"episodes": 3}, 2), (17, {"episodes": 40}, 2), (17, {"horizon": 33}, 1)],
    ids=str,
)
def test_iterations_equal_the_oracle(
    form, standardize_advantages, epochs, max_grad_norm, num_envs, collect, iterations
):
    options = {
        "standardize_advantages": standardize_advantages,
        "max_grad_norm": max_grad_norm,
        "linear_schedule": True,
    }
    run = Run(collect, num_envs, form, **options, value_epochs=epochs)
    oracle = Oracle(run, collect, num_envs)
    before, value_before = oracle.theta, oracle.value_theta
    for _ in range(iterations):
        got, expected = run.iterate(), oracle.iterate()
        for name, number in expected.items():
            np.testing.assert_allclose(got[name], number, rtol=1e-4, atol=1e-5, err_msg=name)
        assert got["gradient_norm"] > 0.02  # so that clipping has something to do
    assert_equal_steps(run.theta, oracle.theta, before)
    assert_equal_steps(run.value_theta, oracle.value_theta, value_before)


@pytest.mark.parametrize("form", ["total", "reward_to_go"])
@pytest.mark.parametrize("baseline", ["none", "batch_mean", "timestep_mean"])
@pytest.mark.parametrize(
    "options",
    [
        {"normalize": "timestep", "entropy_coef": 0.1},
        {"normalize": "trajectory", "optimizer": "sgd", "momentum": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("num_envs", "collect", "iterations"), [(17, {"episodes": 40}, 2), (70, {"horizon": 33}, 1)], ids=str
)
def test_iterations_without_a_value_function_equal_the_oracle(
    form, baseline, options, num_envs, collect, iterations
):
    run = Run(collect, num_envs, form, value_hidden=None, baseline=baseline, **options)
    oracle = Oracle(run, collect, num_envs)
    before = oracle.theta
    for _ in range(iterations):
        got, expected = run.iterate(), oracle.iterate()
        for name, number in expected.items():
            np.testing.assert_allclose(got[name], number, rtol=1e-4, err_msg=name)
    assert_equal_steps(run.theta, oracle.theta, before)


@pytest.mark.parametrize("hidden", [(), (33, 5)], ids=str)
@pytest.mark.parametrize("value_hidden", [(), (32, 16)], ids=str)
def test_every_depth_equals_the_oracle(isa, hidden, value_hidden):
    options = {"standardize_advantages": "batch", "max_grad_norm": math.inf, "linear_schedule": False}
    run = Run({"episodes": 40}, 17, "gae", hidden, value_hidden, **options, value_epochs=3)
    oracle = Oracle(run, {"episodes": 40}, 17)
    before, value_before = oracle.theta, oracle.value_theta
    for _ in range(2):
        run.iterate(), oracle.iterate()
    assert_equal_steps(run.theta, oracle.theta, before)
    assert_equal_steps(run.value_theta, oracle.value_theta, value_before)


@pytest.mark.parametrize("minibatches", [2, 5, 1000])
def test_minibatches_equal_the_oracle_which_puts_every_step_into_one_of_them(minibatches):
    # Of 1000, most are empty: no step of Adam is taken on them, whatever its momentum.
    collect, options = (
        {"horizon": 60},
        {"standardize_advantages": "batch", "max_grad_norm": math.inf, "linear_schedule": True},
    )
    run = Run(collect, 70, **options, value_epochs=3, value_minibatches=minibatches)
    oracle = Oracle(run, collect, 70)
    value_before = oracle.value_theta
    got, expected = run.iterate(), oracle.iterate()
    assert_equal_steps(run.value_theta, oracle.value_theta, value_before)
    np.testing.assert_allclose(got["value_loss"], expected["value_loss"], rtol=1e-4)  # of the whole batch


@pytest.mark.parametrize("given", [(False, False), (True, True), (False, True)], ids=str)
def test_iterations_on_normalised_observations_equal_the_oracle(isa, given):
    options = {"standardize_advantages": "batch", "max_grad_norm": 0.5, "linear_schedule": True}
    options["normalize_observations"] = True
    flags = {"policy_given": given[0], "value_given": given[1]}
    collect = {"episodes": 40}
    run = Run(collect, 7, **options, **flags, value_epochs=2)
    oracle = Oracle(run, collect, 7)
    for _ in range(3):
        before, value_before = run.theta.copy(), run.value_theta.copy()
        oracle.write(before, value_before)
        before, value_before = oracle.theta, oracle.value_theta
        got, expected = run.iterate(), oracle.iterate()
        # The first layer's parameters are 20 times as large for positions whose deviation is 0.05.
        assert_equal_steps(run.theta, oracle.theta, before, 20 * CLOSE)
        assert_equal_steps(run.value_theta, oracle.value_theta, value_before, 20 * CLOSE)
        for name, number in expected.items():
            np.testing.assert_allclose(got[name], number, rtol=1e-4)


@pytest.mark.parametrize("env", ["CartPole-v1", "gym:CartPole-v1"])
def test_continuing_with_normalised_observations_keeps_what_the_networks_compute(env):
    algorithm = fastpg.VPG(normalize_observations=True, value_hidden=(8,))
    first = fastpg.train(env, algorithm, hidden=(8,), total_steps=6_000)
    still = dataclasses.replace(algorithm, learning_rate=1e-12, value_learning_rate=1e-12)
    again = fastpg.train(env, still, policy=first.policy, value=first.value, total_steps=6_000)
    assert len(again.history["num_steps"]) > 1
    np.testing.assert_allclose(again.policy.theta, first.policy.theta, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(again.value.theta, first.value.theta, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("env", ["CartPole-v1", "gym:CartPole-v1"])
def test_networks_that_have_learnt_nothing_are_new_ones_whether_they_are_given_or_not(env):
    algorithm = fastpg.VPG(normalize_observations=True, value_hidden=(8,))
    settings = {"total_steps": 6_000, "horizon": 100}
    run = fastpg.train(env, algorithm, hidden=(8,), seed=4, **settings)
    policy = fastpg.Policy.for_env(env, hidden=(8,), seed=4)
    value = fastpg.ValueFunction.for_env(env, hidden=(8,), seed=4 + 2**63)
    alone = fastpg.train(env, algorithm, policy=policy, value=value, seed=4, **settings)
    (many,) = fastpg.train_many(env, algorithm, policy=policy, value=value, seeds=[4], **settings)
    for given in (alone, many):
        assert given.policy.theta.tobytes() == run.policy.theta.tobytes()
        assert given.value.theta.tobytes() == run.value.theta.tobytes()


def test_a_run_that_begins_with_an_untrained_policy_goes_on_from_its_first_moment(tmp_path):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(8,), seed=4)
    algorithm = fastpg.VPG(normalize_observations=True)
    whole = fastpg.train(
        "CartPole-v1", algorithm, policy=policy, run=tmp_path, horizon=32, total_steps=2_000,
        checkpoint_every=1, keep_checkpoints=100,
    )  # fmt: skip
    first, *later = sorted((tmp_path / "checkpoints").iterdir())
    assert int(re.search(r"\d+", first.name)[0]) == 0
    for one in later:
        one.unlink()
    resumed = fastpg.resume(tmp_path)
    assert resumed.policy.theta.tobytes() == whole.policy.theta.tobytes()


def test_parameters_that_are_written_between_iterations_are_those_that_training_goes_on_with():
    run = Run({"horizon": 40}, 7, normalize_observations=True, learning_rate=1e-12)
    run.iterate()
    wanted = make(4, (8,), 2, seed=5)[2]
    run.theta[:] = wanted
    run.iterate()
    np.testing.assert_allclose(run.theta, wanted, rtol=1e-5, atol=1e-6)


def test_without_epochs_the_value_function_stays_and_its_loss_is_known():
    run = Run({"horizon": 60}, 8, value_epochs=0)
    before = run.value_theta.copy()
    record = run.iterate()
    assert (run.value_theta == before).all()
    assert record["value_loss"] > 0


# ---- threads, signals, overflow ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "collect", [{"horizon": 40}, {"episodes": 450}, {"steps_per_iteration": 3000}], ids=str
)
@pytest.mark.parametrize("hidden", [(), (16,)], ids=str)
def test_the_number_of_threads_changes_no_bit(threads, collect, hidden):
    results = set()
    for n in (1, 2, 3):
        threads(n)
        options = {"value_minibatches": 3, "value_epochs": 2, "standardize_advantages": "batch"}
        run = Run(collect, 300, hidden=hidden, **options, total_steps=10**9)
        for _ in range(3):
            record = run.iterate()
        results.add((run.theta.tobytes(), run.value_theta.tobytes(), record["value_loss"]))
    assert len(results) == 1


def test_ctrl_c_inside_an_iteration_leaves_everything_as_it_was_and_usable():
    # The fit alone takes minutes, so it is there that the signal arrives.
    run = Run({"horizon": 64}, 64, value_epochs=10_000, value_hidden=(256, 256))
    before, value_before = run.theta.copy(), run.value_theta.copy()
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            run.iterate()
    finally:
        signal.signal(signal.SIGINT, previous)
    np.testing.assert_array_equal(run.theta, before)
    np.testing.assert_array_equal(run.value_theta, value_before)


@pytest.mark.parametrize(
    ("rate", "words"),
    [(1e300, "a parameter of the value function is NaN or infinite"), (1e30, "the value function's values")],
)
def test_a_value_function_that_diverges_is_named_and_takes_nothing_with_it(rate, words):
    run = Run({"horizon": 64}, 8, value_learning_rate=rate, value_epochs=3)
    before, value_before = run.theta.copy(), run.value_theta.copy()
    with pytest.raises(FloatingPointError, match=f"iteration 0: {words}"):
        run.iterate()
    np.testing.assert_array_equal(run.theta, before)
    np.testing.assert_array_equal(run.value_theta, value_before)
    with pytest.raises(FloatingPointError, match=rf"train\(\): iteration \d+: {words}"):
        fastpg.train("CartPole-v1", fastpg.VPG(value_learning_rate=rate), total_steps=20_000)


def test_a_value_function_that_was_spoilt_between_iterations_is_named():
    run = Run({"horizon": 64}, 8)
    run.iterate()
    run.value_theta[3] = np.nan
    with pytest.raises(FloatingPointError, match="iteration 1: a parameter of the value function is NaN"):
        run.iterate()


# ---- what users see ----------------------------------------------------------------------------------------


def short(algorithm=None, **changed):
    settings = {"hidden": (8,), "total_steps": 20_000, "seed": 1, **changed}
    return fastpg.train("CartPole-v1", algorithm or fastpg.VPG(value_hidden=(8,)), **settings)


@pytest.mark.parametrize("form", FORMS)
def test_the_value_function_learns_to_explain_its_targets(form):
    algorithm = fastpg.VPG(form=form, gamma=0.9, value_hidden=(16,), value_epochs=40, learning_rate=1e-6)
    history = short(algorithm, total_steps=100_000).history
    assert 0 < history["value_loss"][-1] < 0.6 * history["value_loss"][0]
    assert 0.3 < history["explained_variance"][-1] < 1


def test_without_a_value_function_its_columns_are_nan():
    run = short(fastpg.Reinforce())
    assert run.value is None
    assert np.isnan(run.history["value_loss"]).all()
    assert np.isnan(run.history["explained_variance"]).all()


def test_the_seconds_of_the_iterations_are_those_of_the_run():
    run = short(fastpg.VPG(value_epochs=100))
    assert 0.5 * run.seconds < run.history["seconds"].sum() <= run.seconds


def test_training_continues_from_a_copy_of_a_value_function():
    value = fastpg.ValueFunction.for_env("CartPole-v1", hidden=(5,), activation="relu", seed=3)
    before = value.theta.copy()
    run = short(value=value)
    assert run.value is not value
    assert (value.theta == before).all()
    assert (run.value.theta != before).any()
    assert (run.value.hidden, run.value.activation) == ((5,), "relu")
    assert run.config["value_hidden"] == (5,)
    assert (short(fastpg.VPG(value_epochs=0), value=value).value.theta == before).all()


def test_the_value_function_has_the_activation_of_the_policy():
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(8,), activation="relu")
    assert short(policy=policy).value.activation == short(activation="relu").value.activation == "relu"


def test_a2c_is_vpg_with_other_defaults():
    a2c = fastpg.A2C(value_hidden=(8,))
    defaults = (
        a2c.value_epochs,
        a2c.value_minibatches,
        a2c.standardize_advantages,
        a2c.max_grad_norm,
        a2c.lam,
    )
    assert defaults == (1, 1, False, 0.5, 1.0)
    vpg = fastpg.VPG(**{name: getattr(a2c, name) for name in a2c.__dataclass_fields__})
    runs = [short(one, num_envs=8, horizon=16) for one in (a2c, vpg)]
    assert runs[0].config["algorithm"] == "A2C"
    assert (runs[0].policy.theta == runs[1].policy.theta).all()


def test_a2c_learns_cartpole_with_a_short_horizon():
    run = fastpg.train("CartPole-v1", fastpg.A2C(), num_envs=16, horizon=16, total_steps=300_000, seed=0)
    assert np.nanmean(run.history["mean_return"][-100:]) > 150


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))  # docs/learning.md has ten
def test_the_defaults_of_vpg_solve_cartpole(seed):
    run = fastpg.train("CartPole-v1", fastpg.VPG(), target_return=475, seed=seed)
    assert run.stopped_because == "target_return"
    assert fastpg.evaluate("CartPole-v1", run.policy, episodes=100)[0].mean() >= 475
