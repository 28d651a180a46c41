"""What runs iterations: the core's trainer, or one that does the same where Python steps the environment."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.algorithms import Algorithm
from fastpg.batches.collector import Collector
from fastpg.distributed.ranks import Ranks
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.native.registry import NativeEnv
from fastpg.errors import in_iteration, without_place
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.agent import bootstraps, core_agent
from fastpg.training.begin import COLLECTIONS

DRAWS = "collector.draws"  # in the state of a run on environments that Python steps


def make_trainer(
    env: NativeEnv | GymnasiumEnv,
    algorithm: Algorithm,
    policy: Policy,
    value: ValueFunction | None,
    config: Mapping[str, Any],
    **untrained: bool,
) -> "_core.Trainer | GymnasiumTrainer":
    """Return what runs iterations, by the settings of a `TrainResult.config`."""
    names = ("seed", "total_steps", "target_return", *COLLECTIONS)
    agent = core_agent(algorithm, policy, value, **{name: config[name] for name in names}, **untrained)
    if isinstance(env, GymnasiumEnv):
        return GymnasiumTrainer(env, agent, wants_final=bootstraps(algorithm))
    return _core.Trainer(env.core, agent, num_envs=config["num_envs"])


class GymnasiumTrainer:
    """Does with an environment that Python steps what `_core.Trainer` does with a native one."""

    _ranks: Ranks | None = None

    def __init__(self, env: GymnasiumEnv, agent: _core.Agent, *, wants_final: bool) -> None:
        self.agent = agent
        self._num_envs = env.all_envs
        self._collector = Collector(env, agent.net, agent.seed, wants_final=wants_final)

    def share(self, ranks: Ranks) -> None:
        """Run iterations together with other ranks from now on, each of which steps its own environments."""
        self._ranks = self._collector.ranks = ranks
        self.agent.share(ranks.core)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that the agent is, and how many actions were drawn; environments cannot be asked."""
        return self.agent.state() | {DRAWS: np.array([self._collector.draws])}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on with the agent of a state, and with environments that begin anew."""
        self.agent.set_state(state)
        self._collector.begin_anew(self.agent.seed, int(state[DRAWS][0]))

    def run(
        self,
        seconds: float,
        capacity: int = 16384,
        into: list[NDArray[np.void]] | None = None,
        where: str = "train()",
    ) -> NDArray[np.void]:
        """Run iterations for about `seconds`, at least one; return their STATS_DTYPE records.

        They are appended to `into` as well, also if an exception ends the call.
        Raises FloatingPointError naming `where`, the iteration and what is not finite. The agent has not
        moved in an iteration that fails; the environments stand where they were stepped to.
        """
        end = time.perf_counter() + seconds
        records: list[NDArray[np.void]] = []
        while not self.agent.stopped_because:
            goes_on = len(records) < capacity and (not records or time.perf_counter() < end)
            if self._ranks is not None:
                goes_on = self._ranks.core.go_on(goes_on, self.agent.check)
            if not goes_on:
                break
            records.append(self._iterate(where))
            if into is not None:
                into.append(records[-1])
        return np.concatenate(records) if records else np.empty(0, _core.STATS_DTYPE)

    def _iterate(self, where: str) -> NDArray[np.void]:
        start = time.perf_counter()
        try:
            rows = self._collector.collect(self.agent.theta, **self.agent.next_collect(self._num_envs))
            record = self.agent.update(rows.of(self.agent.net), where)
        except FloatingPointError as error:
            place = in_iteration(where, self.agent.num_iterations)
            raise FloatingPointError(f"{place}: {without_place(error)}") from error
        record["seconds"] = time.perf_counter() - start
        return record
