"""Records the mathematics of one arm as a straight-line program: assignments without loops, branches or calls.

`kinematics` runs once over a scalar that writes down what is done to it. The constants of the arm are folded in on the
way, so zeros and ones of its link transforms leave no trace, and equal expressions are computed once.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial

from hybrid_ik import kinematics
from hybrid_ik.chain import Chain
from hybrid_ik.kinematics import Posture
from hybrid_ik.scalar_math import Scalar


class Statement(NamedTuple):
    """One value of a program; its number is its place among the statements."""

    operation: str
    """"input", "constant", or one of `OPERATIONS`."""
    operands: tuple[int, ...]
    """Numbers of earlier statements; of an input, its slot."""
    constant: float = 0.0


OPERATIONS: dict[str, Callable[..., Scalar]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negate": operator.neg,
    "round": np.rint,
    "square_root": np.sqrt,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where_less": lambda x, y, if_less, otherwise: np.asarray(np.where(x < y, if_less, otherwise))[()],
}
COMMUTATIVE = ("add", "multiply")


class Program:
    """Statements in the order they were recorded."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.n_inputs = 0
        self._numbers: dict[Statement, int] = {}

    def read(self, n: int) -> list[Symbol]:
        """The next `n` inputs."""
        first, self.n_inputs = self.n_inputs, self.n_inputs + n
        return [Symbol(self, self._number(Statement("input", (slot,)))) for slot in range(first, first + n)]

    def record(self, operation: str, *operands: Symbol | float) -> Symbol:
        """The value of an operation, computed once however often it is asked for."""
        numbers = [self.number(x) for x in operands]
        return Symbol(
            self, self._number(Statement(operation, tuple(sorted(numbers) if operation in COMMUTATIVE else numbers)))
        )

    def number(self, x: Symbol | float) -> int:
        """The number of the statement that `x` is."""
        return x.number if isinstance(x, Symbol) else self._number(Statement("constant", (), float(x)))

    def _number(self, statement: Statement) -> int:
        if statement not in self._numbers:
            self._numbers[statement] = len(self.statements)
            self.statements.append(statement)
        return self._numbers[statement]

    def recording(self, outputs: list[Symbol | float]) -> Recording:
        """What was recorded, as a function."""
        numbers = [self.number(x) for x in outputs]
        return Recording(self.statements, numbers, self.n_inputs)


@dataclass(frozen=True)
class Recording:
    """A recorded function: its statements, and the numbers of those that are its outputs."""

    statements: list[Statement]
    outputs: list[int]
    n_inputs: int

    def evaluate(self, inputs: Sequence[Scalar]) -> list[Scalar]:
        """The outputs for numbers or arrays: what every compiled form of the program must agree with."""
        values: list[Scalar] = []
        for operation, operands, constant in self.statements:
            if operation == "input":
                values.append(inputs[operands[0]])
            elif operation == "constant":
                values.append(constant)
            else:
                values.append(OPERATIONS[operation](*(values[i] for i in operands)))
        return [values[i] for i in self.outputs]


class Symbol:
    """The recording scalar: the number of a statement."""

    __slots__ = ("number", "program")

    def __init__(self, program: Program, number: int) -> None:
        self.program, self.number = program, number

    def __add__(self, other: Symbol | float) -> Symbol:
        return self if is_constant(other, 0.0) else self.program.record("add", self, other)

    def __sub__(self, other: Symbol | float) -> Symbol:
        return self if is_constant(other, 0.0) else self.program.record("subtract", self, other)

    def __rsub__(self, other: float) -> Symbol:
        return -self if is_constant(other, 0.0) else self.program.record("subtract", other, self)

    def __mul__(self, other: Symbol | float) -> Scalar:  # the number 0.0 where the other one is
        if is_constant(other, 0.0):
            return 0.0
        if is_constant(other, 1.0):
            return self
        return -self if is_constant(other, -1.0) else self.program.record("multiply", self, other)

    def __truediv__(self, other: Symbol | float) -> Symbol:
        return self.program.record("divide", self, other)

    def __rtruediv__(self, other: float) -> Symbol:
        return self.program.record("divide", other, self)

    def __neg__(self) -> Symbol:
        return self.program.record("negate", self)

    __radd__ = __add__
    __rmul__ = __mul__


def is_constant(x: Symbol | float, value: float) -> bool:
    """Whether `x` is this very number, known while recording."""
    return not isinstance(x, Symbol) and x == value


class RecordingMath:
    """`scalar_math.ScalarMath` of recorded scalars: no calls, for a call in the body would end vectorisation."""

    def __init__(self, program: Program, precision: Precision | None = None) -> None:
        self.program, self.precision = program, precision or DOUBLE

    def sin_cos(self, x: Symbol) -> tuple[Scalar, Scalar]:
        """By polynomials of half the angle, reduced to [-pi/2, pi/2] (Cody and Waite, 1980): 5e-16 for |x| < 100.

        sin(x) = s c and cos(x) = 1 - s^2 / 2 with s = 2 sin(x/2), c = cos(x/2). That needs no signs, as quarters of a
        turn do, which took twice the operations.
        """
        turns = self._round(x * (0.5 / math.pi))
        r = x - turns * TURN_HIGH - turns * TURN_LOW
        r2 = r * r
        s, c = r * horner(self.precision.sine, r2), horner(self.precision.cosine, r2)
        return s * c, 1.0 - s * (0.5 * s)

    def _round(self, x: Symbol) -> Symbol:
        return self.program.record("round", x)

    def inverse_sqrt(self, x: Symbol) -> Symbol:
        """See `ScalarMath`."""
        return 1.0 / self.program.record("square_root", x)

    def maximum(self, x: Symbol | float, y: Symbol | float) -> Symbol:
        """See `ScalarMath`."""
        return self.program.record("maximum", x, y)

    def minimum(self, x: Symbol | float, y: Symbol | float) -> Symbol:
        """See `ScalarMath`."""
        return self.program.record("minimum", x, y)

    def where_less(
        self, x: Symbol | float, y: Symbol | float, if_less: Symbol | float, otherwise: Symbol | float
    ) -> Symbol:
        """See `ScalarMath`."""
        return self.program.record("where_less", x, y, if_less, otherwise)


def horner(coefficients: list[float], x: Scalar) -> Scalar:
    """Value of the polynomial with these coefficients, lowest power first."""
    value: Scalar = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        value = x * value + c
    return value


def fit(function: Callable[[np.ndarray], np.ndarray], upper: float, degree: int) -> list[float]:
    """Coefficients of the polynomial that meets a smooth function at the Chebyshev points of [0, upper].

    By Newton's divided differences in fractions: numpy's own interpolation loses the last digit.
    """
    points = 0.5 * upper * (1.0 + np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)))
    x, y = [Fraction(t) for t in points], [Fraction(t) for t in function(points)]
    for order in range(1, degree + 1):
        for i in reversed(range(order, degree + 1)):
            y[i] = (y[i] - y[i - 1]) / (x[i] - x[i - order])
    polynomial = Polynomial([y[-1]])
    for t, difference in zip(reversed(x[:-1]), reversed(y[:-1]), strict=True):
        polynomial = polynomial * Polynomial([-t, Fraction(1)]) + difference
    return [float(c) for c in polynomial.coef]


TURN_HIGH = float(np.float32(2 * math.pi))  # few bits, so that its multiples are exact
TURN_LOW = 2 * math.pi - TURN_HIGH + 2.4492935982947064e-16  # and what 2 pi has beyond it
HALF_TURN_SQUARED = 9.87  # a little more than pi^2


class Precision:
    """What the recorded functions take from the type of number they run in.

    Args:
        sine: degree of the polynomial for 2 sin(x/2) / x in x^2.
        cosine: that for cos(x/2).
        damping_floor: see `kinematics.lm_step`.
    """

    def __init__(self, sine: int, cosine: int, damping_floor: float) -> None:
        self.sine = fit(lambda x: np.sinc(np.sqrt(x) / (2 * np.pi)), HALF_TURN_SQUARED, sine)
        self.cosine = fit(lambda x: np.cos(np.sqrt(x) / 2), HALF_TURN_SQUARED, cosine)
        self.damping_floor = damping_floor


DOUBLE = Precision(8, 8, kinematics.DAMPING_FLOOR)
SINGLE = Precision(4, 5, 1e-6)  # the polynomials leave 1e-8


def record_forward(chain: Chain) -> Recording:
    """q (dof) -> p_first_last (3), R_first_last (9 by rows)."""
    program = Program()
    q = program.read(chain.dof)
    R, p = kinematics.forward_kinematics(chain, q, RecordingMath(program))
    return program.recording([*p, *R[0], *R[1], *R[2]])


class Slots:
    """Places in the workspace of a step: the joints come first, and each of these after them."""

    STEPS = 0  # taken so far
    TARGET = 1  # R_first_last by rows, p_first_tip
    TIP = 13  # p_last_tip
    WEIGHT, DAMPING = 16, 17
    POSITION_SQUARED, CHORD_SQUARED, STEP_SQUARED, MAX_STEPS = 18, 19, 20, 21  # tolerances
    ERRORS = 22  # squares of the position error, of the chord of the turn, and of the step
    WANTED = 25  # joints of the posture; after them squared weight, share, steps in which the share counts


class Options:
    """Entries of the options that loops are given: like the slots from the tip on, then what the steps do not know."""

    WEIGHT, DAMPING = Slots.WEIGHT - Slots.TIP, Slots.DAMPING - Slots.TIP
    TOLERANCES = Slots.POSITION_SQUARED - Slots.TIP
    MAX_STEPS = Slots.MAX_STEPS - Slots.TIP
    LIKE_SLOTS = MAX_STEPS + 1  # how many
    POSTURE = LIKE_SLOTS  # squared weight, share, steps in which the share counts
    COARSE = POSTURE + 3  # tolerances of the steps in single precision; the first is 0 where there are none


def record_step(chain: Chain, with_posture: bool, precision: Precision) -> Recording:
    """One step of a search and whether it was the last, of and into the workspace that `Slots` describes.

    A search is finished when its errors are within the tolerances (with a posture it goes on until it has come to
    rest), when its step is shorter than the step tolerance or not a number, or when no steps are left. In double
    precision a finished search keeps the joints that its errors belong to; in single precision it takes the step, for
    its errors are judged again in double.

    Outputs: joints, steps, the errors, and 1 where the search is finished.
    """
    program = Program()
    q, (steps,), R, p_target, p_last_tip = (program.read(n) for n in (chain.dof, 1, 9, 3, 3))
    orientation_weight, damping, position_squared, chord_squared, step_squared, max_steps = program.read(6)
    math, posture = RecordingMath(program, precision), None
    program.read(3)  # the places of the errors
    if with_posture:
        wanted, (weight_squared, share, pulled_steps) = program.read(chain.dof), program.read(3)
        posture = Posture(wanted, weight_squared, math.where_less(steps, pulled_steps, share, 0.0))
    R_target, arguments = (
        [R[0:3], R[3:6], R[6:9]],
        (orientation_weight, damping, math, posture, precision.damping_floor),
    )
    step = kinematics.lm_step(chain, q, R_target, p_target, p_last_tip, *arguments)
    within = math.where_less(step.position_error_squared, position_squared, 1.0, 0.0)
    reached = math.where_less(step.chord_squared, chord_squared, within, 0.0)
    settled = math.where_less(step_squared, step.length_squared, 0.0, 1.0)
    last = math.where_less(steps, max_steps, 0.0, 1.0)
    finished = math.maximum(settled, last)
    if not with_posture:
        finished = math.maximum(finished, reached)
    new = [*step.q, steps + 1.0]
    if precision is DOUBLE:
        new = [math.where_less(0.5, finished, old, x) for old, x in zip([*q, steps], new, strict=True)]
    return program.recording([*new, step.position_error_squared, step.chord_squared, step.length_squared, finished])


class CurveSlots:
    """Places in the workspace of a curve step, after the joints and as many numbers of the border."""

    OFFSET, DAMPING = 0, 1
    TARGET = 2  # R_first_last by rows, p_first_tip
    TIP, WEIGHT = 14, 17
    ERRORS = 18  # squares of the position error and of the chord of the turn, inverse trace
    CORRECTION = 21  # as many numbers as joints, and after them as many of the tangent


def record_curve_step(chain: Chain) -> Recording:
    """`kinematics.curve_step`, of the workspace that `CurveSlots` describes.

    Outputs: the errors, the inverse trace, the correction and the tangent.
    """
    program = Program()
    q, border, (offset, damping) = program.read(chain.dof), program.read(chain.dof), program.read(2)
    R, p_target, p_last_tip, (weight,) = program.read(9), program.read(3), program.read(3), program.read(1)
    target = [R[0:3], R[3:6], R[6:9]], p_target, p_last_tip, weight
    step = kinematics.curve_step(chain, q, border, offset, *target, damping, RecordingMath(program))
    errors = step.position_error_squared, step.chord_squared, step.inverse_trace
    return program.recording([*errors, *step.correction, *step.tangent])
