/* transpose.h - from lanes, where kernels compute, to rows, which callers read. */
#ifndef FPG_TRANSPOSE_H
#define FPG_TRANSPOSE_H

#include "simd/simd.h"

/* (size, width) to rows (count, size). */
FPG_INLINE void fpg_transpose_rows(int32_t count, int32_t width, const int32_t size, const float *FPG_RESTRICT lanes,
                                   float *FPG_RESTRICT rows)
{
    for (int32_t i = 0; i < count; i++)
        for (int32_t k = 0; k < size; k++)
            rows[i * size + k] = lanes[k * width + i];
}

/* The same; a literal size where it is usual becomes shuffles. */
static void fpg_transpose(int32_t count, int32_t width, int32_t size, const float *FPG_RESTRICT lanes, float *FPG_RESTRICT rows)
{
    switch (size) {
    case 1: memcpy(rows, lanes, (size_t)count * sizeof *rows); break;
    case 2: fpg_transpose_rows(count, width, 2, lanes, rows); break;
    case 3: fpg_transpose_rows(count, width, 3, lanes, rows); break;
    case 4: fpg_transpose_rows(count, width, 4, lanes, rows); break;
    case 6: fpg_transpose_rows(count, width, 6, lanes, rows); break;
    default: fpg_transpose_rows(count, width, size, lanes, rows);
    }
}

/* Rows (count, size) to lanes (size, ld). */
FPG_INLINE void fpg_from_rows_of(int32_t count, const int32_t size, const float *FPG_RESTRICT rows, ptrdiff_t ld, float *FPG_RESTRICT lanes)
{
    for (int32_t k = 0; k < size; k++)
        for (int32_t i = 0; i < count; i++)
            lanes[k * ld + i] = rows[i * size + k];
}

static void fpg_from_rows(int32_t count, int32_t size, const float *FPG_RESTRICT rows, ptrdiff_t ld, float *FPG_RESTRICT lanes)
{
    switch (size) {
    case 1: memcpy(lanes, rows, (size_t)count * sizeof *rows); break;
    case 2: fpg_from_rows_of(count, 2, rows, ld, lanes); break;
    case 3: fpg_from_rows_of(count, 3, rows, ld, lanes); break;
    case 4: fpg_from_rows_of(count, 4, rows, ld, lanes); break;
    case 6: fpg_from_rows_of(count, 6, rows, ld, lanes); break;
    default: fpg_from_rows_of(count, size, rows, ld, lanes);
    }
}

#endif
