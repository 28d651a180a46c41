# exclusive.pxi - what does the work of one call at a time.

cdef extern from *:
    """
    #include <stdatomic.h>
    typedef atomic_uint fpg_owner;

    /* wanted, if the owner was the expected one; returns who it was. */
    static unsigned fpg_owner_exchange(fpg_owner *owner, unsigned expected, unsigned wanted)
    {
        atomic_compare_exchange_strong(owner, &expected, wanted);
        return expected;
    }
    static void fpg_owner_leave(fpg_owner *owner) { atomic_store_explicit(owner, 0, memory_order_release); }
    """
    ctypedef unsigned fpg_owner
    unsigned fpg_owner_exchange(fpg_owner *, unsigned, unsigned)
    void fpg_owner_leave(fpg_owner *)


cdef unsigned this_process = 1  # counted along the forks that lead to it


def _after_fork():
    global this_process
    this_process += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


cdef class Exclusive:
    cdef fpg_owner owner  # the process of the call that has it; 0: nobody

    cdef str what(self):
        return type(self).__name__

    @cython.final
    cdef int take(self, str where) except -1:
        cdef unsigned before = fpg_owner_exchange(&self.owner, 0, this_process)
        if before == 0:
            return 0
        if before == this_process or fpg_owner_exchange(&self.owner, before, this_process) != before:
            raise ValueError(f"{where}: this {self.what()} is at work in another thread, and serves one at a time; give each "
                             "thread its own")
        try:  # a thread of the parent had it, which does not exist in this process
            self.recover(where)
        except BaseException:
            self.owner = before
            raise
        return 0

    @cython.final
    cdef void leave(self) noexcept:
        fpg_owner_leave(&self.owner)

    cdef recover(self, str where):
        """After a fork in the middle of a call: what the call was writing may be torn."""
        raise RuntimeError(f"{where}: this {self.what()} was at work in another thread when the process was forked, and cannot "
                           "be used in the child; make a new one")

    def turn(self, str where):
        return Turn(self, where)


cdef class Turn:
    cdef Exclusive of
    cdef str where

    def __cinit__(self, Exclusive of, str where):
        self.of, self.where = of, where

    def __enter__(self):
        self.of.take(self.where)

    def __exit__(self, kind, error, traceback):
        self.of.leave()
