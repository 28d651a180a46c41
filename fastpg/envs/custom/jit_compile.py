"""A `jit_env` as C functions: loops over a tile, generated around the user's functions and compiled by numba.

A block of 16 copies at a time is copied to the stack, where the compiler sees that nothing overlaps; the
functions are inlined and the arrays that they are given become registers, so what is branch-free in them is
computed in vectors. Indices are checked: constant ones cost nothing. An exception becomes a status, with what
led to it left in env->data.
"""

import inspect
import pickle
import re
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.envs.custom import jit_cache
from fastpg.envs.custom.jit_compare import check_same
from fastpg.envs.custom.jit_core import environment
from fastpg.envs.custom.jit_definition import ARGUMENTS, FUNCTIONS, Definition
from fastpg.envs.custom.jit_names import check_randomness
from fastpg.envs.custom.jit_plain import Plain, prefixed
from fastpg.envs.custom.jit_snapshot import Snapshot, Unusable
from fastpg.envs.custom.jit_typing import check_types
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


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Compiled:
    """C functions, and what keeps them."""

    addresses: tuple[int, ...]  # reset, step, observe, and mask where there is one
    libraries: tuple[Any, ...]  # numba's, of each
    keep: tuple[Any, ...]  # what they read


_made: weakref.WeakValueDictionary[str, Compiled] = weakref.WeakValueDictionary()  # by fingerprint


class CompiledFunctions:
    """One environment's use of compiled functions: where a failure leaves what led to it."""

    def __init__(self, definition: Definition, compiled: Compiled) -> None:
        self._definition = definition
        self._compiled = compiled
        noise = max(definition.reset_noise_size + definition.num_params, definition.step_noise_size)
        self._left = np.zeros(HEADER + definition.num_fields + definition.actions.size + noise)

    def addresses(self) -> tuple[int, ...]:
        """Return where reset, step, observe, and mask where there is one, are."""
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
        elif function == "observe":
            plain.observe(state, params)
        else:
            plain.mask(state, params)


class Compiler:
    """Compiles one definition, or finds it compiled; keeps what it was compiled to last.

    `returned` is the length of what step() returns.
    """

    def __init__(self, definition: Definition, returned: int, cached: bool) -> None:
        self._definition = definition
        self._returned = returned
        self._cached = cached
        self._last: Compiled | None = None  # so that it stays in _made

    def functions(self, where: str, core_params: tuple[float, ...]) -> CompiledFunctions | None:
        """Return the compiled functions; None if numba was told not to compile."""
        definition = self._definition
        try:
            import numba
        except ImportError as error:
            raise ImportError(
                f"{where}: compiling {definition.name} needs numba, which is not installed: "
                "pip install numba; jit_env(jit=False) runs it in plain Python, slowly"
            ) from error
        if numba.config.DISABLE_JIT:
            return None
        source = generate(definition, self._returned)
        snapshot = _snapshot(where, definition)
        snapshot.add(source, *_versions())
        snapshot.module = f"fastpg_jit_{snapshot.hexdigest()[:32]}"
        with _lock:
            # What cannot be told apart is compiled anew every time.
            self._last = None if snapshot.unknown else _made.get(snapshot.module)
            if self._last is None:
                self._last = self._load_or_compile(where, source, snapshot, core_params)
            if not snapshot.unknown:
                _made[snapshot.module] = self._last
            return CompiledFunctions(definition, self._last)

    def fingerprint(self, where: str) -> str:
        """Return a hash of the functions and of all that they refer to."""
        snapshot = _snapshot(where, self._definition)
        snapshot.add(generate(self._definition, self._returned))
        return snapshot.hexdigest()

    def _load_or_compile(
        self, where: str, source: str, snapshot: Snapshot, core_params: tuple[float, ...]
    ) -> Compiled:
        definition = self._definition
        safe = re.sub(r"\W", "_", definition.name)
        file = f"{safe}-{snapshot.module}"
        on_disk = self._cached and not snapshot.unknown
        if on_disk:
            results = _load(where, file, snapshot.module)
            if results is not None:
                return _compiled(results, snapshot)
        results = _compile(where, definition, source, snapshot)
        compiled = _compiled(results, snapshot)
        functions = CompiledFunctions(definition, compiled)
        copies = dict(zip(definition.functions, snapshot.copies(jit=False), strict=True))
        plain = replace(definition, functions=copies)
        check_same(where, plain, environment(definition, functions, core_params, 0), core_params)
        # numba reads large arrays where they lie: their addresses are of this process.
        if on_disk and not any(one.library.has_dynamic_globals for one in results):
            _store(where, file, results)
        return compiled


def _snapshot(where: str, definition: Definition) -> Snapshot:
    """Return the functions as they are now; what they must not refer to is an error."""
    snapshot = Snapshot(OPTIONS)
    for name, function in definition.functions.items():
        called = f"{definition.name}.{name}()"
        check_randomness(where, called, function)
        try:
            snapshot.take(function)
        except Unusable as error:
            raise TypeError(f"{where}: {called} cannot be compiled: {error}") from None
    return snapshot


def _versions() -> list[str]:
    """Return what else decides what is compiled: versions, settings of numba, the CPU."""
    import llvmlite
    import numba
    from numba.core.registry import cpu_target

    from fastpg import numba_math
    from fastpg.envs.custom import jit_intrinsics

    settings = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "USING_SVML")
    return [
        _core.version(),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        repr(cpu_target.target_context.codegen().magic_tuple()),
        repr([getattr(numba.config, name, None) for name in settings]),
        inspect.getsource(jit_intrinsics),
        inspect.getsource(numba_math),
    ]


@contextmanager
def _module(name: str) -> Iterator[dict[str, Any]]:
    """Make a module that numba finds by its name as long as it compiles or loads; return its globals."""
    module = sys.modules[name] = ModuleType(name)
    try:
        yield vars(module)
    finally:
        del sys.modules[name]
        vars(module).clear()  # numba keeps these globals for ever, with all that it compiled in them
        module.__name__ = name


def _load(where: str, file: str, module: str) -> list[Any] | None:
    """Return numba's results that are kept on disk; None if there are none."""
    from numba.core.compiler import CompileResult
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    content = jit_cache.read(where, file)
    if content is None:
        return None
    context = cpu_target.target_context
    context.refresh()
    with _module(module), global_compiler_lock:
        return [CompileResult._rebuild(context, *one) for one in pickle.loads(content)]


def _store(where: str, file: str, results: list[Any]) -> None:
    from numba.core import serialize

    jit_cache.write(where, file, serialize.dumps([one._reduce() for one in results]))


def _compiled(results: list[Any], snapshot: Snapshot) -> Compiled:
    """Return numba's results as C functions, with no more than they need."""
    from numba.core.compiler_lock import global_compiler_lock

    with global_compiler_lock:
        addresses = tuple(
            int(one.library.get_pointer_to_function(one.fndesc.llvm_cfunc_wrapper_name)) for one in results
        )
    libraries = tuple(one.library for one in results)
    return Compiled(addresses, libraries, (snapshot.arrays, [one.environment for one in results]))


def _compile(where: str, definition: Definition, source: str, snapshot: Snapshot) -> list[Any]:
    """Return numba's results of compiling reset, step, observe, and mask where there is one."""
    import numba
    from numba import types
    from numba.core.ccallback import CFunc
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.sigutils import normalize_signature

    from fastpg import numba_math
    from fastpg.envs.custom import jit_intrinsics

    double, integer = types.CPointer(types.float64), types.CPointer(types.int32)
    action = integer if definition.actions.categories else types.CPointer(types.float32)
    i32, address = types.int32, types.voidptr
    signatures = {
        "reset": i32(address, i32, i32, integer, double, double),
        "step": i32(address, i32, action, double, double, double, double),
        "observe": i32(address, i32, double, types.CPointer(types.float32)),
        "mask": i32(address, i32, double, types.CPointer(types.uint8)),
    }
    jit_intrinsics.free_pass_managers()
    with _module(snapshot.module) as names, global_compiler_lock:
        jitted = dict(zip(definition.functions, snapshot.copies(jit=True), strict=True))
        check_types(where, definition, jitted, snapshot)
        names |= {"np": np, "carray": numba.carray}
        names |= {f"user_{name}": function for name, function in jitted.items()}
        names |= {"Params": definition.Params}
        intrinsics = ["float64_stack", "float32_stack", "int64_stack", "load_block", "store_block"]
        intrinsics += ["params_of", "data_of", "claim"]
        names |= {name: getattr(jit_intrinsics, name) for name in intrinsics}
        names |= {"normal": numba.njit(**OPTIONS)(numba_math.normal)}
        exec(compile(source, f"<{definition.name} compiled by fastpg>", "exec"), names)
        loops = [f"one_{function}" for function in jitted if function != "reset"]
        for name in (*(f"call_{function}" for function in jitted), *loops):
            names[name] = numba.njit(**OPTIONS)(names[name])
        made = []
        for name in jitted:
            signature = normalize_signature(signatures[name])
            function: Any = CFunc(names[name], signature, {}, {"error_model": "numpy"})
            made.append(function._compile_uncached())  # its result can be kept on disk
        return made


# ---- generated code ----------------------------------------------------------------------------------------


def generate(definition: Definition, returned: int) -> str:
    """Return the source of the loops: a function for each of the user's, as fpg_environment has them."""
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

    def given_noise(uniform: str) -> str:
        return f"normal({uniform})" if d.noise == "normal" else uniform

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
            f"    noise[k] = {given_noise('noises[k * width + lane]')}",
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
            f"    noise[k] = {given_noise(f'uniforms[{BLOCK} * k + j]')}",
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

    def written(
        function: str, out: str, size: int, kind: str, initial: str, checks: list[str], stored: str
    ) -> str:
        """Return the source of a function that writes `out`, `size` numbers, of each copy's state."""
        lines, argument = given(function)
        result = block([f"def one_{function}(j, fields, block_out, failures):"], 0)
        result += block(
            [
                f"state = float64_stack({d.state_size})",
                f"{out} = {kind}_stack({size})",
                f"params = float64_stack({d.num_params})",
                f"for k in range({d.state_size}):",
                f"    state[k] = fields[{BLOCK} * k + j]",
                f"for k in range({size}):",
                f"    {out}[k] = {initial}",
                *lines,
                f"bad = call_{function}(state, {out}{argument})",
                *checks,
                f"for k in range({size}):",
                f"    block_out[{BLOCK} * k + j] = {out}[k]",
                "failures[j] = bad",
                "return bad",
            ],
            1,
        )
        result += block(["", "", f"def {function}(env, width, state_at, out_at):"], 0)
        result += block(
            [
                f"states = carray(state_at, ({d.num_fields} * width,))",
                f"outs = carray(out_at, ({size} * width,))",
                f"fields = float64_stack({d.num_fields * BLOCK})",
                f"block_out = {kind}_stack({size * BLOCK})",
                f"failures = int64_stack({BLOCK})",
                f"for begin in range(0, width, {BLOCK}):",
            ],
            1,
        )
        result += block(
            [
                *copied("fields", d.num_fields, "state"),
                "any_bad = 0",
                f"for j in range({BLOCK}):",
                f"    any_bad |= one_{function}(j, fields, block_out, failures)",
                "if any_bad:",
                f"    for j in range({BLOCK}):",
                "        if failures[j]:",
                *[f"            {line}" for line in left(function, "begin + j", 0)],
                "            return np.int32(failures[j])",
                f"for k in range({size}):",
                f"    {stored}",
            ],
            2,
        )
        return result + "    return np.int32(0)\n"

    stored = f"store_block(out_at, k * width + begin, block_out, {BLOCK} * k)"
    source += written("observe", "obs", d.obs_size, "float32", "0.0", checks, stored)
    if d.has_mask:
        stored = f"for j in range({BLOCK}): outs[k * width + begin + j] = block_out[{BLOCK} * k + j] != 0"
        source += "\n\n" + written("mask", "mask", d.actions.num_outputs, "int64", "1", [], stored)
    return source


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
    for name in definition.functions:
        arguments = ", ".join((*ARGUMENTS[name], *(("params",) if definition.takes_params[name] else ())))
        results = f"0, 1.0 * out[0], {ends}" if name == "step" else "0"
        failure = f"{RAISED}, 0.0, 0.0" if name == "step" else f"{RAISED}"
        source += (
            f"def call_{name}({arguments}):\n    try:\n        out = user_{name}({arguments})\n"
            f"        return {results}\n    except Exception:\n        return {failure}\n\n\n"
        )
    return source
