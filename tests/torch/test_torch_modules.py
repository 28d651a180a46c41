"""Modules that share their parameters with policies and value functions, and which are read at all."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import warnings
import weakref

import gymnasium.spaces as gs
import numpy as np
import pytest

import fastpg

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import nn

import fastpg.torch as fpt
from fastpg.torch.modules import read_module
from fastpg.torch.reading import NotCompiled, read_if_compiled
from tests.support.agents import random_batch
from tests.support.torch_oracle import HEADS, make_batch, make_module

pytestmark = pytest.mark.slow


def make_critic():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 1))


def made_of_a_network(kind):
    network = kind.for_env("CartPole-v1", hidden=(8, 5), seed=3)
    return network, fpt.to_module(network)


def made_of_a_module(take, make):
    module = make()
    return take(module), module


# What shares its memory with a module, and the module; made from either side.
POLICY_PAIRS = {
    "to_module": lambda: made_of_a_network(fastpg.Policy),
    "from_module": lambda: made_of_a_module(fpt.from_module, lambda: make_module(4, (8, 5), "discrete")[0]),
}
VALUE_PAIRS = {
    "to_module of a value": lambda: made_of_a_network(fastpg.ValueFunction),
    "value_from_module": lambda: made_of_a_module(fpt.value_from_module, make_critic),
}
PAIRS = POLICY_PAIRS | VALUE_PAIRS


@pytest.fixture(params=POLICY_PAIRS)
def policy_pair(request):
    return POLICY_PAIRS[request.param]()


@pytest.fixture(params=VALUE_PAIRS)
def value_pair(request):
    return VALUE_PAIRS[request.param]()


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]()


def taken_over(module, network):
    """Return a policy or a value function, whichever the network is, over a module's memory."""
    return (fpt.from_module if isinstance(network, fastpg.Policy) else fpt.value_from_module)(module)


def vector(module):
    return np.concatenate([one.detach().numpy().ravel() for one in module.parameters()])


# ---- one memory --------------------------------------------------------------------------------------------


def test_what_either_side_writes_the_other_has(pair):
    network, module = pair
    assert np.array_equal(network.theta, vector(module))
    with torch.no_grad():
        module[2].weight.fill_(0.25)
    assert (network.parameters()["hidden.1.weight"] == 0.25).all()
    network.theta[:] = np.arange(network.theta.size)
    assert np.array_equal(vector(module), network.theta)
    network.theta = np.zeros_like(network.theta)
    assert not vector(module).any()


def test_a_step_of_an_optimizer_is_a_step_of_the_policy(policy_pair):
    policy, module = policy_pair
    num_actions = policy.network.num_outputs
    obs, actions, weights = make_batch((9,), 4, gs.Discrete(num_actions))
    before = policy.theta.copy()
    for kind in ({}, {"foreach": True}, {"fused": True}):
        optimizer = torch.optim.Adam(module.parameters(), 0.1, **kind)
        optimizer.zero_grad()
        fpt.pg_loss(module, obs, actions, weights).backward()
        optimizer.step()
        assert (policy.theta != before).any()
        before = policy.theta.copy()
        expected = torch.log_softmax(module(obs), -1)[torch.arange(9), actions]
        np.testing.assert_allclose(
            policy.log_prob(obs.numpy(), actions.numpy()), expected.detach(), atol=1e-6
        )


def test_a_step_of_an_optimizer_is_a_step_of_the_value_function(value_pair):
    value, module = value_pair
    obs, targets = torch.randn(9, 4), torch.randn(9)
    optimizer = torch.optim.Adam(module.parameters(), 0.1)
    for _ in range(3):
        before = value.theta.copy()
        optimizer.zero_grad()
        nn.functional.mse_loss(module(obs).squeeze(-1), targets).backward()
        optimizer.step()
        assert (value.theta != before).any()
        np.testing.assert_allclose(value(obs.numpy()), module(obs).squeeze(-1).detach(), atol=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (5,), (8, 3, 5)])
@pytest.mark.parametrize(
    "space", [gs.Discrete(3), gs.MultiDiscrete([2, 3]), gs.MultiBinary(2), gs.Box(-1, 1, (2,))]
)
def test_a_policy_and_its_module_are_the_same_function(space, hidden, activation):
    policy = fastpg.Policy(gs.Box(-1, 1, (4,)), space, hidden=hidden, activation=activation)
    policy.theta += np.random.default_rng(0).normal(size=policy.theta.size).astype(np.float32)
    module = fpt.to_module(policy)
    obs, actions, _ = make_batch((6,), 4, space)
    log_prob, entropy = fpt.log_prob_and_entropy(module, obs, actions)
    assert np.array_equal(log_prob, policy.log_prob(obs.numpy(), actions.numpy()))
    assert np.array_equal(entropy, policy.entropy(obs.numpy()))
    back = fpt.from_module(module)
    assert np.shares_memory(back.theta, policy.theta) and back.theta.shape == policy.theta.shape
    assert (back.action_space, back.observation_space) == (space, policy.observation_space)
    if isinstance(space, gs.Box):
        assert np.array_equal(module.log_std.detach(), policy.parameters()["log_std"])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (5,), (8, 3, 5)])
def test_a_value_function_and_its_module_are_the_same_function(hidden, activation):
    value = fastpg.ValueFunction(gs.Box(-1, 1, (4,)), hidden=hidden, activation=activation)
    module = fpt.to_module(value)
    obs = torch.randn(2, 6, 4)
    assert isinstance(module, fpt.ValueModule) and module(obs).shape == (2, 6, 1)
    np.testing.assert_allclose(value(obs.numpy()), module(obs)[..., 0].detach(), atol=1e-6)
    back = fpt.value_from_module(module)
    assert np.shares_memory(back.theta, value.theta) and back.hidden == hidden
    assert back.observation_space == value.observation_space


@pytest.mark.parametrize(
    "obs_space", [gs.Discrete(4, start=2), gs.MultiDiscrete([3, 2]), gs.Tuple([gs.Discrete(3)] * 2)]
)
@pytest.mark.parametrize("kind", [fastpg.Policy, fastpg.ValueFunction])
def test_a_module_of_categories_takes_them_as_the_space_has_them_or_as_one_hot_vectors(kind, obs_space):
    network = kind(obs_space, *[gs.Discrete(3)] * (kind is fastpg.Policy), hidden=(8,))
    network.theta += np.random.default_rng(0).normal(size=network.theta.size).astype(np.float32)
    module = fpt.to_module(network)
    obs_space.seed(0)
    samples = [obs_space.sample() for _ in range(7)]
    obs = np.array(samples)
    one_hot = np.stack([gs.flatten(obs_space, one) for one in samples])
    given = tuple(obs.T) if isinstance(obs_space, gs.Tuple) else obs
    tensors = tuple(map(torch.from_numpy, given)) if isinstance(given, tuple) else torch.from_numpy(given)
    outputs = module(tensors)
    assert torch.equal(outputs, module(torch.from_numpy(one_hot).float()))
    if kind is fastpg.ValueFunction:
        np.testing.assert_allclose(network(given), outputs[:, 0].detach(), atol=1e-6)
        return
    expected = torch.log_softmax(outputs, -1)[:, 1].detach()
    np.testing.assert_allclose(network.log_prob(given, np.ones(7, np.int64)), expected, atol=1e-6)


def test_parameter_objects_stay_when_a_module_is_taken_over():
    module, _ = make_module(4, (8,), "gaussian")
    before, values = list(module.parameters()), vector(module)
    optimizer = torch.optim.SGD(module.parameters(), 0.5)
    policy = fpt.from_module(module)
    assert all(a is b for a, b in zip(before, module.parameters(), strict=True))
    assert np.array_equal(vector(module), values)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    expected = policy.theta - np.float32(0.5)
    optimizer.step()
    assert np.array_equal(policy.theta, expected)
    assert np.array_equal(policy.parameters()["log_std"], module.log_std.detach())


def test_parameter_objects_stay_when_a_critic_is_taken_over():
    module = make_critic()
    before, values = list(module.parameters()), vector(module)
    value = fpt.value_from_module(module)
    assert all(a is b for a, b in zip(before, module.parameters(), strict=True))
    assert np.array_equal(vector(module), values) and np.array_equal(value.theta, values)
    assert np.array_equal(value.parameters()["hidden.1.bias"], module[2].bias.detach())


def test_the_value_function_of_a_module_has_the_space_that_was_given():
    space = gs.Box(-2, 2, (4,))
    assert fpt.value_from_module(nn.Linear(4, 1), observation_space=space).observation_space == space
    unbounded = gs.Box(-np.inf, np.inf, (4,), np.float32)
    assert fpt.value_from_module(nn.Linear(4, 1)).observation_space == unbounded


@pytest.mark.parametrize("head", HEADS)
def test_the_policy_of_a_module_has_the_space_that_was_given(head):
    module, space = make_module(4, (8,), head)
    policy = fpt.from_module(module, space, observation_space=gs.Box(-2, 2, (4,)))
    assert policy.action_space == space and policy.observation_space == gs.Box(-2, 2, (4,))


def test_spaces_are_guessed_where_none_is_given():
    assert fpt.from_module(nn.Linear(4, 3)).action_space == gs.Discrete(3)
    policy = fpt.from_module(nn.Linear(4, 3), log_std=nn.Parameter(torch.zeros(3)))
    assert policy.action_space == gs.Box(-np.inf, np.inf, (3,), np.float32)
    assert policy.observation_space == gs.Box(-np.inf, np.inf, (4,), np.float32)


def test_sequentials_in_sequentials_and_identity_are_read_through():
    inner = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 5))
    module = nn.Sequential(nn.Identity(), inner, nn.ReLU(), nn.Linear(5, 2))
    policy = fpt.from_module(module)
    assert (policy.hidden, policy.activation) == ((8, 5), "relu")
    obs = torch.randn(7, 4)
    expected = torch.log_softmax(module(obs), -1)[:, 0].detach()
    np.testing.assert_allclose(policy.log_prob(obs.numpy(), np.zeros(7, np.int64)), expected, atol=1e-6)


KINDS = pytest.mark.parametrize("kind", [fastpg.Policy, fastpg.ValueFunction])


@KINDS
def test_two_modules_of_one_theta_share_it_and_two_that_are_made_of_a_module_too(kind):
    network = kind.for_env("CartPole-v1", hidden=(8,))
    first, second = fpt.to_module(network), fpt.to_module(network)
    with torch.no_grad():
        first[0].bias.fill_(7.0)
    assert (second[0].bias == 7).all()
    assert np.shares_memory(taken_over(first, network).theta, taken_over(second, network).theta)


@KINDS
def test_the_memory_outlives_the_other_side(kind):
    network = kind.for_env("CartPole-v1")
    module, values = fpt.to_module(network), network.theta.copy()
    del network
    gc.collect()
    assert np.array_equal(vector(module), values)
    network = (fpt.from_module if kind is fastpg.Policy else fpt.value_from_module)(module)
    del module
    gc.collect()
    assert np.array_equal(network.theta, values)


@pytest.mark.parametrize(
    ("make", "take"),
    [
        (lambda: nn.Linear(4, 2), fpt.from_module),
        (lambda: make_module(4, (8,), "gaussian")[0], fpt.from_module),
        (make_critic, fpt.value_from_module),
    ],
)
def test_modules_are_not_kept_alive_by_what_is_known_of_them(make, take):
    module = make()
    network = take(module)
    read_module("test()", module)
    alive = weakref.ref(module)
    del module
    gc.collect()
    assert alive() is None
    network.theta *= 2  # and there is nobody to tell


# ---- what ends the sharing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
@KINDS
def test_copies_have_a_memory_of_their_own(copied, env_id, kind):
    network = kind.for_env(env_id, hidden=(8,))
    module = fpt.to_module(network)
    taken_over(module, network)
    twin = copied(module)
    values = network.theta.copy()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert np.array_equal(network.theta, values)
    other = taken_over(twin, network)
    assert np.array_equal(other.theta, values + 1)
    for name in network.SPACES:
        assert getattr(other, name) == getattr(network, name)
    pickle.dumps(network)
    assert np.array_equal(network.copy().theta, values)


def test_a_state_dict_goes_in_and_out(pair):
    network, module = pair
    state = {name: one.clone() for name, one in module.state_dict().items()}
    network.theta = np.zeros_like(network.theta)
    module.load_state_dict(state)
    assert np.array_equal(network.theta, np.concatenate([one.numpy().ravel() for one in state.values()]))


def test_other_dtypes_leave_theta_behind_and_can_be_taken_over_again(pair):
    network, module = pair
    module.double().float()
    network.theta = np.zeros_like(network.theta)
    assert vector(module).any()
    again = taken_over(module, network)
    assert np.array_equal(again.theta, vector(module))
    with torch.no_grad():
        module[0].bias.fill_(3.0)
    assert (again.parameters()["hidden.0.bias"] == 3).all()


def test_a_module_reads_as_it_is_when_part_of_it_moves_away(pair):
    _, module = pair
    assert read_module("test()", module).shared
    module[2].bias.data = torch.ones(5)
    read = read_module("test()", module)
    assert not read.shared and np.array_equal(read.theta, vector(module))


# ---- what autograd notices ---------------------------------------------------------------------------------


def backward_after(module, write):
    obs = torch.randn(5, 4)
    loss = torch.tanh(module(obs)).sum()
    write()
    loss.backward()


def test_assignments_between_forward_and_backward_are_noticed(pair):
    network, module = pair
    backward_after(module, lambda: None)

    def assign():
        network.theta = np.zeros_like(network.theta)

    def add():
        network.theta += np.ones_like(network.theta)

    def write_and_say_so():
        network.parameters()["head.bias"][:] = 1.0
        network.written()

    for write in (assign, add, write_and_say_so):
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            backward_after(module, write)


@KINDS
def test_every_module_of_a_network_is_told(kind):
    network = kind.for_env("CartPole-v1", hidden=(8,))
    modules = [fpt.to_module(network) for _ in range(2)]
    network.theta = network.theta
    assert all(parameter._version == 1 for module in modules for parameter in module.parameters())


# What folds the statistics of observations and of rewards into the networks.
LEARNERS = [
    fastpg.VPG(normalize_observations=True),
    fastpg.PPO(minibatches=4, epochs=2, normalize_observations=True, normalize_rewards=True),
]
every_learner = pytest.mark.parametrize("algorithm", LEARNERS, ids=lambda one: type(one).__name__)


@every_learner
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_modules_of_a_run_read_observations_and_predict_returns_as_the_environment_has_them(
    algorithm, env_id
):
    run = fastpg.train(env_id, algorithm, num_envs=8, horizon=64, total_steps=2000, hidden=(8,))
    module, critic = fpt.to_module(run.policy), fpt.to_module(run.value)
    batch = fastpg.collect(env_id, run.policy, 9, num_envs=3)
    obs, actions = torch.from_numpy(batch.obs), torch.from_numpy(batch.actions)
    if env_id == "CartPole-v1":
        expected = torch.distributions.Categorical(logits=module(obs)).log_prob(actions)
    else:
        normal = torch.distributions.Normal(module(obs), module.log_std.exp())
        expected = normal.log_prob(actions).sum(-1)
    np.testing.assert_allclose(batch.log_probs, expected.detach(), atol=1e-4)
    np.testing.assert_allclose(run.value(batch.obs), critic(obs)[..., 0].detach(), rtol=1e-4, atol=1e-4)


@every_learner
def test_an_agent_learns_in_the_memory_of_modules(algorithm):
    module, critic = make_module(4, (8, 5), "discrete")[0], make_critic()
    policy, value = fpt.from_module(module), fpt.value_from_module(critic)
    twins = policy.copy(), value.copy()
    agents = fastpg.Agent(algorithm, policy, value, 3), fastpg.Agent(algorithm, *twins, 3)
    parameters = [*module.parameters(), *critic.parameters()]
    before, versions = vector(module), [one._version for one in parameters]
    for seed in range(2):
        batch = random_batch(policy, 17, 6, seed)
        known = [agent.update(batch) for agent in agents]
        np.testing.assert_equal(known[0] | {"seconds": 0}, known[1] | {"seconds": 0})
    assert (vector(module) != before).any()
    assert np.array_equal(vector(module), twins[0].theta)
    assert np.array_equal(vector(critic), twins[1].theta)
    assert all(one._version > old for one, old in zip(parameters, versions, strict=True))
    assert list(map(id, parameters)) == list(map(id, [*module.parameters(), *critic.parameters()]))
    obs = torch.from_numpy(batch.obs)
    np.testing.assert_allclose(critic(obs)[..., 0].detach(), value(batch.obs), rtol=1e-5, atol=1e-5)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)  # whose steps the agent goes on from
    fpt.pg_loss(module, obs, torch.from_numpy(batch.actions), torch.ones(obs.shape[:-1])).backward()
    optimizer.step()
    assert np.array_equal(agents[0].state()["policy.theta"], vector(module))


def test_layers_that_leave_another_network_are_said():
    trunk = nn.Linear(4, 8)
    actor = nn.Sequential(trunk, nn.Tanh(), nn.Linear(8, 2))
    critic = nn.Sequential(trunk, nn.Tanh(), nn.Linear(8, 1))
    policy = fpt.from_module(actor)
    with pytest.warns(UserWarning, match="in common with the module of a Policy made before"):
        value = fpt.value_from_module(critic)
    assert np.array_equal(value.parameters()["hidden.0.bias"], policy.parameters()["hidden.0.bias"])
    actor[2] = nn.Linear(8, 2)
    with pytest.warns(UserWarning, match="of a ValueFunction made before"):
        policy = fpt.from_module(actor)
    actor[2] = nn.Linear(8, 3)
    del value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(fpt.from_module(actor).theta) != len(policy.theta)  # no other module is concerned


def test_training_tells_the_module_that_a_callback_made():
    modules, versions = [], []

    def callback(progress):
        if not modules:
            modules.append(fpt.to_module(progress.policy))
        versions.append(modules[0][0].weight._version)
        return len(versions) == 3

    run = fastpg.train("CartPole-v1", fastpg.Reinforce(), total_steps=10**9, hidden=(8,), callback=callback)
    assert versions[0] < versions[1] < versions[2]
    assert np.array_equal(vector(modules[0]), run.policy.theta)


def test_a_step_of_one_layer_is_no_change_of_another(pair):
    _, module = pair
    obs = torch.randn(5, 4)
    loss = torch.tanh(module(obs)).sum()
    with torch.no_grad():
        module[0].weight.add_(1.0)  # the gradient by obs, which needs it, is not asked for
    loss.backward()


# ---- what is refused ---------------------------------------------------------------------------------------


def tied():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.Tanh(), layer)


def tied_weights():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    return module


def with_log_std(value, outputs=2):
    module = nn.Sequential(nn.Linear(4, outputs))
    module.log_std = value
    return module


class Scaled(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


class Residual(nn.Sequential):
    def forward(self, input):
        return input + super().forward(input)


@pytest.mark.parametrize(
    ("module", "error", "sentence"),
    [
        (3, TypeError, "module must be a torch.nn.Module, got 3"),
        (nn.Conv2d(1, 1, 1), TypeError, "module is a Conv2d, which is not supported"),
        (nn.Sequential(nn.Linear(4, 2), nn.Sequential(nn.Softmax(-1))), TypeError, "module.1.0 is a Softmax"),
        (nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.Linear(8, 2)), TypeError, "module.1 is a Dropout"),
        (nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)), TypeError, "module.1 is a GELU"),
        (nn.Sequential(Scaled(4, 2)), TypeError, "module.0 is a Scaled, which is not supported"),
        (Residual(nn.Linear(4, 4)), TypeError, "module is a Residual, which is not supported"),
        (nn.Sequential(), ValueError, "module has no layers"),
        (nn.Sequential(nn.Tanh(), nn.Linear(4, 2)), ValueError, "a Linear must follow the beginning"),
        (nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), ValueError, "Tanh or ReLU must follow module.0"),
        (
            nn.Sequential(nn.Linear(4, 2), nn.Tanh()),
            ValueError,
            "last layer must be Linear.*module.1 is",
        ),
        (
            nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)),
            ValueError,
            r"activations must be of one kind, got tanh \(module.1\) and relu \(module.3\)",
        ),
        (
            nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(9, 2)),
            ValueError,
            "module.2 takes 9 inputs",
        ),
        (make_module(4, (8,) * 4, "discrete")[0], ValueError, "4 hidden layers; at most 3 are supported"),
        (
            make_module(4, (513,), "discrete")[0],
            ValueError,
            "module.0 has 513 outputs; hidden",
        ),
        (nn.Linear(4, 513), ValueError, "at most 512 actions"),
        (nn.Linear(4, 2, bias=False), ValueError, "its bias is None; make it with bias=True"),
        (
            nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)),
            ValueError,
            "its weight is computed",
        ),
        (
            nn.Linear(4, 2).double(),
            TypeError,
            r"weight must be float32, .*module.float\(\)",
        ),
        (nn.Linear(4, 2, device="meta"), ValueError, "module.weight must lie on the CPU, got meta"),
        (tied(), ValueError, "one parameter in two places"),
        (tied_weights(), ValueError, "one parameter in two places"),
        (
            with_log_std(nn.Parameter(torch.zeros(3))),
            ValueError,
            r"log_std must have shape \(2,\)",
        ),
        (
            with_log_std(torch.zeros(2)),
            TypeError,
            "module.log_std must be a torch.nn.Parameter",
        ),
        (with_log_std(nn.Parameter(torch.zeros(2).double())), TypeError, "log_std must be float32"),
        (with_log_std(nn.Parameter(torch.zeros(33)), 33), ValueError, "1 to 32 components, got 33"),
        (nn.LazyLinear(2), ValueError, "module is a LazyLinear that has no parameters yet"),
    ],
)
def test_modules_that_the_kernels_cannot_run_are_refused(module, error, sentence):
    with pytest.raises(error, match=rf"^from_module\(\): .*{sentence}"):
        fpt.from_module(module)
    try:
        read_if_compiled("test", module)
    except NotCompiled:
        return  # pg_loss lets torch run it: tests/torch/test_torch_any_module.py
    except (TypeError, ValueError):
        with pytest.raises(error, match=rf"^pg_loss\(\): .*{sentence}"):
            fpt.pg_loss(module, None, None, None)


@pytest.mark.parametrize(
    ("spaces", "error", "sentence"),
    [
        (
            {"action_space": gs.Discrete(3)},
            ValueError,
            "module has 2 outputs, but .* needs 3",
        ),
        (
            {"action_space": gs.Box(-1, 1, (1,)), "log_std": torch.zeros(1)},
            ValueError,
            r"module has 2 outputs, a mean and a log_std for each entry .*, and a log_std beside them",
        ),
        (
            {"action_space": gs.Box(-1, 1, (2,)), "log_std": torch.zeros(5, 2)},
            ValueError,
            r"log_std must have shape \(2,\), one entry an action, the same for all .*, got \(5, 2\)",
        ),
        ({"action_space": gs.Box(-1, 1, (2,))}, ValueError, r"a log_std of shape \(2,\) is needed"),
        ({"action_space": 2}, TypeError, "action_space must be a gymnasium space"),
        (
            {"observation_space": gs.Box(-1, 1, (3,))},
            ValueError,
            "module takes 4 inputs, but .* gives 3",
        ),
        ({"log_std": 0.0}, TypeError, "log_std must be a torch.nn.Parameter, got 0.0"),
        ({"action_space": gs.Discrete(2), "log_std": torch.zeros(2)}, ValueError, "there must be no log_std"),
        (
            {"log_std": torch.zeros(2, requires_grad=True) * 1},
            ValueError,
            "must be leaves",
        ),
    ],
)
def test_spaces_that_do_not_fit_are_refused(spaces, error, sentence):
    with pytest.raises(error, match=rf"from_module\(\): .*{sentence}"):
        fpt.from_module(nn.Linear(4, 2), **spaces)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (nn.Linear(4, 2), "a value function is a module with 1 output, but module has 2 outputs"),
        (nn.Linear(4, 1000), "a value function is a module with 1 output, but module has 1000 outputs"),
        (with_log_std(nn.Parameter(torch.zeros(1)), 1), "with 1 output, but module has a log_std"),
        (fpt.to_module(fastpg.Policy.for_env("CartPole-v1")), "with 1 output, but module has 2 outputs"),
        (fpt.to_module(fastpg.Policy.for_env("Pendulum-v1")), "with 1 output, but module has a log_std"),
    ],
)
def test_modules_that_are_no_value_function_are_refused(module, sentence):
    with pytest.raises(ValueError, match=rf"^value_from_module\(\): .*{sentence}$"):
        fpt.value_from_module(module)


def test_the_module_of_a_value_function_is_no_policy():
    module = fpt.to_module(fastpg.ValueFunction.for_env("CartPole-v1"))
    with pytest.raises(
        TypeError, match=r"^from_module\(\): module is that of a value function; .*value_from"
    ):
        fpt.from_module(module)


def test_to_module_takes_policies_and_value_functions_only():
    with pytest.raises(
        TypeError, match=r"to_module\(\): policy must be a fastpg.Policy or a fastpg.ValueFunction"
    ):
        fpt.to_module(nn.Linear(4, 2))


def test_defaults_of_torch_do_not_matter():
    torch.set_default_dtype(torch.float64)
    try:
        module = fpt.to_module(fastpg.Policy.for_env("Pendulum-v1", hidden=(8,)))
        assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
        obs, actions, weights = torch.zeros(2, 3).float(), torch.zeros(2, 1).float(), torch.ones(2).float()
        assert fpt.pg_loss(module, obs, actions, weights).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


# ---- importing ---------------------------------------------------------------------------------------------


def test_without_torch_the_import_says_how_to_get_it():
    program = "import sys; sys.modules['torch'] = None; import fastpg; import fastpg.torch"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (
        "ImportError: fastpg.torch needs PyTorch, which is not installed: pip install torch\n"
        in result.stderr
    )


def test_every_public_name_is_documented():
    for name in fpt.__all__:
        assert getattr(fpt, name).__doc__


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "77", "OMP_WAIT_POLICY": "active"}], ids=str)
def test_importing_torch_leaves_the_environment_as_it_was(given):
    names = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"]
    program = f"import fastpg.torch, os, sys; print({{n: os.environ[n] for n in {names} if n in os.environ}})"
    clean = {name: value for name, value in os.environ.items() if name not in names}
    result = subprocess.run(
        [sys.executable, "-c", program], env=clean | given, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == str(given)
