/* vector.c - environments that a caller steps: their memory, the checks of a step, and who computes it. */
#include "sources/stepped.h"
#include "kernels/kernels.h"

/* Below this much work a second thread costs more than it saves. */
static const double PARALLEL_SECONDS = 20e-6;

/* Scratch memory for that many shares, or for as many as there is memory. */
static void add_scratch(fpg_vector *v, int64_t shares)
{
    const fpg_environment *env = &v->env;
    const int32_t noise = env->reset_noise_size > env->step_noise_size ? env->reset_noise_size : env->step_noise_size;
    const size_t width = (size_t)v->width;
    fpg_vector_scratch *scratch = fpg_calloc((size_t)shares, sizeof *scratch);
    if (!scratch)
        return;
    if (v->scratch)
        memcpy(scratch, v->scratch, (size_t)v->num_shares * sizeof *scratch);
    fpg_free(v->scratch);
    v->scratch = scratch;
    for (; v->num_shares < shares; v->num_shares++) {
        fpg_vector_scratch *s = &scratch[v->num_shares];
        const size_t bytes = (size_t)(noise + env->state_size) * sizeof *s->noise +
                             (size_t)(env->obs_size + env->action_size) * sizeof *s->obs +
                             (size_t)(env->mask ? fpg_num_categories(env) : 0);
        s->noise = fpg_calloc(bytes, width);
        if (!s->noise)
            return;
        s->begun = s->noise + (size_t)noise * width;
        s->obs = (float *)(s->begun + (size_t)env->state_size * width);
        s->action = s->obs + (size_t)env->obs_size * width;
        s->action_mask = (uint8_t *)s->action + (size_t)env->action_size * width * sizeof *s->obs;
    }
}

fpg_vector *fpg_vector_new(const fpg_environment *env, int64_t num_envs, fpg_autoreset autoreset)
{
    fpg_vector *v = fpg_calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->env = *env, v->num_envs = num_envs, v->autoreset = autoreset;
    for (const fpg_environment *const *known = fpg_active()->environments; *known; known++)
        v->native |= (*known)->step == env->step;
    v->width = num_envs < FPG_VECTOR_TILE ? fpg_round_up((int32_t)num_envs, FPG_PAD) : FPG_VECTOR_TILE;
    v->num_tiles = (num_envs - 1) / v->width + 1;
    const size_t copies = fpg_times((size_t)v->num_tiles, (size_t)v->width);
    v->state = fpg_calloc(fpg_times(copies, (size_t)env->state_size), sizeof *v->state);
    v->key[0] = fpg_calloc(fpg_times(3, copies), sizeof *v->key[0]);
    v->elapsed = fpg_calloc(copies, sizeof *v->elapsed);
    v->episode_return = fpg_calloc(copies, sizeof *v->episode_return);
    v->done = fpg_calloc(copies, sizeof *v->done);
    add_scratch(v, 1);
    if (!v->state || !v->key[0] || !v->elapsed || !v->episode_return || !v->done || v->num_shares < 1) {
        fpg_vector_free(v);
        return NULL;
    }
    v->key[1] = v->key[0] + copies, v->episode = v->key[1] + copies;
    return v;
}

void fpg_vector_free(fpg_vector *v)
{
    if (!v)
        return;
    fpg_free(v->state);
    fpg_free(v->key[0]);
    fpg_free(v->elapsed);
    fpg_free(v->episode_return);
    fpg_free(v->done);
    for (int64_t i = 0; i < v->num_shares; i++)
        fpg_free(v->scratch[i].noise);
    fpg_free(v->scratch);
    fpg_free(v);
}

void fpg_vector_set_params(fpg_vector *v, const double params[FPG_MAX_PARAMS])
{
    memcpy(v->env.params, params, sizeof v->env.params);
}

void fpg_vector_seed(fpg_vector *v, const uint8_t *mask, const uint64_t *seed)
{
    for (int64_t i = 0; i < v->num_envs; i++)
        if (!mask || mask[i])
            v->key[0][i] = (uint32_t)seed[i], v->key[1][i] = (uint32_t)(seed[i] >> 32), v->episode[i] = 0;
}

/* One call's work, cut into one share of the tiles for each thread. */
typedef struct {
    fpg_vector *v;
    const uint8_t *mask;
    const void *actions;
    const fpg_step_output *out;
    void *obs;
    int64_t shares;
    double seconds; /* that share 0 took for a tile */
    fpg_control control;
} vector_job;

static void run_share(void *context, int64_t share, int worker)
{
    vector_job *job = context;
    const fpg_kernels *kernels = fpg_active();
    const int64_t first = share * job->v->num_tiles / job->shares, end = (share + 1) * job->v->num_tiles / job->shares;
    const double begin = share == 0 ? fpg_now() : 0;
    (void)worker;
    for (int64_t tile = first; tile < end; tile++) {
        const fpg_vector_scratch *scratch = &job->v->scratch[share];
        const fpg_status status = job->out ? kernels->vector_step(job->v, tile, scratch, job->actions, job->out)
                                           : kernels->vector_reset(job->v, tile, scratch, job->mask, job->obs);
        if (status != FPG_OK) {
            fpg_fail(&job->control, status);
            return;
        }
    }
    if (share == 0)
        job->seconds = (fpg_now() - begin) / (double)(end - first);
}

/* Of the work alone, not of the wait for the other threads, which on a busy machine would keep them waited for; and a share
 * that another process interrupted counts for little: the estimate falls at once and rises by a tenth. */
static void estimate_tile(fpg_vector *v, double seconds)
{
    const double before = v->seconds_per_tile;
    v->seconds_per_tile = before == 0 || seconds < 1.1 * before ? seconds : 1.1 * before;
}

static fpg_status run_tiles(vector_job *job)
{
    fpg_vector *v = job->v;
    const double expected = v->seconds_per_tile * (double)v->num_tiles;
    const int threads = fpg_get_num_threads();
    job->shares = 1;
    fpg_control_init(&job->control, (fpg_poll){0});
    if (expected > PARALLEL_SECONDS && threads > 1) {
        const int64_t wanted = v->num_tiles < threads ? v->num_tiles : threads;
        if (wanted > v->num_shares)
            add_scratch(v, wanted);
        job->shares = wanted < v->num_shares ? wanted : v->num_shares;
        fpg_parallel_for(job->shares, threads, run_share, job, &job->control);
    } else
        run_share(job, 0, 0);
    const fpg_status status = (fpg_status)atomic_load(&job->control.status);
    if (status == FPG_OK)
        estimate_tile(v, job->seconds);
    return status;
}

fpg_status fpg_vector_reset(fpg_vector *v, const uint8_t *mask, void *obs)
{
    vector_job job = {.v = v, .mask = mask, .obs = obs};
    return run_tiles(&job);
}

fpg_status fpg_vector_step(fpg_vector *v, const void *actions, const fpg_step_output *out, int64_t *which)
{
    vector_job job = {.v = v, .actions = actions, .out = out};
    *which = fpg_active()->vector_bad_action(v, actions);
    if (*which >= 0)
        return FPG_BAD_ACTION;
    return run_tiles(&job);
}

int64_t fpg_vector_ended(const fpg_vector *v, uint8_t *ended)
{
    int64_t count = 0;
    for (int64_t i = 0; i < v->num_envs; i++)
        count += v->done[i];
    if (ended)
        memcpy(ended, v->done, (size_t)v->num_envs);
    return count;
}

void fpg_vector_get_state(const fpg_vector *v, double *state, int32_t *elapsed)
{
    const int32_t size = v->env.state_size, width = v->width;
    for (int64_t i = 0; i < v->num_envs; i++) {
        const double *from = v->state + i / width * width * size + i % width;
        for (int32_t k = 0; k < size; k++)
            state[i * size + k] = from[k * width];
        if (elapsed)
            elapsed[i] = v->elapsed[i];
    }
}

void fpg_vector_get_returns(const fpg_vector *v, double *returns)
{
    memcpy(returns, v->episode_return, (size_t)v->num_envs * sizeof *returns);
}

void fpg_vector_set_state(fpg_vector *v, const double *state, const int32_t *elapsed)
{
    const int32_t size = v->env.state_size, width = v->width;
    for (int64_t i = 0; i < v->num_envs; i++) {
        double *to = v->state + i / width * width * size + i % width;
        for (int32_t k = 0; k < size; k++)
            to[k * width] = state[i * size + k];
        v->elapsed[i] = elapsed[i], v->done[i] = 0, v->episode_return[i] = 0;
    }
}

fpg_status fpg_vector_observe(const fpg_vector *v, void *obs)
{
    fpg_status status = FPG_OK;
    for (int64_t tile = 0; tile < v->num_tiles && status == FPG_OK; tile++)
        status = fpg_active()->vector_observe(v, tile, &v->scratch[0], NULL, obs);
    return status;
}

fpg_status fpg_vector_action_mask(const fpg_vector *v, uint8_t *action_mask)
{
    const int32_t categories = fpg_num_categories(&v->env), width = v->width;
    const uint8_t *allowed = v->scratch[0].action_mask;
    for (int64_t first = 0; first < v->num_envs; first += width) {
        const int64_t count = v->num_envs - first < width ? v->num_envs - first : width;
        const fpg_status status = fpg_vector_mask_tile(v, first, &v->scratch[0]);
        if (status != FPG_OK)
            return status;
        for (int64_t i = 0; i < count; i++)
            for (int32_t a = 0; a < categories; a++)
                action_mask[(first + i) * categories + a] = allowed[a * width + i] != 0;
    }
    return FPG_OK;
}
