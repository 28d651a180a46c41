/* estimator_rows.c - tasks over the rows of a batch: values, log-probs, gradients.
 *
 * Sums are taken over fixed shares of the rows and folded in order, whatever the number of threads.
 */
#include "kernels/kernels.h"
#include "learn/ascent.h"
#include "learn/estimator.h"

#include <math.h>

fpg_status fpg_estimator_pack(fpg_workspace *ws, const float *theta)
{
    const fpg_status status = fpg_check_theta(&ws->layout, theta);
    if (status == FPG_OK)
        fpg_active()->pack(&ws->layout, theta, ws->packed);
    return status;
}

static fpg_status run_rows(fpg_workspace *ws, fpg_rows *job, const float *theta, int64_t num_rows, fpg_poll poll)
{
    fpg_status status = fpg_estimator_pack(ws, theta);
    if (status == FPG_OK)
        status = fpg_divide_rows(ws, job, num_rows);
    if (status != FPG_OK)
        return status;
    return fpg_run_rows(ws, job, poll, fpg_active()->rows_gradient, ws->num_slots);
}

static fpg_rows rows_of(const fpg_estimator *e, const fpg_selection *chosen, fpg_objective objective)
{
    return (fpg_rows){.shards = e->shards, .num_shards = e->num_shards, .starts = chosen->starts, .rows = chosen->rows,
                      .objective = objective, .scale = 1, .value_scale = 1, .value_clip = INFINITY, .huber_delta = INFINITY,
                      .in_order = chosen == &e->all};
}

typedef struct {
    fpg_rows *policy, *value;
    int64_t num_policy_slots;
} both_jobs;

static void run_either(void *context, int64_t index, int worker)
{
    const both_jobs *both = context;
    if (index < both->num_policy_slots) {
        fpg_active()->rows_gradient(both->policy, index, worker);
        return;
    }
    fpg_active()->rows_gradient(both->value, index - both->num_policy_slots, worker);
    const int status = atomic_load(&both->value->control.status);
    if (status != FPG_OK)
        fpg_fail(&both->policy->control, fpg_value_problem((fpg_status)status));
}

static void carry_either(void *context, int64_t index, fpg_parcel *parcel)
{
    both_jobs *both = context;
    if (index < both->num_policy_slots)
        fpg_carry_slot(both->policy, index, parcel);
    else
        fpg_carry_slot(both->value, index - both->num_policy_slots, parcel);
}

fpg_status fpg_estimator_both(fpg_estimator *e, const fpg_selection *chosen, fpg_rows *policy, fpg_rows *value, fpg_poll poll)
{
    fpg_workspace *workspaces[] = {&e->policy, &e->value};
    fpg_rows *jobs[] = {policy, value};
    const int64_t num_rows = chosen->starts[e->num_shards];
    for (int n = 0; n < 2; n++) {
        fpg_workspace *ws = workspaces[n];
        fpg_rows *job = jobs[n];
        job->shards = e->shards, job->num_shards = e->num_shards, job->starts = chosen->starts, job->rows = chosen->rows;
        job->in_order = chosen == &e->all;
        fpg_status status = fpg_divide_rows(ws, job, num_rows);
        if (status == FPG_OK) /* the slots of both share the workers */
            status = fpg_workspace_add_workers(ws, NULL, 0, 2 * ws->num_slots);
        if (status != FPG_OK)
            return status;
        job->layout = &ws->layout, job->packed = ws->packed, job->workers = ws->workers, job->slots = ws->slots;
        fpg_control_init(&job->control, poll);
    }
    both_jobs both = {policy, value, e->policy.num_slots};
    const int workers = e->policy.num_workers < e->value.num_workers ? e->policy.num_workers : e->value.num_workers;
    fpg_ranks *ranks = fpg_ranks_for(e->policy.ranks, fpg_work_of(policy) + fpg_work_of(value));
    return fpg_share(ranks, e->policy.num_slots + e->value.num_slots, workers, run_either, carry_either, 0, &both,
                     &policy->control);
}

/* The shards as they are, then their final observations, then what follows their last rows: three times as many shards. */
fpg_status fpg_estimator_values(fpg_estimator *e, const float *value_theta, const fpg_collect *collect, fpg_poll poll)
{
    const int64_t n = e->num_shards, kinds = collect->form >= FPG_PHI_Q ? 3 : 1;
    int64_t num_finals = 0;
    for (int64_t s = 0; s < n && kinds == 3; s++)
        num_finals += e->shards[s].ends.count;
    fpg_shard *shards = fpg_calloc((size_t)(kinds * n), sizeof *shards);
    int64_t *starts = fpg_calloc((size_t)(kinds * n + 1), sizeof *starts);
    const int64_t **rows = fpg_calloc((size_t)(kinds * n), sizeof *rows);
    float *finals = fpg_alloc((size_t)num_finals + 1, sizeof *finals);
    fpg_status status = shards && starts && rows && finals ? FPG_OK : FPG_NO_MEMORY;
    for (int64_t s = 0, at = 0; status == FPG_OK && s < n; s++) {
        const fpg_shard *from = &e->shards[s];
        shards[s] = *from, rows[s] = from->rows;
        starts[s + 1] = from->num_rows;
        if (kinds < 3)
            continue;
        shards[n + s] = (fpg_shard){.obs = from->ends.obs, .values = finals + at};
        shards[2 * n + s] = (fpg_shard){.obs = from->last_obs, .values = from->last_values};
        starts[n + s + 1] = from->ends.count, at += from->ends.count;
        starts[2 * n + s + 1] = from->num_steps > 0 ? from->num_envs : 0;
    }
    for (int64_t s = 0; status == FPG_OK && s < kinds * n; s++)
        starts[s + 1] += starts[s];
    if (status == FPG_OK) {
        fpg_rows job = {.shards = shards, .num_shards = kinds * n, .starts = starts, .rows = rows, .objective = FPG_NO_OBJECTIVE,
                        .in_order = 1};
        status = run_rows(&e->value, &job, value_theta, starts[kinds * n], poll);
    }
    for (int64_t s = 0, at = 0; status == FPG_OK && kinds == 3 && s < n; s++) {
        const fpg_shard *to = &e->shards[s];
        for (int64_t t = 0; t < to->num_steps; t++)
            memset(to->final_values + t * to->stride, 0, (size_t)to->num_envs * sizeof *to->final_values);
        for (int64_t k = 0; k < to->ends.count; k++)
            to->final_values[to->ends.ends[k].step * to->stride + to->ends.ends[k].env - to->first_env] = finals[at++];
    }
    fpg_free(shards), fpg_free(starts), fpg_free(rows), fpg_free(finals);
    return fpg_value_problem(status);
}

/* Where the activations of all rows are, if they are kept. */
static void find_kept(const fpg_estimator *e, fpg_rows *job)
{
    const fpg_layout *layout = &e->policy.layout;
    float *at = e->kept;
    for (int32_t l = 0; l < layout->num_hidden && e->num_kept > 0; l++) {
        job->kept[l] = at;
        at += e->num_kept * layout->hidden[l].out_pad;
    }
}

/* The slots' entropies, added up. */
static fpg_status add_entropies(const fpg_workspace *ws, double *entropy)
{
    *entropy = 0;
    for (int64_t s = 0; s < ws->num_slots; s++)
        *entropy += ws->slots[s].entropy;
    return isfinite(*entropy) ? FPG_OK : FPG_NONFINITE_OUTPUT;
}

fpg_status fpg_estimator_policy_gradient(fpg_estimator *e, const float *theta, double shift, double weight_scale, double entropy_coef,
                                         double scale, float *gradient, double *norm, double *entropy, fpg_poll poll)
{
    fpg_rows job = rows_of(e, &e->all, FPG_POLICY_OBJECTIVE);
    fpg_workspace *ws = &e->policy;
    job.shift = shift, job.scale = weight_scale, job.entropy_coef = (float)entropy_coef, job.want_entropy = entropy != NULL;
    job.has_hidden = job.has_kept = 1;
    find_kept(e, &job);
    fpg_status status = run_rows(ws, &job, theta, e->num_rows, poll);
    if (status == FPG_OK && entropy)
        status = add_entropies(ws, entropy);
    if (status != FPG_OK)
        return status;
    const double square = fpg_active()->fold(&ws->layout, ws->slots, ws->num_slots, scale, gradient);
    *norm = sqrt(square);
    return isfinite(square) ? FPG_OK : FPG_NONFINITE_GRADIENT;
}

/* Room for them, where many passes will want them. */
static fpg_status reserve_kept(fpg_estimator *e)
{
    const int64_t floats = e->num_rows * e->policy.layout.hidden_floats;
    e->num_kept = 0;
    if (!e->has_outputs || floats == 0 || floats * (int64_t)sizeof(float) > FPG_TAPE_BYTES)
        return FPG_OK;
    if (floats > e->max_kept) {
        fpg_free(e->kept);
        e->max_kept = 0;
        if (!(e->kept = fpg_alloc((size_t)floats, sizeof *e->kept)))
            return FPG_NO_MEMORY;
        e->max_kept = floats;
    }
    e->num_kept = e->num_rows;
    return FPG_OK;
}

fpg_status fpg_estimator_log_probs(fpg_estimator *e, const float *theta, double *entropy, fpg_poll poll)
{
    fpg_rows job = rows_of(e, &e->all, FPG_LOG_PROBS);
    fpg_status status = reserve_kept(e);
    if (status != FPG_OK)
        return status;
    find_kept(e, &job);
    job.has_hidden = 1;
    status = run_rows(&e->policy, &job, theta, e->num_rows, poll);
    return status == FPG_OK ? add_entropies(&e->policy, entropy) : status;
}

fpg_status fpg_estimator_fisher(fpg_estimator *e, const float *theta, const fpg_selection *chosen, const float *tangent, float *gradient,
                                fpg_poll poll)
{
    fpg_rows job = rows_of(e, chosen, FPG_FISHER_OBJECTIVE);
    fpg_workspace *ws = &e->policy;
    const int64_t rows = chosen->starts[e->num_shards];
    job.tangent = tangent, job.in_order = job.has_hidden = 1;
    if (chosen == &e->all)
        find_kept(e, &job), job.has_kept = 1;
    const fpg_status status = run_rows(ws, &job, theta, rows, poll);
    if (status != FPG_OK)
        return status;
    const double square = fpg_active()->fold(&ws->layout, ws->slots, ws->num_slots, 1.0 / (double)rows, gradient);
    return isfinite(square) ? FPG_OK : FPG_NONFINITE_GRADIENT;
}

fpg_status fpg_estimator_trust_region(fpg_estimator *e, const float *theta, const float *old_log_std, double shift, double scale,
                                      double *kl, double *growth, fpg_poll poll)
{
    fpg_rows job = rows_of(e, &e->all, FPG_TRUST_REGION);
    job.shift = shift, job.scale = scale, job.old_log_std = old_log_std;
    const fpg_status status = run_rows(&e->policy, &job, theta, e->num_rows, poll);
    *kl = *growth = 0;
    for (int64_t s = 0; status == FPG_OK && s < e->policy.num_slots; s++)
        *kl += e->policy.slots[s].k3 / (double)e->num_rows, *growth += e->policy.slots[s].sum / (double)e->num_rows;
    return status;
}

fpg_status fpg_estimator_value_gradient(fpg_estimator *e, const float *value_theta, const fpg_selection *chosen, double value_scale,
                                        float *gradient, fpg_poll poll)
{
    fpg_rows job = rows_of(e, chosen, FPG_VALUE_OBJECTIVE);
    job.value_scale = (float)value_scale;
    fpg_workspace *ws = &e->value;
    const int64_t rows = chosen->starts[e->num_shards];
    const fpg_status status = run_rows(ws, &job, value_theta, rows, poll);
    if (status != FPG_OK)
        return fpg_value_problem(status);
    const double square = fpg_active()->fold(&ws->layout, ws->slots, ws->num_slots, 1.0 / (double)rows, gradient);
    return isfinite(square) ? FPG_OK : FPG_NONFINITE_VALUE;
}
