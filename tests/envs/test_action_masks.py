"""Environments that say which actions may be taken: compiled, in C, as arrays, Gymnasium's."""

import shutil
import subprocess

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import AsyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import fastpg
from fastpg.envs.autoreset import AutoresetMode
from fastpg.exact import FiniteMDP
from tests.support.finite_mdps import random_mdp
from tests.support.gymnasium_envs import MODES, vector_of
from tests.support.jit_envs import Corridor

EVERY = ["next_step", "same_step", "disabled"]


def allowed(masks, categories, rng):
    """Actions (N, n) drawn at random from those that masks (N, num_outputs) allow."""
    parts = np.split(masks, np.cumsum(categories)[:-1], axis=1)
    return np.stack([np.argmax(part * rng.uniform(0.5, 1, part.shape), axis=1) for part in parts], axis=1)


def taken(batch, categories):
    """Whether the actions of a batch were allowed, (T, N)."""
    actions = batch.actions.reshape(*batch.rewards.shape, -1) + np.cumsum((0, *categories[:-1]))
    return np.take_along_axis(batch.action_mask, actions, axis=-1).all(axis=-1)


# ---- compiled from Python ----------------------------------------------------------------------------------


def corridor_masks(obs, height=2.0):
    place = obs[..., 0]
    ones = np.ones(place.shape, bool)
    return np.stack([place > 0, ones, place < 4, ones, place >= height], axis=-1)


@pytest.mark.parametrize("num_envs", [1, 19, 300])
@pytest.mark.parametrize("autoreset", EVERY)
@pytest.mark.parametrize("env", [Corridor, Corridor.plain()], ids=["compiled", "plain"])
def test_a_caller_who_steps_is_told_what_is_allowed(env, autoreset, num_envs):
    """What the mask does not allow is an exception: nor are environments that only step along given it."""
    if num_envs == 300 and env is not Corridor:
        pytest.skip("slow")
    made, rng = fastpg.make(env, num_envs=num_envs, autoreset=autoreset), np.random.default_rng(0)
    obs, infos = made.reset(seed=0)
    for _ in range(60):
        assert infos["action_mask"].dtype == np.int8
        np.testing.assert_array_equal(infos["action_mask"], corridor_masks(obs))
        assert infos["_action_mask"].all()
        obs, _, terminated, truncated, infos = made.step(allowed(infos["action_mask"], (3, 2), rng))
        done = terminated | truncated
        if autoreset == "disabled" and done.any():
            obs, reset = made.reset(options={"reset_mask": done})
            np.testing.assert_array_equal(reset["_action_mask"], done)
            np.testing.assert_array_equal(reset["action_mask"], corridor_masks(obs) * done[:, None])
            infos["action_mask"][done] = reset["action_mask"][done]


@pytest.mark.parametrize("copy", [False, True])
def test_a_rollout_is_the_loop_with_the_masks_of_infos(isa, copy):
    policy = fastpg.Policy.for_env(Corridor, hidden=(5,))
    first, second = (fastpg.make(Corridor, num_envs=37, autoreset="same_step", copy=copy) for _ in range(2))
    first.reset(seed=3)
    batch = fastpg.collect(first, policy, 40)
    assert taken(batch, (3, 2)).all()
    np.testing.assert_array_equal(batch.action_mask, corridor_masks(batch.obs))
    obs, infos = second.reset(seed=3)
    for t in range(40):
        np.testing.assert_array_equal(batch.obs[t], obs)
        actions = policy.act(obs, seed=3, step=t, action_mask=infos["action_mask"])
        np.testing.assert_array_equal(batch.actions[t], actions)
        expected = policy.log_prob(obs, actions, action_mask=infos["action_mask"])
        np.testing.assert_allclose(batch.log_probs[t], expected, rtol=1e-5, atol=1e-6)
        obs, *_, infos = second.step(actions)
    again = fastpg.collect(first, policy, 40, out=batch)
    assert again.action_mask is batch.action_mask and taken(again, (3, 2)).all()


def test_plain_python_has_the_same_masks():
    policy = fastpg.Policy.for_env(Corridor, hidden=(5,))
    batches = [fastpg.collect(env, policy, 30, num_envs=19) for env in (Corridor, Corridor.plain())]
    for name in ("actions", "action_mask", "rewards"):
        np.testing.assert_array_equal(*(getattr(batch, name) for batch in batches))


def test_masks_read_parameters_and_can_be_left_aside():
    policy = fastpg.Policy.for_env(Corridor, hidden=(5,))
    high = fastpg.collect(Corridor, policy, 30, num_envs=19, height=9.0)
    np.testing.assert_array_equal(high.action_mask, corridor_masks(high.obs, 9.0))
    with pytest.raises(
        fastpg.EnvError, match=r"Corridor\.step\(\) raised ValueError: the ceiling|there is a wall"
    ):
        fastpg.collect(Corridor, policy, 30, num_envs=19, use_action_mask=False)
    stepped = fastpg.make(Corridor, num_envs=5, use_action_mask=False)
    assert "action_mask" not in stepped.reset(seed=0)[1]
    with_mask = fastpg.make(Corridor, num_envs=5)
    run = fastpg.train(with_mask, fastpg.PPO(), total_steps=600, hidden=(5,))
    assert np.isfinite(run.policy.theta).all()


def walk(mask, action_space=None):
    """An environment with this mask."""
    space = Discrete(2) if action_space is None else action_space

    class Walk:
        def reset(state, noise):
            state[0] = noise[0]

        def step(state, action, noise):
            state[0] = noise[0]
            return 1.0, False

        def observe(state, obs):
            obs[0] = state[0]

    Walk.mask = mask
    return fastpg.jit_env(
        observation_space=Box(-1, 1, (1,)),
        action_space=space,
        state_size=1,
        noise_size=1,
        max_episode_steps=9,
    )(Walk)


def none_at_all(state, mask):
    mask[:] = 0


def none_at_times(state, mask):
    mask[:] = state[0] < 0.99


def outside(state, mask):
    mask[2] = 0


def returning(state, mask):
    return mask


def of_the_state(state):
    pass


@pytest.mark.parametrize(
    ("mask", "kind", "sentence"),
    [
        (
            none_at_all,
            fastpg.EnvError,
            r"Walk\.mask\(\) allowed no category: every state in which an episode",
        ),
        (outside, fastpg.EnvError, r"Walk\.mask\(\) raised IndexError.*line \d+"),
        (returning, fastpg.EnvError, r"Walk\.mask\(\) must write into its argument and return nothing"),
        (of_the_state, TypeError, r"Walk\.mask\(\) must take \(state, mask\), got \(state\)"),
        (7, TypeError, r"Walk must have a function mask\(state, mask\)"),
    ],
)
def test_a_mask_that_is_none_is_found_when_the_class_is_decorated(mask, kind, sentence):
    with pytest.raises(kind, match=rf"^jit_env\(\): {sentence}"):
        walk(mask)


@pytest.mark.parametrize("space", [MultiBinary(2), Box(-1, 1, (2,))], ids=str)
def test_masks_go_with_categories_alone(space):
    with pytest.raises(ValueError, match=r"^jit_env\(\): action masks go with Discrete and MultiDiscrete"):
        walk(none_at_times, space)


def test_a_state_in_which_nothing_is_allowed_stops_the_run_and_names_the_environment():
    env, policy = walk(none_at_times).plain(), fastpg.Policy(Box(-1, 1, (1,)), Discrete(2), hidden=())
    sentence = (
        r"the action mask of Walk allows nothing in environment \d+: every component of an action needs"
    )
    for call in (
        lambda: fastpg.train(env, fastpg.PPO(), total_steps=100_000),
        lambda: fastpg.collect(env, policy, 300, num_envs=16),
        lambda: fastpg.evaluate(env, policy, episodes=200),
        lambda: fastpg.estimate_gradient(env, policy, horizon=300, num_envs=16),
    ):
        with pytest.raises(fastpg.EnvError, match=rf"^\w+\(\): .*{sentence}"):
            call()
    with pytest.raises(
        ValueError, match=r"^train\(\): Walk: infos\['action_mask'\]\[\d+\] allows no category"
    ):
        fastpg.train(fastpg.make(env, num_envs=16), fastpg.PPO(), total_steps=100_000)


def test_rollouts_of_modules_have_masks_for_their_losses():
    torch = pytest.importorskip("torch")
    from fastpg.torch import collect, pg_loss

    module = torch.nn.Linear(2, 5)
    batch = collect(Corridor, module, 20, num_envs=17)
    space = {"action_space": Corridor.action_space}
    loss = pg_loss(module, batch.obs, batch.actions, batch.rewards, action_mask=batch.action_mask, **space)
    loss.backward()
    assert batch.action_mask.dtype == torch.bool and torch.isfinite(module.weight.grad).all()
    expected = -(batch.rewards * batch.log_probs).mean()
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-5)


# ---- compiled from C ---------------------------------------------------------------------------------------

SOURCE = """
#include "fastpg.h"

static int32_t reset(const fpg_environment *env, int32_t width, int32_t count, const int32_t *which,
                     const double *noise, double *state)
{
    (void)env;
    for (int32_t n = 0; n < count; n++)
        state[which[n]] = noise[which[n]] < 0.5 ? 0 : 1;
    (void)width;
    return 0;
}

static int32_t step(const fpg_environment *env, int32_t width, const void *action, const double *noise,
                    double *state, double *reward, double *end)
{
    const int32_t *choice = action;
    (void)env;
    for (int32_t i = 0; i < width; i++) {
        if (choice[i] == 2 - (int32_t)state[i])
            REFUSED;
        reward[i] = choice[i], end[i] = noise[i] < 0.1 ? FPG_END_TERMINATED : 0;
        state[i] = noise[i] < 0.6 ? 0 : 1;
    }
    return 0;
}

static int32_t observe(const fpg_environment *env, int32_t width, const double *state, float *obs)
{
    (void)env;
    for (int32_t i = 0; i < width; i++)
        obs[i] = (float)state[i];
    return 0;
}

static int32_t mask(const fpg_environment *env, int32_t width, const double *state, uint8_t *action_mask)
{
    (void)env, (void)state;
    for (int32_t i = 0; i < width; i++)
        for (int32_t k = 0; k < 3; k++)
            action_mask[k * width + i] = k != (CATEGORY) && action_mask[k * width + i];
    return MASKED;
}

static const fpg_environment environment = {
    .abi = ABI, .name = "Gate", .state_size = 1, .obs_size = 1, .action_size = 1, .reset_noise_size = 1,
    .step_noise_size = 1, .max_episode_steps = 20, .action_categories = {3}, .reset = reset, .step = step,
    .observe = observe, .mask = mask,
};
FPG_EXPORT_ENVIRONMENT(fastpg_environment, environment);
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Compile the source, with words of it replaced, to a library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler called cc")

    def made(abi="FPG_ENV_ABI", **words):
        folder, text = tmp_path_factory.mktemp("gate"), SOURCE
        for word, instead in (
            {"ABI": abi, "REFUSED": "return 3", "MASKED": "0", "CATEGORY": "2 - (int32_t)state[i]"} | words
        ).items():
            assert word in text
            text = text.replace(word, instead)
        (folder / "gate.c").write_text(text)
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", f"-I{fastpg.get_include()}"]
        library = folder / "gate.so"
        subprocess.run([compiler, *flags, str(folder / "gate.c"), "-o", str(library)], check=True)
        return library

    return made


def test_an_environment_in_c_has_a_mask(build):
    env = fastpg.load_env(build())
    policy = fastpg.Policy.for_env(env, hidden=(4,))
    batch = fastpg.collect(env, policy, 30, num_envs=70)
    expected = np.arange(3) != 2 - batch.obs.astype(int)
    np.testing.assert_array_equal(batch.action_mask, expected)
    assert taken(batch, (3,)).all()
    run = fastpg.train(env, fastpg.PPO(), total_steps=8192, hidden=(4,))
    returns, lengths = fastpg.evaluate(env, run.policy, episodes=200)
    assert returns.sum() > 0.9 * lengths.sum()
    for autoreset in EVERY[:2]:
        made = fastpg.make(env, num_envs=300, autoreset=autoreset)
        obs, infos = made.reset(seed=0)
        for t in range(30):
            obs, *_, infos = made.step(policy.act(obs, seed=0, step=t, action_mask=infos["action_mask"]))


def test_an_environment_that_was_compiled_before_there_were_masks_is_loaded(build):
    """Whatever lies where the function is by now."""
    env = fastpg.load_env(build("FPG_OLD_ENV_ABI", REFUSED="(void)0"))
    assert fastpg.collect(env, fastpg.Policy.for_env(env), 5, num_envs=3).action_mask is None
    with pytest.raises(ValueError, match=r"^make\(\): use_action_mask is True, but Gate has no action mask$"):
        fastpg.make(env, use_action_mask=True)


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        ({"abi": "FPG_ENV_ABI + 1"}, ValueError, "was compiled for version 5 of fpg_environment"),
        ({"abi": "FPG_OLD_ENV_ABI - 1"}, ValueError, "was compiled for version 2 of fpg_environment"),
        ({"CATEGORY": "k % 3"}, fastpg.EnvError, r"mask\(\) of Gate allows no category of component 0"),
        ({".action_categories = {3}": ".action_high = {1}"}, ValueError, "has a mask, which goes with act"),
        ({"MASKED": "9"}, fastpg.EnvError, r"mask\(\) of Gate .* failed: it returned 9"),
    ],
    ids=["newer", "older", "nothing allowed", "real actions", "failing"],
)
def test_what_is_wrong_with_a_mask_in_c_is_found_when_it_is_loaded(build, words, kind, sentence):
    with pytest.raises(kind, match=rf"^load_env\(\): .*{sentence}"):
        fastpg.load_env(build(**words))


# ---- as arrays, and Taxi -----------------------------------------------------------------------------------


def test_a_finite_mdp_has_a_mask():
    mdp = random_mdp(forbidden=0.5)
    policy = fastpg.Policy.for_env(mdp, hidden=())
    batch = fastpg.collect(mdp, policy, 30, num_envs=70)
    np.testing.assert_array_equal(batch.action_mask, mdp.action_mask[batch.obs])
    assert taken(batch, (3,)).all()
    without = fastpg.collect(mdp, policy, 30, num_envs=70, use_action_mask=False)
    assert without.action_mask is None


@pytest.mark.parametrize(
    ("mask", "kind", "sentence"),
    [
        (np.ones((2, 2)), ValueError, r"action_mask must have shape \(3, 2\), got \(2, 2\)"),
        ([[1, 1], [0, 0], [0, 0]], ValueError, r"action_mask\[1\] allows no action"),
        ([[1, 1], [1, 2], [0, 0]], ValueError, "action_mask must hold zeros and ones"),
        ("all", TypeError, "action_mask must be a bool or numeric array"),
    ],
)
def test_a_mask_of_a_finite_mdp_is_checked(mask, kind, sentence):
    transition = np.full((3, 2, 3), 1 / 3)
    arguments = transition, np.zeros((3, 2)), np.array([False, False, True]), np.array([1.0, 0.0, 0.0])
    with pytest.raises(kind, match=rf"^FiniteMDP\(\): {sentence}"):
        FiniteMDP(*arguments, action_mask=mask)


def test_taxi_uses_its_masks_on_request():
    taxi = next(env_id for env_id in fastpg.list_envs() if env_id.startswith("Taxi-v"))  # 3 in older ones
    env = fastpg.make(taxi, num_envs=20, use_action_mask=True)
    policy = fastpg.Policy.for_env(taxi, hidden=())
    _, infos = env.reset(seed=1)
    batch = fastpg.collect(env, policy, 60)
    np.testing.assert_array_equal(batch.action_mask[0], infos["action_mask"])
    assert taken(batch, (6,)).all() and not batch.action_mask.all()
    assert fastpg.collect(taxi, policy, 60).action_mask is None
    own = gymnasium.make(taxi).unwrapped
    masks = np.array([own.action_mask(state) for state in range(500)])
    np.testing.assert_array_equal(batch.action_mask, masks[batch.obs])
    assert gymnasium.make_vec(env.spec).native.core.has_action_mask


# ---- Gymnasium's -------------------------------------------------------------------------------------------


class Turns(gymnasium.Env):
    """Episodes of 3 steps; action t + `name` (modulo 4) is an exception at step t, which infos say before."""

    def __init__(self, name=0, space=None, key="action_mask", change=lambda mask: mask):
        self.observation_space = Box(-9, 9, (2,), np.float32)
        self.action_space = Discrete(4) if space is None else space
        self.name, self.key, self.change = name, key, change

    def told(self):
        mask = np.arange(4) != (self.age + self.name) % 4
        if isinstance(self.action_space, MultiDiscrete):
            mask = mask.astype(np.int8), np.array([1, 0], np.int8)
        return np.array([self.name, self.age], np.float32), {self.key: self.change(mask)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return self.told()

    def step(self, action):
        first = action[0] if isinstance(self.action_space, MultiDiscrete) else action
        assert first != (self.age + self.name) % 4, "the mask was not heard"
        self.age += 1
        obs, info = self.told()
        return obs, 1.0, False, self.age == 3, info


def turns(num_envs, mode, **settings):
    return vector_of([lambda i=i: Turns(i, **settings) for i in range(num_envs)], mode)


@pytest.mark.parametrize("space", [Discrete(4), MultiDiscrete([4, 2])], ids=str)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_infos_of_gymnasium_environments_are_heard_in_every_mode(mode, space):
    check_heard(turns(5, mode, space=space), fastpg.Policy(Box(-9, 9, (2,)), space, hidden=(4,)))


def check_heard(env, policy):
    """Whatever plays 5 environments of that kind heeds their masks."""
    for horizon in (7, 1, 5):  # which go on, one after the other
        batch = fastpg.collect(env, policy, horizon, use_action_mask=True)
        expected = np.arange(4) != (batch.obs.sum(axis=-1).astype(int) % 4)[..., None]
        counts = np.ones(expected.shape[:2], bool) if batch.mask is None else batch.mask
        np.testing.assert_array_equal(batch.action_mask[counts][:, :4], expected[counts])
    agent = fastpg.Agent(fastpg.PPO(), policy)
    assert np.isfinite(agent.update(batch)["entropy"])
    returns, _ = fastpg.evaluate(env, policy, episodes=11, use_action_mask=True)
    assert (returns == 3).all()
    settings = {"env_params": {"use_action_mask": True}, "policy": policy, "total_steps": 150}
    assert np.isfinite(fastpg.train(env, fastpg.Reinforce(), episodes=7, **settings).policy.theta).all()
    fastpg.estimate_gradient(env, policy, horizon=9, use_action_mask=True)


class Asked(Turns):
    """The same, but its infos are empty: a method says the masks."""

    def action_masks(self):
        return super().told()[1][self.key]

    def told(self):
        return super().told()[0], {}


class AskedTogether(VectorEnv):
    """The same as a vector environment of one's own."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, num_envs):
        self.envs, self.num_envs = [Asked(i) for i in range(num_envs)], num_envs
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space

    def action_masks(self):
        return [one.action_masks() for one in self.envs]

    def reset(self, *, seed=None, options=None):
        self.ended = np.zeros(self.num_envs, bool)
        return np.stack([one.reset()[0] for one in self.envs]), {}

    def step(self, actions):
        results = [
            (one.reset()[0], 0.0, False, False, {}) if ended else one.step(action)
            for one, ended, action in zip(self.envs, self.ended, actions, strict=True)
        ]
        obs, reward, terminated, truncated, _ = map(np.array, zip(*results, strict=True))
        self.ended = terminated | truncated
        return obs, reward, terminated, truncated, {}


def asked(num_envs, mode=MODES[0], **settings):
    return vector_of([lambda i=i: TimeLimit(Asked(i, **settings), 9) for i in range(num_envs)], mode)


ASKED = {
    **{f"one after the other, {mode}": lambda mode=mode: asked(5, mode) for mode in MODES},
    "in processes": lambda: AsyncVectorEnv([lambda i=i: Asked(i) for i in range(5)]),
    "wrapped": lambda: RecordEpisodeStatistics(asked(5)),
    "of one's own": lambda: AskedTogether(5),
    "of one's own, wrapped": lambda: RecordEpisodeStatistics(AskedTogether(5)),
}


@pytest.mark.parametrize("make", ASKED.values(), ids=ASKED)
def test_environments_with_a_method_are_asked(make):
    policy, env = fastpg.Policy(Box(-9, 9, (2,)), Discrete(4), hidden=(4,)), make()
    check_heard(env, policy)
    env.close()


def test_a_method_knows_masks_of_several_components():
    space = MultiDiscrete([4, 2])
    check_heard(asked(5, space=space), fastpg.Policy(Box(-9, 9, (2,)), space, hidden=(4,)))


def test_nobody_is_asked_who_is_not_to_be():
    policy = fastpg.Policy(Box(-9, 9, (2,)), Discrete(4), hidden=(4,))
    with pytest.raises(AssertionError, match="the mask was not heard"):
        fastpg.collect(asked(5), policy, 50)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda mask: mask[:3], r"action_masks\(\) must be 4 zeros and ones for each environment"),
        (lambda mask: 0 * mask, r"action_masks\(\)\[0\] allows no category"),
        (lambda mask: None, r"infos have no 'action_mask' of environment 0"),
    ],
)
def test_what_a_method_returns_is_checked(change, sentence):
    policy = fastpg.Policy(Box(-9, 9, (2,)), Discrete(4), hidden=(4,))
    with pytest.raises(ValueError, match=rf"^collect\(\): Asked: {sentence}"):
        fastpg.collect(asked(3, change=change), policy, 9, use_action_mask=True)


def test_infos_in_a_list_are_heard():
    env = gymnasium.wrappers.vector.DictInfoToList(turns(3, MODES[0]))
    policy = fastpg.Policy(Box(-9, 9, (2,)), Discrete(4), hidden=(4,))
    assert fastpg.collect(env, policy, 9, use_action_mask=True).action_mask.any()


def test_a_call_that_goes_on_keeps_to_its_masks():
    env, policy = turns(3, MODES[0]), fastpg.Policy(Box(-9, 9, (2,)), Discrete(4), hidden=(4,))
    fastpg.collect(env, policy, 9, use_action_mask=True)
    with pytest.raises(ValueError, match=r"^collect\(\): Turns: use_action_mask must be what it was"):
        fastpg.collect(env, policy, 9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"key": "mask"},
            r"infos have no 'action_mask' of environment 0, which use_action_mask=True asks for",
        ),
        ({"change": lambda mask: mask[:3]}, r"infos\['action_mask'\] must be 4 zeros and ones for each env"),
        ({"change": lambda mask: 3 * mask}, r"infos\['action_mask'\] must be 4 zeros and ones for each env"),
        ({"change": lambda mask: 0 * mask}, r"infos\['action_mask'\]\[0\] allows no category"),
        ({"change": lambda mask: None}, r"infos have no 'action_mask' of environment 0"),
        ({"change": lambda mask: "all"}, r"infos\['action_mask'\] must be 4 zeros and ones for each env"),
    ],
)
def test_infos_that_are_no_masks_are_refused(settings, sentence):
    policy = fastpg.Policy(Box(-9, 9, (2,)), Discrete(4), hidden=(4,))
    with pytest.raises(ValueError, match=rf"^collect\(\): Turns: {sentence}"):
        fastpg.collect(turns(3, MODES[0], **settings), policy, 9, use_action_mask=True)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "gym:CartPole-v1", "gym:Pendulum-v1"])
def test_environments_without_masks_are_refused(env_id):
    with pytest.raises(ValueError, match=r"^train\(\): .*action mask|^train\(\): .*'action_mask'"):
        fastpg.train(env_id, fastpg.PPO(), total_steps=100, env_params={"use_action_mask": True})
    with pytest.raises(TypeError, match=r"^train\(\): use_action_mask must be True or False, got 'yes'"):
        fastpg.train(env_id, fastpg.PPO(), total_steps=100, env_params={"use_action_mask": "yes"})
