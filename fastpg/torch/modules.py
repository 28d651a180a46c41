"""Modules that share their parameters with policies and value functions: theta is laid out as torch's.

docs/torch.md tells what sharing memory means in practice.
"""

import warnings
import weakref
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from gymnasium.spaces import Space
from numpy.typing import NDArray
from torch import Tensor, nn

from fastpg import _check
from fastpg.networks.parametric import Parametric, how_to_get
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction
from fastpg.torch.policy_module import PolicyModule
from fastpg.torch.reading import VALUE, ModuleParameters, read_module
from fastpg.torch.value_module import ValueModule

__all__ = ["ModuleParameters", "from_module", "read_module", "to_module", "value_from_module"]


@overload
def to_module(policy: Policy) -> PolicyModule: ...
@overload
def to_module(policy: ValueFunction) -> ValueModule: ...
def to_module(policy: Policy | ValueFunction) -> PolicyModule | ValueModule:
    """Return the network of a policy or a value function as a module over the memory of its `theta`.

    A step of a torch optimizer is a step of the policy, and what fastpg writes the module has. Where fastpg
    writes while autograd still needs the old values, ``backward`` raises as it does after any other in-place
    change. Assignments are noticed (``policy.theta = x``, ``policy.theta += x``), writes that only NumPy sees
    are not (``policy.theta[:] = x``): call ``policy.written()`` after them where it matters.

    Parameters
    ----------
    policy : Policy or ValueFunction

    Returns
    -------
    PolicyModule or ValueModule
        An `nn.Sequential` of Linear and Tanh or ReLU, float32, on the CPU; with the attribute `squash`, and
        with a parameter `log_std` where actions are in a Box and the outputs are the means alone. That of a
        value function returns V as (..., 1). The module keeps the memory alive. Moving it (``.to("cuda")``,
        ``.half()``) or copying it (``copy.deepcopy``, pickling) makes parameters of their own, as it always
        does.

    Raises
    ------
    TypeError
        policy is neither a Policy nor a ValueFunction.

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
    >>> to_module(fastpg.ValueFunction.for_env("CartPole-v1", hidden=()))(torch.zeros(5, 4)).shape
    torch.Size([5, 1])
    """
    if not isinstance(policy, Policy | ValueFunction):
        raise TypeError(
            "to_module(): policy must be a fastpg.Policy or a fastpg.ValueFunction, "
            f"got {_check.shown(policy)}{how_to_get(Policy, policy)}"
        )
    network = policy.network
    activation = nn.Tanh if policy.activation == "tanh" else nn.ReLU
    module = PolicyModule() if isinstance(policy, Policy) else ValueModule()
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
    if network.head == "gaussian" and not network.state_std:
        module.log_std = _parameter(network.num_outputs)
        parameters.append(module.log_std)
    module.set_observations(policy.observations)
    if isinstance(policy, Policy):
        module.action_space, module.squash = policy.action_space, policy.squash
        module.action_scaling = policy.action_scaling
    _share(parameters, policy.theta)
    _tell_of_writes(policy, module)
    return module


def _parameter(*shape: int) -> nn.Parameter:
    with torch.inference_mode(False):  # tensors made in this mode can never be trained
        return nn.Parameter(torch.empty(shape, dtype=torch.float32, device="cpu"))


def from_module(
    module: nn.Module,
    action_space: Space[Any] | None = None,
    *,
    observation_space: Space[Any] | None = None,
    log_std: Tensor | None = None,
    action_scaling: bool | None = None,
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
        An attribute ``module.squash = True`` has actions squashed into the Box that is their space. Of a Box
        with n components it has n outputs, the means, or 2 n: the means, then `log_std`.
    action_space : gymnasium space, optional
        By default the module's attribute of that name, which `to_module` sets; else a Box if there is a
        log_std, and Discrete if there is none.
    observation_space : gymnasium space, optional
        By default the module's attribute of that name, else an unbounded Box.
    log_std : Parameter, shape (n,) or (1, n), optional
        The logarithms of the standard deviations, for actions in a Box, unless they are outputs. By default
        the module's attribute of that name.
    action_scaling : bool, optional
        As in `fastpg.Policy`; by default as the module's attribute of that name says, else False.

    Returns
    -------
    Policy

    Raises
    ------
    TypeError, ValueError
        A layer is not supported, has another dtype or lies on another device; a space does not fit; a
        parameter is used twice.

    Warns
    -----
    UserWarning
        Parameters are also those of another module, whose policy or value function now has a copy.

    Examples
    --------
    >>> module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> policy = from_module(module)
    >>> policy
    Policy(4 inputs, 2 actions, hidden=(8,), activation='tanh', 58 parameters)
    >>> policy.theta *= 0.0
    >>> module[0].weight.abs().max().item()
    0.0
    """
    where = "from_module()"
    if isinstance(module, ValueModule):
        raise TypeError(f"{where}: module is that of a value function; pass it to value_from_module()")
    read = read_module(where, module, action_space, observation_space=observation_space, log_std=log_std)
    spaces = read.observations.space, read.actions.space
    if action_scaling is None:
        action_scaling = getattr(module, "action_scaling", False)
    scales = _check.boolean(where, "action_scaling", action_scaling)
    theta = _shared_theta(where, read, module)
    policy = Policy.of_shape(
        where, spaces, read.hidden, read.activation, theta, squash=read.actions.squash,
        state_dependent_std=read.actions.state_dependent_std, action_scaling=scales,
    )  # fmt: skip
    _tell_of_writes(policy, module)
    return policy


def value_from_module(module: nn.Module, *, observation_space: Space[Any] | None = None) -> ValueFunction:
    """Return a value function whose `theta` is the memory of a module's parameters.

    What `from_module` is for policies.

    Parameters
    ----------
    module : torch.nn.Linear or torch.nn.Sequential
        As in `from_module`, with one output.
    observation_space : gymnasium space, optional
        As in `from_module`.

    Returns
    -------
    ValueFunction

    Raises
    ------
    TypeError, ValueError
        As in `from_module`; the module has more outputs than one, or a log_std.

    Warns
    -----
    UserWarning
        As in `from_module`.

    Examples
    --------
    >>> module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> value = value_from_module(module)
    >>> value
    ValueFunction(4 inputs, hidden=(8,), activation='tanh', 49 parameters)
    >>> value.theta *= 0.0
    >>> module[0].weight.abs().max().item()
    0.0
    """
    where = "value_from_module()"
    read = read_module(where, module, VALUE, observation_space=observation_space)
    theta = _shared_theta(where, read, module)
    value = ValueFunction.of_shape(where, [read.observations.space], read.hidden, read.activation, theta)
    _tell_of_writes(value, module)
    return value


def _shared_theta(where: str, read: ModuleParameters, module: nn.Module) -> NDArray[np.float32]:
    """Return the memory of a module's parameters as one vector; move them there if they lie elsewhere."""
    if not read.shared:
        read.require_trainable(where)  # autograd cannot follow what is moved there
        for parameter in read.parameters:
            if not parameter.is_leaf:
                raise ValueError(
                    f"{where}: the module's parameters must be leaves of autograd's graph, as a "
                    "Parameter is; one of them has been computed from other tensors"
                )
        _warn_of_another(where, read, module)
        _share(read.parameters, read.theta)
    return read.theta


def _warn_of_another(where: str, read: ModuleParameters, module: nn.Module) -> None:
    """Say it where parameters leave the memory of what was made of another module, as a shared trunk does."""
    for network in list(_sharing):
        begin, end = network.theta.ctypes.data, network.theta.ctypes.data + network.theta.nbytes
        if module in network.on_write.modules:  # type: ignore[union-attr]
            continue
        if any(begin <= parameter.data_ptr() < end for parameter in read.parameters):
            warnings.warn(
                f"{where}: module has parameters in common with the module of a {type(network).__name__} "
                "made before, which keeps a copy of them and shares them no more: let torch train modules "
                "that have layers in common, with ppo_loss or pg_loss",
                UserWarning,
                stacklevel=4,
            )


def _share(parameters: Sequence[Tensor], theta: NDArray[np.float32]) -> None:
    """Make the parameters' data views of theta, (P,).

    Not by Parameter(view): its version counter would be that of the whole vector, so that a step of one layer
    would look like a change of all.
    """
    with torch.inference_mode(False):  # data made in this mode would make the parameters unfit for autograd
        views = torch.from_numpy(theta).split([parameter.numel() for parameter in parameters])  # type: ignore[no-untyped-call]
        for parameter, view in zip(parameters, views, strict=True):
            parameter.data = view.view(parameter.shape)


_sharing: weakref.WeakSet[Parametric] = weakref.WeakSet()  # networks whose theta is a module's memory


class _Notify:
    """Tells autograd of writes to a theta, for the modules that share its memory."""

    def __init__(self) -> None:
        self.modules: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def __call__(self) -> None:
        for module in self.modules:
            for parameter in module.parameters():
                torch.autograd.graph.increment_version(parameter)


def _tell_of_writes(network: Parametric, module: nn.Module) -> None:
    if not isinstance(network.on_write, _Notify):
        network.on_write = _Notify()
    network.on_write.modules.add(module)
    _sharing.add(network)
