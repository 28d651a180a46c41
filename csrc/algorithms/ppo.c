/* ppo.c - proximal policy optimisation: epochs of minibatches, for each of which both networks take a step.
 *
 * Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization algorithms", 2017.
 */
#include "kernels/kernels.h"
#include "learn/agent.h"

#include <math.h>

/* Over the rows of some minibatches. */
typedef struct {
    double surrogate, k1, k3, num_clipped;
    int64_t num_rows;
} ratio_sums;

/* One of the networks, in the step under way. */
typedef struct {
    fpg_workspace *ws;
    fpg_ascent *ascent;
    double norm, rate, factor;
    fpg_status status;
} network_step;

typedef struct {
    fpg_agent *agent;
    network_step networks[2]; /* policy, value */
    fpg_control control;      /* of the whole update: a minibatch is over before its first poll would be due */
    int64_t num_rows;         /* of the minibatch */
} ppo_update;

static ratio_sums add_slots(const fpg_workspace *ws, int64_t num_rows)
{
    ratio_sums sums = {.num_rows = num_rows};
    for (int64_t s = 0; s < ws->num_slots; s++) {
        const fpg_slot *slot = &ws->slots[s];
        sums.surrogate += slot->sum, sums.k1 += slot->k1, sums.k3 += slot->k3, sums.num_clipped += slot->num_clipped;
    }
    return sums;
}

static void add(ratio_sums *to, const ratio_sums *more)
{
    to->surrogate += more->surrogate, to->k1 += more->k1, to->k3 += more->k3, to->num_clipped += more->num_clipped;
    to->num_rows += more->num_rows;
}

/* ---- both networks, one after the other or side by side ----------------------------------------------------------------- */

static void pack_network(void *context, int64_t index, int worker)
{
    network_step *n = &((ppo_update *)context)->networks[index];
    (void)worker;
    n->status = fpg_estimator_pack(n->ws, n->ascent->theta);
}

static void fold_network(void *context, int64_t index, int worker)
{
    ppo_update *u = context;
    network_step *n = &u->networks[index];
    (void)worker;
    const double square = fpg_active()->fold(&n->ws->layout, n->ws->slots, n->ws->num_slots, 1.0 / (double)u->num_rows, n->ascent->gradient);
    n->status = isfinite(square) ? FPG_OK : FPG_NONFINITE_GRADIENT;
    n->norm = fpg_ascent_chain(n->ascent, &u->agent->normalizer);
}

static void step_network(void *context, int64_t index, int worker)
{
    ppo_update *u = context;
    network_step *n = &u->networks[index];
    n->status = fpg_ascent_step(n->ascent, &u->agent->normalizer, &u->agent->config, FPG_ADAM, n->rate, n->factor);
    if (n->status == FPG_OK)
        pack_network(context, index, worker);
}

static fpg_status of_both(ppo_update *u, fpg_task task)
{
    fpg_parallel_for(2, fpg_get_num_threads(), task, u, &u->control);
    return u->networks[0].status != FPG_OK ? u->networks[0].status : fpg_value_problem(u->networks[1].status);
}

/* ---- the update ---------------------------------------------------------------------------------------------------------- */

/* torch's deviation, that of a sample, as in the libraries that standardise minibatches. */
static void set_advantages(const fpg_agent *a, const fpg_spread *weights, int64_t count, fpg_rows *policy)
{
    const fpg_standard standard = fpg_agent_standard(a, weights, count, 1);
    policy->shift = standard.shift, policy->scale = standard.scale;
}

/* The learning rate that keeps a divergence near desired_kl: Rudin et al., "Learning to walk in minutes using massively parallel deep
 * reinforcement learning", 2022, whose bounds these are. */
static void adapt_rate(fpg_agent *a, double kl)
{
    const fpg_train_config *c = &a->config;
    const double rounding = 1e-10; /* before the first step there is no divergence */
    const double rate = c->learning_rate * a->rate_factor;
    if (kl > 2 * c->desired_kl)
        a->rate_factor = fmax(rate / 1.5, fmin(1e-5, rate)) / c->learning_rate;
    else if (kl > rounding && kl < c->desired_kl / 2)
        a->rate_factor = fmin(rate * 1.5, fmax(1e-2, rate)) / c->learning_rate;
}

/* A step of both networks for chosen rows, unless they have gone far enough. */
static fpg_status take_step(ppo_update *u, const fpg_selection *chosen, fpg_rows *policy, fpg_rows *value, ratio_sums *sums,
                            int *goes_on, fpg_poll poll)
{
    fpg_agent *a = u->agent;
    const fpg_train_config *c = &a->config;
    if (c->standardize_advantages == FPG_MINIBATCH) {
        double weight, weight_square;
        fpg_estimator_chosen_sums(&a->estimator, chosen, &weight, &weight_square);
        const fpg_spread weights = fpg_spread_of(weight, weight_square, u->num_rows);
        set_advantages(a, &weights, u->num_rows, policy);
    }
    fpg_status status = fpg_estimator_both(&a->estimator, chosen, policy, value, poll);
    if (status != FPG_OK)
        return status;
    *sums = add_slots(&a->estimator.policy, u->num_rows);
    const double kl = sums->k3 / (double)u->num_rows;
    *goes_on = !(kl > 1.5 * c->target_kl);
    if (!*goes_on)
        return FPG_OK;
    if (c->desired_kl < INFINITY)
        adapt_rate(a, kl);
    status = of_both(u, fold_network);
    if (status != FPG_OK)
        return status;
    network_step *p = &u->networks[0], *v = &u->networks[1];
    p->rate = fpg_agent_rate(a, c->learning_rate * a->rate_factor), v->rate = fpg_agent_rate(a, c->value_learning_rate);
    p->factor = fpg_clip_factor(p->norm, c->max_grad_norm), v->factor = fpg_clip_factor(v->norm, c->max_grad_norm);
    if (c->joint_grad_norm)
        p->factor = v->factor = fpg_clip_factor(hypot(p->norm, v->norm), c->max_grad_norm);
    return of_both(u, step_network);
}

fpg_status fpg_ppo_learn(fpg_agent *a, fpg_stats *stats, fpg_poll poll)
{
    const fpg_train_config *c = &a->config;
    fpg_estimator *e = &a->estimator;
    fpg_spread weights;
    double norms = 0;
    fpg_status status = fpg_agent_prepare(a, stats, &weights, poll);
    if (status != FPG_OK)
        return status;
    const double clip_range = c->linear_clip_range ? c->clip_range * fpg_agent_share_left(a) : c->clip_range;
    fpg_rows policy = {.objective = FPG_CLIPPED_OBJECTIVE, .clip_range = (float)clip_range, .entropy_coef = (float)c->collect.entropy_coef};
    fpg_rows value = {.objective = FPG_VALUE_OBJECTIVE, .value_scale = (float)a->value.output_scale,
                      .value_clip = (float)c->value_clip_range,
                      .huber_delta = c->value_loss == FPG_HUBER ? (float)c->huber_delta : INFINITY};
    ppo_update u = {.agent = a, .networks = {{.ws = &e->policy, .ascent = &a->policy}, {.ws = &e->value, .ascent = &a->value}}};
    ratio_sums all = {0}, of_epoch = {0};
    int goes_on = 1;
    fpg_control_init(&u.control, poll);
    set_advantages(a, &weights, e->num_rows, &policy);
    status = of_both(&u, pack_network);
    for (int64_t epoch = 0; status == FPG_OK && goes_on && epoch < c->epochs; epoch++) {
        fpg_stats ignored;
        if (epoch > 0 && c->recompute_advantages) {
            status = fpg_agent_weigh(a, &ignored, &weights, poll);
            set_advantages(a, &weights, e->num_rows, &policy);
        }
        if (status == FPG_OK && c->minibatches > 1)
            status = fpg_estimator_shuffle(e, a->num_iterations, epoch, poll);
        of_epoch = (ratio_sums){0};
        for (int64_t index = 0; status == FPG_OK && goes_on && index < c->minibatches; index++) {
            ratio_sums sums = {0};
            const fpg_selection *chosen = fpg_estimator_minibatch(e, index, c->minibatches, &u.num_rows);
            if (fpg_should_stop(&u.control, 0))
                return (fpg_status)atomic_load(&u.control.status);
            if (u.num_rows == 0)
                continue;
            status = take_step(&u, chosen, &policy, &value, &sums, &goes_on, poll);
            add(&of_epoch, &sums), add(&all, &sums);
            norms += goes_on ? u.networks[0].norm : 0, stats->num_updates += goes_on;
        }
    }
    if (status != FPG_OK)
        return status;
    fpg_agent_finish(a);
    stats->gradient_norm = norms / (double)stats->num_updates;
    stats->learning_rate = fpg_agent_rate(a, c->learning_rate * a->rate_factor);
    stats->policy_loss = -all.surrogate / (double)all.num_rows, stats->clip_fraction = all.num_clipped / (double)all.num_rows;
    stats->approx_kl = of_epoch.k3 / (double)of_epoch.num_rows, stats->approx_kl_k1 = of_epoch.k1 / (double)of_epoch.num_rows;
    return FPG_OK;
}
