/* many.c - many runs in one call: each is serial, and threads go from one to the next.
 *
 * Agents and environments are made when their run begins and freed when it ends, so memory grows with threads, not with runs. A run
 * that pauses leaves its state table, and goes on with it in another agent.
 * Runs are not cut into slices that all wait for each other: an iteration may take longer than a slice, and threads would idle.
 */
#include "learn/agent.h"

static const double SLICE_SECONDS = 0.02; /* a thread stays with a run for so long, or for an iteration */
enum { FIRST_CAPACITY = 64 };

typedef struct {
    fpg_agent *agent;
    fpg_trainer *trainer;
} learner;

typedef struct {
    fpg_run *const *runs;
    learner *learners; /* (num_runs,): of a run that has begun and not ended */
    int64_t *waiting;  /* (num_runs,) a ring: runs that no thread has */
    int64_t *ended;    /* (num_runs,) as they have ended */
    int64_t num_runs, first, num_waiting, num_left;
    int num_threads;
    fpg_runs_progress so_far;
    atomic_flag busy; /* guards all of these from `first` on */
    fpg_runs_progress *progress;
    fpg_poll poll;
    fpg_control control;
} population;

/* What the iterations of a run ask whether to stop. */
typedef struct {
    population *all;
    int worker;
} stop_of;

static void lock(population *p)
{
    while (atomic_flag_test_and_set_explicit(&p->busy, memory_order_acquire))
        ;
}

static void unlock(population *p) { atomic_flag_clear_explicit(&p->busy, memory_order_release); }

static int report(void *context)
{
    population *p = context;
    lock(p);
    *p->progress = p->so_far;
    unlock(p);
    return p->poll.function ? p->poll.function(p->poll.context) : 0;
}

static int should_stop(void *context)
{
    const stop_of *stop = context;
    return fpg_should_stop(&stop->all->control, stop->worker);
}

static void end(learner *l)
{
    fpg_trainer_free(l->trainer);
    fpg_agent_free(l->agent);
    *l = (learner){0};
}

static fpg_status begin(learner *l, fpg_run *run)
{
    l->agent = fpg_agent_new(run->net, run->value, run->config, run->seed, run->theta, run->value_theta);
    l->trainer = l->agent ? fpg_trainer_new(run->env, run->net, l->agent, run->num_envs, run->seed) : NULL;
    if (!l->trainer)
        return FPG_NO_MEMORY;
    if (run->state)
        fpg_trainer_give_state(l->trainer, run->state), run->state = NULL;
    return FPG_OK;
}

static int has_room(fpg_run *run)
{
    const int64_t wanted = run->capacity ? 2 * run->capacity : FIRST_CAPACITY;
    if (run->num_iterations < run->capacity)
        return 1;
    if (!FPG_GROW(&run->stats, run->num_iterations, wanted, sizeof *run->stats))
        return 0;
    run->capacity = wanted;
    return 1;
}

static fpg_status run_slice(learner *l, fpg_run *run, fpg_poll poll)
{
    int64_t count = 0;
    fpg_status status = l->trainer ? FPG_OK : begin(l, run);
    if (status != FPG_OK || !has_room(run))
        return FPG_NO_MEMORY;
    status = fpg_trainer_run(l->trainer, SLICE_SECONDS, run->capacity - run->num_iterations, run->pause_at,
                             run->stats + run->num_iterations, &count, poll);
    run->num_iterations += count;
    run->total_steps = fpg_agent_total_steps(l->agent);
    run->mean_return = fpg_agent_mean_return(l->agent);
    run->stopped = fpg_agent_stopped(l->agent);
    return status;
}

/* The run that a thread goes on with, which had `current` (-1: none), whether or not this call is through with that, and whether it
 * has ended; -1: there is none left.
 * While there are plenty, a run is brought to its end, so that an interruption leaves whole runs; the last ones take turns, so
 * that no thread is idle beside runs that have not begun. */
static int64_t next_run(population *p, int64_t current, int is_through, int has_ended, int64_t steps)
{
    lock(p);
    if (has_ended)
        p->ended[p->so_far.num_ended++] = current;
    p->so_far.num_steps += steps, p->num_left -= is_through;
    int64_t chosen = is_through ? -1 : current;
    if (chosen >= 0 && p->num_left < 2 * p->num_threads) {
        p->waiting[(p->first + p->num_waiting++) % p->num_runs] = chosen;
        chosen = -1;
    }
    if (chosen < 0 && p->num_waiting > 0) {
        chosen = p->waiting[p->first];
        p->first = (p->first + 1) % p->num_runs, p->num_waiting--;
    }
    unlock(p);
    return chosen;
}

static void work(void *context, int64_t index, int worker)
{
    population *p = context;
    stop_of stop = {p, worker};
    const fpg_poll poll = {should_stop, &stop};
    int64_t k = next_run(p, -1, 0, 0, 0);
    (void)index;
    while (k >= 0 && !fpg_should_stop(&p->control, worker)) {
        fpg_run *run = p->runs[k];
        const int64_t before = run->total_steps;
        const fpg_status status = run_slice(&p->learners[k], run, poll);
        const int has_ended = (status != FPG_OK && status != FPG_INTERRUPTED) || run->stopped != FPG_RUNNING;
        const int is_through = has_ended || run->total_steps >= run->pause_at;
        if (is_through) {
            if (status == FPG_OK && run->pause_at < INT64_MAX)
                run->state = fpg_trainer_take_state(p->learners[k].trainer, &run->state_size);
            run->status = status, end(&p->learners[k]);
        }
        k = next_run(p, k, is_through, has_ended, run->total_steps - before);
    }
}

fpg_status fpg_train_many(fpg_run *const *runs, int64_t num_runs, fpg_runs_progress *progress, fpg_poll poll)
{
    population p = {.runs = runs, .num_runs = num_runs, .num_waiting = num_runs, .num_left = num_runs, .num_threads = fpg_threads_here(),
                    .progress = progress, .poll = poll};
    p.learners = fpg_calloc((size_t)num_runs, sizeof *p.learners);
    p.waiting = fpg_calloc((size_t)num_runs, sizeof *p.waiting);
    p.ended = fpg_calloc((size_t)num_runs, sizeof *p.ended);
    p.so_far.ended = p.ended;
    fpg_status status = p.learners && p.waiting && p.ended ? FPG_OK : FPG_NO_MEMORY;
    if (status == FPG_OK) {
        const int64_t tasks = num_runs < p.num_threads ? num_runs : p.num_threads;
        for (int64_t k = 0; k < num_runs; k++)
            p.waiting[k] = k, runs[k]->status = FPG_INTERRUPTED;
        atomic_flag_clear(&p.busy);
        fpg_control_init(&p.control, (fpg_poll){report, &p});
        fpg_parallel_for(tasks, (int)tasks, work, &p, &p.control);
        status = (fpg_status)atomic_load(&p.control.status);
        *progress = p.so_far, progress->ended = NULL;
        for (int64_t k = 0; k < num_runs; k++)
            end(&p.learners[k]);
    }
    fpg_free(p.learners), fpg_free(p.waiting), fpg_free(p.ended);
    return status;
}

fpg_status fpg_run_copy(fpg_run *run, const fpg_run *paused)
{
    const int64_t count = paused->num_iterations;
    char *state = fpg_alloc(paused->state_size, 1);
    fpg_stats *stats = fpg_calloc((size_t)count, sizeof *stats);
    if (!state || !stats) {
        fpg_free(state), fpg_free(stats);
        return FPG_NO_MEMORY;
    }
    memcpy(state, paused->state, paused->state_size);
    memcpy(stats, paused->stats, (size_t)count * sizeof *stats);
    memcpy(run->theta, paused->theta, (size_t)fpg_num_parameters(run->net) * sizeof *run->theta);
    if (run->value)
        memcpy(run->value_theta, paused->value_theta, (size_t)fpg_num_parameters(run->value) * sizeof *run->value_theta);
    fpg_run_free(run);
    run->state = state, run->state_size = paused->state_size;
    run->stats = stats, run->num_iterations = run->capacity = count;
    run->status = paused->status, run->stopped = paused->stopped, run->total_steps = paused->total_steps;
    run->mean_return = paused->mean_return;
    return FPG_OK;
}

fpg_status fpg_run_give_state(const fpg_run *paused, fpg_trainer *trainer)
{
    char *state = fpg_alloc(paused->state_size, 1);
    if (!state)
        return FPG_NO_MEMORY;
    memcpy(state, paused->state, paused->state_size);
    fpg_trainer_give_state(trainer, state);
    return FPG_OK;
}

fpg_status fpg_run_take_state(fpg_run *run, const fpg_agent *agent, fpg_trainer *trainer, const fpg_stats *stats)
{
    const int64_t count = fpg_agent_num_iterations(agent);
    fpg_stats *copy = fpg_calloc((size_t)count, sizeof *copy);
    if (!copy)
        return FPG_NO_MEMORY;
    memcpy(copy, stats, (size_t)count * sizeof *copy);
    fpg_run_free(run);
    run->state = fpg_trainer_take_state(trainer, &run->state_size);
    run->stats = copy, run->num_iterations = run->capacity = count;
    run->status = FPG_OK, run->stopped = fpg_agent_stopped(agent);
    run->total_steps = fpg_agent_total_steps(agent), run->mean_return = fpg_agent_mean_return(agent);
    return FPG_OK;
}

void fpg_run_free(fpg_run *run)
{
    fpg_free(run->stats), fpg_free(run->state);
    run->stats = NULL, run->state = NULL, run->num_iterations = run->capacity = 0;
}
