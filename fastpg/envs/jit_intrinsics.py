"""What generated code needs and numba has no word for; imported when an environment is compiled."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from fastpg import _core

DOUBLES = types.CPointer(types.float64)


def _stack(dtype: Any) -> Any:
    """Return a function that makes an array of constant length in registers or on the stack."""

    @intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
    def stack(typingctx: Any, size: Any) -> Any:
        length = size.literal_value
        array_type = types.Array(dtype, 1, "C")

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            item = context.get_data_type(dtype)
            with builder.goto_entry_block():  # once, however often a loop comes by
                memory = builder.alloca(ir.ArrayType(item, length))
            data = cgutils.gep_inbounds(builder, memory, 0, 0)
            itemsize = context.get_constant(types.intp, context.get_abi_sizeof(item))
            array = arrayobj.make_array(array_type)(context, builder)
            arrayobj.populate_array(
                array,
                data=data,
                shape=[context.get_constant(types.intp, length)],
                strides=[itemsize],
                itemsize=itemsize,
                meminfo=None,
            )
            return array._getvalue()

        return array_type(types.literal(length)), codegen

    return stack


float64_stack = _stack(types.float64)
float32_stack = _stack(types.float32)
int64_stack = _stack(types.int64)


@intrinsic  # type: ignore[untyped-decorator]
def params_of(typingctx: Any, env: Any) -> Any:
    """env->params."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = cgutils.pointer_add(builder, arguments[0], _core.PARAMS_OFFSET)
        return builder.bitcast(address, context.get_value_type(DOUBLES))

    return DOUBLES(env), codegen


@intrinsic  # type: ignore[untyped-decorator]
def data_of(typingctx: Any, env: Any) -> Any:
    """env->data, which is an array of float64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = cgutils.pointer_add(builder, arguments[0], _core.DATA_OFFSET)
        pointer = context.get_value_type(DOUBLES)
        return builder.load(builder.bitcast(address, pointer.as_pointer()))

    return DOUBLES(env), codegen


@intrinsic  # type: ignore[untyped-decorator]
def claim(typingctx: Any, flag: Any) -> Any:
    """Set 64 bits from 0 to 1; whether it was this thread that did."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        address = builder.bitcast(arguments[0], word.as_pointer())
        result = builder.cmpxchg(address, word(0), word(1), "acq_rel", "monotonic")
        return builder.extract_value(result, 1)

    return types.boolean(flag), codegen
