"""Sequences of calls of a VectorEnv: what is refused has changed nothing.

Every accepted call is repeated on a twin, which never hears of a refused one; and on a second twin of another
`copy`. Their results have the same bits.
"""

import gymnasium
import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import fastpg

from . import judge
from .calls_envs import ENVS, ODD_ELAPSED, ODD_OPTIONS, ODD_SEEDS, sample
from .values import numbers, odd, one_of

REFUSALS = (
    TypeError, ValueError, AssertionError, FloatingPointError, MemoryError, fastpg.ResetNeeded, fastpg.EnvError,
    gymnasium.error.ClosedEnvironmentError,
)  # fmt: skip


alive = precondition(lambda self: self.envs)  # they are dropped after a fault


class VectorEnvSequences(RuleBasedStateMachine):
    """A vector environment, and two twins."""

    @initialize(
        which=one_of(ENVS),
        num_envs=one_of([1, 2, 19]),
        autoreset=one_of(["next_step", "same_step", "disabled"]),
        limit=one_of([None, 1, 4]),
        seed=st.integers(0, 9),
    )
    def make(self, which, num_envs, autoreset, limit, seed):
        env_id, params = which
        settings = {"autoreset": autoreset, "max_episode_steps": limit, "seed": seed, **params}
        self.envs = [fastpg.make(env_id, num_envs, copy=copy, **settings) for copy in (True, True, False)]
        self.policy = fastpg.Policy(
            self.envs[0].single_observation_space, self.envs[0].single_action_space, hidden=(3,)
        )
        self.name = (
            f"VectorEnv of {env_id if isinstance(env_id, str) else env_id.name}, {num_envs}, {settings}"
        )

    def do(self, what, call):
        """Make a call of the environment, and if it is accepted of the twins."""
        text = f"{self.name}: {what}"
        judge.COUNTS["sequences"] += 1
        judge.before_call(text)
        with judge.limited():
            try:
                result = call(self.envs[0])
            except REFUSALS as error:
                # A wrong reset mask is one of Gymnasium's AssertionErrors that is of two kinds.
                if type(error) not in judge.DOCUMENTED and not isinstance(error, AssertionError):
                    judge.fail(
                        ("sequences", "raw", type(error).__name__, judge.place(error)), f"{text}: {error!r}"
                    )
                return None
            for twin, kind in zip(
                self.envs[1:], ("that heard of no refused call", "that copies nothing"), strict=True
            ):
                try:
                    other = call(twin)
                except REFUSALS as error:
                    self.envs = []
                    judge.fail(
                        ("sequences", "twin refuses", kind, type(error).__name__),
                        f"{text}: a twin {kind}: {error!r}",
                    )
                    return None
                if not judge.same(other, result):
                    self.envs = []
                    judge.fail(("sequences", "differs", kind), f"{text}: {result}; of a twin {kind}: {other}")
                    return None
        return result

    @alive
    @rule(seed=one_of([None, 0, 7]), masked=st.booleans())
    def reset(self, seed, masked):
        number = self.envs[0].num_envs
        options = {"reset_mask": np.arange(number) % 2 == 0} if masked else None
        self.do(f"reset({seed}, {options})", lambda env: env.reset(seed=seed, options=options))

    @alive
    @rule(seed=ODD_SEEDS, options=ODD_OPTIONS, which=st.integers(0, 2))
    def reset_oddly(self, seed, options, which):
        given = {} if which == 1 else {"seed": seed}
        given |= {} if which == 0 else {"options": options}
        self.do(f"reset({given})", lambda env: env.reset(**given))

    @alive
    @rule(seed=st.integers(0, 9), steps=one_of([1, 1, 1, 5]))
    def step(self, seed, steps):
        actions = sample(self.envs[0], seed)

        def some_steps(env):
            return [env.step(actions.copy())[:4] for _ in range(steps)][-1]

        if steps == 1:
            self.do(f"step({judge.shown(actions)})", lambda env: env.step(actions.copy()))
        elif self.envs[0].metadata["autoreset_mode"].name != "DISABLED":
            self.do(f"{steps} steps({judge.shown(actions)})", some_steps)

    @alive
    @rule(data=st.data(), seed=st.integers(0, 9))
    def step_oddly(self, data, seed):
        actions = data.draw(odd("actions", sample(self.envs[0], seed)))
        if hasattr(actions, "__next__") or (isinstance(actions, np.ndarray) and actions.size > 10**6):
            return
        self.do(f"step({judge.shown(actions)})", lambda env: env.step(actions))

    @alive
    @rule(elapsed=one_of([None, 0, 3]))
    def set_state(self, elapsed):
        number = self.envs[0].num_envs
        state, _ = self.envs[0].get_state()
        steps = None if elapsed is None else np.full(number, elapsed, np.int32)
        self.do(f"set_state(get_state(), {elapsed})", lambda env: env.set_state(state.copy(), steps))

    @alive
    @rule(data=st.data(), elapsed=st.one_of(st.none(), ODD_ELAPSED))
    def set_state_oddly(self, data, elapsed):
        state = data.draw(odd("state", self.envs[0].get_state()[0]))
        if isinstance(state, np.ndarray) and state.size > 10**6:
            return
        self.do(
            f"set_state({judge.shown(state)}, {judge.shown(elapsed)})",
            lambda env: env.set_state(state, elapsed),
        )

    @alive
    @rule(horizon=one_of([1, 3, 8]), seed=one_of([None, 3]))
    def collect(self, horizon, seed):
        def call(env):
            rollout = fastpg.collect(env, self.policy, horizon, seed=seed)
            return [
                rollout.obs,
                rollout.actions,
                rollout.rewards,
                rollout.ends,
                rollout.final_obs,
                rollout.last_obs,
            ]

        self.do(f"collect({horizon}, {seed})", call)

    @alive
    @rule(seed=st.integers(0, 9), horizon=one_of([0, -1, 1.5, "x", None]))
    def collect_oddly(self, seed, horizon):
        policy = self.policy.copy()
        if seed < 5:
            policy.theta[:] = numbers(policy.theta.shape, np.float32, seed, 1e38)
            horizon = 3
        self.do(f"collect({horizon})", lambda env: fastpg.collect(env, policy, horizon))

    @precondition(lambda self: not self.envs)
    @rule()
    def do_nothing(self):
        """There has to be something to do after a fault that was known."""

    def teardown(self):
        if getattr(self, "envs", None):
            self.do("get_state()", lambda env: env.get_state())


MACHINES = {"sequences of VectorEnv calls": VectorEnvSequences}
