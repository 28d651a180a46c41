"""Whole episodes of torch modules: those of the equal policy, the exact returns, and no bias."""

import itertools
import math
import warnings

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import AsyncVectorEnv

import fastpg
from fastpg.envs.mujoco.engine import is_installed
from fastpg.exact import FiniteMDP
from fastpg.networks.normalizer import ObservationNormalizer
from tests.support.gymnasium_envs import MODES, Scripted, Single, scripted, vector_of
from tests.support.jit_envs import Corridor

torch = pytest.importorskip("torch")
nn = torch.nn
fpt = pytest.importorskip("fastpg.torch")

Z = 4.42  # standard errors: a right mean is farther off once in 100,000 seeds
OBS = Box(-1.0, 1.0, (3,))


class Calls(nn.Module):
    """A module that the kernels do not run, of a function or another module."""

    def __init__(self, function, **attributes):
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, obs):
        return self.function(obs)


def called(policy):
    """The network of a policy, as a module that torch has to call."""
    module = fpt.to_module(policy)
    names = ("log_std", "squash", "action_space", "action_scaling")
    return Calls(module, **{name: getattr(module, name) for name in names if hasattr(module, name)})


def same(got, wanted, close=False):
    """Require that two evaluations have the same episodes."""
    returns, lengths = got
    assert returns.dtype == torch.float64 and lengths.dtype == torch.int64
    assert returns.shape == lengths.shape == wanted[0].shape
    np.testing.assert_array_equal(lengths, wanted[1])
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if close else {"rtol": 0, "atol": 0}
    np.testing.assert_allclose(returns, wanted[0], **tolerance)


POLICIES = [
    ("CartPole-v1", {}),
    ("FrozenLake-v1", {"hidden": (), "seed": 2}),
    ("Blackjack-v1", {"hidden": (8,)}),
    ("Pendulum-v1", {"action_scaling": False}),
    ("Pendulum-v1", {"squash": True, "state_dependent_std": True}),
    ("Pendulum-v1", {"action_scaling": True}),
    (Corridor, {"hidden": (8,)}),
    ("gym:MountainCarContinuous-v0", {"hidden": (4,), "activation": "relu"}),
    (lambda: Single(OBS, MultiDiscrete([[2, 3]], start=[[1, -2]])), {}),
    (lambda: Single(OBS, MultiBinary((2, 2))), {}),
]


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize(("env", "options"), POLICIES)
def test_what_the_kernels_run_earns_what_its_policy_does(env, options, deterministic):
    policy = fastpg.Policy.for_env(env, **({"hidden": (8,)} | options))
    policy.theta[:] += 0.3 * np.random.default_rng(0).normal(size=len(policy.theta))
    given = {"episodes": 21, "deterministic": deterministic, "seed": 4, "max_steps": 30}
    same(fpt.evaluate(env, fpt.to_module(policy), **given), fastpg.evaluate(env, policy, **given))


HEADS = [
    ("CartPole-v1", {"max_episode_steps": 20}),
    ("FrozenLake-v1", {}),
    ("Blackjack-v1", {}),
    ("Pendulum-v1", {"max_episode_steps": 20}),
    (Corridor, {}),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("env", "options"), HEADS)
def test_it_acts_as_the_kernels_where_python_steps_native_environments(env, options, mode):
    policy = fastpg.Policy.for_env(env, hidden=(8,), seed=1, action_scaling=False)
    policy.theta[:] += 0.3 * np.random.default_rng(1).normal(size=len(policy.theta))
    several = fastpg.make(env, 5, autoreset=mode.value, **options)
    for deterministic in (True, False):
        given = {"episodes": 17, "deterministic": deterministic, "seed": 2, "max_steps": 40}
        wanted = fastpg.evaluate(several, policy, **given)
        same(fpt.evaluate(several, called(policy), **given), wanted, close=env == "Pendulum-v1")


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_boxes_are_squashed_and_scaled_on_their_way(squash, both):
    policy = fastpg.Policy.for_env(
        "gym:Pendulum-v1", hidden=(8,), squash=squash, state_dependent_std=both, action_scaling=not squash
    )
    given = {"episodes": 3, "deterministic": False, "max_steps": 15}
    wanted = fastpg.evaluate("gym:Pendulum-v1", policy, **given)
    same(fpt.evaluate("gym:Pendulum-v1", called(policy), **given), wanted, close=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("space", [MultiDiscrete([[2, 3]], start=[[1, -2]]), MultiBinary((2, 2))], ids=str)
def test_actions_of_several_components_arrive(space, mode):
    policy = fastpg.Policy(OBS, space, hidden=(4,))
    env = vector_of([lambda: Pays(OBS, space) for _ in range(3)], mode)
    given = {"episodes": 8, "deterministic": False, "seed": 1}
    wanted = fastpg.evaluate(env, policy, **given)
    same(fpt.evaluate(env, called(policy), **given), wanted)
    assert len(set(wanted[0])) > 3


class Pays(Single):
    def step(self, action):
        obs, _, *ends = super().step(action)
        return obs, float(np.dot(np.ravel(action), 2.0 ** np.arange(np.size(action)))), *ends


def scripted_returns(num_envs, episodes):
    """Returns and lengths of `scripted` environments, episode k of environment i at k N + i."""
    results = []
    for k, i in itertools.product(range(episodes), range(num_envs)):
        length = (i % 5 + k) % 5 + 1
        results.append((length * k + sum(range(length)) / 8, length))
    return tuple(np.array(one[:episodes]) for one in zip(*results, strict=True))


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_every_environment_plays_its_quota(mode, deterministic):
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 3))
    wanted = scripted_returns(4, 10)
    same(fpt.evaluate(scripted(4, mode), module, episodes=10, deterministic=deterministic), wanted)
    same(fpt.evaluate(scripted(4, mode), nn.Linear(3, 3), episodes=10), wanted)


def test_other_processes_step():
    env = AsyncVectorEnv([lambda i=i: Scripted(i, i % 5 + 1) for i in range(2)])
    same(fpt.evaluate(env, Calls(nn.Linear(3, 3)), episodes=7), scripted_returns(2, 7))
    env.close()


def walk(**more):
    """Six states in a row: forward pays 1, twice forward pays 3, staying nothing; the last is the end."""
    transition, reward = np.zeros((6, 3, 6)), np.zeros((6, 3))
    for s, a in itertools.product(range(5), range(3)):
        transition[s, a, min(s + a, 5)] = 1.0
        reward[s, a] = (0.0, 1.0, 3.0)[a]
    start = np.array([0.5, 0.5, 0, 0, 0, 0])
    return FiniteMDP(transition, reward, np.arange(6) == 5, start, **more)


@pytest.mark.parametrize("function", ["logits", "mask", "action_mask"])
def test_the_most_likely_actions_earn_exactly_what_they_do(function):
    forward, twice = torch.tensor([0.0, 1.0, -1.0]), torch.tensor([0.0, 1.0, 2.0])
    if function == "logits":  # twice from even states
        env, module = walk(), Calls(lambda obs: torch.where(obs[:, None] % 2 == 0, twice, forward))
    elif function == "mask":
        least = torch.tensor([0.0, 1.0, -math.inf])
        env, module = walk(), Calls(lambda obs: torch.where(obs[:, None] % 2 == 0, twice, least))
    else:
        allowed = np.ones((6, 3), bool)
        allowed[1::2, 2] = False
        env, module = walk(action_mask=allowed), Calls(lambda obs: twice.expand(len(obs), 3))
    returns, lengths = fpt.evaluate(env, module, episodes=2000, seed=3)
    # 0 2 4 5: three times 3. 1 2 4 5: 1 and twice 3. Where it starts is drawn.
    assert set(zip(returns.tolist(), lengths.tolist(), strict=True)) == {(9.0, 3), (7.0, 3)}
    assert abs((returns == 9.0).double().mean() - 0.5) < Z * 0.5 / math.sqrt(2000)
    stays = Calls(lambda obs: torch.tensor([1.0, 0.0, 0.0]).expand(len(obs), 3))
    returns, lengths = fpt.evaluate(env, stays, episodes=5, max_steps=9)
    assert (returns == 0).all() and (lengths == 9).all()


def luck():
    """Two states; the first action mostly stays, for 1 or 2, the second ends the episode in 3 of 10 cases."""
    transition, reward = np.zeros((3, 2, 3)), np.array([[1.0, 0.2], [2.0, -1.0], [0.0, 0.0]])
    transition[0] = [[0.5, 0.45, 0.05], [0.1, 0.6, 0.3]]
    transition[1] = [[0.15, 0.8, 0.05], [0.7, 0.0, 0.3]]
    return FiniteMDP(transition, reward, np.arange(3) == 2, np.array([0.7, 0.3, 0.0]))


@pytest.mark.parametrize("mode", MODES)
def test_means_are_exact_and_long_episodes_count_as_short_ones(mode):
    env = luck()
    policy = fastpg.Policy.for_env(env, hidden=())
    policy.theta[:] = np.random.default_rng(2).normal(size=len(policy.theta))
    module = nn.Embedding(3, 2)  # the same logits, which torch calls with the number of the state
    with torch.no_grad():
        weight, bias = policy.parameters()["head.weight"], policy.parameters()["head.bias"]
        module.weight.copy_(torch.from_numpy(weight.T + bias))
    exact = fastpg.exact.policy_gradient(env, policy)
    # As many environments as episodes: whoever took the first ends would take short ones.
    several = fastpg.make(env, 64, autoreset=mode.value)
    results = [fpt.evaluate(several, module, episodes=96, deterministic=False, seed=s) for s in range(20)]
    returns, lengths = map(torch.cat, zip(*results, strict=True))
    for got, mean in ((returns, exact.objective), (lengths.double(), exact.visits.sum())):
        assert abs(got.mean() - mean) < Z * got.std() / math.sqrt(len(got))
    assert lengths.max() > 3 * lengths.double().mean()
    assert len(torch.unique(returns)) > 20


def test_it_plays_as_many_side_by_side_as_episodes():
    counts = []
    module = Calls(lambda obs: counts.append(len(obs)) or torch.zeros(len(obs), 2))
    fpt.evaluate("CartPole-v1", module, episodes=3, max_steps=2)
    fpt.evaluate("CartPole-v1", module, episodes=1500, max_steps=1)
    assert counts == [3, 3, 1024, 1024]


def test_the_same_seed_has_the_same_episodes_whatever_torch_draws():
    module = Calls(nn.Linear(4, 2))
    results = []
    for seed in (5, 5, 6):
        torch.rand(3)
        results.append(fpt.evaluate("CartPole-v1", module, episodes=40, deterministic=False, seed=seed)[0])
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert module.function.weight.grad is None


def test_a_normalizer_is_read_and_left_alone():
    env = "CartPole-v1"
    policy = fastpg.Policy.for_env(env, hidden=(8,), seed=7)
    normalizer = ObservationNormalizer(policy.observation_space)
    normalizer.update(np.random.default_rng(0).normal(1.0, 3.0, (50, 4)).astype(np.float32))
    given = {"episodes": 9, "deterministic": False}
    same(
        fpt.evaluate(env, fpt.to_module(policy), normalizer=normalizer, **given),
        fastpg.evaluate(env, normalizer.fold(policy), **given),
    )
    mean, std = (torch.from_numpy(one) for one in (normalizer.mean, normalizer.std))
    inner = fpt.to_module(policy)
    whole = Calls(lambda obs: inner(((obs - mean) / std).float()))
    same(fpt.evaluate(env, Calls(inner), normalizer=normalizer, **given), fpt.evaluate(env, whole, **given))
    assert normalizer.num_rows == 50


class Trunk(nn.Module):
    """Policy and V with layers in common; standard deviations depend on the observation."""

    def __init__(self, size, outputs):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(size, 8), nn.LayerNorm(8), nn.GELU())
        self.head, self.deviation, self.value = (nn.Linear(8, n) for n in (outputs, outputs, 1))

    def forward(self, obs):
        x = self.trunk(obs)
        return self.head(x), self.deviation(x), self.value(x)


@pytest.mark.parametrize("env", ["Pendulum-v1", "gym:Pendulum-v1", "InvertedPendulum-v5"])
def test_shared_trunks_play_boxes(env):
    if env == "InvertedPendulum-v5" and not is_installed():
        pytest.skip("MuJoCo is missing")
    torch.manual_seed(0)
    module = Trunk(4 if env == "InvertedPendulum-v5" else 3, 1)
    given = {"episodes": 3, "max_steps": 25, "action_scaling": False}
    mean, _ = fpt.evaluate(env, module, **given)
    drawn, lengths = fpt.evaluate(env, module, deterministic=False, **given)
    assert torch.isfinite(drawn).all() and (lengths <= 25).all() and not torch.equal(mean, drawn)


def test_options_of_gymnasiums_environments_go_with_modules_too():
    seen = []

    class Keeps(Scripted):
        def reset(self, *, seed=None, options=None):
            seen.append(options)
            return super().reset(seed=seed)

    given = {"episodes": 2, "reset_options": {"low": 2}, "vectorization_mode": "sync"}
    fpt.evaluate(Keeps, Calls(nn.Linear(3, 3)), **given)
    assert seen[0] == {"low": 2}
    with pytest.raises(ValueError, match=r"^evaluate\(\): vectorization_mode goes with Gymnasium's"):
        fpt.evaluate("CartPole-v1", Calls(nn.Linear(4, 2)), **given)
    with pytest.raises(TypeError, match=r"^evaluate\(\): unexpected argument 'gravity'"):
        fpt.evaluate("CartPole-v1", Calls(nn.Linear(4, 2)), gravity=3)
    returns, _ = fpt.evaluate("CartPole-v1", Calls(nn.Linear(4, 2)), episodes=3, sutton_barto_reward=True)
    assert (returns == -1).all()


def test_warnings_name_the_users_line():
    module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    module.log_std = nn.Parameter(torch.zeros(1))
    space = Box(0.0, 100.0, (1,))
    for one in (module, nn.Linear(3, 1)):
        if isinstance(one, nn.Linear):
            one.log_std = module.log_std
        for evaluated in (True, False):
            with pytest.warns(UserWarning) as said:
                if evaluated:
                    fpt.evaluate(lambda: Single(OBS, space), one, episodes=1)
                else:
                    fpt.collect(lambda: Single(OBS, space), one, 2, num_envs=1)
            assert {warning.filename for warning in said} == {__file__}
            words = [str(warning.message) for warning in said]
            assert len(words) == 1 + (one is module)
            assert "action_space has the bounds 0 .. 100" in words[-1]
    assert module.training
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fpt.evaluate(lambda: Single(OBS, space), module.eval(), episodes=1, action_scaling=True)
    with pytest.warns(UserWarning, match=r"^evaluate\(\): module is in train mode .* is not what"):
        fpt.evaluate(lambda: Single(OBS, space), module.train(), episodes=1, action_scaling=True)


@pytest.mark.parametrize(
    ("module", "given", "error", "sentence"),
    [
        (3, {}, TypeError, "module must be a torch.nn.Module, got 3"),
        (Calls(nn.Linear(4, 3)), {}, ValueError, r"module must return outputs of shape \(2, 2\) for 2 obs"),
        (nn.Linear(4, 3), {}, ValueError, "module has 3 outputs, but action_space"),
        (Calls(nn.Linear(3, 2)), {}, ValueError, r"module raised RuntimeError for obs of shape \(2, 4\)"),
        (Calls(lambda obs: None), {}, TypeError, "module must return logits"),
        (Calls(lambda obs: obs[:, :2] / 0), {}, FloatingPointError, "module returned outputs that are NaN"),
        (nn.Linear(4, 2).to("meta"), {}, ValueError, "must lie on the CPU"),
        (Calls(nn.Linear(4, 2)).to("meta"), {}, ValueError, "must lie on the CPU"),
        (Calls(nn.Linear(4, 2)), {"episodes": 0}, ValueError, "episodes must be"),
        (Calls(nn.Linear(4, 2)), {"deterministic": 1}, TypeError, "deterministic must be"),
        (Calls(nn.Linear(4, 2)), {"seed": -1}, ValueError, "seed must be"),
        (Calls(nn.Linear(4, 2)), {"max_steps": 0}, ValueError, "max_steps must be"),
        (Calls(nn.Linear(4, 2)), {"normalizer": 3}, TypeError, "normalizer must be a fastpg.Obs"),
        (Calls(nn.Linear(4, 2)), {"action_scaling": True}, ValueError, "action_scaling must be False unless"),
        (
            Calls(nn.Linear(4, 2)),
            {"normalizer": ObservationNormalizer(OBS)},
            ValueError,
            "env has observations of .* but normalizer those of",
        ),
        (
            Calls(lambda obs: (obs[:, :1], obs[:, :1] + 200)),
            {"env": "Pendulum-v1", "deterministic": False},
            FloatingPointError,
            "module's log_std is too large",
        ),
        (Calls(nn.Linear(16, 4)), {"env": "FrozenLake-v1"}, ValueError, "module raised .* and torch.int64"),
        (Calls(nn.Linear(4, 2)), {"env": 3}, TypeError, "env_id must be a string"),
    ],
)
def test_bad_arguments_are_sentences(module, given, error, sentence):
    with pytest.raises(error, match=rf"^evaluate\(\): .*{sentence}") as raised:
        fpt.evaluate(**({"env": "CartPole-v1", "module": module, "episodes": 2} | given))
    assert "\n" not in str(raised.value)


def test_fastpgs_own_functions_say_where_modules_go():
    words = r"policy must be a fastpg.Policy, got .*; fastpg.torch has from_module, collect and evaluate"
    for function in (fastpg.evaluate, lambda *given: fastpg.collect(*given, 3)):
        with pytest.raises(TypeError, match=words):
            function("CartPole-v1", nn.Linear(4, 2))


def test_actions_keep_counting_from_their_start():
    env = lambda: Scripted(start=4)  # noqa: E731
    policy = fastpg.Policy(Box(-100, 100, (3,)), Discrete(3, start=4), hidden=())
    for module in (fpt.to_module(policy), called(policy)):
        same(fpt.evaluate(env, module, episodes=1), fastpg.evaluate(env, policy, episodes=1))
