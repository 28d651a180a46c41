/* gemm.h - the one matrix kernel.
 *
 *     C[m, n] = start + sum_k A(m, k) * B[k, n]          m < M, n < N, k < K
 *
 * A is read one scalar at a time at a[m * a_m + k * a_k], so it may be transposed at no cost; rows of B
 * and C are contiguous and N is a multiple of FPG_PAD. A block of MR rows by NV vectors of C stays in
 * registers over the whole of K: per k, NV loads and MR broadcasts feed MR * NV multiply-adds, and no
 * sum is ever taken across lanes (the outer-product form: Goto & van de Geijn, "Anatomy of
 * high-performance matrix multiplication", 2008, section 4). Every C[m, n] adds its K terms in the same order whatever
 * the blocking, so results do not depend on how rows are grouped.
 *
 * The three products of an MLP layer y = x W^T are this kernel with other strides:
 * forward Y = X W^T, input gradient dX = dY W, weight gradient dW = dY^T X.
 */
#ifndef FPG_GEMM_H
#define FPG_GEMM_H

#include "simd/simd.h"

/* Accumulators: 4 x 4 vectors of 32 registers (AVX-512, NEON), 6 x 2 of 16 (AVX2, SSE) and for the last, narrow columns.
 * 6 x 4 is no faster on long products, and wastes more where rows come in fours. */
#define FPG_GEMM_MR 6
#if FPG_LANES == 16 || defined(__aarch64__)
#  define FPG_GEMM_NV 4
#else
#  define FPG_GEMM_NV 2
#endif

typedef enum {
    FPG_START_ZERO,      /* C = A B */
    FPG_START_ROW,       /* C = row + A B, row broadcast to every m: a layer's bias */
    FPG_START_ACCUMULATE /* C += A B */
} fpg_gemm_start;

typedef enum { FPG_END_NONE, FPG_END_TANH_SLOPE, FPG_END_RELU_SLOPE } fpg_gemm_end; /* C *= 1 - h^2, or 1[h > 0] */

typedef struct {
    const float *a; ptrdiff_t a_m, a_k;
    const float *b; ptrdiff_t b_k;
    float *c; ptrdiff_t c_m;
    const float *row; /* (N,), read for FPG_START_ROW only */
    int32_t depth;    /* K */
    fpg_gemm_start start;
    const float *h;   /* shaped like C: the activations whose slope multiplies the result */
    fpg_gemm_end end;
} fpg_gemm_args;

/* The block of mr x nv vectors at row m, column n. mr and nv are literals at every call, so acc lives in registers. */
FPG_INLINE void fpg_gemm_block(const fpg_gemm_args *g, int32_t m, int32_t n, const int mr, const int nv)
{
    fpg_vec acc[FPG_GEMM_MR][FPG_GEMM_NV];
    const ptrdiff_t a_m = g->a_m, a_k = g->a_k, b_k = g->b_k, c_m = g->c_m;
    const float *a = g->a + m * a_m, *b = g->b + n;
    float *c = g->c + m * c_m + n;
    if (g->start == FPG_START_ACCUMULATE) {
        FPG_UNROLL for (int i = 0; i < mr; i++)
            FPG_UNROLL for (int j = 0; j < nv; j++)
                acc[i][j] = fpg_load(c + i * c_m + j * FPG_LANES);
    } else {
        FPG_UNROLL for (int j = 0; j < nv; j++) {
            const fpg_vec from = g->start == FPG_START_ROW ? fpg_load(g->row + n + j * FPG_LANES) : fpg_broadcast(0.0f);
            FPG_UNROLL for (int i = 0; i < mr; i++)
                acc[i][j] = from;
        }
    }
    for (int32_t k = 0; k < g->depth; k++) {
        fpg_vec bk[FPG_GEMM_NV];
        FPG_UNROLL for (int j = 0; j < nv; j++)
            bk[j] = fpg_load(b + j * FPG_LANES);
        FPG_UNROLL for (int i = 0; i < mr; i++) {
            const fpg_vec x = fpg_broadcast(a[i * a_m]);
            FPG_UNROLL for (int j = 0; j < nv; j++)
                acc[i][j] += x * bk[j];
        }
        a += a_k;
        b += b_k;
    }
    const float *h = g->end == FPG_END_NONE ? NULL : g->h + m * c_m + n;
    if (g->end == FPG_END_TANH_SLOPE) {
        FPG_UNROLL for (int i = 0; i < mr; i++)
            FPG_UNROLL for (int j = 0; j < nv; j++) {
                const fpg_vec y = fpg_load(h + i * c_m + j * FPG_LANES);
                acc[i][j] *= 1.0f - y * y;
            }
    } else if (g->end == FPG_END_RELU_SLOPE) {
        FPG_UNROLL for (int i = 0; i < mr; i++)
            FPG_UNROLL for (int j = 0; j < nv; j++)
                acc[i][j] = fpg_where_positive(fpg_load(h + i * c_m + j * FPG_LANES), acc[i][j]);
    }
    FPG_UNROLL for (int i = 0; i < mr; i++)
        FPG_UNROLL for (int j = 0; j < nv; j++)
            fpg_store(c + i * c_m + j * FPG_LANES, acc[i][j]);
}

FPG_INLINE void fpg_gemm_panel(const fpg_gemm_args *g, int32_t rows, int32_t n, const int nv)
{
    const int mr = nv > 2 ? 4 : FPG_GEMM_MR;
    int32_t m = 0;
    for (; m + mr <= rows; m += mr)
        fpg_gemm_block(g, m, n, mr, nv);
    switch (rows - m) {
    case 5: fpg_gemm_block(g, m, n, 5, nv); break;
    case 4: fpg_gemm_block(g, m, n, 4, nv); break;
    case 3: fpg_gemm_block(g, m, n, 3, nv); break;
    case 2: fpg_gemm_block(g, m, n, 2, nv); break;
    case 1: fpg_gemm_block(g, m, n, 1, nv); break;
    }
}

static void fpg_gemm(const fpg_gemm_args *g, int32_t rows, int32_t columns)
{
    int32_t n = 0;
    for (; n + FPG_GEMM_NV * FPG_LANES <= columns; n += FPG_GEMM_NV * FPG_LANES)
        fpg_gemm_panel(g, rows, n, FPG_GEMM_NV);
    switch ((columns - n) / FPG_LANES) {
#if FPG_GEMM_NV > 2
    case 3: fpg_gemm_panel(g, rows, n, 3); break;
    case 2: fpg_gemm_panel(g, rows, n, 2); break;
#endif
    case 1: fpg_gemm_panel(g, rows, n, 1); break;
    }
}

#endif
