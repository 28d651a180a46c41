"""A `jit_env`, compiled or in plain Python, as the environment that the core runs."""

from typing import Any, Protocol

from fastpg import _core
from fastpg.envs.custom.jit_definition import Definition


class Functions(Protocol):
    """The functions of a fpg_environment."""

    @property
    def data(self) -> int:
        """Return what env->data has to be."""

    def addresses(self) -> tuple[int, ...]:
        """Return where reset, step, observe, and mask where there is one, are."""

    def explain(self, where: str, function: str, returned: int) -> BaseException:
        """Return the exception that stopped the core."""


def environment(
    definition: Definition, functions: Functions, core_params: tuple[float, ...], max_episode_steps: int
) -> _core.Environment:
    """Return the environment as the core runs it; it keeps its functions."""
    low, high = definition.action_bounds
    reset, step, observe, *mask = functions.addresses()
    made: Any = _core.Functions(
        state_size=definition.num_fields,
        obs_size=definition.obs_size,
        action_size=definition.actions.size,
        reset_noise_size=definition.reset_noise_size + definition.num_params,
        step_noise_size=definition.step_noise_size,
        obs_categories=definition.observations.categories,
        action_categories=definition.actions.categories,
        action_low=low,
        action_high=high,
        reset=reset,
        step=step,
        observe=observe,
        data=functions.data,
        keep=functions,
        explain=functions.explain,
        mask=mask[0] if mask else 0,
    )
    return _core.Environment(definition.name, core_params, max_episode_steps, functions=made)
