"""The module that a value function is on torch's side."""

from fastpg.torch.network_module import NetworkModule


class ValueModule(NetworkModule):
    """The network of a `fastpg.ValueFunction`; `to_module` makes one.

    It returns V as (..., 1), with an axis of its own, as any module that ends in ``nn.Linear(width, 1)``.

    Attributes
    ----------
    observation_space
        The value function's.
    """
