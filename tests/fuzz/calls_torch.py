"""Calls of fastpg.torch and fastpg.sb3, and of fastpg.numba_math in plain Python."""

import math
import statistics

import numpy as np
import torch
from gymnasium import spaces
from hypothesis import strategies as st
from torch import nn

import fastpg
import fastpg.sb3
import fastpg.torch
from fastpg import numba_math

from . import calls_policies, calls_returns
from .calls_envs import ODD_ENVS
from .judge import Call
from .values import SPECIAL, numbers, odd, one_of, others

WORDS = {
    "module": ("parameters", "theta", "outputs", "log_std", "layers", "Linear", "action", "obs"),
    "obs": ("obs", "actions", "weights", "batch", "overflow"),
    "weights": ("overflow",),
    "advantages": ("overflow", "old_log_probs"),
    "old_log_probs": ("overflow",),
    "clip_range": ("old_log_probs",),
    "log_std": ("gaussian", "Gaussian", "Box"),
    "action_space": ("log_std", "actions", "output"),
    "observation_space": ("obs", "input"),
}
DTYPES = [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8, torch.bool, torch.complex64]


@st.composite
def odd_tensors(draw, tensor):
    """Return something else in the place of a tensor."""
    kind = draw(one_of(["dtype", "entry", "shape", "kind", "other"]))
    tensor = tensor.detach().clone()
    if kind == "dtype":
        return tensor.to(draw(one_of(DTYPES)))
    if kind == "entry" and tensor.numel():
        number = draw(one_of(SPECIAL if tensor.is_floating_point() else [-1, 2, 3, 2**40, -(2**63)]))
        tensor.reshape(-1)[-1] = bool(number) if tensor.dtype is torch.bool else number
        return tensor
    if kind == "shape":
        return draw(
            one_of([tensor[None], tensor[..., None], tensor.reshape(-1), tensor.T if tensor.ndim == 2 else tensor[None],
                    tensor[:0] if tensor.ndim else tensor, torch.empty(0), tensor.expand(2, *tensor.shape)])
        )  # fmt: skip
    if kind == "kind":
        real = tensor if tensor.is_floating_point() else tensor.float()
        return draw(
            one_of([real.clone().requires_grad_(), tensor.to("meta"), tensor.to_sparse() if tensor.ndim else tensor,
                    tensor.numpy(), tensor.tolist(), nn.Parameter(real), real.clone().requires_grad_() * 2,
                    torch.quantize_per_tensor(real, 0.1, 0, torch.qint8), torch.complex(real, real).conj(),
                    torch._neg_view(real), torch.nested.nested_tensor([real]) if real.ndim else real])
        )  # fmt: skip
    return draw(others())


def modules():
    """Return modules that are no policy, or a strange one."""
    linear = nn.Linear(4, 2)
    shared = nn.Linear(4, 4)
    spoilt = nn.Linear(4, 2)
    with torch.no_grad():
        spoilt.weight[0, 0] = math.nan
    frozen = nn.Linear(4, 2).requires_grad_(False)
    computed = nn.Linear(4, 2)
    del computed.weight
    computed.weight = torch.ones(2, 4, requires_grad=True) * 2
    return [
        linear, linear.double(), nn.Linear(4, 2).half(), nn.Linear(4, 2, bias=False), nn.Linear(4, 2, device="meta"), spoilt,
        frozen, computed, nn.Sequential(), nn.Sequential(nn.Tanh()), nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)),
        nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Identity(),
        nn.Sequential(shared, nn.Tanh(), shared), nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(7, 2)),
        nn.Sequential(nn.Linear(4, 600), nn.ReLU(), nn.Linear(600, 2)), nn.Conv1d(4, 2, 1), nn.LSTM(4, 2), nn.ReLU(),
        nn.Sequential(*[layer for _ in range(5) for layer in (nn.Linear(4, 4), nn.Tanh())], nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)), nn.Linear(4, 0),
        nn.Linear(0, 2), nn.Linear(4, 1000), nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), nn.ModuleList([linear]),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), nn.Module(), torch.nn.Linear, lambda x: x, nn.LazyLinear(2),
        torch.jit.trace(nn.Linear(4, 2), torch.zeros(4)), nn.Sequential(nn.Dropout(), nn.Linear(4, 2)), None, 3,
    ]  # fmt: skip


ODD_MODULES = st.builds(modules).flatmap(one_of)


@st.composite
def batches(draw, with_weights=True):
    """Draw a module and a batch for it."""
    given = draw(calls_policies.batches("policy", with_weights=with_weights))
    policy = given.pop("policy")
    module = fastpg.torch.to_module(policy)
    tensors = {name: _tensor(one) for name, one in given.items()}
    return {"module": module, **tensors}


def _tensor(value):
    return tuple(map(torch.as_tensor, value)) if isinstance(value, tuple) else torch.as_tensor(value)


@st.composite
def loss_arguments(draw):
    given = draw(batches())
    return given | {"entropy_coef": draw(one_of([0.0, 0.1])), "reduction": draw(one_of(["mean", "sum"]))}


@st.composite
def clipped_loss_arguments(draw):
    given = draw(loss_arguments())
    given["advantages"] = given.pop("weights")
    log_probs, _ = fastpg.torch.log_prob_and_entropy(given["module"], given["obs"], given["actions"])
    given["old_log_probs"] = log_probs - draw(one_of([0.0, 0.1, -0.5, 20.0, -100.0]))
    return given | {"clip_range": draw(one_of([0.2, 1, 1e-30, 1e300])), "return_stats": draw(st.booleans())}


def with_backward(function):
    def loss_and_backward(**given):
        module = given["module"]
        if isinstance(module, nn.Module):
            module.zero_grad()
        result = function(**given)
        loss = result[0] if isinstance(result, tuple) else result
        if loss.requires_grad:
            loss.backward()
        return result

    return loss_and_backward


def check_loss(given, loss):
    assert loss.shape == () and torch.isfinite(loss)
    for parameter in given["module"].parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), "a gradient that is not finite"


def check_clipped_loss(given, result):
    if given["return_stats"]:
        result, stats = result
        assert (
            not any(one.isnan() for one in stats) and 0 <= stats.clip_fraction <= 1 and stats.approx_kl >= 0
        )
    check_loss(given, result)


def check_both(given, result):
    for one in result:
        assert torch.isfinite(one).all(), "a result that is not finite"
        assert one.shape == given["actions"].shape[: one.ndim]


@st.composite
def estimate_arguments(draw, estimate):
    given = draw(calls_returns.arguments(estimate))
    return {
        name: tuple(map(torch.from_numpy, one)) if isinstance(one, tuple) else torch.as_tensor(one)
        if isinstance(one, np.ndarray | np.floating)
        else one
        for name, one in given.items()
    }  # fmt: skip


def check_estimate(estimate):
    def check_result(given, result):
        arrays = {name: _numpy(one) for name, one in given.items() if name != "out"}
        expected = getattr(fastpg, estimate)(**arrays)
        for got, right in zip(_pair(result), _pair(expected), strict=True):
            assert got.numpy().tobytes() == right.tobytes(), "not what fastpg gives for arrays"

    return check_result


def _pair(value):
    return value if isinstance(value, tuple) else (value,)


def _numpy(value):
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def tensor_odd(name, tensor):
    return odd_tensors(tensor) if isinstance(tensor, torch.Tensor) else odd(name, tensor)


@st.composite
def collect_arguments(draw):
    value = draw(one_of([None, nn.Linear(4, 1)]))
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    given = {"env": "CartPole-v1", "module": module, "horizon": draw(one_of([1, 9])), "value": value}
    given |= {"seed": draw(one_of([None, 3])), "num_envs": 2}
    if draw(st.booleans()):
        given["out"] = fastpg.torch.collect(**given)
    return given


@st.composite
def evaluate_arguments(draw):
    layers = nn.Linear(4, 5), draw(one_of([nn.Tanh(), nn.GELU()])), nn.Linear(5, 2)  # torch calls the second
    given = {"env": draw(one_of(["CartPole-v1", "gym:CartPole-v1"])), "module": nn.Sequential(*layers)}
    given |= {"episodes": draw(one_of([1, 3])), "deterministic": draw(st.booleans()), "seed": 3}
    normalizer = fastpg.ObservationNormalizer(spaces.Box(-1, 1, (4,)))
    return given | {
        "max_steps": draw(one_of([1, 9])), "normalizer": draw(one_of([None, normalizer])),
        "action_scaling": draw(one_of([None, False])), "log_std": None,
    }  # fmt: skip


def check_evaluate(given, result):
    returns, lengths = result
    assert returns.shape == lengths.shape == (given["episodes"],)
    assert torch.equal(returns, lengths.double())  # CartPole pays 1 a step


@st.composite
def scatter_arguments(draw):
    rollout = fastpg.torch.collect("CartPole-v1", nn.Linear(4, 2), draw(one_of([1, 40])), num_envs=2)
    return {"self": rollout, "values": torch.from_numpy(numbers(rollout.num_episodes, np.float32, 0))}


@st.composite
def batch_gae_arguments(draw):
    value = draw(one_of([None, nn.Linear(4, 1)]))
    batch = fastpg.torch.collect(
        "CartPole-v1", nn.Linear(4, 2), draw(one_of([1, 40])), value=value, num_envs=2
    )
    return {"self": batch, "gamma": 0.9, "lam": 0.5}


def module_arguments():
    return st.fixed_dictionaries(
        {
            "module": st.builds(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))),
            "action_space": one_of([None, spaces.Discrete(2), spaces.MultiBinary(2)]),
            "observation_space": one_of([None, spaces.Box(-1, 1, (4,)), spaces.Discrete(4)]),
            "log_std": st.just(None),
        }
    )


def critic_arguments():
    return st.fixed_dictionaries(
        {
            "module": st.builds(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))),
            "observation_space": one_of([None, spaces.Box(-1, 1, (4,)), spaces.Discrete(4)]),
        }
    )


def check_shared(given, policy):
    policy.theta[:] = 0.5
    assert all((parameter == 0.5).all() for parameter in given["module"].parameters()), (
        "memory that is not shared"
    )


ODD_LOG_STD = st.builds(
    lambda: [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1, 2)), torch.zeros(2), torch.zeros(3), torch.zeros(2).double(),
             torch.full((2,), math.nan), torch.full((2,), 89.0), torch.zeros(()), np.zeros(2, np.float32), torch.zeros(2, device="meta")]
).flatmap(one_of)  # fmt: skip


def sb3_steps(self, actions):
    self.reset()
    for _ in range(2):
        result = self.step(actions)
    return result


@st.composite
def sb3_arguments(draw):
    env_id = draw(one_of(["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"]))
    env = fastpg.sb3.as_vec_env(env_id, num_envs=3, seed=0)
    env.vector_env.action_space.seed(0)
    return {"self": env, "actions": env.vector_env.action_space.sample()}


def plain_math(name, right):
    def check_result(given, result):
        x = given["x"]
        try:
            expected = right(x)
        except (ValueError, OverflowError):
            return
        if abs(x) < 1e5:
            assert abs(result - expected) <= 1e-14 * abs(expected) + 5e-324 or (
                result != result and expected != expected
            )

    def function(x):
        with np.errstate(all="ignore"):
            return float(getattr(numba_math, name)(x))

    return Call(
        function, st.fixed_dictionaries({"x": st.one_of(st.floats(), st.floats(-50, 50))}), (), check_result,
        fixed=frozenset(["x"]), share=0.5,
    )  # fmt: skip


def quantile(x):
    if 0.0 < x < 2.3e-308:
        raise ValueError("all of these are as 2.3e-308")
    return statistics.NormalDist().inv_cdf(x)


SELF = frozenset(["self"])
GRAD = frozenset(["module", "out"])  # whose .grad a loss changes
CALLS = {
    "torch.ppo_loss": Call(
        with_backward(fastpg.torch.ppo_loss),
        clipped_loss_arguments(),
        ("ppo_loss()",),
        check_clipped_loss,
        words=WORDS,
        odd={"module": ODD_MODULES},
        writes=GRAD,
    ),
    "torch.pg_loss": Call(
        with_backward(fastpg.torch.pg_loss),
        loss_arguments(),
        ("pg_loss()",),
        check_loss,
        words=WORDS,
        odd={"module": ODD_MODULES},
        writes=GRAD,
    ),
    "torch.log_prob_and_entropy": Call(
        fastpg.torch.log_prob_and_entropy,
        batches(with_weights=False),
        ("log_prob_and_entropy()",),
        check_both,
        words=WORDS,
        odd={"module": ODD_MODULES},
    ),
    "torch.to_module": Call(
        fastpg.torch.to_module,
        st.fixed_dictionaries(
            {"policy": st.one_of(calls_policies.networks(), calls_policies.networks(fastpg.ValueFunction))}
        ),
        ("to_module()",),
        share=0.5,
    ),
    "torch.value_from_module": Call(
        fastpg.torch.value_from_module,
        critic_arguments(),
        ("value_from_module()",),
        check_shared,
        words=WORDS,
        odd={"module": ODD_MODULES},
        writes=frozenset(["module"]),  # it moves
    ),
    "torch.from_module": Call(
        fastpg.torch.from_module,
        module_arguments(),
        ("from_module()",),
        check_shared,
        words=WORDS,
        odd={"module": ODD_MODULES, "log_std": ODD_LOG_STD},
        writes=frozenset(["module", "log_std"]),  # they move
    ),
    "torch.collect": Call(
        fastpg.torch.collect,
        collect_arguments(),
        ("collect()",),
        words={"module": (*WORDS["module"], "policy"), "value": ("value",), "env": ("env_id", "policy", "num_envs", "module"),
               "out": ("horizon",), "horizon": ("out",), "num_envs": ("out",)},
        odd={"module": ODD_MODULES, "value": ODD_MODULES, "env": ODD_ENVS},
        writes=frozenset(["out"]),
    ),
    "torch.evaluate": Call(
        fastpg.torch.evaluate,
        evaluate_arguments(),
        ("evaluate()",),
        check_evaluate,
        words=WORDS | {
            "module": (*WORDS["module"], "policy"), "env": ("env_id", "policy", "module", "Gymnasium"),
            "log_std": (*WORDS["log_std"], "module"),
        },
        odd={"module": ODD_MODULES, "env": ODD_ENVS, "log_std": ODD_LOG_STD},
    ),
    "torch.Batch.scatter_final": Call(
        fastpg.torch.Batch.scatter_final, scatter_arguments(), ("Batch.scatter_final()",), fixed=SELF
    ),
    "torch.Batch.gae": Call(
        fastpg.torch.Batch.gae,
        batch_gae_arguments(),
        ("Batch.gae()", "gae()"),
        raises=(ValueError,),
        fixed=SELF,
        share=0.5,
    ),
    **{
        f"torch.{name}.forward": Call(
            lambda self: self(torch.zeros(4)),
            st.fixed_dictionaries({"self": st.builds(lambda kind: fastpg.torch.to_module(kind.for_env("CartPole-v1")), st.just(kind))}),
            (),
            fixed=SELF,
            share=0.1,
        )
        for name, kind in (("PolicyModule", fastpg.Policy), ("ValueModule", fastpg.ValueFunction))
    },
    "sb3.as_vec_env": Call(
        fastpg.sb3.as_vec_env,
        st.fixed_dictionaries({"env": one_of(["CartPole-v1", "Taxi-v4"]), "num_envs": one_of([None, 1, 3])}),
        ("as_vec_env()", "make()"),
        words={"env": ("env_id", "num_envs")},
        odd={"env": ODD_ENVS},
        share=0.5,
    ),
    "sb3.SB3VecEnv.step": Call(
        sb3_steps, sb3_arguments(), ("VectorEnv.step()",), words={"actions": ("action",)}, fixed=SELF, writes=SELF
    ),
}  # fmt: skip
for _estimate in calls_returns.NAMES:
    _arrays = calls_returns.CALLS[_estimate]
    CALLS[f"torch.{_estimate}"] = Call(
        getattr(fastpg.torch, _estimate),
        estimate_arguments(_estimate),
        (*_arrays.where, f"fastpg.torch.{_estimate}()"),
        check_estimate(_estimate),
        words=_arrays.words,
    )
for _name, _arguments in (
    ("done_from_episode_starts", ("episode_starts", "last_done")),
    ("done_from_cleanrl", ("dones", "next_done")),
):
    _arrays = calls_returns.CALLS[_name]
    CALLS[f"torch.{_name}"] = Call(
        getattr(fastpg.torch, _name),
        calls_returns.flags(*_arguments).map(
            lambda given: {one: torch.as_tensor(given[one]) for one in given}
        ),
        (*_arrays.where, f"fastpg.torch.{_name}()"),
        check_estimate(_name),
        words=_arrays.words,
        share=0.5,
    )
for _name in numba_math.__all__:
    if _name not in ("normal", "poisson"):
        CALLS[f"numba_math.{_name}"] = plain_math(_name, getattr(math, _name))
CALLS["numba_math.normal"] = plain_math("normal", quantile)
CALLS["numba_math.poisson"] = Call(
    numba_math.poisson,
    st.fixed_dictionaries({"mean": st.floats(-1.0, 1000.0), "uniform": st.floats(-0.1, 1.1)}),
    (),
    fixed=frozenset(["mean", "uniform"]),
    share=0.5,
)
