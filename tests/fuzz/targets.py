"""Everything that is fuzzed, by name, and how it is run."""

import contextlib
import resource
import tempfile

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from fastpg.envs.mujoco.engine import is_installed

from . import (
    calls_agents,
    calls_envs,
    calls_files,
    calls_many,
    calls_policies,
    calls_returns,
    calls_runs,
    judge,
    sequences,
    values,
)

CALLS = {
    **calls_returns.CALLS,
    **calls_policies.CALLS,
    **calls_envs.CALLS,
    **calls_runs.CALLS,
    **calls_agents.CALLS,
    **calls_files.CALLS,
    **calls_many.CALLS,
}
if not values.ASAN:  # which torch does not run under
    from . import calls_torch

    CALLS |= calls_torch.CALLS
    if is_installed():
        from . import calls_mujoco

        CALLS |= calls_mujoco.CALLS
MACHINES = sequences.MACHINES
MEMORY = 8 << 30  # bytes of addresses: what asks for more is refused, and not by the system's killer


def explore(name, examples, with_seed=None):
    """Make so many calls of a kind; without a seed the same every time. Raises the smallest Fault."""
    if name in MACHINES:
        explore_machine(MACHINES[name], max(1, examples // 4), with_seed)
        return

    @given(st.data())
    def test(data):
        judge.try_call(name, CALLS[name], data)

    if with_seed is not None:
        test = seed(with_seed)(test)
    options(max(1, round(examples * CALLS[name].share)), with_seed)(test)()


def explore_machine(machine, examples, with_seed):
    """Make so many sequences of calls."""
    if with_seed is not None:
        machine._hypothesis_internal_use_seed = with_seed  # what @seed sets on a test
    run_state_machine_as_test(machine, settings=options(examples, with_seed))


def options(examples, with_seed):
    """Return settings in which a failure is shrunk and no example is kept on disk."""
    return settings(
        max_examples=examples,
        stateful_step_count=20,
        derandomize=with_seed is None,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@contextlib.contextmanager
def confined():
    """Let no call have all the memory there is, and let files whose names are odd be written elsewhere."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    if not values.ASAN:  # whose own maps are larger
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, before[1]))
    try:
        with tempfile.TemporaryDirectory(prefix="fastpg-fuzz-") as elsewhere, contextlib.chdir(elsewhere):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
