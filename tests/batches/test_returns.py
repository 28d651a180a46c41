"""Returns and advantages on arrays: the float64 oracle, worked cases, other libraries' loops, bad input."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpg
from fastpg import reference
from tests.support.quick import few
from tests.support.refusals import refuse

NAN, INF = float("nan"), float("inf")
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-12}
ESTIMATES = ["returns", "episode_returns", "nstep_returns", "td_errors", "gae", "vtrace"]
LAYOUTS = ["C", "transposed", "backwards", "every second", "broken rows", "unaligned"]


def laid_out(array, layout):
    """The same entries, elsewhere in memory."""
    if layout == "transposed":
        return np.ascontiguousarray(array.T).T
    if layout == "backwards":
        return array[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "every second":
        room = np.zeros((2 * array.shape[0], array.shape[1]), array.dtype)
        room[::2] = array
        return room[::2]
    if layout == "broken rows":
        room = np.zeros((array.shape[0], 3 * array.shape[1]), array.dtype)
        room[:, 1::3] = array
        return room[:, 1::3]
    if layout == "unaligned":
        room = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        room[:] = array
        return room
    return array.copy()


def make(num_steps, num_envs, dtype=np.float64, seed=0, masks=True):
    """Arguments of every estimate. What must not be read is NaN."""
    rng = np.random.default_rng(seed)
    shape = (num_steps, num_envs)
    data = {name: rng.normal(size=shape).astype(dtype) for name in ("rewards", "values", "final_values")}
    data["log_rhos"] = (0.7 * rng.normal(size=shape)).astype(dtype)
    data["terminated"] = rng.random(shape) < 0.1
    data["truncated"] = rng.random(shape) < 0.1
    data["last_values"] = rng.normal(size=num_envs).astype(dtype)
    data["mask"] = None
    if masks:
        data["mask"] = rng.random(shape) < 0.8
        for name in ("rewards", "values", "log_rhos"):
            data[name][~data["mask"]] = NAN
    read = data["truncated"] & ~data["terminated"]
    if masks:
        read &= data["mask"]
    data["final_values"][~read] = NAN
    return data


def arguments(estimate, data, **more):
    """Those of the estimate."""
    flags = (data["terminated"], data["truncated"])
    if estimate == "episode_returns":
        return (data["rewards"], *flags), {"gamma": 0.95, "mask": data["mask"]} | more
    keywords = {"gamma": 0.95} | {name: data[name] for name in ("last_values", "final_values", "mask")}
    if estimate == "returns":
        return (data["rewards"], *flags), keywords | more
    if estimate == "vtrace":
        keywords |= {"lam": 0.9, "rho_bar": 1.2, "c_bar": 0.9}
        return (data["rewards"], data["values"], *flags, data["log_rhos"]), keywords | more
    keywords |= {"gae": {"lam": 0.9}, "nstep_returns": {"n": 3}}.get(estimate, {})
    return (data["rewards"], data["values"], *flags), keywords | more


def call(estimate, data, **more):
    """The estimate's results, (1 or 2, T, N)."""
    positional, keywords = arguments(estimate, data, **more)
    result = getattr(fastpg, estimate)(*positional, **keywords)
    return np.stack(result if isinstance(result, tuple) else (result,))


def oracle(estimate, data, **more):
    positional, keywords = arguments(estimate, data, **more)
    in_double = [x if x.dtype == bool else x.astype(np.float64) for x in positional]
    for name in ("last_values", "final_values"):
        if keywords.get(name) is not None:
            keywords[name] = keywords[name].astype(np.float64)
    if estimate == "episode_returns":
        mask = keywords["mask"] if keywords["mask"] is not None else np.ones_like(data["terminated"])
        result = np.zeros(mask.shape)
        for n in range(mask.shape[1]):
            rows = mask[:, n]
            column = [x[rows, n][:, None] for x in in_double]
            result[rows, n] = reference.episode_returns(*column, keywords["gamma"])[:, 0] if rows.any() else 0
        return result[None]
    result = getattr(reference, estimate)(*in_double, **keywords)
    return np.stack(result if isinstance(result, tuple) else (result,))


def assert_equals_the_oracle(estimate, data, **more):
    got = call(estimate, data, **more)
    expected = oracle(estimate, data, **more)
    dtype = data["rewards"].dtype.type
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


# ---- against the oracle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("num_envs", few([1, 3, 4, 5, 8, 11, 16, 17, 300], {1, 5, 16, 17}))
def test_estimates_equal_the_oracle(isa, estimate, dtype, masks, num_envs):
    assert_equals_the_oracle(estimate, make(9, num_envs, dtype, masks=masks))


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("layout", few(LAYOUTS, {"transposed", "unaligned"}))
def test_estimates_do_not_depend_on_the_layout(isa, estimate, layout):
    for num_envs in (2, 13, 70):
        data = make(37, num_envs, np.float32)
        elsewhere = {name: x if x is None or x.ndim == 1 else laid_out(x, layout) for name, x in data.items()}
        elsewhere["last_values"] = np.repeat(data["last_values"], 2)[::2]
        outs = tuple(laid_out(np.zeros_like(data["rewards"]), layout) for _ in range(2))
        out = outs if estimate in ("gae", "vtrace") else outs[0]
        expected = oracle(estimate, data)
        got = call(estimate, elsewhere, out=out)
        np.testing.assert_allclose(got, expected, rtol=3e-5, atol=3e-5)
        np.testing.assert_array_equal(np.stack(outs[: len(got)]), got)


@settings(max_examples=150, deadline=None)
@given(
    estimate=st.sampled_from(ESTIMATES),
    num_steps=st.integers(1, 40),
    num_envs=st.integers(1, 40),
    dtype=st.sampled_from([np.float32, np.float64]),
    masks=st.booleans(),
    layouts=st.lists(st.sampled_from(LAYOUTS), min_size=8, max_size=8),
    seed=st.integers(0, 2**32 - 1),
    gamma=st.sampled_from([0.0, 0.9, 1.0]) | st.floats(0, 1),
    lam=st.floats(0, 1),
    n=st.integers(1, 50),
    bootstrap_truncated=st.booleans(),
)
def test_estimates_equal_the_oracle_for_any_arguments(
    estimate, num_steps, num_envs, dtype, masks, layouts, seed, gamma, lam, n, bootstrap_truncated
):
    data = make(num_steps, num_envs, dtype, seed, masks)
    data = {
        name: x if x is None or x.ndim == 1 else laid_out(x, layout)
        for (name, x), layout in zip(data.items(), layouts, strict=True)
    }
    more = {"gamma": gamma}
    if estimate != "episode_returns":
        more["bootstrap_truncated"] = bootstrap_truncated
    more |= {"gae": {"lam": lam}, "vtrace": {"lam": lam}, "nstep_returns": {"n": n}}.get(estimate, {})
    assert_equals_the_oracle(estimate, data, **more)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_one_environment_may_come_without_its_axis(estimate):
    data = make(20, 1)
    flat = {name: None if x is None else x[:, 0] for name, x in data.items() if name != "last_values"}
    expected = call(estimate, data)[..., 0]
    for last in (data["last_values"][0], float(data["last_values"][0]), data["last_values"].reshape(())):
        np.testing.assert_array_equal(call(estimate, flat | {"last_values": last}), expected)


@pytest.mark.slow
@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("layout", ["C", "transposed"])
def test_results_do_not_depend_on_the_number_of_threads(threads, estimate, layout):
    data = {
        name: x if x is None or x.ndim == 1 else laid_out(x, layout)
        for name, x in make(1200, 2051, np.float32).items()
    }
    results = []
    for number in (1, 2, 3):
        threads(number)
        results.append(call(estimate, data))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_long_batches_equal_their_parts(estimate):
    """Across the rows at which the core looks for signals."""
    data = make(9000, 5)
    data["terminated"][4500] = True
    parts = [
        {name: x if x is None or x.ndim == 1 else x[rows] for name, x in data.items()}
        for rows in (slice(0, 4501), slice(4501, None))
    ]
    data["mask"][4500] = parts[0]["mask"][-1] = True
    for name in ("rewards", "values", "log_rhos", "final_values"):
        data[name][4500] = parts[0][name][-1] = 0.5
    expected = np.concatenate([call(estimate, part) for part in parts], axis=1)
    np.testing.assert_array_equal(call(estimate, data), expected)


# ---- what the flags mean -----------------------------------------------------------------------------------

NO = np.zeros((4, 1), bool)


def flags(*rows):
    """True in those rows of four."""
    result = NO.copy()
    result[list(rows)] = True
    return result


def column(*numbers):
    return np.array(numbers, np.float64)[:, None]


REWARDS, VALUES, LAST = column(1, 2, 3, 4), column(10, 20, 30, 40), np.array([50.0])
FINAL = column(NAN, 100, NAN, NAN)


def test_a_truncation_bootstraps_from_the_final_observation():
    truncated = flags(1)
    got = fastpg.td_errors(REWARDS, VALUES, NO, truncated, last_values=LAST, final_values=FINAL, gamma=0.5)
    np.testing.assert_array_equal(got, column(1 + 10 - 10, 2 + 50 - 20, 3 + 20 - 30, 4 + 25 - 40))
    got = fastpg.returns(REWARDS, NO, truncated, gamma=0.5, last_values=LAST, final_values=FINAL)
    np.testing.assert_array_equal(got, column(1 + 26, 2 + 50, 3 + 14.5, 4 + 25))


def test_nothing_follows_a_termination():
    got = fastpg.td_errors(REWARDS, VALUES, flags(1), NO, last_values=LAST, gamma=0.5)
    np.testing.assert_array_equal(got, column(1 + 10 - 10, 2 - 20, 3 + 20 - 30, 4 + 25 - 40))


def test_termination_wins_over_truncation():
    both = flags(1)
    got = fastpg.returns(REWARDS, both, both, gamma=0.5, final_values=np.full((4, 1), NAN))
    np.testing.assert_array_equal(got, fastpg.returns(REWARDS, both, NO, gamma=0.5))


def test_a_truncation_may_be_treated_as_a_termination():
    got = fastpg.returns(REWARDS, NO, flags(1), bootstrap_truncated=False, final_values=np.full((4, 1), NAN))
    np.testing.assert_array_equal(got, fastpg.returns(REWARDS, flags(1), NO))


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_nothing_leaks_over_the_end_of_an_episode(isa, estimate, end):
    data = make(12, 17, masks=False)
    data["terminated"][:], data["truncated"][:] = False, False
    data["final_values"][:] = 1.0
    data[end][5] = True
    before = call(estimate, data)[:, :6]
    for name in ("rewards", "values", "log_rhos"):
        data[name][6:] = 1e3 if name != "log_rhos" else 1.0
    data["last_values"][:] = -1e3
    np.testing.assert_array_equal(call(estimate, data)[:, :6], before)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_masked_rows_equal_removed_rows(estimate):
    data = make(30, 5)
    got = call(estimate, data)
    for n in range(5):
        rows = data["mask"][:, n]
        removed = {
            name: None if name == "mask" else x[[n]] if x.ndim == 1 else x[rows, n][:, None]
            for name, x in data.items()
        }
        np.testing.assert_allclose(got[:, rows, n], call(estimate, removed)[..., 0], atol=1e-14)
        assert (got[:, ~rows, n] == 0).all()


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_flags_of_masked_rows_are_not_read(estimate):
    data = make(30, 5)
    expected = call(estimate, data)
    data["terminated"] |= ~data["mask"]
    np.testing.assert_array_equal(call(estimate, data), expected)
    data["truncated"] |= ~data["mask"]
    np.testing.assert_array_equal(call(estimate, data), expected)


def test_a_batch_of_masked_rows_only_is_zero():
    data = make(5, 3) | {"mask": np.zeros((5, 3), bool)}
    data["last_values"][:] = NAN
    for estimate in ESTIMATES:
        assert (call(estimate, data) == 0).all()


def test_episode_returns_are_those_of_each_trajectory():
    got = fastpg.episode_returns(REWARDS, NO, flags(1), gamma=0.5)
    np.testing.assert_array_equal(got, column(2, 2, 5, 5))


# ---- how the estimates are related -------------------------------------------------------------------------


def test_gae_at_lam_1_is_the_return_minus_the_value():
    data = make(20, 9, masks=False)
    advantages, totals = call("gae", data, lam=1.0)
    expected = call("returns", data)[0]
    np.testing.assert_allclose(totals, expected, atol=1e-12)
    np.testing.assert_allclose(advantages, expected - data["values"], atol=1e-12)


def test_gae_at_lam_0_is_the_td_error():
    data = make(20, 9)
    np.testing.assert_allclose(call("gae", data, lam=0.0)[0], call("td_errors", data)[0], atol=1e-15)


@pytest.mark.parametrize("n", [20, 21, 10**9, 10**30])
def test_nstep_returns_without_a_cut_are_the_returns(n):
    data = make(20, 9)
    np.testing.assert_array_equal(call("nstep_returns", data, n=n), call("returns", data))


def test_one_step_returns_are_td_errors_plus_values():
    data = make(20, 9, masks=False)
    got = call("nstep_returns", data, n=1)[0] - data["values"]
    np.testing.assert_allclose(got, call("td_errors", data)[0], atol=1e-12)


def test_vtrace_on_policy_gives_lam_returns_and_at_lam_1_the_advantages_of_gae():
    data = make(20, 9, masks=False) | {"log_rhos": np.zeros((20, 9))}
    vs, _ = call("vtrace", data, rho_bar=1.0, c_bar=1.0)
    np.testing.assert_allclose(vs, call("gae", data)[1], atol=1e-12)
    _, advantages = call("vtrace", data, rho_bar=1.0, c_bar=1.0, lam=1.0)
    np.testing.assert_allclose(advantages, call("gae", data, lam=1.0)[0], atol=1e-12)


def test_vtrace_may_leave_ratios_unclipped():
    assert_equals_the_oracle("vtrace", make(20, 9), rho_bar=INF, c_bar=INF)


# ---- where users come from ---------------------------------------------------------------------------------


def play(num_steps, num_envs, dtype, rng):
    """Rewards, values, and done flags of transitions; the first observations start episodes."""
    shape = (num_steps, num_envs)
    return rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype), rng.random(shape) < 0.2


def test_episode_starts_of_sb3_give_the_advantages_of_its_buffer(rng):
    """The loop of Stable-Baselines3's RolloutBuffer.compute_returns_and_advantage."""
    rewards, values, done = play(30, 6, np.float32, rng)
    episode_starts = np.concatenate([np.ones((1, 6)), done[:-1]]).astype(np.float32)
    last_values, dones, gamma, gae_lambda = rng.normal(size=6).astype(np.float32), done[-1], 0.99, 0.95
    advantages, last_gae_lam = np.zeros((30, 6), np.float32), 0
    for step in reversed(range(30)):
        if step == 29:
            next_non_terminal = 1.0 - dones.astype(np.float32)
            next_values = last_values
        else:
            next_non_terminal = 1.0 - episode_starts[step + 1]
            next_values = values[step + 1]
        delta = rewards[step] + gamma * next_values * next_non_terminal - values[step]
        last_gae_lam = delta + gamma * gae_lambda * next_non_terminal * last_gae_lam
        advantages[step] = last_gae_lam

    terminated = fastpg.done_from_episode_starts(episode_starts, dones)
    np.testing.assert_array_equal(terminated, done)
    got, totals = fastpg.gae(
        rewards, values, terminated, np.zeros_like(done), last_values=last_values, gamma=gamma, lam=gae_lambda
    )
    np.testing.assert_allclose(got, advantages, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(totals, advantages + values, rtol=1e-4, atol=1e-5)


def test_dones_of_cleanrl_give_the_advantages_of_its_scripts(rng):
    """The loop of CleanRL's ppo.py."""
    rewards, values, done = play(30, 6, np.float32, rng)
    dones = np.concatenate([np.zeros((1, 6)), done[:-1]]).astype(np.float32)
    next_done, next_value, gamma, gae_lambda = done[-1].astype(np.float32), np.ones(6, np.float32), 0.99, 0.95
    advantages, lastgaelam = np.zeros((30, 6), np.float32), 0
    for t in reversed(range(30)):
        if t == 29:
            nextnonterminal = 1.0 - next_done
            nextvalues = next_value
        else:
            nextnonterminal = 1.0 - dones[t + 1]
            nextvalues = values[t + 1]
        delta = rewards[t] + gamma * nextvalues * nextnonterminal - values[t]
        advantages[t] = lastgaelam = delta + gamma * gae_lambda * nextnonterminal * lastgaelam

    terminated = fastpg.done_from_cleanrl(dones, next_done)
    np.testing.assert_array_equal(terminated, done)
    got, _ = fastpg.gae(
        rewards, values, terminated, np.zeros_like(done), last_values=next_value, gamma=gamma, lam=gae_lambda
    )
    np.testing.assert_allclose(got, advantages, rtol=1e-4, atol=1e-5)


# ---- bad input ---------------------------------------------------------------------------------------------


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def read_only(array):
    array.flags.writeable = False
    return array


FLOATS, BOOLS = np.ones((5, 3), np.float32), np.zeros((5, 3), bool)
ONE_TRUE = changed(BOOLS, (2, 1), True)
GOOD = {
    "rewards": FLOATS,
    "values": FLOATS,
    "terminated": BOOLS,
    "truncated": BOOLS,
    "log_rhos": FLOATS,
    "last_values": FLOATS[0],
    "gamma": 0.9,
}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"rewards": [[1.0]]}, TypeError, ["rewards must be a float32 or float64 numpy array, got [[1.0]]"]),
        ({"rewards": None}, TypeError, ["rewards must be a float32 or float64 numpy array, got None"]),
        (
            {"rewards": np.ones((5, 3), int)},
            TypeError,
            ["rewards must be float32 or float64", "got int64; conv"],
        ),
        ({"rewards": FLOATS.astype(">f4")}, TypeError, ["rewards must be float32 or float64", ">f4"]),
        ({"rewards": FLOATS.astype(np.float16)}, TypeError, ["float16"]),
        ({"rewards": np.ones((5, 3), complex)}, TypeError, ["complex128"]),
        ({"rewards": np.ones((5, 3, 1), "f")}, ValueError, ["rewards must have shape (T, N) or (T,)"]),
        (
            {"rewards": np.float32([[]])},
            ValueError,
            ["rewards must have shape", "none of them 0, got (1, 0)"],
        ),
        ({"rewards": np.ones((0, 3), "f")}, ValueError, ["got (0, 3)"]),
        ({"rewards": np.ones((), "f")}, ValueError, ["got ()"]),
        ({"values": None}, TypeError, ["values must be given, got None"]),
        ({"values": FLOATS.astype(float)}, TypeError, ["values must be float32 like rewards, got float64"]),
        (
            {"values": np.ones((6, 3), "f")},
            ValueError,
            ["values must have shape (5, 3) like rewards, got (6, 3)"],
        ),
        ({"values": FLOATS[0]}, ValueError, ["values must have shape (5, 3) like rewards, got (3,)"]),
        (
            {"terminated": BOOLS.astype("u1")},
            TypeError,
            ["terminated must be bool, got uint8", "astype(bool)"],
        ),
        ({"terminated": None}, TypeError, ["terminated must be a bool numpy array, got None"]),
        ({"truncated": None}, TypeError, ["truncated must be a bool numpy array, got None"]),
        ({"truncated": False}, TypeError, ["truncated must be a bool numpy array, got False"]),
        ({"truncated": BOOLS[:4]}, ValueError, ["truncated must have shape (5, 3) like rewards, got (4, 3)"]),
        ({"truncated": FLOATS}, TypeError, ["truncated must be bool, got float32"]),
        ({"mask": FLOATS}, TypeError, ["mask must be bool, got float32"]),
        ({"mask": BOOLS.T}, ValueError, ["mask must have shape (5, 3) like rewards, got (3, 5)"]),
        ({"last_values": None}, TypeError, ["last_values must be given, got None"]),
        ({"last_values": 0.0}, TypeError, ["last_values must be a float32 numpy array, got 0.0"]),
        ({"last_values": np.zeros(3)}, TypeError, ["last_values must be float32 like rewards, got float64"]),
        ({"last_values": FLOATS}, ValueError, ["last_values must have shape (3,), got (5, 3)"]),
        ({"last_values": FLOATS[:, 0]}, ValueError, ["last_values must have shape (3,), got (5,)"]),
        (
            {"final_values": FLOATS[0]},
            ValueError,
            ["final_values must have shape (5, 3) like rewards, got (3,)"],
        ),
        ({"final_values": 0}, TypeError, ["final_values must be a float32 or float64 numpy array, got 0"]),
        ({"gamma": 1.01}, ValueError, ["gamma must be a number in [0, 1], got 1.01"]),
        ({"gamma": NAN}, ValueError, ["gamma", "nan"]),
        ({"gamma": "1"}, TypeError, ["gamma"]),
        ({"bootstrap_truncated": 1}, TypeError, ["bootstrap_truncated must be True or False, got 1"]),
        (
            {"truncated": ONE_TRUE},
            ValueError,
            [
                "truncated has True entries but final_values is None; pass V(final_obs), or "
                "bootstrap_truncated=False to treat time limits as terminations"
            ],
        ),
        (
            {"rewards": changed(FLOATS, (4, 2), NAN)},
            ValueError,
            ["rewards must be finite, but rewards[4, 2] is nan"],
        ),
        ({"values": changed(FLOATS, (0, 1), -INF)}, ValueError, ["values[0, 1] is -inf"]),
        ({"last_values": np.float32([0, NAN, 0])}, ValueError, ["last_values must be finite", "[1] is nan"]),
        (
            {"truncated": ONE_TRUE, "final_values": np.full((5, 3), NAN, "f")},
            ValueError,
            ["final_values must be finite, but final_values[2, 1] is nan"],
        ),
        ({"rewards": np.full((5, 3), 2e38, "f")}, FloatingPointError, ["the result overflows float32"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("estimate", ["gae", "td_errors", "vtrace", "nstep_returns", "returns"])
def test_estimates_refuse(estimate, arguments, error, words):
    given = GOOD | {"gae": {"lam": 0.9}, "nstep_returns": {"n": 2}}.get(estimate, {}) | arguments
    if estimate != "vtrace":
        del given["log_rhos"]
    if estimate == "returns":
        if "values" in arguments or given["last_values"] is None:
            pytest.skip("has no values, and may do without last values")
        del given["values"]
    if estimate == "nstep_returns" and "values" in arguments and "[0, 1]" in words[0]:
        pytest.skip("does not read the first value")
    if estimate == "td_errors" and error is FloatingPointError:
        pytest.skip("adds nothing up")
    if estimate == "vtrace" and error is FloatingPointError:
        given["log_rhos"] = np.zeros((5, 3), np.float32)
    refuse(lambda: getattr(fastpg, estimate)(**given), error, f"{estimate}(): ", *words)
    # The interpreter and the core are none the worse.
    assert fastpg.returns(FLOATS, BOOLS, BOOLS)[0, 0] == 5


@pytest.mark.parametrize(
    ("estimate", "arguments", "error", "words"),
    [
        ("gae", {"lam": -0.1}, ValueError, ["lam must be a number in [0, 1], got -0.1"]),
        ("gae", {"lam": None}, TypeError, ["lam"]),
        ("vtrace", {"lam": 2}, ValueError, ["lam"]),
        ("vtrace", {"rho_bar": -1}, ValueError, ["rho_bar must be a number in [0, inf], got -1.0"]),
        ("vtrace", {"c_bar": NAN}, ValueError, ["c_bar", "nan"]),
        ("vtrace", {"log_rhos": None}, TypeError, ["log_rhos must be given, got None"]),
        ("vtrace", {"log_rhos": changed(FLOATS, (3, 0), INF)}, ValueError, ["log_rhos[3, 0] is inf"]),
        ("vtrace", {"log_rhos": changed(FLOATS, (3, 0), -INF)}, ValueError, ["log_rhos[3, 0] is -inf"]),
        ("nstep_returns", {"n": 0}, ValueError, ["n must be an integer >= 1, got 0"]),
        ("nstep_returns", {"n": 2.0}, TypeError, ["n must be an integer >= 1, got 2.0"]),
        ("gae", {"out": FLOATS}, TypeError, ["out must be a tuple of 2 arrays"]),
        ("gae", {"out": [FLOATS, FLOATS]}, TypeError, ["out must be a tuple of 2 arrays"]),
        ("gae", {"out": (FLOATS,)}, TypeError, ["out must be a tuple of 2 arrays"]),
        ("gae", {"out": (np.zeros((5, 3), "f"), None)}, TypeError, ["out[1] must be a float32 numpy array"]),
        ("td_errors", {"out": (FLOATS, FLOATS)}, TypeError, ["out must be a float32 numpy array"]),
        (
            "td_errors",
            {"out": np.zeros((5, 3))},
            TypeError,
            ["out must be float32 like rewards, got float64"],
        ),
        (
            "td_errors",
            {"out": np.zeros((3, 5), "f")},
            ValueError,
            ["out must have shape (5, 3) like rewards"],
        ),
        ("td_errors", {"out": read_only(np.zeros((5, 3), "f"))}, ValueError, ["out must be writable"]),
    ],
    ids=str,
)
def test_single_arguments_are_refused(estimate, arguments, error, words):
    given = GOOD | {"gae": {"lam": 0.9}, "nstep_returns": {"n": 2}}.get(estimate, {}) | arguments
    if estimate != "vtrace":
        del given["log_rhos"]
    refuse(lambda: getattr(fastpg, estimate)(**given), error, f"{estimate}(): ", *words)


def test_outputs_must_not_share_memory_with_anything():
    rewards, values = FLOATS.copy(), FLOATS.copy()
    base = {"rewards": rewards, "values": values, "terminated": BOOLS, "truncated": BOOLS, "gamma": 0.9}
    refuse(
        lambda: fastpg.td_errors(**base, last_values=FLOATS[0], out=values[::-1]),
        ValueError,
        "td_errors(): out must not share memory with values",
    )
    spare = np.zeros((6, 3), np.float32)
    refuse(
        lambda: fastpg.td_errors(**base, last_values=spare[0], out=spare[:5]),
        ValueError,
        "out must not share memory with last_values",
    )
    refuse(
        lambda: fastpg.gae(**base, lam=1.0, last_values=FLOATS[0], out=(spare[:5], spare[1:])),
        ValueError,
        "out[1] must not share memory with out[0]",
    )


def test_interleaved_arrays_may_lie_between_each_other():
    room = np.zeros((5, 3, 3), np.float32)
    room[..., 0] = FLOATS
    out = (room[..., 1], room[..., 2])
    fastpg.gae(room[..., 0], FLOATS, BOOLS, BOOLS, last_values=FLOATS[0], gamma=0.9, lam=0.9, out=out)
    expected = fastpg.gae(FLOATS, FLOATS, BOOLS, BOOLS, last_values=FLOATS[0], gamma=0.9, lam=0.9)
    np.testing.assert_array_equal(out, expected)
    assert (room[..., 0] == FLOATS).all()


def test_values_that_are_not_read_may_be_anything():
    last, done = np.full(3, NAN, np.float32), changed(BOOLS, 4, True)
    got = fastpg.td_errors(FLOATS, FLOATS, done, BOOLS, last_values=last, gamma=0.5)
    assert (got[4] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([0, 1], np.array(0)), TypeError, ["dones must be a bool or numeric array of zeros and ones"]),
        ((np.array(["a"]), np.array(0)), TypeError, ["dones must be a bool or numeric array"]),
        ((np.array([0, 2]), np.array(0)), ValueError, ["dones must hold zeros and ones, but one entry is 2"]),
        ((np.array([0, NAN]), np.array(0)), ValueError, ["but one entry is nan"]),
        ((np.zeros((2, 3)), np.zeros(2)), ValueError, ["next_done must have shape (3,), got (2,)"]),
        ((np.zeros((2, 3)), False), TypeError, ["next_done must be a bool or numeric array"]),
        ((np.zeros((0, 3)), np.zeros(3)), ValueError, ["dones must have shape (T, N) or (T,)"]),
        ((np.zeros((2, 3, 1)), np.zeros((3, 1))), ValueError, ["got (2, 3, 1)"]),
    ],
    ids=str,
)
def test_converters_refuse(arguments, error, words):
    refuse(lambda: fastpg.done_from_cleanrl(*arguments), error, "done_from_cleanrl(): ", *words)


def test_a_number_of_another_precision_is_no_value():
    rewards, never = np.ones(2, np.float32), np.zeros(2, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in np.float16(0.5), np.float64(0.5), np.longdouble(0.5):
            with pytest.raises(TypeError, match=r"td_errors\(\): last_values must be float32"):
                fastpg.td_errors(rewards, rewards, never, never, gamma=0.0, last_values=number)


@pytest.mark.parametrize("number", [3.4028235677973366e38, -1e39, 10**300])
def test_a_number_that_float32_does_not_hold_is_no_value(number):
    rewards, never = np.ones(2, np.float32), np.zeros(2, bool)
    with pytest.raises(ValueError, match=r"td_errors\(\): last_values must be a number that float32 holds"):
        fastpg.td_errors(rewards, rewards, never, never, gamma=0.0, last_values=number)
    wide = rewards.astype(np.float64)
    assert np.isfinite(fastpg.td_errors(wide, wide, never, never, gamma=0.5, last_values=number)).all()
