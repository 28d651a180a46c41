/* rollout.h - one tile's life: observe, act, step, record; returns backwards in time; the gradient.
 *
 * A linear policy needs no tape: its eligibility traces (linear.h) are weighted as rewards come in. Others record a tape
 * of the steps, turns rewards into weights backwards in time, and runs its backward pass over chunks of rows.
 */
#ifndef FPG_ROLLOUT_H
#define FPG_ROLLOUT_H

#include <math.h>

#include "sources/write_rows.h"
#include "sources/pass.h"
#include "simd/philox.h"
#include "heads/head.h"
#include "network/mlp.h"
#include "sources/streams.h"
#include "sources/tape.h"

#define FPG_TAPE_STEPS 512 /* to begin with, where only the episodes will tell */

/* The lanes of a tile while it runs. Padding lanes compute along and count for nothing. */
typedef struct {
    float active[FPG_TILE];   /* 1 while the lane's steps count, else 0 */
    float decay[FPG_TILE];    /* of the traces, at the next step */
    float running[FPG_TILE];  /* sum of gamma^t r_t since the episode (or the pass) began */
    float discount[FPG_TILE]; /* gamma^t */
    float reward32[FPG_TILE], coefficient[FPG_TILE], entropy[FPG_TILE];
    double entropy_sum[FPG_TILE], reward[FPG_TILE], end[FPG_TILE];
    int32_t done[FPG_TILE];
    int32_t which[FPG_TILE + 1]; /* lanes that start an episode */
    int64_t left[FPG_TILE];   /* episodes until the lane stops counting */
    int64_t owed[FPG_TILE];   /* episodes beyond this wave */
    fpg_zeros zeros;          /* of what is collected */
    int32_t num_active;
} fpg_lanes;

/* Fresh episodes for lanes which[0 .. count - 1]. The counter's step is the one the episode begins at. 0 if the environment
 * fails, as below. */
static int fpg_reset_lanes(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, int64_t step, int32_t count,
                           fpg_lanes *lane, double *noise)
{
    const int32_t width = pass->width;
    for (int32_t n = 0; n < count; n++) {
        const int32_t i = lane->which[n];
        for (int32_t k = 0; !tile->episode && k < pass->env->reset_noise_size; k += 4) {
            uint32_t word[4];
            fpg_philox4x32((uint32_t)(first_env + i), (uint32_t)step, pass->iteration, FPG_DRAW_RESET | (uint32_t)k << 8,
                           (uint32_t)pass->seed, (uint32_t)(pass->seed >> 32), &word[0], &word[1], &word[2], &word[3]);
            for (int32_t j = 0; j < 4 && k + j < pass->env->reset_noise_size; j++)
                noise[(k + j) * width + i] = fpg_uniform_double(word[j]);
        }
        tile->episode_return[i] = 0, tile->elapsed[i] = 0;
        lane->decay[i] = 0, lane->running[i] = 0, lane->discount[i] = 1;
    }
    if (tile->episode)
        fpg_stream_reset_noise(width, pass->env->reset_noise_size, count, lane->which, tile->key[0], tile->key[1], tile->episode, noise);
    return fpg_went_well(pass->control, FPG_RESET, pass->env->reset(pass->env, width, count, lane->which, noise, tile->state));
}

/* Episodes that the caller's last step ended are followed by others, as in each of the caller's autoreset modes. */
static int fpg_resume_lanes(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, fpg_lanes *lane, double *noise)
{
    int32_t count = 0;
    for (int32_t i = 0; i < pass->width; i++)
        if (tile->elapsed[i] < 0)
            lane->which[count++] = i;
    return count == 0 || fpg_reset_lanes(pass, tile, first_env, pass->first_step, count, lane, noise);
}

static void fpg_step_noise(const fpg_pass *pass, const fpg_tile *tile, int64_t first_env, int64_t step, double *noise)
{
    const int32_t width = pass->width;
    uint32_t words[4 * FPG_TILE];
    if (tile->episode) {
        fpg_stream_step_noise(width, pass->env->step_noise_size, tile->key[0], tile->key[1], tile->episode, tile->elapsed, noise);
        return;
    }
    for (int32_t k = 0; k < pass->env->step_noise_size; k += 4) {
        fpg_philox_fill(width, (uint32_t)first_env, (uint32_t)step, pass->iteration, FPG_DRAW_STEP | (uint32_t)k << 8, pass->seed, words);
        for (int32_t j = 0; j < 4 && k + j < pass->env->step_noise_size; j++)
            for (int32_t i = 0; i < width; i++)
                noise[(k + j) * width + i] = fpg_uniform_double(words[j * width + i]);
    }
}

static void fpg_tally_episode(fpg_tally *tally, double episode_return, int32_t length)
{
    tally->min_return = tally->num_episodes == 0 || episode_return < tally->min_return ? episode_return : tally->min_return;
    tally->max_return = tally->num_episodes == 0 || episode_return > tally->max_return ? episode_return : tally->max_return;
    tally->num_episodes++;
    tally->sum_return += episode_return;
    tally->sum_square += episode_return * episode_return;
    tally->sum_length += length;
}

/* Counts the episodes that ended with this step and starts the next ones, which begin at `step`. */
static int fpg_finish_episodes(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, int64_t step, fpg_lanes *lane,
                               double *noise, fpg_tally *tally)
{
    int32_t count = 0;
    for (int32_t i = 0; i < pass->width; i++) { /* without a branch: who is done is a toss-up */
        lane->which[count] = i;
        count += lane->done[i];
    }
    for (int32_t n = 0; n < count; n++) {
        const int32_t i = lane->which[n];
        if (lane->active[i] == 0)
            continue;
        fpg_tally_episode(tally, tile->episode_return[i], tile->elapsed[i]);
        if (pass->collect.episodes > 0) {
            if (pass->returns) {
                const int64_t env = first_env + i;
                const int64_t quota = fpg_episode_quota(pass->collect.episodes, pass->num_envs, env);
                const int64_t episode = (quota - lane->left[i] - lane->owed[i]) * pass->num_envs + env;
                pass->returns[episode] = tile->episode_return[i], pass->lengths[episode] = tile->elapsed[i];
            }
            if (--lane->left[i] == 0)
                lane->active[i] = 0, lane->num_active--;
        }
    }
    return fpg_reset_lanes(pass, tile, first_env, step, count, lane, noise);
}

/* Real actions, (action_size, width), as the environment allows them: squashed where the policy is, else scaled from -1 .. 1 to its
 * bounds where the policy means them so, and clipped; NaN stays. */
static void fpg_bound_actions(const fpg_layout *layout, const fpg_environment *env, int32_t width, float *FPG_RESTRICT action)
{
    for (int32_t k = 0; k < env->action_size; k++, action += width) {
        const float low = env->action_low[k], high = env->action_high[k], half = 0.5f * high - 0.5f * low;
        if (layout->squashed) {
            fpg_squash_actions(low, high, width, action);
            continue;
        }
        if (layout->scales_actions) /* the product is exact in float64, so that no contraction can change the result */
            FPG_SIMD for (int32_t i = 0; i < width; i++)
                action[i] = (float)(low + (double)(action[i] + 1.0f) * half);
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            action[i] = action[i] < low ? low : action[i] > high ? high : action[i];
    }
}

/* Outputs (num_outputs, width) of actions that the environment does not allow become -infinity. 0 if it fails, or allows one of the
 * lanes that count nothing. */
static int fpg_mask_lanes(const fpg_pass *pass, const fpg_tile *tile, int64_t first_env, uint8_t *action_mask, float *outputs)
{
    const fpg_layout *layout = pass->layout;
    const int32_t width = pass->width, size = layout->num_outputs;
    const int32_t real = (int32_t)(pass->num_envs - first_env < pass->lanes ? pass->num_envs - first_env : pass->lanes);
    memset(action_mask, 1, (size_t)size * (size_t)width);
    if (!fpg_went_well(pass->control, FPG_MASK_ACTIONS, pass->env->mask(pass->env, width, tile->state, action_mask)))
        return 0;
    const uint8_t *FPG_RESTRICT allowed = action_mask;
    for (int32_t k = 0; k < layout->action_size; k++) {
        uint8_t any[FPG_TILE] = {0};
        for (int32_t a = 0; a < layout->action_categories[k]; a++, allowed += width, outputs += width)
            FPG_SIMD for (int32_t i = 0; i < width; i++) {
                any[i] |= allowed[i];
                outputs[i] = allowed[i] ? outputs[i] : -INFINITY;
            }
        for (int32_t i = 0; i < real; i++)
            if (!any[i]) {
                fpg_fail(pass->control, FPG_NO_ALLOWED_ACTION_STATUS(first_env + i));
                return 0;
            }
    }
    return 1;
}

/* One environment step of every lane, and the bookkeeping that needs no policy. Returns how many lanes are done, or -1. */
static int fpg_step_lanes(const fpg_pass *pass, fpg_tile *tile, fpg_lanes *lane, const void *action, const double *noise)
{
    const int32_t width = pass->width, limit = pass->env->max_episode_steps > 0 ? pass->env->max_episode_steps : INT32_MAX;
    double *FPG_RESTRICT episode_return = tile->episode_return;
    int32_t *FPG_RESTRICT elapsed = tile->elapsed;
    const float gamma = (float)pass->collect.gamma;
    int32_t any = 0;
    if (!fpg_went_well(pass->control, FPG_STEP, pass->env->step(pass->env, width, action, noise, tile->state, lane->reward, lane->end)))
        return -1;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        episode_return[i] += lane->reward[i];
        lane->reward32[i] = (float)lane->reward[i];
        lane->entropy_sum[i] += lane->entropy[i] * lane->active[i];
    }
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        lane->running[i] += lane->discount[i] * lane->reward32[i];
        lane->discount[i] *= gamma;
    }
    FPG_SIMD_SUM(any) for (int32_t i = 0; i < width; i++) {
        elapsed[i] += 1;
        lane->done[i] = (lane->end[i] != 0) | (elapsed[i] >= limit);
        any += lane->done[i];
    }
    return any;
}

/* The tape-free gradient of a linear policy, one step. `last` is the step at which horizon cuts. */
static void fpg_trace_step(const fpg_pass *pass, const fpg_worker *worker, fpg_lanes *lane, const float *x, const float *score,
                           int any_done, int last)
{
    const fpg_layer *head = &pass->layout->output;
    const int32_t width = pass->width;
    const float gamma = (float)pass->collect.gamma;
    const int to_go = pass->collect.form == FPG_PHI_REWARD_TO_GO;
    fpg_linear_trace(head, x, score, width, lane->decay, worker->trace);
    for (int32_t i = 0; i < width; i++) {
        const float total = lane->done[i] | last ? lane->running[i] : 0.0f;
        lane->coefficient[i] = lane->active[i] * (to_go ? lane->reward32[i] : total);
        lane->decay[i] = to_go ? gamma : 1.0f; /* a reset clears it */
    }
    if (to_go || any_done || last)
        fpg_linear_accumulate(head, width, lane->coefficient, worker->trace, worker->trace_sum);
}

/* How many episodes a lane may run on one tape, and whether activations fit on it as well. */
typedef struct {
    int64_t episodes;
    int keep_hidden;
} fpg_tape_plan;

static fpg_tape_plan fpg_plan_tape(const fpg_pass *pass)
{
    const fpg_layout *layout = pass->layout;
    const int64_t bare = (int64_t)sizeof(float) * pass->width * (layout->obs_size + layout->num_scores + 6);
    const int64_t full = bare + (int64_t)sizeof(float) * pass->lanes * layout->hidden_floats;
    const int64_t limit = pass->env->max_episode_steps;
    if (pass->collect.horizon > 0)
        return (fpg_tape_plan){1, pass->collect.horizon <= FPG_TAPE_BYTES / full};
    if (limit == 0)
        return (fpg_tape_plan){1, 0};
    if (pass->collect.baseline == FPG_TIMESTEP_MEAN) /* so that a row of the tape is a step of everybody's episode */
        return (fpg_tape_plan){1, limit * full <= FPG_TAPE_BYTES};
    if (limit * full <= FPG_TAPE_BYTES)
        return (fpg_tape_plan){FPG_TAPE_BYTES / (limit * full), 1};
    return (fpg_tape_plan){limit * bare <= FPG_TAPE_BYTES ? FPG_TAPE_BYTES / (limit * bare) : 1, 0};
}

/* Whose episodes ended with a step, and how. */
static void fpg_tape_flags(const fpg_pass *pass, const fpg_tile *tile, const double *end, int any_done, uint8_t *FPG_RESTRICT terminated,
                           uint8_t *FPG_RESTRICT truncated)
{
    const int32_t limit = pass->env->max_episode_steps > 0 ? pass->env->max_episode_steps : INT32_MAX;
    memset(terminated, 0, (size_t)pass->width);
    memset(truncated, 0, (size_t)pass->width);
    for (int32_t i = 0; any_done && i < pass->width; i++) {
        terminated[i] = (uint8_t)fpg_is_terminated(end[i]);
        truncated[i] = (uint8_t)(fpg_is_truncated(end[i]) | (tile->elapsed[i] >= limit));
    }
}

/* V of what follows the steps that a time limit or the horizon cuts, 0 elsewhere. The next episodes have not begun yet. */
static int fpg_tape_cuts(const fpg_pass *pass, const fpg_tile *tile, fpg_worker *worker, const fpg_lanes *lane, int any_done,
                         int last, float *bootstrap)
{
    int32_t which[FPG_TILE + 1], count = 0;
    memset(bootstrap, 0, (size_t)pass->width * sizeof *bootstrap);
    if (!any_done && !last)
        return 1;
    for (int32_t i = 0; i < pass->lanes; i++) {
        which[count] = i;
        count += (lane->done[i] | last) && !fpg_is_terminated(lane->end[i]) && lane->active[i] > 0;
    }
    return count == 0 || fpg_bootstrap(pass, tile, worker, count, which, bootstrap);
}

/* Whether an episode that is waited for has gone on for so long that nobody may see its end. */
static int fpg_is_endless(const fpg_pass *pass, const fpg_tile *tile, const fpg_lanes *lane)
{
    int any = 0;
    for (int32_t i = 0; i < pass->width; i++)
        any |= lane->active[i] > 0 && tile->elapsed[i] >= FPG_LONGEST_EPISODE;
    return any && pass->collect.episodes > 0 && pass->env->max_episode_steps == 0;
}

/* Steps the tile until its lanes have run their episodes or the horizon is reached; returns the step it stopped at, or -1. */
static int64_t fpg_run_wave(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, fpg_worker *worker, int worker_index,
                            int64_t begin, int keep_hidden, fpg_lanes *lane, fpg_tally *tally)
{
    const fpg_layout *layout = pass->layout;
    const int32_t width = pass->width, lanes = pass->lanes, inputs = layout->obs_size, scores = layout->num_scores;
    const int taped = fpg_is_taped(pass);
    fpg_tape *tape = &worker->tape;
    fpg_shard *shard = pass->shards ? &pass->shards[first_env / pass->lanes] : NULL;
    int64_t step = begin;
    for (int last = 0; lane->num_active > 0 && !last; step++) {
        const int64_t t = step - begin;
        float *x = worker->x, *score = worker->dlogits, *hidden[FPG_MAX_HIDDEN];
        last = t + 1 == pass->collect.horizon;
        if (step % 16 == 0 && fpg_should_stop(pass->control, worker_index))
            return -1;
        if (t > 0 && t % FPG_LONGEST_EPISODE == 0 && fpg_is_endless(pass, tile, lane)) {
            fpg_fail(pass->control, FPG_ENDLESS_EPISODE);
            return -1;
        }
        if (taped) {
            if (t == tape->capacity && !fpg_tape_reserve(tape, layout, lanes, width, 2 * t, keep_hidden)) {
                fpg_fail(pass->control, FPG_NO_MEMORY);
                return -1;
            }
            x = tape->obs + t * inputs * width, score = tape->score + t * scores * width;
        }
        if (shard && shard->capacity > 0 && t == shard->capacity && !fpg_shard_reserve(shard, layout, 2 * t)) {
            fpg_fail(pass->control, FPG_NO_MEMORY);
            return -1;
        }
        for (int32_t l = 0; l < layout->num_hidden; l++) {
            const int32_t units = layout->hidden[l].out_pad;
            hidden[l] = taped && keep_hidden       ? tape->hidden[l] + t * lanes * units
                        : shard && shard->hidden[l] ? shard->hidden[l] + t * shard->num_envs * units
                                                    : worker->hidden[l];
        }
        if (!fpg_went_well(pass->control, FPG_OBSERVE, pass->env->observe(pass->env, width, tile->state, x)))
            return -1;
        fpg_mlp_forward(layout, pass->packed, x, lanes, width, hidden, score);
        if (step % 4 == 0 || t == 0)
            fpg_draw_words(layout, width, (uint32_t)first_env, step, pass->iteration, pass->seed, worker->words);
        if (pass->env->mask && !fpg_mask_lanes(pass, tile, first_env, worker->action_mask, score))
            return -1;
        if (shard && shard->log_probs)
            memcpy(worker->backward, score, (size_t)layout->num_outputs * (size_t)width * sizeof *score);
        fpg_head_sample(layout, pass->packed, width, width, worker->words + step % 4 * width, pass->deterministic,
                        pass->env->mask != NULL, score, worker->action, lane->entropy);
        if (shard)
            fpg_write_draw(pass, shard, t, x, worker->action, worker->action_mask, worker->backward, &lane->zeros);
        if (layout->kind == FPG_GAUSSIAN)
            fpg_bound_actions(layout, pass->env, width, worker->action);
        if (pass->env->step_noise_size > 0)
            fpg_step_noise(pass, tile, first_env, step, worker->noise);
        const int any_done = fpg_step_lanes(pass, tile, lane, worker->action, worker->noise);
        if (any_done < 0)
            return -1;
        if (taped) {
            memcpy(tape->reward + t * width, lane->reward32, (size_t)width * sizeof(float));
            fpg_tape_flags(pass, tile, lane->end, any_done, tape->terminated + t * width, tape->truncated + t * width);
            for (int32_t i = 0; i < width; i++)
                tape->mask[t * width + i] = lane->active[i] > 0;
            if (lane->num_active < lanes)
                for (int32_t a = 0; a < scores; a++)
                    for (int32_t i = 0; i < width; i++)
                        score[a * width + i] *= lane->active[i];
            if (pass->value_layout && !fpg_tape_cuts(pass, tile, worker, lane, any_done, last, tape->final_value + t * width))
                return -1;
            if (pass->value_layout && last)
                memcpy(tape->last_value, tape->final_value + t * width, (size_t)width * sizeof(float));
        } else if (pass->want_gradient)
            fpg_trace_step(pass, worker, lane, x, score, any_done, last);
        if (shard) {
            fpg_write_step(pass, tile, shard, t, lane->reward32, lane->end, lane->active, &lane->zeros);
            if (any_done && !fpg_write_ends(pass, tile, shard, t, lane->done, lane->active, worker->dlogits, &lane->zeros))
                return -1;
        }
        if (any_done && !fpg_finish_episodes(pass, tile, first_env, step + 1, lane, worker->noise, tally))
            return -1;
    }
    return step;
}

/* Everything that one pass does with one tile. */
static void fpg_rollout(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, fpg_worker *worker, int worker_index, fpg_slot *slot)
{
    const fpg_layout *layout = pass->layout;
    const int32_t width = pass->width;
    const int by_episode = pass->collect.episodes > 0, taped = fpg_is_taped(pass);
    fpg_tape *tape = &worker->tape;
    fpg_shard *shard = pass->shards ? &pass->shards[first_env / pass->lanes] : NULL;
    const fpg_tape_plan plan = fpg_plan_tape(pass);
    const int64_t trace_size = (int64_t)layout->num_outputs * (layout->num_inputs + 1) * width;
    const int32_t real = (int32_t)(pass->num_envs - first_env < pass->lanes ? pass->num_envs - first_env : pass->lanes);
    fpg_tally *tally = &slot->tally;
    fpg_lanes lane = {.num_active = 0};
    const int64_t steps_before = tally->sum_length;
    for (int32_t i = 0; i < real; i++)
        lane.owed[i] = by_episode ? fpg_episode_quota(pass->collect.episodes, pass->num_envs, first_env + i) : 0;
    for (int32_t i = 0; i < width; i++)
        lane.decay[i] = 0, lane.running[i] = 0, lane.discount[i] = 1;
    if (pass->want_gradient && !taped) {
        memset(worker->trace, 0, (size_t)trace_size * sizeof(float));
        memset(worker->trace_sum, 0, (size_t)trace_size * sizeof(float));
    }
    if (taped && !fpg_tape_reserve(tape, layout, pass->lanes, width,
                                   by_episode ? FPG_TAPE_STEPS : pass->collect.horizon, plan.keep_hidden)) {
        fpg_fail(pass->control, FPG_NO_MEMORY);
        return;
    }
    int64_t step = pass->first_step;
    if (shard)
        shard->num_steps = 0, shard->ends.count = 0;
    do { /* one wave of episodes, as many as the tape holds; or the horizon */
        const int64_t begin = step;
        lane.num_active = 0;
        for (int32_t i = 0; i < width; i++) {
            lane.left[i] = taped && lane.owed[i] > plan.episodes ? plan.episodes : lane.owed[i];
            lane.owed[i] -= lane.left[i];
            lane.active[i] = i < real && (!by_episode || lane.left[i] > 0) ? 1.0f : 0.0f;
            lane.num_active += lane.active[i] > 0;
            lane.which[i] = i;
        }
        if (lane.num_active == 0)
            break;
        if (!(by_episode || pass->fresh ? fpg_reset_lanes(pass, tile, first_env, step, width, &lane, worker->noise)
                                        : fpg_resume_lanes(pass, tile, first_env, &lane, worker->noise)))
            return;
        memcpy(tape->first_age, tile->elapsed, (size_t)width * sizeof *tile->elapsed);
        step = fpg_run_wave(pass, tile, first_env, worker, worker_index, begin, plan.keep_hidden, &lane, tally);
        if (step < 0)
            return;
        if (taped) {
            if (pass->value_layout)
                fpg_tape_values(pass, worker, tape, step - begin);
            else
                memset(tape->last_value, 0, sizeof tape->last_value);
            if (!fpg_tape_weights(pass, tape, step - begin, !by_episode && real == pass->lanes, worker_index)) {
                fpg_fail(pass->control, FPG_NO_MEMORY);
                return;
            }
            fpg_tape_backward(pass, worker, worker_index, tape, step - begin, plan.keep_hidden, slot);
        }
        if (shard)
            shard->num_steps = step - begin;
    } while (by_episode);
    if (pass->want_gradient && !taped)
        fpg_linear_reduce(&layout->output, width, worker->trace_sum, slot->gradient);
    if (shard)
        fpg_write_last(pass, tile, shard, worker->dlogits, &lane.zeros);
    tally->num_steps += by_episode ? tally->sum_length - steps_before : (step - pass->first_step) * real;
    for (int32_t i = 0; i < real; i++) {
        tally->entropy += lane.entropy_sum[i];
        if (!by_episode)
            tally->num_trajectories += tile->elapsed[i] > 0;
    }
}

#endif
