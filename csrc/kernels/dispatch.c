/* dispatch.c - one table of kernels, chosen by the CPU's features. */
#include "kernels/kernels.h"

/* The build defines FPG_X86 where the avx2 and avx512 files are compiled with their flags. */
static const fpg_kernels *active = &fpg_kernels_baseline;

static int cpu_runs(const fpg_kernels *kernels)
{
#if defined(FPG_X86)
    __builtin_cpu_init();
    if (kernels == &fpg_kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (kernels == &fpg_kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
#endif
    return kernels == &fpg_kernels_baseline;
}

static const fpg_kernels *const tables[] = {
    &fpg_kernels_baseline,
#if defined(FPG_X86)
    &fpg_kernels_avx2,
    &fpg_kernels_avx512,
#endif
};

enum { NUM_TABLES = sizeof tables / sizeof *tables };

const char *fpg_isa_available(int i)
{
    for (int k = 0; k < NUM_TABLES; k++)
        if (cpu_runs(tables[k]) && i-- == 0)
            return tables[k]->isa;
    return NULL;
}

const char *fpg_select_isa(const char *name)
{
    const fpg_kernels *best = NULL;
    for (int k = 0; k < NUM_TABLES; k++) {
        const int wanted = !name || !strcmp(name, tables[k]->isa);
        if (wanted && cpu_runs(tables[k]))
            best = tables[k];
        else if (wanted && name)
            return "this CPU does not have it";
    }
    if (!best)
        return "this build does not know it";
    active = best;
    return NULL;
}

const fpg_kernels *fpg_active(void) { return active; }
const char *fpg_isa(void) { return active->isa; }

const char *fpg_environment_name(int i) { return active->environments[i] ? active->environments[i]->name : NULL; }

int fpg_environment_init(const char *name, fpg_environment *env)
{
    for (int i = 0; active->environments[i]; i++)
        if (!strcmp(name, active->environments[i]->name)) {
            *env = *active->environments[i];
            return 1;
        }
    return 0;
}

void fpg_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) { active->philox(counter, key, out); }
int fpg_vecmath_float(const char *function, int64_t n, const float *x, float *y) { return active->vecmath_float(function, n, x, y); }
int fpg_vecmath_double(const char *function, int64_t n, const double *x, double *y) { return active->vecmath_double(function, n, x, y); }
