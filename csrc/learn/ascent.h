/* ascent.h - one network's way uphill: an optimizer, and observations as they are normalised now. */
#ifndef FPG_ASCENT_H
#define FPG_ASCENT_H

#include "base/internal.h"

typedef struct {
    float *theta;          /* (P,) the caller's */
    float *gradient;       /* (P,) */
    int64_t num_parameters;
    int32_t first_outputs; /* of the first layer */
    int is_new;            /* until it has learnt, normalising may change what it computes */
    float *m, *v;          /* (P,) moments */
    float *inner;          /* (P,): the parameters for normalised observations, where observations are */
    int is_scaled;         /* steps of the iteration under way are taken on them */
    double beta1_power, beta2_power;
} fpg_ascent;

int fpg_ascent_init(fpg_ascent *a, const fpg_network *net, float *theta, int is_new); /* 0 if memory runs out */
void fpg_ascent_free(fpg_ascent *a);
/* Before the iteration's steps, with normalised observations: `first` says that the statistics are the first ones. */
void fpg_ascent_observe(fpg_ascent *a, const fpg_normalizer *z, int first);
/* One step uphill by a->gradient, which is consumed; the gradient is scaled down to max_norm. *norm: its Euclidean norm before.
 * After a failure the iteration has to be undone. */
fpg_status fpg_ascent_step(fpg_ascent *a, const fpg_normalizer *z, const fpg_train_config *config, fpg_optimizer optimizer,
                           double learning_rate, double max_norm, double *norm);
/* After the steps: a new network becomes a function of observations normalised by the first statistics. */
void fpg_ascent_finish(fpg_ascent *a, const fpg_normalizer *z);
/* Its entries, whose names begin with `policy` or `value`. */
int32_t fpg_ascent_state(fpg_ascent *a, const char *const names[5], fpg_entry *entries);

#endif
