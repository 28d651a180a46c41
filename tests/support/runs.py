"""Runs of every algorithm, and their results compared."""

from fastpg import A2C, NPG, PPO, TRPO, VPG, Reinforce

SHORT = {"num_envs": 9, "total_steps": 900, "hidden": (6,)}
# Of different shapes and ways to collect, that end after different numbers of iterations.
SETTINGS = [
    Reinforce(),
    {"algorithm": Reinforce(form="total", baseline="timestep_mean"), "hidden": (), "episodes": 20},
    VPG(value_hidden=(7,), value_epochs=2, value_minibatches=3),
    {"algorithm": A2C(value_hidden=(5, 6)), "hidden": (8, 7), "horizon": 5, "num_envs": 21},
    {"algorithm": PPO(value_hidden=(7,), epochs=2, minibatches=3), "horizon": 15, "activation": "relu"},
    {"algorithm": PPO(epochs=2, minibatches=2, normalize_rewards=True), "total_steps": 3000, "horizon": 40},
    {"algorithm": NPG(value_hidden=()), "horizon": 15},
    {"algorithm": TRPO(value_hidden=(3,), fisher_every=2), "horizon": 15, "hidden": ()},
]


def check_equal(run, other):
    """Require the same bits, but for the time that was taken."""
    assert run.policy.theta.tobytes() == other.policy.theta.tobytes()
    assert (run.value is None) == (other.value is None)
    if run.value is not None:
        assert run.value.theta.tobytes() == other.value.theta.tobytes()
    assert (run.config, run.stopped_because, run.num_steps, run.error) == (
        other.config, other.stopped_because, other.num_steps, None
    )  # fmt: skip
    assert run.history.keys() == other.history.keys()
    for name in run.history.keys() - {"seconds"}:
        assert run.history[name].tobytes() == other.history[name].tobytes(), name
