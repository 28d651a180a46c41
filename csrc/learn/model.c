/* model.c - a network, and what it makes of rows that the caller has. */
#include "kernels/kernels.h"
#include "learn/ascent.h"
#include "learn/job.h"

#include <math.h>

struct fpg_model {
    fpg_network net;
    fpg_workspace ws; /* of one call at a time: */
    atomic_flag busy;
};

fpg_model *fpg_model_new(const fpg_network *net)
{
    fpg_model *b = fpg_calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->net = *net;
    atomic_flag_clear(&b->busy);
    if (fpg_workspace_init(&b->ws, net, NULL) != FPG_OK) {
        fpg_free(b);
        return NULL;
    }
    return b;
}

void fpg_model_free(fpg_model *b)
{
    if (!b)
        return;
    fpg_workspace_free(&b->ws);
    fpg_free(b);
}

/* The model's workspace, or, while another thread has it, one of this call's own. */
static fpg_status take(fpg_model *b, fpg_workspace *own, fpg_workspace **ws)
{
    if (!atomic_flag_test_and_set(&b->busy)) {
        *ws = &b->ws;
        return FPG_OK;
    }
    *ws = own;
    return fpg_workspace_init(own, &b->net, NULL);
}

static void give_back(fpg_model *b, fpg_workspace *ws)
{
    if (ws == &b->ws)
        atomic_flag_clear(&b->busy);
    else
        fpg_workspace_free(ws);
}

/* The caller's arrays as a shard of one environment. */
typedef struct {
    fpg_shard shard;
    int64_t starts[2];
} caller_rows;

static caller_rows rows_of(const float *obs, const uint8_t *action_mask, const void *actions, const float *weights, int64_t size)
{
    return (caller_rows){.shard = {.num_steps = size, .stride = 1, .num_envs = 1, .num_rows = size,
                                   .obs = (float *)(uintptr_t)obs, .action_mask = (uint8_t *)(uintptr_t)action_mask,
                                   .actions = (void *)(uintptr_t)actions,
                                   .weights = (float *)(uintptr_t)weights},
                         .starts = {0, size}};
}

static fpg_status run_tasks(fpg_workspace *ws, fpg_rows *job, const caller_rows *rows, const float *theta, fpg_poll poll, fpg_task task,
                            int64_t num_tasks)
{
    const fpg_status status = fpg_check_theta(&ws->layout, theta);
    if (status != FPG_OK)
        return status;
    fpg_active()->pack(&ws->layout, theta, ws->packed);
    job->shards = &rows->shard, job->num_shards = 1, job->starts = rows->starts;
    return fpg_run_rows(ws, job, poll, task, num_tasks);
}

/* gradient, total: NULL where the task computes none. total gets the sums of what slots add up. */
static fpg_status run_batch(fpg_model *b, fpg_rows *job, const caller_rows *rows, const float *theta, fpg_poll poll, fpg_task task,
                            double scale, float *gradient, fpg_slot *total)
{
    fpg_workspace own, *ws;
    fpg_status status = take(b, &own, &ws);
    if (status != FPG_OK)
        return status;
    status = fpg_divide_rows(ws, job, rows->shard.num_rows);
    if (status == FPG_OK)
        status = run_tasks(ws, job, rows, theta, poll, task, ws->num_slots);
    if (status == FPG_OK && gradient && !isfinite(fpg_active()->fold(&ws->layout, ws->slots, ws->num_slots, scale, gradient)))
        status = FPG_NONFINITE_GRADIENT;
    if (status == FPG_OK && total) {
        *total = (fpg_slot){0};
        for (int64_t s = 0; s < ws->num_slots; s++) {
            const fpg_slot *slot = &ws->slots[s];
            total->sum += slot->sum, total->entropy += slot->entropy;
            total->k1 += slot->k1, total->k3 += slot->k3, total->num_clipped += slot->num_clipped;
        }
        if (!isfinite(total->sum))
            status = FPG_NONFINITE_OUTPUT;
    }
    give_back(b, ws);
    return status;
}

fpg_status fpg_logits(fpg_model *b, const float *theta, const float *obs, int64_t size, float *out, fpg_poll poll)
{
    const caller_rows rows = rows_of(obs, NULL, NULL, NULL, size);
    fpg_rows job = {.out_logits = out};
    return run_batch(b, &job, &rows, theta, poll, fpg_active()->rows_outputs, 1, NULL, NULL);
}

fpg_status fpg_act(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, int64_t size, uint64_t seed,
                   int64_t first_env, uint64_t step, int deterministic, void *actions, float *entropy, fpg_poll poll)
{
    const caller_rows rows = rows_of(obs, action_mask, NULL, NULL, size);
    fpg_rows job = {.seed = seed, .first_env = first_env, .step = step, .deterministic = deterministic,
                    .out_actions = actions, .out_entropy = entropy};
    return run_batch(b, &job, &rows, theta, poll, fpg_active()->rows_outputs, 1, NULL, NULL);
}

fpg_status fpg_log_prob_and_entropy(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask,
                                    const void *actions, int64_t size, float *log_prob, float *entropy, fpg_poll poll)
{
    const caller_rows rows = rows_of(obs, action_mask, actions, NULL, size);
    fpg_rows job = {.out_log_prob = log_prob, .out_entropy = entropy};
    return run_batch(b, &job, &rows, theta, poll, fpg_active()->rows_outputs, 1, NULL, NULL);
}

fpg_status fpg_fisher_product(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, int64_t size,
                              const float *direction, float *product, fpg_poll poll)
{
    const caller_rows rows = rows_of(obs, action_mask, NULL, NULL, size);
    const fpg_layout layout = fpg_layout_of(&b->net);
    float *tangent = fpg_alloc((size_t)layout.packed_size, sizeof *tangent);
    if (!tangent)
        return FPG_NO_MEMORY;
    fpg_active()->pack(&layout, direction, tangent);
    fpg_rows job = {.objective = FPG_FISHER_OBJECTIVE, .tangent = tangent};
    const fpg_status status = run_batch(b, &job, &rows, theta, poll, fpg_active()->rows_gradient, 1.0 / (double)size, product, NULL);
    fpg_free(tangent);
    return status;
}

fpg_status fpg_policy_gradient(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, const void *actions,
                               const float *weights, int64_t size, double scale, double entropy_coef, float *gradient,
                               double *objective, fpg_poll poll)
{
    const caller_rows rows = rows_of(obs, action_mask, actions, weights, size);
    fpg_rows job = {.objective = FPG_POLICY_OBJECTIVE, .scale = 1, .entropy_coef = (float)entropy_coef, .want_sum = objective != NULL};
    fpg_slot total;
    const fpg_status status = run_batch(b, &job, &rows, theta, poll, fpg_active()->rows_gradient, scale, gradient,
                                        objective ? &total : NULL);
    if (status == FPG_OK && objective)
        *objective = scale * total.sum;
    return status;
}

fpg_status fpg_clipped_gradient(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, const void *actions,
                                const float *advantages, const float *old_log_probs, int64_t size, double scale, double clip_range,
                                double entropy_coef, float *gradient, fpg_clipped_sums *sums, fpg_poll poll)
{
    caller_rows rows = rows_of(obs, action_mask, actions, advantages, size);
    fpg_rows job = {.objective = FPG_CLIPPED_OBJECTIVE, .scale = 1, .clip_range = (float)clip_range, .entropy_coef = (float)entropy_coef};
    fpg_slot total;
    rows.shard.old_log_probs = (float *)(uintptr_t)old_log_probs;
    const fpg_status status = run_batch(b, &job, &rows, theta, poll, fpg_active()->rows_gradient, scale, gradient, &total);
    if (status != FPG_OK)
        return status;
    *sums = (fpg_clipped_sums){.surrogate = total.sum, .entropy = total.entropy, .k1 = total.k1, .k3 = total.k3,
                               .num_clipped = total.num_clipped};
    /* A log-ratio that is not finite may show nowhere else, where its row is clipped. */
    return isfinite(total.entropy) && isfinite(total.k1) ? FPG_OK : FPG_NONFINITE_OUTPUT;
}

fpg_status fpg_segment_gradients(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, const void *actions,
                                 const float *weights, const int64_t *starts, int64_t num_segments, int mean, float *gradients,
                                 fpg_poll poll)
{
    enum { TASKS = 256 }; /* many, as segments may differ in length */
    const int64_t per_task = (num_segments + TASKS - 1) / TASKS, num_tasks = (num_segments + per_task - 1) / per_task;
    const int64_t threads = fpg_get_num_threads();
    const caller_rows rows = rows_of(obs, action_mask, actions, weights, starts ? starts[num_segments] : num_segments);
    fpg_rows job = {.objective = FPG_POLICY_OBJECTIVE, .scale = 1, .segments = starts, .num_segments = num_segments,
                    .segments_per_task = per_task, .mean = mean, .out_gradients = gradients};
    fpg_workspace own, *ws;
    fpg_status status = take(b, &own, &ws);
    if (status != FPG_OK)
        return status;
    /* As many slots as workers: a slot is a worker's sum here, not a share of the work. */
    status = fpg_workspace_divide(ws, num_tasks < threads ? num_tasks : threads, NULL, 0);
    if (status == FPG_OK)
        status = run_tasks(ws, &job, &rows, theta, poll, fpg_active()->rows_segments, num_tasks);
    give_back(b, ws);
    return status;
}
