"""PPO in PyTorch, on Gymnasium's vector environments: `ppo_torch.py --env ENV ...`; see ppo_setting.py.

The form in which PPO is usually written by hand (CleanRL's): a network each for policy and value, orthogonal
initialisation, one Adam, advantages standardised in every minibatch, one norm of both gradients clipped, and
every end of an episode a termination.
"""

import itertools
import time

from ppo_setting import arguments, evaluate, iterations, report

setting = arguments(__doc__)

import gymnasium  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.distributions import Categorical, Normal  # noqa: E402

torch.set_num_threads(1)  # more are slower with networks of this size
torch.manual_seed(setting.seed)
np.random.seed(setting.seed)


def network(num_inputs, num_outputs, last_gain):
    modules = []
    for size, width in itertools.pairwise([num_inputs, *setting.hidden]):
        modules += [layer(size, width, 2**0.5), nn.Tanh()]
    return nn.Sequential(*modules, layer(setting.hidden[-1], num_outputs, last_gain))


def layer(num_inputs, num_outputs, gain):
    linear = nn.Linear(num_inputs, num_outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    def __init__(self, obs_space, action_space):
        super().__init__()
        self.is_discrete = isinstance(action_space, gymnasium.spaces.Discrete)
        num_inputs = int(np.prod(obs_space.shape))
        num_outputs = int(action_space.n) if self.is_discrete else action_space.shape[0]
        self.actor = network(num_inputs, num_outputs, 0.01)
        self.critic = network(num_inputs, 1, 1.0)
        if not self.is_discrete:
            self.log_std = nn.Parameter(torch.zeros(num_outputs))

    def distribution(self, obs):
        outputs = self.actor(obs)
        return Categorical(logits=outputs) if self.is_discrete else Normal(outputs, self.log_std.exp())

    def log_prob(self, distribution, actions):
        each = distribution.log_prob(actions)
        return each if self.is_discrete else each.sum(-1)

    def entropy(self, distribution):
        each = distribution.entropy()
        return each if self.is_discrete else each.sum(-1)

    def value(self, obs):
        return self.critic(obs)[..., 0]


def in_bounds(actions):
    """The actions as the environments take them."""
    space = env.single_action_space
    return actions if agent.is_discrete else np.clip(actions, space.low, space.high)


def tensor(array):
    return torch.as_tensor(array, dtype=torch.float32)


same_step = gymnasium.vector.AutoresetMode.SAME_STEP
env = gymnasium.make_vec(
    setting.env,
    num_envs=setting.num_envs,
    vectorization_mode="sync",
    vector_kwargs={"autoreset_mode": same_step},
)
agent = Agent(env.single_observation_space, env.single_action_space)
optimizer = torch.optim.Adam(agent.parameters(), lr=setting.learning_rate, eps=1e-5)
shape = setting.horizon, setting.num_envs
batch = setting.num_envs * setting.horizon
begin = time.perf_counter()
obs, _ = env.reset(seed=setting.seed)
obs = tensor(obs)
for _ in range(iterations(setting)):
    rows = []
    for _ in range(setting.horizon):
        with torch.no_grad():
            distribution = agent.distribution(obs)
            actions = distribution.sample()
            log_probs, values = agent.log_prob(distribution, actions), agent.value(obs)
        following, rewards, terminated, truncated, _ = env.step(in_bounds(actions.numpy()))
        rows.append((obs, actions, log_probs, values, tensor(rewards), tensor(terminated | truncated)))
        obs = tensor(following)
    all_obs, all_actions, old_log_probs, values, rewards, dones = map(torch.stack, zip(*rows, strict=True))
    with torch.no_grad():
        next_value = agent.value(obs)
    advantages, advantage = torch.zeros(shape), torch.zeros(setting.num_envs)
    for t in reversed(range(setting.horizon)):
        delta = rewards[t] + setting.gamma * next_value * (1 - dones[t]) - values[t]
        advantage = delta + setting.gamma * setting.lam * (1 - dones[t]) * advantage
        advantages[t], next_value = advantage, values[t]
    targets = (advantages + values).flatten()
    all_obs, all_actions = all_obs.flatten(0, 1), all_actions.flatten(0, 1)
    old_log_probs, advantages = old_log_probs.flatten(), advantages.flatten()
    for _ in range(setting.epochs):
        for index in torch.randperm(batch).split(batch // setting.minibatches):
            distribution = agent.distribution(all_obs[index])
            ratio = (agent.log_prob(distribution, all_actions[index]) - old_log_probs[index]).exp()
            weight = advantages[index]
            weight = (weight - weight.mean()) / (weight.std() + 1e-8)
            clipped = ratio.clamp(1 - setting.clip_range, 1 + setting.clip_range)
            surrogate = torch.min(ratio * weight, clipped * weight).mean()
            value_loss = 0.5 * (agent.value(all_obs[index]) - targets[index]).square().mean()
            bonus = setting.entropy_coef * agent.entropy(distribution).mean()
            optimizer.zero_grad()
            (value_loss - surrogate - bonus).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), setting.max_grad_norm)
            optimizer.step()
seconds = time.perf_counter() - begin


@torch.no_grad()
def act(obs):
    return in_bounds(agent.distribution(tensor(obs)).sample().numpy())


report(iterations(setting) * batch, seconds, evaluate(setting.env, setting.seed, act))
