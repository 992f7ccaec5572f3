"""The part of a network that runs once per start, in SIMD lanes: the twin of `ModulatedNetwork.velocity`, compiled.

A lane is one start: the numbers of 16 starts lie side by side, and a weight is multiplied with all of them at once. The
sums of eight outputs stay in registers while their inputs pass by. Compilers do not find that by themselves, so this
one loop is written in LLVM's own vectors, which it translates for whatever width the processor has. Every start is
computed alike in whatever company it comes, to the last bit.

A layer of 96 x 96 takes 0.19 us a start (AMD EPYC 9004, 97 of 118 possible billion operations a second); plain loops
over 16 lanes took 0.83 us, BLAS 0.4 us. A program with every product written out was not vectorised, and took a minute
to compile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from hybrid_ik.kernels.entries import compiled, compiled_with, stack_array
from hybrid_ik.kernels.simd import FAST
from hybrid_ik.kernels.tools import LANES, TILE

Floats = NDArray[Any]  # float32

floats = stack_array(types.float32)
FASTMATH = set(FAST)

# tanh(x) = x P(x^2) / Q(x^2), as in Eigen: within 2 units in the last place where |x| <= 7.9, beyond which it is 1.
TANH_END = np.float32(7.90531110763549805)
P0, P1, P2, P3, P4, P5, P6 = (
    np.float32(x)
    for x in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
Q0, Q1, Q2, Q3 = (
    np.float32(x) for x in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)
GELU_CUBE, GELU_SLOPE = np.float32(0.044715), np.float32(np.sqrt(2.0 / np.pi))
HALF, ONE = np.float32(0.5), np.float32(1.0)


@compiled
def decode_starts(
    projected: Floats, modulation: Floats, layers: Floats, output: Floats, bias: Floats, gelu: bool, u: Floats
) -> None:
    """u of every start of every pose: h <- h + act((W h) a + b) layer by layer, without `h +` in the first.

    Args:
        projected: (blocks, width, LANES), what the first layer makes of the noises.
        modulation: (m, 2, depth, width), scales a, then shifts b, of each pose; for silu, halves of them.
        layers: (depth - 1, tiles, width, TILE), weights of the layers after the first.
        output: (tiles, width, TILE), weights of the last one.
        bias: (n_joints,) of the last one.
        gelu: whether the activation is gelu in its tanh form, instead of silu.
        u: (m, n, n_joints), written.
    """
    m, n, n_joints = u.shape
    blocks, width, _ = projected.shape
    h = floats(width * LANES)
    new = floats((width + TILE) * LANES)
    for row in range(m):
        scale, shift = modulation[row, 0], modulation[row, 1]
        for block in range(blocks):
            for i in range(width):
                for lane in range(LANES):
                    h[i * LANES + lane] = projected[block, i, lane]
            _activate(h, scale[0], shift[0], gelu)
            for layer in range(1, len(scale)):
                _multiply(layers[layer - 1], h, new)
                _activate(new, scale[layer], shift[layer], gelu)
                for k in range(len(h)):
                    h[k] += new[k]
            _multiply(output, h, new)
            for lane in range(min(LANES, n - block * LANES)):
                for j in range(n_joints):
                    u[row, block * LANES + lane, j] = new[j * LANES + lane] + bias[j]


@compiled
def _multiply(weights: Floats, h: Floats, out: Floats) -> None:
    tiles, n_in, _ = weights.shape
    for tile in range(tiles):
        _sum_tile(weights, tile * n_in * TILE, h, n_in, out, tile * TILE * LANES)  # type: ignore[call-arg]


@intrinsic
def _sum_tile(typingctx: Any, weights: Any, w0: Any, h: Any, n_in: Any, out: Any, out0: Any) -> Any:
    """out[out0 + k] = sum over i < n_in of weights[w0 + i TILE + k] h[i], for k < TILE; h and out in lanes."""

    def code(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
        vector, index = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
        weights, w0, h, n_in, out, out0 = (
            context.make_array(kind)(context, build, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        )

        def lanes_at(array: Any, at: Any) -> Any:
            return build.bitcast(build.gep(array, [at]), vector.as_pointer())

        def in_all_lanes(number: Any) -> Any:
            undefined = ir.Constant(vector, ir.Undefined)
            first = build.insert_element(undefined, number, ir.IntType(32)(0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            return build.shuffle_vector(first, undefined, zeros)

        three = ir.FunctionType(vector, [vector] * 3)
        multiply_add = cgutils.get_or_insert_function(build.module, three, f"llvm.fma.v{LANES}f32")
        sums = [cgutils.alloca_once(build, vector) for _ in range(TILE)]
        for total in sums:
            build.store(ir.Constant(vector, [0.0] * LANES), total)
        with cgutils.for_range(build, n_in) as loop:
            x = build.load(lanes_at(h, build.mul(loop.index, index(LANES))), align=4)
            row = build.add(w0, build.mul(loop.index, index(TILE)))
            for k, total in enumerate(sums):
                weight = build.load(build.gep(weights, [build.add(row, index(k))]))
                build.store(build.call(multiply_add, [in_all_lanes(weight), x, build.load(total)]), total)
        for k, total in enumerate(sums):
            build.store(build.load(total), lanes_at(out, build.add(out0, index(k * LANES))), align=4)
        return context.get_dummy_value()

    return types.void(weights, types.intp, h, types.intp, out, types.intp), code


@compiled_with(fastmath=FASTMATH)
def _activate(x: Floats, scale: Floats, shift: Floats, gelu: bool) -> None:
    """x <- act(x scale + shift), with scale and shift of each feature: silu of twice the argument, or gelu.

    In place: of two arrays a compiler would have to fear that they overlap.
    """
    for i in range(len(scale)):
        a, b = scale[i], shift[i]
        if gelu:
            for k in range(i * LANES, (i + 1) * LANES):
                y = x[k] * a + b
                x[k] = HALF * y * (ONE + _tanh(GELU_SLOPE * (y + GELU_CUBE * y * y * y)))
        else:
            for k in range(i * LANES, (i + 1) * LANES):
                y = x[k] * a + b
                x[k] = y * (ONE + _tanh(y))


@compiled_with(fastmath=FASTMATH, inline="always")
def _tanh(x: Any) -> Any:
    """x P(x^2) / Q(x^2), the approximation of Eigen."""
    z = min(max(x, -TANH_END), TANH_END)
    s = z * z
    p = z * (P0 + s * (P1 + s * (P2 + s * (P3 + s * (P4 + s * (P5 + s * P6))))))
    return p / (Q0 + s * (Q1 + s * (Q2 + s * Q3)))
