"""Functions of a batch that the caller has, as many samples as steps."""

from .rate import Rate, Work, batch, hidden_of


class Gradient(Rate):
    """`fastpg.policy_gradient` of CartPole's observations."""

    params = (["linear", "32", "64-64", "256-256"], [256, 4096, 65536], [1, "all"])
    param_names = ("policy", "samples", "threads")

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, policy: str, samples: int) -> Work:
        import fastpg

        pi = fastpg.Policy.for_env("CartPole-v1", hidden=hidden_of(policy))
        obs, actions, weights = batch(samples)
        return lambda: fastpg.policy_gradient(pi, obs, actions, weights), samples


class LogProb(Rate):
    """`fastpg.log_prob_and_entropy`, 4096 samples, one thread: the forward pass alone."""

    params = (["linear", "32", "64-64", "256-256"],)
    param_names = ("policy",)
    needs = ("fastpg.log_prob_and_entropy",)

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, policy: str) -> Work:
        import fastpg

        pi = fastpg.Policy.for_env("CartPole-v1", hidden=hidden_of(policy))
        obs, actions, _ = batch(4096)
        return lambda: fastpg.log_prob_and_entropy(pi, obs, actions), 4096
