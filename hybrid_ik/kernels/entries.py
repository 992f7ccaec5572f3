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
        entry: Any = cfunc(FASTCALL, error_model="numpy")(_entry(functions[name], kinds))
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
        raises = function.name.startswith(("numba_", "Py", "NRT_")) and function.name not in USED
        if function.is_declaration and raises:
            build = ir.IRBuilder(ir.Function(stops, nothing, function.name).append_basic_block())
            build.call(trap, [])
            build.unreachable()
    return str(stops)


# A method of C with METH_FASTCALL: self, the arguments, how many; it gives a new reference.
FASTCALL = types.intp(types.intp, types.CPointer(types.intp), types.intp)
CONVERSIONS = {
    types.int64: types.ExternalFunction("PyLong_AsLongLong", types.int64(types.intp)),
    types.float64: types.ExternalFunction("PyFloat_AsDouble", types.float64(types.intp)),
    types.boolean: types.ExternalFunction("PyObject_IsTrue", types.int32(types.intp)),
}
OTHERS = {
    "incref": types.ExternalFunction("Py_IncRef", types.void(types.intp)),
    "save_thread": types.ExternalFunction("PyEval_SaveThread", types.intp()),
    "restore_thread": types.ExternalFunction("PyEval_RestoreThread", types.void(types.intp)),
}
USED = {function.symbol for function in (*CONVERSIONS.values(), *OTHERS.values())}


def _entry(function: Callable[..., Any], kinds: Any) -> Callable[..., Any]:
    """A method that Python calls with arrays and numbers, without the lock while it runs; it returns its last argument.

    Through ctypes, the call of `solve_rows` alone took 1.3 us.
    """
    scope: dict[str, Any] = {**OTHERS, "function": function}
    lines = []
    for i, kind in enumerate(kinds):
        scope[f"convert{i}"] = _view(kind) if isinstance(kind, types.Array) else CONVERSIONS[kind]
        lines.append(f"a{i} = convert{i}(arguments[{i}])" + (" != 0" if kind == types.boolean else ""))
    lines += [
        "state = save_thread()",
        f"function({', '.join(f'a{i}' for i in range(len(kinds)))})",
        "restore_thread(state)",
        f"incref(arguments[{len(kinds) - 1}])",
        f"return arguments[{len(kinds) - 1}]",
    ]
    exec("\n    ".join(["def entry(this, arguments, n):", *lines]), scope)
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
