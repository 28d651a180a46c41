/* returns.h - returns, advantages and their relatives, on arrays that the caller has: one sweep backwards in time.
 *
 * kernels.inc includes this file twice, with FPG_REAL float and double. Lanes run along environments. A kernel works on a
 * chunk: `count` rows of `width` neighbouring environments, unit stride from one to the next. What is laid out otherwise, and
 * the last few environments where there are fewer than a vector, are copied into chunks of that form and back.
 *
 * What every kernel means by the flags of row t (docs: fastpg/reference.py): after a termination nothing follows; after a
 * truncation, final_values[t]; a masked row leaves the state that is carried backwards as it is, as if it were not there.
 * Selects, never products with 0: a NaN on the far side of an episode's end stays there.
 */
#define FPG_PASTE2(name, real) fpg_##name##_##real
#define FPG_PASTE(name, real) FPG_PASTE2(name, real)
#define FPG_NAME(name) FPG_PASTE(name, FPG_REAL)

/* Carried from chunk to chunk, one entry an environment. */
typedef struct {
    FPG_REAL running[FPG_SWEEP];    /* the estimate of the row after this one, or what it is summed up from */
    FPG_REAL next_value[FPG_SWEEP]; /* the value of the row after this one */
    FPG_REAL ratio[FPG_SWEEP];      /* exp(log_rhos) of this row */
    FPG_REAL check[FPG_SWEEP];      /* 0, and NaN once an output was not finite */
    FPG_INT flags[FPG_SWEEP];       /* of this row: 1 terminated, 2 terminated or truncated, 4 masked out */
    uint8_t truncated[FPG_SWEEP];   /* any truncation so far */
    FPG_REAL *levels;               /* (n + 1, width): the k-step return of the row after this one */
} FPG_NAME(sweep);

#define FPG_READ(type, which) const type *FPG_RESTRICT which = (const type *)(c->rows[FPG_##which] + t * c->strides[FPG_##which])
#define FPG_WRITE(which) \
    FPG_REAL *FPG_RESTRICT which = (FPG_REAL *)(void *)(c->rows[FPG_##which] + t * c->strides[FPG_##which])
#define FPG_EACH_LANE \
    for (int32_t g = 0; g < c->width; g += lanes) \
        FPG_SIMD for (int32_t i = g; i < g + lanes; i++)
/* Row t's flags of lane i: decoded, since a loop over bytes and reals together is not vectorised. */
#define FPG_TERM (s->flags[i] & 1)
#define FPG_ENDS (s->flags[i] & 2)
#define FPG_LIVE (!masked || !(s->flags[i] & 4))

/* ---- flags ------------------------------------------------------------------------------------------------------- */

#if FPG_LANES > 1
/* The flags of `size` environments from environment i on; a whole register at a time, or else compilers take bytes apart. */
#define FPG_DECODE(size) \
    FPG_INLINE void FPG_NAME(decode##size)(const uint8_t *terminated, const uint8_t *truncated, const uint8_t *mask, FPG_INT *flags) \
    { \
        typedef uint8_t bytes __attribute__((vector_size(size))); \
        typedef FPG_INT ints __attribute__((vector_size(size * sizeof(FPG_INT)))); \
        bytes term, trunc, live; \
        memcpy(&term, terminated, sizeof term); \
        memcpy(&trunc, truncated, sizeof trunc); \
        term = (bytes)(term != 0), trunc = (bytes)(trunc != 0); \
        term = (term & 1) | ((term | trunc) & 2); \
        if (mask) { \
            memcpy(&live, mask, sizeof live); \
            term |= (bytes)(live == 0) & 4; \
        } \
        const ints decoded = __builtin_convertvector(term, ints); \
        memcpy(flags, &decoded, sizeof decoded); \
    }
FPG_DECODE(4)
FPG_DECODE(8)
FPG_DECODE(16)
#endif

FPG_INLINE void FPG_NAME(decode_flags)(const fpg_chunk *c, FPG_NAME(sweep) *s, int64_t t, const int lanes, const int masked)
{
    FPG_READ(uint8_t, TERMINATED);
    FPG_READ(uint8_t, TRUNCATED);
    FPG_READ(uint8_t, MASK);
#if FPG_LANES > 1
    const int fits = FPG_LANES * 4 / (int)sizeof(FPG_INT), size = lanes < fits ? lanes : fits < 4 ? 4 : fits;
    for (int32_t i = 0; i < c->width; i += size) {
        const uint8_t *mask = masked ? MASK + i : NULL;
        if (size == 16)
            FPG_NAME(decode16)(TERMINATED + i, TRUNCATED + i, mask, s->flags + i);
        else if (size == 8)
            FPG_NAME(decode8)(TERMINATED + i, TRUNCATED + i, mask, s->flags + i);
        else
            FPG_NAME(decode4)(TERMINATED + i, TRUNCATED + i, mask, s->flags + i);
    }
#else
    FPG_EACH_LANE s->flags[i] = (TERMINATED[i] != 0) | (TERMINATED[i] | TRUNCATED[i] ? 2 : 0) | (masked && !MASK[i] ? 4 : 0);
#endif
}

/* ---- the kernels ---------------------------------------------------------------------------------------------- */

/* G_t = r_t + gamma G_{t+1} */
FPG_INLINE void FPG_NAME(returns_chunk)(const fpg_chunk *c, FPG_NAME(sweep) *s, const int lanes, const int masked)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma;
    for (int64_t t = c->count - 1; t >= 0; t--) {
        FPG_NAME(decode_flags)(c, s, t, lanes, masked);
        FPG_READ(FPG_REAL, REWARDS);
        FPG_READ(FPG_REAL, FINAL_VALUES);
        FPG_WRITE(OUT);
        FPG_EACH_LANE {
            const FPG_REAL final = FINAL_VALUES[i], running = s->running[i];
            const FPG_REAL beyond = FPG_TERM ? 0 : FPG_ENDS ? final : running;
            const FPG_REAL sum = REWARDS[i] + gamma * beyond, out = FPG_LIVE ? sum : 0;
            s->running[i] = FPG_LIVE ? sum : running;
            s->check[i] += out * 0;
            OUT[i] = out;
        }
    }
}

/* Forwards, over the output of returns_chunk: every row takes over what its trajectory's first row has. */
FPG_INLINE void FPG_NAME(spread_chunk)(const fpg_chunk *c, FPG_NAME(sweep) *s, const int lanes, const int masked)
{
    for (int64_t t = 0; t < c->count; t++) {
        FPG_NAME(decode_flags)(c, s, t, lanes, masked);
        FPG_WRITE(OUT);
        FPG_EACH_LANE {
            const FPG_REAL own = OUT[i], running = s->running[i], begins = s->next_value[i];
            const FPG_REAL total = begins != 0 ? own : running, after = FPG_ENDS ? 1 : 0;
            s->running[i] = FPG_LIVE ? total : running;
            s->next_value[i] = FPG_LIVE ? after : begins;
            OUT[i] = FPG_LIVE ? total : 0;
        }
    }
}

/* delta_t = r_t + gamma V(s_{t+1}) - V(s_t);  A_t = delta_t + gamma lam A_{t+1};  OUT_2 = A_t + V(s_t) unless only_first */
FPG_INLINE void FPG_NAME(gae_sweep)(const fpg_chunk *c, FPG_NAME(sweep) *s, const int lanes, const int masked, const int only_first)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma, decay = (FPG_REAL)(c->in->gamma * c->in->lam);
    for (int64_t t = c->count - 1; t >= 0; t--) {
        FPG_NAME(decode_flags)(c, s, t, lanes, masked);
        FPG_READ(FPG_REAL, REWARDS);
        FPG_READ(FPG_REAL, VALUES);
        FPG_READ(FPG_REAL, FINAL_VALUES);
        FPG_WRITE(OUT);
        FPG_WRITE(OUT_2);
        FPG_EACH_LANE {
            const FPG_REAL value = VALUES[i], final = FINAL_VALUES[i], running = s->running[i], next = s->next_value[i];
            const FPG_REAL beyond = FPG_TERM ? 0 : FPG_ENDS ? final : next;
            const FPG_REAL delta = REWARDS[i] + gamma * beyond - value;
            const FPG_REAL sum = only_first ? delta : delta + decay * (FPG_ENDS ? 0 : running);
            const FPG_REAL out = FPG_LIVE ? sum : 0, total = FPG_LIVE ? sum + value : 0;
            s->next_value[i] = FPG_LIVE ? value : next;
            if (!only_first)
                s->running[i] = FPG_LIVE ? sum : running;
            s->check[i] += (only_first ? out : total) * 0; /* a total is finite only if its advantage is */
            OUT[i] = out;
            if (!only_first)
                OUT_2[i] = total;
        }
    }
}

FPG_INLINE void FPG_NAME(gae_chunk)(const fpg_chunk *c, FPG_NAME(sweep) *s, const int lanes, const int masked)
{
    FPG_NAME(gae_sweep)(c, s, lanes, masked, 0);
}

FPG_INLINE void FPG_NAME(td_errors_chunk)(const fpg_chunk *c, FPG_NAME(sweep) *s, const int lanes, const int masked)
{
    FPG_NAME(gae_sweep)(c, s, lanes, masked, 1);
}

/* Let G^k_t be the k-step return, G^0_t = V(s_t). Then G^k_t = r_t + gamma G^{k-1}_{t+1}: a row turns level k - 1 into level k. */
FPG_INLINE void FPG_NAME(nstep_chunk)(const fpg_chunk *c, FPG_NAME(sweep) *s, const int lanes, const int masked)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma;
    for (int64_t t = c->count - 1; t >= 0; t--) {
        FPG_NAME(decode_flags)(c, s, t, lanes, masked);
        FPG_READ(FPG_REAL, REWARDS);
        FPG_READ(FPG_REAL, VALUES);
        FPG_READ(FPG_REAL, FINAL_VALUES);
        FPG_WRITE(OUT);
        /* The row in a form that all levels share: G^k = FPG_ENDS ? first : first + gamma * what follows. */
        FPG_REAL *FPG_RESTRICT first = s->running, *FPG_RESTRICT follows = s->next_value;
        FPG_EACH_LANE {
            const FPG_REAL final = FINAL_VALUES[i];
            const FPG_REAL beyond = FPG_TERM ? 0 : FPG_ENDS ? final : 0;
            first[i] = REWARDS[i] + gamma * beyond;
            follows[i] = FPG_ENDS ? 0 : 1;
        }
        for (int64_t k = c->in->n; k > 0; k--) {
            FPG_REAL *FPG_RESTRICT level = s->levels + k * c->width;
            const FPG_REAL *FPG_RESTRICT below = level - c->width;
            FPG_EACH_LANE {
                const FPG_REAL before = level[i], last = below[i];
                const FPG_REAL sum = first[i] + gamma * (follows[i] != 0 ? last : 0);
                level[i] = FPG_LIVE ? sum : before;
            }
        }
        FPG_REAL *FPG_RESTRICT bottom = s->levels, *FPG_RESTRICT top = s->levels + c->in->n * c->width;
        FPG_EACH_LANE {
            const FPG_REAL result = top[i], out = FPG_LIVE ? result : 0, value = VALUES[i], before = bottom[i];
            bottom[i] = FPG_LIVE ? value : before;
            s->check[i] += out * 0;
            OUT[i] = out;
        }
    }
}

/* running: vs_{t+1} - V(s_{t+1}). Equations in fastpg/returns.py. */
FPG_INLINE void FPG_NAME(vtrace_chunk)(const fpg_chunk *c, FPG_NAME(sweep) *s, const int lanes, const int masked)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma, lam = (FPG_REAL)c->in->lam;
    const FPG_REAL rho_bar = (FPG_REAL)c->in->rho_bar, c_bar = (FPG_REAL)c->in->c_bar;
    for (int64_t t = c->count - 1; t >= 0; t--) {
        FPG_NAME(decode_flags)(c, s, t, lanes, masked);
        FPG_READ(FPG_REAL, REWARDS);
        FPG_READ(FPG_REAL, VALUES);
        FPG_READ(FPG_REAL, FINAL_VALUES);
        FPG_READ(FPG_REAL, LOG_RHOS);
        FPG_WRITE(OUT);
        FPG_WRITE(OUT_2);
        FPG_EACH_LANE s->ratio[i] = FPG_EXP(LOG_RHOS[i]);
        FPG_EACH_LANE {
            const FPG_REAL value = VALUES[i], final = FINAL_VALUES[i], running = s->running[i], next = s->next_value[i];
            const FPG_REAL ratio = s->ratio[i], log_rho = LOG_RHOS[i];
            const FPG_REAL rho = ratio > rho_bar ? rho_bar : ratio, trace = lam * (ratio > c_bar ? c_bar : ratio);
            const FPG_REAL beyond = FPG_TERM ? 0 : FPG_ENDS ? final : next;
            const FPG_REAL carried = FPG_ENDS ? 0 : running;
            const FPG_REAL delta = REWARDS[i] + gamma * beyond - value;
            const FPG_REAL sum = rho * delta + gamma * trace * carried;
            const FPG_REAL vs = FPG_LIVE ? value + sum : 0, advantage = FPG_LIVE ? rho * (delta + gamma * carried) : 0;
            s->next_value[i] = FPG_LIVE ? value : next;
            s->running[i] = FPG_LIVE ? sum : running;
            s->check[i] += vs * 0 + advantage * 0 + (FPG_LIVE ? log_rho * 0 : 0);
            OUT[i] = vs;
            OUT_2[i] = advantage;
        }
    }
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

#define FPG_LANES_AND_MASK(kernel) \
    static void FPG_NAME(kernel)(const fpg_chunk *c, FPG_NAME(sweep) *s) \
    { \
        const int masked = c->in->arrays[FPG_MASK].data != NULL; \
        if (c->lanes == 16 && !masked) \
            FPG_NAME(kernel##_chunk)(c, s, 16, 0); \
        else if (c->lanes == 16) \
            FPG_NAME(kernel##_chunk)(c, s, 16, 1); \
        else if (c->lanes == 8 && !masked) \
            FPG_NAME(kernel##_chunk)(c, s, 8, 0); \
        else if (c->lanes == 8) \
            FPG_NAME(kernel##_chunk)(c, s, 8, 1); \
        else if (!masked) \
            FPG_NAME(kernel##_chunk)(c, s, 4, 0); \
        else \
            FPG_NAME(kernel##_chunk)(c, s, 4, 1); \
    }
FPG_LANES_AND_MASK(returns)
FPG_LANES_AND_MASK(spread)
FPG_LANES_AND_MASK(gae)
FPG_LANES_AND_MASK(td_errors)
FPG_LANES_AND_MASK(nstep)
FPG_LANES_AND_MASK(vtrace)
#undef FPG_LANES_AND_MASK

/* Copies of `count` rows of `width` environments from row `step`, environment `env` on, in the form that kernels want. */
typedef struct {
    FPG_REAL reals[FPG_NUM_REAL_ARRAYS][FPG_COPY_ROWS * FPG_COPY_WIDTH];
    uint8_t flags[FPG_NUM_ARRAYS - FPG_NUM_REAL_ARRAYS][FPG_COPY_ROWS * FPG_COPY_WIDTH];
} FPG_NAME(copies);

/* One environment after the other: where time is the array's fast axis, a line of the cache is read once. */
#define FPG_COPY_IN(type, to) \
    for (int32_t i = 0; i < width; i++) \
        for (int64_t t = 0; t < c->count; t++) \
            memcpy((type *)(to) + t * c->width + i, from + i * array->env_stride + t * array->step_stride, sizeof(type))

static void FPG_NAME(copy_in)(fpg_chunk *c, FPG_NAME(copies) *copies, int which, int64_t step, int64_t env, int32_t width)
{
    const fpg_array *array = &c->in->arrays[which];
    const char *from = (const char *)array->data + step * array->step_stride + env * array->env_stride;
    if (which < FPG_NUM_REAL_ARRAYS) {
        if (width < c->width)
            memset(copies->reals[which], 0, sizeof(FPG_REAL) * (size_t)(c->count * c->width));
        FPG_COPY_IN(FPG_REAL, copies->reals[which]);
    } else {
        if (width < c->width)
            memset(copies->flags[which - FPG_NUM_REAL_ARRAYS], 0, (size_t)(c->count * c->width));
        FPG_COPY_IN(uint8_t, copies->flags[which - FPG_NUM_REAL_ARRAYS]);
    }
}
#undef FPG_COPY_IN

static void FPG_NAME(copy_out)(const fpg_chunk *c, const FPG_NAME(copies) *copies, int which, int64_t step, int64_t env, int32_t width)
{
    const fpg_array *array = &c->in->arrays[which];
    char *to = (char *)array->data + step * array->step_stride + env * array->env_stride;
    for (int32_t i = 0; i < width; i++)
        for (int64_t t = 0; t < c->count; t++)
            memcpy(to + i * array->env_stride + t * array->step_stride, copies->reals[which] + t * c->width + i, sizeof(FPG_REAL));
}

/* Rows step .. step + count - 1 of environments env .. env + width - 1. copies is NULL where no array needs one. */
static void FPG_NAME(run_chunk)(fpg_chunk *c, FPG_NAME(sweep) *s, FPG_NAME(copies) *copies, int64_t step, int64_t env, int32_t width,
                                int forwards)
{
    static const FPG_REAL zeros[FPG_SWEEP] = {0};
    int copied[FPG_NUM_ARRAYS] = {0};
    for (int which = 0; which < FPG_NUM_ARRAYS; which++) {
        const fpg_array *array = &c->in->arrays[which];
        const int is_real = which < FPG_NUM_REAL_ARRAYS, is_output = which == FPG_OUT || which == FPG_OUT_2;
        c->strides[which] = 0;
        c->rows[which] = (char *)(uintptr_t)zeros; /* kernels do not write to an output that is not there */
        if (!array->data)
            continue;
        copied[which] = copies && (!c->job->in_rows[which] || width < c->width);
        if (!copied[which]) {
            c->rows[which] = (char *)array->data + step * array->step_stride + env * array->env_stride;
            c->strides[which] = array->step_stride;
        } else {
            c->rows[which] = is_real ? (char *)copies->reals[which] : (char *)copies->flags[which - FPG_NUM_REAL_ARRAYS];
            c->strides[which] = c->width * (is_real ? (int64_t)sizeof(FPG_REAL) : 1);
            if (!is_output || forwards)
                FPG_NAME(copy_in)(c, copies, which, step, env, width);
        }
    }
    if (c->job->forbid_truncated)
        for (int64_t t = 0; t < c->count; t++) {
            FPG_READ(uint8_t, TRUNCATED);
            FPG_READ(uint8_t, MASK);
            if (c->in->arrays[FPG_MASK].data)
                FPG_SIMD for (int32_t i = 0; i < c->width; i++)
                    s->truncated[i] |= (TRUNCATED[i] != 0) & (MASK[i] != 0);
            else
                FPG_SIMD for (int32_t i = 0; i < c->width; i++)
                    s->truncated[i] |= TRUNCATED[i];
        }
    switch (c->in->estimate) {
    case FPG_GAE: FPG_NAME(gae)(c, s); break;
    case FPG_TD_ERRORS: FPG_NAME(td_errors)(c, s); break;
    case FPG_NSTEP_RETURNS: FPG_NAME(nstep)(c, s); break;
    case FPG_VTRACE: FPG_NAME(vtrace)(c, s); break;
    default:
        if (forwards)
            FPG_NAME(spread)(c, s);
        else
            FPG_NAME(returns)(c, s);
    }
    for (int which = FPG_OUT; which <= FPG_OUT_2; which++)
        if (copied[which])
            FPG_NAME(copy_out)(c, copies, which, step, env, width);
}

/* All rows of environments env .. env + width - 1. */
static void FPG_NAME(run_columns)(fpg_estimate_job *job, fpg_chunk *c, FPG_NAME(copies) *copies, int64_t env, int32_t width, int worker)
{
    const fpg_transitions *in = c->in;
    const fpg_array *last = &in->last_values;
    const int64_t rows = copies ? FPG_COPY_ROWS : FPG_POLL_ROWS;
    FPG_NAME(sweep) s;
    memset(s.running, 0, sizeof(FPG_REAL) * (size_t)c->width);
    memset(s.next_value, 0, sizeof(FPG_REAL) * (size_t)c->width);
    memset(s.check, 0, sizeof(FPG_REAL) * (size_t)c->width);
    memset(s.truncated, 0, (size_t)c->width);
    if (last->data)
        for (int32_t i = 0; i < width; i++)
            memcpy(&s.next_value[i], (const char *)last->data + (env + i) * last->env_stride, sizeof(FPG_REAL));
    s.levels = (FPG_REAL *)job->levels + worker * (in->n + 1) * job->block;
    if (in->estimate == FPG_NSTEP_RETURNS)
        for (int64_t k = 0; k <= in->n; k++)
            memcpy(s.levels + k * c->width, s.next_value, sizeof(FPG_REAL) * (size_t)c->width);
    if (in->estimate == FPG_RETURNS)
        memcpy(s.running, s.next_value, sizeof(FPG_REAL) * (size_t)c->width);
    for (int64_t end = in->num_steps; end > 0; end -= c->count) {
        c->count = end < rows ? end : rows;
        FPG_NAME(run_chunk)(c, &s, copies, end - c->count, env, width, 0);
        if (end % FPG_POLL_ROWS < rows && fpg_should_stop(job->control, worker))
            return;
    }
    FPG_REAL check = 0;
    uint8_t truncated = 0;
    for (int32_t i = 0; i < width; i++)
        check += s.check[i], truncated |= s.truncated[i];
    if (truncated)
        fpg_fail(job->control, FPG_NO_FINAL_VALUES);
    else if (check != 0)
        fpg_fail(job->control, FPG_NONFINITE_ESTIMATE);
    if (in->estimate != FPG_EPISODE_RETURNS)
        return;
    for (int32_t i = 0; i < c->width; i++)
        s.next_value[i] = 1; /* the first row begins a trajectory */
    for (int64_t step = 0; step < in->num_steps; step += c->count) {
        c->count = in->num_steps - step < rows ? in->num_steps - step : rows;
        FPG_NAME(run_chunk)(c, &s, copies, step, env, width, 1);
        if (step % FPG_POLL_ROWS < rows && fpg_should_stop(job->control, worker))
            return;
    }
}

/* Environments env .. end - 1. Where rows are used in place there are at least `lanes` of them; the last few are then computed
 * together with some that are done already. */
static void FPG_NAME(estimate)(fpg_estimate_job *job, int64_t env, int64_t end, int worker)
{
    fpg_chunk c = {.job = job, .in = &job->in};
    if (job->in_place) {
        c.lanes = c.in->num_envs >= 16 ? 16 : c.in->num_envs >= 8 ? 8 : 4;
        while (env < end && !fpg_should_stop(job->control, worker)) {
            if (end - env < c.lanes)
                env = end - c.lanes;
            const int64_t left = (end - env) / c.lanes * c.lanes;
            c.width = (int32_t)(left < job->block ? left : job->block);
            FPG_NAME(run_columns)(job, &c, NULL, env, c.width, worker);
            env += c.width;
        }
        return;
    }
    FPG_NAME(copies) copies;
    const int32_t most = job->block < FPG_COPY_WIDTH ? job->block : FPG_COPY_WIDTH;
    for (; env < end && !fpg_should_stop(job->control, worker); env += most) {
        const int32_t width = (int32_t)(end - env < most ? end - env : most);
        c.lanes = width <= 4 ? 4 : width <= 8 ? 8 : 16;
        c.width = fpg_round_up(width, c.lanes);
        FPG_NAME(run_columns)(job, &c, &copies, env, width, worker);
    }
}

#undef FPG_PASTE2
#undef FPG_PASTE
#undef FPG_NAME
#undef FPG_READ
#undef FPG_WRITE
#undef FPG_EACH_LANE
#undef FPG_TERM
#undef FPG_ENDS
#undef FPG_LIVE
#undef FPG_FLAGS_OF
#undef FPG_DECODE
