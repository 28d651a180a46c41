/* kernels.h - what there is of every instruction set. */
#ifndef FPG_KERNELS_H
#define FPG_KERNELS_H

#include "batch/returns_job.h"
#include "sources/pass.h"
#include "sources/stepped.h"

typedef struct {
    const char *isa;
    const fpg_environment *const *environments; /* NULL-terminated */
    void (*pack)(const fpg_layout *layout, const float *theta, float *packed);
    /* out = scale * the sum of the slots' gradients, in theta's order; returns the sum of its squares. */
    double (*fold)(const fpg_layout *layout, fpg_slot *slots, int64_t num_slots, double scale, float *out);
    double (*sum_squares)(int64_t n, const float *x);
    void (*rollout)(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, fpg_worker *worker, int worker_index, fpg_slot *slot);
    void (*rows_gradient)(void *rows, int64_t slot, int worker); /* fpg_task over an fpg_rows, and the next two */
    void (*rows_segments)(void *rows, int64_t task, int worker);
    void (*rows_outputs)(void *rows, int64_t slot, int worker);
    /* Rewards and values of a shard become weights and targets. 0 if memory runs out. */
    int (*weigh)(const fpg_collect *collect, fpg_shard *shard, fpg_control *control, int worker);
    /* One tile of an fpg_vector; the pointers of the arguments are those of environment 0. FPG_OK, or FPG_ENVIRONMENT_FAILED. */
    fpg_status (*vector_step)(fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch, const void *actions, const fpg_step_output *out);
    int64_t (*vector_bad_action)(const fpg_vector *v, const void *actions); /* the first environment whose action is wrong, or -1 */
    fpg_status (*vector_reset)(fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch, const uint8_t *mask, void *obs);
    fpg_status (*vector_observe)(const fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch, const uint8_t *only, void *obs);
    void (*returns_float)(fpg_returns_job *job, int64_t first_env, int64_t end_env, int worker);
    void (*returns_double)(fpg_returns_job *job, int64_t first_env, int64_t end_env, int worker);
    /* FPG_NONFINITE_GRADIENT: a moment is not finite; FPG_NONFINITE_THETA. */
    fpg_status (*adam)(int64_t n, float *theta, const float *gradient, float *m, float *v, float rate, float beta1, float beta2,
                       float epsilon);
    fpg_status (*sgd)(int64_t n, float *theta, const float *gradient, float *m, float rate, float momentum);
    void (*philox)(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
    int (*vecmath_float)(const char *function, int64_t n, const float *x, float *y);
    int (*vecmath_double)(const char *function, int64_t n, const double *x, double *y);
} fpg_kernels;

extern const fpg_kernels fpg_kernels_baseline, fpg_kernels_avx2, fpg_kernels_avx512;
extern const fpg_environment *const fpg_environments_baseline[], *const fpg_environments_avx2[], *const fpg_environments_avx512[];
const fpg_kernels *fpg_active(void); /* the table that fpg_select_isa chose */

#endif
