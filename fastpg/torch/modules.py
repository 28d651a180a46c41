"""PyTorch modules as the compiled kernels see them: which they can run, and one memory for both sides.

`Policy.theta` is laid out as torch lays out the same network: a module's parameters can be views of it.
docs/torch.md tells what sharing memory means in practice.
"""

import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from fastpg import _check, _core, spaces
from fastpg.policy import Activation, Policy, over_memory, require_policy

ACTIVATIONS: dict[type[nn.Module], Activation] = {nn.Tanh: "tanh", nn.ReLU: "relu"}
SUPPORTED = "Linear layers with Tanh or ReLU between them, alone or in a Sequential"


@dataclass(frozen=True, slots=True)
class ModuleParameters:
    """A module as the core takes it."""

    network: _core.Network
    theta: NDArray[np.float32]  # (P,): the parameters' own memory where `shared`, else a copy as of now
    parameters: tuple[Tensor, ...]  # in theta's order: weights and biases by layer, then log_std if any
    shared: bool
    hidden: tuple[int, ...]
    activation: Activation
    observations: spaces.Observations
    actions: spaces.Actions


class PolicyModule(nn.Sequential):
    """The network of a `fastpg.Policy`; `to_module` makes one.

    Attributes
    ----------
    observation_space, action_space
        The policy's: what `pg_loss` and `log_prob_and_entropy` read observations and actions by.
    log_std : Parameter, shape (n,)
        Only where actions are in a Box.
    """

    observation_space: Space[Any]
    action_space: Space[Any]

    def forward(self, input: Any) -> Tensor:
        """Return the outputs of the head: logits, or the means of a Box's actions, (..., num_outputs).

        Observations that are categories come as the space has them, or already as one-hot vectors, float32.
        """
        categories = spaces.observations("forward()", self.observation_space)
        if categories.categories and not (isinstance(input, Tensor) and input.is_floating_point()):
            input = _one_hot(categories, input)
        outputs: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return outputs


def _one_hot(observations: spaces.Observations, obs: Any) -> Tensor:
    """Return categories, (...), (..., k) or k tensors (...), as one-hot vectors, (..., num_inputs)."""
    if isinstance(observations.space, Discrete):
        columns: Sequence[Tensor] = (obs,)
    else:
        columns = obs if isinstance(obs, tuple | list) else obs.unbind(-1)
    parts = zip(columns, observations.starts, observations.categories, strict=True)
    hot = [nn.functional.one_hot(column.long() - start, size) for column, start, size in parts]
    return torch.cat(hot, -1).float()


def to_module(policy: Policy) -> PolicyModule:
    """Return the network of a policy as a module whose parameters are the memory of `policy.theta`.

    A step of a torch optimizer is a step of the policy, and what fastpg writes the module has. Where fastpg
    writes while autograd still needs the old values, ``backward`` raises as it does after any other in-place
    change. Assignments are noticed (``policy.theta = x``, ``policy.theta += x``), writes that only NumPy sees
    are not (``policy.theta[:] = x``): call ``policy.written()`` after them where it matters.

    Parameters
    ----------
    policy : Policy

    Returns
    -------
    PolicyModule
        An `nn.Sequential` of Linear and Tanh or ReLU, float32, on the CPU; with a parameter `log_std` where
        actions are in a Box. It keeps the memory alive. Moving it (``.to("cuda")``, ``.half()``) or copying
        it (``copy.deepcopy``, pickling) makes parameters of their own, as it always does.

    Raises
    ------
    TypeError
        policy is not a Policy.

    Examples
    --------
    >>> import fastpg
    >>> policy = fastpg.Policy.for_env("CartPole-v1", hidden=(8,))
    >>> module = to_module(policy)
    >>> module
    PolicyModule(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): Tanh()
      (2): Linear(in_features=8, out_features=2, bias=True)
    )
    >>> with torch.no_grad():
    ...     _ = module[2].bias.fill_(3.0)
    >>> policy.theta[-2:]
    array([3., 3.], dtype=float32)
    """
    policy = require_policy("to_module()", policy)
    network = policy.network
    activation = nn.Tanh if policy.activation == "tanh" else nn.ReLU
    module = PolicyModule()
    parameters: list[Tensor] = []
    inputs = network.num_inputs
    for width in (*network.hidden, network.num_outputs):
        if len(module):
            module.append(activation())
        linear = nn.Linear(inputs, width, device="meta")
        linear.weight, linear.bias = _parameter(width, inputs), _parameter(width)
        module.append(linear)
        parameters += [linear.weight, linear.bias]
        inputs = width
    if policy.actions.head == "gaussian":
        module.log_std = _parameter(network.num_outputs)
        parameters.append(module.log_std)
    module.observation_space, module.action_space = policy.observation_space, policy.action_space
    _share(parameters, torch.from_numpy(policy.theta))
    _tell_of_writes(policy, module)
    return module


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=torch.float32, device="cpu"))


def from_module(
    module: nn.Module,
    action_space: Space[Any] | None = None,
    *,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
) -> Policy:
    """Return a policy whose `theta` is the memory of a module's parameters.

    Where they do not lie one after the other in memory yet, they are moved there: ``parameter.data`` of each
    becomes a view of one vector. The Parameter objects stay, so optimizers that have them go on working.
    From then on it is as with `to_module`.

    Parameters
    ----------
    module : torch.nn.Linear or torch.nn.Sequential
        Linear layers with biases, and the same activation, Tanh or ReLU, between them; Sequential in
        Sequential and Identity are fine. At most 3 hidden layers, of at most 512 units; float32, on the CPU.
    action_space : gymnasium space, optional
        By default the module's attribute of that name, which `to_module` sets; else a Box if there is a
        log_std, and Discrete if there is none.
    observation_space : gymnasium space, optional
        By default the module's attribute of that name, else an unbounded Box.
    log_std : Parameter, shape (n,) or (1, n), optional
        The logarithms of the standard deviations, for actions in a Box. By default the module's attribute of
        that name.

    Returns
    -------
    Policy

    Raises
    ------
    TypeError, ValueError
        A layer is not supported, has another dtype or lies on another device; a space does not fit; a
        parameter is used twice.

    Examples
    --------
    >>> module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> policy = from_module(module)
    >>> policy
    Policy(4 inputs, 2 actions, hidden=(8,), activation='tanh', 58 parameters)
    >>> policy.theta = np.zeros(58, np.float32)
    >>> module[0].weight.abs().max().item()
    0.0
    """
    read = read_module(
        "from_module()", module, action_space, observation_space=observation_space, log_std=log_std
    )
    theta = read.theta
    if not read.shared:
        for parameter in read.parameters:
            if not parameter.is_leaf:
                raise ValueError(
                    "from_module(): the module's parameters must be leaves of autograd's graph, as a "
                    "Parameter is; one of them has been computed from other tensors"
                )
        flat = torch.from_numpy(theta)
        _share(read.parameters, flat)
    policy = over_memory(theta, read.observations.space, read.actions.space, read.hidden, read.activation)
    _tell_of_writes(policy, module)
    return policy


def _share(parameters: Sequence[Tensor], flat: Tensor) -> None:
    """Make the parameters' data views of a flat vector.

    Not by Parameter(view): its version counter would be that of the whole vector, so that a step of one layer
    would look like a change of all.
    """
    for parameter, view in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):  # type: ignore[no-untyped-call]
        parameter.data = view.view(parameter.shape)


class _Notify:
    """Tells autograd of writes to a policy's theta, for the modules that share its memory."""

    def __init__(self) -> None:
        self.modules: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def __call__(self) -> None:
        for module in self.modules:
            for parameter in module.parameters():
                torch.autograd.graph.increment_version(parameter)


def _tell_of_writes(policy: Policy, module: nn.Module) -> None:
    if not isinstance(policy.on_write, _Notify):
        policy.on_write = _Notify()
    policy.on_write.modules.add(module)


# ---- reading -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """What was found out about a module, and how to see that it still holds."""

    given: tuple[Any, Any, Any]  # action_space, observation_space, log_std
    members: tuple[dict[str, Any], ...]  # of the module and its parts, which would change with its structure
    ids: list[int]  # of what is in these; `held` keeps the ids from being used again
    held: list[Any]
    addresses: list[int]  # of the parameters' data; `data` keeps the memory from being used again
    data: list[NDArray[np.float32]]
    result: ModuleParameters

    def holds(self, given: tuple[Any, Any, Any]) -> bool:
        """Return whether a new reading would have the same result, but for the values of parameters."""
        return (
            all(map(_is, self.given, given))
            and [id(one) for members in self.members for one in members.values()] == self.ids
            and [parameter.data_ptr() for parameter in self.result.parameters] == self.addresses
        )


def _is(a: Any, b: Any) -> bool:
    return a is b


_readings: weakref.WeakKeyDictionary[nn.Module, _Reading] = weakref.WeakKeyDictionary()


def read_module(
    where: str,
    module: Any,
    action_space: Space[Any] | None = None,
    *,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
) -> ModuleParameters:
    """Return what the core needs to run a module; `from_module` has the arguments. `where` is the caller.

    What is found out is kept while the module lives, and checked to hold still: by the identity of its layers
    and parameters, and by the addresses of their data.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"{where}: module must be a torch.nn.Module, got {_check.shown(module)}")
    if action_space is None:
        action_space = module.__dict__.get("action_space")
    if observation_space is None:
        observation_space = module.__dict__.get("observation_space")
    given = (action_space, observation_space, log_std)
    reading = _readings.get(module)
    if reading is None or not reading.holds(given):
        reading = _read(where, module, given)
        _readings[module] = reading
    if reading.result.shared:
        return reading.result
    old = reading.result
    theta = np.concatenate(reading.data, axis=None)
    return ModuleParameters(
        old.network,
        theta,
        old.parameters,
        False,
        old.hidden,
        old.activation,
        old.observations,
        old.actions,
    )


def _read(where: str, module: nn.Module, given: tuple[Any, Any, Any]) -> _Reading:
    action_space, observation_space, log_std = given
    members: list[dict[str, Any]] = [module._parameters, module._buffers]
    layers = _layers(where, "module", module, members)
    linears, activation = _alternating(where, layers)
    parameters: list[Tensor] = []
    for path, linear in linears:
        for name in ("weight", "bias"):
            parameters.append(_tensor(where, f"{path}.{name}", linear._parameters.get(name)))
    widths = tuple(linear.weight.shape[0] for _, linear in linears)
    num_inputs = linears[0][1].weight.shape[1]
    if log_std is None:
        log_std = getattr(module, "log_std", None)
        if log_std is not None and "log_std" not in module._parameters | module._buffers:
            raise TypeError(
                f"{where}: module.log_std must be a torch.nn.Parameter of the module, "
                f"got {_check.shown(log_std)}"
            )
    actions = _actions(where, action_space, widths[-1], log_std is not None)
    observations = _observations(where, observation_space, num_inputs)
    if log_std is not None:
        log_std = _tensor(where, "log_std", log_std)
        if log_std.shape not in ((widths[-1],), (1, widths[-1])):
            raise ValueError(
                f"{where}: log_std must have shape ({widths[-1]},), one entry an action, "
                f"got {tuple(log_std.shape)}"
            )
        parameters.append(log_std)
    data = [parameter.detach().numpy() for parameter in parameters]
    addresses = [parameter.data_ptr() for parameter in parameters]
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"{where}: module uses one parameter in two places, which is not supported")
    theta = _flat(parameters)
    held = [one for part in members for one in part.values()]
    return _Reading(
        given,
        tuple(members),
        [id(one) for one in held],
        held,
        addresses,
        data,
        ModuleParameters(
            network=make_network(
                num_inputs,
                widths[:-1],
                widths[-1],
                activation,
                observations.categories,
                actions.head,
                actions.categories if actions.head == "categorical" else (),
            ),
            theta=np.concatenate(data, axis=None) if theta is None else theta,
            parameters=tuple(parameters),
            shared=theta is not None,
            hidden=widths[:-1],
            activation=activation,
            observations=observations,
            actions=actions,
        ),
    )


# A network keeps memory between calls, so that equal ones are better one.
make_network: Callable[..., _core.Network] = functools.lru_cache(maxsize=64)(_core.Network)


def _layers(
    where: str, path: str, module: nn.Module, members: list[dict[str, Any]]
) -> list[tuple[str, nn.Module]]:
    """Return the layers in order with their paths, nested Sequentials flattened, without Identity."""
    if isinstance(module, nn.Sequential) and type(module).forward in (
        nn.Sequential.forward,
        PolicyModule.forward,
    ):
        members.append(module._modules)
        return [
            layer
            for name, child in module._modules.items()
            if child is not None
            for layer in _layers(where, f"{path}.{name}", child, members)
        ]
    if type(module) is nn.Identity:
        return []
    if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
        members.append(module._parameters)
        for name in ("weight", "bias"):
            if module._parameters.get(name) is None:
                advice = "; make it with bias=True" if name == "bias" else ""
                raise ValueError(
                    f"{where}: {path} must be a Linear with a weight and a bias of its own, but its {name} "
                    f"is {'None' if name in module._parameters else 'computed from other parameters'}{advice}"
                )
    elif type(module) not in ACTIVATIONS:
        raise TypeError(
            f"{where}: {path} is a {type(module).__name__}, which is not supported; the compiled kernels run "
            f"{SUPPORTED}"
        )
    return [(path, module)]


def _alternating(
    where: str, layers: list[tuple[str, nn.Module]]
) -> tuple[list[tuple[str, nn.Linear]], Activation]:
    """Return the Linear layers and the one activation between them."""
    linears: list[tuple[str, nn.Linear]] = []
    activations: dict[Activation, str] = {}
    if not layers:
        raise ValueError(f"{where}: module has no layers; it must be {SUPPORTED}")
    for k, (path, layer) in enumerate(layers):
        if isinstance(layer, nn.Linear) != (k % 2 == 0):
            before = layers[k - 1][0] if k else "the beginning"
            wanted = "a Linear" if k % 2 == 0 else "Tanh or ReLU"
            raise ValueError(
                f"{where}: {wanted} must follow {before}, but {path} is a {type(layer).__name__}; the "
                f"compiled kernels run {SUPPORTED}"
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
        raise ValueError(
            f"{where}: the last layer must be Linear, its outputs logits or means, but {path} is a "
            f"{type(last).__name__}"
        )
    if len(activations) > 1:
        found = " and ".join(f"{kind} ({path})" for kind, path in activations.items())
        raise ValueError(f"{where}: all activations must be of one kind, got {found}")
    if len(linears) - 1 > _core.MAX_HIDDEN:
        raise ValueError(
            f"{where}: module has {len(linears) - 1} hidden layers; at most {_core.MAX_HIDDEN} are supported"
        )
    for path, linear in linears[:-1]:
        if not 1 <= linear.out_features <= _core.MAX_WIDTH:
            raise ValueError(
                f"{where}: {path} has {linear.out_features} outputs; hidden layers of 1 to "
                f"{_core.MAX_WIDTH} units are supported"
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


def _actions(where: str, space: Space[Any] | None, num_outputs: int, has_log_std: bool) -> spaces.Actions:
    if space is None:
        space = Box(-np.inf, np.inf, (num_outputs,), np.float32) if has_log_std else Discrete(num_outputs)
    actions = spaces.actions(where, space)
    if actions.num_outputs != num_outputs:
        raise ValueError(
            f"{where}: module has {num_outputs} outputs, but action_space {space} needs {actions.num_outputs}"
        )
    if has_log_std != (actions.head == "gaussian"):
        raise ValueError(
            f"{where}: action_space is {space}, so that "
            + (
                "there must be no log_std, but there is one"
                if has_log_std
                else f"a log_std of shape ({num_outputs},) is needed: make it a Parameter of the module, or "
                "pass log_std"
            )
        )
    return actions


def _observations(where: str, space: Space[Any] | None, num_inputs: int) -> spaces.Observations:
    if space is None:
        space = Box(-np.inf, np.inf, (num_inputs,), np.float32)
    observations = spaces.observations(where, space)
    if observations.num_inputs != num_inputs:
        raise ValueError(
            f"{where}: module takes {num_inputs} inputs, but observation_space {space} gives "
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
