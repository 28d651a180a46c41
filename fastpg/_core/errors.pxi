# errors.pxi - what C reports, as exceptions; and Python's signals in long calls.

cdef class _Interrupt:
    """Runs Python's signal handlers from inside a long C call, and keeps what they raised."""
    cdef object raised

    cdef fpg_poll poll(self) noexcept:
        cdef fpg_poll poll
        poll.function = _check_signals
        poll.context = <void *>self
        return poll


cdef int _check_signals(void *context) noexcept with gil:
    try:
        PyErr_CheckSignals()
        return 0
    except BaseException as exception:
        (<_Interrupt>context).raised = exception
        return 1


NONFINITE_VALUE = (
    "the value function's values, targets or gradient are NaN or infinite, or too large: its parameters are too large, or the "
    "rewards are"
)


cdef int _raise_for(fpg_status status, _Interrupt interrupt, str where, Environment env=None) except -1:
    if status == FPG_OK:
        return 0
    if FPG_STATUS_KIND(status) == FPG_ENVIRONMENT_FAILED:
        raise env.failure(status, where)
    if FPG_STATUS_KIND(status) == FPG_NO_ALLOWED_ACTION:
        raise env.nothing_allowed(FPG_STATUS_WHICH(status), where)
    if status == FPG_INTERRUPTED:  # without an exception it was told to Ranks
        raise KeyboardInterrupt() if interrupt.raised is None else interrupt.raised
    if status == FPG_OTHER_RANK:
        raise OtherRank()
    if status == FPG_NO_MEMORY:
        raise MemoryError(f"{where}: out of memory")
    if status == FPG_ENDLESS_EPISODE:
        from fastpg.errors import endless
        raise endless(where, FPG_LONGEST_EPISODE)
    if status == FPG_NO_ROWS:
        raise ValueError(f"{where}: batch has no transition: its mask is False everywhere")
    if status == FPG_BAD_ACTION:
        raise ValueError(f"{where}: actions has an entry that is none of its component's categories")
    named = (env.name if env is not None else "") or "the environment"
    what = {
        FPG_NONFINITE_THETA: "a parameter of the policy (theta) is NaN or infinite",
        FPG_NONFINITE_OUTPUT: "the policy's output is NaN or infinite: an observation is not finite, or the parameters "
                              "are too large",
        FPG_NONFINITE_REWARD: f"{named} returned a reward that is NaN or infinite, or too large for float32",
        FPG_NONFINITE_GRADIENT: "the gradient is NaN or infinite, or too large for the optimizer to square",
        FPG_NONFINITE_VALUE_THETA: "a parameter of the value function is NaN or infinite",
        FPG_NONFINITE_VALUE: NONFINITE_VALUE,
        FPG_LOG_STD_RANGE: f"a log_std of the policy is not in -{FPG_MAX_LOG_STD} .. {FPG_MAX_LOG_STD}: its standard deviation, "
                           "or the inverse, is too small for float32",
    }[status]
    raise FloatingPointError(f"{where}: {what}")


cdef _require(bint condition, str sentence):
    if not condition:
        raise ValueError(sentence)
