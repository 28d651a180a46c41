"""ppo_loss: PPO's clipped loss with the gradient of the compiled kernels behind torch's backward."""

import threading

import gymnasium.spaces as gs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpg

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import nn

import fastpg.torch as fpt
from fastpg.torch import autograd
from tests.support.torch_oracle import (
    HEADS,
    clipped_loss_and_gradient,
    flattened,
    make_batch,
    make_module,
    make_old_log_probs,
    relative_error,
    size_of_gradient,
)

pytestmark = pytest.mark.slow

NAN, INF = float("nan"), float("inf")


def make(shape=(6,), num_inputs=4, hidden=(8,), head="discrete", activation=nn.Tanh, clip_range=0.2, seed=0):
    """A module, its action space, and what ppo_loss reads: obs, actions, advantages, old_log_probs."""
    module, space = make_module(num_inputs, hidden, head, activation, seed)
    batch = make_batch(shape, num_inputs, space, seed)
    return module, space, (*batch, make_old_log_probs(module, space, *batch[:2], clip_range, seed))


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


def numbers(stats):
    return {name: one.item() for name, one in stats._asdict().items()}


# ---- the value, its gradient and the statistics ------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(), (1,), (3,), (17,), (5, 4), (130,), (2, 3, 4), (600,)]),
    num_inputs=st.integers(1, 9),
    hidden=st.lists(st.sampled_from([1, 5, 33, 64]), max_size=3).map(tuple),
    activation=st.sampled_from([nn.Tanh, nn.ReLU]),
    head=st.sampled_from(HEADS),
    clip_range=st.sampled_from([0.05, 0.2, 1.5]),
    entropy_coef=st.sampled_from([0.0, 0.1, -1.0]),
    reduction=st.sampled_from(["mean", "sum"]),
    seed=st.integers(0, 1000),
)
def test_loss_gradient_and_statistics_are_those_of_float64_autograd(
    shape, num_inputs, hidden, activation, head, clip_range, entropy_coef, reduction, seed
):
    module, space, batch = make(shape, num_inputs, hidden, head, activation, clip_range, seed)
    kind = {"entropy_coef": entropy_coef, "reduction": reduction}
    loss, stats = fpt.ppo_loss(
        module, *batch, action_space=space, clip_range=clip_range, return_stats=True, **kind
    )
    loss.backward()
    expected_loss, expected, expected_stats = clipped_loss_and_gradient(
        module, space, *batch, clip_range, **kind
    )
    assert all(one.shape == () and one.dtype == torch.float32 for one in (loss, *stats))
    assert not any(one.requires_grad for one in stats)
    obs, actions, advantages, old = batch
    ratios = (fpt.log_prob_and_entropy(module, obs, actions, action_space=space)[0] - old).exp()
    weights = advantages * ratios  # of the rows that are not clipped; all of them bound the rounding
    size = weights.abs().mean().item() + abs(entropy_coef * expected_stats["entropy"])
    assert abs(loss.item() - expected_loss) <= 1e-5 * size * (advantages.numel() if reduction == "sum" else 1)
    difference = flattened(gradients(module)) - flattened(expected)
    assert difference.norm() <= 1e-5 * size_of_gradient(module, space, obs, actions, weights, **kind)
    assert numbers(stats) == pytest.approx(expected_stats, rel=1e-5, abs=1e-5 * max(1.0, size))


@pytest.mark.parametrize("head", HEADS)
def test_a_large_batch_agrees_to_1e_5_of_the_gradient(head):
    module, space, batch = make((4000,), 4, (64, 64), head)
    loss, stats = fpt.ppo_loss(module, *batch, action_space=space, entropy_coef=0.01, return_stats=True)
    loss.backward()
    _, expected, expected_stats = clipped_loss_and_gradient(module, space, *batch, entropy_coef=0.01)
    assert relative_error(gradients(module), expected) < 1e-5
    assert 0 < expected_stats["clip_fraction"] < 1
    assert numbers(stats) == pytest.approx(expected_stats, rel=2e-5, abs=2e-6)


def test_the_first_step_is_that_of_pg_loss():
    module, space, (obs, actions, advantages, _) = make((300,), head="multi_discrete")
    now, _ = fpt.log_prob_and_entropy(module, obs, actions, action_space=space)
    loss, stats = fpt.ppo_loss(
        module, obs, actions, advantages, now, action_space=space, entropy_coef=0.1, return_stats=True
    )
    loss.backward()
    ours = [one.clone() for one in gradients(module)]
    module.zero_grad()
    fpt.pg_loss(module, obs, actions, advantages, action_space=space, entropy_coef=0.1).backward()
    assert all(torch.equal(a, b) for a, b in zip(ours, gradients(module), strict=True))
    assert numbers(stats) == {
        "policy_loss": pytest.approx(-advantages.double().mean().item()),
        "entropy": pytest.approx(stats.entropy.item()),
        "approx_kl": 0.0,
        "approx_kl_k1": 0.0,
        "clip_fraction": 0.0,
    }


def test_epochs_of_minibatches_are_those_of_autograd():
    module, _, (obs, actions, advantages, _) = make((256,), hidden=(16, 16))
    twin, _ = make_module(4, (16, 16), "discrete")
    twin.double()
    old, _ = fpt.log_prob_and_entropy(module, obs, actions)
    ours, theirs = (torch.optim.SGD(one.parameters(), 0.5) for one in (module, twin))
    clipped = 0.0
    for _ in range(4):
        for rows in torch.arange(256).chunk(4):
            loss, stats = fpt.ppo_loss(
                module, obs[rows], actions[rows], advantages[rows], old[rows], return_stats=True
            )
            ours.zero_grad()
            loss.backward()
            ours.step()
            log_prob = twin(obs[rows].double()).log_softmax(-1).gather(1, actions[rows, None])[:, 0]
            ratio = (log_prob - old[rows]).exp()
            gain = torch.min(ratio * advantages[rows], ratio.clamp(0.8, 1.2) * advantages[rows])
            theirs.zero_grad()
            (-gain.mean()).backward()
            theirs.step()
            clipped += stats.clip_fraction.item()
    assert clipped > 0.1
    for a, b in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-5)


def test_gradcheck_with_the_tolerances_of_float32():
    # Wide steps, as the kernel is float32: no ratio may cross an end of the range within one.
    module, _, (obs, actions, advantages, _) = make((20,), 3, (5,), "gaussian")
    log_prob, _ = fpt.log_prob_and_entropy(module, obs, actions)
    old = log_prob - torch.tensor([0.0, 0.5, -0.5, 0.05]).repeat(5)
    names = list(dict(module.named_parameters()))

    def loss(*parameters):
        swapped = dict(zip(names, parameters, strict=True))
        with torch.nn.utils.stateless._reparametrize_module(module, swapped):
            return 3 * fpt.ppo_loss(module, obs, actions, advantages, old)

    inputs = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]
    with pytest.warns(UserWarning, match="not a double precision floating point"):
        assert torch.autograd.gradcheck(loss, inputs, eps=1e-2, atol=1e-2, rtol=1e-2, nondet_tol=0.0)


def test_observations_that_are_categories_and_a_policys_module():
    space = gs.Tuple([gs.Discrete(3), gs.Discrete(2)])
    module = fpt.to_module(fastpg.Policy(space, gs.Discrete(3), hidden=(8,)))
    obs = (torch.arange(7) % 3, torch.arange(7) % 2)
    _, actions, advantages = make_batch((7,), 1, gs.Discrete(3))
    old = torch.full((7,), -1.1)
    fpt.ppo_loss(module, obs, actions, advantages, old).backward()
    got = gradients(module)
    ratio = (torch.log_softmax(module(obs), -1)[torch.arange(7), actions] - old).exp()
    surrogate = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    expected = torch.autograd.grad(-surrogate.mean(), list(module.parameters()))
    assert relative_error(got, expected) < 1e-5


def test_log_std_may_be_a_parameter_of_its_own():
    module, space, batch = make(num_inputs=3, head="gaussian")
    _, expected, _ = clipped_loss_and_gradient(module, space, *batch)
    log_std = nn.Parameter(module.log_std.detach().clone())
    del module.log_std
    fpt.ppo_loss(module, *batch, log_std=log_std).backward()
    assert relative_error([log_std.grad, *gradients(module)], expected) < 1e-5


# ---- with autograd -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_all_numbers_are_the_same(mode):
    module, _, batch = make()
    loss, stats = fpt.ppo_loss(module, *batch, entropy_coef=0.5, return_stats=True)
    with mode():
        *rest, old = (one.clone() for one in batch)
        again, same = fpt.ppo_loss(module, *rest, old.requires_grad_(), entropy_coef=0.5, return_stats=True)
    assert not again.requires_grad and again.item() == loss.item() and numbers(same) == numbers(stats)
    module.requires_grad_(False)
    frozen = fpt.ppo_loss(module, *batch, entropy_coef=0.5)
    assert not frozen.requires_grad and frozen.item() == loss.item()


def test_it_adds_up_with_other_losses_and_accumulates():
    module, space, batch = make()
    _, first, _ = clipped_loss_and_gradient(module, space, *batch)
    second = torch.autograd.grad(module(batch[0]).square().mean(), list(module.parameters()))
    expected = [0.5 * a + b for a, b in zip(first, second, strict=True)]
    (0.5 * fpt.ppo_loss(module, *batch) + module(batch[0]).square().mean()).backward()
    assert relative_error(gradients(module), expected) < 1e-5
    (0.5 * fpt.ppo_loss(module, *batch) + module(batch[0]).square().mean()).backward()
    assert relative_error(gradients(module), [2 * one for one in expected]) < 1e-5


def test_frozen_parameters_get_no_gradient():
    module, space, batch = make()
    _, expected, _ = clipped_loss_and_gradient(module, space, *batch)
    module[0].requires_grad_(False)
    fpt.ppo_loss(module, *batch).backward()
    assert module[0].weight.grad is None and module[0].bias.grad is None
    assert relative_error([module[2].weight.grad, module[2].bias.grad], expected[2:]) < 1e-5


def test_the_gradient_is_of_the_parameters_at_the_time_of_the_call():
    module, space, batch = make()
    _, expected, _ = clipped_loss_and_gradient(module, space, *batch)
    loss = fpt.ppo_loss(module, *batch)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    loss.backward()
    assert relative_error(gradients(module), expected) < 1e-5


def test_second_derivatives_are_refused():
    module, _, batch = make()
    loss = fpt.ppo_loss(module, *batch)
    with pytest.raises(RuntimeError, match=r"ppo_loss\(\): second derivatives are not available"):
        torch.autograd.grad(loss, list(module.parameters()), create_graph=True)


def test_threads_may_call_it_side_by_side():
    module, _, _ = make()
    batches = [make((300,), seed=k)[2] for k in range(4)]
    expected = [fpt.ppo_loss(module, *batch).item() for batch in batches]
    found = [[] for _ in batches]

    def work(k):
        for _ in range(50):
            loss = fpt.ppo_loss(module, *batches[k])
            torch.autograd.grad(loss, list(module.parameters()))
            found[k].append(loss.item())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[one] * 50 for one in expected]


# ---- torch.compile -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("head", HEADS)
def test_it_compiles_into_one_graph_with_its_statistics(backend, head):
    torch.compiler.reset()  # a function is compiled anew so often and no more
    module, space, batch = make(head=head)

    @torch.compile(fullgraph=True, backend=backend)
    def step(*batch):
        loss, stats = fpt.ppo_loss(module, *batch, action_space=space, entropy_coef=0.1, return_stats=True)
        return 2 * loss, stats

    loss, stats = step(*batch)
    loss.backward()
    expected_loss, expected, expected_stats = clipped_loss_and_gradient(
        module, space, *batch, entropy_coef=0.1
    )
    assert loss.item() == pytest.approx(2 * expected_loss, rel=1e-5, abs=1e-6)
    assert relative_error(gradients(module), [2 * one for one in expected]) < 1e-5
    assert isinstance(stats, fpt.PPOStats) and not any(one.requires_grad for one in stats)
    assert numbers(stats) == pytest.approx(expected_stats, rel=1e-5, abs=1e-6)


def test_a_compiled_step_takes_other_sizes_and_clip_ranges():
    module, _, _ = make()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def step(module, clip_range, *batch):
        return fpt.ppo_loss(module, *batch, clip_range=clip_range)

    for shape, clip_range in [((6,), 0.2), ((9,), 0.15), ((3, 4), 0.1)]:
        *_, batch = make(shape)
        assert step(module, clip_range, *batch) == fpt.ppo_loss(module, *batch, clip_range=clip_range)


@pytest.mark.parametrize("head", ["discrete", "gaussian"])
def test_the_operator_passes_opcheck(head):
    module, space, (obs, *batch) = make(head=head)
    described = autograd._description("ppo_loss()", module, space, None, -1)
    arguments = ([obs], *batch, list(module.parameters()), *described, 0.2, 0.1, "mean", None)
    if head == "gaussian":  # registered first, but last in theta
        arguments[4].append(arguments[4].pop(0))
    assert set(torch.library.opcheck(autograd.clipped_loss_operator, arguments).values()) == {"SUCCESS"}


# ---- ratios that overflow ----------------------------------------------------------------------------------


def with_log_ratio(log_ratio, advantage, rows=300):
    """A batch whose row 7 has that log-ratio and advantage; all other ratios are 1."""
    module, space, (obs, actions, advantages, _) = make((rows,))
    old, _ = fpt.log_prob_and_entropy(module, obs, actions)
    old[7] -= log_ratio
    advantages[7] = advantage
    return module, space, (obs, actions, advantages, old)


@pytest.mark.parametrize(
    ("log_ratio", "advantage"), [(100.0, 1.0), (1e30, 2.0), (-100.0, -1.0), (-1e30, -2.0), (-1e30, 1.0)]
)
def test_a_ratio_beyond_float32_is_right_where_its_row_is_clipped_or_nothing(log_ratio, advantage):
    module, space, batch = with_log_ratio(log_ratio, advantage)
    loss, stats = fpt.ppo_loss(module, *batch, return_stats=True)
    loss.backward()
    _, _, within_float64 = with_log_ratio(100.0 if log_ratio > 0 else -100.0, advantage)
    expected_loss, expected, expected_stats = clipped_loss_and_gradient(module, space, *within_float64)
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    assert relative_error(gradients(module), expected) < 1e-5
    assert stats.clip_fraction.item() == pytest.approx(expected_stats["clip_fraction"])
    assert stats.approx_kl_k1.item() == pytest.approx(-log_ratio / 300, rel=1e-4)
    assert stats.approx_kl.item() == (INF if log_ratio > 0 else pytest.approx(-log_ratio / 300, rel=0.02))


@pytest.mark.parametrize("log_ratio", [100.0, 1e30])
@pytest.mark.parametrize("advantage", [-1.0, 0.0])
@pytest.mark.parametrize("training", [True, False])
def test_a_ratio_that_overflows_the_loss_is_a_sentence(log_ratio, advantage, training):
    module, _, batch = with_log_ratio(log_ratio, advantage)
    module.requires_grad_(training)
    words = (
        r"old_log_probs\[7\] is 1(00|e\+30) less than log pi\(actions\|obs\), so that the ratio is too large"
    )
    with pytest.raises(FloatingPointError, match=rf"ppo_loss\(\): {words}"):
        fpt.ppo_loss(module, *batch)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        *((head, name) for head in HEADS for name in ("obs", "advantages", "old_log_probs")),
        ("gaussian", "actions"),
    ],
)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_one_number_that_is_not_finite_is_found_in_a_large_batch(head, name, value, advantage):
    # Also where the ratio becomes infinite and the row is clipped, so that the loss does not show it.
    module, space, batch = make((1100,), head=head)
    given = dict(zip(["obs", "actions", "advantages", "old_log_probs"], batch, strict=True))
    given["advantages"][1050] = advantage
    given[name].view(1100, -1)[1050, -1] = value
    for training in (True, False):
        module.requires_grad_(training)
        with pytest.raises(ValueError, match=rf"ppo_loss\(\): {name} must be finite, but {name}\[1050"):
            fpt.ppo_loss(module, **given, action_space=space)


# ---- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error", "sentence"),
    [
        ("obs", torch.zeros(6, 4).double(), TypeError, r"obs must be float32, got float64; conv"),
        ("obs", torch.zeros(6, 3), ValueError, r"obs must have shape \(4,\) or \(..., 4\), got \(6, 3\)"),
        ("obs", torch.zeros(0, 4), ValueError, "obs must hold at least one observation"),
        ("obs", torch.zeros(6, 4, requires_grad=True), ValueError, "obs must not require a gradient"),
        ("actions", torch.zeros(6), TypeError, "actions must be an array of integers"),
        ("actions", torch.full((6,), 3), ValueError, r"actions must lie in 0..2, got 3"),
        ("advantages", torch.zeros(6).double(), TypeError, "advantages must be float32, got float64"),
        ("advantages", torch.zeros(6, 1), ValueError, r"advantages must have shape \(6,\) like obs' batch, "),
        ("advantages", torch.zeros(6, requires_grad=True), ValueError, "advantages must not require"),
        ("advantages", None, TypeError, "advantages must be a float32 tensor, got None"),
        ("old_log_probs", torch.zeros(6).double(), TypeError, "old_log_probs must be float32, got float64"),
        ("old_log_probs", torch.zeros(5), ValueError, r"old_log_probs must have shape \(6,\) like obs' "),
        ("old_log_probs", torch.zeros(6, device="meta"), ValueError, "old_log_probs must lie on the CPU"),
        ("old_log_probs", torch.zeros(6, requires_grad=True), ValueError, "old_log_probs must not require"),
        ("old_log_probs", np.zeros(6, np.float32), TypeError, "old_log_probs must be a float32 tensor"),
        ("clip_range", 0.0, ValueError, r"clip_range must be a number in \(0, inf\), got 0.0"),
        ("clip_range", NAN, ValueError, r"clip_range must be a number in \(0, inf\), got nan"),
        ("clip_range", INF, ValueError, r"clip_range must be a number in \(0, inf\), got inf"),
        ("clip_range", None, TypeError, r"clip_range must be a number in \(0, inf\), got None"),
        ("entropy_coef", NAN, ValueError, "entropy_coef must be a number"),
        ("reduction", "none", ValueError, "reduction must be one of 'mean', 'sum', got 'none'"),
        ("return_stats", 1, TypeError, "return_stats must be True or False, got 1"),
        ("module", None, TypeError, "module must be a torch.nn.Module, got None"),
        ("action_space", "Discrete", TypeError, "action_space must be a gymnasium space"),
    ],
)
def test_what_does_not_fit_is_a_sentence(name, value, error, sentence):
    module, _, (obs, actions, advantages, old) = make()
    arguments = {"module": module, "obs": obs, "actions": actions, "advantages": advantages}
    arguments |= {"old_log_probs": old, name: value}
    with pytest.raises(error, match=rf"ppo_loss\(\): {sentence}"):
        fpt.ppo_loss(**arguments)


def test_numbers_of_other_kinds_are_taken():
    module, _, batch = make()
    expected = fpt.ppo_loss(module, *batch, clip_range=1.0, entropy_coef=1.0).item()
    assert fpt.ppo_loss(module, *batch, clip_range=1, entropy_coef=np.float32(1)).item() == expected


def test_parameters_that_are_not_finite_are_named():
    module, _, batch = make()
    with torch.no_grad():
        module[2].bias[1] = NAN
    with pytest.raises(ValueError, match=r"ppo_loss\(\): the module's parameters must be finite"):
        fpt.ppo_loss(module, *batch)


def test_overflow_is_a_floating_point_error():
    module, _, (obs, actions, advantages, _) = make(hidden=())
    old, _ = fpt.log_prob_and_entropy(module, 1e10 * obs, actions)
    with pytest.raises(FloatingPointError, match=r"ppo_loss\(\): the gradient is NaN or infinite"):
        fpt.ppo_loss(module, 1e10 * obs, actions, 1e30 * advantages, old)
    with pytest.raises(FloatingPointError, match=r"ppo_loss\(\): the loss is -.*e\+38, which is too large"):
        fpt.ppo_loss(module, obs, actions, 0 * advantages, old * 0 - 1, entropy_coef=1e38, reduction="sum")
