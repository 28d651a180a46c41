/* rows.h - what becomes of rows: the one driver of load, forward, objective, backward over chunks, and the objectives.
 *
 * Rows are those of shards, in an order that a list tells, or a caller's own arrays, which are a shard of one environment.
 */
#ifndef FPG_ROWS_H
#define FPG_ROWS_H

#include <math.h>

#include "learn/job.h"
#include "heads/divergence.h"
#include "heads/head.h"
#include "learn/chunks.h"
#include "network/mlp.h"
#include "simd/transpose.h"

/* Where the rows of a chunk are: `count` of one shard, which are rows[0 .. count - 1], or from `begin` on where rows is NULL. */
typedef struct {
    const fpg_shard *shard;
    const int64_t *rows;
    int64_t begin;
    int32_t count;
} fpg_piece;

typedef struct {
    int32_t num_pieces, num_rows;
    fpg_piece pieces[FPG_CHUNK];
} fpg_pieces;

static void fpg_find_pieces(const fpg_rows *job, int64_t position, int64_t end, fpg_pieces *found)
{
    int64_t low = 0, high = job->num_shards; /* starts[low] <= position < starts[high] */
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (job->starts[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    end = end - position < FPG_CHUNK ? end : position + FPG_CHUNK;
    found->num_pieces = 0, found->num_rows = (int32_t)(end - position);
    for (int64_t s = low; position < end; s++) {
        const int64_t first = position - job->starts[s], past = job->starts[s + 1] < end ? job->starts[s + 1] : end;
        if (past <= position)
            continue;
        fpg_piece *piece = &found->pieces[found->num_pieces++];
        *piece = (fpg_piece){.shard = &job->shards[s], .rows = job->rows && job->rows[s] ? job->rows[s] + first : NULL, .begin = first,
                             .count = (int32_t)(past - position)};
        if (job->in_order && piece->rows && piece->rows[piece->count - 1] - piece->rows[0] == piece->count - 1)
            piece->begin = piece->rows[0], piece->rows = NULL;
        position = past;
    }
}

/* Runs a statement for row k of `shard` at place r of the chunk, for all of them. */
#define FPG_EACH_ROW(found, statement) \
    for (int32_t p_ = 0, at_ = 0; p_ < (found)->num_pieces; at_ += (found)->pieces[p_++].count) { \
        const fpg_piece *piece_ = &(found)->pieces[p_]; \
        const fpg_shard *shard = piece_->shard; \
        if (piece_->rows) \
            for (int32_t j_ = 0; j_ < piece_->count; j_++) { \
                const int64_t k = piece_->rows[j_]; \
                const int32_t r = at_ + j_; \
                statement; \
            } \
        else \
            for (int32_t j_ = 0; j_ < piece_->count; j_++) { \
                const int64_t k = piece_->begin + j_; \
                const int32_t r = at_ + j_; \
                statement; \
            } \
    }

/* Observations of a chunk, (obs_size, FPG_CHUNK); 0 past the last row, up to FPG_PAD, as backward passes want it. */
static void fpg_load_obs(const fpg_layout *layout, const fpg_pieces *found, float *x)
{
    const int32_t inputs = layout->obs_size;
    for (int32_t p = 0, at = 0; p < found->num_pieces; at += found->pieces[p++].count) {
        const fpg_piece *piece = &found->pieces[p];
        if (!piece->rows)
            fpg_from_rows(piece->count, inputs, piece->shard->obs + piece->begin * inputs, FPG_CHUNK, x + at);
        else
            for (int32_t j = 0; j < piece->count; j++)
                for (int32_t d = 0; d < inputs; d++)
                    x[d * FPG_CHUNK + at + j] = piece->shard->obs[piece->rows[j] * inputs + d];
    }
    fpg_clear_padding(inputs, found->num_rows, x);
}

/* Outputs of actions that are not allowed become -infinity. */
static void fpg_mask_outputs(const fpg_layout *layout, const fpg_pieces *found, float *outputs)
{
    const int32_t size = layout->num_outputs;
    if (!found->pieces[0].shard->action_mask)
        return;
    FPG_EACH_ROW(found, {
        const uint8_t *allowed = shard->action_mask + k * size;
        for (int32_t a = 0; a < size; a++)
            if (!allowed[a])
                outputs[a * FPG_CHUNK + r] = -INFINITY;
    })
}

/* Actions of a chunk, (action_size, FPG_CHUNK); 0 if one is out of range. Past the last row: action 0. */
static int fpg_load_actions(const fpg_layout *layout, const fpg_pieces *found, void *action)
{
    const int32_t size = layout->action_size, rows = found->num_rows;
    int bad = 0;
    for (int32_t d = 0; d < size; d++) {
        if (layout->kind == FPG_GAUSSIAN) {
            float *to = (float *)action + d * FPG_CHUNK;
            FPG_EACH_ROW(found, to[r] = ((const float *)shard->actions)[k * size + d])
            memset(to + rows, 0, (size_t)(FPG_CHUNK - rows) * sizeof *to);
            continue;
        }
        const int64_t categories = layout->kind == FPG_BERNOULLI ? 2 : layout->action_categories[d];
        int32_t *to = (int32_t *)action + d * FPG_CHUNK;
        FPG_EACH_ROW(found, {
            const int64_t a = ((const int64_t *)shard->actions)[k * size + d];
            bad |= a < 0 || a >= categories;
            to[r] = (int32_t)a;
        })
        memset(to + rows, 0, (size_t)(FPG_CHUNK - rows) * sizeof *to);
    }
    return !bad;
}

/* ---- objectives: outputs of a chunk, in worker->dlogits, become the gradient by them ------------------------------------- */

/* Outputs become the gradient of weight[r] * log pi + coefficient * entropy, by the scores. */
static void fpg_score_rows(const fpg_rows *job, int32_t rows, const float *weight, float coefficient, fpg_worker *worker)
{
    const fpg_layout *layout = job->layout;
    const int32_t width = fpg_round_up(rows, FPG_PAD);
    float one[FPG_CHUNK] = {0}, *score = worker->backward;
    if (coefficient == 0) {
        fpg_head_score(layout, job->packed, width, FPG_CHUNK, worker->action, weight, worker->dlogits);
        return;
    }
    for (int32_t r = 0; r < rows; r++)
        one[r] = 1.0f;
    fpg_head_score(layout, job->packed, width, FPG_CHUNK, worker->action, one, worker->dlogits);
    memcpy(score, worker->dlogits, (size_t)layout->num_outputs * FPG_CHUNK * sizeof *score);
    for (int32_t a = 0; a < layout->num_scores; a++)
        FPG_SIMD for (int32_t r = 0; r < width; r++)
            worker->dlogits[a * FPG_CHUNK + r] *= weight[r];
    fpg_head_entropy_gradient(layout, width, FPG_CHUNK, score, one, coefficient, FPG_CHUNK, worker->dlogits);
}

/* log pi(action) and the entropy of each row, of outputs that stay. */
static void fpg_log_prob_rows(const fpg_rows *job, int32_t rows, fpg_worker *worker, float *log_prob, float *entropy)
{
    const fpg_layout *layout = job->layout;
    memcpy(worker->backward, worker->dlogits, (size_t)layout->num_outputs * FPG_CHUNK * sizeof(float));
    fpg_head_log_prob(layout, job->packed, fpg_round_up(rows, FPG_PAD), FPG_CHUNK, worker->action, worker->backward, log_prob, entropy);
}

/* Of factor * ((weight - shift) * scale * log pi + entropy_coef * entropy). Adds to the slot what it is the gradient of, and the
 * entropy, where they are wanted. 0 if an action is out of range. */
static int fpg_policy_objective(const fpg_rows *job, const fpg_pieces *found, float factor, fpg_worker *worker, fpg_slot *slot)
{
    const int32_t rows = found->num_rows;
    const float shift = (float)job->shift, scale = (float)job->scale;
    float weight[FPG_CHUNK] = {0};
    if (!fpg_load_actions(job->layout, found, worker->action))
        return 0;
    FPG_EACH_ROW(found, weight[r] = factor * ((shard->weights[k] - shift) * scale))
    if (job->want_sum || job->want_entropy) {
        float log_prob[FPG_CHUNK], entropy[FPG_CHUNK];
        fpg_log_prob_rows(job, rows, worker, log_prob, entropy);
        for (int32_t r = 0; r < rows; r++)
            slot->entropy += entropy[r];
        /* A log-prob may be too negative for float32, which a weight of 0 makes 0. */
        FPG_EACH_ROW(found, {
            const double w = shard->weights[k];
            slot->sum += (w != 0 ? w * log_prob[r] : 0) + (double)job->entropy_coef * entropy[r];
        })
    }
    fpg_score_rows(job, rows, weight, factor * job->entropy_coef, worker);
    return 1;
}

/* e^x - 1 - x, to its own accuracy near 0 as well. */
static inline float fpg_exp_beyond_linear(float x, float exp_x)
{
    const float series = x * x * (0.5f + x * (1.0f / 6 + x * (1.0f / 24 + x * (1.0f / 120 + x * (1.0f / 720)))));
    return x > -0.25f && x < 0.25f ? series : exp_x - 1.0f - x;
}

/* Of min(ratio * A, clip(ratio, 1 - clip_range, 1 + clip_range) * A) + entropy_coef * entropy, where A = (weight - shift) * scale and
 * ratio = pi / pi_old: Schulman et al., "Proximal policy optimization algorithms", 2017, equation 7. The slot gets the sums of the
 * surrogate and of what is known of the ratios. Estimates of KL(old | new): Schulman, "Approximating KL divergence", 2020. */
static int fpg_clipped_objective(const fpg_rows *job, const fpg_pieces *found, fpg_worker *worker, fpg_slot *slot)
{
    const int32_t rows = found->num_rows, width = fpg_round_up(rows, FPG_PAD);
    const float shift = (float)job->shift, scale = (float)job->scale, low = 1.0f - job->clip_range, high = 1.0f + job->clip_range;
    float weight[FPG_CHUNK] = {0}, old[FPG_CHUNK] = {0}, log_prob[FPG_CHUNK], entropy[FPG_CHUNK];
    float surrogate[FPG_CHUNK], k3[FPG_CHUNK], clipped[FPG_CHUNK];
    if (!fpg_load_actions(job->layout, found, worker->action))
        return 0;
    FPG_EACH_ROW(found, (weight[r] = (shard->weights[k] - shift) * scale, old[r] = shard->old_log_probs[k]))
    fpg_log_prob_rows(job, rows, worker, log_prob, entropy);
    FPG_SIMD for (int32_t r = 0; r < width; r++) {
        const float advantage = weight[r], log_ratio = log_prob[r] - old[r], ratio = fpg_expf(log_ratio);
        const float held = ratio < low ? low : ratio > high ? high : ratio;
        const float plain = ratio * advantage, bound = held * advantage;
        surrogate[r] = bound < plain ? bound : plain;
        weight[r] = bound < plain ? 0.0f : plain;
        k3[r] = fpg_exp_beyond_linear(log_ratio, ratio);
        clipped[r] = held != ratio ? 1.0f : 0.0f;
        old[r] = log_ratio;
    }
    double sum = 0, sum_entropy = 0, sum_k1 = 0, sum_k3 = 0, num_clipped = 0;
    for (int32_t r = 0; r < rows; r++) {
        sum += surrogate[r], sum_entropy += entropy[r];
        sum_k1 -= old[r], sum_k3 += k3[r], num_clipped += clipped[r];
    }
    slot->sum += sum, slot->entropy += sum_entropy;
    slot->k1 += sum_k1, slot->k3 += sum_k3, slot->num_clipped += num_clipped;
    for (int32_t r = rows; r < width; r++)
        weight[r] = 0;
    fpg_score_rows(job, rows, weight, job->entropy_coef, worker);
    return 1;
}

/* Of -loss(error) with error = (target - V) / value_scale: half its square, or Huber's loss ("Robust estimation of a location
 * parameter", 1964). With value_clip the larger of two losses: that of V, and that of a V that goes no further than value_clip from
 * what it was (ppo2 of OpenAI Baselines). The derivative is by V. The slot gets the sum of (target - V)^2. */
static void fpg_value_objective(const fpg_rows *job, const fpg_pieces *found, fpg_worker *worker, fpg_slot *slot)
{
    const int32_t rows = found->num_rows;
    const float inverse = 1.0f / job->value_scale, delta = job->huber_delta, limit = job->value_clip * job->value_scale;
    float error[FPG_CHUNK], moved[FPG_CHUNK], *v = worker->dlogits;
    FPG_EACH_ROW(found, error[r] = shard->targets[k] - v[r])
    for (int32_t r = 0; r < rows; r++)
        slot->sum += (double)error[r] * error[r];
    if (limit < INFINITY) {
        FPG_EACH_ROW(found, moved[r] = v[r] - shard->values[k])
        FPG_SIMD for (int32_t r = 0; r < rows; r++) {
            const float beyond = moved[r] > limit ? moved[r] - limit : moved[r] < -limit ? moved[r] + limit : 0.0f;
            v[r] = fabsf(error[r] + beyond) > fabsf(error[r]) ? 0.0f : error[r] * inverse;
        }
    } else
        FPG_SIMD for (int32_t r = 0; r < rows; r++)
            v[r] = error[r] * inverse;
    FPG_SIMD for (int32_t r = 0; r < rows; r++)
        v[r] = (v[r] > delta ? delta : v[r] < -delta ? -delta : v[r]) * inverse;
}

/* log pi of the rows' actions is kept, and the outputs where there is room; the slot gets the sum of the entropies. 0 if an action
 * is out of range. */
static int fpg_store_log_probs(const fpg_rows *job, const fpg_pieces *found, fpg_worker *worker, fpg_slot *slot)
{
    const int32_t outputs = job->layout->num_outputs;
    float log_prob[FPG_CHUNK], entropy[FPG_CHUNK];
    if (!fpg_load_actions(job->layout, found, worker->action))
        return 0;
    fpg_log_prob_rows(job, found->num_rows, worker, log_prob, entropy);
    FPG_EACH_ROW(found, (shard->old_log_probs[k] = log_prob[r], slot->entropy += entropy[r]))
    for (int32_t a = 0; a < outputs; a++)
        FPG_EACH_ROW(found, if (shard->old_outputs) shard->old_outputs[k * outputs + a] = worker->dlogits[a * FPG_CHUNK + r])
    return 1;
}

/* The outputs that were kept, to old (num_outputs, FPG_CHUNK); 0 past the last row. */
static void fpg_load_old_outputs(const fpg_rows *job, const fpg_pieces *found, float *old)
{
    const int32_t outputs = job->layout->num_outputs;
    for (int32_t a = 0; a < outputs; a++) {
        memset(old + a * FPG_CHUNK, 0, FPG_CHUNK * sizeof *old);
        FPG_EACH_ROW(found, old[a * FPG_CHUNK + r] = shard->old_outputs[k * outputs + a])
    }
}

/* Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002: a tangent pass forward, the Fisher
 * matrix by the outputs, and the pass backward that every objective has. */
static void fpg_fisher_objective(const fpg_rows *job, const fpg_pieces *found, float *const *hidden, fpg_worker *worker)
{
    const fpg_layout *layout = job->layout;
    float *dz = worker->backward + 2 * FPG_CHUNK * layout->max_width;
    fpg_mlp_tangent(layout, job->packed, job->tangent, worker->x, found->num_rows, FPG_CHUNK, hidden, worker->backward, dz);
    fpg_head_fisher(layout, job->packed, job->tangent + layout->log_std_packed, fpg_round_up(found->num_rows, FPG_PAD), FPG_CHUNK, dz,
                    worker->dlogits);
}

/* The slot gets the sums of KL(old | new) and of (ratio - 1) * A, with A = (weight - shift) * scale. 0 if an action is out of range. */
static int fpg_trust_region(const fpg_rows *job, const fpg_pieces *found, fpg_worker *worker, fpg_slot *slot)
{
    const int32_t width = fpg_round_up(found->num_rows, FPG_PAD);
    const float shift = (float)job->shift, scale = (float)job->scale;
    float log_prob[FPG_CHUNK], entropy[FPG_CHUNK], kl[FPG_CHUNK], *old = worker->backward;
    if (!fpg_load_actions(job->layout, found, worker->action))
        return 0;
    fpg_log_prob_rows(job, found->num_rows, worker, log_prob, entropy);
    FPG_EACH_ROW(found, {
        const float log_ratio = log_prob[r] - shard->old_log_probs[k];
        const double advantage = (shard->weights[k] - shift) * scale;
        slot->sum += advantage * (fpg_exp_beyond_linear(log_ratio, fpg_expf(log_ratio)) + log_ratio);
    })
    fpg_load_old_outputs(job, found, old);
    fpg_head_kl(job->layout, job->packed, job->old_log_std, width, FPG_CHUNK, old, worker->dlogits, kl);
    for (int32_t r = 0; r < found->num_rows; r++)
        slot->k3 += kl[r];
    return 1;
}

/* ---- tasks ------------------------------------------------------------------------------------------------------------- */

/* The rows of a chunk as chunks.h drives them. */
typedef struct {
    fpg_chunks chunks;
    const fpg_rows *job;
    fpg_slot *slot;
    float factor;
    fpg_pieces found;
} fpg_row_chunks;

static int32_t fpg_load_row_chunk(fpg_chunks *chunks, int64_t position, fpg_worker *worker)
{
    fpg_row_chunks *c = (fpg_row_chunks *)chunks;
    fpg_find_pieces(c->job, position, chunks->end, &c->found);
    fpg_load_obs(chunks->layout, &c->found, worker->x);
    const fpg_piece *piece = &c->found.pieces[0];
    chunks->has_hidden = c->job->has_hidden && c->found.num_pieces == 1 && !piece->rows && piece->shard->hidden[0];
    chunks->keeps = !chunks->has_hidden && c->job->kept[0] && !c->job->has_kept;
    for (int32_t l = 0; chunks->has_hidden && l < chunks->layout->num_hidden; l++)
        chunks->hidden[l] = piece->shard->hidden[l] + piece->begin * chunks->layout->hidden[l].out_pad;
    if (!chunks->has_hidden && c->job->kept[0]) {
        for (int32_t l = 0; l < chunks->layout->num_hidden; l++)
            chunks->hidden[l] = c->job->kept[l] + position * chunks->layout->hidden[l].out_pad;
        chunks->has_hidden = c->job->has_kept;
    }
    chunks->has_scores = chunks->has_hidden && c->job->objective == FPG_FISHER_OBJECTIVE && piece->shard->old_outputs;
    return c->found.num_rows;
}

static int fpg_differentiate_row_chunk(fpg_chunks *chunks, int32_t rows, fpg_worker *worker)
{
    fpg_row_chunks *c = (fpg_row_chunks *)chunks;
    (void)rows;
    if (c->job->objective != FPG_VALUE_OBJECTIVE && c->job->objective != FPG_NO_OBJECTIVE)
        fpg_mask_outputs(chunks->layout, &c->found, worker->dlogits);
    switch (c->job->objective) {
    case FPG_POLICY_OBJECTIVE:
        return fpg_policy_objective(c->job, &c->found, c->factor, worker, c->slot);
    case FPG_VALUE_OBJECTIVE:
        fpg_value_objective(c->job, &c->found, worker, c->slot);
        break;
    case FPG_CLIPPED_OBJECTIVE:
        return fpg_clipped_objective(c->job, &c->found, worker, c->slot);
    case FPG_NO_OBJECTIVE:
        FPG_EACH_ROW(&c->found, shard->values[k] = worker->dlogits[r])
        break;
    case FPG_FISHER_OBJECTIVE:
        if (chunks->has_scores)
            fpg_load_old_outputs(c->job, &c->found, worker->dlogits);
        fpg_fisher_objective(c->job, &c->found, chunks->has_hidden || chunks->keeps ? chunks->hidden : worker->hidden, worker);
        break;
    case FPG_TRUST_REGION:
        return fpg_trust_region(c->job, &c->found, worker, c->slot);
    case FPG_LOG_PROBS:
        return fpg_store_log_probs(c->job, &c->found, worker, c->slot);
    }
    return 1;
}

/* gradient += factor * that of rows begin .. end - 1; NULL: only the objective is seen to. 0 if the call has to stop. */
static int fpg_drive_rows(fpg_rows *job, int64_t begin, int64_t end, float factor, int worker, float *gradient, fpg_slot *slot)
{
    fpg_row_chunks c = {.job = job, .slot = slot, .factor = factor,
                        .chunks = {.layout = job->layout, .packed = job->packed, .begin = begin, .end = end,
                                   .control = &job->control, .load = fpg_load_row_chunk,
                                   .differentiate = fpg_differentiate_row_chunk}};
    return fpg_drive(&c.chunks, &job->workers[worker], worker, gradient);
}

static void fpg_rows_gradient(void *context, int64_t index, int worker)
{
    fpg_rows *job = context;
    fpg_slot *slot = &job->slots[index];
    const int64_t rows = job->starts[job->num_shards], begin = index * job->rows_per_slot;
    const int64_t end = begin + job->rows_per_slot < rows ? begin + job->rows_per_slot : rows;
    float *gradient = job->objective >= FPG_NO_OBJECTIVE ? NULL : slot->gradient;
    slot->sum = slot->entropy = slot->k1 = slot->k3 = slot->num_clipped = 0;
    if (gradient)
        memset(gradient, 0, (size_t)job->layout->gradient_size * sizeof *gradient);
    fpg_drive_rows(job, begin, end, 1.0f, worker, gradient, slot);
}

/* Segments of rows, each with a gradient of its own: row by row of out_gradients. A worker sums in its own slot. */
static void fpg_rows_segments(void *context, int64_t index, int worker)
{
    fpg_rows *job = context;
    const fpg_layout *layout = job->layout;
    fpg_slot *slot = &job->slots[worker];
    const int64_t first = index * job->segments_per_task;
    const int64_t past = first + job->segments_per_task < job->num_segments ? first + job->segments_per_task : job->num_segments;
    for (int64_t s = first; s < past; s++) {
        const int64_t begin = job->segments ? job->segments[s] : s, end = job->segments ? job->segments[s + 1] : s + 1;
        float *out = job->out_gradients + s * layout->num_parameters;
        memset(slot->gradient, 0, (size_t)layout->gradient_size * sizeof(float));
        if (!fpg_drive_rows(job, begin, end, job->mean ? 1.0f / (float)(end - begin) : 1.0f, worker, slot->gradient, slot))
            return;
        fpg_unpack_gradient(layout, slot->gradient, out);
        if (!fpg_all_finite(out, layout->num_parameters)) {
            fpg_fail(&job->control, FPG_NONFINITE_GRADIENT);
            return;
        }
    }
}

static void fpg_store_actions(const fpg_rows *job, int64_t begin, int32_t rows, const void *action)
{
    const int32_t size = job->layout->action_size;
    for (int32_t k = 0; k < size; k++)
        if (job->layout->kind == FPG_GAUSSIAN)
            for (int32_t r = 0; r < rows; r++)
                ((float *)job->out_actions)[(begin + r) * size + k] = ((const float *)action)[k * FPG_CHUNK + r];
        else
            for (int32_t r = 0; r < rows; r++)
                ((int64_t *)job->out_actions)[(begin + r) * size + k] = ((const int32_t *)action)[k * FPG_CHUNK + r];
}

/* Logits, or actions, or log-probs and entropy of the caller's rows: whichever output is not NULL. */
static void fpg_rows_outputs(void *context, int64_t index, int worker_index)
{
    fpg_rows *job = context;
    const fpg_layout *layout = job->layout;
    fpg_worker *worker = &job->workers[worker_index];
    const int32_t outputs = layout->num_outputs;
    const int64_t all = job->starts[job->num_shards], begin = index * job->rows_per_slot;
    const int64_t end = begin + job->rows_per_slot < all ? begin + job->rows_per_slot : all;
    fpg_pieces found;
    for (int64_t row = begin; row < end; row += FPG_CHUNK) {
        float log_prob[FPG_CHUNK], entropy[FPG_CHUNK];
        if (fpg_should_stop(&job->control, worker_index))
            return;
        fpg_find_pieces(job, row, end, &found);
        const int32_t rows = found.num_rows, width = fpg_round_up(rows, FPG_PAD);
        fpg_load_obs(layout, &found, worker->x);
        fpg_mlp_forward(layout, job->packed, worker->x, rows, FPG_CHUNK, worker->hidden, worker->dlogits);
        if (job->out_logits)
            for (int32_t r = 0; r < rows; r++)
                for (int32_t a = 0; a < outputs; a++)
                    job->out_logits[(row + r) * outputs + a] = worker->dlogits[a * FPG_CHUNK + r];
        fpg_mask_outputs(layout, &found, worker->dlogits);
        if (job->out_log_prob) {
            if (!fpg_load_actions(layout, &found, worker->action)) {
                fpg_fail(&job->control, FPG_BAD_ACTION);
                return;
            }
            fpg_head_log_prob(layout, job->packed, width, FPG_CHUNK, worker->action, worker->dlogits, log_prob, entropy);
            if (!fpg_all_finite(entropy, rows)) {
                fpg_fail(&job->control, FPG_NONFINITE_OUTPUT);
                return;
            }
            memcpy(job->out_log_prob + row, log_prob, (size_t)rows * sizeof(float));
            memcpy(job->out_entropy + row, entropy, (size_t)rows * sizeof(float));
        }
        if (job->out_actions) {
            fpg_draw_words(layout, width, (uint32_t)(job->first_env + row), (int64_t)job->step, 0, job->seed, worker->words);
            fpg_head_sample(layout, job->packed, width, FPG_CHUNK, worker->words + job->step % 4 * width, job->deterministic,
                            found.pieces[0].shard->action_mask != NULL, worker->dlogits, worker->action, entropy);
            if (!fpg_all_finite(entropy, rows)) {
                fpg_fail(&job->control, FPG_NONFINITE_OUTPUT);
                return;
            }
            fpg_store_actions(job, row, rows, worker->action);
            if (job->out_entropy)
                memcpy(job->out_entropy + row, entropy, (size_t)rows * sizeof(float));
        }
    }
}

#endif
