"""What a process pays: the import, and memory at its peak."""


def timeraw_import():
    """`import fastpg` in a fresh process, Python's own start included."""
    return "import fastpg"


def timeraw_import_numpy_and_gymnasium():
    """What of it is not fastpg's: to be compared with the former."""
    return "import numpy, gymnasium"


class Memory:
    """A process that estimates the gradient of a linear policy."""

    params = ([1024, 1_000_000], [128, 512])
    param_names = ("num_envs", "horizon")
    timeout = 300

    def peakmem_estimate_gradient(self, num_envs: int, horizon: int) -> None:
        import fastpg

        policy = fastpg.Policy.for_env("CartPole-v1", hidden=())
        fastpg.estimate_gradient("CartPole-v1", policy, num_envs=num_envs, horizon=horizon)
