"""Ranks that are threads of one process: what they send to each other is all they share."""

import threading

import numpy as np

SECONDS = 60


class Meeting:
    """Where the threads put their bytes."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size)
        self.sent = [b""] * size


class Thread:
    """One of them."""

    def __init__(self, meeting, rank):
        self.meeting, self.rank, self.size = meeting, rank, meeting.size
        self.messages = self.closed = 0
        self.before = lambda count: None  # called with the number of messages so far

    def allgather(self, send, receive):
        self.before(self.messages)
        self.messages += 1
        self.meeting.sent[self.rank] = send.tobytes()
        self.meeting.barrier.wait(SECONDS)
        assert {len(one) for one in self.meeting.sent} == {send.size}, "messages of several sizes"
        assert receive.shape == (self.size, send.size)
        for row, one in zip(receive, self.meeting.sent, strict=True):
            row[:] = np.frombuffer(one, np.uint8)
        self.meeting.barrier.wait(SECONDS)

    def close(self):
        self.closed += 1
        self.meeting.barrier.abort()


def of_all(size, function):
    """Call function(communicator) in a thread for each rank; return what they return, or raise."""
    meeting, outcomes = Meeting(size), [None] * size

    def work(rank):
        try:
            outcomes[rank] = function(Thread(meeting, rank))
        except BaseException as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(2 * SECONDS)
    assert not any(one.is_alive() for one in threads), "a rank waits for ever"
    return outcomes
