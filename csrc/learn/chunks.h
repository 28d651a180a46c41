/* chunks.h - the driver: chunks of rows are loaded, go forward, become derivatives of an objective, and go backward.
 *
 * Who has rows says how a chunk is loaded and what its objective is.
 */
#ifndef FPG_CHUNKS_H
#define FPG_CHUNKS_H

#include "base/workspace.h"
#include "network/mlp.h"

typedef struct fpg_chunks {
    const fpg_layout *layout;
    const float *packed;
    int64_t begin, end; /* positions of rows */
    fpg_control *control;
    /* The chunk at a position, into worker->x: (obs_size, FPG_CHUNK), 0 past the last row up to FPG_PAD. Returns its rows; where
     * activations and derivatives were kept, `hidden` are those, and nothing has to go forward. */
    int32_t (*load)(struct fpg_chunks *chunks, int64_t position, fpg_worker *worker);
    float *hidden[FPG_MAX_HIDDEN];
    int keeps;                  /* activations are to be written to `hidden` */
    int has_hidden, has_scores; /* has_scores: outputs were kept as well, or nothing is made of them: they are not computed */
    /* Outputs, (num_outputs, FPG_CHUNK) in worker->dlogits, become derivatives by the scores. 0 if an action is out of range. */
    int (*differentiate)(struct fpg_chunks *chunks, int32_t rows, fpg_worker *worker);
} fpg_chunks;

/* gradient += that of all chunks; NULL: nothing goes backward. 0 if the call has to stop. */
static int fpg_drive(fpg_chunks *c, fpg_worker *worker, int worker_index, float *gradient)
{
    for (int64_t position = c->begin; position < c->end;) {
        if (fpg_should_stop(c->control, worker_index))
            return 0;
        const int32_t rows = c->load(c, position, worker);
        float *const *hidden = c->has_hidden || c->keeps ? c->hidden : worker->hidden;
        if (!c->has_hidden)
            fpg_mlp_forward(c->layout, c->packed, worker->x, rows, FPG_CHUNK, hidden, worker->dlogits);
        else if (!c->has_scores)
            fpg_outputs(c->layout, c->packed, hidden[c->layout->num_hidden - 1], rows, FPG_CHUNK, worker->dlogits);
        if (!c->differentiate(c, rows, worker)) {
            fpg_fail(c->control, FPG_BAD_ACTION);
            return 0;
        }
        position += rows;
        if (!gradient)
            continue;
        fpg_clear_padding(c->layout->num_scores, rows, worker->dlogits);
        fpg_mlp_backward(c->layout, c->packed, worker->x, worker->dlogits, rows, FPG_CHUNK, hidden, worker->backward, gradient);
    }
    return 1;
}

#endif
