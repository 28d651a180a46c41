/* sampler.h - environments of its own, and passes over them. */
#ifndef FPG_SAMPLER_H
#define FPG_SAMPLER_H

#include "sources/pass.h"

struct fpg_sampler {
    fpg_environment env;
    fpg_network net;
    fpg_workspace ws;
    int64_t num_envs, num_tiles, total_steps;
    int32_t lanes, width;
    uint64_t seed;
    int64_t iteration;
    int64_t fresh;
    fpg_tile *tiles;
    fpg_shard *shards; /* (num_tiles,) what a pass has written: to the caller's memory, or to their own */
    double *reals;     /* the tiles' states and episode returns */
    int32_t *elapsed;
    fpg_stats recorded; /* of the last fpg_sampler_record */
    uint32_t *streams; /* (3, num_tiles * width): the tiles' keys and episodes, once a caller's environments were */
};

/* One pass over all tiles. */
fpg_status fpg_sampler_run(fpg_sampler *s, const float *theta, const float *value_theta, fpg_pass *pass, fpg_tally *tally,
                           fpg_poll poll);
fpg_stats fpg_stats_of(const fpg_sampler *s, const fpg_tally *tally, double square_norm, double start);
/* A pass that writes s->shards, in memory of their own. */
fpg_status fpg_sampler_fill(fpg_sampler *s, const float *theta, const fpg_collect *collect, fpg_stats *stats, fpg_poll poll);
/* The entries of fpg_entry: what a sampler is. */
int32_t fpg_sampler_state(fpg_sampler *s, fpg_entry *entries);

#endif
