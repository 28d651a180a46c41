"""A policy as an ONNX model.

Inputs: "obs" (B, ...), float32, or int64 categories as the space counts them; with sampling "uniforms" (B, n)
in (0, 1); with masks "action_mask" (B, num_outputs), bool. Outputs: "action" (B, ...), within the space;
"outputs" (B, num_outputs), the logits, which know no mask, or means.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg import _core
from fastpg.exports.check import Mask, Uniforms, check
from fastpg.exports.plan import LOG_STD_RANGE, Plan
from fastpg.networks.policy import Policy

OPSET, IR_VERSION = 17, 8  # of 2022: what runtimes of today read


class _Graph:
    """Nodes and constants that are added one by one; each result has a name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any) -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def columns(self, matrix: str, begin: int, end: int, step: int = 1) -> str:
        """Add a slice [:, begin:end:step]; return its name."""
        places = (self.constant([one], np.int64) for one in (begin, end, 1, step))
        return self.add("Slice", matrix, *places)


def model(where: str, policy: Policy, plan: Plan, sampled: bool, masked: bool) -> bytes:
    """Return the bytes of the model, checked by ONNX's own reference."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(f"{where}: '.onnx' needs onnx: pip install '.[export]'") from error
    from onnx import helper

    graph = _Graph()
    outputs = _network(graph, plan)
    if masked:
        outputs = graph.add("Where", "action_mask", outputs, graph.constant(-np.inf, np.float32))
    flat = _sampled(graph, plan, outputs, masked) if sampled else _best(graph, plan, outputs)
    graph.add("Reshape", flat, graph.constant([-1, *plan.action_shape], np.int64), output="action")
    real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    describe = helper.make_tensor_value_info
    inputs = [describe("obs", whole if plan.obs_categories else real, ["batch", *plan.obs_shape])]
    if sampled:
        inputs.append(describe("uniforms", real, ["batch", plan.num_uniforms]))
    if masked:
        inputs.append(describe("action_mask", onnx.TensorProto.BOOL, ["batch", plan.num_outputs]))
    results = [
        describe("action", real if plan.head == "gaussian" else whole, ["batch", *plan.action_shape]),
        describe("outputs", real, ["batch", plan.num_outputs]),
    ]
    made = helper.make_model(
        helper.make_graph(graph.nodes, plan.name, inputs, results, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastpg",
        producer_version=_core.version(),
    )
    onnx.checker.check_model(made, full_check=True)
    check(where, policy, plan, _reference(made), sampled=sampled, masked=masked)
    content: bytes = made.SerializeToString()
    return content


def _reference(made: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(made)

    def act(obs: NDArray[Any], uniforms: Uniforms, mask: Mask) -> Any:
        given = {"obs": obs, "uniforms": uniforms, "action_mask": mask}
        return evaluator.run(
            ["action", "outputs"], {name: array for name, array in given.items() if array is not None}
        )

    return act


def _network(graph: _Graph, plan: Plan) -> str:
    x = "obs"
    for i, (weight, bias) in enumerate(plan.layers):
        last = "outputs" if i == len(plan.layers) - 1 else ""
        if i == 0 and plan.obs_categories:  # a one-hot vector selects a column of each component
            columns = graph.add("Add", x, graph.constant(plan.obs_offsets, np.int64))
            table = graph.constant(weight.T, np.float32)
            rows = graph.add("Gather", table, columns, axis=0)
            if plan.obs_shape:
                rows = graph.add("ReduceSum", rows, graph.constant([1], np.int64), keepdims=0)
            else:  # Discrete: (B,) + (1,) is (B,)
                rows = graph.add("Reshape", rows, graph.constant([-1, len(bias)], np.int64))
            x = graph.add("Add", rows, graph.constant(bias, np.float32), output=last)
        else:
            given = graph.constant(weight, np.float32), graph.constant(bias, np.float32)
            x = graph.add("Gemm", x, *given, transB=1, output=last)
        if not last:
            x = graph.add("Tanh" if plan.activation == "tanh" else "Relu", x)
    return x


def _best(graph: _Graph, plan: Plan, outputs: str) -> str:
    """Add the most likely actions, (B, action_size)."""
    if plan.head == "gaussian":
        return _bounded(graph, plan, _means(graph, plan, outputs))
    if plan.head == "bernoulli":
        above = graph.add("Greater", outputs, graph.constant(0.0, np.float32))
        return graph.add("Cast", above, to=7)
    found = []
    for begin, end, start in plan.parts:
        best = graph.add("ArgMax", graph.columns(outputs, begin, end), axis=1)
        found.append(graph.add("Add", best, graph.constant(start, np.int64)))
    return graph.add("Concat", *found, axis=1)


def _sampled(graph: _Graph, plan: Plan, outputs: str, masked: bool) -> str:
    """Add actions drawn with the uniforms, (B, action_size)."""
    n = plan.num_uniforms
    if plan.head == "gaussian":
        radius = graph.add("Log", graph.columns("uniforms", 0, n, 2))
        radius = graph.add("Sqrt", graph.add("Mul", radius, graph.constant(-2.0, np.float32)))
        angle = graph.columns("uniforms", 1, n, 2)
        angle = graph.add("Mul", angle, graph.constant(2 * np.pi, np.float32))
        axis = graph.constant([2], np.int64)
        pairs = [
            graph.add("Unsqueeze", graph.add("Mul", radius, graph.add(one, angle)), axis)
            for one in ("Cos", "Sin")
        ]
        normal = graph.add("Concat", *pairs, axis=2)
        normal = graph.add("Reshape", normal, graph.constant([-1, n], np.int64))
        deviate = graph.add("Mul", graph.columns(normal, 0, plan.action_size), _std(graph, plan, outputs))
        return _bounded(graph, plan, graph.add("Add", _means(graph, plan, outputs), deviate))
    if plan.head == "bernoulli":
        zero = graph.add("Sigmoid", graph.add("Neg", outputs))
        return graph.add("Cast", graph.add("Greater", "uniforms", zero), to=7)
    found = []
    for k, (begin, end, start) in enumerate(plan.parts):
        p = graph.add("Softmax", graph.columns(outputs, begin, end), axis=1)
        cumulative = graph.add("CumSum", p, graph.constant(1, np.int64))
        passed = graph.add("Greater", graph.columns("uniforms", k, k + 1), cumulative)
        # The last cumulative probability, 1 up to rounding, is never passed.
        passed = graph.columns(graph.add("Cast", passed, to=7), 0, end - begin - 1)
        number = graph.add("ReduceSum", passed, graph.constant([1], np.int64))
        if masked:  # nor that of the last which may be
            possible = graph.add("Cast", graph.add("Greater", p, graph.constant(0.0, np.float32)), to=7)
            numbers = graph.add("Mul", possible, graph.constant(np.arange(end - begin), np.int64))
            number = graph.add("Min", number, graph.add("ReduceMax", numbers, axes=[1]))
        found.append(graph.add("Add", number, graph.constant(start, np.int64)))
    return graph.add("Concat", *found, axis=1)


def _means(graph: _Graph, plan: Plan, outputs: str) -> str:
    return graph.columns(outputs, 0, plan.action_size) if plan.state_std else outputs


def _std(graph: _Graph, plan: Plan, outputs: str) -> str:
    if not plan.state_std:
        return graph.constant(np.exp(plan.log_std), np.float32)
    low, high = (graph.constant(bound, np.float32) for bound in LOG_STD_RANGE)
    log_std = graph.columns(outputs, plan.action_size, plan.num_outputs)
    return graph.add("Exp", graph.add("Clip", log_std, low, high))


def _bounded(graph: _Graph, plan: Plan, actions: str) -> str:
    """Add what makes drawn actions of a Box the environment's: squashed, or scaled, if they are; held."""
    low, high = graph.constant(plan.low, np.float32), graph.constant(plan.high, np.float32)
    if len(plan.half):
        half, begin = graph.constant(plan.half, np.float32), low
        if len(plan.middle):
            begin, actions = graph.constant(plan.middle, np.float32), graph.add("Tanh", actions)
        else:
            actions = graph.add("Add", actions, graph.constant(1.0, np.float32))
        actions = graph.add("Add", begin, graph.add("Mul", half, actions))
    return graph.add("Min", graph.add("Max", actions, low), high)
