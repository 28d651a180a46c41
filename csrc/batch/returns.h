/* returns.h - returns, advantages and their relatives, on arrays that the caller has: one sweep backwards in time.
 *
 * kernels.inc includes this file twice, with FPG_REAL float and double. Lanes run along environments. A kernel works on a
 * chunk: `count` rows of `width` neighbouring environments, unit stride from one to the next. What is laid out otherwise, and
 * the last few environments where there are fewer than a vector, are copied into chunks of that form and back.
 *
 * What every kernel means by the flags of row t (docs: fastpg/reference/advantages.py): after a termination nothing follows; after a
 * truncation, final_values[t]; a masked row leaves the state that is carried backwards as it is, as if it were not there.
 * Selects, never products with 0: a NaN on the far side of an episode's end stays there.
 */
#define FPG_PASTE2(name, real) fpg_##name##_##real
#define FPG_PASTE(name, real) FPG_PASTE2(name, real)
#define FPG_NAME(name) FPG_PASTE(name, FPG_REAL)

/* A row's flags of 16 environments: all bits set, or none. */
typedef struct {
    FPG_INT goes_on[16]; /* neither terminated nor truncated */
    FPG_INT boots[16];   /* truncated and not terminated: the final value follows */
    FPG_INT live[16];    /* not masked out; only decoded where there is a mask */
} FPG_NAME(flags);

/* Carried from chunk to chunk, one entry an environment. */
typedef struct {
    FPG_REAL running[FPG_SWEEP];    /* the estimate of the row after this one, or what it is summed up from */
    FPG_REAL next_value[FPG_SWEEP]; /* the value of the row after this one */
    FPG_REAL check[FPG_SWEEP];      /* 0, and NaN once an output was not finite */
    uint8_t truncated[FPG_SWEEP];   /* any truncation so far */
    FPG_REAL *levels;               /* (n + 1, width): the k-step return of the row after this one */
} FPG_NAME(sweep);

/* ---- flags and selects ------------------------------------------------------------------------------------------- */

/* x where the mask is set, else 0. Bits, not conditions: from those, compilers make one branch of the arithmetic for each case
 * and compute them all. */
FPG_INLINE FPG_REAL FPG_NAME(only)(FPG_INT mask, FPG_REAL x)
{
    FPG_INT bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= mask;
    memcpy(&x, &bits, sizeof x);
    return x;
}

FPG_INLINE FPG_REAL FPG_NAME(either)(FPG_INT mask, FPG_REAL x, FPG_REAL otherwise)
{
    FPG_INT bits, other_bits;
    memcpy(&bits, &x, sizeof bits);
    memcpy(&other_bits, &otherwise, sizeof bits);
    bits = (bits & mask) | (other_bits & ~mask);
    memcpy(&x, &bits, sizeof x);
    return x;
}

#if FPG_LANES > 1
/* `size` environments; a whole register at a time, or else compilers take bytes apart. */
#define FPG_DECODE(size) \
    FPG_INLINE void FPG_NAME(decode##size)(const uint8_t *terminated, const uint8_t *truncated, const uint8_t *mask, \
                                           FPG_NAME(flags) *flags, int begin) \
    { \
        typedef uint8_t bytes __attribute__((vector_size(size))); \
        typedef int8_t booleans __attribute__((vector_size(size))); /* -1 or 0 */ \
        typedef FPG_INT ints __attribute__((vector_size(size * sizeof(FPG_INT)))); \
        bytes term, trunc, live; \
        memcpy(&term, terminated, sizeof term); \
        memcpy(&trunc, truncated, sizeof trunc); \
        const booleans goes_on = (term | trunc) == 0, boots = (trunc != 0) & (term == 0); \
        ints wide = __builtin_convertvector(goes_on, ints); \
        memcpy(flags->goes_on + begin, &wide, sizeof wide); \
        wide = __builtin_convertvector(boots, ints); \
        memcpy(flags->boots + begin, &wide, sizeof wide); \
        if (mask) { \
            memcpy(&live, mask, sizeof live); \
            const booleans is_live = live != 0; \
            wide = __builtin_convertvector(is_live, ints); \
            memcpy(flags->live + begin, &wide, sizeof wide); \
        } \
    }
FPG_DECODE(4)
FPG_DECODE(8)
FPG_DECODE(16)
#endif

FPG_INLINE void FPG_NAME(decode_lanes)(const uint8_t *terminated, const uint8_t *truncated, const uint8_t *mask, const int lanes,
                                       FPG_NAME(flags) *flags)
{
#if FPG_LANES > 1
    const int fits = FPG_LANES * 4 / (int)sizeof(FPG_INT), size = lanes < fits ? lanes : fits < 4 ? 4 : fits;
    FPG_UNROLL for (int i = 0; i < lanes; i += size) {
        const uint8_t *live = mask ? mask + i : NULL;
        if (size == 16)
            FPG_NAME(decode16)(terminated + i, truncated + i, live, flags, i);
        else if (size == 8)
            FPG_NAME(decode8)(terminated + i, truncated + i, live, flags, i);
        else
            FPG_NAME(decode4)(terminated + i, truncated + i, live, flags, i);
    }
#else
    for (int i = 0; i < lanes; i++) {
        flags->goes_on[i] = -(FPG_INT)((terminated[i] | truncated[i]) == 0);
        flags->boots[i] = -(FPG_INT)(truncated[i] != 0 && terminated[i] == 0);
        flags->live[i] = mask ? -(FPG_INT)(mask[i] != 0) : -1;
    }
#endif
}

/* ---- the kernels: row t of a chunk ---------------------------------------------------------------------------------- */

/* What is carried stays in the first-level cache; the flags of a group stay in registers. Several rows at a time would carry in
 * registers too, but rows of one array are often a power of two apart and push each other out of the cache. */
#define FPG_EACH_GROUP for (int32_t g = 0; g < c->width; g += lanes)
#define FPG_EACH_LANE FPG_SIMD for (int i = 0; i < lanes; i++)
#define FPG_ROW(type, which) \
    const type *FPG_RESTRICT which = (const type *)(const void *)(c->rows[FPG_##which] + t * c->strides[FPG_##which]) + g
#define FPG_OUT_ROW(which) \
    FPG_REAL *FPG_RESTRICT which = (FPG_REAL *)(void *)(c->rows[FPG_##which] + t * c->strides[FPG_##which]) + g
#define FPG_ROW_FLAGS(flags) \
    do { \
        FPG_ROW(uint8_t, TERMINATED); \
        FPG_ROW(uint8_t, TRUNCATED); \
        FPG_ROW(uint8_t, MASK); \
        FPG_NAME(decode_lanes)(TERMINATED, TRUNCATED, masked ? MASK : NULL, lanes, flags); \
    } while (0)
#define FPG_LIVE_OR_0(x) (masked ? FPG_NAME(only)(flags.live[i], x) : (x))
#define FPG_LIVE_OR(x, otherwise) (masked ? FPG_NAME(either)(flags.live[i], x, otherwise) : (x))
#define FPG_BEYOND(next) FPG_NAME(either)(flags.boots[i], FINAL_VALUES[i], FPG_NAME(only)(flags.goes_on[i], next))

/* G_t = r_t + gamma G_{t+1} */
FPG_INLINE void FPG_NAME(returns_row)(const fpg_chunk *c, FPG_NAME(sweep) *s, int64_t t, const int lanes, const int masked)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma;
    FPG_EACH_GROUP {
        FPG_NAME(flags) flags;
        FPG_ROW(FPG_REAL, REWARDS);
        FPG_ROW(FPG_REAL, FINAL_VALUES);
        FPG_OUT_ROW(OUT);
        FPG_ROW_FLAGS(&flags);
        FPG_EACH_LANE {
            const FPG_REAL sum = REWARDS[i] + gamma * FPG_BEYOND(s->running[g + i]), out = FPG_LIVE_OR_0(sum);
            s->running[g + i] = FPG_LIVE_OR(sum, s->running[g + i]);
            s->check[g + i] += out * 0;
            OUT[i] = out;
        }
    }
}

/* Forwards, over the output of returns_row: every row takes over what its trajectory's first row has. */
FPG_INLINE void FPG_NAME(spread_row)(const fpg_chunk *c, FPG_NAME(sweep) *s, int64_t t, const int lanes, const int masked)
{
    FPG_EACH_GROUP {
        FPG_NAME(flags) flags;
        FPG_OUT_ROW(OUT);
        FPG_ROW_FLAGS(&flags);
        FPG_EACH_LANE {
            const FPG_REAL total = s->next_value[g + i] != 0 ? s->running[g + i] : OUT[i];
            const FPG_REAL goes_on = FPG_NAME(only)(flags.goes_on[i], 1);
            s->running[g + i] = FPG_LIVE_OR(total, s->running[g + i]);
            s->next_value[g + i] = FPG_LIVE_OR(goes_on, s->next_value[g + i]);
            OUT[i] = FPG_LIVE_OR_0(total);
        }
    }
}

/* delta_t = r_t + gamma V(s_{t+1}) - V(s_t);  A_t = delta_t + gamma lam A_{t+1};  OUT_2 = A_t + V(s_t) */
FPG_INLINE void FPG_NAME(gae_row)(const fpg_chunk *c, FPG_NAME(sweep) *s, int64_t t, const int lanes, const int masked)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma, decay = (FPG_REAL)(c->in->gamma * c->in->lam);
    FPG_EACH_GROUP {
        FPG_NAME(flags) flags;
        FPG_ROW(FPG_REAL, REWARDS);
        FPG_ROW(FPG_REAL, VALUES);
        FPG_ROW(FPG_REAL, FINAL_VALUES);
        FPG_OUT_ROW(OUT);
        FPG_OUT_ROW(OUT_2);
        FPG_ROW_FLAGS(&flags);
        FPG_EACH_LANE {
            const FPG_REAL value = VALUES[i], carried = FPG_NAME(only)(flags.goes_on[i], s->running[g + i]);
            const FPG_REAL delta = REWARDS[i] + gamma * FPG_BEYOND(s->next_value[g + i]) - value;
            const FPG_REAL sum = delta + decay * carried, total = FPG_LIVE_OR_0(sum + value);
            s->running[g + i] = FPG_LIVE_OR(sum, s->running[g + i]);
            s->next_value[g + i] = FPG_LIVE_OR(value, s->next_value[g + i]);
            s->check[g + i] += total * 0; /* a total is finite only if its advantage is */
            OUT[i] = FPG_LIVE_OR_0(sum);
            OUT_2[i] = total;
        }
    }
}

FPG_INLINE void FPG_NAME(td_errors_row)(const fpg_chunk *c, FPG_NAME(sweep) *s, int64_t t, const int lanes, const int masked)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma;
    FPG_EACH_GROUP {
        FPG_NAME(flags) flags;
        FPG_ROW(FPG_REAL, REWARDS);
        FPG_ROW(FPG_REAL, VALUES);
        FPG_ROW(FPG_REAL, FINAL_VALUES);
        FPG_OUT_ROW(OUT);
        FPG_ROW_FLAGS(&flags);
        FPG_EACH_LANE {
            const FPG_REAL value = VALUES[i];
            const FPG_REAL delta = FPG_LIVE_OR_0(REWARDS[i] + gamma * FPG_BEYOND(s->next_value[g + i]) - value);
            s->next_value[g + i] = FPG_LIVE_OR(value, s->next_value[g + i]);
            s->check[g + i] += delta * 0;
            OUT[i] = delta;
        }
    }
}

/* With G^k_t the k-step return and G^0_t = V(s_t), G^k_t = r_t + gamma G^{k-1}_{t+1}: a row turns level k - 1 into level k. */
FPG_INLINE void FPG_NAME(nstep_row)(const fpg_chunk *c, FPG_NAME(sweep) *s, int64_t t, const int lanes, const int masked)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma;
    const int64_t n = c->in->n, width = c->width;
    FPG_EACH_GROUP {
        FPG_NAME(flags) flags;
        FPG_REAL reward[16]; /* with the final value, where that follows */
        FPG_REAL *bottom = s->levels + g, *top = bottom + n * width;
        FPG_ROW(FPG_REAL, REWARDS);
        FPG_ROW(FPG_REAL, VALUES);
        FPG_ROW(FPG_REAL, FINAL_VALUES);
        FPG_OUT_ROW(OUT);
        FPG_ROW_FLAGS(&flags);
        FPG_EACH_LANE reward[i] = REWARDS[i] + gamma * FPG_NAME(only)(flags.boots[i], FINAL_VALUES[i]);
        for (FPG_REAL *level = top; level > bottom; level -= width)
            FPG_EACH_LANE {
                const FPG_REAL sum = reward[i] + gamma * FPG_NAME(only)(flags.goes_on[i], level[i - width]);
                level[i] = FPG_LIVE_OR(sum, level[i]);
            }
        FPG_EACH_LANE {
            const FPG_REAL out = FPG_LIVE_OR_0(top[i]);
            bottom[i] = FPG_LIVE_OR(VALUES[i], bottom[i]);
            s->check[g + i] += out * 0;
            OUT[i] = out;
        }
    }
}

/* running: vs_{t+1} - V(s_{t+1}). Equations in fastpg/batches/returns.py. */
FPG_INLINE void FPG_NAME(vtrace_row)(const fpg_chunk *c, FPG_NAME(sweep) *s, int64_t t, const int lanes, const int masked)
{
    const FPG_REAL gamma = (FPG_REAL)c->in->gamma, lam = (FPG_REAL)c->in->lam;
    const FPG_REAL rho_bar = (FPG_REAL)c->in->rho_bar, c_bar = (FPG_REAL)c->in->c_bar;
    FPG_EACH_GROUP {
        FPG_NAME(flags) flags;
        FPG_REAL ratio[16];
        FPG_ROW(FPG_REAL, REWARDS);
        FPG_ROW(FPG_REAL, VALUES);
        FPG_ROW(FPG_REAL, FINAL_VALUES);
        FPG_ROW(FPG_REAL, LOG_RHOS);
        FPG_OUT_ROW(OUT);
        FPG_OUT_ROW(OUT_2);
        FPG_ROW_FLAGS(&flags);
        FPG_EACH_LANE ratio[i] = FPG_EXP(LOG_RHOS[i]);
        FPG_EACH_LANE {
            const FPG_REAL value = VALUES[i], carried = FPG_NAME(only)(flags.goes_on[i], s->running[g + i]);
            const FPG_REAL rho = ratio[i] > rho_bar ? rho_bar : ratio[i], trace = ratio[i] > c_bar ? c_bar : ratio[i];
            const FPG_REAL delta = REWARDS[i] + gamma * FPG_BEYOND(s->next_value[g + i]) - value;
            const FPG_REAL sum = rho * delta + gamma * (lam * trace) * carried;
            const FPG_REAL vs = FPG_LIVE_OR_0(value + sum), advantage = FPG_LIVE_OR_0(rho * (delta + gamma * carried));
            s->running[g + i] = FPG_LIVE_OR(sum, s->running[g + i]);
            s->next_value[g + i] = FPG_LIVE_OR(value, s->next_value[g + i]);
            s->check[g + i] += vs * 0 + advantage * 0 + FPG_LIVE_OR_0(LOG_RHOS[i]) * 0;
            OUT[i] = vs;
            OUT_2[i] = advantage;
        }
    }
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

/* A kernel over all rows of a chunk, backwards or forwards. */
#define FPG_ALL_ROWS(kernel, lanes, masked) \
    for (int64_t k = 0; k < c->count; k++) \
        FPG_NAME(kernel##_row)(c, s, forwards ? k : c->count - 1 - k, lanes, masked)
#define FPG_LANES_AND_MASK(kernel, forwards_) \
    static void FPG_NAME(kernel)(const fpg_chunk *c, FPG_NAME(sweep) *s) \
    { \
        const int forwards = forwards_, masked = c->in->arrays[FPG_MASK].data != NULL; \
        if (c->lanes == 16 && !masked) \
            FPG_ALL_ROWS(kernel, 16, 0); \
        else if (c->lanes == 16) \
            FPG_ALL_ROWS(kernel, 16, 1); \
        else if (c->lanes == 8 && !masked) \
            FPG_ALL_ROWS(kernel, 8, 0); \
        else if (c->lanes == 8) \
            FPG_ALL_ROWS(kernel, 8, 1); \
        else if (!masked) \
            FPG_ALL_ROWS(kernel, 4, 0); \
        else \
            FPG_ALL_ROWS(kernel, 4, 1); \
    }
FPG_LANES_AND_MASK(returns, 0)
FPG_LANES_AND_MASK(spread, 1)
FPG_LANES_AND_MASK(gae, 0)
FPG_LANES_AND_MASK(td_errors, 0)
FPG_LANES_AND_MASK(nstep, 0)
FPG_LANES_AND_MASK(vtrace, 0)
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

static void FPG_NAME(copy_out)(const fpg_chunk *c, const FPG_NAME(copies) *copies, int which, int64_t step, int64_t env,
                               int32_t width)
{
    const fpg_array *array = &c->in->arrays[which];
    char *to = (char *)array->data + step * array->step_stride + env * array->env_stride;
    for (int32_t i = 0; i < width; i++)
        for (int64_t t = 0; t < c->count; t++)
            memcpy(to + i * array->env_stride + t * array->step_stride, copies->reals[which] + t * c->width + i,
                   sizeof(FPG_REAL));
}

/* Rows step .. step + count - 1 of environments env .. env + width - 1. copies is NULL where no array needs one. */
static void FPG_NAME(run_chunk)(fpg_chunk *c, FPG_NAME(sweep) *s, FPG_NAME(copies) *copies, int64_t step, int64_t env,
                                int32_t width, int forwards)
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
            const int32_t g = 0;
            FPG_ROW(uint8_t, TRUNCATED);
            FPG_ROW(uint8_t, MASK);
            if (c->in->arrays[FPG_MASK].data)
                FPG_SIMD for (int32_t i = 0; i < c->width; i++)
                    s->truncated[i] |= (TRUNCATED[i] != 0) & (MASK[i] != 0);
            else
                FPG_SIMD for (int32_t i = 0; i < c->width; i++)
                    s->truncated[i] |= TRUNCATED[i];
        }
    switch (c->in->kind) {
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
static void FPG_NAME(run_columns)(fpg_returns_job *job, fpg_chunk *c, FPG_NAME(copies) *copies, int64_t env,
                                  int32_t width, int worker)
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
    if (in->kind == FPG_NSTEP_RETURNS) {
        s.levels = (FPG_REAL *)job->levels + worker * (in->n + 1) * job->block;
        for (int64_t k = 0; k <= in->n; k++)
            memcpy(s.levels + k * c->width, s.next_value, sizeof(FPG_REAL) * (size_t)c->width);
    }
    if (in->kind == FPG_RETURNS)
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
    if (in->kind != FPG_EPISODE_RETURNS)
        return;
    memset(s.next_value, 0, sizeof(FPG_REAL) * (size_t)c->width); /* the first row begins a trajectory */
    for (int64_t step = 0; step < in->num_steps; step += c->count) {
        c->count = in->num_steps - step < rows ? in->num_steps - step : rows;
        FPG_NAME(run_chunk)(c, &s, copies, step, env, width, 1);
        if (step % FPG_POLL_ROWS < rows && fpg_should_stop(job->control, worker))
            return;
    }
}

/* Environments env .. end - 1. Where rows are used in place there are at least `lanes` of them; the last few are then computed
 * together with some that are done already. */
static void FPG_NAME(sweep_envs)(fpg_returns_job *job, int64_t env, int64_t end, int worker)
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

#undef FPG_ALL_ROWS
#undef FPG_BEYOND
#undef FPG_DECODE
#undef FPG_EACH_GROUP
#undef FPG_EACH_LANE
#undef FPG_LIVE_OR
#undef FPG_LIVE_OR_0
#undef FPG_NAME
#undef FPG_OUT_ROW
#undef FPG_PASTE
#undef FPG_PASTE2
#undef FPG_ROW
#undef FPG_ROW_FLAGS
