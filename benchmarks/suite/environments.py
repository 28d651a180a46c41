"""Native environments stepped through `fastpg.make`, as a Gymnasium user does."""

from .rate import Rate, Work

STEPS = 16


class Step(Rate):
    """One random action an environment, taken again and again, with autoreset; one thread."""

    params = (
        [
            "Acrobot-v1",
            "Blackjack-v1",
            "CartPole-v0",
            "CartPole-v1",
            "CliffWalking-v1",
            "CliffWalkingSlippery-v1",
            "FrozenLake-v1",
            "FrozenLake8x8-v1",
            "MountainCar-v0",
            "MountainCarContinuous-v0",
            "Pendulum-v1",
            "Taxi-v4",
        ],
        [16, 256, 4096],
    )
    param_names = ("env_id", "num_envs")
    needs = ("fastpg.make",)

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, env_id: str, num_envs: int) -> Work:
        import fastpg

        if env_id not in fastpg.list_envs():
            raise NotImplementedError(f"there is no {env_id} here")
        env = fastpg.make(env_id, num_envs, copy=False)
        env.reset(seed=0)
        env.action_space.seed(0)
        actions = env.action_space.sample()

        def step() -> None:
            for _ in range(STEPS):
                env.step(actions)

        return step, num_envs * STEPS


class Threads(Step):
    """All threads, N=16384: the rate beside that of one."""

    params = (["Acrobot-v1", "CartPole-v1"], [16384], [1, "all"])
    param_names = ("env_id", "num_envs", "threads")

    def setup_cache(self):
        return self.measure_all()
