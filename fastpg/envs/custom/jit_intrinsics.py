"""What generated code needs and numba has no word for; imported when an environment is compiled."""

from typing import Any

from llvmlite import ir
from llvmlite.binding import ffi, newpassmanagers
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from fastpg import _core

BLOCK = 16  # copies that are computed at a time: the core's widths are multiples of it
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


def _vector_at(context: Any, builder: Any, dtype: Any, address: Any, index: Any) -> tuple[Any, int]:
    """Return a pointer to BLOCK numbers from an index on as one vector, and its alignment."""
    item = context.get_data_type(dtype)
    place = builder.gep(address, [index], inbounds=True)
    return builder.bitcast(place, ir.VectorType(item, BLOCK).as_pointer()), context.get_abi_sizeof(item)


@intrinsic  # type: ignore[untyped-decorator]
def load_block(typingctx: Any, array: Any, start: Any, pointer: Any, index: Any) -> Any:
    """array[start : start + BLOCK] = pointer[index : index + BLOCK], as whole vectors and widened to 64 bits.

    A loop would be scalar code, for numba lets indices be negative; and vectors cannot be read at once from
    where scalars have just been written.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, align = _vector_at(context, builder, pointer.dtype, arguments[2], arguments[3])
        data = arrayobj.make_array(array)(context, builder, arguments[0]).data
        target, target_align = _vector_at(context, builder, array.dtype, data, arguments[1])
        values = builder.load(source, align=align)
        if pointer.dtype == types.int32:
            values = builder.sext(values, target.type.pointee)
        elif pointer.dtype == types.float32:
            values = builder.fpext(values, target.type.pointee)
        builder.store(values, target, align=target_align)
        return context.get_dummy_value()

    return types.void(array, types.intp, pointer, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store_block(typingctx: Any, pointer: Any, index: Any, array: Any, start: Any) -> Any:
    """pointer[index : index + BLOCK] = array[start : start + BLOCK], as whole vectors."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, align = _vector_at(context, builder, pointer.dtype, arguments[0], arguments[1])
        data = arrayobj.make_array(array)(context, builder, arguments[2]).data
        source, _ = _vector_at(context, builder, array.dtype, data, arguments[3])
        builder.store(builder.load(source, align=align), target, align=align)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, array, types.intp), codegen


def free_pass_managers() -> None:
    """Let llvmlite free its pass managers: about 10 MB for every environment that is compiled.

    Up to 0.50 its classes have ffi.ObjectRef before NewPassManager as a base, so the _dispose that they
    inherit does nothing. A version that has mended that is left alone.
    """
    base: Any = getattr(newpassmanagers, "NewPassManager", None)
    for name in ("ModulePassManager", "FunctionPassManager"):
        manager: Any = getattr(newpassmanagers, name, None)
        if base is not None and getattr(manager, "_dispose", None) is ffi.ObjectRef._dispose:
            manager._dispose = base._dispose
