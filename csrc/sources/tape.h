/* tape.h - several steps of one tile: their values, their weights, and the gradient of the sum of weight * log pi. */
#ifndef FPG_TAPE_H
#define FPG_TAPE_H

#include "sources/pass.h"
#include "batch/weights.h"
#include "heads/head.h"
#include "learn/chunks.h"
#include "network/mlp.h"

/* `count` rows of worker->x, (obs_size, FPG_CHUNK), to worker->values. */
static void fpg_value_forward(const fpg_pass *pass, fpg_worker *worker, int32_t count)
{
    fpg_mlp_forward(pass->value_layout, pass->value_packed, worker->x, count, FPG_CHUNK, worker->value_hidden, worker->values);
}

/* Steps t .. t + count - 1 of a tape become the rows s * lanes + i of worker->x; 0 past the last, as backward passes want it. */
static void fpg_load_tape_obs(const fpg_pass *pass, const fpg_tape *tape, int64_t t, int32_t count, fpg_worker *worker)
{
    const int32_t width = pass->width, lanes = pass->lanes, size = pass->layout->obs_size;
    fpg_clear_padding(size, count * lanes, worker->x);
    for (int32_t s = 0; s < count; s++)
        for (int32_t d = 0; d < size; d++)
            memcpy(worker->x + d * FPG_CHUNK + s * lanes, tape->obs + ((t + s) * size + d) * width, (size_t)lanes * sizeof(float));
}

/* tape->value of every step. */
static void fpg_tape_values(const fpg_pass *pass, fpg_worker *worker, const fpg_tape *tape, int64_t steps)
{
    const int32_t width = pass->width, lanes = pass->lanes;
    const int64_t per_chunk = FPG_CHUNK / lanes;
    memset(tape->value, 0, (size_t)(steps * width) * sizeof(float));
    for (int64_t t = 0; t < steps; t += per_chunk) {
        const int32_t count = (int32_t)(steps - t < per_chunk ? steps - t : per_chunk);
        fpg_load_tape_obs(pass, tape, t, count, worker);
        fpg_value_forward(pass, worker, count * lanes);
        for (int32_t s = 0; s < count; s++)
            memcpy(tape->value + (t + s) * width, worker->values + s * lanes, (size_t)lanes * sizeof(float));
    }
}

/* V of the present state of the tile's lanes which[0 .. count - 1], into bootstrap[which[n]]; 0 if the environment fails. */
static int fpg_bootstrap(const fpg_pass *pass, const fpg_tile *tile, fpg_worker *worker, int32_t count, const int32_t *which,
                         float *bootstrap)
{
    const int32_t width = pass->width;
    float *obs = worker->dlogits; /* at least as large: see fpg_worker_init */
    if (!fpg_went_well(pass->control, FPG_OBSERVE, pass->env->observe(pass->env, width, tile->state, obs)))
        return 0;
    for (int32_t d = 0; d < pass->layout->obs_size; d++)
        for (int32_t n = 0; n < count; n++)
            worker->x[d * FPG_CHUNK + n] = obs[d * width + which[n]];
    fpg_value_forward(pass, worker, count);
    for (int32_t n = 0; n < count; n++)
        bootstrap[which[n]] = worker->values[n];
    return 1;
}

/* ---- its gradient --------------------------------------------------------------------------------------------------- */

typedef struct {
    fpg_chunks chunks; /* positions are rows s * lanes + i */
    const fpg_pass *pass;
    const fpg_tape *tape;
    int keep_hidden;
    int64_t step; /* of the chunk's first row */
    int32_t count; /* its steps */
} fpg_tape_chunks;

static int32_t fpg_load_tape_chunk(fpg_chunks *chunks, int64_t position, fpg_worker *worker)
{
    fpg_tape_chunks *c = (fpg_tape_chunks *)chunks;
    const int32_t lanes = c->pass->lanes;
    const int64_t left = (chunks->end - position) / lanes;
    c->step = position / lanes, c->count = (int32_t)(left < FPG_CHUNK / lanes ? left : FPG_CHUNK / lanes);
    fpg_load_tape_obs(c->pass, c->tape, c->step, c->count, worker);
    for (int32_t l = 0; c->keep_hidden && l < chunks->layout->num_hidden; l++)
        chunks->hidden[l] = c->tape->hidden[l] + position * chunks->layout->hidden[l].out_pad;
    chunks->has_hidden = chunks->has_scores = c->keep_hidden;
    return c->count * lanes;
}

/* Scores were kept: they are multiplied by the weights, and the entropy's gradient is made of them. */
static int fpg_differentiate_tape_chunk(fpg_chunks *chunks, int32_t rows, fpg_worker *worker)
{
    const fpg_tape_chunks *c = (const fpg_tape_chunks *)chunks;
    const fpg_pass *pass = c->pass;
    const fpg_tape *tape = c->tape;
    const int32_t width = pass->width, lanes = pass->lanes, scores = chunks->layout->num_scores;
    (void)rows;
    for (int32_t s = 0; s < c->count; s++) {
        const int64_t t = c->step + s;
        const float *FPG_RESTRICT weight = tape->weight + t * width;
        for (int32_t a = 0; a < scores; a++) {
            const float *FPG_RESTRICT score = tape->score + (t * scores + a) * width;
            float *FPG_RESTRICT dlogits = worker->dlogits + a * FPG_CHUNK + s * lanes;
            FPG_SIMD for (int32_t i = 0; i < lanes; i++)
                dlogits[i] = weight[i] * score[i];
        }
        if (pass->collect.entropy_coef != 0) {
            float active[FPG_TILE];
            for (int32_t i = 0; i < lanes; i++)
                active[i] = tape->mask[t * width + i];
            fpg_head_entropy_gradient(chunks->layout, lanes, width, tape->score + t * scores * width, active,
                                      (float)pass->collect.entropy_coef, FPG_CHUNK, worker->dlogits + s * lanes);
        }
    }
    return 1;
}

/* slot->gradient += sum over the tape of weight * grad log pi. */
static void fpg_tape_backward(const fpg_pass *pass, fpg_worker *worker, int worker_index, const fpg_tape *tape, int64_t steps,
                              int keep_hidden, fpg_slot *slot)
{
    fpg_tape_chunks c = {.pass = pass, .tape = tape, .keep_hidden = keep_hidden,
                         .chunks = {.layout = pass->layout, .packed = pass->packed, .end = steps * pass->lanes,
                                    .control = pass->control, .load = fpg_load_tape_chunk,
                                    .differentiate = fpg_differentiate_tape_chunk}};
    fpg_drive(&c.chunks, worker, worker_index, slot->gradient);
}

/* Rewards become weights. 0 if memory runs out. */
static int fpg_tape_weights(const fpg_pass *pass, fpg_tape *tape, int64_t steps, int all_count, int worker_index)
{
    const int has_values = pass->value_layout != NULL;
    const fpg_weighed w = {
        .num_steps = steps, .stride = pass->width, .num_envs = pass->lanes, .rewards = tape->reward,
        .values = has_values ? tape->value : NULL, .final_values = tape->final_value, .last_values = tape->last_value,
        .terminated = tape->terminated, .truncated = tape->truncated, .mask = all_count ? NULL : tape->mask,
        .first_age = tape->first_age, .weights = tape->weight, .targets = has_values ? tape->target : NULL};
    return fpg_weigh(&pass->collect, &w, pass->control, worker_index);
}

#endif
