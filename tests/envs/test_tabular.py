"""The kernel "tabular" and its tables against Gymnasium's own toy text."""

import inspect
from collections import Counter
from functools import cache
from itertools import product
from statistics import NormalDist
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import load_env_creator
from gymnasium.envs.toy_text.frozen_lake import generate_random_map

from fastpg import _core
from fastpg.envs import env_spec, list_envs, native_env

pytestmark = pytest.mark.slow

SMALLEST, LARGEST = 2.0**-33, 1 - 2.0**-33  # the noise that the core draws: (word + 1/2) / 2^32
MAP = ["SFFFFFFFFFHF", "FHFSFFHFFFFF", "FFFFHFFFSFFF", "HFFFFFFFFFFG"]  # 4 x 12, three starts

WITH_P = [
    ("FrozenLake-v1", {}),
    ("FrozenLake-v1", {"is_slippery": False}),
    ("FrozenLake-v1", {"success_rate": 0.7, "reward_schedule": (2.5, -1, -0.1)}),
    ("FrozenLake-v1", {"success_rate": 0.0}),
    ("FrozenLake-v1", {"success_rate": 1.0}),
    ("FrozenLake-v1", {"desc": MAP}),
    ("FrozenLake-v1", {"desc": generate_random_map(size=20, seed=1), "map_name": "8x8"}),
    ("FrozenLake-v1", {"map_name": "8x8"}),
    ("FrozenLake8x8-v1", {}),
    ("CliffWalking-v1", {}),
    ("CliffWalking-v1", {"is_slippery": True}),
    ("CliffWalkingSlippery-v1", {}),
    ("Taxi-v4", {}),
    ("Taxi-v4", {"is_rainy": True}),
    ("Taxi-v4", {"is_rainy": True, "rainy_probability": 0.37}),
]
FICKLE = [
    ("Taxi-v4", {"fickle_passenger": True}),
    ("Taxi-v4", {"fickle_passenger": True, "fickle_probability": 1.0}),
    ("Taxi-v4", {"fickle_passenger": True, "is_rainy": True, "fickle_probability": 0.4}),
]
BLACKJACK = [
    ("Blackjack-v1", {"natural": natural, "sab": sab}) for natural in (False, True) for sab in (False, True)
]


def constructor(env_id):
    """What Gymnasium's constructor takes, and the defaults under this id."""
    spec = env_spec("test", env_id).gymnasium_spec
    parameters = inspect.signature(load_env_creator(spec.entry_point)).parameters
    return {name: each.default for name, each in parameters.items()} | spec.kwargs


def exists(env_id, params):
    """Whether the installed Gymnasium has it: older ones know fewer ids and parameters."""
    return env_id in list_envs() and set(params) <= set(constructor(env_id))


def variants(*lists):
    """Parametrise over those that exist."""
    chosen = [(env_id, params) for one in lists for env_id, params in one if exists(env_id, params)]
    return pytest.mark.parametrize(("env_id", "params"), chosen, ids=lambda value: str(value)[:60])


class Fixed:
    """Gymnasium's random numbers, as given."""

    def __init__(self, uniform, choice=0):
        self.uniform, self.which = uniform, choice

    def random(self):
        return self.uniform

    def choice(self, options):
        return options[self.which]


def step(core, state, action, noise):
    """Step any number of copies; the last tile is padded with state 0 and whatever noise."""
    count = len(state)
    width = -(-count // 16) * 16
    fields, actions, uniforms = np.zeros((2, width)), np.zeros(width, np.int32), np.full((1, width), LARGEST)
    fields[0, :count], actions[:count], uniforms[0, :count] = state, action, noise
    reward, ends = core.step(actions, uniforms, fields)
    obs = core.observe(fields)
    return SimpleNamespace(
        state=fields[0, :count].astype(int),
        probability=fields[1, :count],
        reward=reward[:count],
        terminated=ends[:count] == 1.0,
        obs=obs[:, :count],
    )


def reset(core, noise):
    state = np.full((2, len(noise)), -7.0)
    core.reset(np.arange(len(noise), dtype=np.int32), noise[None], state)
    assert (state[1] == 1).all()
    return state[0].astype(int)


def weights(table):
    return np.diff(table.cumulative, axis=-1, prepend=0.0)


def pairs(table):
    """Every state and action, flat."""
    num_states, num_actions, _ = table.cumulative.shape
    return np.divmod(np.arange(num_states * num_actions), num_actions)


def chi_square_limit(freedom, confidence=1 - 1e-6):
    """The quantile of the chi-square distribution, by Wilson and Hilferty (1931)."""
    z, spread = NormalDist().inv_cdf(confidence), 2 / (9 * freedom)
    return freedom * (1 - spread + z * spread**0.5) ** 3


def assert_drawn_from(counts, expected):
    """Counts (Counter) of independent draws against expected counts; confidence 1 - 1e-6."""
    assert set(counts) <= {key for key, count in expected.items() if count > 0}
    large = {key: count for key, count in expected.items() if count >= 5}
    rest = sum(expected.values()) - sum(large.values())
    statistic = sum((counts[key] - count) ** 2 / count for key, count in large.items())
    if rest >= 5:
        statistic += (sum(counts.values()) - sum(counts[key] for key in large) - rest) ** 2 / rest
    assert statistic < chi_square_limit(len(large))


# ---- transitions -------------------------------------------------------------------------------------------


@variants(WITH_P)
def test_every_row_of_the_table_is_gymnasiums_p(env_id, params):
    native = native_env("test", env_id, params)
    table, theirs = native.core.table, native.original
    for state, action in zip(*pairs(table), strict=True):
        outcomes = theirs.P[state][action]
        row = [
            getattr(table, name)[state, action] for name in ("probability", "next", "reward", "terminated")
        ]
        assert list(zip(*row, strict=True))[: len(outcomes)] == outcomes
        cumulative = np.cumsum([outcome[0] for outcome in outcomes])
        np.testing.assert_array_equal(table.cumulative[state, action, : len(outcomes)], cumulative)
        assert (table.cumulative[state, action, len(outcomes) :] == cumulative[-1]).all()


@variants(WITH_P)
def test_the_same_number_selects_the_outcome_that_gymnasium_selects(every_isa, env_id, params):
    native = native_env("test", env_id, params)
    core, theirs = native.core, native.original
    masks = native.spec.infos(theirs)["action_mask"] if native.spec.infos else None
    states, actions = pairs(core.table)
    below = core.table.cumulative[states, actions]
    middles = below - weights(core.table)[states, actions] / 2
    # Numbers at the cumulative probabilities themselves belong to the next outcome.
    for noise in np.clip([*middles.T, *below.T, 0 * states], SMALLEST, LARGEST):
        rows, their_masks = [], []
        for state, action, number in zip(states, actions, noise, strict=True):
            theirs.s, theirs.np_random = state, Fixed(number)
            obs, reward, terminated, _, info = theirs.step(action)
            rows.append((obs, reward, terminated, info["prob"]))
            their_masks.append(info.get("action_mask"))
        for _ in every_isa():
            got = step(core, states, actions, noise)
            ours = np.stack([got.obs[0], got.reward, got.terminated, got.probability], axis=1)
            np.testing.assert_array_equal(ours, rows)
            if masks is not None:
                np.testing.assert_array_equal(masks[got.state], their_masks)


@variants(FICKLE)
def test_a_fickle_passenger_changes_as_taxis_own_step_says(every_isa, env_id, params):
    native = native_env("test", env_id, params)
    core, theirs = native.core, native.original
    masks = native.spec.infos(theirs)["action_mask"]
    states, actions = pairs(core.table)
    expected = Counter()
    for state, action in zip(states.tolist(), actions.tolist(), strict=True):
        fickle, place = divmod(state, 500)
        probabilities = [outcome[0] for outcome in theirs.P[place][action]]
        for outcome, choice in product(range(len(probabilities)), range(3)):
            theirs.np_random = Fixed(sum(probabilities[:outcome]) + probabilities[outcome] / 2, choice)
            theirs.s, theirs.fickle_step = place, bool(fickle)
            obs, reward, terminated, _, info = theirs.step(action)
            following = obs + 500 * theirs.fickle_step
            expected[state, action, following, reward, terminated, info["prob"]] += probabilities[outcome] / 3
            np.testing.assert_array_equal(masks[following], info["action_mask"])
    shares = weights(core.table)
    for _ in every_isa():
        drawn = Counter()
        for k in range(shares.shape[2]):
            share = shares[states, actions, k]
            got = step(core, states, actions, core.table.cumulative[states, actions, k] - share / 2)
            columns = (states, actions, got.state, got.reward, got.terminated, got.probability)
            keys = zip(*(column[share > 0].tolist() for column in columns), strict=True)
            for key, chance in zip(keys, share[share > 0].tolist(), strict=True):
                drawn[key] += chance
        assert set(drawn) == set(expected)
        assert max(abs(drawn[key] - chance) for key, chance in expected.items()) < 1e-12
    np.testing.assert_array_equal(core.table.obs, np.arange(1000)[None] % 500)


@variants(WITH_P, FICKLE, BLACKJACK)
def test_transitions_are_as_frequent_as_their_probabilities(isa, env_id, params, rng):
    core = native_env("test", env_id, params).core
    states, actions = pairs(core.table)
    num_states, num_actions, _ = core.table.cumulative.shape
    repeats = max(60, 20_000 // len(states))
    expected, counts = Counter(), Counter()
    shares = weights(core.table)
    for state, action, k in np.argwhere(shares > 0).tolist():
        key = (state * num_actions + action) * num_states + int(core.table.next[state, action, k])
        expected[key] += shares[state, action, k] * repeats
    for _ in range(repeats):
        got = step(core, states, actions, rng.random(len(states)))
        counts.update(((states * num_actions + actions) * num_states + got.state).tolist())
    assert_drawn_from(counts, expected)


@variants(WITH_P, FICKLE, BLACKJACK)
def test_the_largest_number_selects_the_last_outcome_that_has_a_probability(isa, env_id, params):
    core = native_env("test", env_id, params).core
    states, actions = pairs(core.table)
    got = step(core, states, actions, np.full(len(states), LARGEST))
    shares = weights(core.table)[states, actions]
    last = shares.shape[1] - 1 - np.argmax(shares[:, ::-1] > 1e-12, axis=1)
    rows = states, actions, last
    np.testing.assert_array_equal(got.state, core.table.next[rows])
    np.testing.assert_array_equal(got.reward, core.table.reward[rows])
    np.testing.assert_array_equal(got.terminated, core.table.terminated[rows])
    np.testing.assert_array_equal(got.probability, core.table.probability[rows])


def hand_made(**changed):
    """Three states and one action; five outcomes, of which the first, third and last have no probability."""
    cumulative = np.tile([0.0, 0.25, 0.25, 1 - 1e-9, 1 - 1e-9], (3, 1, 1))
    arrays = {
        "cumulative": cumulative,
        "next": np.tile([0.0, 1.0, 0.0, 2.0, 0.0], (3, 1, 1)),
        "reward": np.tile([np.pi, -0.1, np.pi, 1e300, np.pi], (3, 1, 1)),
        "terminated": np.tile([0.0, 1.0, 0.0, 0.0, 1.0], (3, 1, 1)),
        "probability": np.tile([0.0, 0.25, 0.0, 0.75, 0.0], (3, 1, 1)),
        "start_cumulative": np.array([0.5, 1 - 1e-9]),
        "start": np.array([2.0, 1.0]),
        "obs": np.array([[4.0, 2.0, 0.0]]),
        "obs_categories": (5,),
    }
    return _core.Table(**{**arrays, **changed})


def test_an_outcome_without_probability_is_never_selected_whatever_rounding_leaves(isa):
    core = _core.Environment("tabular", (), 0, hand_made())
    noise = np.array([SMALLEST, np.nextafter(0.25, 0), 0.25, 0.5, 1 - 1e-9, LARGEST])
    got = step(core, np.zeros(6, int), 0, noise)
    assert got.state.tolist() == [1, 1, 2, 2, 2, 2]
    assert got.reward.tolist() == [-0.1, -0.1, 1e300, 1e300, 1e300, 1e300]
    assert got.terminated.tolist() == [True, True, False, False, False, False]
    assert got.obs[0].tolist() == [2, 2, 0, 0, 0, 0]
    assert reset(core, np.repeat([SMALLEST, 0.5, LARGEST, 0.25], 4)).tolist() == [2] * 4 + [1] * 8 + [2] * 4


@variants(WITH_P)
def test_deterministic_tables_take_no_noise(env_id, params):
    native = native_env("test", env_id, params)
    most = max(len(outcomes) for row in native.original.P.values() for outcomes in row.values())
    assert native.core.step_noise_size == (most > 1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"next": np.full((3, 1, 5), 3.0)}, "next must hold states in 0 .. 2"),
        ({"next": np.full((3, 1, 5), np.nan)}, "next must hold states"),
        ({"reward": np.zeros((3, 1, 4))}, "reward must be"),
        ({"cumulative": np.tile([0.5, 0.4, 1, 1, 1], (3, 1, 1))}, "cumulative must rise from 0 to 1"),
        ({"cumulative": np.full((3, 1, 5), 0.9)}, "cumulative must rise from 0 to 1"),
        ({"start": np.array([0.0])}, "start and start_cumulative must be of one length"),
        ({"start": np.array([-1.0, 0.0])}, "start must hold states"),
        ({"obs": np.array([[5.0, 0.0, 0.0]])}, "obs[0] must lie in 0 .. 4"),
        ({"obs": np.zeros((2, 3))}, "obs must be (1, 3)"),
        ({"obs_categories": (2**24 + 1,)}, "obs[0]"),
    ],
)
def test_a_table_that_would_be_read_past_its_end_is_refused(changed, words):
    with pytest.raises(ValueError) as caught:
        _core.Environment("tabular", (), 0, hand_made(**changed))
    assert words in str(caught.value)


@pytest.mark.parametrize("state", [3.0, -1.0, np.nan, 1e300])
def test_a_state_that_is_not_in_the_table_is_refused(state):
    core = _core.Environment("tabular", (), 0, hand_made())
    fields = np.full((2, 16), state)
    with pytest.raises(ValueError, match="must hold states"):
        core.step(np.zeros(16, np.int32), np.full((1, 16), 0.5), fields)
    with pytest.raises(ValueError, match="must hold states"):
        core.observe(fields)


# ---- resets ------------------------------------------------------------------------------------------------


@variants(WITH_P, FICKLE)
def test_episodes_start_where_gymnasium_starts_them(isa, env_id, params, rng):
    native = native_env("test", env_id, params)
    chances = native.original.initial_state_distrib
    if params.get("fickle_passenger"):
        fickle = native.original.fickle_probability
        chances = np.concatenate([chances * (1 - fickle), chances * fickle])
    size = 100_000
    counts = Counter(reset(native.core, rng.random(size)).tolist())
    assert_drawn_from(counts, dict(enumerate(chances * size)))


@variants(WITH_P)
def test_the_same_number_selects_the_start_that_gymnasium_selects(isa, env_id, params, rng):
    native = native_env("test", env_id, params)
    noise = np.concatenate([rng.random(158), [SMALLEST, LARGEST]])
    got = reset(native.core, noise)
    for uniform, state in zip(noise, got, strict=True):
        native.original._np_random = Fixed(uniform)
        assert native.original.reset()[0] == state


@variants([("Blackjack-v1", {}), ("FrozenLake8x8-v1", {})])
def test_a_reset_leaves_other_copies_alone(isa, env_id, params):
    core = native_env("test", env_id, params).core
    state = np.full((2, 32), 0.125)
    which = np.arange(1, 32, 3, dtype=np.int32)
    core.reset(which, np.full((1, 32), LARGEST), state)
    assert (np.delete(state, which, axis=1) == 0.125).all()
    assert (state[:, which] == [[core.table.start[-1]], [1]]).all()


# ---- Blackjack ---------------------------------------------------------------------------------------------

CARDS = {**dict.fromkeys(range(1, 10), 1 / 13), 10: 4 / 13}


def drawn(total, usable, card):
    """A hand's value (an ace is 11 while that does not bust) after one more card."""
    if card == 1 and not usable and total + 11 <= 21:
        return total + 11, 1
    total += card
    return (total - 10, 0) if usable and total > 21 else (total, usable)


def opening(first, second):
    return drawn(*drawn(0, 0, first), second)


@cache
def dealers_totals(total, usable):
    """How a dealer who holds two cards or more ends: {total, 0 for bust: probability}."""
    if total >= 17:
        return Counter({total if total <= 21 else 0: 1.0})
    ends = Counter()
    for card, chance in CARDS.items():
        for end, share in dealers_totals(*drawn(total, usable, card)).items():
            ends[end] += chance * share
    return ends


def sticking(total, shown, is_natural, natural, sab):
    """The distribution of the reward, from the rules in Gymnasium's documentation."""
    rewards = Counter()
    for hidden, chance in CARDS.items():
        dealer_natural = {shown, hidden} == {1, 10}
        for end, share in dealers_totals(*opening(shown, hidden)).items():
            reward = float(total > end) - float(total < end)
            if is_natural and sab and not dealer_natural:
                reward = 1.0
            if is_natural and natural and not sab and reward == 1:
                reward = 1.5
            rewards[reward] += chance * share
    return rewards


@variants(BLACKJACK)
def test_blackjacks_table_equals_a_recursion_over_the_cards(env_id, params):
    table = native_env("test", env_id, params).core.table
    shares, starts = weights(table), set(table.start.astype(int).tolist())
    hands = [tuple(column) for column in table.obs.T.astype(int).tolist()]
    naturals = [state for state in starts if hands[state][0] == 21]
    assert len(naturals) == 10
    for state, (total, shown, usable) in enumerate(hands):
        rows = [Counter(), Counter()]
        for action, k in np.argwhere(shares[state] > 0).tolist():
            at = state, action, k
            following = int(table.next[at])
            assert action == 0 or following not in naturals
            rows[action][hands[following], table.reward[at], table.terminated[at]] += shares[at]
        if total > 21:
            assert rows == [Counter({((total, shown, 0), 0.0, 1.0): 1.0})] * 2
            continue
        expected = Counter()
        for reward, chance in sticking(total, shown, state in naturals, **params).items():
            expected[(total, shown, usable), reward, 1.0] = chance
        assert rows[0] == pytest.approx(expected, rel=1e-9)
        expected = Counter()
        for card, chance in CARDS.items():
            total_after, usable_after = drawn(total, usable, card)
            bust = total_after > 21
            expected[(total_after, shown, usable_after), -float(bust), float(bust)] += chance
        assert rows[1] == pytest.approx(expected, rel=1e-9)


@variants(BLACKJACK[:1])
def test_blackjack_deals_two_cards_to_the_player_and_shows_one_of_the_dealers(env_id, params):
    table = native_env("test", env_id, params).core.table
    expected, got = Counter(), Counter()
    for (first, p), (second, q), (shown, r) in product(CARDS.items(), repeat=3):
        total, usable = opening(first, second)
        expected[total, shown, usable] += p * q * r
    for state, chance in zip(
        table.start.astype(int), np.diff(table.start_cumulative, prepend=0), strict=True
    ):
        got[tuple(table.obs[:, state].astype(int).tolist())] += chance
    assert got == pytest.approx(expected, rel=1e-9)


@variants(BLACKJACK)
def test_whole_hands_of_blackjack_end_as_gymnasiums_do(env_id, params, rng):
    # A player who hits below 15 and otherwise at random: the first total and the reward of 10,000 hands.
    native = native_env("test", env_id, params)
    theirs, counts = native.original, Counter()
    theirs.reset(seed=5)
    choices = rng.random(100_000).tolist()
    for _ in range(10_000):
        (total, _, usable), _ = theirs.reset()
        first, terminated = (total, usable), False
        while not terminated:
            (total, _, _), reward, terminated, _, _ = theirs.step(int(total < 15 or choices.pop() < 0.3))
        counts[(*first, reward)] += 1
    table = native.core.table
    shares = weights(table)

    @cache
    def ends(state):
        """The distribution of the reward of that player, from a state of the table on."""
        rewards = Counter()
        hits = 1.0 if table.obs[0, state] < 15 else 0.3
        for action, k in np.argwhere(shares[state] > 0).tolist():
            chance = shares[state, action, k] * (hits if action else 1 - hits)
            if table.terminated[state, action, k]:
                rewards[float(table.reward[state, action, k])] += chance
            elif chance > 0:
                for reward, share in ends(int(table.next[state, action, k])).items():
                    rewards[reward] += chance * share
        return rewards

    expected = Counter()
    for start, chance in zip(
        table.start.astype(int), np.diff(table.start_cumulative, prepend=0), strict=True
    ):
        for reward, share in ends(int(start)).items():
            expected[int(table.obs[0, start]), int(table.obs[2, start]), reward] += 10_000 * chance * share
    assert_drawn_from(counts, expected)


# ---- the registry ------------------------------------------------------------------------------------------


def test_parameters_and_their_defaults_are_gymnasiums():
    for env_id in set(list_envs()) - {"Taxi-v3", "CliffWalking-v0"}:  # the older ones are offered without
        spec, theirs = env_spec("test", env_id), constructor(env_id)
        if spec.kernel == "tabular":
            assert theirs.pop("render_mode") is None
            assert theirs == {name: spec.parameters[name] for name in theirs}


def test_spaces_limits_and_infos_are_gymnasiums():
    for env_id in list_envs():
        if env_spec("test", env_id).kernel != "tabular":
            continue
        native, theirs = native_env("test", env_id, {}), gymnasium.make(env_id)
        assert native.observation_space == theirs.observation_space
        assert native.action_space == theirs.action_space
        assert native.core.action_categories == (theirs.action_space.n,)
        assert native.core.max_episode_steps == (theirs.spec.max_episode_steps or 0)
        _, info = theirs.reset(seed=0)
        infos = native.spec.infos(native.original) if native.spec.infos else {}
        assert {*infos, *(["prob"] if native.spec.prob_info else [])} == set(info)


@pytest.mark.parametrize(
    "form", [MAP, np.array(MAP, "c"), np.array(MAP), [[*row] for row in MAP], tuple(MAP)]
)
def test_a_map_may_be_written_as_gymnasium_reads_it(form):
    native = native_env("test", "FrozenLake-v1", {"desc": form})
    assert native.core.obs_categories == (48,)
    np.testing.assert_array_equal(native.original.desc, np.array(MAP, "c"))


@pytest.mark.parametrize(
    ("env_id", "params", "error", "words"),
    [
        (
            "FrozenLake-v1",
            {"map_name": "5x5"},
            ValueError,
            ["map_name must be one of '4x4', '8x8', got '5x5'"],
        ),
        ("FrozenLake-v1", {"map_name": None}, TypeError, ["map_name must be one of '4x4', '8x8', got None"]),
        (
            "FrozenLake-v1",
            {"desc": ["SFF", "FG"]},
            ValueError,
            ["desc must have rows of one length", "desc[1]"],
        ),
        ("FrozenLake-v1", {"desc": ["SX"]}, ValueError, ["desc must be rows of the letters", "got 'SX'"]),
        ("FrozenLake-v1", {"desc": ["FG"]}, ValueError, ["desc must have an S"]),
        ("FrozenLake-v1", {"desc": []}, ValueError, ["desc must have an S"]),
        ("FrozenLake-v1", {"desc": [""]}, ValueError, ["desc[0]"]),
        ("FrozenLake-v1", {"desc": "SFFG"}, TypeError, ["desc must be rows of the letters", "got 'SFFG'"]),
        ("FrozenLake-v1", {"desc": [1, 2]}, TypeError, ["got 1 for desc[0]"]),
        ("FrozenLake-v1", {"desc": 7}, TypeError, ["desc must be rows", "got 7"]),
        ("FrozenLake-v1", {"is_slippery": 1}, TypeError, ["is_slippery must be True or False, got 1"]),
        ("FrozenLake-v1", {"success_rate": 1.5}, ValueError, ["success_rate must be a number in [0, 1]"]),
        ("FrozenLake-v1", {"success_rate": "high"}, TypeError, ["success_rate", "got 'high'"]),
        ("FrozenLake-v1", {"reward_schedule": (1, 0)}, ValueError, ["reward_schedule must be three numbers"]),
        ("FrozenLake-v1", {"reward_schedule": 1}, TypeError, ["reward_schedule must be three numbers"]),
        ("FrozenLake-v1", {"reward_schedule": (1, 0, np.nan)}, ValueError, ["reward_schedule[2]", "nan"]),
        ("FrozenLake-v1", {"slippery": True}, TypeError, ["unexpected argument 'slippery'", "is_slippery"]),
        ("CliffWalking-v1", {"is_slippery": None}, TypeError, ["is_slippery must be True or False"]),
        (
            "Taxi-v4",
            {"rainy_probability": -0.1},
            ValueError,
            ["rainy_probability must be a number in [0, 1]"],
        ),
        ("Taxi-v4", {"fickle_probability": None}, TypeError, ["fickle_probability", "got None"]),
        ("Taxi-v4", {"is_rainy": 0.8}, TypeError, ["is_rainy must be True or False"]),
        ("Blackjack-v1", {"sab": "yes"}, TypeError, ["sab must be True or False, got 'yes'"]),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused_by_name(env_id, params, error, words):
    if env_id not in list_envs():
        pytest.skip(f"this Gymnasium has no {env_id}")
    with pytest.raises(error) as caught:
        native_env("make()", env_id, params)
    for word in ("make(): ", *words):
        assert word in str(caught.value)
