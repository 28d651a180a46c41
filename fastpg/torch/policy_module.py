"""The module that a policy is on torch's side."""

from typing import Any

from gymnasium.spaces import Space

from fastpg.torch.network_module import NetworkModule


class PolicyModule(NetworkModule):
    """The network of a `fastpg.Policy`; `to_module` makes one.

    Attributes
    ----------
    observation_space, action_space
        The policy's: what `pg_loss` and `log_prob_and_entropy` read observations and actions by.
    log_std : Parameter, shape (n,)
        Only where actions are in a Box and the outputs are the means alone.
    squash : bool
        Whether actions are squashed into the Box.
    action_scaling : bool
        Whether -1 to 1 stands for the bounds of the Box.
    """

    action_space: Space[Any]
    squash: bool
    action_scaling: bool
