/* shards.c - a batch in shards: which environments belong together, whatever it is that computes with them.
 *
 * Baselines that are means, minibatches and sums are taken over shards, so a result depends on the number of environments only:
 * neither on where the rows came from nor on who computes.
 */
#include "batch/shards.h"

/* Many enough to fill vectors, few enough that small problems still feed several threads. */
int32_t fpg_shard_size(int64_t num_envs)
{
    const int64_t quarter = num_envs / 4 + (num_envs % 4 > 0);
    if (num_envs >= 16 * FPG_TILE)
        return FPG_TILE;
    return (int32_t)(quarter <= 4 ? 4 : quarter <= 16 ? (quarter + 3) / 4 * 4 : quarter <= 32 ? 16 : 32);
}

/* Fixed beforehand, so that short episodes are not favoured. */
int64_t fpg_episode_quota(int64_t episodes, int64_t num_envs, int64_t env)
{
    return episodes / num_envs + (env < episodes % num_envs);
}

void fpg_shards_of(const fpg_batch *b, const fpg_layout *layout, fpg_shard *shards)
{
    const int64_t size = fpg_shard_size(b->num_envs);
    for (int64_t first = 0; first < b->num_envs; first += size) {
        const int64_t left = b->num_envs - first;
        fpg_shard *shard = &shards[first / size];
        fpg_ends ends = {.count = 0, .capacity = shard->ends.capacity, .ends = shard->ends.ends, .obs = shard->ends.obs};
        shard->ends = (fpg_ends){.count = 0};
        fpg_shard_free(shard);
        *shard = (fpg_shard){
            .first_env = first, .num_steps = b->num_steps, .stride = b->num_envs, .num_envs = (int32_t)(left < size ? left : size),
            .obs = b->obs + first * layout->obs_size,
            .actions = layout->kind == FPG_GAUSSIAN ? (void *)((float *)b->actions + first * layout->action_size)
                                                    : (void *)((int64_t *)b->actions + first * layout->action_size),
            .log_probs = b->log_probs ? b->log_probs + first : NULL, .rewards = b->rewards + first,
            .terminated = b->terminated + first, .truncated = b->truncated + first,
            .mask = b->mask ? (uint8_t *)(uintptr_t)(b->mask + first) : NULL,
            .action_mask = b->action_mask ? b->action_mask + first * layout->num_outputs : NULL, .last_obs = b->last_obs + first * layout->obs_size,
            .first_age = b->first_age ? b->first_age + first : NULL, .ends = ends, .by_episode = b->by_episode};
    }
}

/* ---- memory of a shard's own ---------------------------------------------------------------------------------------- */

int fpg_shard_reserve(fpg_shard *s, const fpg_layout *layout, int64_t steps)
{
    const int64_t old = s->capacity * s->num_envs, rows = steps * s->num_envs;
    const size_t action = layout->kind == FPG_GAUSSIAN ? sizeof(float) : sizeof(int64_t);
    if (steps <= s->capacity)
        return 1;
    s->stride = s->num_envs;
    if (!s->last_obs && !(s->last_obs = fpg_alloc((size_t)s->num_envs, (size_t)layout->obs_size * sizeof(float))))
        return 0;
    if (!FPG_GROW(&s->obs, old, rows, (size_t)layout->obs_size * sizeof(float)) ||
        !FPG_GROW(&s->actions, old, rows, (size_t)layout->action_size * action) || !FPG_GROW(&s->rewards, old, rows, sizeof(float)) ||
        !FPG_GROW(&s->terminated, old, rows, 1) || !FPG_GROW(&s->truncated, old, rows, 1) || !FPG_GROW(&s->own_mask, old, rows, 1) ||
        (s->masks_actions && !FPG_GROW(&s->action_mask, old, rows, (size_t)layout->num_outputs)))
        return 0;
    s->capacity = steps;
    if (s->mask)
        s->mask = s->own_mask;
    return 1;
}

void fpg_carry_shard(fpg_shard *s, const fpg_layout *layout, fpg_parcel *parcel)
{
    const int64_t action = layout->kind == FPG_GAUSSIAN ? sizeof(float) : sizeof(int64_t), obs = layout->obs_size * (int64_t)sizeof(float);
    int64_t count = s->ends.count;
    fpg_carry(parcel, &s->num_steps, sizeof s->num_steps);
    fpg_carry(parcel, &count, sizeof count);
    if (parcel->way == FPG_UNPACK && parcel->status == FPG_OK &&
        !(fpg_shard_reserve(s, layout, s->num_steps) && fpg_ends_reserve(&s->ends, layout->obs_size, count)))
        parcel->status = FPG_NO_MEMORY;
    s->ends.count = count;
    const int64_t rows = s->num_steps * s->num_envs;
    fpg_carry(parcel, s->obs, rows * obs);
    fpg_carry(parcel, s->actions, rows * layout->action_size * action);
    fpg_carry(parcel, s->rewards, rows * (int64_t)sizeof *s->rewards);
    fpg_carry(parcel, s->terminated, rows);
    fpg_carry(parcel, s->truncated, rows);
    if (s->mask)
        fpg_carry(parcel, s->mask, rows);
    if (s->masks_actions)
        fpg_carry(parcel, s->action_mask, rows * layout->num_outputs);
    fpg_carry(parcel, s->last_obs, s->num_envs * obs);
    fpg_carry(parcel, s->ends.ends, s->ends.count * (int64_t)sizeof *s->ends.ends);
    fpg_carry(parcel, s->ends.obs, s->ends.count * obs);
}

static void free_hidden(fpg_shard *s)
{
    for (int l = 0; l < FPG_MAX_HIDDEN; l++) {
        fpg_free(s->hidden[l]);
        s->hidden[l] = NULL;
    }
    s->hidden_capacity = 0;
}

int fpg_shard_keep_hidden(fpg_shard *s, const fpg_layout *layout, int64_t steps)
{
    if (steps > 0 && steps <= s->hidden_capacity)
        return 1;
    free_hidden(s);
    for (int32_t l = 0; steps > 0 && l < layout->num_hidden; l++) { /* a step writes as many rows as a tile has lanes */
        const size_t rows = (size_t)(steps * s->num_envs + FPG_TILE);
        if (!(s->hidden[l] = fpg_alloc(rows, (size_t)layout->hidden[l].out_pad * sizeof(float))))
            return 0;
    }
    s->hidden_capacity = steps;
    return 1;
}

void fpg_shard_free(fpg_shard *s)
{
    fpg_free(s->ends.ends), fpg_free(s->ends.obs);
    if (s->capacity > 0) {
        fpg_free(s->obs), fpg_free(s->actions), fpg_free(s->rewards), fpg_free(s->last_obs);
        fpg_free(s->terminated), fpg_free(s->truncated), fpg_free(s->own_mask), fpg_free(s->action_mask);
        free_hidden(s);
    }
    memset(s, 0, sizeof *s);
}
