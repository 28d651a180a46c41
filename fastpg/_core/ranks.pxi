# ranks.pxi - processes that train one agent together.

class OtherRank(Exception):
    """Another rank stopped, or is gone: `Ranks` says which."""


cdef class Ranks:
    """What a communicator is to the core, which asks for nothing but `allgather`."""
    cdef fpg_ranks *ranks
    cdef object communicator
    cdef tuple message  # that was sent last, with what it was answered
    cdef readonly object lost
    cdef readonly int rank, size

    def __cinit__(self, communicator, int rank, int size, int64_t least_work):
        _require(0 <= rank < size, "rank must be in 0 .. size - 1")
        self.communicator, self.rank, self.size = communicator, rank, size
        self.ranks = fpg_ranks_new(rank, size, least_work, _gather, <void *>self)
        if self.ranks == NULL:
            raise MemoryError("no memory for the messages of ranks")

    def __dealloc__(self):
        fpg_ranks_free(self.ranks)

    @property
    def is_over(self):
        return bool(fpg_ranks_is_over(self.ranks))

    @property
    def is_torn(self):
        return bool(fpg_ranks_is_torn(self.ranks))

    @property
    def failed(self):
        cdef int32_t rank = fpg_ranks_failed(self.ranks)
        return rank, "" if rank < 0 else (<fpg_greeting *>fpg_ranks_greetings(self.ranks))[rank].text.decode("utf-8", "replace")

    def interrupt(self):
        fpg_ranks_interrupt(self.ranks)

    cdef int meet(self, fpg_meeting kind, int64_t number, uint64_t check, bytes text) except -1:
        cdef fpg_greeting greeting
        cdef fpg_status status
        memset(&greeting, 0, sizeof(greeting))
        greeting.kind, greeting.number, greeting.check = kind, number, check
        text = text[:sizeof(greeting.text) - 1]
        memcpy(greeting.text, <char *>text, len(text))
        with nogil:
            status = fpg_ranks_meet(self.ranks, &greeting)
        _raise_for(status, _Interrupt(), "train()")
        return 0

    def go_on(self, bint wants, uint64_t check):
        self.meet(FPG_ITERATION, wants, check, b"")
        return fpg_ranks_greetings(self.ranks)[0].number != 0

    def finish(self):
        self.meet(FPG_DONE, 0, 0, b"")

    def fail(self, str why):
        self.meet(FPG_FAILED, 0, 0, why.encode())

    def exchange(self, bytes message):
        self.meet(FPG_MESSAGE, len(message), 0, b"")
        sizes = [fpg_ranks_greetings(self.ranks)[k].number for k in range(self.size)]
        cdef int64_t most = max(max(sizes), 1)
        cdef fpg_status status
        send = numpy.zeros(most, numpy.uint8)
        send[:len(message)] = numpy.frombuffer(message, numpy.uint8)
        receive = numpy.empty((self.size, most), numpy.uint8)
        self.message = send, receive
        cdef uint8_t[::1] first = send
        cdef uint8_t[:, ::1] rows = receive
        with nogil:
            status = fpg_ranks_gather(self.ranks, most, &first[0], &rows[0, 0])
        _raise_for(status, _Interrupt(), "train()")
        return [row[:size].tobytes() for row, size in zip(receive, sizes)]


cdef int _gather(void *context, int64_t num_bytes, const void *send, void *receive) noexcept with gil:
    ranks = <Ranks>context
    try:
        ranks.communicator.allgather(numpy.asarray(<uint8_t[:num_bytes]>(<uint8_t *>send)),
                                     numpy.asarray(<uint8_t[:ranks.size, :num_bytes]>(<uint8_t *>receive)))
        return 0
    except BaseException as exception:
        ranks.lost = exception
        if not isinstance(exception, Exception):  # the communicator may still be at work with the memory
            Py_INCREF(ranks)
        return 1
