/* memory.c - aligned memory, and the buffers of a worker and of its tape. */
#include "base/memory.h"
#include "base/workspace.h"

#include <stdlib.h>

size_t fpg_times(size_t a, size_t b) { return a > 0 && b > SIZE_MAX / a ? SIZE_MAX : a * b; }

/* Arrays as large as a page would all begin at the same place in theirs, and a load that follows a store at the same
 * offset in another page waits for it. So each array begins some cache lines further on than the one before. */
void *fpg_alloc(size_t count, size_t size)
{
    const size_t bytes = fpg_times(count, size);
    enum { LINE = 64, PAGE = 4096, STEP = 11 * LINE };
    static atomic_uint number = 0;
    const size_t shift = atomic_fetch_add(&number, 1) * STEP % PAGE;
    char *raw = bytes < SIZE_MAX - PAGE - 2 * LINE ? malloc(bytes + PAGE + 2 * LINE) : NULL;
    if (!raw)
        return NULL;
    char *p = (char *)(((uintptr_t)raw + LINE + sizeof raw + shift) / LINE * LINE);
    memcpy(p - sizeof raw, &raw, sizeof raw);
    return p;
}

void *fpg_calloc(size_t count, size_t size)
{
    void *p = fpg_alloc(count, size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

void fpg_free(void *p)
{
    char *raw;
    if (!p)
        return;
    memcpy(&raw, (char *)p - sizeof raw, sizeof raw);
    free(raw);
}

fpg_status fpg_worker_init(fpg_worker *worker, const fpg_layout *layout, const fpg_layout *value, const fpg_environment *env,
                           int32_t width)
{
    const size_t real = sizeof(float), obs = (size_t)layout->obs_size, outputs = (size_t)layout->num_outputs;
    const size_t scores = (size_t)layout->num_scores;
    const int32_t widest = value && value->max_width > layout->max_width ? value->max_width : layout->max_width;
    const size_t backward = 2 * (size_t)widest + outputs; /* of a tangent pass: activations of two layers, and outputs */
    int ok = 1;
    memset(worker, 0, sizeof *worker);
    ok &= (worker->x = fpg_calloc((obs + 1) * FPG_CHUNK, real)) != NULL;
    /* Also an observation's lanes, where a value function looks at what follows a cut. */
    ok &= (worker->dlogits = fpg_calloc((scores > obs ? scores : obs) * FPG_CHUNK, real)) != NULL;
    ok &= (worker->words = fpg_calloc((size_t)layout->num_draws * 4 * FPG_CHUNK, sizeof(uint32_t))) != NULL;
    ok &= (worker->action = fpg_calloc((size_t)layout->action_size * FPG_CHUNK, sizeof(int32_t))) != NULL; /* or float */
    for (int32_t l = 0; l < layout->num_hidden; l++)
        ok &= (worker->hidden[l] = fpg_calloc((size_t)layout->hidden[l].out_pad * FPG_CHUNK, real)) != NULL;
    for (int32_t l = 0; value && l < value->num_hidden; l++)
        ok &= (worker->value_hidden[l] = fpg_calloc((size_t)value->hidden[l].out_pad * FPG_CHUNK, real)) != NULL;
    if (value)
        ok &= (worker->values = fpg_calloc(FPG_CHUNK, real)) != NULL;
    ok &= (worker->backward = fpg_calloc(backward * FPG_CHUNK, real)) != NULL;
    if (env) {
        const int32_t noise = env->reset_noise_size > env->step_noise_size ? env->reset_noise_size : env->step_noise_size;
        if (!fpg_needs_tape(layout)) {
            const size_t traces = fpg_times(outputs * (obs + 1), (size_t)width);
            ok &= (worker->trace = fpg_calloc(traces, real)) != NULL;
            ok &= (worker->trace_sum = fpg_calloc(traces, real)) != NULL;
        }
        ok &= (worker->noise = fpg_calloc((size_t)noise * (size_t)width, sizeof(double))) != NULL;
        if (env->mask)
            ok &= (worker->action_mask = fpg_calloc(outputs, (size_t)width)) != NULL;
    }
    if (!ok) {
        fpg_worker_free(worker);
        return FPG_NO_MEMORY;
    }
    for (int32_t r = 0; r < FPG_CHUNK; r++)
        worker->x[obs * FPG_CHUNK + r] = 1.0f;
    return FPG_OK;
}

void fpg_tape_free(fpg_tape *tape)
{
    void *buffers[] = {tape->obs, tape->score, tape->reward, tape->weight, tape->value, tape->final_value, tape->target,
                       tape->terminated, tape->truncated, tape->mask};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        fpg_free(buffers[i]);
    for (int l = 0; l < FPG_MAX_HIDDEN; l++)
        fpg_free(tape->hidden[l]);
    memset(tape, 0, sizeof *tape);
}

void fpg_worker_free(fpg_worker *worker)
{
    float *buffers[] = {worker->x, worker->dlogits, worker->backward, worker->values, worker->trace, worker->trace_sum};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        fpg_free(buffers[i]);
    for (int l = 0; l < FPG_MAX_HIDDEN; l++) {
        fpg_free(worker->hidden[l]);
        fpg_free(worker->value_hidden[l]);
    }
    fpg_tape_free(&worker->tape);
    fpg_free(worker->noise);
    fpg_free(worker->words);
    fpg_free(worker->action);
    fpg_free(worker->action_mask);
    memset(worker, 0, sizeof *worker);
}

void *fpg_grown(const void *array, int64_t old_rows, int64_t rows, size_t row)
{
    void *bigger = fpg_alloc((size_t)rows, row);
    if (bigger && array)
        memcpy(bigger, array, (size_t)old_rows * row);
    return bigger;
}

int fpg_tape_reserve(fpg_tape *tape, const fpg_layout *layout, int32_t lanes, int32_t width, int64_t steps, int keep_hidden)
{
    const int64_t old = tape->capacity;
    const int missing_hidden = keep_hidden && layout->num_hidden > 0 && !tape->hidden[0];
    const size_t real = sizeof(float) * (size_t)width;
    int ok = 1;
    if (steps <= old && !missing_hidden)
        return 1;
    steps = steps > old ? steps : old;
    ok &= FPG_GROW(&tape->obs, old, steps, fpg_times((size_t)layout->obs_size, real));
    ok &= FPG_GROW(&tape->score, old, steps, fpg_times((size_t)layout->num_scores, real));
    float **reals[] = {&tape->reward, &tape->weight, &tape->value, &tape->final_value, &tape->target};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        ok &= FPG_GROW(reals[i], old, steps, real);
    uint8_t **flags[] = {&tape->terminated, &tape->truncated, &tape->mask};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        ok &= FPG_GROW(flags[i], old, steps, (size_t)width);
    for (int32_t l = 0; l < layout->num_hidden && keep_hidden; l++)
        ok &= FPG_GROW(&tape->hidden[l], missing_hidden ? 0 : old, steps, sizeof(float) * (size_t)lanes * (size_t)layout->hidden[l].out_pad);
    if (ok)
        tape->capacity = steps;
    return ok;
}
