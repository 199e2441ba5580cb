"""`scalpel study`: the six experiments that the project began with, run on a server and written
down."""

from __future__ import annotations

import argparse
import pathlib

from scalpel import __main__ as command
from scalpel.commands.report import write_page
from scalpel.study import study_page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommand's arguments."""
    command.add_connection_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=pathlib.Path, default=pathlib.Path("study.html"),
        help="the page (%(default)s)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Asks the server, and writes the page."""
    with command.connect(arguments) as model:
        html = study_page(model)
    return write_page(arguments.output, html)
