/* ranks.c - what ranks say to each other: messages of the same size, gathered by a function of the caller's.
 *
 * Between shared loops all ranks have the same status, so none ever waits for a message that another will not send. What goes wrong
 * inside of a loop goes along with its results.
 */
#include "base/ranks.h"
#include "base/memory.h"

struct fpg_ranks {
    int32_t rank, size;
    int64_t least_work;
    fpg_gather gather;
    void *context;
    fpg_poll poll;
    char *send, *receive;
    int64_t capacity; /* bytes of send; receive has `size` times as many */
    atomic_int interrupted;
    int is_sharing, is_over, is_torn;
    fpg_greeting *greetings; /* (size,) of the last meeting */
    int32_t failed;          /* the rank that stopped the others; -1: nobody knows */
};

/* Before the results of a loop's tasks. */
typedef struct {
    int32_t status, unused;
    int64_t bytes;
} head;

typedef struct {
    fpg_task task;
    void *context;
    const fpg_ranks *ranks;
} shared_loop;

fpg_ranks *fpg_ranks_new(int32_t rank, int32_t size, int64_t least_work, fpg_gather gather, void *context)
{
    fpg_ranks *r = fpg_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->rank = rank, r->size = size, r->least_work = least_work, r->gather = gather, r->context = context, r->failed = -1;
    if ((r->greetings = fpg_calloc((size_t)size, sizeof *r->greetings)))
        return r;
    fpg_free(r);
    return NULL;
}

void fpg_ranks_free(fpg_ranks *r)
{
    if (!r)
        return;
    fpg_free(r->send), fpg_free(r->receive), fpg_free(r->greetings);
    fpg_free(r);
}

void fpg_ranks_interrupt(fpg_ranks *r) { r->interrupted = 1; }
int fpg_ranks_is_over(const fpg_ranks *r) { return r->is_over; }
int fpg_ranks_is_torn(const fpg_ranks *r) { return r->is_torn; }
int32_t fpg_ranks_failed(const fpg_ranks *r) { return r->failed; }
const fpg_greeting *fpg_ranks_greetings(const fpg_ranks *r) { return r->greetings; }
fpg_ranks *fpg_ranks_for(fpg_ranks *r, int64_t work) { return r && work >= r->least_work ? r : NULL; }

/* Nobody says anything more. */
static fpg_status end(fpg_ranks *r, int32_t failed, fpg_status status)
{
    r->is_over = 1, r->failed = failed;
    return status;
}

fpg_status fpg_ranks_gather(fpg_ranks *r, int64_t bytes, const void *send, void *receive)
{
    if (r->is_over)
        return FPG_OTHER_RANK;
    if (r->gather(r->context, bytes, send, receive)) {
        r->is_torn = 1;
        return end(r, -1, FPG_OTHER_RANK);
    }
    return FPG_OK;
}

static int reserve(fpg_ranks *r, int64_t bytes)
{
    if (bytes <= r->capacity)
        return 1;
    fpg_free(r->send), fpg_free(r->receive);
    r->send = fpg_alloc((size_t)bytes, 1), r->receive = fpg_alloc(fpg_times((size_t)bytes, (size_t)r->size), 1);
    r->capacity = r->send && r->receive ? bytes : 0;
    return r->capacity > 0;
}

/* The first failure among the ranks, which is everybody's then; but only the rank itself can say what its caller or its
 * environment did. */
static fpg_status agree(fpg_ranks *r, int64_t stride)
{
    head own, other;
    memcpy(&own, r->receive + r->rank * stride, sizeof own);
    for (int32_t k = 0; k < r->size; k++) {
        memcpy(&other, r->receive + k * stride, sizeof other);
        const fpg_status kind = FPG_STATUS_KIND(other.status);
        if (kind != FPG_OK)
            return end(r, k, own.status != FPG_OK ? (fpg_status)own.status
                             : kind == FPG_INTERRUPTED || kind == FPG_ENVIRONMENT_FAILED ? FPG_OTHER_RANK : (fpg_status)other.status);
    }
    return FPG_OK;
}

/* ---- shared loops ------------------------------------------------------------------------------------------------------ */

static void run_own(void *context, int64_t index, int worker)
{
    const shared_loop *loop = context;
    loop->task(loop->context, loop->ranks->rank + index * loop->ranks->size, worker);
}

/* Carries what the tasks of rank k leave. */
static fpg_status carry(const fpg_ranks *r, int32_t k, int64_t count, fpg_results results, void *context, fpg_parcel *parcel)
{
    for (int64_t i = k; i < count && parcel->status == FPG_OK; i += r->size)
        results(context, i, parcel);
    return parcel->status;
}

static int64_t size_of(const fpg_ranks *r, int32_t k, int64_t count, fpg_results results, void *context)
{
    fpg_parcel parcel = {.way = FPG_COUNT};
    carry(r, k, count, results, context, &parcel);
    return -parcel.left;
}

static fpg_status exchange(fpg_ranks *r, int64_t count, fpg_results results, int varies, void *context, fpg_status status)
{
    head own = {.status = (int32_t)(r->interrupted && status == FPG_OK ? FPG_INTERRUPTED : status)};
    int64_t most = 0;
    if (!reserve(r, sizeof own))
        return FPG_NO_MEMORY;
    if (varies) { /* the sizes go first */
        own.bytes = own.status == FPG_OK ? size_of(r, r->rank, count, results, context) : 0;
        memcpy(r->send, &own, sizeof own);
        status = fpg_ranks_gather(r, sizeof own, r->send, r->receive);
        if (status == FPG_OK)
            status = agree(r, sizeof own);
        if (status != FPG_OK)
            return status;
        for (int32_t k = 0; k < r->size; k++) {
            memcpy(&own, r->receive + k * (int64_t)sizeof own, sizeof own);
            most = own.bytes > most ? own.bytes : most;
        }
        own.status = FPG_OK;
    } else
        for (int32_t k = 0; k < r->size; k++) {
            const int64_t bytes = size_of(r, k, count, results, context);
            most = bytes > most ? bytes : most;
        }
    most += (int64_t)sizeof own;
    if (!reserve(r, most))
        return FPG_NO_MEMORY;
    memset(r->send, 0, (size_t)most);
    memcpy(r->send, &own, sizeof own);
    fpg_parcel parcel = {.way = FPG_PACK, .at = r->send + sizeof own, .left = most - (int64_t)sizeof own};
    if (own.status == FPG_OK)
        carry(r, r->rank, count, results, context, &parcel);
    status = fpg_ranks_gather(r, most, r->send, r->receive);
    if (status == FPG_OK)
        status = agree(r, most);
    for (int32_t k = 0; status == FPG_OK && k < r->size; k++) {
        parcel = (fpg_parcel){.way = FPG_UNPACK, .at = r->receive + k * most + sizeof own, .left = most - (int64_t)sizeof own};
        status = k == r->rank ? FPG_OK : carry(r, k, count, results, context, &parcel);
        if (status == FPG_OTHER_RANK)
            end(r, -1, status);
    }
    return status;
}

fpg_status fpg_share(fpg_ranks *r, int64_t count, int num_workers, fpg_task task, fpg_results results, int varies, void *context,
                     fpg_control *control)
{
    if (!r) {
        fpg_parallel_for(count, num_workers, task, context, control);
        return (fpg_status)atomic_load(&control->status);
    }
    shared_loop loop = {task, context, r};
    const int64_t own = count > r->rank ? (count - r->rank - 1) / r->size + 1 : 0;
    r->is_sharing = 1;
    fpg_parallel_for(own, num_workers, run_own, &loop, control);
    r->is_sharing = 0;
    const fpg_status status = exchange(r, count, results, varies, context, (fpg_status)atomic_load(&control->status));
    atomic_store(&control->status, (int)status);
    return status;
}

static int poll_later(void *context)
{
    fpg_ranks *r = context;
    if (r->poll.function && r->poll.function(r->poll.context))
        r->interrupted = 1;
    return r->interrupted && r->is_sharing;
}

fpg_poll fpg_ranks_poll(fpg_ranks *r, fpg_poll poll)
{
    if (!r)
        return poll;
    r->poll = poll;
    return (fpg_poll){poll_later, r};
}

/* ---- meetings ---------------------------------------------------------------------------------------------------------- */

fpg_status fpg_ranks_meet(fpg_ranks *r, const fpg_greeting *greeting)
{
    fpg_greeting own = *greeting;
    if (r->interrupted && own.kind != FPG_FAILED)
        own = (fpg_greeting){.kind = FPG_FAILED, .text = "it was interrupted"};
    fpg_status status = fpg_ranks_gather(r, sizeof own, &own, r->greetings);
    if (status != FPG_OK)
        return status;
    for (int32_t k = 0; k < r->size; k++)
        if (r->greetings[k].kind == FPG_FAILED)
            return end(r, k, r->interrupted ? FPG_INTERRUPTED : FPG_OTHER_RANK);
    for (int32_t k = 0; k < r->size; k++) /* which only a fault of ours explains */
        if (r->greetings[k].kind != own.kind || r->greetings[k].check != own.check)
            return end(r, -1, FPG_OTHER_RANK);
    return FPG_OK;
}

fpg_status fpg_ranks_go_on(fpg_ranks *r, int wants, uint64_t check, int *goes_on)
{
    const fpg_greeting greeting = {.kind = FPG_ITERATION, .number = wants, .check = check};
    *goes_on = wants;
    if (!r)
        return FPG_OK;
    const fpg_status status = fpg_ranks_meet(r, &greeting);
    *goes_on = status == FPG_OK && r->greetings[0].number;
    return status;
}

fpg_status fpg_ranks_leave(fpg_ranks *r, fpg_status status)
{
    if (r && status == FPG_NO_MEMORY && !r->is_over)
        r->is_torn = 1, end(r, r->rank, status);
    return status;
}
