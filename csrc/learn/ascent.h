/* ascent.h - one network's way uphill: an optimizer, and observations and outputs as they are normalised now.
 *
 * Steps are taken on inner parameters where something is normalised: those of the first layer for normalised observations, those of
 * the last for outputs that are divided by output_scale. theta computes the same from plain observations.
 */
#ifndef FPG_ASCENT_H
#define FPG_ASCENT_H

#include "network/layout.h"
#include "network/normalize.h"

typedef struct {
    float *theta;          /* (P,) the caller's */
    float *gradient;       /* (P,) */
    int64_t num_parameters;
    int32_t first_outputs; /* of the first layer */
    int is_new;            /* until it has learnt, normalising may change what it computes */
    float *m, *v;          /* (P,) moments */
    float *inner;          /* (P,) */
    int is_scaled;         /* steps of the iteration under way are taken on parameters for normalised observations */
    int64_t last_layer;    /* offset of the last layer's parameters, which go to the end of a value function's */
    double output_scale;   /* of a value function; 1 where its outputs are what it predicts */
    double beta1_power, beta2_power;
} fpg_ascent;

int fpg_ascent_init(fpg_ascent *a, const fpg_network *net, float *theta, int is_new); /* 0 if memory runs out */
void fpg_ascent_free(fpg_ascent *a);
/* Before the iteration's steps, with normalised observations: `first` says that the statistics are the first ones. */
void fpg_ascent_observe(fpg_ascent *a, const fpg_normalizer *z, int first);
/* Before them: the scale of the outputs, of which `first` says the same. A new value function's outputs grow with it. */
void fpg_ascent_scale_outputs(fpg_ascent *a, double scale, int first);
/* What steps are taken on: theta, or the inner parameters; then theta has to be made of them. */
float *fpg_ascent_steps_on(fpg_ascent *a);
void fpg_ascent_fold(fpg_ascent *a, const fpg_normalizer *z);
/* A direction in those parameters as one in theta. */
void fpg_ascent_fold_tangent(const fpg_ascent *a, const fpg_normalizer *z, const float *inner, float *outer);
/* a->gradient, which is by theta, becomes that by the inner parameters; its Euclidean norm. */
double fpg_ascent_chain(fpg_ascent *a, const fpg_normalizer *z);
/* One step uphill by `factor` times a->gradient, which is consumed. After a failure the iteration has to be undone. */
fpg_status fpg_ascent_step(fpg_ascent *a, const fpg_normalizer *z, const fpg_train_config *config, fpg_optimizer optimizer,
                           double learning_rate, double factor);
/* What a gradient of this norm is multiplied by: 1, or less so that its norm is max_norm. */
static inline double fpg_clip_factor(double norm, double max_norm) { return norm > max_norm ? max_norm / norm : 1; }
/* After the steps: a new network becomes a function of observations normalised by the first statistics. */
void fpg_ascent_finish(fpg_ascent *a, const fpg_normalizer *z);
/* Its entries, whose names begin with `policy` or `value`. */
int32_t fpg_ascent_state(fpg_ascent *a, const char *const names[5], fpg_entry *entries);

/* What is wrong with a parameter or a gradient, said of the value function's. */
fpg_status fpg_value_problem(fpg_status status);

#endif
