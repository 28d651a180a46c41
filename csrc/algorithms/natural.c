/* natural.c - a step along the natural gradient, and TRPO's search for one that is safe; then the regression of V.
 *
 * Kakade, "A natural policy gradient", 2001; Schulman, Levine, Moritz, Jordan and Abbeel, "Trust region policy optimization", 2015.
 * Vectors are of the parameters that steps are taken on, in float64; products with the Fisher matrix are float32.
 */
#include "kernels/kernels.h"
#include "learn/agent.h"

#include <math.h>

typedef struct {
    fpg_agent *agent;
    const fpg_selection *chosen; /* rows of the Fisher matrix */
    int64_t size;                /* P */
    double *memory;
    double *gradient, *x, *residual, *direction, *image; /* (P,) each */
    float *start, *tangent, *packed;                     /* (P,) where the steps begin, (P,), packed */
} natural_step;

static int allocate(natural_step *n, fpg_agent *a)
{
    const size_t size = (size_t)a->policy.num_parameters, packed = (size_t)a->estimator.policy.layout.packed_size;
    n->agent = a, n->size = (int64_t)size;
    n->memory = fpg_alloc(fpg_times(size, 5 * sizeof(double) + 2 * sizeof(float)) + packed * sizeof(float), 1);
    if (!n->memory)
        return 0;
    n->gradient = n->memory, n->x = n->gradient + size, n->residual = n->x + size, n->direction = n->residual + size;
    n->image = n->direction + size;
    n->start = (float *)(n->image + size), n->tangent = n->start + size, n->packed = n->tangent + size;
    return 1;
}

static double dot(int64_t size, const double *a, const double *b)
{
    double sum = 0;
    for (int64_t p = 0; p < size; p++)
        sum += a[p] * b[p];
    return sum;
}

/* image = (F + damping I) direction. */
static fpg_status multiply(natural_step *n, fpg_poll poll)
{
    fpg_agent *a = n->agent;
    fpg_ascent *policy = &a->policy;
    for (int64_t p = 0; p < n->size; p++)
        n->tangent[p] = (float)n->direction[p];
    fpg_ascent_fold_tangent(policy, &a->normalizer, n->tangent, policy->gradient);
    fpg_active()->pack(&a->estimator.policy.layout, policy->gradient, n->packed);
    const fpg_status status = fpg_estimator_fisher(&a->estimator, policy->theta, n->chosen, n->packed, policy->gradient, poll);
    if (status != FPG_OK)
        return status;
    fpg_ascent_chain(policy, &a->normalizer);
    for (int64_t p = 0; p < n->size; p++)
        n->image[p] = policy->gradient[p] + a->config.damping * n->direction[p];
    return FPG_OK;
}

/* x near (F + damping I)^-1 gradient: Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952. It
 * ends where rounding has left a direction no curvature. */
static fpg_status solve(natural_step *n, fpg_poll poll)
{
    const fpg_train_config *c = &n->agent->config;
    double square = dot(n->size, n->gradient, n->gradient);
    const double enough = c->cg_tolerance * c->cg_tolerance * square;
    memset(n->x, 0, (size_t)n->size * sizeof *n->x);
    memcpy(n->residual, n->gradient, (size_t)n->size * sizeof *n->x);
    memcpy(n->direction, n->gradient, (size_t)n->size * sizeof *n->x);
    for (int64_t k = 0; k < c->cg_iterations && square > enough; k++) {
        const fpg_status status = multiply(n, poll);
        if (status != FPG_OK)
            return status;
        const double curvature = dot(n->size, n->direction, n->image), before = square;
        if (!(curvature > 0))
            break;
        for (int64_t p = 0; p < n->size; p++) {
            n->x[p] += square / curvature * n->direction[p];
            n->residual[p] -= before / curvature * n->image[p];
        }
        square = dot(n->size, n->residual, n->residual);
        for (int64_t p = 0; p < n->size; p++)
            n->direction[p] = n->residual[p] + square / before * n->direction[p];
    }
    return FPG_OK;
}

/* x becomes the step that diverges by max_kl to second order; x^T (F + damping I) x is x^T (gradient - residual). */
static void scale_step(natural_step *n)
{
    const double curvature = dot(n->size, n->x, n->gradient) - dot(n->size, n->x, n->residual);
    const double factor = curvature > 0 ? sqrt(2 * n->agent->config.max_kl / curvature) : 0;
    for (int64_t p = 0; p < n->size; p++)
        n->x[p] *= factor;
}

/* The policy at `share` of the step. */
static fpg_status move(natural_step *n, double share)
{
    fpg_ascent *policy = &n->agent->policy;
    float *inner = fpg_ascent_steps_on(policy);
    for (int64_t p = 0; p < n->size; p++)
        inner[p] = (float)(n->start[p] + share * n->x[p]);
    fpg_ascent_fold(policy, &n->agent->normalizer);
    return fpg_check_theta(&n->agent->estimator.policy.layout, policy->theta);
}

/* The step, or the longest of its shares that the search accepts. */
static fpg_status take_step(natural_step *n, const float *old_log_std, const fpg_standard *standard, fpg_stats *stats, fpg_poll poll)
{
    fpg_agent *a = n->agent;
    const fpg_train_config *c = &a->config;
    const double promised = dot(n->size, n->gradient, n->x);
    const int searches = c->algorithm == FPG_TRPO;
    double share = 1, kl = NAN, growth = NAN;
    for (int64_t k = 0; k <= (searches ? c->backtracks : 0); k++, share *= c->backtrack_factor) {
        fpg_status status = move(n, share);
        if (status == FPG_OK)
            status = fpg_estimator_trust_region(&a->estimator, a->policy.theta, old_log_std, standard->shift, standard->scale, &kl,
                                                &growth, poll);
        /* What cannot be computed with is too far, for a search. */
        if (status != FPG_OK && (!searches || status == FPG_INTERRUPTED || status == FPG_NO_MEMORY))
            return status;
        stats->num_backtracks = k, stats->approx_kl = kl, stats->policy_loss = -growth, stats->num_updates = 1;
        if (!searches || (status == FPG_OK && kl <= c->max_kl && growth > 0 && growth >= c->accept_ratio * share * promised))
            return FPG_OK;
    }
    stats->approx_kl = 0, stats->policy_loss = 0, stats->num_updates = 0;
    return FPG_OK;
}

/* The policy's part of an iteration. */
static fpg_status improve(natural_step *n, const fpg_spread *weights, fpg_stats *stats, fpg_poll poll)
{
    fpg_agent *a = n->agent;
    fpg_ascent *policy = &a->policy;
    fpg_estimator *e = &a->estimator;
    const fpg_standard standard = fpg_agent_standard(a, weights, e->num_rows, 0);
    const size_t bytes = (size_t)n->size * sizeof(float);
    float old_log_std[FPG_MAX_COMPONENTS];
    int64_t rows;
    memcpy(old_log_std, policy->theta + e->policy.layout.log_std_theta,
           (size_t)(n->size - e->policy.layout.log_std_theta) * sizeof(float));
    fpg_status status = fpg_estimator_policy_gradient(e, policy->theta, standard.shift, standard.scale, 0, 1.0 / (double)e->num_rows,
                                                      policy->gradient, &stats->gradient_norm, NULL, poll);
    if (status != FPG_OK)
        return status;
    stats->gradient_norm = fpg_ascent_chain(policy, &a->normalizer);
    for (int64_t p = 0; p < n->size; p++)
        n->gradient[p] = policy->gradient[p];
    memcpy(n->start, fpg_ascent_steps_on(policy), bytes);
    n->chosen = fpg_estimator_every(e, a->config.fisher_every, &rows);
    if (rows == 0)
        n->chosen = fpg_estimator_every(e, 1, &rows);
    status = solve(n, poll);
    if (status != FPG_OK)
        return status;
    scale_step(n);
    memcpy(n->tangent, policy->theta, bytes);
    status = take_step(n, old_log_std, &standard, stats, poll);
    if (stats->num_updates == 0) { /* the very bits from before the search */
        memcpy(policy->theta, n->tangent, bytes);
        memcpy(fpg_ascent_steps_on(policy), n->start, bytes);
    }
    return status;
}

fpg_status fpg_natural_learn(fpg_agent *a, fpg_stats *stats, fpg_poll poll)
{
    natural_step n;
    fpg_spread weights;
    fpg_status status = fpg_agent_prepare(a, stats, &weights, poll);
    if (status != FPG_OK)
        return status;
    if (!allocate(&n, a))
        return FPG_NO_MEMORY;
    status = improve(&n, &weights, stats, poll);
    fpg_free(n.memory);
    if (status == FPG_OK)
        status = fpg_agent_fit_values(a, poll);
    if (status == FPG_OK)
        fpg_agent_finish(a);
    return status;
}
