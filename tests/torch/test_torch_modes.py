"""Modes of torch around fastpg's functions: inference mode, torch.func's transforms; and saving modules."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn

import fastpg
import fastpg.torch as fpt

OBS, ACTIONS, WEIGHTS = torch.ones(5, 4), torch.tensor([0, 1, 1, 0, 1]), torch.linspace(-1, 1, 5)
LOG_PROBS = torch.full((5,), -0.7)


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def from_new(module):
    fpt.from_module(module)
    return module


def to_new(module):
    return fpt.to_module(fpt.from_module(module))


# ---- inference mode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [from_new, to_new])
def test_a_module_shared_in_inference_mode_can_be_trained_after_it(made):
    module = make()
    with torch.inference_mode():
        module = made(module)
    expected = made(make())
    for one in (module, expected):
        optimizer = torch.optim.Adam(one.parameters(), lr=0.1)
        fpt.pg_loss(one, OBS, ACTIONS, WEIGHTS).backward()
        optimizer.step()
        one(OBS).sum().backward()  # torch's own graph
        optimizer.step()
        assert not any(parameter.is_inference() for parameter in one.parameters())
    for parameter, same in zip(module.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(parameter, same, rtol=0, atol=0)


def test_a_policy_may_be_written_and_a_module_played_in_inference_mode():
    module = make()
    policy = fpt.from_module(module)
    with torch.inference_mode():
        policy.theta *= 0.5
        returns, _ = fastpg.evaluate("CartPole-v1", policy, episodes=2)
        rollout = fpt.collect("CartPole-v1", module, 4, num_envs=2, seed=0)
        loss = fpt.pg_loss(module, OBS, ACTIONS, WEIGHTS)
        clipped_loss = fpt.ppo_loss(module, OBS, ACTIONS, WEIGHTS, LOG_PROBS)
    assert returns.shape == (2,)
    assert rollout.obs.shape == (4, 2, 4)
    torch.testing.assert_close(fpt.pg_loss(module, OBS, ACTIONS, WEIGHTS), loss)
    torch.testing.assert_close(fpt.ppo_loss(module, OBS, ACTIONS, WEIGHTS, LOG_PROBS), clipped_loss)


def test_a_module_made_in_inference_mode_is_refused_where_it_would_have_to_be_trained():
    with torch.inference_mode():
        module = make()
    words = r"module.0.weight was made under torch.inference_mode\(\), so that it can never be trained"
    with pytest.raises(ValueError, match=rf"^pg_loss\(\): {words}"):
        fpt.pg_loss(module, OBS, ACTIONS, WEIGHTS)
    with pytest.raises(ValueError, match=rf"^ppo_loss\(\): {words}"):
        fpt.ppo_loss(module, OBS, ACTIONS, WEIGHTS, LOG_PROBS)
    with pytest.raises(ValueError, match=rf"^from_module\(\): {words}"):
        fpt.from_module(module)
    with torch.no_grad():  # what only reads it works
        loss = fpt.pg_loss(module, OBS, ACTIONS, WEIGHTS)
    copied = copy.deepcopy(module)
    fpt.from_module(copied)
    trained = fpt.pg_loss(copied, OBS, ACTIONS, WEIGHTS)
    trained.backward()
    torch.testing.assert_close(trained.detach(), loss)


def test_tensors_made_in_inference_mode_are_data():
    module = make()
    with torch.inference_mode():
        batch = [OBS + 0, ACTIONS + 0, WEIGHTS + 0]
    fpt.pg_loss(module, *batch).backward()
    gradient = module[0].weight.grad.clone()
    module.zero_grad()
    fpt.pg_loss(module, OBS, ACTIONS, WEIGHTS).backward()
    torch.testing.assert_close(module[0].weight.grad, gradient, rtol=0, atol=0)


# ---- torch.func --------------------------------------------------------------------------------------------


class Lossy(nn.Module):
    """A module whose output is the loss, for functional_call."""

    def __init__(self):
        super().__init__()
        self.policy = make()

    def forward(self, obs, actions, weights):
        return fpt.pg_loss(self.policy, obs, actions, weights)


def loss_of(module):
    return lambda parameters: torch.func.functional_call(module, parameters, (OBS, ACTIONS, WEIGHTS))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch itself calls it
@pytest.mark.parametrize("transform", ["grad", "jacrev", "jacfwd", "hessian"])
def test_transforms_of_pg_loss_are_refused_in_a_sentence(transform):
    module = Lossy()
    parameters = {name: one.detach().clone() for name, one in module.named_parameters()}
    words = r"^pg_loss\(\) cannot run within torch.func's transforms \(grad, vmap, jvp\)"
    with pytest.raises(TypeError, match=words):
        getattr(torch.func, transform)(loss_of(module))(parameters)
    fpt.from_module(module.policy)  # what is known of a module must not let it pass
    fpt.pg_loss(module.policy, OBS, ACTIONS, WEIGHTS)
    with pytest.raises(TypeError, match=words):
        torch.func.grad(lambda x: fpt.pg_loss(module.policy, OBS, ACTIONS, WEIGHTS) * x)(torch.ones(()))


def test_functional_call_without_a_transform_works():
    module = Lossy()
    parameters = {name: (one * 0.5).detach() for name, one in module.named_parameters()}
    expected = fpt.pg_loss(make(), OBS, ACTIONS, WEIGHTS)
    halved = loss_of(module)(parameters)
    with torch.no_grad():
        for one in module.parameters():
            one *= 0.5
    torch.testing.assert_close(halved, module(OBS, ACTIONS, WEIGHTS).detach())
    assert not torch.equal(halved, expected)


def test_vmap_over_what_reads_tensors_is_refused_in_a_sentence():
    module, rewards, ends = make(), torch.ones(2, 3), torch.zeros(3, dtype=torch.bool)
    uses = {
        "pg_loss": lambda: torch.func.vmap(lambda *one: fpt.pg_loss(module, *one))(OBS, ACTIONS, WEIGHTS),
        "ppo_loss": lambda: torch.func.vmap(lambda *one: fpt.ppo_loss(module, *one))(
            OBS, ACTIONS, WEIGHTS, LOG_PROBS
        ),
        "log_prob_and_entropy": lambda: torch.func.vmap(
            lambda obs: fpt.log_prob_and_entropy(module, obs, ACTIONS[0])
        )(OBS),
        "fastpg.torch.returns": lambda: torch.func.vmap(lambda row: fpt.returns(row, ends, ends))(rewards),
    }
    for name, use in uses.items():
        with pytest.raises(TypeError, match=rf"^{name}\(\) cannot run within torch.func's transforms"):
            use()


def test_sparse_tensors_are_refused_in_a_sentence():
    module = make()
    with pytest.raises(TypeError, match=r"^pg_loss\(\): obs has no memory that compiled code can read"):
        fpt.pg_loss(module, OBS.to_sparse(), ACTIONS, WEIGHTS)
    ends = torch.zeros(3, dtype=torch.bool)
    with pytest.raises(TypeError, match=r"^fastpg.torch.returns\(\): rewards has no memory"):
        fpt.returns(torch.ones(3).to_sparse(), ends, ends)


# ---- saving ------------------------------------------------------------------------------------------------


def test_safetensors_saves_the_state_dict_of_a_shared_module_and_a_copy_of_it(tmp_path):
    module = make()
    policy = fpt.from_module(module)
    before = policy.theta.copy()
    save_file(module.state_dict(), tmp_path / "module.safetensors")
    save_model(copy.deepcopy(module), tmp_path / "copy.safetensors")
    for name in ("module", "copy"):
        policy.theta *= 0.0
        module.load_state_dict(load_file(tmp_path / f"{name}.safetensors"))
        assert (policy.theta == before).all()
