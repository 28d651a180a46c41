"""Modules and policies that share their parameters: `Policy.theta` is laid out as torch lays out a network.

docs/torch.md tells what sharing memory means in practice.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from numpy.typing import NDArray
from torch import Tensor, nn

from fastpg.networks.policy import Policy, require_policy
from fastpg.torch.policy_module import PolicyModule
from fastpg.torch.reading import ModuleParameters, read_module

__all__ = ["ModuleParameters", "from_module", "read_module", "to_module"]


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
    module.set_spaces(policy.observations, policy.action_space)
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
    >>> policy.theta *= 0.0
    >>> module[0].weight.abs().max().item()
    0.0
    """
    read = read_module(
        "from_module()", module, action_space, observation_space=observation_space, log_std=log_std
    )
    theta = read.theta
    if not read.shared:
        read.require_trainable("from_module()")  # autograd cannot follow what is moved there
        for parameter in read.parameters:
            if not parameter.is_leaf:
                raise ValueError(
                    "from_module(): the module's parameters must be leaves of autograd's graph, as a "
                    "Parameter is; one of them has been computed from other tensors"
                )
        _share(read.parameters, theta)
    spaces = read.observations.space, read.actions.space
    policy = Policy.of_shape("from_module()", spaces, read.hidden, read.activation, theta)
    _tell_of_writes(policy, module)
    return policy


def _share(parameters: Sequence[Tensor], theta: NDArray[np.float32]) -> None:
    """Make the parameters' data views of theta, (P,).

    Not by Parameter(view): its version counter would be that of the whole vector, so that a step of one layer
    would look like a change of all.
    """
    with torch.inference_mode(False):  # data made in this mode would make the parameters unfit for autograd
        views = torch.from_numpy(theta).split([parameter.numel() for parameter in parameters])  # type: ignore[no-untyped-call]
        for parameter, view in zip(parameters, views, strict=True):
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
