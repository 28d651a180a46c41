# rows.pxi - batches of rows that the caller has.

def logits(Network net, const float[::1] theta, const float[:, ::1] obs, out=None):
    _check_batch(net, theta, obs)
    result = numpy.empty((obs.shape[0], net.net.num_outputs), numpy.float32) if out is None else out
    cdef float[:, ::1] rows = result
    _require(rows.shape[0] == obs.shape[0] and rows.shape[1] == net.net.num_outputs,
             f"out must be ({obs.shape[0]}, {net.net.num_outputs}), got ({rows.shape[0]}, {rows.shape[1]})")
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_logits(net.model, &theta[0], &obs[0, 0], obs.shape[0], &rows[0, 0], poll)
    _raise_for(status, interrupt, "logits()")
    return result


def act(Network net, const float[::1] theta, const float[:, ::1] obs, uint64_t seed, uint64_t step, bint deterministic,
        out=None, entropy=None, const uint8_t[:, ::1] action_mask=None, int64_t first_env=0):
    _check_batch(net, theta, obs)
    cdef const uint8_t *mask = _first_mask(net, action_mask, obs.shape[0])
    if out is None:
        out = numpy.empty(obs.shape[0] * net.net.action_size, numpy.float32 if net.net.head == FPG_GAUSSIAN else numpy.int64)
    cdef void *actions = <void *>_first_action(net, out, obs.shape[0])
    cdef float[::1] entropies
    cdef float *first_entropy = NULL
    if entropy is not None:
        entropies = entropy
        _require(entropies.shape[0] == obs.shape[0], f"entropy must have {obs.shape[0]} entries, got {entropies.shape[0]}")
        first_entropy = &entropies[0]
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_act(net.model, &theta[0], &obs[0, 0], mask, obs.shape[0], seed, first_env, step, deterministic, actions,
                         first_entropy, poll)
    _raise_for(status, interrupt, "act()")
    return out


def log_prob_and_entropy(Network net, const float[::1] theta, const float[:, ::1] obs, actions,
                         const uint8_t[:, ::1] action_mask=None):
    _check_batch(net, theta, obs)
    cdef const uint8_t *mask = _first_mask(net, action_mask, obs.shape[0])
    cdef const void *first_action = _first_action(net, actions, obs.shape[0])
    first = numpy.empty(obs.shape[0], numpy.float32)
    second = numpy.empty(obs.shape[0], numpy.float32)
    cdef float[::1] log_prob = first
    cdef float[::1] entropy = second
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_log_prob_and_entropy(net.model, &theta[0], &obs[0, 0], mask, first_action, obs.shape[0], &log_prob[0],
                                          &entropy[0], poll)
    _raise_for(status, interrupt, "log_prob_and_entropy()")
    return first, second


def fisher_product(Network net, const float[::1] theta, const float[:, ::1] obs, const float[::1] direction,
                   const uint8_t[:, ::1] action_mask=None):
    _check_batch(net, theta, obs)
    cdef const uint8_t *mask = _first_mask(net, action_mask, obs.shape[0])
    _check_theta(net, direction)
    result = numpy.empty(theta.shape[0], numpy.float32)
    cdef float[::1] product = result
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_fisher_product(net.model, &theta[0], &obs[0, 0], mask, obs.shape[0], &direction[0], &product[0], poll)
    _raise_for(status, interrupt, "fisher_product()")
    return result


def policy_gradient(Network net, const float[::1] theta, const float[:, ::1] obs, actions, const float[::1] weights,
                    double scale, float[::1] out, double entropy_coef=0, bint want_objective=False,
                    const uint8_t[:, ::1] action_mask=None):
    _check_batch(net, theta, obs)
    cdef const uint8_t *mask = _first_mask(net, action_mask, obs.shape[0])
    _check_theta(net, out)
    cdef const void *first_action = _first_action(net, actions, obs.shape[0])
    _require(weights.shape[0] == obs.shape[0], f"weights must have {obs.shape[0]} entries, got {weights.shape[0]}")
    cdef double objective = 0
    cdef double *wanted = &objective if want_objective else NULL
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_policy_gradient(net.model, &theta[0], &obs[0, 0], mask, first_action, &weights[0], obs.shape[0], scale,
                                     entropy_coef, &out[0], wanted, poll)
    _raise_for(status, interrupt, "policy_gradient()")
    return objective


def clipped_gradient(Network net, const float[::1] theta, const float[:, ::1] obs, actions, const float[::1] advantages,
                     const float[::1] old_log_probs, double scale, double clip_range, double entropy_coef, float[::1] out,
                     const uint8_t[:, ::1] action_mask=None):
    _check_batch(net, theta, obs)
    cdef const uint8_t *mask = _first_mask(net, action_mask, obs.shape[0])
    _check_theta(net, out)
    cdef const void *first_action = _first_action(net, actions, obs.shape[0])
    _require(advantages.shape[0] == obs.shape[0], f"advantages must have {obs.shape[0]} entries, got {advantages.shape[0]}")
    _require(old_log_probs.shape[0] == obs.shape[0],
             f"old_log_probs must have {obs.shape[0]} entries, got {old_log_probs.shape[0]}")
    cdef fpg_clipped_sums sums
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_clipped_gradient(net.model, &theta[0], &obs[0, 0], mask, first_action, &advantages[0],
                                      &old_log_probs[0], obs.shape[0], scale, clip_range, entropy_coef, &out[0], &sums, poll)
    _raise_for(status, interrupt, "clipped_gradient()")
    return sums.surrogate, sums.entropy, sums.k1, sums.k3, sums.num_clipped


def segment_gradients(Network net, const float[::1] theta, const float[:, ::1] obs, actions, const float[::1] weights, starts,
                      bint mean, float[:, ::1] out, const uint8_t[:, ::1] action_mask=None):
    cdef const uint8_t *mask = _first_mask(net, action_mask, obs.shape[0])
    cdef const int64_t[::1] bounds
    cdef const int64_t *first = NULL
    cdef int64_t segments = obs.shape[0]
    _check_batch(net, theta, obs)
    cdef const void *first_action = _first_action(net, actions, obs.shape[0])
    _require(weights.shape[0] == obs.shape[0], f"weights must have {obs.shape[0]} entries, got {weights.shape[0]}")
    if starts is not None:
        bounds = starts
        segments = bounds.shape[0] - 1
        _require(segments > 0 and bounds[0] == 0 and bounds[segments] == obs.shape[0] and bool((numpy.diff(starts) > 0).all()),
                 f"starts must rise from 0 to {obs.shape[0]}")
        first = &bounds[0]
    _require(out.shape[0] == segments and out.shape[1] == net.num_parameters,
             f"out must be ({segments}, {net.num_parameters}), got ({out.shape[0]}, {out.shape[1]})")
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_segment_gradients(net.model, &theta[0], &obs[0, 0], mask, first_action, &weights[0], first, segments,
                                       mean, &out[0, 0], poll)
    _raise_for(status, interrupt, "policy_gradient()")
