"""Stable-Baselines3's PPO with fastpg under it: environments, rollouts and advantages.

    python examples/sb3_ppo.py

`FastPPO` is PPO with one method replaced. `collect_rollouts` plays all its steps in one compiled call, on
SB3's own networks, and fills SB3's rollout buffer; advantages come from `fastpg.gae`, with V of the final
observation at time limits. `train`, callbacks, loggers and saving are SB3's. Callbacks see `on_step` once a
rollout. `FastRolloutBuffer` is the smaller step, for any environment: SB3's own loop, and our advantages.

The example trains all of them for some rollouts and prints where their time went. Before that it shows that
`fastpg.gae` computes on SB3's buffer what SB3 computes.
"""

import argparse
import time
from typing import Any

import fastpg
import fastpg.torch as fpt  # before torch, whose threads then leave the cores sooner

# isort: split
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from fastpg.sb3 import SB3VecEnv, as_vec_env


class FastRolloutBuffer(RolloutBuffer):
    """SB3's buffer with advantages from `fastpg.gae`: for any PPO or A2C, ``rollout_buffer_class=``.

    SB3 adds gamma * V(final_obs) to the reward of a transition that a time limit cuts. An episode's end is
    then as good as a termination, and `done_from_episode_starts` makes the flags.
    """

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: np.ndarray) -> None:
        """Write `advantages` and `returns`."""
        done = fastpg.done_from_episode_starts(self.episode_starts, dones)
        self.advantages, self.returns = fastpg.gae(
            self.rewards,
            self.values,
            done,
            np.zeros_like(done),
            last_values=last_values.detach().cpu().numpy().reshape(-1),
            gamma=self.gamma,
            lam=self.gae_lambda,
        )


class FastPPO(PPO):
    """PPO whose rollouts are one compiled call: "MlpPolicy" on the CPU, over `fastpg.sb3.as_vec_env`."""

    _rollout: fpt.Batch | None = None

    def collect_rollouts(
        self, env: Any, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer; return whether to go on."""
        policy = self.policy
        if (
            not isinstance(env, SB3VecEnv)
            or not isinstance(policy.features_extractor, FlattenExtractor)
            or not isinstance(env.observation_space, Box)
            or not isinstance(env.action_space, Box | Discrete)
            or policy.use_sde
        ):
            raise TypeError('FastPPO needs "MlpPolicy" over fastpg.sb3.as_vec_env, without wrappers or gSDE')
        callback.on_rollout_start()
        batch = fpt.collect(
            env.vector_env,
            nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net),
            n_rollout_steps,
            value=nn.Sequential(policy.mlp_extractor.value_net, policy.value_net),
            log_std=getattr(policy, "log_std", None),
            out=self._rollout,
        )
        self._rollout = batch
        advantages, returns = batch.gae(gamma=self.gamma, lam=self.gae_lambda)
        rollout_buffer.reset()
        rollout_buffer.observations[:] = batch.obs.numpy()
        rollout_buffer.actions[:] = batch.actions.numpy().reshape(rollout_buffer.actions.shape)
        rollout_buffer.rewards[:] = batch.rewards.numpy()
        rollout_buffer.values[:] = batch.values.numpy()
        rollout_buffer.log_probs[:] = batch.log_probs.numpy()
        rollout_buffer.advantages, rollout_buffer.returns = advantages.numpy(), returns.numpy()
        rollout_buffer.pos, rollout_buffer.full = n_rollout_steps, True
        self.num_timesteps += batch.num_steps
        episodes = zip(batch.episode_returns.tolist(), batch.episode_lengths.tolist(), strict=True)
        self.ep_info_buffer.extend({"r": earned, "l": length, "t": 0.0} for earned, length in episodes)
        self._last_obs = batch.last_obs.numpy()
        callback.update_locals(locals())
        goes_on = callback.on_step()
        callback.on_rollout_end()
        return bool(goes_on)


class Clock(BaseCallback):
    """Adds up the seconds of rollouts, and of all the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.collecting = self.updating = 0.0
        self.last = time.perf_counter()

    def _lap(self) -> float:
        before, self.last = self.last, time.perf_counter()
        return self.last - before

    def _on_training_start(self) -> None:
        self._lap()

    def _on_rollout_start(self) -> None:
        self.updating += self._lap()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.collecting += self._lap()

    def _on_training_end(self) -> None:
        self.updating += self._lap()


def mean_return(model: PPO) -> float:
    """Return that of the last 100 episodes."""
    return float(np.mean([info["r"] for info in model.ep_info_buffer]))


def check_advantages(buffer: RolloutBuffer, rng: np.random.Generator) -> float:
    """Return how far SB3's advantages and ours are apart at most, on a buffer of random numbers."""
    buffer.reset()
    buffer.rewards[:] = rng.normal(size=buffer.rewards.shape)
    buffer.values[:] = rng.normal(size=buffer.values.shape)
    buffer.episode_starts[:] = rng.random(buffer.episode_starts.shape) < 0.05
    last_values, dones = torch.randn(buffer.n_envs), rng.random(buffer.n_envs) < 0.5
    RolloutBuffer.compute_returns_and_advantage(buffer, last_values, dones)
    theirs = buffer.advantages.copy()
    FastRolloutBuffer.compute_returns_and_advantage(buffer, last_values, dones)
    return float(np.abs(buffer.advantages - theirs).max())


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Train both, print the times, and return the mean return that each reached."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--env-id", default="CartPole-v1")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--n-steps", type=int, default=128)
    parser.add_argument("--rollouts", type=int, default=10)
    parser.add_argument("--n-epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    settings: dict[str, Any] = {
        "n_steps": args.n_steps,
        "batch_size": args.num_envs * args.n_steps // 8,
        "n_epochs": args.n_epochs,
        "learning_rate": 1e-3,
        "ent_coef": 0.01,
        "seed": args.seed,
        "device": "cpu",
    }
    models = {
        "PPO, DummyVecEnv": PPO("MlpPolicy", make_vec_env(args.env_id, args.num_envs), **settings),
        "PPO, as_vec_env": PPO(
            "MlpPolicy",
            as_vec_env(args.env_id, args.num_envs),
            rollout_buffer_class=FastRolloutBuffer,
            **settings,
        ),
        "FastPPO": FastPPO("MlpPolicy", as_vec_env(args.env_id, args.num_envs), **settings),
    }
    apart = check_advantages(models["FastPPO"].rollout_buffer, np.random.default_rng(0))
    print(f"advantages of fastpg.gae and of SB3 differ by {apart:.1e} at most")
    reached, collecting = {}, {}
    for name, model in models.items():
        clock = Clock()
        model.learn(args.rollouts * args.num_envs * args.n_steps, callback=clock)
        collecting[name] = clock.collecting
        print(f"{name:>17}: collecting {clock.collecting:6.2f} s, updating {clock.updating:6.2f} s", end="")
        if model.ep_info_buffer:
            reached[name] = mean_return(model)
            print(f", mean return {reached[name]:.0f}", end="")
        print()
    slow, fast = collecting["PPO, DummyVecEnv"], collecting["FastPPO"]
    print(f"collecting is {slow / fast:.0f} times as fast")
    return reached


if __name__ == "__main__":
    main()
