"""`scalpel info`: the served model, its sites and limits."""

from __future__ import annotations

import argparse

from google.protobuf import json_format

from scalpel import __main__ as command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommand's arguments."""
    command.add_connection_arguments(parser)
    parser.add_argument("--json", action="store_true", help="as protobuf's JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prints what GetModel says."""
    with command.connect(arguments) as model:
        info = model.info
    if arguments.json:
        print(json_format.MessageToJson(info.proto, preserving_proto_field_name=True))
        return 0
    print(info.to_text())
    return 0
