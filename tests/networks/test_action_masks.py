"""Action masks of a policy: against the oracle and torch's distributions, what is drawn, what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

import fastpg
from fastpg import reference
from fastpg.torch import log_prob_and_entropy, pg_loss, ppo_loss
from tests.support.heads import batch, exact, make, oracle_of, random_mask

SPACES = [Discrete(2), Discrete(5), Discrete(6, start=3), MultiDiscrete([3, 2, 5]), MultiDiscrete([1, 17, 2])]
HIDDEN = [(), (33,), (17, 5, 33)]
every_space = pytest.mark.parametrize("space", SPACES, ids=str)


def masked(space, hidden, size, num_inputs=4):
    """A policy, its oracle, observations, actions, weights, masks, and what the oracle reads of all."""
    policy, oracle = make(space, hidden, num_inputs)
    obs, actions, weights = batch(policy, size)
    mask = random_mask(policy, np.random.default_rng(2), actions, 0.6)
    theta, x = exact(policy, obs)
    start = space.start if isinstance(space, Discrete) else 0
    oracle = dataclasses.replace(oracle, masked=True)
    return policy, oracle, obs, actions + start, weights, mask, theta, np.concatenate([x, mask], 1), actions


def assert_near(got, expected):
    """To 1e-5 of the norm, which is 0 where a single action is allowed."""
    assert np.linalg.norm(got - expected) <= 1e-5 * np.linalg.norm(expected)


# ---- the oracle --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 17, 300])
@every_space
def test_distributions_of_the_allowed_actions_are_the_oracles(isa, space, size):
    for hidden in HIDDEN:
        policy, oracle, obs, actions, _, mask, theta, x, from_zero = masked(space, hidden, size)
        other = policy.copy()
        oracle_of(other, seed=5)
        log_prob, entropy = fastpg.log_prob_and_entropy(policy, obs, actions, action_mask=mask)
        near = {"rtol": 1e-5, "atol": 2e-6}
        np.testing.assert_allclose(log_prob, reference.log_prob(oracle, theta, x, from_zero), **near)
        np.testing.assert_array_equal(log_prob, policy.log_prob(obs, actions, action_mask=mask))
        np.testing.assert_allclose(entropy, reference.entropy(oracle, theta, x), **near)
        np.testing.assert_array_equal(entropy, policy.entropy(obs, action_mask=mask))
        divergence = reference.kl(oracle, theta, other.theta.astype(np.float64), x)
        np.testing.assert_allclose(policy.kl(other, obs, action_mask=mask), divergence, **near)


@pytest.mark.parametrize("size", [1, 17, 1000])
@every_space
def test_gradients_are_the_oracles(isa, space, size):
    for hidden in HIDDEN:
        policy, oracle, obs, actions, weights, mask, theta, x, from_zero = masked(space, hidden, size)
        options = {"reduction": "sum", "entropy_coef": 0.2, "action_mask": mask}
        gradient = fastpg.policy_gradient(policy, obs, actions, weights, **options)
        expected = reference.policy_gradient(oracle, theta, x, from_zero, np.float64(weights), "sum")
        expected += 0.2 * reference.entropy_gradient(oracle, theta, x)
        assert_near(gradient, expected)
        each = fastpg.policy_gradient(policy, obs, actions, weights, per="sample", action_mask=mask)
        scores = weights[:, None] * reference.score(oracle, theta, x, from_zero)
        assert_near(each, scores)
        # What was not allowed in any row has no gradient at all.
        never = ~mask.any(axis=0)
        view = policy.copy()
        view.theta[:] = gradient
        assert not view.parameters()["head.bias"][never].any()
        assert not view.parameters()["head.weight"][never].any()


@every_space
def test_the_fisher_matrix_is_the_oracles(isa, space):
    for hidden in ((), (5,)):
        policy, oracle, obs, *_, mask, theta, x, _ = masked(space, hidden, 37)
        direction = np.random.default_rng(3).normal(size=theta.shape).astype(np.float32)
        product = policy.fisher_product(obs, direction, action_mask=mask)
        assert_near(product, reference.fisher(oracle, theta, x) @ direction)


def test_the_oracles_fisher_matrix_is_the_mean_of_outer_products_over_what_is_allowed():
    _, oracle, *_, mask, theta, x, _ = masked(Discrete(5), (4,), 7)
    scores = [reference.score(oracle, theta, x, np.full(7, action)) for action in range(5)]
    p = np.exp(reference.component_log_probs(oracle, reference.logits(oracle, theta, x))[0])
    assert not p[~mask].any()
    expected = np.einsum("ba,abp,abq->pq", p, scores, scores) / 7
    np.testing.assert_allclose(reference.fisher(oracle, theta, x), expected, atol=1e-12)


@every_space
def test_a_mask_that_allows_everything_changes_no_bit(space):
    policy, _, obs, actions, weights, mask, *_ = masked(space, (33,), 130)
    for every in (np.ones_like(mask), np.ones(mask.shape, np.int8)):
        for left, right in zip(
            fastpg.log_prob_and_entropy(policy, obs, actions, action_mask=every),
            fastpg.log_prob_and_entropy(policy, obs, actions),
            strict=True,
        ):
            np.testing.assert_array_equal(left, right)
        with_mask = fastpg.policy_gradient(policy, obs, actions, weights, action_mask=every)
        np.testing.assert_array_equal(with_mask, fastpg.policy_gradient(policy, obs, actions, weights))
        for how in ({"seed": 3}, {"deterministic": True}):
            np.testing.assert_array_equal(policy.act(obs, action_mask=every, **how), policy.act(obs, **how))


# ---- torch -------------------------------------------------------------------------------------------------


def torch_terms(policy, module, obs, actions, mask):
    """The sums of log-probs and entropies over components of torch's Categorical with logits of -inf."""
    logits = module(torch.from_numpy(obs)).masked_fill(torch.from_numpy(~mask), -torch.inf)
    log_prob = entropy = 0.0
    columns = torch.from_numpy(actions).reshape(len(obs), -1).T
    for part, column in zip(logits.split(policy.network.action_categories, dim=1), columns, strict=True):
        p = torch.distributions.Categorical(logits=part)
        log_prob, entropy = log_prob + p.log_prob(column), entropy + p.entropy()
    return log_prob, entropy


@pytest.mark.parametrize("space", [Discrete(5), MultiDiscrete([3, 2, 5])], ids=str)
def test_losses_are_those_of_torchs_distributions_with_logits_of_minus_infinity(space):
    policy, _, obs, actions, weights, mask, *_ = masked(space, (33,), 130)
    module = fastpg.torch.to_module(policy)
    tensors = [torch.from_numpy(one) for one in (obs, actions, weights)]
    given = {"action_mask": torch.from_numpy(mask)}
    log_prob, entropy = torch_terms(policy, module, obs, actions, mask)
    for got, expected in zip(
        log_prob_and_entropy(module, *tensors[:2], **given), (log_prob, entropy), strict=True
    ):
        torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=2e-6)
    old = (log_prob + 0.1 * torch.from_numpy(np.random.default_rng(3).normal(size=130))).detach().float()
    ratio = (log_prob - old).exp()
    surrogate = torch.min(ratio * tensors[2], ratio.clamp(0.8, 1.2) * tensors[2])
    for loss, expected in (
        (pg_loss(module, *tensors, entropy_coef=0.2, **given), tensors[2] * log_prob + 0.2 * entropy),
        (ppo_loss(module, *tensors, old, entropy_coef=0.2, **given), surrogate + 0.2 * entropy),
    ):
        module.zero_grad()
        loss.backward()
        mine = [parameter.grad.clone() for parameter in module.parameters()]
        torch.testing.assert_close(loss, -expected.mean(), rtol=1e-4, atol=1e-6)
        wanted = torch.autograd.grad(-expected.mean(), list(module.parameters()), retain_graph=True)
        for one, other in zip(mine, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_compiled_losses_take_masks():
    module = torch.nn.Linear(4, 5)
    obs, actions, weights = torch.randn(9, 4), torch.randint(5, (9,)), torch.randn(9)
    mask = torch.rand(9, 5) < 0.5
    mask[torch.arange(9), actions] = True
    compiled = torch.compile(pg_loss, backend="aot_eager", fullgraph=True)
    loss = compiled(module, obs, actions, weights, action_mask=mask)
    torch.testing.assert_close(loss, pg_loss(module, obs, actions, weights, action_mask=mask))


# ---- draws -------------------------------------------------------------------------------------------------


@every_space
def test_only_what_is_allowed_is_drawn_and_with_its_probability(isa, space):
    policy, oracle, *_ = masked(space, (), 1)
    rng, size = np.random.default_rng(0), 40_000
    start = space.start if isinstance(space, Discrete) else 0
    one = random_mask(policy, rng, batch(policy, 1)[1], 0.5)
    obs = np.tile(rng.normal(size=(1, 4)).astype(np.float32), (size, 1))
    mask = np.tile(one, (size, 1))
    drawn = np.reshape(policy.act(obs, seed=1, action_mask=mask) - start, (size, -1))
    z = reference.logits(oracle, policy.theta.astype(np.float64), np.concatenate([obs[:1], one], axis=1))
    tables = reference.component_log_probs(oracle, z)
    for column, table in zip(drawn.T, tables, strict=True):
        p = np.exp(table[0])
        share = np.bincount(column, minlength=len(p)) / size
        assert not share[p == 0].any()
        assert (np.abs(share - p) < 4.5 * np.sqrt(p * (1 - p) / size) + 1e-9).all()
    best = np.reshape(policy.act(obs[:1], deterministic=True, action_mask=one) - start, -1)
    assert best.tolist() == [int(table.argmax()) for table in tables]


def test_an_action_that_is_not_allowed_is_not_drawn_where_rounding_leaves_a_rest(isa):
    """Cumulative probabilities that are rounded down again and again end below 1, and uniforms above them."""
    sums = {n: np.cumsum(np.full(n, np.float32(1) / np.float32(n), np.float32))[-1] for n in range(200, 512)}
    allowed = min(sums, key=sums.get)
    assert sums[allowed] < 1 - 4e-6
    rows, quads = np.meshgrid(np.arange(64, dtype=np.uint32), np.arange(1 << 14, dtype=np.uint32))
    nothing = np.zeros_like(rows)
    words = reference.philox4x32(
        np.stack([rows, quads, nothing, nothing], -1), np.zeros((*rows.shape, 2), np.uint32)
    )
    quad, row, place = np.argwhere(words > (1 - 2e-6) * 2**32).T  # actions that are drawn with such uniforms
    assert len(row) > 3
    policy = fastpg.Policy(Box(-1, 1, (1,)), Discrete(512), hidden=())
    policy.theta[:] = 0
    mask = np.arange(512) < allowed
    for i, step in zip(row, 4 * quad + place, strict=True):
        obs, masks = np.zeros((i + 1, 1), np.float32), np.tile(mask, (i + 1, 1))
        assert policy.act(obs, seed=0, step=int(step), action_mask=masks)[-1] == allowed - 1


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.fixture
def arrays():
    policy = fastpg.Policy(Box(-1, 1, (4,)), MultiDiscrete([3, 2]), hidden=())
    return policy, np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 2), np.int64), np.ones((2, 3, 5), bool)


def test_a_mask_that_allows_nothing_is_refused_by_its_row(arrays):
    policy, obs, actions, mask = arrays
    mask[1, 2, 3:] = False
    sentence = r"action_mask\[1, 2\] allows no category of component 1, so that there is no action to take$"
    weights = np.ones((2, 3), np.float32)
    for call in (
        lambda: policy.act(obs, seed=0, action_mask=mask),
        lambda: policy.entropy(obs, action_mask=mask),
        lambda: policy.kl(policy, obs, action_mask=mask),
        lambda: policy.fisher_product(obs, policy.theta, action_mask=mask),
        lambda: policy.log_prob(obs, actions, action_mask=mask),
        lambda: fastpg.log_prob_and_entropy(policy, obs, actions, action_mask=mask),
        lambda: fastpg.policy_gradient(policy, obs, actions, weights, action_mask=mask),
    ):
        with pytest.raises(ValueError, match=rf"^[\w.]+\(\): {sentence}"):
            call()
    single = fastpg.Policy(Box(-1, 1, (4,)), Discrete(2), hidden=())
    with pytest.raises(ValueError, match=r"^Policy\.act\(\): action_mask allows no category, so"):
        single.act(obs[0, 0], seed=0, action_mask=np.zeros(2, bool))


def test_an_action_that_is_not_allowed_is_refused_by_its_row(arrays):
    policy, obs, actions, mask = arrays
    actions[1, 0] = 2, 1
    mask[1, 0, 4] = False
    sentence = r"actions\[1, 0\] is \[2 1\], which action_mask\[1, 0\] does not allow$"
    for call in (
        lambda: policy.log_prob(obs, actions, action_mask=mask),
        lambda: fastpg.policy_gradient(policy, obs, actions, np.ones((2, 3), np.float32), action_mask=mask),
        lambda: pg_loss(
            fastpg.torch.to_module(policy), *map(torch.from_numpy, (obs, actions)), torch.ones(2, 3),
            action_mask=torch.from_numpy(mask),
        ),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"\(\): {sentence}"):
            call()


@pytest.mark.parametrize(
    ("mask", "kind", "sentence"),
    [
        (np.ones((2, 3, 4), bool), ValueError, r"action_mask must have shape \(2, 3, 5\)"),
        (np.full((2, 3, 5), 2), ValueError, "zeros and ones, but one entry is 2"),
        (np.full((2, 3, 5), np.nan), ValueError, "zeros and ones"),
        ([[True]], TypeError, "action_mask must be a bool or numeric array of zeros and ones"),
        ("yes", TypeError, "action_mask must be a bool or numeric array"),
    ],
)
def test_what_is_no_mask_is_refused(arrays, mask, kind, sentence):
    policy, obs, *_ = arrays
    with pytest.raises(kind, match=sentence):
        policy.act(obs, seed=0, action_mask=mask)


@pytest.mark.parametrize("space", [MultiBinary(3), Box(-1, 1, (2,))], ids=str)
def test_masks_are_of_actions_with_categories(space):
    policy, _ = make(space)
    obs, actions, _ = batch(policy, 3)
    sentence = "action masks go with Discrete and MultiDiscrete actions, but actions are in "
    with pytest.raises(ValueError, match=rf"^Policy\.act\(\): {sentence}"):
        policy.act(obs, seed=0, action_mask=np.ones((3, policy.network.num_outputs), bool))
    with pytest.raises(ValueError, match=rf"^Policy\.log_prob\(\): {sentence}"):
        policy.log_prob(obs, actions, action_mask=np.ones((3, policy.network.num_outputs), bool))
