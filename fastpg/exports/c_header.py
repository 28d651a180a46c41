"""A policy as a header of C99 that needs nothing but libm: weights, and functions that act.

NAME_act(obs, action)               the most likely action
NAME_sample(obs, uniforms, action)  one that is drawn, with NAME_NUM_UNIFORMS numbers inside (0, 1)
NAME_outputs(obs, outputs)          the logits or means before it

Of categories there are NAME_act_masked(obs, mask, action) and NAME_sample_masked(obs, uniforms, mask, action)
as well, which take no action whose byte in the mask, of NAME_NUM_OUTPUTS, is 0.
"""

import ctypes
import itertools
import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.exports.check import Act, Mask, Uniforms, check
from fastpg.exports.plan import LOG_STD_RANGE, Plan
from fastpg.networks.policy import Policy

FLAGS = ("-std=c99", "-O1", "-shared", "-fPIC")


def header(where: str, policy: Policy, plan: Plan, sampled: bool, masked: bool) -> bytes:
    """Return the text of the header, which has every way of acting; checked where there is a C compiler."""
    text = "\n".join(_lines(plan)).replace("NAME", plan.name).replace("UPPER", plan.name.upper())
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or ""]
    if not shutil.which(compiler[0]):
        warnings.warn(
            f"{where}: the header is not checked, as there is no C compiler", RuntimeWarning, stacklevel=4
        )
        return text.encode()
    with tempfile.TemporaryDirectory() as folder:
        act = _compiled(where, plan, text, compiler, Path(folder))
        for way, mask in itertools.product((False, True), (False, plan.head == "categorical")):
            check(where, policy, plan, act, sampled=way, masked=mask)
    return text.encode()


def _compiled(where: str, plan: Plan, text: str, compiler: list[str], folder: Path) -> Act:
    """Return the functions of a header, compiled."""
    source, library = folder / "check.c", folder / "check.so"
    source.write_text(text + _check_function(plan))
    made = subprocess.run([*compiler, *FLAGS, source, "-o", library, "-lm"], capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"{where}: the header cannot be compiled: {' '.join(made.stderr.split())[:500]}")
    function = ctypes.CDLL(str(library)).check
    function.restype = None

    def act(
        obs: NDArray[Any], uniforms: Uniforms, mask: Mask = None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        kind = np.float32 if plan.head == "gaussian" else np.int64
        actions = np.empty((len(obs), *plan.action_shape), kind)
        outputs = np.empty((len(obs), plan.num_outputs), np.float32)
        obs = np.ascontiguousarray(obs)
        arrays = (obs, uniforms, mask, actions, outputs)
        places = [None if array is None else ctypes.c_void_p(array.ctypes.data) for array in arrays]
        function(ctypes.c_long(len(obs)), *places)
        return actions, outputs

    return act


def _check_function(plan: Plan) -> str:
    obs, action = _types(plan)
    name, upper = plan.name, plan.name.upper()
    masked = "(void)mask;\n        "
    if plan.head == "categorical":
        masked = f"""if (mask && uniforms)
            {name}_sample_masked(o, uniforms + i * {upper}_NUM_UNIFORMS, mask + i * {upper}_NUM_OUTPUTS, a);
        else if (mask)
            {name}_act_masked(o, mask + i * {upper}_NUM_OUTPUTS, a);
        else """
    arguments = "long rows, const void *obs, const float *uniforms, const uint8_t *mask, void *action"
    arguments += ", float *outputs"
    return f"""
void check({arguments});
void check({arguments})
{{
    for (long i = 0; i < rows; i++) {{
        const {obs} *o = (const {obs} *)obs + i * {upper}_OBS_SIZE;
        {action} *a = ({action} *)action + i * {upper}_ACTION_SIZE;
        {name}_outputs(o, outputs + i * {upper}_NUM_OUTPUTS);
        {masked}if (uniforms)
            {name}_sample(o, uniforms + i * {upper}_NUM_UNIFORMS, a);
        else
            {name}_act(o, a);
    }}
}}
"""


def _types(plan: Plan) -> tuple[str, str]:
    """Return the types of the numbers of an observation and of an action."""
    return "int64_t" if plan.obs_categories else "float", "float" if plan.head == "gaussian" else "int64_t"


def _lines(plan: Plan) -> list[str]:
    obs, action = _types(plan)
    sizes = {
        "OBS_SIZE": len(plan.obs_categories) or plan.num_inputs,
        "NUM_OUTPUTS": plan.num_outputs,
        "ACTION_SIZE": plan.action_size,
        "NUM_UNIFORMS": plan.num_uniforms,
    }
    return [
        f"/* NAME - a policy, written by fastpg {_core.version()}. C99; link with -lm.",
        " *",
        f" *     {obs} obs[UPPER_OBS_SIZE] = {{...}};",
        f" *     {action} action[UPPER_ACTION_SIZE];",
        " *     NAME_act(obs, action);",
        " */",
        "#ifndef UPPER_H",
        "#define UPPER_H",
        "",
        "#include <math.h>",
        "#include <stdint.h>",
        "",
        f"enum {{ {', '.join(f'UPPER_{name} = {size}' for name, size in sizes.items())} }};",
        "",
        *_weights(plan),
        f"static inline void NAME_outputs(const {obs} *obs, float *outputs)",
        "{",
        *_network(plan),
        "}",
        "",
        *_acting(plan, "act", "The most likely action.", _best(plan)),
        *_acting(
            plan,
            "sample",
            "An action that is drawn: uniforms are UPPER_NUM_UNIFORMS independent numbers inside (0, 1).",
            _drawn(plan),
            "uniforms, ",
        ),
        "#endif",
        "",
    ]


def _acting(plan: Plan, name: str, comment: str, body: list[str], uniforms: str = "") -> list[str]:
    """Return a function that acts; of categories one that heeds a mask as well, which it calls without."""
    obs, action = _types(plan)
    types = f"const {obs} *obs, {'const float *' if uniforms else ''}{uniforms}"
    opening = ["{", "    float x[UPPER_NUM_OUTPUTS];", "    NAME_outputs(obs, x);"]
    comment, head = f"/* {comment} */", f"static inline void NAME_{name}({types}{action} *action)"
    if plan.head != "categorical":
        return [comment, head, *opening, *body, "}", ""]
    return [
        "/* The same of what mask allows: UPPER_NUM_OUTPUTS bytes, 0 where a category is not to be taken.",
        " * It has to allow one of each component. */",
        f"static inline void NAME_{name}_masked({types}const uint8_t *mask, {action} *action)",
        *opening,
        "    for (int a = 0; mask && a < UPPER_NUM_OUTPUTS; a++)",
        "        x[a] = mask[a] ? x[a] : -INFINITY;",
        *body,
        "}",
        "",
        comment,
        head,
        "{",
        f"    NAME_{name}_masked(obs, {uniforms}0, action);",
        "}",
        "",
    ]


def _array(kind: str, name: str, values: Any, comment: str) -> list[str]:
    """Return the definition of a constant array."""
    flat = np.asarray(values).reshape(-1)
    numbers = list(map(_number if kind == "float" else str, flat.tolist()))
    rows = ["    " + ", ".join(numbers[i : i + 8]) + "," for i in range(0, len(numbers), 8)]
    return [f"static const {kind} NAME_{name}[{len(numbers)}] = {{ /* {comment} */", *rows, "};", ""]


def _number(value: float) -> str:
    """Return a float32 as C reads it back to the bit."""
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _weights(plan: Plan) -> list[str]:
    lines = []
    for i, (weight, bias) in enumerate(plan.layers):
        by_column = i == 0 and plan.obs_categories
        shape = (
            f"{weight.shape[1]}, {weight.shape[0]}" if by_column else f"{weight.shape[0]}, {weight.shape[1]}"
        )
        lines += _array("float", f"weight_{i}", weight.T if by_column else weight, f"({shape})")
        lines += _array("float", f"bias_{i}", bias, f"({len(bias)},)")
    if plan.head == "gaussian":
        if not plan.state_std:
            lines += _array("float", "std", np.exp(plan.log_std), "of the action")
        lines += _array("float", "low", plan.low, "its bounds")
        lines += _array("float", "high", plan.high, "its bounds")
        if len(plan.middle):
            lines += _array("float", "middle", plan.middle, "of the bounds that it is squashed to")
        if len(plan.half):
            lines += _array("float", "half", plan.half, "half of what lies between its bounds")
    elif plan.head == "categorical":
        lines += _array("int", "ends", np.cumsum(plan.categories), "of each component's logits")
        lines += _array("int64_t", "starts", plan.starts, "the number of its first action")
    return lines


def _network(plan: Plan) -> list[str]:
    lines, x = [], "obs"
    for i, (weight, bias) in enumerate(plan.layers):
        last = i == len(plan.layers) - 1
        y = "outputs" if last else f"h{i}"
        if not last:
            lines.append(f"    float {y}[{len(bias)}];")
        lines += [f"    for (int i = 0; i < {len(bias)}; i++) {{", f"        float sum = NAME_bias_{i}[i];"]
        if i == 0 and plan.obs_categories:
            for k, offset in enumerate(plan.obs_offsets):
                lines.append(f"        sum += NAME_weight_{i}[(obs[{k}] + ({offset})) * {len(bias)} + i];")
        else:
            lines += [
                f"        for (int k = 0; k < {weight.shape[1]}; k++)",
                f"            sum += NAME_weight_{i}[i * {weight.shape[1]} + k] * {x}[k];",
            ]
        activated = {"tanh": "tanhf(sum)", "relu": "sum > 0.0f ? sum : 0.0f"}[plan.activation]
        lines += [f"        {y}[i] = {'sum' if last else activated};", "    }"]
        x = y
    return lines


def _bounded(plan: Plan, value: str) -> list[str]:
    """Return the lines that make an action of a Box of an expression: squashed, or scaled, if it is; held."""
    if len(plan.middle):
        value = f"NAME_middle[k] + NAME_half[k] * tanhf({value})"
    elif len(plan.half):
        value = f"NAME_low[k] + ({value} + 1.0f) * NAME_half[k]"
    held = "value < NAME_low[k] ? NAME_low[k] : value > NAME_high[k] ? NAME_high[k] : value"
    return [f"        const float value = {value};", f"        action[k] = {held};", "    }"]


def _std(plan: Plan) -> str:
    if not plan.state_std:
        return "NAME_std[k]"
    low, high = map(_number, LOG_STD_RANGE)
    log_std = f"x[{plan.action_size} + k]"
    return f"expf({log_std} < {low} ? {low} : {log_std} > {high} ? {high} : {log_std})"


def _best(plan: Plan) -> list[str]:
    each = "    for (int k = 0; k < UPPER_ACTION_SIZE; k++)"
    if plan.head == "gaussian":
        return [f"{each} {{", *_bounded(plan, "x[k]")]
    if plan.head == "bernoulli":
        return [each, "        action[k] = x[k] > 0.0f ? 1 : 0;"]
    return [
        f"{each} {{",
        "        const int begin = k > 0 ? NAME_ends[k - 1] : 0;",
        "        int best = begin;",
        "        for (int a = begin + 1; a < NAME_ends[k]; a++)",
        "            best = x[a] > x[best] ? a : best;",
        "        action[k] = NAME_starts[k] + (best - begin);",
        "    }",
    ]


def _drawn(plan: Plan) -> list[str]:
    each = "    for (int k = 0; k < UPPER_ACTION_SIZE; k++)"
    if plan.head == "gaussian":
        return [
            f"{each} {{ /* Box and Muller, 1958: two normals of two uniforms */",
            "        const float radius = sqrtf(-2.0f * logf(uniforms[k - k % 2]));",
            f"        const float angle = {_number(float(np.float32(2 * np.pi)))} * uniforms[k - k % 2 + 1];",
            f"        const float std = {_std(plan)};",
            *_bounded(plan, "x[k] + std * radius * (k % 2 ? sinf(angle) : cosf(angle))"),
        ]
    if plan.head == "bernoulli":
        return [each, "        action[k] = uniforms[k] > 1.0f / (1.0f + expf(x[k])) ? 1 : 0;"]
    return [
        f"{each} {{ /* the cumulative distribution is inverted */",
        "        const int begin = k > 0 ? NAME_ends[k - 1] : 0, end = NAME_ends[k];",
        "        float largest = x[begin], sum = 0.0f, cumulative = 0.0f;",
        "        for (int a = begin; a < end; a++)",
        "            largest = x[a] > largest ? x[a] : largest;",
        "        for (int a = begin; a < end; a++)",
        "            sum += x[a] = expf(x[a] - largest);",
        "        int chosen = begin, last = begin;",
        "        for (int a = begin; a < end; a++) { /* rounding does not pass the last that may be */",
        "            cumulative += x[a] / sum;",
        "            chosen += uniforms[k] > cumulative ? 1 : 0;",
        "            last = !mask || x[a] > 0.0f ? a : last;",
        "        }",
        "        action[k] = NAME_starts[k] + ((chosen < last ? chosen : last) - begin);",
        "    }",
    ]
