/* collect.c - rollouts for a caller's own learner: environments in, steps and episodes out. */
#include "sources/sampler.h"
#include "sources/stepped.h"
#include "kernels/kernels.h"

int fpg_ends_reserve(fpg_ends *list, int32_t obs_size, int64_t count)
{
    if (count <= list->capacity)
        return 1;
    const int64_t capacity = count > 2 * list->capacity ? count : 2 * list->capacity;
    fpg_end *ends = fpg_alloc((size_t)capacity, sizeof *ends);
    float *obs = fpg_alloc(fpg_times((size_t)capacity, (size_t)obs_size), sizeof *obs);
    if (!ends || !obs) {
        fpg_free(ends), fpg_free(obs);
        return 0;
    }
    if (list->count > 0) {
        memcpy(ends, list->ends, (size_t)list->count * sizeof *ends);
        memcpy(obs, list->obs, (size_t)(list->count * obs_size) * sizeof *obs);
    }
    fpg_free(list->ends), fpg_free(list->obs);
    list->ends = ends, list->obs = obs, list->capacity = capacity;
    return 1;
}

/* The caller's environments become the tiles'. Padding gets a copy of environment 0, which can be stepped. */
static int load(fpg_sampler *s, const fpg_vector *v)
{
    const int32_t size = s->env.state_size, width = s->width;
    const size_t copies = (size_t)s->num_tiles * (size_t)width;
    if (!s->streams && !(s->streams = fpg_alloc(fpg_times(3, copies), sizeof *s->streams)))
        return 0;
    memcpy(s->env.params, v->env.params, sizeof s->env.params);
    for (int64_t t = 0; t < s->num_tiles; t++) {
        fpg_tile *tile = &s->tiles[t];
        tile->key[0] = s->streams + t * width, tile->key[1] = tile->key[0] + copies, tile->episode = tile->key[1] + copies;
        for (int32_t i = 0; i < width; i++) {
            const int64_t lane = i < s->lanes ? t * s->lanes + i : v->num_envs, env = lane < v->num_envs ? lane : 0;
            const double *from = v->state + env / v->width * v->width * size + env % v->width;
            for (int32_t k = 0; k < size; k++)
                tile->state[k * width + i] = from[k * v->width];
            tile->key[0][i] = v->key[0][env], tile->key[1][i] = v->key[1][env], tile->episode[i] = v->episode[env];
            tile->episode_return[i] = v->episode_return[env];
            tile->elapsed[i] = v->done[env] ? -1 : v->elapsed[env];
        }
    }
    s->fresh = 0;
    return 1;
}

static void store(const fpg_sampler *s, fpg_vector *v)
{
    const int32_t size = s->env.state_size, width = s->width;
    for (int64_t env = 0; env < v->num_envs; env++) {
        const fpg_tile *tile = &s->tiles[env / s->lanes];
        const int64_t i = env % s->lanes;
        double *to = v->state + env / v->width * v->width * size + env % v->width;
        for (int32_t k = 0; k < size; k++)
            to[k * v->width] = tile->state[k * width + i];
        v->episode[env] = tile->episode[i], v->episode_return[env] = tile->episode_return[i];
        v->elapsed[env] = tile->elapsed[i], v->done[env] = 0;
    }
}

fpg_status fpg_sampler_collect(fpg_sampler *s, fpg_vector *v, const float *theta, int64_t horizon, uint64_t seed, int64_t first_step,
                               const fpg_batch *out, int64_t *num_ends, fpg_stats *stats, fpg_poll poll)
{
    const double start = fpg_now();
    fpg_pass pass = {.collect = {.horizon = horizon, .gamma = 1}, .shards = s->shards, .all_ends = 1, .caller_draws = 1, .seed = seed,
                     .first_step = first_step};
    fpg_tally tally;
    for (int64_t t = 0; t < s->num_tiles; t++)
        s->tiles[t].episode = NULL;
    fpg_shards_of(out, &s->ws.layout, s->shards);
    if (v && !load(s, v))
        return FPG_NO_MEMORY;
    const fpg_status status = fpg_sampler_run(s, theta, NULL, &pass, &tally, poll);
    if (status != FPG_OK)
        return status;
    if (v)
        store(s, v);
    *num_ends = 0;
    for (int64_t t = 0; t < s->num_tiles; t++)
        *num_ends += s->shards[t].ends.count;
    *stats = fpg_stats_of(s, &tally, 0, start);
    return FPG_OK;
}

fpg_status fpg_sampler_ended(const fpg_sampler *s, int64_t *which, double *returns, int64_t *lengths, float *obs)
{
    const int32_t size = s->ws.layout.obs_size;
    int64_t steps = 0;
    for (int64_t t = 0; t < s->num_tiles; t++)
        for (int64_t n = 0; n < s->shards[t].ends.count; n++)
            steps = s->shards[t].ends.ends[n].step >= steps ? s->shards[t].ends.ends[n].step + 1 : steps;
    int64_t *place = fpg_calloc((size_t)steps + 1, sizeof *place); /* of the next episode that ended with each step */
    if (!place)
        return FPG_NO_MEMORY;
    for (int64_t t = 0; t < s->num_tiles; t++)
        for (int64_t n = 0; n < s->shards[t].ends.count; n++)
            place[s->shards[t].ends.ends[n].step + 1]++;
    for (int64_t step = 1; step <= steps; step++)
        place[step] += place[step - 1];
    for (int64_t t = 0; t < s->num_tiles; t++)
        for (int64_t n = 0; n < s->shards[t].ends.count; n++) {
            const fpg_end *end = &s->shards[t].ends.ends[n];
            const int64_t row = place[end->step]++;
            which[2 * row] = end->step, which[2 * row + 1] = end->env;
            returns[row] = end->episode_return, lengths[row] = end->length;
            memcpy(obs + row * size, s->shards[t].ends.obs + n * size, (size_t)size * sizeof *obs);
        }
    fpg_free(place);
    return FPG_OK;
}
