/* ranks.h - loops whose tasks several processes share, each of which has all results in the end.
 *
 * Every rank does what a single process does, in the same order, but for the tasks of shared loops: of these a rank runs its own,
 * and gets what the others' have left. So all ranks hold the same bits throughout, and know whatever one of them knows.
 */
#ifndef FPG_RANKS_H
#define FPG_RANKS_H

#include <string.h>

#include "base/parallel.h"

/* What a task leaves, on its way: its size is counted, or it is copied to a message, or from one. */
typedef struct {
    enum { FPG_COUNT, FPG_PACK, FPG_UNPACK } way;
    char *at;
    int64_t left;      /* bytes of the message from `at` on; counted: minus the size so far */
    fpg_status status; /* FPG_NO_MEMORY, or FPG_OTHER_RANK where the message is shorter than its content */
} fpg_parcel;

static inline void fpg_carry(fpg_parcel *parcel, void *data, int64_t bytes)
{
    if (parcel->way != FPG_COUNT && (parcel->status != FPG_OK || bytes < 0 || bytes > parcel->left)) {
        parcel->status = parcel->status != FPG_OK ? parcel->status : FPG_OTHER_RANK;
        return;
    }
    parcel->left -= bytes;
    if (parcel->way == FPG_COUNT || bytes == 0)
        return;
    if (parcel->way == FPG_PACK)
        memcpy(parcel->at, data, (size_t)bytes);
    else
        memcpy(data, parcel->at, (size_t)bytes);
    parcel->at += bytes;
}

/* Carries all that task `index` leaves. */
typedef void (*fpg_results)(void *context, int64_t index, fpg_parcel *parcel);

/* fpg_parallel_for whose tasks are shared: rank r runs tasks r, r + size, ... ranks: NULL where there is one process. The status
 * that control then has, which is the same on all ranks. `varies`: what tasks leave has a size that only their rank knows. */
fpg_status fpg_share(fpg_ranks *ranks, int64_t count, int num_workers, fpg_task task, fpg_results results, int varies, void *context,
                     fpg_control *control);
/* The ranks that share so much work, or NULL where a message would take longer. */
fpg_ranks *fpg_ranks_for(fpg_ranks *ranks, int64_t work);
/* A poll that lets work go on outside of shared loops, and stops it inside: all ranks have to stop at the same place. */
fpg_poll fpg_ranks_poll(fpg_ranks *ranks, fpg_poll poll);
/* Before an iteration: whether rank 0 wants one. check: what has to be the same on all ranks. */
fpg_status fpg_ranks_go_on(fpg_ranks *ranks, int wants, uint64_t check, int *goes_on);
/* Ends what is between two meetings. A failure that only this rank has noticed leaves the others waiting: see fpg_ranks_is_torn. */
fpg_status fpg_ranks_leave(fpg_ranks *ranks, fpg_status status);

#endif
