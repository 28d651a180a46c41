"""Policy.fisher_product beside the dense Fisher matrix of the oracle, and twice backward through torch."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import reference
from tests.support.heads import BOTH, STATE_STD, make
from tests.support.oracle import relative_error

SPACES = [
    Discrete(2),
    Discrete(7),
    MultiDiscrete([2, 5, 3]),
    MultiBinary(3),
    Box(-1, 1, (3,)),
    STATE_STD,
    BOTH,
]
OBS_SIZE = 3


@pytest.mark.parametrize("hidden", [(), (5,), (17, 4), (3, 16, 9)], ids=str)
@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("batch", [1, 7, 129])
def test_a_product_is_that_of_the_dense_matrix(isa, space, hidden, batch):
    policy, network = make(space, hidden, OBS_SIZE)
    rng = np.random.default_rng(batch)
    obs = rng.normal(size=(batch, OBS_SIZE)).astype(np.float32)
    direction = rng.normal(size=policy.theta.shape).astype(np.float32)
    matrix = reference.fisher(network, np.float64(policy.theta), np.float64(obs))
    assert relative_error(policy.fisher_product(obs, direction), matrix @ direction) < 1e-5
    damped = policy.fisher_product(obs, direction, damping=0.5)
    assert relative_error(damped, matrix @ direction + 0.5 * direction) < 1e-5


@pytest.mark.parametrize("hidden", [(), (6,), (4, 5)], ids=str)
def test_a_product_with_relu_and_one_with_categories(isa, hidden):
    rng = np.random.default_rng(1)
    relu = fastpg.Policy(Box(-9, 9, (3,)), Discrete(4), hidden=hidden, activation="relu", seed=1)
    relu.theta = relu.theta + rng.normal(0, 0.3, relu.theta.shape).astype(np.float32)
    obs = rng.normal(size=(33, 3)).astype(np.float32)
    network = reference.Network(3, hidden, 4, "relu")
    direction = rng.normal(size=relu.theta.shape).astype(np.float32)
    matrix = reference.fisher(network, np.float64(relu.theta), np.float64(obs))
    assert relative_error(relu.fisher_product(obs, direction), matrix @ direction) < 1e-5

    rooms = fastpg.Policy(MultiDiscrete([3, 4]), Discrete(3), hidden=hidden, seed=2)
    rooms.theta = rooms.theta + rng.normal(0, 0.3, rooms.theta.shape).astype(np.float32)
    cells = rng.integers([3, 4], size=(33, 2))
    one_hot = np.concatenate([np.eye(3)[cells[:, 0]], np.eye(4)[cells[:, 1]]], axis=1)
    direction = rng.normal(size=rooms.theta.shape).astype(np.float32)
    matrix = reference.fisher(reference.Network(7, hidden, 3), np.float64(rooms.theta), one_hot)
    assert relative_error(rooms.fisher_product(cells, direction), matrix @ direction) < 1e-5


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_product_is_torchs_second_derivative_of_the_divergence(space):
    torch = pytest.importorskip("torch")
    from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

    policy, network = make(space, (6, 5), OBS_SIZE)
    rng = np.random.default_rng(3)
    obs = rng.normal(size=(21, OBS_SIZE)).astype(np.float32)
    direction = rng.normal(size=policy.theta.shape).astype(np.float32)

    def distributions(theta):
        h, at = torch.from_numpy(obs).double(), 0
        sizes = reference.layer_sizes(network)
        for out, fan_in in sizes:
            weight = theta[at : at + out * fan_in].reshape(out, fan_in)
            bias = theta[at + out * fan_in : at + out * (fan_in + 1)]
            at += out * (fan_in + 1)
            h = h @ weight.T + bias
            h = h if (out, fan_in) == sizes[-1] else torch.tanh(h)
        if network.head == "gaussian":
            mean, log_std = h.chunk(2, -1) if policy.state_dependent_std else (h, theta[at:])
            return [Normal(mean, log_std.clamp(-20, 2).exp())]
        if network.head == "bernoulli":
            return [Bernoulli(logits=h)]
        return [
            Categorical(logits=z) for z in h.split(network.action_categories or (network.num_outputs,), 1)
        ]

    theta = torch.from_numpy(policy.theta).double().requires_grad_()
    still = distributions(theta.detach())
    pairs = zip(still, distributions(theta), strict=True)
    divergence = sum(kl_divergence(old, new).sum() for old, new in pairs) / len(obs)
    (slope,) = torch.autograd.grad(divergence, theta, create_graph=True)
    (product,) = torch.autograd.grad(slope @ torch.from_numpy(direction).double(), theta)
    assert relative_error(policy.fisher_product(obs, direction), product.numpy()) < 1e-5


def test_what_is_no_direction_is_refused():
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
    obs, direction = np.zeros(4, np.float32), np.zeros(10, np.float32)
    with pytest.raises(ValueError, match=r"Policy\.fisher_product\(\): direction must have shape \(10,\)"):
        policy.fisher_product(obs, direction[:-1])
    with pytest.raises(TypeError, match=r"direction must be float32"):
        policy.fisher_product(obs, direction.astype(np.float64))
    with pytest.raises(ValueError, match="direction"):
        policy.fisher_product(obs, direction * np.nan)
    with pytest.raises(ValueError, match="damping must be a number in"):
        policy.fisher_product(obs, direction, damping=-1.0)
    with pytest.raises(FloatingPointError, match=r"Policy\.fisher_product\(\): the product overflows"):
        policy.fisher_product(obs, direction + 1, damping=3.5e38)
