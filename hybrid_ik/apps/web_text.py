"""What the page says and plots, as HTML: the state, the table of answers, their joints, the solution curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.solution_sets.solution_set import Piece, SolutionSet

Array = NDArray[np.float64]

PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 360, 250, 44, 34, 8  # of the plot, in its own units
CURVE_COLOURS = ("#5b7fb9", "#c98a3d", "#4f9d77", "#b3626f", "#8a70b5", "#7d8a3f", "#4796a8", "#a0705a")
SOLID_COLOUR = "#22262b"
PICK = "const t=event.target.closest('[data-pick]');if(t)[...document.querySelectorAll('button')]"
PICK += ".find(b=>b.textContent.trim()==='#'+t.dataset.pick)?.click()"
COPY = "const t=this.previousElementSibling;t.select();document.execCommand('copy');this.textContent='copied'"


@dataclass(frozen=True)
class Row:
    """One answer in the table."""

    position_error: float
    """[m]."""
    orientation_error: float
    """[rad]."""
    distance: float
    """From the solid arm [rad, or m]."""
    colour: str
    """Of its arm, as CSS has it."""


def amount(value: float, unit: str) -> str:
    """Three digits of a length or an angle, with a prefix: "1.84 nm", "37.8 mm"; "0 m" for next to nothing."""
    size = abs(value)
    if not size >= 5e-12:
        return f"0 {unit}"
    scale, prefix = next((p for p in PREFIXES if size >= p[0]), PREFIXES[-1])
    digits = max(0, 2 - int(np.floor(np.log10(max(size / scale, 0.1)))))
    return f"{value / scale:.{min(digits, 2)}f} {prefix}{unit}"


@dataclass(frozen=True)
class Axis:
    """One side of the plot: a joint and the values that it may have."""

    joint: int
    """Its number."""
    name: str
    """Its name and unit."""
    low: float
    """Least value [rad, or m]."""
    high: float
    """Largest value [rad, or m]."""


def css(rgb: Array) -> str:
    """A colour in [0, 1] `(3,)` as CSS has it."""
    return "#" + "".join(f"{round(255 * float(c)):02x}" for c in rgb)


def state_html(title: str, lines: Sequence[str], good: bool, **data: float) -> str:
    """What was found, large, and a few lines below; `data` for programs that read the page."""
    colour = "#1f7a4d" if good else "#b4531a"
    attributes = "".join(f' data-{name.replace("_", "-")}="{value:.9g}"' for name, value in data.items())
    text = "".join(f"<div>{escape(line)}</div>" for line in lines)
    return (
        f'<div id="hybrid-ik-state"{attributes} style="padding:.2em .9em .7em;font-size:.85em;line-height:1.5;'
        f'color:#495057"><div style="font-size:1.35em;font-weight:600;color:{colour}">{escape(title)}</div>{text}</div>'
    )


def table_html(rows: Sequence[Row]) -> str:
    """The answers, the solid one first; a click on a row presses the button of its number."""
    cells = "".join(
        f'<tr data-pick="{i}" style="cursor:pointer;{"font-weight:600;background:#eef1f4" if i == 1 else ""}">'
        f'<td><span style="display:inline-block;width:.8em;height:.8em;border-radius:50%;background:{row.colour}">'
        f"</span> {i}</td><td>{amount(row.position_error, 'm')}</td><td>{amount(row.orientation_error, 'rad')}</td>"
        f"<td>{'solid' if i == 1 else f'{row.distance:.2f}'}</td></tr>"
        for i, row in enumerate(rows, 1)
    )
    head = "".join(f'<th style="font-weight:500;color:#868e96">{name}</th>' for name in ("", "off by", "and", "away"))
    return (
        '<div style="height:10em;overflow-y:auto;margin:0 .7em .4em">'
        f'<table id="hybrid-ik-answers" onclick="{PICK}" '
        'title="Click a row to make that answer the solid one" style="width:100%;border-collapse:collapse;'
        'font-size:.8em;font-variant-numeric:tabular-nums;line-height:1.7;text-align:left">'
        f'<thead style="position:sticky;top:0;background:#fff"><tr>{head}</tr></thead>'
        f"<tbody>{cells}</tbody></table></div>"
    )


def joints_html(q: Array) -> str:
    """The joints `(dof,)` of the solid arm, to be copied."""
    text = "[" + ", ".join(f"{value:.6f}" for value in q) + "]"
    return (
        '<div style="display:flex;gap:.4em;margin:0 .7em .6em">'
        '<input id="hybrid-ik-joints" readonly onclick="this.select()" '
        f'title="Joints of the solid arm [rad, or m]" value="{text}" style="flex:1;min-width:0;font:0.75em monospace;'
        'padding:.3em .5em;border:1px solid #ced4da;border-radius:4px;color:#343a40;background:#fff">'
        f'<button onclick="{COPY}" style="font-size:.75em;padding:.2em .7em;border:1px solid #ced4da;border-radius:4px;'
        'background:#f8f9fa;color:#343a40;cursor:pointer">copy</button></div>'
    )


def curves_svg(curves: SolutionSet | None, q: Array, colours: Sequence[str], x: Axis, y: Axis) -> str:
    """The solution curves as the values of two joints, framed by their limits, with the answers on them.

    Args:
        curves: all answers of the target; None for arms that have no curves.
        q: answers `(n, dof)`, the solid one first.
        colours: of these, as CSS has them.
        x: the horizontal axis.
        y: the vertical axis.
    """
    size = np.array([WIDTH - LEFT - EDGE, HEIGHT - BOTTOM - EDGE])
    low, high = np.array([x.low, y.low]), np.array([x.high, y.high])

    def place(values: Array) -> Array:
        share = (values[..., [x.joint, y.joint]] - low) / (high - low)
        share[..., 1] = 1 - share[..., 1]
        return np.asarray(share * size + [LEFT, EDGE])

    lines = "" if curves is None else "".join(_curve(place(_line(p)), i) for i, p in enumerate(curves.pieces))
    dots = "".join(
        f'<circle data-pick="{i + 1}" cx="{cx:.1f}" cy="{cy:.1f}" r="4" fill="{colours[i]}" stroke="#fff"/>'
        for i, (cx, cy) in reversed(list(enumerate(place(q).tolist())))
    )
    cx, cy = place(q[0])
    ring = f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="8" fill="none" stroke="{SOLID_COLOUR}" stroke-width="2"/>'
    return (
        f'<svg id="hybrid-ik-curves" viewBox="0 0 {WIDTH} {HEIGHT}" onclick="{PICK}" '
        'style="width:100%;display:block;padding:0 .4em;cursor:pointer">'
        f'<rect x="{LEFT}" y="{EDGE}" width="{size[0]}" height="{size[1]}" fill="#f8f9fa" stroke="#ced4da"/>'
        f"{lines}{dots}{ring}{_labels(x, y)}</svg>"
    )


def _line(piece: Piece) -> Array:
    """Points of a piece; those of a closed one end where they began."""
    return np.concatenate([piece.q, piece.q[:1] + piece.winding]) if piece.closed else piece.q


def _curve(points: Array, number: int) -> str:
    colour = CURVE_COLOURS[number % len(CURVE_COLOURS)]
    if len(points) == 1:
        return f'<circle cx="{points[0, 0]:.1f}" cy="{points[0, 1]:.1f}" r="2.5" fill="{colour}"/>'
    text = " ".join(map("%.1f,%.1f".__mod__, map(tuple, points.tolist())))
    return f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/>'


def _labels(x: Axis, y: Axis) -> str:
    right, floor, middle = WIDTH - EDGE, HEIGHT - BOTTOM, (HEIGHT - BOTTOM + EDGE) / 2
    texts = [
        (f'x="{LEFT}" y="{floor + 13}"', f"{x.low:.2f}"),
        (f'x="{right}" y="{floor + 13}" text-anchor="end"', f"{x.high:.2f}"),
        (f'x="{LEFT - 5}" y="{floor}" text-anchor="end"', f"{y.low:.2f}"),
        (f'x="{LEFT - 5}" y="{EDGE + 8}" text-anchor="end"', f"{y.high:.2f}"),
        (f'x="{(LEFT + right) / 2}" y="{floor + 24}" text-anchor="middle"', escape(x.name)),
        (f'transform="translate({LEFT - 14} {middle}) rotate(-90)" text-anchor="middle"', escape(y.name)),
    ]
    return "".join(f'<text {where} font-size="10.5" fill="#868e96">{text}</text>' for where, text in texts)
