"""The plot: for each case, everybody's time, on a logarithmic axis."""

import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from tests.bench import results

COLOURS = {
    "idiom": "tab:blue",
    "tuned": "tab:cyan",
    "other": "tab:gray",
    "server": "tab:brown",
    "raw": "tab:purple",
    "scalpel": "tab:red",
}


def draw(run: dict, path: pathlib.Path) -> None:
    rows = [row for row in run["rows"] if results.counted(row)]
    figure, axes = pyplot.subplots(figsize=(11, 1.5 + 0.32 * len(rows)), layout="constrained")
    for height, row in enumerate(reversed(rows)):
        axes.axhline(height, color="0.92", zorder=0)
        for cell in results.counted(row):
            times = cell["milliseconds"]
            middle = statistics.median(times)
            axes.errorbar(
                middle,
                height,
                xerr=[[middle - min(times)], [max(times) - middle]],
                fmt="D" if cell["seen"] else "o",
                markerfacecolor="none" if cell["seen"] else COLOURS[cell["role"]],
                color=COLOURS[cell["role"]],
            )
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels(
        [f"{row['workload']} {row['title']}" for row in reversed(rows)], fontsize=8
    )
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds for one question; median, least and most over rounds")
    said = {
        "transformers, hooks one by one": ("idiom", "o"),
        "transformers, tuned by hand": ("tuned", "o"),
        "nnsight, TransformerLens, pyvene": ("other", "o"),
        "transformers behind grpcio": ("server", "o"),
        "CTranslate2": ("raw", "o"),
        "Scalpel, new prompt": ("scalpel", "o"),
        "Scalpel, prompt seen before": ("scalpel", "D"),
    }
    handles = [
        pyplot.Line2D(
            [],
            [],
            linestyle="",
            marker=marker,
            color=COLOURS[role],
            markerfacecolor="none" if marker == "D" else COLOURS[role],
            label=label,
        )
        for label, (role, marker) in said.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
