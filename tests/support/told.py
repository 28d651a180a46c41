"""A callback that notes what it is told."""

from fastpg.callbacks import Callback


class Told(Callback):
    """Notes what it is told, and does as it is asked."""

    def __init__(self, every=None, stop_at=None, fail_at=(), log=None):
        self.every, self.stop_at, self.fail_at = every, stop_at, fail_at
        self.log = [] if log is None else log

    def note(self, what, progress):
        self.log.append((what, progress.num_steps))
        if what in self.fail_at:
            raise RuntimeError(f"at the {what}")

    def on_training_start(self, progress):
        self.note("start", progress)

    def __call__(self, progress):
        self.note("call", progress)
        return self.stop_at is not None and progress.num_steps >= self.stop_at

    def on_training_end(self, progress):
        self.note("end", progress)
