/* tanh, exp, log, sin, cos as branch-free scalar functions (no libm, no tables) that compilers vectorise inside loops.
 * NaN in, NaN out; infinities and signed zeros as in <math.h>; floating-point exception flags mean nothing.
 * Errors: |result - exact| / ulp(exact), worst over SSE2, AVX2+FMA, AVX-512 and, for float, over all 2^32 inputs.
 * Costs: cycles per element on Zen 4 in a loop over L1, AVX-512 / AVX2 / SSE2.
 * Needs -fno-math-errno -fno-trapping-math -ffp-contract=fast; -ffast-math breaks rounding by adding a constant. */
#ifndef FPG_VECMATH_H
#define FPG_VECMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t fpg_float_bits(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
static inline float fpg_bits_float(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }
static inline uint64_t fpg_double_bits(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }
static inline double fpg_bits_double(uint64_t u) { double x; memcpy(&x, &u, sizeof x); return x; }

/* Adding one of these rounds to the nearest integer n and leaves n in the low bits of the sum (the second leaves n
 * + 126, which shifted left by 23 bits is the float 2^n / 2). Subtracting it again gives n as a number. */
#define FPG_ROUNDF 0x1.8p23f
#define FPG_ROUNDF_EXPONENT (0x1.8p23f + 126.0f)
#define FPG_ROUND 0x1.8p52

/* NaN stays NaN. */
static inline double fpg_clip(double x, double low, double high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* x as a float32 operation leaves it. + - * of float32 numbers rounded twice, to double and then to float, are rounded
 * once, so fpg_single(a * b) is their float32 product; and no compiler fuses it into an addition. */
static inline double fpg_single(double x) { return (double)(float)x; }

/* x - n * FPG_TWO_PI for a whole |n| < 2^17, rounded once or twice near the end: n times the first part is exact. */
#define FPG_PI 0x1.921fb54442d18p+1
#define FPG_TWO_PI 0x1.921fb54442d18p+2
static inline double fpg_minus_turns(double x, double n) { return (x - n * 0x1.921fb5444p+2) - n * 0x1.68cp-37; }

/* tanh(x), |x| clamped at 10 where the result is 1. Reduction: 2|x| = n ln2 - r, so exp(2|x|) = 2^n / e^r and
 *     tanh|x| = (2^n - e^r) / (2^n + e^r) = ((2^n/2 - 1/2) - p) / ((2^n/2 + 1/2) + p),   p = (e^r - 1) / 2.
 * With h = r/2 = n ln2/2 - |x|, p = h + h^2 Q(h), Q of degree 4. For n = 0 (|x| < 0.17) this is -p / (1 + p) and
 * nothing is rounded before p; one rounded ln2 is enough because the error it adds grows with n while the slope
 * falls faster. Max error 1.99 ulp, |result| <= 1, odd to the bit. Cost 0.8 / 1.2 / 3.5: 8 multiply-adds, 5
 * additions, 1 division. */
static inline float fpg_tanhf(float x)
{
    float a = fpg_bits_float(fpg_float_bits(x) & 0x7fffffffu);
    a = 10.0f < a ? 10.0f : a;                          /* this order lets NaN through */
    float shifted = a * 0x1.715476p+1f + FPG_ROUNDF_EXPONENT;
    float n = shifted - FPG_ROUNDF_EXPONENT;
    float half_2n = fpg_bits_float(fpg_float_bits(shifted) << 23);
    float h = n * 0x1.62e43p-2f - a;
    float h2 = h * h;
    float q = 0x1.6b8cb0p-5f * h2 + (0x1.1226a6p-3f * h + 0x1.555702p-2f);
    q = q * h2 + (0x1.5554b2p-1f * h + 0x1.fffffep-1f);
    float p = q * h2 + h;
    float y = ((half_2n - 0.5f) - p) / ((half_2n + 0.5f) + p);
    return fpg_bits_float(fpg_float_bits(y) | (fpg_float_bits(x) & 0x80000000u));
}

/* exp(x) = 2^n e^r. Reduction: x = n ln2 + r, |r| <= ln2/2, ln2 in two parts, the first with n * part exact. e^r =
 * 1 + r + r^2 Q(r), Q of degree 4; n is added to the exponent bits. Max error 1.04 ulp. Results below FLT_MIN (x <
 * -87.34) are flushed to 0; x > 88.72 gives infinity. Cost 0.75 / 0.9 / 3.1. */
static inline float fpg_expf(float x)
{
    float shifted = x * 0x1.715476p+0f + FPG_ROUNDF;
    float n = shifted - FPG_ROUNDF;
    float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float r2 = r * r;
    float q = 0x1.6a4154p-10f * r2 + (0x1.1239c6p-7f * r + 0x1.5558bcp-5f);
    q = q * r2 + (0x1.555492p-3f * r + 0x1.fffffcp-2f);
    float p = (q * r2 + r) + 1.0f;
    float y = fpg_bits_float(fpg_float_bits(p) + (fpg_float_bits(shifted) << 23));
    y = x < -0x1.5d589ep+6f ? 0.0f : y;
    return x <= 0x1.62e42ep+6f ? y : x + INFINITY;
}

/* log(x) = e ln2 + log(1 + f). Reduction: x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), by integer arithmetic on
 * the bits (denormals are scaled by 2^23 first). log(1 + f) = f - f^2/2 + f^3 P(f), P of degree 7. Max error 0.96
 * ulp. Cost 1.4 / 2.0 / 6.0. */
static inline float fpg_logf(float x)
{
    int is_small = x < 0x1p-126f;
    uint32_t bits = fpg_float_bits(is_small ? x * 0x1p23f : x);
    int32_t exponent = (int32_t)(bits - 0x3f3504f3u) >> 23;
    float f = fpg_bits_float(bits - ((uint32_t)exponent << 23)) - 1.0f;
    float e = (float)exponent - (is_small ? 23.0f : 0.0f);
    float f2 = f * f;
    float p = -0x1.38c9d4p-4f * f + 0x1.055ec4p-3f;
    p = p * f2 + (-0x1.0d8242p-3f * f + 0x1.22d92ep-3f);
    p = p * f2 + (-0x1.54728ap-3f * f + 0x1.99a01cp-3f);
    p = p * f2 + (-0x1.000226p-2f * f + 0x1.555554p-2f);
    p = p * f - 0.5f;
    float y = e * 0x1.62e4p-1f + ((p * f2 + e * 0x1.7f7d1cp-20f) + f);
    y = x < INFINITY ? y : x;
    y = x == 0.0f ? -INFINITY : y;
    return x < 0.0f ? NAN : y;
}

/* The reduction of fpg_sinf and fpg_cosf, good for every finite float: a >= 0 is (quadrant + fraction) pi/2 with
 * |fraction| <= 0.504; returns fraction * pi/2. In double, a * 2/pi in three parts of 29, 29 and 53 bits of 2/pi,
 * the first two products exact. For large a the leading bits of 2/pi only add whole turns; five rows of parts
 * leave them out. */
static inline float fpg_quadrantf(float a, uint32_t *quadrant)
{
    double x = (double)a;
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
    double fraction = x * hi, more = x * mid;
    double shifted = fraction + FPG_ROUND;
    fraction -= shifted - FPG_ROUND;
    double shifted_again = (fraction + more) + FPG_ROUND;
    fraction = (fraction - (shifted_again - FPG_ROUND)) + more + x * lo;
    *quadrant = (uint32_t)fpg_double_bits(shifted) + (uint32_t)fpg_double_bits(shifted_again);
    return (float)(fraction * 0x1.921fb54442d18p+0);
}

/* sin(r + quadrant pi/2) for |r| <= 0.8: sin(r) = r + r z S(z), cos(r) = 1 - z/2 + z^2 C(z), z = r^2, S and C of
 * degree 2; the quadrant selects one and its sign. */
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

/* sin(x) by fpg_quadrantf on |x|. Max error 1.56 ulp. Cost 3.6 / 6.1 / 16.6 (the reduction is nearly all of it). */
static inline float fpg_sinf(float x)
{
    uint32_t quadrant, sign = fpg_float_bits(x) & 0x80000000u;
    float r = fpg_quadrantf(fpg_bits_float(fpg_float_bits(x) & 0x7fffffffu), &quadrant);
    return fpg_bits_float(fpg_float_bits(fpg_sin_quadrantf(r, quadrant)) ^ sign);
}

/* cos(x) = sin(|x| + pi/2). Max error 1.56 ulp. Cost 3.6 / 6.1 / 16.6. */
static inline float fpg_cosf(float x)
{
    uint32_t quadrant;
    float r = fpg_quadrantf(fpg_bits_float(fpg_float_bits(x) & 0x7fffffffu), &quadrant);
    return fpg_sin_quadrantf(r, quadrant + 1);
}

/* sin(r + low) and cos(r + low) for |r| <= pi/4. */
static inline void fpg_sincos_reduced(double r, double low, double *sine, double *cosine)
{
    double z = r * r, z2 = z * z;
    double s = 0x1.5ca1121095bdbp-33 * z - 0x1.ae5b007ef6bdap-26;
    s = s * z2 + (0x1.71de30f02802dp-19 * z - 0x1.a01a01969bb61p-13);
    s = s * z2 + (0x1.111111110cac2p-7 * z - 0x1.555555555552ap-3);
    double c = -0x1.9b04df31c2f3ep-37 * z + 0x1.1f0101f42bd8dp-29;
    c = c * z2 + (-0x1.27e51c0763935p-22 * z + 0x1.a01a01d1ce0b4p-16);
    c = c * z2 + (-0x1.6c16c16c399c4p-10 * z + 0x1.5555555555670p-5);
    double w = 1.0 - 0.5 * z;
    *sine = r + ((r * z) * s + low * w);
    *cosine = w + (((1.0 - w) - 0.5 * z) + (c * z2 - r * low));
}

/* sin(x) and cos(x) in double. Reduction (Cody-Waite): |x| = n pi/2 + r + low, pi/2 in parts of 35, 35 and 53
 * bits. n times either short part is exact for n < 2^18, so the reduction is the same with and without FMA and low
 * carries what r cannot. sin(r) = r + r z S(z), cos(r) = 1 - z/2 + z^2 C(z), z = r^2, S and C of degree 5; low
 * enters by the derivative. Max error 0.9 ulp for |x| <= 4.1e5 (0.72 for |x| < 0.5). From there to 2^30 the
 * absolute error grows to 1e-7; a finite |x| > 2^30 counts as 0. Always within [-1, 1]. Cost for both 4.5 / 5.7 /
 * 17.3. */
static inline void fpg_sincos(double x, double *sine, double *cosine)
{
    const uint64_t sign_bit = 0x8000000000000000u;
    double a = fpg_bits_double(fpg_double_bits(x) & ~sign_bit);
    a = a <= 0x1p30 ? a : a - a;                        /* infinity becomes NaN */
    double shifted = a * 0x1.45f306dc9c883p-1 + FPG_ROUND;
    double n = shifted - FPG_ROUND;
    double high = a - n * 0x1.921fb5444p+0;
    double r = high - n * 0x1.68c234c4cp-39;
    double low = ((high - r) - n * 0x1.68c234c4cp-39) - n * 0x1.98a2e03707345p-77;
    double s, c;
    fpg_sincos_reduced(r, low, &s, &c);
    /* Odd quadrants swap the two; bit 1 of n, and of n + 1, negates. By masks: SSE2 cannot compare 64-bit lanes. */
    uint64_t quadrant = fpg_double_bits(shifted);
    uint64_t swap = (fpg_double_bits(s) ^ fpg_double_bits(c)) & (0 - (quadrant & 1));
    *sine = fpg_bits_double(fpg_double_bits(s) ^ swap ^ ((fpg_double_bits(x) ^ (quadrant << 62)) & sign_bit));
    *cosine = fpg_bits_double(fpg_double_bits(c) ^ swap ^ (((quadrant + 1) << 62) & sign_bit));
}

/* The same bits for |x| <= FPG_QUARTER_PI, or NaN, without the reduction, which leaves such x as they are. */
#define FPG_QUARTER_PI 0x1.921fb54442d18p-1
static inline void fpg_sincos_small(double x, double *sine, double *cosine) { fpg_sincos_reduced(x, 0.0, sine, cosine); }

/* One of the two alone; the compiler drops most of what the other needs. Errors as fpg_sincos, cost 4.3 / 5.3 /
 * 15.8. */
static inline double fpg_sin(double x) { double s, c; fpg_sincos(x, &s, &c); return s; }
static inline double fpg_cos(double x) { double s, c; fpg_sincos(x, &s, &c); return c; }

#endif
