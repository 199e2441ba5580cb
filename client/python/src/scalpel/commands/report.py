"""`scalpel report`: runs a request from a file, and writes a page about the answer."""

from __future__ import annotations

import argparse
import pathlib
import sys

import scalpel
from scalpel import __main__ as command
from scalpel import calls
from scalpel.events import Started, SweepStarted
from scalpel.report import plan_report, run_report, sweep_report
from scalpel.v1 import generate_pb2, run_pb2, sweep_pb2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommand's arguments."""
    command.add_connection_arguments(parser)
    parser.add_argument("request", type=pathlib.Path, help="a RunRequest or SweepRequest in JSON")
    parser.add_argument(
        "-o", "--output", type=pathlib.Path, help="the page (default: the request's name, .html)"
    )
    parser.add_argument("--title", help="of the page (default: the request's name)")


def run(arguments: argparse.Namespace) -> int:
    """Asks the server, and writes the page."""
    try:
        request = scalpel.load_request(arguments.request)
    except (OSError, ValueError) as error:
        print(f"scalpel: {error}", file=sys.stderr)
        return 2
    if isinstance(request, generate_pb2.GenerateRequest):
        print(f"scalpel: {arguments.request}: pages are about runs and sweeps", file=sys.stderr)
        return 2
    with command.connect(arguments) as model:
        html = page_of(model, request, arguments.title or arguments.request.stem)
    output = arguments.output or pathlib.Path(arguments.request.with_suffix(".html").name)
    return write_page(output, html)


def page_of(
    model: scalpel.Model, request: run_pb2.RunRequest | sweep_pb2.SweepRequest, title: str
) -> str:
    """The page about a request's answer."""
    if isinstance(request, sweep_pb2.SweepRequest):
        if request.validate_only:
            planned = model.read(calls.validation(calls.sweep_request(request), SweepStarted))
            return plan_report(planned, request, model.info, title)
        return sweep_report(model.sweep_request(request), model.info, title)
    if request.validate_only:
        started = model.read(calls.validation(calls.run_request(request), Started))
        return plan_report(started, request, model.info, title)
    decode = model.detokenize if model.info.has_tokenizer else None
    return run_report(model.run_request(request), model.info, title, decode)


def write_page(output: pathlib.Path, html: str) -> int:
    """Writes a page, and says where."""
    try:
        output.write_text(html, "utf-8")
    except OSError as error:
        print(f"scalpel: {error}", file=sys.stderr)
        return 1
    print(f"{output}: {len(html.encode()) / 1e6:.1f} MB, opens in any browser")
    return 0
