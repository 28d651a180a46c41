/* learner.c - what an iteration does with its gradients: clip, step, read observations as they are normalised now. */
#include "base/internal.h"

#include <math.h>

/* One network's way uphill. */
typedef struct {
    int64_t num_parameters;
    int32_t first_outputs;                     /* of the first layer */
    float *m, *v;                              /* (P,) */
    float *inner;                              /* (P,): the parameters for normalised observations, where observations are */
    int is_scaled;                             /* steps of the iteration under way are taken on them */
    float *theta_before, *m_before, *v_before; /* (P,): what they were before the iteration under way */
    double beta1_power, beta2_power, beta1_power_before, beta2_power_before;
} ascent;

struct fpg_learner {
    fpg_train_config config;
    ascent policy, value;
    fpg_normalizer normalizer; /* size 0: observations are taken as they are */
    double anneal; /* of learning rates, in the iteration under way */
};

static int ascent_init(ascent *a, const fpg_network *net)
{
    a->num_parameters = fpg_num_parameters(net);
    a->beta1_power = a->beta2_power = 1;
    const size_t n = (size_t)a->num_parameters;
    float **arrays[] = {&a->m, &a->v, &a->inner, &a->theta_before, &a->m_before, &a->v_before};
    const size_t count = sizeof arrays / sizeof *arrays;
    a->first_outputs = net->num_hidden > 0 ? net->hidden[0] : net->num_outputs;
    a->m = fpg_calloc(fpg_times(n, count), sizeof(float));
    if (!a->m)
        return 0;
    for (size_t i = 1; i < count; i++)
        *arrays[i] = a->m + i * n;
    return 1;
}

static void ascent_save(ascent *a, const float *theta)
{
    const size_t size = (size_t)a->num_parameters * sizeof(float);
    memcpy(a->theta_before, theta, size);
    memcpy(a->m_before, a->m, size);
    memcpy(a->v_before, a->v, size);
    a->beta1_power_before = a->beta1_power, a->beta2_power_before = a->beta2_power;
}

static void ascent_restore(ascent *a, float *theta)
{
    const size_t size = (size_t)a->num_parameters * sizeof(float);
    memcpy(theta, a->theta_before, size);
    memcpy(a->m, a->m_before, size);
    memcpy(a->v, a->v_before, size);
    a->beta1_power = a->beta1_power_before, a->beta2_power = a->beta2_power_before;
}

fpg_learner *fpg_learner_new(const fpg_network *net, const fpg_network *value, const fpg_train_config *config)
{
    fpg_learner *l = fpg_calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->config = *config, l->anneal = 1;
    if (ascent_init(&l->policy, net) && (!value || ascent_init(&l->value, value)) &&
        (!config->normalize_observations || fpg_normalizer_init(&l->normalizer, net->num_inputs)))
        return l;
    fpg_learner_free(l);
    return NULL;
}

void fpg_learner_free(fpg_learner *l)
{
    if (!l)
        return;
    fpg_free(l->policy.m);
    fpg_free(l->value.m);
    fpg_normalizer_free(&l->normalizer);
    fpg_free(l);
}

void fpg_learner_begin(fpg_learner *l, int64_t total_steps, const float *theta, const float *value_theta)
{
    const double left = 1 - (double)total_steps / (double)l->config.total_steps;
    l->anneal = !l->config.linear_schedule ? 1 : left > 0 ? left : 0;
    l->policy.is_scaled = l->value.is_scaled = 0;
    if (l->normalizer.size > 0)
        fpg_normalizer_save(&l->normalizer);
    ascent_save(&l->policy, theta);
    if (value_theta)
        ascent_save(&l->value, value_theta);
}

void fpg_learner_undo(fpg_learner *l, float *theta, float *value_theta)
{
    if (l->normalizer.size > 0)
        fpg_normalizer_restore(&l->normalizer);
    ascent_restore(&l->policy, theta);
    if (value_theta)
        ascent_restore(&l->value, value_theta);
}

/* One step of an optimizer. After a failure the caller undoes the iteration. */
static fpg_status ascend_plain(const fpg_train_config *c, ascent *a, fpg_optimizer optimizer, double learning_rate,
                               const float *gradient, float *theta)
{
    const int64_t n = a->num_parameters;
    if (optimizer == FPG_ADAM) {
        a->beta1_power *= c->beta1, a->beta2_power *= c->beta2;
        const double root = sqrt(1 - a->beta2_power);
        fpg_active()->adam(n, theta, gradient, a->m, a->v, (float)(learning_rate * root / (1 - a->beta1_power)), (float)c->beta1,
                           (float)c->beta2, (float)(c->epsilon * root));
    } else
        fpg_active()->sgd(n, theta, gradient, a->m, (float)learning_rate, (float)c->momentum);
    /* A second moment that overflows would stop its parameter for good, without a word. */
    if (!fpg_all_finite(a->m, n) || !fpg_all_finite(a->v, n))
        return FPG_NONFINITE_GRADIENT;
    return fpg_all_finite(theta, n) ? FPG_OK : FPG_NONFINITE_THETA;
}

/* The same where the network reads normalised observations: the step is taken on its inner parameters. */
static fpg_status ascend(fpg_learner *l, ascent *a, fpg_optimizer optimizer, double learning_rate, const float *gradient, float *theta)
{
    if (!a->is_scaled)
        return ascend_plain(&l->config, a, optimizer, learning_rate * l->anneal, gradient, theta);
    const fpg_status status = ascend_plain(&l->config, a, optimizer, learning_rate * l->anneal, gradient, a->inner);
    fpg_normalizer_fold(&l->normalizer, a->first_outputs, a->num_parameters, a->inner, theta);
    return status;
}

/* The gradient by the parameters that steps are taken on, in place; returns its Euclidean norm. */
static double chain(const fpg_learner *l, const ascent *a, float *gradient)
{
    double square = 0;
    if (a->is_scaled)
        return sqrt(fpg_normalizer_chain(&l->normalizer, a->first_outputs, a->num_parameters, gradient));
    for (int64_t p = 0; p < a->num_parameters; p++)
        square += (double)gradient[p] * gradient[p];
    return sqrt(square);
}

fpg_status fpg_learner_policy_step(fpg_learner *l, float *gradient, float *theta, double *norm)
{
    *norm = chain(l, &l->policy, gradient);
    if (*norm > l->config.max_grad_norm)
        for (int64_t i = 0; i < l->policy.num_parameters; i++)
            gradient[i] *= (float)(l->config.max_grad_norm / *norm);
    return ascend(l, &l->policy, l->config.optimizer, l->config.learning_rate, gradient, theta);
}

fpg_status fpg_learner_value_step(fpg_learner *l, float *gradient, float *value_theta)
{
    chain(l, &l->value, gradient);
    return fpg_value_problem(ascend(l, &l->value, FPG_ADAM, l->config.value_learning_rate, gradient, value_theta));
}

/* A new network was drawn for normalised observations, which begin with the first statistics: until then its steps are plain
 * ones. All others are what they are whatever the statistics say, which only scale their steps. */
static void observe(const fpg_normalizer *z, ascent *a, int is_new, const float *theta)
{
    a->is_scaled = !is_new;
    if (a->is_scaled)
        fpg_normalizer_unfold(z, a->first_outputs, a->num_parameters, theta, a->inner);
}

void fpg_learner_observe(fpg_learner *l, int64_t count, const double *sum, const double *sum_square, const float *theta,
                         const float *value_theta)
{
    const int first = l->normalizer.count == 0;
    fpg_normalizer_add(&l->normalizer, count, sum, sum_square);
    observe(&l->normalizer, &l->policy, first && !l->config.policy_given, theta);
    observe(&l->normalizer, &l->value, first && !l->config.value_given, value_theta);
}

static void finish(const fpg_normalizer *z, ascent *a, float *theta)
{
    if (a->is_scaled)
        return;
    memcpy(a->inner, theta, (size_t)a->num_parameters * sizeof *theta);
    fpg_normalizer_fold(z, a->first_outputs, a->num_parameters, a->inner, theta);
}

void fpg_learner_finish(fpg_learner *l, float *theta, float *value_theta)
{
    if (l->normalizer.size == 0)
        return;
    finish(&l->normalizer, &l->policy, theta);
    finish(&l->normalizer, &l->value, value_theta);
}

fpg_status fpg_value_problem(fpg_status status)
{
    return status == FPG_NONFINITE_THETA ? FPG_NONFINITE_VALUE_THETA : status == FPG_NONFINITE_GRADIENT ? FPG_NONFINITE_VALUE : status;
}
