/* job.h - what is done with rows, of shards or of a caller's own arrays. */
#ifndef FPG_JOB_H
#define FPG_JOB_H

#include "base/workspace.h"
#include "batch/shards.h"

/* What is done with rows, of shards or of the caller's own arrays: positions begin .. end - 1 of a sequence of rows. */
typedef enum {
    FPG_POLICY_OBJECTIVE, /* (weight - shift) * scale * log pi + entropy_coef * entropy */
    FPG_CLIPPED_OBJECTIVE, /* PPO's surrogate of the same weights, and the entropy */
    FPG_VALUE_OBJECTIVE,  /* -(target - V)^2 / 2, or what the fields of value losses say */
    FPG_FISHER_OBJECTIVE, /* half the second derivative of KL(old | new) along a tangent, whose gradient is the Fisher product */
    FPG_NO_OBJECTIVE,     /* V is written to the rows' values */
    FPG_LOG_PROBS,        /* log pi is written to the rows' old_log_probs, and outputs to old_outputs where there are any */
    FPG_TRUST_REGION      /* KL(old | new), and by how much the surrogate has grown, are added up */
} fpg_objective;

typedef struct {
    const fpg_layout *layout;
    const float *packed;
    fpg_worker *workers;
    fpg_slot *slots;
    fpg_control control;
    /* The rows: those of shard s have the positions starts[s] .. starts[s + 1] - 1. rows[s] tells which they are; NULL: from its
     * first row on. */
    const fpg_shard *shards;
    int64_t num_shards, rows_per_slot;
    const int64_t *starts;
    const int64_t *const *rows;
    fpg_objective objective;
    double shift, scale;
    float entropy_coef;
    int want_sum, want_entropy;
    float clip_range;                             /* of a clipped objective */
    const float *tangent;                         /* packed: of a Fisher product */
    const float *old_log_std;                     /* (action_size,): of a trust region */
    float value_scale, value_clip, huber_delta;   /* of a value objective: errors are divided by value_scale; infinite: off */
    int in_order;    /* rows rise in every shard */
    int has_hidden;  /* the shards' activations are those of these parameters */
    float *kept[FPG_MAX_HIDDEN]; /* (rows, out_pad) activations by position, where the shards have none; or NULL */
    int has_kept;    /* they are there; else they are written */
    /* Outputs of the caller's rows, where they are asked for. */
    uint64_t seed, step;
    int64_t first_env; /* whose draw that of the first row is */
    int deterministic;
    float *out_logits, *out_log_prob, *out_entropy;
    void *out_actions;
    /* Segments of the caller's rows: rows segments[s] .. segments[s + 1] - 1, or row s if it is NULL; slots are then the workers'. */
    const int64_t *segments;
    int64_t num_segments, segments_per_task;
    int mean;
    float *out_gradients; /* (num_segments, num_parameters) */
} fpg_rows;

/* The same for rows, whose share of a slot is set. */
fpg_status fpg_divide_rows(fpg_workspace *ws, fpg_rows *job, int64_t num_rows);
/* What a slot's task leaves: sums, and of its rows what the objective writes that others than the slot's own tasks read. */
void fpg_carry_slot(void *context, int64_t index, fpg_parcel *parcel);
/* What the tasks of a job cost, for fpg_ranks_for. */
int64_t fpg_work_of(const fpg_rows *job);
/* Runs tasks over rows with the workspace's network, which has been packed. Ranks share them, if there are any. */
fpg_status fpg_run_rows(fpg_workspace *ws, fpg_rows *job, fpg_poll poll, fpg_task task, int64_t num_tasks);

#endif
