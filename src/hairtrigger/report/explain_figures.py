"""Pictures of explanations as plain SVG: maps of events and curves, the same bytes for the same
numbers, with no fonts or libraries drawn in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from hairtrigger.report.figures import COLOURS, GRID

RAISES, LOWERS, DARK = (213, 94, 0), (0, 114, 178), (205, 210, 216)
"""Colours (red, green, blue) of what raises the answer, lowers it, or does not matter."""
TEXT = 'font-family="system-ui, DejaVu Sans, sans-serif" font-size="11" fill="#1b1f24"'
SHOWN = 96
"""Fewest places along the longer axis of a map."""
WIDTH, ROW, LEFT, BOTTOM = 560, 22, 52, 22


def colour(value: float, largest: float) -> str:
    """From grey at 0 to full colour at ``largest``, which must be positive."""
    share = min(1.0, abs(value) / largest)
    end = RAISES if value > 0 else LOWERS
    mixed = (round(a + (b - a) * share) for a, b in zip(DARK, end, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def event_map(
    image: NDArray[np.generic],
    values: NDArray[np.floating],
    signal: NDArray[np.generic] | None = None,
    rows: Sequence[str] = (),
    alt: str = "",
) -> str:
    """One event (rows, places): inputs that are not 0 in the colour of their attribution, the true
    signal's framed; cut to where the signal, or the attribution, is."""
    largest = float(np.abs(values).max()) or 1.0
    first, end = window(values if signal is None or not signal.any() else signal)
    step = (WIDTH - LEFT - 6) / (end - first)
    height = ROW * len(image) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(alt, quote=True)}">'
    ]
    for row in range(len(image)):
        # As in the detector the first layer lies below.
        top = ROW * (len(image) - 1 - row)
        middle = _n(top + ROW / 2)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - 6}" y1="{middle}" y2="{middle}" stroke="{GRID}"/>'
        )
        if row < len(rows):
            parts.append(
                f'<text x="2" y="{_n(top + ROW / 2 + 4)}" {TEXT}>{escape(rows[row])}</text>'
            )
        for place in np.flatnonzero(np.asarray(image[row, first:end]) != 0) + first:
            own = signal is not None and bool(signal[row, place])
            frame = ' stroke="#1b1f24" stroke-width="1.2"' if own else ""
            parts.append(
                f'<rect x="{_n(LEFT + (place - first) * step)}" y="{top + 3}" '
                f'width="{_n(max(step, 1))}" height="{ROW - 6}" '
                f'fill="{colour(float(values[row, place]), largest)}"{frame}/>'
            )
    for place in (first, (first + end) // 2, end - 1):
        x = LEFT + (place - first + 0.5) * step
        parts.append(
            f'<text x="{_n(x)}" y="{height - 5}" text-anchor="middle" {TEXT}>{place}</text>'
        )
    return "".join(parts) + "</svg>"


def window(values: NDArray[np.generic]) -> tuple[int, int]:
    """First and end of the places that hold 90 % of what is there, widened to `SHOWN`."""
    size = np.abs(np.asarray(values, np.float64)).sum(axis=0)
    total = size.sum()
    places = len(size)
    if total == 0:
        return 0, min(places, SHOWN)
    grown = np.cumsum(size) / total
    low, high = int(np.searchsorted(grown, 0.05)), int(np.searchsorted(grown, 0.95)) + 1
    wide = min(places, max(SHOWN, high - low + 8))
    first = int(np.clip((low + high - wide) // 2, 0, places - wide))
    return first, first + wide


def feature_bars(names: Sequence[str], values: Sequence[float], alt: str = "") -> str:
    """One bar a feature, the largest first, to the right where it raises the answer."""
    order = np.argsort(-np.abs(np.asarray(values)), kind="stable")[:14]
    largest = max((abs(values[n]) for n in order), default=1.0) or 1.0
    left, middle, height = 150, 350, 18 * len(order) + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(alt, quote=True)}">'
        f'<line x1="{middle}" x2="{middle}" y1="0" y2="{height}" stroke="{GRID}"/>'
    ]
    for at, n in enumerate(order):
        value = float(values[n])
        size = abs(value) / largest * (WIDTH - middle - 10)
        x = middle if value > 0 else middle - size
        parts.append(
            f'<text x="{left - 4}" y="{18 * at + 15}" text-anchor="end" {TEXT}>'
            f"{escape(names[n])}</text>"
            f'<rect x="{_n(x)}" y="{18 * at + 4}" width="{_n(size)}" height="13" '
            f'fill="{colour(value, largest)}"/>'
        )
    return "".join(parts) + "</svg>"


def lines(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    across: str,
    up: str,
    alt: str = "",
    dashed: Sequence[str] = (),
) -> str:
    """Curves over one axis, each named in the legend below."""
    width, height, left, bottom = 420, 300, 56, 40 + 16 * len(curves)
    every = [value for curve in curves.values() for value in curve]
    low, high = min(every), max(every)
    pad = 0.05 * (high - low) or 1.0
    low, high = low - pad, high + pad
    plot = height - 44

    def at(a: float, b: float) -> str:
        across_share = (a - x[0]) / ((x[-1] - x[0]) or 1.0)
        return (
            f"{_n(left + across_share * (width - left - 12))},"
            f"{_n(8 + (high - b) / (high - low) * (plot - 8))}"
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {plot + bottom}" '
        f'role="img" aria-label="{escape(alt, quote=True)}">'
    ]
    for value in np.linspace(low + pad, high - pad, 5):
        y = at(x[0], float(value)).split(",")[1]
        parts.append(
            f'<line x1="{left}" x2="{width - 12}" y1="{y}" y2="{y}" stroke="{GRID}"/>'
            f'<text x="{left - 5}" y="{_n(float(y) + 4)}" text-anchor="end" {TEXT}>'
            f"{float(value):.3g}</text>"
        )
    for value in np.linspace(x[0], x[-1], 5):
        place = at(float(value), low).split(",")[0]
        parts.append(
            f'<text x="{place}" y="{plot + 14}" text-anchor="middle" {TEXT}>'
            f"{float(value):.3g}</text>"
        )
    parts.append(
        f'<text x="{(left + width) // 2}" y="{plot + 29}" text-anchor="middle" {TEXT}>'
        f"{escape(across)}</text>"
        f'<text transform="rotate(-90)" x="{-plot // 2}" y="12" text-anchor="middle" {TEXT}>'
        f"{escape(up)}</text>"
    )
    for n, (name, curve) in enumerate(curves.items()):
        shade = COLOURS[n % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if name in dashed else ""
        points = " ".join(at(a, b) for a, b in zip(x, curve, strict=True))
        y = plot + 42 + 16 * n
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{shade}" stroke-width="2"{dash}/>'
            f'<line x1="{left}" x2="{left + 22}" y1="{y}" y2="{y}" stroke="{shade}" '
            f'stroke-width="2"{dash}/>'
            f'<text x="{left + 28}" y="{y + 4}" {TEXT}>{escape(name)}</text>'
        )
    return "".join(parts) + "</svg>"


def _n(value: float) -> str:
    """A coordinate to a tenth of a unit, without trailing zeros."""
    return f"{value:.1f}".removesuffix(".0")
