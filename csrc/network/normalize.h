/* normalize.h - running mean and standard deviation, and networks that they are folded into. */
#ifndef FPG_NORMALIZE_H
#define FPG_NORMALIZE_H

#include "fastpg.h"

typedef struct {
    int32_t size;
    int64_t count;
    double *mean, *square; /* of all observations so far: mean, and sum of squared distances from it */
    double *shift, *std;   /* what networks are folded with: as they were at the last fpg_normalizer_add */
} fpg_normalizer;

int fpg_normalizer_init(fpg_normalizer *z, int32_t size); /* 0 if memory runs out */
void fpg_normalizer_free(fpg_normalizer *z);
void fpg_normalizer_add(fpg_normalizer *z, int64_t count, const double *sum, const double *sum_square);
void fpg_normalizer_fold(const fpg_normalizer *z, int32_t outputs, int64_t num_parameters, const float *inner, float *outer);
void fpg_normalizer_unfold(const fpg_normalizer *z, int32_t outputs, int64_t num_parameters, const float *outer, float *inner);
void fpg_normalizer_chain(const fpg_normalizer *z, int32_t outputs, float *gradient);

#endif
