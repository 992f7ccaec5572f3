"""Records the mathematics of one arm as a straight-line program: assignments without loops, branches or calls.

`kinematics` runs once over a scalar that writes down what is done to it. The constants of the arm are folded in on the
way, so zeros and ones of its link transforms leave no trace, and equal expressions are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from hybrid_ik import kinematics
from hybrid_ik.chain import Chain
from hybrid_ik.kinematics import Posture, Scalar


class Program:
    """Statements in the order they were recorded; reading slot i means the i-th input."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.n_inputs = 0
        self._names: dict[str, str] = {}

    def read(self, n: int) -> list[Symbol]:
        """The next `n` inputs."""
        first, self.n_inputs = self.n_inputs, self.n_inputs + n
        return [self.record(f"{{{slot}}}") for slot in range(first, first + n)]

    def record(self, expression: str) -> Symbol:
        """The value of an expression, computed once however often it is asked for."""
        if expression not in self._names:
            self._names[expression] = f"t{len(self._names)}"
            self.statements.append(f"{self._names[expression]} = {expression}")
        return Symbol(self, self._names[expression])


class Symbol:
    """The recording scalar: a name in a program."""

    __slots__ = ("name", "program")

    def __init__(self, program: Program, name: str) -> None:
        self.program, self.name = program, name

    def __add__(self, other: Symbol | float) -> Symbol:
        return self if is_constant(other, 0.0) else self._commute("+", other)

    def __sub__(self, other: Symbol | float) -> Symbol:
        return self if is_constant(other, 0.0) else self.program.record(f"{self.name} - {text(other)}")

    def __rsub__(self, other: float) -> Symbol:
        return -self if is_constant(other, 0.0) else self.program.record(f"{text(other)} - {self.name}")

    def __mul__(self, other: Symbol | float) -> Scalar:  # the number 0.0 where the other one is
        if is_constant(other, 0.0):
            return 0.0
        if is_constant(other, 1.0):
            return self
        return -self if is_constant(other, -1.0) else self._commute("*", other)

    def __truediv__(self, other: Symbol | float) -> Symbol:
        return self.program.record(f"{self.name} / {text(other)}")

    def __rtruediv__(self, other: float) -> Symbol:
        return self.program.record(f"{text(other)} / {self.name}")

    def __neg__(self) -> Symbol:
        return self.program.record(f"-{self.name}")

    __radd__ = __add__
    __rmul__ = __mul__

    def _commute(self, operator: str, other: Symbol | float) -> Symbol:
        return self.program.record(f" {operator} ".join(sorted((self.name, text(other)))))


def text(x: Symbol | float) -> str:
    """A name, or a number in parentheses if negative."""
    if isinstance(x, Symbol):
        return x.name
    return repr(float(x)) if x >= 0 else f"({float(x)!r})"


def is_constant(x: Symbol | float, value: float) -> bool:
    """Whether `x` is this very number, known while recording."""
    return not isinstance(x, Symbol) and x == value


class RecordingMath:
    """`kinematics.ScalarMath` of recorded scalars: no calls, for a call in the body would end vectorisation."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def sin_cos(self, x: Symbol) -> tuple[Scalar, Scalar]:
        """Reduced to [-pi/4, pi/4] by quarter turns (Cody and Waite, 1980), then polynomials: 7e-16 for |x| < 100."""
        record = self.program.record
        turns = record(f"np.floor({x.name} * {2 / math.pi!r} + 0.5)")
        r = x - turns * QUARTER_HIGH - turns * QUARTER_LOW
        r2 = r * r
        s, c = r * horner(SINE, r2), horner(COSINE, r2)
        quadrant = turns - 4.0 * record(f"np.floor({(turns * 0.25).name})")
        odd = quadrant - 2.0 * record(f"np.floor({(quadrant * 0.5).name})")
        sign_s = record(f"1.0 if {quadrant.name} < 1.5 else -1.0")
        sign_c = record(f"-1.0 if abs({(quadrant - 1.5).name}) < 1.0 else 1.0")
        return (s + (c - s) * odd) * sign_s, (c + (s - c) * odd) * sign_c

    def inverse_sqrt(self, x: Symbol) -> Symbol:
        """See `ScalarMath`."""
        return self.program.record(f"1.0 / np.sqrt({text(x)})")

    def maximum(self, x: Symbol | float, y: Symbol | float) -> Symbol:
        """See `ScalarMath`."""
        return self.program.record(f"max({text(x)}, {text(y)})")

    def minimum(self, x: Symbol | float, y: Symbol | float) -> Symbol:
        """See `ScalarMath`."""
        return self.program.record(f"min({text(x)}, {text(y)})")

    def where_less(
        self, x: Symbol | float, y: Symbol | float, if_less: Symbol | float, otherwise: Symbol | float
    ) -> Symbol:
        """See `ScalarMath`."""
        return self.program.record(f"{text(if_less)} if {text(x)} < {text(y)} else {text(otherwise)}")

    def angle(self, sine: Symbol, cosine: Symbol) -> Symbol:
        """From the arcsine of the smaller of the two, which is at most sqrt(1/2)."""
        magnitude = self.maximum(cosine, -cosine)
        small = self.minimum(self.where_less(sine, magnitude, sine, cosine), 0.7072)
        arc = small * horner(ARCSINE, small * small)
        near_ends = self.where_less(cosine, 0.0, math.pi - arc, arc)
        return self.where_less(sine, magnitude, near_ends, math.pi / 2 - arc)


def horner(coefficients: list[float], x: Scalar) -> Scalar:
    """Value of the polynomial with these coefficients, lowest power first."""
    value: Scalar = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        value = x * value + c
    return value


def fit(function: Callable[[np.ndarray], np.ndarray], upper: float, degree: int) -> list[float]:
    """Coefficients of the Chebyshev interpolant of a smooth function on [0, upper]."""
    interpolant = Chebyshev.interpolate(function, degree, domain=[0.0, upper])
    return interpolant.convert(kind=Polynomial).coef.tolist()


QUARTER_HIGH = float(np.float32(math.pi / 2))  # few bits, so that its multiples are exact
QUARTER_LOW = math.pi / 2 - QUARTER_HIGH + 6.123233995736766e-17  # and what pi/2 has beyond it
# Functions of the square, so that parity costs nothing. The degrees leave 7e-16, and 1.3e-15 for the arcsine.
SINE = fit(lambda x: np.sinc(np.sqrt(x) / np.pi), 0.62, 7)
COSINE = fit(lambda x: np.cos(np.sqrt(x)), 0.62, 7)
ARCSINE = fit(lambda x: np.arcsin(np.sqrt(np.maximum(x, 1e-30))) / np.sqrt(np.maximum(x, 1e-30)), 0.5002, 19)


@dataclass(frozen=True)
class Recording:
    """A recorded function: its statements, where `{i}` stands for input i, and the names of its outputs."""

    statements: list[str]
    outputs: list[str]
    n_inputs: int

    def source(self, name: str, lanes: int) -> str:
        """A Python function of one flat workspace: slot i of a lane is `w[lane + lanes * i]`, outputs after inputs.

        One array with constant offsets and a constant trip count: with several arrays or strides known only at run
        time, LLVM cannot prove the lanes independent and the program silently stays scalar.
        """
        slots = [f"w[lane + {lanes * i}]" for i in range(self.n_inputs + len(self.outputs))]
        body = [statement.format(*slots) for statement in self.statements]
        body += [f"{slots[self.n_inputs + i]} = {output}" for i, output in enumerate(self.outputs)]
        return "\n".join([f"def {name}(w):", f"    for lane in range({lanes}):", *("        " + line for line in body)])


def record_forward(chain: Chain) -> Recording:
    """q (dof) -> p_first_last (3), R_first_last (9 by rows)."""
    program = Program()
    q = program.read(chain.dof)
    R, p = kinematics.forward_kinematics(chain, q, RecordingMath(program))
    outputs = [text(x) for x in [*p, *R[0], *R[1], *R[2]]]
    return Recording(program.statements, outputs, program.n_inputs)


def record_step(chain: Chain, with_posture: bool) -> Recording:
    """q, R_target, p_target, tip, weight, damping (and q_wanted, weight^2, share) -> fields of `kinematics.Step`."""
    program = Program()
    q, R_flat, p_target, p_last_tip = (program.read(n) for n in (chain.dof, 9, 3, 3))
    orientation_weight, damping = program.read(2)
    posture = None
    if with_posture:
        posture = Posture(program.read(chain.dof), *program.read(2))
    R_target = [R_flat[0:3], R_flat[3:6], R_flat[6:9]]
    step = kinematics.lm_step(
        chain, q, R_target, p_target, p_last_tip, orientation_weight, damping, RecordingMath(program), posture
    )
    outputs = [text(x) for x in [*step.q, step.position_error_squared, step.angle, step.length_squared]]
    return Recording(program.statements, outputs, program.n_inputs)
