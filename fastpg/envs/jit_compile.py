"""A `jit_env` as C functions: loops over a tile, generated around the user's functions and compiled by numba.

A block of 16 copies at a time is copied to the stack, where the compiler sees that nothing overlaps; the
functions are inlined and the arrays that they are given become registers, so what is branch-free in them is
computed in vectors. Indices are checked: constant ones cost nothing. An exception becomes a status, with what
led to it left in env->data.
"""

import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.envs import jit_cache
from fastpg.envs.jit_definition import ARGUMENTS, FUNCTIONS, Definition
from fastpg.envs.jit_plain import Plain, prefixed, shown_line
from fastpg.errors import EnvError

BLOCK = 16  # as in jit_intrinsics
# What a compiled function returns.
RAISED, NOT_FINITE_STATE, NOT_FINITE_REWARD, BAD_OBSERVATION = 1, 2, 3, 4
_REASONS = {
    RAISED: "raised an exception in compiled code",
    NOT_FINITE_STATE: "left a NaN in the state in compiled code",
    NOT_FINITE_REWARD: "returned a reward that is NaN or infinite in compiled code",
    BAD_OBSERVATION: "wrote an observation that is not finite or out of range in compiled code",
}
# What is left in env->data: whether there is something; which function; then state, action and noise.
HEADER = 2
OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": True, "forceinline": True}

_lock = threading.Lock()
_made: dict[str, "Compiled"] = {}  # of this process, by fingerprint
_registered: set[int] = set()  # helpers that numba knows, by id
_kept: list[Any] = []  # those helpers, so that no id is used twice


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """C functions, and what keeps them."""

    addresses: tuple[int, ...]  # reset, step, observe
    keep: tuple[Any, ...]  # numba's CFuncs


class CompiledFunctions:
    """One environment's use of compiled functions: where a failure leaves what led to it."""

    def __init__(self, definition: Definition, compiled: Compiled) -> None:
        self._definition = definition
        self._compiled = compiled
        noise = max(definition.reset_noise_size + definition.num_params, definition.step_noise_size)
        self._left = np.zeros(HEADER + definition.num_fields + definition.actions.size + noise)

    def addresses(self) -> tuple[int, ...]:
        """Return where reset, step and observe are."""
        return self._compiled.addresses

    @property
    def data(self) -> int:
        """Return what env->data has to be."""
        return self._left.ctypes.data

    def explain(self, where: str, function: str, returned: int) -> BaseException:
        """Run in plain Python what failed in compiled code, and return what that raises."""
        left = self._left.copy()
        self._left[:] = 0.0
        if left[0] != 0 and FUNCTIONS[int(left[1])] == function:
            try:
                self._again(function, left[HEADER:])
            except EnvError as error:
                return prefixed(where, error)
        reason = _REASONS.get(returned, "failed in compiled code")
        return EnvError(
            f"{where}: {self._definition.name}.{function}() {reason}, and not in plain Python: "
            "look at it with jit_env(jit=False)"
        )

    def _again(self, function: str, left: NDArray[np.float64]) -> None:
        definition = self._definition
        ends = np.cumsum([definition.state_size, definition.num_params, definition.actions.size])
        state, params, action, noise = np.split(left, ends)
        plain = Plain(definition)
        if function == "reset":
            drawn = noise[: definition.reset_noise_size]
            plain.reset(drawn, params)
        elif function == "step":
            if not definition.actions.categories:
                action = action.astype(np.float32)
            plain.step(state, action, noise[: definition.step_noise_size], params)
        else:
            plain.observe(state, params)


def compile_functions(where: str, definition: Definition, returned: int, cached: bool = True) -> Compiled:
    """Compile a definition, or find it compiled: in this process, or on disk.

    `returned` is the length of what step() returns.
    """
    functions = list(definition.functions.values())
    found = jit_cache.Fingerprint(functions)
    source = generate(definition, returned)
    try:
        import numba
    except ImportError as error:
        raise ImportError(
            f"{where}: compiling {definition.name} needs numba, which is not installed: "
            "pip install numba; jit_env(jit=False) runs it in plain Python, slowly"
        ) from error
    found.add(source, _core.version(), numba.__version__, np.__version__)
    found.add((Path(__file__).parent / "jit_intrinsics.py").read_text(encoding="utf-8"))
    key = found.hexdigest()
    # What cannot be told apart is compiled anew every time.
    reusable = cached and not found.unknown
    with _lock:
        if reusable and key in _made:
            return _made[key]
        safe = re.sub(r"\W", "_", definition.name)
        path = jit_cache.folder() / f"{safe}-{key[:32]}" / "functions.py"
        on_disk = reusable and jit_cache.write(path, source)
        compiled = _compile(where, definition, source, path, found.helpers, on_disk)
        if reusable:
            _made[key] = compiled
        return compiled


def _compile(
    where: str, definition: Definition, source: str, path: Path, helpers: list[Any], on_disk: bool
) -> Compiled:
    import numba
    from numba import types

    from fastpg.envs import jit_intrinsics

    for helper in helpers:
        if id(helper) not in _registered:
            _registered.add(id(helper))
            _kept.append(helper)
            numba.extending.register_jitable(**OPTIONS)(helper)
    jitted = {name: numba.njit(**OPTIONS)(function) for name, function in definition.functions.items()}
    if not (on_disk and any(path.parent.rglob("*.nbi"))):  # else it has been compiled before
        _check_types(where, definition, jitted)
    # numba finds a cached function's module by its name.
    module = ModuleType(f"fastpg_jit_{path.parent.name}")
    sys.modules[module.__name__] = module
    names = vars(module)
    names |= {"np": np, "carray": numba.carray}
    names |= {f"user_{name}": function for name, function in jitted.items()}
    names |= {"Params": definition.Params}
    intrinsics = ["float64_stack", "float32_stack", "int64_stack", "load_block", "store_block"]
    intrinsics += ["params_of", "data_of", "claim"]
    names |= {name: getattr(jit_intrinsics, name) for name in intrinsics}
    exec(compile(source, str(path), "exec"), names)
    for name in (*(f"call_{function}" for function in FUNCTIONS), "one_step", "one_observe"):
        names[name] = numba.njit(**OPTIONS)(names[name])
    double, integer = types.CPointer(types.float64), types.CPointer(types.int32)
    action = integer if definition.actions.categories else types.CPointer(types.float32)
    i32, address = types.int32, types.voidptr
    signatures = {
        "reset": i32(address, i32, i32, integer, double, double),
        "step": i32(address, i32, action, double, double, double, double),
        "observe": i32(address, i32, double, types.CPointer(types.float32)),
    }
    made = tuple(
        numba.cfunc(signatures[name], cache=on_disk, error_model="numpy")(names[name]) for name in FUNCTIONS
    )
    return Compiled(tuple(int(one.address) for one in made), made)


# ---- what numba says, for users ----------------------------------------------------------------------------


def _check_types(where: str, definition: Definition, jitted: dict[str, Any]) -> None:
    """Compile each of the user's functions by itself, so that an error is about that function."""
    from numba import types
    from numba.core.errors import NumbaError

    reals = types.Array(types.float64, 1, "C")
    action: Any = types.Array(types.int64 if definition.actions.categories else types.float64, 1, "C")
    given = {
        "state": reals,
        "noise": reals,
        "action": types.int64 if definition.is_scalar_action else action,
        "obs": types.Array(types.float32, 1, "C"),
    }
    params: Any = reals
    if definition.Params is not None:
        params = types.BaseTuple.from_types((types.float64,) * definition.num_params, definition.Params)
    for name, function in jitted.items():
        signature = tuple(given[one] for one in ARGUMENTS[name])
        if definition.takes_params[name]:
            signature += (params,)
        called = f"{definition.name}.{name}()"
        try:
            function.compile(signature)
        except NumbaError as error:
            raise TypeError(
                f"{where}: {called} cannot be compiled: {_said(str(error), function.py_func)}"
            ) from error
        result = function.overloads[signature].signature.return_type
        if name == "step" and not (
            isinstance(result, types.BaseTuple)
            and len(result) in (2, 3)
            and all(isinstance(one, types.Number | types.Boolean) for one in result.types)
        ):
            raise TypeError(
                f"{where}: {called} must return (reward, terminated) or (reward, terminated, truncated) in "
                f"every case, numbers and bools; compiled it returns {result}"
            )
        if name != "step" and result is not types.none:
            raise TypeError(
                f"{where}: {called} must write into its argument and return nothing; "
                f"compiled it returns {result}"
            )


def _said(message: str, function: FunctionType) -> str:
    """Return what numba has to say, in one sentence, with the place in the user's source."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    lines = [line.strip() for line in plain.splitlines()]
    telling = [
        line
        for line in lines
        if line
        and not re.match(
            r"(Failed in \w+ mode|During:|File |There are \d+ candidate|- |Overload|<source|\^)", line
        )
    ]
    reason = telling[0] if telling else "numba does not say why"
    call = next((line[4:] for line in telling if line.startswith(">>> ")), None)
    if reason.endswith("for signature:"):
        reason = re.sub(r"Function\((.*)\)", r"\1", reason.removesuffix(" for signature:"))
        reason += f" for {call}" if call else ""
    filename = function.__code__.co_filename
    last = max(function.__code__.co_firstlineno, *(n for _, _, n in function.__code__.co_lines() if n))
    for found in re.finditer(r'File "(.*?)", line (\d+)|at (\S+) \((\d+)\)', plain):
        file, line = (found[1], found[2]) if found[1] else (found[3], found[4])
        if Path(file).name == Path(filename).name and function.__code__.co_firstlineno <= int(line) <= last:
            return reason + shown_line(filename, int(line))
    return reason + shown_line(filename, function.__code__.co_firstlineno)


# ---- generated code ----------------------------------------------------------------------------------------


def generate(definition: Definition, returned: int) -> str:
    """Return the source of the loops: functions reset, step and observe in the order of fpg_environment."""
    d = definition
    categories, size = d.actions.categories, d.actions.size
    low, high = d.action_bounds
    array_kind = "int64" if categories else "float64"

    def given(function: str) -> tuple[list[str], str]:
        """Return the lines that make `params` for a call, and the argument itself."""
        if not d.takes_params[function]:
            return [], ""
        lines = []
        if function != "reset":  # the parameters are the copy's last fields
            lines = [f"params[{k}] = fields[{(d.state_size + k) * BLOCK} + j]" for k in range(d.num_params)]
        if d.Params is None:
            return lines, ", params"
        values = ", ".join(f"params[{k}]" for k in range(d.num_params))
        return [*lines, f"named = Params({values})"], ", named"

    def left(function: str, lane: str, noise: int) -> list[str]:
        """Return the lines that leave behind what led to a failure."""
        code = FUNCTIONS.index(function)
        lines = [f"total = {HEADER + d.num_fields + size + noise}", "data = data_of(env)", "if claim(data):"]
        lines += ["    kept = carray(data, (total,))", f"    kept[1] = {code}"]
        if function == "reset":
            lines += [
                f"    for k in range({d.num_params}):",
                f"        kept[{HEADER + d.state_size} + k] = params[k]",
            ]
        else:
            lines += [
                f"    for k in range({d.num_fields}):",
                f"        kept[{HEADER} + k] = states[k * width + {lane}]",
            ]
        if function == "step":
            lines += [
                f"    for k in range({size}):",
                f"        kept[{HEADER + d.num_fields} + k] = actions[k * width + {lane}]",
            ]
        if noise:
            lines += [
                f"    for k in range({noise}):",
                f"        kept[{HEADER + d.num_fields + size} + k] = noises[k * width + {lane}]",
            ]
        return lines

    def block(lines: list[str], depth: int) -> str:
        return "".join(f"{' ' * 4 * depth}{line}\n" for line in lines)

    def copied(to: str, count: int, source: str) -> list[str]:
        """Return the lines that bring fields of a block of copies to the stack."""
        if count == 0:
            return []
        return [
            f"for k in range({count}):",
            f"    load_block({to}, {BLOCK} * k, {source}_at, k * width + begin)",
        ]

    is_nan = [
        f"for k in range({d.state_size}):",
        "    if state[k] != state[k]:",
        f"        bad |= {NOT_FINITE_STATE}",
    ]
    total_noise = d.reset_noise_size + d.num_params
    lines, argument = given("reset")
    source = f"# Generated by fastpg {_core.version()} for {d.name}.\n\n\n" + _calls(d, returned)
    source += block(["def reset(env, width, count, which, noise_at, state_at):"], 0)
    source += block(
        [
            "chosen = carray(which, (count,))",
            f"states = carray(state_at, ({d.num_fields} * width,))",
            f"noises = carray(noise_at, ({total_noise} * width,))",
            f"bounds = carray(params_of(env), ({2 * d.num_params},))",
            f"state = float64_stack({d.state_size})",
            f"noise = float64_stack({d.reset_noise_size})",
            f"params = float64_stack({d.num_params})",
            "for n in range(count):",
        ],
        1,
    )
    source += block(
        [
            "lane = chosen[n]",
            f"for k in range({d.state_size}):",
            "    state[k] = 0.0",
            f"for k in range({d.reset_noise_size}):",
            "    noise[k] = noises[k * width + lane]",
            f"for k in range({d.num_params}):",
            f"    uniform = noises[({d.reset_noise_size} + k) * width + lane]",
            f"    params[k] = bounds[k] + (bounds[{d.num_params} + k] - bounds[k]) * uniform",
            *lines,
            f"bad = call_reset(state, noise{argument})",
            *is_nan,
            "if bad:",
            *[f"    {line}" for line in left("reset", "lane", total_noise)],
            "    return np.int32(bad)",
            f"for k in range({d.state_size}):",
            "    states[k * width + lane] = state[k]",
            f"for k in range({d.num_params}):",
            f"    states[({d.state_size} + k) * width + lane] = params[k]",
        ],
        2,
    )
    source += "    return np.int32(0)\n\n\n"

    lines, argument = given("step")
    if d.is_scalar_action:
        action = ["action = np.int64(choices[j])"]
    elif categories:
        action = [f"for k in range({size}):", f"    action[k] = choices[{BLOCK} * k + j]"]
    else:
        action = [
            line
            for k in range(size)
            for line in (
                f"real = choices[{BLOCK * k} + j]",
                f"real = {_literal(low[k])} if real < {_literal(low[k])} else real",
                f"action[{k}] = {_literal(high[k])} if real > {_literal(high[k])} else real",
            )
        ]
    stacks = "fields, choices, uniforms, block_rewards, block_ends, failures"
    source += block([f"def one_step(j, {stacks}):"], 0)
    source += block(
        [
            f"state = float64_stack({d.state_size})",
            f"noise = float64_stack({d.step_noise_size})",
            f"params = float64_stack({d.num_params})",
            *([] if d.is_scalar_action else [f"action = {array_kind}_stack({size})"]),
            f"for k in range({d.state_size}):",
            f"    state[k] = fields[{BLOCK} * k + j]",
            f"for k in range({d.step_noise_size}):",
            f"    noise[k] = uniforms[{BLOCK} * k + j]",
            *lines,
            *action,
            f"bad, reward, end = call_step(state, action, noise{argument})",
            *is_nan,
            "if reward - reward != 0.0:",
            f"    bad |= {NOT_FINITE_REWARD}",
            f"for k in range({d.state_size}):",
            f"    fields[{BLOCK} * k + j] = state[k]",
            "block_rewards[j] = reward",
            "block_ends[j] = end",
            "failures[j] = bad",
            "return bad",
        ],
        1,
    )
    source += block(["", "", "def step(env, width, action_at, noise_at, state_at, reward_at, end_at):"], 0)
    source += block(
        [
            f"actions = carray(action_at, ({size} * width,))",
            f"noises = carray(noise_at, ({d.step_noise_size} * width,))",
            f"states = carray(state_at, ({d.num_fields} * width,))",
            f"fields = float64_stack({d.num_fields * BLOCK})",
            f"choices = {array_kind}_stack({size * BLOCK})",
            f"uniforms = float64_stack({d.step_noise_size * BLOCK})",
            f"block_rewards = float64_stack({BLOCK})",
            f"block_ends = float64_stack({BLOCK})",
            f"failures = int64_stack({BLOCK})",
            f"for begin in range(0, width, {BLOCK}):",
        ],
        1,
    )
    source += block(
        [
            *copied("fields", d.num_fields, "state"),
            *copied("choices", size, "action"),
            *copied("uniforms", d.step_noise_size, "noise"),
            "any_bad = 0",
            f"for j in range({BLOCK}):",
            f"    any_bad |= one_step(j, {stacks})",
            "if any_bad:",
            f"    for j in range({BLOCK}):",
            "        if failures[j]:",
            *[f"            {line}" for line in left("step", "begin + j", d.step_noise_size)],
            "            return np.int32(failures[j])",
            f"for k in range({d.state_size}):",
            f"    store_block(state_at, k * width + begin, fields, {BLOCK} * k)",
            "store_block(reward_at, begin, block_rewards, 0)",
            "store_block(end_at, begin, block_ends, 0)",
        ],
        2,
    )
    source += "    return np.int32(0)\n\n\n"

    lines, argument = given("observe")
    checks = [
        line
        for k, count in enumerate(d.observations.categories)
        for line in (
            f"if not (obs[{k}] >= 0.0 and obs[{k}] < {count} and obs[{k}] == np.floor(obs[{k}])):",
            f"    bad = {BAD_OBSERVATION}",
        )
    ] or [
        f"for k in range({d.obs_size}):",
        "    if obs[k] - obs[k] != 0.0:",
        f"        bad = {BAD_OBSERVATION}",
    ]
    source += block(["def one_observe(j, fields, block_obs, failures):"], 0)
    source += block(
        [
            f"state = float64_stack({d.state_size})",
            f"obs = float32_stack({d.obs_size})",
            f"params = float64_stack({d.num_params})",
            f"for k in range({d.state_size}):",
            f"    state[k] = fields[{BLOCK} * k + j]",
            f"for k in range({d.obs_size}):",
            "    obs[k] = 0.0",
            *lines,
            f"bad = call_observe(state, obs{argument})",
            *checks,
            f"for k in range({d.obs_size}):",
            f"    block_obs[{BLOCK} * k + j] = obs[k]",
            "failures[j] = bad",
            "return bad",
        ],
        1,
    )
    source += block(["", "", "def observe(env, width, state_at, obs_at):"], 0)
    source += block(
        [
            f"states = carray(state_at, ({d.num_fields} * width,))",
            f"fields = float64_stack({d.num_fields * BLOCK})",
            f"block_obs = float32_stack({d.obs_size * BLOCK})",
            f"failures = int64_stack({BLOCK})",
            f"for begin in range(0, width, {BLOCK}):",
        ],
        1,
    )
    source += block(
        [
            *copied("fields", d.num_fields, "state"),
            "any_bad = 0",
            f"for j in range({BLOCK}):",
            "    any_bad |= one_observe(j, fields, block_obs, failures)",
            "if any_bad:",
            f"    for j in range({BLOCK}):",
            "        if failures[j]:",
            *[f"            {line}" for line in left("observe", "begin + j", 0)],
            "            return np.int32(failures[j])",
            f"for k in range({d.obs_size}):",
            f"    store_block(obs_at, k * width + begin, block_obs, {BLOCK} * k)",
        ],
        2,
    )
    return source + "    return np.int32(0)\n"


def _literal(number: float) -> str:
    """Return a float as source: repr() has no infinity."""
    return repr(number) if np.isfinite(number) else "np.inf" if number > 0 else "-np.inf"


def _calls(definition: Definition, returned: int) -> str:
    """Return the source of the functions that call the user's and catch what they raise.

    What is computed for one copy is a function of its own: numba keeps a function's variables from one time
    round a loop to the next, and LLVM would take the first time round out of the loop, as scalar code.
    """
    ends = "(1.0 if out[1] else 0.0)" + (" + (2.0 if out[2] else 0.0)" if returned == 3 else "")
    source = ""
    for name in FUNCTIONS:
        arguments = ", ".join((*ARGUMENTS[name], *(("params",) if definition.takes_params[name] else ())))
        results = f"0, float(out[0]), {ends}" if name == "step" else "0"
        failure = f"{RAISED}, 0.0, 0.0" if name == "step" else f"{RAISED}"
        source += (
            f"def call_{name}({arguments}):\n    try:\n        out = user_{name}({arguments})\n"
            f"        return {results}\n    except Exception:\n        return {failure}\n\n\n"
        )
    return source
