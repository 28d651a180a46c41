# returns.pxi - returns and advantages on arrays that the caller has.
#
# Arrays come in through the buffer protocol by hand: one path serves both dtypes, any strides, one and two dimensions,
# and a memoryview of each would cost more than a small estimate does.

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.float cimport FLT_MAX
from libc.stdint cimport uintptr_t


cdef extern from "fastpg.h" nogil:
    ctypedef enum fpg_returns_kind:
        FPG_RETURNS, FPG_EPISODE_RETURNS, FPG_NSTEP_RETURNS, FPG_TD_ERRORS, FPG_GAE, FPG_VTRACE

    ctypedef struct fpg_array:
        void *data
        int64_t step_stride, env_stride

    enum: FPG_REWARDS, FPG_VALUES, FPG_FINAL_VALUES, FPG_LOG_RHOS, FPG_OUT, FPG_OUT_2, FPG_TERMINATED, FPG_TRUNCATED, FPG_MASK

    ctypedef struct fpg_transitions:
        fpg_returns_kind kind
        int is_double, bootstrap_truncated
        int64_t num_steps, num_envs, n
        double gamma, lam, rho_bar, c_bar
        fpg_array *arrays
        fpg_array last_values

    fpg_status fpg_returns_on_arrays(const fpg_transitions *, fpg_poll)


ESTIMATES = {"returns": FPG_RETURNS, "episode_returns": FPG_EPISODE_RETURNS, "nstep_returns": FPG_NSTEP_RETURNS,
             "td_errors": FPG_TD_ERRORS, "gae": FPG_GAE, "vtrace": FPG_VTRACE}
cdef object ndarray = numpy.ndarray
cdef object MaskedArray = numpy.ma.MaskedArray
cdef object empty = numpy.empty


class Misfit(ValueError):
    """An argument does not fit, or a number is not finite; fastpg._check finds the sentence."""


cdef class _Transitions:
    """The views of one call's arrays, held until it is over."""
    cdef fpg_transitions transitions
    cdef Py_buffer[12] views
    cdef int count, ndim
    cdef char code  # of the real arrays: f or d

    def __dealloc__(self):
        for i in range(self.count):
            PyBuffer_Release(&self.views[i])

    cdef Py_buffer *take(self, array) except NULL:
        if type(array) is not ndarray and (not isinstance(array, ndarray) or isinstance(array, MaskedArray)):
            raise Misfit()
        cdef Py_buffer *view = &self.views[self.count]
        PyObject_GetBuffer(array, view, PyBUF_STRIDES | PyBUF_FORMAT)
        self.count += 1
        return view

    cdef int shape(self, rewards) except -1:
        """Take the first array, to which the others must fit."""
        cdef Py_buffer *view = self.take(rewards)
        self.code = _code(view)
        self.ndim = view.ndim
        if not (self.code == c"f" or self.code == c"d") or not 1 <= self.ndim <= 2:
            raise Misfit()
        self.transitions.is_double = self.code == c"d"
        self.transitions.num_steps = view.shape[0]
        self.transitions.num_envs = view.shape[1] if self.ndim == 2 else 1
        if view.shape[0] == 0 or self.transitions.num_envs == 0:
            raise Misfit()
        self.put(FPG_REWARDS, view, self.code)
        return 0

    cdef int put(self, int which, Py_buffer *view, char code) except -1:
        cdef fpg_array *array = &self.transitions.arrays[which]
        if _code(view) != code or view.ndim != self.ndim:
            raise Misfit()
        if view.shape[0] != self.transitions.num_steps or (self.ndim == 2 and view.shape[1] != self.transitions.num_envs):
            raise Misfit()
        array.data = view.buf
        array.step_stride = view.strides[0]
        array.env_stride = view.strides[1] if self.ndim == 2 else view.itemsize
        return 0

    cdef int reals(self, int which, array) except -1:
        if array is not None:
            self.put(which, self.take(array), self.code)
        return 0

    cdef int flags(self, int which, array) except -1:
        if array is not None:
            self.put(which, self.take(array), c"?")
        return 0

    cdef int last_values(self, array) except -1:
        cdef Py_buffer *view
        if array is None:
            return 0
        if self.ndim == 1:  # one environment, one number
            if type(array) is float or type(array) is int:
                if self.code == c"f" and FLT_MAX < abs(array) < float("inf"):
                    raise Misfit()
                array = numpy.asarray(array, chr(self.code))
            elif isinstance(array, numpy.floating):
                array = numpy.asarray(array)
        view = self.take(array)
        if _code(view) != self.code or view.ndim != self.ndim - 1:
            raise Misfit()
        if view.ndim == 1 and view.shape[0] != self.transitions.num_envs:
            raise Misfit()
        self.transitions.last_values.data = view.buf
        self.transitions.last_values.env_stride = view.strides[0] if view.ndim == 1 else 0
        return 0

    cdef object output(self, int which, out, rewards):
        """An array to write to, the caller's or a new one."""
        if out is None:
            result = empty(rewards.shape, "f" if self.code == c"f" else "d")
            self.put(which, self.take(result), self.code)
            return result
        cdef int before = self.count
        cdef Py_buffer *view = self.take(out)
        self.put(which, view, self.code)
        if view.readonly or _overlaps_itself(view):
            raise Misfit()
        for i in range(before):
            if _bounds_meet(view, &self.views[i]) and numpy.shares_memory(out, <object>self.views[i].obj):
                raise Misfit()
        return out


cdef char _code(Py_buffer *view) noexcept:
    """The one letter of a native dtype; NumPy puts = before it where entries are not aligned. 0 for any other."""
    cdef const char *format = view.format + (view.format[0] == c"=")
    return format[0] if format[0] != 0 and format[1] == 0 else 0


cdef bint _bounds_meet(Py_buffer *a, Py_buffer *b) noexcept:
    return _bound(a, False) < _bound(b, True) and _bound(b, False) < _bound(a, True)


cdef bint _overlaps_itself(Py_buffer *view) noexcept:
    """Whether entries may share memory, as in a broadcast view; see fastpg._check.overlaps_itself."""
    cdef int small = 0 if view.ndim == 1 or abs(view.strides[0]) < abs(view.strides[1]) else 1
    cdef Py_ssize_t extent = view.itemsize
    for k in (small, 1 - small):
        if k < view.ndim and view.shape[k] > 1:
            if abs(view.strides[k]) < extent:
                return True
            extent += abs(view.strides[k]) * (view.shape[k] - 1)
    return False


cdef uintptr_t _bound(Py_buffer *view, bint upper) noexcept:
    """The lowest address of a view's entries, or one past the highest."""
    cdef Py_ssize_t offset = view.itemsize if upper else 0
    for k in range(view.ndim):
        if (view.strides[k] > 0) == upper:
            offset += (view.shape[k] - 1) * view.strides[k]
    return <uintptr_t>view.buf + <uintptr_t>offset


def estimate(str name, rewards, values, terminated, truncated, log_rhos, last_values, final_values, mask,
             bint bootstrap_truncated, double gamma, double lam, double rho_bar, double c_bar, int64_t n, out):
    cdef _Transitions arrays = _Transitions()
    cdef fpg_transitions *transitions = &arrays.transitions
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    transitions.kind = ESTIMATES[name]
    transitions.bootstrap_truncated = bootstrap_truncated
    transitions.gamma, transitions.lam, transitions.rho_bar, transitions.c_bar = gamma, lam, rho_bar, c_bar
    transitions.n = n
    if terminated is None or truncated is None:
        raise Misfit()
    arrays.shape(rewards)
    arrays.flags(FPG_TERMINATED, terminated)
    arrays.flags(FPG_TRUNCATED, truncated)
    arrays.flags(FPG_MASK, mask)
    arrays.reals(FPG_VALUES, values)
    arrays.reals(FPG_FINAL_VALUES, final_values)
    arrays.reals(FPG_LOG_RHOS, log_rhos)
    arrays.last_values(last_values)
    if transitions.kind == FPG_GAE or transitions.kind == FPG_VTRACE:
        if out is None:
            out = (None, None)
        elif type(out) is not tuple or len(out) != 2 or out[0] is None or out[1] is None:
            raise Misfit()
        result = (arrays.output(FPG_OUT, out[0], rewards), arrays.output(FPG_OUT_2, out[1], rewards))
    else:
        result = arrays.output(FPG_OUT, out, rewards)
    with nogil:
        status = fpg_returns_on_arrays(transitions, poll)
    if status == FPG_NONFINITE_ESTIMATE or status == FPG_NO_FINAL_VALUES:
        raise Misfit()
    _raise_for(status, interrupt, name)
    return result
