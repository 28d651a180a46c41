/* workspace.c - what every pass over rows or environments needs: packed parameters, workers' memory, slots.
 *
 * A slot is a fixed share of the work with sums of its own. The number of slots and who belongs to which depend on the
 * problem only, and slots are folded in order, so results are the same bits for any number of threads.
 */
#include "base/workspace.h"

#include <math.h>

enum { MAX_SLOTS = 64 };

/* Sums of gradients take this much memory at most (but two slots at least). */
static const int64_t MAX_SLOT_FLOATS = 8 << 20;

static int64_t slots_for(int64_t units, int64_t gradient_size)
{
    int64_t most = MAX_SLOT_FLOATS / gradient_size;
    most = most < 2 ? 2 : most > MAX_SLOTS ? MAX_SLOTS : most;
    return units < 1 ? 1 : units < most ? units : most;
}

void fpg_workspace_free(fpg_workspace *ws)
{
    for (int i = 0; i < ws->num_workers; i++)
        fpg_worker_free(&ws->workers[i]);
    fpg_free(ws->workers);
    fpg_free(ws->packed);
    fpg_free(ws->value_packed);
    fpg_free(ws->slot_gradients);
    fpg_free(ws->slots);
    memset(ws, 0, sizeof *ws);
}

fpg_status fpg_workspace_add_workers(fpg_workspace *ws, const fpg_environment *env, int32_t width, int64_t num_tasks)
{
    int wanted = fpg_threads_here();
    if (wanted > num_tasks)
        wanted = (int)num_tasks;
    if (ws->num_workers >= wanted)
        return FPG_OK;
    fpg_worker *workers = fpg_calloc((size_t)wanted, sizeof *workers);
    if (!workers)
        return FPG_NO_MEMORY;
    if (ws->workers)
        memcpy(workers, ws->workers, (size_t)ws->num_workers * sizeof *workers);
    fpg_free(ws->workers);
    ws->workers = workers;
    for (; ws->num_workers < wanted; ws->num_workers++)
        if (fpg_worker_init(&workers[ws->num_workers], &ws->layout, ws->value_packed ? &ws->value_layout : NULL, env, width) !=
            FPG_OK)
            return FPG_NO_MEMORY;
    return FPG_OK;
}

static fpg_status add_slots(fpg_workspace *ws, int64_t num_slots)
{
    const int64_t value_size = ws->value_packed ? ws->value_layout.gradient_size : 0;
    const int64_t size = value_size > ws->layout.gradient_size ? value_size : ws->layout.gradient_size;
    if (num_slots <= ws->max_slots)
        return FPG_OK;
    fpg_free(ws->slot_gradients);
    fpg_free(ws->slots);
    ws->max_slots = 0;
    ws->slot_gradients = fpg_alloc(fpg_times((size_t)size, (size_t)num_slots), sizeof(float));
    ws->slots = fpg_calloc((size_t)num_slots, sizeof *ws->slots);
    if (!ws->slot_gradients || !ws->slots)
        return FPG_NO_MEMORY;
    for (int64_t s = 0; s < num_slots; s++)
        ws->slots[s].gradient = ws->slot_gradients + s * size;
    ws->max_slots = num_slots;
    return FPG_OK;
}

fpg_status fpg_workspace_divide(fpg_workspace *ws, int64_t units, const fpg_environment *env, int32_t width)
{
    const int64_t value_size = ws->value_packed ? ws->value_layout.gradient_size : 0;
    ws->num_slots = slots_for(units, value_size > ws->layout.gradient_size ? value_size : ws->layout.gradient_size);
    const fpg_status status = add_slots(ws, ws->num_slots);
    return status == FPG_OK ? fpg_workspace_add_workers(ws, env, width, ws->num_slots) : status;
}

fpg_status fpg_workspace_init(fpg_workspace *ws, const fpg_network *net, const fpg_network *value)
{
    memset(ws, 0, sizeof *ws);
    ws->layout = fpg_layout_of(net);
    ws->packed = fpg_alloc((size_t)ws->layout.packed_size, sizeof(float));
    if (value) {
        ws->value_layout = fpg_layout_of(value);
        ws->value_packed = fpg_alloc((size_t)ws->value_layout.packed_size, sizeof(float));
    }
    if (!ws->packed || (value && !ws->value_packed)) {
        fpg_workspace_free(ws);
        return FPG_NO_MEMORY;
    }
    return FPG_OK;
}

fpg_status fpg_check_theta(const fpg_layout *layout, const float *theta)
{
    if (!fpg_all_finite(theta, layout->num_parameters))
        return FPG_NONFINITE_THETA;
    for (int64_t k = layout->log_std_theta; k < layout->num_parameters; k++)
        if (fabsf(theta[k]) > FPG_MAX_LOG_STD)
            return FPG_LOG_STD_RANGE;
    return FPG_OK;
}

int64_t fpg_num_parameters(const fpg_network *net) { return fpg_layout_of(net).num_parameters; }
