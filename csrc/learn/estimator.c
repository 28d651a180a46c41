/* estimator.c - a batch and what is estimated from it: values, weights, gradients.
 *
 * Sums are taken over fixed shares of the rows and folded in order, whatever the number of threads.
 */
#include "learn/ascent.h"
#include "kernels/kernels.h"
#include "learn/estimator.h"

#include <math.h>

int fpg_estimator_init(fpg_estimator *e, const fpg_network *net, const fpg_network *value, uint64_t seed)
{
    memset(e, 0, sizeof *e);
    e->seed = seed, e->has_values = value != NULL;
    return fpg_workspace_init(&e->policy, net, NULL) == FPG_OK && (!value || fpg_workspace_init(&e->value, value, NULL) == FPG_OK);
}

static void free_shards(fpg_estimator *e)
{
    for (int64_t s = 0; e->own && s < e->max_shards; s++)
        fpg_shard_free(&e->own[s]);
    fpg_free(e->own), fpg_free(e->moments);
    fpg_free(e->all.starts), fpg_free(e->all.rows), fpg_free(e->minibatch.starts), fpg_free(e->minibatch.rows);
    e->own = NULL, e->moments = NULL, e->all = e->minibatch = (fpg_selection){NULL, NULL};
    e->max_shards = 0;
}

void fpg_estimator_free(fpg_estimator *e)
{
    fpg_workspace_free(&e->policy);
    fpg_workspace_free(&e->value);
    free_shards(e);
    fpg_free(e->floats), fpg_free(e->numbers), fpg_free(e->kept);
    memset(e, 0, sizeof *e);
}

static int reserve_shards(fpg_estimator *e, int64_t num_shards)
{
    const size_t n = (size_t)num_shards;
    if (num_shards <= e->max_shards)
        return 1;
    free_shards(e);
    e->own = fpg_calloc(n, sizeof *e->own);
    e->moments = fpg_calloc(fpg_times(n, 2 * (size_t)e->policy.layout.obs_size), sizeof *e->moments);
    e->all.starts = fpg_calloc(n + 1, sizeof(int64_t)), e->minibatch.starts = fpg_calloc(n + 1, sizeof(int64_t));
    e->all.rows = fpg_calloc(n, sizeof(int64_t *)), e->minibatch.rows = fpg_calloc(n, sizeof(int64_t *));
    if (!e->own || !e->moments || !e->all.starts || !e->minibatch.starts || !e->all.rows || !e->minibatch.rows)
        return 0;
    e->max_shards = num_shards;
    return 1;
}

/* The rows that count, in their order, and the trajectories that they make up. */
static void list_rows(fpg_shard *s)
{
    int64_t n = 0, ends = 0;
    for (int64_t t = 0; t < s->num_steps; t++) {
        const int64_t begin = t * s->stride, end = begin + s->num_envs;
        if (!s->mask)
            for (int64_t k = begin; k < end; k++)
                s->rows[n++] = k, ends += (s->terminated[k] | s->truncated[k]) != 0;
        else
            for (int64_t k = begin; k < end; k++) {
                const int counts = s->mask[k] != 0; /* any byte but 0 is true */
                s->rows[n] = k, n += counts;
                ends += counts & ((s->terminated[k] | s->truncated[k]) != 0);
            }
    }
    for (int32_t i = 0; i < s->num_envs; i++) { /* whom the last row cut */
        int64_t t = s->num_steps - 1;
        while (t >= 0 && s->mask && !s->mask[t * s->stride + i])
            t--;
        ends += t >= 0 && !(s->terminated[t * s->stride + i] | s->truncated[t * s->stride + i]);
    }
    s->num_rows = n, s->num_trajectories = ends;
}

fpg_status fpg_estimator_load(fpg_estimator *e, fpg_shard *shards, int64_t num_shards)
{
    const int64_t outputs = e->has_outputs ? e->policy.layout.num_outputs : 0;
    const int64_t arrays = (e->has_values ? 4 : 1) + (e->has_log_probs ? 1 : 0) + outputs;
    int64_t entries = 0, envs = 0;
    if (!reserve_shards(e, num_shards))
        return FPG_NO_MEMORY;
    for (int64_t s = 0; s < num_shards; s++) {
        entries += shards[s].num_steps * shards[s].num_envs;
        envs += shards[s].num_envs;
    }
    /* Shards of one array lie interleaved, so theirs do as well. */
    const int64_t floats = arrays * entries + (e->has_values ? envs : 0), numbers = 2 * entries;
    if (floats > e->max_floats) {
        fpg_free(e->floats);
        e->max_floats = 0;
        if (!(e->floats = fpg_alloc((size_t)floats, sizeof *e->floats)))
            return FPG_NO_MEMORY;
        e->max_floats = floats;
    }
    if (numbers > e->max_numbers) {
        fpg_free(e->numbers);
        e->max_numbers = 0;
        if (!(e->numbers = fpg_alloc((size_t)numbers, sizeof *e->numbers)))
            return FPG_NO_MEMORY;
        e->max_numbers = numbers;
    }
    e->shards = shards, e->num_shards = num_shards, e->num_rows = e->num_trajectories = e->num_kept = 0;
    int64_t begin = 0, first = 0;
    for (int64_t i = 0; i < num_shards; i++) {
        fpg_shard *s = &shards[i];
        const int64_t own = s->num_steps * s->num_envs, at = s->stride == s->num_envs ? begin : s->first_env;
        s->weights = e->floats + at;
        if (e->has_values) {
            s->values = e->floats + entries + at, s->final_values = e->floats + 2 * entries + at;
            s->targets = e->floats + 3 * entries + at, s->last_values = e->floats + 4 * entries + first;
        } else
            s->values = s->final_values = s->targets = s->last_values = NULL;
        float *more = e->floats + (e->has_values ? 4 * entries + envs : entries);
        s->old_log_probs = e->has_log_probs ? more + at : NULL;
        s->old_outputs = outputs > 0 ? more + entries + at * outputs : NULL;
        s->rows = e->numbers + begin, s->order = e->numbers + entries + begin;
        list_rows(s);
        e->all.rows[i] = s->rows, e->all.starts[i] = e->num_rows;
        e->num_rows += s->num_rows, e->num_trajectories += s->num_trajectories;
        begin += own, first += s->num_envs;
    }
    e->all.starts[num_shards] = e->num_rows;
    return e->num_rows > 0 ? FPG_OK : FPG_NO_ROWS;
}

fpg_status fpg_estimator_load_batch(fpg_estimator *e, const fpg_batch *b)
{
    const int64_t size = fpg_shard_size(b->num_envs), num_shards = (b->num_envs - 1) / size + 1;
    const int32_t obs_size = e->policy.layout.obs_size;
    if (!reserve_shards(e, num_shards))
        return FPG_NO_MEMORY;
    fpg_shards_of(b, &e->policy.layout, e->own);
    for (int64_t n = 0; n < b->num_finals; n++) {
        const int64_t t = b->final_rows[2 * n], env = b->final_rows[2 * n + 1], k = t * b->num_envs + env;
        fpg_ends *ends = &e->own[env / size].ends;
        if (b->terminated[k] || !b->truncated[k] || (b->mask && !b->mask[k]))
            continue;
        if (!fpg_ends_reserve(ends, obs_size, ends->count + 1))
            return FPG_NO_MEMORY;
        memcpy(ends->obs + ends->count * obs_size, b->final_obs + n * obs_size, (size_t)obs_size * sizeof(float));
        ends->ends[ends->count++] = (fpg_end){.step = t, .env = env};
    }
    return fpg_estimator_load(e, e->own, num_shards);
}

/* ---- tasks over shards ------------------------------------------------------------------------------------------------- */

typedef struct {
    fpg_estimator *e;
    const fpg_collect *collect;
    const float *baseline;
    int64_t iteration, epoch;
    double gamma, *so_far;
    fpg_control control;
} shard_job;

static fpg_status run_shards(shard_job *job, fpg_task task, fpg_poll poll)
{
    fpg_control_init(&job->control, poll);
    fpg_parallel_for(job->e->num_shards, fpg_get_num_threads(), task, job, &job->control);
    return (fpg_status)atomic_load(&job->control.status);
}

static void weigh_shard(void *context, int64_t index, int worker)
{
    shard_job *job = context;
    fpg_shard *s = &job->e->shards[index];
    for (int64_t r = 0; job->baseline && r < s->num_rows; r++)
        s->values[s->rows[r]] = job->baseline[job->e->all.starts[index] + r];
    if (s->num_steps > 0 && !fpg_active()->weigh(job->collect, s, &job->control, worker))
        fpg_fail(&job->control, FPG_NO_MEMORY);
}

fpg_status fpg_estimator_weigh(fpg_estimator *e, const fpg_collect *collect, const float *baseline, fpg_poll poll)
{
    shard_job job = {.e = e, .collect = collect, .baseline = baseline};
    const fpg_status status = run_shards(&job, weigh_shard, poll);
    if (status == FPG_NONFINITE_ESTIMATE)
        return e->has_values ? FPG_NONFINITE_VALUE : FPG_NONFINITE_GRADIENT;
    return status;
}

static void add_moments(void *context, int64_t index, int worker)
{
    shard_job *job = context;
    const fpg_shard *s = &job->e->shards[index];
    const int32_t size = job->e->policy.layout.obs_size;
    double *sum = job->e->moments + index * 2 * size, *square = sum + size;
    (void)worker;
    memset(sum, 0, 2 * (size_t)size * sizeof *sum);
    for (int64_t r = 0; r < s->num_rows; r++) {
        const float *x = s->obs + s->rows[r] * size;
        for (int32_t d = 0; d < size; d++)
            sum[d] += x[d], square[d] += (double)x[d] * x[d];
    }
}

fpg_status fpg_estimator_moments(fpg_estimator *e, double *sum, double *sum_square, fpg_poll poll)
{
    const int32_t size = e->policy.layout.obs_size;
    shard_job job = {.e = e};
    const fpg_status status = run_shards(&job, add_moments, poll);
    memset(sum, 0, (size_t)size * sizeof *sum);
    memset(sum_square, 0, (size_t)size * sizeof *sum_square);
    for (int64_t s = 0; s < e->num_shards; s++)
        for (int32_t d = 0; d < size; d++)
            sum[d] += e->moments[s * 2 * size + d], sum_square[d] += e->moments[s * 2 * size + size + d];
    return status;
}

static void add_discounted(void *context, int64_t index, int worker)
{
    shard_job *job = context;
    const fpg_shard *s = &job->e->shards[index];
    double *sums = job->e->moments + index * 2 * job->e->policy.layout.obs_size, sum = 0, square = 0;
    (void)worker;
    for (int32_t i = 0; i < s->num_envs; i++)
        if (s->by_episode || (s->first_age && s->first_age[i] == 0))
            job->so_far[s->first_env + i] = 0;
    for (int64_t r = 0; r < s->num_rows; r++) {
        const int64_t k = s->rows[r];
        double *so_far = &job->so_far[s->first_env + k % s->stride];
        const double x = job->gamma * *so_far + s->rewards[k];
        sum += x, square += x * x;
        *so_far = s->terminated[k] | s->truncated[k] ? 0 : x;
    }
    sums[0] = sum, sums[1] = square;
}

fpg_status fpg_estimator_discounted(fpg_estimator *e, double gamma, double *so_far, double *sum, double *sum_square, fpg_poll poll)
{
    shard_job job = {.e = e, .gamma = gamma, .so_far = so_far};
    const fpg_status status = run_shards(&job, add_discounted, poll);
    *sum = *sum_square = 0;
    for (int64_t s = 0; s < e->num_shards; s++) {
        const double *sums = e->moments + s * 2 * e->policy.layout.obs_size;
        *sum += sums[0], *sum_square += sums[1];
    }
    return status != FPG_OK || isfinite(*sum_square) ? status : FPG_NONFINITE_REWARD;
}

/* Fisher and Yates; Durstenfeld, "Random permutation", 1964. */
static void shuffle_shard(void *context, int64_t index, int worker)
{
    const shard_job *job = context;
    fpg_shard *s = &job->e->shards[index];
    const uint64_t seed = job->e->seed;
    uint32_t words[4] = {0};
    int64_t block = -1;
    (void)worker;
    memcpy(s->order, s->rows, (size_t)s->num_rows * sizeof *s->order);
    for (int64_t j = s->num_rows - 1; j > 0; j--) {
        if (block != j / 4) {
            const uint32_t counter[4] = {(uint32_t)s->first_env, (uint32_t)(block = j / 4), (uint32_t)job->iteration,
                                         FPG_DRAW_MINIBATCH | (uint32_t)job->epoch << 8};
            fpg_active()->philox(counter, (const uint32_t[2]){(uint32_t)seed, (uint32_t)(seed >> 32)}, words);
        }
        const int64_t other = (int64_t)((uint64_t)words[j % 4] * (uint64_t)(j + 1) >> 32), row = s->order[j];
        s->order[j] = s->order[other], s->order[other] = row;
    }
}

fpg_status fpg_estimator_shuffle(fpg_estimator *e, int64_t iteration, int64_t epoch, fpg_poll poll)
{
    shard_job job = {.e = e, .iteration = iteration, .epoch = epoch};
    return run_shards(&job, shuffle_shard, poll);
}

void fpg_estimator_sums(const fpg_estimator *e, double *weight, double *weight_square, double *target, double *target_square)
{
    *weight = *weight_square = *target = *target_square = 0;
    for (int64_t i = 0; i < e->num_shards; i++) {
        const fpg_shard *s = &e->shards[i];
        if (s->num_rows == 0)
            continue;
        *weight += s->weight, *weight_square += s->weight_square;
        *target += s->target, *target_square += s->target_square;
    }
}

/* ---- tasks over rows --------------------------------------------------------------------------------------------------- */

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

const fpg_selection *fpg_estimator_every(fpg_estimator *e, int64_t every, int64_t *rows)
{
    *rows = e->num_rows;
    if (every == 1)
        return &e->all;
    for (int64_t i = 0; i < e->num_shards; i++) {
        const fpg_shard *s = &e->shards[i];
        int64_t n = 0;
        for (int64_t r = 0; r < s->num_rows; r++) {
            s->order[n] = s->rows[r];
            n += s->rows[r] / s->stride % every == 0;
        }
        e->minibatch.rows[i] = s->order;
        e->minibatch.starts[i + 1] = e->minibatch.starts[i] + n;
    }
    *rows = e->minibatch.starts[e->num_shards];
    return &e->minibatch;
}

const fpg_selection *fpg_estimator_minibatch(fpg_estimator *e, int64_t index, int64_t count, int64_t *rows)
{
    *rows = e->num_rows;
    if (count == 1)
        return &e->all;
    for (int64_t i = 0; i < e->num_shards; i++) {
        const fpg_shard *s = &e->shards[i];
        const int64_t begin = s->num_rows * index / count, end = s->num_rows * (index + 1) / count;
        e->minibatch.rows[i] = s->order + begin;
        e->minibatch.starts[i + 1] = e->minibatch.starts[i] + end - begin;
    }
    *rows = e->minibatch.starts[e->num_shards];
    return &e->minibatch;
}

void fpg_estimator_chosen_sums(const fpg_estimator *e, const fpg_selection *chosen, double *weight, double *weight_square)
{
    *weight = *weight_square = 0;
    for (int64_t i = 0; i < e->num_shards; i++)
        for (int64_t r = 0; r < chosen->starts[i + 1] - chosen->starts[i]; r++) {
            const double w = e->shards[i].weights[chosen->rows[i][r]];
            *weight += w, *weight_square += w * w;
        }
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

fpg_status fpg_estimator_gradient(fpg_estimator *e, const float *theta, const fpg_collect *collect, const float *baseline,
                                  float *gradient, fpg_stats *stats, fpg_poll poll)
{
    const int64_t divisor = collect->normalize == FPG_PER_TIMESTEP ? e->num_rows : e->num_trajectories;
    const int wants_entropy = isnan(stats->entropy);
    double entropy = 0;
    fpg_status status = fpg_estimator_weigh(e, collect, baseline, poll);
    if (status == FPG_OK)
        status = fpg_estimator_policy_gradient(e, theta, 0, 1, collect->entropy_coef, 1.0 / (double)divisor, gradient,
                                               &stats->gradient_norm, wants_entropy ? &entropy : NULL, poll);
    stats->num_steps = e->num_rows, stats->num_trajectories = e->num_trajectories;
    if (wants_entropy)
        stats->entropy = entropy / (double)e->num_rows;
    return status;
}

/* ---- of a caller's batch ----------------------------------------------------------------------------------------------- */

fpg_stats fpg_batch_stats(const fpg_batch *b)
{
    const double n = (double)b->num_episodes;
    double sum = 0, square = 0, least = INFINITY, most = -INFINITY, length = 0;
    for (int64_t k = 0; k < b->num_episodes; k++) {
        const double x = b->episode_returns[k];
        sum += x, square += x * x, length += (double)b->episode_lengths[k];
        least = x < least ? x : least, most = x > most ? x : most;
    }
    const double mean = sum / n, variance = square / n - mean * mean;
    fpg_stats stats = fpg_stats_unknown();
    stats.num_episodes = b->num_episodes, stats.entropy = b->entropy, stats.seconds = 0;
    if (n > 0) {
        stats.mean_return = mean, stats.return_std = sqrt(variance > 0 ? variance : 0);
        stats.min_return = least, stats.max_return = most, stats.mean_length = length / n;
    }
    return stats;
}

fpg_status fpg_batch_gradient(const fpg_network *net, const fpg_network *value, const float *theta, const float *value_theta,
                              const fpg_batch *batch, const fpg_collect *collect, const float *baseline, float *gradient,
                              fpg_stats *stats, fpg_poll poll)
{
    fpg_estimator e;
    const int ok = fpg_estimator_init(&e, net, value, 0);
    e.has_values |= baseline != NULL;
    fpg_status status = ok ? fpg_estimator_load_batch(&e, batch) : FPG_NO_MEMORY;
    *stats = fpg_batch_stats(batch);
    if (status == FPG_OK && baseline) /* the shards' values lie as the batch does */
        memcpy(e.shards[0].values, baseline, (size_t)(batch->num_steps * batch->num_envs) * sizeof *baseline);
    else if (status == FPG_OK && value_theta)
        status = fpg_estimator_values(&e, value_theta, collect, poll);
    if (status == FPG_OK)
        status = fpg_estimator_gradient(&e, theta, collect, NULL, gradient, stats, poll);
    fpg_estimator_free(&e);
    return status;
}
