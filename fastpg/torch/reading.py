"""What the compiled kernels need to run a module, found out once and checked to hold still.

A module is read layer by layer, down to its parameters, whose memory the core then gets as one vector theta.
"""

import functools
import math
import operator
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from fastpg import _check, _core, spaces
from fastpg.networks.parametric import Activation
from fastpg.torch.memory import require_no_transform
from fastpg.torch.network_module import NetworkModule

ACTIVATIONS: dict[type[nn.Module], Activation] = {nn.Tanh: "tanh", nn.ReLU: "relu"}
VALUE: Space[Any] = Discrete(1)  # stands for the action space where a module is read as a value function
Place = tuple[int, torch.Size, tuple[int, ...]]  # address, shape and strides
SUPPORTED = "Linear layers with Tanh or ReLU between them, alone or in a Sequential"


class NotCompiled(Exception):
    """A module that the kernels do not run, though torch may; `error` says why."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class ModuleParameters:
    """A module as the core takes it."""

    network: _core.Network
    theta: NDArray[np.float32]  # (P,): the parameters' own memory where `shared`, else a copy as of now
    parameters: tuple[Tensor, ...]  # in theta's order: weights and biases by layer, then log_std if any
    shared: bool
    untrainable: str  # the name of a parameter that was made in inference mode, or nothing
    hidden: tuple[int, ...]
    activation: Activation
    observations: spaces.Observations
    actions: spaces.Actions

    def require_trainable(self, where: str) -> None:
        """Raise ValueError if a parameter was made in inference mode, whose tensors autograd never takes."""
        if self.untrainable:
            raise ValueError(
                f"{where}: {self.untrainable} was made under torch.inference_mode(), so that it can never be "
                "trained; make the module outside of it, or take copy.deepcopy(module) outside"
            )


@dataclass(slots=True)
class Reading:
    """What was found out about a module, and how to see that it still holds."""

    given: tuple[Any, ...]  # action_space, observation_space, log_std; the module's attributes
    members: tuple[dict[str, Any], ...]  # of the module and its parts, which would change with its structure
    ids: list[int]  # of what is in these; `held` keeps the ids from being used again
    held: list[Any]
    layers: tuple[nn.Module, ...]  # those among `held`
    places: list[Place]  # of the parameters' data; `data` keeps the memory from being used again
    data: list[NDArray[np.float32]]
    result: ModuleParameters

    def holds(self, module: nn.Module, given: tuple[Any, Any, Any]) -> bool:
        """Return whether a new reading would have the same result, but for the values of parameters."""
        return (
            all(map(operator.is_, self.given, (*given, *_attributes(module))))
            and [id(one) for members in self.members for one in members.values()] == self.ids
            and list(map(_place, self.result.parameters)) == self.places
            and not any("forward" in one.__dict__ for one in (module, *self.layers))
        )


def _place(tensor: Tensor) -> Place:
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _attributes(module: nn.Module) -> tuple[Any, Any, Any]:
    """Return the spaces that a module has, which count where none is given, and whether it squashes."""
    has = module.__dict__.get
    return has("action_space"), has("observation_space"), has("squash", False)


_readings: weakref.WeakKeyDictionary[nn.Module, Reading] = weakref.WeakKeyDictionary()


def read_module(
    where: str,
    module: Any,
    action_space: Space[Any] | None = None,
    *,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
) -> ModuleParameters:
    """Return what the core needs to run a module; `from_module` has the arguments. `where` is the caller."""
    try:
        return read_if_compiled(
            where, module, action_space, observation_space=observation_space, log_std=log_std
        )
    except NotCompiled as found:
        raise found.error from None


def read_if_compiled(
    where: str,
    module: Any,
    action_space: Space[Any] | None = None,
    *,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
) -> ModuleParameters:
    """Do the work of `read_module`; where only torch can run the module, raise NotCompiled.

    What is found out is kept while the module lives, and checked to hold still: by the identity of its layers
    and parameters, and by the addresses of their data.
    """
    require_no_transform(where)
    given = (action_space, observation_space, log_std)
    reading = _readings.get(module) if isinstance(module, nn.Module) else None
    if reading is None or not reading.holds(module, given):
        reading = read_anew(where, module, *given)
        _readings[module] = reading
    if reading.result.shared:
        return reading.result
    return replace(reading.result, theta=np.concatenate(reading.data, axis=None))


def read_for_kernels(
    where: str,
    module: Any,
    action_space: Space[Any] | None,
    observation_space: Space[Any] | None,
    log_std: Tensor | None,
) -> ModuleParameters | None:
    """Do the work of `read_module`, or return None where only torch can run the module."""
    try:
        return read_if_compiled(
            where, module, action_space, observation_space=observation_space, log_std=log_std
        )
    except NotCompiled:
        return None


def is_compiled(where: str, module: Any, log_std: Tensor | None = None) -> bool:
    """Return whether the kernels run a module, if it is a right one; what is wrong is said later."""
    try:
        read_if_compiled(where, module, log_std=log_std)
    except NotCompiled:
        return False
    except (TypeError, ValueError):
        pass
    return True


def read_policy(
    where: str,
    module: Any,
    log_std: Tensor | None,
    observation_space: Space[Any],
    action_space: Space[Any],
) -> ModuleParameters:
    """Read a module as an environment's policy."""
    if getattr(module, "squash", False) and getattr(module, "action_space", None) is None:
        return read_module(where, module, action_space, observation_space=observation_space, log_std=log_std)
    read = read_module(where, module, log_std=log_std)  # as other functions do: it is kept
    options = {"squash": read.actions.squash, "state_dependent_std": read.actions.state_dependent_std}
    wanted = (
        spaces.observations(where, observation_space).shape,
        spaces.actions(where, action_space, **options).shape,
    )
    if (read.observations.shape, read.actions.shape) != wanted:
        read = read_module(where, module, action_space, observation_space=observation_space, log_std=log_std)
    return read


def read_anew(
    where: str,
    module: Any,
    action_space: Space[Any] | None,
    observation_space: Space[Any] | None,
    log_std: Tensor | None,
) -> Reading:
    """Do what `read_module` does, with nothing kept."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"{where}: module must be a torch.nn.Module, got {_check.shown(module)}")
    given = (action_space, observation_space, log_std, *_attributes(module))
    members: list[dict[str, Any]] = [module._parameters, module._buffers]
    linears, activation = _alternating(where, _layers(where, "module", module, members))
    parameters = {
        f"{path}.{name}": getattr(linear, name) for path, linear in linears for name in ("weight", "bias")
    }
    if log_std is None:
        log_std = getattr(module, "log_std", None)
        if log_std is not None and "log_std" not in module._parameters | module._buffers:
            raise TypeError(
                f"{where}: module.log_std must be a torch.nn.Parameter of the module, "
                f"got {_check.shown(log_std)}"
            )
    if log_std is not None:
        parameters["log_std"] = log_std
    own_action_space, own_observation_space, squash = _attributes(module)
    observations = _observations(
        where,
        own_observation_space if observation_space is None else observation_space,
        linears[0][1].weight.shape[1],
    )
    actions = _actions(
        where,
        own_action_space if action_space is None else action_space,
        linears[-1][1].weight.shape[0],
        log_std is not None,
        _check.boolean(where, "module.squash", squash),
    )
    result = describe(where, parameters, activation, observations, actions)
    held = [one for part in members for one in part.values()]
    return Reading(
        given,
        tuple(members),
        [id(one) for one in held],
        held,
        tuple(one for one in held if isinstance(one, nn.Module)),
        list(map(_place, result.parameters)),
        [parameter.detach().numpy() for parameter in result.parameters],
        result,
    )


def describe(
    where: str,
    parameters: dict[str, Tensor],
    activation: Activation,
    observations: spaces.Observations,
    actions: spaces.Actions,
) -> ModuleParameters:
    """Return what the core needs to run the parameters of a module; their names are for errors."""
    tensors = tuple(_tensor(where, name, value) for name, value in parameters.items())
    if len({tensor.data_ptr() for tensor in tensors}) < len(tensors):
        raise NotCompiled(
            ValueError(f"{where}: module uses one parameter in two places, which is not supported")
        )
    widths = tuple(tensor.shape[0] for tensor in tensors[: 2 * (len(tensors) // 2) : 2])
    outputs = widths[-1]
    if len(tensors) % 2 and tensors[-1].shape not in ((outputs,), (1, outputs)):
        raise ValueError(
            f"{where}: log_std must have shape ({outputs},), one entry an action, the same for all "
            f"observations, got {tuple(tensors[-1].shape)}"
        )
    theta = _flat(tensors)
    return ModuleParameters(
        network=make_network(
            observations.num_inputs,
            widths[:-1],
            outputs,
            activation,
            observations.categories,
            actions.head,
            actions.categories if actions.head == "categorical" else (),
            actions.state_dependent_std,
            actions.log_scale,
        ),
        theta=np.concatenate([one.detach().numpy() for one in tensors], axis=None)
        if theta is None
        else theta,
        parameters=tensors,
        shared=theta is not None,
        untrainable=next((name for name, tensor in parameters.items() if tensor.is_inference()), ""),
        hidden=widths[:-1],
        activation=activation,
        observations=observations,
        actions=actions,
    )


# A network keeps memory between calls, so that equal ones are better one.
make_network: Callable[..., _core.Network] = functools.lru_cache(maxsize=64)(_core.Network)


def with_scaling(where: str, read: ModuleParameters, action_space: Space[Any]) -> _core.Network:
    """Return the network of a module whose actions count from -1 to 1 between an environment's bounds.

    `action_space` is the environment's: that of a module may be without bounds, where none was given.
    """
    network, actions = read.network, read.actions
    spaces.require_scalable(where, replace(actions, space=action_space))
    return make_network(
        network.num_inputs, read.hidden, actions.num_outputs, read.activation, network.obs_categories,
        actions.head, (), actions.state_dependent_std, None, True,
    )  # fmt: skip


def _layers(
    where: str, path: str, module: nn.Module, members: list[dict[str, Any]]
) -> list[tuple[str, nn.Module]]:
    """Return the layers in order with their paths, nested Sequentials flattened, without Identity."""
    if isinstance(module, nn.Sequential) and _does_as(module, nn.Sequential, NetworkModule):
        members.append(module._modules)
        return [
            layer
            for name, child in module._modules.items()
            if child is not None
            for layer in _layers(where, f"{path}.{name}", child, members)
        ]
    if type(module) is nn.Identity and _does_as(module, nn.Identity):
        return []
    if isinstance(module, nn.Linear) and _does_as(module, nn.Linear):
        members.append(module._parameters)
        if nn.parameter.is_lazy(module.weight):
            raise ValueError(
                f"{where}: {path} is a {type(module).__name__} that has no parameters yet; call it"
            )
        for name in ("weight", "bias"):
            if module._parameters.get(name) is None:
                advice = "; make it with bias=True" if name == "bias" else ""
                own = name in module._parameters
                raise NotCompiled(
                    ValueError(
                        f"{where}: {path} must be a Linear with a weight and a bias of its own, but its "
                        f"{name} is {'None' if own else 'computed from other parameters'}{advice}"
                    )
                )
    elif type(module) not in ACTIVATIONS or not _does_as(module, type(module)):
        given = " with a forward of its own" if "forward" in module.__dict__ else ""
        raise NotCompiled(
            TypeError(
                f"{where}: {path} is a {type(module).__name__}{given}, which is not supported; the compiled "
                f"kernels run {SUPPORTED}"
            )
        )
    return [(path, module)]


def _does_as(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Return whether calling a module does what one of these classes does, and nothing of its own."""
    return (
        "forward" not in module.__dict__  # as Accelerate gives one to a model
        and type(module).__call__ is nn.Module.__call__
        and type(module).forward in [kind.forward for kind in kinds]
    )


def _alternating(
    where: str, layers: list[tuple[str, nn.Module]]
) -> tuple[list[tuple[str, nn.Linear]], Activation]:
    """Return the Linear layers and the one activation between them."""
    linears: list[tuple[str, nn.Linear]] = []
    activations: dict[Activation, str] = {}
    if not layers:
        raise NotCompiled(ValueError(f"{where}: module has no layers; it must be {SUPPORTED}"))
    for k, (path, layer) in enumerate(layers):
        if isinstance(layer, nn.Linear) != (k % 2 == 0):
            before = layers[k - 1][0] if k else "the beginning"
            wanted = "a Linear" if k % 2 == 0 else "Tanh or ReLU"
            raise NotCompiled(
                ValueError(
                    f"{where}: {wanted} must follow {before}, but {path} is a {type(layer).__name__}; the "
                    f"compiled kernels run {SUPPORTED}"
                )
            )
        if isinstance(layer, nn.Linear):
            if linears and layer.in_features != linears[-1][1].out_features:
                raise ValueError(
                    f"{where}: {path} takes {layer.in_features} inputs, but {linears[-1][0]} has "
                    f"{linears[-1][1].out_features} outputs"
                )
            linears.append((path, layer))
        else:
            activations.setdefault(ACTIVATIONS[type(layer)], path)
    path, last = layers[-1]
    if not isinstance(last, nn.Linear):
        raise NotCompiled(
            ValueError(
                f"{where}: the last layer must be Linear, its outputs logits or means, but {path} is a "
                f"{type(last).__name__}"
            )
        )
    if len(activations) > 1:
        found = " and ".join(f"{kind} ({path})" for kind, path in activations.items())
        raise NotCompiled(ValueError(f"{where}: all activations must be of one kind, got {found}"))
    if len(linears) - 1 > _core.MAX_HIDDEN:
        raise NotCompiled(
            ValueError(
                f"{where}: module has {len(linears) - 1} hidden layers; at most {_core.MAX_HIDDEN} are "
                "supported"
            )
        )
    for path, linear in linears[:-1]:
        if not 1 <= linear.out_features <= _core.MAX_WIDTH:
            raise NotCompiled(
                ValueError(
                    f"{where}: {path} has {linear.out_features} outputs; hidden layers of 1 to "
                    f"{_core.MAX_WIDTH} units are supported"
                )
            )
    return linears, next(iter(activations), "tanh")


def _tensor(where: str, path: str, value: Any) -> Tensor:
    """Return a parameter, checked to be one that the core can read."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{where}: {path} must be a torch.nn.Parameter, got {_check.shown(value)}")
    if value.device.type != "cpu":
        raise ValueError(
            f"{where}: {path} must lie on the CPU, got {value.device}; fastpg's kernels run there"
        )
    if value.layout != torch.strided:
        raise TypeError(f"{where}: {path} must be dense, got {value.layout}")
    if value.dtype != torch.float32:
        raise TypeError(f"{where}: {path} must be float32, got {value.dtype}; convert with module.float()")
    return value


def _actions(
    where: str, space: Space[Any] | None, num_outputs: int, has_log_std: bool, squash: bool
) -> spaces.Actions:
    if space is VALUE and (num_outputs != 1 or has_log_std):
        got = "a log_std" if has_log_std else f"{num_outputs} outputs"
        raise ValueError(f"{where}: a value function is a module with 1 output, but module has {got}")
    if num_outputs < 1:
        raise ValueError(f"{where}: module must have outputs, but its last layer has none")
    if space is None:
        if squash:
            raise ValueError(
                f"{where}: module.squash is True, so that action_space must be given: the Box whose bounds "
                "actions are squashed to"
            )
        space = Box(-np.inf, np.inf, (num_outputs,), np.float32) if has_log_std else Discrete(num_outputs)
    has_both = isinstance(space, Box) and num_outputs == 2 * math.prod(space.shape)  # a mean and a log_std
    actions = spaces.actions(where, space, squash=squash, state_dependent_std=has_both)
    if has_both and has_log_std:
        raise ValueError(
            f"{where}: module has {num_outputs} outputs, a mean and a log_std for each entry of action_space "
            f"{_check.line(space)}, and a log_std beside them; let the outputs be the means alone, or leave "
            "out log_std"
        )
    if actions.num_outputs != num_outputs:
        raise ValueError(
            f"{where}: module has {num_outputs} outputs, but action_space {_check.line(space)} needs "
            f"{actions.num_outputs}"
        )
    if has_log_std != (actions.head == "gaussian" and not has_both):
        raise ValueError(
            f"{where}: action_space is {_check.line(space)}, so that "
            + (
                "there must be no log_std, but there is one"
                if has_log_std
                else f"a log_std of shape ({num_outputs},) is needed: make it a Parameter of the module, or "
                f"pass log_std, or let the module have {2 * num_outputs} outputs, the means and then log_std"
            )
        )
    return actions


def _observations(where: str, space: Space[Any] | None, num_inputs: int) -> spaces.Observations:
    if space is None:
        space = Box(-np.inf, np.inf, (num_inputs,), np.float32)
    observations = spaces.observations(where, space)
    if observations.num_inputs != num_inputs:
        raise ValueError(
            f"{where}: module takes {num_inputs} inputs, but observation_space {_check.line(space)} gives "
            f"{observations.num_inputs}"
        )
    return observations


def _flat(parameters: Sequence[Tensor]) -> NDArray[np.float32] | None:
    """Return the parameters' memory as one vector if they lie in it one after the other, else None."""
    first = parameters[0]
    storage = first.untyped_storage()
    address = first.data_ptr()
    for parameter in parameters:
        if (
            parameter.data_ptr() != address
            or not parameter.is_contiguous()
            or parameter.untyped_storage().data_ptr() != storage.data_ptr()
        ):
            return None
        address += parameter.nbytes
    size = sum(parameter.numel() for parameter in parameters)
    with torch.no_grad():
        flat: NDArray[np.float32] = torch.as_strided(first.detach(), (size,), (1,)).numpy()
    return flat
