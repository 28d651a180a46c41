/* ascent.c - one network's way uphill: chain, clip, step, fold. */
#include "kernels/kernels.h"
#include "learn/ascent.h"

#include <math.h>

int fpg_ascent_init(fpg_ascent *a, const fpg_network *net, float *theta, int is_new)
{
    const size_t n = (size_t)fpg_num_parameters(net);
    *a = (fpg_ascent){.theta = theta, .num_parameters = (int64_t)n, .is_new = is_new, .beta1_power = 1, .beta2_power = 1, .output_scale = 1,
                      .last_layer = fpg_layout_of(net).output.theta_weight,
                      .first_outputs = net->num_hidden > 0 ? net->hidden[0] : net->num_outputs};
    a->m = fpg_calloc(fpg_times(n, 4), sizeof(float));
    if (!a->m)
        return 0;
    a->v = a->m + n, a->inner = a->v + n, a->gradient = a->inner + n;
    return 1;
}

void fpg_ascent_free(fpg_ascent *a) { fpg_free(a->m); }

static int has_inner(const fpg_ascent *a) { return a->is_scaled || a->output_scale != 1; }

static void scale_last_layer(const fpg_ascent *a, double scale, float *parameters)
{
    for (int64_t p = a->last_layer; scale != 1 && p < a->num_parameters; p++)
        parameters[p] = (float)(parameters[p] * scale);
}

/* theta becomes inner. */
static void unfold(fpg_ascent *a, const fpg_normalizer *z)
{
    if (a->is_scaled)
        fpg_normalizer_unfold(z, a->first_outputs, a->num_parameters, a->theta, a->inner);
    else
        memcpy(a->inner, a->theta, (size_t)a->num_parameters * sizeof *a->theta);
    scale_last_layer(a, 1 / a->output_scale, a->inner);
}

void fpg_ascent_fold_tangent(const fpg_ascent *a, const fpg_normalizer *z, const float *inner, float *outer)
{
    if (a->is_scaled)
        fpg_normalizer_fold(z, a->first_outputs, a->num_parameters, inner, outer); /* which is linear */
    else
        memcpy(outer, inner, (size_t)a->num_parameters * sizeof *outer);
    scale_last_layer(a, a->output_scale, outer);
}

float *fpg_ascent_steps_on(fpg_ascent *a) { return has_inner(a) ? a->inner : a->theta; }

void fpg_ascent_fold(fpg_ascent *a, const fpg_normalizer *z)
{
    if (has_inner(a))
        fpg_ascent_fold_tangent(a, z, a->inner, a->theta);
}

void fpg_ascent_scale_outputs(fpg_ascent *a, double scale, int first)
{
    a->output_scale = scale;
    if (first && a->is_new)
        scale_last_layer(a, scale, a->theta);
}

/* A network that is not new is what it is whatever the statistics say, which only scale its steps. */
void fpg_ascent_observe(fpg_ascent *a, const fpg_normalizer *z, int first)
{
    a->is_scaled = z->size > 0 && !(first && a->is_new);
    if (has_inner(a))
        unfold(a, z);
}

void fpg_ascent_finish(fpg_ascent *a, const fpg_normalizer *z)
{
    if (z->size == 0 || a->is_scaled)
        return;
    memcpy(a->inner, a->theta, (size_t)a->num_parameters * sizeof *a->theta);
    fpg_normalizer_fold(z, a->first_outputs, a->num_parameters, a->inner, a->theta);
}

double fpg_ascent_chain(fpg_ascent *a, const fpg_normalizer *z)
{
    scale_last_layer(a, a->output_scale, a->gradient);
    if (a->is_scaled)
        fpg_normalizer_chain(z, a->first_outputs, a->gradient);
    return sqrt(fpg_active()->sum_squares(a->num_parameters, a->gradient));
}

static fpg_status step(fpg_ascent *a, const fpg_train_config *c, fpg_optimizer optimizer, double learning_rate, float *theta)
{
    const int64_t n = a->num_parameters;
    if (optimizer == FPG_ADAM) {
        a->beta1_power *= c->beta1, a->beta2_power *= c->beta2;
        const double root = sqrt(1 - a->beta2_power);
        return fpg_active()->adam(n, theta, a->gradient, a->m, a->v, (float)(learning_rate * root / (1 - a->beta1_power)), (float)c->beta1,
                                  (float)c->beta2, (float)(c->epsilon * root));
    }
    return fpg_active()->sgd(n, theta, a->gradient, a->m, (float)learning_rate, (float)c->momentum);
}

fpg_status fpg_ascent_step(fpg_ascent *a, const fpg_normalizer *z, const fpg_train_config *config, fpg_optimizer optimizer,
                           double learning_rate, double factor)
{
    for (int64_t i = 0; factor != 1 && i < a->num_parameters; i++)
        a->gradient[i] *= (float)factor;
    const fpg_status status = step(a, config, optimizer, learning_rate, fpg_ascent_steps_on(a));
    fpg_ascent_fold(a, z);
    return status;
}

int32_t fpg_ascent_state(fpg_ascent *a, const char *const names[5], fpg_entry *entries)
{
    const fpg_entry all[] = {
        {names[0], FPG_ENTRY_FLOAT, a->num_parameters, a->theta}, {names[1], FPG_ENTRY_FLOAT, a->num_parameters, a->m},
        {names[2], FPG_ENTRY_FLOAT, a->num_parameters, a->v},     {names[3], FPG_ENTRY_DOUBLE, 1, &a->beta1_power},
        {names[4], FPG_ENTRY_DOUBLE, 1, &a->beta2_power},
    };
    memcpy(entries, all, sizeof all);
    return (int32_t)(sizeof all / sizeof *all);
}

fpg_status fpg_value_problem(fpg_status status)
{
    return status == FPG_NONFINITE_THETA ? FPG_NONFINITE_VALUE_THETA : status == FPG_NONFINITE_GRADIENT ? FPG_NONFINITE_VALUE : status;
}
