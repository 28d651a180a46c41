"""fastpg.torch.collect: the rollout of fastpg.collect, by modules and as tensors."""

import math

import numpy as np
import pytest

import fastpg

torch = pytest.importorskip("torch")
nn = torch.nn
fpt = pytest.importorskip("fastpg.torch")

FIELDS = (
    "obs", "actions", "log_probs", "rewards", "terminated", "truncated", "last_obs", "ends", "final_obs",
    "episode_returns", "episode_lengths", "values", "last_values", "final_values",
)  # fmt: skip
ENVS = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1"]


def parts(value):
    return value if isinstance(value, tuple) else (value,)


def vector_env(env_id, num_envs=9, **given):
    env = fastpg.make(env_id, num_envs, **given)
    env.reset(seed=5)
    return env


def plain(module):
    """Return a Sequential of torch's own with the layers of another."""
    return nn.Sequential(*module)


@pytest.mark.parametrize("critic_of", [fpt.to_module, lambda value: plain(fpt.to_module(value))])
@pytest.mark.parametrize("env_id", ENVS)
def test_a_rollout_is_fastpg_collects_as_tensors_over_its_memory(env_id, critic_of):
    policy = fastpg.Policy.for_env(env_id, hidden=(8,), seed=3)
    value = fastpg.ValueFunction.for_env(env_id, hidden=(4,))
    critic = critic_of(value)
    limit = {"max_episode_steps": 15}
    expected = fastpg.collect(vector_env(env_id, **limit), policy, 40, value=value)
    batch = fpt.collect(vector_env(env_id, **limit), fpt.to_module(policy), 40, value=critic)
    assert isinstance(batch, fpt.Rollout)
    for name in FIELDS:
        for got, array in zip(parts(getattr(batch, name)), parts(getattr(expected, name)), strict=True):
            assert isinstance(got, torch.Tensor) and not got.requires_grad
            np.testing.assert_array_equal(got.numpy(), array, err_msg=name)
    assert batch.entropy == expected.entropy and batch.num_steps == 360
    assert batch.num_episodes == expected.num_episodes > 0
    assert math.isclose(batch.mean_return, expected.mean_return)
    assert math.isclose(batch.mean_length, expected.mean_length)
    given = torch.arange(batch.num_episodes).float()
    np.testing.assert_array_equal(batch.scatter_final(given), expected.scatter_final(given.numpy()))


def test_log_probs_and_values_are_those_that_torch_computes_from_the_batch():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
    batch = fpt.collect(vector_env("CartPole-v1", 33), module, 50, value=critic)
    with torch.no_grad():
        distribution = torch.distributions.Categorical(logits=module(batch.obs))
        torch.testing.assert_close(
            distribution.log_prob(batch.actions), batch.log_probs, rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(critic(batch.obs)[..., 0], batch.values, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(critic(batch.last_obs)[..., 0], batch.last_values, rtol=1e-5, atol=1e-6)


def test_a_step_of_an_optimizer_is_seen_by_the_next_rollout():
    module = nn.Linear(4, 2)
    env = vector_env("CartPole-v1", 4)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor([0.0, 100.0]))
    assert (fpt.collect(env, module, 5).actions == 1).all()
    with torch.no_grad():
        module.bias.copy_(torch.tensor([100.0, 0.0]))
    assert (fpt.collect(env, module, 5).actions == 0).all()


def test_real_actions_need_a_log_std_on_the_module_or_as_an_argument():
    module = nn.Linear(3, 1)
    log_std = nn.Parameter(torch.full((1,), -1.0))
    as_argument = fpt.collect(vector_env("Pendulum-v1"), module, 20, log_std=log_std)
    assert as_argument.actions.shape == (20, 9, 1) and as_argument.actions.dtype == torch.float32
    with pytest.raises(ValueError, match=r"collect\(\): action_space is Box.*log_std"):
        fpt.collect(vector_env("Pendulum-v1"), module, 20)
    module.log_std = log_std
    on_module = fpt.collect(vector_env("Pendulum-v1"), module, 20)
    assert (on_module.actions == as_argument.actions).all()
    normal = torch.distributions.Normal(module(on_module.obs), log_std.exp())
    torch.testing.assert_close(normal.log_prob(on_module.actions)[..., 0].detach(), on_module.log_probs)


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("state_dependent_std", [False, True])
def test_a_module_has_the_options_of_its_policy(squash, state_dependent_std):
    options = {"squash": squash, "state_dependent_std": state_dependent_std}
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(8,), seed=3, **options)
    expected = fastpg.collect(vector_env("Pendulum-v1"), policy, 20)
    module = fpt.to_module(policy)
    own = plain(module)  # whose space nobody knows but the environment
    own.squash = squash
    if not state_dependent_std:
        own.log_std = module.log_std
    for one in (module, own):
        batch = fpt.collect(vector_env("Pendulum-v1"), one, 20)
        for name in ("actions", "log_probs", "rewards"):
            np.testing.assert_array_equal(getattr(batch, name).numpy(), getattr(expected, name), err_msg=name)
    twin = fpt.from_module(module)
    assert repr(twin) == repr(policy).replace(", env_id='Pendulum-v1'", "")
    if squash:
        with pytest.raises(
            ValueError, match=r"from_module\(\): module.squash is True, so that action_space must"
        ):
            fpt.from_module(own)


def test_a_module_reads_one_hot_vectors_where_observations_are_categories():
    module = nn.Linear(16, 4)
    batch = fpt.collect(vector_env("FrozenLake-v1"), module, 20)
    assert batch.obs.shape == (20, 9) and batch.obs.dtype == torch.int64
    logits = module(nn.functional.one_hot(batch.obs, 16).float())
    log_probs = torch.distributions.Categorical(logits=logits).log_prob(batch.actions).detach()
    torch.testing.assert_close(log_probs, batch.log_probs, rtol=1e-5, atol=1e-6)


def test_the_loss_of_a_batch_has_the_gradient_of_the_fused_estimate():
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(16,), seed=1)
    module = fpt.to_module(policy)
    batch = fpt.collect("CartPole-v1", module, 40, num_envs=30, seed=7)
    weights = fpt.returns(
        batch.rewards, batch.terminated, batch.truncated, gamma=0.97, bootstrap_truncated=False
    )
    fpt.pg_loss(module, batch.obs, batch.actions, weights).backward()
    gradient = -torch.cat([parameter.grad.reshape(-1) for parameter in module.parameters()]).numpy()
    estimate = fastpg.estimate_gradient(
        "CartPole-v1", policy, gamma=0.97, num_envs=30, horizon=40, normalize="timestep", seed=7
    )
    error = np.linalg.norm(gradient - estimate.gradient)
    assert error <= 1e-5 * (np.linalg.norm(estimate.gradient) + 1e-2 * float(weights.mean()))


def test_out_is_overwritten_and_returned_again():
    env, module, critic = vector_env("CartPole-v1"), nn.Linear(4, 2), nn.Linear(4, 1)
    first = fpt.collect(env, module, 10, value=critic)
    again = fpt.collect(env, module, 10, value=critic, out=first)
    for name in ("obs", "actions", "log_probs", "rewards", "terminated", "values", "final_values"):
        assert getattr(first, name).data_ptr() == getattr(again, name).data_ptr()
    with pytest.raises(TypeError, match=r"out must be a Batch of fastpg\.torch\.collect"):
        fpt.collect(env, module, 10, out=fastpg.collect(env, fpt.from_module(module), 10))
    with pytest.raises(TypeError, match=r"out must be a Batch of fastpg\.collect"):
        fastpg.collect(env, fpt.from_module(module), 10, out=again)


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "sentence"),
    [
        (("CartPole-v1", 3, 5), {}, TypeError, "module must be a torch.nn.Module"),
        (("CartPole-v1", nn.Linear(4, 3), 5), {}, ValueError, "module has 3 outputs, but action_space"),
        (("CartPole-v1", nn.Linear(3, 2), 5), {}, ValueError, "module takes 3 inputs, but observation_space"),
        (("CartPole-v1", nn.Linear(4, 2).double(), 5), {}, TypeError, "must be float32"),
        (("CartPole-v1", nn.Conv1d(1, 1, 1), 5), {}, ValueError, "module raised RuntimeError for obs"),
        (("CartPole-v1", nn.Linear(4, 2), 0), {}, ValueError, "horizon must be an integer from 1"),
        (("CartPole-v1", nn.Linear(4, 2), 5), {"value": nn.Linear(4, 2)}, ValueError, "4 inputs to 1 output"),
        (("CartPole-v1", nn.Linear(4, 2), 5), {"value": 3}, TypeError, "value: module must be"),
        (("CartPole-v1", nn.Linear(4, 2), 5), {"out": 3}, TypeError, "out must be a Batch"),
    ],
)
def test_bad_arguments_are_sentences(arguments, keywords, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        fpt.collect(*arguments, **keywords)
    assert str(raised.value).startswith("collect(): ")


def test_parameters_that_are_not_finite_are_errors():
    module, critic = nn.Linear(4, 2), nn.Linear(4, 1)
    with torch.no_grad():
        critic.bias.fill_(math.nan)
    with pytest.raises(ValueError, match=r"collect\(\): theta of the value function must be finite"):
        fpt.collect("CartPole-v1", module, 5, value=critic)
    with torch.no_grad():
        module.bias.fill_(math.inf)
    with pytest.raises(ValueError, match=r"collect\(\): theta must be finite"):
        fpt.collect("CartPole-v1", module, 5)


def test_scatter_final_takes_a_tensor_of_one_value_for_each_end():
    batch = fpt.collect(vector_env("CartPole-v1", 30), nn.Linear(4, 2), 40)
    with pytest.raises(TypeError, match="values must be a tensor on the CPU"):
        batch.scatter_final(np.zeros(batch.num_episodes, np.float32))
    with pytest.raises(ValueError, match="values must have shape"):
        batch.scatter_final(torch.zeros(batch.num_episodes + 1))
    values = nn.Linear(4, 1)(batch.final_obs)[:, 0]
    assert not batch.scatter_final(values).requires_grad


def test_the_gae_of_a_batch_is_that_of_its_arrays():
    policy, value = fastpg.Policy.for_env("CartPole-v1", seed=1), fastpg.ValueFunction.for_env("CartPole-v1")
    limit = {"max_episode_steps": 9}
    batch = fpt.collect(
        vector_env("CartPole-v1", **limit), fpt.to_module(policy), 30, value=fpt.to_module(value)
    )
    expected = fastpg.collect(vector_env("CartPole-v1", **limit), policy, 30, value=value)
    wanted = expected.gae(gamma=0.9, lam=0.8)
    for got, array in zip(batch.gae(gamma=0.9, lam=0.8), wanted, strict=True):
        assert isinstance(got, torch.Tensor)
        np.testing.assert_array_equal(got.numpy(), array)
    with pytest.raises(ValueError, match="the batch has no values"):
        fpt.collect("CartPole-v1", nn.Linear(4, 2), 3, num_envs=2).gae(gamma=0.9, lam=0.8)
