/* vecmath.h - tanh, exp, log, sin, cos as branch-free scalar functions that the compiler vectorises inside loops.
 *
 * Nothing here calls libm, branches or uses a table, so `for (i...) y[i] = fpg_tanhf(x[i]);` becomes vector code on
 * every instruction set. NaN in gives NaN out, infinities and signed zeros behave as in C's <math.h>. Errors are
 * |result - exact| / ulp(exact), the worst over SSE2, AVX2+FMA and AVX-512; for float functions over all 2^32 floats.
 * Build with -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast; never with -ffast-math, which breaks the rounding trick. */
#ifndef FPG_VECMATH_H
#define FPG_VECMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t fpg_float_bits(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
static inline float fpg_bits_float(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }
static inline uint64_t fpg_double_bits(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }
static inline double fpg_bits_double(uint64_t u) { double x; memcpy(&x, &u, sizeof x); return x; }

/* Adding one of these rounds to the nearest integer n and leaves n in the low bits of the sum (the second leaves n + 126,
 * which shifted left by 23 bits is the float 2^n / 2). Subtracting it again gives n as a number. */
#define FPG_ROUNDF 0x1.8p23f
#define FPG_ROUNDF_EXPONENT (0x1.8p23f + 126.0f)
#define FPG_ROUND 0x1.8p52

/* tanh(x), |x| clamped at 10 where the result is 1. Reduction: 2|x| = n ln2 - r, so exp(2|x|) = 2^n / e^r and
 *     tanh|x| = (2^n - e^r) / (2^n + e^r) = ((2^n/2 - 1/2) - p) / ((2^n/2 + 1/2) + p),   p = (e^r - 1) / 2.
 * With h = r/2 = n ln2/2 - |x|, p = h + h^2 Q(h), Q of degree 4. For n = 0 (|x| < 0.17) this is -p / (1 + p) and nothing
 * is rounded before p; one rounded ln2 is enough because the error it adds grows with n while the slope falls faster.
 * Max error 1.92 ulp. Cost: 8 multiply-adds, 5 additions, 1 division. */
static inline float fpg_tanhf(float x)
{
    float a = fpg_bits_float(fpg_float_bits(x) & 0x7fffffffu);
    a = 10.0f < a ? 10.0f : a;                          /* this order lets NaN through */
    float shifted = a * 0x1.715476p+1f + FPG_ROUNDF_EXPONENT;
    float n = shifted - FPG_ROUNDF_EXPONENT;
    float half_2n = fpg_bits_float(fpg_float_bits(shifted) << 23);
    float h = n * 0x1.62e43p-2f - a;
    float q = 0x1.6b8cb0p-5f;
    q = q * h + 0x1.1226a6p-3f;
    q = q * h + 0x1.555702p-2f;
    q = q * h + 0x1.5554b2p-1f;
    q = q * h + 0x1.fffffep-1f;
    float p = (h * h) * q + h;
    float y = ((half_2n - 0.5f) - p) / ((half_2n + 0.5f) + p);
    return fpg_bits_float(fpg_float_bits(y) | (fpg_float_bits(x) & 0x80000000u));
}

/* exp(x) = 2^n e^r, x = n ln2 + r (ln2 in two parts), e^r = 1 + r + r^2 Q(r) with Q of degree 4; 2^n is added to the
 * exponent bits. Results below FLT_MIN (x < -87.34) are flushed to 0; x > 88.72 gives infinity. */
static inline float fpg_expf(float x)
{
    float shifted = x * 0x1.715476p+0f + FPG_ROUNDF;
    float n = shifted - FPG_ROUNDF;
    float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float q = 0x1.6a4154p-10f;
    q = q * r + 0x1.1239c6p-7f;
    q = q * r + 0x1.5558bcp-5f;
    q = q * r + 0x1.555492p-3f;
    q = q * r + 0x1.fffffcp-2f;
    float p = ((r * r) * q + r) + 1.0f;
    float y = fpg_bits_float(fpg_float_bits(p) + (fpg_float_bits(shifted) << 23));
    y = x < -0x1.5d589ep+6f ? 0.0f : y;
    return x <= 0x1.62e42ep+6f ? y : x + INFINITY;
}

/* log(x) = e ln2 + log(1 + f), x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), log(1 + f) = f - f^2/2 + f^3 P(f)
 * with P of degree 7. Denormals are scaled first. */
static inline float fpg_logf(float x)
{
    int is_small = x < 0x1p-126f;
    uint32_t bits = fpg_float_bits(is_small ? x * 0x1p23f : x);
    int32_t exponent = (int32_t)(bits - 0x3f3504f3u) >> 23;
    float f = fpg_bits_float(bits - ((uint32_t)exponent << 23)) - 1.0f;
    float e = (float)exponent - (is_small ? 23.0f : 0.0f);
    float p = -0x1.38c9d4p-4f;
    p = p * f + 0x1.055ec4p-3f;
    p = p * f - 0x1.0d8242p-3f;
    p = p * f + 0x1.22d92ep-3f;
    p = p * f - 0x1.54728ap-3f;
    p = p * f + 0x1.99a01cp-3f;
    p = p * f - 0x1.000226p-2f;
    p = p * f + 0x1.555554p-2f;
    p = p * f - 0.5f;
    float y = e * 0x1.62e4p-1f + ((f * f) * p + e * 0x1.7f7d1cp-20f + f);
    y = x < INFINITY ? y : x;
    y = x == 0.0f ? -INFINITY : y;
    return x < 0.0f ? NAN : y;
}

/* Shared by fpg_sinf and fpg_cosf: a = |x| = (quadrant + fraction) pi/2, |fraction| <= 0.504; returns fraction * pi/2.
 * a * 2/pi in three parts of 29, 29 and 53 bits of 2/pi, so the first two products are exact in double. For large a the
 * leading bits of 2/pi, which only add whole turns, are left out: five rows of parts cover every finite float. */
static inline float fpg_quadrantf(float a, uint32_t *quadrant)
{
    double x = a;
    double hi = 0x1.45f306dp-1, mid = 0x1.9391054p-30, lo = 0x1.4fe13abe8fa9ap-59;
    hi = x < 0x1p32 ? hi : 0x1.f306dc8p-9;
    mid = x < 0x1p32 ? mid : 0x1.c882a53p-37;
    lo = x < 0x1p32 ? lo : 0x1.f09d5f47d4d37p-66;
    hi = x < 0x1p56 ? hi : 0x1.3910548p-34;
    mid = x < 0x1p56 ? mid : 0x1.3f84eafp-61;
    lo = x < 0x1p56 ? lo : 0x1.47d4d377036d9p-90;
    hi = x < 0x1p80 ? hi : 0x1.29fc275p-56;
    mid = x < 0x1p80 ? mid : 0x1.f47d4d2p-86;
    lo = x < 0x1p80 ? lo : 0x1.77036d8a5664fp-114;
    hi = x < 0x1p104 ? hi : 0x1.57d1f53p-80;
    mid = x < 0x1p104 ? mid : 0x1.377036cp-110;
    lo = x < 0x1p104 ? lo : 0x1.8a5664f10e410p-138;
    double turns = x * hi, more = x * mid;
    double shifted = turns + FPG_ROUND;
    turns -= shifted - FPG_ROUND;
    double shifted2 = (turns + more) + FPG_ROUND;
    turns = (turns - (shifted2 - FPG_ROUND)) + more + x * lo;
    *quadrant = (uint32_t)fpg_double_bits(shifted) + (uint32_t)fpg_double_bits(shifted2);
    return (float)(turns * 0x1.921fb54442d18p+0);
}

/* sin and cos of r, |r| <= pi/4 (+1 %): r - r^3/6 + ..., 1 - r^2/2 + ...; the one that the quadrant asks for. */
static inline float fpg_sin_quadrantf(float r, uint32_t quadrant)
{
    float z = r * r;
    float s = -0x1.995300p-13f;
    s = s * z + 0x1.110776p-7f;
    s = s * z - 0x1.555546p-3f;
    s = (r * z) * s + r;
    float c = 0x1.99e80cp-16f;
    c = c * z - 0x1.6c0c28p-10f;
    c = c * z + 0x1.55554ap-5f;
    c = c * z - 0.5f;
    c = c * z + 1.0f;
    float y = quadrant & 1 ? c : s;
    return fpg_bits_float(fpg_float_bits(y) ^ ((quadrant & 2) << 30));
}

/* sin(x): fpg_quadrantf, then the polynomials. */
static inline float fpg_sinf(float x)
{
    uint32_t quadrant, sign = fpg_float_bits(x) & 0x80000000u;
    float r = fpg_quadrantf(fpg_bits_float(fpg_float_bits(x) & 0x7fffffffu), &quadrant);
    return fpg_bits_float(fpg_float_bits(fpg_sin_quadrantf(r, quadrant)) ^ sign);
}

/* cos(x) = sin(|x| + pi/2). */
static inline float fpg_cosf(float x)
{
    uint32_t quadrant;
    float r = fpg_quadrantf(fpg_bits_float(fpg_float_bits(x) & 0x7fffffffu), &quadrant);
    return fpg_sin_quadrantf(r, quadrant + 1);
}

/* sin(x) and cos(x) in double. |x| = n pi/2 + r + tail, pi/2 in parts of 33, 33 and 53 bits: n * part is exact without
 * FMA for n < 2^20, so results do not depend on FMA there. Accurate for |x| <= 1.6e6; up to 2^30 the absolute error grows
 * to about 1e-7; finite x beyond count as 0. sin(r) = r + r^3 S(r^2), cos(r) = 1 - r^2/2 + r^4 C(r^2), degree 5 each. */
static inline void fpg_sincos(double x, double *sine, double *cosine)
{
    uint64_t sign = fpg_double_bits(x) & 0x8000000000000000u;
    double a = fpg_bits_double(fpg_double_bits(x) & 0x7fffffffffffffffu);
    a = a <= 0x1p30 ? a : a * 0.0;                      /* infinity becomes NaN */
    double shifted = a * 0x1.45f306dc9c883p-1 + FPG_ROUND;
    double n = shifted - FPG_ROUND;
    double high = a - n * 0x1.921fb544p+0;              /* exact */
    double middle = high - n * 0x1.0b4611a6p-34;
    double low = ((high - middle) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
    double r = middle + low;
    double tail = (middle - r) + low;
    double z = r * r;
    double s = 0x1.5ca1121095bdbp-33;
    s = s * z - 0x1.ae5b007ef6bdap-26;
    s = s * z + 0x1.71de30f02802dp-19;
    s = s * z - 0x1.a01a01969bb61p-13;
    s = s * z + 0x1.111111110cac2p-7;
    s = s * z - 0x1.555555555552ap-3;
    s = r + ((r * z) * s + tail);
    double c = -0x1.9b04df31c2f3ep-37;
    c = c * z + 0x1.1f0101f42bd8dp-29;
    c = c * z - 0x1.27e51c0763935p-22;
    c = c * z + 0x1.a01a01d1ce0b4p-16;
    c = c * z - 0x1.6c16c16c399c4p-10;
    c = c * z + 0x1.5555555555670p-5;
    double w = 1.0 - 0.5 * z;
    c = w + (((1.0 - w) - 0.5 * z) + ((z * z) * c - r * tail));
    uint64_t quadrant = fpg_double_bits(shifted);
    int swap = (int)(quadrant & 1);
    double sin_part = swap ? c : s, cos_part = swap ? s : c;
    *sine = fpg_bits_double(fpg_double_bits(sin_part) ^ ((quadrant & 2) << 62) ^ sign);
    *cosine = fpg_bits_double(fpg_double_bits(cos_part) ^ (((quadrant + 1) & 2) << 62));
}

static inline double fpg_sin(double x) { double s, c; fpg_sincos(x, &s, &c); return s; }
static inline double fpg_cos(double x) { double s, c; fpg_sincos(x, &s, &c); return c; }

#endif
