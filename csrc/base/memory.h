/* memory.h - aligned memory, arrays that grow, and whether all of it is finite. */
#ifndef FPG_MEMORY_H
#define FPG_MEMORY_H

#include "fastpg.h"
#include "simd/simd.h"

/* A product of sizes, or SIZE_MAX where it does not fit: more than there is of any memory. */
size_t fpg_times(size_t a, size_t b);
/* `count` entries of `size` bytes, 64-byte aligned and not cleared; NULL if there is no such memory. The OS commits it on first
 * touch. A count that is the product of others comes from fpg_times. */
void *fpg_alloc(size_t count, size_t size);
void *fpg_calloc(size_t count, size_t size); /* cleared */
void fpg_free(void *p);
/* A copy of `array`, which may be NULL, with room for `rows` rows of `row` bytes instead of old_rows; NULL if memory runs out. */
void *fpg_grown(const void *array, int64_t old_rows, int64_t rows, size_t row);
/* The same in the array's place; 0 if memory runs out, and then the array is as it was. */
#define FPG_GROW(place, old_rows, rows, row) \
    ({ \
        void *grown_ = fpg_grown(*(place), old_rows, rows, row); \
        if (grown_) { \
            fpg_free(*(place)); \
            *(place) = grown_; \
        } \
        grown_ != NULL; \
    })

/* x * 0 is NaN for NaN and infinity, and a NaN stays in a sum. */
static inline int fpg_all_finite(const float *x, int64_t n)
{
    float zero = 0;
    FPG_SIMD_SUM(zero) for (int64_t i = 0; i < n; i++)
        zero += x[i] * 0.0f;
    return zero == 0;
}

#endif
