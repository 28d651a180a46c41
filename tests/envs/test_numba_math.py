"""fastpg.numba_math: errors in ulp against extended precision, special values, plain and compiled alike."""

import math
import re

import numpy as np
import pytest

from fastpg import _core, numba_math
from fastpg.envs.custom import jit_compile

numba = pytest.importorskip("numba")

extended = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="long double is no longer than double"
)
OF_ONE_NUMBER = [name for name in numba_math.__all__ if name != "poisson"]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1e300, -1e300, 709.9, -746.0, 1.0, -1.0]


@pytest.fixture(scope="module")
def compiled():
    return {name: numba.vectorize(["f8(f8)"])(getattr(numba_math, name)) for name in OF_ONE_NUMBER}


def error(function, name, x):
    """The largest distance from the exact result, in ulp."""
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.longdouble))
        ulp = np.spacing(np.abs(exact).astype(np.float64))
        return float((np.abs(function(x).astype(np.longdouble) - exact) / ulp).max())


RANGES = [
    ("sin", -4.1e5, 4.1e5, 0.9),
    ("sin", -7.0, 7.0, 0.9),
    ("cos", -4.1e5, 4.1e5, 0.9),
    ("cos", -7.0, 7.0, 0.9),
    ("exp", -708.0, 709.7, 0.95),
    ("exp", -745.0, -708.0, 1.0),
    ("exp", -1.0, 1.0, 0.95),
    ("tanh", -20.0, 20.0, 2.6),
    ("tanh", -1.0, 1.0, 2.6),
    ("log", 0.5, 2.0, 0.9),
    ("log", 1e-320, 1e-300, 0.9),
    ("sqrt", 0.0, 1e10, 0.5),
]


@pytest.mark.slow
@extended
@pytest.mark.parametrize(("name", "low", "high", "limit"), RANGES)
def test_errors_are_what_the_table_says(compiled, name, low, high, limit, rng):
    assert error(compiled[name], name, rng.uniform(low, high, 400_000)) <= limit


@extended
@pytest.mark.parametrize(("name", "limit"), [("log", 0.9), ("tanh", 2.6)])
def test_errors_over_all_magnitudes(compiled, name, limit, rng):
    assert error(compiled[name], name, 10.0 ** rng.uniform(-307, 307, 400_000)) <= limit


@pytest.mark.parametrize("name", OF_ONE_NUMBER)
def test_plain_and_compiled_are_the_same_bits(compiled, name, rng):
    x = np.concatenate([SPECIAL, rng.normal(scale=30.0, size=500), 10.0 ** rng.uniform(-300, 300, 500)])
    with np.errstate(all="ignore"):
        plain = np.array([getattr(numba_math, name)(float(one)) for one in x])
        got = compiled[name](x)
    np.testing.assert_array_equal(got, plain)
    np.testing.assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(plain[~np.isnan(plain)]))


@pytest.mark.parametrize("name", ["exp", "tanh", "log", "sqrt"])
def test_special_values_are_those_of_numpy(compiled, name):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1e-300, -5.0, 800.0, -800.0])
    with np.errstate(all="ignore"):
        expected, got = getattr(np, name)(x), compiled[name](x)
        sines = compiled["sin"](np.array([np.inf, np.nan]))
    np.testing.assert_allclose(got, expected, rtol=1e-15)
    assert np.isnan(sines).all()
    assert math.copysign(1.0, float(compiled["sin"](-0.0))) == -1.0


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_are_the_cores_within_an_ulp(compiled, name, rng):
    x = rng.uniform(-1000, 1000, 10_000)
    core = _core.vecmath(name, x)
    assert (np.abs(compiled[name](x) - core) <= 2 * np.spacing(np.abs(core))).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ONE_NUMBER)
def test_a_loop_over_them_is_computed_in_vectors(name):
    function = numba.njit(getattr(numba_math, name), **jit_compile.OPTIONS)

    @numba.njit(error_model="numpy")
    def loop(x, y):
        for i in range(len(x)):
            y[i] = function(x[i])

    loop(np.ones(64), np.empty(64))
    assembly = loop.inspect_asm(loop.signatures[0])
    if "xmm" not in assembly:
        pytest.skip("not x86-64")
    packed = re.findall(r"\bv?(?:mul|sqrt|fmadd\d+)pd\b", assembly)
    assert packed, assembly


# ---- random numbers of uniform ones ------------------------------------------------------------------------


def test_normal_is_the_quantile(compiled, rng):
    """Rounding of the quantile shows in the distribution function as it is steep there."""
    for uniform in (rng.uniform(size=20_000), 10.0 ** rng.uniform(-300, -1, 2000)):
        x = compiled["normal"](uniform)
        below = np.array([0.5 * math.erfc(-one / math.sqrt(2.0)) for one in x])
        assert (np.abs(below / uniform - 1.0) <= 2e-15 * (1.0 + x * x)).all()
    grid = rng.integers(1, 2**31, 1000) / 2**32  # so that 1 - grid is exact
    np.testing.assert_array_equal(compiled["normal"](1.0 - grid), -compiled["normal"](grid))
    with np.errstate(all="ignore"):
        got = compiled["normal"](np.array([0.0, 1.0, 0.5, -1e-9, 1.0 + 1e-9, np.nan]))
    np.testing.assert_array_equal(got, [-np.inf, np.inf, 0.0, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("mean", [0.0, 1e-9, 0.3, 2.5, 40.0, 700.0])
def test_poisson_is_the_quantile(mean, rng):
    probability, shares = math.exp(-mean), []
    for k in range(1200):
        shares.append(probability)
        probability *= mean / (k + 1)
    below = np.cumsum(shares)
    uniform = rng.uniform(size=2000)
    expected = np.searchsorted(below, uniform)
    plain = np.array([numba_math.poisson(mean, float(one)) for one in uniform])
    np.testing.assert_array_equal(plain, expected)
    compiled = numba.vectorize(["f8(f8, f8)"])(numba_math.poisson)
    np.testing.assert_array_equal(compiled(mean, uniform), plain)
    assert numba_math.poisson(mean, np.nextafter(1.0, 0.0)) < 1000  # it ends where the sum stays below


@pytest.mark.parametrize(
    ("mean", "uniform"), [(-1.0, 0.5), (701.0, 0.5), (np.nan, 0.5), (1.0, 1.0), (1.0, -0.1)]
)
def test_poisson_of_what_it_is_not_made_for_is_nan(mean, uniform):
    assert math.isnan(numba_math.poisson(mean, uniform))
