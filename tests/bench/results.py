"""What was measured, as data: the form of the JSON file, and what follows from it."""

import dataclasses
import statistics

import numpy as np

from tests.bench.measure import Cell, Row

PEER_ROLES = ("idiom", "tuned", "other", "server", "raw")


def row_data(row: Row) -> dict:
    data = {
        "workload": row.case.workload,
        "title": row.case.title,
        "counts": row.counts,
        "goal": row.case.goal,
        "roof": [dataclasses.asdict(roof) for roof in row.roof],
        "cells": [_cell_data(cell) for cell in row.cells],
    }
    if row.moved:
        data["moved"] = {
            "edits": len(row.moved),
            "that_move_the_logits": row.moved_count,
            "median_distance": statistics.median(row.moved),
        }
    return data


def _cell_data(cell: Cell) -> dict:
    return {
        "name": cell.name,
        "role": cell.role,
        "seen": cell.seen,
        "note": cell.note,
        "counts": cell.counts,
        "error": cell.error,
        "milliseconds": cell.milliseconds,
        "roof_share": cell.roof_share,
        "figures": {name: _summary(values) for name, values in cell.figures.items()},
        "logits_error": cell.agreement.logits,
        "numbers_error": cell.agreement.numbers,
        "other_tops": cell.agreement.other_tops,
        "compared": cell.agreement.compared,
    }


def _summary(values: list[float]) -> dict:
    p50, p99 = np.percentile(values, [50, 99])
    return {"count": len(values), "p50": p50, "p99": p99, "min": min(values), "max": max(values)}


def counted(row: dict, **facts) -> list[dict]:
    """The row's cells that count, timed, with these facts."""
    return [
        cell
        for cell in row["cells"]
        if row["counts"]
        and cell["counts"]
        and cell["milliseconds"]
        and all(cell[name] == value for name, value in facts.items())
    ]


def times_as_fast(cell: dict, other: dict) -> float:
    """The median over rounds: both took their turn in each."""
    pairs = zip(other["milliseconds"], cell["milliseconds"], strict=True)
    return statistics.median(theirs / ours for theirs, ours in pairs)


def compared(row: dict, seen: bool, role: str) -> float | None:
    """How many times as fast Scalpel is as the fastest of a role; None where either is missing.
    Cells with a note answer something else, for an overhead: no observing, one spec for all."""
    ours = counted(row, role="scalpel", seen=seen, note="")
    theirs = counted(row, role=role, note="")
    if not ours or not theirs:
        return None
    return times_as_fast(ours[0], fastest(theirs))


def fastest(cells: list[dict]) -> dict:
    return min(cells, key=lambda cell: statistics.median(cell["milliseconds"]))


def peers_ahead(row: dict) -> list[tuple[str, float]]:
    """The peers that are faster than Scalpel on a prompt it has not seen, and how many times."""
    ours = counted(row, role="scalpel", seen=False, note="")
    if not ours:
        return []
    return [
        (cell["name"], 1 / times_as_fast(ours[0], cell))
        for cell in counted(row, note="")
        if cell["role"] in PEER_ROLES and times_as_fast(ours[0], cell) < 1
    ]


def overhead_percent(row: dict, role: str) -> float | None:
    """Of a role's first cell over its second, which does the same observing nothing (W6), or with
    one spec for all (W5)."""
    cells = counted(row, role=role)
    if len(cells) != 2:
        return None
    return 100 * (times_as_fast(cells[1], cells[0]) - 1)
