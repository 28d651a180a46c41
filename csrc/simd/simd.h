/* simd.h - the width of a vector register, and a few portable names.
 *
 * fpg_vec holds FPG_LANES floats. It is a GNU vector type (GCC, clang, clang-cl), so + - * and the
 * compiler's own fused multiply-add apply; where there is none it is one float, and the same source
 * still computes the same thing. Everything else in csrc/ is plain C loops that the compiler vectorises.
 */
#ifndef FPG_SIMD_H
#define FPG_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#  define FPG_INLINE static inline __attribute__((always_inline))
#  define FPG_RESTRICT __restrict__
#  if defined(__AVX512F__)
#    define FPG_LANES 16
#  elif defined(__AVX2__)
#    define FPG_LANES 8
#  else
#    define FPG_LANES 4
#  endif
typedef float fpg_vec __attribute__((vector_size(4 * FPG_LANES)));
typedef int32_t fpg_mask __attribute__((vector_size(4 * FPG_LANES)));
#else
#  define FPG_INLINE static inline
#  define FPG_RESTRICT __restrict
#  define FPG_LANES 1
typedef float fpg_vec;
#endif

/* Hints only: a compiler that knows neither still compiles the same loops. */
#define FPG_PRAGMA(...) _Pragma(#__VA_ARGS__)
#if defined(__clang__)
#  define FPG_UNROLL FPG_PRAGMA(clang loop unroll(full))
#elif defined(__GNUC__)
#  define FPG_UNROLL FPG_PRAGMA(GCC unroll 16)
#else
#  define FPG_UNROLL
#endif
#if defined(__GNUC__) || defined(__clang__)
#  define FPG_SIMD FPG_PRAGMA(omp simd)
#  define FPG_SIMD_SUM(...) FPG_PRAGMA(omp simd reduction(+ : __VA_ARGS__))
#  define FPG_SIMD_OR(x) FPG_PRAGMA(omp simd reduction(| : x))
#else
#  define FPG_SIMD
#  define FPG_SIMD_SUM(...)
#  define FPG_SIMD_OR(x)
#endif

/* Rows are padded to whole vectors of the widest instruction set, so buffers have one size everywhere. */
#define FPG_PAD 16
FPG_INLINE int32_t fpg_round_up(int32_t n, int32_t multiple) { return (n + multiple - 1) / multiple * multiple; }

FPG_INLINE fpg_vec fpg_load(const float *p)
{
    fpg_vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

FPG_INLINE void fpg_store(float *p, fpg_vec v) { memcpy(p, &v, sizeof v); }

FPG_INLINE fpg_vec fpg_broadcast(float x) { return (fpg_vec){0} + x; }

/* x where h > 0, else 0 */
FPG_INLINE fpg_vec fpg_where_positive(fpg_vec h, fpg_vec x)
{
#if FPG_LANES > 1
    return (fpg_vec)((fpg_mask)x & (fpg_mask)(h > fpg_broadcast(0.0f)));
#else
    return h > 0 ? x : 0;
#endif
}

#endif
