/* recorded.c - estimates with baselines that C does not know: first the steps, then, with the caller's baseline, the gradient. */
#include "sources/sampler.h"
#include "learn/estimator.h"

fpg_status fpg_sampler_record(fpg_sampler *s, const float *theta, const fpg_collect *collect, int64_t *rows, fpg_poll poll)
{
    fpg_status status = fpg_sampler_fill(s, theta, collect, &s->recorded, poll);
    *rows = 0;
    for (int64_t i = 0; status == FPG_OK && i < s->num_tiles; i++) {
        const fpg_shard *shard = &s->shards[i];
        for (int64_t k = 0; k < shard->num_steps * shard->num_envs; k++)
            *rows += !shard->mask || shard->mask[k];
    }
    return status;
}

void fpg_sampler_recorded(const fpg_sampler *s, float *obs)
{
    const int32_t size = s->ws.layout.obs_size;
    for (int64_t i = 0; i < s->num_tiles; i++) {
        const fpg_shard *shard = &s->shards[i];
        for (int64_t k = 0; k < shard->num_steps * shard->num_envs; k++)
            if (!shard->mask || shard->mask[k]) {
                memcpy(obs, shard->obs + k * size, (size_t)size * sizeof *obs);
                obs += size;
            }
    }
}

fpg_status fpg_sampler_recorded_gradient(fpg_sampler *s, const float *theta, const fpg_collect *collect, const float *baseline,
                                         float *gradient, fpg_stats *stats, fpg_poll poll)
{
    fpg_estimator e;
    const int ok = fpg_estimator_init(&e, &s->net, NULL, 0);
    e.has_values = 1;
    fpg_status status = ok ? fpg_estimator_load(&e, s->shards, s->num_tiles) : FPG_NO_MEMORY;
    *stats = s->recorded;
    if (status == FPG_OK)
        status = fpg_estimator_gradient(&e, theta, collect, baseline, gradient, stats, poll);
    fpg_estimator_free(&e);
    return status;
}
