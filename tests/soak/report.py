"""The soak in a table and a plot. The plot is SVG by hand, so that no package is needed for it."""

import pathlib
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from tests.soak.samples import Sample
from tests.soak.verdict import Finding, Soaked

_WIDTH, _PANEL, _GAP = 900, 110, 46
_LEFT, _RIGHT, _TOP = 70, 20, 50
_COLOURS = ("#1f6fb2", "#d1495b")
Series = tuple[str, Callable[[Sample], float | None]]
_PANELS: tuple[tuple[str, list[Series]], ...] = (
    ("memory, MiB", [("resident", lambda s: s.rss / (1 << 20))]),
    (
        "descriptors and threads",
        [("descriptors", lambda s: s.files), ("threads", lambda s: s.threads)],
    ),
    ("calls in the engine", [("waiting", lambda s: s.queued), ("running", lambda s: s.running)]),
    (
        "small calls, ms",
        [
            ("p50", lambda s: None if s.p50 is None else s.p50 * 1000),
            ("p99", lambda s: None if s.p99 is None else s.p99 * 1000),
        ],
    ),
)


def table(soaked: Soaked, findings: Sequence[Finding]) -> str:
    """The ends of the calls, and the verdict."""
    counts = soaked.met.counts
    codes = sorted({_name(code) for _, code in counts})
    rows = [["act", *codes]]
    for act in sorted({act for act, _ in counts}):
        row = {_name(code): count for (name, code), count in counts.items() if name == act}
        rows.append([act, *(f"{row[code]:,}" if code in row else "" for code in codes)])
    verdict = [["finding", "seen", "bound", ""]]
    verdict += [[f.what, f.seen, f.bound, "" if f.good else "WRONG"] for f in findings]
    head = (
        f"{soaked.clients} clients, {soaked.seconds:.0f} s after a warm-up, whose calls count too"
    )
    return "\n".join([head, "", *_aligned(rows), "", *_aligned(verdict)])


def _name(code: object) -> str:
    return getattr(code, "name", None) or str(code)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def draw(soaked: Soaked, path: pathlib.Path) -> None:
    """One panel for each thing that was measured, over minutes."""
    samples = soaked.samples
    height = _TOP + len(_PANELS) * (_PANEL + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(_LEFT, 16, f"{soaked.clients} clients, {soaked.seconds / 60:.1f} minutes"),
    ]
    for number, (title, series) in enumerate(_PANELS):
        parts += _panel(_TOP + number * (_PANEL + _GAP), title, series, samples)
    path.write_text("\n".join([*parts, "</svg>\n"]), "utf-8")


def _panel(
    top: float, title: str, series: Sequence[Series], samples: Sequence[Sample]
) -> list[str]:
    begin, end = samples[0].at, samples[-1].at
    values = [value for _, of in series for value in map(of, samples) if value is not None]
    most = max(values, default=0) * 1.05 or 1
    bottom, right = top + _PANEL, _WIDTH - _RIGHT

    def x(at: float) -> float:
        return _LEFT + (at - begin) / max(end - begin, 1e-9) * (right - _LEFT)

    parts = [
        f'<rect x="{_LEFT}" y="{top}" width="{right - _LEFT}" height="{_PANEL}" fill="none" '
        'stroke="#999"/>',
        _text(_LEFT, top - 6, title),
        _text(_LEFT - 6, top + 10, f"{most:,.4g}", "end"),
        _text(_LEFT - 6, bottom, "0", "end"),
        _text(_LEFT, bottom + 16, "0"),
        _text(right, bottom + 16, f"{(end - begin) / 60:.1f} min", "end"),
    ]
    for number, (name, of) in enumerate(series):
        colour = _COLOURS[number]
        points = [
            f"{x(sample.at):.1f},{bottom - value / most * _PANEL:.1f}"
            for sample in samples
            if (value := of(sample)) is not None
        ]
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            'stroke-width="1.2"/>'
        )
        parts.append(_text(right - 110 * number, top - 6, name, "end", colour))
    return parts


def _text(x: float, y: float, said: str, anchor: str = "start", colour: str = "#222") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(said)}</text>'
