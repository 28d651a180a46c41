"""`fastpg.estimate_gradient` on CartPole: environments stepped, scored and summed in one compiled pass."""

from typing import Any

from .rate import Rate, Work, hidden_of

MANY_STEPS = (
    1 << 16
)  # small batches are repeated up to so many, so that a call is well above the clock's resolution


def estimating(policy: str, num_envs: int, horizon: int, **settings: Any) -> Work:
    import fastpg

    pi = fastpg.Policy.for_env("CartPole-v1", hidden=hidden_of(policy))
    steps = num_envs * horizon
    times = max(1, min(16, MANY_STEPS // steps))

    def estimate() -> None:
        for _ in range(times):
            fastpg.estimate_gradient("CartPole-v1", pi, num_envs=num_envs, horizon=horizon, **settings)

    return estimate, times * steps


class Environments(Rate):
    """Reward-to-go, T=128: how the rate grows with the number of environments, the policy and the threads."""

    params = (["linear", "32", "64-64", "256-256"], [8, 64, 1024], [1, "all"])
    param_names = ("policy", "num_envs", "threads")

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, policy: str, num_envs: int) -> Work:
        return estimating(policy, num_envs, 128)


class Horizon(Rate):
    """Reward-to-go, N=64, one thread: how the rate changes with T."""

    params = (["linear", "64-64"], [16, 128, 1024])
    param_names = ("policy", "horizon")

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, policy: str, horizon: int) -> Work:
        return estimating(policy, 64, horizon)


class Form(Rate):
    """Every form, 64-64, N=64, T=128, one thread; the last three with a value function 64-64."""

    params = (["total", "reward_to_go", "q", "td", "gae"],)
    param_names = ("form",)

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, form: str) -> Work:
        import fastpg

        if form in ("total", "reward_to_go"):
            return estimating("64-64", 64, 128, form=form)
        if not hasattr(fastpg, "ValueFunction"):
            raise NotImplementedError("there is no ValueFunction here")
        value = fastpg.ValueFunction.for_env("CartPole-v1")
        return estimating("64-64", 64, 128, form=form, value=value)
