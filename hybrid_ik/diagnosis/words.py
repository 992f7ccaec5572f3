"""Lengths and angles as a person reads them."""

from __future__ import annotations

from math import degrees


def metres(value: float) -> str:
    """A length with a unit that suits it: 0.312 m, 12.3 mm, 4.1e-07 m."""
    if value >= 0.1:
        return f"{value:.3f} m"
    return f"{1e3 * value:.1f} mm" if value >= 1e-3 else f"{value:.1e} m"


def angle(value: float) -> str:
    """An angle in both units: 0.200 rad (11.5 deg); in one where it is tiny: 3.2e-07 rad."""
    return f"{value:.3f} rad ({degrees(value):.1f} deg)" if value >= 1e-3 else f"{value:.1e} rad"
