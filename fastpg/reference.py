"""The oracle: fastpg's algorithms in plain float64 NumPy, read side by side with the design's formulas.

Everything the compiled core does is written here once more, as small pure functions without any concern
for speed. The tests hold the core to these functions, and these to central differences and worked examples.
`theta` is always the flat vector: per layer the weight `(out, in)` row-major, then the bias `(out,)`;
hidden layers first, then the head, then a Gaussian's `log_std`. Arrays over time are `(T, N)`: T steps of
N environments.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint32]

# ---- random numbers ----------------------------------------------------------------------------------------


def philox4x32(counter: Words, key: Words) -> Words:
    """Return a block of Philox4x32-10.

    Parameters
    ----------
    counter : uint32 array, shape (..., 4)
    key : uint32 array, shape (..., 2)

    Returns
    -------
    uint32 array, shape (..., 4)

    References
    ----------
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> import numpy as np
    >>> [hex(word) for word in philox4x32(np.zeros(4, np.uint32), np.zeros(2, np.uint32))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    low_word = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = (key[..., i].astype(np.uint64) for i in range(2))
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c0
        product1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (product1 >> np.uint64(32)) ^ c1 ^ k0,
            product1 & low_word,
            (product0 >> np.uint64(32)) ^ c3 ^ k1,
            product0 & low_word,
        )
        k0 = (k0 + np.uint64(0x9E3779B9)) & low_word
        k1 = (k1 + np.uint64(0xBB67AE85)) & low_word
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3), axis=-1).astype(np.uint32)


# ---- the policy: an MLP and what its outputs mean ----------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """An MLP's shape. `hidden=()` is the linear policy; `activation` is "tanh" or "relu".

    An action has independent components. By `head`, component k is

    - "categorical": an integer below action_categories[k], by the softmax of as many outputs; `()` stands for
      one component, whose actions are then `(B,)` instead of `(B, n)`;
    - "bernoulli": 1 with the probability sigmoid(output k), else 0;
    - "gaussian": normal with the mean output k and the standard deviation exp(log_std[k]).
    """

    num_inputs: int
    hidden: tuple[int, ...]
    num_outputs: int
    activation: str = "tanh"
    head: str = "categorical"
    action_categories: tuple[int, ...] = ()


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
    return in_layers + (network.num_outputs if network.head == "gaussian" else 0)


def log_std(network: Network, theta: Floats) -> Floats:
    """Return the Gaussian's parameters at the end of theta, `(n,)`."""
    return theta[len(theta) - network.num_outputs :]


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
    inputs = [np.asarray(obs, np.float64)]
    *hidden, (head_weight, head_bias) = layers(network, theta)
    for weight, bias in hidden:
        inputs.append(activate(network, inputs[-1] @ weight.T + bias))
    return inputs, inputs[-1] @ head_weight.T + head_bias


def logits(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return the outputs of the head, `(B, A)`, for observations `(B, D)`: logits, or a Gaussian's means."""
    return layer_inputs(network, theta, obs)[1]


def log_softmax(x: Floats) -> Floats:
    """Return `x - log(sum(exp(x)))` over the last axis, without overflow."""
    shifted = x - x.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def component_log_probs(network: Network, z: Floats) -> list[Floats]:
    """Return the log-probabilities `(B, n_k)` of every component's values; a bit's logits are (0, output)."""
    if network.head == "bernoulli":
        return [log_softmax(np.stack([np.zeros_like(bit), bit], axis=-1)) for bit in z.T]
    sizes = network.action_categories or (network.num_outputs,)
    return [log_softmax(part) for part in np.split(z, np.cumsum(sizes)[:-1], axis=-1)]


def summed(components: Iterable[Floats]) -> Floats:
    """Return the sum of the components' values, each `(B,)`."""
    result: Floats = np.sum(list(components), axis=0)
    return result


def log_prob(network: Network, theta: Floats, obs: Floats, actions: Ints | Floats) -> Floats:
    """Return `log pi(a|s)`, `(B,)`: the sum over the action's components."""
    z = logits(network, theta, obs)
    if network.head == "gaussian":
        std = np.exp(log_std(network, theta))
        densities = -0.5 * ((actions - z) / std) ** 2 - np.log(std) - 0.5 * math.log(2.0 * math.pi)
        return summed(densities.T)
    tables = component_log_probs(network, z)
    chosen = np.reshape(actions, (len(z), len(tables))).astype(np.int64).T
    return summed(table[np.arange(len(z)), value] for table, value in zip(tables, chosen, strict=True))


def entropy(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return `-E[log pi(a|s)]`, in nats, `(B,)`."""
    z = logits(network, theta, obs)
    if network.head == "gaussian":
        each = log_std(network, theta) + 0.5 * math.log(2.0 * math.pi * math.e)
        return np.full(len(z), each.sum())
    return summed(-(np.exp(table) * table).sum(axis=-1) for table in component_log_probs(network, z))


def kl(network: Network, theta: Floats, other: Floats, obs: Floats) -> Floats:
    """Return `E[log pi(a|s) - log pi_other(a|s)]` with a drawn from pi, `(B,)`."""
    p, q = logits(network, theta, obs), logits(network, other, obs)
    if network.head == "gaussian":
        std_p, std_q = np.exp(log_std(network, theta)), np.exp(log_std(network, other))
        each = np.log(std_q / std_p) + (std_p**2 + (p - q) ** 2) / (2.0 * std_q**2) - 0.5
        return summed(each.T)
    pairs = zip(component_log_probs(network, p), component_log_probs(network, q), strict=True)
    return summed((np.exp(log_p) * (log_p - log_q)).sum(axis=-1) for log_p, log_q in pairs)


def sample(logits: Floats, uniform: Floats) -> Ints:
    """Invert the cumulative distribution of a softmax at `uniform`, `(B,)` in [0, 1).

    The action is the number of actions whose cumulative probability is at most `uniform`.
    """
    cumulative = np.cumsum(np.exp(log_softmax(logits)), axis=-1)
    # The last cumulative probability is 1 up to rounding: it must never be passed.
    result: Ints = (cumulative[:, :-1] <= uniform[:, None]).sum(axis=-1)
    return result


def draw(network: Network, theta: Floats, obs: Floats, uniforms: Floats) -> Ints | Floats:
    """Draw actions, `(B, n)`, from uniforms in (0, 1), `(B, n)`; of a Gaussian `(B, n rounded up to even)`.

    Discrete components invert their cumulative distributions. Normals come in pairs, from two uniforms each
    (Box and Muller, 1958): sqrt(-2 log u) times the cosine and the sine of 2 pi u'.
    """
    z = logits(network, theta, obs)
    if network.head != "gaussian":
        tables = component_log_probs(network, z)
        return np.stack([sample(table, u) for table, u in zip(tables, uniforms.T, strict=True)], axis=-1)
    radius, angle = np.sqrt(-2.0 * np.log(uniforms[:, ::2])), 2.0 * np.pi * uniforms[:, 1::2]
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(len(z), -1)
    result: Floats = z + np.exp(log_std(network, theta)) * normal[:, : network.num_outputs]
    return result


# ---- the score, grad log pi --------------------------------------------------------------------------------


def output_score(network: Network, theta: Floats, z: Floats, actions: Ints | Floats) -> Floats:
    """Return the derivative of log pi(a|s) with respect to the outputs z, both `(B, A)`."""
    if network.head == "gaussian":
        result: Floats = (actions - z) / np.exp(log_std(network, theta)) ** 2
        return result
    if network.head == "bernoulli":
        return actions - 1.0 / (1.0 + np.exp(-z))
    parts = []
    tables = component_log_probs(network, z)
    for table, value in zip(tables, np.reshape(actions, (len(z), len(tables))).T, strict=True):
        parts.append(np.eye(table.shape[1])[value] - np.exp(table))  # onehot(a) - pi
    return np.concatenate(parts, axis=1)


def log_std_score(network: Network, theta: Floats, obs: Floats, actions: Ints | Floats) -> Floats:
    """Return the derivative of log pi(a|s) with respect to log_std, `(B, n)`; `(B, 0)` if there is none."""
    if network.head != "gaussian":
        return np.zeros((len(obs), 0))
    deviate = (actions - logits(network, theta, obs)) / np.exp(log_std(network, theta))
    result: Floats = deviate**2 - 1.0
    return result


def backpropagate(
    network: Network, theta: Floats, obs: Floats, actions: Ints | Floats
) -> list[tuple[Floats, Floats]]:
    """Return, per layer, its input `(B, in)` and its delta `(B, out)`.

    Delta is the derivative of log pi(a|s) with respect to the layer's output before the activation: the score
    with respect to the bias. Its outer product with the input is the score with respect to the weight.
    """
    inputs, z = layer_inputs(network, theta, obs)
    delta = output_score(network, theta, z, actions)
    pairs = [(inputs[-1], delta)]
    weights = [weight for weight, _ in layers(network, theta)]
    for weight, y, x in zip(weights[:0:-1], inputs[:0:-1], inputs[-2::-1], strict=True):
        delta = (delta @ weight) * activation_slope(network, y)
        pairs.insert(0, (x, delta))
    return pairs


def score(network: Network, theta: Floats, obs: Floats, actions: Ints | Floats) -> Floats:
    """Return `grad log pi(a|s)` of every sample, `(B, P)`."""
    parts: list[Floats] = []
    for x, delta in backpropagate(network, theta, obs, actions):
        parts += [(delta[:, :, None] * x[:, None, :]).reshape(len(x), -1), delta]
    return np.concatenate([*parts, log_std_score(network, theta, obs, actions)], axis=1)


def policy_gradient(
    network: Network,
    theta: Floats,
    obs: Floats,
    actions: Ints | Floats,
    weights: Floats,
    reduction: str = "mean",
) -> Floats:
    """Return the sum or the mean of `weights * grad log pi(a|s)`, `(P,)`."""
    parts: list[Floats] = []
    for x, delta in backpropagate(network, theta, obs, actions):
        weighted = weights[:, None] * delta
        parts += [(weighted.T @ x).ravel(), weighted.sum(axis=0)]
    total = np.concatenate([*parts, weights @ log_std_score(network, theta, obs, actions)])
    return total / len(weights) if reduction == "mean" else total


def entropy_gradient(network: Network, theta: Floats, obs: Floats, step: float = 1e-6) -> Floats:
    """Return the gradient of the summed entropy, `(P,)`, by central differences: plain, and sure."""
    result = np.empty_like(theta)
    for i in range(len(theta)):
        ends = []
        for change in (step, -step):
            moved = theta.copy()
            moved[i] += change
            ends.append(entropy(network, moved, obs).sum())
        result[i] = (ends[0] - ends[1]) / (2.0 * step)
    return result


# ---- the value function ------------------------------------------------------------------------------------


def state_values(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return V(s), `(B,)`: the only output of the network."""
    return layer_inputs(network, theta, obs)[1][:, 0]


def value_loss(network: Network, theta: Floats, obs: Floats, targets: Floats) -> float:
    """Return the mean of `(target - V(s))^2`."""
    return float(((targets - state_values(network, theta, obs)) ** 2).mean())


def value_gradient(network: Network, theta: Floats, obs: Floats, targets: Floats) -> Floats:
    """Return the gradient of minus half of `value_loss`, the mean of `(target - V(s)) grad V(s)`, `(P,)`."""
    inputs, z = layer_inputs(network, theta, obs)
    delta = (targets[:, None] - z) / len(targets)
    parts = [(delta.T @ inputs[-1]).ravel(), delta.sum(axis=0)]
    weights = [weight for weight, _ in layers(network, theta)]
    for weight, y, x in zip(weights[:0:-1], inputs[:0:-1], inputs[-2::-1], strict=True):
        delta = (delta @ weight) * activation_slope(network, y)
        parts = [(delta.T @ x).ravel(), delta.sum(axis=0), *parts]
    return np.concatenate(parts)


def explained_variance(values: Floats, targets: Floats) -> float:
    """Return `1 - Var(target - V(s)) / Var(target)`: 1 is perfect, 0 as good as a constant.

    Examples
    --------
    >>> import numpy as np
    >>> targets = np.array([1.0, 2.0, 3.0])
    >>> explained_variance(targets, targets), explained_variance(np.zeros(3), targets)
    (1.0, 0.0)
    """
    return float(1.0 - (targets - values).var() / targets.var())


def standardize(weights: Floats) -> Floats:
    """Return the weights with mean 0 and standard deviation 1; those of a constant are 0."""
    result: Floats = (weights - weights.mean()) / (weights.std() + 1e-8)
    return result


# ---- returns -----------------------------------------------------------------------------------------------


def reward_to_go(rewards: Floats, terminated: Bools, truncated: Bools, gamma: float = 1.0) -> Floats:
    """Return `sum_{k>=t} gamma^(k-t) r_k` within the episode, `(T, N)`; the last row ends without bootstrap.

    Examples
    --------
    >>> import numpy as np
    >>> rewards, terminated = np.ones((4, 1)), np.array([[False], [True], [False], [False]])
    >>> reward_to_go(rewards, terminated, np.zeros_like(terminated), gamma=0.5).ravel().tolist()
    [1.5, 1.0, 1.5, 1.0]
    """
    result = np.empty_like(rewards, dtype=np.float64)
    following = np.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * np.where(terminated[t] | truncated[t], 0.0, following)
        result[t] = following
    return result


def episode_returns(rewards: Floats, terminated: Bools, truncated: Bools, gamma: float = 1.0) -> Floats:
    """Return `R(tau) = sum_t gamma^t r_t` of its own episode, at every t of it, `(T, N)`.

    Examples
    --------
    >>> import numpy as np
    >>> rewards, terminated = np.ones((4, 1)), np.array([[False], [True], [False], [False]])
    >>> episode_returns(rewards, terminated, np.zeros_like(terminated), gamma=0.5).ravel().tolist()
    [1.5, 1.5, 1.5, 1.5]
    """
    result = reward_to_go(rewards, terminated, truncated, gamma)
    for t in range(1, len(rewards)):
        begins = terminated[t - 1] | truncated[t - 1]
        result[t] = np.where(begins, result[t], result[t - 1])
    return result


FORMS: dict[str, Callable[[Floats, Bools, Bools, float], Floats]] = {
    "total": episode_returns,
    "reward_to_go": reward_to_go,
}


# ---- estimates on arrays: by their defining sums, one environment at a time --------------------------------


class Episodes(NamedTuple):
    """One environment's transitions, in time order, rows that are none already taken out: arrays `(T,)`."""

    rewards: Floats
    values: Floats
    terminated: Bools
    truncated: Bools
    final_values: Floats  # V of the final observation, read where an episode was truncated
    last_value: float  # V of the observation after the last row

    def end(self, t: int) -> int:
        """Return the last row of the episode that row t belongs to."""
        done = np.flatnonzero(self.terminated[t:] | self.truncated[t:])
        return t + int(done[0]) if len(done) else len(self.rewards) - 1

    def next_value(self, t: int) -> float:
        """Return the value after row t: `V(s_{t+1})`."""
        if self.terminated[t]:
            return 0.0
        if self.truncated[t]:
            return float(self.final_values[t])
        return float(self.values[t + 1]) if t + 1 < len(self.values) else self.last_value

    def td_error(self, t: int, gamma: float) -> float:
        """Return `delta_t = r_t + gamma V(s_{t+1}) - V(s_t)`."""
        return float(self.rewards[t] + gamma * self.next_value(t) - self.values[t])

    def nstep_return(self, t: int, gamma: float, n: int) -> float:
        """Return `sum_{k<n} gamma^k r_{t+k} + gamma^n V(s_{t+n})`, cut where the episode ends."""
        stop = min(t + n, self.end(t) + 1)
        rewards = sum(gamma ** (k - t) * self.rewards[k] for k in range(t, stop))
        return float(rewards + gamma ** (stop - t) * self.next_value(stop - 1))

    def advantage(self, t: int, gamma: float, lam: float) -> float:
        """Return `sum_k (gamma lam)^k delta_{t+k}`."""
        rows = range(t, self.end(t) + 1)
        return sum((gamma * lam) ** (k - t) * self.td_error(k, gamma) for k in rows)

    def vtrace(self, t: int, gamma: float, rhos: Floats, cs: Floats) -> float:
        """Return `V(s_t) + sum_k gamma^(k-t) c_t ... c_{k-1} rho_k delta_k` (Espeholt et al., equation 1)."""
        corrections = (
            gamma ** (k - t) * np.prod(cs[t:k]) * rhos[k] * self.td_error(k, gamma)
            for k in range(t, self.end(t) + 1)
        )
        return float(self.values[t] + sum(corrections))


def each_environment(
    rewards: Floats,
    values: Floats | None,
    terminated: Bools,
    truncated: Bools,
    last_values: Floats | None,
    final_values: Floats | None,
    mask: Bools | None,
    bootstrap_truncated: bool,
) -> Iterator[tuple[Any, Episodes]]:
    """Yield the index of one environment's transitions in an array `(T, N)`, and those transitions."""
    live = np.ones(rewards.shape, bool) if mask is None else mask
    if bootstrap_truncated and final_values is None and (truncated & live).any():
        raise ValueError("truncated has True entries but final_values is None")
    for n in range(rewards.shape[1]):
        index = (live[:, n], n)
        yield (
            index,
            Episodes(
                rewards[index],
                np.zeros(index[0].sum()) if values is None else values[index],
                (terminated if bootstrap_truncated else terminated | truncated)[index],
                truncated[index],
                np.zeros(index[0].sum()) if final_values is None else final_values[index],
                0.0 if last_values is None else float(last_values[n]),
            ),
        )


def returns(
    rewards: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    gamma: float = 1.0,
    last_values: Floats | None = None,
    final_values: Floats | None = None,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> Floats:
    """Return the reward-to-go with bootstrap, `(T, N)`: the n-step return whose window never closes."""
    result = np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, None, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        rows = range(len(episodes.rewards))
        result[index] = [episodes.nstep_return(t, gamma, len(rewards)) for t in rows]
    return result


def nstep_returns(
    rewards: Floats,
    values: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    n: int,
    last_values: Floats,
    final_values: Floats | None = None,
    gamma: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> Floats:
    """Return the n-step return of every transition, `(T, N)`."""
    result = np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, values, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        result[index] = [episodes.nstep_return(t, gamma, n) for t in range(len(episodes.rewards))]
    return result


def td_errors(
    rewards: Floats,
    values: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    last_values: Floats,
    final_values: Floats | None = None,
    gamma: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> Floats:
    """Return the temporal-difference residual of every transition, `(T, N)`."""
    result = np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, values, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        result[index] = [episodes.td_error(t, gamma) for t in range(len(episodes.rewards))]
    return result


def gae(
    rewards: Floats,
    values: Floats,
    terminated: Bools,
    truncated: Bools,
    *,
    last_values: Floats,
    final_values: Floats | None = None,
    gamma: float,
    lam: float,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> tuple[Floats, Floats]:
    """Return generalised advantage estimates, and these plus the values, both `(T, N)`."""
    advantages, totals = np.zeros(rewards.shape), np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, values, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        advantages[index] = [episodes.advantage(t, gamma, lam) for t in range(len(episodes.rewards))]
        totals[index] = advantages[index] + episodes.values
    return advantages, totals


def vtrace(
    rewards: Floats,
    values: Floats,
    terminated: Bools,
    truncated: Bools,
    log_rhos: Floats,
    *,
    last_values: Floats,
    final_values: Floats | None = None,
    gamma: float,
    lam: float = 1.0,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    mask: Bools | None = None,
    bootstrap_truncated: bool = True,
) -> tuple[Floats, Floats]:
    """Return V-trace targets, and the advantages `rho_t (r_t + gamma vs_{t+1} - V(s_t))`, both `(T, N)`."""
    targets, advantages = np.zeros(rewards.shape), np.zeros(rewards.shape)
    for index, episodes in each_environment(
        rewards, values, terminated, truncated, last_values, final_values, mask, bootstrap_truncated
    ):
        ratios = np.exp(log_rhos[index])
        rhos, cs = np.minimum(rho_bar, ratios), lam * np.minimum(c_bar, ratios)
        rows = range(len(episodes.rewards))
        targets[index] = [episodes.vtrace(t, gamma, rhos, cs) for t in rows]
        # The same transitions with vs in the place of V: their next value is vs_{t+1}.
        corrected = episodes._replace(values=targets[index])
        follows = np.array([corrected.next_value(t) for t in rows])
        advantages[index] = rhos * (episodes.rewards + gamma * follows - episodes.values)
    return targets, advantages


# ---- CartPole ----------------------------------------------------------------------------------------------

X_LIMIT = 2.4
ANGLE_LIMIT = 12 * 2 * math.pi / 360


def cartpole_step(
    state: Floats, action: Ints, sutton_barto_reward: bool = False
) -> tuple[Floats, Floats, Bools]:
    """Take one Euler step of Gymnasium's CartPole.

    Parameters
    ----------
    state : float64 array, shape (N, 4)
        Position (m), velocity (m/s), angle (rad), angular velocity (rad/s).
    action : int array, shape (N,)
        0 pushes left, 1 pushes right.

    Returns
    -------
    state (N, 4), reward (N,), terminated (N,)

    References
    ----------
    Barto, Sutton and Anderson, 1983; Florian, "Correct equations for the dynamics of the cart-pole system".
    """
    gravity, masspole, total_mass, length, force_mag, tau = 9.8, 0.1, 1.1, 0.5, 10.0, 0.02
    polemass_length = masspole * length
    x, x_dot, angle, angle_dot = state.T
    force = np.where(action == 1, force_mag, -force_mag)
    cos, sin = np.cos(angle), np.sin(angle)
    temp = (force + polemass_length * angle_dot**2 * sin) / total_mass
    angle_acc = (gravity * sin - cos * temp) / (length * (4.0 / 3.0 - masspole * cos**2 / total_mass))
    x_acc = temp - polemass_length * angle_acc * cos / total_mass
    state = np.stack(
        [x + tau * x_dot, x_dot + tau * x_acc, angle + tau * angle_dot, angle_dot + tau * angle_acc], axis=-1
    )
    terminated = (np.abs(state[:, 0]) > X_LIMIT) | (np.abs(state[:, 2]) > ANGLE_LIMIT)
    reward = np.where(terminated, -1.0, 0.0) if sutton_barto_reward else np.ones(len(state))
    return state, reward, terminated


# ---- rollout and estimate ----------------------------------------------------------------------------------


class Batch(NamedTuple):
    """What a rollout saw. `valid[t, n]` is False once environment n has played its quota of episodes."""

    obs: NDArray[np.float32]  # (T, N, 4)
    actions: Any  # (T, N), or (T, N, n)
    rewards: Floats  # (T, N)
    terminated: Bools  # (T, N)
    truncated: Bools  # (T, N)
    valid: Bools  # (T, N)
    next_obs: NDArray[np.float32] | None = None  # (T, N, 4) before a reset, if there is one


def episode_quota(episodes: int, num_envs: int) -> Ints:
    """Return how many episodes each environment plays: E // N, the first E % N of them one more, `(N,)`.

    A fixed number per environment keeps the estimate unbiased: to take whichever episodes end first would
    prefer the short ones.
    """
    return episodes // num_envs + (np.arange(num_envs) < episodes % num_envs).astype(np.int64)


def rollout(
    network: Network,
    theta: Floats,
    *,
    num_envs: int,
    reset_state: Callable[[int, int], Floats],
    action_uniform: Callable[[int], Floats],
    horizon: int | None = None,
    episodes: int | None = None,
    max_episode_steps: int = 500,
    sutton_barto_reward: bool = False,
) -> Batch:
    """Play CartPole: `horizon` steps of every environment, or `episodes` whole episodes in total.

    Parameters
    ----------
    reset_state : callable
        (environment, step t its episode begins with) -> the episode's first state, (4,).
    action_uniform : callable
        t -> the numbers in [0, 1) that choose the actions at step t, (N,).
    """
    # In horizon mode the quota is never reached.
    quota = np.full(num_envs, horizon, np.int64) if episodes is None else episode_quota(episodes, num_envs)
    state = np.stack([reset_state(n, 0) for n in range(num_envs)])
    age = np.zeros(num_envs, np.int64)  # steps into the present episode
    finished = np.zeros(num_envs, np.int64)  # episodes
    rows: list[tuple[Any, ...]] = []
    while (horizon is None or len(rows) < horizon) and (valid := finished < quota).any():
        obs = state.astype(np.float32)
        actions = sample(logits(network, theta, obs.astype(np.float64)), action_uniform(len(rows)))
        state, rewards, terminated = cartpole_step(state, actions, sutton_barto_reward)
        age += 1
        truncated = ~terminated & (age >= max_episode_steps)
        rows.append((obs, actions, rewards, terminated, truncated, valid, state.astype(np.float32)))
        for n in np.flatnonzero(terminated | truncated):
            finished[n] += 1
            age[n] = 0
            state[n] = reset_state(int(n), len(rows))
    return Batch(*(np.stack(column) for column in zip(*rows, strict=True)))


def estimate_gradient(
    network: Network,
    theta: Floats,
    batch: Batch,
    *,
    form: str,
    gamma: float = 1.0,
    normalize: str = "trajectory",
) -> Floats:
    """Return the policy gradient estimated from a rollout, `(P,)`.

    `normalize="trajectory"` divides the sum by the number of trajectories, finished episodes and fragments
    cut by the horizon alike; "timestep" by the number of transitions.
    """
    done = batch.terminated | batch.truncated
    weights = FORMS[form](batch.rewards, batch.terminated, batch.truncated, gamma)
    cut = batch.valid[-1] & ~done[-1]
    num_trajectories = int((done & batch.valid).sum() + cut.sum())
    divisor = num_trajectories if normalize == "trajectory" else int(batch.valid.sum())
    obs = batch.obs[batch.valid].astype(np.float64)
    actions = batch.actions[batch.valid]
    return policy_gradient(network, theta, obs, actions, weights[batch.valid], "sum") / divisor


# ---- optimizers (ascent) -----------------------------------------------------------------------------------


def clip_norm(gradient: Floats, max_norm: float) -> Floats:
    """Return the gradient, scaled down to the Euclidean norm `max_norm` where it is longer.

    Examples
    --------
    >>> import numpy as np
    >>> clip_norm(np.array([3.0, 4.0]), 2.5).tolist(), clip_norm(np.array([3.0, 4.0]), 6.0).tolist()
    ([1.5, 2.0], [3.0, 4.0])
    """
    norm = float(np.linalg.norm(gradient))
    return gradient * (max_norm / norm) if norm > max_norm else gradient


def observation_scale(obs: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of observations (B, n), each (n,); 1 for what never varies."""
    mean, std = obs.mean(axis=0), obs.std(axis=0)
    return mean, np.where(std > 1e-6 * np.abs(mean) + 1e-8, std, 1.0)


def fold(network: Network, theta: Floats, mean: Floats, std: Floats) -> Floats:
    """Return the parameters that do with x what `theta` does with (x - mean) / std.

    W' = W / std, b' = b - W' mean in the first layer; a linear map of theta.
    """
    folded = theta.copy()
    weight, bias = next(layers(network, folded))
    weight /= std
    bias -= weight @ mean
    return folded


def fold_gradient(network: Network, gradient: Floats, mean: Floats, std: Floats) -> Floats:
    """Return the gradient by theta of f(fold(theta)), given that of f: the transpose of `fold`."""
    result = gradient.copy()
    weight, bias = next(layers(network, result))
    weight -= np.outer(bias, mean)
    weight /= std
    return result


class AdamState(NamedTuple):
    """The running moments of the gradient, each `(P,)`, and the number of steps taken."""

    first: Floats
    second: Floats
    step: int


def adam(
    theta: Floats,
    gradient: Floats,
    state: AdamState,
    *,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Floats, AdamState]:
    """Take one step of Adam uphill (Kingma and Ba, 2015, algorithm 1)."""
    step = state.step + 1
    first = beta1 * state.first + (1.0 - beta1) * gradient
    second = beta2 * state.second + (1.0 - beta2) * gradient**2
    corrected_first, corrected_second = first / (1.0 - beta1**step), second / (1.0 - beta2**step)
    theta = theta + learning_rate * corrected_first / (np.sqrt(corrected_second) + epsilon)
    return theta, AdamState(first, second, step)


def sgd(
    theta: Floats, gradient: Floats, velocity: Floats, *, learning_rate: float, momentum: float = 0.0
) -> tuple[Floats, Floats]:
    """Take one step of gradient ascent with heavy-ball momentum: the new theta and the new velocity."""
    velocity = momentum * velocity + gradient
    return theta + learning_rate * velocity, velocity
