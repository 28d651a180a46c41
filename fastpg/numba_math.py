"""Functions of one float64 that vectorise where numba compiles them, with the same bits in plain Python.

numba's own `math.sin` and its like are calls of the C library, one number at a time, and a loop with such a
call in it is not vectorised. These have no branches and no tables: `sin` and `cos` are the core's
(csrc/vecmath.h), the others are made in the same way. NaN in, NaN out; infinities and signed zeros as in
`math`, but nothing raises: what has no value is NaN, and what is too large infinite. Use them in a
`fastpg.jit_env`, or in functions of your own: ``numba.njit(numba_math.exp)``. For that each is
whole in itself, though some share lines: numba compiles no call of plain Python.

`normal` and `poisson` make random numbers of the uniform ones that a `fastpg.jit_env` is given.

Errors are in ulp: the distance to the exact result, over the distance between two floats there.
tests/envs/test_numba_math.py holds the functions to them.

=======  =================================================================
sin      0.9 where abs(x) <= 4.1e5; then more, and beyond 2**30 x counts as 0
cos      the same
tanh     2.6
exp      0.95; 1 where the result is below 2.3e-308
log      0.9
sqrt     0.5
normal   6, but for what `uniform` itself is rounded by
=======  =================================================================
"""

import numpy as np

__all__ = ["cos", "exp", "log", "normal", "poisson", "sin", "sqrt", "tanh"]

# 1.5 * 2^52: added to a float64, it rounds it to the nearest integer and leaves that in the low bits of the
# sum.
_ROUND = 6755399441055744.0
_ROUND_BITS = 0x4338000000000000
_SIGN = -(2**63)
_TWO_OVER_PI = 0.6366197723675814
# pi/2 in parts of 35, 35 and 53 bits.
_HALF_PI_1, _HALF_PI_2, _HALF_PI_3 = 1.5707963267923333, 2.5633441515839558e-12, 1.0562999066987428e-23
_LOG2_E = 1.4426950408889634
# ln 2 in parts of 29 and 53 bits.
_LN2_1, _LN2_2 = 0.6931471787393093, 1.8206359985041462e-09
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_SMALLEST_NORMAL = 2.2250738585072014e-308


def sin(x: float) -> float:
    """Return the sine of x radians; at most 1 in size.

    Examples
    --------
    >>> float(sin(0.5))
    0.479425538604203
    """
    # |x| = n pi/2 + r + low, exactly but for low: n times either of the first two parts is exact.
    size = np.abs(x)
    size = size if size <= 1073741824.0 else size - size  # infinity becomes NaN
    shifted = size * _TWO_OVER_PI + _ROUND
    n = shifted - _ROUND
    high = size - n * _HALF_PI_1
    r = high - n * _HALF_PI_2
    low = ((high - r) - n * _HALF_PI_2) - n * _HALF_PI_3
    z = r * r
    z2 = z * z
    s = 1.5853819690925853e-10 * z - 2.5049985637750596e-08
    s = s * z2 + (2.7557308542453165e-06 * z - 0.00019841269814288145)
    s = s * z2 + (0.00833333333330211 * z - 0.16666666666666546)
    c = -1.1681863460239e-11 * z + 2.0882284738947877e-09
    c = c * z2 + (-2.7557365497249223e-07 * z + 2.4801587478168795e-05)
    c = c * z2 + (-0.0013888888889198462 * z + 0.04166666666666863)
    w = 1.0 - 0.5 * z
    sine = r + ((r * z) * s + low * w)
    cosine = w + (((1.0 - w) - 0.5 * z) + (c * z2 - r * low))
    quadrant = np.float64(shifted).view(np.int64)
    y = cosine if quadrant & 1 else sine
    flip = (np.float64(x).view(np.int64) ^ (quadrant << 62)) & _SIGN
    return np.int64(np.float64(y).view(np.int64) ^ flip).view(np.float64)


def cos(x: float) -> float:
    """Return the cosine of x radians; at most 1 in size.

    Examples
    --------
    >>> float(cos(0.5))
    0.8775825618903728
    """
    size = np.abs(x)
    size = size if size <= 1073741824.0 else size - size
    shifted = size * _TWO_OVER_PI + _ROUND
    n = shifted - _ROUND
    high = size - n * _HALF_PI_1
    r = high - n * _HALF_PI_2
    low = ((high - r) - n * _HALF_PI_2) - n * _HALF_PI_3
    z = r * r
    z2 = z * z
    s = 1.5853819690925853e-10 * z - 2.5049985637750596e-08
    s = s * z2 + (2.7557308542453165e-06 * z - 0.00019841269814288145)
    s = s * z2 + (0.00833333333330211 * z - 0.16666666666666546)
    c = -1.1681863460239e-11 * z + 2.0882284738947877e-09
    c = c * z2 + (-2.7557365497249223e-07 * z + 2.4801587478168795e-05)
    c = c * z2 + (-0.0013888888889198462 * z + 0.04166666666666863)
    w = 1.0 - 0.5 * z
    sine = r + ((r * z) * s + low * w)
    cosine = w + (((1.0 - w) - 0.5 * z) + (c * z2 - r * low))
    quadrant = np.float64(shifted).view(np.int64)
    y = sine if quadrant & 1 else cosine
    flip = ((quadrant + 1) << 62) & _SIGN
    return np.int64(np.float64(y).view(np.int64) ^ flip).view(np.float64)


def exp(x: float) -> float:
    """Return e**x; 0 or infinity where that is too small or too large.

    Examples
    --------
    >>> round(float(exp(1.0)), 12)
    2.718281828459
    """
    # x = n ln2 + r, and 2^n in two factors, since it may be out of range where the result is not.
    y = -746.0 if x < -746.0 else x
    y = 710.0 if y > 710.0 else y
    shifted = y * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (y - n * _LN2_1) - n * _LN2_2
    # (e^r - 1 - r) / r^2 by Taylor's series, whose next term is below 2^-60 for |r| <= ln2/2.
    q = 1.1470745597729725e-11 * r + 1.6059043836821613e-10
    q = q * r + 2.08767569878681e-09
    q = q * r + 2.505210838544172e-08
    q = q * r + 2.755731922398589e-07
    q = q * r + 2.7557319223985893e-06
    q = q * r + 2.48015873015873e-05
    q = q * r + 0.0001984126984126984
    q = q * r + 0.001388888888888889
    q = q * r + 0.008333333333333333
    q = q * r + 0.041666666666666664
    q = q * r + 0.16666666666666666
    q = q * r + 0.5
    e = 1.0 + (r + r * r * q)
    power = np.float64(shifted).view(np.int64) - _ROUND_BITS
    half = power >> 1
    return (
        e
        * np.int64((half + 1023) << 52).view(np.float64)
        * np.int64((power - half + 1023) << 52).view(np.float64)
    )


def tanh(x: float) -> float:
    """Return the hyperbolic tangent; at most 1 in size.

    Examples
    --------
    >>> round(float(tanh(0.5)), 12)
    0.46211715726
    """
    # With 2|x| = n ln2 + r and p = e^r - 1: tanh|x| = (2^n - 1 + 2^n p) / (2^n + 1 + 2^n p), where nothing
    # cancels; and 1 - 2 / (2^n + 1 + 2^n p) near 1, whose rounding is not magnified.
    y = 2.0 * np.abs(x)
    y = 40.0 if y > 40.0 else y
    shifted = y * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (y - n * _LN2_1) - n * _LN2_2
    # (e^r - 1 - r) / r^2 by Taylor's series, whose next term is below 2^-60 for |r| <= ln2/2.
    q = 1.1470745597729725e-11 * r + 1.6059043836821613e-10
    q = q * r + 2.08767569878681e-09
    q = q * r + 2.505210838544172e-08
    q = q * r + 2.755731922398589e-07
    q = q * r + 2.7557319223985893e-06
    q = q * r + 2.48015873015873e-05
    q = q * r + 0.0001984126984126984
    q = q * r + 0.001388888888888889
    q = q * r + 0.008333333333333333
    q = q * r + 0.041666666666666664
    q = q * r + 0.16666666666666666
    q = q * r + 0.5
    p = r + r * r * q
    power = np.int64((np.float64(shifted).view(np.int64) - _ROUND_BITS + 1023) << 52).view(np.float64)
    ratio = (2.0 if n > 2.0 else (power - 1.0) + power * p) / ((power + 1.0) + power * p)
    result = 1.0 - ratio if n > 2.0 else ratio
    return np.int64(np.float64(result).view(np.int64) ^ (np.float64(x).view(np.int64) & _SIGN)).view(
        np.float64
    )


def log(x: float) -> float:
    """Return the natural logarithm: -infinity of 0, NaN of less.

    Examples
    --------
    >>> float(log(10.0))
    2.302585092994046
    """
    # x = 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = 2 artanh(s), s = f / (2 + f), by its
    # series. A subnormal x is scaled first.
    small = x < _SMALLEST_NORMAL
    y = x * 18014398509481984.0 if small else x * 1.0
    shift = 54.0 if small else 0.0
    bits = np.float64(y).view(np.int64)
    power = (bits - _SQRT_HALF_BITS) >> 52
    n = np.int64(power + _ROUND_BITS).view(np.float64) - _ROUND - shift
    f = np.int64(bits - (power << 52)).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    t = 0.08695652173913043 * z + 0.09523809523809523
    t = t * z + 0.10526315789473684
    t = t * z + 0.11764705882352941
    t = t * z + 0.13333333333333333
    t = t * z + 0.15384615384615385
    t = t * z + 0.18181818181818182
    t = t * z + 0.2222222222222222
    t = t * z + 0.2857142857142857
    t = t * z + 0.4
    t = t * z + 0.6666666666666666
    t = t * z
    square = 0.5 * f * f
    result = n * _LN2_1 - ((square - (s * (square + t) + n * _LN2_2)) - f)
    finite = result if x < np.inf else np.inf
    above = finite if x > 0.0 else -np.inf
    return above if x >= 0.0 else np.nan


def sqrt(x: float) -> float:
    """Return the square root: NaN of less than 0.

    Examples
    --------
    >>> float(sqrt(2.0))
    1.4142135623730951
    """
    return np.sqrt(x) if x >= 0.0 else np.nan


def normal(uniform: float) -> float:
    """Return the standard normal number below which a share `uniform` of them lies: its quantile.

    Of a number that is uniform in (0, 1) it makes one that is normal, with mean 0 and standard deviation 1.
    Wichura, "Algorithm AS 241: the percentage points of the normal distribution", 1988. -infinity of 0,
    infinity of 1, NaN outside; below 2.3e-308 it is as there, -37.5.

    Examples
    --------
    >>> round(float(normal(0.975)), 12)
    1.95996398454
    """

    def polynomial(
        x: float, a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float
    ) -> float:
        return ((((((a * x + b) * x + c) * x + d) * x + e) * x + f) * x + g) * x + h

    q = uniform - 0.5
    share = uniform if q < 0.0 else 1.0 - uniform
    share = share if share > _SMALLEST_NORMAL else _SMALLEST_NORMAL
    # r is the root of -log(share), which is computed as `log` does it.
    bits = np.float64(share).view(np.int64)
    power = (bits - _SQRT_HALF_BITS) >> 52
    n = np.int64(power + _ROUND_BITS).view(np.float64) - _ROUND
    f = np.int64(bits - (power << 52)).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    t = 0.08695652173913043 * z + 0.09523809523809523
    t = t * z + 0.10526315789473684
    t = t * z + 0.11764705882352941
    t = t * z + 0.13333333333333333
    t = t * z + 0.15384615384615385
    t = t * z + 0.18181818181818182
    t = t * z + 0.2222222222222222
    t = t * z + 0.2857142857142857
    t = t * z + 0.4
    t = t * z + 0.6666666666666666
    square = 0.5 * f * f
    r = np.sqrt((square - (s * (square + t * z) + n * _LN2_2)) - f - n * _LN2_1)
    # The quotients of AS 241 near 1/2, in the tails and far out in them, and then a choice: there is no
    # branch, and one division.
    near, tail, far = 0.180625 - q * q, r - 1.6, r - 5.0
    near_p = polynomial(
        near,
        2509.0809287301226727, 33430.575583588128105, 67265.770927008700853,
        45921.953931549871457, 13731.693765509461125, 1971.5909503065514427,
        133.14166789178437745, 3.387132872796366608,
    )  # fmt: skip
    near_q = polynomial(
        near,
        5226.495278852854561, 28729.085735721942674, 39307.89580009271061,
        21213.794301586595867, 5394.1960214247511077, 687.1870074920579083,
        42.313330701600911252, 1.0,
    )  # fmt: skip
    tail_p = polynomial(
        tail,
        7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
        1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
        4.6303378461565452959, 1.42343711074968357734,
    )  # fmt: skip
    tail_q = polynomial(
        tail,
        1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
        0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
        2.05319162663775882187, 1.0,
    )  # fmt: skip
    far_p = polynomial(
        far,
        2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
        0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
        5.4637849111641143699, 6.6579046435011037772,
    )  # fmt: skip
    far_q = polynomial(
        far,
        2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
        7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
        0.59983220655588793769, 1.0,
    )  # fmt: skip
    is_near, is_far = np.abs(q) <= 0.425, r > 5.0
    p = q * near_p if is_near else far_p if is_far else tail_p
    size = p / (near_q if is_near else far_q if is_far else tail_q)
    result = -size if q < -0.425 else size
    inside = result if uniform > 0.0 else -np.inf
    inside = inside if uniform < 1.0 else np.inf
    return inside if np.abs(q) <= 0.5 else np.nan


def poisson(mean: float, uniform: float) -> float:
    """Return the smallest count that at least a share `uniform` of Poisson's distribution does not exceed.

    Of a number that is uniform in (0, 1) it makes one that is Poisson's, by adding up probabilities from 0
    on: the time it takes grows with the mean, and a loop over it is not computed in vectors. NaN where the
    mean is not in 0..700 or `uniform` not in [0, 1).

    Examples
    --------
    >>> [poisson(2.5, uniform) for uniform in (0.01, 0.5, 0.99)]
    [0.0, 2.0, 7.0]
    """
    if not (0.0 <= mean <= 700.0 and 0.0 <= uniform < 1.0):
        return np.nan
    # e^-mean, computed as `exp` does it.
    shifted = -mean * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (-mean - n * _LN2_1) - n * _LN2_2
    q = 1.1470745597729725e-11 * r + 1.6059043836821613e-10
    q = q * r + 2.08767569878681e-09
    q = q * r + 2.505210838544172e-08
    q = q * r + 2.755731922398589e-07
    q = q * r + 2.7557319223985893e-06
    q = q * r + 2.48015873015873e-05
    q = q * r + 0.0001984126984126984
    q = q * r + 0.001388888888888889
    q = q * r + 0.008333333333333333
    q = q * r + 0.041666666666666664
    q = q * r + 0.16666666666666666
    q = q * r + 0.5
    power = np.float64(shifted).view(np.int64) - _ROUND_BITS
    probability = (1.0 + (r + r * r * q)) * np.int64((power + 1023) << 52).view(np.float64)
    count, total = 0.0, probability
    while uniform > total and probability > 0.0:
        count += 1.0
        probability *= mean / count
        total += probability
    return count
