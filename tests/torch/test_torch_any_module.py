"""Any torch module acts and learns: torch calls it, and the rest is as for modules that the kernels run."""

import math
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import fastpg
from tests.support.gymnasium_envs import MODES, Scripted, Single, scripted
from tests.support.jit_envs import Corridor

torch = pytest.importorskip("torch")
nn = torch.nn
fpt = pytest.importorskip("fastpg.torch")

FIELDS = (
    "obs", "actions", "rewards", "terminated", "truncated", "last_obs", "ends", "final_obs",
    "episode_returns", "episode_lengths", "mask",
)  # fmt: skip
OBS = Box(-1.0, 1.0, (3,))


class Calls(nn.Module):
    """A module of the user's own: a function of observations, which may be another module."""

    def __init__(self, function, log_std=None):
        super().__init__()
        self.function, self.log_std = function, log_std

    def forward(self, obs):
        return self.function(obs)


class Trunk(nn.Module):
    """Policy and V with layers in common; in a Box standard deviations that depend on the observation."""

    def __init__(self, size, outputs, is_box=False):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(size, 8), nn.LayerNorm(8), nn.GELU())
        self.head, self.value = nn.Linear(8, outputs), nn.Linear(8, 1)
        self.deviation = nn.Linear(8, outputs) if is_box else None

    def forward(self, obs):
        x = self.trunk(obs)
        between = () if self.deviation is None else (self.deviation(x).clamp(-2, 0),)
        return self.head(x), *between, self.value(x)


def gelu(size, outputs):
    return nn.Sequential(nn.Linear(size, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, outputs))


def same(got, wanted, names=FIELDS):
    for name in names:
        one, other = getattr(got, name), getattr(wanted, name)
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        for a, b in pairs:
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=name)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step", "disabled"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1"])
def test_it_is_the_rollout_that_the_kernels_make_of_the_same_network(env_id, autoreset):
    policy = fastpg.Policy.for_env(env_id, hidden=(8,), seed=3)
    value = fastpg.ValueFunction.for_env(env_id, hidden=(4,))
    envs = [fastpg.make(env_id, 6, autoreset=autoreset, max_episode_steps=13) for _ in range(2)]
    for env in envs:
        env.reset(seed=5)
    module, critic = fpt.to_module(policy), fpt.to_module(value)
    called = Calls(module, getattr(module, "log_std", None))
    for steps in (15, 20):  # the second in the middle of episodes
        kernels = fpt.collect(envs[0], module, steps, value=critic)
        by_torch = fpt.collect(envs[1], called, steps, value=Calls(critic))
        is_real = policy.actions.head == "gaussian"  # sums are taken in another order
        if is_real:
            torch.testing.assert_close(by_torch.actions, kernels.actions, rtol=1e-3, atol=1e-3)
        same(
            by_torch, kernels,
            ["terminated", "truncated", "ends", "episode_lengths"] if is_real else FIELDS,
        )  # fmt: skip
        for name in ("log_probs", "values", "last_values", "final_values", "rewards"):
            got, wanted = getattr(by_torch, name), getattr(kernels, name)
            torch.testing.assert_close(got, wanted, rtol=2e-3, atol=2e-3, msg=name)
        assert math.isclose(by_torch.entropy, kernels.entropy, rel_tol=1e-4)
    assert kernels.num_episodes > 0


@pytest.mark.parametrize("autoreset", MODES)
def test_steps_by_hand_and_rollouts_that_torch_calls_can_be_mixed(autoreset):
    module = Calls(fpt.to_module(fastpg.Policy.for_env("CartPole-v1", seed=3)))
    env, other = (
        fastpg.make("CartPole-v1", 5, autoreset=mode, max_episode_steps=6)
        for mode in (autoreset.value, "same_step")
    )
    env.reset(seed=5), other.reset(seed=5)
    for _ in range(6):  # the last of them ends all episodes by the time limit
        seen = env.step(np.arange(5) % 2)[0]
        begun = other.step(np.arange(5) % 2)[0]
    assert (seen != begun).any() == (autoreset.name != "SAME_STEP")
    batch, wanted = fpt.collect(env, module, 8), fpt.collect(other, module, 8)
    same(batch, wanted)
    assert batch.mask is None and batch.num_steps == 40
    np.testing.assert_array_equal(batch.obs[0], begun)
    shown, *_ = env.step(np.ones(5, np.int64))  # no row of a reset is left over
    np.testing.assert_array_equal(shown, other.step(np.ones(5, np.int64))[0])


@pytest.mark.parametrize("mode", MODES)
def test_flags_and_final_observations_are_those_of_a_compiled_policy(mode):
    policy = fastpg.Policy.for_env(scripted(4, mode), hidden=(8,), seed=1)
    compiled = fastpg.collect(scripted(4, mode), policy, 41)
    module, critic = Calls(fpt.to_module(policy)), Calls(lambda obs: obs[:, 2])
    batch = fpt.collect(scripted(4, mode), module, 41, value=critic)
    same(batch, compiled)
    same(fpt.collect(scripted(4, mode), fpt.to_module(policy), 41), compiled)  # which the kernels run
    # The last number that this environment shows is the step in the episode: V of what follows is the length.
    ends = tuple(batch.ends.T)
    cut = ~batch.terminated[ends]
    assert cut.sum() > 3
    expected = torch.zeros_like(batch.rewards)
    expected[ends] = torch.where(cut, batch.episode_lengths.float(), 0.0)
    assert torch.equal(batch.final_values, expected)
    assert torch.equal(batch.values, batch.obs[..., 2])
    assert torch.equal(batch.last_values, batch.last_obs[:, 2])


@pytest.mark.parametrize("make", [SyncVectorEnv, AsyncVectorEnv])
def test_a_vector_environment_goes_on(make):
    module, makers = gelu(3, 3), [lambda i=i: Scripted(i) for i in range(2)]
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(make(makers))
    twice = [fpt.collect(env, module, 7, seed=1), fpt.collect(env, module, 7)]
    env.close()
    env = make(makers)
    once = fpt.collect(env, module, 14, seed=1)
    env.close()
    for name in ("obs", "actions", "log_probs", "rewards", "terminated", "truncated"):
        assert torch.equal(torch.cat([getattr(one, name) for one in twice]), getattr(once, name))


SPACES = [
    (Discrete(3, start=4), 3),
    (MultiDiscrete([[2, 3]], start=[[1, -2]]), 5),
    (MultiBinary((2, 2)), 4),
    (Box(-1.0, 1.0, (2, 1)), 2),
]


def by_torch(space, module, obs, actions):
    """log pi, the entropy and V by torch.distributions."""
    outputs, *between, value = module(obs)
    of = torch.distributions
    if isinstance(space, Box):
        parts = [of.Normal(outputs, between[0].exp())]
        taken = [actions.reshape(-1, 2)]
    elif isinstance(space, MultiBinary):
        parts, taken = [of.Bernoulli(logits=outputs)], [actions.reshape(-1, 4).float()]
    elif isinstance(space, Discrete):
        parts, taken = [of.Categorical(logits=outputs)], [actions - 4]
    else:
        parts = [of.Categorical(logits=one) for one in outputs.split([2, 3], 1)]
        taken = list((actions - torch.tensor([[1, -2]])).reshape(-1, 2).T)
    log_prob = sum(one.log_prob(a).reshape(len(obs), -1).sum(1) for one, a in zip(parts, taken, strict=True))
    return log_prob, sum(one.entropy().reshape(len(obs), -1).sum(1) for one in parts), value[:, 0]


@pytest.mark.parametrize(("space", "outputs"), SPACES, ids=str)
def test_shared_trunks_collect_and_learn_as_torch_says(space, outputs):
    torch.manual_seed(0)
    module = Trunk(3, outputs, isinstance(space, Box))
    env = SyncVectorEnv([lambda: Single(OBS, space) for _ in range(3)])
    batch = fpt.collect(env, module, 10)
    obs, actions = batch.obs.flatten(0, 1), batch.actions.flatten(0, 1)
    log_prob, entropy, value = by_torch(space, module, obs, actions)
    close = torch.testing.assert_close
    close(batch.log_probs.flatten(), log_prob.detach(), rtol=1e-5, atol=1e-5)
    close(batch.values.flatten(), value.detach())
    close(batch.last_values, module(batch.last_obs)[-1][:, 0].detach())
    close(batch.final_values[tuple(batch.ends.T)], module(batch.final_obs)[-1][:, 0].detach())
    counted = slice(None) if batch.mask is None else batch.mask.flatten()
    assert math.isclose(batch.entropy, entropy[counted].mean().item(), rel_tol=1e-5)
    again, its_entropy = fpt.log_prob_and_entropy(module, batch.obs, batch.actions, action_space=space)
    close(again, batch.log_probs)
    close(its_entropy.flatten(), entropy.detach(), rtol=1e-5, atol=1e-5)
    weights, old = torch.randn(10, 3), batch.log_probs + 0.3 * torch.randn(10, 3)
    ratio, w = (log_prob - old.flatten()).exp(), weights.flatten()
    rows, given = (batch.obs, batch.actions, weights), {"entropy_coef": 0.1, "action_space": space}
    clipped = torch.min(ratio * w, ratio.clamp(0.8, 1.2) * w)
    said = {"squash": False} if isinstance(space, Box) else {}  # of outputs, which cannot tell
    for function, wanted in (
        (lambda one, **of: fpt.pg_loss(one, *rows, **given, **of), -(w * log_prob + 0.1 * entropy).mean()),
        (
            lambda one, **of: fpt.ppo_loss(one, *rows, old, reduction="sum", **given, **of),
            -(clipped + 0.1 * entropy).sum(),
        ),
    ):
        gradient = torch.autograd.grad(wanted, module.parameters(), retain_graph=True, allow_unused=True)
        returned = tuple(one.reshape(10, 3, -1) for one in module(obs))
        for one, of in ((module, {}), (returned, said)):
            loss = function(one, **of)
            close(loss, wanted, rtol=1e-4, atol=1e-5)
            mine = torch.autograd.grad(loss, module.parameters(), allow_unused=True)
            for a, b in zip(mine, gradient, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    close(a, b, rtol=1e-3, atol=1e-4)


def test_the_losses_of_the_kernels_and_of_torch_are_one():
    torch.manual_seed(1)
    inner = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    obs, actions = torch.randn(50, 4), torch.randint(2, (50,))
    gain, old = torch.rand(50), -torch.rand(50) * 60  # ratios far beyond what is clipped
    results = []
    for module in (inner, Calls(inner)):
        inner.zero_grad()
        loss, stats = fpt.ppo_loss(module, obs, actions, gain, old, return_stats=True)
        loss.backward()
        results.append((loss.detach(), inner[0].weight.grad.clone(), *stats))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("squash", [False, True])
def test_means_and_log_std_may_be_one_tensor_as_for_the_kernels(squash):
    policy = fastpg.Policy.for_env(
        "Pendulum-v1", hidden=(8,), seed=4, state_dependent_std=True, squash=squash, action_scaling=False
    )
    policy.theta[:] = np.random.default_rng(1).normal(size=len(policy.theta))  # some log_std are held at 2
    module = fpt.to_module(policy)
    called = Calls(module)
    called.action_space, called.squash = policy.action_space, squash
    batch, wanted = (fpt.collect("gym:Pendulum-v1", one, 40, num_envs=3) for one in (called, module))
    torch.testing.assert_close(batch.actions, wanted.actions, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(batch.log_probs, wanted.log_probs, rtol=1e-4, atol=1e-4)
    assert (module(batch.obs)[..., 1:] > 2).any()
    gradients = []
    for one in (called, module):
        module.zero_grad()
        given = one, batch.obs, batch.actions, batch.rewards
        loss = fpt.pg_loss(*given, entropy_coef=0.1) + fpt.ppo_loss(*given, batch.log_probs)
        loss.backward()
        gradients.append(torch.cat([parameter.grad.ravel() for parameter in module.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    own = Calls(lambda obs: (module(obs), obs[:, 0]))  # and V behind it
    own.squash = squash
    options = {"vectorization_mode": "sync", "reset_options": {"x_init": 0.1}}
    batch = fpt.collect("gym:Pendulum-v1", own, 4, num_envs=3, max_episode_steps=9, **options)
    assert torch.equal(batch.values, batch.obs[..., 0])


def test_workers_in_the_middle_of_a_call_are_a_sentence():
    env = AsyncVectorEnv([lambda: gymnasium.make("CartPole-v1")])
    try:
        env.reset(seed=0)
        env.step_async(np.zeros(1, np.int64))
        with pytest.raises(fastpg.EnvError, match=r"begun before, as after Ctrl-C.*close\(terminate=True\)"):
            fpt.collect(env, gelu(4, 2), 5)
        env.step_wait()
    finally:
        env.close()


@pytest.mark.parametrize("part", ["module", "0", "1", "2"])
def test_a_forward_that_a_module_or_layer_was_given_is_called(part):
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    obs, actions = torch.randn(16, 3), torch.randint(2, (16,))
    before, _ = fpt.log_prob_and_entropy(module, obs, actions)
    changed = module if part == "module" else module[int(part)]
    own = changed.forward
    changed.forward = lambda x: own(3.0 * x)
    after, _ = fpt.log_prob_and_entropy(module, obs, actions)
    wanted = torch.distributions.Categorical(logits=module(obs)).log_prob(actions)
    torch.testing.assert_close(after, wanted)
    assert not torch.allclose(before, after)
    with pytest.raises(TypeError, match="forward of its own"):
        fpt.from_module(module)


def test_a_call_that_a_class_overrides_is_made():
    class Tenfold(nn.Linear):
        def __call__(self, x):
            return super().__call__(10.0 * x)

    module = nn.Sequential(Tenfold(3, 8), nn.Tanh(), nn.Linear(8, 2))
    obs, actions = torch.randn(16, 3), torch.randint(2, (16,))
    wanted = torch.distributions.Categorical(logits=module(obs)).log_prob(actions)
    torch.testing.assert_close(fpt.log_prob_and_entropy(module, obs, actions)[0], wanted)


def test_parameters_are_read_in_the_shape_and_strides_that_they_have_now():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    obs, actions = torch.randn(16, 4), torch.randint(2, (16,))
    fpt.log_prob_and_entropy(module, obs, actions)
    first, _, last = module
    for _ in range(2):  # other data at the same addresses
        first.weight.data = first.weight.data.t()
        wanted = torch.distributions.Categorical(logits=module(obs)).log_prob(actions)
        torch.testing.assert_close(fpt.log_prob_and_entropy(module, obs, actions)[0], wanted)
    first.weight.data, first.bias.data = first.weight.data[:3], first.bias.data[:3]
    last.weight.data = last.weight.data[:, :3]
    wanted = torch.distributions.Categorical(logits=module(obs)).log_prob(actions)
    torch.testing.assert_close(fpt.log_prob_and_entropy(module, obs, actions)[0], wanted)


def test_what_the_kernels_do_not_run_is_no_part_of_an_error():
    obs, actions, weights = torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64), torch.zeros(5)
    module = Calls(lambda obs: obs.double())
    for call in (
        lambda: fpt.pg_loss(module, obs, actions, weights),
        lambda: fpt.ppo_loss(module, obs, actions, weights, weights),
        lambda: fpt.log_prob_and_entropy(module, obs, actions),
    ):
        with pytest.raises(TypeError, match="must return outputs as float32") as raised:
            call()
        assert raised.value.__context__ is None


def test_actions_of_several_components_without_their_space_are_a_sentence():
    given = torch.zeros(5, 3), torch.zeros(5, 2, dtype=torch.int64), torch.zeros(5)
    with pytest.raises(ValueError, match=r"must have shape \(5,\) .* \(5, 2\); their space is Discrete"):
        fpt.pg_loss(nn.Linear(3, 7), *given)
    with pytest.raises(ValueError, match="where an action has several components, action_space says so"):
        fpt.pg_loss(gelu(3, 7), *given)


def test_it_runs_under_torch_compile():
    module = gelu(4, 2)
    given = torch.randn(6, 4), torch.randint(2, (6,)), torch.randn(6)
    step = torch.compile(lambda *rows: fpt.pg_loss(module, *rows), backend="eager")
    torch.testing.assert_close(step(*given), fpt.pg_loss(module, *given))


def test_categories_without_their_space_are_a_sentence():
    obs, actions, weights = (
        torch.zeros(5, dtype=torch.int64),
        torch.zeros(5, dtype=torch.int64),
        torch.ones(5),
    )
    with pytest.raises(TypeError, match=r"obs must be float32, got int64.*pass their observation_space"):
        fpt.pg_loss(nn.Linear(3, 2), obs, actions, weights)
    fpt.pg_loss(nn.Linear(3, 2), obs, actions, weights, observation_space=Discrete(3))


def test_observations_of_dicts_are_flattened_and_categories_stay():
    space = Dict({"a": Box(0, 255, (2, 2), np.uint8), "b": Discrete(3)})
    batch = fpt.collect(lambda: Single(space), gelu(7, 2), 5, num_envs=2)
    assert batch.obs.shape == (5, 2, 7) and batch.obs.dtype == torch.float32
    first, second = nn.Embedding(3, 2), nn.Embedding(2, 2)
    module = Calls(lambda obs: first(obs[0]) + second(obs[1]))
    batch = fpt.collect(lambda: Single(Tuple([Discrete(3), Discrete(2)])), module, 5, num_envs=2)
    assert isinstance(batch.obs, tuple) and batch.obs[0].dtype == torch.int64
    log_prob, _ = fpt.log_prob_and_entropy(module, batch.obs, batch.actions)
    torch.testing.assert_close(log_prob, batch.log_probs)


def test_a_logit_of_minus_infinity_masks_its_action():
    left, right = torch.tensor([0.0, -math.inf]), torch.tensor([-math.inf, 1.0])
    module = Calls(lambda obs: torch.where(obs[:, :1] > 0, left, right))
    batch = fpt.collect("CartPole-v1", module, 30, num_envs=4)
    assert torch.equal(batch.actions, (batch.obs[..., 0] <= 0).long())
    assert (batch.log_probs == 0).all() and batch.entropy == 0
    with pytest.raises(FloatingPointError, match=r"pg_loss\(\): the loss is .* taken that is masked"):
        fpt.pg_loss(module, batch.obs, 1 - batch.actions, torch.ones_like(batch.rewards))


@pytest.mark.parametrize("autoreset", MODES)
def test_action_masks_are_those_of_compiled_policies(autoreset):
    torch.manual_seed(2)
    inner, space = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 5)), Corridor.action_space
    envs = [fastpg.make(Corridor, 7, autoreset=autoreset.value) for _ in range(2)]
    for env in envs:
        env.reset(seed=1)
    for steps in (9, 12):  # the second in the middle of episodes
        batch = fpt.collect(envs[0], Calls(inner), steps)
        wanted = fpt.collect(envs[1], inner, steps)
        same(batch, wanted, (*FIELDS, "action_mask"))
        torch.testing.assert_close(batch.log_probs, wanted.log_probs, rtol=1e-4, atol=1e-5)
        places = batch.actions + torch.tensor([0, 3])
        assert batch.action_mask.gather(2, places).all()
        assert not batch.action_mask.all()
    given = batch.obs, batch.actions
    options = {"action_mask": batch.action_mask, "action_space": space}
    results = []
    for module in (inner, Calls(inner), lambda: inner(batch.obs)):
        inner.zero_grad()
        called = module if isinstance(module, nn.Module) else module()
        log_probs, entropy = fpt.log_prob_and_entropy(called, *given, **options)
        torch.testing.assert_close(log_probs, batch.log_probs, rtol=1e-4, atol=1e-5)
        loss = fpt.pg_loss(called, *given, batch.rewards, entropy_coef=0.1, **options)
        called = module if isinstance(module, nn.Module) else module()
        loss = loss + fpt.ppo_loss(called, *given, batch.rewards, batch.log_probs - 0.1, **options)
        loss.backward()
        results.append((loss.detach(), entropy, inner[0].weight.grad.clone()))
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"pg_loss\(\): actions\[.*\] is .* does not allow"):
        nothing = batch.action_mask.logical_not()
        nothing[..., 1] = nothing[..., 3] = True
        fpt.pg_loss(Calls(inner), *given, batch.rewards, action_mask=nothing, action_space=space)
    with pytest.raises(ValueError, match=r"pg_loss\(\): action_mask must have shape"):
        fpt.pg_loss(Calls(inner), *given, batch.rewards, action_mask=torch.ones(3), action_space=space)


def test_squashed_actions_are_those_of_compiled_policies():
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(8,), squash=True)
    module = fpt.to_module(policy)
    called = Calls(module, module.log_std)
    called.squash, called.action_space = True, policy.action_space
    kernels, by_torch = (
        fpt.collect(fastpg.make("Pendulum-v1", 5, seed=1), one, 9) for one in (module, called)
    )
    for name in ("actions", "rewards", "log_probs"):
        torch.testing.assert_close(getattr(by_torch, name), getattr(kernels, name), rtol=1e-3, atol=1e-3)
    far = torch.full_like(kernels.actions, 40.0)
    for actions in (kernels.actions, far):
        pairs = [fpt.log_prob_and_entropy(one, kernels.obs, actions) for one in (module, called)]
        for a, b in zip(*pairs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"collect\(\): action_scaling must be False where squash is True"):
        fpt.collect("Pendulum-v1", called, 3, num_envs=1, action_scaling=True)
    with pytest.raises(ValueError, match=r"collect\(\): action_scaling must be False where squash is True"):
        fpt.collect("Pendulum-v1", module, 3, num_envs=1, action_scaling=True)
    with pytest.raises(
        ValueError, match=r"from_module\(\): action_scaling must be False where squash is True"
    ):
        fpt.from_module(module, action_scaling=True)


@pytest.mark.parametrize("squash", [False, True])
def test_outputs_in_the_place_of_a_module_say_whether_they_are_squashed(squash):
    torch.manual_seed(3)
    space = Box(-1.0, 3.0, (2,))
    module = Trunk(3, 2, is_box=True)
    module.squash, module.action_space = squash, space
    batch = fpt.collect(SyncVectorEnv([lambda: Single(OBS, space) for _ in range(3)]), module, 10)
    returned = tuple(one.reshape(10, 3, -1) for one in module(batch.obs.flatten(0, 1)))
    rows, gain, old = (batch.obs, batch.actions), torch.randn(10, 3), batch.log_probs
    said = {"squash": squash, "action_space": space}
    torch.testing.assert_close(fpt.log_prob_and_entropy(returned, *rows, **said)[0], old)
    loss, stats = fpt.ppo_loss(returned, *rows, gain, old, return_stats=True, **said)
    assert abs(stats.approx_kl) < 1e-6 and stats.clip_fraction == 0
    torch.testing.assert_close(loss, fpt.ppo_loss(module, *rows, gain, old))
    torch.testing.assert_close(fpt.pg_loss(returned, *rows, gain, **said), fpt.pg_loss(module, *rows, gain))
    for function, more in (
        (fpt.pg_loss, (gain,)),
        (fpt.ppo_loss, (gain, old)),
        (fpt.log_prob_and_entropy, ()),
    ):
        name = rf"^{function.__name__}\(\): squash "
        with pytest.raises(ValueError, match=name + "must be True or False where actions are in a Box"):
            function(returned, *rows, *more, action_space=space)
        with pytest.raises(TypeError, match=name + "must be True or False, got 1"):
            function(returned, *rows, *more, action_space=space, squash=1)
        with pytest.raises(ValueError, match=name + "goes with outputs"):
            function(module, *rows, *more, squash=squash)
    with pytest.raises(ValueError, match=r"squash must be False unless a Box has finite bounds"):
        fpt.log_prob_and_entropy(returned, *rows, squash=True)


class Keeps(Single):
    given: list = []  # noqa: RUF012

    def step(self, action):
        self.given.append(np.array(action))
        return super().step(action)


def test_actions_are_scaled_on_request():
    space, inner, log_std = Box(0.0, 100.0, (1,)), nn.Linear(3, 1), nn.Parameter(torch.zeros(1))
    for module in (Calls(inner), inner):  # called by torch, and run by the kernels
        Keeps.given.clear()
        batch = fpt.collect(
            lambda: Keeps(OBS, space), module, 3, num_envs=1, action_scaling=True, log_std=log_std
        )
        wanted = (50 * (batch.actions[:, 0, 0] + 1)).clamp(0, 100)
        np.testing.assert_allclose(np.array(Keeps.given)[:, 0], wanted, rtol=1e-5)
        with pytest.warns(UserWarning, match=r"collect\(\): action_space has the bounds 0 .. 100"):
            fpt.collect(lambda: Single(OBS, space), module, 3, num_envs=1, log_std=log_std)
        with pytest.raises(ValueError, match=r"collect\(\): action_scaling must be False unless"):
            fpt.collect(lambda: Single(OBS), gelu(3, 2), 3, num_envs=1, action_scaling=True)
    policy = fastpg.Policy.for_env("Pendulum-v1", hidden=(4,), action_scaling=True)
    module = fpt.to_module(policy)
    assert fpt.from_module(module).action_scaling
    wanted = fastpg.collect("Pendulum-v1", policy, 9, num_envs=3)
    same(fpt.collect("Pendulum-v1", module, 9, num_envs=3), wanted, ["actions", "rewards"])


@pytest.mark.parametrize("both", [False, True], ids=["log_std", "state dependent"])
@pytest.mark.parametrize("option", ["scaled", "squashed", "clipped"])
def test_environments_get_the_actions_that_the_options_of_a_module_say(option, both):
    torch.manual_seed(8)
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1 + both))
    if not both:
        module.log_std = nn.Parameter(torch.zeros(1))
    module.squash = option == "squashed"
    envs = [fastpg.make("Pendulum-v1", num_envs=3) for _ in range(2)]
    for env in envs:
        env.reset(seed=2)
    batch = fpt.collect(envs[0], module, 12, action_scaling=option == "scaled")
    for t in range(11):
        drawn = batch.actions[t]
        acted = {
            "scaled": 2 * drawn.clamp(-1, 1),
            "squashed": 2 * drawn.tanh(),
            "clipped": drawn.clamp(-2, 2),
        }
        obs, rewards, *_ = envs[1].step(acted[option].numpy())
        np.testing.assert_allclose(obs, batch.obs[t + 1], atol=1e-4)
        np.testing.assert_allclose(rewards, batch.rewards[t], atol=1e-3)


@pytest.mark.parametrize(
    ("module", "env", "error", "sentence"),
    [
        (gelu(4, 3), "CartPole-v1", ValueError, r"outputs of shape \(1024, 2\) for 1024 obs.*\(1024, 3\)"),
        (
            gelu(3, 2),
            "CartPole-v1",
            ValueError,
            r"module raised RuntimeError for obs of shape \(1024, 4\) and",
        ),
        (gelu(3, 1), "Pendulum-v1", TypeError, r"module must return \(mean, log_std\), or have a log_std"),
        (Calls(lambda obs: "abc"), "CartPole-v1", TypeError, "module must return logits, and V.*'abc'"),
        (Calls(lambda obs: (obs[:, :2], obs, obs)), "CartPole-v1", TypeError, "must return logits, and V"),
        (Calls(lambda obs: (obs[:, :2], obs)), "CartPole-v1", ValueError, r"V must be of shape \(1024,\) or"),
        (
            Calls(lambda obs: obs[:, :2] / 0),
            "CartPole-v1",
            FloatingPointError,
            "returned outputs that are NaN",
        ),
        (Calls(lambda obs: obs[:, :2].double()), "CartPole-v1", TypeError, "must return outputs as float32"),
        (
            Calls(lambda obs: (obs[:, :1], obs[:, :1] + 200)),
            "Pendulum-v1",
            FloatingPointError,
            "log_std is too",
        ),
        (
            gelu(4, 2).to("meta"),
            "CartPole-v1",
            ValueError,
            r"must lie on the CPU, but its 0.weight is",
        ),
        (gelu(4, 2).double(), "CartPole-v1", ValueError, "module raised RuntimeError"),
        (gelu(16, 4), "FrozenLake-v1", ValueError, "module raised .* and torch.int64"),
    ],
)
def test_what_a_module_does_wrong_is_a_sentence(module, env, error, sentence):
    with pytest.raises(error, match=rf"^collect\(\): .*{sentence}") as raised:
        fpt.collect(env, module, 3)
    assert "\n" not in str(raised.value)


def test_other_bad_arguments_are_sentences():
    module = gelu(4, 2)
    for value, error, sentence in (
        (3, TypeError, "value: module must be"),
        (gelu(4, 2), ValueError, r"collect\(\): value: V must be of shape"),
        (gelu(3, 1), ValueError, r"collect\(\): value raised"),
        (Calls(lambda obs: obs[:, 0] / 0), FloatingPointError, r"collect\(\): value: module returned"),
    ):
        with pytest.raises(error, match=sentence):
            fpt.collect("CartPole-v1", module, 3, value=value)
    with pytest.raises(ValueError, match="out goes with native"):
        fpt.collect("CartPole-v1", module, 3, out=fpt.collect("CartPole-v1", nn.Linear(4, 2), 3))
    obs, actions, weights = torch.randn(6, 4), torch.randint(2, (6,)), torch.randn(6)
    actions[0] = 1
    for given, error, sentence in (
        ((module, obs[:5], actions, weights), ValueError, "obs must begin with"),
        ((module, obs, actions, weights[:5]), ValueError, "weights must have shape"),
        ((module, obs, actions + 1, weights), ValueError, r"actions must lie in 0..1, got 2"),
        ((module, obs, None, weights), TypeError, "actions must be a tensor"),
        ((module, None, actions, weights), TypeError, "obs must be a tensor"),
        ((module, obs / 0, actions, weights), FloatingPointError, "module returned outputs"),
        ((module, obs, actions, weights / 0), ValueError, "weights must be finite"),
        ((torch.zeros(6, 0), obs, actions, weights), TypeError, "module must return"),
        (((), obs, actions, weights), TypeError, "module must be"),
    ):
        with pytest.raises(error, match=rf"^pg_loss\(\): .*{sentence}"):
            fpt.pg_loss(*given)


def test_train_mode_is_said_where_it_matters():
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    with pytest.warns(UserWarning, match=r"collect\(\): module is in train mode and has a Dropout \(1\)"):
        batch = fpt.collect("CartPole-v1", module, 3, num_envs=4)
    assert torch.isfinite(batch.log_probs).all() and module.training
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = fpt.collect("CartPole-v1", module.eval(), 3, num_envs=4)
        fpt.collect("CartPole-v1", gelu(4, 2), 3, num_envs=4)
    log_prob, _ = fpt.log_prob_and_entropy(module, batch.obs, batch.actions)
    torch.testing.assert_close(log_prob, batch.log_probs)
