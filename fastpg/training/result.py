"""What a run returns."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fastpg._brief import Brief
from fastpg.networks.policy import Policy
from fastpg.networks.value import ValueFunction


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainResult(Brief):
    """What `train` returns.

    Attributes
    ----------
    policy : Policy
        The trained policy.
    value : ValueFunction or None
        The value function, of algorithms that have one.
    history : dict of str to array, each of shape (iterations,)
        num_steps, num_episodes, num_trajectories, mean_return, return_std, min_return, max_return,
        mean_length, entropy, gradient_norm, total_steps (cumulative), seconds (of the iteration); value_loss
        (mean squared error before the iteration's fit) and explained_variance, NaN without a value function;
        learning_rate and num_updates (steps of the policy). Of PPO, else NaN: policy_loss (minus the
        surrogate) and clip_fraction, means over all minibatches; approx_kl (mean of ``r - 1 - log r``) and
        approx_kl_k1 (mean of ``-log r``) over the last epoch; and gradient_norm is the mean over the steps.
        Of NPG and TRPO, policy_loss is minus what the step adds to the surrogate, and approx_kl the mean
        KL(old | new) itself; num_backtracks is how often TRPO has shortened the step.
    config : dict
        Every setting of the run, the defaults filled in.
    stopped_because : {"total_steps", "target_return", "callback", "error", "interrupted", "halving"}
        The last three: of `train_many` and what is made of it. "" in the callback of `train_many`, of a run
        that has paused.
    num_steps : int
        Environment steps taken.
    seconds : float
        Wall time.
    error : Exception or None
        Of `train_many`: why the run failed. The policy is then the one of before the iteration that failed.
    """

    policy: Policy
    value: ValueFunction | None
    history: dict[str, NDArray[Any]]
    config: dict[str, Any]
    stopped_because: str
    num_steps: int
    seconds: float
    error: Exception | None = None
