"""The oracle: fastpg's algorithms in plain float64 NumPy, read side by side with the design's formulas.

Everything the compiled core does is written here once more, as small pure functions without any concern
for speed. The tests hold the core to these functions, and these to central differences and worked examples.
`theta` is always the flat vector of `fastpg.reference.networks`. Arrays over time are `(T, N)`: T steps of N
environments.
"""

from fastpg.reference.advantages import (
    FORMS,
    Episodes,
    each_environment,
    episode_returns,
    gae,
    nstep_returns,
    returns,
    reward_to_go,
    standardize,
    td_errors,
    vtrace,
)
from fastpg.reference.arrays import (
    Bools,
    Floats,
    Ints,
    Words,
)
from fastpg.reference.cartpole import (
    ANGLE_LIMIT,
    X_LIMIT,
    cartpole_step,
)
from fastpg.reference.gradients import (
    backpropagate,
    entropy_gradient,
    policy_gradient,
    score,
)
from fastpg.reference.heads import (
    component_log_probs,
    draw,
    entropy,
    kl,
    log_prob,
    log_softmax,
    log_std,
    log_std_score,
    output_score,
    sample,
    summed,
)
from fastpg.reference.networks import (
    Network,
    activate,
    activation_slope,
    layer_inputs,
    layer_sizes,
    layers,
    logits,
    num_parameters,
)
from fastpg.reference.normalisation import (
    for_normalized,
    for_raw,
)
from fastpg.reference.optimizers import (
    AdamState,
    adam,
    clip_norm,
    sgd,
)
from fastpg.reference.philox import (
    philox4x32,
)
from fastpg.reference.rollouts import (
    Batch,
    episode_quota,
    estimate_gradient,
    rollout,
)
from fastpg.reference.values import (
    explained_variance,
    state_values,
    value_gradient,
    value_loss,
)

__all__ = [
    "ANGLE_LIMIT",
    "FORMS",
    "X_LIMIT",
    "AdamState",
    "Batch",
    "Bools",
    "Episodes",
    "Floats",
    "Ints",
    "Network",
    "Words",
    "activate",
    "activation_slope",
    "adam",
    "backpropagate",
    "cartpole_step",
    "clip_norm",
    "component_log_probs",
    "draw",
    "each_environment",
    "entropy",
    "entropy_gradient",
    "episode_quota",
    "episode_returns",
    "estimate_gradient",
    "explained_variance",
    "for_normalized",
    "for_raw",
    "gae",
    "kl",
    "layer_inputs",
    "layer_sizes",
    "layers",
    "log_prob",
    "log_softmax",
    "log_std",
    "log_std_score",
    "logits",
    "nstep_returns",
    "num_parameters",
    "output_score",
    "philox4x32",
    "policy_gradient",
    "returns",
    "reward_to_go",
    "rollout",
    "sample",
    "score",
    "sgd",
    "standardize",
    "state_values",
    "summed",
    "td_errors",
    "value_gradient",
    "value_loss",
    "vtrace",
]
