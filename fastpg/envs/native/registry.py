"""Which environments the compiled core implements, and how Gymnasium's own become kernels.

Everything that Gymnasium knows about an environment (spaces, limits, defaults, transitions) is read from
its own class, so that it cannot drift. A new environment is one header in csrc/envs/ and one entry in
a file beside this one.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.spaces import Space
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg.envs.custom.custom import CustomEnv
from fastpg.envs.native.finite import FiniteMDP

USE_ACTION_MASK = "use_action_mask"  # a parameter that every environment has: see `take_use_action_mask`
DEFAULT_NUM_ENVS = 1024  # side by side, where nobody says how many
EnvLike = str | FiniteMDP | CustomEnv  # what is accepted wherever an environment is named


def _show_state(original: Any, state: NDArray[np.float64], obs: Any, action: Any) -> None:
    original.state = state


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """A native environment, under its Gymnasium id.

    Its kernel reads `parameters` and then the values of `reset_options` as params[0], params[1], ...
    """

    id: str
    kernel: str  # the name of its dynamics in csrc/envs/
    # What its constructor takes: defaults. The kernel gets a bool as 0 or 1, a choice as its position.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of parameters that are strings
    # Of parameters whose default does not tell what is right: (where, name, value) -> the value, or an error.
    checks: Mapping[str, Callable[[str, str, Any], Any]] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()  # parameters that Gymnasium keeps as attributes of its class
    reset_options: Mapping[str, float] = field(default_factory=dict)  # reset(options=...): defaults
    # Puts what a renderer looks at into Gymnasium's environment: (it, one environment's state (state_size,),
    # its observation, its episode's last action or None).
    show: Callable[[Any, NDArray[np.float64], Any, Any], None] = _show_state
    # For the kernel "tabular": Gymnasium's environment -> the table; -> the infos of each of its states, by
    # name, (num_states, ...); and whether info["prob"] is there: state[1].
    table: Callable[[gymnasium.Env[Any, Any]], _core.Table] | None = None
    infos: Callable[[gymnasium.Env[Any, Any]], Mapping[str, NDArray[Any]]] | None = None
    prob_info: bool = False

    @property
    def gymnasium_spec(self) -> Any:
        """Return what Gymnasium's registry holds under this id."""
        return gymnasium.registry[self.id]


@dataclass(frozen=True, slots=True)
class NativeEnv:
    """A native environment with its parameters set: what everything that runs one needs."""

    spec: EnvSpec
    core: _core.Environment
    original: gymnasium.Env[Any, Any]  # Gymnasium's own, with the same parameters: spaces, renderer
    settings: tuple[float, ...]  # the parameters as the kernel reads them, without the reset options

    @property
    def id(self) -> str:
        """Return its Gymnasium id."""
        return self.spec.id

    @property
    def env_id(self) -> str:
        """Return the id under which it can be made again."""
        return self.spec.id

    @property
    def observation_space(self) -> Space[Any]:
        """Return the space of one observation."""
        return self.original.observation_space

    @property
    def action_space(self) -> Space[Any]:
        """Return the space of one action."""
        return self.original.action_space


_SPECS: dict[str, EnvSpec] = {}
_VERSION = re.compile(r"-v(\d+)$")


def add_specs(*specs: EnvSpec) -> None:
    """Add environments; those that the installed Gymnasium does not have are left out."""
    _SPECS.update({spec.id: spec for spec in specs if spec.id in gymnasium.registry})


def list_envs() -> list[str]:
    """Return the ids of the environments that are implemented natively.

    Examples
    --------
    >>> "CartPole-v1" in list_envs()
    True
    """
    return sorted(_SPECS)


def env_spec(where: str, env_id: Any) -> EnvSpec:
    """Look an environment up; a wrong id is a ValueError that lists the right ones."""
    if not isinstance(env_id, str):
        hint = "; decorate it with fastpg.jit_env(...)" if isinstance(env_id, type) else ""
        raise TypeError(
            f"{where}: env_id must be a string, or an environment that FiniteMDP, jit_env or load_env made, "
            f"got {_check.shown(env_id)}{hint}"
        )
    name = _native_name(env_id)
    if name not in _SPECS:
        registered = (known for known in gymnasium.registry if known.startswith("fastpg/"))  # MuJoCo's too
        close = closest_id(name, [*_SPECS, *map(_native_name, registered)])
        hint = f"did you mean {close!r}? " if close else ""
        raise ValueError(
            f"{where}: env_id {env_id!r} is not implemented natively; {hint}"
            f"fastpg.list_envs() has {', '.join(list_envs())}"
        )
    return _SPECS[name]


def is_native(env_id: Any) -> bool:
    """Return whether `native_env` knows what this is."""
    if isinstance(env_id, str):
        return _native_name(env_id) in _SPECS
    return isinstance(env_id, FiniteMDP | CustomEnv)


def _native_name(env_id: str) -> str:
    """Return "CartPole-v1" of "fastpg/CartPole-v1" and "fastpg:fastpg/CartPole-v1", as Gymnasium knows it."""
    return env_id.removeprefix("fastpg:").removeprefix("fastpg/")


def closest_id(env_id: str, known: Iterable[str]) -> str | None:
    """Return the id that was meant, if one is close: in another case, of another version, or misspelled.

    Examples
    --------
    >>> closest_id("cartpole", ["CartPole-v0", "CartPole-v1", "Pendulum-v1"])
    'CartPole-v1'
    """
    names = list(known)

    def in_any_case(name: str) -> str:
        return name.lower()

    def of_any_version(name: str) -> str:
        return _VERSION.sub("", name.lower())

    def of_any_namespace(name: str) -> str:
        return of_any_version(name).rpartition("/")[2]

    for key in (in_any_case, of_any_version, of_any_namespace):
        same = [name for name in names if key(name) == key(env_id)]
        if same:
            return max(same, key=_version)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(env_id.lower(), lowered, n=1)
    return lowered[close[0]] if close else None


def _version(env_id: str) -> int:
    found = _VERSION.search(env_id)
    return int(found[1]) if found else -1


def native_env(
    where: str, env_id: Any, params: Mapping[str, Any], *, max_episode_steps: int | None = None
) -> NativeEnv:
    """Look an environment up and make its kernel; parameters that are not given take their defaults.

    `max_episode_steps` None is that of the parameters, or else the limit under which Gymnasium registers the
    id, or the environment's own; 0 is none.
    """
    params, use_mask = take_use_action_mask(where, params)
    own_limit = params.pop("max_episode_steps", None)
    if own_limit is not None:
        own_limit = _check.integer(where, "max_episode_steps", own_limit, 0, 2**31 - 1)
    if max_episode_steps is None:
        max_episode_steps = own_limit
    if isinstance(env_id, FiniteMDP):
        env = _finite(where, env_id, params, max_episode_steps)
    elif isinstance(env_id, CustomEnv):
        env = _custom(where, env_id.changed(where, params), max_episode_steps)
    else:
        env = _registered(where, env_spec(where, env_id), params, max_episode_steps, bool(use_mask))
    if use_mask and not env.core.has_action_mask:
        raise ValueError(f"{where}: {USE_ACTION_MASK} is True, but {env.id} has no action mask")
    if use_mask is False:
        env.core.drop_action_mask()
    return env


def take_use_action_mask(where: str, params: Any) -> tuple[dict[str, Any], bool | None]:
    """Return the parameters of an environment without `use_action_mask`, and that; None if it is not given.

    True asks for the mask that an environment reports in ``info["action_mask"]``. A mask that is one of its
    functions, or arrays, is used anyway, but for False.
    """
    others = _check.mapping(where, "env_params", params)
    use_mask = others.pop(USE_ACTION_MASK, None)
    return others, None if use_mask is None else _check.boolean(where, USE_ACTION_MASK, use_mask)


def _registered(
    where: str, spec: EnvSpec, params: Mapping[str, Any], max_episode_steps: int | None, use_mask: bool
) -> NativeEnv:
    """Make the kernel of an environment that Gymnasium registers."""
    unknown = sorted(set(params) - set(spec.parameters))
    if unknown:
        raise TypeError(
            f"{where}: unexpected argument {unknown[0]!r}; "
            f"the parameters of {spec.id} are: {', '.join([*spec.parameters, 'max_episode_steps'])}"
            + ("; pass its entries themselves, as keyword arguments" if unknown[0] == "env_params" else "")
        )
    values = {name: _parameter(where, spec, name, value) for name, value in params.items()}
    original = _original(where, spec, values)
    if max_episode_steps is None:
        max_episode_steps = spec.gymnasium_spec.max_episode_steps or 0
    if spec.table is not None:
        table = spec.table(original)
        if use_mask and spec.infos is not None:
            table = table._replace(action_mask=spec.infos(original)["action_mask"])
        return NativeEnv(spec, _core.Environment(spec.kernel, (), max_episode_steps, table), original, ())
    settings = tuple(
        float(spec.choices[name].index(value) if name in spec.choices else value)
        for name, value in (dict(spec.parameters) | values).items()
    )
    kernel_params = (*settings, *spec.reset_options.values())
    core = _core.Environment(spec.kernel, kernel_params, max_episode_steps)
    return NativeEnv(spec, core, original, settings)


def _finite(
    where: str, mdp: FiniteMDP, params: Mapping[str, Any], max_episode_steps: int | None
) -> NativeEnv:
    """Make the kernel of an environment that is given as arrays."""
    if params:
        raise TypeError(f"{where}: unexpected argument {min(params)!r}; a FiniteMDP has no parameters")
    limit = mdp.max_episode_steps if max_episode_steps is None else max_episode_steps
    table = mdp.table()
    states, actions, _ = table.cumulative.shape
    spaces = _only_spaces(gymnasium.spaces.Discrete(states), gymnasium.spaces.Discrete(actions))
    core = _core.Environment("tabular", (), limit, table)
    return NativeEnv(EnvSpec(mdp.name, "tabular"), core, spaces, ())


def _custom(where: str, env: CustomEnv, max_episode_steps: int | None) -> NativeEnv:
    """Make the kernel of an environment whose functions were compiled elsewhere."""
    limit = env.max_episode_steps if max_episode_steps is None else max_episode_steps
    spaces = _only_spaces(env.observation_space, env.action_space)
    return NativeEnv(EnvSpec(env.name, ""), env.core(where, limit), spaces, env.core_params)


def _only_spaces(observation_space: Space[Any], action_space: Space[Any]) -> Any:
    """Return an environment of Gymnasium's that there is nothing to render, step or reset in."""
    original: gymnasium.Env[Any, Any] = gymnasium.Env()
    original.observation_space, original.action_space = observation_space, action_space
    return original


def _parameter(where: str, spec: EnvSpec, name: str, value: Any) -> Any:
    """Check a parameter as its spec says, or by the kind of its default."""
    if name in spec.checks:
        return spec.checks[name](where, name, value)
    default = spec.parameters[name]
    if isinstance(default, bool):
        return _check.boolean(where, name, value)
    if name in spec.choices:
        return _check.choice(where, name, value, spec.choices[name])
    if isinstance(default, float):
        number = _check.real(where, name, value, "(-inf, inf)")
        if not math.isfinite(number):
            raise ValueError(f"{where}: {name} must be finite, got {number}")
        return number
    return value  # Gymnasium's constructor judges it


def _original(where: str, spec: EnvSpec, values: Mapping[str, Any]) -> Any:
    """Make Gymnasium's own environment, without wrappers."""
    constructor = {name: value for name, value in values.items() if name not in spec.attributes}
    try:
        registered = spec.gymnasium_spec
        entry: Any = registered.entry_point
        creator: Any = entry if callable(entry) else load_env_creator(entry)
        original: Any = creator(**{**registered.kwargs, **constructor})
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{where}: Gymnasium's {spec.id} does not accept {dict(constructor)}: {error!r}"
        ) from error
    for name in spec.attributes & set(values):
        setattr(original, name, values[name])
    return original
