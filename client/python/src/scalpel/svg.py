"""Small pictures for notebooks: lines and heat maps as SVG text, in colours that show on light and
on dark ground. For figures on paper there are matplotlib and `to_xarray`."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_LINE_COLOURS = ("#d62728", "#888888", "#1f77b4", "#2ca02c")
_RED, _BLUE = np.array([214, 96, 77]), np.array([67, 147, 195])
_FONT = 'font-family="sans-serif" font-size="10" fill="currentColor"'


def number(value: float) -> str:
    """A number for people: four digits."""
    return f"{value:.4g}"


def lines(
    series: Mapping[str, npt.NDArray[np.float64]], labels: Sequence[str], title: str = ""
) -> str:
    """One line for each of `series` over the points named `labels`."""
    width, height, left, top, bottom = 360, 120, 56, 18, 18
    values = np.concatenate([np.asarray(s, np.float64) for s in series.values()])
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    low, high = float(finite.min()), float(finite.max())
    span = (high - low) or 1.0

    def x(i: int) -> float:
        return left + (width - left - 8) * (i / max(len(labels) - 1, 1))

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1 - (value - low) / span)

    parts = [f'<text x="{left}" y="11" {_FONT}>{html.escape(title)}</text>']
    for value in (low, high):
        at = f'x="{left - 4}" y="{y(value) + 3:.1f}" text-anchor="end"'
        parts.append(f"<text {at} {_FONT}>{number(value)}</text>")
    for i in {0, len(labels) - 1}:
        anchor = "start" if i == 0 else "end"
        at = f'x="{x(i):.1f}" y="{height - 4}" text-anchor="{anchor}"'
        parts.append(f"<text {at} {_FONT}>{html.escape(labels[i])}</text>")
    for (name, line), colour in zip(series.items(), _LINE_COLOURS, strict=False):
        style = f'fill="none" stroke="{colour}" stroke-width="1.5" stroke-linecap="round"'
        tip = html.escape(f"{name}: {', '.join(number(float(v)) for v in line)}")
        for piece in _pieces(line):
            path = " ".join(f"{x(i):.1f},{y(float(line[i])):.1f}" for i in piece)
            parts.append(f'<polyline points="{path}" {style}><title>{tip}</title></polyline>')
    return _svg(width, height, parts)


def _pieces(line: npt.NDArray[np.float64]) -> list[list[int]]:
    """Places of finite values that follow one another: there is no line across a gap. A place alone
    is a line to itself, which is drawn as a dot."""
    pieces: list[list[int]] = [[]]
    for i, value in enumerate(line):
        if math.isfinite(value):
            pieces[-1].append(i)
        elif pieces[-1]:
            pieces.append([])
    return [piece * 2 if len(piece) == 1 else piece for piece in pieces if piece]


def heat_map(
    matrix: npt.NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    names: tuple[str, str] = ("", ""),
    centre: float = 0.0,
) -> str:
    """Red above `centre`, blue below; each cell says its value when pointed at."""
    side, left, top = max(6, min(22, 640 // max(len(columns), 1))), 44, 30
    reach = float(np.nanmax(np.abs(np.where(np.isfinite(matrix), matrix, centre) - centre)))
    parts = [
        f'<text x="4" y="{top - 4}" {_FONT}>{html.escape(names[0])}</text>',
        f'<text x="{left}" y="11" {_FONT}>{html.escape(names[1])}</text>',
    ]
    every = math.ceil(26 / side)
    for j in range(0, len(columns), every):
        at = f'x="{left + j * side + side / 2:.1f}" y="{top - 4}" text-anchor="middle"'
        parts.append(f"<text {at} {_FONT}>{html.escape(_short(columns[j]))}</text>")
    for i, row in enumerate(rows):
        if i % math.ceil(12 / side) == 0:
            at = f'x="{left - 4}" y="{top + i * side + side / 2 + 3:.1f}" text-anchor="end"'
            parts.append(f"<text {at} {_FONT}>{html.escape(_short(row))}</text>")
        for j, column in enumerate(columns):
            value = float(matrix[i, j])
            tip = html.escape(f"{names[0]} {row}, {names[1]} {column}: {number(value)}")
            box = f'x="{left + j * side}" y="{top + i * side}" width="{side}" height="{side}"'
            fill = colour((value - centre) / (reach or 1.0))
            parts.append(f'<rect {box} fill="{fill}"><title>{tip}</title></rect>')
    return _svg(left + side * len(columns) + 8, top + side * len(rows) + 8, parts)


def colour(strength: float) -> str:
    """From blue (-1) over white (0) to red (1); grey where there is no number."""
    if not math.isfinite(strength):
        return "#999999"
    strength = max(-1.0, min(1.0, strength))
    end = _RED if strength > 0 else _BLUE
    red, green, blue = (255 + (end - 255) * abs(strength)).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _short(label: str) -> str:
    return label.partition(" ")[0][:6]


def _svg(width: float, height: float, parts: list[Any]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    return head + "".join(parts) + "</svg>"
