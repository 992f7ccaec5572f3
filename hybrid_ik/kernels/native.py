"""Machine code kept on disk: numba compiles it once, and later processes load it through llvmlite alone.

Importing numba takes 0.4 s, llvmlite 0.04 s. A file holds the SHA-256 of the object code, and the object code.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ik.checkpoint import write_atomically

logger = logging.getLogger(__name__)

ENGINES: list[Any] = []  # they own the code they loaded


def load_functions(
    name: str, signatures: Mapping[str, str], make: Callable[[], str], checked: bool = True
) -> dict[str, Callable[..., None]]:
    """Compiled functions that take arrays and numbers, return nothing, and run without the interpreter's lock.

    Args:
        name: see `load_addresses`.
        signatures: numba's notation of the arguments of each function, as "f8[:,::1], i8".
        make: see `load_addresses`.
        checked: whether a call looks at its arrays first: 0.1 us for each. Without that, an array of another type or
            layout is read as if it were the right one.
    """
    addresses = load_addresses(name, make)
    methods = {function: _method(function, addresses[function]) for function in signatures}
    return {f: _checked(method, signatures[f]) for f, method in methods.items()} if checked else methods


def load_addresses(name: str, make: Callable[[], str]) -> dict[str, int]:
    """Addresses of compiled functions.

    Args:
        name: of the file, without what the compiler and the processor add to it: it stands for all that goes into the
            code.
        make: gives LLVM's intermediate code of the functions; called where there is no file yet, or a damaged one.
    """
    path = cache_folder() / f"{name}_{_platform()}.bin"
    try:
        return _load(path)
    except FileNotFoundError:
        logger.info("compiling %s: this is done once, and may take some seconds", name)
    except (ValueError, OSError, RuntimeError) as error:
        logger.warning("the kernel %s is damaged (%s): making it again", path, error)
    names, code = _compile(make())
    content = names.encode() + b"\n" + code
    write_atomically(path, hashlib.sha256(content).digest() + content)
    return _load(path)


def cache_folder() -> Path:
    """Where kernels are kept: `$HYBRID_IK_CACHE`, or `hybrid_ik` in the user's cache folder."""
    if chosen := os.environ.get("HYBRID_IK_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hybrid_ik"


@cache
def source_hash(*files: str) -> str:
    """Of sources of this package, as they were when this process first looked; paths from its folder."""
    package = Path(__file__).parents[1]
    return hashlib.sha256(b"".join((package / file).read_bytes() for file in files)).hexdigest()[:16]


def _load(path: Path) -> dict[str, int]:
    content = path.read_bytes()
    digest, content = content[:32], content[32:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum is wrong")
    from llvmlite import binding

    names, code = content.split(b"\n", 1)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target_machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    ENGINES.append(engine)
    return {name: engine.get_function_address(name) for name in names.decode().split()}


class MethodDefinition(ctypes.Structure):
    """`PyMethodDef` of the C API."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


METH_FASTCALL = 0x0080
DEFINITIONS: list[MethodDefinition] = []  # methods do not own them


def _method(name: str, address: int) -> Callable[..., Any]:
    """The method of C at an address."""
    DEFINITIONS.append(MethodDefinition(name.encode(), address, METH_FASTCALL, None))
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p], ctypes.py_object
    method: Callable[..., Any] = make(ctypes.addressof(DEFINITIONS[-1]), None, None)
    return method


def _checked(function: Callable[..., Any], signature: str) -> Callable[..., None]:
    """The function, with a look at how many arguments there are and what arrays are made of."""
    kinds = signature.split(", ")
    arrays = [(i, np.dtype(kind[:2]), kind.count(":") - 1) for i, kind in enumerate(kinds) if "[" in kind]

    def call(*arguments: Any) -> None:
        if len(arguments) != len(kinds):
            raise TypeError(f"expected {len(kinds)} arguments, got {len(arguments)}")
        for i, dtype, ndim in arrays:
            array = arguments[i]
            if array.dtype != dtype or array.ndim != ndim or not array.flags.c_contiguous:
                raise TypeError(
                    f"argument {i}: expected {kinds[i]}, got {array.dtype} {array.shape} with strides {array.strides}"
                )
        function(*arguments)

    return call


def _compile(intermediate_code: str) -> tuple[str, bytes]:
    """Names of the functions that others may call, and the object code."""
    from llvmlite import binding

    machine = _target_machine()
    module = binding.parse_assembly(intermediate_code)
    names = [function.name for function in module.functions if not function.is_declaration]
    return " ".join(names), machine.emit_object(module)


@cache
def _target_machine() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    triple = binding.get_process_triple()
    target = binding.Target.from_triple(triple)
    relocation = "static" if triple.startswith(("x86", "i686")) else "default"  # as numba compiles for use at once
    cpu, features = _processor()
    return target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc=relocation, codemodel="jitdefault", jit=True
    )


def _processor() -> tuple[str, str]:
    """Name and features of the processor that code is made for, as numba takes them."""
    from llvmlite import binding

    cpu = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    return cpu, os.environ.get("NUMBA_CPU_FEATURES") or binding.get_host_cpu_features().flatten()


@cache
def _platform() -> str:
    """What besides the sources decides on machine code: the compiler, and the processor."""
    versions = [importlib.metadata.version(package) for package in ("numba", "llvmlite", "numpy")]
    return hashlib.sha256(repr((versions, _processor())).encode()).hexdigest()[:12]
