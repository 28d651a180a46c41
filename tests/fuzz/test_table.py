"""The table of calls has everything public in it."""

import inspect
from importlib.util import find_spec

import fastpg
import fastpg.sb3
import fastpg.torch
from fastpg import callbacks, diagnostics, distributed, exact, numba_math
from fastpg.envs.mujoco.engine import is_installed

from .targets import CALLS

MODULES = {
    "": fastpg, "diagnostics.": diagnostics, "exact.": exact, "torch.": fastpg.torch, "sb3.": fastpg.sb3,
    "numba_math.": numba_math, "callbacks.": callbacks, "distributed.": distributed,
}  # fmt: skip
# What is public and not called, and why.
LEFT_OUT = {
    **dict.fromkeys(["CheckpointError", "EnvError", "EnvNotFinite", "InvalidAction", "RankError", "ResetNeeded",
                     "SaveError"],
                    "an exception"),
    **dict.fromkeys(
        ["GradientEstimate", "TrainProgress", "TrainResult", "Batch", "torch.Batch", "exact.ExactGradient", "diagnostics.FormRecord",
         "diagnostics.FormComparison", "VectorEnv", "LoadedEnv", "JitEnv", "sb3.SB3VecEnv", "torch.PolicyModule",
         "torch.ValueModule", "torch.PPOStats", "Runs", "callbacks.Evaluation", "Population"],
        "another function makes it",
    ),
    **dict.fromkeys(
        ["sb3.SB3VecEnv.reset", "sb3.SB3VecEnv.step_async", "sb3.SB3VecEnv.step_wait", "sb3.SB3VecEnv.close",
         "sb3.SB3VecEnv.get_images", "sb3.SB3VecEnv.get_attr", "sb3.SB3VecEnv.set_attr", "sb3.SB3VecEnv.env_method",
         "sb3.SB3VecEnv.env_is_wrapped"],
        "Stable-Baselines3 calls it; step does the first three",
    ),
    **dict.fromkeys([f"{name}.core_settings" for name in ("A2C", "NPG", "PPO", "Reinforce", "TRPO", "VPG")], "train calls it"),
    **dict.fromkeys([f"torch.{name}Module.set_observations" for name in ("Policy", "Value")], "to_module calls it"),
    **dict.fromkeys(
        [f"callbacks.{name}.{method}" for name in ("Callback", "EarlyStopping", "Evaluate", "TensorBoard")
         for method in ("on_training_start", "__call__", "on_training_end", "state_dict", "load_state_dict")],
        "train calls it",
    ),
    "callbacks.Callback": "a base class without arguments",
    **dict.fromkeys(
        [f"MujocoEnv.{name}" for name in ("observe", "reward", "terminated", "before", "info", "initial_state")],
        "a formula of a subclass, which step and reset call",
    ),
    **dict.fromkeys(
        [f"distributed.{name}" for name in ("torch", "mpi", "Communicator", "Communicator.allgather", "Communicator.close")],
        "of processes that a launcher started: tests/training/test_ranks.py",
    ),
    "Runs.__getitem__": "as of any sequence",
    "Policy.has_spaces_like": "takes what is not public",
    "torch.Batch.from_arrays": "inherited: it makes a fastpg.Batch of arrays",
}  # fmt: skip

if find_spec("tensorboardX") is None:
    LEFT_OUT["callbacks.TensorBoard"] = "tensorboardX is missing"
if not is_installed():
    LEFT_OUT |= {name: "MuJoCo is missing" for name in ("MujocoEnv", *(f"MujocoEnv.{one}" for one in (
        "reset", "step", "get_state", "set_state", "render", "close_extras")))}  # fmt: skip


def public():
    """Every function, class and method, by the name that the table has for it."""
    for prefix, module in MODULES.items():
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.ismodule(thing) or not callable(thing) or f"{prefix}{name}" in ("exact.FiniteMDP",):
                continue
            yield f"{prefix}{name}"
            if inspect.isclass(thing) and not issubclass(thing, BaseException):
                yield from (f"{prefix}{name}.{method}" for method in methods(thing))
    yield from ("exact.FiniteMDP", "exact.FiniteMDP.table", "cli.main")


def methods(cls):
    """The public methods, and properties that can be set, which fastpg defines for this class.

    Those whose first argument is `where`, the caller's name for messages, are for the library itself.
    """
    for base in cls.__mro__:
        for name, member in vars(base).items() if base.__module__.startswith("fastpg") else ():
            if isinstance(member, property):
                if member.fset is not None:
                    yield name
                continue
            function = getattr(member, "__func__", member)
            special = name in ("__call__", "__getitem__")
            if not inspect.isfunction(function) or (name.startswith("_") and not special):
                continue
            if list(inspect.signature(function).parameters)[1:2] != ["where"]:
                yield name


def test_everything_public_is_in_the_table():
    missing = set(public()) - CALLS.keys() - LEFT_OUT.keys()
    assert not missing, f"add to tests/fuzz/calls_*.py: {sorted(missing)}"


def test_nothing_is_left_out_that_is_not_there():
    assert LEFT_OUT.keys() <= set(public())
