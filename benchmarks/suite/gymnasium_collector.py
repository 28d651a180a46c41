"""Training in environments that Gymnasium steps (`"gym:..."`); commits without it are skipped."""

from .rate import Rate, Work


class Iterations(Rate):
    """`fastpg.train("gym:CartPole-v1")`, 64-64, T=32, 16 iterations; with the environment's own time."""

    params = ([8, 64],)
    param_names = ("num_envs",)

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, num_envs: int) -> Work:
        import fastpg

        steps = 16 * 32 * num_envs

        def train() -> None:
            fastpg.train("gym:CartPole-v1", num_envs=num_envs, horizon=32, total_steps=steps)

        try:
            train()
        except ValueError as error:
            if "gym:CartPole-v1" in str(error):
                raise NotImplementedError(str(error)) from error
            raise
        return train, steps
