"""Networks: an MLP's shape, its parameters and its outputs.

`theta` is always the flat vector of a network's parameters: per layer the weight `(out, in)` row-major, then
the bias `(out,)`; hidden layers first, then the head, then a Gaussian's `log_std`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastpg.reference.arrays import Floats


@dataclass(frozen=True)
class Network:
    """An MLP's shape. `hidden=()` is the linear policy; `activation` is "tanh" or "relu".

    An action has independent components. By `head`, component k is

    - "categorical": an integer below action_categories[k], by the softmax of as many outputs; `()` stands for
      one component, whose actions are then `(B,)` instead of `(B, n)`;
    - "bernoulli": 1 with the probability sigmoid(output k), else 0;
    - "gaussian": normal with the mean output k and the standard deviation exp(log_std[k]). With `state_std`
      log_std[k] is output n + k, held in LOG_STD_RANGE, instead of a parameter. With `bounds`, (low, high) of
      each component, actions u are squashed: the environment gets tanh(u), scaled to them.

    Where actions are `masked`, each observation is followed by its mask, `(B, D + A)`: the logit of an action
    that is not allowed, whose entry is 0, becomes minus infinity.
    """

    num_inputs: int
    hidden: tuple[int, ...]
    num_outputs: int
    activation: str = "tanh"
    head: str = "categorical"
    action_categories: tuple[int, ...] = ()
    state_std: bool = False
    bounds: tuple[tuple[float, float], ...] = ()
    masked: bool = False


def layer_sizes(network: Network) -> list[tuple[int, int]]:
    """Return `(out, in)` of every layer, the head last."""
    widths = (network.num_inputs, *network.hidden, network.num_outputs)
    return [(widths[i + 1], widths[i]) for i in range(len(widths) - 1)]


def num_parameters(network: Network) -> int:
    """Return the length of theta.

    Examples
    --------
    >>> num_parameters(Network(4, (64, 64), 2))
    4610
    """
    in_layers = sum(outputs * inputs + outputs for outputs, inputs in layer_sizes(network))
    return in_layers + (network.num_outputs if network.head == "gaussian" and not network.state_std else 0)


def layers(network: Network, theta: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Return views of theta: (weight `(out, in)`, bias `(out,)`) of every layer."""
    offset = 0
    for outputs, inputs in layer_sizes(network):
        weight = theta[offset : offset + outputs * inputs].reshape(outputs, inputs)
        offset += outputs * inputs
        yield weight, theta[offset : offset + outputs]
        offset += outputs


def activate(network: Network, x: Floats) -> Floats:
    """Apply the activation function."""
    return np.tanh(x) if network.activation == "tanh" else np.maximum(x, 0.0)


def activation_slope(network: Network, y: Floats) -> Floats:
    """Return the activation's derivative, written in its output y (relu: 0 at the kink)."""
    return 1.0 - y * y if network.activation == "tanh" else (y > 0.0).astype(np.float64)


def layer_inputs(network: Network, theta: Floats, obs: Floats) -> tuple[list[Floats], Floats]:
    """Return the input of every layer, each `(B, in)`, and the logits `(B, A)`."""
    inputs = [np.asarray(obs, np.float64)[:, : network.num_inputs]]
    *hidden, (head_weight, head_bias) = layers(network, theta)
    for weight, bias in hidden:
        inputs.append(activate(network, inputs[-1] @ weight.T + bias))
    outputs = inputs[-1] @ head_weight.T + head_bias
    if network.masked:
        outputs = np.where(obs[:, network.num_inputs :] != 0, outputs, -np.inf)
    return inputs, outputs


def logits(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return the outputs of the head, `(B, A)`, for observations `(B, D)`: logits, or a Gaussian's means."""
    return layer_inputs(network, theta, obs)[1]


def layer_deltas(network: Network, theta: Floats, obs: Floats, delta: Floats) -> list[tuple[Floats, Floats]]:
    """Return, per layer, its input `(B, in)` and its delta `(B, out)`, given the head's delta `(B, A)`.

    Delta is a derivative by the layer's output before the activation, and so by its bias. The outer product
    of delta and input is the derivative by its weight.
    """
    inputs, _ = layer_inputs(network, theta, obs)
    pairs = [(inputs[-1], delta)]
    weights = [weight for weight, _ in layers(network, theta)]
    for weight, y, x in zip(weights[:0:-1], inputs[:0:-1], inputs[-2::-1], strict=True):
        delta = (delta @ weight) * activation_slope(network, y)
        pairs.insert(0, (x, delta))
    return pairs


def row_gradients(network: Network, theta: Floats, obs: Floats, delta: Floats) -> Floats:
    """Return, per row, the gradient by the layers' parameters, given that by the outputs, `delta`."""
    parts: list[Floats] = []
    for x, out in layer_deltas(network, theta, obs, delta):
        parts += [(out[:, :, None] * x[:, None, :]).reshape(len(x), -1), out]
    return np.concatenate(parts, axis=1)


def output_gradient(network: Network, theta: Floats, obs: Floats, delta: Floats) -> Floats:
    """Return the sum of `row_gradients` over the rows."""
    parts: list[Floats] = []
    for x, out in layer_deltas(network, theta, obs, delta):
        parts += [(out.T @ x).ravel(), out.sum(axis=0)]
    return np.concatenate(parts)
