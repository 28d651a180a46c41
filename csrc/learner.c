/* learner.c - what an iteration does with its gradients: clip, step, read observations as they are normalised now. */
#include "internal.h"

#include <math.h>

/* One network's way uphill. */
typedef struct {
    int64_t num_parameters;
    int32_t first_outputs;                     /* of the first layer */
    float *m, *v;                              /* (P,) */
    int continues;                             /* no new network: see normalize.c */
    fpg_scale scale;                           /* of its observations; size 0: they are taken as they are */
    float *inner;                              /* (P,): a new network's parameters for scaled observations; else a step of theirs */
    float *outer;                              /* (P,): what inner was last folded into, or read from */
    float *theta_before, *m_before, *v_before, *inner_before; /* (P,): what they were before the iteration under way */
    double beta1_power, beta2_power, beta1_power_before, beta2_power_before;
} ascent;

struct fpg_learner {
    fpg_train_config config;
    ascent policy, value;
    fpg_normalizer normalizer; /* size 0: observations are taken as they are */
    double anneal; /* of learning rates, in the iteration under way */
};

static int ascent_init(ascent *a, const fpg_network *net, int normalizes, int continues)
{
    a->continues = continues;
    a->num_parameters = fpg_num_parameters(net);
    a->beta1_power = a->beta2_power = 1;
    const size_t n = (size_t)a->num_parameters;
    float **arrays[] = {&a->m, &a->v, &a->inner, &a->outer, &a->theta_before, &a->m_before, &a->v_before, &a->inner_before};
    const size_t count = sizeof arrays / sizeof *arrays;
    a->first_outputs = net->num_hidden > 0 ? net->hidden[0] : net->num_outputs;
    a->m = fpg_calloc(n * sizeof(float) * count);
    if (!a->m)
        return 0;
    for (size_t i = 1; i < count; i++)
        *arrays[i] = a->m + i * n;
    return !normalizes || fpg_scale_init(&a->scale, net->num_inputs);
}

static void ascent_free(ascent *a)
{
    fpg_free(a->m);
    fpg_scale_free(&a->scale);
}

static void ascent_save(ascent *a, const float *theta)
{
    const size_t size = (size_t)a->num_parameters * sizeof(float);
    memcpy(a->theta_before, theta, size);
    memcpy(a->m_before, a->m, size);
    memcpy(a->v_before, a->v, size);
    memcpy(a->inner_before, a->inner, size);
    a->beta1_power_before = a->beta1_power, a->beta2_power_before = a->beta2_power;
}

static void ascent_restore(ascent *a, float *theta)
{
    const size_t size = (size_t)a->num_parameters * sizeof(float);
    memcpy(theta, a->theta_before, size);
    memcpy(a->m, a->m_before, size);
    memcpy(a->v, a->v_before, size);
    memcpy(a->inner, a->inner_before, size);
    a->beta1_power = a->beta1_power_before, a->beta2_power = a->beta2_power_before;
}

fpg_learner *fpg_learner_new(const fpg_network *net, const fpg_network *value, const fpg_train_config *config)
{
    fpg_learner *l = fpg_calloc(sizeof *l);
    if (!l)
        return NULL;
    l->config = *config, l->anneal = 1;
    const int normalizes = config->normalize_observations;
    if (ascent_init(&l->policy, net, normalizes, config->policy_continues) &&
        (!value || ascent_init(&l->value, value, normalizes, config->value_continues)) &&
        (!normalizes || fpg_normalizer_init(&l->normalizer, net->num_inputs)))
        return l;
    fpg_learner_free(l);
    return NULL;
}

void fpg_learner_free(fpg_learner *l)
{
    if (!l)
        return;
    ascent_free(&l->policy);
    ascent_free(&l->value);
    fpg_normalizer_free(&l->normalizer);
    fpg_free(l);
}

/* The parameters are new to the learner before its first iteration, and when somebody else wrote to them. */
static void read_outer(ascent *a, const float *theta)
{
    const size_t size = (size_t)a->num_parameters * sizeof *theta;
    if (a->continues || !memcmp(a->outer, theta, size))
        return;
    memcpy(a->outer, theta, size);
    fpg_scale_unfold(&a->scale, a->first_outputs, a->num_parameters, theta, a->inner);
}

void fpg_learner_begin(fpg_learner *l, int64_t total_steps, const float *theta, const float *value_theta)
{
    const double left = 1 - (double)total_steps / (double)l->config.total_steps;
    l->anneal = !l->config.linear_schedule ? 1 : left > 0 ? left : 0;
    if (l->normalizer.size > 0) {
        read_outer(&l->policy, theta);
        read_outer(&l->value, value_theta);
        fpg_normalizer_save(&l->normalizer);
    }
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

/* The same where the network reads normalised observations: the step is taken in its inner parameters. */
static fpg_status ascend(fpg_learner *l, ascent *a, fpg_optimizer optimizer, double learning_rate, const float *gradient, float *theta)
{
    if (a->scale.size == 0)
        return ascend_plain(&l->config, a, optimizer, learning_rate * l->anneal, gradient, theta);
    if (a->continues)
        memset(a->inner, 0, (size_t)a->num_parameters * sizeof *a->inner);
    const fpg_status status = ascend_plain(&l->config, a, optimizer, learning_rate * l->anneal, gradient, a->inner);
    fpg_scale_fold(&a->scale, a->first_outputs, a->num_parameters, a->inner, a->continues ? a->inner : theta);
    if (a->continues)
        for (int64_t p = 0; p < a->num_parameters; p++)
            theta[p] += a->inner[p];
    return status != FPG_OK || fpg_all_finite(theta, a->num_parameters) ? status : FPG_NONFINITE_THETA;
}

/* The gradient by the parameters that steps are taken on, in place; returns its Euclidean norm. */
static double chain(const ascent *a, float *gradient)
{
    double square = 0;
    if (a->scale.size > 0)
        return sqrt(fpg_scale_chain(&a->scale, a->first_outputs, a->num_parameters, gradient));
    for (int64_t p = 0; p < a->num_parameters; p++)
        square += (double)gradient[p] * gradient[p];
    return sqrt(square);
}

fpg_status fpg_learner_policy_step(fpg_learner *l, float *gradient, float *theta, double *norm)
{
    *norm = chain(&l->policy, gradient);
    if (*norm > l->config.max_grad_norm)
        for (int64_t i = 0; i < l->policy.num_parameters; i++)
            gradient[i] *= (float)(l->config.max_grad_norm / *norm);
    return ascend(l, &l->policy, l->config.optimizer, l->config.learning_rate, gradient, theta);
}

fpg_status fpg_learner_value_step(fpg_learner *l, float *gradient, float *value_theta)
{
    chain(&l->value, gradient);
    return fpg_value_problem(ascend(l, &l->value, FPG_ADAM, l->config.value_learning_rate, gradient, value_theta));
}

/* Networks that continue take the new statistics before the steps of the iteration, so that not even the first step is in
 * the coordinates of raw observations. New ones take them after the steps: their gradient is of the function that collected. */
void fpg_learner_observe(fpg_learner *l, int64_t count, const double *sum, const double *sum_square)
{
    fpg_normalizer_add(&l->normalizer, count, sum, sum_square);
    if (l->policy.continues)
        fpg_scale_set(&l->policy.scale, &l->normalizer);
    if (l->value.continues)
        fpg_scale_set(&l->value.scale, &l->normalizer);
}

static void refold(ascent *a, const fpg_normalizer *z, float *theta)
{
    if (a->continues)
        return;
    fpg_scale_set(&a->scale, z);
    fpg_scale_fold(&a->scale, a->first_outputs, a->num_parameters, a->inner, theta);
    memcpy(a->outer, theta, (size_t)a->num_parameters * sizeof *theta);
}

void fpg_learner_renormalize(fpg_learner *l, float *theta, float *value_theta)
{
    refold(&l->policy, &l->normalizer, theta);
    refold(&l->value, &l->normalizer, value_theta);
}

fpg_status fpg_value_problem(fpg_status status)
{
    return status == FPG_NONFINITE_THETA ? FPG_NONFINITE_VALUE_THETA : status == FPG_NONFINITE_GRADIENT ? FPG_NONFINITE_VALUE : status;
}
