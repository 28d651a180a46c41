"""Calls of policies, value functions and gradients of batches, with the float64 oracle."""

import dataclasses

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

import fastpg
from fastpg import reference

from .judge import Call, equal_results, in_place
from .values import numbers, one_of

OBSERVATIONS = [
    spaces.Box(-1, 1, (4,)), spaces.Discrete(5), spaces.Discrete(4, start=-2), spaces.MultiDiscrete([2, 3]),
    spaces.Tuple([spaces.Discrete(3), spaces.Discrete(2, start=4)]), spaces.Box(-1, 1, (17,), np.float64),
]  # fmt: skip
ACTIONS = [
    spaces.Discrete(2), spaces.Discrete(1), spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(3),
    spaces.Box(-1, 1, (1,)), spaces.Box(-np.inf, np.inf, (3,)),
]  # fmt: skip
HIDDEN = [(), (5,), (8, 3), (1, 2, 3)]
SHAPES = [(), (1,), (3,), (2, 3), (33,)]
WORDS = {
    "self": ("theta", "obs", "actions", "other", "output", "direction", "action_mask"),
    "policy": ("theta", "obs", "actions", "output", "out"),
    "obs": ("observation", "obs", "output", "actions", "weights", "action_mask"),
    "other": ("theta",),
    "per": ("lengths", "entropy_coef", "out"),
    "lengths": ("trajectory",),
    "weights": ("overflow",),
    "action_mask": ("action masks",),
}
OVERFLOW = ("overflow", "NaN", "finite")


@st.composite
def options_of(draw, actions):
    """Draw what a policy of such actions may do."""
    if not isinstance(actions, spaces.Box):
        return {}
    is_bounded = bool(np.isfinite(actions.high).all())
    squash = draw(st.booleans()) and is_bounded
    scaling = draw(st.booleans()) and is_bounded and not squash
    return {"squash": squash, "state_dependent_std": draw(st.booleans()), "action_scaling": scaling}


@st.composite
def networks(draw, kind=fastpg.Policy):
    """Draw a policy or a value function, parameters and all."""
    observations = draw(one_of(OBSERVATIONS))
    shape = {"hidden": draw(one_of(HIDDEN)), "activation": draw(one_of(["tanh", "relu"]))}
    if kind is fastpg.ValueFunction:
        network = kind(observations, **shape)
    else:
        actions = draw(one_of(ACTIONS))
        network = kind(observations, actions, **shape, **draw(options_of(actions)))
    network.theta[:] = numbers(network.theta.size, np.float32, draw(st.integers(0, 99)), 0.5)
    return network


def obs_of(network, shape, seed):
    """Return a batch of observations in the form of the network's space."""
    rng = np.random.default_rng(seed)
    if not network.observations.categories:
        return numbers((*shape, network.network.num_inputs), np.float32, seed)
    parts = [
        np.asarray(start + rng.integers(0, size, shape))
        for start, size in zip(network.observations.starts, network.observations.categories, strict=True)
    ]
    space = network.observation_space
    if isinstance(space, spaces.Discrete):
        return parts[0]
    return tuple(parts) if isinstance(space, spaces.Tuple) else np.stack(parts, -1)


def actions_of(policy, shape, seed):
    """Return actions of a batch."""
    rng = np.random.default_rng(seed)
    if policy.actions.head == "gaussian":
        return numbers((*shape, policy.actions.size), np.float32, seed)
    parts = [rng.integers(0, size, shape) for size in policy.actions.categories]
    return np.asarray(parts[0]) if isinstance(policy.action_space, spaces.Discrete) else np.stack(parts, -1)


@st.composite
def batches(draw, first="self", with_actions=True, with_weights=False, kind=fastpg.Policy):
    """Draw a network and a batch for it."""
    network = draw(networks(kind))
    shape, seed = draw(one_of(SHAPES)), draw(st.integers(0, 2**16))
    given = {first: network, "obs": obs_of(network, shape, seed)}
    if with_actions:
        given["actions"] = actions_of(network, shape, seed + 1)
    if with_weights:
        given["weights"] = numbers(shape, np.float32, seed + 2)
        if shape == ():
            given["weights"] = np.asarray(given["weights"])
    return given


@st.composite
def directions(draw):
    """Draw a policy, observations, and a direction in its parameters."""
    given = draw(batches(with_actions=False))
    size = given["self"].theta.shape
    return given | {
        "direction": numbers(size, np.float32, draw(st.integers(0, 99))),
        "damping": draw(one_of([0.0, 0.5])),
    }


# ---- the oracle -------------------------------------------------------------------------------------------------


def oracle(network):
    actions = getattr(network, "actions", None)
    return (
        reference.Network(
            network.network.num_inputs, network.hidden, network.network.num_outputs, network.activation,
            "categorical" if actions is None else actions.head,
            actions.categories if actions is not None and actions.head == "categorical" else (),
            actions is not None and actions.state_dependent_std,
            tuple(zip(actions.space.low, actions.space.high, strict=True)) if network.network.squashed else (),
        ),
        network.theta.astype(np.float64),
    )  # fmt: skip


def gaussian(policy, rows):
    """Return the oracle's means and log_std, (B, n)."""
    network, theta = oracle(policy)
    return reference.mean_and_log_std(network, theta, reference.logits(network, theta, rows))


def rows_of(network, obs):
    """Return the oracle's observations, (B, D) float64."""
    categories = network.observations.categories
    if not categories:
        return np.asarray(obs, np.float64).reshape(-1, network.network.num_inputs)
    if isinstance(network.observation_space, spaces.Discrete):
        obs = (obs,)
    elif not isinstance(obs, tuple | list):
        obs = np.moveaxis(np.asarray(obs), -1, 0)
    starts = network.observations.starts
    parts = [
        np.eye(size)[np.asarray(part).astype(np.int64).ravel() - start]
        for part, start, size in zip(obs, starts, categories, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def moderate(*arrays):
    """Whether numbers are of a size at which float32 has the tolerance below."""
    return all(np.abs(np.asarray(one, np.float64)).max(initial=0) < 20 for one in arrays)


def close(got, right, what, tolerance=2e-4):
    wrong = np.abs(np.asarray(got, np.float64).reshape(np.shape(right)) - right)
    assert (wrong <= tolerance * (1 + np.abs(right).max())).all(), f"{what} wrong by {wrong.max()}"


def finite(array, what):
    assert np.isfinite(array).all(), f"{what} that is not finite"


def batch_shape(network, obs):
    if isinstance(network.observation_space, spaces.Discrete):
        return np.shape(obs)
    if isinstance(obs, tuple | list):
        return np.shape(obs[0])
    return np.shape(obs)[:-1]


# ---- checks -----------------------------------------------------------------------------------------------------


def check_act(given, result):
    policy, obs = given["self"], given["obs"]
    shape = batch_shape(policy, obs)
    wanted = (*shape, *policy.action_space.shape)
    assert np.shape(result) == wanted, f"shape {np.shape(result)}, expected {wanted}"
    finite(result, "an action")
    array = np.asarray(result)
    mask = given.get("action_mask")
    if mask is not None:
        assert allowed(policy, array, mask).all(), "an action that the mask does not allow"
    if policy.actions.head != "gaussian":
        for one in array.reshape(-1, *policy.action_space.shape):
            assert policy.action_space.contains(one if one.ndim else int(one)), f"{one} is not in the space"
    elif given.get("deterministic") is True and moderate(policy.theta, rows_of(policy, obs)):
        close(array, gaussian(policy, rows_of(policy, obs))[0].reshape(wanted), "means")


def check_env_actions(given, result):
    policy, actions = given["self"], np.asarray(given["actions"])
    assert result.dtype == policy.action_space.dtype
    assert np.shape(result) == actions.shape
    for one in np.reshape(result, (-1, *policy.action_space.shape)):
        assert policy.action_space.contains(one if one.ndim else int(one)), f"{one} is not in the space"
    if policy.squash:
        assert ((policy.action_space.low < result) & (result < policy.action_space.high)).all()


def check_from_env_actions(given, result):
    policy, actions = given["self"], given["actions"]
    finite(result, "an action")
    close(policy.env_actions(result), np.asarray(actions, np.float64), "what became of an action", 1e-6)


def allowed(policy, actions, mask):
    """Return whether the mask (..., A) allows each component of the actions, (B, n)."""
    form = policy.actions
    rows = form.from_zero(np.asarray(actions)).reshape(-1, form.size) + np.cumsum((0, *form.categories[:-1]))
    return np.take_along_axis(np.asarray(mask).reshape(len(rows), -1), rows, axis=1) != 0


@st.composite
def masks(draw, policy, shape, actions=None):
    """Draw no mask, or one that allows these actions, or else the first category of each component."""
    if policy.actions.head != "categorical" or draw(st.booleans()):
        return None
    mask = np.random.default_rng(draw(st.integers(0, 99))).random((*shape, policy.actions.num_outputs)) < 0.5
    rows = np.zeros((int(np.prod(shape)), policy.actions.size), np.int64)
    if actions is not None:
        rows = policy.actions.from_zero(np.asarray(actions, np.int64)).reshape(rows.shape)
    places = rows + np.cumsum((0, *policy.actions.categories[:-1]))
    np.put_along_axis(mask.reshape(len(rows), -1), places, True, axis=1)
    return mask.astype(draw(one_of([np.bool_, np.int8, np.float32])))


def check_log_prob(key, log_prob=True, entropy=True):
    def check_result(given, result):
        policy = given[key]
        network, rows = oracle(policy), rows_of(policy, given["obs"])
        results = result if isinstance(result, tuple) else (result,)
        for position, one in enumerate(results):
            if log_prob and position == 0:  # an action as good as impossible rounds to -inf
                assert (np.asarray(one) < np.inf).all(), "a log-probability that is NaN or inf"
            else:
                finite(one, "an entropy")
            assert np.shape(one) == batch_shape(policy, given["obs"])
        expected = []
        if log_prob:
            actions = np.asarray(given["actions"]).reshape(len(rows), -1).astype(np.float64)
            if not moderate(actions):
                return
            expected.append(reference.log_prob(*network, rows, actions))
        if entropy:
            expected.append(reference.entropy(*network, rows))
        likely = policy.actions.head != "gaussian" or gaussian(policy, rows)[1].min() > -5
        if moderate(policy.theta, rows) and likely:
            for one, right in zip(results, expected, strict=True):
                close(one, right, "log_prob or entropy")

    return check_result


def check_kl(given, result):
    p, q = given["self"], given["other"]
    finite(result, "a divergence")
    assert np.min(result) >= 0
    rows = rows_of(p, given["obs"])
    if moderate(p.theta, q.theta, rows) and p.hidden == q.hidden and p.activation == q.activation:
        close(result, reference.kl(*oracle(p), q.theta.astype(np.float64), rows), "kl", 1e-3)


def check_value(given, result):
    value, rows = given["self"], rows_of(given["self"], given["obs"])
    finite(result, "a value")
    if moderate(value.theta, rows):
        close(result, reference.state_values(*oracle(value), rows), "V")


def check_gradient(given, result):
    policy, rows = given["policy"], rows_of(given["policy"], given["obs"])
    finite(result, "a gradient")
    out = given.get("out")
    assert out is None or out is result, "not out"
    actions, weights = (np.asarray(given[name], np.float64) for name in ("actions", "weights"))
    actions, weights = actions.reshape(len(rows), -1), weights.reshape(-1)
    if policy.actions.head != "gaussian":
        actions = actions.astype(np.int64)
    if isinstance(policy.action_space, spaces.Discrete):
        actions = actions[:, 0]
    if not moderate(policy.theta, rows, actions, weights) or given.get("entropy_coef"):
        return
    if policy.actions.head == "gaussian" and np.abs(gaussian(policy, rows)[1]).max() > 3:
        return
    network, theta = oracle(policy)
    if given.get("action_mask") is not None:
        network = dataclasses.replace(network, masked=True)
        rows = np.concatenate([rows, np.asarray(given["action_mask"]).reshape(len(rows), -1)], axis=1)
    per, reduction = given.get("per"), given.get("reduction")
    cuts = [len(rows)]
    if per is not None:
        cuts = [1] * len(rows) if per == "sample" else given["lengths"].tolist()
    start, gradients = 0, []
    for cut in cuts:
        part = slice(start, start + cut)
        reduced = reduction or ("mean" if per is None else "sum")
        gradients.append(
            reference.policy_gradient(network, theta, rows[part], actions[part], weights[part], reduced)
        )
        start += cut
    close(result, np.array(gradients).reshape(np.shape(result)), "gradient")


@st.composite
def gradient_arguments(draw):
    """Draw a valid call of policy_gradient."""
    given = draw(batches("policy", with_weights=True))
    shape = given["weights"].shape
    given |= {"reduction": draw(one_of([None, "mean", "sum"])), "entropy_coef": 0.0}
    given["per"] = draw(one_of([None, None, "sample", "trajectory" if len(shape) == 1 else None]))
    rows = given["policy"].theta.shape
    if given["per"] is None:
        given["entropy_coef"] = draw(one_of([0.0, 0.1, -1.0]))
    elif given["per"] == "sample":
        rows = (*shape, *rows)
    else:
        first = draw(st.integers(1, shape[0]))
        lengths = np.array([first, shape[0] - first])[: 2 if first < shape[0] else 1]
        given["lengths"] = lengths.astype(draw(one_of([np.int64, np.int32, np.uint8])))
        rows = (len(lengths), *rows)
    if draw(st.booleans()):
        given["out"] = np.full(rows, 7.0, np.float32)
    given["action_mask"] = draw(masks(given["policy"], shape, given["actions"]))
    return given


@st.composite
def bad_out(draw):
    """Draw gradient arguments with an `out` in the memory of another argument, or with a stride of 0."""
    given = draw(gradient_arguments())
    shape = given["policy"].theta.shape
    given.pop("lengths", None)
    given |= {"per": None, "entropy_coef": 0.0}
    names = [name for name in ("obs", "actions", "weights") if isinstance(given[name], np.ndarray)]
    kind = draw(one_of([*names, "theta", "stride"]))
    if kind == "theta":
        given["out"] = given["policy"].theta
    elif kind == "stride":
        given["out"] = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), shape, (0,))
    else:
        array = given[kind]
        room = np.zeros(2 * max(array.nbytes, 4 * shape[0]) + 64, np.uint8)
        shift = draw(one_of([0, 8, array.nbytes - array.nbytes % 8 - 8 if array.nbytes >= 8 else 0]))
        given[kind] = room[: array.nbytes].view(array.dtype).reshape(array.shape)
        given[kind][...] = array
        given["out"] = room[shift : shift + 4 * shape[0]].view(np.float32)
    return given


def _theta_setter(self, theta):
    self.theta = theta


@st.composite
def theta_arguments(draw, kind):
    network = draw(networks(kind))
    return {"self": network, "theta": numbers(network.theta.shape, np.float32, draw(st.integers(0, 99)))}


def check_theta(given, result):
    assert given["self"].theta.tobytes() == np.ascontiguousarray(given["theta"]).tobytes()


@st.composite
def act_arguments(draw):
    given = draw(batches(with_actions=False))
    given |= {"seed": draw(st.integers(0, 2**64 - 1)), "step": draw(st.integers(0, 9))}
    given["action_mask"] = draw(masks(given["self"], batch_shape(given["self"], given["obs"])))
    return given | {"deterministic": draw(st.booleans())}


@st.composite
def flatten_arguments(draw):
    space = draw(one_of(OBSERVATIONS))
    space.seed(draw(st.integers(0, 99)))
    return {"observation_space": space, "obs": space.sample()}


@st.composite
def normalizer_arguments(draw, name):
    normalizer = fastpg.ObservationNormalizer(OBSERVATIONS[0])
    normalizer.update(numbers((5, 4), np.float32, draw(st.integers(0, 99)), 1.0))
    others = {
        "obs": numbers((3, 4), np.float32, draw(st.integers(0, 99)), 1.0),
        "network": fastpg.Policy(OBSERVATIONS[0], ACTIONS[0], hidden=()),
        "state": normalizer.state(),
    }
    which = {"update": "obs", "normalize": "obs", "fold": "network", "set_state": "state"}.get(name)
    return {"self": normalizer, **({} if which is None else {which: others[which]})}


def check_flattened(given, result):
    space = given["observation_space"]
    if isinstance(space, spaces.MultiDiscrete):
        parts = [(result, space.start, space.nvec)]
    elif isinstance(space, spaces.Discrete):
        parts = [(result, space.start, space.n)]
    elif isinstance(space, spaces.Tuple):
        parts = [(one, part.start, part.n) for one, part in zip(result, space, strict=True)]
    else:
        return
    for categories, start, count in parts:  # of one observation or of a batch
        assert np.asarray(categories).dtype == np.int64
        assert (categories >= start).all() and (categories < start + count).all()


@st.composite
def kl_arguments(draw):
    given = draw(batches(with_actions=False))
    policy = given["self"]
    other = fastpg.Policy(
        policy.observation_space, policy.action_space, hidden=draw(one_of([policy.hidden, (3,)])),
        squash=policy.squash, state_dependent_std=policy.state_dependent_std,
        action_scaling=policy.action_scaling,
    )  # fmt: skip
    other.theta[:] = numbers(other.theta.size, np.float32, draw(st.integers(0, 99)), 0.5)
    return given | {"other": other}


SHAPE_ARGUMENTS = {
    "hidden": one_of(HIDDEN),
    "activation": one_of(["tanh", "relu"]),
    "seed": st.integers(0, 2**64 - 1),
}
ODD_HIDDEN = one_of(
    [64, "64", b"x", (0,), (513,), (-1,), (8.0,), (True,), (1,) * 4, [8], range(1, 3), np.array([4, 4]), {3}, {3: 1},
     (np.int8(3),), (10**400,), ((3,),), bytearray(b"\x03"), memoryview(b"ab"), np.array(3), (np.array(3),), "", (None,)]
)  # fmt: skip
BOTH = {"observation_space": one_of(OBSERVATIONS), "action_space": one_of(ACTIONS), **SHAPE_ARGUMENTS}


@st.composite
def policy_arguments(draw):
    given = draw(st.fixed_dictionaries(BOTH))
    return given | draw(options_of(given["action_space"]))


@st.composite
def actions_to_convert(draw, from_env=False):
    policy, shape, seed = draw(networks()), draw(one_of(SHAPES)), draw(st.integers(0, 2**16))
    if not from_env:
        return {"self": policy, "actions": actions_of(policy, shape, seed)}
    policy = fastpg.Policy(policy.observation_space, spaces.Box(-2, 5, (2,)), squash=True)
    return {
        "self": policy,
        "actions": np.random.default_rng(seed).uniform(-2, 5, (*shape, 2)).astype(np.float32),
    }


def check_made(given, result):
    finite(result.theta, "parameters")
    assert result.network.hidden == tuple(given["hidden"])


CALLS = {
    "Policy": Call(
        lambda observation_space, action_space, **shape: fastpg.Policy(
            observation_space, action_space, **shape
        ),
        policy_arguments(),
        ("Policy()",),
        check_made,
        words={"action_space": ("unless actions are in a Box", "unless a Box has")},
        odd={"hidden": ODD_HIDDEN},
    ),
    "Policy.act": Call(
        fastpg.Policy.act, act_arguments(), ("Policy.act()",), check_act, words=WORDS, repeatable=True
    ),
    "Policy.env_actions": Call(
        fastpg.Policy.env_actions,
        actions_to_convert(),
        ("Policy.env_actions()",),
        check_env_actions,
        words=WORDS,
        repeatable=True,
    ),
    "Policy.from_env_actions": Call(
        fastpg.Policy.from_env_actions,
        actions_to_convert(from_env=True),
        ("Policy.from_env_actions()",),
        check_from_env_actions,
        words=WORDS,
        repeatable=True,
    ),
    "ObservationNormalizer": Call(
        fastpg.ObservationNormalizer,
        st.fixed_dictionaries({"observation_space": one_of([OBSERVATIONS[0], OBSERVATIONS[5]])}),
        ("ObservationNormalizer()",),
    ),
    **{
        f"ObservationNormalizer.{name}": Call(
            getattr(fastpg.ObservationNormalizer, name),
            normalizer_arguments(name),
            (f"ObservationNormalizer.{name}()",),
            fixed=frozenset({"self"}),
            writes=frozenset({"self"}),
            words={"network": ("observations", "theta"), "obs": ("normalised",)},
        )
        for name in ("update", "normalize", "fold", "state", "set_state")
    },
    "flatten_observations": Call(
        fastpg.flatten_observations,
        flatten_arguments(),
        ("flatten_observations()",),
        check_flattened,
        words=WORDS,
    ),
    "Policy.log_prob": Call(
        fastpg.Policy.log_prob,
        batches(),
        ("Policy.log_prob()",),
        check_log_prob("self", entropy=False),
        words=WORDS,
        repeatable=True,
    ),
    "Policy.entropy": Call(
        fastpg.Policy.entropy,
        batches(with_actions=False),
        ("Policy.entropy()",),
        check_log_prob("self", log_prob=False),
        words=WORDS,
        repeatable=True,
    ),
    "Policy.fisher_product": Call(
        fastpg.Policy.fisher_product,
        directions(),
        ("Policy.fisher_product()",),
        lambda given, result: finite(result, "a product"),
        words=WORDS,
        repeatable=True,
    ),
    "Policy.kl": Call(
        fastpg.Policy.kl, kl_arguments(), ("Policy.kl()",), check_kl, words=WORDS, repeatable=True
    ),
    "ValueFunction": Call(
        lambda observation_space, **shape: fastpg.ValueFunction(observation_space, **shape),
        st.fixed_dictionaries({"observation_space": one_of(OBSERVATIONS), **SHAPE_ARGUMENTS}),
        ("ValueFunction()",),
        check_made,
        odd={"hidden": ODD_HIDDEN},
    ),
    "ValueFunction.__call__": Call(
        fastpg.ValueFunction.__call__,
        batches(with_actions=False, kind=fastpg.ValueFunction),
        ("ValueFunction()",),
        check_value,
        words=WORDS,
        repeatable=True,
    ),
    "log_prob_and_entropy": Call(
        fastpg.log_prob_and_entropy,
        batches("policy"),
        ("log_prob_and_entropy()",),
        check_log_prob("policy"),
        words=WORDS,
        repeatable=True,
    ),
    "policy_gradient": Call(
        fastpg.policy_gradient,
        gradient_arguments(),
        ("policy_gradient()",),
        check_gradient,
        words=WORDS,
        repeatable=True,
        share=2.0,
    ),
    "policy_gradient in place": Call(
        in_place(fastpg.policy_gradient),
        bad_out(),
        ("policy_gradient()",),
        equal_results,
        raises=(ValueError,),
        fixed=frozenset(["out"]),
        writes=frozenset(["out", "obs", "actions", "weights"]),
    ),
}


def shared(kind):
    """Return the calls that policies and value functions have alike."""
    name, self = kind.__name__, frozenset(["self"])
    env_ids = one_of(["CartPole-v1", "FrozenLake-v1", "gym:Pendulum-v1"])
    return {
        f"{name}.for_env": Call(
            kind.for_env,
            st.fixed_dictionaries({"env_id": env_ids, **SHAPE_ARGUMENTS}),
            (f"{name}.for_env()",),
            odd={"hidden": ODD_HIDDEN},
            words={"env_id": ("Gymnasium",)},
            share=0.5,
        ),
        f"{name}.theta": Call(
            _theta_setter, theta_arguments(kind), (f"{name}.theta",), check_theta,
            fixed=self, writes=self, repeatable=True,
        ),
        **{
            f"{name}.{method}": Call(
                getattr(kind, method), st.fixed_dictionaries({"self": networks(kind)}), (), fixed=self, share=0.1
            )
            for method in ("parameters", "copy", "written")
        },
    }  # fmt: skip


CALLS |= shared(fastpg.Policy) | shared(fastpg.ValueFunction)
