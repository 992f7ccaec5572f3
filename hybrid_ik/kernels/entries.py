"""From functions that numba compiles to LLVM's intermediate code with C entries; imported only where kernels are made.

An entry takes arrays as Python objects and finds their data where `PyArray_DATA` and its sisters do. So no address
crosses Python, which would cost a microsecond for each array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from llvmlite import binding, ir
from numba import cfunc, njit, types
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

# No runtime, so no arrays are made, and no exceptions but those that nobody could catch.
compiled_with = partial(
    njit, nogil=True, _nrt=False, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)
compiled = compiled_with()
inlined = compiled_with(forceinline=True)

WORD = ir.IntType(64)
HEADER = object.__basicsize__  # what comes before the fields of an array: the head of every object
DATA, DIMENSIONS, STRIDES = HEADER, HEADER + 16, HEADER + 24


def intermediate_code(functions: Mapping[str, Callable[..., Any]], signatures: Mapping[str, str]) -> str:
    """Optimised code of all functions in one module, each with an entry of its own name.

    Args:
        functions: what `compiled` gives.
        signatures: types of their arguments.
    """
    module = binding.parse_assembly("")
    for name, signature in signatures.items():
        kinds, _ = normalize_signature(f"void({signature})")
        passed = [types.intp if isinstance(kind, types.Array) else kind for kind in kinds]
        entry: Any = cfunc(types.void(*passed), error_model="numpy")(_entry(functions[name], kinds))
        own = binding.parse_assembly(entry.inspect_llvm())
        own.get_function(entry._wrapper_name).name = name
        module.link_in(own)
    module.link_in(binding.parse_assembly(_traps(module)))
    return str(module)


def _traps(module: Any) -> str:
    """Ends of the process in the place of Python's and numba's functions, which only raise exceptions.

    No process that loads the code needs to have them. A function of `compiled` cannot raise, which LLVM does not see.
    """
    stops, nothing = ir.Module(), ir.FunctionType(ir.VoidType(), [])
    trap = ir.Function(stops, nothing, "llvm.trap")
    for function in module.functions:
        if function.is_declaration and function.name.startswith(("numba_", "Py", "NRT_")):
            build = ir.IRBuilder(ir.Function(stops, nothing, function.name).append_basic_block())
            build.call(trap, [])
            build.unreachable()
    return str(stops)


def _entry(function: Callable[..., Any], kinds: Any) -> Callable[..., Any]:
    """A function that takes addresses of array objects in the place of arrays."""
    views = {f"view{i}": _view(kind) for i, kind in enumerate(kinds) if isinstance(kind, types.Array)}
    names = [f"a{i}" for i in range(len(kinds))]
    given = [f"view{i}({name})" if f"view{i}" in views else name for i, name in enumerate(names)]
    scope: dict[str, Any] = {**views, "function": function}
    exec(f"def entry({', '.join(names)}):\n    function({', '.join(given)})", scope)
    entry: Callable[..., Any] = scope["entry"]
    return entry


def _view(kind: Any) -> Any:
    """Of the address of an array object, the array."""

    @intrinsic
    def view(typingctx: Any, address: Any) -> Any:
        def code(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
            def field(offset: int, of: Any) -> Any:
                return build.load(build.inttoptr(build.add(arguments[0], WORD(offset)), of.as_pointer()))

            def numbers(offset: int) -> list[Any]:
                first = field(offset, WORD.as_pointer())
                return [build.load(build.gep(first, [WORD(i)])) for i in range(kind.ndim)]

            array = context.make_array(kind)(context, build)
            element = context.get_data_type(kind.dtype)
            data, size = field(DATA, element.as_pointer()), WORD(context.get_abi_sizeof(element))
            populate_array(array, data, numbers(DIMENSIONS), numbers(STRIDES), size, None)
            return array._getvalue()

        return kind(address), code

    return view


def stack_array(dtype: Any) -> Any:
    """A numba function of a size that gives an array on the stack of its caller, aligned to 64 bytes; not filled."""
    kind = types.Array(dtype, 1, "C")

    @intrinsic
    def allocate(typingctx: Any, size: Any) -> Any:
        def code(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
            element = context.get_data_type(dtype)
            data, width = build.alloca(element, arguments[0]), WORD(context.get_abi_sizeof(element))
            data.align = 64
            array = context.make_array(kind)(context, build)
            populate_array(array, data, [arguments[0]], [width], width, None)
            return array._getvalue()

        return kind(types.intp), code

    return allocate


@intrinsic
def run_lanes(typingctx: Any, address: Any, w: Any) -> Any:
    """Calls a `simd.LaneProgram` at this address with a workspace; gives what it returns."""

    def code(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(w)(context, build, arguments[1]).data
        function = ir.FunctionType(WORD, [data.type]).as_pointer()
        return build.call(build.inttoptr(arguments[0], function), [data])

    return types.int64(types.int64, w), code
