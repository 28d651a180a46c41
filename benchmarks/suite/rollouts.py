"""`fastpg.collect`: compiled rollouts, written down for a learner elsewhere."""

from .rate import Rate, Work, hidden_of


class Collect(Rate):
    """CartPole, N=1024, T=128, into new arrays."""

    params = (["linear", "64-64"], [1, "all"])
    param_names = ("policy", "threads")
    needs = ("fastpg.collect",)

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, policy: str) -> Work:
        import fastpg

        env = fastpg.make("CartPole-v1", num_envs=1024)
        env.reset(seed=0)
        pi = fastpg.Policy.for_env("CartPole-v1", hidden=hidden_of(policy))
        return lambda: fastpg.collect(env, pi, 128), 1024 * 128
