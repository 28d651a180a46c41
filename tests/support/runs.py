"""Results of runs, compared."""


def check_equal(run, other):
    """Require the same bits, but for the time that was taken."""
    assert run.policy.theta.tobytes() == other.policy.theta.tobytes()
    assert (run.value is None) == (other.value is None)
    if run.value is not None:
        assert run.value.theta.tobytes() == other.value.theta.tobytes()
    assert (run.config, run.stopped_because, run.num_steps, run.error) == (
        other.config, other.stopped_because, other.num_steps, None
    )  # fmt: skip
    assert run.history.keys() == other.history.keys()
    for name in run.history.keys() - {"seconds"}:
        assert run.history[name].tobytes() == other.history[name].tobytes(), name
