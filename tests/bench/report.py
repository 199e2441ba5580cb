"""Results for people: lines for the terminal, and a page of Markdown."""

import statistics

from tests.bench import results


def terminal(row: dict) -> str:
    """One case: its contestants, a line each."""
    lines = [f"{row['workload']}  {row['title']}{_moved(row)}"]
    for cell in row["cells"]:
        lines.append(
            f"    {cell['name']:<46} " + "  ".join(part for part in _parts(row, cell) if part)
        )
    return "\n".join(lines)


def _moved(row: dict) -> str:
    if "moved" not in row:
        return ""
    moved = row["moved"]
    return (
        f"  ({moved['that_move_the_logits']} of {moved['edits']} edits move the logits, "
        f"by {moved['median_distance']:.2g} at the median)"
    )


def _parts(row: dict, cell: dict) -> list[str]:
    """Time, comparison with the idiom, error, roof and figures of a cell."""
    verdict = _verdict(row, cell)
    if verdict != "agrees":
        return [verdict]
    if not cell["milliseconds"]:
        return [f"agrees: {_error(cell)}"]
    idioms = results.counted(row, role="idiom")
    factor = f"{results.times_as_fast(cell, idioms[0]):6.1f}x" if idioms else " " * 7
    return [_time(cell) + " ms", factor, f"error {_error(cell)}", _roof(cell), *_figures(cell)]


def _verdict(row: dict, cell: dict) -> str:
    if cell["error"]:
        return f"failed: {cell['error'][:160]}"
    if not row["counts"]:
        return "does not count: the edits do not move the logits"
    if not cell["counts"]:
        return f"disagrees: {_error(cell)}, {cell['other_tops']} other top tokens"
    return "agrees"


def _error(cell: dict) -> str:
    numbers = f", {cell['numbers_error']:.0e} of numbers" if cell["numbers_error"] else ""
    return f"{cell['logits_error']:.0e}{numbers}"


def _time(cell: dict) -> str:
    times = cell["milliseconds"]
    low, high = f"({min(times):.4g}..", f"{max(times):.4g})"
    return f"{statistics.median(times):9.4g} {low + high:<20}"


def _roof(cell: dict) -> str:
    if not cell["roof_share"]:
        return ""
    return f"{100 * statistics.median(cell['roof_share']):.0f} % of the roof"


def _figures(cell: dict) -> list[str]:
    return [
        f"{name} {values['p50']:.3g}" + (f" p99 {values['p99']:.3g}" if values["count"] > 1 else "")
        for name, values in cell["figures"].items()
    ]


def markdown(run: dict) -> str:
    """The whole run."""
    parts = [
        "# Results of the last full run",
        "Made by `./scalpel bench --out tests/bench`; [README.md](README.md) says how. "
        "![plot](results.png)",
        _facts(run),
        "## Scalpel compared\n\n"
        "Times as fast as the fastest of each column that agrees, on a prompt that the server has "
        "not seen and, after the slash, on one that it has; the goal in brackets. The roof is the "
        "machine's own, measured in the same round: the longer of the arithmetic that the answer "
        "needs at the FMA peak, and the weights that it needs, read once a pass from memory; the "
        "column says which part of the time that is.\n\n" + _comparison(run),
        "## Where a peer is faster\n\n" + _peers_ahead(run),
        "## Kernels\n\n" + _kernels(run["kernels"]),
        "## Of the server\n\n" + _server(run),
        "## Instructions of one call\n\nCounted by callgrind, with the small model that ships on "
        "one thread: a prompt of 16 tokens that the server has seen, block 9 scaled, a statistic "
        "of every block, the ten largest logits.\n\n"
        + _table(
            ("part of the server", "instructions"),
            [(part, f"{count:,.0f}") for part, count in run["instructions"].items()],
        ),
        "## Every case\n\nMilliseconds for one question: median, least and most over rounds.\n\n"
        + "\n\n".join(_case(row) for row in run["rows"]),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(run: dict) -> str:
    facts = {
        **run["facts"],
        **_limits(run),
        "rounds": run["rounds"],
        "load average before, after": f"{run['load'][0]:.2f}, {run['load'][1]:.2f}",
        "peers that took part": ", ".join(run["peers"]),
        "peers not installed": ", ".join(run["missing"]) or "none",
    }
    return _table(("", ""), [(name, str(value)) for name, value in facts.items()])


def _limits(run: dict) -> dict[str, str]:
    """The machine's, over the rounds of all cases."""
    roofs = [run["kernels"]["limits"], *(roof for row in run["rows"] for roof in row["roof"])]
    said = {}
    for title, name, unit in (
        ("FMA peak", "gflops", "GFLOP/s"),
        ("read bandwidth", "gbytes", "GB/s"),
    ):
        values = [roof[name] for roof in roofs]
        said[title] = f"{max(values):.0f} {unit}, median {statistics.median(values):.0f}"
    return said


COLUMNS = {
    "idiom": "hooks, one by one",
    "tuned": "tuned by hand",
    "other": "other libraries",
    "server": "Python server",
    "raw": "raw engine",
}


def _comparison(run: dict) -> str:
    header = ("case", *COLUMNS.values(), "roof")
    return _table(header, [_comparison_row(row) for row in run["rows"]])


def _comparison_row(row: dict) -> tuple[str, ...]:
    cells = [f"{row['workload']} {row['title']}"]
    for role in COLUMNS:
        said = " / ".join(
            f"{factor:.1f}x" + (f" ({row['goal'][goal]:g}x)" if goal in row["goal"] else "")
            for seen, goal in ((False, role), (True, f"{role} seen"))
            if (factor := results.compared(row, seen, role))
        )
        cells.append(said)
    shares = [_roof(cell).removesuffix(" of the roof") for cell in _ours(row)]
    cells.append(" / ".join(share for share in shares if share))
    return tuple(cells)


def _ours(row: dict) -> list[dict]:
    return results.counted(row, role="scalpel")


def _peers_ahead(run: dict) -> str:
    lines = [
        f"- {row['workload']} {row['title']}: {name}, {factor:.2f} times as fast"
        for row in run["rows"]
        for name, factor in results.peers_ahead(row)
    ]
    return "\n".join(lines) or "Nowhere in this run."


def _kernels(kernels: dict) -> str:
    """A table for each kernel. What is timed first is Scalpel's."""
    limits = kernels["limits"]
    tables = {}
    for case in kernels["cases"]:
        tables.setdefault(case["kernel"], []).append(case)
    said = (
        f"Scalpel's own beside libtorch's, in turn, on {kernels['threads']} threads of "
        f"{kernels['cpu']} ({kernels['target']}). Best of the rounds; in brackets the median. The "
        f"limit is the longer of the arithmetic at {limits['gflops']:.0f} GFLOP/s and the bytes "
        f"that must come from memory at {limits['gbytes']:.1f} GB/s ({kernels['reading']})."
    )
    return "\n\n".join([said, *(_kernel(name, cases) for name, cases in tables.items())])


def _kernel(name: str, cases: list[dict]) -> str:
    others = [contestant["name"] for contestant in cases[0]["contestants"][1:]]
    header = [name, "ms", "GFLOP/s", "GB/s", "of the limit"]
    for other in others:
        header += [f"{other}, ms", "Scalpel is"]
    return _table(tuple(header), [_kernel_row(case) for case in cases])


def _kernel_row(case: dict) -> tuple[str, ...]:
    ours, *others = case["contestants"]
    cells = [case["name"], _best(ours)]
    cells.append(f"{ours['gflops']:.0f}" if case["flops"] else "")
    cells.append(f"{ours['gbytes']:.1f}" if case["bytes"] else "")
    cells.append(f"{100 * ours['share_of_limit']:.0f} %" if cells[-1] or cells[-2] else "")
    for other in others:
        cells += [_best(other), f"{other['ours_times_as_fast']:.2f}x"]
    return tuple(cells)


def _best(contestant: dict) -> str:
    """Of a kernel's rounds."""
    wrong = "" if contestant["right"] else ", wrong"
    return f"{contestant['best_ms']:.4g} ({contestant['median_ms']:.4g}){wrong}"


def _server(run: dict) -> str:
    lines = [
        ("seconds to the first answer", _spread(run["server"]["seconds to first answer"])),
        *((name, f"{run['server'][name]:.0f}") for name in ("resident MB", "resident MB at most")),
    ]
    for row in run["rows"]:
        lines += [
            (f"{row['workload']} {row['title']}: {cell['name']}, {name}", f"{_p50_p99(values)}")
            for cell in row["cells"]
            if cell["counts"] and cell["role"] in ("scalpel", "server")
            for name, values in cell["figures"].items()
        ]
        for role in ("scalpel", "idiom") if row["workload"] == "W6" else ():
            overhead = results.overhead_percent(row, role)
            if overhead is not None:
                lines.append(
                    (f"W6 {row['title']}: % over not observing, {role}", f"{overhead:.1f}")
                )
    return _table(("", ""), lines)


def _p50_p99(values: dict) -> str:
    return f"p50 {values['p50']:.3g}, p99 {values['p99']:.3g}"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def _case(row: dict) -> str:
    lines = []
    for cell in row["cells"]:
        verdict = _verdict(row, cell)
        if verdict == "agrees" and cell["milliseconds"]:
            lines.append((cell["name"], _time(cell), _error(cell), _roof(cell)))
        else:
            lines.append((cell["name"], verdict.replace("|", "/").replace("\n", " "), "", ""))
    header = (f"{row['workload']} {row['title']}{_moved(row)}", "ms", "largest error", "roof")
    return _table(header, lines)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.strip() for cell in line) + " |" for line in lines)
