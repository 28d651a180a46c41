"""`fastpg.torch` on a batch; skipped where torch is not installed or a commit has no such module."""

from .rate import Rate, Work, batch, hidden_of


class Loss(Rate):
    """`fastpg.torch.pg_loss(...).backward()` of a Sequential of Linear and Tanh, CartPole's shapes."""

    params = (["linear", "64-64", "256-256"], [256, 4096, 65536], [1, "all"])
    param_names = ("policy", "samples", "threads")
    needs = ("torch", "fastpg.torch.pg_loss")

    def setup_cache(self):
        return self.measure_all()

    def prepare(self, policy: str, samples: int) -> Work:
        import itertools

        import torch

        import fastpg.torch

        layers: list[torch.nn.Module] = []
        for fan_in, width in itertools.pairwise((4, *hidden_of(policy), 2)):
            layers += [torch.nn.Linear(fan_in, width), torch.nn.Tanh()]
        module = torch.nn.Sequential(*layers[:-1])
        obs, actions, weights = (torch.from_numpy(array) for array in batch(samples))

        def loss() -> None:
            module.zero_grad()
            fastpg.torch.pg_loss(module, obs, actions, weights).backward()

        return loss, samples
