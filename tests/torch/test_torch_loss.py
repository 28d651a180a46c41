"""pg_loss: the gradient of the compiled kernels behind torch's backward."""

import copy
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
    flattened,
    log_prob_and_entropy,
    loss_and_gradient,
    make_batch,
    make_module,
    relative_error,
    size_of_gradient,
)

pytestmark = pytest.mark.slow

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def module():
    return make_module(4, (8,), "discrete")[0]


@pytest.fixture
def batch():
    return make_batch((6,), 4, gs.Discrete(3))


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


# ---- the value and its gradient ----------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    shape=st.sampled_from([(), (1,), (3,), (17,), (5, 4), (130,), (2, 3, 4), (600,)]),
    num_inputs=st.integers(1, 9),
    hidden=st.lists(st.sampled_from([1, 5, 33, 64]), max_size=3).map(tuple),
    activation=st.sampled_from([nn.Tanh, nn.ReLU]),
    head=st.sampled_from(HEADS),
    entropy_coef=st.sampled_from([0.0, 0.1, -1.0]),
    reduction=st.sampled_from(["mean", "sum"]),
    seed=st.integers(0, 1000),
)
def test_loss_and_gradient_are_those_of_float64_autograd(
    shape, num_inputs, hidden, activation, head, entropy_coef, reduction, seed
):
    module, space = make_module(num_inputs, hidden, head, activation, seed)
    batch = make_batch(shape, num_inputs, space, seed)
    kind = {"entropy_coef": entropy_coef, "reduction": reduction}
    loss = fpt.pg_loss(module, *batch, action_space=space, **kind)
    loss.backward()
    expected_loss, expected = loss_and_gradient(module, space, *batch, **kind)
    assert loss.shape == () and loss.dtype == torch.float32
    log_prob, entropy = log_prob_and_entropy(module, space, *batch[:2])
    size = ((batch[2] * log_prob).abs() + abs(entropy_coef) * entropy.abs()).sum().item()
    size /= log_prob.numel() if reduction == "mean" else 1
    assert abs(loss.item() - expected_loss) <= 1e-5 * size
    # Relative to the sum of what each sample adds: what is left of it, after all cancels, may be small.
    difference = flattened(gradients(module)) - flattened(expected)
    assert difference.norm() <= 1e-5 * size_of_gradient(module, space, *batch, **kind)


@pytest.mark.parametrize("head", HEADS)
def test_a_large_batch_agrees_to_1e_5_of_the_gradient(head):
    module, space = make_module(4, (64, 64), head)
    batch = make_batch((4000,), 4, space)
    fpt.pg_loss(module, *batch, action_space=space, entropy_coef=0.01).backward()
    _, expected = loss_and_gradient(module, space, *batch, 0.01)
    assert relative_error(gradients(module), expected) < 1e-5


def test_gradcheck_with_the_tolerances_of_float32():
    # The kernel is float32, so that differences are taken over wide steps, and agree to a percent or so only:
    # it shows the wiring of backward; the tests against float64 above show the numbers.
    module, space = make_module(3, (5,), "gaussian")
    batch = make_batch((20,), 3, space)
    names = list(dict(module.named_parameters()))

    def loss(*parameters):
        swapped = dict(zip(names, parameters, strict=True))
        with torch.nn.utils.stateless._reparametrize_module(module, swapped):
            return 3 * fpt.pg_loss(module, *batch)

    inputs = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]
    with pytest.warns(UserWarning, match="not a double precision floating point"):
        assert torch.autograd.gradcheck(loss, inputs, eps=1e-2, atol=1e-2, rtol=1e-2, nondet_tol=0.0)


@pytest.mark.parametrize("kind", ["shared with a policy", "in one vector", "scattered"])
def test_the_memory_of_the_parameters_makes_no_difference(kind, batch):
    module, _ = make_module(4, (8,), "discrete")
    _, expected = loss_and_gradient(module, gs.Discrete(3), *batch)
    policy = fpt.from_module(module) if kind == "shared with a policy" else None
    if kind == "in one vector":
        torch.nn.utils.vector_to_parameters(
            torch.nn.utils.parameters_to_vector(module.parameters()).detach(), module.parameters()
        )
    for _ in range(2):  # the second call uses what the first has found out
        module.zero_grad()
        fpt.pg_loss(module, *batch).backward()
        assert relative_error(gradients(module), expected) < 1e-5
    assert policy is None or np.shares_memory(policy.theta, module[0].weight.detach().numpy())


def test_it_is_the_negative_of_policy_gradient(batch):
    policy = fastpg.Policy(gs.Box(-1, 1, (4,)), gs.Discrete(3), hidden=(8,), seed=3)
    module = fpt.to_module(policy)
    fpt.pg_loss(module, *batch).backward()
    expected = fastpg.policy_gradient(policy, *(one.numpy() for one in batch))
    assert np.array_equal(-np.concatenate([one.numpy().ravel() for one in gradients(module)]), expected)


@pytest.mark.parametrize(
    "obs_space", [gs.Discrete(5), gs.MultiDiscrete([3, 4]), gs.Tuple([gs.Discrete(3), gs.Discrete(2)])]
)
def test_observations_that_are_categories_are_read_as_the_space_has_them(obs_space):
    module = fpt.to_module(fastpg.Policy(obs_space, gs.Discrete(3), hidden=(8,)))
    obs_space.seed(0)
    obs = [obs_space.sample() for _ in range(7)]
    if isinstance(obs_space, gs.Tuple):
        obs = tuple(torch.tensor([int(one[k]) for one in obs]) for k in range(2))
    else:
        obs = torch.from_numpy(np.array(obs))
    _, actions, weights = make_batch((7,), 1, gs.Discrete(3))
    fpt.pg_loss(module, obs, actions, weights).backward()
    got = gradients(module)
    log_prob = torch.log_softmax(module(obs), -1)[torch.arange(7), actions]
    expected = torch.autograd.grad(-(weights * log_prob).mean(), list(module.parameters()))
    assert relative_error(got, expected) < 1e-5
    assert torch.allclose(fpt.log_prob_and_entropy(module, obs, actions)[0], log_prob)


@pytest.mark.parametrize("shape", [(2,), (1, 2)])
def test_log_std_may_be_a_parameter_of_its_own(shape):
    module, space = make_module(3, (5,), "gaussian")
    batch = make_batch((6,), 3, space)
    _, expected = loss_and_gradient(module, space, *batch)
    del module.log_std
    log_std = nn.Parameter(torch.zeros(shape))
    with torch.no_grad():
        log_std.copy_(make_module(3, (5,), "gaussian")[0].log_std.reshape(shape))
    fpt.pg_loss(module, *batch, log_std=log_std).backward()
    assert log_std.grad.shape == shape
    assert relative_error([log_std.grad.flatten(), *gradients(module)], expected) < 1e-5


def test_log_std_may_be_a_buffer_which_nobody_trains():
    module, space = make_module(3, (5,), "gaussian")
    batch = make_batch((6,), 3, space)
    _, expected = loss_and_gradient(module, space, *batch)
    log_std = module.log_std.detach()
    del module.log_std
    module.register_buffer("log_std", log_std)
    fpt.pg_loss(module, *batch).backward()
    assert relative_error(gradients(module), expected[1:]) < 1e-5
    module.log_std += 1.0
    assert fpt.pg_loss(module, *batch).item() != fpt.pg_loss(module, *batch, log_std=log_std - 1.0).item()


@pytest.mark.parametrize("layout", ["transposed", "every second", "float32 columns of a wider array"])
def test_tensors_need_not_be_contiguous(layout, module):
    obs, actions, weights = make_batch((6, 8), 4, gs.Discrete(3))
    expected = fpt.pg_loss(module, obs, actions, weights).item()
    if layout == "transposed":
        obs = obs.transpose(0, 1).contiguous().transpose(0, 1)
        actions, weights = (one.T.contiguous().T for one in (actions, weights))
    elif layout == "every second":
        obs, actions, weights = (one.repeat_interleave(2, 0)[::2] for one in (obs, actions, weights))
    else:
        obs = torch.cat([obs, torch.full((6, 8, 3), NAN)], -1)[..., :4]
    assert not obs.is_contiguous()
    assert fpt.pg_loss(module, obs, actions, weights).item() == expected


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_actions_may_be_integers_of_any_size(dtype, module, batch):
    obs, actions, weights = batch
    expected = fpt.pg_loss(module, *batch)
    assert fpt.pg_loss(module, obs, actions.to(dtype), weights) == expected


# ---- with autograd -----------------------------------------------------------------------------------------


def test_gradients_accumulate_over_losses_and_calls_of_backward(module, batch):
    other = make_batch((9,), 4, gs.Discrete(3), seed=1)
    _, first = loss_and_gradient(module, gs.Discrete(3), *batch)
    _, second = loss_and_gradient(module, gs.Discrete(3), *other)
    expected = [0.5 * a - 3 * b for a, b in zip(first, second, strict=True)]
    (0.5 * fpt.pg_loss(module, *batch) - 3 * fpt.pg_loss(module, *other)).backward()
    assert relative_error(gradients(module), expected) < 1e-5
    (0.5 * fpt.pg_loss(module, *batch)).backward()
    (-3 * fpt.pg_loss(module, *other)).backward()
    assert relative_error(gradients(module), [2 * one for one in expected]) < 1e-5


def test_it_adds_up_with_losses_of_torch(module, batch):
    expected = [a + b for a, b in zip(
        loss_and_gradient(module, gs.Discrete(3), *batch)[1],
        torch.autograd.grad(module(batch[0]).square().mean(), list(module.parameters())),
        strict=True,
    )]  # fmt: skip
    (fpt.pg_loss(module, *batch) + module(batch[0]).square().mean()).backward()
    assert relative_error(gradients(module), expected) < 1e-5


def test_retain_graph_allows_a_second_backward_and_only_that(module, batch):
    loss = fpt.pg_loss(module, *batch)
    loss.backward(retain_graph=True)
    once = [one.clone() for one in gradients(module)]
    loss.backward()
    assert all(torch.equal(a, 2 * b) for a, b in zip(gradients(module), once, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_gradients_of_two_calls_share_no_memory(module, batch):
    loss = fpt.pg_loss(module, *batch)
    first = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)
    before = [one.clone() for one in first]
    for one in torch.autograd.grad(loss, list(module.parameters())):
        one.zero_()
    assert all(torch.equal(a, b) for a, b in zip(first, before, strict=True))


def test_frozen_parameters_get_no_gradient(module, batch):
    module[0].requires_grad_(False)
    fpt.pg_loss(module, *batch).backward()
    assert module[0].weight.grad is None and module[0].bias.grad is None
    _, expected = loss_and_gradient(make_module(4, (8,), "discrete")[0], gs.Discrete(3), *batch)
    assert relative_error([module[2].weight.grad, module[2].bias.grad], expected[2:]) < 1e-5


def test_nothing_to_train_gives_a_loss_without_a_graph(module, batch):
    loss = fpt.pg_loss(module, *batch)
    module.requires_grad_(False)
    without = fpt.pg_loss(module, *batch)
    assert not without.requires_grad and torch.allclose(without, loss)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_without_gradients_the_loss_is_the_same(mode, reduction, module, batch):
    loss = fpt.pg_loss(module, *batch, entropy_coef=0.5, reduction=reduction)
    with mode():
        obs, actions, weights = (one.clone() for one in batch)
        without = fpt.pg_loss(
            module, obs, actions, weights.requires_grad_(), entropy_coef=0.5, reduction=reduction
        )
    assert not without.requires_grad and torch.allclose(without, loss.detach())


def test_the_gradient_is_of_the_parameters_at_the_time_of_the_call(module, batch):
    _, expected = loss_and_gradient(module, gs.Discrete(3), *batch)
    loss = fpt.pg_loss(module, *batch)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    loss.backward()
    assert relative_error(gradients(module), expected) < 1e-5


def test_parameters_that_are_computed_pass_the_gradient_on(batch):
    module, _ = make_module(4, (8,), "discrete")
    scale = torch.tensor(2.0, requires_grad=True)
    swapped = {name: (scale * one).detach() for name, one in module.named_parameters()}
    expected = copy.deepcopy(module)
    expected.load_state_dict(swapped)
    _, by_parameter = loss_and_gradient(expected, gs.Discrete(3), *batch)
    with torch.nn.utils.stateless._reparametrize_module(
        module, {name: scale * one.detach() for name, one in module.named_parameters()}
    ):
        fpt.pg_loss(module, *batch).backward()
    wanted = sum((a * b).sum() for a, b in zip(by_parameter, module.parameters(), strict=True))
    assert scale.grad.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_second_derivatives_are_refused(module, batch):
    loss = fpt.pg_loss(module, *batch)
    with pytest.raises(RuntimeError, match=r"pg_loss\(\): second derivatives are not available"):
        torch.autograd.grad(loss, list(module.parameters()), create_graph=True)


@pytest.mark.parametrize("fused", [{}, {"foreach": True}, {"fused": True}])
def test_optimizers_take_the_gradients(fused, module, batch):
    twin = copy.deepcopy(module)
    ours, theirs = (torch.optim.Adam(one.parameters(), 1e-2, **fused) for one in (module, twin))
    for _ in range(5):
        ours.zero_grad()
        fpt.pg_loss(module, *batch, entropy_coef=0.1).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        ours.step()
        theirs.zero_grad()
        log_prob, entropy = log_prob_and_entropy(twin, gs.Discrete(3), *batch[:2])
        (-(batch[2] * log_prob) - 0.1 * entropy).mean().backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        theirs.step()
    for a, b in zip(module.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_hooks_of_parameters_see_their_gradients(module, batch):
    seen = []
    module[0].bias.register_hook(lambda gradient: seen.append(gradient.clone()))
    fpt.pg_loss(module, *batch).backward()
    assert torch.equal(seen[0], module[0].bias.grad)


def test_threads_may_call_it_side_by_side(module):
    batches = [make_batch((300,), 4, gs.Discrete(3), seed=k) for k in range(4)]
    expected = [fpt.pg_loss(module, *batch).item() for batch in batches]
    found = [[] for _ in batches]

    def work(k):
        for _ in range(50):
            loss = fpt.pg_loss(module, *batches[k])
            torch.autograd.grad(loss, list(module.parameters()))
            found[k].append(loss.item())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[one] * 50 for one in expected]


# ---- modules change ----------------------------------------------------------------------------------------


def test_what_was_found_out_about_a_module_is_not_used_once_it_changes(module, batch):
    def agrees():
        module.zero_grad()
        fpt.pg_loss(module, *batch).backward()
        _, expected = loss_and_gradient(module, gs.Discrete(3), *batch)
        assert relative_error(gradients(module), expected) < 1e-5

    agrees()
    module[1] = nn.ReLU()
    agrees()
    module[0] = nn.Linear(4, 16)
    module[2] = nn.Linear(16, 3)
    agrees()
    module[0].weight = nn.Parameter(torch.randn(16, 4))
    agrees()
    module[0].bias.data = torch.randn(16)
    agrees()
    module.load_state_dict(make_module(4, (16,), "discrete", seed=4)[0].state_dict())
    agrees()
    fpt.from_module(module)
    agrees()
    module.double().float()
    agrees()
    module.append(nn.Identity())
    agrees()
    module[2].weight.data = module[2].weight.data.T.contiguous().T
    agrees()


def test_a_module_that_is_no_longer_supported_is_refused(module, batch):
    fpt.pg_loss(module, *batch)
    module.half()
    with pytest.raises(TypeError, match=r"module.0.weight must be float32, got torch.float16"):
        fpt.pg_loss(module, *batch)


# ---- torch.compile -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("head", HEADS)
def test_it_compiles_into_one_graph(backend, head):
    torch.compiler.reset()  # a function is compiled anew so often and no more
    module, space = make_module(4, (8,), head)
    batch = make_batch((6,), 4, space)

    @torch.compile(fullgraph=True, backend=backend)
    def step(obs, actions, weights):
        return 2 * fpt.pg_loss(module, obs, actions, weights, action_space=space, entropy_coef=0.1)

    loss = step(*batch)
    loss.backward()
    expected_loss, expected = loss_and_gradient(module, space, *batch, 0.1)
    assert loss.item() == pytest.approx(2 * expected_loss, rel=1e-5, abs=1e-6)
    assert relative_error(gradients(module), [2 * one for one in expected]) < 1e-5


def test_a_compiled_step_takes_the_module_and_other_sizes(module):
    @torch.compile(fullgraph=True, backend="aot_eager")
    def step(module, obs, actions, weights):
        return fpt.pg_loss(module, obs, actions, weights)

    for shape in [(6,), (9,), (3, 4)]:
        batch = make_batch(shape, 4, gs.Discrete(3))
        assert torch.allclose(step(module, *batch), fpt.pg_loss(module, *batch))


def test_compiled_for_categories_and_a_log_std_that_is_passed():
    module = fpt.to_module(fastpg.Policy(gs.Discrete(5), gs.Box(-1, 1, (2,), np.float32), hidden=(8,)))
    _, actions, weights = make_batch((6,), 1, gs.Box(-1, 1, (2,), np.float32))
    obs = torch.arange(6) % 5
    expected = fpt.pg_loss(module, obs, actions, weights).item()
    log_std = nn.Parameter(module.log_std.detach().clone())
    del module.log_std

    @torch.compile(fullgraph=True, backend="aot_eager")
    def step(obs, log_std):
        return fpt.pg_loss(module, obs, actions, weights, log_std=log_std)

    loss = step(obs, log_std)
    loss.backward()
    assert loss.item() == expected and log_std.grad is not None


@pytest.mark.parametrize("head", ["discrete", "gaussian"])
def test_the_operator_passes_opcheck(head):
    module, space = make_module(4, (8,), head)
    obs, actions, weights = make_batch((6,), 4, space)
    described = autograd._description("pg_loss()", module, space, None, -1)
    arguments = ([obs], actions, weights, list(module.parameters()), *described, 0.1, "mean", None)
    if head == "gaussian":  # registered first, but last in theta
        arguments[3].append(arguments[3].pop(0))
    assert set(torch.library.opcheck(autograd.loss_operator, arguments).values()) == {"SUCCESS"}


# ---- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error", "sentence"),
    [
        ("obs", np.zeros((6, 4), np.float32), TypeError, "obs must be a float32 tensor, got an array"),
        ("obs", torch.zeros(6, 4).double(), TypeError, r"obs must be float32, got float64; conv"),
        ("obs", torch.zeros(6, 3), ValueError, r"obs must have shape \(4,\) or \(..., 4\), got \(6, 3\)"),
        ("obs", torch.zeros(0, 4), ValueError, "obs must hold at least one observation"),
        ("obs", torch.tensor(0.0), ValueError, "obs must have shape"),
        ("obs", torch.full((6, 4), NAN), ValueError, r"obs must be finite, but obs\[0, 0\] is nan"),
        ("obs", torch.full((6, 4), -INF), ValueError, r"obs must be finite, but obs\[0, 0\] is -inf"),
        ("obs", torch.zeros(6, 4, device="meta"), ValueError, "obs must lie on the CPU, got meta"),
        ("obs", torch.zeros(6, 4, requires_grad=True), ValueError, "obs must not require a gradient"),
        ("actions", torch.zeros(6), TypeError, "actions must be an array of integers"),
        ("actions", torch.zeros(6, dtype=torch.bool), TypeError, "actions must be an array of integers"),
        ("actions", [0] * 6, TypeError, "actions must be a tensor of integers"),
        ("actions", torch.zeros(5, dtype=torch.long), ValueError, r"actions must have shape \(6,\)"),
        ("actions", torch.zeros(6, 1, dtype=torch.long), ValueError, r"actions must have shape \(6,\)"),
        ("actions", torch.full((6,), 3), ValueError, r"actions must lie in 0..2, got 3"),
        ("actions", torch.full((6,), -1), ValueError, r"actions must lie in 0..2, got -1"),
        ("actions", torch.zeros(6, dtype=torch.long, device="meta"), ValueError, "actions must lie on"),
        ("weights", torch.zeros(6).double(), TypeError, "weights must be float32, got float64"),
        ("weights", torch.zeros(6, 1), ValueError, r"weights must have shape \(6,\) like obs' batch, "),
        ("weights", torch.full((6,), NAN), ValueError, r"weights must be finite, but weights\[0\] is nan"),
        ("weights", torch.full((6,), INF), ValueError, r"weights must be finite, but weights\[0\] is inf"),
        ("weights", torch.zeros(6, requires_grad=True), ValueError, "weights must not require a gradient"),
        ("weights", None, TypeError, "weights must be a float32 tensor, got None"),
        ("entropy_coef", NAN, ValueError, "entropy_coef must be a number"),
        ("entropy_coef", "0.1", TypeError, "entropy_coef must be a number"),
        ("reduction", "none", ValueError, "reduction must be one of 'mean', 'sum', got 'none'"),
        ("reduction", None, TypeError, "reduction must be one of 'mean', 'sum', got None"),
        ("module", None, TypeError, "module must be a torch.nn.Module, got None"),
        ("action_space", "Discrete", TypeError, "action_space must be a gymnasium space"),
    ],
)
def test_what_does_not_fit_is_a_sentence(name, value, error, sentence, module, batch):
    obs, actions, weights = batch
    arguments = {"module": module, "obs": obs, "actions": actions, "weights": weights} | {name: value}
    with pytest.raises(error, match=rf"pg_loss\(\): {sentence}"):
        fpt.pg_loss(**arguments)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize(
    ("head", "what"),
    [*((head, what) for head in HEADS for what in ("obs", "weights")), ("gaussian", "actions")],
)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("training", [True, False])
def test_one_number_that_is_not_finite_is_found_in_a_large_batch(activation, head, what, value, training):
    module, space = make_module(4, (64, 64), head, activation)
    obs, actions, weights = make_batch((1100,), 4, space)
    if what == "obs":
        obs[1050, 2] = value
    elif what == "weights":
        weights[1050] = value
    else:
        actions[1050, 1] = value
    module.requires_grad_(training)
    with pytest.raises(ValueError, match=rf"pg_loss\(\): {what} must be finite, but {what}\[1050"):
        fpt.pg_loss(module, obs, actions, weights, action_space=space)


def test_parameters_that_are_not_finite_are_named(module, batch):
    with torch.no_grad():
        module[2].bias[1] = NAN
    with pytest.raises(ValueError, match=r"pg_loss\(\): the module's parameters must be finite"):
        fpt.pg_loss(module, *batch)


def test_overflow_is_a_floating_point_error(batch):
    obs, actions, weights = batch
    with pytest.raises(FloatingPointError, match=r"pg_loss\(\): the gradient is NaN or infinite"):
        fpt.pg_loss(nn.Linear(4, 3), 1e10 * obs, actions, 1e30 * weights)
    for training in (True, False):
        module = nn.Linear(4, 3).requires_grad_(training)
        with pytest.raises(
            FloatingPointError, match=r"pg_loss\(\): the loss is -.*e\+38, which is too large"
        ):
            fpt.pg_loss(module, obs, actions, 0 * weights, entropy_coef=1e38, reduction="sum")


def test_log_prob_and_entropy_are_data():
    for head in HEADS:
        module, space = make_module(4, (8,), head)
        obs, actions, _ = make_batch((5, 3), 4, space)
        found = fpt.log_prob_and_entropy(module, obs, actions, action_space=space)
        expected = log_prob_and_entropy(module, space, obs, actions)
        for a, b in zip(found, expected, strict=True):
            assert a.shape == (5, 3) and not a.requires_grad
            assert torch.allclose(a, b, atol=1e-5)
