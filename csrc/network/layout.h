/* network.h - where each array of an MLP lies: in theta (torch's order), in the packed copy that the kernels read,
 * and in the padded gradient that they add to. Internal to csrc/.
 *
 * Packed, for hidden layer l (in -> out; "pad" rounds up to FPG_PAD, padding is zero so padded units stay zero):
 *   forward   (in, out_pad)  the transposed weight      bias (out_pad,)
 *   backward  (out, in_pad)  the weight, rows padded    (l > 0)
 * and for the head (in -> outputs): weight (outputs, in_pad), bias (outputs,). A Gaussian's log_std comes last, packed as
 * log_std, its exponential and the inverse of that, each (action_size,) padded.
 * Gradient: the first layer's weight is (in, out_pad), transposed, because in is small, and its bias is the next row;
 * the others' are (out, in_pad).
 * A network without hidden layers is its head, with in_pad = in.
 */
#ifndef FPG_NETWORK_H
#define FPG_NETWORK_H

#include "fastpg.h"
#include "simd/simd.h"

typedef struct {
    int32_t in, out, in_pad, out_pad;
    int64_t theta_weight, theta_bias;           /* offsets into theta */
    int64_t forward, backward, bias;            /* offsets into the packed copy */
    int64_t gradient_weight, gradient_bias;     /* offsets into the padded gradient */
} fpg_layer;

typedef struct {
    fpg_activation activation;
    int32_t num_hidden, num_inputs, num_outputs;
    fpg_head kind;
    int32_t action_size, action_categories[FPG_MAX_COMPONENTS];
    int32_t state_std, squashed;        /* of a Gaussian, as the next two */
    float log_scale;
    int32_t scales_actions;             /* -1 .. 1 stands for the bounds of the environment's actions */
    int32_t num_draws;                  /* uniforms that an action needs */
    int32_t num_scores;                 /* d log pi / d: the outputs, then log_std */
    int64_t log_std_theta, log_std_packed, log_std_gradient; /* offsets */
    int32_t obs_size;                   /* numbers in an observation */
    int32_t one_hot;                    /* they are categories */
    int32_t offset[FPG_MAX_COMPONENTS]; /* the input of each one's category 0 */
    fpg_layer hidden[FPG_MAX_HIDDEN], output;
    int64_t num_parameters, packed_size, gradient_size; /* floats */
    int32_t hidden_floats; /* of activations that one row needs: the sum of out_pad */
    int32_t max_width;     /* the largest out_pad */
} fpg_layout;

static inline fpg_layout fpg_layout_of(const fpg_network *net)
{
    fpg_layout layout = {.activation = net->activation, .num_hidden = net->num_hidden,
                         .num_inputs = net->num_inputs, .num_outputs = net->num_outputs,
                         .kind = net->head, .action_size = net->action_size,
                         .state_std = net->state_std, .squashed = net->squashed, .log_scale = net->log_scale,
                         .scales_actions = net->scales_actions,
                         .obs_size = net->num_factors ? net->num_factors : net->num_inputs, .one_hot = net->num_factors > 0};
    int64_t theta = 0, packed = 0, gradient = 0;
    for (int32_t f = 1; f < net->num_factors; f++)
        layout.offset[f] = layout.offset[f - 1] + net->factors[f - 1];
    int32_t in = net->num_inputs, in_pad = net->num_inputs;
    for (int32_t l = 0; l <= net->num_hidden; l++) {
        const int is_head = l == net->num_hidden;
        fpg_layer *layer = is_head ? &layout.output : &layout.hidden[l];
        layer->in = in, layer->in_pad = in_pad;
        layer->out = is_head ? net->num_outputs : net->hidden[l];
        layer->out_pad = is_head ? layer->out : fpg_round_up(layer->out, FPG_PAD);
        layer->theta_weight = theta, theta += (int64_t)layer->out * in;
        layer->theta_bias = theta, theta += layer->out;
        layer->forward = packed;
        if (!is_head)
            packed += (int64_t)in * layer->out_pad;
        layer->backward = packed;
        if (is_head || l > 0)
            packed += (int64_t)layer->out * in_pad;
        layer->bias = packed, packed += fpg_round_up(layer->out_pad, FPG_PAD);
        layer->gradient_weight = gradient;
        gradient += !is_head && l == 0 ? (int64_t)in * layer->out_pad : (int64_t)layer->out * in_pad;
        gradient = (gradient + FPG_PAD - 1) / FPG_PAD * FPG_PAD; /* changes nothing for the first layer */
        layer->gradient_bias = gradient, gradient += fpg_round_up(layer->out_pad, FPG_PAD);
        packed = (packed + FPG_PAD - 1) / FPG_PAD * FPG_PAD;
        if (!is_head) {
            layout.hidden_floats += layer->out_pad;
            layout.max_width = layer->out_pad > layout.max_width ? layer->out_pad : layout.max_width;
        }
        in = layer->out, in_pad = layer->out_pad;
    }
    const int32_t num_log_std = net->head == FPG_GAUSSIAN && !net->state_std ? net->action_size : 0;
    memcpy(layout.action_categories, net->action_categories, sizeof layout.action_categories);
    layout.num_draws = fpg_round_up(net->action_size, net->head == FPG_GAUSSIAN ? 2 : 1); /* normals come in pairs */
    layout.num_scores = net->num_outputs + num_log_std;
    layout.log_std_theta = theta, theta += num_log_std;
    layout.log_std_packed = packed, packed += 3 * fpg_round_up(num_log_std, FPG_PAD);
    layout.log_std_gradient = gradient, gradient += fpg_round_up(num_log_std, FPG_PAD);
    layout.num_parameters = theta, layout.packed_size = packed, layout.gradient_size = gradient;
    return layout;
}

#endif
