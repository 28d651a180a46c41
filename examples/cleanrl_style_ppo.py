"""PPO in one file, every detail in sight, with fastpg for the rollout and the advantages.

    python examples/cleanrl_style_ppo.py                       # CartPole-v1 to a mean return of 475
    python examples/cleanrl_style_ppo.py --rollout usual       # the same with Gymnasium and a loop of steps
    python examples/cleanrl_style_ppo.py --env-id Acrobot-v1

For readers of CleanRL's ppo.py: the names and the details are the same (orthogonal initialisation, annealed
learning rate, normalised advantages, clipped ratio and clipped value loss, clipped gradient norm). What
differs: collecting is one call, and advantages are right at time limits, where V of the final observation is
bootstrapped and not the next episode's first.

Schulman et al., "Proximal policy optimization algorithms", 2017; Huang et al., "The 37 implementation details
of proximal policy optimization", 2022.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import fastpg
import fastpg.torch as fpt  # before torch, whose threads then leave the cores sooner

# isort: split
import gymnasium
import numpy as np
import torch
from torch import Tensor, nn


def layer(inputs: int, outputs: int, std: float = 2**0.5) -> nn.Linear:
    """Return a Linear with orthogonal weights and zero biases."""
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, std)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    """Two networks: `actor`, to logits, and `critic`, to a value."""

    def __init__(self, num_inputs: int, num_actions: int) -> None:
        super().__init__()
        self.critic = nn.Sequential(
            layer(num_inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, std=1.0)
        )
        self.actor = nn.Sequential(
            layer(num_inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, num_actions, std=0.01)
        )


@dataclass
class Batch:
    """What the update reads, (num_steps, num_envs, ...); and the returns of the episodes that ended."""

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    episode_returns: list[float]


class FastRollout:
    """Collecting with fastpg: one compiled call for the steps, one for the advantages."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.batch = args, None
        self.env: Any = fastpg.make(args.env_id, args.num_envs)
        self.env.reset(seed=args.seed)

    def collect(self, agent: Agent) -> Batch:
        batch = fpt.collect(self.env, agent.actor, self.args.num_steps, value=agent.critic, out=self.batch)
        self.batch = batch
        advantages, returns = batch.gae(gamma=self.args.gamma, lam=self.args.gae_lambda)
        episode_returns = batch.episode_returns.tolist()
        return Batch(
            batch.obs, batch.actions, batch.log_probs, batch.values, advantages, returns, episode_returns
        )


class UsualRollout:
    """Collecting as it is usually done: a loop of steps, and a loop for the advantages."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.env: Any = gymnasium.make_vec(
            args.env_id,
            args.num_envs,
            "sync",
            vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
        )
        self.next_obs, _ = self.env.reset(seed=args.seed)
        self.earned = np.zeros(args.num_envs)

    @torch.no_grad()
    def collect(self, agent: Agent) -> Batch:
        args, shape = self.args, (self.args.num_steps, self.args.num_envs)
        obs = torch.zeros((*shape, *self.env.single_observation_space.shape))
        actions = torch.zeros(shape, dtype=torch.long)
        log_probs, rewards, done, values, bootstrap = (torch.zeros(shape) for _ in range(5))
        episode_returns: list[float] = []
        for t in range(args.num_steps):
            obs[t] = torch.from_numpy(self.next_obs)
            distribution = torch.distributions.Categorical(logits=agent.actor(obs[t]))
            actions[t] = distribution.sample()
            log_probs[t] = distribution.log_prob(actions[t])
            values[t] = agent.critic(obs[t])[:, 0]
            self.next_obs, reward, terminated, truncated, infos = self.env.step(actions[t].numpy())
            rewards[t] = torch.from_numpy(reward)
            done[t] = torch.from_numpy(terminated | truncated)
            self.earned += reward
            for i in np.flatnonzero(terminated | truncated):
                episode_returns.append(self.earned[i])
                self.earned[i] = 0.0
                if truncated[i] and not terminated[i]:
                    bootstrap[t, i] = agent.critic(torch.from_numpy(infos["final_obs"][i]))[0]
        next_value = agent.critic(torch.from_numpy(self.next_obs))[:, 0]
        advantages, last = torch.zeros(shape), torch.zeros(args.num_envs)
        for t in reversed(range(args.num_steps)):
            following = next_value if t == args.num_steps - 1 else values[t + 1]
            following = following * (1.0 - done[t]) + bootstrap[t]
            delta = rewards[t] + args.gamma * following - values[t]
            last = delta + args.gamma * args.gae_lambda * (1.0 - done[t]) * last
            advantages[t] = last
        return Batch(obs, actions, log_probs, values, advantages, advantages + values, episode_returns)


ROLLOUTS = {"fastpg": FastRollout, "usual": UsualRollout}


def update(args: argparse.Namespace, agent: Agent, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Make the epochs of minibatches: all of it is torch."""
    b_obs = batch.obs.flatten(0, 1)
    b_actions, b_log_probs, b_values, b_advantages, b_returns = (
        part.reshape(-1)
        for part in (batch.actions, batch.log_probs, batch.values, batch.advantages, batch.returns)
    )
    for _ in range(args.update_epochs):
        for indices in torch.randperm(len(b_obs)).chunk(args.num_minibatches):
            log_softmax = torch.log_softmax(agent.actor(b_obs[indices]), -1)
            new_log_probs = log_softmax.gather(1, b_actions[indices, None])[:, 0]
            entropy = -(log_softmax.exp() * log_softmax).sum(-1)
            new_values = agent.critic(b_obs[indices])[:, 0]

            ratio = (new_log_probs - b_log_probs[indices]).exp()
            advantages = b_advantages[indices]
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
            clipped_ratio = ratio.clamp(1.0 - args.clip_coef, 1.0 + args.clip_coef)
            policy_loss = -torch.min(advantages * ratio, advantages * clipped_ratio).mean()

            old_values, returns = b_values[indices], b_returns[indices]
            clipped_values = old_values + (new_values - old_values).clamp(-args.clip_coef, args.clip_coef)
            errors = torch.max((new_values - returns) ** 2, (clipped_values - returns) ** 2)
            value_loss = 0.5 * errors.mean()

            loss = policy_loss - args.ent_coef * entropy.mean() + args.vf_coef * value_loss
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
            optimizer.step()


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--env-id", default="CartPole-v1", help="one with Discrete actions and real observations"
    )
    parser.add_argument("--rollout", choices=list(ROLLOUTS), default="fastpg")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=500_000)
    parser.add_argument("--target-return", type=float, default=475.0, help="stop when 100 episodes reach it")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--num-steps", type=int, default=64)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--num-minibatches", type=int, default=4)
    parser.add_argument("--update-epochs", type=int, default=4)
    parser.add_argument("--clip-coef", type=float, default=0.2)
    parser.add_argument("--ent-coef", type=float, default=0.01)
    parser.add_argument("--vf-coef", type=float, default=0.5)
    parser.add_argument("--max-grad-norm", type=float, default=0.5)
    parser.add_argument(
        "--torch-threads", type=int, default=1, help="minibatches of 512 are too small for more"
    )
    parser.add_argument("--compare", type=int, default=3, help="rollouts to time both ways at the end")
    return parser.parse_args(argv)


def compare(args: argparse.Namespace, agent: Agent) -> None:
    """Print how long a rollout with its advantages takes either way, taking turns."""
    sources = {name: source(args) for name, source in ROLLOUTS.items()}
    best = dict.fromkeys(sources, float("inf"))
    for _ in range(args.compare):
        for name, source in sources.items():
            start = time.perf_counter()
            source.collect(agent)
            best[name] = min(best[name], time.perf_counter() - start)
    print(
        f"a rollout of {args.num_steps} x {args.num_envs} steps with advantages: "
        f"{best['usual'] * 1e3:.1f} ms the usual way, {best['fastpg'] * 1e3:.2f} ms with fastpg, "
        f"{best['usual'] / best['fastpg']:.0f} times as fast"
    )


def main(argv: list[str] | None = None) -> list[float]:
    """Train, and return the returns of all episodes in order."""
    args = parse(argv)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.torch_threads)
    rollout = ROLLOUTS[args.rollout](args)
    agent = Agent(rollout.env.single_observation_space.shape[0], int(rollout.env.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), args.learning_rate, eps=1e-5)
    per_iteration = args.num_envs * args.num_steps
    iterations = args.total_timesteps // per_iteration
    episode_returns: list[float] = []
    collecting = updating = 0.0
    for iteration in range(1, iterations + 1):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1.0 - (iteration - 1.0) / iterations)
        start = time.perf_counter()
        batch = rollout.collect(agent)
        middle = time.perf_counter()
        update(args, agent, optimizer, batch)
        collecting, updating = collecting + middle - start, updating + time.perf_counter() - middle
        episode_returns += batch.episode_returns
        recent = float(np.mean(episode_returns[-100:])) if episode_returns else float("nan")
        reached = len(episode_returns) >= 100 and recent >= args.target_return
        if iteration % 20 == 0 or iteration == iterations or reached:
            print(f"{iteration * per_iteration:>9} steps: mean return of 100 episodes {recent:.1f}")
        if reached:
            break
    print(f"collecting took {collecting:.2f} s, updating {updating:.2f} s")
    if args.compare > 0:
        compare(args, agent)
    return episode_returns


if __name__ == "__main__":
    main()
