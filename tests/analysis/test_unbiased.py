"""Unbiased means unbiased: means of many estimates against the exact gradient, in their confidence region.

A region is a Hotelling one, of 99.9 %. The directions in which the estimates vary, from the largest variance
down to 1/1000 of the total, are whitened: n times the squared distance follows a chi-square distribution of
as many degrees of freedom. What lies in the other directions, most of them never seen to vary, is bounded
together: no quadratic form of normal variables with that total variance has a heavier tail than the square of
a single one (Szekely and Bakirov, 2003). Each of the two gets half of the 0.1 % (Bonferroni). Estimators that
are wrong must fall outside.

A form that the compiled loop knows is one line in COMPILED; any other, one line in WEIGHTS.
"""

from functools import cache
from math import comb

import numpy as np
import pytest

import fastpg
from fastpg import _core, exact, reference
from fastpg.envs import native_env
from tests.support.finite_mdps import (
    estimate_of,
    oracle,
    random_mdp,
    random_policy,
    trajectories,
    two_step_mdp,
)

pytestmark = pytest.mark.slow

NUM_ESTIMATES = 20_000
EPISODES = 4  # of an estimate
MDPS = {
    "FrozenLake-v1": "FrozenLake-v1",  # slippery, 100 steps at most
    "random MDP": random_mdp(),  # 12 steps at most
    "two steps": two_step_mdp(limit=2),  # which it does not feel
}
NEVER_ENDING = {"never ending": random_mdp(ends=0.0)}  # but for its 12 steps
MASKED = {"masked": random_mdp(forbidden=0.4), "masked, endless": random_mdp(forbidden=0.4, limit=0)}
POLICIES = [(), (8,)]


@cache
def policy_in(name, hidden):
    return random_policy((MDPS | NEVER_ENDING | ENDING | MASKED)[name], hidden)


# ---- the region --------------------------------------------------------------------------------------------

NORMAL = 3.2905  # 99.95 % of a normal variable
TAIL = 12.1157  # 99.95 % of a chi-square variable of one degree of freedom


def chi_square_quantile(degrees):
    """99.95 %, by Wilson and Hilferty's approximation."""
    return degrees * (1 - 2 / (9 * degrees) + NORMAL * np.sqrt(2 / (9 * degrees))) ** 3


def region(samples):
    """The region around the mean of samples (n, P): a function that says how many radii away a point is."""
    n, samples = len(samples), samples.astype(np.float64)
    mean = samples.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(samples, rowvar=False))
    leading = variances > 1e-3 * variances.sum()
    # Of float32: all that there is in directions in which estimates never vary.
    rounding = 1e-6 * np.sqrt((samples**2).sum(axis=1).mean())

    def distance(point):
        off = (mean - point) @ directions
        whitened = n * (off[leading] ** 2 / variances[leading]).sum() / chi_square_quantile(leading.sum())
        rest = n * max(np.linalg.norm(off[~leading]) - rounding, 0) ** 2
        rest /= TAIL * max(variances[~leading].sum(), 1e-30)
        return np.sqrt(max(whitened, rest))

    return distance


# ---- the compiled loop -------------------------------------------------------------------------------------

# form -> what estimate_gradient takes, and what exact.policy_gradient takes to have the same mean.
COMPILED = {
    "total": ({"form": "total"}, {}),
    "reward_to_go": ({"form": "reward_to_go"}, {}),
    "total, discounted": ({"form": "total", "gamma": 0.8}, {"gamma": 0.8, "discount_states": True}),
    "reward_to_go, discounted": ({"form": "reward_to_go", "gamma": 0.8}, {"gamma": 0.8}),
    "reward_to_go, states discounted": (
        {"form": "reward_to_go", "gamma": 0.8, "discount_states": True},
        {"gamma": 0.8, "discount_states": True},
    ),
    "total - V": ({"form": "total", "baseline": "value", "values": "any"}, {}),
    "reward_to_go - V": ({"form": "reward_to_go", "baseline": "value", "values": "any"}, {}),
    "total - mean": ({"form": "total", "baseline": "batch_mean"}, {}),
    "reward_to_go - mean": ({"form": "reward_to_go", "baseline": "batch_mean"}, {}),
    "reward_to_go - mean at t": ({"form": "reward_to_go", "baseline": "timestep_mean"}, {}),
}
# Those that bootstrap, in environments whose episodes end by themselves; with the policy's own V, or any.
ENDING = {"endless random MDP": random_mdp(limit=0), "two steps": two_step_mdp()}
BOOTSTRAPPED = {
    "q": {"form": "q", "n_step": 2, "values": "true"},
    "q - mean": {"form": "q", "n_step": 1, "values": "true", "baseline": "batch_mean"},
    "q - V": {"form": "q", "n_step": 1, "values": "true", "baseline": "value"},
    "q of all steps - V": {"form": "q", "n_step": 10_000, "values": "any", "baseline": "value"},
    "td": {"form": "td", "values": "true"},
    "gae": {"form": "gae", "lam": 0.7, "values": "true"},
    "gae, lam 1": {"form": "gae", "lam": 1.0, "values": "any"},
}


def value_function(name, hidden, kind):
    """The policy's V, or one that knows nothing of it; a linear function of a one-hot state can be any."""
    env = (MDPS | NEVER_ENDING | ENDING | MASKED)[name]
    value = fastpg.ValueFunction.for_env(env, hidden=())
    states = value.parameters()["head.weight"][0]
    exactly = exact.policy_gradient(env, policy_in(name, hidden))
    if kind == "true":
        states[:] = exactly.values
    else:
        states[:] = exactly.objective * np.random.default_rng(5).normal(0.5, 1.0, len(states))
    return value


def compiled(
    name,
    hidden,
    form,
    *,
    gamma=1.0,
    horizon=0,
    episodes=0,
    normalize="trajectory",
    count=NUM_ESTIMATES,
    values=None,
    **options,
):
    """Independent estimates of the fused pass, (count, P)."""
    policy = policy_in(name, hidden)
    core = native_env("test", (MDPS | NEVER_ENDING | ENDING | MASKED)[name], {}).core
    value = None if values is None else value_function(name, hidden, values)
    estimates = np.empty((count, policy.theta.size), np.float32)
    for seed, out in enumerate(estimates):
        # Every pass draws new random numbers; but a cut at a horizon would be gone on from.
        if seed == 0 or horizon:
            sampler = _core.Sampler(
                core, policy.network, episodes or 4, 7 + seed, None if value is None else value.network
            )
        sampler.gradient(
            policy.theta,
            form=form,
            gamma=gamma,
            horizon=horizon,
            episodes=episodes,
            normalize=normalize,
            out=out,
            value_theta=None if value is None else value.theta,
            **options,
        )
    return estimates


@cache
def whole_episodes(name, hidden, form):
    return compiled(name, hidden, **COMPILED[form][0], episodes=EPISODES)


def test_estimate_gradient_is_the_first_of_these_estimates():
    estimate = fastpg.estimate_gradient(
        MDPS["random MDP"], policy_in("random MDP", (8,)), form="total", num_envs=4, episodes=4, seed=7
    )
    first = compiled("random MDP", (8,), "total", episodes=4, count=1)[0]
    np.testing.assert_array_equal(estimate.gradient, first)


@pytest.fixture(autouse=True)
def one_thread():
    """A pass of a few episodes has nothing to share."""
    before = fastpg.get_num_threads()
    fastpg.set_num_threads(1)
    yield
    fastpg.set_num_threads(before)


@pytest.mark.parametrize("form", COMPILED)
@pytest.mark.parametrize(
    ("name", "hidden"), [("FrozenLake-v1", ()), ("random MDP", ()), ("random MDP", (8,)), ("two steps", (8,))]
)
def test_the_mean_of_the_compiled_estimates_is_the_exact_gradient(name, hidden, form):
    expected = exact.policy_gradient(MDPS[name], policy_in(name, hidden), **COMPILED[form][1]).gradient
    distance = region(whole_episodes(name, hidden, form))
    assert distance(expected) < 1
    # The region is small enough to mean something.
    assert distance(0 * expected) > 2.5
    assert distance(1.5 * expected) > 1.2


@pytest.mark.parametrize("form", BOOTSTRAPPED)
@pytest.mark.parametrize("hidden", POLICIES, ids=str)
@pytest.mark.parametrize("name", ENDING)
def test_forms_that_bootstrap_are_unbiased_where_their_values_are_right(name, hidden, form):
    expected = exact.policy_gradient(ENDING[name], policy_in(name, hidden)).gradient
    distance = region(compiled(name, hidden, **BOOTSTRAPPED[form], episodes=EPISODES))
    assert distance(expected) < 1
    assert distance(0 * expected) > 2.5


@pytest.mark.parametrize(
    ("name", "form"),
    [("masked", "total"), ("masked", "reward_to_go - mean at t"), ("masked, endless", "gae")],
)
@pytest.mark.parametrize("hidden", POLICIES, ids=str)
def test_estimates_are_unbiased_where_actions_are_masked(name, form, hidden):
    settings = BOOTSTRAPPED[form] if form in BOOTSTRAPPED else COMPILED[form][0]
    distance = region(compiled(name, hidden, **settings, episodes=EPISODES))
    expected = exact.policy_gradient(MASKED[name], policy_in(name, hidden)).gradient
    assert distance(expected) < 1
    assert distance(0 * expected) > 2.5
    unmasked = exact.policy_gradient(MASKED[name], policy_in(name, hidden), use_action_mask=False).gradient
    assert distance(unmasked) > 2.5


@pytest.mark.parametrize("form", ["q", "td", "gae"])
@pytest.mark.parametrize("hidden", POLICIES, ids=str)
def test_forms_that_bootstrap_are_biased_where_their_values_are_wrong(hidden, form):
    name = "endless random MDP"
    expected = exact.policy_gradient(ENDING[name], policy_in(name, hidden)).gradient
    wrong = BOOTSTRAPPED[form] | {"values": "any"}
    assert region(compiled(name, hidden, **wrong, episodes=EPISODES))(expected) > 2


@pytest.mark.parametrize("hidden", POLICIES, ids=str)
def test_variance_falls_from_total_to_reward_to_go_to_a_baseline_to_the_true_advantage(hidden):
    name = "endless random MDP"
    steps = [
        {"form": "total"},
        {"form": "reward_to_go"},
        {"form": "reward_to_go", "baseline": "value", "values": "true"},
        {"form": "gae", "lam": 0.7, "values": "true"},
        {"form": "td", "values": "true"},
    ]
    variances = [compiled(name, hidden, **one, episodes=4, count=4000).var(axis=0).sum() for one in steps]
    ratios = np.divide(variances[1:], variances[:-1])
    assert (ratios < [0.8, 0.8, 0.9, 0.9]).all(), ratios


@pytest.mark.parametrize("form", COMPILED)
@pytest.mark.parametrize("hidden", POLICIES, ids=str)
@pytest.mark.parametrize("name", MDPS)
def test_the_number_of_threads_changes_no_bit_of_the_estimates(name, hidden, form):
    settings = dict(COMPILED[form][0])
    results = set()
    for threads in (1, 2, 3):
        fastpg.set_num_threads(threads)
        results.add(compiled(name, hidden, **settings, episodes=40, count=20).tobytes())
    assert len(results) == 1


# ---- trajectories of our own, weighted in NumPy ------------------------------------------------------------


@cache
def played(name, hidden, count=NUM_ESTIMATES):
    """Trajectories that NumPy plays: states, actions, rewards, whether there was such a step; (T, count)."""
    mdp, rng = MDPS[name], np.random.default_rng(3)
    network, theta = oracle(policy_in(name, hidden))
    pi = np.cumsum(
        np.exp(reference.log_softmax(reference.logits(network, theta, np.eye(len(mdp.start))))), axis=1
    )
    nexts = np.cumsum(mdp.transition, axis=-1)

    def draw(cumulative):
        return (cumulative[:, :-1] <= rng.random((len(cumulative), 1))).sum(axis=1)

    state, alive, columns = draw(np.tile(np.cumsum(mdp.start), (count, 1))), np.ones(count, bool), []
    while alive.any() and len(columns) != mdp.max_episode_steps:
        action = draw(pi[state])
        following = draw(nexts[state, action])
        columns.append((state, action, mdp.reward[state, action, following] * alive, alive))
        alive = alive & ~mdp.terminal[following]
        state = np.where(alive, following, state)
    return tuple(np.stack(column) for column in zip(*columns, strict=True))


def to_go(rewards):
    return np.cumsum(rewards[::-1], axis=0)[::-1]


def at(table, *indices):
    """table[t, ...] of every step, with the exact values' own time."""
    return table[(np.arange(len(indices[0]))[:, None], *indices)]


def td(result, states, rewards, alive):
    values = at(result.values, states) * alive
    return rewards + np.append(values[1:], 0 * values[:1], axis=0) - values


def advantage(result, states, actions):
    return at(result.action_values, states, actions) - at(result.values, states)


BASELINE = np.array([3.0, -1.0, 0.5, 2.0, 0.0])  # of the state, and of nothing else
# name -> Phi_t, (T, n), of (exact values, states, actions, rewards, alive).
WEIGHTS = {
    "total": lambda x, s, a, r, alive: np.broadcast_to(r.sum(axis=0), r.shape),
    "reward_to_go": lambda x, s, a, r, alive: to_go(r),
    "reward_to_go with a baseline": lambda x, s, a, r, alive: to_go(r) - BASELINE[s],
    "action value": lambda x, s, a, r, alive: at(x.action_values, s, a),
    "TD residual": lambda x, s, a, r, alive: td(x, s, r, alive),
    "advantage": lambda x, s, a, r, alive: advantage(x, s, a),
}
WRONG_WEIGHTS = {
    "shifted by one step": lambda x, s, a, r, alive: np.append(to_go(r)[1:], 0 * r[:1], axis=0),
    "a baseline that knows the action": lambda x, s, a, r, alive: to_go(r) - 0.3 * a,
    "only the immediate reward": lambda x, s, a, r, alive: r,
    "over the trajectory's own length": lambda x, s, a, r, alive: to_go(r) / alive.sum(axis=0),
}


def weighted(name, hidden, weigh):
    """One estimate a trajectory, (n, P)."""
    states, actions, rewards, alive = played(name, hidden)
    policy = policy_in(name, hidden)
    weights = weigh(exact.policy_gradient(MDPS[name], policy), states, actions, rewards, alive)
    order = alive.T  # trajectory by trajectory
    return fastpg.policy_gradient(
        policy,
        states.T[order],
        actions.T[order],
        weights.T[order].astype(np.float32),
        per="trajectory",
        lengths=alive.sum(axis=0),
    )


@pytest.mark.parametrize("form", WEIGHTS)
@pytest.mark.parametrize("hidden", POLICIES, ids=str)
@pytest.mark.parametrize("name", ["random MDP", "two steps"])
def test_the_mean_of_weighted_trajectories_is_the_exact_gradient(name, hidden, form):
    expected = exact.policy_gradient(MDPS[name], policy_in(name, hidden)).gradient
    distance = region(weighted(name, hidden, WEIGHTS[form]))
    assert distance(expected) < 1
    assert distance(0 * expected) > 4


# ---- wrong estimators must be found out, and documented biases must be as documented -----------------------


@pytest.mark.parametrize("form", WRONG_WEIGHTS)
@pytest.mark.parametrize("hidden", POLICIES, ids=str)
def test_wrong_weights_are_found_out(hidden, form):
    expected = exact.policy_gradient(MDPS["random MDP"], policy_in("random MDP", hidden)).gradient
    assert region(weighted("random MDP", hidden, WRONG_WEIGHTS[form]))(expected) > 1.5


def score_sums():
    """The two-step MDP's policy, and per trajectory: probability, length, sum of reward-to-go times score."""
    policy = policy_in("two steps", (8,))
    every = trajectories(MDPS["two steps"], policy)
    probability = np.array([one.probability for one in every])
    length = np.array([len(one.states) for one in every])
    return policy, probability, length, np.array([estimate_of(one, policy, "reward_to_go") for one in every])


def mean_per_timestep(episodes):
    """The exact mean of the ratio of sums over E independent episodes of one or two steps, (P,).

    E[sum_i S_i / sum_i L_i] is E times the mean of S_1 / (L_1 + ... + L_E); the others have E - 1 steps and a
    binomial number.
    """
    _, probability, length, sums = score_sums()
    two = probability[length == 2].sum()
    result = 0.0
    for extra in range(episodes):
        share = comb(episodes - 1, extra) * two**extra * (1 - two) ** (episodes - 1 - extra)
        result += episodes * share * (probability / (length + episodes - 1 + extra)) @ sums
    return result


def test_dividing_by_the_number_of_steps_is_biased_by_as_much_as_documented():
    _, probability, length, sums = score_sums()
    ratio_of_means = probability @ sums / (probability @ length)
    for episodes in (1, 4):
        samples = compiled("two steps", (8,), "reward_to_go", episodes=episodes, normalize="timestep")
        distance = region(samples)
        assert distance(mean_per_timestep(episodes)) < 1
        assert distance(ratio_of_means) > 1.5  # the gradient over the mean length is not the mean
        assert distance(probability @ sums) > 5  # and the gradient is far away
    biases = {e: np.linalg.norm(mean_per_timestep(e) - ratio_of_means) for e in (8, 16, 32, 64)}
    for episodes in (8, 16, 32):  # O(1/E)
        assert biases[episodes] / biases[2 * episodes] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("hidden", POLICIES, ids=str)
def test_a_cut_without_bootstrap_is_biased_by_what_it_cuts_off(hidden):
    # No terminal states: all trajectories are cut after 5 steps, and what follows up to step 12 is missing.
    policy = policy_in("never ending", hidden)
    samples = compiled("never ending", hidden, "reward_to_go", horizon=5)
    whole = exact.policy_gradient(NEVER_ENDING["never ending"], policy)
    cut = exact.policy_gradient(NEVER_ENDING["never ending"], policy, horizon=5)
    distance = region(samples)
    assert distance(cut.gradient) < 1
    assert distance(whole.gradient) > 5
    bias = cut.gradient - whole.gradient
    assert bias @ whole.gradient < 0  # the cut makes it too small
    assert 0.3 < np.linalg.norm(bias) / np.linalg.norm(whole.gradient) < 0.9


@pytest.mark.parametrize("name", MDPS)
def test_reward_to_go_without_discounted_states_is_biased_for_the_discounted_objective(name):
    settings = {"gamma": 0.8, "discount_states": True}
    expected = exact.policy_gradient(MDPS[name], policy_in(name, ()), **settings).gradient
    assert region(whole_episodes(name, (), "reward_to_go, discounted"))(expected) > 1.5


# ---- facts of the derivation -------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", POLICIES, ids=str)
def test_the_expected_score_is_zero(hidden):
    policy, rng = policy_in("random MDP", hidden), np.random.default_rng(0)
    network, theta = oracle(policy)
    every = np.eye(network.num_inputs)
    pi = np.exp(reference.log_softmax(reference.logits(network, theta, every)))
    for action_scores in zip(every, pi, strict=True):
        obs, chances = action_scores
        rows = np.tile(obs, (len(chances), 1))
        np.testing.assert_allclose(
            chances @ reference.score(network, theta, rows, np.arange(len(chances))), 0.0, atol=1e-14
        )
    states = rng.integers(network.num_inputs, size=NUM_ESTIMATES)
    drawn, ones = policy.act(states, seed=5), np.ones(NUM_ESTIMATES, np.float32)
    scores = fastpg.policy_gradient(policy, states, drawn, ones, per="sample")
    assert region(scores)(np.zeros(policy.theta.size)) < 1
    most_likely = policy.act(states, seed=5, deterministic=True)
    scores = fastpg.policy_gradient(policy, states, most_likely, ones, per="sample")
    assert region(scores)(np.zeros(policy.theta.size)) > 5


@pytest.mark.parametrize("hidden", POLICIES, ids=str)
def test_past_rewards_add_nothing_but_variance(hidden):
    def past(x, s, a, r, alive):
        return np.cumsum(r, axis=0) - r

    samples = weighted("random MDP", hidden, past)
    assert region(samples)(np.zeros(samples.shape[1])) < 1
    assert np.cov(samples, rowvar=False).trace() > 0.1


def total_variance(samples):
    return samples.var(axis=0, dtype=np.float64).sum()


@pytest.mark.parametrize(
    ("name", "between"), [("random MDP", (0.4, 0.6)), ("two steps", (0.85, 0.95)), ("FrozenLake-v1", (1, 1))]
)
@pytest.mark.parametrize("hidden", POLICIES, ids=str)
def test_the_variance_falls_from_total_to_reward_to_go(name, between, hidden):
    total = total_variance(whole_episodes(name, hidden, "total"))
    reward_to_go = total_variance(whole_episodes(name, hidden, "reward_to_go"))
    # FrozenLake pays in the last step only: there are no past rewards that could be left out.
    assert between[0] <= reward_to_go / total <= between[1]


def test_the_variances_are_the_exact_ones():
    policy, probability, _, _ = score_sums()
    every = trajectories(MDPS["two steps"], policy)
    for form in ("total", "reward_to_go"):
        terms = np.array([estimate_of(one, policy, form) for one in every])
        exact_variance = probability @ ((terms - probability @ terms) ** 2).sum(axis=1)
        measured = total_variance(whole_episodes("two steps", (8,), form))
        assert measured == pytest.approx(exact_variance / EPISODES, rel=0.05)


def test_an_exact_advantage_has_the_least_variance():
    variances = [total_variance(weighted("random MDP", (8,), WEIGHTS[form])) for form in WEIGHTS]
    assert min(variances) == variances[-1] < 0.3 * variances[0]
