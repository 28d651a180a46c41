/* sizes.h - how much is done at a time, and what random numbers are for. */
#ifndef FPG_SIZES_H
#define FPG_SIZES_H

#include "fastpg.h"

#define FPG_TILE 64   /* the most environments in a tile; divisible by FPG_PAD */
#define FPG_VECTOR_TILE 256 /* the same of environments that a caller steps */
/* Keeping activations costs this much memory a thread, or a batch, at most; above it backward passes compute them again. */
#define FPG_TAPE_BYTES ((int64_t)32 << 20)
#define FPG_CHUNK 128 /* rows of a forward and backward pass; at least FPG_TILE */

/* What random numbers are for: the low byte of a counter's last word. */
enum { FPG_DRAW_ACTION = 0, FPG_DRAW_RESET = 1, FPG_DRAW_STEP = 2, FPG_DRAW_MINIBATCH = 3 };

#endif
