"""Every bad argument is refused in one sentence that names the function and the argument."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import _core
from fastpg.envs.mujoco.tasks import TASKS
from tests.support.refusals import refuse

NAN, INF = float("nan"), float("inf")
OBS = np.zeros((3, 4), np.float32)
ACTIONS = np.zeros(3, np.int64)
WEIGHTS = np.ones(3, np.float32)
BOX = Box(-1, 1, (4,))


def with_entry(array, value):
    changed = array.copy()
    changed.flat[2] = value
    return changed


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"obs": OBS.astype(np.float64)}, TypeError, ["obs must be float32, got float64", "astype"]),
        ({"obs": [[0.0] * 4]}, TypeError, ["obs must be a float32 numpy array"]),
        (
            {"obs": {"at": OBS}},
            TypeError,
            ["obs must be a float32 numpy array", "fastpg.flatten_observations(env"],
        ),
        ({"obs": OBS[:, :3]}, ValueError, ["obs must have shape (4,) or (..., 4), got (3, 3)"]),
        ({"obs": np.zeros((), np.float32)}, ValueError, ["obs must have shape"]),
        ({"obs": OBS[:0]}, ValueError, ["obs must hold at least one observation", "(0, 4)"]),
        ({"obs": with_entry(OBS, NAN)}, ValueError, ["obs must be finite, but obs[0, 2] is nan"]),
        ({"obs": with_entry(OBS, -INF)}, ValueError, ["obs[0, 2] is -inf"]),
        (
            {"actions": ACTIONS.astype(np.float32)},
            TypeError,
            ["actions must be an array of integers", "float32"],
        ),
        ({"actions": ACTIONS.astype(bool)}, TypeError, ["actions must be an array of integers", "bool"]),
        ({"actions": [0, 0, 0]}, TypeError, ["actions must be an array of integers"]),
        ({"actions": ACTIONS[:2]}, ValueError, ["actions must have shape (3,)", "got (2,)"]),
        ({"actions": with_entry(ACTIONS, 2)}, ValueError, ["actions must lie in 0..1, got 2"]),
        ({"actions": with_entry(ACTIONS, -1)}, ValueError, ["actions must lie in 0..1, got -1"]),
        ({"weights": WEIGHTS.astype(np.float64)}, TypeError, ["weights must be float32, got float64"]),
        ({"weights": WEIGHTS[:2]}, ValueError, ["weights must have shape (3,), got (2,)"]),
        ({"weights": WEIGHTS[:, None]}, ValueError, ["weights must have shape (3,), got (3, 1)"]),
        ({"weights": with_entry(WEIGHTS, NAN)}, ValueError, ["weights[2] is nan"]),
        ({"reduction": "max"}, ValueError, ["reduction must be one of 'mean', 'sum', got 'max'"]),
        ({"out": np.zeros(3, np.float32)}, ValueError, ["out must have shape (58,), got (3,)"]),
        ({"out": np.zeros(58)}, TypeError, ["out must be a float32 numpy array, got float64"]),
        ({"out": read_only(np.zeros(58, np.float32))}, ValueError, ["out must be contiguous and writable"]),
        ({"out": np.zeros(116, np.float32)[::2]}, ValueError, ["out must be contiguous and writable"]),
        ({"policy": None}, TypeError, ["policy must be a fastpg.Policy, got None"]),
    ],
)
def test_policy_gradient_refuses(changed, error, words, policy):
    arguments = {"policy": policy, "obs": OBS, "actions": ACTIONS, "weights": WEIGHTS, **changed}
    refuse(lambda: fastpg.policy_gradient(**arguments), error, "policy_gradient(): ", *words)


def test_policy_gradient_refuses_to_write_over_the_parameters(policy):
    refuse(
        lambda: fastpg.policy_gradient(policy, OBS, ACTIONS, WEIGHTS, out=policy.theta),
        ValueError,
        "out must not share memory with policy.theta",
    )


def test_every_use_refuses_parameters_that_are_not_finite(policy):
    policy.theta[5] = NAN
    uses = {
        "policy_gradient()": lambda: fastpg.policy_gradient(policy, OBS, ACTIONS, WEIGHTS),
        "log_prob_and_entropy()": lambda: fastpg.log_prob_and_entropy(policy, OBS, ACTIONS),
        "Policy.act()": lambda: policy.act(OBS, seed=0),
        "Policy.log_prob()": lambda: policy.log_prob(OBS, ACTIONS),
        "Policy.entropy()": lambda: policy.entropy(OBS),
        "Policy.kl()": lambda: policy.kl(policy, OBS),
        "estimate_gradient()": lambda: fastpg.estimate_gradient("CartPole-v1", policy, episodes=2),
        "evaluate()": lambda: fastpg.evaluate("CartPole-v1", policy),
        "train()": lambda: fastpg.train("CartPole-v1", policy=policy),
    }
    for where, use in uses.items():
        refuse(use, ValueError, f"{where}: theta must be finite, but theta[5] is nan")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"observation_space": Box(-1, 1, (2, 2))},
            ValueError,
            ["observation_space must be a one-dimensional Box"],
        ),
        ({"observation_space": Box(0, 9, (2,), np.int64)}, ValueError, ["one-dimensional Box of floats"]),
        ({"observation_space": Dict({"x": BOX})}, ValueError, ["observation_space", "Dict("]),
        ({"observation_space": 4}, TypeError, ["observation_space must be a gymnasium space, got 4"]),
        (
            {"action_space": Box(0, 9, (2,), np.int64), "action_scaling": False},
            ValueError,
            ["action_space must be Discrete, MultiDiscrete, MultiBinary or a Box of floats", "int64"],
        ),
        ({"action_space": Dict({"x": BOX})}, ValueError, ["action_space must be", "Dict("]),
        ({"action_space": 2}, TypeError, ["action_space must be a gymnasium space, got 2"]),
        ({"action_space": Box(-1, 1, (33,))}, ValueError, ["have 1 to 32 components, got 33"]),
        ({"action_space": Box(-1, 1, (0,))}, ValueError, ["have 1 to 32 components, got 0"]),
        ({"action_space": Box(-1, 1, (3, 11))}, ValueError, ["have 1 to 32 components, got 33"]),
        ({"action_space": MultiBinary(33)}, ValueError, ["have 1 to 32 components, got 33"]),
        ({"action_space": MultiDiscrete([2] * 33)}, ValueError, ["have 1 to 32 components, got 33"]),
        (
            {"action_space": MultiDiscrete([256, 257])},
            ValueError,
            ["at most 512 actions of all components together, got 513"],
        ),
        ({"action_space": Discrete(513)}, ValueError, ["at most 512 actions, got 513"]),
        ({"hidden": 64}, TypeError, ["hidden must be a sequence of widths as (64, 64), got 64"]),
        ({"hidden": "64"}, TypeError, ["hidden must be a sequence"]),
        ({"hidden": (0,)}, ValueError, ["hidden[0] must be an integer from 1 to 512, got 0"]),
        ({"hidden": (8, 513)}, ValueError, ["hidden[1] must be an integer from 1 to 512, got 513"]),
        ({"hidden": (8, -3)}, ValueError, ["hidden[1]", "got -3"]),
        ({"hidden": (8.0,)}, TypeError, ["hidden[0] must be an integer", "got 8.0; write 8"]),
        ({"hidden": (True,)}, TypeError, ["hidden[0] must be an integer", "got True"]),
        ({"hidden": (1, 1, 1, 1)}, ValueError, ["hidden must have at most 3 layers, got (1, 1, 1, 1)"]),
        ({"activation": "gelu"}, ValueError, ["activation must be one of 'tanh', 'relu', got 'gelu'"]),
        ({"activation": None}, TypeError, ["activation must be one of"]),
        ({"seed": -1}, ValueError, ["seed must be an integer from 0"]),
        ({"seed": 2**64}, ValueError, ["seed"]),
        ({"seed": 0.5}, TypeError, ["seed"]),
    ],
    ids=str,
)
def test_policy_refuses(arguments, error, words):
    given = {"observation_space": BOX, "action_space": Discrete(2), **arguments}
    refuse(lambda: fastpg.Policy(**given), error, "Policy(): ", *words)


def test_assignment_to_theta_refuses_what_does_not_fit(policy):
    def assign(value):
        policy.theta = value

    refuse(lambda: assign(np.zeros(3, np.float32)), ValueError, "theta must have shape (58,), got (3,)")
    refuse(lambda: assign(np.zeros(58)), TypeError, "theta must be float32, got float64")
    refuse(lambda: assign(np.full(58, INF, np.float32)), ValueError, "theta[0] is inf")
    refuse(lambda: assign(0.0), TypeError, "theta must be a float32 numpy array, got 0.0")


@pytest.mark.parametrize(
    ("space", "actions", "error", "words"),
    [
        (
            MultiDiscrete([3, 2]),
            np.zeros(3, np.int64),
            ValueError,
            ["shape (3, 2) like obs' batch and then the 2 of an action, got (3,)"],
        ),
        (MultiDiscrete([3, 2]), np.full((3, 2), 2), ValueError, ["actions[..., 1] must lie in 0..1, got 2"]),
        (
            MultiDiscrete([3, 2]),
            np.full((3, 2), -1),
            ValueError,
            ["actions[..., 0] must lie in 0..2, got -1"],
        ),
        (MultiDiscrete([3, 2]), np.zeros((3, 2)), TypeError, ["actions must be an array of integers"]),
        (MultiBinary(2), np.full((3, 2), 2), ValueError, ["actions[..., 0] must lie in 0..1, got 2"]),
        (MultiBinary(2), np.zeros((3, 2), bool), TypeError, ["actions must be an array of integers", "bool"]),
        (MultiBinary(2), np.zeros((2, 3), int), ValueError, ["actions must have shape (3, 2)", "got (2, 3)"]),
        (Box(-1, 1, (2,)), np.zeros((3, 2)), TypeError, ["actions must be float32, got float64", "astype"]),
        (Box(-1, 1, (2,)), np.zeros((3, 2), int), TypeError, ["actions must be float32, got int64"]),
        (Box(-1, 1, (2,)), [[0.0, 0.0]] * 3, TypeError, ["actions must be a float32 numpy array"]),
        (Box(-1, 1, (1,)), WEIGHTS, ValueError, ["actions must have shape (3, 1), got (3,)"]),
        (
            Box(-1, 1, (2,)),
            with_entry(np.zeros((3, 2), np.float32), NAN),
            ValueError,
            ["actions must be finite, but actions[1, 0] is nan"],
        ),
    ],
    ids=str,
)
def test_actions_that_do_not_fit_the_space_are_refused_everywhere(space, actions, error, words):
    policy = fastpg.Policy(BOX, space, hidden=())
    uses = {
        "policy_gradient()": lambda: fastpg.policy_gradient(policy, OBS, actions, WEIGHTS),
        "log_prob_and_entropy()": lambda: fastpg.log_prob_and_entropy(policy, OBS, actions),
        "Policy.log_prob()": lambda: policy.log_prob(OBS, actions),
    }
    for where, use in uses.items():
        refuse(use, error, f"{where}: ", *words)


@pytest.mark.parametrize(
    ("other", "error", "words"),
    [
        (None, TypeError, ["other must be a fastpg.Policy, got None"]),
        (fastpg.Policy(BOX, Discrete(3)), ValueError, ["other must map Box(", "but it maps", "Discrete(3)"]),
        (fastpg.Policy(Box(-1, 1, (3,)), Discrete(2)), ValueError, ["other must map Box("]),
        (fastpg.Policy(BOX, MultiBinary(2)), ValueError, ["MultiBinary(2)"]),
    ],
    ids=str,
)
def test_kl_refuses(other, error, words, policy):
    refuse(lambda: policy.kl(other, OBS), error, "Policy.kl(): ", *words)


def test_kl_refuses_parameters_of_the_other_policy_that_are_not_finite(policy):
    other = policy.copy()
    other.theta[5] = NAN
    refuse(
        lambda: policy.kl(other, OBS), ValueError, "Policy.kl(): theta must be finite, but theta[5] is nan"
    )


@pytest.mark.parametrize("space", [MultiBinary(1), MultiDiscrete([2]), Box(-1, 1, (2,))], ids=str)
def test_a_policy_with_another_head_is_refused_by_an_environment(space):
    policy = fastpg.Policy(BOX, space)
    words = f"policy maps {policy.observation_space} to {space}, but CartPole-v1 has Box("
    refuse(lambda: fastpg.evaluate("CartPole-v1", policy), ValueError, "evaluate()", words)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"seed": True}, TypeError, ["seed"]),
        ({}, TypeError, ["seed must be given, as actions are drawn; or pass deterministic=True"]),
        ({"seed": -1, "deterministic": True}, ValueError, ["seed must be an integer from 0"]),
        ({"seed": 0, "step": -1}, ValueError, ["step"]),
        ({"seed": 0, "deterministic": 1}, TypeError, ["deterministic must be True or False, got 1"]),
    ],
    ids=str,
)
def test_act_refuses(arguments, error, words, policy):
    refuse(lambda: policy.act(OBS, **arguments), error, "Policy.act(): ", *words)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"form": "ppo"}, ValueError, ["form must be one of 'total', 'reward_to_go', ", "got 'ppo'"]),
        ({"form": None}, TypeError, ["form must be one of"]),
        ({"gamma": 1.5}, ValueError, ["gamma must be a number in [0, 1], got 1.5"]),
        ({"gamma": NAN}, ValueError, ["gamma", "got nan"]),
        ({"gamma": "1"}, TypeError, ["gamma", "got '1'"]),
        ({"num_envs": 0}, ValueError, ["num_envs must be an integer from 1", "got 0"]),
        ({"num_envs": -8}, ValueError, ["num_envs", "got -8"]),
        ({"num_envs": 2.5}, TypeError, ["num_envs", "got 2.5"]),
        ({"episodes": 0}, ValueError, ["episodes must be an integer from 1", "got 0"]),
        (
            {"episodes": None},
            ValueError,
            ["exactly one of horizon, episodes must be given, got none of them"],
        ),
        (
            {"horizon": 5},
            ValueError,
            ["exactly one of horizon, episodes must be given, got horizon and episodes"],
        ),
        ({"episodes": None, "horizon": -5}, ValueError, ["horizon must be an integer from 1", "got -5"]),
        (
            {"normalize": "step"},
            ValueError,
            ["normalize must be one of 'trajectory', 'timestep', got 'step'"],
        ),
        ({"seed": -1}, ValueError, ["seed"]),
        ({"baseline": "mean"}, ValueError, ["baseline", "'batch_mean'", "got 'mean'"]),
        ({"lam": 1.5}, ValueError, ["lam", "[0, 1]", "1.5"]),
        ({"gravity": 3.0}, TypeError, ["unexpected argument 'gravity'", "sutton_barto_reward"]),
        ({"sutton_barto_reward": 1}, TypeError, ["sutton_barto_reward must be True or False, got 1"]),
        (
            {"env_id": "CartPole-v3"},
            ValueError,
            ["'CartPole-v3' is not implemented", "did you mean", "CartPole-v1"],
        ),
        ({"env_id": "Pong"}, ValueError, ["'Pong' is not implemented natively", "CartPole-v0, CartPole-v1"]),
        (
            {"env_id": None},
            TypeError,
            ["env_id must be a string, an environment that FiniteMDP, jit_env or load_env made", "got None"],
        ),
        ({"policy": "a policy"}, TypeError, ["policy must be a fastpg.Policy, got 'a policy'"]),
    ],
    ids=str,
)
def test_estimate_gradient_refuses(arguments, error, words, policy):
    given = {"env_id": "CartPole-v1", "policy": policy, "episodes": 4, **arguments}
    refuse(lambda: fastpg.estimate_gradient(**given), error, "estimate_gradient(): ", *words)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"episodes": 0}, ValueError, ["episodes must be an integer from 1"]),
        ({"deterministic": None}, TypeError, ["deterministic must be True or False"]),
        ({"env_id": "cartpole-v1"}, ValueError, ["did you mean 'CartPole-v1'?"]),
    ],
    ids=str,
)
def test_evaluate_refuses(arguments, error, words, policy):
    given = {"env_id": "CartPole-v1", "policy": policy, **arguments}
    refuse(lambda: fastpg.evaluate(**given), error, "evaluate(): ", *words)


@pytest.mark.parametrize(
    ("env_id", "meant"),
    [
        ("CartPole", "CartPole-v1"),  # without its version: the latest
        ("cartpole-v0", "CartPole-v0"),  # in another case
        ("CartPole-v7", "CartPole-v1"),  # of another version
        ("Cartpole", "CartPole-v1"),
        ("FrozenLake8x8", "FrozenLake8x8-v1"),
        ("CartPol-v1", "CartPole-v1"),  # misspelled
        ("LunarLander", "LunarLander-v3"),  # not native
        ("lunarlander-v2", "LunarLander-v3"),
        ("gym:walker2d", "Walker2d-v5"),
        ("HalfCheetah", "HalfCheetah-v5"),  # MuJoCo's
    ],
)
def test_an_id_that_is_nearly_right_gets_a_suggestion(env_id, meant):
    refuse(
        lambda: fastpg.train(env_id), ValueError, f"train(): env_id {env_id!r}", f"did you mean {meant!r}?"
    )
    if meant in fastpg.list_envs() or meant in TASKS:
        refuse(
            lambda: fastpg.make(env_id.removeprefix("gym:"), 1),
            ValueError,
            "make(): env_id ",
            f"did you mean {meant!r}?",
        )


@pytest.mark.parametrize(("inputs", "actions"), [(3, 2), (5, 2), (4, 3)])
def test_a_policy_of_the_wrong_width_is_refused_everywhere(inputs, actions):
    wrong = fastpg.Policy(Box(-1, 1, (inputs,)), Discrete(actions), hidden=())
    words = f"policy maps {wrong.observation_space} to {wrong.action_space}, but CartPole-v1 has Box("
    refuse(
        lambda: fastpg.estimate_gradient("CartPole-v1", wrong, episodes=1),
        ValueError,
        "estimate_gradient()",
        words,
    )
    refuse(lambda: fastpg.evaluate("CartPole-v1", wrong), ValueError, "evaluate()", words)
    refuse(lambda: fastpg.train("CartPole-v1", policy=wrong), ValueError, "train()", words)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"form": "q"}, ValueError, ["form must be one of"]),
        ({"gamma": -0.1}, ValueError, ["gamma"]),
        ({"learning_rate": 0.0}, ValueError, ["learning_rate must be a number in (0, inf), got 0.0"]),
        ({"learning_rate": INF}, ValueError, ["learning_rate"]),
        ({"learning_rate": NAN}, ValueError, ["learning_rate"]),
        ({"optimizer": "adamw"}, ValueError, ["optimizer must be one of 'adam', 'sgd', got 'adamw'"]),
        ({"momentum": 1.0}, ValueError, ["momentum must be a number in [0, 1), got 1.0"]),
        ({"beta1": -1}, ValueError, ["beta1"]),
        ({"beta2": True}, TypeError, ["beta2"]),
        ({"epsilon": 0}, ValueError, ["epsilon"]),
        ({"normalize": ""}, ValueError, ["normalize"]),
    ],
    ids=str,
)
def test_reinforce_refuses(arguments, error, words):
    refuse(lambda: fastpg.Reinforce(**arguments), error, "Reinforce(): ", *words)


@pytest.mark.parametrize("algorithm", [fastpg.VPG, fastpg.A2C])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"form": "total"},
            ValueError,
            ["form must be one of 'gae', 'td', 'q', 'reward_to_go', got 'total'"],
        ),
        ({"form": None}, TypeError, ["form"]),
        ({"gamma": 1.01}, ValueError, ["gamma must be a number in [0, 1], got 1.01"]),
        ({"lam": -0.1}, ValueError, ["lam must be a number in [0, 1], got -0.1"]),
        ({"lam": NAN}, ValueError, ["lam", "got nan"]),
        ({"n_step": 0}, ValueError, ["n_step must be an integer from 1", "got 0"]),
        ({"n_step": 5.0}, TypeError, ["n_step must be an integer", "got 5.0"]),
        ({"learning_rate": 0}, ValueError, ["learning_rate must be a number in (0, inf), got 0"]),
        ({"value_learning_rate": -1.0}, ValueError, ["value_learning_rate", "got -1.0"]),
        ({"value_learning_rate": "1"}, TypeError, ["value_learning_rate", "got '1'"]),
        ({"value_epochs": -1}, ValueError, ["value_epochs must be an integer from 0", "got -1"]),
        ({"value_epochs": True}, TypeError, ["value_epochs", "got True"]),
        ({"value_minibatches": 0}, ValueError, ["value_minibatches must be an integer from 1", "got 0"]),
        ({"value_hidden": (0,)}, ValueError, ["value_hidden[0] must be an integer from 1 to 512, got 0"]),
        ({"value_hidden": 64}, TypeError, ["value_hidden must be a sequence of widths"]),
        ({"value_hidden": (1,) * 4}, ValueError, ["value_hidden must have at most 3 layers"]),
        ({"standardize_advantages": 1}, TypeError, ["standardize_advantages must be True or False, got 1"]),
        ({"max_grad_norm": 0.0}, ValueError, ["max_grad_norm must be a number in (0, inf), got 0.0"]),
        ({"max_grad_norm": INF}, ValueError, ["max_grad_norm", "got inf"]),
        ({"linear_schedule": None}, TypeError, ["linear_schedule must be True or False, got None"]),
        ({"beta1": 1.0}, ValueError, ["beta1 must be a number in [0, 1), got 1.0"]),
        ({"beta2": 1}, ValueError, ["beta2"]),
        ({"epsilon": 0.0}, ValueError, ["epsilon must be a number in (0, inf), got 0.0"]),
    ],
    ids=str,
)
def test_vpg_refuses(algorithm, arguments, error, words):
    refuse(lambda: algorithm(**arguments), error, f"{algorithm.__name__}(): ", *words)


# What every option of PPO must be, values that are out of its range, and values of another kind.
POSITIVE = ("a number in (0, inf)", [0.0, -1.0, INF, NAN], ["1", True])
SHARE = ("a number in [0, 1]", [1.01, -0.1, NAN], ["1", None])
DECAY = ("a number in [0, 1)", [1.0, -0.1, NAN], [None])
FLAG = ("True or False", [], [0, 1, None, "yes"])
WRONG_FOR_PPO = {
    **dict.fromkeys(("gamma", "lam"), SHARE),
    **dict.fromkeys(("beta1", "beta2"), DECAY),
    **dict.fromkeys(
        ("learning_rate", "value_learning_rate", "clip_range", "target_kl", "desired_kl", "huber_delta",
         "value_clip_range", "max_grad_norm", "epsilon"),
        POSITIVE,
    ),
    **dict.fromkeys(
        ("linear_clip_range", "recompute_advantages", "joint_grad_norm", "linear_schedule",
         "normalize_observations", "normalize_rewards"),
        FLAG,
    ),
    "entropy_coef": ("a number in (-inf, inf)", [INF, NAN], [None]),
    "epochs": ("an integer from 1 to 10000", [0, 10_001], [2.5, True, None]),
    "minibatches": ("an integer from 1 to 1000000", [0, 10**7], [2.0, "4"]),
    "standardize_advantages": ("one of 'minibatch', 'batch', 'none'", ["timestep"], [True, None]),
    "value_loss": ("one of 'squared', 'huber'", ["mse"], [None, 1]),
    "value_hidden": ("a sequence of widths", [], [64, None, "64"]),
    "initial_log_std": ("a number in [-87, 87]", [-87.5, INF, NAN], ["1", None, True]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_FOR_PPO)
def test_ppo_refuses(name):
    words, out_of_range, of_another_kind = WRONG_FOR_PPO[name]
    for error, values in ((ValueError, out_of_range), (TypeError, of_another_kind)):
        for value in values:
            refuse(lambda value=value: fastpg.PPO(**{name: value}), error, f"PPO(): {name} must be {words}")


def test_every_option_of_ppo_has_values_that_are_refused():
    assert WRONG_FOR_PPO.keys() == {field.name for field in dataclasses.fields(fastpg.PPO)}
    for name in ("value_learning_rate", "target_kl", "desired_kl", "value_clip_range", "max_grad_norm"):
        assert getattr(fastpg.PPO(**{name: None}), name) is None


@pytest.mark.parametrize(
    "algorithm",
    [fastpg.VPG(normalize_observations=True), fastpg.PPO(normalize_observations=True)],
    ids=lambda one: type(one).__name__,
)
def test_categories_are_not_normalised(algorithm):
    policy = fastpg.Policy.for_env("Taxi-v4")
    words = "normalize_observations needs observations that are real numbers, got Discrete(500)"
    refuse(lambda: fastpg.train("Taxi-v4", algorithm, total_steps=1), ValueError, f"train(): {words}")
    refuse(lambda: fastpg.Agent(algorithm, policy), ValueError, f"Agent(): {words}")


@pytest.mark.parametrize("option", ["linear_schedule", "linear_clip_range"])
def test_an_agents_schedule_needs_its_end(option, policy):
    words = f"Agent(): {option} needs total_steps, where it reaches 0"
    refuse(lambda: fastpg.Agent(fastpg.PPO(**{option: True}), policy), ValueError, words)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("V", TypeError, ["value must be a fastpg.ValueFunction, got 'V'"]),
        (fastpg.ValueFunction.for_env("Acrobot-v1"), ValueError, ["value reads"]),
    ],
)
@pytest.mark.parametrize("algorithm", [fastpg.VPG(), fastpg.PPO()], ids=lambda one: type(one).__name__)
def test_train_refuses_a_value_function(algorithm, value, error, words):
    refuse(lambda: fastpg.train("CartPole-v1", algorithm, value=value), error, "train(): ", *words)


def test_train_refuses_a_value_function_that_nobody_would_use_or_that_is_not_finite():
    value = fastpg.ValueFunction.for_env("CartPole-v1")
    words = "train(): Reinforce has no value function, but value is given"
    refuse(lambda: fastpg.train("CartPole-v1", value=value), ValueError, words)
    value.theta[2] = NAN
    words = "train(): theta of the value function must be finite"
    refuse(lambda: fastpg.train("CartPole-v1", fastpg.VPG(), value=value), ValueError, words)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"env_id": "Pong"}, ValueError, ["env_id 'Pong'"]),
        (
            {"algorithm": "reinforce"},
            TypeError,
            ["must be a fastpg.Reinforce, VPG, A2C, PPO, NPG or TRPO, got 'reinforce'"],
        ),
        ({"num_envs": 0}, ValueError, ["num_envs"]),
        ({"horizon": 0}, ValueError, ["horizon"]),
        ({"horizon": 8, "episodes": 8}, ValueError, ["exactly one of", "got horizon and episodes"]),
        ({"steps_per_iteration": -1}, ValueError, ["steps_per_iteration"]),
        ({"total_steps": 0}, ValueError, ["total_steps"]),
        (
            {"total_steps": 1e6},
            TypeError,
            ["total_steps must be an integer", "got 1000000.0; write 1_000_000, or int(1e6)"],
        ),
        ({"target_return": NAN}, ValueError, ["target_return", "got nan"]),
        ({"seed": None}, TypeError, ["seed"]),
        ({"callback": 3}, TypeError, ["callback must be callable, or a list of callables, got 3"]),
        ({"progress": "yes"}, TypeError, ["progress must be True or False, got 'yes'"]),
        ({"checkpoint": 3}, TypeError, ["checkpoint must be a path, got 3"]),
        ({"checkpoint": "/"}, ValueError, ["checkpoint must be a file, but '/' is a directory"]),
        (
            {"checkpoint": "/nowhere/at/all"},
            ValueError,
            ["checkpoint lies in a directory that does not exist"],
        ),
        (
            {"env_params": {"gravity": 1.0}},
            TypeError,
            ["unexpected argument 'gravity'", "sutton_barto_reward"],
        ),
        ({"env_params": [1]}, TypeError, ["env_params must be a mapping"]),
    ],
    ids=str,
)
def test_train_refuses(arguments, error, words):
    refuse(lambda: fastpg.train(**{"env_id": "CartPole-v1", **arguments}), error, "train(): ", *words)


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_set_num_threads_refuses(value, error):
    before = fastpg.get_num_threads()
    refuse(lambda: fastpg.set_num_threads(value), error, "set_num_threads(): num_threads must be an integer")
    assert fastpg.get_num_threads() == before


def test_a_long_value_is_shortened_in_the_message():
    refuse(lambda: fastpg.Policy(BOX, Discrete(2), activation="x" * 5), ValueError, "'xxxxx'")
    refuse(lambda: fastpg.train("CartPole-v1", list(range(1000))), TypeError, "...")


def test_gymnasium_spaces_of_other_kinds_are_named():
    space = gymnasium.spaces.Text(5)
    refuse(lambda: fastpg.Policy(BOX, space), ValueError, "action_space", str(space))


@pytest.mark.parametrize(
    ("where", "call", "words"),
    [
        ("compare_forms()", lambda policy: compare(policy, lam=NAN), "lam must be a number"),
        ("compare_forms()", lambda policy: compare(policy, n_step=0), "n_step must be an integer"),
        (
            "fit_value()",
            lambda policy: fastpg.diagnostics.fit_value("CartPole-v1", policy, gamma=2.0),
            "gamma",
        ),
        ("fit_value()", lambda policy: fastpg.diagnostics.fit_value("CartPole-v9", policy), "env_id"),
        (
            "train()",
            lambda policy: fastpg.train("CartPole-v1", activation="gelu"),
            "activation must be one of",
        ),
        ("train()", lambda policy: fastpg.train("CartPole-v1", hidden=(0,)), "hidden[0] must be"),
        ("Policy.for_env()", lambda policy: fastpg.Policy.for_env("CartPole-v1", hidden=(0,)), "hidden[0]"),
        (
            "ValueFunction.for_env()",
            lambda policy: fastpg.ValueFunction.for_env("CartPole-v1", seed=-1),
            "seed",
        ),
    ],
)
def test_errors_name_the_function_that_was_called_not_one_that_it_calls(where, call, words, policy):
    refuse(lambda: call(policy), ValueError, f"{where}: ", words)


def compare(policy, **settings):
    return fastpg.diagnostics.compare_forms("CartPole-v1", policy, batches=2, episodes=1, **settings)


def test_an_algorithm_with_a_list_of_widths_is_the_one_with_a_tuple():
    for algorithm in (fastpg.VPG, fastpg.PPO):
        listed, given = algorithm(value_hidden=[8, 4]), algorithm(value_hidden=(8, 4))
        assert listed == given and hash(listed) == hash(given)


# ---- arrays to write to ---------------------------------------------------------------------------


def test_out_may_not_be_what_the_gradient_reads_or_hold_an_entry_twice():
    """Actions that were overwritten as they were read gave a wrong gradient, silently."""
    space = Box(-np.inf, np.inf, (2,))
    policy = fastpg.Policy(space, space, hidden=(), seed=0)
    size, batch = policy.theta.size, 6
    memory = np.zeros((batch, size), np.float32)
    obs, weights = np.ones((batch, 2), np.float32), np.ones(batch, np.float32)
    overlapping = {
        "actions": {"actions": memory.reshape(-1)[: 2 * batch].reshape(batch, 2)},
        "obs": {"obs": memory.reshape(-1)[: 2 * batch].reshape(batch, 2)},
        "weights": {"weights": memory.reshape(-1)[-batch:]},
    }
    for per, out in (("sample", memory), (None, memory[0])):
        for name, given in overlapping.items():
            if per is None and name == "weights":
                continue  # it lies in another row
            arguments = {"obs": obs, "actions": np.zeros((batch, 2), np.float32), "weights": weights} | given
            with pytest.raises(ValueError, match=f"out must not share memory with {name}"):
                fastpg.policy_gradient(policy, per=per, out=out, **arguments)
    once = np.broadcast_to(memory[0], (batch, size))
    with pytest.raises(ValueError, match="out must be contiguous and writable"):
        fastpg.policy_gradient(policy, obs, obs, weights, per="sample", out=once)


@pytest.mark.parametrize("strides", [(0, 4), (4, 0), (4, 4), (0, 0), (-4, 4), (8, 4), (4, 8)], ids=str)
def test_estimates_refuse_an_output_with_an_entry_that_is_two(strides):
    rewards, flags = np.ones((3, 4), np.float32), np.zeros((3, 4), bool)
    memory = np.zeros(64, np.float32)[32:]
    out = np.lib.stride_tricks.as_strided(memory, (3, 4), strides)
    with pytest.raises(ValueError, match="out must not have entries that share memory with each other"):
        fastpg.returns(rewards, flags, flags, gamma=0.9, out=out)
    separate = np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"out\[1\] must not have entries that share memory with each other"):
        fastpg.gae(
            rewards,
            rewards,
            flags,
            flags,
            last_values=np.zeros(4, np.float32),
            gamma=0.9,
            lam=0.9,
            out=(separate, out),
        )


@pytest.mark.parametrize("view", [np.s_[:, ::2], np.s_[::-1, ::-2], np.s_[::3, :4]], ids=str)
def test_estimates_write_to_any_strides_that_keep_entries_apart(view):
    whole = np.zeros((9, 8), np.float32)
    out = whole[view]
    rewards = np.arange(out.size, dtype=np.float32).reshape(out.shape)
    flags = np.zeros(out.shape, bool)
    right = fastpg.returns(rewards, flags, flags, gamma=0.5)
    assert fastpg.returns(rewards, flags, flags, gamma=0.5, out=out) is out
    np.testing.assert_array_equal(out, right)
    transposed = np.zeros(out.shape[::-1], np.float32).T
    np.testing.assert_array_equal(fastpg.returns(rewards, flags, flags, gamma=0.5, out=transposed), right)


def unaligned(array):
    """The same entries, one byte further."""
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


@pytest.mark.parametrize("space", [Discrete(2), MultiDiscrete([2, 2]), Box(-1, 1, (2,))], ids=str)
def test_the_core_never_gets_entries_that_are_not_aligned(space, monkeypatch):
    """C does not say what reading them is; UBSan reports it."""
    policy, value = fastpg.Policy(BOX, space, hidden=()), fastpg.ValueFunction(BOX, hidden=())
    obs, weights = unaligned(OBS + 0.5), unaligned(WEIGHTS)
    actions = unaligned(np.asarray(policy.act(OBS, seed=0)))
    got = []

    def spied(function):
        def spy(*arguments, **named):
            got.extend(one for one in (*arguments, *named.values()) if isinstance(one, np.ndarray))
            return function(*arguments, **named)

        return spy

    for name in ("policy_gradient", "segment_gradients", "log_prob_and_entropy", "act", "logits"):
        monkeypatch.setattr(_core, name, spied(getattr(_core, name)))
    lengths = unaligned(np.array([1, 2]))
    fastpg.policy_gradient(policy, obs, actions, weights)
    fastpg.policy_gradient(policy, obs, actions, weights, per="trajectory", lengths=lengths)
    policy.log_prob(obs, actions)
    policy.act(obs, seed=0)
    value(obs)
    assert len(got) == 5 + 6 + 3 + 2 + 3
    assert all(one.flags.aligned for one in got)
    refuse(
        lambda: fastpg.policy_gradient(policy, obs, actions, weights, out=unaligned(policy.theta)),
        ValueError,
        "policy_gradient(): out must be aligned",
    )


def test_a_number_that_is_not_finite_has_no_position():
    rewards, flags = np.ones(3), np.zeros(3, bool)
    refuse(
        lambda: fastpg.returns(rewards, flags, flags, last_values=INF),
        ValueError,
        "returns(): last_values must be finite, but it is inf",
    )


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("space", "number"), [(Discrete(2), 3e38), (MultiBinary(2), 3e38), (Box(-1, 1, (2,)), -80)], ids=str
)
def test_kl_says_when_a_divergence_is_no_number(space, number):
    """The last parameter is a bias, or the logarithm of a standard deviation; the first is a weight."""
    policy, other = (fastpg.Policy(BOX, space, hidden=()) for _ in range(2))
    other.theta[0 if number > 0 else -1] = number
    for one, another in ((policy, other), (other, policy)):
        if number > 0 or another is other:
            refuse(
                lambda p=one, q=another: p.kl(q, OBS + 2.0),
                FloatingPointError,
                "Policy.kl(): the divergence is NaN or infinite",
            )


def test_an_entropy_depends_on_no_action_and_is_refused_where_outputs_overflow():
    policy = fastpg.Policy(BOX, Box(-1, 1, (2,)), hidden=())
    policy.theta[0] = 3e38  # a mean that float32 holds for these observations
    assert np.isfinite(policy.entropy(OBS)).all()
    discrete = fastpg.Policy(BOX, Discrete(2), hidden=())
    discrete.theta[:2] = 3e38, -3e38
    words = "Policy.entropy(): the policy's output is NaN or infinite"
    refuse(lambda: discrete.entropy(OBS + 3.0), FloatingPointError, words)
